//! Tests what `check` makes of variables such as `${NAME}`.

use rstest::rstest;

use crate::repository::{COMPANY, PERSON, Repository};

const NOTE: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Note\nmetadata: {name: call}\n";

/// A repository with one file.
fn one(text: &str) -> Repository {
    Repository::with(&[("a.yaml", text)])
}

/// A repository with one company, which has these lines below `spec`.
fn company(spec: &str) -> Repository {
    one(&format!("{COMPANY}spec:\n{spec}"))
}

/// The number of values that were not judged.
#[track_caller]
fn not_judged(repository: &Repository, args: &[&str]) -> u64 {
    let report = repository.check(&[args, &["--format", "json"]].concat()).json();
    report["summary"]["notJudged"].as_u64().unwrap()
}

/// Each message about a field.
#[track_caller]
fn messages(repository: &Repository, args: &[&str]) -> Vec<String> {
    let report = repository.check(&[args, &["--format", "json"]].concat()).json();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["message"].as_str().unwrap().to_owned()).collect()
}

// Known values.

#[test]
fn a_variable_is_replaced_by_its_value_and_the_finding_is_at_the_variable() {
    let repository = company("  displayName: Acme\n  domains:\n  - ok.com\n  - \"${DOMAIN}\"  # ours\n");
    assert_eq!(repository.findings(&["--var", "DOMAIN=acme.com"]), [] as [&str; 0]);
    let expected = ["a.yaml:8:5 Deny spec.domains[1] [domain/bad-char]"];
    assert_eq!(repository.findings(&["--var", "DOMAIN=a_b.com"]), expected);
    let said = messages(&repository, &["--var", "DOMAIN=HTTPS://Acme.com/"]);
    let expected = "Invalid value: \"HTTPS://Acme.com/\": not in its canonical form; write \"acme.com\"; the value \
                    comes from ${DOMAIN} [domain/not-canonical]";
    assert_eq!(said, [expected]);
}

#[rstest]
#[case::a_default("${A:=acme.com}", &[])]
#[case::the_other_default("${A:-acme.com}", &[])]
#[case::a_value_for_a_default("${A:=a_b}", &["A=acme.com"])]
#[case::several("${A}.${B}", &["A=acme", "B=com"])]
#[case::the_last_of_two("${A}", &["A=a_b", "A=acme.com"])]
fn what_is_known_is_judged(#[case] domain: &str, #[case] variables: &[&str]) {
    let repository = company(&format!("  displayName: Acme\n  domains: ['{domain}', a_b]\n"));
    let args: Vec<&str> = variables.iter().flat_map(|variable| ["--var", variable]).collect();
    let found = repository.findings(&args);
    assert!(found.iter().any(|finding| finding.contains("Deny spec.domains[1]")), "{found:?}");
    assert!(!found.iter().any(|finding| finding.contains("Deny spec.domains[0]")), "{found:?}");
    assert_eq!(not_judged(&repository, &args), 0);
}

#[test]
fn two_dollars_are_one() {
    // A label cannot have a dollar, and its message shows the value.
    let repository = one(&format!(
        "{}spec: {{displayName: Acme}}\n",
        COMPANY.replace("name: acme", "name: acme, labels: {a: \"$${A}\"}")
    ));
    let said = messages(&repository, &["--var", "A=x"]);
    assert!(said.len() == 1 && said[0].starts_with("Invalid value: \"${A}\": must be at most"), "{said:?}");
    assert_eq!(not_judged(&repository, &[]), 0);
}

#[rstest]
#[case::true_("followUp: ${X}", "true", &[])]
#[case::quoted_in_the_file("followUp: '${X}'", "true", &[])]
#[case::a_word("followUp: ${X}", "later", &["spec.followUp: Invalid value: \"later\": must be a boolean, not a string; the value comes from ${X} [schema]"])]
#[case::a_number_for_a_string(
    "nextAction: \"${X}\"",
    "42",
    &["spec.nextAction: Invalid value: \"42\": must be a string, not a number; the value comes from ${X}, which Flux inserts without quotes [schema]"]
)]
#[case::a_quoted_number("nextAction: ${Q:=\"}${X}${Q:=\"}", "42", &[])]
#[case::nothing("nextAction: ${X}", "", &[])]
#[case::no_yaml(
    "nextAction: ${X}",
    "Call: now",
    &["spec.nextAction: Invalid value: \"Call: now\": Flux cannot read it: "]
)]
fn a_value_has_the_type_that_flux_gives_it(
    #[case] field: &str,
    #[case] value: &str,
    #[case] expected: &[&str],
) {
    let subject = "subjectRef: {apiGroup: crm.milo.io, kind: Company, name: acme}";
    let note = format!("{NOTE}spec:\n  content: x\n  {subject}\n  {field}\n");
    let repository = one(&format!("{note}---\n{COMPANY}spec: {{displayName: Acme}}\n"));
    let ended = repository.check(&["--var", &format!("X={value}")]);
    let place = format!("a.yaml:7:{}: deny: Note \"call\": ", field.find(": ").unwrap() + 5);
    let found: Vec<&str> = ended.out.lines().filter(|line| line.starts_with("a.yaml")).collect();
    assert_eq!(found.len(), expected.len(), "{}", ended.out);
    for (line, expected) in found.iter().zip(expected) {
        assert!(line.strip_prefix(&place).is_some_and(|said| said.starts_with(expected)), "{line}");
    }
}

#[test]
fn a_list_can_come_from_a_variable_and_its_findings_are_at_the_variable() {
    let repository = company("  displayName: Acme\n  domains: ${DOMAINS}\n");
    assert_eq!(repository.findings(&["--var", "DOMAINS=[a.com, b.com]"]), [] as [&str; 0]);
    let expected = ["a.yaml:6:12 Deny spec.domains[1] [domain/bad-char]"];
    assert_eq!(repository.findings(&["--var", "DOMAINS=[a.com, a_b.com]"]), expected);
}

#[test]
fn a_name_can_come_from_a_variable() {
    let text = format!(
        "{}spec: {{displayName: Acme}}\n---\n{PERSON}spec:\n  displayName: Jane\n  companyRef: {{name: \"${{ENV}}-acme\"}}\n",
        COMPANY.replace("acme", "\"${ENV:=dev}-acme\"")
    );
    let repository = one(&text);
    assert_eq!(repository.findings(&["--var", "ENV=prod"]), [] as [&str; 0]);
    // The default is only that of the company.
    let expected = ["a.yaml:11:22 Warn spec.companyRef.name [company-exists/unresolved]"];
    let said = repository.check(&["--var", "ENV="]).out;
    assert!(said.contains("\"-acme\": must consist"), "{said}");
    let other = one(&text.replace("\"${ENV}-acme\"", "prod-acme"));
    assert_eq!(other.findings(&[]), expected);
}

#[test]
fn keys_have_variables_too() {
    let text = format!(
        "{}spec: {{displayName: Acme}}\n",
        COMPANY.replace("name: acme", "name: acme, labels: {\"${GROUP}/tier\": \"a b\"}")
    );
    let repository = one(&text);
    let expected = ["a.yaml:3:50 Deny metadata.labels[acme.com/tier] [schema]"];
    assert_eq!(repository.findings(&["--var", "GROUP=acme.com"]), expected);
    assert_eq!((repository.findings(&[]).len(), not_judged(&repository, &[])), (0, 1));
}

#[test]
fn an_object_can_opt_out() {
    for place in ["labels", "annotations"] {
        let head = format!("name: acme, {place}: {{kustomize.toolkit.fluxcd.io/substitute: disabled}}");
        let text = format!(
            "{}spec: {{displayName: Acme, domains: ['${{A}}']}}\n",
            COMPANY.replace("name: acme", &head)
        );
        let repository = one(&text);
        let expected = ["a.yaml:4:37 Deny spec.domains[0] [domain/bad-char]"];
        assert_eq!(repository.findings(&["--var", "A=acme.com"]), expected, "{place}");
    }
}

// Unknown values.

#[test]
fn a_value_with_an_unknown_variable_is_not_judged_and_the_summary_says_how_to_give_it() {
    let repository = company(
        "  displayName: \"${NAME}\"\n  domains:\n  - \"${DOMAIN}\"\n  - a_b.com\n  description: \"${NAME,,}\"\n",
    );
    let ended = repository.check(&[]);
    let expected = "\
a.yaml:8:5: deny: Company \"acme\": spec.domains[1]: ";
    assert!(ended.ends_with(1).out.starts_with(expected), "{}", ended.out);
    let expected = "\n\n1 record in 1 file checked: 1 would be denied (1 finding denies); 3 values were not judged, \
                    because variables are unknown: give --var DOMAIN=… --var NAME=…; and check does not evaluate \
                    \"${NAME,,}\".\n";
    assert!(ended.out.ends_with(expected), "{}", ended.out);
    let report = repository.check(&["--format", "json"]).json();
    assert_eq!(report["unknownVariables"], serde_json::json!(["DOMAIN", "NAME"]));
    assert_eq!(report["unevaluatedExpressions"], serde_json::json!(["${NAME,,}"]));
    assert_eq!(report["summary"]["notJudged"], 3);
    let out = repository.check(&["--format", "github"]).out;
    assert!(out.contains("3 values were not judged"), "{out}");
}

/// A company, a person and a note of which everything that can be unknown is unknown.
const UNKNOWN: &str = r#"
apiVersion: crm.milo.io/v1alpha1
kind: Company
metadata:
  name: "${A}"
  labels: {crm.milo.io/source: "${A}", "${A}": x}
  annotations: {"${A}": "${A}"}
  finalizers: ["${A}"]
spec:
  displayName: ${A}
  domains: ["${A}", "${A}", "https://acme.com/${A}", acme.com]
  description: ${A}
  linkedinProfile: https://www.linkedin.com/company/${A}
  organizationRef: {name: "${A}"}
  creatorRef: {name: "${A}"}
---
apiVersion: crm.milo.io/v1alpha1
kind: Person
metadata: {generateName: "${A}"}
spec:
  displayName: "${A} Miller"
  companyRef: ${A}
  userRef: {name: "${A}"}
  contactRefs: [{name: "${A}", namespace: "${A}", type: "${A}", primary: "${A}"}, {name: a, namespace: b, type: email, primary: true}]
  creatorRef: ${A}
---
apiVersion: crm.milo.io/v1alpha1
kind: Note
metadata: {name: a}
spec:
  subjectRef: {kind: "${A}", name: acme, namespace: x}
  content: ${A}
  followUp: ${A}
  interactionTime: ${A}
  nextActionTime: ${A}
---
apiVersion: crm.milo.io/v1alpha1
kind: Note
metadata: {name: b}
spec:
  subjectRef: {apiGroup: "${A}", kind: Compny, name: acme}
  content: x
---
apiVersion: crm.milo.io/v1alpha1
kind: Note
metadata: {name: c}
spec: ${A}
---
apiVersion: crm.milo.io/v1alpha1
kind: "${A}"
metadata: {name: d}
---
apiVersion: crm.milo.io/${A}
kind: Company
metadata: {name: e}
---
apiVersion: crm.milo.io/v1alpha1
kind: Company
metadata: ${A}
spec: {displayName: Acme, "${A}": x}
"#;

#[test]
fn no_rule_and_no_schema_judges_an_unknown_value() {
    let repository = one(UNKNOWN);
    let policy = r#"
apiVersion: admission.crm.milo.io/v1alpha1
kind: AdmissionPolicy
metadata: {name: default}
spec:
  rules:
  - {rule: creator-is-requester, action: Deny}
  - {rule: creator-exists, action: Deny}
  - {rule: user-exists, action: Deny}
  - {rule: organization-exists, action: Deny}
  - {rule: label-value, action: Deny}
  labels: [{key: crm.milo.io/segment, kinds: [Company], allowed: [a], required: true}]
  references:
    kinds:
      user: {group: iam.miloapis.com, version: v1alpha1, kind: User, plural: users}
      organization: {group: resourcemanager.miloapis.com, version: v1alpha1, kind: Organization, plural: organizations}
"#;
    repository.write(".policy.yaml", policy);
    let alice = "---\napiVersion: iam.miloapis.com/v1alpha1\nkind: User\nmetadata: {name: alice}\n";
    repository.write("b.yaml", &format!("{UNKNOWN}{alice}"));
    let strict = ["--policy", ".policy.yaml", "--as", "alice", "--resources", "b.yaml"];
    for args in [&[][..], &["--applier", "argocd"], &["--applier", "flux"], &strict] {
        let ended = repository.check(&[args, &["a.yaml", "--fail-on", "warn"]].concat());
        ended.ends_with(0);
    }
    repository.check(&["a.yaml", "--var", "A=a b: c"]).ends_with(1);
}

#[test]
fn what_does_not_depend_on_an_unknown_value_is_judged() {
    let repository =
        company("  displayName: \"${A}\"\n  displayNam: \"${A}\"\n  domains: [\"${A}\", com, 1]\n");
    let expected = [
        "a.yaml:6:3 Deny spec.displayNam [schema]",
        "a.yaml:7:21 Deny spec.domains[1] [domain/single-label]",
        "a.yaml:7:26 Deny spec.domains[2] [schema]",
    ];
    assert_eq!(repository.findings(&[]), expected);
}

#[rstest]
#[case::any_name("${A}", "acme", false)]
#[case::a_name_that_it_can_be("acme-${A}", "acme-prod", false)]
#[case::a_name_that_it_cannot_be("acme-${A}", "globex", true)]
fn a_reference_to_what_may_exist_under_an_unknown_name_is_not_judged(
    #[case] name: &str,
    #[case] target: &str,
    #[case] is_judged: bool,
) {
    let company = format!("{}spec: {{displayName: Acme}}\n", COMPANY.replace("acme", &format!("'{name}'")));
    let person = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: {target}}}}}\n");
    let expected: &[&str] = &["p.yaml:4:46 Warn spec.companyRef.name [company-exists/unresolved]"];
    let repository = Repository::with(&[("c.yaml", &company), ("p.yaml", &person)]);
    assert_eq!(repository.findings(&[]), if is_judged { expected } else { &[] });
    // The same with a resource, beside which nothing else exists.
    let found = repository.findings(&["p.yaml", "--resources", "c.yaml"]);
    assert_eq!(found.len(), usize::from(is_judged), "{found:?}");
    let found = repository.findings(&["p.yaml", "--resources", "c.yaml", "--var", "A=x"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!found[0].contains("${"), "{found:?}");
}

#[test]
fn objects_with_unknown_names_are_no_duplicates_and_those_with_known_ones_are() {
    let text = format!("{}spec: {{displayName: Acme}}\n", COMPANY.replace("acme", "'${A}'"));
    let repository = one(&[text.as_str(), &text].join("---\n"));
    assert_eq!(repository.findings(&[]), [] as [&str; 0]);
    let expected = ["a.yaml:8:18 Warn metadata.name [schema/duplicate-object]"];
    assert_eq!(repository.findings(&["--var", "A=acme"]), expected);
}

#[test]
fn values_that_are_never_judged_do_not_count() {
    let text = format!(
        "{COMPANY}spec: {{displayName: Acme}}\nstatus: {{a: \"${{A}}\"}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: \"${{A}}\"}}\n"
    );
    assert_eq!(not_judged(&one(&text), &[]), 0);
}

#[test]
fn a_comment_at_a_value_that_is_not_judged_is_not_unused() {
    let repository = company(
        "  displayName: Acme\n  domains:\n  - \"${A}\"  # crm-admission: ignore domain: it is ours\n",
    );
    assert_eq!(repository.findings(&[]), [] as [&str; 0]);
    let ended = repository.check(&["--var", "A=com"]);
    assert!(ended.ends_with(0).out.contains("1 suppressed, which the cluster will deny"), "{}", ended.out);
    let unused = repository.findings(&["--var", "A=acme.com"]);
    assert_eq!(unused, ["a.yaml:7:13 Warn  [suppression/unused]"]);
}

// Fixes.

#[test]
fn a_value_with_a_variable_is_never_fixed() {
    let spec = "  displayName: \" ${NAME} \"\n  domains:\n  - \"${D}\"\n  - Acme.com\n  - \"${ENV:=www}.Acme.com\"\n  - B.com\n  - \"b$$.com\"\n  - b.com\n  - \"${B:=b.com}\"\n";
    let repository = company(spec);
    let args = ["--fix", "--var", "NAME=Acme", "--var", "D=acme.com"];
    let ended = repository.check(&args);
    assert!(ended.out.contains("2 values fixed"), "{}", ended.out);
    // Acme.com is there twice only with this value of a variable.
    let expected = spec.replace("- B.com", "- b.com").replace("\n  - b.com\n  - \"${B", "\n  - \"${B");
    assert_eq!(repository.read("a.yaml"), format!("{COMPANY}spec:\n{expected}"));
    assert_eq!(repository.check(&args).out.matches("fixed").count(), 0);
}

#[test]
fn a_variable_behind_an_anchor_is_not_fixed() {
    let text = format!("x: &d \"${{D}}\"\n{COMPANY}spec: {{displayName: Acme, domains: [*d, *d]}}\n");
    let repository = one(&text);
    repository.check(&["--fix", "--var", "D=Acme.com"]);
    assert_eq!(repository.read("a.yaml"), text);
}

// What users give.

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let repository = company("  displayName: Acme\n  domains: [\"${A}\", \"${B}\", \"${C}\"]\n");
    repository.write(
        ".crm-admission.yaml",
        "paths: [a.yaml]\nformat: json\nvariables: {A: of.file.com, B: com, C: com}\n",
    );
    let shown = |variables: &[(&str, &str)], args: &[&str]| {
        let ended = repository.check_in(".", variables, args);
        ended.findings().len()
    };
    assert_eq!(shown(&[], &[]), 2);
    assert_eq!(shown(&[("CRM_ADMISSION_VAR", "B=b.com")], &[]), 1);
    assert_eq!(shown(&[("CRM_ADMISSION_VAR", "B=b.com,C=c.com")], &[]), 0);
    assert_eq!(shown(&[("CRM_ADMISSION_VAR", "C=c.com")], &["--var", "B=b.com"]), 1);
    assert_eq!(shown(&[], &["--var", "B=b.com", "--var", "C=c.com"]), 0);
}

#[rstest]
#[case::no_value("DOMAIN", "it has no value; write --var DOMAIN=VALUE")]
#[case::an_empty_name("=a", "\"\" cannot be the name of a variable: ")]
#[case::an_invalid_name(
    "my-domain=a",
    "\"my-domain\" cannot be the name of a variable: did you mean \"my_domain\"?"
)]
fn a_mistake_in_a_flag_is_a_usage_error_that_says_what_was_meant(
    #[case] given: &str,
    #[case] expected: &str,
) {
    let ended = company("  displayName: Acme\n").check(&["--var", given]);
    assert!(ended.ends_with(2).err.contains(expected), "{}", ended.err);
    assert!(ended.err.contains("\nUsage: crm-admission check"), "{}", ended.err);
}

#[rstest]
#[case::a_number("variables:\n  A: 1\n", ":2:6: variables.A: ", "; write it in quotes")]
#[case::a_list("variables: [A=1]\n", ":1:12: variables: ", "; write a map: variables: {NAME: value}")]
#[case::a_bad_name("variables: {A: x, a-b: x}\n", ":1:24: \"a-b\" cannot be", "did you mean \"a_b\"?")]
fn a_mistake_in_the_file_is_an_error_with_its_place(
    #[case] text: &str,
    #[case] start: &str,
    #[case] end: &str,
) {
    let repository = company("  displayName: Acme\n");
    repository.write(".crm-admission.yaml", text);
    let err = repository.check(&[]).ends_with(2).err.clone();
    assert!(err.starts_with(&format!("error: .crm-admission.yaml{start}")), "{err}");
    assert!(err.trim_end().ends_with(end), "{err}");
}

#[test]
fn a_misspelled_variable_gets_a_note() {
    let repository = company("  displayName: Acme\n  domains: [\"${DOMAIN}\", \"${OTHER:=a.com}\"]\n");
    let err = repository.check(&["--var", "DOMIAN=a.com", "--var", "UNUSED=a", "--var", "OTHER=b.com"]).err;
    assert_eq!(err, "note: no value uses the variable DOMIAN; did you mean DOMAIN?\n");
    assert_eq!(repository.check(&["--quiet", "--var", "DOMIAN=a.com"]).err, "");
}

#[test]
fn between_brackets_a_variable_needs_quotes_and_the_error_says_so() {
    let ended = one(&format!("{COMPANY}spec: {{displayName: Acme, domains: [${{D}}]}}\n")).check(&[]);
    let said = "; between brackets, write a variable in quotes: \"${NAME}\"\n";
    assert!(ended.ends_with(2).out.contains(said), "{}", ended.out);
}
