//! The JSON Schema of AdmissionPolicyTest, for editors and other validators.

use crm_core::api::policy as policy_kind;
use crm_core::catalog::{Action, RuleId};
use serde_json::{Value, json};

use super::document::{KIND, MAX_CASES, api_version};
use super::expectation::{ACTIONS, MAX_LISTED};
use super::request::SOMEBODY;
use super::suite::Operation;

/// The path of the schema in a catalog of schemas.
pub fn path() -> String {
    format!("{}/{}_{}.json", policy_kind::GROUP, KIND.to_lowercase(), policy_kind::VERSION)
}

/// The schema.
pub fn schema() -> Value {
    let mut schema = object(
        "A test of an AdmissionPolicy: requests, and what is expected of the webhook. A file, which is never applied to a \
         cluster; crm-admission policy test FILE runs it.",
        json!({
            "apiVersion": {"const": api_version(), "description": "The API group and its version."},
            "kind": {"const": KIND, "description": "The kind of the document."},
            "metadata": object("The name of the test, for reports.", json!({
                "name": text("The name."),
                "labels": {"type": "object", "description": "They have no effect."},
                "annotations": {"type": "object", "description": "They have no effect."},
            })),
            "spec": object("The test.", json!({
                "policy": text("The path of the policy, relative to this file; by default the built-in policy."),
                "existing": list(
                    "The objects that exist. All others do not.",
                    json!({
                        "description": "A path of a file or directory, relative to this file, or an object.",
                        "type": ["string", "object"],
                        "required": ["apiVersion", "kind", "metadata"],
                        "properties": record_fields(),
                    }),
                    None,
                ),
                "now": {
                    "type": "string",
                    "format": "date-time",
                    "description": "The time of all requests, such as 2027-01-15T00:00:00Z; by default the present time.",
                },
                "cases": list("The cases.", case(), Some((1, MAX_CASES))),
            })),
        }),
    );
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(KIND);
    schema["required"] = json!(["apiVersion", "kind", "spec"]);
    schema["properties"]["spec"]["required"] = json!(["cases"]);
    schema
}

/// The schema of a case.
fn case() -> Value {
    let record = |description: &str| {
        json!({
            "description": description,
            "type": "object",
            "required": ["apiVersion", "kind", "metadata"],
            "properties": record_fields(),
        })
    };
    let operations = Operation::ALL.map(|(operation, _)| operation);
    let mut case = object(
        "A request, and what is expected of the answer.",
        json!({
            "name": text("What the case shows. No other case of the test has this name."),
            "user": user(),
            "operation": {
                "enum": operations,
                "description": "The operation; by default CREATE.",
            },
            "object": record("The record that the user writes, in a CREATE or an UPDATE."),
            "oldObject": record("The stored record, in an UPDATE or a DELETE."),
            "dryRun": flag("Whether the request is a dry run; by default not."),
            "fieldManager": text("The field manager of the write, such as kubectl-client-side-apply."),
            "expect": expect(),
        }),
    );
    case["required"] = json!(["name", "expect"]);
    case
}

fn user() -> Value {
    let groups = "The groups, besides system:authenticated.";
    object(
        "The user who sends the request.",
        json!({
            "name": text(&format!("The username; by default {SOMEBODY}.")),
            "uid": text("The uid."),
            "groups": list(groups, json!({"type": "string"}), None),
            "extra": {
                "description": "Other attributes of the user, each a list of strings or a string.",
                "type": "object",
                "additionalProperties": {"type": ["array", "string"], "items": {"type": "string"}},
            },
        }),
    )
}

fn expect() -> Value {
    let mut expect = object(
        "What is expected. What is not named is not compared.",
        json!({
            "allowed": flag("Whether the request is allowed."),
            "findings": list(
                "All findings, in any order; [] means none.",
                json!({
                    "description": "A rule, or a rule and a code, such as domain/email; or an object.",
                    "type": ["string", "object"],
                    // Of an object, the pattern says nothing.
                    "pattern": format!("^({})(/[a-z-]+)?$", RuleId::ALL.map(RuleId::as_str).join("|")),
                    "additionalProperties": false,
                    "required": ["rule"],
                    "properties": {
                        "rule": text("A rule, or a rule and a code, such as domain/email."),
                        "action": {
                            "enum": ACTIONS.map(|(_, action)| Action::as_str(action)),
                            "description": "What the webhook does.",
                        },
                        "field": text("The field as messages show it, such as spec.domains[0]."),
                    },
                }),
                Some((0, MAX_LISTED)),
            ),
            "changes": {
                "description": "Fields and their new values; null for a removed one. {} means that nothing changes.",
                "type": "object",
                "propertyNames": {"pattern": r"^(metadata|spec)($|[.\[])"},
                "maxProperties": MAX_LISTED,
            },
            "message": text("A regular expression that why the request is denied, or a warning, matches."),
        }),
    );
    expect["minProperties"] = json!(1);
    expect
}

/// The fields that every record and every existing object has.
fn record_fields() -> Value {
    json!({
        "apiVersion": text("The API group and its version."),
        "kind": text("The kind."),
        "metadata": {"type": "object", "description": "The name, labels and annotations."},
    })
}

fn object(description: &str, properties: Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn list(description: &str, items: Value, length: Option<(usize, usize)>) -> Value {
    let mut list = json!({"description": description, "type": "array", "items": items});
    if let Some((least, most)) = length {
        list["minItems"] = json!(least);
        list["maxItems"] = json!(most);
    }
    list
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}
