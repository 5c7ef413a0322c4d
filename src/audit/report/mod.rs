//! What an audit found, and the formats in which it is told. What is kept of it does not grow with the cluster.

mod json;
mod junit;
mod sarif;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};

use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};
use crm_core::rules::Finding;

use super::mend::NotMended;
use super::tally::Tally;
use crate::check::report::{Colour, printable};

/// One finding of a stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// The leaf field, such as `spec.domains[1]`.
    pub field: String,
    /// The rule that is broken.
    pub rule: RuleId,
    /// The reason code of a rule that has several.
    pub code: Option<&'static str>,
    /// What it would lead to, were the record written today.
    pub action: Action,
    /// What is wrong and the fix, as a status cause of the webhook words it.
    pub message: String,
}

/// What an audit amounts to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// All that was counted.
    pub tally: Tally,
    /// What the policy is called by which was judged.
    pub policy: String,
    /// What the policy in force is called, where it was compared with another.
    pub in_force: Option<String>,
    /// Values that were brought to their canonical form, and the records that they are in.
    pub fixed: u64,
    /// Records in which values were brought to their canonical form.
    pub mended: u64,
    /// The first records that could not be mended.
    pub not_mended: Vec<NotMended>,
    /// How many of them there are.
    pub all_not_mended: u64,
}

/// How an audit is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, by rule.
    #[default]
    Text,
    /// One JSON object: `findings`, all of them, `notFixed`, `summary`.
    Json,
    /// JUnit XML, as CI servers read test results.
    Junit,
    /// SARIF 2.1.0, as code scanning reads it.
    Sarif,
    /// The summary alone, as JSON in one line.
    Summary,
}

/// A report that is being written.
pub struct Report<W: Write> {
    out: W,
    body: Body,
}

enum Body {
    Text(Shelf, Colour),
    Json(json::List),
    Junit(Shelf),
    Sarif(Shelf),
    Summary,
}

/// The first findings of each rule.
#[derive(Debug)]
struct Shelf {
    limit: usize,
    kept: BTreeMap<RuleId, Vec<Entry>>,
}

impl Entry {
    /// What is said of one record's finding.
    pub fn new(kind: CrmKind, name: &str, finding: &Finding) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            field: finding.field.to_string(),
            rule: finding.rule,
            code: finding.code,
            action: finding.action,
            message: finding.message(),
        }
    }

    /// `Company/acme`
    fn record(&self) -> String {
        format!("{}/{}", self.kind.as_str(), printable(&self.name))
    }

    /// `domain/bad-label`
    fn rule_and_code(&self) -> String {
        match self.code {
            Some(code) => format!("{}/{code}", self.rule),
            None => self.rule.to_string(),
        }
    }
}

impl<W: Write> Report<W> {
    /// Begins a report. All formats but JSON list at most `limit` findings of each rule, and say how many more there are.
    pub fn new(out: W, format: Format, colour: Colour, limit: usize) -> Self {
        let shelf = Shelf { limit, kept: BTreeMap::new() };
        let body = match format {
            Format::Text => Body::Text(shelf, colour),
            Format::Json => Body::Json(json::List::default()),
            Format::Junit => Body::Junit(shelf),
            Format::Sarif => Body::Sarif(shelf),
            Format::Summary => Body::Summary,
        };
        Self { out, body }
    }

    /// Takes one finding.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, entry: Entry) -> io::Result<()> {
        match &mut self.body {
            Body::Text(shelf, _) | Body::Junit(shelf) | Body::Sarif(shelf) => shelf.put(entry),
            Body::Json(list) => list.add(&mut self.out, &entry)?,
            Body::Summary => {}
        }
        Ok(())
    }

    /// Ends the report.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self, totals: &Totals) -> io::Result<()> {
        match self.body {
            Body::Text(shelf, colour) => {
                self.out.write_all(text::render(&shelf, totals, colour).as_bytes())?
            }
            Body::Json(list) => list.finish(&mut self.out, totals)?,
            Body::Junit(shelf) => self.out.write_all(junit::render(&shelf, totals).as_bytes())?,
            Body::Sarif(shelf) => self.out.write_all(sarif::render(&shelf, totals).as_bytes())?,
            Body::Summary => writeln!(self.out, "{}", json::summary(totals))?,
        }
        self.out.flush()
    }
}

impl Shelf {
    fn put(&mut self, entry: Entry) {
        let kept = self.kept.entry(entry.rule).or_default();
        if kept.len() < self.limit {
            kept.push(entry);
        }
    }

    /// The rules that are broken, with the findings that are listed and the number of all.
    fn by_rule<'s>(&'s self, tally: &'s Tally) -> impl Iterator<Item = (RuleId, &'s [Entry], u64)> {
        let count = |rule| CrmKind::ALL.into_iter().map(|kind| tally.of(kind, rule)).sum();
        self.kept.iter().map(move |(rule, entries)| (*rule, entries.as_slice(), count(*rule)))
    }
}

/// How many findings of a rule are not listed.
fn more(entries: &[Entry], all: u64) -> u64 {
    all.saturating_sub(entries.len() as u64)
}
