//! Finds what a valid policy may say, but its author surely did not mean.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use super::settings::{Exemption, Policy};
use crate::catalog::{Action, RuleId};
use crate::quote::quote;

/// Something in a valid policy that has no effect, or not the one that was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The path of the field, such as `spec.rules[1].enforceAfter`.
    pub field: String,
    /// What is surely not meant, and what to do.
    pub text: String,
}

impl Warning {
    fn new(field: String, text: impl Into<String>) -> Self {
        Self { field, text: text.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// The name of the policy that a cluster uses.
pub const IN_FORCE: &str = "default";

/// The warning about a policy of this name, if a cluster does not use it.
pub fn warning_about_name(name: &str) -> Option<Warning> {
    let text = || {
        let name = quote(name);
        format!("{name}: has no effect: only the AdmissionPolicy named {IN_FORCE} is used [NotUsed]")
    };
    (name != IN_FORCE).then(|| Warning::new("metadata.name".to_owned(), text()))
}

/// The warnings about a document, in its order. `policy` is what the document compiles to.
///
/// A start date in the past is no warning: every date of a rollout becomes one, and the policy stays as it is.
pub fn warnings(document: &Value, policy: &Policy, now: Timestamp) -> Vec<Warning> {
    let rules = document["spec"]["rules"].as_array().into_iter().flatten();
    let dates = rules.enumerate().filter_map(|(index, entry)| date_without_effect(index, entry, policy));
    let exemptions = policy.exemptions.iter().enumerate().flat_map(|(index, exemption)| {
        // Compiling keeps every entry, so the index is that of the document.
        exemption_without_effect(&format!("spec.exemptions[{index}]"), exemption, policy, now)
    });
    dates.chain(exemptions).collect()
}

fn date_without_effect(index: usize, entry: &Value, policy: &Policy) -> Option<Warning> {
    let rule: RuleId = entry["rule"].as_str()?.parse().ok()?;
    let action = policy.rule(rule).action;
    policy.rule(rule).enforce_after.filter(|_| action != Action::Deny)?;
    let text = format!("has no effect: the action of {rule} is {action}, and only Deny has a start date");
    Some(Warning::new(format!("spec.rules[{index}].enforceAfter"), text))
}

fn exemption_without_effect(
    path: &str,
    exemption: &Exemption,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (list, names, why) in [
        ("groups", &exemption.groups, no_group as fn(&str) -> Option<&'static str>),
        ("users", &exemption.users, no_user),
    ] {
        for (index, name) in names.iter().enumerate() {
            if let Some(why) = why(name) {
                let field = format!("{path}.{list}[{index}]");
                warnings.push(Warning::new(field, format!("{}: nobody has this name: {why}", quote(name))));
            }
        }
    }
    if exemption.rules.iter().all(|rule| !policy.is_enabled(*rule)) {
        let text = "has no effect: all of these rules are disabled";
        warnings.push(Warning::new(format!("{path}.rules"), text));
    }
    if let Some(end) = exemption.expires.filter(|end| *end <= now) {
        let text = format!("the exemption ended at {end}; remove it, or set a later time");
        warnings.push(Warning::new(format!("{path}.expires"), text));
    }
    warnings
}

/// The prefix of the names of service accounts, before namespace and name.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Why no group has this name.
fn no_group(name: &str) -> Option<&'static str> {
    if name.starts_with(SERVICE_ACCOUNT) {
        return Some("this is a user; list it under users");
    }
    no_name(name)
}

/// Why no user has this name.
fn no_user(name: &str) -> Option<&'static str> {
    if let Some(rest) = name.strip_prefix(SERVICE_ACCOUNT) {
        let parts: Vec<&str> = rest.split(':').collect();
        let is_one = parts.len() == 2 && parts.iter().all(|part| !part.is_empty());
        return (!is_one).then_some("write system:serviceaccount:NAMESPACE:NAME");
    }
    let is_group = name == "system:serviceaccounts"
        || name.starts_with("system:serviceaccounts:")
        || ["system:authenticated", "system:unauthenticated", "system:masters"].contains(&name);
    if is_group { Some("this is a group; list it under groups") } else { no_name(name) }
}

fn no_name(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        return Some("it is blank");
    }
    (name.trim() != name).then_some("it begins or ends with white space")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::compile;

    /// The warnings about a spec on 2026-11-23.
    fn about(spec: Value) -> Vec<String> {
        let document = json!({
            "apiVersion": "admission.crm.milo.io/v1alpha1",
            "kind": "AdmissionPolicy",
            "spec": spec,
        });
        let policy = compile(&document, "test").unwrap();
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        warnings(&document, &policy, now).iter().map(ToString::to_string).collect()
    }

    fn about_exemption(exemption: Value) -> Vec<String> {
        about(json!({"exemptions": [exemption]}))
    }

    #[test]
    fn a_policy_without_mistakes_has_no_warnings() {
        let spec = json!({
            "rules": [
                {"rule": "label-value", "action": "Deny", "enforceAfter": "2027-01-15T00:00:00Z"},
                {"rule": "domain", "enforceAfter": "2026-01-15T00:00:00Z"},
                {"rule": "creator-is-requester", "action": "Warn"},
            ],
            "exemptions": [{
                "name": "migration",
                "groups": ["crm-migrators", "system:serviceaccounts:crm"],
                "users": ["system:serviceaccount:crm:importer", "oidc:jane doe@corp.example"],
                "rules": ["company-exists", "user-exists"],
                "expires": "2027-02-01T00:00:00Z",
            }],
        });
        assert_eq!(about(spec), Vec::<String>::new());
    }

    #[test]
    fn only_deny_has_a_start_date() {
        let date = "2027-01-15T00:00:00Z";
        let spec = json!({"rules": [
            {"rule": "label-value", "action": "Warn", "enforceAfter": date},
            {"rule": "domain", "action": "Disabled", "enforceAfter": date},
            {"rule": "domain-hint", "enforceAfter": date},
        ]});
        let text = "has no effect: the action of";
        assert_eq!(
            about(spec),
            [
                format!(
                    "spec.rules[0].enforceAfter: {text} label-value is Warn, and only Deny has a start date"
                ),
                format!(
                    "spec.rules[1].enforceAfter: {text} domain is Disabled, and only Deny has a start date"
                ),
                format!(
                    "spec.rules[2].enforceAfter: {text} domain-hint is Warn, and only Deny has a start date"
                ),
            ]
        );
    }

    #[test]
    fn names_that_nobody_has_are_named() {
        let exemption = json!({
            "name": "nobody",
            "groups": ["system:serviceaccount:crm:importer", " "],
            "users": [
                "system:serviceaccounts:crm", "system:masters", "system:serviceaccount:importer", "jane ",
                "system:serviceaccount:crm:",
            ],
            "rules": ["domain"],
        });
        let at = "spec.exemptions[0]";
        assert_eq!(
            about_exemption(exemption),
            [
                format!(
                    r#"{at}.groups[0]: "system:serviceaccount:crm:importer": nobody has this name: this is a user; list it under users"#
                ),
                format!(r#"{at}.groups[1]: " ": nobody has this name: it is blank"#),
                format!(
                    r#"{at}.users[0]: "system:serviceaccounts:crm": nobody has this name: this is a group; list it under groups"#
                ),
                format!(
                    r#"{at}.users[1]: "system:masters": nobody has this name: this is a group; list it under groups"#
                ),
                format!(
                    r#"{at}.users[2]: "system:serviceaccount:importer": nobody has this name: write system:serviceaccount:NAMESPACE:NAME"#
                ),
                format!(
                    r#"{at}.users[3]: "jane ": nobody has this name: it begins or ends with white space"#
                ),
                format!(
                    r#"{at}.users[4]: "system:serviceaccount:crm:": nobody has this name: write system:serviceaccount:NAMESPACE:NAME"#
                ),
            ]
        );
    }

    #[test]
    fn an_exemption_from_disabled_rules_has_no_effect() {
        let spec = |rules: Value| {
            json!({
                "rules": [{"rule": "domain", "action": "Disabled"}],
                "exemptions": [{"name": "x", "users": ["jane"], "rules": rules}],
            })
        };
        let expected = "spec.exemptions[0].rules: has no effect: all of these rules are disabled";
        assert_eq!(about(spec(json!(["domain"]))), [expected]);
        assert_eq!(about(spec(json!(["domain", "display-name"]))), Vec::<String>::new());
    }

    #[test]
    fn an_exemption_that_has_ended_is_named_with_its_end() {
        let ending = |expires: &str| {
            about_exemption(json!({"name": "x", "users": ["jane"], "rules": ["domain"], "expires": expires}))
        };
        let expected = "spec.exemptions[0].expires: the exemption ended at 2026-11-23T12:00:00Z; remove it, or set a later time";
        assert_eq!(ending("2026-11-23T12:00:00Z"), [expected]);
        assert_eq!(ending("2026-11-23T12:00:01Z"), Vec::<String>::new());
    }
}
