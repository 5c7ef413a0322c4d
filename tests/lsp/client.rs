//! A small client of the language server, over the standard input and output of the real process.

#![allow(dead_code, reason = "compiled into several programs, none of which uses everything")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// The time limit of everything that the server does in a test.
const LIMIT: Duration = Duration::from_secs(60);

/// A client with its server, which is killed with it.
pub(crate) struct Client {
    server: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    /// Messages that arrived while another was awaited.
    early: VecDeque<Value>,
    root: String,
    last: i32,
}

impl Client {
    /// A client of a server for this folder that has been initialized.
    pub(crate) fn new(root: &Path, args: &[&str]) -> Self {
        let mut client = Self::start(root, args);
        client.initialize(&json!({}));
        client
    }

    /// A client before it says anything.
    pub(crate) fn start(root: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CRM_ADMISSION_")) {
            command.env_remove(name);
        }
        command.env_remove("KUBERNETES_SERVICE_HOST").env("KUBECONFIG", "/nonexistent/kubeconfig");
        command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME");
        command.arg("lsp").args(args).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let input = server.stdin.take();
        let root = format!("file://{}", root.canonicalize().unwrap().display());
        Self { server, input, messages, early: VecDeque::new(), root, last: 0 }
    }

    /// The result of `initialize` with further parameters.
    pub(crate) fn initialize(&mut self, params: &Value) -> Value {
        let mut all = json!({"processId": null, "capabilities": {},
            "workspaceFolders": [{"uri": self.root.clone(), "name": "x"}]});
        for (key, value) in params.as_object().unwrap() {
            all[key] = value.clone();
        }
        let answer = self.request("initialize", all);
        self.notify("initialized", json!({}));
        answer["result"].clone()
    }

    /// The URI of a file in the folder.
    pub(crate) fn uri(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub(crate) fn send_text(&mut self, body: &str) {
        self.send_bytes(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Sends a request and returns the whole answer.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.answer(id)
    }

    /// Sends a request, and does not wait.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> i32 {
        self.last += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}));
        self.last
    }

    pub(crate) fn answer(&mut self, id: i32) -> Value {
        self.wait_for("an answer", |message| message["id"] == id && message.get("method").is_none())
    }

    /// The first message that fits.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&fits) {
            return self.early.remove(at).unwrap();
        }
        loop {
            let message = self.messages.recv_timeout(LIMIT);
            let message =
                message.unwrap_or_else(|error| panic!("{error} instead of {what}: {:?}", self.early));
            if fits(&message) {
                return message;
            }
            self.early.push_back(message);
        }
    }

    /// How many messages of this method have arrived, and were not awaited.
    pub(crate) fn arrived(&self, method: &str) -> usize {
        self.early.iter().filter(|message| message["method"] == method).count()
    }

    pub(crate) fn open(&mut self, name: &str, text: &str) {
        let item = json!({"uri": self.uri(name), "languageId": "yaml", "version": 1, "text": text});
        self.notify("textDocument/didOpen", json!({"textDocument": item}));
    }

    /// Replaces the whole text.
    pub(crate) fn change(&mut self, name: &str, version: i32, text: &str) {
        self.change_parts(name, version, json!([{"text": text}]));
    }

    pub(crate) fn change_parts(&mut self, name: &str, version: i32, changes: Value) {
        let document = json!({"uri": self.uri(name), "version": version});
        self.notify("textDocument/didChange", json!({"textDocument": document, "contentChanges": changes}));
    }

    pub(crate) fn save(&mut self, name: &str) {
        self.notify("textDocument/didSave", json!({"textDocument": {"uri": self.uri(name)}}));
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.notify("textDocument/didClose", json!({"textDocument": {"uri": self.uri(name)}}));
    }

    /// The next diagnostics of a file, as the protocol has them.
    #[track_caller]
    pub(crate) fn raw_diagnostics(&mut self, name: &str) -> Vec<Value> {
        let uri = self.uri(name);
        let message = self.wait_for(name, |message| {
            message["method"] == "textDocument/publishDiagnostics" && message["params"]["uri"] == *uri
        });
        message["params"]["diagnostics"].as_array().unwrap().clone()
    }

    /// The next diagnostics of a file, each as `LINE:FROM-TO SEVERITY CODE`, with positions from 0.
    #[track_caller]
    pub(crate) fn diagnostics(&mut self, name: &str) -> Vec<String> {
        self.raw_diagnostics(name).iter().map(spelled).collect()
    }

    /// The diagnostics of this version of a file.
    #[track_caller]
    pub(crate) fn diagnostics_of(&mut self, name: &str, version: i32) -> Vec<String> {
        let uri = self.uri(name);
        let message = self.wait_for(name, |message| {
            let params = &message["params"];
            message["method"] == "textDocument/publishDiagnostics"
                && params["uri"] == *uri
                && params["version"] == version
        });
        message["params"]["diagnostics"].as_array().unwrap().iter().map(spelled).collect()
    }

    /// The code actions for a position, without those of other kinds than `only` if it is given.
    pub(crate) fn actions(
        &mut self,
        name: &str,
        line: u32,
        character: u32,
        only: Option<&str>,
    ) -> Vec<Value> {
        let at = json!({"line": line, "character": character});
        let mut context = json!({"diagnostics": []});
        if let Some(only) = only {
            context["only"] = json!([only]);
        }
        let document = json!({"uri": self.uri(name)});
        let params = json!({"textDocument": document, "range": {"start": at, "end": at}, "context": context});
        self.request("textDocument/codeAction", params)["result"].as_array().unwrap().clone()
    }

    /// The answer to a request about a position.
    pub(crate) fn at(&mut self, method: &str, name: &str, line: u32, character: u32) -> Value {
        let position = json!({"line": line, "character": character});
        let params = json!({"textDocument": {"uri": self.uri(name)}, "position": position});
        self.request(method, params)["result"].clone()
    }

    /// The proposals at the end of the text before `|`, which is not part of the document: each as its label, and the text
    /// after accepting it.
    pub(crate) fn completed(&mut self, name: &str, text: &str) -> Vec<(String, String)> {
        let (before, after) = text.split_once('|').unwrap();
        let text = format!("{before}{after}");
        self.open(name, &text);
        let line = before.matches('\n').count() as u32;
        let character = before.rsplit('\n').next().unwrap().encode_utf16().count() as u32;
        let result = self.at("textDocument/completion", name, line, character);
        let items = result["items"].as_array().cloned().unwrap_or_default();
        let accepted = |item: &Value| {
            let label = item["label"].as_str().unwrap().to_owned();
            (label, applied(&text, &[item["textEdit"].clone()]))
        };
        items.iter().map(accepted).collect()
    }

    /// Shuts the server down, and returns how it ended.
    pub(crate) fn exit(mut self) -> ExitStatus {
        self.request("shutdown", Value::Null);
        self.notify("exit", Value::Null);
        self.server.wait().unwrap()
    }

    /// How the server ends when the client is gone.
    pub(crate) fn vanish(mut self) -> ExitStatus {
        self.input = None;
        self.server.wait().unwrap()
    }

    /// How the server ends by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.server.wait().unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The text after edits with positions in UTF-16, all of the old text.
pub(crate) fn applied(text: &str, edits: &[Value]) -> String {
    let byte = |position: &Value| {
        let (line, character) = (position["line"].as_u64().unwrap(), position["character"].as_u64().unwrap());
        let start: usize = text.split_inclusive('\n').take(line as usize).map(str::len).sum();
        let mut left = character as usize;
        let mut at = start;
        for c in text[start..].chars() {
            if left == 0 {
                break;
            }
            left -= c.len_utf16().min(left);
            at += c.len_utf8();
        }
        at
    };
    let mut parts: Vec<(usize, usize, &str)> = edits
        .iter()
        .map(|edit| {
            let range = &edit["range"];
            (byte(&range["start"]), byte(&range["end"]), edit["newText"].as_str().unwrap())
        })
        .collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.0));
    let mut text = text.to_owned();
    for (start, end, new) in parts {
        text.replace_range(start..end, new);
    }
    text
}

fn spelled(diagnostic: &Value) -> String {
    let (start, end) = (&diagnostic["range"]["start"], &diagnostic["range"]["end"]);
    let severity = ["", "error", "warning", "information"][diagnostic["severity"].as_u64().unwrap() as usize];
    let code = diagnostic["code"].as_str().unwrap_or("syntax");
    format!("{}:{}-{} {severity} {code}", start["line"], start["character"], end["character"])
}

fn read(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}
