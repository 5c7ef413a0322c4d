//! Tests the product in a real control plane, with kubectl as users use it.
//!
//! Tests share one control plane and run in parallel, so each test uses its own object names. Tests that stop or
//! unregister the webhook run one at a time on a second control plane.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../common/specs.rs"]
mod specs;
#[path = "../support/mod.rs"]
mod support;

mod program;
mod recipes;
mod stage;
mod stranger;

mod apply;
mod audit;
mod canonical_floor;
mod certificates;
mod chart;
mod conditions;
mod deletes;
mod deployment;
mod doctor;
mod faults;
mod floor;
mod guard;
mod harness;
mod kubeconfigs;
mod left_out;
mod memory;
mod milo;
mod one_call;
mod outage;
mod policy;
mod policy_schema;
mod registration;
mod replay;
mod rights;
mod rollout;
mod strict;
mod traces;
mod two_api_servers;
mod updates;
mod verdicts;
