//! Knows which files have diagnostics in the editor, so that those of a file that is gone disappear.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gen_lsp_types::{Diagnostic, PublishDiagnosticsParams};

use super::documents::Documents;

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
        let (uri, version) = documents.identity(path);
        let had_some =
            if diagnostics.is_empty() { self.0.remove(path) } else { !self.0.insert(path.to_owned()) };
        if diagnostics.is_empty() && !had_some && version.is_none() {
            return None;
        }
        Some(PublishDiagnosticsParams { uri: uri.into(), version, diagnostics })
    }

    /// The files with diagnostics.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().cloned().collect()
    }
}
