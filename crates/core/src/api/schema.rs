//! Completes the derived schemas: descriptions for `kubectl explain`, patterns, and the schema of status conditions.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// An API group: a DNS subdomain, or the empty string for the core group.
pub(super) const GROUP_PATTERN: &str =
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$";

/// A kind, in CamelCase.
pub(super) const KIND_PATTERN: &str = r"^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$";

/// A DNS label, such as the plural of a kind.
pub(super) const LABEL_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Joins the lines of each paragraph in the descriptions of a struct and of its fields.
///
/// `kubectl explain` wraps lines itself and keeps existing line breaks, so the line breaks of the doc comment must go.
pub(super) fn unwrap_descriptions(schema: &mut Schema) {
    unwrap_description(schema.as_object_mut());
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for field in fields.into_iter().flat_map(Map::values_mut) {
        unwrap_description(field.as_object_mut());
    }
}

fn unwrap_description(schema: Option<&mut Map<String, Value>>) {
    let Some(Value::String(description)) = schema.and_then(|schema| schema.get_mut("description")) else {
        return;
    };
    let paragraphs: Vec<String> =
        description.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    *description = paragraphs.join("\n\n");
}

/// The schema of an object whose fields the API server does not know.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// The schema of `status.conditions`: a list map by `type` of `metav1.Condition`, with the lengths and patterns of
/// Kubernetes. k8s-openapi has the Rust type, but not the schema.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the current state, in the format common to all Kubernetes resources.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "The type of the condition, in CamelCase or as \
                        example.com/CamelCase, such as Accepted. There is at most one condition of each type.",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                        (([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": {
                    "type": "string",
                    "description": "The status of the condition: True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The metadata.generation for which the condition was set. If it is lower \
                        than that of the object, the condition is out of date.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed, as an RFC 3339 time such as \
                        2027-01-15T09:30:00Z.",
                },
                "reason": {
                    "type": "string",
                    "description": "Why the condition has this status, as one CamelCase word for \
                        programs.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "type": "string",
                    "description": "The details for users. It may be empty.",
                    "maxLength": 32768,
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_paragraph_are_joined_and_paragraphs_stay_apart() {
        let mut schema = json_schema!({
            "description": "One\ntwo.\n\nThree\nfour.",
            "properties": { "field": { "description": "Five\nsix." } },
        });
        unwrap_descriptions(&mut schema);
        let expected = json_schema!({
            "description": "One two.\n\nThree four.",
            "properties": { "field": { "description": "Five six." } },
        });
        assert_eq!(schema, expected);
    }
}
