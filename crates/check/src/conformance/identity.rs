//! Recognizes CRM records by kind and version.

use crm_core::api::names::{NEAR_MISS, nearest};
use crm_core::api::{self, CrmKind};
use crm_core::quote::quote;
use crm_core::rules::{FieldPath, Reason, Shown};
use serde_json::Value;

use super::violation::Violation;

/// The identity of an object, according to its kind and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A record.
    Record(CrmKind),
    /// Of our group, but of a kind or version that does not exist; or of one of our kinds, without a group. The name of
    /// the wrong field.
    Misfit(&'static str),
    /// An object of another group.
    Other,
    /// An object in a document that is encrypted, so its values are unknown.
    Encrypted,
    /// An object that may be a record, but its kind or version depends on an unknown variable.
    Hidden,
}

impl Identity {
    /// The identity of an object.
    pub fn of(object: &Value) -> Self {
        let kind = object["kind"].as_str();
        let known = kind.and_then(|kind| CrmKind::of(api::GROUP, api::VERSION, kind));
        let Some(api_version) = object["apiVersion"].as_str() else {
            // Without a group it could be of another one, but most likely it is ours.
            return if known.is_some() { Self::Misfit("apiVersion") } else { Self::Other };
        };
        let (group, version) = api_version.split_once('/').unwrap_or((api_version, ""));
        match (known, kind) {
            _ if group != api::GROUP => Self::Other,
            _ if version != api::VERSION => Self::Misfit("apiVersion"),
            (Some(kind), _) => Self::Record(kind),
            (None, _) => Self::Misfit("kind"),
        }
    }

    /// The kind of a record; `None` for any other object.
    pub fn kind(self) -> Option<CrmKind> {
        if let Self::Record(kind) = self { Some(kind) } else { None }
    }
}

/// The only `apiVersion` of records.
fn accepted_version() -> String {
    format!("{}/{}", api::GROUP, api::VERSION)
}

/// The violation of an object whose kind or version does not exist.
pub(super) fn violation(field: &'static str, object: &Value) -> Violation {
    let path = FieldPath::of(&[field]);
    let value = &object[field];
    let kinds = CrmKind::ALL.map(CrmKind::as_str);
    let accepted = if field == "kind" { kinds.join(", ") } else { accepted_version() };
    if value.is_null() {
        let text =
            format!("set it to {}", if field == "kind" { format!("one of {accepted}") } else { accepted });
        let (reason, value) = (Reason::Required, Shown::Nothing);
        return Violation { field: path, reason, value, text, suggestion: None };
    }
    let meant = value.as_str().filter(|_| field == "kind").and_then(|kind| nearest(kinds, kind, NEAR_MISS));
    let text = match meant {
        Some(kind) => format!("did you mean {}?", quote(kind)),
        None => format!("supported: {accepted}"),
    };
    let suggestion = match field {
        "kind" => meant.map(str::to_owned),
        // There is only one version.
        _ => Some(accepted_version()),
    };
    Violation { field: path, reason: Reason::NotSupported, value: Shown::of(value), text, suggestion }
}
