//! Diagnostics for clients that ask for them, and which results they have.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use gen_lsp_types::Diagnostic;
use serde::Serialize;

/// The answer about one file.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Report {
    /// All its diagnostics.
    Full {
        /// Names this result in the next question.
        result_id: String,
        /// The diagnostics.
        items: Vec<Diagnostic>,
    },
    /// The client has them.
    Unchanged {
        /// The name of the result that it has.
        result_id: String,
    },
}

/// One file in the answer about all.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) uri: String,
    /// That of an open document; null for a file.
    pub(super) version: Option<i32>,
    #[serde(flatten)]
    pub(super) report: Report,
}

/// The results that the client has.
#[derive(Debug, Default)]
pub(super) struct Pulled {
    /// Their names, by the file.
    known: BTreeMap<PathBuf, String>,
    /// Whether the client has asked about all files.
    pub(super) is_everything: bool,
}

impl Pulled {
    /// The answer about a file. `previous` is the name of the result that the client has.
    pub(super) fn report(&mut self, path: &Path, items: Vec<Diagnostic>, previous: Option<&str>) -> Report {
        let result_id = id(&items);
        self.known.insert(path.to_owned(), result_id.clone());
        if previous == Some(result_id.as_str()) {
            Report::Unchanged { result_id }
        } else {
            Report::Full { result_id, items }
        }
    }

    /// Whether the client has another result for a file, or would have one.
    pub(super) fn is_outdated(&self, path: &Path, items: &[Diagnostic]) -> bool {
        match self.known.get(path) {
            Some(known) => *known != id(items),
            None => self.is_everything && !items.is_empty(),
        }
    }

    /// The files of which the client has results.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.known.keys().cloned()
    }
}

/// The name of a result: equal for equal diagnostics.
fn id(items: &[Diagnostic]) -> String {
    let mut hasher = DefaultHasher::new();
    items.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn diagnostics(message: &str) -> Vec<Diagnostic> {
        vec![Diagnostic { message: message.to_owned().into(), ..Diagnostic::default() }]
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let (mut pulled, path) = (Pulled::default(), Path::new("/a.yaml"));
        let Report::Full { result_id, items } = pulled.report(path, diagnostics("a"), None) else { panic!() };
        assert_eq!(items, diagnostics("a"));
        let unchanged = Report::Unchanged { result_id: result_id.clone() };
        assert_eq!(pulled.report(path, diagnostics("a"), Some(&result_id)), unchanged);
        assert!(!pulled.is_outdated(path, &diagnostics("a")) && pulled.is_outdated(path, &diagnostics("b")));
        let other = pulled.report(path, diagnostics("b"), Some(&result_id));
        assert!(matches!(&other, Report::Full { items, .. } if *items == diagnostics("b")), "{other:?}");
    }

    #[test]
    fn files_that_nobody_has_asked_about_matter_only_if_all_are_asked_for() {
        let mut pulled = Pulled::default();
        assert!(!pulled.is_outdated(Path::new("/a.yaml"), &diagnostics("a")));
        pulled.is_everything = true;
        assert!(pulled.is_outdated(Path::new("/a.yaml"), &diagnostics("a")));
        assert!(!pulled.is_outdated(Path::new("/a.yaml"), &[]));
    }

    #[test]
    fn reports_are_written_as_the_protocol_has_them() {
        let report = Report::Full { result_id: "1".to_owned(), items: Vec::new() };
        let item = Item { uri: "file:///a.yaml".to_owned(), version: None, report };
        let expected =
            json!({"uri": "file:///a.yaml", "version": null, "kind": "full", "resultId": "1", "items": []});
        assert_eq!(serde_json::to_value(item).unwrap(), expected);
        let unchanged = Report::Unchanged { result_id: "1".to_owned() };
        assert_eq!(serde_json::to_value(unchanged).unwrap(), json!({"kind": "unchanged", "resultId": "1"}));
    }
}
