//! The documents that are open in the editor, whose text counts instead of the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crm_manifest::Text;
use gen_lsp_types::{TextDocumentContentChangeEvent, TextDocumentItem};

use super::positions::Encoding;
use super::uris;

/// The open documents, by path.
#[derive(Debug, Default)]
pub(super) struct Documents(BTreeMap<PathBuf, Document>);

/// An open document.
#[derive(Debug)]
pub(super) struct Document {
    /// As the client writes it.
    pub(super) uri: String,
    pub(super) version: i32,
    text: String,
    /// The text that was last opened or saved.
    settled: String,
    /// Whether the text has changed since it was taken.
    is_new: bool,
}

impl Documents {
    pub(super) fn open(&mut self, item: TextDocumentItem) -> PathBuf {
        let TextDocumentItem { uri, version, text, .. } = item;
        let path = uris::path(&uri.0);
        let document = Document { uri: uri.0, version, settled: text.clone(), text, is_new: true };
        self.0.insert(path.clone(), document);
        path
    }

    /// Applies changes, in order. Those of a document that is not open are ignored.
    pub(super) fn change(
        &mut self,
        path: &Path,
        version: i32,
        changes: Vec<TextDocumentContentChangeEvent>,
        encoding: Encoding,
    ) {
        let Some(document) = self.0.get_mut(path) else { return };
        for change in changes {
            document.apply(change, encoding);
        }
        (document.version, document.is_new) = (version, true);
    }

    /// Notes that the text was saved.
    pub(super) fn save(&mut self, path: &Path) {
        if let Some(document) = self.0.get_mut(path) {
            document.settled.clone_from(&document.text);
        }
    }

    /// Whether the document was open.
    pub(super) fn close(&mut self, path: &Path) -> bool {
        self.0.remove(path).is_some()
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Document> {
        self.0.get(path)
    }

    /// How the client names a file, and its version if it is open.
    pub(super) fn identity(&self, path: &Path) -> (String, Option<i32>) {
        match self.get(path) {
            Some(document) => (document.uri.clone(), Some(document.version)),
            None => (uris::uri(path), None),
        }
    }

    /// Every open document with its text.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.0.iter().map(|(path, document)| (path.as_path(), document.text.as_str()))
    }

    /// The texts that are new since the last call.
    pub(super) fn take_new(&mut self) -> Vec<(PathBuf, String)> {
        let taken = |(path, document): (&PathBuf, &mut Document)| {
            std::mem::take(&mut document.is_new).then(|| (path.clone(), document.text.clone()))
        };
        self.0.iter_mut().filter_map(taken).collect()
    }
}

impl Document {
    /// Whether somebody is editing it: its text is neither what was opened nor what was saved.
    pub(super) fn is_touched(&self) -> bool {
        self.text != self.settled
    }

    fn apply(&mut self, change: TextDocumentContentChangeEvent, encoding: Encoding) {
        match change {
            TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(whole) => {
                self.text = whole.text;
            }
            TextDocumentContentChangeEvent::TextDocumentContentChangePartial(part) => {
                let text = Text::new(std::mem::take(&mut self.text));
                let [start, end] = [part.range.start, part.range.end].map(|at| encoding.byte(&text, at));
                self.text = text.into_string();
                self.text.replace_range(start..end.max(start), &part.text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(text: &str, changes: serde_json::Value, encoding: Encoding) -> String {
        let item = json!({"uri": "file:///a.yaml", "languageId": "yaml", "version": 1, "text": text});
        let mut documents = Documents::default();
        let path = documents.open(serde_json::from_value(item).unwrap());
        documents.change(&path, 2, serde_json::from_value(changes).unwrap(), encoding);
        let document = documents.get(&path).unwrap();
        assert_eq!((document.version, document.is_touched()), (2, document.text != text));
        document.text.clone()
    }

    fn part(from: (u32, u32), to: (u32, u32), text: &str) -> serde_json::Value {
        let position = |(line, character)| json!({"line": line, "character": character});
        json!({"range": {"start": position(from), "end": position(to)}, "text": text})
    }

    #[test]
    fn changes_are_applied_one_after_the_other() {
        let changes =
            json!([part((1, 3), (1, 4), "two"), part((0, 0), (0, 0), "# x\n"), part((2, 6), (3, 0), "")]);
        assert_eq!(changed("a: 1\r\nb: 2\r\nc: 3\n", changes, Encoding::Utf16), "# x\na: 1\r\nb: twoc: 3\n");
        assert_eq!(changed("a: 1\n", json!([{"text": "b"}]), Encoding::Utf16), "b");
    }

    #[test]
    fn positions_count_in_the_negotiated_unit() {
        let text = "😀é: x\n";
        assert_eq!(changed(text, json!([part((0, 5), (0, 6), "y")]), Encoding::Utf16), "😀é: y\n");
        assert_eq!(changed(text, json!([part((0, 8), (0, 9), "y")]), Encoding::Utf8), "😀é: y\n");
    }

    #[test]
    fn a_range_out_of_the_text_or_backwards_does_no_harm() {
        assert_eq!(changed("a\n", json!([part((9, 9), (9, 9), "b")]), Encoding::Utf16), "a\nb");
        assert_eq!(changed("ab\n", json!([part((0, 2), (0, 1), "c")]), Encoding::Utf16), "abc\n");
    }

    #[test]
    fn a_saved_text_is_not_touched() {
        let item = json!({"uri": "file:///a.yaml", "languageId": "yaml", "version": 1, "text": "a"});
        let mut documents = Documents::default();
        let path = documents.open(serde_json::from_value(item).unwrap());
        documents.change(&path, 2, serde_json::from_value(json!([{"text": "b"}])).unwrap(), Encoding::Utf16);
        assert!(documents.get(&path).unwrap().is_touched());
        documents.save(&path);
        assert!(!documents.get(&path).unwrap().is_touched());
        assert_eq!(documents.take_new(), [(path, "b".to_owned())]);
        assert!(documents.take_new().is_empty());
    }
}
