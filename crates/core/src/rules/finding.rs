//! The result of the engine: a verdict with changes and findings.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::path::FieldPath;
use crate::catalog::{Action, RuleId};
use crate::quote::type_name;

/// The result for one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The changes that `/mutate` makes.
    pub changes: Vec<Change>,
    /// The problems.
    pub findings: Vec<Finding>,
    /// The findings that an exemption dropped.
    pub exempted: Vec<Exempted>,
    /// The owner reference that `/mutate` adds.
    pub owner: Option<OwnerReference>,
}

/// An entry of `metadata.ownerReferences`. It neither controls the object nor blocks the deletion of the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version of the owner.
    pub api_version: String,
    /// The kind of the owner.
    pub kind: String,
    /// The name of the owner.
    pub name: String,
    /// The uid of the owner.
    pub uid: String,
}

impl OwnerReference {
    /// The list with the reference.
    pub fn field() -> FieldPath {
        FieldPath::of(&["metadata", "ownerReferences"])
    }
}

/// A finding that an exemption dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exempted {
    /// The broken rule.
    pub rule: RuleId,
    /// The name of the exemption.
    pub exemption: String,
}

/// One change of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The rule that makes it.
    pub rule: RuleId,
    /// The field that changes, with indexes of the object in the request.
    pub field: FieldPath,
    /// The old value; `None` if it was missing.
    pub before: Option<String>,
    /// The new value; `None` if it is removed.
    pub after: Option<String>,
    /// The kind of change.
    pub effect: Effect,
    /// Whether the value is an old one in a changed list, and so no reason to deny.
    pub was_stored: bool,
}

/// The kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A missing value is set.
    Defaulted,
    /// A value that the update leaves out is copied from the stored object.
    Restored,
    /// Leading and trailing white space is removed.
    Trimmed,
    /// The value is replaced by the canonical value.
    Normalized,
    /// A list entry with the same canonical value as an earlier one is removed.
    DuplicateRemoved {
        /// The index of the earlier entry.
        first: usize,
    },
}

/// One problem that a rule found, with its action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The broken rule.
    pub rule: RuleId,
    /// The reason code, for rules that have reason codes.
    pub code: Option<&'static str>,
    /// The leaf field.
    pub field: FieldPath,
    /// The kind of problem, in the terms of the API machinery.
    pub reason: Reason,
    /// The raw value from the user. [`Shown::Hidden`] if messages must not repeat it.
    pub value: Shown,
    /// The problem and its fix.
    pub text: String,
    /// What the user probably meant: another value, or for an unknown field another name of the field.
    pub suggestion: Option<String>,
    /// The action.
    pub action: Action,
    /// The time from which a `Deny` that still acts as `Warn` denies.
    pub denies_from: Option<Timestamp>,
}

/// The part of a value that a message may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// There is no value to show.
    Nothing,
    /// The value from the user, or the part of it that may be shown.
    Text(String),
    /// Nothing, because the value may contain a password or a personal address. Messages show `""`.
    Hidden,
}

impl Shown {
    /// A value of any type. For a list or an object, only the name of the type.
    pub fn of(value: &Value) -> Self {
        let shown = match value {
            Value::Array(_) | Value::Object(_) => type_name(value).to_owned(),
            Value::String(text) => text.clone(),
            scalar => scalar.to_string(),
        };
        // A string in a field of another type can be anything, even a personal address.
        if shown.contains('@') { Self::Hidden } else { Self::Text(shown) }
    }
}

/// The kind of problem, in the terms of the API machinery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A value is missing.
    Required,
    /// A value has the wrong format or size, or must not change.
    Invalid,
    /// The target of a reference is missing.
    NotFound,
    /// A value is not one of the accepted ones.
    NotSupported,
    /// A field must not be set.
    Forbidden,
    /// The lookup of a reference failed.
    Unchecked,
    /// A deleted record has dependents, or may have some.
    Referenced,
}

impl Reason {
    /// The `reason` of a status cause.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid | Self::Unchecked => "FieldValueInvalid",
            Self::NotFound => "FieldValueNotFound",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden | Self::Referenced => "FieldValueForbidden",
        }
    }

    /// The prefix of the API machinery for a message, without the colon.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::Unchecked => "Invalid value",
            Self::NotFound => "Not found",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden | Self::Referenced => "Forbidden",
        }
    }

    /// Whether the message quotes the value after the prefix.
    pub const fn quotes_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::Referenced)
    }
}

impl Verdict {
    /// The strictest action of the findings; `Disabled` without findings.
    pub fn strictest(&self) -> Action {
        self.findings.iter().map(|finding| finding.action).max().unwrap_or(Action::Disabled)
    }
}
