//! Answers one kind of review many times, for tools that count instructions and allocations; see `docs/development.md`.
//!
//! Reviews are processed as in the server, including limits and metrics, but without sockets.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a measurement that cannot run should fail")]

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use crm_admission::admission::Pipeline;
use crm_admission::server::{Limits, router};
use crm_admission::telemetry::{LogFormat, Metrics, Traces, logs};
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

const USAGE: &str = "usage: profile CASE TIMES, where CASE is one of clean, needs-default, person, refusal, note, update, \
    untouched-update, large";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let review = arguments.next().as_deref().and_then(review);
    let times: Option<u32> = arguments.next().and_then(|times| times.parse().ok());
    let (Some(review), Some(times)) = (review, times) else {
        return eprintln!("{USAGE}");
    };
    let body = serde_json::to_vec(&review).unwrap();
    logs::init(LogFormat::Json, Some("info")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(answer(body, times));
}

async fn answer(body: Vec<u8>, times: u32) {
    let acme = json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme"}});
    let metrics = Metrics::new();
    let policy = Arc::new(ArcSwap::from_pointee(Policy::default()));
    let pipeline = Pipeline::new(Arc::new(Objects::new([&acme])), policy, metrics.clone());
    let webhook = router(Arc::new(pipeline), &Limits::default(), metrics, Traces::off(), Default::default());
    let body = axum::body::Bytes::from(body);
    for _ in 0..times {
        let request = Request::post("/mutate?timeout=10s")
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, body.len())
            .body(Body::from(body.clone()))
            .unwrap();
        let response = webhook.clone().oneshot(request).await.unwrap();
        assert!(response.status().is_success());
        assert!(!response.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}

fn review(case: &str) -> Option<Value> {
    let review = match case {
        "needs-default" => create("Company", messy_company()),
        "clean" => create("Company", clean_company()),
        "person" => create(
            "Person",
            json!({"displayName": "Jane Roe", "jobTitle": "CTO", "companyRef": {"name": "acme"},
                "linkedinProfile": "https://linkedin.com/in/jane-roe", "creatorRef": {"name": "alice"}}),
        ),
        "refusal" => create(
            "Company",
            json!({"displayName": " ", "domains": ["co.uk", "a b"], "linkedinProfile": "x",
                "creatorRef": {"name": "/"}}),
        ),
        "note" => create(
            "Note",
            json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"},
                "content": "Met at the fair; wants an offer for 40 seats by the end of the quarter.",
                "interactionTime": "2026-05-04T10:00:00Z", "followUp": true,
                "nextAction": "Send the offer", "nextActionTime": "2099-05-11T10:00:00Z",
                "creatorRef": {"name": "alice"}}),
        ),
        "untouched-update" => update(clean_company(), clean_company()),
        "update" => {
            let mut stored = clean_company();
            stored["displayName"] = json!("Acme Corporation");
            update(clean_company(), stored)
        }
        "large" => {
            let mut review = update(messy_company(), clean_company());
            for object in ["object", "oldObject"] {
                review["request"][object]["metadata"]["annotations"] = annotations(750_000);
            }
            review
        }
        _ => return None,
    };
    Some(review)
}

fn messy_company() -> Value {
    json!({"displayName": "Acme", "domains": ["HTTPS://www.Acme.com/", "acme.io"],
        "linkedinProfile": "linkedin.com/company/Acme"})
}

fn clean_company() -> Value {
    json!({
        "displayName": "Acme",
        "description": "Makes everything that a coyote may need, and delivers it on the same day.",
        "domains": ["acme.com", "acme.io"],
        "linkedinProfile": "https://linkedin.com/company/acme",
        "creatorRef": {"name": "alice"},
    })
}

/// Annotations with this many bytes, like the JSON that tools store there.
fn annotations(bytes: usize) -> Value {
    let note = json!({"seen": "2026-05-04T10:00:00Z", "tags": ["fair", "lead"], "score": 17}).to_string();
    json!({"crm.example/history": note.repeat(bytes / note.len())})
}

fn update(spec: Value, stored: Value) -> Value {
    let mut review = create("Company", spec);
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = object("Company", stored);
    review
}

/// A review as the API server sends it for `kubectl apply`.
fn create(kind: &str, spec: Value) -> Value {
    let (group, version) = ("crm.milo.io", "v1alpha1");
    let plural = match kind {
        "Company" => "companies",
        "Person" => "people",
        _ => "notes",
    };
    let group_version_kind = json!({"group": group, "version": version, "kind": kind});
    let resource = json!({"group": group, "version": version, "resource": plural});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": group_version_kind,
            "resource": resource,
            "requestKind": group_version_kind,
            "requestResource": resource,
            "name": "acme",
            "operation": "CREATE",
            "userInfo": {
                "username": "alice",
                "uid": "014fbff9a07c",
                "groups": ["crm-staff", "sales", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=1c8a91f3a2"]},
            },
            "object": object(kind, spec),
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions",
                "fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"},
        },
    })
}

fn object(kind: &str, spec: Value) -> Value {
    let fields: serde_json::Map<String, Value> =
        spec.as_object().unwrap().keys().map(|field| (format!("f:{field}"), json!({}))).collect();
    json!({
        "apiVersion": "crm.milo.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": "acme",
            "uid": "b1ce1cc6-3f1b-4f36-9bde-22ac5b51cb2e",
            "generation": 1,
            "creationTimestamp": "2026-05-04T10:00:00Z",
            "labels": {"crm.milo.io/source": "referral", "crm.milo.io/segment": "smb"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": spec.to_string()},
            "managedFields": [{
                "manager": "kubectl-client-side-apply",
                "operation": "Update",
                "apiVersion": "crm.milo.io/v1alpha1",
                "time": "2026-05-04T10:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {
                        "f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}},
                        "f:labels": {".": {}, "f:crm.milo.io/segment": {}, "f:crm.milo.io/source": {}},
                    },
                    "f:spec": fields,
                },
            }],
        },
        "spec": spec,
    })
}
