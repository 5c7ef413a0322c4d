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

// Suppressions.

/// A record with these lines below `spec`, and one line before the first key.
fn commented(head: &str, spec: &str) -> String {
    format!("{head}{COMPANY}spec:\n{spec}")
}

#[rstest]
#[case::on_the_line_of_the_value("  displayName: '' # crm-admission: ignore display-name: why\n")]
#[case::alone_on_the_line_before("  # crm-admission: ignore display-name: why\n  displayName: ''\n")]
#[case::before_other_comments("  # crm-admission: ignore display-name: why\n  # more\n  displayName: ''\n")]
#[case::with_a_colon_in_the_reason("  displayName: '' #crm-admission:ignore display-name: why: this\n")]
#[case::of_several_rules("  displayName: '' # crm-admission: ignore display-name, schema: why\n")]
#[case::on_the_last_line_of_the_value(
    "  displayName: '\n\n    '  # crm-admission: ignore display-name: why\n"
)]
#[case::on_the_line_of_the_key("  displayName: # crm-admission: ignore display-name: why\n    ''\n")]
#[case::in_a_flow_list(
    "  displayName: Acme\n  domains: [\n    # crm-admission: ignore domain: why\n    com ]\n"
)]
#[case::of_one_code(
    "  displayName: Acme\n  domains:\n  - co.uk # crm-admission: ignore domain/public-suffix: why\n"
)]
#[case::of_a_missing_field("  # crm-admission: ignore company-exists: not used\n  description: x\n")]
fn a_comment_suppresses_findings(#[case] spec: &str) {
    let repository = Repository::with(&[("a.yaml", &commented("", spec))]);
    let ended = repository.check(&["--format", "json"]);
    let suppressed =
        ended.json()["findings"].as_array().unwrap().iter().filter(|f| f["suppressed"] == true).count();
    if spec.contains("not used") {
        // The missing field is reported at the key `spec`, so this comment holds for another field.
        let expected =
            ["a.yaml:4:1 Deny spec.displayName [display-name]", "a.yaml:5:3 Warn  [suppression/unused]"];
        assert_eq!(ended.ends_with(1).findings(), expected);
    } else {
        let unused = ended.findings().iter().filter(|finding| finding.contains("suppression/")).count();
        assert_eq!(
            (suppressed, unused),
            (1, usize::from(spec.contains(", schema"))),
            "{:?}",
            ended.findings()
        );
        ended.ends_with(0);
    }
}

#[rstest]
#[case::a_line_too_early("  # crm-admission: ignore display-name: why\n\n  displayName: ''\n", "5:3")]
#[case::on_another_line(
    "  displayName: ''\n  description: x # crm-admission: ignore display-name: why\n",
    "6:18"
)]
#[case::of_another_code(
    "  displayName: '' # crm-admission: ignore display-name/not-canonical: why\n",
    "5:19"
)]
#[case::after_the_value("  displayName: ''\n  # crm-admission: ignore display-name: why\n", "6:3")]
fn a_comment_in_another_place_suppresses_nothing_and_is_a_warning(#[case] spec: &str, #[case] at: &str) {
    let repository = Repository::with(&[("a.yaml", &commented("", spec))]);
    let findings = repository.findings(&[]);
    assert!(findings.contains(&format!("a.yaml:{at} Warn  [suppression/unused]")), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.contains("Deny spec.displayName")), "{findings:?}");
}

#[rstest]
#[case::block_scalar("  description: |\n    # crm-admission: ignore display-name: why\n  displayName: ''\n")]
#[case::quoted(
    "  description: \"\n    # crm-admission: ignore display-name: why\n    \"\n  displayName: ''\n"
)]
#[case::plain("  description: a\n    b# crm-admission:ignore display-name:why\n  displayName: ''\n")]
#[case::about_something_else("  displayName: '' # crm-admission: see the handbook\n")]
#[case::of_another_tool("  displayName: '' # crm-admission ignore display-name: why\n")]
fn what_only_looks_like_a_suppression_is_none(#[case] spec: &str) {
    let findings = Repository::with(&[("a.yaml", &commented("", spec))]).findings(&[]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("Deny spec.displayName"), "{findings:?}");
}

#[test]
fn a_comment_before_the_first_key_holds_for_its_document_only() {
    let head = "# crm-admission: ignore domain,display-name: imported\n";
    let spec = "  displayName: ''\n  domains: [com]\n";
    let text = [
        commented(head, spec),
        commented("", spec).replace("acme", "b"),
        commented(head, spec).replace("acme", "c"),
    ];
    let repository = Repository::with(&[("a.yaml", &text.join("---\n"))]);
    let ended = repository.check(&["--format", "json"]);
    let findings = ended.ends_with(1).json()["findings"].as_array().unwrap().clone();
    let counted: Vec<&str> =
        findings.iter().filter(|f| f["suppressed"] != true).map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!((counted, findings.len()), (vec!["b", "b"], 6));
    assert!(findings.iter().filter(|f| f["suppressed"] == true).all(|f| f["reason"] == "imported"));
    assert_eq!(ended.json()["summary"]["suppressed"], 4);
}

const WHY: &str = "# crm-admission: ignore display-name: imported\n";

#[rstest]
#[case::on_the_first_separator("", &format!("--- {WHY}"))]
#[case::on_a_separator("apiVersion: v1\nkind: ConfigMap\n", &format!("--- {WHY}"))]
#[case::on_a_separator_of_json("{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\"}\n", &format!("--- {WHY}"))]
#[case::on_a_separator_after_an_empty_document("---\n---\n# empty\n", &format!("---  {WHY}"))]
#[case::on_a_separator_after_a_comment("# head\n", &format!("--- {WHY}"))]
#[case::on_a_separator_after_the_end_of_a_document("apiVersion: v1\nkind: ConfigMap\n...\n", &format!("--- {WHY}"))]
#[case::before_the_first_separator(WHY, "---\n")]
#[case::before_the_first_separator_and_after_others(&format!("# head\n{WHY}\n"), "--- # c\n# d\n")]
#[case::after_a_separator("apiVersion: v1\nkind: ConfigMap\n", &format!("---\n{WHY}"))]
fn a_comment_around_the_separator_before_a_document_holds_for_all_of_it(
    #[case] before: &str,
    #[case] separator: &str,
) {
    let text = format!("{before}{separator}{COMPANY}spec: {{displayName: ''}}\n");
    let repository = Repository::with(&[("a.yaml", &text)]);
    let ended = repository.check(&["--fail-on", "warn"]);
    let said = "no findings; 1 suppressed, which the cluster will deny";
    assert!(ended.ends_with(0).out.contains(said), "{text}{}", ended.out);
    // Only for this one.
    let second = format!("---\n{COMPANY}spec: {{displayName: ''}}\n").replace("acme", "other");
    repository.write("a.yaml", &format!("{text}{second}"));
    let out = repository.check(&[]).ends_with(1).out.clone();
    assert!(out.contains("deny: Company \"other\": spec.displayName"), "{out}");
    assert!(!out.contains("Company \"acme\""), "{out}");
}

#[rstest]
#[case::at_the_end_of_the_document_before("apiVersion: v1\nkind: ConfigMap\n", "3:1")]
#[case::after_that_end("apiVersion: v1\nkind: ConfigMap\n...\n", "4:1")]
#[case::in_an_empty_document("---\n", "2:1")]
#[case::in_an_empty_document_after_another("apiVersion: v1\nkind: ConfigMap\n---\n", "4:1")]
fn a_comment_in_the_document_before_suppresses_nothing(#[case] before: &str, #[case] at: &str) {
    let text = format!("{before}{WHY}---\n{COMPANY}spec: {{displayName: ''}}\n");
    let out = Repository::with(&[("a.yaml", &text)]).check(&[]).ends_with(1).out.clone();
    assert!(out.contains("deny: Company \"acme\": spec.displayName"), "{out}");
    assert!(out.contains(&format!("a.yaml:{at}: warn: ")) && out.contains("[suppression/unused]"), "{out}");
}

#[test]
fn a_comment_before_a_document_that_cannot_be_read_does_not_hold_for_the_next_one() {
    let text = format!("{WHY}---\na: [\n---\n{COMPANY}spec: {{displayName: ''}}\n");
    let out = Repository::with(&[("a.yaml", &text)]).check(&[]).ends_with(2).out.clone();
    assert!(out.contains("deny: Company \"acme\": spec.displayName"), "{out}");
}

#[test]
fn a_separator_without_a_document_keeps_no_comment_for_the_next_file() {
    let repository = Repository::with(&[("a.yaml", &format!("{COMPANY}{GOOD}--- {WHY}"))]);
    repository.write("b.yaml", &commented("", "  displayName: ''\n").replace("acme", "b"));
    let found = repository.findings(&[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "a.yaml:5:5 Warn  [suppression/unused]");
}

#[test]
fn a_value_behind_an_alias_is_suppressed_at_the_alias() {
    let spec = "  displayName: Acme\n  domains:\n  - *bad # crm-admission: ignore domain: why\n";
    let head = "x: &bad com\n";
    let findings = Repository::with(&[("a.yaml", &commented(head, spec))]).check(&["--format", "json"]);
    let findings = findings.json()["findings"].as_array().unwrap().clone();
    let domain = findings.iter().find(|finding| finding["rule"] == "domain").unwrap();
    assert_eq!((&domain["line"], &domain["suppressed"]), (&8.into(), &true.into()), "{findings:?}");
}

#[test]
fn each_mistake_in_a_comment_is_a_warning_that_says_what_to_write() {
    let spec = "  displayName: '' # crm-admission: ignore display-name\n  \
                domains: [com] # crm-admission: ignore domian,domain/public-sufix,domain: why\n  \
                description: x # crm-admission: ignore: why\n";
    let repository = Repository::with(&[("a.yaml", &commented("", spec))]);
    let ended = repository.check(&[]);
    let expected = "\
a.yaml:5:19: warn: Company \"acme\": give the reason: # crm-admission: ignore display-name: why this is accepted [suppression/no-reason]
a.yaml:6:18: warn: Company \"acme\": no rule has the id \"domian\"; did you mean \"domain\"? [suppression/unknown-rule]
a.yaml:6:18: warn: Company \"acme\": the rule domain has no code \"public-sufix\"; did you mean \"public-suffix\"? [suppression/unknown-rule]
a.yaml:7:18: warn: Company \"acme\": name the rule after ignore, such as domain [suppression/unknown-rule]

1 record in 1 file checked: 4 warnings; 2 suppressed, which the cluster will deny.
";
    assert_eq!(ended.ends_with(0).out, expected);
    repository.check(&["--fail-on", "warn"]).ends_with(1);
}

#[test]
fn a_comment_outside_of_records_is_reported_too() {
    let text = "# crm-admission: ignore domain: why\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a} # crm-admission: ignore domain: why\n";
    let out = Repository::with(&[("a.yaml", text)]).check(&[]).ends_with(0).out.clone();
    assert!(out.starts_with("a.yaml:1:1: warn: no finding of domain is here; "), "{out}");
    assert!(out.contains("\na.yaml:6:21: warn: ConfigMap \"a\": no finding of domain is here; "), "{out}");
}

#[test]
fn a_suppressed_value_is_not_fixed() {
    let spec =
        "  displayName: Acme\n  domains:\n  - A.com # crm-admission: ignore domain: as it was\n  - B.com\n";
    let repository = Repository::with(&[("a.yaml", &commented("", spec))]);
    let out = repository.check(&["--fix", "--fail-on", "warn"]).ends_with(0).out.clone();
    assert!(out.ends_with("no findings; 1 suppressed; 1 value fixed.\n"), "{out}");
    assert_eq!(repository.read("a.yaml"), commented("", &spec.replace("B.com", "b.com")));
}

#[test]
fn a_suppressed_finding_does_not_fail_a_check_and_is_in_the_reports_for_programs() {
    let text = commented("", "  displayName: '' # crm-admission: ignore display-name: accepted by sales\n");
    let repository = Repository::with(&[("a.yaml", &text)]);
    let out = repository.check(&["--fail-on", "warn"]).ends_with(0).out.clone();
    let expected = "1 record in 1 file checked: no findings; 1 suppressed, which the cluster will deny.\n";
    assert_eq!(out, expected);
    let sarif = repository.check(&["--format", "sarif"]).ends_with(0).json();
    let results = &sarif["runs"][0]["results"];
    assert_eq!(results.as_array().unwrap().len(), 1);
    let expected = serde_json::json!([{"kind": "inSource", "justification": "accepted by sales"}]);
    assert_eq!(results[0]["suppressions"], expected);
    for format in ["junit", "github"] {
        let out = repository.check(&["--format", format]).ends_with(0).out.clone();
        assert!(!out.contains("[display-name]"), "{out}");
    }
}

#[test]
fn the_rule_about_comments_is_explained() {
    let out = crate::cli::run(&["rules", "suppression/unused"]).1;
    assert!(out.starts_with("suppression: ") && out.contains("unused: "), "{out}");
}

// Reports.

#[test]
fn the_report_for_gitlab_keeps_fingerprints_when_lines_move() {
    let repository = Repository::with(&[("crm/a.yaml", &bad("acme")), ("crm/b.yaml", "a: [1\n")]);
    let issues = |repository: &Repository, code| {
        repository.check(&["crm", "--format", "gitlab"]).ends_with(code).json()
    };
    let before = issues(&repository, 2);
    repository.write("crm/a.yaml", &format!("# moved\n{}", bad("acme")));
    let after = issues(&repository, 2);
    let [error, finding] = &after.as_array().unwrap()[..] else { panic!("{after}") };
    assert_eq!(finding["location"], serde_json::json!({"path": "crm/a.yaml", "lines": {"begin": 5}}));
    assert_eq!((&finding["check_name"], &finding["severity"]), (&"display-name".into(), &"critical".into()));
    assert_eq!((&error["severity"], &before[0]), (&"blocker".into(), error));
    assert_eq!(finding["fingerprint"], before[1]["fingerprint"]);
    assert_ne!(finding["location"], before[1]["location"]);
}

#[test]
fn the_report_in_json_has_a_version() {
    let ended = Repository::new().check(&["--format", "json"]);
    assert_eq!(ended.ends_with(0).json()["version"], 1);
}

#[test]
fn a_template_of_helm_is_an_error_that_says_what_to_check_instead() {
    let template = format!("{COMPANY}spec:\n  displayName: {{{{ .Values.name }}}}\n");
    let repository = Repository::with(&[("a.yaml", &template), ("b.yaml", "a: [\n")]);
    let out = repository.check(&[]).ends_with(2).out.clone();
    let said: Vec<&str> =
        out.lines().filter(|line| line.contains("helm template … | crm-admission check -")).collect();
    assert!(said.len() == 1 && said[0].starts_with("a.yaml:5:"), "{out}");
    // A string with braces is a string.
    let text = format!("{COMPANY}spec: {{displayName: '{{{{ acme }}}}'}}\n");
    Repository::with(&[("a.yaml", &text)]).check(&[]).ends_with(0);
}
