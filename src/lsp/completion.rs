//! What can be typed at the cursor: fields, values of fields and labels, and names of objects.

use std::collections::BTreeMap;

use crm_check::check::Workspace;
use crm_core::api::{self, CrmKind};
use crm_core::links::{Link, ReferenceTarget};
use crm_manifest::edit::literal;
use crm_manifest::{Layout, Step, Text};
use gen_lsp_types::{CompletionItem, CompletionItemKind, CompletionList, Documentation, TextEdit};
use serde_json::Value;

use super::cursor::{Cursor, Slot, object_depth};
use super::fields::{Fields, type_name};
use super::positions::Encoding;

/// The maximum number of proposals. More are there when more is typed.
const MOST: usize = 500;

/// One proposal.
struct Proposal {
    text: String,
    kind: CompletionItemKind,
    detail: Option<String>,
    documentation: Option<String>,
    /// What follows a key.
    suffix: &'static str,
}

/// The proposals at a place.
pub(super) fn at(
    text: &Text,
    cursor: &Cursor,
    fields: &Fields,
    workspace: &Workspace,
    encoding: Encoding,
) -> CompletionList {
    let typed = text.as_str().get(cursor.bytes.clone()).unwrap_or_default().to_lowercase();
    let mut proposals = proposals(cursor, fields, workspace);
    let is_incomplete = proposals.len() > MOST;
    if is_incomplete {
        proposals.retain(|proposal| proposal.text.to_lowercase().contains(&typed));
        proposals.truncate(MOST);
    }
    let range = encoding.range(text, &cursor.bytes);
    let item = |proposal: Proposal| CompletionItem {
        text_edit: Some(TextEdit { range, new_text: proposal.written(cursor) }.into()),
        label: proposal.text,
        kind: Some(proposal.kind),
        detail: proposal.detail,
        documentation: proposal.documentation.map(Documentation::String),
        ..CompletionItem::default()
    };
    CompletionList {
        is_incomplete,
        items: proposals.into_iter().map(item).collect(),
        ..CompletionList::default()
    }
}

fn proposals(cursor: &Cursor, fields: &Fields, workspace: &Workspace) -> Vec<Proposal> {
    let path = cursor.path.get(object_depth(&cursor.path)..).unwrap_or_default();
    let version = cursor.object.get("apiVersion").map_or("", |version| version);
    let written = version.split('/').next().unwrap_or_default();
    let group = if written == api::MILO_NOTES_GROUP { api::MILO_NOTES_GROUP } else { api::GROUP };
    let is_other = !group.starts_with(written);
    if is_other && !path.iter().any(|step| *step == Step::Name("apiVersion".to_owned())) {
        return Vec::new();
    }
    let known = cursor.object.get("kind").and_then(|kind| CrmKind::of(group, api::VERSION, kind));
    match (known, path) {
        (_, [Step::Name(name)]) if cursor.slot == Slot::Value && (name == "kind" || name == "apiVersion") => {
            heads(name, group)
        }
        (Some(kind), path) => of_kind(kind, path, cursor, fields, workspace),
        // What all kinds have in common.
        (None, []) if cursor.slot == Slot::Key => keys(CrmKind::Company, &[], cursor, fields),
        (None, _) => Vec::new(),
    }
}

/// The values of `apiVersion` and `kind`.
fn heads(name: &str, group: &str) -> Vec<Proposal> {
    let value = |text: &str| Proposal::value(text.to_owned(), None);
    if name == "kind" {
        let kinds = CrmKind::ALL.into_iter().filter(|kind| kind.group() == group);
        kinds.map(|kind| value(kind.as_str())).collect()
    } else {
        vec![value(&format!("{}/{}", api::GROUP, api::VERSION))]
    }
}

fn of_kind(
    kind: CrmKind,
    path: &[Step],
    cursor: &Cursor,
    fields: &Fields,
    workspace: &Workspace,
) -> Vec<Proposal> {
    let names: Vec<&str> = path
        .iter()
        .map(|step| match step {
            Step::Name(name) => name.as_str(),
            Step::Index(_) => "",
        })
        .collect();
    match (cursor.slot, names.as_slice()) {
        (Slot::Key, ["metadata", "labels"]) => label_keys(kind, cursor, workspace),
        (Slot::Value, ["metadata", "labels", key]) => {
            let rules =
                workspace.policy().labels.iter().filter(|rule| rule.key == *key && rule.applies_to(kind));
            rules.flat_map(|rule| &rule.allowed).map(|value| Proposal::value(value.clone(), None)).collect()
        }
        (Slot::Key, _) => keys(kind, path, cursor, fields),
        (Slot::Value, ["spec", field, part]) | (Slot::Value, ["spec", field, "", part])
            if Link::of(kind).any(|link| link.field == *field) =>
        {
            let link = Link::of(kind).find(|link| link.field == *field);
            let references = link.map(|link| of_reference(link, part, cursor, workspace)).unwrap_or_default();
            if references.is_empty() { values(kind, path, fields) } else { references }
        }
        (Slot::Value, _) => values(kind, path, fields),
    }
}

/// The fields of a map that are not there yet.
fn keys(kind: CrmKind, path: &[Step], cursor: &Cursor, fields: &Fields) -> Vec<Proposal> {
    let required = fields.at(kind, path).map(|schema| schema["required"].clone()).unwrap_or_default();
    let missing = fields.below(kind, path).filter(|(name, _)| !cursor.siblings.contains_key(*name));
    let proposal = |(name, schema): (&str, &Value)| {
        let is_required = required.as_array().is_some_and(|required| required.iter().any(|key| key == name));
        let required = if is_required { ", required" } else { "" };
        let is_scalar = !matches!(schema["type"].as_str(), Some("object" | "array"));
        Proposal {
            text: name.to_owned(),
            kind: CompletionItemKind::Field,
            detail: Some(format!("{}{required}", type_name(schema))),
            documentation: schema["description"].as_str().map(str::to_owned),
            suffix: if is_scalar { ": " } else { ":" },
        }
    };
    missing.map(proposal).collect()
}

fn label_keys(kind: CrmKind, cursor: &Cursor, workspace: &Workspace) -> Vec<Proposal> {
    let rules = workspace.policy().labels.iter().filter(|rule| rule.applies_to(kind));
    let missing = rules.filter(|rule| !cursor.siblings.contains_key(&rule.key));
    let proposal = |key: &str, allowed: &[String]| Proposal {
        text: key.to_owned(),
        kind: CompletionItemKind::Field,
        detail: Some(format!("one of {}", allowed.join(", "))),
        documentation: None,
        suffix: ": ",
    };
    missing.map(|rule| proposal(&rule.key, &rule.allowed)).collect()
}

/// The values that the schema lists.
fn values(kind: CrmKind, path: &[Step], fields: &Fields) -> Vec<Proposal> {
    let Some(schema) = fields.at(kind, path) else {
        return Vec::new();
    };
    let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let truths: &[&str] = if schema["type"] == "boolean" { &["true", "false"] } else { &[] };
    let mut proposals: Vec<Proposal> = listed.map(|value| Proposal::value(value.to_owned(), None)).collect();
    proposals.extend(truths.iter().map(|value| Proposal {
        kind: CompletionItemKind::Keyword,
        ..Proposal::value((*value).to_owned(), None)
    }));
    proposals
}

/// The values of a part of a reference: names of objects that exist, and kinds that the policy accepts.
fn of_reference(link: Link, part: &str, cursor: &Cursor, workspace: &Workspace) -> Vec<Proposal> {
    let kinds = link.to.kinds(&workspace.policy().references);
    let given = |key: &str| cursor.siblings.get(key).filter(|value| !value.is_empty());
    let is_subject = link.to == ReferenceTarget::Subject;
    match part {
        "name" => {
            let fits = |kind: &str| !is_subject || given("kind").is_none_or(|given| given == kind);
            let mut names: BTreeMap<String, Option<String>> = BTreeMap::new();
            for kind in kinds.iter().filter(|kind| fits(&kind.kind)) {
                names.extend(workspace.names(&kind.group, &kind.kind));
            }
            names.into_iter().map(|(name, title)| Proposal::value(name, title)).collect()
        }
        "kind" if is_subject => {
            kinds.iter().map(|kind| Proposal::value(kind.kind.clone(), Some(kind.group.clone()))).collect()
        }
        "apiGroup" if is_subject => {
            let fits = |kind: &str| given("kind").is_none_or(|given| given == kind);
            let groups: BTreeMap<&str, &str> = kinds
                .iter()
                .filter(|kind| fits(&kind.kind))
                .map(|kind| (kind.group.as_str(), kind.kind.as_str()))
                .collect();
            groups.into_keys().map(|group| Proposal::value(group.to_owned(), None)).collect()
        }
        _ => Vec::new(),
    }
}

impl Proposal {
    fn value(text: String, detail: Option<String>) -> Self {
        Self { text, kind: CompletionItemKind::Value, detail, documentation: None, suffix: "" }
    }

    /// The proposal as it must be written at the cursor.
    fn written(&self, cursor: &Cursor) -> String {
        let style = cursor.style;
        let suffix = if style.has_colon || self.suffix.is_empty() {
            ""
        } else if style.is_flow {
            ": "
        } else {
            self.suffix
        };
        let space = if style.needs_space { " " } else { "" };
        let is_string = self.kind != CompletionItemKind::Keyword;
        if style.is_quoted {
            // The key may have its closing quote already, which the suffix would come before.
            return self.text.clone();
        }
        let written = match (style.is_json && is_string, is_string, style.is_flow) {
            (true, ..) => Value::from(self.text.as_str()).to_string(),
            (false, false, _) => self.text.clone(),
            (false, true, true) => literal(&self.text, Layout::Flow),
            (false, true, false) => literal(&self.text, Layout::Block),
        };
        format!("{space}{written}{suffix}")
    }
}
