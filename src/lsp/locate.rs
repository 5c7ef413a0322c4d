//! Finds the place of the cursor in a text that may be half typed, so that it need not be readable.

use crm_manifest::Syntax;

use super::cursor::Cursor;
use super::{blocks, flow};

/// The place of a byte in a text; `None` where nothing can be completed, such as in a block of text.
pub(super) fn at(text: &str, byte: usize, syntax: Syntax) -> Option<Cursor> {
    let (before, after) = text.split_at_checked(byte)?;
    if syntax == Syntax::Json {
        return flow::at(text, 0, byte, true);
    }
    // A line that starts with dashes separates documents.
    let is_separator = |line: &str| line.starts_with("---");
    let mut start = 0;
    let mut at = 0;
    for line in before.split_inclusive('\n') {
        at += line.len();
        if is_separator(line) {
            start = at.min(byte);
        }
    }
    let mut end = byte;
    for (index, line) in after.split_inclusive('\n').enumerate() {
        if index > 0 && is_separator(line) {
            break;
        }
        end += line.len();
    }
    let document = text.get(start..end)?;
    let mut cursor = if document.trim_start().starts_with('{') {
        flow::at(document, 0, byte - start, false)?
    } else {
        blocks::at(document, byte - start)?
    };
    cursor.bytes = cursor.bytes.start + start..cursor.bytes.end + start;
    Some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::cursor::Slot;

    #[test]
    fn a_document_among_others_is_read_alone() {
        let text = "kind: Note\n---\nkind: Person\nspec:\n  \n---\nkind: Company\n";
        let byte = text.find("  \n").unwrap() + 2;
        let cursor = at(text, byte, Syntax::Yaml).unwrap();
        assert_eq!((cursor.slot, cursor.object["kind"].as_str()), (Slot::Key, "Person"));
        assert_eq!(cursor.bytes, byte..byte);
        assert!(at(text, text.len() + 1, Syntax::Yaml).is_none());
    }

    #[test]
    fn yaml_may_look_like_json() {
        let text = "---\n{kind: Note, spec: {}}\n";
        let byte = text.find("{}").unwrap() + 1;
        let cursor = at(text, byte, Syntax::Yaml).unwrap();
        assert_eq!((cursor.object["kind"].as_str(), cursor.bytes), ("Note", byte..byte));
    }
}
