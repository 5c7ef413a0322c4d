//! Compares a decision with what a case expects.

use crm_core::rules::{FieldPath, Finding, Segment};
use serde_json::Value;

use super::decide::Decision;
use super::suite::{Expect, ExpectedFinding};

/// A part of an expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The part: `allowed`, `findings`, `changes` or `message`.
    pub part: &'static str,
    /// What was expected.
    pub expected: Vec<Line>,
    /// What the webhook does.
    pub got: Vec<Line>,
}

/// One line of a mismatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A finding, a change or another value, as it is written in a test where that is possible.
    pub text: String,
    /// What the finding says.
    pub note: Option<String>,
    /// Whether it has a counterpart on the other side.
    pub is_met: bool,
}

impl Line {
    fn met(text: String, is_met: bool) -> Self {
        Self { text, note: None, is_met }
    }

    fn unmet(text: impl Into<String>) -> Self {
        Self::met(text.into(), false)
    }
}

/// The parts of an expectation that a decision does not meet.
pub(super) fn compare(expect: &Expect, decision: &Decision) -> Vec<Mismatch> {
    let findings =
        expect.findings.as_ref().and_then(|findings| compare_findings(findings, &decision.findings));
    // The findings say why a request is denied.
    let denial = decision.denial.clone().filter(|_| findings.is_none());
    let parts = [
        expect.allowed.and_then(|allowed| compare_allowed(allowed, decision.allowed, denial)),
        findings,
        expect.changes.as_ref().and_then(|changes| compare_changes(changes, decision)),
        expect.message.as_ref().and_then(|message| compare_message(message, decision)),
    ];
    parts.into_iter().flatten().collect()
}

fn compare_allowed(allowed: bool, is_allowed: bool, denial: Option<String>) -> Option<Mismatch> {
    let got = Line { note: denial, ..Line::unmet(is_allowed.to_string()) };
    (allowed != is_allowed).then(|| Mismatch {
        part: "allowed",
        expected: vec![Line::unmet(allowed.to_string())],
        got: vec![got],
    })
}

fn compare_findings(expected: &[ExpectedFinding], found: &[Finding]) -> Option<Mismatch> {
    let pairs = pairs(expected, found);
    let is_found = |index| pairs.contains(&Some(index));
    let expected_lines = expected.iter().enumerate();
    let expected: Vec<Line> =
        expected_lines.map(|(index, finding)| Line::met(finding.to_string(), is_found(index))).collect();
    let found_lines = found.iter().zip(&pairs).map(|(finding, pair)| Line {
        note: Some(finding.message()),
        ..Line::met(ExpectedFinding::of(finding).to_string(), pair.is_some())
    });
    let got: Vec<Line> = found_lines.collect();
    let is_met = expected.iter().chain(&got).all(|line| line.is_met);
    (!is_met).then(|| Mismatch { part: "findings", expected: or_none(expected), got: or_none(got) })
}

fn or_none(lines: Vec<Line>) -> Vec<Line> {
    if lines.is_empty() { vec![Line::unmet("none")] } else { lines }
}

/// For each finding the expected one that it is paired with. As many as possible are paired: a general expectation,
/// such as a rule without a code, leaves to a special one what only that can match.
fn pairs(expected: &[ExpectedFinding], found: &[Finding]) -> Vec<Option<usize>> {
    let mut pairs = vec![None; found.len()];
    for index in 0..expected.len() {
        pair(index, expected, found, &mut pairs, &mut vec![false; found.len()]);
    }
    pairs
}

/// Pairs one expected finding, if other pairs can change so that one is left for it.
fn pair(
    index: usize,
    expected: &[ExpectedFinding],
    found: &[Finding],
    pairs: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (place, finding) in found.iter().enumerate() {
        let is_candidate = expected.get(index).is_some_and(|expected| expected.matches(finding));
        if !is_candidate || tried.get_mut(place).is_none_or(|tried| std::mem::replace(tried, true)) {
            continue;
        }
        let other = pairs.get(place).copied().flatten();
        if other.is_none_or(|other| pair(other, expected, found, pairs, tried)) {
            if let Some(pair) = pairs.get_mut(place) {
                *pair = Some(index);
            }
            return true;
        }
    }
    false
}

impl ExpectedFinding {
    /// The expectation of exactly this finding.
    pub(super) fn of(finding: &Finding) -> Self {
        Self {
            rule: finding.rule,
            code: finding.code,
            action: Some(finding.action),
            field: Some(finding.field.to_string()),
        }
    }

    fn matches(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && self.code.is_none_or(|code| finding.code == Some(code))
            && self.action.is_none_or(|action| finding.action == action)
            && self.field.as_ref().is_none_or(|field| *field == finding.field.to_string())
    }
}

/// As it is written in a test.
impl std::fmt::Display for ExpectedFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rule = match self.code {
            Some(code) => format!("{}/{code}", self.rule),
            None => self.rule.to_string(),
        };
        if self.action.is_none() && self.field.is_none() {
            return f.write_str(&rule);
        }
        write!(f, "{{rule: {rule}")?;
        if let Some(action) = self.action {
            write!(f, ", action: {action}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ", field: {}", Value::from(field.as_str()))?;
        }
        f.write_str("}")
    }
}

fn compare_changes(expected: &[(String, Value)], decision: &Decision) -> Option<Mismatch> {
    if expected.is_empty() {
        let got: Vec<Line> = decision
            .changes
            .iter()
            .map(|change| Line::unmet(line(&change.field.to_string(), &after(change.after.as_deref()))))
            .collect();
        let expected = vec![Line::unmet("none")];
        return (!got.is_empty()).then_some(Mismatch { part: "changes", expected, got });
    }
    let (mut expected_lines, mut got) = (Vec::new(), Vec::new());
    for (field, value) in expected {
        let new = new_value(field, decision);
        let is_met = new.as_ref() == Some(value);
        expected_lines.push(Line::met(line(field, value), is_met));
        let shown = new.map_or_else(|| format!("{field}: unchanged"), |new| line(field, &new));
        got.push(Line::met(shown, is_met));
    }
    let is_met = expected_lines.iter().all(|line| line.is_met);
    // The field may be a wrong one, so all changes help.
    let others = decision.changes.iter().filter(|change| {
        let changed = change.field.to_string();
        !expected.iter().any(|(field, _)| *field == changed)
    });
    got.extend(
        others
            .map(|change| Line::met(line(&change.field.to_string(), &after(change.after.as_deref())), true)),
    );
    (!is_met).then_some(Mismatch { part: "changes", expected: expected_lines, got })
}

fn line(field: &str, value: &Value) -> String {
    let value = if value.is_null() { "null  # removed".to_owned() } else { value.to_string() };
    format!("{field}: {value}")
}

fn after(after: Option<&str>) -> Value {
    after.map_or(Value::Null, Value::from)
}

/// The new value of a field, null if it is removed; `None` if it does not change. The field of a change has the index
/// that it has in the record as it is written. For a list or an object, the value is that in the stored record.
fn new_value(field: &str, decision: &Decision) -> Option<Value> {
    if let Some(change) = decision.changes.iter().find(|change| change.field.to_string() == field) {
        return Some(after(change.after.as_deref()));
    }
    let changed = decision.changes.iter().find_map(|change| parent(&change.field, field))?;
    let value = changed.resolve_below_root(decision.stored.get(root(&changed)?)?);
    Some(value.cloned().unwrap_or_default())
}

/// The part of a path that is this field.
fn parent(path: &FieldPath, field: &str) -> Option<FieldPath> {
    let mut parent = FieldPath::default();
    for segment in path.segments() {
        parent = match segment {
            Segment::Field(name) => parent.field(name.clone()),
            Segment::Index(index) => parent.index(*index),
            Segment::Key(key) => parent.key(key),
        };
        if parent.to_string() == field {
            return Some(parent);
        }
    }
    None
}

fn root(path: &FieldPath) -> Option<&str> {
    match path.segments().first()? {
        Segment::Field(name) => Some(name),
        Segment::Index(_) | Segment::Key(_) => None,
    }
}

fn compare_message(message: &regex::Regex, decision: &Decision) -> Option<Mismatch> {
    let got: Vec<Line> = decision.messages().map(Line::unmet).collect();
    let is_met = decision.messages().any(|text| message.is_match(text));
    (!is_met).then(|| Mismatch {
        part: "message",
        expected: vec![Line::unmet(format!("/{message}/"))],
        got: or_none(got),
    })
}
