//! An audit as SARIF 2.1.0. Stored records are not in files, so they have only logical locations.

use std::collections::BTreeMap;

use serde_json::json;
use serde_sarif::sarif::{
    Invocation, Location, LogicalLocation, Message, Notification, PropertyBag, Result as Finding, Run, Sarif,
    Tool,
};

use super::{Entry, Shelf, Totals, more};
use crate::check::report::pretty;
use crate::check::report::sarif::{FINGERPRINT, SCHEMA, driver, level, rule_index};

pub(super) fn render(shelf: &Shelf, totals: &Totals) -> String {
    let rules = || shelf.by_rule(&totals.tally);
    let results: Vec<Finding> = rules().flat_map(|(_, entries, _)| entries.iter().map(result)).collect();
    let unlisted: Vec<Notification> = rules()
        .filter(|(_, entries, all)| more(entries, *all) > 0)
        .map(|(rule, entries, all)| {
            let more = more(entries, all);
            let text = format!("{more} more findings of {rule} are not listed; --format json lists all");
            Notification::builder()
                .level(json!("note"))
                .message(Message::builder().text(text).build())
                .build()
        })
        .collect();
    let invocation =
        Invocation::builder().execution_successful(true).tool_execution_notifications(unlisted).build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver()).build())
        .invocations(vec![invocation])
        .column_kind(json!("unicodeCodePoints"))
        .results(results)
        .build();
    pretty(&Sarif::builder().schema(SCHEMA).version(json!("2.1.0")).runs(vec![run]).build())
}

fn result(entry: &Entry) -> Finding {
    let name = format!("{}/{}/{}", entry.kind.as_str(), entry.name, entry.field);
    let logical = LogicalLocation::builder().fully_qualified_name(name.clone()).kind("object").build();
    let location = Location::builder().logical_locations(vec![logical]).build();
    let fingerprint = format!("{}#stored#{name}", entry.rule_and_code());
    let properties = BTreeMap::from([
        ("action".to_owned(), json!(entry.action.as_str())),
        ("code".to_owned(), json!(entry.code)),
        ("field".to_owned(), json!(entry.field)),
        ("kind".to_owned(), json!(entry.kind.as_str())),
        ("name".to_owned(), json!(entry.name)),
    ]);
    Finding::builder()
        .rule_id(entry.rule.as_str())
        .rule_index(rule_index(entry.rule))
        .level(level(entry.action))
        .message(Message::builder().text(entry.message.clone()).build())
        .locations(vec![location])
        .partial_fingerprints(BTreeMap::from([(FINGERPRINT.to_owned(), fingerprint)]))
        .properties(PropertyBag::builder().additional_properties(properties).build())
        .build()
}
