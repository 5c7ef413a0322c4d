//! Writes a string as a scalar, in the style of the scalar that it replaces.

use serde_json::{Value, json};

use super::splice::Splice;
use crate::compose::{self, Composed};
use crate::scalar::{self, Resolved};
use crate::tree::{Content, Layout, Node, Style};

/// The splice that changes a scalar to `value`.
pub(super) fn rewrite(text: &str, node: &Node, value: &str, layout: Layout) -> Option<Splice> {
    let Content::Scalar { value: Value::String(old), style } = &node.content else {
        return None;
    };
    let written = text.get(node.range.clone())?;
    let new = match style {
        Style::Plain => literal(value, layout),
        Style::SingleQuoted | Style::DoubleQuoted | Style::Json => {
            trimmed(written, value, *style).or_else(|| quoted(value, *style))?
        }
        Style::Block => block(written, old, value)?,
    };
    Some(Splice::new(node.range.clone(), new))
}

/// The shortest form of a string: plain if possible.
pub fn literal(value: &str, layout: Layout) -> String {
    if is_plain(value, layout) {
        return value.to_owned();
    }
    let single = format!("'{}'", value.replace('\'', "''"));
    if !value.contains(must_be_escaped) && reads_as(&single, value) { single } else { double_quoted(value) }
}

/// Whether a string outside of brackets needs no quotes.
pub(crate) fn is_plain_in_block(value: &str) -> bool {
    is_plain(value, Layout::Block)
}

/// Whether every reader reads the plain string as itself.
fn is_plain(value: &str, layout: Layout) -> bool {
    const INDICATORS: &str = "-?:,[]{}#&*!|>'\"%@`=<";
    let has_structure = value.contains(": ")
        || value.contains(" #")
        || value.ends_with(':')
        || (layout == Layout::Flow && value.contains([',', '[', ']', '{', '}']));
    !value.starts_with(|first| INDICATORS.contains(first))
        && !value.contains(must_be_escaped)
        && !has_structure
        && value.trim() == value
        && scalar::plain(value) == Resolved::Text(value.to_owned())
        && match layout {
            Layout::Block => reads_as(value, value),
            Layout::Flow => reads_as(&format!("[{value}]"), value),
        }
}

/// Whether a character is not printable, or breaks a line.
fn must_be_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether a scalar, or a list with only this scalar, has the value `value`.
fn reads_as(written: &str, value: &str) -> bool {
    let Ok(Composed { tree: Some(tree), .. }) = compose::compose(&format!("k: {written}\n"), 0) else {
        return false;
    };
    let read = tree.value(tree.root);
    read == json!({ "k": value }) || read == json!({ "k": [value] })
}

/// The quoted string without white space at its ends, if that is the whole change. So its escapes and line breaks stay as
/// they are.
fn trimmed(written: &str, value: &str, style: Style) -> Option<String> {
    let mark = written.chars().next()?;
    let inner = written.strip_prefix(mark)?.strip_suffix(mark)?.trim();
    let trimmed = format!("{mark}{inner}{mark}");
    let means_value = match style {
        Style::Json => serde_json::from_str(&trimmed).is_ok_and(|read: String| read == value),
        _ => reads_as(&trimmed, value),
    };
    means_value.then_some(trimmed)
}

fn quoted(value: &str, style: Style) -> Option<String> {
    match style {
        Style::SingleQuoted if !value.contains(must_be_escaped) => {
            Some(format!("'{}'", value.replace('\'', "''")))
        }
        Style::Json => serde_json::to_string(value).ok(),
        _ => Some(double_quoted(value)),
    }
}

fn double_quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // All of these have four digits.
            c if must_be_escaped(c) => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A block scalar with the same header and indentation.
///
/// By default the text of a block ends with a line break. If the new string does not, the header gets `-`.
fn block(written: &str, old: &str, value: &str) -> Option<String> {
    let header = written.split_inclusive('\n').next()?;
    let content = written.get(header.len()..)?;
    if value.contains(['\r', '\n']) || header.len() == written.len() {
        return None;
    }
    let indentation = leading_spaces(content).checked_sub(leading_spaces(old))?;
    let header = if old.ends_with('\n') { stripped(header) } else { header.to_owned() };
    Some(format!("{header}{}{value}", " ".repeat(indentation)))
}

/// The number of spaces at the start of the first line that is not blank.
fn leading_spaces(text: &str) -> usize {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.len() - line.trim_start_matches(' ').len()
}

/// The header of a block with the indicator `-`, which removes the last line break.
fn stripped(header: &str) -> String {
    let (indicators, rest) = header.split_at(header.find(char::is_whitespace).unwrap_or(header.len()));
    let indicators =
        if indicators.contains('+') { indicators.replace('+', "-") } else { format!("{indicators}-") };
    indicators + rest
}
