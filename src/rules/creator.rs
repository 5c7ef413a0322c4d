//! The rules about who created a record: `creator-ref`, `creator-immutable`, `creator-is-requester`.

use k8s_openapi::api::authentication::v1::UserInfo;

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::{Change, Effect};
use super::path::FieldPath;
use super::quote::quote;
use super::request::{Operation, Record, Request, Text};
use crate::api::names::is_path_segment;
use crate::catalog::RuleId;
use crate::policy::Policy;

/// What a malformed name is told.
pub(super) const SEGMENT_FORM: &str =
    "must be 1-253 characters, without \"/\", \"%\" or white space, and not \".\" or \"..\"";

/// Where a record's creator comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Creator<'a> {
    /// The object names it.
    Given(&'a str),
    /// It is set from the requesting user.
    Defaulted(String),
    /// It is taken from the stored object.
    Restored(&'a str),
    /// Nobody knows: no policy source yields a name for the user.
    Unmapped,
    /// Neither the update nor the stored object has one, or a stored record that is looked at has none.
    NeverSet,
    /// A file without a known requester leaves it to the cluster.
    LeftOpen,
    /// Its value has a type that cannot be read; that is a finding of `schema`.
    Unreadable,
}

impl<'a> Creator<'a> {
    /// Finds the creator of a request's record.
    pub(super) fn of(request: &Request<'a>, policy: &Policy) -> Self {
        match creator_name(request.object) {
            None => return Self::Unreadable,
            Some(name) if !name.is_empty() => return Self::Given(name),
            Some(_) => {}
        }
        match request.operation {
            Operation::Update(stored) => match stored_creator(stored) {
                Some(name) => Self::Restored(name),
                None => Self::NeverSet,
            },
            Operation::Stored => Self::NeverSet,
            Operation::Create => match request.requester {
                None => Self::LeftOpen,
                Some(user) => mapped(policy, user).map_or(Self::Unmapped, Self::Defaulted),
            },
        }
    }

    /// The name that will be stored, where there is one.
    pub(super) fn name(&self, policy: &Policy) -> Option<&str> {
        // A disabled rule makes no change, so nothing is set or restored.
        let changes = policy.is_enabled(RuleId::CreatorRef);
        match self {
            Self::Given(name) => Some(name),
            Self::Defaulted(name) if changes => Some(name),
            Self::Restored(name) if changes => Some(name),
            _ => None,
        }
    }
}

/// The name in `spec.creatorRef`; empty for an absent one, `None` for one of a wrong type.
fn creator_name(record: &Record) -> Option<&str> {
    match record.get(&reference_path()) {
        None => Some(""),
        Some(serde_json::Value::Object(fields)) => match Text::of(fields.get("name")) {
            Text::Given(name) => Some(name),
            Text::Absent => Some(""),
            Text::Wrong(_) => None,
        },
        Some(_) => None,
    }
}

/// The creator of a stored record, where it has one.
pub(super) fn stored_creator(stored: &Record) -> Option<&str> {
    creator_name(stored).filter(|name| !name.is_empty())
}

/// The first name that the policy's sources find for a user.
fn mapped(policy: &Policy, user: &UserInfo) -> Option<String> {
    policy.creator_sources.iter().find_map(|source| source.name(user))
}

fn reference_path() -> FieldPath {
    FieldPath::of(&["spec", "creatorRef"])
}

/// The path of the creator's name.
pub(super) fn name_path() -> FieldPath {
    reference_path().field("name")
}

/// Judges `spec.creatorRef`.
pub(super) fn creator(evaluation: &mut Evaluation<'_>) {
    let creator = Creator::of(evaluation.request, evaluation.policy);
    match &creator {
        Creator::Unreadable => unreadable(evaluation),
        Creator::Given(name) => well_formed(evaluation, name),
        Creator::Defaulted(name) => set(evaluation, name, Effect::Defaulted),
        Creator::Restored(name) => set(evaluation, name, Effect::Restored),
        Creator::Unmapped => unmapped(evaluation, RuleId::CreatorRef, "set spec.creatorRef.name"),
        Creator::NeverSet => {
            let (text, weight) = match evaluation.request.operation {
                Operation::Stored => ("say who created the record", Weight::Full),
                _ => ("no creator is stored either; say who created the record", Weight::Advice),
            };
            let problem = Problem::required(RuleId::CreatorRef, name_path(), text);
            evaluation.report(problem, weight);
        }
        Creator::LeftOpen => {}
    }
    immutable(evaluation, &creator);
    is_requester(evaluation, &creator);
}

fn unreadable(evaluation: &mut Evaluation<'_>) {
    // Asking for the parent and the leaf reports whichever has the wrong type.
    if evaluation.object(&reference_path()).is_some() {
        evaluation.text(&name_path());
    }
}

fn well_formed(evaluation: &mut Evaluation<'_>, name: &str) {
    if is_path_segment(name) {
        return;
    }
    let path = name_path();
    let weight = Weight::ratchet(evaluation.request.leaves(&path));
    evaluation.report(Problem::invalid(RuleId::CreatorRef, path, name, SEGMENT_FORM), weight);
}

fn set(evaluation: &mut Evaluation<'_>, name: &str, effect: Effect) {
    evaluation.change(Change {
        rule: RuleId::CreatorRef,
        field: name_path(),
        before: None,
        after: Some(name.to_owned()),
        effect,
        stood: false,
    });
}

fn unmapped(evaluation: &mut Evaluation<'_>, rule: RuleId, fix: &str) {
    let user = evaluation.request.requester.and_then(|user| user.username.as_deref()).unwrap_or_default();
    let text = format!("the user {} could not be mapped to a creator; {fix}", quote(user));
    let problem = match rule {
        RuleId::CreatorRef => Problem::required(rule, name_path(), text),
        _ => Problem::invalid(rule, name_path(), "", text),
    };
    evaluation.report(problem, Weight::Full);
}

fn immutable(evaluation: &mut Evaluation<'_>, creator: &Creator<'_>) {
    let Some(stored) = evaluation.request.stored().and_then(stored_creator) else {
        return;
    };
    let name = creator.name(evaluation.policy).unwrap_or_default();
    if name != stored {
        let text = format!("field is immutable: keep {}", quote(stored));
        evaluation.report(Problem::invalid(RuleId::CreatorImmutable, name_path(), name, text), Weight::Full);
    }
}

fn is_requester(evaluation: &mut Evaluation<'_>, creator: &Creator<'_>) {
    let request = evaluation.request;
    let (Operation::Create, Some(user)) = (request.operation, request.requester) else {
        return;
    };
    if !evaluation.policy.is_enabled(RuleId::CreatorIsRequester) {
        return;
    }
    let Some(own) = mapped(evaluation.policy, user) else {
        let fix = "ask a cluster admin to map it in the policy";
        return unmapped(evaluation, RuleId::CreatorIsRequester, fix);
    };
    let name = creator.name(evaluation.policy).unwrap_or_default();
    if !name.is_empty() && name != own {
        let text = format!("must be the requesting user, {}", quote(&own));
        let problem = Problem::invalid(RuleId::CreatorIsRequester, name_path(), name, text);
        evaluation.report(problem, Weight::Full);
    }
}
