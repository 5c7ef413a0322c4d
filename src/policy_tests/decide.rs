//! Asks the webhook about one request as the API server does: `/mutate`, then `/validate` about the changed record.

use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crm_core::rules::{Change, FieldPath, Finding, OwnerReference, Verdict};
use json_patch::Patch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::suite::{Operation, Request};
use crate::admission::{Endpoint, Pipeline, Unreadable};

/// The time for lookups. Nothing takes time, because all objects are in memory.
const LIMIT: Duration = Duration::from_secs(10);

/// What the webhook does with a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    pub(super) allowed: bool,
    /// Those of `/mutate`, with indexes of the record as the user wrote it, and those that only `/validate` has.
    pub(super) findings: Vec<Finding>,
    /// The changes that are stored; none of a denied request.
    pub(super) changes: Vec<Changed>,
    /// The record as it would be stored; null for a deletion and a denied request.
    pub(super) stored: Value,
    /// Why the request is denied.
    pub(super) denial: Option<String>,
    /// The warnings for the user, each once.
    pub(super) warnings: Vec<String>,
}

/// A field with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// With indexes of the record as the user wrote it.
    pub(super) field: FieldPath,
    /// The new value; `None` if it is removed.
    pub(super) after: Option<String>,
}

impl From<Change> for Changed {
    fn from(change: Change) -> Self {
        Self { field: change.field, after: change.after }
    }
}

/// The fields of an owner reference that is added to the owners of this record.
fn owned(object: &Value, owner: OwnerReference) -> [Changed; 4] {
    let list = OwnerReference::field();
    let before = list.resolve_below_root(&object["metadata"]).and_then(Value::as_array).map_or(0, Vec::len);
    let entry = list.index(before);
    let OwnerReference { api_version, kind, name, uid } = owner;
    [("apiVersion", api_version), ("kind", kind), ("name", name), ("uid", uid)]
        .map(|(field, value)| Changed { field: entry.field(field), after: Some(value) })
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undecided {
    /// The webhook cannot read the request, and no API server would send it.
    #[error("the webhook cannot read this request: {0}")]
    Unreadable(#[from] Unreadable),
    /// The answer of the webhook cannot be used.
    #[error("{0:#}")]
    Unusable(#[from] anyhow::Error),
}

/// The parts of an answer that the API server uses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    allowed: bool,
    status: Status,
    patch: Option<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: Option<String>,
}

/// The decision of the webhook about a request.
///
/// # Errors
/// The API server could not send the request.
pub(super) async fn decide(pipeline: &Pipeline, request: &Request) -> Result<Decision, Undecided> {
    let mut decision = Decision::default();
    let mut object = request.object.clone();
    if let Some(object) = &mut object {
        let (answer, verdict) = ask(pipeline, Endpoint::Mutate, request, Some(object)).await?;
        decision.findings = verdict.findings;
        decision.add_messages(&answer);
        if !answer.allowed {
            return Ok(decision);
        }
        decision.changes = verdict.changes.into_iter().map(Changed::from).collect();
        decision.changes.extend(verdict.owner.into_iter().flat_map(|owner| owned(object, owner)));
        if let Some(patch) = &answer.patch {
            apply(patch, object)?;
        }
    }
    let (answer, verdict) = ask(pipeline, Endpoint::Validate, request, object.as_ref()).await?;
    decision.add_findings(verdict.findings);
    decision.add_messages(&answer);
    decision.allowed = answer.allowed;
    if answer.allowed {
        decision.stored = object.unwrap_or_default();
    } else {
        decision.changes.clear();
    }
    Ok(decision)
}

async fn ask(
    pipeline: &Pipeline,
    endpoint: Endpoint,
    request: &Request,
    object: Option<&Value>,
) -> Result<(Answer, Verdict), Undecided> {
    let body =
        serde_json::to_vec(&review(request, object)).context("the request cannot be written as JSON")?;
    let reviewed = pipeline.reviewed(endpoint, &body, LIMIT).await?;
    let mut review: Value =
        serde_json::from_slice(&reviewed.answer).context("the answer of the webhook is not JSON")?;
    let answer = serde_json::from_value(review["response"].take())
        .context("the answer of the webhook is no AdmissionReview")?;
    Ok((answer, reviewed.verdict))
}

fn apply(patch: &str, object: &mut Value) -> anyhow::Result<()> {
    let json = STANDARD.decode(patch).context("the patch of the webhook is not base64")?;
    let patch: Patch = serde_json::from_slice(&json).context("the patch of the webhook is no JSON Patch")?;
    json_patch::patch(object, &patch).context("the patch of the webhook does not fit the record")
}

/// The AdmissionReview of the API server about this state of the record.
fn review(request: &Request, object: Option<&Value>) -> Value {
    let record = request.record();
    let api_version = record["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let user = &request.user;
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "policy-test",
        "kind": {"group": group, "version": version, "kind": record["kind"]},
        "name": record["metadata"]["name"],
        "namespace": record["metadata"]["namespace"],
        "operation": request.operation.as_str(),
        "userInfo": {
            "username": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra,
        },
        "object": object,
        "oldObject": request.old_object,
        "dryRun": request.dry_run,
        "options": {
            "apiVersion": "meta.k8s.io/v1",
            "kind": match request.operation {
                Operation::Create => "CreateOptions",
                Operation::Update => "UpdateOptions",
                Operation::Delete => "DeleteOptions",
            },
            "fieldManager": request.field_manager,
        },
    }})
}

impl Decision {
    /// Adds the findings that `/mutate` does not have. Its indexes can differ, because duplicates are removed.
    fn add_findings(&mut self, findings: Vec<Finding>) {
        let is_same = |a: &Finding, b: &Finding| {
            (a.rule, a.code, a.action, &a.value, &a.text) == (b.rule, b.code, b.action, &b.value, &b.text)
        };
        let mut known: Vec<Finding> = self.findings.clone();
        for finding in findings {
            match known.iter().position(|known| is_same(known, &finding)) {
                Some(index) => drop(known.swap_remove(index)),
                None => self.findings.push(finding),
            }
        }
    }

    fn add_messages(&mut self, answer: &Answer) {
        self.denial = self.denial.take().or_else(|| answer.status.message.clone());
        for warning in &answer.warnings {
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
    }

    /// What the user reads: why the request is denied, then the warnings.
    pub(super) fn messages(&self) -> impl Iterator<Item = &str> {
        self.denial.iter().chain(&self.warnings).map(String::as_str)
    }
}
