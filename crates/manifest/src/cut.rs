//! Cuts a text into documents where kubectl does, before it parses any of them.

use std::ops::Range;

use crate::fault::Fault;
use crate::text::YAML_BREAKS;

/// What a line between two documents starts with.
pub(crate) const SEPARATOR: &str = "---";
/// The error about text that kubectl cuts off with a separator.
const LEFT_OUT: &str = "kubectl leaves out the text from here to the next line feed, as a part of the line of ---: end that \
                        line with a line feed";
/// The number of bytes in which kubectl looks for the bracket that JSON starts with.
const LOOK_AHEAD: usize = 4096;

/// The text of one document, before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part<'t> {
    /// Its first byte.
    pub(crate) start: usize,
    pub(crate) text: &'t str,
    /// The bytes of the comment on the separator before it, which kubectl cuts off.
    pub(crate) comment: Option<Range<usize>>,
}

/// Cuts YAML. Returns the parts, and the lines that look like separators but are none. `base` is added to every place.
///
/// A separator at the start of a part belongs to it. So do directives, which leads nowhere.
pub(crate) fn parts(text: &str, base: usize) -> (Vec<Part<'_>>, Vec<Fault>) {
    let mut parts = Vec::new();
    let mut faults = Vec::new();
    let mut start = 0;
    let mut is_kept = true;
    let mut comment = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(after) = line.strip_prefix(SEPARATOR) {
            let content = after.trim_start();
            let is_separator = content.is_empty() || content.starts_with('#');
            if !is_separator {
                let at = base + at + line.len() - content.len();
                let message = "only a comment may follow --- on its line".to_owned();
                faults.push(Fault { at, message });
            }
            if !is_separator || at > start {
                faults.extend(left_out(content).filter(|_| is_separator).map(|behind| Fault {
                    at: base + at + line.len() - content.len() + behind,
                    message: LEFT_OUT.to_owned(),
                }));
                parts.extend(part(text, start..at, base, comment.take()).filter(|_| is_kept));
                start = at + line.len();
                is_kept = is_separator;
                let hash = start - content.len();
                comment =
                    content.starts_with('#').then(|| base + hash..base + hash + content.trim_end().len());
            }
        }
        at += line.len();
    }
    parts.extend(part(text, start..text.len(), base, comment).filter(|_| is_kept));
    (parts, faults)
}

/// The first byte of a comment and what follows it that is behind the comment for YAML, in which more than a line feed ends a
/// line. kubectl cuts it off with the comment.
fn left_out(content: &str) -> Option<usize> {
    let mut start = 0;
    for line in content.split_inclusive(|c| c == '\r' || YAML_BREAKS.contains(&c)) {
        let text = line.trim_start();
        if !text.is_empty() && !text.starts_with('#') {
            return Some(start + line.len() - text.len());
        }
        start += line.len();
    }
    None
}

fn part(text: &str, bytes: Range<usize>, base: usize, comment: Option<Range<usize>>) -> Option<Part<'_>> {
    Some(Part { start: base + bytes.start, text: text.get(bytes)?, comment })
}

/// Whether kubectl tries to read a text as JSON first.
pub(crate) fn starts_like_json(text: &str) -> bool {
    let content = text.trim_start();
    content.starts_with('{') && text.len() - content.len() < LOOK_AHEAD
}

/// The byte from which kubectl reads YAML after the end of the last JSON value; `None` if it does not.
///
/// It steps over white space up to the end of the line, four bytes at a time.
pub(crate) fn yaml_after_json(text: &str, mut at: usize) -> Option<usize> {
    while at + 4 <= text.len() {
        match text.get(at..)?.chars().next()? {
            char::REPLACEMENT_CHARACTER => return None,
            '\n' => return Some(at + 1),
            c if c.is_whitespace() => at += c.len_utf8(),
            _ => return Some(at),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        parts(text, 0).0.into_iter().map(|part| part.text).collect()
    }

    #[test]
    fn a_part_has_the_comment_of_the_separator_before_it() {
        let text = "a\n---  # é  \r\nb\n---\n--- # in the part\nc\n---\nd\n--- #";
        let (parts, _) = parts(text, 10);
        let comments = parts.into_iter().map(|part| part.comment.map(|at| &text[at.start - 10..at.end - 10]));
        assert_eq!(comments.collect::<Vec<_>>(), [None, Some("# é"), None, None, Some("#")]);
    }

    #[test]
    fn a_line_of_dashes_separates_unless_nothing_is_before_it() {
        assert_eq!(cut("a\n---\nb\n--- # c\nd"), ["a\n", "b\n", "d"]);
        assert_eq!(cut("---\na\n"), ["---\na\n"]);
        assert_eq!(cut("a\n---\n---\nb\n"), ["a\n", "---\nb\n"]);
        assert_eq!(cut("a: |\n  ---\n---\u{a0}\r\nb\n"), ["a: |\n  ---\n", "b\n"]);
    }

    #[test]
    fn what_follows_the_dashes_on_their_line_is_an_error_and_the_others_are_cut() {
        let text = "a\n---  {b: 1}\nc: 1\n---\nd\n";
        let (parts, faults) = parts(text, 10);
        let parts: Vec<_> = parts.iter().map(|part| (part.start, part.text)).collect();
        assert_eq!(parts, [(10, "a\n"), (33, "d\n")]);
        assert_eq!(faults.iter().map(|fault| fault.at).collect::<Vec<_>>(), [17]);
        assert_eq!(super::parts("a\n----\nb\n", 0).1.len(), 1);
    }

    #[test]
    fn yaml_starts_after_the_line_of_the_last_json_value() {
        assert_eq!(yaml_after_json("{}\n---\n", 2), Some(3));
        assert_eq!(yaml_after_json("{} # c\n", 2), Some(3));
        assert_eq!(yaml_after_json("{} #", 2), None);
        assert!(starts_like_json(" \n\u{a0}{"));
        assert!(!starts_like_json(&format!("{}{{", " ".repeat(4096))));
    }
}
