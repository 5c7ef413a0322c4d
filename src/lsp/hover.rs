//! What the editor shows about the place under the pointer: the field, and the rules that have findings there.

use crm_check::check::{Checked, Workspace};
use crm_check::conformance::Identity;
use crm_core::api::CrmKind;
use crm_core::catalog::{self, ReportedRule, SUPPRESSION};
use crm_manifest::{Input, Pointed, Step};
use serde_json::Value;

use super::diagnostics;
use super::fields::{Fields, type_name};

/// The text in Markdown and the bytes that it is about; `None` if there is nothing to say.
pub(super) fn at(
    input: &Input,
    checked: Option<&Checked>,
    is_touched: bool,
    byte: usize,
    fields: &Fields,
    workspace: &Workspace,
) -> Option<(String, std::ops::Range<usize>)> {
    let pointed = input.documents().iter().find_map(|document| {
        let pointed = document.tree.pointed(byte)?;
        Some((document.tree.value(document.tree.root), pointed))
    });
    let mut parts = Vec::new();
    let mut bytes = byte..byte;
    if let Some((document, pointed)) = &pointed {
        bytes = pointed.bytes.clone();
        parts.extend(field(document, pointed, fields, workspace));
    }
    let findings =
        checked.into_iter().flat_map(|checked| diagnostics::shown(input.text(), checked, is_touched));
    for marked in findings.filter(|marked| marked.bytes.start <= byte && byte <= marked.bytes.end) {
        bytes = marked.bytes.clone();
        let section = section(&marked.diagnostic.rule_and_code(), marked.diagnostic.rule);
        parts.extend(section.filter(|section| !parts.contains(section)));
    }
    (!parts.is_empty()).then(|| (parts.join("\n\n---\n\n"), bytes))
}

fn field(document: &Value, pointed: &Pointed, fields: &Fields, workspace: &Workspace) -> Option<String> {
    let (object, path) = object(document, &pointed.path);
    let kind = Identity::of(object).kind()?;
    let schema = fields.at(kind, path)?;
    let name = path.iter().map(step).collect::<String>();
    let mut text = format!("**{}** ({})", name.trim_start_matches('.'), type_name(schema));
    if let Some(description) = schema["description"].as_str() {
        text += &format!("\n\n{description}");
    }
    text.extend(allowed(kind, path, workspace));
    Some(text)
}

/// The object that a path of a document leads into, and the rest of the path.
fn object<'o>(document: &'o Value, path: &'o [Step]) -> (&'o Value, &'o [Step]) {
    match path {
        [Step::Name(items), Step::Index(index), rest @ ..]
            if items == "items" && document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) =>
        {
            (&document["items"][*index], rest)
        }
        path => (document, path),
    }
}

fn step(step: &Step) -> String {
    match step {
        Step::Name(name) if name.contains(['.', '/']) => format!("[{name}]"),
        Step::Name(name) => format!(".{name}"),
        Step::Index(index) => format!("[{index}]"),
    }
}

/// The values that the policy allows for a label.
fn allowed(kind: CrmKind, path: &[Step], workspace: &Workspace) -> Option<String> {
    let [Step::Name(metadata), Step::Name(labels), Step::Name(key)] = path else {
        return None;
    };
    if metadata != "metadata" || labels != "labels" {
        return None;
    }
    let rule = workspace.policy().labels.iter().find(|rule| rule.key == *key && rule.applies_to(kind))?;
    Some(format!("\n\nThe policy allows {}.", rule.allowed.join(", ")))
}

fn section(id: &str, rule: ReportedRule) -> Option<String> {
    match rule {
        ReportedRule::Suppression => Some(SUPPRESSION.section()),
        // A code that the catalogue does not list is about a file alone.
        ReportedRule::Rule(rule) => Some(
            catalog::find(id).map_or_else(|_| rule.rule().section(None), |(rule, code)| rule.section(code)),
        ),
    }
}
