//! Compares crm-admission with other programs, in turns, in one run: `make bench`.
//!
//! - `direct`: only the webhook, compared with a minimal echo on the same stack and a webhook on controller-runtime;
//! - `api`: creates through a real API server, also with native policies and without any webhook;
//! - `scale`: start, memory and cost with up to a million objects in the directory;
//! - `conditions`: memory, and latency of reviews, while conditions of 100,000 records are written;
//! - `engine`, `check`, `lsp` and `replay`: the benchmarks with these names.
//!
//! A full run writes its results to `docs/performance.md`, which explains how to read them. `BENCH_ONLY` selects parts;
//! `BENCH_ROUNDS` and `BENCH_SECONDS` make a run shorter, which then only prints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot run should fail"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod cases;
mod conditions;
mod contenders;
mod direct;
mod fake_api;
mod http;
mod load;
mod nested;
mod records;
mod report;
mod scale;
mod server;
mod settings;
mod through_api;

use settings::{Part, Settings};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == contenders::ECHO) {
        return contenders::serve_echo(&args[1..]);
    }
    let settings = Settings::read();
    for part in &settings.parts {
        match part {
            Part::Direct => direct::run(&settings),
            Part::Api => through_api::run(&settings),
            Part::Scale => scale::run(&settings),
            Part::Conditions => conditions::run(&settings),
            Part::Engine | Part::Check | Part::Lsp | Part::Replay => nested::run(*part, &settings),
        }
    }
}

/// Prints the progress.
#[allow(clippy::print_stderr, reason = "progress is for people at a terminal")]
fn say(text: &str) {
    eprintln!("{text}");
}
