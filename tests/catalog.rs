//! Tests the examples of the catalogue: the bad example of a rule breaks only that rule, and the good one breaks none.

use std::sync::Arc;

use crate::common::{Answer, create, pipeline_over};
use crm_core::api::ResourceKind;
use crm_core::catalog::{Action, Rule, RuleId, rules};
use crm_core::existence::Objects;
use crm_core::policy::{Policy, RuleSetting};
use serde_json::{Value, json};

fn kind(group: &str, kind: &str, plural: &str) -> Option<Arc<ResourceKind>> {
    Some(Arc::new(ResourceKind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: false,
    }))
}

/// The built-in policy with this rule at `Deny`, and the kinds that its example needs.
fn policy(rule: RuleId) -> Policy {
    let mut policy = Policy::default();
    policy.set_rule(rule, RuleSetting { action: Action::Deny, enforce_after: None });
    policy.references.user = kind("iam.example.com", "User", "users");
    policy.references.organization = kind("orgs.example.com", "Organization", "organizations");
    policy.references.contact = kind("contacts.example.com", "Contact", "contacts")
        .map(|kind| Arc::new(ResourceKind { namespaced: true, ..(*kind).clone() }));
    policy
}

/// The objects that the examples refer to.
fn directory() -> Objects {
    let object = |group: &str, kind: &str, name: &str| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}});
    Objects::new(&[
        object("crm.milo.io", "Company", "planet-express"),
        object("crm.milo.io", "Company", "acme-corp"),
        object("iam.example.com", "User", "alice"),
        object("orgs.example.com", "Organization", "acme"),
        json!({
            "apiVersion": "contacts.example.com/v1", "kind": "Contact",
            "metadata": {"name": "fry-home", "namespace": "crm-contacts"},
        }),
    ])
}

fn manifest(text: &str) -> Value {
    crm_manifest::documents(text).unwrap().remove(0).1
}

fn ask(rule: &Rule, text: &str) -> Answer {
    let object = manifest(text);
    let mut ask = create(object["kind"].as_str().unwrap(), Value::Null).with("/object", object);
    if let Some(stored) = rule.example.stored {
        ask = ask.with("/operation", json!("UPDATE")).with("/oldObject", manifest(stored));
    }
    ask.put_to(&pipeline_over(Arc::new(directory()), policy(rule.id)))
}

#[test]
fn bad_examples_break_only_their_rule_and_good_ones_break_none() {
    for rule in rules().iter().filter(|rule| rule.id != RuleId::DeleteReferenced) {
        let id = rule.id.as_str();
        let causes = ask(rule, rule.example.bad).causes();
        assert!(!causes.is_empty(), "the bad example of {id} is allowed");
        let broken =
            |cause: &String| cause.ends_with(&format!("[{id}]")) || cause.contains(&format!("[{id}/"));
        assert!(causes.iter().all(broken), "the bad example of {id} breaks other rules too: {causes:#?}");
        let good = ask(rule, rule.example.good);
        assert!(good.is_allowed(), "the good example of {id} is denied: {:#?}", good.causes());
        assert_eq!(good.warnings(), [] as [&str; 0], "the good example of {id}");
    }
}

#[test]
fn the_messages_of_the_bad_examples() {
    let mut messages = String::new();
    for rule in rules().iter().filter(|rule| rule.id != RuleId::DeleteReferenced) {
        messages += &format!("{}\n", rule.id);
        for cause in ask(rule, rule.example.bad).causes() {
            messages += &format!("  {cause}\n");
        }
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn examples_have_a_kind_that_their_rule_checks() {
    for rule in rules().iter().filter(|rule| rule.id != RuleId::DeleteReferenced) {
        for text in [rule.example.bad, rule.example.good] {
            let object = manifest(text);
            let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.as_str()).collect();
            assert!(kinds.contains(&object["kind"].as_str().unwrap()), "{}: {object}", rule.id);
        }
    }
}

#[test]
fn a_disabled_rule_allows_its_bad_example() {
    for rule in rules().iter().filter(|rule| rule.id != RuleId::DeleteReferenced) {
        let object = manifest(rule.example.bad);
        let mut ask = create(object["kind"].as_str().unwrap(), Value::Null).with("/object", object);
        if let Some(stored) = rule.example.stored {
            ask = ask.with("/operation", json!("UPDATE")).with("/oldObject", manifest(stored));
        }
        let mut policy = policy(rule.id);
        policy.set_rule(rule.id, RuleSetting { action: Action::Disabled, enforce_after: None });
        let answer = ask.put_to(&pipeline_over(Arc::new(directory()), policy));
        assert!(answer.is_allowed(), "{}: {:#?}", rule.id, answer.causes());
    }
}
