//! Counts the writes of a replay, and keeps a limited number of examples for each rule.

use std::collections::BTreeMap;
use std::fmt::Write;

use crm_core::api::CrmKind;
use crm_core::catalog::RuleId;
use crm_core::comparison::{Compared, Difference, Differences};
use crm_core::rules::Finding;
use jiff::Timestamp;

use super::log::Unreadable;

/// Why a write was not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undecided {
    /// A patch without the object that it leads to.
    Patch,
    /// It was denied, or failed, for a reason that is not the webhook's.
    Refused,
    /// A deletion of all records of a kind, or of those that a selector finds.
    Collection,
}

/// Whether the report has values of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// It has none.
    #[default]
    Hidden,
    /// It has those that the messages of the webhook have.
    Shown,
}

/// What a report lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listing {
    /// The maximum number of examples, users and objects of each rule.
    pub limit: usize,
    /// Whether it has values of fields.
    pub values: Values,
}

/// The results of a replay.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The writes of records in the log.
    pub read: u64,
    /// The writes that were decided.
    pub decided: u64,
    /// What the policy would change.
    pub differences: Differences,
    /// The writes that were not decided.
    pub undecided: BTreeMap<Undecided, u64>,
    /// Writes, not among those read, of which the log has no object.
    pub without_object: u64,
    /// Updates whose old object is not in the log.
    pub without_old: u64,
    /// The differences among these.
    pub differences_without_old: Differences,
    /// Patches that were judged by their result.
    pub patches: u64,
    /// References that were not judged.
    pub not_judged: u64,
    /// Deletions that were judged although the log does not show all dependents.
    pub open_deletions: u64,
    /// What differs, by rule.
    pub groups: BTreeMap<(Difference, RuleId), Group>,
    /// What could not be read.
    pub unreadable: Unreadable,
}

/// The writes for which a rule makes a difference.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Their number.
    pub writes: u64,
    /// Their number by user.
    pub users: BTreeMap<String, u64>,
    /// Their number by object.
    pub objects: BTreeMap<(CrmKind, String), u64>,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// When it happened.
    pub time: Timestamp,
    /// Who made it.
    pub user: String,
    /// What it was: `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// Whether the log has the object that it replaced, or it replaced none.
    pub old_is_known: bool,
    /// The field of the finding.
    pub field: String,
    /// What the finding is, with values only if the report has them.
    pub message: String,
    /// Where the event is, such as `audit.log:17`.
    pub place: String,
}

/// A decided write, without its findings.
pub(super) struct Decided<'d> {
    pub(super) time: Timestamp,
    pub(super) user: &'d str,
    pub(super) verb: &'static str,
    pub(super) dry_run: bool,
    pub(super) kind: CrmKind,
    pub(super) name: &'d str,
    pub(super) old_is_known: bool,
    pub(super) place: &'d dyn std::fmt::Display,
}

impl Undecided {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Patch, Self::Refused, Self::Collection];
}

impl Tally {
    /// Whether the policy would deny something that the other one allows.
    pub fn denies_more(&self) -> bool {
        self.differences.of(Difference::NewlyDenied) > 0
    }

    /// Whether none of this many logs could be read at all.
    pub fn is_without_logs(&self, logs: usize) -> bool {
        // The events before the fault of a log count.
        self.read + self.without_object == 0 && self.unreadable.files.len() == logs
    }

    /// Whether there are writes, but none of them could be decided. Those that failed for another reason need no decision.
    pub fn decides_nothing(&self) -> bool {
        let failed = self.undecided.get(&Undecided::Refused).copied().unwrap_or_default();
        self.decided == 0 && self.read + self.without_object > failed
    }

    /// Counts a write that was not decided.
    pub(super) fn add_undecided(&mut self, why: Undecided) {
        *self.undecided.entry(why).or_default() += 1;
    }

    /// Counts a decided write.
    pub(super) fn add(&mut self, write: &Decided<'_>, compared: Option<&Compared<'_>>, listing: Listing) {
        self.decided += 1;
        self.without_old += u64::from(!write.old_is_known);
        let Some(Compared { difference, findings }) = compared else { return };
        self.differences.add(*difference);
        if !write.old_is_known {
            self.differences_without_old.add(*difference);
        }
        let mut by_rule: BTreeMap<RuleId, &Finding> = BTreeMap::new();
        for finding in findings {
            by_rule.entry(finding.rule).or_insert(finding);
        }
        for (rule, finding) in by_rule {
            self.groups.entry((*difference, rule)).or_default().add(write, finding, listing);
        }
    }
}

impl Group {
    fn add(&mut self, write: &Decided<'_>, finding: &Finding, listing: Listing) {
        self.writes += 1;
        *self.users.entry(write.user.to_owned()).or_default() += 1;
        *self.objects.entry((write.kind, write.name.to_owned())).or_default() += 1;
        if self.examples.len() < listing.limit {
            self.examples.push(Example {
                time: write.time,
                user: write.user.to_owned(),
                verb: write.verb,
                dry_run: write.dry_run,
                kind: write.kind,
                name: write.name.to_owned(),
                old_is_known: write.old_is_known,
                field: finding.field.to_string(),
                message: message(finding, listing.values),
                place: write.place.to_string(),
            });
        }
    }
}

/// The message of the webhook, or only its prefix and the rule.
fn message(finding: &Finding, values: Values) -> String {
    if values == Values::Shown {
        return finding.message();
    }
    let mut message = format!("{} [{}", finding.reason.prefix(), finding.rule);
    if let Some(code) = finding.code {
        // Writing to a string cannot fail.
        let _ = write!(message, "/{code}");
    }
    message + "]"
}
