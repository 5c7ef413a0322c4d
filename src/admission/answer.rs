//! Builds the AdmissionReview that answers a request: patch, status with causes, warnings, audit annotations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crm_core::api::limits;
use crm_core::catalog::{Action, RuleId};
use crm_core::characters::push_truncated;
use crm_core::patch;
use crm_core::policy::{Policy, Problem};
use crm_core::quote::quote;
use crm_core::rules::{Finding, OwnerReference, Reason, Verdict};
use serde::Serialize;

use super::message;
use super::policy::PolicyVerdict;
use super::review::{Matter, Review};

/// The initial size of the buffer; most answers fit.
const USUAL_BYTES: usize = 512;

/// The initial size for a field, or for a rule with its action.
const USUAL_PART_BYTES: usize = 32;

/// The maximum number of causes, plus one that counts the rest.
const MAX_CAUSES: usize = 50;

/// The maximum length of the field and of the text of a policy's problem, in characters. Both can quote the policy.
const MAX_PROBLEM_CHARS: usize = 1024;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<Annotations<'a>>,
}

/// The audit annotations. The API server puts the name of the webhook in front of the keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Annotations<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<String>,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exempted_by: Option<String>,
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<String>,
}

/// The metav1.Status of a denied request.
#[derive(Debug, Serialize)]
struct Status {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: String,
    details: Details,
}

#[derive(Debug, Serialize)]
struct Details {
    name: String,
    group: &'static str,
    kind: &'static str,
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize)]
struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

/// Whether a request is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    Denied,
}

impl Decision {
    pub(super) fn of(verdict: &Verdict) -> Self {
        if verdict.strictest() == Action::Deny { Self::Denied } else { Self::Allowed }
    }

    pub(super) fn of_policy(verdict: &PolicyVerdict) -> Self {
        if verdict.problems.is_empty() { Self::Allowed } else { Self::Denied }
    }

    /// The name in metrics, logs and audit annotations.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// The answer to a request that no rule checks.
pub(super) fn untouched(review: &Review<'_>) -> Vec<u8> {
    encode(review, Response { uid: &review.uid, allowed: true, ..Response::default() })
}

/// The answer to a request that was decided.
pub(super) fn decided(review: &Review<'_>, verdict: &Verdict, policy: &Policy) -> Vec<u8> {
    let decision = Decision::of(verdict);
    let mut response = Response {
        uid: &review.uid,
        allowed: decision == Decision::Allowed,
        warnings: warnings(verdict, decision),
        audit_annotations: Some(annotations(verdict, decision, policy)),
        ..Response::default()
    };
    match (decision, &review.matter) {
        (Decision::Denied, _) => response.status = Some(status(review, verdict)),
        (Decision::Allowed, Matter::Write(write))
            if !verdict.changes.is_empty() || verdict.owner.is_some() =>
        {
            let mut patch = patch::patch(&write.object, &verdict.changes);
            patch.0.extend(verdict.owner.as_ref().map(|owner| patch::add_owner(&write.object, owner)));
            response.patch = serde_json::to_vec(&patch).ok().map(|json| STANDARD.encode(json));
            response.patch_type = Some("JSONPatch");
        }
        _ => {}
    }
    encode(review, response)
}

/// The answer to a request to store a policy. `in_force` is the policy until then.
pub(super) fn policy_decided(review: &Review<'_>, verdict: &PolicyVerdict, in_force: &Policy) -> Vec<u8> {
    let decision = Decision::of_policy(verdict);
    let causes = limited(verdict.problems.iter().map(problem_cause), verdict.problems.len());
    let why = format!("is invalid: {}", aggregate(&causes));
    let response = Response {
        uid: &review.uid,
        allowed: decision == Decision::Allowed,
        status: (decision == Decision::Denied).then(|| failure(review, 422, "Invalid", &why, causes)),
        warnings: message::limited(verdict.warnings.clone()),
        audit_annotations: Some(Annotations {
            changes: None,
            decision: decision.as_str(),
            exempted_by: None,
            policy: &in_force.origin,
            rules: None,
        }),
        ..Response::default()
    };
    encode(review, response)
}

fn encode(review: &Review<'_>, response: Response<'_>) -> Vec<u8> {
    let envelope = Envelope { api_version: &review.api_version, kind: "AdmissionReview", response };
    let mut json = Vec::with_capacity(USUAL_BYTES);
    // Strings, numbers and maps with string keys always have a JSON form, and writing to a vector cannot fail.
    let _ = serde_json::to_writer(&mut json, &envelope);
    json
}

/// Most important first: findings that will deny from a certain date, other findings, changes.
fn warnings(verdict: &Verdict, decision: Decision) -> Vec<String> {
    let warned: Vec<&Finding> =
        verdict.findings.iter().filter(|finding| finding.action == Action::Warn).collect();
    let (dated, undated): (Vec<_>, Vec<_>) =
        warned.into_iter().partition(|finding| finding.denies_from.is_some());
    let mut warnings: Vec<String> = dated.into_iter().chain(undated).map(message::finding_warning).collect();
    // A denied request stores nothing.
    if decision == Decision::Allowed {
        warnings.extend(verdict.changes.iter().filter_map(message::change_warning));
    }
    message::limited(warnings)
}

fn annotations<'a>(verdict: &Verdict, decision: Decision, policy: &'a Policy) -> Annotations<'a> {
    let mut actions: BTreeMap<RuleId, Action> = BTreeMap::new();
    for finding in &verdict.findings {
        let strictest = actions.entry(finding.rule).or_insert(finding.action);
        *strictest = finding.action.max(*strictest);
    }
    let rules = actions.iter().map(|(rule, action)| format!("{rule}={action}"));
    // A denied request changes nothing.
    let owner = verdict.owner.as_ref().map(|_| OwnerReference::field());
    let changes = verdict.changes.iter().map(|change| change.field.clone()).chain(owner);
    let changes = changes.filter(|_| decision == Decision::Allowed);
    let exemptions: BTreeSet<&str> =
        verdict.exempted.iter().map(|exempted| exempted.exemption.as_str()).collect();
    Annotations {
        changes: joined(changes),
        decision: decision.as_str(),
        exempted_by: joined(exemptions),
        policy: &policy.origin,
        rules: joined(rules),
    }
}

/// `None` if there are no parts.
fn joined(parts: impl IntoIterator<Item = impl fmt::Display>) -> Option<String> {
    let mut joined = String::new();
    for part in parts {
        let comma = if joined.is_empty() { "" } else { "," };
        joined.reserve(USUAL_PART_BYTES);
        // Writing to a string cannot fail.
        let _ = write!(joined, "{comma}{part}");
    }
    (!joined.is_empty()).then_some(joined)
}

fn status(review: &Review<'_>, verdict: &Verdict) -> Status {
    let denying: Vec<&Finding> =
        verdict.findings.iter().filter(|finding| finding.action == Action::Deny).collect();
    let causes = limited(denying.iter().map(|finding| finding_cause(finding)), denying.len());
    let (code, reason, why) = match &review.matter {
        Matter::Deletion(_) => {
            let texts: Vec<String> = denying.iter().map(|finding| finding.rest()).collect();
            (409, "Conflict", format!("cannot be deleted: {}", texts.join(", ")))
        }
        // All causes are failed lookups, so a retry may succeed.
        _ if denying.iter().all(|finding| finding.reason == Reason::Unchecked) => {
            (503, "ServiceUnavailable", format!("could not be decided: {}", aggregate(&causes)))
        }
        _ => (422, "Invalid", format!("is invalid: {}", aggregate(&causes))),
    };
    failure(review, code, reason, &why, causes)
}

fn failure(review: &Review<'_>, code: u16, reason: &'static str, why: &str, causes: Vec<Cause>) -> Status {
    let (group, kind) = review.kind.map_or(("", ""), |kind| (kind.group(), kind.as_str()));
    let message = format!("{kind}.{group} {} {why}", quote(&review.name));
    let name = review.name.chars().take(limits::NAME).collect();
    Status { status: "Failure", code, reason, message, details: Details { name, group, kind, causes } }
}

fn finding_cause(finding: &Finding) -> Cause {
    Cause { reason: finding.reason.cause(), field: finding.field.to_string(), message: finding.message() }
}

fn problem_cause(problem: &Problem) -> Cause {
    let mut field = String::new();
    push_truncated(&mut field, &problem.field, MAX_PROBLEM_CHARS, &[]);
    let mut message = String::new();
    push_truncated(&mut message, &problem.text, MAX_PROBLEM_CHARS, &[]);
    // The text begins with the prefix.
    let reasons = [Reason::Required, Reason::NotSupported, Reason::Forbidden];
    let reason = reasons.into_iter().find(|reason| problem.text.starts_with(reason.prefix()));
    Cause { reason: reason.unwrap_or(Reason::Invalid).cause(), field, message }
}

/// The first of `number` causes, and one that counts the others.
fn limited(causes: impl Iterator<Item = Cause>, number: usize) -> Vec<Cause> {
    let mut causes: Vec<Cause> = causes.take(MAX_CAUSES).collect();
    let left_out = number.saturating_sub(MAX_CAUSES);
    if left_out > 0 {
        causes.push(Cause {
            reason: Reason::Invalid.cause(),
            field: "spec".to_owned(),
            message: format!("and {left_out} more"),
        });
    }
    causes
}

/// All causes in one message, in the format of the API machinery.
fn aggregate(causes: &[Cause]) -> String {
    let texts: Vec<String> =
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) }
}
