//! Judges an AdmissionPolicy before it is stored: all its problems, or what its author surely did not mean.

use std::sync::Arc;

use crm_core::api::policy as document_kind;
use crm_core::policy::{self, Problem};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// What is wrong with a policy. It is denied if there are problems.
#[derive(Debug, Default)]
pub(super) struct PolicyVerdict {
    /// The reasons to deny it.
    pub(super) problems: Vec<Problem>,
    /// Texts for its author.
    pub(super) warnings: Vec<String>,
}

/// Judges policies one after the other, outside of the threads that answer requests: compiling its expressions can take
/// a thousand times as long as deciding about a record.
#[derive(Clone)]
pub(super) struct PolicyJudge(Arc<Semaphore>);

impl PolicyJudge {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Judges a policy of this name.
    pub(super) async fn judge(&self, name: &str, spec: Value, now: Timestamp) -> PolicyVerdict {
        let name = name.to_owned();
        // The semaphore is never closed. The work keeps the permit, even if nobody waits for its result any more.
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let work = move || {
            let _permit = permit;
            judge(&name, spec, now)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(verdict) => verdict,
            Err(error) => match error.try_into_panic() {
                // The server counts it and answers.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The program stops.
                Err(_) => PolicyVerdict::default(),
            },
        }
    }
}

fn judge(name: &str, spec: Value, now: Timestamp) -> PolicyVerdict {
    let mut document = json!({
        "apiVersion": format!("{}/{}", document_kind::GROUP, document_kind::VERSION),
        "kind": document_kind::KIND,
    });
    // Moved, because it can be large.
    document["spec"] = spec;
    let mut verdict = PolicyVerdict::default();
    verdict.warnings.extend(policy::warning_about_name(name).map(|warning| warning.to_string()));
    match policy::compile(&document, name) {
        Ok(policy) => {
            let warnings = policy::warnings(&document, &policy, now);
            verdict.warnings.extend(warnings.iter().map(ToString::to_string));
        }
        Err(problems) => verdict.problems = problems.0,
    }
    verdict
}
