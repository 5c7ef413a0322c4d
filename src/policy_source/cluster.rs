//! Watches the AdmissionPolicies of a cluster, puts `default` into force, and writes the result to their status.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crm_core::api::policy as document_kind;
use crm_core::policy::{self, Policy, Problems};
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Current;
use crate::cluster::{RequestError, WATCH_SECONDS};

/// The name of the policy that is used.
pub const IN_FORCE: &str = "default";
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
}

/// Why the policy in force is unknown.
#[derive(Debug, thiserror::Error)]
pub enum InForceError {
    /// It cannot be read.
    #[error("the policy in force cannot be read from the cluster")]
    Unreadable(#[source] RequestError),
    /// It is invalid, and only the webhook knows which policy is in force instead.
    #[error("the AdmissionPolicy {IN_FORCE} of the cluster is invalid: {0}")]
    Invalid(Problems),
}

impl InForceError {
    /// Whether the user lacks the permission to read it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.code() == Some(403))
    }
}

/// Reads the policy in force in a cluster with one GET: `default`, or the built-in one if there is none.
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
    let origin = origin(&object);
    let document = serde_json::to_value(&object).unwrap_or_default();
    policy::compile(&document, origin).map_err(InForceError::Invalid)
}

/// The name of a policy: `default@3`.
fn origin(object: &DynamicObject) -> String {
    format!("{}@{}", object.name_any(), object.metadata.generation.unwrap_or_default())
}

fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk(document_kind::GROUP, document_kind::VERSION, document_kind::KIND);
    ApiResource::from_gvk_with_plural(&kind, "admissionpolicies")
}

/// Watches the policies of a cluster, forever.
///
/// A cluster without the kind has no policy, so the built-in one is in force; the kind is looked up again and again.
pub async fn follow(client: Client, current: Arc<Current>) {
    let source = Source { objects: Api::all_with(client, &resource()), current, written: Mutex::default() };
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
}

impl Source {
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
                        self.current.accept(Policy::default());
                    }
                }
                Some(Ok(Event::Delete(object))) => {
                    unwritten.take_if(|unwritten| unwritten.name_any() == object.name_any());
                    if object.name_any() == IN_FORCE {
                        self.current.accept(Policy::default());
                    }
                }
                Some(Err(error)) => return self.record_failure(&error),
                None => return,
            }
        }
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
            Some(404) => self.current.accept(Policy::default()),
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
        let patch = status_patch(&object, &judgement, Timestamp::now())?;
        let name = object.name_any();
        let result = (object.metadata.uid.clone(), object.metadata.generation, judgement);
        // Write once: during a rollout, replicas of two versions can word the status differently, and would otherwise
        // overwrite each other forever.
        if self.written().get(&name) == Some(&result) {
            return None;
        }
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let written = self.objects.patch_status(&name, &params, &patch);
        match timeout(STATUS_PATIENCE, written).await {
            Ok(Ok(_)) => {
                self.written().insert(name, result);
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

    fn written(&self) -> MutexGuard<'_, HashMap<String, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the policy into force if it is `default` and valid.
    fn judge(&self, object: &DynamicObject) -> Judgement {
        let name = object.name_any();
        if name != IN_FORCE {
            let message = format!("Only the AdmissionPolicy named {IN_FORCE} is used.");
            return Judgement { status: "False", reason: "NotUsed", message };
        }
        let origin = origin(object);
        let document = serde_json::to_value(object).unwrap_or_default();
        match policy::compile(&document, origin.clone()) {
            Ok(policy) => {
                // In force before the status says so. Applied at every event, because a policy that was deleted and
                // created again while nobody watched has the same generation.
                self.current.accept(policy);
                let message = "The policy is in force.".to_owned();
                Judgement { status: "True", reason: "Accepted", message }
            }
            Err(problems) => {
                self.current.reject(&origin, &problems);
                let mut message = problems.to_string();
                message.truncate(message.floor_char_boundary(MAX_MESSAGE));
                Judgement { status: "False", reason: "Invalid", message }
            }
        }
    }
}

/// The patch of the status; `None` if the status is correct already, so that replicas do not overwrite each other.
fn status_patch(object: &DynamicObject, judgement: &Judgement, now: Timestamp) -> Option<Value> {
    let generation = object.metadata.generation.unwrap_or_default();
    let stored = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = stored.cloned().unwrap_or_default();
    let before = conditions.iter().find(|condition| condition["type"] == ACCEPTED).cloned();
    let says = |key: &str, value: &Value| before.as_ref().is_some_and(|before| &before[key] == value);
    let is_current = says("status", &json!(judgement.status))
        && says("reason", &json!(judgement.reason))
        && says("message", &json!(judgement.message))
        && says("observedGeneration", &json!(generation))
        && object.data.pointer("/status/observedGeneration") == Some(&json!(generation));
    if is_current {
        return None;
    }
    let since = match &before {
        Some(before) if before["status"] == judgement.status => before["lastTransitionTime"].clone(),
        _ => json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    };
    conditions.retain(|condition| condition["type"] != ACCEPTED);
    conditions.push(json!({
        "type": ACCEPTED,
        "status": judgement.status,
        "reason": judgement.reason,
        "message": judgement.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }));
    Some(json!({
        // The resource version makes the slower replica fail instead of overwriting.
        "metadata": {"resourceVersion": object.metadata.resource_version},
        "status": {"observedGeneration": generation, "conditions": conditions},
    }))
}

#[cfg(test)]
mod tests;
