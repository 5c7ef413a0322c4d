//! What `check` finds in builds, and where.

use crate::repository::{Ended, Repository};
use crate::tools::Tools;

const COMPANY: &str = "\
# The first customer.
apiVersion: crm.milo.io/v1alpha1
kind: Company
metadata:
  name: acme-corp
spec:
  displayName: Acme
  domains:
  - HTTPS://Acme.com/  # as it was pasted
";
const PERSON: &str = "\
apiVersion: crm.milo.io/v1alpha1
kind: Person
metadata: {name: jane}
spec: {displayName: Jane, companyRef: {name: acme-corp}}
";
const COMPONENT: &str = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";
const BUILD: [&str; 4] = ["--kustomize", "build", "--format", "json"];

/// A base with two overlays and a component. In `dev` a patch takes the name of the company.
fn repository() -> Repository {
    Repository::with(&[
        (
            "base/kustomization.yaml",
            "resources: [company.yaml, people.yaml]\nconfigMapGenerator: [{name: a, files: [data.json]}]\n",
        ),
        ("base/company.yaml", COMPANY),
        ("base/people.yaml", PERSON),
        ("base/data.json", "[1]"),
        (
            "component/kustomization.yaml",
            &format!("{COMPONENT}patches: [{{path: ops.yaml, target: {{kind: Company}}}}]\n"),
        ),
        ("component/ops.yaml", "- op: add\n  path: /metadata/labels\n  value: {crm.milo.io/source: fair}\n"),
        (
            "overlays/dev/kustomization.yaml",
            "resources: [../../base]\ncomponents: [../../component]\npatches: [{path: patch.yaml}]\n",
        ),
        (
            "overlays/dev/patch.yaml",
            "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme-corp}\nspec: {displayName: ' '}\n",
        ),
        ("overlays/prod/kustomization.yml", "resources: [../../base]\ncomponents: [../../component]\n"),
        (
            "plain/note.yaml",
            "apiVersion: crm.milo.io/v1alpha1\nkind: Note\nmetadata: {name: call}\n\
             spec: {content: x, subjectRef: {apiGroup: crm.milo.io, kind: Company, name: acme-corp}}\n",
        ),
    ])
}

/// What a check says with each of the tools, which is the same.
#[track_caller]
pub(crate) fn check(repository: &Repository, directory: &str, args: &[&str]) -> Ended {
    let tools = Tools::new();
    let check =
        |path: std::path::PathBuf| repository.check_in(directory, &[("PATH", path.to_str().unwrap())], args);
    let mut ended: Vec<Ended> = tools.paths().map(check).collect();
    let first = ended.remove(0);
    for other in ended {
        assert_eq!((other.code, &other.out), (first.code, &first.out), "{}{}", first.err, other.err);
    }
    first
}

#[test]
fn findings_are_at_the_value_if_it_stands_there_else_at_the_head_of_the_resource() {
    let ended = check(&repository(), ".", &BUILD);
    assert_eq!(
        ended.ends_with(1).findings(),
        [
            "base/company.yaml:2:1 Deny spec.displayName [display-name]",
            "base/company.yaml:2:1 Warn metadata.labels[crm.milo.io/source] [label-value]",
            "base/company.yaml:9:5 Warn spec.domains[0] [domain/not-canonical]",
        ]
    );
    // Each names the builds in which the object is another than in its file.
    let sources: Vec<_> = ended.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["source"].clone())
        .collect();
    assert_eq!(sources, ["overlays/dev", "overlays/dev, overlays/prod", "overlays/dev, overlays/prod"]);
    // Two builds of two records, and the note.
    assert_eq!(ended.json()["summary"]["checked"], 5);
    assert_eq!(ended.err, "");
}

#[test]
fn a_file_is_fixed_where_the_value_stands_in_it() {
    let repository = repository();
    repository.write("overlays/dev/patch.yaml", &COMPANY.replace("HTTPS://Acme.com/", "WWW.Acme.org"));
    let ended = check(&repository, ".", &["--diff"]);
    assert!(
        ended.out.contains("-  - HTTPS://Acme.com/  # as it was pasted\n+  - acme.com  # as it was pasted\n"),
        "{}",
        ended.out
    );
    let note = "note: 1 value comes from a patch, a generator or a transformer of kustomize; fix it there\n";
    assert!(ended.err.ends_with(note), "{}", ended.err);
    let tools = Tools::new();
    let path = tools.paths().next().unwrap();
    let fixed = repository.check_in(".", &[("PATH", path.to_str().unwrap())], &["--fix", "--format", "json"]);
    assert!(fixed.findings().iter().all(|finding| !finding.contains(":9:5 ")), "{:?}", fixed.findings());
    assert_eq!(repository.read("base/company.yaml"), COMPANY.replace("HTTPS://Acme.com/", "acme.com"));
    assert_eq!(fixed.json()["summary"]["fixed"], 1);
}

#[test]
fn a_comment_in_the_file_suppresses_what_is_found_there() {
    let repository = repository();
    let comment = "# crm-admission: ignore display-name,label-value: known\n";
    repository.write("base/company.yaml", &COMPANY.replace("# The first customer.\n", comment));
    let ended = check(&repository, ".", &BUILD);
    assert_eq!(ended.ends_with(0).json()["summary"]["suppressed"], 2, "{}", ended.out);
}

#[test]
fn a_comment_outside_of_the_given_paths_may_be_for_another_build() {
    let repository = repository();
    let comment = "# crm-admission: ignore display-name: known in dev\n";
    repository.write("base/company.yaml", &COMPANY.replace("# The first customer.\n", comment));
    let args = ["--kustomize", "build", "--format", "json", "overlays/prod"];
    let findings = check(&repository, ".", &args).findings();
    assert!(findings.iter().all(|finding| !finding.contains("suppression")), "{findings:?}");
}

#[test]
fn a_base_outside_of_the_given_paths_is_read_and_not_fixed() {
    let repository = repository();
    let ended =
        check(&repository, "overlays", &["--kustomize", "build", "--fix", "--format", "json", "prod"]);
    assert_eq!(ended.findings()[1], "../base/company.yaml:9:5 Warn spec.domains[0] [domain/not-canonical]");
    let note = "note: ../base/company.yaml: not fixed, because it is outside the given paths; pass it, too, to fix it\n";
    assert_eq!(ended.err, note);
    assert_eq!(repository.read("base/company.yaml"), COMPANY);
}

#[test]
fn objects_with_other_names_are_found_in_their_files() {
    let repository = repository();
    repository.write("base/company.yaml", &format!("{COMPANY}---\n{}", COMPANY.replace("acme-corp", "acme")));
    repository.write(
        "overlays/prod/kustomization.yml",
        "resources: [../../base]\nnamePrefix: eu-\nnameSuffix: '-1'\n",
    );
    let ended = check(&repository, ".", &["--kustomize", "build", "--format", "json", "overlays/prod"]);
    // kustomize does not know that companyRef is a name.
    assert_eq!(
        ended.findings(),
        [
            "base/company.yaml:9:5 Warn spec.domains[0] [domain/not-canonical]",
            "base/company.yaml:19:5 Warn spec.domains[0] [domain/not-canonical]",
            "base/people.yaml:4:46 Warn spec.companyRef.name [company-exists/unresolved]",
        ]
    );
}

#[test]
fn an_object_is_found_although_the_prefix_is_the_name_of_another() {
    let acme = COMPANY.replace("acme-corp", "acme").replace("HTTPS://Acme.com/", "acme.com");
    let repository = Repository::with(&[
        ("kustomization.yaml", "resources: [companies.yaml]\nnamePrefix: acme-\n"),
        ("companies.yaml", &format!("{acme}---\n{}", COMPANY.replace("acme-corp", "b"))),
    ]);
    let ended = check(&repository, ".", &BUILD);
    assert_eq!(ended.findings(), ["companies.yaml:19:5 Warn spec.domains[0] [domain/not-canonical]"]);
}

#[test]
fn findings_in_objects_whose_own_places_are_unknown_are_all_reported() {
    let rename = |from, to| {
        let patch = format!(r#"[{{"op": "replace", "path": "/metadata/name", "value": "{to}"}}]"#);
        format!(
            "- target: {{kind: Company, name: {from}}}\n  options: {{allowNameChange: true}}\n  patch: '{patch}'\n"
        )
    };
    let company = |name| COMPANY.replace("acme-corp", name);
    let repository = Repository::with(&[
        (
            "kustomization.yaml",
            &format!("resources: [companies.yaml]\npatches:\n{}{}", rename("a", "x"), rename("b", "y")),
        ),
        (
            "companies.yaml",
            &format!("{}---\n{}", company("a"), company("b").replace("# The first", "# Another")),
        ),
    ]);
    let ended = check(&repository, ".", &BUILD);
    let names: Vec<_> =
        ended.json()["findings"].as_array().unwrap().iter().map(|finding| finding["name"].clone()).collect();
    assert_eq!(names, ["x", "y"], "{}", ended.out);
}

#[test]
fn a_reference_does_not_find_the_record_of_a_variant() {
    let repository = repository();
    repository.write(
        "overlays/dev/patch.yaml",
        "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme-corp}\n$patch: delete\n",
    );
    let ended = check(&repository, ".", &BUILD);
    assert_eq!(
        ended.findings().last().unwrap(),
        "base/people.yaml:4:46 Warn spec.companyRef.name [company-exists/unresolved]"
    );
    // Units without a common base are deployed together, and so is what no unit has.
    repository.write("companies/kustomization.yaml", "resources: [acme.yaml]\n");
    repository.write("companies/acme.yaml", COMPANY);
    assert!(
        check(&repository, ".", &BUILD).findings().iter().all(|finding| !finding.contains("company-exists"))
    );
}

#[test]
fn a_base_of_a_unit_that_is_not_built_is_also_checked_as_it_stands() {
    let repository = repository();
    repository.write("base/company.yaml", &COMPANY.replace("displayName: Acme", "displayName: ' '"));
    let patch = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme-corp}\nspec: {displayName: Acme}\n";
    repository.write("overlays/dev/patch.yaml", patch);
    repository
        .write("overlays/dev/kustomization.yaml", "resources: [../../base]\npatches: [{path: patch.yaml}]\n");
    repository
        .write("overlays/prod/kustomization.yml", "resources: [../../base, 'https://example.com/a.yaml']\n");
    // Each once, and what dev renders is no duplicate of the file that it comes from.
    assert_eq!(
        check(&repository, ".", &["--format", "json"]).ends_with(1).findings(),
        [
            "base/company.yaml:7:16 Deny spec.displayName [display-name]",
            "base/company.yaml:9:5 Warn spec.domains[0] [domain/not-canonical]",
        ]
    );
}

#[test]
fn builds_that_share_only_other_objects_are_deployed_together() {
    let repository = Repository::with(&[
        ("common/kustomization.yaml", "resources: [namespace.yaml]\n"),
        ("common/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: crm}\n"),
        ("companies/kustomization.yaml", "resources: [../common, company.yaml]\n"),
        ("companies/company.yaml", COMPANY),
        ("people/kustomization.yaml", "resources: [../common, people.yaml]\n"),
        ("people/people.yaml", PERSON),
    ]);
    let ended = check(&repository, ".", &[&BUILD[..], &["--complete"]].concat());
    assert_eq!(
        ended.ends_with(0).findings(),
        ["companies/company.yaml:9:5 Warn spec.domains[0] [domain/not-canonical]"]
    );
}

#[test]
fn a_generated_object_is_no_record_and_neither_is_its_generator() {
    let repository = Repository::with(&[
        ("kustomization.yaml", "# The list.\nresources: []\ngenerators: [generator.yaml]\n"),
        (
            "generator.yaml",
            "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: a}\nliterals: [a=b]\n",
        ),
    ]);
    let ended = check(&repository, ".", &BUILD);
    assert_eq!(ended.ends_with(0).json()["summary"]["other"], 1);
}

#[test]
fn a_record_in_a_build_and_in_another_file_is_there_twice() {
    let repository = repository();
    repository.write("plain/acme.yaml", &COMPANY.replace("HTTPS://Acme.com/", "acme.com"));
    let ended = check(&repository, ".", &BUILD);
    let duplicate = ended.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "duplicate-object")
        .cloned();
    let message = duplicate.unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("plain/acme.yaml:5:9"), "{message}");
}

#[test]
fn the_order_of_the_unit_is_kept() {
    let repository = Repository::with(&[
        ("kustomization.yaml", "sortOptions: {order: fifo}\nresources: [people.yaml, company.yaml]\n"),
        ("company.yaml", COMPANY),
        ("people.yaml", PERSON),
    ]);
    let args = [&BUILD[..], &["--applier", "kubectl"]].concat();
    let findings = check(&repository, ".", &args).findings();
    assert!(findings.iter().any(|finding| finding.ends_with("[company-exists/order]")), "{findings:?}");
}

#[test]
fn an_error_of_the_tool_is_reported_without_what_is_around_it() {
    let repository = repository();
    repository.write(
        "overlays/dev/patch.yaml",
        "kind: Company\nmetadata: {name: absent}\napiVersion: crm.milo.io/v1alpha1\n",
    );
    let tools = Tools::new();
    for path in tools.paths() {
        let ended = repository.check_in(".", &[("PATH", path.to_str().unwrap())], &BUILD);
        let err = &ended.ends_with(2).err;
        assert!(err.starts_with("error: overlays/dev/kustomization.yaml: ku"), "{err}");
        assert!(err.contains("absent") && !err.contains("crm-admission-"), "{err}");
        // The other overlay is checked.
        assert_eq!(ended.findings().len(), 2, "{}", ended.out);
    }
}
