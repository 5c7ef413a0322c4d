//! Checks a repository with overlays, a component, patches and generators, built by the real kustomize, and by kubectl if it
//! is on the PATH or was built for other tests.
//!
//! `make kustomize` builds kustomize (which needs Go) and runs this.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../repository.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod repository;

#[path = "../gitops_fixture.rs"]
mod gitops_fixture;

mod builds;
mod gitops;
mod tools;
mod variables;
