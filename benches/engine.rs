//! Measures a decision without sockets, and whether a policy can make it slow: `make bench`.
//!
//! Compare the cases of one run. `hostile_pattern` is `needs_default` under a policy with a regular expression that a
//! backtracking engine would never finish; here it must not be much slower.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should fail")]

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crm_admission::admission::{Endpoint, Pipeline};
use crm_admission::telemetry::Metrics;
use crm_core::existence::Objects;
use crm_core::normalize::{self, DomainLists, ProfileKind};
use crm_core::policy::{Policy, compile};
use divan::{AllocProfiler, Bencher, black_box};
use serde_json::{Value, json};

/// Also counts allocations, which costs little.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn review(kind: &str, username: &str, spec: Value) -> Vec<u8> {
    let request = json!({
        "uid": "u-1",
        "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": kind},
        "name": "acme",
        "operation": "CREATE",
        "userInfo": {"username": username, "groups": ["system:authenticated"]},
        "object": {"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": {"name": "acme"}, "spec": spec},
    });
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    serde_json::to_vec(&review).unwrap()
}

fn pipeline(policy: Policy) -> Pipeline {
    let company =
        json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme"}});
    let directory = Arc::new(Objects::new([&company]));
    Pipeline::new(directory, Arc::new(ArcSwap::from_pointee(policy)), Metrics::new())
}

/// Every repetition can match every character, so there are exponentially many ways to match.
fn hostile() -> Policy {
    let sources =
        json!([{"from": "Username", "pattern": "^(?<name>(a|a?)+(a|aa)+(a*)*)$"}, {"from": "Username"}]);
    let document = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1",
        "kind": "AdmissionPolicy",
        "spec": {"creator": {"sources": sources}},
    });
    compile(&document, "hostile").unwrap()
}

fn decide(bencher: Bencher<'_, '_>, policy: Policy, body: &[u8]) {
    let pipeline = pipeline(policy);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limit = Duration::from_secs(5);
    bencher
        .bench_local(|| runtime.block_on(pipeline.review(Endpoint::Mutate, black_box(body), limit)).unwrap());
}

fn messy_company() -> Value {
    json!({"displayName": "Acme", "domains": ["HTTPS://www.Acme.com/", "acme.io"], "linkedinProfile": "linkedin.com/company/Acme"})
}

fn clean_company() -> Value {
    json!({
        "displayName": "Acme",
        "domains": ["acme.com", "acme.io"],
        "linkedinProfile": "https://linkedin.com/company/acme",
        "creatorRef": {"name": "alice"},
    })
}

/// A long username that the hostile expression does not match.
fn long_name() -> String {
    format!("{}!", "a".repeat(200))
}

#[divan::bench]
fn clean(bencher: Bencher<'_, '_>) {
    decide(bencher, Policy::default(), &review("Company", "alice", clean_company()));
}

#[divan::bench]
fn needs_default(bencher: Bencher<'_, '_>) {
    decide(bencher, Policy::default(), &review("Company", &long_name(), messy_company()));
}

#[divan::bench]
fn hostile_pattern(bencher: Bencher<'_, '_>) {
    decide(bencher, hostile(), &review("Company", &long_name(), messy_company()));
}

#[divan::bench]
fn person_with_a_cache_hit(bencher: Bencher<'_, '_>) {
    let spec =
        json!({"displayName": "Jane", "companyRef": {"name": "acme"}, "creatorRef": {"name": "alice"}});
    decide(bencher, Policy::default(), &review("Person", "alice", spec));
}

#[divan::bench]
fn refusal_with_five_findings(bencher: Bencher<'_, '_>) {
    let spec = json!({"displayName": " ", "domains": ["co.uk", "a b"], "linkedinProfile": "x", "creatorRef": {"name": "/"}});
    decide(bencher, Policy::default(), &review("Company", "alice", spec));
}

#[divan::bench(args = ["acme.com", "HTTPS://www.Acme.com/", "bücher.example"])]
fn domain(bencher: Bencher<'_, '_>, text: &str) {
    let lists = DomainLists::default();
    bencher.bench(|| normalize::domain(black_box(text), &lists).is_ok());
}

#[divan::bench(args = ["https://linkedin.com/company/acme", "www.linkedin.com/company/Acme-Corp/about/"])]
fn linkedin_profile(text: &str) -> bool {
    normalize::linkedin_profile(black_box(text), ProfileKind::Company).is_ok()
}
