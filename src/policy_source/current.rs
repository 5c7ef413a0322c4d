//! The policy in force, and the state of its source.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use crm_core::policy::Policy;

use crate::telemetry::Metrics;

/// The policy in force, and the state of its source.
pub struct Current {
    policy: Arc<ArcSwap<Policy>>,
    state: Mutex<State>,
    metrics: Metrics,
    on_change: Box<dyn Fn(&Policy) + Send + Sync>,
}

/// The state of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The source has not been read yet; why, in a few words.
    Starting(String),
    /// The policy of the source is in force.
    Fine,
    /// The last valid policy is in force, and the current one is invalid or cannot be read.
    Impaired(String),
}

impl Current {
    /// The built-in policy, until a source provides another. `on_change` is called for every policy that comes into
    /// force.
    pub fn new(metrics: Metrics, on_change: impl Fn(&Policy) + Send + Sync + 'static) -> Self {
        let built_in = Policy::default();
        metrics.directory().policy_in_force(&built_in.origin);
        let policy = Arc::new(ArcSwap::from_pointee(built_in));
        let state = Mutex::new(State::Starting("not read yet".to_owned()));
        Self { policy, state, metrics, on_change: Box::new(on_change) }
    }

    /// The policy for decisions, always the current one.
    pub fn policy(&self) -> Arc<ArcSwap<Policy>> {
        Arc::clone(&self.policy)
    }

    /// The state of the source.
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the policy of the source into force.
    pub fn accept(&self, policy: Policy) {
        if self.policy.load().origin != policy.origin || self.state() != State::Fine {
            tracing::info!(policy = %policy.origin, "policy in force");
        }
        self.put(policy);
        self.metrics.directory().policy_valid();
        self.set(State::Fine);
    }

    /// Puts an earlier policy of the source into force, because the current one is invalid.
    pub(super) fn fall_back(&self, policy: Policy) {
        if self.policy.load().origin != policy.origin {
            tracing::warn!(policy = %policy.origin, "an earlier policy in force");
        }
        self.put(policy);
    }

    fn put(&self, policy: Policy) {
        (self.on_change)(&policy);
        let origin = policy.origin.clone();
        self.policy.store(Arc::new(policy));
        // Last, because readers of the metric may rely on it.
        self.metrics.directory().policy_in_force(origin);
    }

    /// Records that a policy is invalid; the one in force stays.
    pub(super) fn reject(&self, origin: &str, problems: impl fmt::Display) {
        let in_force = self.policy.load().origin.clone();
        let state = State::Impaired(format!("{origin} is invalid, {in_force} stays in force: {problems}"));
        if self.state() == state {
            return;
        }
        tracing::error!(policy = origin, %in_force, %problems, "invalid policy");
        self.metrics.directory().policy_invalid();
        self.set(state);
    }

    /// Records that the source cannot be read.
    pub(super) fn lose(&self, why: &str) {
        let state = match self.state() {
            State::Starting(_) => State::Starting(why.to_owned()),
            State::Fine | State::Impaired(_) => State::Impaired(why.to_owned()),
        };
        if self.state() == state {
            return;
        }
        tracing::warn!(reason = why, "the policy cannot be read");
        self.set(state);
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(origin: &str) -> Policy {
        let mut policy = Policy::default();
        policy.origin = origin.to_owned();
        policy
    }

    #[test]
    fn there_is_always_one_policy_in_the_metrics() {
        let metrics = Metrics::new();
        let current = Current::new(metrics.clone(), |_| {});
        let shown = |expected: &str, refused: u8| {
            let text = metrics.text().unwrap();
            let policies: Vec<_> = text.lines().filter(|line| line.contains("policy_info{")).collect();
            assert_eq!(policies, [format!("crm_admission_policy_info{{policy=\"{expected}\"}} 1")]);
            assert!(text.contains(&format!("crm_admission_policy_refused {refused}\n")), "{text}");
        };
        shown("built-in", 0);
        current.reject("default@1", "no such rule");
        shown("built-in", 1);
        current.fall_back(named("default@2"));
        current.reject("default@3", "no such rule");
        shown("default@2", 1);
        current.accept(named("default@4"));
        shown("default@4", 0);
    }

    #[test]
    fn the_metric_shows_a_policy_only_when_it_is_in_force() {
        let metrics = Metrics::new();
        let seen = metrics.clone();
        let shown = |metrics: &Metrics| metrics.text().unwrap().contains("policy=\"default@2\"");
        let current =
            Current::new(metrics.clone(), move |_| assert!(!shown(&seen), "it is not in force yet"));
        let mut policy = Policy::default();
        policy.origin = "default@2".to_owned();
        current.accept(policy);
        assert!(shown(&metrics));
    }
}
