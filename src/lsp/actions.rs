//! Quick fixes: the edits of `--fix`, what was probably meant, and a comment that suppresses a finding.

use std::ops::Range as Bytes;
use std::path::Path;

use crm_check::check::{Checked, Marked, Workspace};
use crm_manifest::edit::Edited;
use crm_manifest::{Input, replacements};
use gen_lsp_types::{
    CodeAction, CodeActionKind, OptionalVersionedTextDocumentIdentifier, TextDocumentEdit,
    TextDocumentIdentifier, TextEdit, WorkspaceEdit,
};

use super::diagnostics;
use super::documents::Document;
use super::positions::Encoding;

/// What the actions of one document are about.
pub(super) struct Subject<'s> {
    pub(super) path: &'s Path,
    pub(super) workspace: &'s Workspace,
    pub(super) checked: &'s Checked,
    pub(super) document: &'s Document,
    pub(super) encoding: Encoding,
    /// Whether edits name the version of the document.
    pub(super) is_versioned: bool,
}

impl Subject<'_> {
    /// The actions for the selected bytes, of the kinds in `only` if there are any.
    pub(super) fn actions(
        &self,
        selected: &Bytes<usize>,
        only: Option<&[CodeActionKind]>,
    ) -> Vec<CodeAction> {
        let Some(input) = self.workspace.input(self.path) else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        let shown = diagnostics::shown(input.text(), self.checked, self.document.is_touched());
        let here =
            |marked: &&Marked| marked.bytes.start <= selected.end && selected.start <= marked.bytes.end;
        for marked in shown.filter(here) {
            actions.extend(self.of_finding(input, marked));
        }
        if let Some(fixed) = self.workspace.fixed(self.path, None) {
            let title = match fixed.count {
                1 => "Fix the value in this file".to_owned(),
                count => format!("Fix all {count} values in this file"),
            };
            if fixed.count > 1 && !actions.is_empty() {
                actions.push(self.action(input, title.clone(), CodeActionKind::QuickFix, &fixed));
            }
            actions.push(self.action(input, title, CodeActionKind::SourceFixAll, &fixed));
        }
        actions.retain(|action| only.is_none_or(|only| only.iter().any(|kind| includes(kind, action))));
        actions
    }

    fn of_finding(&self, input: &Input, marked: &Marked) -> Vec<CodeAction> {
        let diagnostic = diagnostics::of_finding(input.text(), marked, self.encoding);
        let quick_fix = |title: String, edited: &Edited, is_preferred: bool| CodeAction {
            diagnostics: Some(vec![diagnostic.clone()]),
            is_preferred: is_preferred.then_some(true),
            ..self.action(input, title, CodeActionKind::QuickFix, edited)
        };
        let mut actions = Vec::new();
        let fixed = self.workspace.fixed(self.path, Some(marked));
        let suggested = self.workspace.suggested(self.path, marked);
        if let Some(edited) = &fixed {
            let change = described(input.text().as_str(), edited, &marked.bytes);
            actions.push(quick_fix(change, edited, true));
        }
        if let (Some(edited), Some(meant)) = (&suggested, &marked.suggestion) {
            actions.push(quick_fix(format!("Change to {meant:?}"), edited, fixed.is_none()));
        }
        if let Some(edited) = &self.workspace.suppressed(self.path, marked) {
            let title = format!("Ignore {} here, with a reason", marked.diagnostic.rule_and_code());
            actions.push(quick_fix(title, edited, false));
        }
        actions
    }

    fn action(&self, input: &Input, title: String, kind: CodeActionKind, edited: &Edited) -> CodeAction {
        let edit = Some(self.edit(input, &edited.text));
        CodeAction { title, kind: Some(kind), edit, ..CodeAction::default() }
    }

    fn edit(&self, input: &Input, after: &str) -> WorkspaceEdit {
        let text = input.text();
        let parts = replacements(text.as_str(), after).into_iter();
        let edits = parts.map(|(bytes, new_text)| {
            let range = self.encoding.range(text, &bytes);
            TextEdit { range, new_text }
        });
        let uri = gen_lsp_types::Uri::from(self.document.uri.clone());
        if !self.is_versioned {
            let changes = [(uri, edits.collect())].into_iter().collect();
            return WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() };
        }
        let text_document = OptionalVersionedTextDocumentIdentifier {
            version: Some(self.document.version),
            text_document_identifier: TextDocumentIdentifier { uri },
        };
        let edit = TextDocumentEdit { text_document, edits: edits.map(Into::into).collect() };
        WorkspaceEdit { document_changes: Some(vec![edit.into()]), ..WorkspaceEdit::default() }
    }
}

/// Whether a kind in `only` asks for an action: `source` asks for `source.fixAll`, too.
fn includes(kind: &CodeActionKind, action: &CodeAction) -> bool {
    let (wanted, own) = (kind.to_string(), action.kind.as_ref().map(ToString::to_string).unwrap_or_default());
    own.strip_prefix(&wanted)
        .is_some_and(|rest| rest.is_empty() || wanted.is_empty() || rest.starts_with('.'))
}

/// What a fix does, in a few words.
fn described(before: &str, edited: &Edited, value: &Bytes<usize>) -> String {
    if edited.text.len() + value.len() <= before.len() {
        return "Remove the duplicate".to_owned();
    }
    // Outside of the value nothing changes, so it ends as far from the end of the text as before.
    let end = edited.text.len() - (before.len() - value.end.min(before.len()));
    match edited.text.get(value.start..end) {
        Some(new) if !new.contains('\n') => format!("Change to {new}"),
        _ => "Fix the value".to_owned(),
    }
}
