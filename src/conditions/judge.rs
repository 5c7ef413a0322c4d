//! Judges records as `audit` does: the same engine, the policy in force, the names that the webhook knows.

use crm_check::conformance::UnusableSchema;
use crm_core::api::CrmKind;
use crm_core::policy::Policy;
use jiff::Timestamp;
use tokio::task::yield_now;

use super::records::{Judged, Mark};
use super::verdict;
use crate::audit::{
    Compliance, Condition, Examined, Examiner, Existence, Labels, Record, Scope, Suggestions,
};
use crate::directory::{LookUp, TargetId};

/// The number of records that are judged without a break: about a millisecond.
const WITHOUT_A_BREAK: usize = 8;
/// The number of attempts at a lookup. A record whose lookup has failed is judged again soon.
const ATTEMPTS: usize = 2;

/// Judges records under one policy.
pub(super) struct Judge {
    examiner: Examiner,
    /// The labels that the policy is about.
    pub(super) labels: Labels,
}

/// The result for one record.
pub(super) struct Verdict {
    /// The record.
    pub(super) record: Record,
    /// The condition that it should have.
    pub(super) condition: Condition,
    /// What to remember.
    pub(super) judged: Judged,
}

impl Verdict {
    /// Whether the condition has to be written.
    pub(super) fn differs(&self) -> bool {
        self.record.condition.as_ref() != Some(&self.condition)
    }
}

impl Judge {
    /// # Errors
    /// The schemas of this program are invalid.
    pub(super) fn new(policy: Policy) -> Result<Self, UnusableSchema> {
        Ok(Self::of(Examiner::new(policy, None, Scope::All, Timestamp::now())?))
    }

    fn of(examiner: Examiner) -> Self {
        Self { labels: examiner.labels(), examiner }
    }

    /// A judge under this policy, at the current time.
    pub(super) fn renewed(&self, policy: Policy) -> Self {
        Self::of(self.examiner.renewed(policy, Timestamp::now()))
    }

    /// Whether the judge uses this policy.
    pub(super) fn uses(&self, policy: &Policy) -> bool {
        self.examiner.policy() == policy
    }

    /// Judges these records, in their order. Reviews get the thread in between.
    pub(super) async fn judge(
        &self,
        kind: CrmKind,
        records: Vec<Record>,
        directory: &dyn LookUp,
    ) -> Vec<Verdict> {
        let existence = Existence::new(directory, Suggestions::None).unchecked_after(ATTEMPTS);
        let mut verdicts = Vec::with_capacity(records.len());
        let mut records = records.into_iter();
        loop {
            let some: Vec<Record> = records.by_ref().take(WITHOUT_A_BREAK).collect();
            if some.is_empty() {
                return verdicts;
            }
            // A failed lookup is a fact here, so this does not fail.
            if let Ok(examined) = self.examiner.examine(kind, &some, &existence).await {
                verdicts.extend(
                    some.into_iter().zip(examined).map(|(record, examined)| self.verdict(record, examined)),
                );
            }
            yield_now().await;
        }
    }

    fn verdict(&self, record: Record, examined: Examined) -> Verdict {
        let condition = verdict::condition(
            &examined.findings,
            record.generation,
            record.condition.as_ref(),
            Timestamp::now(),
        );
        let judged = Judged {
            mark: self.mark(&record),
            compliance: Compliance::of(&examined.findings),
            targets: examined.targets.iter().map(TargetId::from).collect(),
        };
        Verdict { record, condition, judged }
    }

    /// The state of a record.
    pub(super) fn mark(&self, record: &Record) -> Mark {
        let labels = record.object["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
        Mark::of(record.uid.as_deref(), record.generation, labels, &self.labels, record.condition.as_ref())
    }
}
