//! Variables in what was built: Flux replaces them after the build.

use crate::builds::check;
use crate::repository::{Ended, Repository};
use crate::tools::Tools;

const COMPANY: &str = "\
apiVersion: crm.milo.io/v1alpha1
kind: Company
metadata:
  name: acme
spec:
  displayName: ${name}
  domains:
  - HTTPS://Acme.com/
  - acme.${country}
";

/// A base with two overlays. `prod` patches the name, which is a variable in the base.
fn repository() -> Repository {
    let patch = COMPANY.replace("${name}", "' '");
    let patch = &patch[..patch.find("  domains").unwrap()];
    Repository::with(&[
        ("base/kustomization.yaml", "resources: [company.yaml]\n"),
        ("base/company.yaml", COMPANY),
        ("dev/kustomization.yaml", "resources: [../base]\n"),
        ("prod/kustomization.yaml", "resources: [../base]\npatches: [{path: patch.yaml}]\n"),
        ("prod/patch.yaml", patch),
    ])
}

fn fix(repository: &Repository, directory: &str, args: &[&str]) -> Ended {
    let tools = Tools::new();
    let path = tools.paths().next().unwrap();
    let args = [args, &["--fix", "--format", "json"]].concat();
    repository.check_in(directory, &[("PATH", path.to_str().unwrap())], &args)
}

#[test]
fn what_depends_on_an_unknown_variable_is_not_judged_and_counts_once() {
    let ended = check(&repository(), ".", &["--format", "json"]);
    let expected = [
        // The name of `prod` is in a patch.
        "base/company.yaml:1:1 Deny spec.displayName [display-name]",
        "base/company.yaml:8:5 Warn spec.domains[0] [domain/not-canonical]",
    ];
    assert_eq!(ended.ends_with(1).findings(), expected);
    assert_eq!(ended.json()["unknownVariables"], serde_json::json!(["country", "name"]));
    assert_eq!(ended.json()["summary"]["notJudged"], 2);
}

#[test]
fn a_wrong_value_is_found_at_its_variable() {
    let ended =
        check(&repository(), ".", &["--var", "country=c_m", "--var", "name=Acme", "--format", "json"]);
    let expected = "base/company.yaml:9:5 Deny spec.domains[1] [domain/bad-char]";
    assert_eq!(ended.ends_with(1).findings()[2], expected);
}

#[test]
fn a_patch_that_replaces_a_variable_by_its_value_is_not_in_the_file() {
    let repository = repository();
    repository.write("prod/patch.yaml", &COMPANY.replace("${country}", "_"));
    let ended = check(&repository, "prod", &["--var", "country=_", "--format", "json", "."]);
    let found = ended.findings();
    assert!(
        found.contains(&"../base/company.yaml:1:1 Deny spec.domains[1] [domain/bad-char]".to_owned()),
        "{found:?}"
    );
}

#[test]
fn a_fix_leaves_variables_as_they_are() {
    let repository = repository();
    let ended = fix(&repository, ".", &["--var", "country=COM", "--var", "name=Acme"]);
    assert_eq!(repository.read("base/company.yaml"), COMPANY.replace("HTTPS://Acme.com/", "acme.com"));
    assert_eq!(ended.json()["summary"]["fixed"], 1, "{}", ended.out);
}

#[test]
fn a_variable_that_a_fix_moves_is_still_not_judged() {
    let repository = repository();
    let twice = "  - HTTPS://Acme.com/\n  - acme.com\n";
    let company = COMPANY.replace("${name}", "Acme");
    repository.write("base/company.yaml", &company.replace("  - HTTPS://Acme.com/\n", twice));
    let ended = fix(&repository, "dev", &[".", "../base"]);
    assert_eq!(repository.read("base/company.yaml"), company.replace("HTTPS://Acme.com/", "acme.com"));
    assert_eq!(ended.ends_with(0).findings(), [] as [&str; 0]);
    assert_eq!(ended.json()["summary"]["notJudged"], 1);
}
