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
        let of = |group, version| kind.and_then(|kind| CrmKind::of(group, version, kind));
        let Some(api_version) = object["apiVersion"].as_str() else {
            // Without a group it could be of another one, but most likely it is ours.
            let is_ours = of(api::GROUP, api::VERSION).is_some();
            return if is_ours { Self::Misfit("apiVersion") } else { Self::Other };
        };
        let (group, version) = api_version.split_once('/').unwrap_or((api_version, ""));
        match (of(group, version), kind) {
            // Of Milo's group, we know only these kinds in this version.
            (known, _) if group != api::GROUP => known.map_or(Self::Other, Self::Record),
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
    let kinds = CrmKind::OWN.map(CrmKind::as_str);
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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::ours("crm.milo.io/v1alpha1", "Note", Identity::Record(CrmKind::Note))]
    #[case::milos("notes.miloapis.com/v1alpha1", "ClusterNote", Identity::Record(CrmKind::ClusterNote))]
    #[case::of_the_same_kind(
        "notes.miloapis.com/v1alpha1",
        "Note",
        Identity::Record(CrmKind::NamespacedNote)
    )]
    #[case::of_another_version("notes.miloapis.com/v1", "Note", Identity::Other)]
    #[case::of_a_third_group("notification.miloapis.com/v1alpha1", "Note", Identity::Other)]
    #[case::milos_kind_in_our_group("crm.milo.io/v1alpha1", "ClusterNote", Identity::Misfit("kind"))]
    #[case::our_kind_in_milos_group("notes.miloapis.com/v1alpha1", "Company", Identity::Other)]
    fn group_version_and_kind_identify_a_record(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] expected: Identity,
    ) {
        assert_eq!(Identity::of(&json!({"apiVersion": api_version, "kind": kind})), expected);
    }
}
