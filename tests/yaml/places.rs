//! Checks that every value is where its tree says it is.

use std::ops::Range;
use std::path::Path;

use crm_manifest::{Content, Entry, Input, Layout, Node, NodeId, Style, Tree};
use serde_json::Value;

/// The white space of YAML.
const WHITE_SPACE: [char; 7] = [' ', '\t', '\r', '\n', '\u{85}', '\u{2028}', '\u{2029}'];

/// The first value that is not where its tree says it is.
pub(crate) fn misplaced(text: &str) -> Option<String> {
    let input = Input::new(Path::new("a.yaml"), text.to_owned());
    input
        .documents()
        .iter()
        .find_map(|document| Walk { text, tree: &document.tree }.visit(document.tree.root))
}

struct Walk<'t> {
    text: &'t str,
    tree: &'t Tree,
}

impl Walk<'_> {
    fn visit(&self, id: NodeId) -> Option<String> {
        let node = self.tree.node(id);
        let Some(written) = self.text.get(node.range.clone()) else {
            return Some(format!("{:?} is no part of the text", node.range));
        };
        if !is_like(node, written) {
            return Some(format!("{written:?} is no {:?}", node.content));
        }
        let inner: Vec<NodeId> = match &node.content {
            Content::Scalar { .. } | Content::Alias(_) => Vec::new(),
            Content::Sequence { entries, .. } => entries.clone(),
            Content::Mapping { entries, .. } => {
                if let Some(problem) = entries.iter().find_map(|entry| self.misplaced_key(&node.range, entry))
                {
                    return Some(problem);
                }
                entries.iter().map(|entry| entry.value).collect()
            }
        };
        inner.into_iter().find_map(|id| {
            let range = &self.tree.node(id).range;
            if !range.is_empty() && !contains(&node.range, range) {
                return Some(format!("{range:?} is not in {:?}", node.range));
            }
            self.visit(id)
        })
    }

    fn misplaced_key(&self, map: &Range<usize>, Entry { key, key_range, .. }: &Entry) -> Option<String> {
        let written = self.text.get(key_range.clone()).unwrap_or_default();
        let is_there = contains(map, key_range) && (key.is_empty() || !written.is_empty());
        (!is_there).then(|| format!("{written:?} is not the key {key:?}"))
    }
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn is_like(node: &Node, written: &str) -> bool {
    let is_between =
        |open: char, close: char| written.len() > 1 && written.starts_with(open) && written.ends_with(close);
    match &node.content {
        Content::Scalar { value, style: Style::Plain } => is_like_plain(value, written),
        Content::Scalar { style: Style::SingleQuoted, .. } => is_between('\'', '\''),
        Content::Scalar { style: Style::DoubleQuoted, .. } => is_between('"', '"'),
        Content::Scalar { style: Style::Block, .. } => {
            written.starts_with(['|', '>']) && !written.ends_with(['\r', '\n'])
        }
        Content::Scalar { value, style: Style::Json } => {
            value.is_number() || serde_json::from_str::<Value>(written).is_ok_and(|read| read == *value)
        }
        Content::Sequence { layout: Layout::Flow, .. } => is_between('[', ']'),
        Content::Mapping { layout: Layout::Flow, .. } => is_between('{', '}'),
        Content::Sequence { layout: Layout::Block, .. } => written.starts_with('-'),
        Content::Mapping { layout: Layout::Block, .. } => !written.is_empty(),
        Content::Alias(_) => written.starts_with('*'),
    }
}

fn is_like_plain(value: &Value, written: &str) -> bool {
    match value {
        // Line breaks are folded, and the tag `!!binary` decodes the text.
        Value::String(value) => value == written || written.trim_matches(WHITE_SPACE) == written,
        _ => !written.contains(char::is_whitespace),
    }
}
