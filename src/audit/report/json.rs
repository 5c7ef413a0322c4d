//! An audit as one JSON object, for programs. Each finding is written at once, so none is kept in memory.

use std::io::{self, Write};

use crm_check::report::{self, Diagnostic};
use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};
use crm_core::comparison::Difference;
use serde_json::{Value, json};

use super::{Contradicted, Totals};

/// The list of findings, while it is written.
#[derive(Debug, Default)]
pub(super) struct List {
    written: u64,
}

impl List {
    pub(super) fn add(&mut self, out: &mut impl Write, finding: &Diagnostic) -> io::Result<()> {
        out.write_all(if self.written == 0 { b"{\"findings\": [\n" } else { b",\n" })?;
        self.written += 1;
        out.write_all(b"  ")?;
        serde_json::to_writer(out, &report::json::finding(finding)).map_err(io::Error::from)
    }

    pub(super) fn finish(self, out: &mut impl Write, totals: &Totals) -> io::Result<()> {
        out.write_all(if self.written == 0 { b"{\"findings\": [" } else { b"\n" })?;
        let not_fixed: Vec<Value> = totals
            .not_fixed
            .iter()
            .map(|not| json!({"kind": not.kind.label(), "name": not.name, "message": not.reason}))
            .collect();
        let contradicted: Vec<Value> = totals.contradicted.iter().map(contradicted).collect();
        let (not_fixed, contradicted) = (Value::from(not_fixed), Value::from(contradicted));
        writeln!(out, "],\n\"notFixed\": {not_fixed},\n\"contradictedConditions\": {contradicted},")?;
        writeln!(out, "\"summary\": {}}}", summary(totals))
    }
}

fn contradicted(record: &Contradicted) -> Value {
    let Contradicted { kind, name, condition, found } = record;
    json!({
        "kind": kind.as_str(), "name": name, "condition": condition.status, "conditionReason": condition.reason,
        "audit": found.status(), "reason": found.reason(),
    })
}

/// The summary.
pub(super) fn summary(totals: &Totals) -> Value {
    let tally = &totals.tally;
    let rule = |kind: CrmKind, rule: RuleId| {
        let findings = tally.of(kind, rule);
        let dangling = tally.dangling.get(&(kind, rule)).copied().unwrap_or_default();
        let line = json!({
            "kind": kind.label(), "rule": rule.as_str(), "findings": findings, "danglingReferences": dangling,
        });
        (findings > 0).then_some(line)
    };
    let all = CrmKind::ALL.into_iter().flat_map(|kind| RuleId::ALL.into_iter().map(move |rule| (kind, rule)));
    let different = |difference| totals.in_force.as_ref().map(|_| tally.differences.of(difference));
    json!({
        "policy": totals.policy,
        "policyInForce": totals.in_force,
        "records": tally.records,
        "refused": tally.denied,
        "newlyRefused": different(Difference::NewlyDenied),
        "noLongerRefused": different(Difference::NoLongerDenied),
        "newlyWarned": different(Difference::NewlyWarned),
        "deny": tally.count(Action::Deny),
        "warn": tally.count(Action::Warn),
        "audit": tally.count(Action::Audit),
        "notCanonical": tally.not_canonical,
        "danglingReferences": tally.all_dangling(),
        "unresolvedReferences": tally.unresolved,
        "fixed": totals.fixed,
        "recordsFixed": totals.records_fixed,
        "notFixed": totals.all_not_fixed,
        "contradictedConditions": totals.all_contradicted,
        "rules": all.filter_map(|(kind, id)| rule(kind, id)).collect::<Vec<_>>(),
    })
}
