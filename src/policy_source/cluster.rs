//! Watches the AdmissionPolicies of a cluster, puts `default` into force, and writes the result to their status.
//!
//! The status keeps the last valid version, so that all replicas agree while the current one is invalid: a replica that
//! starts uses that version, and one that missed it follows.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crm_core::api::policy as document_kind;
use crm_core::policy::{Policy, Problems};
use futures::StreamExt;
use jiff::Timestamp;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Current;
use super::version::Version;
use crate::cluster::{RequestError, WATCH_SECONDS};

pub use crm_core::policy::IN_FORCE;
/// The condition with the result.
pub const ACCEPTED: &str = "Accepted";
/// How long writing a status may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// The pause before writing a status is retried.
const STATUS_PAUSE: Duration = Duration::from_secs(10);
/// The maximum length of a condition's message in bytes.
const MAX_MESSAGE: usize = 32_000;

/// The result for a policy, as its status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Judgement {
    status: &'static str,
    reason: &'static str,
    message: String,
    /// What `status.lastAccepted` must be; `None` if it must be missing.
    last_accepted: Option<Value>,
}

/// Why the policy in force is unknown.
#[derive(Debug, thiserror::Error)]
pub enum InForceError {
    /// It cannot be read.
    #[error("the policy in force cannot be read from the cluster")]
    Unreadable(#[source] RequestError),
    /// It is invalid, its status has no valid version, and only the webhook knows which policy is in force instead.
    #[error("the AdmissionPolicy {IN_FORCE} of the cluster is invalid: {0}")]
    Invalid(Problems),
}

impl InForceError {
    /// Whether the user lacks the permission to read it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.code() == Some(403))
    }
}

/// Reads the policy in force in a cluster with one GET: `default`, its last valid version if it is invalid, or the
/// built-in one if there is none.
///
/// # Errors
/// The policy cannot be read or is invalid.
pub async fn in_force(client: Client) -> Result<Policy, InForceError> {
    let objects: Api<DynamicObject> = Api::all_with(client, &resource());
    let object = match objects.get(IN_FORCE).await {
        Ok(object) => object,
        // The cluster may not have the kind.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Policy::default()),
        Err(error) => return Err(InForceError::Unreadable(error.into())),
    };
    Version::current(&object).compile(&object).or_else(|problems| {
        let kept = Version::last_accepted(&object).and_then(|version| version.compile(&object).ok());
        kept.ok_or(InForceError::Invalid(problems))
    })
}

fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk(document_kind::GROUP, document_kind::VERSION, document_kind::KIND);
    ApiResource::from_gvk_with_plural(&kind, "admissionpolicies")
}

/// Watches the policies of a cluster, forever.
///
/// A cluster without the kind has no policy, so the built-in one is in force; the kind is looked up again and again.
pub async fn follow(client: Client, current: Arc<Current>) {
    let source = Source::new(Api::all_with(client, &resource()), current);
    let mut pause = DefaultBackoff::default();
    loop {
        source.list_and_watch(&mut pause).await;
        sleep(pause.next().unwrap_or(STATUS_PAUSE)).await;
    }
}

/// A written result: the uid and the generation of the policy, and the judgement.
type Written = (Option<String>, Option<i64>, Judgement);

struct Source {
    objects: Api<DynamicObject>,
    current: Arc<Current>,
    /// The last written result for each policy, by name.
    written: Mutex<HashMap<String, Written>>,
    /// The last valid version of `default` that was in force here, with the uid of its object.
    seen: Mutex<Option<(Option<String>, Version)>>,
}

impl Source {
    fn new(objects: Api<DynamicObject>, current: Arc<Current>) -> Self {
        Self { objects, current, written: Mutex::default(), seen: Mutex::default() }
    }

    /// Lists the policies once and watches changes, until something fails.
    ///
    /// The caller makes the pauses: kube's own are reset by every event, and every attempt to list starts with one.
    async fn list_and_watch(&self, pause: &mut DefaultBackoff) {
        let settings = watcher::Config { timeout: Some(WATCH_SECONDS), ..watcher::Config::default() };
        let mut events = pin!(watcher(self.objects.clone(), settings));
        let mut there_is_one = false;
        let mut unwritten: Option<DynamicObject> = None;
        loop {
            let event = match unwritten {
                None => events.next().await,
                Some(_) => match timeout(STATUS_PAUSE, events.next()).await {
                    Ok(event) => event,
                    Err(_) => {
                        if let Some(object) = unwritten.take() {
                            unwritten = self.take(object).await;
                        }
                        continue;
                    }
                },
            };
            match event {
                Some(Ok(Event::Init)) => there_is_one = false,
                Some(Ok(Event::InitApply(object) | Event::Apply(object))) => {
                    there_is_one |= object.name_any() == IN_FORCE;
                    unwritten = self.take(object).await;
                }
                Some(Ok(Event::InitDone)) => {
                    pause.reset();
                    if !there_is_one {
                        self.accept_built_in();
                    }
                }
                Some(Ok(Event::Delete(object))) => {
                    unwritten.take_if(|unwritten| unwritten.name_any() == object.name_any());
                    if object.name_any() == IN_FORCE {
                        self.accept_built_in();
                    }
                }
                Some(Err(error)) => return self.record_failure(&error),
                None => return,
            }
        }
    }

    /// Puts the built-in policy into force, because there is no other.
    fn accept_built_in(&self) {
        *locked(&self.seen) = None;
        self.current.accept(Policy::default());
    }

    fn record_failure(&self, error: &watcher::Error) {
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => Some(status.code),
            _ => None,
        };
        match status {
            Some(404) => self.accept_built_in(),
            // The API server only needs a new list.
            Some(410) => {}
            Some(code) => {
                self.current.lose(&format!("the API server denies listing policies with status {code}"))
            }
            None => self.current.lose("the API server cannot be reached"),
        }
    }

    /// Processes the current version of a policy. Returns it if its status must still be written.
    async fn take(&self, object: DynamicObject) -> Option<DynamicObject> {
        let judgement = self.judge(&object);
        let status = new_status(&object, &judgement, Timestamp::now())?;
        let name = object.name_any();
        let result = (object.metadata.uid.clone(), object.metadata.generation, judgement);
        // Write once: during a rollout, replicas of two versions can word the status differently, and would otherwise
        // overwrite each other forever.
        if locked(&self.written).get(&name) == Some(&result) {
            return None;
        }
        let (params, patch) = (PatchParams::default(), Patch::Json::<()>(status_patch(&object, status)));
        let written = self.objects.patch_status(&name, &params, &patch);
        match timeout(STATUS_PATIENCE, written).await {
            Ok(Ok(_)) => {
                locked(&self.written).insert(name, result);
                None
            }
            // Another replica was faster, and the current version arrives as the next event.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => None,
            Ok(Err(error)) => {
                let error = RequestError::from(error);
                tracing::warn!(policy = name, %error, "the status of a policy could not be written");
                Some(object)
            }
            Err(_) => {
                tracing::warn!(policy = name, "the status of a policy could not be written in time");
                Some(object)
            }
        }
    }

    /// Puts the policy into force if it is `default` and valid, and its last valid version if it is invalid.
    fn judge(&self, object: &DynamicObject) -> Judgement {
        if object.name_any() != IN_FORCE {
            let message = format!("Only the AdmissionPolicy named {IN_FORCE} is used.");
            let last_accepted = object.data.pointer("/status/lastAccepted").cloned();
            return Judgement { status: "False", reason: "NotUsed", message, last_accepted };
        }
        let version = Version::current(object);
        match version.compile(object) {
            Ok(policy) => {
                // In force before the status says so. Applied at every event, because a policy that was deleted and
                // created again while nobody watched has the same generation.
                self.current.accept(policy);
                let last_accepted = version.kept();
                *locked(&self.seen) = Some((object.metadata.uid.clone(), version));
                let mut message = "The policy is in force.".to_owned();
                if last_accepted.is_none() {
                    message += " It is too large to be kept in status.lastAccepted.";
                }
                Judgement { status: "True", reason: "Accepted", message, last_accepted }
            }
            Err(problems) => {
                let (last_accepted, unusable) = self.fall_back(object);
                let mut message = problems.to_string();
                let also =
                    unusable.map(|problems| format!("; status.lastAccepted is invalid, too: {problems}"));
                self.current
                    .reject(&version.origin(object), format!("{message}{}", also.unwrap_or_default()));
                message.truncate(message.floor_char_boundary(MAX_MESSAGE));
                Judgement { status: "False", reason: "Invalid", message, last_accepted }
            }
        }
    }

    /// Puts the last valid version of an invalid policy into force: the newer one of that in the status and that in
    /// force here. A version of an object that was deleted since does not count. Without any, the built-in policy is in
    /// force, as in a replica that starts now.
    ///
    /// Returns what the status must keep, and the problems of what it keeps now.
    fn fall_back(&self, object: &DynamicObject) -> (Option<Value>, Option<Problems>) {
        let uid = &object.metadata.uid;
        let seen = locked(&self.seen).take().filter(|(of, _)| of == uid).map(|(_, version)| version);
        let kept = Version::last_accepted(object);
        let kept_value = object.data.pointer("/status/lastAccepted").cloned();
        let is_newer = |kept: &Version| seen.as_ref().is_none_or(|seen| seen.generation < kept.generation);
        let (newest, last_accepted, unusable) = match kept.filter(is_newer) {
            None => match seen {
                // Nobody else may have seen it: the policy was changed again at once.
                Some(seen) => (Some(seen.clone()), seen.kept(), None),
                None => (None, kept_value, None),
            },
            Some(kept) => match kept.compile(object) {
                Ok(_) => (Some(kept), kept_value, None),
                // Valid for another version of this program.
                Err(problems) => (seen, kept_value, Some(problems)),
            },
        };
        // A version that was in force here compiles again.
        let policy = newest.as_ref().and_then(|version| version.compile(object).ok());
        self.current.fall_back(policy.unwrap_or_default());
        *locked(&self.seen) = newest.map(|version| (uid.clone(), version));
        (last_accepted, unusable)
    }
}

/// Nothing panics while it holds these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The new status; `None` if it is correct already, so that replicas do not overwrite each other.
fn new_status(object: &DynamicObject, judgement: &Judgement, now: Timestamp) -> Option<Value> {
    let generation = object.metadata.generation.unwrap_or_default();
    let mut status =
        object.data.get("status").filter(|status| status.is_object()).cloned().unwrap_or(json!({}));
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let before = conditions.iter().find(|condition| condition["type"] == ACCEPTED).cloned();
    let since = match &before {
        Some(before) if before["status"] == judgement.status => before["lastTransitionTime"].clone(),
        _ => json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    };
    let condition = json!({
        "type": ACCEPTED,
        "status": judgement.status,
        "reason": judgement.reason,
        "message": judgement.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    });
    let is_current = before.as_ref() == Some(&condition)
        && status.get("lastAccepted") == judgement.last_accepted.as_ref()
        && status["observedGeneration"] == generation;
    if is_current {
        return None;
    }
    conditions.retain(|condition| condition["type"] != ACCEPTED);
    conditions.push(condition);
    status["observedGeneration"] = json!(generation);
    status["conditions"] = json!(conditions);
    match (&judgement.last_accepted, status.as_object_mut()) {
        (Some(version), _) => status["lastAccepted"] = version.clone(),
        (None, Some(fields)) => {
            fields.remove("lastAccepted");
        }
        (None, None) => {}
    }
    Some(status)
}

/// Replaces the status. A merge patch would keep fields of the earlier `lastAccepted`.
fn status_patch(object: &DynamicObject, status: Value) -> json_patch::Patch {
    let add = |path: &[&str], value| {
        // "add" replaces an existing value.
        PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path.iter().copied()), value })
    };
    // The resource version makes the slower replica fail instead of overwriting.
    let version = object.metadata.resource_version.as_ref();
    let version = version.map(|version| add(&["metadata", "resourceVersion"], json!(version)));
    json_patch::Patch(version.into_iter().chain([add(&["status"], status)]).collect())
}

#[cfg(test)]
mod tests;
