//! Reads what a case expects.

use crm_core::catalog::{self, Action};
use crm_core::policy::reader::{Fields, ProblemList};
use crm_core::quote::quote;
use regex::Regex;
use serde_json::Value;

use super::suite::{Expect, ExpectedFinding};

/// The actions that a finding can have.
pub(super) const ACTIONS: [(&str, Action); 3] =
    [("Deny", Action::Deny), ("Warn", Action::Warn), ("Audit", Action::Audit)];
/// The maximum number of findings and of changes that a case lists.
pub(super) const MAX_LISTED: usize = 1000;
/// The top-level fields of a record that rules read.
const ROOTS: [&str; 2] = ["metadata", "spec"];

/// The field `expect` of a case.
pub(super) fn expectation(case: &mut Fields<'_>, problems: &mut ProblemList) -> Option<Expect> {
    let at = case.at("expect");
    let mut fields = case.object("expect", problems);
    if !fields.exists() {
        if case.value("expect").is_none() {
            problems.required(&at, "say what is expected: allowed, findings, changes or message");
        }
        return None;
    }
    let known = problems.len();
    let allowed = fields.flag("allowed", problems);
    let findings = findings(&mut fields, problems);
    let changes = changes(&mut fields, problems);
    let message = message(&mut fields, problems);
    fields.report_unknown(problems);
    let expect = Expect { allowed, findings, changes, message };
    if problems.len() == known && expect.is_empty() {
        problems.required(&at, "name at least one of allowed, findings, changes, message");
    }
    Some(expect)
}

fn message(expect: &mut Fields<'_>, problems: &mut ProblemList) -> Option<Regex> {
    if expect.value("message").is_some_and(|text| text == "") {
        let text = "say what is in the message; every message matches an empty expression";
        problems.required(&expect.at("message"), text);
        return None;
    }
    expect.pattern("message", problems)
}

impl Expect {
    fn is_empty(&self) -> bool {
        self.allowed.is_none() && self.findings.is_none() && self.changes.is_none() && self.message.is_none()
    }
}

fn findings(expect: &mut Fields<'_>, problems: &mut ProblemList) -> Option<Vec<ExpectedFinding>> {
    let at = expect.at("findings");
    let entries = expect.list("findings", problems)?;
    limit(&at, entries.len(), problems)?;
    Some(entries.into_iter().filter_map(|(at, entry)| finding(&at, entry, problems)).collect())
}

fn limit(at: &str, count: usize, problems: &mut ProblemList) -> Option<()> {
    if count <= MAX_LISTED {
        return Some(());
    }
    problems.add(at, format!("Invalid value: has more than {MAX_LISTED} entries"));
    None
}

fn finding(at: &str, entry: &Value, problems: &mut ProblemList) -> Option<ExpectedFinding> {
    let mut finding = match entry {
        Value::String(shown) => return rule(at, shown, problems),
        Value::Object(_) => Fields::entry(at, entry, problems)?,
        _ => {
            let text = "must be a rule such as label-value, or an object with rule, action and field";
            problems.add(at, format!("Invalid value: {text}"));
            return None;
        }
    };
    let shown = finding.required_string("rule", problems);
    let expected = shown.and_then(|shown| rule(&finding.at("rule"), shown, problems));
    let action = finding.choice("action", &ACTIONS, problems);
    let field = finding.string("field", problems);
    if let Some(field) = field {
        is_field(&finding.at("field"), field, problems);
    }
    finding.report_unknown(problems);
    Some(ExpectedFinding { action, field: field.map(str::to_owned), ..expected? })
}

/// A rule, or a rule and a code, as messages show it in brackets.
fn rule(at: &str, shown: &str, problems: &mut ProblemList) -> Option<ExpectedFinding> {
    match catalog::find(shown) {
        Ok((rule, code)) => {
            let code = code.map(|code| code.id);
            Some(ExpectedFinding { rule: rule.id, code, action: None, field: None })
        }
        Err(unknown) => {
            let advice = match unknown.meant() {
                Some(meant) => format!("did you mean {}?", quote(meant)),
                None => "`crm-admission rules` lists the rules".to_owned(),
            };
            problems.add(at, format!("Unsupported value: {}: {unknown}; {advice}", quote(shown)));
            None
        }
    }
}

fn changes(expect: &mut Fields<'_>, problems: &mut ProblemList) -> Option<Vec<(String, Value)>> {
    let at = expect.at("changes");
    let fields = match expect.value("changes")? {
        Value::Object(fields) => fields,
        _ => {
            let text = "must be a map of fields and their new values, such as spec.domains[0]: acme.com";
            problems.add(&at, format!("Invalid value: {text}"));
            return None;
        }
    };
    limit(&at, fields.len(), problems)?;
    for field in fields.keys() {
        is_field(&format!("{at}.{field}"), field, problems);
    }
    Some(fields.iter().map(|(field, value)| (field.clone(), value.clone())).collect())
}

/// Reports a field that no finding and no change can have, because it is misspelled.
fn is_field(at: &str, field: &str, problems: &mut ProblemList) {
    let below = ROOTS.iter().find_map(|root| field.strip_prefix(root));
    if !below.is_some_and(|below| below.is_empty() || below.starts_with(['.', '['])) {
        problems.invalid(at, field, "must be a field as messages show it, such as spec.domains[0]");
    }
}
