//! The rule `contact-exists`: the contacts of a Person exist.

use std::sync::Arc;

use serde_json::Value;

use super::evaluation::{Evaluation, Problem, Weight};
use super::path::FieldPath;
use super::references::{NAMESPACE_FORM, SUBDOMAIN_FORM, existence};
use super::request::{Reference, ReferenceKey, Request, StringValue};
use crate::api::names::{is_label, is_subdomain};
use crate::api::{ResourceKind, limits};
use crate::catalog::RuleId;
use crate::links::{CONTACTS, target_in};
use crate::policy::Policy;

const RULE: RuleId = RuleId::ContactExists;

fn list_path() -> FieldPath {
    FieldPath::of(&["spec", CONTACTS.field])
}

/// The entries of the list; none if it is missing, has the wrong type, or has more entries than the schema allows. So
/// a request causes a limited number of lookups.
fn entries<'a>(request: &Request<'a>) -> &'a [Value] {
    let entries = request.get(&list_path()).and_then(Value::as_array);
    entries.filter(|entries| entries.len() <= limits::CONTACTS).map_or(&[], Vec::as_slice)
}

fn kind(policy: &Policy) -> Option<&Arc<ResourceKind>> {
    CONTACTS.to.kinds(&policy.references).first()
}

/// The contacts of a Person, to be looked up.
pub(super) fn questions(request: &Request<'_>, policy: &Policy) -> Vec<Reference> {
    if !CONTACTS.kinds.contains(&request.kind) || !policy.is_enabled(RULE) {
        return Vec::new();
    }
    let Some(kind) = kind(policy) else {
        return Vec::new();
    };
    let question = |(index, entry): (usize, &Value)| {
        let text = |field| StringValue::of(entry.get(field)).given();
        let target = target_in(kind, text("namespace"), text("name")?)?;
        Some(Reference { key: ReferenceKey { rule: RULE, entry: Some(index) }, target })
    };
    entries(request).iter().enumerate().filter_map(question).collect()
}

/// Checks `spec.contactRefs`.
pub(super) fn contacts(evaluation: &mut Evaluation<'_>) {
    let policy = evaluation.policy;
    if !CONTACTS.kinds.contains(&evaluation.request.kind) || !policy.is_enabled(RULE) {
        return;
    }
    let path = list_path();
    let weight = Weight::ratchet(evaluation.request.leaves_unchanged(&path));
    let count = match evaluation.request.get(&path) {
        None => return,
        Some(Value::Array(entries)) => entries.len(),
        Some(other) => return evaluation.wrong_type(&path, other, "list", weight),
    };
    if count > limits::CONTACTS {
        let text = format!("must have at most {} contacts, has {count}", limits::CONTACTS);
        // The size is the problem, so no value is shown.
        return evaluation.report(Problem::invalid(RULE, path, "", text), weight);
    }
    if let Some(kind) = kind(policy) {
        for (index, entry) in entries(evaluation.request).iter().enumerate() {
            contact(evaluation, kind, index, entry);
        }
    }
}

fn contact(evaluation: &mut Evaluation<'_>, kind: &ResourceKind, index: usize, entry: &Value) {
    let path = list_path().index(index);
    let weight = Weight::ratchet(stood_before(evaluation.request, entry));
    if !entry.is_object() {
        return evaluation.wrong_type(&path, entry, "object", weight);
    }
    let (name_path, namespace_path) = (path.field("name"), path.field("namespace"));
    let namespace = StringValue::of(entry.get("namespace"));
    match namespace {
        StringValue::WrongType(value) => evaluation.wrong_type(&namespace_path, value, "string", weight),
        StringValue::Given(name) if is_label(name) => {}
        StringValue::Given(name) if !name.is_empty() => {
            evaluation.report(Problem::invalid(RULE, namespace_path, name, NAMESPACE_FORM), weight);
        }
        StringValue::Given(_) | StringValue::Missing => {
            evaluation
                .report(Problem::required(RULE, namespace_path, "set the namespace of the contact"), weight);
        }
    }
    match StringValue::of(entry.get("name")) {
        StringValue::WrongType(value) => evaluation.wrong_type(&name_path, value, "string", weight),
        StringValue::Given(name) if is_subdomain(name) => {
            let key = ReferenceKey { rule: RULE, entry: Some(index) };
            existence(evaluation, key, name_path, name, kind, weight);
        }
        StringValue::Given(name) => {
            evaluation.report(Problem::invalid(RULE, name_path, name, SUBDOMAIN_FORM), weight);
        }
        StringValue::Missing => {
            evaluation.report(Problem::required(RULE, name_path, "set the name of the contact"), weight);
        }
    }
}

/// Whether the stored list has the same contact. Its type, and whether it is primary, may differ.
fn stood_before(request: &Request<'_>, entry: &Value) -> bool {
    let stored = request.stored().and_then(|stored| stored.get(&list_path())).and_then(Value::as_array);
    let is_same = |old: &Value| match (old, entry) {
        (Value::Object(old), Value::Object(new)) => {
            ["name", "namespace"].iter().all(|field| old.get(*field) == new.get(*field))
        }
        _ => old == entry,
    };
    stored.is_some_and(|entries| entries.iter().any(is_same))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::{Facts, Operation, Record, evaluate, references};
    use super::*;
    use crate::api::CrmKind;
    use crate::catalog::Action;
    use crate::existence::Fact;
    use crate::policy::RuleSetting;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        policy.set_rule(RULE, RuleSetting { action: Action::Deny, enforce_after: None });
        policy.references.contact = Some(Arc::new(ResourceKind {
            group: "notification.miloapis.com".to_owned(),
            version: "v1alpha1".to_owned(),
            kind: "Contact".to_owned(),
            plural: "contacts".to_owned(),
            namespaced: true,
        }));
        policy
    }

    fn person(contacts: Value) -> Record {
        let spec = json!({"displayName": "Ada", "creatorRef": {"name": "zoe"}, "contactRefs": contacts});
        Record { spec, ..Record::default() }
    }

    fn contact(name: &str) -> Value {
        json!({"name": name, "namespace": "crm"})
    }

    fn request<'a>(object: &'a Record, operation: Operation<'a>) -> Request<'a> {
        Request {
            kind: CrmKind::Person,
            object,
            operation,
            requester: None,
            dry_run: false,
            field_manager: None,
        }
    }

    /// Each finding as `action field: message`, if only the contact `work` exists.
    fn findings(object: &Record, operation: Operation<'_>) -> Vec<String> {
        let (policy, request) = (policy(), request(object, operation));
        let fact = |target: &crate::api::Target| match target.name.as_str() {
            "work" => Fact::Exists,
            _ => Fact::Missing { suggestion: None },
        };
        let asked = references(&request, &policy).into_iter();
        let facts: Facts = asked.map(|reference| (reference.key, fact(&reference.target))).collect();
        let verdict = evaluate(&request, &facts, &policy, Timestamp::UNIX_EPOCH);
        let line = |finding: &super::super::Finding| {
            format!("{} {}: {}", finding.action, finding.field, finding.message())
        };
        verdict.findings.iter().map(line).collect()
    }

    fn created(contacts: Value) -> Vec<String> {
        findings(&person(contacts), Operation::Create)
    }

    #[test]
    fn every_contact_is_looked_up_in_its_namespace() {
        let object =
            person(json!([contact("work"), contact("home"), {"name": "home", "namespace": "other"}]));
        let asked = references(&request(&object, Operation::Create), &policy());
        let targets: Vec<(String, String)> = asked
            .iter()
            .map(|asked| {
                let namespace = asked.target.namespace.clone().unwrap_or_default();
                (asked.field().to_string(), format!("{namespace}/{}", asked.target.name))
            })
            .collect();
        let expected = [
            ("spec.contactRefs[0].name", "crm/work"),
            ("spec.contactRefs[1].name", "crm/home"),
            ("spec.contactRefs[2].name", "other/home"),
        ];
        assert_eq!(targets, expected.map(|(field, name)| (field.to_owned(), name.to_owned())));
    }

    #[test]
    fn each_missing_contact_is_a_finding_at_its_name() {
        let missing = |index: usize, name: &str| {
            format!(
                "Deny spec.contactRefs[{index}].name: Not found: \"{name}\": no Contact of that name [contact-exists]"
            )
        };
        let found = created(json!([contact("home"), contact("work"), contact("boat")]));
        assert_eq!(found, [missing(0, "home"), missing(2, "boat")]);
        assert_eq!(created(json!([contact("work")])), [] as [&str; 0]);
        assert_eq!(created(json!([])), [] as [&str; 0]);
        assert_eq!(created(Value::Null), [] as [&str; 0]);
    }

    #[test]
    fn a_contact_needs_a_valid_name_and_namespace() {
        for (entry, expected) in [
            (
                json!({"namespace": "crm"}),
                "spec.contactRefs[0].name: Required value: set the name of the contact [contact-exists]",
            ),
            (
                json!({"name": "", "namespace": "crm"}),
                "spec.contactRefs[0].name: Invalid value: \"\": must consist of lower-case letters, digits, \"-\" and \".\", such as acme-corp [contact-exists]",
            ),
            (
                json!({"name": "a/b", "namespace": "crm"}),
                "spec.contactRefs[0].name: Invalid value: \"a/b\": must consist of lower-case letters, digits, \"-\" and \".\", such as acme-corp [contact-exists]",
            ),
            (
                json!({"name": "work"}),
                "spec.contactRefs[0].namespace: Required value: set the namespace of the contact [contact-exists]",
            ),
            (
                json!({"name": "work", "namespace": ""}),
                "spec.contactRefs[0].namespace: Required value: set the namespace of the contact [contact-exists]",
            ),
            (
                json!({"name": "work", "namespace": "a.b"}),
                "spec.contactRefs[0].namespace: Invalid value: \"a.b\": must be the name of a namespace [contact-exists]",
            ),
            (
                json!({"name": 7, "namespace": "crm"}),
                "spec.contactRefs[0].name: Invalid value: \"7\": must be a string, not a number [schema]",
            ),
            (
                json!("work"),
                "spec.contactRefs[0]: Invalid value: \"work\": must be an object, not a string [schema]",
            ),
        ] {
            assert_eq!(created(json!([entry])), [format!("Deny {expected}")]);
        }
        assert_eq!(
            created(json!({"name": "work"})),
            ["Deny spec.contactRefs: Invalid value: \"object\": must be a list, not an object [schema]"]
        );
    }

    #[test]
    fn a_list_that_is_too_long_is_one_finding_and_causes_no_lookup() {
        let object = person(Value::Array(vec![contact("home"); 101]));
        assert_eq!(references(&request(&object, Operation::Create), &policy()), []);
        assert_eq!(
            findings(&object, Operation::Create),
            [
                "Deny spec.contactRefs: Invalid value: \"\": must have at most 100 contacts, has 101 [contact-exists]"
            ]
        );
    }

    #[test]
    fn an_entry_of_the_stored_list_is_no_reason_to_deny() {
        let old = person(json!([contact("home"), {"name": "a/b", "namespace": "crm"}, "text"]));
        let mut moved = contact("home");
        moved["primary"] = json!(true);
        let new = person(json!([contact("boat"), moved, {"name": "a/b", "namespace": "crm"}, "text"]));
        let found = findings(&new, Operation::Update(&old));
        let shown: Vec<(&str, &str)> = found
            .iter()
            .map(|finding| finding.split_once(": ").unwrap().0.split_once(' ').unwrap())
            .collect();
        assert_eq!(
            shown,
            [
                ("Deny", "spec.contactRefs[0].name"),
                ("Warn", "spec.contactRefs[1].name"),
                ("Warn", "spec.contactRefs[2].name"),
                ("Warn", "spec.contactRefs[3]"),
            ]
        );
    }

    #[test]
    fn a_disabled_rule_looks_nothing_up() {
        let object = person(json!([contact("home"), 7]));
        let request = request(&object, Operation::Create);
        let mut policy = policy();
        policy.set_rule(RULE, RuleSetting { action: Action::Disabled, enforce_after: None });
        assert_eq!(references(&request, &policy), []);
        let verdict = evaluate(&request, &Facts::default(), &policy, Timestamp::UNIX_EPOCH);
        assert_eq!(verdict.findings, []);
    }
}
