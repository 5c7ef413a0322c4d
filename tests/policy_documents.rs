//! Tests how policy documents are compiled, and that all problems of invalid ones are reported.

use crm_core::catalog::{Action, RuleId};
use crm_core::policy::{self, Policy, Problems, compile};
use rstest::rstest;
use serde_json::{Value, json};

fn yaml(text: &str) -> Value {
    crm_manifest::documents(text).unwrap().remove(0).1
}

fn with_spec(spec: Value) -> Value {
    json!({"apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicy", "metadata": {"name": "default"}, "spec": spec})
}

fn problems(document: &Value) -> Vec<String> {
    let Problems(problems) = compile(document, "test").unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_default_equals_the_built_in_policy() {
    let shipped = yaml(include_str!("../manifests/policy/default.yaml"));
    let compiled = compile(&shipped, "built-in").unwrap();
    let built_in = Policy::default();
    assert_eq!(policy::document(&compiled), policy::document(&built_in));
    assert_eq!(policy::document(&built_in), shipped, "the shipped policy has every field");
}

#[test]
fn an_empty_spec_is_the_built_in_policy() {
    let compiled = compile(&with_spec(json!({})), "test").unwrap();
    assert_eq!(policy::document(&compiled), policy::document(&Policy::default()));
    assert_eq!(compiled.origin, "test");
}

/// The settings in the last column of the table about Milo's webhook, row by row: a rule with its action, or a field of
/// the spec with its value.
fn milo_recipes() -> Vec<Vec<(String, Value)>> {
    let page = include_str!("../docs/milo.md");
    let (_, section) = page.split_once("## Differences from Milo's webhook").expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let of_row = |row: &str| {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().expect("a cell").to_owned();
        let spans = cell.split('`').skip(1).step_by(2).filter_map(|span| span.split_once(": "));
        spans.map(|(key, value)| (key.to_owned(), yaml(value))).collect()
    };
    rows.take_while(|row| row.starts_with('|')).map(of_row).collect()
}

#[test]
fn the_recipes_for_the_behaviour_of_milos_webhook_are_policies() {
    let recipes = milo_recipes();
    assert_eq!(recipes.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 1, 0, 0, 0, 0, 0]);
    for recipe in recipes {
        let mut spec = json!({});
        for (key, value) in &recipe {
            if key.parse::<RuleId>().is_ok() {
                let rules = &mut spec["rules"];
                let before = rules.as_array().cloned().unwrap_or_default();
                *rules = Value::from([before, vec![json!({"rule": key, "action": value})]].concat());
            } else {
                let fields = key.split('.');
                *fields.fold(&mut spec, |place, field| &mut place[field]) = value.clone();
            }
        }
        let compiled = compile(&with_spec(spec.clone()), "test");
        assert!(compiled.is_ok(), "{spec}: {:?}", compiled.err().map(|Problems(problems)| problems));
    }
}

/// A document with every field.
fn full() -> Value {
    yaml(
        r#"
apiVersion: admission.crm.milo.io/v1alpha1
kind: AdmissionPolicy
metadata: {name: default}
spec:
  rules:
  - {rule: label-value, action: Deny, enforceAfter: "2027-01-15T00:00:00Z"}
  - {rule: creator-is-requester, action: Warn}
  - {rule: user-exists, action: Audit}
  normalization: {domains: Normalize, linkedinProfile: RequireCanonical}
  creator:
    sources:
    - {from: Extra, key: "example.com/staff-id"}
    - {from: Username, stripPrefix: "oidc:", pattern: '^(?<name>[^@]+)@corp\.example$'}
    - {from: UID}
  labels:
  - {key: crm.milo.io/source, allowed: [referral, event], required: true}
  - {key: crm.milo.io/segment, kinds: [Person, Company], allowed: [smb], required: false}
  domains: {owned: [gov.uk, nysa.pl], sharedHosts: [pages.example], mailProviders: []}
  references:
    onDryRun: Skip
    onDryRunByFieldManager: [{manager: argocd-controller, mode: Warn}]
    onLookupError: Allow
    consistency: Live
    kinds:
      user: {group: iam.miloapis.com, version: v1alpha1, kind: User, plural: users}
      organization: {group: resourcemanager.miloapis.com, version: v1alpha1, kind: Organization, plural: organizations}
      contact: {group: notification.miloapis.com, version: v1alpha1, kind: Contact, plural: contacts, namespaced: true}
    subjects:
    - {group: notification.miloapis.com, version: v1alpha1, kind: Contact, plural: contacts, namespaced: true}
    - {group: crm.milo.io, version: v1alpha1, kind: Deal, plural: deals}
  exemptions:
  - {name: migration, groups: [crm-migrators], users: [], rules: [company-exists], reason: "bulk import", expires: "2027-02-01T00:00:00Z"}
"#,
    )
}

#[test]
fn a_policy_is_shown_with_the_defaults_filled_in() {
    let compiled = compile(&full(), "test").unwrap();
    let shown = policy::document(&compiled);
    for (pointer, expected) in [
        ("/spec/normalization/linkedinProfile", json!("RequireCanonical")),
        ("/spec/creator/sources", full()["spec"]["creator"]["sources"].clone()),
        ("/spec/labels", full()["spec"]["labels"].clone()),
        ("/spec/domains", full()["spec"]["domains"].clone()),
        ("/spec/references/onDryRun", json!("Skip")),
        (
            "/spec/references/onDryRunByFieldManager",
            json!([{"manager": "argocd-controller", "mode": "Warn"}]),
        ),
        ("/spec/references/onLookupError", json!("Allow")),
        ("/spec/references/consistency", json!("Live")),
        ("/spec/references/kinds/user/plural", json!("users")),
        ("/spec/references/kinds", full()["spec"]["references"]["kinds"].clone()),
        ("/spec/references/subjects/0/kind", json!("Contact")),
        ("/spec/references/subjects/1/kind", json!("Deal")),
        ("/spec/exemptions", full()["spec"]["exemptions"].clone()),
    ] {
        assert_eq!(shown.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!(compiled.rule(RuleId::LabelValue).action, Action::Deny);
    assert_eq!(compiled.rule(RuleId::UserExists).action, Action::Audit);
    assert_eq!(compiled.rule(RuleId::Domain).action, Action::Deny, "an unlisted rule keeps its default");
    let again = compile(&shown, "test").unwrap();
    assert_eq!(policy::document(&again), shown);
}

#[test]
fn a_list_of_domains_replaces_the_default_list_and_the_others_stay() {
    let compiled = compile(&with_spec(json!({"domains": {"sharedHosts": []}})), "test").unwrap();
    assert!(compiled.domains.shared_hosts.is_empty() && compiled.domains.owned.is_empty());
    assert!(compiled.domains.mail_providers.contains("gmail.com"));
}

#[test]
fn a_rule_that_is_listed_without_an_action_keeps_its_default() {
    let compiled = compile(&with_spec(json!({"rules": [{"rule": "label-value"}]})), "test").unwrap();
    assert_eq!(compiled.rule(RuleId::LabelValue).action, Action::Warn);
}

#[test]
fn all_problems_are_reported_at_once_with_their_fields() {
    let document = with_spec(json!({
        "rules": [
            {"rule": "domains", "action": "Deny"},
            {"rule": "domain", "action": "Off"},
            {"action": "Warn"},
            {"rule": "label-value", "action": "Deny", "enforceAfter": "soon"},
        ],
        "creator": {"sources": [{"from": "Username", "pattern": "("}, {"from": "Username", "pattern": "^x$"}]},
        "exemptions": [{"name": "all", "rules": []}],
        "refrences": {},
    }));
    let problems = problems(&document);
    let expected = [
        (r#"spec.rules[0].rule: Unsupported value: "domains": did you mean "domain"?"#, ""),
        (r#"spec.rules[1].action: Unsupported value: "Off""#, "Deny"),
        ("spec.rules[2].rule: Required value", ""),
        (r#"spec.rules[3].enforceAfter: Invalid value: "soon""#, "2027-01-15T00:00:00Z"),
        (r#"spec.creator.sources[0].pattern: Invalid value: "(": invalid regular expression: "#, "unclosed"),
        (r#"spec.creator.sources[1].pattern: Invalid value: "^x$": must have a group "name""#, ""),
        ("spec.exemptions[0]: Required value", "users or groups"),
        ("spec.exemptions[0].rules: Required value", ""),
        ("spec.refrences: Forbidden: unknown field; did you mean \"references\"?", ""),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, (start, part)) in problems.iter().zip(expected) {
        assert!(problem.starts_with(start) && problem.contains(part), "{problem} is not {start} … {part}");
    }
}

#[rstest]
#[case::empty(json!(null), "the document is empty")]
#[case::a_list(json!([]), "must be an object")]
#[case::another_kind(json!({"apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "Company", "spec": {}}), "kind: Invalid value: \"Company\": must be AdmissionPolicy")]
#[case::another_version(json!({"apiVersion": "v1", "kind": "AdmissionPolicy", "spec": {}}), "apiVersion: Invalid value")]
#[case::no_spec(json!({"apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicy"}), "spec: Required value")]
#[case::spec_of_a_wrong_type(with_spec(json!("x")), "spec: Invalid value: must be an object")]
#[case::rules_of_a_wrong_type(with_spec(json!({"rules": {}})), "spec.rules: Invalid value: must be a list")]
#[case::a_rule_of_a_wrong_type(with_spec(json!({"rules": ["domain"]})), "spec.rules[0]: Invalid value: must be an object")]
#[case::off_is_a_boolean(with_spec(json!({"rules": [{"rule": "domain", "action": false}]})), "spec.rules[0].action: Unsupported value: false: YAML reads bare words")]
#[case::a_rule_twice(with_spec(json!({"rules": [{"rule": "domain", "action": "Warn"}, {"rule": "domain", "action": "Deny"}]})), "spec.rules[1].rule: Invalid value: \"domain\": the rule is listed twice")]
#[case::a_mode(with_spec(json!({"normalization": {"domains": "Rewrite"}})), "spec.normalization.domains: Unsupported value")]
#[case::extra_without_a_key(with_spec(json!({"creator": {"sources": [{"from": "Extra"}]}})), "spec.creator.sources[0].key: Required value")]
#[case::username_with_a_key(with_spec(json!({"creator": {"sources": [{"from": "Username", "key": "x"}]}})), "spec.creator.sources[0].key: Forbidden")]
#[case::no_from(with_spec(json!({"creator": {"sources": [{}]}})), "spec.creator.sources[0].from: Required value")]
#[case::a_huge_pattern(with_spec(json!({"creator": {"sources": [{"from": "UID", "pattern": r"(?<name>(\w{1000}){1000})"}]}})), "needs too much memory")]
#[case::a_label_key(with_spec(json!({"labels": [{"key": "a b", "allowed": ["x"]}]})), "spec.labels[0].key: Invalid value")]
#[case::a_label_without_values(with_spec(json!({"labels": [{"key": "a", "allowed": []}]})), "spec.labels[0].allowed: Required value")]
#[case::a_label_twice(with_spec(json!({"labels": [{"key": "a", "allowed": ["x"]}, {"key": "a", "allowed": ["y"]}]})), "spec.labels[1].key: Invalid value: \"a\": the label is listed twice")]
#[case::a_label_of_no_kind(with_spec(json!({"labels": [{"key": "a", "kinds": [], "allowed": ["x"]}]})), "spec.labels[0].kinds: Required value: list at least one kind")]
#[case::a_label_of_an_unknown_kind(with_spec(json!({"labels": [{"key": "a", "kinds": ["Note", "Companies"], "allowed": ["x"]}]})), "spec.labels[0].kinds[1]: Unsupported value: \"Companies\": did you mean \"Company\"? supported values: \"Company\", \"Person\", \"Note\"")]
#[case::kinds_as_a_string(with_spec(json!({"labels": [{"key": "a", "kinds": "Note", "allowed": ["x"]}]})), "spec.labels[0].kinds: Invalid value: must be a list")]
#[case::required_as_a_string(with_spec(json!({"labels": [{"key": "a", "allowed": ["x"], "required": "yes"}]})), "spec.labels[0].required: Invalid value")]
#[case::an_owned_domain_of_one_label(with_spec(json!({"domains": {"owned": ["uk"]}})), "spec.domains.owned[0]: Invalid value: \"uk\": is not a full domain name")]
#[case::an_owned_domain_that_is_not_canonical(with_spec(json!({"domains": {"owned": ["gov.uk", "https://GOV.uk/"]}})), "spec.domains.owned[1]: Invalid value: \"https://GOV.uk/\": not in its canonical form; write \"gov.uk\"")]
#[case::a_shared_host_of_another_type(with_spec(json!({"domains": {"sharedHosts": [7]}})), "spec.domains.sharedHosts[0]: Invalid value: \"7\": must be a string")]
#[case::a_mail_provider_that_is_an_address(with_spec(json!({"domains": {"mailProviders": ["@gmail.com"]}})), "spec.domains.mailProviders[0]: Invalid value: \"@gmail.com\": looks like an e-mail address")]
#[case::an_unknown_list_of_domains(with_spec(json!({"domains": {"sharedHost": []}})), "spec.domains.sharedHost: Forbidden: unknown field; did you mean \"sharedHosts\"?")]
#[case::a_dry_run_mode(with_spec(json!({"references": {"onDryRun": "Ignore"}})), "spec.references.onDryRun: Unsupported value")]
#[case::a_manager_without_a_mode(with_spec(json!({"references": {"onDryRunByFieldManager": [{"manager": "m"}]}})), "spec.references.onDryRunByFieldManager[0].mode: Required value")]
#[case::a_lookup_mode(with_spec(json!({"references": {"onLookupError": "Warn"}})), "spec.references.onLookupError: Unsupported value")]
#[case::a_consistency(with_spec(json!({"references": {"consistency": "live"}})), "did you mean \"Live\"?")]
#[case::user_exists_without_a_kind(with_spec(json!({"rules": [{"rule": "user-exists", "action": "Warn"}]})), "spec.references.kinds.user: Required value: the rule user-exists")]
#[case::creator_exists_without_a_kind(with_spec(json!({"rules": [{"rule": "creator-exists", "action": "Deny"}]})), "spec.references.kinds.user: Required value: the rule creator-exists")]
#[case::organization_exists_without_a_kind(with_spec(json!({"rules": [{"rule": "organization-exists", "action": "Deny"}]})), "spec.references.kinds.organization: Required value")]
#[case::contact_exists_without_a_kind(with_spec(json!({"rules": [{"rule": "contact-exists", "action": "Deny"}]})), "spec.references.kinds.contact: Required value: the rule contact-exists")]
#[case::a_cluster_scoped_contact(with_spec(json!({"references": {"kinds": {"contact": {"group": "g.example.com", "version": "v1", "kind": "Contact", "plural": "contacts", "namespaced": false}}}})), "spec.references.kinds.contact.namespaced: Invalid value: \"false\": must be a namespaced kind")]
#[case::a_kind_without_a_plural(with_spec(json!({"references": {"kinds": {"user": {"group": "g.example.com", "version": "v1", "kind": "User"}}}})), "spec.references.kinds.user.plural: Required value")]
#[case::a_path_in_a_plural(with_spec(json!({"references": {"kinds": {"user": {"group": "g.example.com", "version": "v1", "kind": "User", "plural": "users/x"}}}})), "spec.references.kinds.user.plural: Invalid value")]
#[case::a_path_in_a_group(with_spec(json!({"references": {"kinds": {"user": {"group": "../g", "version": "v1", "kind": "User", "plural": "users"}}}})), "spec.references.kinds.user.group: Invalid value")]
#[case::a_namespaced_user(with_spec(json!({"references": {"kinds": {"user": {"group": "g.example.com", "version": "v1", "kind": "User", "plural": "users", "namespaced": true}}}})), "spec.references.kinds.user.namespaced: Invalid value")]
#[case::a_subject_twice(with_spec(json!({"references": {"subjects": [{"group": "crm.milo.io", "version": "v1alpha1", "kind": "Company", "plural": "companies"}]}})), "spec.references.subjects[0]: Invalid value")]
#[case::an_exemption_from_an_unknown_rule(with_spec(json!({"exemptions": [{"name": "x", "users": ["u"], "rules": ["domians"]}]})), "spec.exemptions[0].rules[0]: Unsupported value: \"domians\": did you mean \"domain\"?")]
#[case::an_exemption_without_a_name(with_spec(json!({"exemptions": [{"users": ["u"], "rules": ["domain"]}]})), "spec.exemptions[0].name: Required value")]
#[case::an_exemption_with_an_invalid_date(with_spec(json!({"exemptions": [{"name": "x", "users": ["u"], "rules": ["domain"], "expires": "2027-02-30T00:00:00Z"}]})), "spec.exemptions[0].expires: Invalid value")]
#[case::an_unknown_field(with_spec(json!({"rules": [{"rule": "domain", "action": "Warn", "acton": "Deny"}]})), "spec.rules[0].acton: Forbidden: unknown field; did you mean \"action\"?")]
fn invalid_documents_have_problems(#[case] document: Value, #[case] part: &str) {
    let problems = problems(&document);
    assert!(problems.iter().any(|problem| problem.contains(part)), "{problems:#?}");
    assert!(problems.len() <= 2, "one mistake must be one or two problems: {problems:#?}");
}
