//! The questions of one review to the directory: within its deadline, and each in a span of its own.

use std::time::{Duration, Instant};

use crm_core::api::Target;
use crm_core::existence::Presence;
use crm_core::links::{Dependents, Tally};
use k8s_openapi::api::authentication::v1::UserInfo;

use crate::directory::{Directory, Found, LookupError, Outcome};
use crate::telemetry::Span;

// The names of the spans.
const LOOK_UP: &str = "look up";
const SUGGEST: &str = "suggest";
const COUNT_DEPENDENTS: &str = "count dependents";

/// Asks the directory for one review. Answers of the local copy get no span, because they take no time.
pub(super) struct Lookups<'a> {
    directory: &'a dyn Directory,
    span: &'a Span,
    /// All questions share the time, because the last ones wait for the first.
    started: Instant,
    limit: Duration,
}

impl<'a> Lookups<'a> {
    /// Asks `directory` for the review of `span`, within `limit` from now.
    pub(super) fn new(directory: &'a dyn Directory, span: &'a Span, limit: Duration) -> Self {
        Self { directory, span, started: Instant::now(), limit }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    pub(super) fn recall(&self, target: &Target) -> Option<Presence> {
        self.directory.recall(target)
    }

    pub(super) async fn confirm(&self, target: &Target) -> Result<Presence, LookupError> {
        let span = self.span.lookup(LOOK_UP, &target.kind);
        let answer = self.directory.confirm(target, self.left()).await;
        span.looked_up(Outcome::from(&answer).as_str(), answer.is_err());
        answer
    }

    pub(super) async fn identify(&self, target: &Target) -> Result<Found, LookupError> {
        let span = self.span.lookup(LOOK_UP, &target.kind);
        let answer = self.directory.identify(target, self.left()).await;
        span.looked_up(Outcome::from(&answer).as_str(), answer.is_err());
        answer
    }

    pub(super) async fn suggest(&self, target: &Target, user: &UserInfo) -> Option<String> {
        let span = self.span.lookup(SUGGEST, &target.kind);
        let suggestion = self.directory.suggest(target, user, self.left()).await;
        let outcome = if suggestion.is_some() { Outcome::Found } else { Outcome::Missing };
        span.looked_up(outcome.as_str(), false);
        suggestion
    }

    pub(super) async fn dependents(
        &self,
        question: &Dependents,
        user: &UserInfo,
    ) -> Result<Tally, LookupError> {
        let span = self.span.lookup(COUNT_DEPENDENTS, question.kind.resource());
        let answer = self.directory.dependents(question, user, self.left()).await;
        span.looked_up(Outcome::from(&answer).as_str(), answer.is_err());
        answer
    }
}
