//! Shows a change of a file as a unified diff for `git apply` and `patch -p1`.

use std::ops::Range;

use similar::{ChangeTag, DiffOp, DiffTag, TextDiff};

/// The number of unchanged lines around each change.
const CONTEXT: usize = 3;

/// The change of one file, with git's prefixes `a/` and `b/` before its name. Empty if nothing changed.
///
/// Only a line feed ends a line, as for git and patch: a lone carriage return is part of its line.
pub fn unified_diff(name: &str, before: &str, after: &str) -> String {
    let name = name.trim_start_matches('/');
    let [old, new] = [before, after].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
    let mut unified = String::new();
    for hunk in diff.grouped_ops(CONTEXT) {
        if unified.is_empty() {
            unified = format!("--- {}\n+++ {}\n", quoted(&format!("a/{name}")), quoted(&format!("b/{name}")));
        }
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let range = |of: fn(&DiffOp) -> std::ops::Range<usize>| of(first).start..of(last).end;
        let (old, new) = (range(DiffOp::old_range), range(DiffOp::new_range));
        unified += &format!("@@ -{} +{} @@\n", place(&old), place(&new));
        for change in hunk.iter().flat_map(|op| diff.iter_changes(op)) {
            unified.push(match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            });
            unified.push_str(change.value());
            if !change.value().ends_with('\n') {
                unified.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    unified
}

/// The parts of a text to replace so that it becomes another one, in order: of each changed line only what differs.
pub fn replacements(before: &str, after: &str) -> Vec<(Range<usize>, String)> {
    let [old, new] = [before, after].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let starts = |lines: &[&str]| {
        let mut at = 0;
        let mut starts = vec![0];
        starts.extend(lines.iter().map(|line| {
            at += line.len();
            at
        }));
        starts
    };
    let (old_starts, new_starts) = (starts(&old), starts(&new));
    let bytes = |starts: &[usize], lines: Range<usize>| -> Option<Range<usize>> {
        Some(*starts.get(lines.start)?..*starts.get(lines.end)?)
    };
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
    let changed = diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal);
    let replacement = |(old, new): (Range<usize>, Range<usize>)| {
        let range = bytes(&old_starts, old)?;
        let text = after.get(bytes(&new_starts, new)?)?;
        Some(narrowed(before, range, text))
    };
    changed.flat_map(line_by_line).filter_map(replacement).collect()
}

/// The lines of a change in pairs, and what one side has more.
fn line_by_line(op: &DiffOp) -> Vec<(Range<usize>, Range<usize>)> {
    let (old, new) = (op.old_range(), op.new_range());
    let one = |line: usize| line..line + 1;
    let mut pairs: Vec<_> = old.clone().map(one).zip(new.clone().map(one)).collect();
    if old.len() != new.len() {
        pairs.push((old.start + pairs.len()..old.end, new.start + pairs.len()..new.end));
    }
    pairs
}

/// A replacement without what both texts start and end with.
fn narrowed(before: &str, range: Range<usize>, text: &str) -> (Range<usize>, String) {
    let old = before.get(range.clone()).unwrap_or_default();
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let length = |pair: (char, char)| pair.0.len_utf8();
    let start: usize = old.chars().zip(text.chars()).take_while(same).map(length).sum();
    let (old, new) = (old.get(start..).unwrap_or_default(), text.get(start..).unwrap_or_default());
    let end: usize = old.chars().rev().zip(new.chars().rev()).take_while(same).map(length).sum();
    let text = new.get(..new.len() - end).unwrap_or_default();
    (range.start + start..range.end - end, text.to_owned())
}

/// The lines of a hunk: the first, from 1, and their number if it is not 1.
fn place(lines: &std::ops::Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        number => format!("{},{number}", lines.start + 1),
    }
}

/// The name of a file as git writes it: in quotes if it contains control characters or quotes, and with a tab after it if
/// it contains spaces, which tells patch where it ends.
fn quoted(name: &str) -> String {
    let must_be_escaped = |c: char| c.is_control() || matches!(c, '"' | '\\');
    if !name.contains(must_be_escaped) {
        return if name.contains(' ') { format!("{name}\t") } else { name.to_owned() };
    }
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                let octal = c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:03o}"));
                quoted.extend(octal);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{replacements, unified_diff};

    #[test]
    fn replacements_hold_only_what_differs() {
        let before = "a: ONE # é\r\nb: 2\nc: 3\nd: 4";
        let after = "a: one # é\r\nc: 3\nx\nd: 5";
        let parts = replacements(before, after);
        let mut text = before.to_owned();
        for (range, new) in parts.iter().rev() {
            text.replace_range(range.clone(), new);
        }
        assert_eq!(text, after);
        assert_eq!(parts[0], (3..6, "one".to_owned()));
        assert!(parts.iter().all(|(range, new)| range.len() + new.len() < 8), "{parts:?}");
        assert_eq!(replacements(before, before), []);
    }

    #[test]
    fn a_change_is_shown_with_its_context() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n";
        assert_eq!(
            unified_diff("x/a.yaml", before, &before.replace("5\n", "five\n")),
            "--- a/x/a.yaml\n+++ b/x/a.yaml\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        );
        assert_eq!(unified_diff("a.yaml", before, before), "");
        assert!(
            unified_diff("/tmp/a.yaml", "1\n", "2\n").starts_with("--- a/tmp/a.yaml\n+++ b/tmp/a.yaml\n")
        );
    }

    #[test]
    fn a_name_cannot_break_its_line() {
        let diff = unified_diff("a\n+++ b/\"x\u{1b}\\é.yaml", "1\n", "2\n");
        let (headers, _) = diff.split_once("@@").unwrap();
        let name = "a\\n+++ b/\\\"x\\033\\\\é.yaml";
        assert_eq!(headers, format!("--- \"a/{name}\"\n+++ \"b/{name}\"\n"));
    }

    #[test]
    fn line_ends_and_a_missing_last_one_are_kept() {
        assert_eq!(
            unified_diff("a", "1\r\n2", "1\r\n3"),
            "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n 1\r\n-2\n\\ No newline at end of file\n+3\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn a_lone_carriage_return_does_not_end_a_line() {
        assert_eq!(
            unified_diff("a", "1\r2\n3\r", "1\r4\n3\r"),
            "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-1\r2\n+1\r4\n 3\r\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn a_name_with_spaces_ends_with_a_tab() {
        let diff = unified_diff("a b.yaml", "1\n", "2\n");
        assert!(diff.starts_with("--- a/a b.yaml\t\n+++ b/a b.yaml\t\n@@ -1 +1 @@\n"), "{diff:?}");
    }

    #[test]
    fn a_line_can_be_added_to_nothing() {
        assert_eq!(unified_diff("a", "", "1\n"), "--- a/a\n+++ b/a\n@@ -0,0 +1 @@\n+1\n");
    }
}
