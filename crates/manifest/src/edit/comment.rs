//! Adds a comment to a value.

use super::change::Edited;
use super::verify::{has_values, values};
use crate::documents::Syntax;
use crate::files::Input;
use crate::text::Text;

/// The input with a comment for the line of a byte: alone on the line before it, with the same indentation, or at the
/// end of the first line of a document, because a comment before it would belong to the whole document. `None` if no
/// comment fits, such as in JSON or in the middle of a string.
pub fn comment(input: &Input, document: usize, at: usize, comment: &str) -> Option<Edited> {
    if input.syntax == Syntax::Json {
        return None;
    }
    let text = input.text();
    let tree = &input.documents().get(document)?.tree;
    let root = tree.node(tree.root).range.start;
    // kubectl tries to read it as JSON.
    if text.as_str().get(root..)?.starts_with('{') {
        return None;
    }
    let (start, end) = (text.line_start(at), text.line_end(at));
    let line = text.as_str().get(start..end)?;
    let content = line.trim_end_matches(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']);
    let is_first = root >= start;
    let (place, added) = if is_first {
        (start + content.trim_end().len(), format!(" {}", comment.trim_end()))
    } else {
        let indentation = &content[..content.len() - content.trim_start_matches(' ').len()];
        let line_break = if line.len() > content.len() { &line[content.len()..] } else { "\n" };
        (start, format!("{indentation}{comment}{line_break}"))
    };
    let (before, after) = text.as_str().split_at_checked(place)?;
    let text = Text::new(format!("{before}{added}{after}"));
    has_values(input, &text, &values(input)).then(|| Edited { text: text.into_string(), count: 1 })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn commented(name: &str, text: &str, needle: &str) -> Option<String> {
        let input = Input::new(Path::new(name), text.to_owned());
        let edited = comment(&input, 0, text.find(needle).unwrap(), "# why: ")?;
        Some(edited.text)
    }

    #[test]
    fn a_comment_is_alone_on_the_line_before_the_value() {
        let text = "a: 1\r\nb:\r\n  c: 2\r\n";
        assert_eq!(commented("a.yaml", text, "2").unwrap(), "a: 1\r\nb:\r\n  # why: \r\n  c: 2\r\n");
        assert_eq!(commented("a.yaml", "a: 1\nl:\n- x", "x").unwrap(), "a: 1\nl:\n# why: \n- x");
    }

    #[test]
    fn a_comment_is_behind_the_first_key_of_a_document() {
        assert_eq!(commented("a.yaml", "---\na: 1\nb: 2\n", "1").unwrap(), "---\na: 1 # why:\nb: 2\n");
    }

    #[test]
    fn no_comment_fits_into_json_and_strings() {
        assert_eq!(commented("a.json", "{\n\"a\": 1\n}", "1"), None);
        assert_eq!(commented("a.yaml", "b: 1\na: \"x\n  y\"\n", "y"), None);
        assert_eq!(commented("a.yaml", "{\n\"a\": 1\n}\n", "1"), None);
    }
}
