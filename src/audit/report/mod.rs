//! The formats of an audit report. The memory of a report does not grow with the cluster.

mod json;
mod junit;
mod sarif;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};

use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};
use crm_core::rules::Finding;

use super::fix::NotFixed;
use super::tally::Tally;
use crate::check::report::{Colour, printable};

/// One finding of a stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// The field, such as `spec.domains[1]`.
    pub field: String,
    /// The rule.
    pub rule: RuleId,
    /// The reason code, if the rule has several.
    pub code: Option<&'static str>,
    /// The action if the record were written today.
    pub action: Action,
    /// The problem and the fix, in the words of a status cause of the webhook.
    pub message: String,
}

/// The totals of an audit.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// The counts.
    pub tally: Tally,
    /// The name of the policy.
    pub policy: String,
    /// The name of the policy in force, if it was compared with another.
    pub in_force: Option<String>,
    /// The number of fixed values.
    pub fixed: u64,
    /// The number of records with fixed values.
    pub records_fixed: u64,
    /// The first records that could not be fixed.
    pub not_fixed: Vec<NotFixed>,
    /// The number of all records that could not be fixed.
    pub all_not_fixed: u64,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, by rule.
    #[default]
    Text,
    /// One JSON object: `findings`, all of them, `notFixed`, `summary`.
    Json,
    /// JUnit XML, for CI servers.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Only the summary, as one line of JSON.
    Summary,
}

/// A report while it is written.
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
    /// An entry for a finding of a record.
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
    /// Starts a report. All formats but JSON list at most `limit` findings of each rule, and the number of the rest.
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

    /// Adds one finding.
    ///
    /// # Errors
    /// Writing failed.
    pub fn add(&mut self, entry: Entry) -> io::Result<()> {
        match &mut self.body {
            Body::Text(shelf, _) | Body::Junit(shelf) | Body::Sarif(shelf) => shelf.put(entry),
            Body::Json(list) => list.add(&mut self.out, &entry)?,
            Body::Summary => {}
        }
        Ok(())
    }

    /// Finishes the report.
    ///
    /// # Errors
    /// Writing failed.
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

    /// The rules with findings, the listed findings, and the number of all.
    fn by_rule<'s>(&'s self, tally: &'s Tally) -> impl Iterator<Item = (RuleId, &'s [Entry], u64)> {
        let count = |rule| CrmKind::ALL.into_iter().map(|kind| tally.of(kind, rule)).sum();
        self.kept.iter().map(move |(rule, entries)| (*rule, entries.as_slice(), count(*rule)))
    }
}

/// The number of findings of a rule that are not listed.
fn more(entries: &[Entry], all: u64) -> u64 {
    all.saturating_sub(entries.len() as u64)
}
