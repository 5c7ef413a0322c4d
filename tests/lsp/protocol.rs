//! Tests the protocol: start, end, and messages that nobody should send.

use ignore::gitignore::GitignoreBuilder;
use serde_json::{Value, json};

use super::client::Client;
use crate::repository::{COMPANY, GOOD, Repository};

fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap()
}

#[test]
fn the_server_introduces_itself() {
    let repository = Repository::new();
    let mut client = Client::start(repository.path(), &[]);
    let result = client.initialize(&json!({}));
    assert_eq!(result["serverInfo"], json!({"name": "crm-admission", "version": env!("CARGO_PKG_VERSION")}));
    let capabilities = &result["capabilities"];
    assert_eq!(capabilities["positionEncoding"], "utf-16");
    assert_eq!(capabilities["codeActionProvider"]["codeActionKinds"], json!(["quickfix", "source.fixAll"]));
    assert!(client.exit().success());
}

#[test]
fn positions_count_bytes_if_the_client_prefers_that() {
    let text = format!("{COMPANY}spec: {{displayName: é😀, domains: [Acme.com]}}\n");
    let repository = Repository::with(&[("a.yaml", &text)]);
    let mut client = Client::new(repository.path(), &[]);
    assert_eq!(client.diagnostics("a.yaml"), ["3:35-43 warning domain/not-canonical"]);
    let mut client = Client::start(repository.path(), &[]);
    let general = json!({"general": {"positionEncodings": ["utf-8", "utf-16"]}});
    let result = client.initialize(&json!({"capabilities": general}));
    assert_eq!(result["capabilities"]["positionEncoding"], "utf-8");
    assert_eq!(client.diagnostics("a.yaml"), ["3:38-46 warning domain/not-canonical"]);
    // An edit counts in the same unit.
    client.open("a.yaml", &text);
    let range = json!({"start": {"line": 3, "character": 38}, "end": {"line": 3, "character": 42}});
    client.change_parts("a.yaml", 2, json!([{"range": range, "text": "acme"}]));
    assert_eq!(client.diagnostics_of("a.yaml", 2), Vec::<String>::new());
}

#[test]
fn nothing_is_answered_before_initialize_and_after_shutdown() {
    let repository = Repository::new();
    let mut client = Client::start(repository.path(), &[]);
    assert_eq!(code(&client.request("textDocument/hover", json!({}))), -32002);
    client.initialize(&json!({}));
    assert_eq!(code(&client.request("initialize", json!({}))), -32600);
    assert_eq!(client.request("shutdown", Value::Null)["result"], Value::Null);
    assert_eq!(code(&client.request("textDocument/hover", json!({}))), -32600);
    client.notify("exit", Value::Null);
    assert!(client.ended().success());
}

#[test]
fn an_exit_without_a_shutdown_is_a_failure() {
    let repository = Repository::new();
    let mut client = Client::new(repository.path(), &[]);
    client.notify("exit", Value::Null);
    assert_eq!(client.ended().code(), Some(1));
    assert_eq!(Client::new(repository.path(), &[]).vanish().code(), Some(1));
    assert_eq!(Client::start(repository.path(), &[]).vanish().code(), Some(1));
}

#[test]
fn a_bad_message_is_an_error_and_the_next_one_is_answered() {
    let repository = Repository::new();
    let mut client = Client::new(repository.path(), &[]);
    client.send_text("{oops");
    let error = client.wait_for("an error", |message| message["error"]["code"] == -32700);
    assert_eq!(error["id"], Value::Null);
    assert_eq!(code(&client.request("no/such", json!({}))), -32601);
    assert_eq!(code(&client.request("textDocument/hover", json!({"textDocument": 1}))), -32602);
    client.notify("textDocument/didChange", json!([]));
    let shown = client.wait_for("a message", |message| message["method"] == "window/showMessage");
    assert!(shown["params"]["message"].as_str().unwrap().starts_with("textDocument/didChange: "), "{shown}");
    client.notify("$/unknown", json!({}));
    assert!(client.exit().success());
}

#[test]
fn a_header_that_cannot_be_read_ends_the_server_and_is_named() {
    let repository = Repository::new();
    let mut client = Client::new(repository.path(), &[]);
    client.send_bytes(b"Content-Length: 99999999999999\r\n\r\n");
    let error = client.wait_for("an error", |message| message["error"]["code"] == -32700);
    assert_eq!(error["error"]["message"], "the message is too large");
    assert_eq!(client.ended().code(), Some(1));
}

#[test]
fn a_request_that_was_cancelled_is_not_worked_on() {
    let repository = Repository::with(&[("a.yaml", &format!("{COMPANY}{GOOD}"))]);
    let mut client = Client::new(repository.path(), &[]);
    // In one write, so that the server sees both at once.
    let request =
        json!({"jsonrpc": "2.0", "id": 77, "method": "textDocument/hover", "params": {}}).to_string();
    let cancel = json!({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 77}}).to_string();
    let framed = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
    // The server may have taken the request before the cancellation has arrived. Then its parameters are invalid.
    client.send_bytes(format!("{}{}", framed(&request), framed(&cancel)).as_bytes());
    let answer = client.answer(77);
    assert!([-32800, -32602].contains(&code(&answer)), "{answer}");
}

#[test]
fn many_changes_at_once_leave_the_last_text() {
    let repository = Repository::new();
    let mut client = Client::new(repository.path(), &[]);
    client.open("a.yaml", "");
    for version in 2..100 {
        client.change("a.yaml", version, &format!("{COMPANY}spec: {{displayName: A, x{version}: 1}}\n"));
    }
    client.change("a.yaml", 100, &format!("{COMPANY}{GOOD}"));
    assert_eq!(client.diagnostics_of("a.yaml", 100), Vec::<String>::new());
}

#[test]
fn files_are_watched_if_the_client_can() {
    let repository = Repository::new();
    let mut client = Client::start(repository.path(), &[]);
    let watches = json!({"workspace": {"didChangeWatchedFiles": {"dynamicRegistration": true}}});
    client.initialize(&json!({"capabilities": watches}));
    let request =
        client.wait_for("a registration", |message| message["method"] == "client/registerCapability");
    let registration = &request["params"]["registrations"][0];
    assert_eq!(registration["method"], "workspace/didChangeWatchedFiles");
    let mut globs = GitignoreBuilder::new("/");
    for watcher in registration["registerOptions"]["watchers"].as_array().unwrap() {
        globs.add_line(None, watcher["globPattern"].as_str().unwrap()).unwrap();
    }
    let globs = globs.build().unwrap();
    let is_watched = |name: &str| globs.matched(name, false).is_ignore();
    for name in ["a.yaml", "a/.crm-admission.yaml", "b.yml", "c.json", "kustomization.yml", "a/Kustomization"]
    {
        assert!(is_watched(name), "{name}");
    }
    assert!(!is_watched("README.md") && !is_watched("a/NotKustomization"));
    client.send(&json!({"jsonrpc": "2.0", "id": request["id"], "result": null}));
    assert!(client.exit().success());
}
