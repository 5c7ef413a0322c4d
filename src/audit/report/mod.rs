//! The formats of an audit report. The memory of a report does not grow with the cluster.

mod json;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};

use crm_check::report::{Colour, Diagnostic, Results, Unlisted, junit, sarif};
use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};

use super::compliance::{Compliance, Condition};
use super::fix::NotFixed;
use super::tally::Tally;

/// The maximum number of named records that could not be fixed, and of those whose condition is contradicted.
const NAMED: usize = 100;

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
    /// The first records whose condition says something else.
    pub contradicted: Vec<Contradicted>,
    /// The number of all records whose condition says something else.
    pub all_contradicted: u64,
    /// The least action that makes the command fail; `None` if none does.
    pub fails_on: Option<Action>,
}

/// A record whose condition `Compliant` is about its spec, and says something else than the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradicted {
    /// Its kind.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// Its condition.
    pub condition: Condition,
    /// What the audit finds.
    pub found: Compliance,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, by rule.
    #[default]
    Text,
    /// The same without the summary.
    Findings,
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
    Findings(Shelf, Colour),
    Json(json::List),
    Junit(Shelf),
    Sarif(Shelf),
    Summary,
}

/// The first findings of each rule.
#[derive(Debug)]
struct Shelf {
    limit: usize,
    kept: BTreeMap<RuleId, Vec<Diagnostic>>,
}

impl Totals {
    /// Counts the fixed values of a record.
    pub(super) fn add_fixed(&mut self, values: u64) {
        self.fixed += values;
        self.records_fixed += u64::from(values > 0);
    }

    /// Counts a record that could not be fixed.
    pub(super) fn add_not_fixed(&mut self, not: NotFixed) {
        self.all_not_fixed += 1;
        if self.not_fixed.len() < NAMED {
            self.not_fixed.push(not);
        }
    }

    /// Counts a record whose condition says something else.
    pub(super) fn add_contradicted(&mut self, contradicted: Contradicted) {
        self.all_contradicted += 1;
        if self.contradicted.len() < NAMED {
            self.contradicted.push(contradicted);
        }
    }

    /// Whether the command fails: for a finding, or for a record that could not be fixed.
    pub fn fails(&self) -> bool {
        let Some(least) = self.fails_on else { return false };
        let has = |action| action >= least && self.tally.count(action) > 0;
        Action::ALL.into_iter().any(has) || self.all_not_fixed > 0
    }
}

impl<W: Write> Report<W> {
    /// Starts a report. All formats but JSON list at most `limit` findings of each rule, and the number of the rest.
    pub fn new(out: W, format: Format, colour: Colour, limit: usize) -> Self {
        let shelf = Shelf { limit, kept: BTreeMap::new() };
        let body = match format {
            Format::Text => Body::Text(shelf, colour),
            Format::Findings => Body::Findings(shelf, colour),
            Format::Json => Body::Json(json::List::default()),
            Format::Junit => Body::Junit(shelf),
            Format::Sarif => Body::Sarif(shelf),
            Format::Summary => Body::Summary,
        };
        Self { out, body }
    }

    /// Adds one finding of a rule.
    ///
    /// # Errors
    /// Writing failed.
    pub fn add(&mut self, rule: RuleId, finding: Diagnostic) -> io::Result<()> {
        match &mut self.body {
            Body::Text(shelf, _) | Body::Findings(shelf, _) | Body::Junit(shelf) | Body::Sarif(shelf) => {
                shelf.put(rule, finding)
            }
            Body::Json(list) => list.add(&mut self.out, &finding)?,
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
            Body::Findings(shelf, colour) => {
                self.out.write_all(text::findings(&shelf, totals, colour).as_bytes())?
            }
            Body::Json(list) => list.finish(&mut self.out, totals)?,
            Body::Junit(shelf) => self.out.write_all(junit::render(&shelf.results(totals)).as_bytes())?,
            Body::Sarif(shelf) => self.out.write_all(sarif::render(&shelf.results(totals)).as_bytes())?,
            Body::Summary => writeln!(self.out, "{}", json::summary(totals))?,
        }
        self.out.flush()
    }
}

impl Shelf {
    fn put(&mut self, rule: RuleId, finding: Diagnostic) {
        let kept = self.kept.entry(rule).or_default();
        if kept.len() < self.limit {
            kept.push(finding);
        }
    }

    /// The rules with findings, the listed findings, and the number of all.
    fn by_rule<'s>(&'s self, tally: &'s Tally) -> impl Iterator<Item = (RuleId, &'s [Diagnostic], u64)> {
        let count = |rule| CrmKind::ALL.into_iter().map(|kind| tally.of(kind, rule)).sum();
        self.kept.iter().map(move |(rule, listed)| (*rule, listed.as_slice(), count(*rule)))
    }

    /// The contents for programs.
    fn results(&self, totals: &Totals) -> Results<'_> {
        let unlisted = |(rule, listed, all): (RuleId, &[Diagnostic], u64)| Unlisted {
            rule,
            count: unlisted(listed, all),
            action: totals.tally.strictest(rule),
        };
        Results {
            command: "crm-admission audit",
            findings: self.kept.values().flatten().collect(),
            suppressed: &[],
            baseline: None,
            errors: &[],
            unlisted: self
                .by_rule(&totals.tally)
                .map(unlisted)
                .filter(|unlisted| unlisted.count > 0)
                .collect(),
            summary: text::summary(totals),
            fails_on: totals.fails_on,
        }
    }
}

/// The number of findings of a rule that are not listed.
fn unlisted(listed: &[Diagnostic], all: u64) -> u64 {
    all.saturating_sub(listed.len() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::tally::TallyKey;
    use super::*;

    /// An audit with five findings of one rule, of which two are listed.
    fn rendered(format: Format) -> String {
        let finding = |index: usize| Diagnostic {
            place: None,
            kind: "Company".to_owned(),
            name: format!("acme-{index}"),
            field: "spec.domains[0]".to_owned(),
            rule: RuleId::Domain.into(),
            code: Some("bad-label"),
            action: Action::Deny,
            message: "Invalid value: \"a_b.com\": no domain name [domain/bad-label]".to_owned(),
            lasting: None,
        };
        let fails_on = Some(Action::Deny);
        let mut totals = Totals { policy: "built-in".to_owned(), fails_on, ..Totals::default() };
        let key = TallyKey { kind: CrmKind::Company, rule: RuleId::Domain, action: Action::Deny };
        totals.tally.findings.insert(key, 5);
        (totals.tally.records, totals.tally.denied) = (7, 5);
        totals.add_fixed(2);
        let reason = "the API server denied it".to_owned();
        totals.add_not_fixed(NotFixed { kind: CrmKind::Company, name: "acme-1".to_owned(), reason });
        let condition =
            Condition { status: "True".to_owned(), reason: "Compliant".to_owned(), ..Condition::default() };
        let (kind, name) = (CrmKind::Company, "acme-2".to_owned());
        totals.add_contradicted(Contradicted { kind, name, condition, found: Compliance::Denied });
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, format, Colour::Plain, 2);
        (0..5).for_each(|index| report.add(RuleId::Domain, finding(index)).unwrap());
        report.finish(&totals).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_lists_the_first_findings_of_each_rule() {
        insta::assert_snapshot!(rendered(Format::Text));
    }

    #[test]
    fn junit_lists_the_first_findings_and_fails_for_the_others() {
        insta::assert_snapshot!(rendered(Format::Junit));
    }

    #[test]
    fn sarif_lists_the_first_findings_and_notes_the_others() {
        let sarif: Value = serde_json::from_str(&rendered(Format::Sarif)).unwrap();
        let run = &sarif["runs"][0];
        let names: Vec<_> =
            run["results"].as_array().unwrap().iter().map(|result| &result["properties"]["name"]).collect();
        assert_eq!(names, ["acme-0", "acme-1"]);
        let note = &run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
        assert_eq!(note, "3 more findings of domain are not listed; --format json lists all");
    }

    #[test]
    fn json_has_all_findings() {
        let json: Value = serde_json::from_str(&rendered(Format::Json)).unwrap();
        assert_eq!(json["findings"].as_array().unwrap().len(), 5);
        insta::assert_snapshot!(rendered(Format::Json));
    }
}
