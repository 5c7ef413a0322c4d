//! What the client says about itself, and what the server can do.

use std::path::PathBuf;

use crm_manifest::{EXTENSIONS, KUSTOMIZATIONS};
use gen_lsp_types::{
    CodeActionKind, CodeActionOptions, CompletionOptions, DiagnosticOptions, InitializeResult, SaveOptions,
    ServerCapabilities, ServerInfo, TextDocumentSyncKind, TextDocumentSyncOptions,
    WorkspaceFoldersServerCapabilities, WorkspaceOptions,
};
use serde_json::{Value, json};

use super::positions::Encoding;
use super::uris;

/// The name of the server.
const NAME: &str = "crm-admission";

/// What matters of the parameters of `initialize`. They are read one by one, because a client that describes itself in
/// an unknown way elsewhere can be served all the same.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) encoding: Encoding,
    /// The roots of its folders.
    pub(super) folders: Vec<PathBuf>,
    /// Whether edits can name the version of their document.
    pub(super) has_versioned_edits: bool,
    /// Whether it can watch files for us.
    pub(super) can_watch: bool,
    /// Whether it asks for diagnostics. Then none are sent without being asked.
    pub(super) pulls: bool,
    /// Whether it asks again if it is told to.
    pub(super) can_refresh: bool,
}

impl Client {
    pub(super) fn new(params: &Value) -> Self {
        let capability = |pointer: &str| params["capabilities"].pointer(pointer);
        let is = |pointer: &str| capability(pointer) == Some(&Value::Bool(true));
        let offered = capability("/general/positionEncodings").and_then(Value::as_array);
        let offered: Vec<&str> = offered.into_iter().flatten().filter_map(Value::as_str).collect();
        let folders = params["workspaceFolders"].as_array().into_iter().flatten();
        let mut folders: Vec<PathBuf> =
            folders.filter_map(|folder| folder["uri"].as_str()).map(uris::path).collect();
        if folders.is_empty() {
            let root = params["rootUri"].as_str().map(uris::path);
            folders.extend(root.or_else(|| params["rootPath"].as_str().map(PathBuf::from)));
        }
        Self {
            encoding: Encoding::negotiated(&offered),
            folders,
            has_versioned_edits: is("/workspace/workspaceEdit/documentChanges"),
            can_watch: is("/workspace/didChangeWatchedFiles/dynamicRegistration"),
            pulls: capability("/textDocument/diagnostic").is_some_and(Value::is_object),
            can_refresh: is("/workspace/diagnostics/refreshSupport"),
        }
    }
}

/// The answer to `initialize` of this client.
pub(super) fn server(client: &Client) -> InitializeResult {
    let sync = TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(TextDocumentSyncKind::Incremental),
        save: Some(SaveOptions { include_text: Some(false) }.into()),
        ..TextDocumentSyncOptions::default()
    };
    let actions = CodeActionOptions {
        code_action_kinds: Some(vec![CodeActionKind::QuickFix, CodeActionKind::SourceFixAll]),
        ..CodeActionOptions::default()
    };
    let completion = CompletionOptions {
        trigger_characters: Some([":", " ", "\"", "-"].map(str::to_owned).to_vec()),
        ..CompletionOptions::default()
    };
    let folders =
        WorkspaceFoldersServerCapabilities { supported: Some(true), change_notifications: Some(true.into()) };
    let workspace = WorkspaceOptions { workspace_folders: Some(folders), ..WorkspaceOptions::default() };
    let diagnostics = DiagnosticOptions {
        identifier: Some(NAME.to_owned()),
        inter_file_dependencies: true,
        workspace_diagnostics: true,
        ..DiagnosticOptions::default()
    };
    InitializeResult {
        capabilities: ServerCapabilities {
            position_encoding: Some(client.encoding.kind()),
            diagnostic_provider: client.pulls.then(|| diagnostics.into()),
            text_document_sync: Some(sync.into()),
            completion_provider: Some(completion),
            hover_provider: Some(true.into()),
            code_action_provider: Some(actions.into()),
            workspace: Some(workspace),
            ..ServerCapabilities::default()
        },
        server_info: Some(ServerInfo {
            name: NAME.to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
    }
}

/// The parameters of the request to watch files.
pub(super) fn watchers() -> Value {
    // Policies may have any name, but all are YAML or JSON.
    let without_extension = KUSTOMIZATIONS.into_iter().filter(|name| !name.contains('.')).map(str::to_owned);
    let globs = without_extension.chain([format!("*.{{{}}}", EXTENSIONS.join(","))]);
    let watchers: Vec<Value> = globs.map(|glob| json!({"globPattern": format!("**/{glob}")})).collect();
    json!({"registrations": [{
        "id": "files",
        "method": "workspace/didChangeWatchedFiles",
        "registerOptions": {"watchers": watchers},
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_the_root() {
        let params = json!({"rootUri": "file:///a", "workspaceFolders": [{"uri": "file:///b", "name": "b"}]});
        assert_eq!(Client::new(&params).folders, [PathBuf::from("/b")]);
        assert_eq!(Client::new(&json!({"rootUri": "file:///a"})).folders, [PathBuf::from("/a")]);
        assert_eq!(Client::new(&json!({"rootUri": null, "rootPath": "/c"})).folders, [PathBuf::from("/c")]);
        assert!(Client::new(&json!({})).folders.is_empty());
    }

    #[test]
    fn what_a_client_can_do_is_read_from_its_capabilities() {
        let workspace = json!({"workspaceEdit": {"documentChanges": true},
            "didChangeWatchedFiles": {"dynamicRegistration": true}});
        let general = json!({"positionEncodings": ["utf-8"]});
        let client = Client::new(&json!({"capabilities": {"workspace": workspace, "general": general}}));
        assert!(client.has_versioned_edits && client.can_watch && !client.pulls && !client.can_refresh);
        assert_eq!(client.encoding, Encoding::Utf8);
        let client = Client::new(&json!({"capabilities": []}));
        assert!(!client.has_versioned_edits && !client.can_watch);
        let pulls = json!({"textDocument": {"diagnostic": {}}, "workspace": {"diagnostics": {"refreshSupport": true}}});
        let client = Client::new(&json!({"capabilities": pulls}));
        assert!(client.pulls && client.can_refresh);
    }
}
