//! An audit for people: the findings by rule, and a summary.

use anstyle::Style;
use crm_check::report::Colour;
use crm_check::report::text::word;
use crm_core::catalog::Action;
use crm_core::characters::printable;
use crm_core::counted::{counted, number};

use super::super::compliance::COMPLIANT;
use super::{Contradicted, Shelf, Totals, unlisted};

pub(super) fn render(shelf: &Shelf, totals: &Totals, colour: Colour) -> String {
    findings(shelf, totals, colour) + &summary(totals)
}

/// The report without its summary.
pub(super) fn findings(shelf: &Shelf, totals: &Totals, colour: Colour) -> String {
    let mut text = String::new();
    for (rule, listed, all) in shelf.by_rule(&totals.tally) {
        let heading = colour.paint(Style::new().bold(), rule.as_str());
        text += &format!("{heading}: {}\n", counted(all, "finding", "findings"));
        for finding in listed {
            let (record, word) = (finding.object(), word(finding.action, colour));
            let (field, message) = (printable(&finding.field), printable(&finding.message));
            text += &format!("  {record}: {word} {field}: {message}\n");
        }
        match unlisted(listed, all) {
            0 => {}
            more => text += &format!("  and {} more; --format json lists all\n", number(more)),
        }
        text.push('\n');
    }
    text + &not_fixed(totals) + &contradicted(totals)
}

/// The records whose condition says something else.
fn contradicted(totals: &Totals) -> String {
    if totals.all_contradicted == 0 {
        return String::new();
    }
    let count = counted(totals.all_contradicted, "record says", "records say");
    let mut text = format!("condition {COMPLIANT}: {count} something else than this audit\n");
    for Contradicted { kind, name, condition, found } in &totals.contradicted {
        let (name, status) = (printable(name), printable(&condition.status));
        let reason = printable(&condition.reason);
        text += &format!(
            "  {}/{name}: the condition is {status} ({reason}), the audit finds {} ({})\n",
            kind.as_str(),
            found.status(),
            found.reason()
        );
    }
    match totals.all_contradicted.saturating_sub(totals.contradicted.len() as u64) {
        0 => {}
        more => text += &format!("  and {} more\n", number(more)),
    }
    text.push('\n');
    text
}

fn not_fixed(totals: &Totals) -> String {
    if totals.all_not_fixed == 0 {
        return String::new();
    }
    let mut text = format!("not fixed: {}\n", counted(totals.all_not_fixed, "record is", "records are"));
    for not in &totals.not_fixed {
        text += &format!("  {}/{}: {}\n", not.kind.label(), printable(&not.name), printable(&not.reason));
    }
    match totals.all_not_fixed.saturating_sub(totals.not_fixed.len() as u64) {
        0 => {}
        more => text += &format!("  and {} more\n", number(more)),
    }
    text.push('\n');
    text
}

/// The summary, in one or two sentences.
pub(super) fn summary(totals: &Totals) -> String {
    let tally = &totals.tally;
    let mut parts = Vec::new();
    for (count, one, many) in [
        (
            tally.denied,
            "would be denied if it were written today",
            "would be denied if they were written today",
        ),
        (tally.count(Action::Warn), "warning", "warnings"),
        (tally.count(Action::Audit), "finding that is only recorded", "findings that are only recorded"),
        (tally.not_canonical, "value is not canonical", "values are not canonical"),
        (tally.all_dangling(), "reference to a missing object", "references to missing objects"),
        (tally.unresolved, "reference could not be looked up", "references could not be looked up"),
        (totals.fixed, "value fixed", "values fixed"),
    ] {
        if count > 0 {
            parts.push(counted(count, one, many));
        }
    }
    let found = if parts.is_empty() { "no findings".to_owned() } else { parts.join(", ") };
    let records = counted(tally.records, "record", "records");
    let mut text = format!("{records} audited, policy {}: {found}.\n", printable(&totals.policy));
    if let Some(in_force) = &totals.in_force {
        text +=
            &format!("Compared with {}, which is in force: {}.\n", printable(in_force), tally.differences);
    }
    text
}
