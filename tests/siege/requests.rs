//! Requests of honest callers and of attackers.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::repository;

/// The head of a review whose body has this length. Its timeout is the longest that the program accepts.
pub(crate) fn head(length: usize) -> String {
    format!(
        "POST /mutate?timeout=30s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// A complete review.
pub(crate) fn post(body: &[u8]) -> Arc<[u8]> {
    let mut request = head(body.len()).into_bytes();
    request.extend_from_slice(body);
    request.into()
}

pub(crate) fn get(path: &str) -> Arc<[u8]> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes().into()
}

/// A review that is answered with a patch, and a review that is denied.
pub(crate) fn honest() -> [Arc<[u8]>; 2] {
    ["patch.json", "refusal.json"].map(|name| post(&std::fs::read(path(name)).expect("a review")))
}

fn path(review: &str) -> std::path::PathBuf {
    repository().join("docs/reviews").join(review)
}

/// The body of a review that is answered with a patch.
pub(crate) fn review() -> Value {
    let text = std::fs::read(path("patch.json")).expect("a review");
    serde_json::from_slice(&text).expect("JSON")
}

/// A review of this length, most of which is one string.
pub(crate) fn long(bytes: usize) -> Vec<u8> {
    let mut review = review();
    review["request"]["object"]["metadata"]["annotations"] = json!({"text": "TEXT"});
    let review = review.to_string();
    let text = "x".repeat(bytes - review.len() + "TEXT".len());
    review.replace("TEXT", &text).into_bytes()
}

/// A review that is denied with one of the longest answers that there are: a cause for each of this many domains.
pub(crate) fn denied(domains: usize) -> Vec<u8> {
    let mut review = review();
    let domain = |number| format!("{number} {}", "x".repeat(200));
    review["request"]["object"]["spec"]["domains"] = (0..domains).map(domain).collect::<Vec<_>>().into();
    review.to_string().into_bytes()
}

/// A review with a list of this many small objects. Parsed, it takes a hundred times as much memory as its JSON.
pub(crate) fn heavy(objects: usize) -> Vec<u8> {
    let mut review = review();
    review["request"]["object"]["spec"]["domains"] = json!(["LIST"]);
    review.to_string().replace(r#""LIST""#, &vec![r#"{"":0}"#; objects].join(",")).into_bytes()
}

/// A review of a policy whose expressions take long to compile.
pub(crate) fn expensive_policy() -> Vec<u8> {
    let mut review = review();
    let request = &mut review["request"];
    request["kind"] =
        json!({"group": "admission.crm.milo.io", "version": "v1alpha1", "kind": "AdmissionPolicy"});
    let source = json!({"from": "Username", "pattern": format!("(?<name>{})", r"\w".repeat(60))});
    request["object"]["spec"] = json!({"creator": {"sources": vec![source; 20]}});
    review.to_string().into_bytes()
}
