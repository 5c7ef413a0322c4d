//! Attacks `crm-admission serve` and measures the effect on honest callers: `make siege`.
//!
//! The program runs as a process with the usual limit on open files. Attackers, honest callers and the kubelet are
//! clients with different addresses on the loopback interface. `limits.rs` tests the time limits of one connection.
//!
//! There is no attack with slow reviews. With `--directory memory` a review takes no longer than its body needs to be
//! read and parsed, so a long `?timeout=` gives no time to anybody; all attacks with requests ask for 30 seconds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod honest;
mod outcome;
mod program;
mod requests;
mod swarm;

mod admin_port;
mod api_server;
mod bodies;
mod connections;
mod handshakes;
mod limits;
