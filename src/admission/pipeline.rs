//! Processes one request from body to answer: parse, look up, decide, answer.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crm_core::api::{CrmKind, Target};
use crm_core::catalog::RuleId;
use crm_core::existence::{Fact, Presence};
use crm_core::policy::{Consistency, Policy};
use crm_core::rules::{self, Deletion, Facts, Finding, Operation, Reference, ReferenceKey, Request, Verdict};
use futures::future::{OptionFuture, join};
use futures::{StreamExt, stream};
use jiff::Timestamp;

use super::answer::{self, Decision};
use super::lookups::Lookups;
use super::policy::PolicyJudge;
use super::review::{self, Judged, Matter, Review, Unreadable, Write};
use crate::directory::{COUNTS_AT_A_TIME, Directory, Found, LookupError};
use crate::telemetry::{Metrics, Span};

/// The maximum number of lookups of a request at the same time.
const AT_A_TIME: usize = 16;

/// The entries of a list for which a similar name is suggested: the first ones.
const SUGGESTED: usize = 10;

/// The webhook endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/mutate`: answers with a patch.
    Mutate,
    /// `/validate`: judges the final object.
    Validate,
}

impl Endpoint {
    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }

    /// The path of the URL.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Mutate => "/mutate",
            Self::Validate => "/validate",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where and when a request has arrived.
struct Arrival {
    endpoint: Endpoint,
    at: Instant,
}

/// Returns the current time.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A request that was decided.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// The decision. Of a request that no rule checks, it is empty.
    pub verdict: Verdict,
    /// The AdmissionReview that answers it, as JSON.
    pub answer: Vec<u8>,
}

/// Answers requests.
pub struct Pipeline {
    directory: Arc<dyn Directory>,
    policy: Arc<ArcSwap<Policy>>,
    metrics: Metrics,
    clock: Clock,
    policies: PolicyJudge,
}

impl Pipeline {
    /// A pipeline with a directory and the policy in force, which is read for each request.
    pub fn new(directory: Arc<dyn Directory>, policy: Arc<ArcSwap<Policy>>, metrics: Metrics) -> Self {
        Self { directory, policy, metrics, clock: Arc::new(Timestamp::now), policies: PolicyJudge::new() }
    }

    /// The same pipeline with another clock, for decisions about another time.
    pub fn with_clock(self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Answers the AdmissionReview in `body`; `limit` is the time for lookups.
    ///
    /// # Errors
    /// An unreadable body has no answer.
    pub async fn review(
        &self,
        endpoint: Endpoint,
        body: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, Unreadable> {
        Ok(self.reviewed(endpoint, body, limit).await?.answer)
    }

    /// Answers as [`Self::review`] does, and returns the decision, too.
    ///
    /// # Errors
    /// An unreadable body has no answer.
    pub async fn reviewed(
        &self,
        endpoint: Endpoint,
        body: &[u8],
        limit: Duration,
    ) -> Result<Reviewed, Unreadable> {
        self.traced(endpoint, body, limit, &mut Span::none()).await
    }

    /// Answers as [`Self::reviewed`] does, and notes the decision and the lookups in `span`.
    ///
    /// # Errors
    /// An unreadable body has no answer.
    pub async fn traced(
        &self,
        endpoint: Endpoint,
        body: &[u8],
        limit: Duration,
        span: &mut Span,
    ) -> Result<Reviewed, Unreadable> {
        let arrival = Arrival { endpoint, at: Instant::now() };
        let mut review = review::parse(body)?;
        let policy = self.policy.load_full();
        if let Matter::Policy { spec } = &mut review.matter {
            let spec = spec.take();
            let verdict = self.policies.judge(&review.name, spec, (self.clock)()).await;
            self.record(&arrival, &review, Decision::of_policy(&verdict), &[], span);
            let answer = answer::policy_decided(&review, &verdict, &policy);
            return Ok(Reviewed { verdict: Verdict::default(), answer });
        }
        let lookups = Lookups::new(&*self.directory, span, limit);
        let verdict = match &review.matter {
            Matter::Write(write) => self.decide(endpoint, &review, write, &policy, &lookups).await,
            Matter::Deletion(kind) => self.decide_deletion(&review, *kind, &policy, &lookups).await,
            Matter::Nothing | Matter::Policy { .. } => {
                self.record(&arrival, &review, Decision::Allowed, &[], span);
                let verdict = Verdict::default();
                return Ok(Reviewed { verdict, answer: answer::untouched(&review) });
            }
        };
        let decision = Decision::of(&verdict);
        self.count(&verdict, decision);
        self.record(&arrival, &review, decision, &verdict.findings, span);
        let answer = answer::decided(&review, &verdict, &policy);
        Ok(Reviewed { verdict, answer })
    }

    async fn decide(
        &self,
        endpoint: Endpoint,
        review: &Review<'_>,
        write: &Write,
        policy: &Policy,
        lookups: &Lookups<'_>,
    ) -> Verdict {
        let request = Request {
            kind: write.kind,
            object: &write.object,
            operation: write.stored.as_ref().map_or(Operation::Create, Operation::Update),
            requester: Some(&review.user),
            dry_run: review.dry_run,
            field_manager: review.field_manager.as_deref(),
        };
        let mut references = rules::references(&request, policy);
        // Only `/mutate` adds the owner. Its answer about the subject replaces the other one.
        let owner = rules::owner(&request, policy).filter(|_| endpoint == Endpoint::Mutate);
        if owner.is_some() {
            references.retain(|reference| reference.key.rule != RuleId::SubjectExists);
        }
        let (facts, subject) = join(
            look_up(references, review, policy, lookups),
            OptionFuture::from(owner.map(|owner| identify(owner, review, lookups))),
        )
        .await;
        let facts = match subject {
            Some((fact, uid)) => facts
                .into_iter()
                .chain([(RuleId::SubjectExists.into(), fact)])
                .collect::<Facts>()
                .with_subject_uid(uid),
            None => facts.into_iter().collect(),
        };
        let now = (self.clock)();
        let verdict = rules::evaluate(&request, &facts, policy, now);
        match endpoint {
            Endpoint::Mutate => verdict,
            Endpoint::Validate => rules::changes_to_findings(verdict, &request, policy, now),
        }
    }

    async fn decide_deletion(
        &self,
        review: &Review<'_>,
        kind: CrmKind,
        policy: &Policy,
        lookups: &Lookups<'_>,
    ) -> Verdict {
        let deletion = Deletion { kind, name: &review.name, requester: &review.user };
        let now = (self.clock)();
        let questions = rules::dependents(&deletion, policy, now);
        let each = questions.into_iter().map(|question| async move {
            let answer = lookups.dependents(&question, &review.user).await;
            let tally = answer.inspect_err(|error| failed(RuleId::DeleteReferenced, review, error)).ok();
            (question.kind, tally.map(|tally| if review.orphans { tally.orphaned() } else { tally }))
        });
        // More would wait for each other's turn in the directory.
        let found: Vec<_> = stream::iter(each).buffered(COUNTS_AT_A_TIME).collect().await;
        rules::evaluate_deletion(&deletion, &found, policy, now)
    }

    /// Counts the findings and changes of a decision.
    fn count(&self, verdict: &Verdict, decision: Decision) {
        for finding in &verdict.findings {
            self.metrics.decisions().finding(finding.rule.as_str(), finding.action.as_str());
        }
        // A denied request changes nothing.
        for change in verdict.changes.iter().filter(|_| decision == Decision::Allowed) {
            self.metrics.decisions().change(change.rule.as_str());
        }
        if verdict.owner.is_some() && decision == Decision::Allowed {
            self.metrics.decisions().change(RuleId::SubjectExists.as_str());
        }
    }

    /// Counts and logs the decision. Logs nothing of the object, and only the name of the user.
    fn record(
        &self,
        arrival: &Arrival,
        review: &Review<'_>,
        decision: Decision,
        findings: &[Finding],
        span: &mut Span,
    ) {
        let (endpoint, elapsed) = (arrival.endpoint, arrival.at.elapsed());
        let kind = review.kind.map_or("other", Judged::label);
        self.metrics.decisions().decided(
            endpoint.as_str(),
            kind,
            review.verb.as_str(),
            decision.as_str(),
            elapsed,
        );
        let user = review.user.username.as_deref().unwrap_or_default();
        let rules: BTreeSet<RuleId> = findings.iter().map(|finding| finding.rule).collect();
        let rules: Vec<&'static str> = rules.into_iter().map(RuleId::as_str).collect();
        span.decided(kind, review.verb.as_str(), decision.as_str(), &rules);
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    endpoint = endpoint.as_str(),
                    uid = review.uid.as_ref(),
                    operation = review.verb.as_str(),
                    kind,
                    name = review.name.as_ref(),
                    user,
                    decision = decision.as_str(),
                    rules = %rules.join(","),
                    duration_us = elapsed.as_micros() as u64,
                    "decided"
                )
            };
        }
        match decision {
            Decision::Denied => log!(info),
            Decision::Allowed => log!(debug),
        }
    }
}

async fn look_up(
    references: Vec<Reference>,
    review: &Review<'_>,
    policy: &Policy,
    lookups: &Lookups<'_>,
) -> Vec<(ReferenceKey, Fact)> {
    let consistency = policy.references.consistency;
    let each = references.into_iter().map(|Reference { key, target }| async move {
        let known = match consistency {
            Consistency::CacheThenLive => lookups.recall(&target),
            Consistency::Live => None,
        };
        let answer = match known {
            Some(presence) => Ok(presence),
            None => lookups.confirm(&target).await,
        };
        let fact = match answer {
            // A suggestion costs a search, so a long list of missing objects does not get one for each.
            Ok(missing @ Presence::Missing) if key.entry.is_some_and(|entry| entry >= SUGGESTED) => {
                missing.into()
            }
            Ok(Presence::Missing) => {
                Fact::Missing { suggestion: lookups.suggest(&target, &review.user).await }
            }
            Ok(present) => present.into(),
            Err(error) => unchecked(key.rule, review, &error),
        };
        (key, fact)
    });
    // Only a list can have more references than this.
    stream::iter(each).buffered(AT_A_TIME).collect().await
}

/// Asks the API server for the subject of a Note and its uid.
async fn identify(subject: Target, review: &Review<'_>, lookups: &Lookups<'_>) -> (Fact, Option<String>) {
    match lookups.identify(&subject).await {
        Ok(Found { presence: Presence::Missing, .. }) => {
            (Fact::Missing { suggestion: lookups.suggest(&subject, &review.user).await }, None)
        }
        Ok(Found { presence: Presence::Terminating, .. }) => (Fact::Terminating, None),
        Ok(Found { presence: Presence::Exists, uid }) => (Fact::Exists, uid),
        Err(error) => (unchecked(RuleId::SubjectExists, review, &error), None),
    }
}

fn unchecked(rule: RuleId, review: &Review<'_>, error: &LookupError) -> Fact {
    failed(rule, review, error);
    Fact::Unchecked
}

fn failed(rule: RuleId, review: &Review<'_>, error: &LookupError) {
    // Without the causes: kube's errors contain the name that was looked up, which is the value of a field.
    tracing::warn!(uid = review.uid.as_ref(), rule = rule.as_str(), %error, "lookup failed");
}
