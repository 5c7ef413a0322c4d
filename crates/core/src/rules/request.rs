//! What the engine is asked about, and the facts that were found out for it.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use super::path::FieldPath;
use crate::api::{CrmKind, Target};
use crate::catalog::RuleId;
use crate::existence::Fact;

/// One request for a decision.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The kind of the record.
    pub kind: CrmKind,
    /// The record as it is to be stored.
    pub object: &'a Record,
    /// What is done with it.
    pub operation: Operation<'a>,
    /// Who asks; `None` when nobody is known, as for a file.
    pub requester: Option<&'a UserInfo>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Who manages the fields of this write, as the API server names it.
    pub field_manager: Option<&'a str>,
}

/// What is done with a record.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// It is stored for the first time.
    Create,
    /// It takes the place of this one.
    Update(&'a Record),
    /// Nothing: it is stored already. Rules about the act of writing do not hold, and nothing is ratcheted.
    Stored,
}

/// The part of an object that rules look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// `metadata.labels`; absent ones are none.
    pub labels: BTreeMap<String, String>,
    /// `spec`; null when it is absent.
    pub spec: Value,
}

/// One question for the directory: does the target of this rule's reference exist?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The rule that asks.
    pub rule: RuleId,
    /// What is looked up. Its name has been checked.
    pub target: Target,
}

/// The answers to a request's references. A record has at most one reference for each rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<(RuleId, Fact)>);

impl Facts {
    /// The answer to the reference of `rule`.
    pub fn get(&self, rule: RuleId) -> Option<&Fact> {
        self.0.iter().find(|(asked, _)| *asked == rule).map(|(_, fact)| fact)
    }
}

impl FromIterator<(RuleId, Fact)> for Facts {
    fn from_iter<I: IntoIterator<Item = (RuleId, Fact)>>(facts: I) -> Self {
        Self(facts.into_iter().collect())
    }
}

/// A value that a rule needs as text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Text<'a> {
    Absent,
    Given(&'a str),
    Wrong(&'a Value),
}

impl<'a> Text<'a> {
    pub(super) fn of(value: Option<&'a Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Absent,
            Some(Value::String(text)) => Self::Given(text),
            Some(other) => Self::Wrong(other),
        }
    }
}

impl Record {
    /// The value at a path that starts with `spec`. A null is no value.
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

    /// The value at a path that starts with `spec`. A null is no value.
    pub(super) fn get(&self, path: &FieldPath) -> Option<&'a Value> {
        self.object.get(path)
    }

    /// Whether an update leaves the field at a path that starts with `spec` as it was.
    pub(super) fn leaves(&self, path: &FieldPath) -> bool {
        self.stored().is_some_and(|stored| stored.get(path) == self.object.get(path))
    }

    /// Whether an update leaves all that rules look at as it was.
    pub(super) fn leaves_everything(&self) -> bool {
        let no_spec =
            |spec: &Value| spec.is_null() || spec.as_object().is_some_and(|fields| fields.is_empty());
        self.stored().is_some_and(|stored| {
            let same_spec =
                stored.spec == self.object.spec || (no_spec(&stored.spec) && no_spec(&self.object.spec));
            same_spec && stored.labels == self.object.labels
        })
    }
}
