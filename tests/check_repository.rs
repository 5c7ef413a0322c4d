//! Tests what `check` makes of a repository around the records: ignored files, duplicates, suppressions.

use rstest::rstest;

use crate::repository::{COMPANY, GOOD, Repository};

/// A record that is denied.
fn bad(name: &str) -> String {
    format!(
        "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {{name: {name}}}\nspec: {{displayName: ''}}\n"
    )
}

/// The files with findings.
#[track_caller]
fn files(repository: &Repository, args: &[&str]) -> Vec<String> {
    let findings = repository.findings(args).into_iter();
    findings.map(|finding| finding.split(':').next().unwrap().to_owned()).collect()
}

// What is read.

/// A work tree of git with one denied record in each file.
fn work_tree() -> Repository {
    let repository = Repository::with(&[
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".git/info/exclude", "private.yaml\n"),
        (".gitignore", "node_modules/\n/out\n!out/kept.yaml\n"),
        (".ignore", "fixtures\n"),
        ("crm/.gitignore", "*.tmp.yaml\n"),
    ]);
    for (index, name) in [
        "crm/a.yaml",
        "crm/a.tmp.yaml",
        "crm/node_modules/b/c.yaml",
        "crm/out/d.yaml",
        "fixtures/e.yaml",
        "out/kept.yaml",
        "private.yaml",
    ]
    .into_iter()
    .enumerate()
    {
        repository.write(name, &bad(&format!("acme-{index}")));
    }
    repository
}

#[test]
fn a_directory_is_read_without_the_files_that_git_ignores() {
    let repository = work_tree();
    assert_eq!(files(&repository, &[]), ["crm/a.yaml", "crm/out/d.yaml"]);
    // The rules of the directories above hold, too.
    assert_eq!(files(&repository, &["crm"]), ["crm/a.yaml", "crm/out/d.yaml"]);
    assert_eq!(files(&repository, &["--no-ignore"]).len(), 7);
}

#[test]
fn outside_of_a_work_tree_gitignore_has_no_meaning() {
    let repository = Repository::with(&[(".gitignore", "*\n"), ("a.yaml", &bad("acme"))]);
    assert_eq!(files(&repository, &[]), ["a.yaml"]);
}

#[test]
fn a_path_that_is_named_is_read_whatever_git_ignores_or_the_user_excludes() {
    let repository = work_tree();
    let named = ["crm/node_modules/b/c.yaml", "out", "--exclude", "*.yaml,!kept.yaml"];
    assert_eq!(files(&repository, &named), ["crm/node_modules/b/c.yaml", "out/kept.yaml"]);
}

#[rstest]
#[case::a_name_anywhere(&["a.yaml"], &["crm/out/d.yaml"])]
#[case::a_directory(&["out/"], &["crm/a.yaml"])]
#[case::a_path(&["/crm/out"], &["crm/a.yaml"])]
#[case::two_asterisks(&["crm/**/d.yaml"], &["crm/a.yaml"])]
#[case::several(&["a.yaml", "nothing"], &["crm/out/d.yaml"])]
#[case::an_exception(&["*.yaml", "!d.yaml"], &["crm/out/d.yaml"])]
fn files_can_be_excluded(#[case] globs: &[&str], #[case] expected: &[&str]) {
    let repository = work_tree();
    let args: Vec<&str> = globs.iter().flat_map(|glob| ["--exclude", glob]).collect();
    assert_eq!(files(&repository, &args), expected);
    // A directory that is named in another way has the same files.
    let absolute = repository.path().to_str().unwrap().to_owned();
    assert_eq!(files(&repository, &[&args[..], &[&absolute]].concat()).len(), expected.len());
}

#[test]
fn the_report_says_if_everything_in_a_directory_is_left_out() {
    let repository = work_tree();
    let ended = repository.check(&["crm", "--exclude", "*.yaml"]);
    let said =
        "nothing to check: no files were read; git ignores or --exclude leaves out all manifests in crm.\n";
    assert_eq!(ended.ends_with(0).out, said);
    // The one directory does not hide behind the other.
    let ended = repository.check(&["crm", "fixtures", "--exclude", "e.yaml", "--format", "json"]);
    assert_eq!(ended.ends_with(1).json()["leftOut"], serde_json::json!(["fixtures"]));
    // An empty directory is empty.
    assert_eq!(Repository::new().check(&[]).out, "nothing to check: no files were read.\n");
}

#[test]
fn a_pattern_that_is_not_a_glob_is_an_error() {
    let ended = work_tree().check(&["--exclude", "crm/{a"]);
    let expected = "error: --exclude: \"crm/{a\" is not a glob as in .gitignore: ";
    assert!(ended.ends_with(2).err.starts_with(expected), "{}", ended.err);
}

#[test]
fn resources_are_read_even_if_git_ignores_them() {
    let repository = work_tree();
    let person = "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {name: jane}\n\
                  spec: {displayName: Jane, companyRef: {name: acme}}\n";
    repository.write("p.yaml", person);
    repository.write("existing/node_modules/acme.yaml", &format!("{COMPANY}{GOOD}"));
    assert_eq!(files(&repository, &["p.yaml", "--resources", "existing"]), [] as [&str; 0]);
}

// Twice the same.

#[test]
fn a_record_that_is_in_the_files_twice_is_a_warning_with_the_place_of_the_first() {
    let good = |kind: &str, name: &str| {
        format!("apiVersion: crm.milo.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n{GOOD}")
    };
    let repository = Repository::with(&[
        ("a/1.yaml", &good("Company", "acme")),
        // Neither a person nor a record of another name is the same.
        ("a/2.yaml", &[good("Person", "acme"), good("Company", "other")].join("---\n")),
        ("b.yaml", &format!("{}---\n{}", good("Company", "new"), good("Company", "acme"))),
        (
            "c.yaml",
            "apiVersion: crm.milo.io/v1alpha1\nkind: CompanyList\nitems:\n- metadata: {name: acme}\n  spec: {displayName: Acme}\n",
        ),
    ]);
    let expected = ["b.yaml:10:9", "c.yaml:4:20"]
        .map(|place| format!("{place} Warn metadata.name [schema/duplicate-object]"));
    assert_eq!(repository.findings(&[]), expected);
    let out = repository.check(&[]).ends_with(0).out.clone();
    let said = "b.yaml:10:9: warn: Company \"acme\": metadata.name: Invalid value: \"acme\": another Company of this \
                name is at a/1.yaml:4:9, and the one that is applied last counts; remove or rename one";
    assert!(out.starts_with(said), "{out}");
    // The order of the paths decides which one is later, and a file that is named twice is read once.
    let expected = ["a/1.yaml:4:9 Warn metadata.name [schema/duplicate-object]"];
    assert_eq!(repository.findings(&["b.yaml", "a/1.yaml", "./b.yaml"]), expected);
    // Records of --resources are not checked.
    assert_eq!(repository.findings(&["b.yaml", "--resources", "a"]), [] as [&str; 0]);
}

#[test]
fn generated_names_and_objects_of_other_groups_are_never_duplicates() {
    let generated = format!("{}{GOOD}", COMPANY.replace("name: acme", "generateName: acme-"));
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let text = [&generated, &generated, other, other].join("---\n");
    assert_eq!(Repository::with(&[("a.yaml", &text)]).findings(&[]), [] as [&str; 0]);
}
