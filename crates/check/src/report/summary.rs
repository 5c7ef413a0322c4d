//! The report of a check, and its summary in one sentence.

use std::collections::{BTreeSet, HashSet};

use crm_core::catalog::Action;
use crm_core::characters::printable;
use crm_core::quote::quote;

use super::baseline::{Baseline, Compared};
use super::diagnostic::{Access, Diagnostic, InputError, Suppressed};
use super::results::Results;

/// How many unknown variables the summary names.
const LISTED: usize = 5;

/// The report of one check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The findings, in the order of the files and of their lines.
    pub findings: Vec<Diagnostic>,
    /// The findings that comments suppress, in the same order. They do not count.
    pub suppressed: Vec<Suppressed>,
    /// What a baseline makes of the findings, if one is used.
    pub baseline: Option<Compared>,
    /// The inputs that cannot be read, and so were not checked.
    pub errors: Vec<InputError>,
    /// The names of the directories in which git ignores every manifest, or the user excludes it.
    pub left_out: Vec<String>,
    /// What was not judged.
    pub not_judged: NotJudged,
    /// The counts.
    pub summary: Summary,
}

/// What was not judged, because it depends on variables without a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotJudged {
    /// The number of values.
    pub values: usize,
    /// The names of the unknown variables.
    pub variables: BTreeSet<String>,
    /// The expressions that are not evaluated, such as `${NAME,,}`.
    pub expressions: BTreeSet<String>,
}

/// The counts of one check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that were read, including standard input.
    pub files: usize,
    /// CRM objects that were checked, with each `List` replaced by its items.
    pub checked: usize,
    /// Objects of other groups. They exist for references, but are not checked.
    pub other: usize,
    /// Documents that SOPS has encrypted. They are neither checked nor fixed.
    pub encrypted: usize,
    /// Values that `--fix` made canonical, or removed as duplicates.
    pub fixed: usize,
}

impl Report {
    /// The number of findings with this action.
    pub fn count(&self, action: Action) -> usize {
        self.findings.iter().filter(|finding| finding.action == action).count()
    }

    /// Leaves only the findings that are not in a baseline. `file` is its name in reports.
    pub fn compare(&mut self, file: &str, baseline: &Baseline) {
        let (new, mut compared) = baseline.compare(file, std::mem::take(&mut self.findings));
        // They can be in what could not be read.
        if !self.errors.is_empty() {
            compared.stale.clear();
        }
        self.findings = new;
        self.baseline = Some(compared);
    }

    /// The contents for programs.
    pub(super) fn results(&self, fails_on: Option<Action>) -> Results<'_> {
        Results {
            command: "crm-admission check",
            findings: self.findings.iter().collect(),
            suppressed: &self.suppressed,
            baseline: self.baseline.as_ref(),
            errors: &self.errors,
            unlisted: Vec::new(),
            summary: self.sentence(),
            fails_on,
        }
    }

    /// The findings that comments suppress and those in the baseline, and what the baseline has besides.
    fn not_counted(&self) -> String {
        let mut text = aside(self.suppressed.iter().map(|suppressed| &suppressed.finding), "suppressed");
        if let Some(Compared { known, stale, .. }) = &self.baseline {
            text += &aside(known.iter(), "in the baseline");
            if !stale.is_empty() {
                text += &format!("; {} stale in the baseline (no longer found)", stale.len());
            }
        }
        text
    }

    /// Whether there is something to say about records.
    fn is_about_records(&self) -> bool {
        let known = self.baseline.as_ref().is_some_and(|baseline| !baseline.known.is_empty());
        self.summary.checked > 0 || known || !self.findings.is_empty()
    }

    /// The report in one sentence.
    pub(super) fn sentence(&self) -> String {
        let failed = |access: Access| {
            let errors = self.errors.iter().filter(|error| error.access == access);
            errors.map(|error| error.file.as_str()).collect::<HashSet<_>>().len()
        };
        let others = [
            (self.summary.fixed, "value fixed", "values fixed"),
            (
                self.summary.other,
                "object of another group was not checked",
                "objects of other groups were not checked",
            ),
            (
                self.summary.encrypted,
                "document encrypted by SOPS was not checked",
                "documents encrypted by SOPS were not checked",
            ),
            (failed(Access::Read), "file could not be fully read", "files could not be fully read"),
            (failed(Access::Write), "file could not be written", "files could not be written"),
        ];
        let mut sentence = verdict(self) + &self.not_counted();
        for (number, one, many) in others {
            if number > 0 {
                sentence += &format!("; {}", counted(number, one, many));
            }
        }
        sentence += &not_judged(&self.not_judged);
        if !self.left_out.is_empty() {
            let directories = self.left_out.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
            sentence += &format!("; git ignores or --exclude leaves out all manifests in {directories}");
        }
        sentence.push('.');
        sentence
    }
}

/// The number of findings that do not count, and how many of them the cluster will deny all the same. `how` says why
/// they do not.
fn aside<'d>(findings: impl Iterator<Item = &'d Diagnostic>, how: &str) -> String {
    let actions: Vec<Action> = findings.map(|finding| finding.action).collect();
    let denied = actions.iter().filter(|action| **action == Action::Deny).count();
    match (actions.len(), denied) {
        (0, _) => String::new(),
        (all, 0) => format!("; {all} {how}"),
        (all, denied) if all == denied => format!("; {all} {how}, which the cluster will deny"),
        (all, denied) => format!("; {all} {how}, {denied} of which the cluster will deny"),
    }
}

/// What was not judged, and what to do about it.
fn not_judged(NotJudged { values, variables, expressions }: &NotJudged) -> String {
    if *values == 0 {
        return String::new();
    }
    let mut sentence = format!("; {}", counted(*values, "value was not judged", "values were not judged"));
    let given = variables.iter().map(|name| format!("--var {}=…", printable(name)));
    if !variables.is_empty() {
        sentence += &format!(", because variables are unknown: give {}", listed(given, " "));
    }
    if !expressions.is_empty() {
        let also = if variables.is_empty() { ", because" } else { "; and" };
        let quoted = expressions.iter().map(|text| quote(text));
        sentence += &format!("{also} check does not evaluate {}", listed(quoted, ", "));
    }
    sentence
}

/// The first of some texts, and the number of the others.
fn listed(texts: impl ExactSizeIterator<Item = String>, separator: &str) -> String {
    let others = texts.len().saturating_sub(LISTED);
    let listed = texts.take(LISTED).collect::<Vec<_>>().join(separator);
    if others > 0 { format!("{listed} and {others} more") } else { listed }
}

fn verdict(report: &Report) -> String {
    let files = counted(report.summary.files, "file", "files");
    if !report.is_about_records() {
        return match report.summary.files {
            0 => "nothing to check: no files were read".to_owned(),
            _ => format!("nothing to check: no CRM records in {files}"),
        };
    }
    let records = counted(report.summary.checked, "record", "records");
    format!("{records} in {files} checked: {}", outcome(report))
}

fn outcome(report: &Report) -> String {
    let [deny, warn, audit] = [Action::Deny, Action::Warn, Action::Audit].map(|action| report.count(action));
    let mut parts = Vec::new();
    if deny > 0 {
        parts.push(format!(
            "{} would be denied ({})",
            denied(report),
            counted(deny, "finding denies", "findings deny")
        ));
    }
    if warn > 0 {
        parts.push(counted(warn, "warning", "warnings"));
    }
    if audit > 0 {
        parts.push(format!("{audit} only recorded"));
    }
    if parts.is_empty() { "no findings".to_owned() } else { parts.join(", ") }
}

/// The number of records that would be denied. Records of one kind in one file without a name count as one.
fn denied(report: &Report) -> usize {
    let denied = report.findings.iter().filter(|finding| finding.action == Action::Deny);
    let record = |finding: &Diagnostic| {
        let file = finding.place.as_ref().map(|place| place.file.clone());
        (file, finding.kind.clone(), finding.name.clone())
    };
    denied.map(record).collect::<HashSet<_>>().len()
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn an_empty_check_says_so() {
        let sentence = |files, other| {
            Report { summary: Summary { files, other, ..Summary::default() }, ..Report::default() }.sentence()
        };
        assert_eq!(sentence(0, 0), "nothing to check: no files were read.");
        assert_eq!(sentence(1, 0), "nothing to check: no CRM records in 1 file.");
        assert_eq!(
            sentence(3, 1),
            "nothing to check: no CRM records in 3 files; 1 object of another group was not checked."
        );
    }

    #[test]
    fn an_unreadable_file_is_reported_even_if_nothing_was_checked() {
        let error = |position| InputError {
            file: "a.yaml".to_owned(),
            access: Access::Read,
            position,
            message: "bad".to_owned(),
            excerpt: None,
        };
        let mut report = Report { errors: vec![error(Some((1, 1))), error(None)], ..Report::default() };
        assert_eq!(
            report.sentence(),
            "nothing to check: no files were read; 1 file could not be fully read."
        );
        report.summary = Summary { files: 1, checked: 1, ..Summary::default() };
        assert_eq!(
            report.sentence(),
            "1 record in 1 file checked: no findings; 1 file could not be fully read."
        );
    }

    #[test]
    fn a_count_of_one_is_singular() {
        let summary_of_one = Summary { files: 1, checked: 1, other: 1, encrypted: 1, fixed: 1 };
        let mut report = Report { summary: summary_of_one, ..Report::default() };
        assert_eq!(
            report.sentence(),
            "1 record in 1 file checked: no findings; 1 value fixed; 1 object of another group was not checked; 1 document encrypted by SOPS was not checked."
        );
        report.findings = [samples::report().findings, samples::report().findings].concat();
        report.summary = Summary { files: 2, checked: 2, ..Summary::default() };
        assert_eq!(
            report.sentence(),
            "2 records in 2 files checked: 1 would be denied (2 findings deny), 2 warnings, 2 only recorded."
        );
    }

    #[test]
    fn what_was_not_judged_is_counted_and_the_fix_is_said() {
        let sentence = |values, variables: &[&str], expressions: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let not_judged =
                NotJudged { values, variables: names(variables), expressions: names(expressions) };
            let summary = Summary { files: 1, checked: 1, ..Summary::default() };
            Report { summary, not_judged, ..Report::default() }.sentence()
        };
        let start = "1 record in 1 file checked: no findings; ";
        let cases = [
            (
                sentence(1, &["A"], &[]),
                "1 value was not judged, because variables are unknown: give --var A=….",
            ),
            (
                sentence(7, &["A", "B", "C", "D", "E", "F", "G"], &[]),
                "7 values were not judged, because variables are unknown: give --var A=… --var B=… --var C=… --var D=… --var E=… and 2 more.",
            ),
            (
                sentence(2, &["A"], &["${B,,}"]),
                "2 values were not judged, because variables are unknown: give --var A=…; and check does not evaluate \"${B,,}\".",
            ),
            (
                sentence(1, &[], &["${B\n}", "${C:0}"]),
                "1 value was not judged, because check does not evaluate \"${B\\n}\", \"${C:0}\".",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found.strip_prefix(start), Some(expected));
        }
    }

    #[test]
    fn a_record_with_an_unknown_kind_counts_as_something_to_check() {
        let mut report = samples::report();
        report.findings.truncate(1);
        report.errors.clear();
        report.summary = Summary { files: 1, ..Summary::default() };
        assert_eq!(report.sentence(), "0 records in 1 file checked: 1 would be denied (1 finding denies).");
    }
}
