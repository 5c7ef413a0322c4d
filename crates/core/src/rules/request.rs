//! The input of the engine: a request, its records, and the facts about its references.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use super::path::FieldPath;
use crate::api::{CrmKind, Target};
use crate::catalog::RuleId;
use crate::existence::Fact;

/// A request to decide about.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The kind of the record.
    pub kind: CrmKind,
    /// The record that would be stored.
    pub object: &'a Record,
    /// The operation.
    pub operation: Operation<'a>,
    /// The user; `None` if unknown, as for a file.
    pub requester: Option<&'a UserInfo>,
    /// Whether it is a dry run.
    pub dry_run: bool,
    /// The field manager of the write.
    pub field_manager: Option<&'a str>,
}

/// The group to which the API server adds every authenticated user.
pub const AUTHENTICATED: &str = "system:authenticated";

/// A user as the API server describes an authenticated one.
pub fn authenticated(mut user: UserInfo) -> UserInfo {
    let groups = user.groups.get_or_insert_default();
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    user
}

/// The operation of a request.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// The record is new.
    Create,
    /// The record replaces this one.
    Update(&'a Record),
    /// No write: the record is stored already. Rules about the act of writing do not apply, and there is no ratcheting.
    Stored,
}

/// The fields of an object that rules read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// `metadata.labels`; empty if missing.
    pub labels: BTreeMap<String, String>,
    /// `spec`; null if missing.
    pub spec: Value,
    /// `metadata.namespace`; `None` if it is missing or not known yet.
    pub namespace: Option<String>,
    /// The uids in `metadata.ownerReferences`; `None` if there is no such list.
    pub owners: Option<Vec<String>>,
}

/// Identifies a reference of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReferenceKey {
    /// The rule that looks up the target.
    pub rule: RuleId,
    /// The index of the reference, from 0, if the field is a list.
    pub entry: Option<usize>,
}

impl From<RuleId> for ReferenceKey {
    /// The only reference of a rule.
    fn from(rule: RuleId) -> Self {
        Self { rule, entry: None }
    }
}

/// One question for the directory: does the target of this reference exist?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The reference.
    pub key: ReferenceKey,
    /// The target to look up. Its name has been validated.
    pub target: Target,
}

/// The answers to a request's references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    answers: Vec<(ReferenceKey, Fact)>,
    /// The uid of the subject of a Note; `None` if it was not asked for.
    subject_uid: Option<Option<String>>,
}

impl Facts {
    /// The same facts, with the answer about the uid of the subject of a Note.
    #[must_use]
    pub fn with_subject_uid(self, subject_uid: Option<String>) -> Self {
        Self { subject_uid: Some(subject_uid), ..self }
    }

    /// The answer about the uid of the subject of a Note; `None` if nobody asked for it.
    pub(super) fn subject_uid(&self) -> Option<Option<&str>> {
        self.subject_uid.as_ref().map(Option::as_deref)
    }

    /// The answer to a reference.
    pub fn get(&self, key: impl Into<ReferenceKey>) -> Option<&Fact> {
        let key = key.into();
        self.answers.iter().find(|(asked, _)| *asked == key).map(|(_, fact)| fact)
    }
}

impl FromIterator<(ReferenceKey, Fact)> for Facts {
    fn from_iter<I: IntoIterator<Item = (ReferenceKey, Fact)>>(facts: I) -> Self {
        Self { answers: facts.into_iter().collect(), subject_uid: None }
    }
}

/// The value of a field that must be a string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StringValue<'a> {
    Missing,
    Given(&'a str),
    WrongType(&'a Value),
}

impl<'a> StringValue<'a> {
    /// The string, if there is one.
    pub(super) fn given(self) -> Option<&'a str> {
        if let Self::Given(text) = self { Some(text) } else { None }
    }

    pub(super) fn of(value: Option<&'a Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Missing,
            Some(Value::String(text)) => Self::Given(text),
            Some(other) => Self::WrongType(other),
        }
    }
}

impl Record {
    /// The value at a path that starts with `spec`; `None` if it is missing or null.
    pub(super) fn get(&self, path: &FieldPath) -> Option<&Value> {
        path.resolve_below_root(&self.spec)
    }
}

impl<'a> Request<'a> {
    /// The stored record that this request replaces.
    pub(super) fn stored(&self) -> Option<&'a Record> {
        match self.operation {
            Operation::Create | Operation::Stored => None,
            Operation::Update(stored) => Some(stored),
        }
    }

    /// The value at a path that starts with `spec`; `None` if it is missing or null.
    pub(super) fn get(&self, path: &FieldPath) -> Option<&'a Value> {
        self.object.get(path)
    }

    /// Whether an update leaves the field at a path that starts with `spec` unchanged.
    pub(super) fn leaves_unchanged(&self, path: &FieldPath) -> bool {
        self.stored().is_some_and(|stored| stored.get(path) == self.object.get(path))
    }

    /// Whether an update leaves spec and labels unchanged.
    pub(super) fn changes_nothing(&self) -> bool {
        let no_spec =
            |spec: &Value| spec.is_null() || spec.as_object().is_some_and(|fields| fields.is_empty());
        self.stored().is_some_and(|stored| {
            let same_spec =
                stored.spec == self.object.spec || (no_spec(&stored.spec) && no_spec(&self.object.spec));
            same_spec && stored.labels == self.object.labels
        })
    }
}
