//! The place of the cursor in YAML that is structured by indentation.

use crm_manifest::Step;

use super::cursor::{Cursor, Scalars, Slot, Style, object_depth};
use super::flow;

/// A line with content.
#[derive(Clone, Copy, Debug)]
struct Line<'t> {
    /// The columns of the dashes before the content, in bytes: the first and the last one.
    dashes: Option<(usize, usize)>,
    /// The number of dashes.
    depth: usize,
    /// The column of the content.
    column: usize,
    key: Option<&'t str>,
    /// What follows the colon after the key, or the content if it is no key.
    value: &'t str,
    /// The column of the value.
    value_column: usize,
}

/// A step towards the root, and the map in which it starts.
#[derive(Debug)]
struct Up {
    step: Step,
    line: usize,
    column: usize,
}

/// The place of a byte in a document; `None` in a block of text or a comment.
pub(super) fn at(text: &str, byte: usize) -> Option<Cursor> {
    let start = text.get(..byte)?.rfind('\n').map_or(0, |at| at + 1);
    let number = text.get(..start)?.matches('\n').count();
    let lines: Vec<Option<Line<'_>>> = text.lines().map(Line::read).collect();
    let before = text.get(start..byte)?;
    if before.trim_start().starts_with('#') || before.contains(" #") {
        return None;
    }
    let own = Line::read(before).unwrap_or(Line::blank(before));
    let mut ups = climb(&lines, number, &own)?;
    let slot = if own.key.is_some() { Slot::Value } else { Slot::Key };
    if let Some(key) = own.key {
        ups.insert(0, Up { step: Step::Name(key.to_owned()), line: number, column: own.column });
    }
    ups.reverse();
    let path: Vec<Step> = ups.iter().map(|up| up.step.clone()).collect();
    let depth = object_depth(&path);
    let root = ups.get(depth).map_or((number, own.column), |up| (up.line, up.column));
    let object = fields(&lines, root.0, root.1);
    if own.key.is_some() && own.value.starts_with(['{', '[']) {
        return between_brackets(text, start + own.value_column, byte, path, object);
    }
    let typed = start + own.value_column;
    let is_quoted = own.value.starts_with(['"', '\'']);
    let from = typed + usize::from(is_quoted);
    let after = text.get(byte..)?;
    let end = byte + after.find(|c: char| c.is_whitespace() || ":\"'".contains(c)).unwrap_or(after.len());
    let rest = text.get(end..)?;
    let style = Style {
        is_quoted,
        needs_space: own.key.is_some() && before.ends_with(':'),
        has_colon: rest.starts_with(':'),
        ..Style::default()
    };
    let siblings = fields(&lines, number, own.column);
    Some(Cursor { path, slot, bytes: from.min(byte)..end, style, siblings, object })
}

/// The place in a flow collection that starts on the same line.
fn between_brackets(
    text: &str,
    start: usize,
    byte: usize,
    path: Vec<Step>,
    object: Scalars,
) -> Option<Cursor> {
    let line_end = text.get(byte..)?.find('\n').map_or(text.len(), |end| byte + end);
    let inner = flow::at(text.get(..line_end)?, start, byte, false)?;
    Some(Cursor { path: [path, inner.path].concat(), object, ..inner })
}

/// The steps from the map or list entry at a line up to the root.
fn climb(lines: &[Option<Line<'_>>], number: usize, own: &Line<'_>) -> Option<Vec<Up>> {
    let mut ups = Vec::new();
    // What is looked for: a key to the left of this column, or at it if a list may start there.
    let mut column = own.column;
    let mut is_entry = enter(own, number, &mut ups, &mut column);
    for (at, line) in lines.iter().enumerate().take(number).rev() {
        let Some(line) = line else { continue };
        let has_dash = line.dashes.is_some();
        if !is_entry && line.column == column && has_dash {
            // The first field of a list entry.
            is_entry = enter(line, at, &mut ups, &mut column);
            continue;
        }
        let is_parent = if is_entry {
            line.column < column || (line.column == column && !has_dash)
        } else {
            line.column < column
        };
        if !is_parent {
            continue;
        }
        let key = line.key.filter(|_| line.is_open())?;
        ups.push(Up { step: Step::Name(key.to_owned()), line: at, column: line.column });
        column = line.column;
        is_entry = enter(line, at, &mut ups, &mut column);
    }
    // Above the root nothing may be to the left.
    (column == 0 || lines.iter().take(number).flatten().next().is_none_or(|first| first.column >= column))
        .then_some(ups)
}

/// Steps out of the list entries that start on a line. Returns whether there are any.
fn enter(line: &Line<'_>, at: usize, ups: &mut Vec<Up>, column: &mut usize) -> bool {
    let Some((first, _)) = line.dashes else {
        return false;
    };
    ups.extend((0..line.depth).map(|_| Up { step: Step::Index(0), line: at, column: first }));
    *column = first;
    true
}

/// The fields of the map that has a key at this column of this line.
fn fields(lines: &[Option<Line<'_>>], number: usize, column: usize) -> Scalars {
    let mut fields = Scalars::new();
    let mut add = |line: &Line<'_>| {
        if let Some(key) = line.key.filter(|_| line.column == column) {
            fields.insert(key.to_owned(), line.scalar().to_owned());
        }
    };
    let starts_entry = |line: &Line<'_>| line.dashes.is_some() && line.column == column;
    let own = lines.get(number).and_then(Option::as_ref);
    if !own.is_some_and(starts_entry) {
        for line in lines.iter().take(number).rev().flatten() {
            if line.column < column {
                break;
            }
            add(line);
            if starts_entry(line) {
                break;
            }
        }
    }
    own.into_iter().for_each(&mut add);
    for line in lines.iter().skip(number + 1).flatten() {
        if line.column < column || starts_entry(line) {
            break;
        }
        add(line);
    }
    fields
}

impl<'t> Line<'t> {
    /// `None` for a line that is empty or a comment.
    fn read(text: &'t str) -> Option<Self> {
        let mut column = text.len() - text.trim_start_matches(' ').len();
        let (mut dashes, mut depth) = (None, 0);
        loop {
            let rest = text.get(column..)?;
            let Some(after) =
                rest.strip_prefix('-').filter(|after| after.is_empty() || after.starts_with(' '))
            else {
                break;
            };
            dashes = Some((dashes.map_or(column, |(first, _)| first), column));
            depth += 1;
            column += 1 + after.len() - after.trim_start_matches(' ').len();
        }
        let content = text.get(column..)?.trim_end();
        if content.starts_with('#') || (content.is_empty() && depth == 0) {
            return None;
        }
        let (key, value_column) = match key(content) {
            Some((key, length)) => {
                let after = text.get(column + length..)?;
                (Some(key), column + length + after.len() - after.trim_start().len())
            }
            None => (None, column),
        };
        let value = text.get(value_column..).unwrap_or_default().trim_end();
        Some(Self { dashes, depth, column, key, value, value_column })
    }

    /// A line of spaces before the cursor.
    fn blank(text: &'t str) -> Self {
        let column = text.len();
        Self { dashes: None, depth: 0, column, key: None, value: "", value_column: column }
    }

    /// Whether lines below can belong to its key: it has no value, but perhaps an anchor, a tag or a comment.
    fn is_open(&self) -> bool {
        let value = self.scalar();
        value.is_empty() || value.starts_with(['&', '!'])
    }

    /// The value without quotes and comment.
    fn scalar(&self) -> &'t str {
        let value = if self.value.starts_with('#') { "" } else { self.value };
        let value = value.split(" #").next().unwrap_or_default().trim_end();
        value.trim_matches(['"', '\''])
    }
}

/// The key at the start of a content, and the bytes up to the end of its colon.
fn key(content: &str) -> Option<(&str, usize)> {
    if let Some(quote) = content.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let end = content[1..].find(quote)? + 1;
        return content[end + 1..].starts_with(':').then(|| (&content[1..end], end + 2));
    }
    if content.starts_with(['{', '[', '|', '>', '&', '*', '!']) {
        return None;
    }
    let end = content.match_indices(':').map(|(at, _)| at).find(|at| {
        let after = &content[at + 1..];
        after.is_empty() || after.starts_with([' ', '\t'])
    })?;
    Some((&content[..end], end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path, slot and token at `|` in a text.
    fn place(text: &str) -> Option<(String, Slot, String, Cursor)> {
        let byte = text.find('|').unwrap();
        let text = text.replacen('|', "", 1);
        let cursor = at(&text, byte)?;
        let path = cursor.path.iter().map(|step| match step {
            Step::Name(name) => format!(".{name}"),
            Step::Index(_) => "[]".to_owned(),
        });
        Some((path.collect(), cursor.slot, text[cursor.bytes.clone()].to_owned(), cursor))
    }

    #[track_caller]
    fn is(text: &str, path: &str, slot: Slot, token: &str) -> Cursor {
        let (found, found_slot, found_token, cursor) = place(text).unwrap();
        assert_eq!((found.as_str(), found_slot, found_token.as_str()), (path, slot, token), "{text}");
        cursor
    }

    #[test]
    fn keys_and_values_are_told_apart() {
        let cursor = is(
            "kind: Person\nspec:\n  displayName: x\n  jo|\n  companyRef:\n    name: a\n",
            ".spec",
            Slot::Key,
            "jo",
        );
        assert_eq!(cursor.siblings.keys().collect::<Vec<_>>(), ["companyRef", "displayName"]);
        assert_eq!(cursor.object["kind"], "Person");
        is("spec:\n  companyRef:\n    name: ac|me\n", ".spec.companyRef.name", Slot::Value, "acme");
        is("spec:\n  |", ".spec", Slot::Key, "");
        is("ki|", "", Slot::Key, "ki");
        is("kind: |\n", ".kind", Slot::Value, "");
        assert!(is("kind:|\n", ".kind", Slot::Value, "").style.needs_space);
        assert!(is("sp|ec: 1\n", "", Slot::Key, "spec").style.has_colon);
        assert!(is("kind: \"No|\"\n", ".kind", Slot::Value, "No").style.is_quoted);
    }

    #[test]
    fn list_entries_are_part_of_the_path() {
        is("spec:\n  domains:\n  - a.com\n  - b|\n", ".spec.domains[]", Slot::Key, "b");
        is("spec:\n  domains:\n    - |\n", ".spec.domains[]", Slot::Key, "");
        let text = "spec:\n  contactRefs:\n  - name: a\n    na|\n  - name: b\n    type: email\n";
        let cursor = is(text, ".spec.contactRefs[]", Slot::Key, "na");
        assert_eq!(cursor.siblings.keys().collect::<Vec<_>>(), ["name"]);
        is("spec:\n  contactRefs:\n  - ty|\n    name: a\n", ".spec.contactRefs[]", Slot::Key, "ty");
    }

    #[test]
    fn an_item_of_a_list_is_an_object() {
        let text = "kind: List\nitems:\n- kind: Note\n  spec:\n    co|\n- kind: Person\n";
        let cursor = is(text, ".items[].spec", Slot::Key, "co");
        assert_eq!(cursor.object["kind"], "Note");
    }

    #[test]
    fn brackets_may_start_on_the_line() {
        let text = "kind: Person\nspec:\n  companyRef: {name: ac|}\n";
        let cursor = is(text, ".spec.companyRef.name", Slot::Value, "ac");
        assert_eq!(cursor.object["kind"], "Person");
        is("spec:\n  companyRef: {|\n  x: 1\n", ".spec.companyRef", Slot::Key, "");
        is("spec: {companyRef: {na|", ".spec.companyRef", Slot::Key, "na");
    }

    #[test]
    fn text_and_comments_are_not_completed() {
        assert!(place("spec:\n  content: >-\n    some te|\n").is_none());
        assert!(place("spec:\n  # na|\n").is_none());
        assert!(place("spec:\n  name: a # b|\n").is_none());
        assert!(place("spec: x\n  na|\n").is_none());
    }

    #[test]
    fn lines_deeper_and_empty_ones_are_skipped() {
        let text = "spec:\n  companyRef: # who\n    name: a\n\n# x\n  us|\n";
        is(text, ".spec", Slot::Key, "us");
        is("spec: &anchor\n  us|\n", ".spec", Slot::Key, "us");
    }
}
