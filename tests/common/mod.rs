//! Fixtures for tests that send reviews to the pipeline and read its answers.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several programs, none of which uses everything"
)]
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

pub mod diff;
pub mod specs;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use crm_admission::admission::{Endpoint, Pipeline, Unreadable};
use crm_admission::directory::Directory;
use crm_admission::telemetry::Metrics;
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use serde_json::{Value, json};

/// The time limit of lookups in tests that do not depend on it.
pub const LIMIT: Duration = Duration::from_secs(5);

/// The current time in tests that do not set another.
pub fn noon() -> jiff::Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// A directory with one company, one person, one company that is being deleted, and one system user.
pub fn directory() -> Objects {
    let object = |group: &str, kind: &str, name: &str| json!({"apiVersion": format!("{group}/v1alpha1"), "kind": kind, "metadata": {"name": name}});
    let mut leaving = object("crm.milo.io", "Company", "leaving");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-23T11:00:00Z");
    Objects::new(&[
        object("crm.milo.io", "Company", "acme-corp"),
        object("crm.milo.io", "Person", "jane-doe"),
        object("iam.example.com", "User", "alice"),
        leaving,
    ])
}

/// A pipeline over [`directory`] with this policy.
pub fn pipeline_with(policy: Policy) -> Pipeline {
    pipeline_over(Arc::new(directory()), policy)
}

/// A pipeline over any directory.
pub fn pipeline_over(directory: Arc<dyn Directory>, policy: Policy) -> Pipeline {
    let policy = Arc::new(ArcSwap::from_pointee(policy));
    Pipeline::new(directory, policy, Metrics::new()).with_clock(noon)
}

/// One request to the webhook, as the API server sends it.
#[derive(Clone)]
pub struct Ask {
    pub endpoint: Endpoint,
    pub request: Value,
}

/// A create by alice, sent to `/mutate`.
pub fn create(kind: &str, spec: Value) -> Ask {
    let object = object(kind, spec);
    let plural = match kind {
        "Company" => "companies",
        "Person" => "people",
        _ => "notes",
    };
    let request = json!({
        "uid": "u-1",
        "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": kind},
        "resource": {"group": "crm.milo.io", "version": "v1alpha1", "resource": plural},
        "name": "acme",
        "operation": "CREATE",
        "userInfo": {"username": "alice", "groups": ["crm-editors", "system:authenticated"]},
        "object": object,
        "oldObject": null,
        "dryRun": false,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": "kubectl-create"},
    });
    Ask { endpoint: Endpoint::Mutate, request }
}

/// An update by alice from one spec to another, sent to `/mutate`.
pub fn update(kind: &str, old: Value, new: Value) -> Ask {
    let mut ask = create(kind, new);
    ask.request["operation"] = json!("UPDATE");
    ask.request["oldObject"] = object(kind, old);
    ask
}

/// A deletion by alice of the record named `acme`, sent to `/validate`.
pub fn delete(kind: &str) -> Ask {
    let mut ask = create(kind, json!({}));
    ask.request["operation"] = json!("DELETE");
    ask.request["oldObject"] = ask.request["object"].take();
    ask.request["options"] = json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions"});
    ask.validate()
}

fn object(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": {"name": "acme"}, "spec": spec})
}

impl Ask {
    /// The same request to `/validate`.
    pub fn validate(mut self) -> Self {
        self.endpoint = Endpoint::Validate;
        self
    }

    /// The same request with another value at a JSON pointer in the request.
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.request.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    /// The review as the API server sends it.
    pub fn body(&self) -> Vec<u8> {
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": self.request});
        serde_json::to_vec(&review).unwrap()
    }

    /// The answer under the built-in policy.
    pub fn ask(self) -> Answer {
        self.ask_under(Policy::default())
    }

    /// The answer under a policy.
    pub fn ask_under(self, policy: Policy) -> Answer {
        self.put_to(&pipeline_with(policy))
    }

    /// The answer of a pipeline.
    pub fn put_to(self, pipeline: &Pipeline) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(pipeline.review(self.endpoint, &self.body(), LIMIT)).unwrap();
        Answer { object: self.request["object"].clone(), review: serde_json::from_slice(&answer).unwrap() }
    }
}

/// The error for a body that cannot be answered.
pub fn error_of(body: &[u8]) -> Unreadable {
    let pipeline = pipeline_with(Policy::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(pipeline.review(Endpoint::Mutate, body, LIMIT)).unwrap_err()
}

/// One answer, and the object of the request.
#[derive(Debug)]
pub struct Answer {
    pub object: Value,
    pub review: Value,
}

impl Answer {
    pub fn response(&self) -> &Value {
        &self.review["response"]
    }

    pub fn is_allowed(&self) -> bool {
        self.response()["allowed"].as_bool().unwrap()
    }

    /// Each cause as `reason field: message`, the reason without `FieldValue`.
    pub fn causes(&self) -> Vec<String> {
        let causes = self.response()["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
        let spelled = |cause: &Value| {
            let text = |key: &str| cause[key].as_str().unwrap().to_owned();
            format!(
                "{} {}: {}",
                text("reason").trim_start_matches("FieldValue"),
                text("field"),
                text("message")
            )
        };
        causes.iter().map(spelled).collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.response()["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.response()["auditAnnotations"][key].as_str()
    }

    /// The decoded operations of the patch; empty if there is no patch.
    pub fn patch(&self) -> Vec<Value> {
        let response = self.response();
        assert_eq!(response["patch"].is_string(), response["patchType"] == "JSONPatch", "{response}");
        let Some(patch) = response["patch"].as_str() else { return Vec::new() };
        let json = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    /// The object with the patch applied.
    pub fn patched(&self) -> Value {
        let mut object = self.object.clone();
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(self.patch())).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        object
    }

    /// Asserts that the request is denied for exactly these causes. Each pair is the start of `reason field` and a part
    /// of the message.
    #[track_caller]
    pub fn is_denied_for(&self, expected: &[(&str, &str)]) {
        let causes = self.causes();
        assert!(!self.is_allowed(), "allowed: {}", self.review);
        assert_eq!(causes.len(), expected.len(), "{causes:#?}");
        for (cause, (start, part)) in causes.iter().zip(expected) {
            assert!(
                cause.starts_with(&format!("{start}: ")) && cause.contains(part),
                "{cause} is not {start} … {part}"
            );
        }
    }

    /// Asserts that the request is allowed with exactly these warnings.
    #[track_caller]
    pub fn is_allowed_with(&self, warnings: &[&str]) {
        assert!(self.is_allowed(), "denied: {:#?}", self.causes());
        assert_eq!(self.warnings(), warnings);
    }
}
