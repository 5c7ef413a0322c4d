//! The loop of the server: takes messages, keeps documents and folders up to date, answers, and publishes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crm_core::api::Target;
use crm_core::existence::Fact;
use gen_lsp_types::{
    CodeActionParams, CompletionParams, Contents, Diagnostic, DidChangeTextDocumentParams,
    DidChangeWatchedFilesParams, DidChangeWorkspaceFoldersParams, DidCloseTextDocumentParams,
    DidOpenTextDocumentParams, DidSaveTextDocumentParams, DocumentDiagnosticParams, FileChangeType, Hover,
    HoverParams, MarkupContent, MarkupKind, MessageType, ShowMessageParams, TextDocumentPositionParams,
    WorkspaceDiagnosticParams,
};
use jiff::Timestamp;
use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::actions::Subject;
use super::capabilities::{self, Client};
use super::documents::Documents;
use super::fields::Fields;
use super::folders::Folder;
use super::publishing::Published;
use super::pulling::{Item, Pulled};
use super::setup::{Exit, Host, LookUp, SetUp};
use super::transport::{self, Incoming, Output};
use super::{completion, diagnostics, hover, locate, uris};

/// What the loop waits for.
enum Event {
    FromClient(Incoming),
    /// The answers of a cluster about these objects.
    Answered(HashSet<Target>, Result<HashMap<Target, Fact>, String>),
}

/// How far client and server are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    ShutDown,
}

/// The answer to a request.
type Answer = Result<Value, (ErrorCode, String)>;

struct Server {
    set_up: SetUp,
    /// Where objects to look up go, if there is a cluster.
    lookups: Option<Sender<HashSet<Target>>>,
    output: Output,
    phase: Phase,
    /// Whether the client has said that it is initialized.
    is_ready: bool,
    client: Client,
    folders: Vec<Folder>,
    documents: Documents,
    published: Published,
    pulled: Pulled,
    fields: Fields,
    /// The files whose result may have changed since it was published, or since the client was told to ask again.
    changed: HashSet<PathBuf>,
    /// Whether results may have changed for another reason than a change of a text, after which a client asks again anyway.
    is_news: bool,
    /// How often the client was told to ask again.
    refreshes: usize,
    /// Whether a failed lookup was shown. Others fail for the same reason.
    has_complained: bool,
}

/// Serves one client on standard input and output until it exits.
pub fn serve(host: Host) -> Exit {
    let (sender, events) = channel();
    let lookups = host.look_up.map(|look_up| answer_lookups(look_up, sender.clone()));
    transport::listen(move |incoming| sender.send(Event::FromClient(incoming)).is_ok());
    let mut server = Server {
        set_up: host.set_up,
        lookups,
        output: Output::stdout(),
        phase: Phase::Starting,
        is_ready: false,
        client: Client::default(),
        folders: Vec::new(),
        documents: Documents::default(),
        published: Published::default(),
        pulled: Pulled::default(),
        fields: Fields::new(),
        changed: HashSet::new(),
        is_news: false,
        refreshes: 0,
        has_complained: false,
    };
    let exit = server.run(&events);
    server.output.finish();
    exit
}

/// Looks up objects on a thread of its own.
fn answer_lookups(look_up: LookUp, events: Sender<Event>) -> Sender<HashSet<Target>> {
    let (sender, questions) = channel::<HashSet<Target>>();
    thread::spawn(move || {
        while let Ok(mut targets) = questions.recv() {
            // Those that have arrived meanwhile are looked up together.
            targets.extend(questions.try_iter().flatten());
            let answers = look_up(targets.clone());
            if events.send(Event::Answered(targets, answers)).is_err() {
                return;
            }
        }
    });
    sender
}

impl Server {
    fn run(&mut self, events: &Receiver<Event>) -> Exit {
        while let Ok(first) = events.recv() {
            let mut queue: VecDeque<Event> = [first].into_iter().chain(events.try_iter()).collect();
            let cancelled = cancelled(&queue);
            while let Some(event) = queue.pop_front() {
                if let Some(exit) = self.handle(event, &cancelled) {
                    return exit;
                }
            }
            self.publish();
        }
        self.early()
    }

    /// The exit without a request for it.
    fn early(&self) -> Exit {
        if self.phase == Phase::ShutDown { Exit::Clean } else { Exit::Early }
    }

    fn handle(&mut self, event: Event, cancelled: &HashSet<RequestId>) -> Option<Exit> {
        match event {
            Event::FromClient(Incoming::Message(Message::Request(request))) => {
                let id = request.id.clone();
                let answer = if cancelled.contains(&id) {
                    Err((ErrorCode::RequestCanceled, "cancelled".to_owned()))
                } else {
                    self.answer(request)
                };
                self.respond(id, answer);
            }
            Event::FromClient(Incoming::Message(Message::Notification(notification))) => {
                if notification.method == "exit" {
                    return Some(self.early());
                }
                self.note(notification);
            }
            // The answer to a request of ours.
            Event::FromClient(Incoming::Message(Message::Response(_))) => {}
            Event::FromClient(Incoming::Malformed(problem)) => self.output.reject(&problem),
            Event::FromClient(Incoming::Closed(problem)) => {
                if let Some(problem) = problem {
                    self.output.reject(&problem);
                }
                return Some(self.early());
            }
            Event::Answered(targets, answers) => self.take(targets, answers),
        }
        None
    }

    fn respond(&self, id: RequestId, answer: Answer) {
        let response = match answer {
            Ok(result) => Response { id, response_result: Ok(result) },
            Err((code, message)) => Response::new_err(id, code as i32, message),
        };
        self.output.send(&response.into());
    }

    fn notify(&self, method: &str, params: impl Serialize) {
        if let Ok(params) = serde_json::to_value(params) {
            self.output.send(&Notification { method: method.to_owned(), params }.into());
        }
    }

    /// Shows a problem to the user.
    fn complain(&self, message: String) {
        self.notify("window/showMessage", ShowMessageParams { kind: MessageType::Error, message });
    }

    fn answer(&mut self, request: Request) -> Answer {
        let Request { method, params, .. } = request;
        match (self.phase, method.as_str()) {
            (Phase::Starting, "initialize") => Ok(self.initialize(&params)),
            (Phase::Starting, _) => {
                Err((ErrorCode::ServerNotInitialized, "initialize comes first".to_owned()))
            }
            (Phase::ShutDown, _) => Err((ErrorCode::InvalidRequest, "the server is shut down".to_owned())),
            (Phase::Running, "shutdown") => {
                self.phase = Phase::ShutDown;
                Ok(Value::Null)
            }
            (Phase::Running, "textDocument/codeAction") => self.actions(&read(params)?),
            (Phase::Running, "textDocument/completion") => self.completion(&read(params)?),
            (Phase::Running, "textDocument/diagnostic") => self.diagnostics(&read(params)?),
            (Phase::Running, "textDocument/hover") => self.hover(&read(params)?),
            (Phase::Running, "workspace/diagnostic") => self.all_diagnostics(&read(params)?),
            (Phase::Running, "initialize") => {
                Err((ErrorCode::InvalidRequest, "the server is initialized".to_owned()))
            }
            (Phase::Running, method) => Err((ErrorCode::MethodNotFound, format!("no method {method:?}"))),
        }
    }

    fn initialize(&mut self, params: &Value) -> Value {
        self.client = Client::new(params);
        self.phase = Phase::Running;
        self.folders = self.client.folders.drain(..).map(Folder::new).collect();
        if self.folders.is_empty() {
            self.folders.push(Folder::none(std::env::current_dir().unwrap_or_default()));
        }
        serde_json::to_value(capabilities::server(&self.client)).unwrap_or_default()
    }

    fn note(&mut self, notification: Notification) {
        if self.phase != Phase::Running {
            return;
        }
        let Notification { method, params } = notification;
        self.is_news |= method != "textDocument/didChange";
        let noted = match method.as_str() {
            "initialized" => {
                self.begin();
                Ok(())
            }
            "textDocument/didOpen" => read(params).map(|params| self.open(params)),
            "textDocument/didChange" => read(params).map(|params| self.change(params)),
            "textDocument/didSave" => read(params).map(|params| self.save(&params)),
            "textDocument/didClose" => read(params).map(|params| self.close(&params)),
            "workspace/didChangeWatchedFiles" => read(params).map(|params| self.watched(&params)),
            "workspace/didChangeWorkspaceFolders" => read(params).map(|params| self.change_folders(params)),
            _ => Ok(()),
        };
        if let Err((_, problem)) = noted {
            self.complain(format!("{method}: {problem}"));
        }
    }

    /// Reads the folders from now on, because the client is ready for messages.
    fn begin(&mut self) {
        if self.client.can_watch {
            let (method, id) = ("client/registerCapability".to_owned(), "watch".to_owned().into());
            self.output.send(&Request { id, method, params: capabilities::watchers() }.into());
        }
        self.is_ready = true;
    }

    fn load(&mut self, index: usize) {
        let mine: HashSet<PathBuf> = self
            .documents
            .all()
            .map(|(path, _)| path.to_owned())
            .filter(|path| self.folder_of(path) == Some(index))
            .collect();
        let Some(folder) = self.folders.get_mut(index) else { return };
        let loaded = folder.load(&self.set_up);
        folder.overlay(&self.documents, |path| mine.contains(path));
        // The files that are gone.
        self.changed.extend(self.published.paths().into_iter().chain(self.pulled.paths()));
        if let Err(problem) = loaded {
            self.complain(problem);
        }
    }

    /// The folder of a file: the innermost that has it, and otherwise the first.
    fn folder_of(&self, path: &Path) -> Option<usize> {
        let with = self.folders.iter().enumerate().filter(|(_, folder)| path.starts_with(&folder.root));
        let innermost = with.max_by_key(|(_, folder)| folder.root.components().count());
        innermost.map(|(index, _)| index).or((!self.folders.is_empty()).then_some(0))
    }

    fn folder(&self, path: &Path) -> Option<&Folder> {
        self.folders.get(self.folder_of(path)?)
    }

    fn folder_mut(&mut self, path: &Path) -> Option<&mut Folder> {
        let index = self.folder_of(path)?;
        self.folders.get_mut(index)
    }

    fn open(&mut self, params: DidOpenTextDocumentParams) {
        let path = self.documents.open(params.text_document);
        self.changed.insert(path);
    }

    fn change(&mut self, params: DidChangeTextDocumentParams) {
        let document = params.text_document;
        let path = uris::path(&document.text_document_identifier.uri.0);
        self.documents.change(&path, document.version, params.content_changes, self.client.encoding);
        self.changed.insert(path);
    }

    fn save(&mut self, params: &DidSaveTextDocumentParams) {
        let path = uris::path(&params.text_document.uri.0);
        self.documents.save(&path);
        self.folders.iter_mut().for_each(Folder::doubt);
        let is_new = self.folder(&path).is_some_and(|folder| !folder.has(&path));
        self.reload_if(|folder| folder.depends_on(&path) || (is_new && path.starts_with(&folder.root)));
        self.changed.insert(path);
    }

    fn close(&mut self, params: &DidCloseTextDocumentParams) {
        let path = uris::path(&params.text_document.uri.0);
        if self.documents.close(&path) {
            if let Some(folder) = self.folder_mut(&path) {
                folder.restore(&path);
            }
            self.changed.insert(path);
        }
    }

    fn watched(&mut self, params: &DidChangeWatchedFilesParams) {
        for event in &params.changes {
            let path = uris::path(&event.uri.0);
            let is_gone = event.kind == FileChangeType::Deleted;
            let is_new = event.kind == FileChangeType::Created;
            // A file that appears or disappears changes which files there are.
            self.reload_if(|folder| {
                let moves = if folder.has(&path) { is_gone } else { is_new };
                folder.depends_on(&path) || (moves && path.starts_with(&folder.root))
            });
            let is_closed = self.documents.get(&path).is_none();
            let folder = self.folder_mut(&path).filter(|folder| is_closed && folder.has(&path));
            folder.into_iter().for_each(|folder| folder.restore(&path));
        }
    }

    fn change_folders(&mut self, params: DidChangeWorkspaceFoldersParams) {
        let removed: Vec<PathBuf> =
            params.event.removed.iter().map(|folder| uris::path(&folder.uri.0)).collect();
        self.folders.retain(|folder| !removed.contains(&folder.root));
        let added = params.event.added.iter().map(|folder| uris::path(&folder.uri.0));
        self.folders.extend(added.map(Folder::new));
        if self.folders.is_empty() {
            self.folders.push(Folder::none(std::env::current_dir().unwrap_or_default()));
        }
        // A document may be of another folder now.
        self.reload_if(|_| true);
    }

    /// Lets folders be read anew before the next answer, once for all reasons.
    fn reload_if(&mut self, is_affected: impl Fn(&Folder) -> bool) {
        for folder in &mut self.folders {
            folder.is_stale |= is_affected(folder);
        }
    }

    /// Judges everything that has changed.
    fn settle(&mut self) {
        for index in 0..self.folders.len() {
            if self.is_ready && self.folders.get(index).is_some_and(|folder| folder.is_stale) {
                self.load(index);
            }
        }
        for (path, text) in self.documents.take_new() {
            if let Some(folder) = self.folder_mut(&path) {
                folder.set(&path, text);
            }
        }
        let now = Timestamp::now();
        for folder in &mut self.folders {
            self.changed.extend(folder.judge(now));
            let Some(lookups) = &self.lookups else { continue };
            let targets = folder.ask();
            if !targets.is_empty() {
                self.changed.extend(folder.judge(now));
                // The thread ends only with this server.
                let _ = lookups.send(targets);
            }
        }
    }

    fn take(&mut self, targets: HashSet<Target>, answers: Result<HashMap<Target, Fact>, String>) {
        let answers = answers.unwrap_or_else(|problem| {
            if !std::mem::replace(&mut self.has_complained, true) {
                self.complain(problem);
            }
            // As without a cluster.
            targets.into_iter().map(|target| (target, Fact::Unresolved { suggestion: None })).collect()
        });
        self.folders.iter_mut().for_each(|folder| folder.answer(&answers));
        self.is_news = true;
    }

    /// Judges what has changed, and lets the client know.
    fn publish(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        self.settle();
        let mut paths: Vec<PathBuf> = self.changed.drain().collect();
        let is_news = std::mem::take(&mut self.is_news);
        if self.client.pulls {
            let is_outdated = |path: &PathBuf| self.pulled.is_outdated(path, &self.found(path));
            if self.client.can_refresh && is_news && paths.iter().any(is_outdated) {
                self.refresh();
            }
            return;
        }
        paths.sort();
        for path in paths {
            let found = self.found(&path);
            if let Some(params) = self.published.message(&path, found, &self.documents) {
                self.notify("textDocument/publishDiagnostics", params);
            }
        }
    }

    /// Tells the client to ask for diagnostics again.
    fn refresh(&mut self) {
        self.refreshes += 1;
        let id = format!("refresh-{}", self.refreshes).into();
        let method = "workspace/diagnostic/refresh".to_owned();
        self.output.send(&Request { id, method, params: Value::Null }.into());
    }

    /// The diagnostics of a file; none if it does not exist or holds no records.
    fn found(&self, path: &Path) -> Vec<Diagnostic> {
        let is_touched = self.documents.get(path).is_some_and(|document| document.is_touched());
        let found = self.folder(path).and_then(|folder| {
            let input = folder.workspace()?.input(path)?;
            Some(diagnostics::of(input, folder.result(path)?, is_touched, self.client.encoding))
        });
        found.unwrap_or_default()
    }

    fn diagnostics(&mut self, params: &DocumentDiagnosticParams) -> Answer {
        self.settle();
        let path = uris::path(&params.text_document.uri.0);
        let found = self.found(&path);
        written(&self.pulled.report(&path, found, params.previous_result_id.as_deref()))
    }

    /// The diagnostics of all files that have some, or of which the client has a result.
    fn all_diagnostics(&mut self, params: &WorkspaceDiagnosticParams) -> Answer {
        self.settle();
        self.pulled.is_everything = true;
        let previous: BTreeMap<PathBuf, &str> = params
            .previous_result_ids
            .iter()
            .map(|result| (uris::path(&result.uri.0), result.value.as_str()))
            .collect();
        let judged = self.folders.iter().flat_map(Folder::judged).map(Path::to_owned);
        let paths: BTreeSet<PathBuf> = judged.chain(previous.keys().cloned()).collect();
        let mut items = Vec::new();
        for path in paths {
            let (found, previous) = (self.found(&path), previous.get(&path).copied());
            if !found.is_empty() || previous.is_some() {
                let (uri, version) = self.documents.identity(&path);
                items.push(Item { uri, version, report: self.pulled.report(&path, found, previous) });
            }
        }
        Ok(json!({"items": items}))
    }

    fn actions(&mut self, params: &CodeActionParams) -> Answer {
        self.settle();
        let path = uris::path(&params.text_document.uri.0);
        let encoding = self.client.encoding;
        let subject = self.documents.get(&path).and_then(|document| {
            let folder = self.folder(&path)?;
            let (workspace, checked) = (folder.workspace()?, folder.result(&path)?);
            let is_versioned = self.client.has_versioned_edits;
            Some(Subject { path: &path, workspace, checked, document, encoding, is_versioned })
        });
        let Some(subject) = subject else {
            return Ok(Value::Array(Vec::new()));
        };
        let Some(input) = subject.workspace.input(&path) else {
            return Ok(Value::Array(Vec::new()));
        };
        let [start, end] = [params.range.start, params.range.end].map(|at| encoding.byte(input.text(), at));
        written(&subject.actions(&(start..end), params.context.only.as_deref()))
    }

    fn completion(&mut self, params: &CompletionParams) -> Answer {
        self.settle();
        let TextDocumentPositionParams { text_document, position } = &params.text_document_position_params;
        let path = uris::path(&text_document.uri.0);
        let workspace = self.folder(&path).and_then(Folder::workspace);
        let Some((workspace, input)) = workspace.and_then(|of| Some((of, of.input(&path)?))) else {
            return Ok(Value::Null);
        };
        let encoding = self.client.encoding;
        let byte = encoding.byte(input.text(), *position);
        match locate::at(input.text().as_str(), byte, input.syntax) {
            Some(cursor) => {
                written(&completion::at(input.text(), &cursor, &self.fields, workspace, encoding))
            }
            None => Ok(Value::Null),
        }
    }

    fn hover(&mut self, params: &HoverParams) -> Answer {
        self.settle();
        let TextDocumentPositionParams { text_document, position } = &params.text_document_position_params;
        let path = uris::path(&text_document.uri.0);
        let Some(folder) = self.folder(&path) else {
            return Ok(Value::Null);
        };
        let workspace = folder.workspace();
        let Some((workspace, input)) = workspace.and_then(|of| Some((of, of.input(&path)?))) else {
            return Ok(Value::Null);
        };
        let encoding = self.client.encoding;
        let byte = encoding.byte(input.text(), *position);
        let is_touched = self.documents.get(&path).is_some_and(|document| document.is_touched());
        let text = hover::at(input, folder.result(&path), is_touched, byte, &self.fields, workspace);
        let Some((value, bytes)) = text else {
            return Ok(Value::Null);
        };
        let contents = Contents::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value });
        written(&Hover { contents, range: Some(encoding.range(input.text(), &bytes)) })
    }
}

/// The requests that the client does not want to be answered any more.
fn cancelled(queue: &VecDeque<Event>) -> HashSet<RequestId> {
    let id = |event: &Event| match event {
        Event::FromClient(Incoming::Message(Message::Notification(notification)))
            if notification.method == "$/cancelRequest" =>
        {
            serde_json::from_value(notification.params["id"].clone()).ok()
        }
        _ => None,
    };
    queue.iter().filter_map(id).collect()
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, (ErrorCode, String)> {
    serde_json::from_value(params).map_err(|error| (ErrorCode::InvalidParams, error.to_string()))
}

fn written(result: &impl Serialize) -> Answer {
    serde_json::to_value(result).map_err(|error| (ErrorCode::InternalError, error.to_string()))
}
