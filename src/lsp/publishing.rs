//! Knows which files have diagnostics in the editor, so that those of a file that is gone disappear.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gen_lsp_types::{Diagnostic, PublishDiagnosticsParams};

use super::documents::Documents;
use super::uris;

/// The files that have diagnostics in the editor.
#[derive(Debug, Default)]
pub(super) struct Published(BTreeSet<PathBuf>);

impl Published {
    /// The message about a file; `None` if it would change nothing. An open document always gets one, so that the client
    /// knows that this version is judged.
    pub(super) fn message(
        &mut self,
        path: &Path,
        diagnostics: Vec<Diagnostic>,
        documents: &Documents,
    ) -> Option<PublishDiagnosticsParams> {
        let document = documents.get(path);
        let had_some =
            if diagnostics.is_empty() { self.0.remove(path) } else { !self.0.insert(path.to_owned()) };
        if diagnostics.is_empty() && !had_some && document.is_none() {
            return None;
        }
        let uri = document.map_or_else(|| uris::uri(path), |document| document.uri.clone());
        let version = document.map(|document| document.version);
        Some(PublishDiagnosticsParams { uri: uri.into(), version, diagnostics })
    }

    /// The files with diagnostics.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().cloned().collect()
    }
}
