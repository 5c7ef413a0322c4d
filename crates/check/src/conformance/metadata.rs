//! Validates those parts of an object's metadata that no schema covers, as the API server does
//! (`ValidateObjectMetaAccessor` in `k8s.io/apimachinery/pkg/api/validation`).

use crm_core::rules::{FieldPath, Reason, Shown};
use serde_json::{Value, json};

use super::violation::Violation;

/// The maximum size of all annotations of an object: the bytes of their keys and values.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// All violations that concern several values.
pub(super) fn violations(metadata: &Value) -> Vec<Violation> {
    [annotations(metadata), controllers(metadata), finalizers(metadata)]
        .into_iter()
        .flatten()
        .chain(events(metadata))
        .collect()
}

fn annotations(metadata: &Value) -> Option<Violation> {
    let annotations = metadata["annotations"].as_object()?;
    let length = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    let size: usize = annotations.iter().map(length).sum();
    (size > MAX_ANNOTATIONS).then(|| {
        let text = format!("must be at most {MAX_ANNOTATIONS} bytes in total, are {size}");
        invalid("annotations", Shown::Nothing, text)
    })
}

fn controllers(metadata: &Value) -> Option<Violation> {
    let references = metadata["ownerReferences"].as_array()?;
    let controllers = references.iter().filter(|reference| reference["controller"] == json!(true)).count();
    (controllers > 1).then(|| {
        let shown = Shown::Text(format!("{controllers} controllers"));
        invalid("ownerReferences", shown, "only one owner can have controller: true".to_owned())
    })
}

/// Events are the only kind that cannot be an owner.
fn events(metadata: &Value) -> Vec<Violation> {
    let references = metadata["ownerReferences"].as_array().into_iter().flatten().enumerate();
    let events = references
        .filter(|(_, reference)| reference["apiVersion"] == "v1" && reference["kind"] == "Event")
        .map(|(index, _)| Violation {
            field: FieldPath::of(&["metadata", "ownerReferences"]).index(index).field("kind"),
            reason: Reason::NotSupported,
            value: Shown::Text("Event".to_owned()),
            text: "an Event cannot be an owner".to_owned(),
            suggestion: None,
        });
    events.collect()
}

fn finalizers(metadata: &Value) -> Option<Violation> {
    let finalizers = metadata["finalizers"].as_array()?;
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    (has("orphan") && has("foregroundDeletion")).then(|| {
        let text = "orphan and foregroundDeletion exclude each other; remove one".to_owned();
        invalid("finalizers", Shown::Nothing, text)
    })
}

fn invalid(field: &'static str, value: Shown, text: String) -> Violation {
    Violation {
        field: FieldPath::of(&["metadata", field]),
        reason: Reason::Invalid,
        value,
        text,
        suggestion: None,
    }
}
