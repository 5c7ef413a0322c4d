//! Tests the program and its rooms together, in one binary, because linking takes longer than the tests.
//!
//! `cargo test --test integration check::` runs the tests of one file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod common;

mod admission;
mod audit;
mod catalog;
mod check;
mod check_baseline;
mod check_configuration;
mod check_fix;
mod check_full;
mod check_kustomize;
mod check_repository;
mod check_variables;
mod ci;
mod cli;
mod crds;
mod deletions;
mod generated;
mod gitops;
mod gitops_fixture;
mod imports;
mod lsp;
mod manifests;
#[cfg(target_arch = "x86_64")]
mod memory;
mod milo;
mod normalization;
mod policies;
mod policy_documents;
mod policy_replay;
mod policy_reviews;
mod policy_tests;
mod properties;
mod repository;
mod serving;
mod traces;
mod workflows;
