//! A test of a policy, read and valid: its cases, each with a request and an expectation.

use crm_core::catalog::{Action, RuleId};
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use regex::Regex;
use serde_json::Value;
use std::sync::Arc;

/// One document of kind AdmissionPolicyTest.
pub(super) struct Suite {
    /// The name of its file in reports.
    pub(super) file: String,
    /// Its `metadata.name`; empty if it has none.
    pub(super) name: String,
    pub(super) policy: Policy,
    /// The objects that exist.
    pub(super) existing: Arc<Objects>,
    /// The time of all requests; `None` for the present time.
    pub(super) now: Option<Timestamp>,
    pub(super) cases: Vec<Case>,
}

/// One request, and what is expected of the answer.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// Line and column, both from 1.
    pub(super) position: (usize, usize),
    pub(super) request: Request,
    pub(super) expect: Expect,
}

/// A request of a user, before the API server sends it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) user: UserInfo,
    /// The record to store; `None` for a deletion.
    pub(super) object: Option<Value>,
    /// The stored record; `None` for a create.
    pub(super) old_object: Option<Value>,
    pub(super) dry_run: bool,
    pub(super) field_manager: Option<String>,
}

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

/// What is expected of an answer. A part that is `None` is not compared.
#[derive(Debug, Default)]
pub(super) struct Expect {
    pub(super) allowed: Option<bool>,
    /// All findings, in any order.
    pub(super) findings: Option<Vec<ExpectedFinding>>,
    /// Fields and their new values; null for a removed one. An empty list means no changes.
    pub(super) changes: Option<Vec<(String, Value)>>,
    pub(super) message: Option<Regex>,
}

/// What is expected of one finding. A part that is `None` is not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpectedFinding {
    pub(super) rule: RuleId,
    pub(super) code: Option<&'static str>,
    pub(super) action: Option<Action>,
    /// The field as messages show it.
    pub(super) field: Option<String>,
}

impl Operation {
    /// All operations, as they are written.
    pub(super) const ALL: [(&'static str, Self); 3] =
        [("CREATE", Self::Create), ("UPDATE", Self::Update), ("DELETE", Self::Delete)];

    /// As in an AdmissionReview.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

impl Request {
    /// The record that the request is about.
    pub(super) fn record(&self) -> &Value {
        self.object.as_ref().or(self.old_object.as_ref()).unwrap_or(&Value::Null)
    }
}
