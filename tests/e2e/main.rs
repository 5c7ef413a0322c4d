//! The product in a real control plane, used as its users use it: with kubectl.
//!
//! Tests share one control plane and run in parallel, so each gives its objects names of its own. What needs the
//! webhook stopped or unregistered takes its turn on a second one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod program;
mod recipes;
mod records;
mod stage;
mod stranger;
mod writers;

mod apply;
mod audit;
mod canonical_floor;
mod certificates;
mod deletes;
mod deployment;
mod doctor;
mod faults;
mod floor;
mod guard;
mod harness;
mod memory;
mod one_call;
mod outage;
mod policy;
mod policy_schema;
mod registration;
mod rights;
mod rollout;
mod updates;
mod verdicts;
