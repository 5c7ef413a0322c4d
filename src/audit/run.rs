//! Runs an audit over all records of a cluster, or of files.

use std::io::{self, Write};

use crm_check::conformance::Identity;
use crm_check::report::Diagnostic;
use crm_core::api::CrmKind;
use futures::StreamExt;
use serde_json::Value;

use super::compliance::Compliance;
use super::examine::{Examined, Examiner};
use super::fix::{Fixed, Fixer, values};
use super::lookup::{Existence, NoAnswer};
use super::pages::{ListError, Pages};
use super::report::{Contradicted, Report, Totals};
use super::stored::Record;
use crate::cluster::{ReadError, Reader};

/// The number of records in memory at a time.
const PAGE: u32 = 250;
/// The maximum number of writes at the same time.
const CONCURRENT_WRITES: usize = 8;

/// Whether an audit fixes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixing {
    /// No.
    Off,
    /// It only shows the changes.
    Shown,
    /// It writes them to the cluster.
    Written,
}

/// Why an audit failed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Records cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// A lookup failed.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The API server keeps failing while a record is fixed.
    #[error("{}/{name} cannot be written", kind.label())]
    Write {
        /// The kind of the record.
        kind: CrmKind,
        /// Its name.
        name: String,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// The report cannot be written.
    #[error("the report cannot be written")]
    Report(#[source] io::Error),
}

/// One audit.
pub struct Run<'r> {
    /// Judges the records.
    pub examiner: &'r Examiner,
    /// Answers lookups.
    pub existence: Existence<'r>,
    /// The kinds to audit, in order.
    pub kinds: Vec<CrmKind>,
    /// Whether a kind of Milo that the cluster does not have, or that the user may not list, is an error.
    pub needs_all_kinds: bool,
    /// Called with the reason if the user may not list a kind that is not needed.
    pub on_left_out: &'r dyn Fn(&ListError),
    /// Whether the policy is the one in force in the cluster.
    pub is_in_force: bool,
    /// Whether it fixes values.
    pub fixing: Fixing,
    /// Receives the findings.
    pub report: Report<Box<dyn Write>>,
    /// Receives the counts.
    pub totals: Totals,
    /// Receives the changes of [`Fixing::Shown`].
    pub changes: &'r mut dyn Write,
    /// Called for each record.
    pub on_record: &'r dyn Fn(),
}

impl Run<'_> {
    /// Audits the records of a cluster, and finishes the report.
    ///
    /// # Errors
    /// The API server denies the request or keeps failing, or the report cannot be written.
    pub async fn cluster(mut self, reader: &Reader) -> Result<Totals, AuditError> {
        let fixer = Fixer::new(reader.clone(), self.examiner);
        for kind in self.kinds.clone() {
            let mut pages = Pages::new(reader.clone(), kind, PAGE, self.examiner.labels());
            while let Some(records) = self.page(&mut pages, reader).await? {
                let mut examined = self.examiner.examine(kind, &records, &self.existence).await?;
                self.compare(kind, &records, &examined);
                if self.fixing == Fixing::Written {
                    let objects = records.into_iter().map(|record| record.object).collect();
                    examined = self.fix(kind, objects, examined, &fixer).await?;
                }
                self.take(kind, &examined)?;
            }
        }
        self.finish()
    }

    /// The next page of a kind; `None` after the last one, and for a kind that is left out.
    async fn page(&self, pages: &mut Pages, reader: &Reader) -> Result<Option<Vec<Record>>, ListError> {
        match pages.next().await {
            Err(error) if !self.needs_all_kinds && error.can_be_left_out(reader, self.on_left_out).await => {
                Ok(None)
            }
            answer => answer,
        }
    }

    /// Audits the records among these objects, and finishes the report.
    ///
    /// # Errors
    /// The report cannot be written.
    pub async fn files(mut self, objects: &[Value]) -> Result<Totals, AuditError> {
        for kind in self.kinds.clone() {
            let records = objects.iter().filter(|object| Identity::of(object).kind() == Some(kind));
            let records: Vec<Value> = records.cloned().collect();
            for page in records.chunks(PAGE as usize) {
                let examined = self.examiner.examine(kind, page, &self.existence).await?;
                self.take(kind, &examined)?;
            }
        }
        self.finish()
    }

    /// Counts the conditions that say something else about the same spec. They are about the policy in force and all of
    /// its rules, so nothing else is compared with them.
    fn compare(&mut self, kind: CrmKind, records: &[Record], examined: &[Examined]) {
        if !self.is_in_force || !self.examiner.is_whole() {
            return;
        }
        for (record, examined) in records.iter().zip(examined) {
            let found = Compliance::of(&examined.findings);
            let Some(condition) = &record.condition else { continue };
            let is_current = condition.observed_generation == record.generation && !record.is_terminating();
            if is_current && !found.is_said_by(condition) {
                let name = examined.name.clone();
                self.totals.add_contradicted(Contradicted {
                    kind,
                    name,
                    condition: condition.clone(),
                    found,
                });
            }
        }
    }

    /// Fixes the records of a page, and examines those that changed again.
    async fn fix(
        &mut self,
        kind: CrmKind,
        objects: Vec<Value>,
        examined: Vec<Examined>,
        fixer: &Fixer<'_>,
    ) -> Result<Vec<Examined>, AuditError> {
        let fixed = objects.into_iter().zip(examined).map(async |(object, examined)| {
            if examined.changes.is_empty() {
                return Ok((examined, None));
            }
            match fixer.fix(kind, object).await {
                Ok(fixed) => Ok((examined, Some(fixed))),
                Err(source) => Err(AuditError::Write { kind, name: examined.name, source }),
            }
        });
        let mut fixed = futures::stream::iter(fixed).buffered(CONCURRENT_WRITES);
        let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
        while let Some(record) = fixed.next().await {
            match record? {
                (_, Some(Fixed::Stored { object, values })) => {
                    self.totals.add_fixed(values);
                    changed.push(object);
                }
                (_, Some(Fixed::Gone)) => {}
                (examined, Some(Fixed::Not(not))) => {
                    self.totals.add_not_fixed(not);
                    unchanged.push(examined);
                }
                (examined, None) => unchanged.push(examined),
            }
        }
        let mut all = self.examiner.examine(kind, &changed, &self.existence).await?;
        all.extend(unchanged);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn take(&mut self, kind: CrmKind, examined: &[Examined]) -> Result<(), AuditError> {
        for examined in examined {
            self.totals.tally.add(kind, examined);
            (self.on_record)();
            for finding in &examined.findings {
                let diagnostic = Diagnostic::new(None, kind.label(), &examined.name, finding);
                written(self.report.add(finding.rule, diagnostic))?;
            }
            if self.fixing == Fixing::Shown {
                let changes = values(kind, &examined.name, &examined.changes);
                written(self.changes.write_all(changes.as_bytes()))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Totals, AuditError> {
        written(self.report.finish(&self.totals))?;
        Ok(self.totals)
    }
}

/// A closed pipe is not an error: its reader has seen enough.
fn written(result: io::Result<()>) -> Result<(), AuditError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(AuditError::Report(error)),
        _ => Ok(()),
    }
}
