//! Tests the product as pods on the nodes of a real cluster, in each family of addresses.
//!
//! `make e2e-pods` runs them one at a time, because a cluster needs the whole machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and print tables of results"
)]

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod families;
mod losses;
mod matrix;
mod milo;
mod neighbours;
mod places;
mod publication;
mod remains;
mod rollout;
mod upgrade;
