//! Runs tests that have been read.

use std::sync::Arc;

use arc_swap::ArcSwap;
use crm_check::report::{Access, InputError};
use jiff::Timestamp;

use super::compare::{Mismatch, compare};
use super::decide::{Decision, decide};
use super::document::KIND;
use super::files::Tests;
use super::suite::{Case, Suite};
use crate::admission::Pipeline;
use crate::telemetry::Metrics;

/// The results of tests.
#[derive(Debug, Default)]
pub struct Results {
    /// Those of the cases, in the order of the files.
    pub cases: Vec<CaseResult>,
    /// What could not be read, and every problem of an invalid test.
    pub errors: Vec<InputError>,
    /// The number of files that were read.
    pub files: usize,
    /// The number of tests that were run.
    pub tests: usize,
    /// The number of documents of other kinds.
    pub other: usize,
}

/// The result of one case.
#[derive(Debug)]
pub struct CaseResult {
    /// The name of the file.
    pub file: String,
    /// Line and column of the case, both from 1.
    pub position: (usize, usize),
    /// The name of the test; empty if it has none.
    pub test: String,
    /// The name of the case.
    pub name: String,
    /// What differs; empty if the case passes.
    pub mismatches: Vec<Mismatch>,
    /// What the webhook does.
    pub(super) decision: Decision,
}

impl Results {
    /// The number of cases that fail.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.passes()).count()
    }

    /// The number of cases that pass.
    pub fn passed(&self) -> usize {
        self.cases.len() - self.failed()
    }
}

impl CaseResult {
    /// Whether all expectations are met.
    pub fn passes(&self) -> bool {
        self.mismatches.is_empty()
    }

    /// The name of the case after that of its test.
    pub fn full_name(&self) -> String {
        if self.test.is_empty() { self.name.clone() } else { format!("{}: {}", self.test, self.name) }
    }
}

/// Runs all tests. `now` is the time of those that give none. Paths without any test are an error, so that a wrong path
/// does not look like success.
pub async fn run(tests: Tests, now: Timestamp) -> Results {
    let Tests { suites, errors, files, other, .. } = tests;
    let mut results = Results { errors, files, tests: suites.len(), other, ..Results::default() };
    for suite in suites {
        run_suite(suite, now, &mut results).await;
    }
    if results.cases.is_empty() && results.errors.is_empty() {
        results.errors.push(InputError {
            file: KIND.to_owned(),
            access: Access::Read,
            position: None,
            message: "no document of this kind in the given files and directories".to_owned(),
            excerpt: None,
        });
    }
    results
}

/// A pipeline of the webhook under the policy of a suite, at its time.
pub(super) fn pipeline(suite: &Suite, now: Timestamp) -> Pipeline {
    let policy = Arc::new(ArcSwap::from_pointee(suite.policy.clone()));
    let existing = Arc::clone(&suite.existing);
    let now = suite.now.unwrap_or(now);
    Pipeline::new(existing, policy, Metrics::new()).with_clock(move || now)
}

async fn run_suite(suite: Suite, now: Timestamp, results: &mut Results) {
    let pipeline = pipeline(&suite, now);
    for Case { name, position, request, expect } in suite.cases {
        match decide(&pipeline, &request).await {
            Ok(decision) => results.cases.push(CaseResult {
                file: suite.file.clone(),
                position,
                test: suite.name.clone(),
                name,
                mismatches: compare(&expect, &decision),
                decision,
            }),
            Err(error) => results.errors.push(InputError {
                file: suite.file.clone(),
                access: Access::Read,
                position: Some(position),
                message: error.to_string(),
                excerpt: None,
            }),
        }
    }
}
