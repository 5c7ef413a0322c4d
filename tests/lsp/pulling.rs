//! Tests diagnostics for clients that ask for them.

use serde_json::{Value, json};

use super::client::Client;
use crate::repository::{COMPANY, GOOD, PERSON, Repository};

const MISSING: &str = "company-exists/unresolved";

fn company() -> String {
    format!("{COMPANY}{GOOD}")
}

fn person(company: &str) -> String {
    format!("{PERSON}spec:\n  displayName: Jane\n  companyRef:\n    name: {company}\n")
}

/// A client that asks for diagnostics, and what the server offers it.
fn pulling(repository: &Repository, can_refresh: bool) -> (Client, Value) {
    let mut client = Client::start(repository.path(), &[]);
    let capabilities = json!({
        "textDocument": {"diagnostic": {"dynamicRegistration": false}},
        "workspace": {"diagnostics": {"refreshSupport": can_refresh}},
    });
    let result = client.initialize(&json!({"capabilities": capabilities}));
    (client, result["capabilities"]["diagnosticProvider"].clone())
}

/// The answer about one file.
#[track_caller]
fn pull(client: &mut Client, name: &str, previous: Option<&str>) -> Value {
    let mut params = json!({"textDocument": {"uri": client.uri(name)}, "identifier": "crm-admission"});
    if let Some(previous) = previous {
        params["previousResultId"] = json!(previous);
    }
    client.request("textDocument/diagnostic", params)["result"].clone()
}

/// The answer about all files. `previous` has names of files, and of their results.
#[track_caller]
fn pull_all(client: &mut Client, previous: &[(&str, &Value)]) -> Vec<Value> {
    let previous: Vec<Value> =
        previous.iter().map(|(name, id)| json!({"uri": client.uri(name), "value": id})).collect();
    let answer = client.request("workspace/diagnostic", json!({"previousResultIds": previous}));
    answer["result"]["items"].as_array().unwrap().clone()
}

#[track_caller]
fn codes(report: &Value) -> Vec<&str> {
    assert_eq!(report["kind"], "full", "{report}");
    report["items"].as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap()).collect()
}

/// Fails if the server has sent a message of this method until now.
#[track_caller]
fn has_not_sent(client: &mut Client, method: &str) {
    // Messages are sent after the requests that have arrived with their reason, so before the second answer.
    for _ in 0..2 {
        client.request("no/such", json!({}));
    }
    assert_eq!(client.arrived(method), 0, "{method}");
}

#[track_caller]
fn told_to_ask_again(client: &mut Client) {
    let request = client.wait_for("a refresh", |message| message["method"] == "workspace/diagnostic/refresh");
    client.send(&json!({"jsonrpc": "2.0", "id": request["id"], "result": null}));
}

#[test]
fn a_client_that_asks_for_diagnostics_is_sent_none() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let (mut client, offered) = pulling(&repository, true);
    let expected =
        json!({"identifier": "crm-admission", "interFileDependencies": true, "workspaceDiagnostics": true});
    assert_eq!(offered, expected);
    client.open("jane.yaml", &person("acme"));
    let report = pull(&mut client, "jane.yaml", None);
    assert_eq!(codes(&report), [MISSING]);
    let id = report["resultId"].as_str().unwrap();
    assert_eq!(pull(&mut client, "jane.yaml", Some(id)), json!({"kind": "unchanged", "resultId": id}));
    client.change("jane.yaml", 2, &PERSON.replace("jane", "joe"));
    assert_ne!(pull(&mut client, "jane.yaml", Some(id))["resultId"], id);
    has_not_sent(&mut client, "textDocument/publishDiagnostics");
    // A change of its own is no reason to ask again.
    has_not_sent(&mut client, "workspace/diagnostic/refresh");
    assert!(client.exit().success());
}

#[test]
fn a_client_that_does_not_ask_is_offered_nothing() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let mut client = Client::start(repository.path(), &[]);
    let result = client.initialize(&json!({}));
    assert_eq!(result["capabilities"]["diagnosticProvider"], Value::Null);
    assert_eq!(client.raw_diagnostics("jane.yaml").len(), 1);
}

#[test]
fn all_files_with_diagnostics_are_in_the_answer_about_the_workspace() {
    let repository =
        Repository::with(&[("jane.yaml", &person("acme")), ("joe.yaml", &person("globex")), ("b.yaml", "")]);
    let (mut client, _) = pulling(&repository, true);
    client.open("joe.yaml", &person("globex").replace("jane", "joe"));
    let items = pull_all(&mut client, &[]);
    let uris: Vec<&Value> = items.iter().map(|item| &item["uri"]).collect();
    assert_eq!(uris, [&json!(client.uri("jane.yaml")), &json!(client.uri("joe.yaml"))]);
    // Only an open document has a version.
    assert_eq!((&items[0]["version"], &items[1]["version"]), (&Value::Null, &json!(1)));
    assert!(items.iter().all(|item| codes(item) == [MISSING]), "{items:?}");
    // One that has none any more is in the next answer.
    client.open("acme.yaml", &company());
    let known = [("jane.yaml", &items[0]["resultId"]), ("joe.yaml", &items[1]["resultId"])];
    let next = pull_all(&mut client, &known);
    assert_eq!(codes(&next[0]), [""; 0]);
    assert_eq!(next[1]["kind"], "unchanged");
    // One that is gone, too.
    let gone = pull_all(&mut client, &[("gone.yaml", &json!("x"))]);
    let gone = gone.iter().find(|item| item["uri"] == client.uri("gone.yaml")).unwrap();
    assert_eq!(codes(gone), [""; 0]);
}

#[test]
fn a_client_asks_again_if_something_else_has_changed() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let (mut client, _) = pulling(&repository, true);
    client.open("jane.yaml", &person("acme"));
    let before = pull(&mut client, "jane.yaml", None);
    assert_eq!(codes(&before), [MISSING]);
    repository.write("acme.yaml", &company());
    let changes = json!([{"uri": client.uri("acme.yaml"), "type": 1}]);
    client.notify("workspace/didChangeWatchedFiles", json!({"changes": changes}));
    told_to_ask_again(&mut client);
    let after = pull(&mut client, "jane.yaml", before["resultId"].as_str());
    assert_eq!(codes(&after), [""; 0]);
    // Nothing that the client has is different now.
    let changes = json!([{"uri": client.uri("acme.yaml"), "type": 2}]);
    client.notify("workspace/didChangeWatchedFiles", json!({"changes": changes}));
    has_not_sent(&mut client, "workspace/diagnostic/refresh");
    // A closed document counts as its file.
    client.open("acme.yaml", &company().replace("acme", "globex"));
    told_to_ask_again(&mut client);
    assert_eq!(codes(&pull(&mut client, "jane.yaml", None)), [MISSING]);
    client.close("acme.yaml");
    told_to_ask_again(&mut client);
    assert_eq!(codes(&pull(&mut client, "jane.yaml", None)), [""; 0]);
}

#[test]
fn a_client_that_cannot_be_told_is_not() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let (mut client, _) = pulling(&repository, false);
    client.open("jane.yaml", &person("acme"));
    assert_eq!(codes(&pull(&mut client, "jane.yaml", None)), [MISSING]);
    client.open("acme.yaml", &company());
    has_not_sent(&mut client, "workspace/diagnostic/refresh");
    assert_eq!(codes(&pull(&mut client, "jane.yaml", None)), [""; 0]);
}

#[test]
fn a_file_without_records_has_no_diagnostics() {
    let repository = Repository::new();
    let (mut client, _) = pulling(&repository, true);
    for name in ["absent.yaml", "README.md"] {
        assert_eq!(codes(&pull(&mut client, name, None)), [""; 0], "{name}");
    }
    let answer = client.request("textDocument/diagnostic", json!({"textDocument": 1}));
    assert_eq!(answer["error"]["code"], -32602);
}
