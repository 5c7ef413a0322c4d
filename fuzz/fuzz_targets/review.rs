//! Sends any bytes to `/mutate` and `/validate`, and a patched object again.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crm_admission::admission::{Endpoint, Pipeline};
use crm_admission::telemetry::Metrics;
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let policy = Arc::new(ArcSwap::from_pointee(Policy::default()));
    let pipeline = Pipeline::new(Arc::new(Objects::default()), policy, Metrics::new());
    pipeline.with_clock(|| "2026-11-23T12:00:00Z".parse().unwrap())
});

/// Strings that mean something in a review.
const WORDS: [&str; 12] = [
    "CREATE",
    "UPDATE",
    "DELETE",
    "Company",
    "Person",
    "Note",
    "companies",
    "crm.milo.io",
    "v1alpha1",
    "acme-corp",
    "www.Acme.com",
    "linkedin.com/in/jane",
];

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    crm_admission_fuzz::mutate_json(data, size, max_size, seed, &WORDS)
});

fuzz_target!(|body: &[u8]| {
    let mutated = ask(Endpoint::Mutate, body);
    let validated = ask(Endpoint::Validate, body);
    assert_eq!(mutated.is_some(), validated.is_some(), "only one endpoint answers");
    let (Some(mutated), Some(validated)) = (mutated, validated) else { return };
    assert!(validated["patch"].is_null(), "{validated}");
    // A request can have parts that do not matter and that are no valid JSON for this reader, such as 1e999.
    let Ok(mut review) = serde_json::from_slice::<Value>(body) else { return };
    assert_eq!(mutated["uid"], review["request"]["uid"]);
    assert_eq!(validated["uid"], review["request"]["uid"]);
    if !allowed(&mutated) {
        assert!(mutated["patch"].is_null(), "{mutated}");
        assert!(!allowed(&validated), "denied by /mutate only: {mutated}");
        return;
    }
    if let Some(patch) = mutated["patch"].as_str() {
        let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        json_patch::patch(&mut review["request"]["object"], &patch).unwrap();
    }
    let body = serde_json::to_vec(&review).unwrap();
    let again = ask(Endpoint::Mutate, &body).unwrap();
    assert!(allowed(&again) && again["patch"].is_null(), "the second mutation: {again}");
    let validated = ask(Endpoint::Validate, &body).unwrap();
    assert!(allowed(&validated), "the validation: {validated}");
});

/// The response; `None` if the body has no answer.
fn ask(endpoint: Endpoint, body: &[u8]) -> Option<Value> {
    let answer = match RUNTIME.block_on(PIPELINE.review(endpoint, body, Duration::from_secs(5))) {
        Ok(answer) => answer,
        Err(unreadable) => {
            let message = unreadable.to_string();
            assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
            return None;
        }
    };
    let mut answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = answer["response"].take();
    assert!(response["allowed"].is_boolean(), "{response}");
    Some(response)
}

fn allowed(response: &Value) -> bool {
    response["allowed"] == true
}
