//! Tests which files have diagnostics, and when they change.

use serde_json::json;

use super::client::Client;
use crate::repository::{COMPANY, GOOD, PERSON, Repository};

const NONE: Vec<String> = Vec::new();

fn company(name: &str) -> String {
    format!("{}{GOOD}", COMPANY.replace("acme", name))
}

/// A person who refers to a company in the last line.
fn person(company: &str) -> String {
    format!("{PERSON}spec:\n  displayName: Jane\n  companyRef:\n    name: {company}\n")
}

const MISSING: &str = "6:10-14 warning company-exists/unresolved";

#[test]
fn a_diagnostic_has_the_severity_of_its_action_and_the_message_of_check() {
    let text = format!("{COMPANY}spec:\n  displayName: ''\n  domains: [Acme.com]\n  colour: red\n");
    let repository = Repository::with(&[("a.yaml", &text)]);
    let mut client = Client::new(repository.path(), &[]);
    let found = client.raw_diagnostics("a.yaml");
    let check = repository.check(&["--format", "json"]).json();
    let finding = |at: usize, key: &str| check["findings"][at][key].as_str().unwrap().to_owned();
    assert_eq!(found.len(), 3, "{found:?}");
    for (at, diagnostic) in found.iter().enumerate() {
        assert_eq!(diagnostic["source"], "crm-admission");
        assert_eq!(diagnostic["message"], format!("{}: {}", finding(at, "field"), finding(at, "message")));
        let severity = if finding(at, "action") == "Deny" { 1 } else { 2 };
        assert_eq!(diagnostic["severity"], severity, "{diagnostic}");
    }
    assert_eq!(found[2]["range"]["end"], json!({"line": 6, "character": 8}));
}

#[test]
fn references_are_looked_up_in_the_open_text_of_other_files() {
    let repository = Repository::with(&[("b/jane.yaml", &person("acme")), ("acme.yaml", &company("acme"))]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("b/jane.yaml", &person("acme"));
    assert_eq!(client.diagnostics("b/jane.yaml"), NONE);
    client.open("acme.yaml", &company("acme"));
    client.change("acme.yaml", 2, &company("globex"));
    assert_eq!(client.diagnostics("b/jane.yaml"), [MISSING]);
    // Without a save, the file counts again.
    client.close("acme.yaml");
    assert_eq!(client.diagnostics("b/jane.yaml"), NONE);
}

#[test]
fn a_file_that_nobody_has_opened_has_diagnostics_too() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let mut client = Client::new(repository.path(), &[]);
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
    client.open("new.yaml", &company("acme"));
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
}

#[test]
fn files_that_change_appear_or_disappear_on_disk_are_read() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let mut client = Client::new(repository.path(), &[]);
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
    let changed = |client: &mut Client, name: &str, kind: i32| {
        let changes = json!([{"uri": client.uri(name), "type": kind}]);
        client.notify("workspace/didChangeWatchedFiles", json!({"changes": changes}));
    };
    repository.write("acme.yaml", &company("acme"));
    changed(&mut client, "acme.yaml", 1);
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
    repository.write("acme.yaml", &company("globex"));
    changed(&mut client, "acme.yaml", 2);
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
    std::fs::remove_file(repository.path().join("jane.yaml")).unwrap();
    changed(&mut client, "jane.yaml", 3);
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
}

#[test]
fn the_configuration_holds_and_a_new_one_too() {
    let repository = Repository::with(&[
        (".crm-admission.yaml", "exclude: [old]\nresources: [others]\n"),
        ("old/a.yaml", &person("nobody")),
        ("others/acme.yaml", &company("acme")),
        ("jane.yaml", &person("acme")),
        ("joe.yaml", &person("globex").replace("jane", "joe")),
    ]);
    let mut client = Client::new(repository.path(), &[]);
    // With `resources`, everything is known, so this is denied.
    assert_eq!(client.diagnostics("joe.yaml"), ["6:10-16 error company-exists"]);
    repository.write(".crm-admission.yaml", "exclude: [old, others, joe.yaml]\n");
    let changes = json!([{"uri": client.uri(".crm-admission.yaml"), "type": 2}]);
    client.notify("workspace/didChangeWatchedFiles", json!({"changes": changes}));
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
    assert_eq!(client.diagnostics("joe.yaml"), NONE);
}

#[test]
fn a_bad_configuration_is_shown_and_what_was_read_before_stays() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let mut client = Client::new(repository.path(), &[]);
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
    repository.write(".crm-admission.yaml", "exlude: [old]\n");
    let changes = json!([{"uri": client.uri(".crm-admission.yaml"), "type": 1}]);
    client.notify("workspace/didChangeWatchedFiles", json!({"changes": changes}));
    let shown = client.wait_for("a message", |message| message["method"] == "window/showMessage");
    let message = shown["params"]["message"].as_str().unwrap();
    assert!(message.contains("did you mean \"exclude\"?"), "{message}");
    client.open("jane.yaml", &person("acme"));
    assert_eq!(client.diagnostics_of("jane.yaml", 1), [MISSING]);
}

#[test]
fn flags_hold_as_for_check() {
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec:\n  rules: {company-exists: {action: Disabled}}\n";
    let repository = Repository::with(&[("jane.yaml", &person("acme")), ("policy.yaml", policy)]);
    let policy = repository.path().join("policy.yaml");
    let mut client = Client::new(repository.path(), &["--policy", policy.to_str().unwrap(), "--stdio"]);
    client.open("jane.yaml", &person("acme"));
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
}

#[test]
fn suppressed_findings_are_not_shown_and_comments_are_judged() {
    let suppressed =
        person("acme").replace("    name:", "    # crm-admission: ignore company-exists: later\n    name:");
    let repository = Repository::with(&[("jane.yaml", &suppressed)]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("jane.yaml", &suppressed);
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
    client.change("jane.yaml", 2, &suppressed.replace("company-exists", "domain"));
    let found = client.diagnostics("jane.yaml");
    assert!(found.contains(&"6:4-41 warning suppression/unused".to_owned()), "{found:?}");
}

#[test]
fn documents_outside_of_the_folder_and_without_a_file_are_judged() {
    let (repository, elsewhere) = (Repository::with(&[("acme.yaml", &company("acme"))]), Repository::new());
    let mut client = Client::new(repository.path(), &[]);
    let outside = format!("file://{}/x y.yaml", elsewhere.path().display()).replace(' ', "%20");
    for uri in [outside.as_str(), "untitled:Untitled-1"] {
        for (company, expected) in [("acme", 0), ("nobody", 1)] {
            let text = person(company);
            let item = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": text});
            client.notify("textDocument/didOpen", json!({"textDocument": item}));
            let message = client.wait_for(uri, |message| message["params"]["uri"] == *uri);
            let found = message["params"]["diagnostics"].as_array().unwrap().len();
            assert_eq!(found, expected, "{uri} {company}: {message}");
        }
        client.notify("textDocument/didClose", json!({"textDocument": {"uri": uri}}));
        let message = client.wait_for(uri, |message| message["params"]["uri"] == *uri);
        assert_eq!(message["params"]["diagnostics"], json!([]));
    }
}

#[test]
fn each_folder_has_its_own_records_and_may_come_and_go() {
    let [first, second] = [
        Repository::with(&[("acme.yaml", &company("acme"))]),
        Repository::with(&[("jane.yaml", &person("acme"))]),
    ];
    let mut client = Client::new(first.path(), &[]);
    let root = format!("file://{}", second.path().canonicalize().unwrap().display());
    let folder = json!([{"uri": root, "name": "second"}]);
    let event = |added: &serde_json::Value, removed: &serde_json::Value| json!({"event": {"added": added, "removed": removed}});
    client.notify("workspace/didChangeWorkspaceFolders", event(&folder, &json!([])));
    let uri = format!("{root}/jane.yaml");
    let message = client.wait_for("jane", |message| message["params"]["uri"] == *uri);
    assert_eq!(message["params"]["diagnostics"].as_array().unwrap().len(), 1);
    client.notify("workspace/didChangeWorkspaceFolders", event(&json!([]), &folder));
    let message = client.wait_for("jane", |message| message["params"]["uri"] == *uri);
    assert_eq!(message["params"]["diagnostics"], json!([]));
}

#[test]
fn without_a_folder_open_documents_are_judged() {
    let repository = Repository::new();
    let mut client = Client::start(repository.path(), &[]);
    client.initialize(&json!({"workspaceFolders": null, "rootUri": null}));
    client.open("jane.yaml", &person("acme"));
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
    client.open("acme.yaml", &company("acme"));
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
}

#[test]
fn json_is_judged_too() {
    let text = r#"{"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme"},
"spec": {"displayName": "é", "domains": ["Acme.com"]}}"#;
    let repository = Repository::with(&[("a.json", text)]);
    let mut client = Client::new(repository.path(), &[]);
    assert_eq!(client.diagnostics("a.json"), ["1:41-51 warning domain/not-canonical"]);
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named_once_and_the_files_are_judged() {
    let repository = Repository::with(&[("jane.yaml", &person("acme"))]);
    let mut client = Client::new(repository.path(), &["--cluster"]);
    let shown = client.wait_for("a message", |message| message["method"] == "window/showMessage");
    assert!(shown["params"]["message"].as_str().unwrap().contains("/nonexistent/kubeconfig"), "{shown}");
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
}

#[test]
fn variables_are_replaced_and_nothing_is_said_about_unknown_ones() {
    let acme = format!(
        "{COMPANY}spec:\n  displayName: Acme\n  # crm-admission: ignore linkedin-profile: later\n  linkedinProfile: ${{PROFILE}}\n  domains: [\"${{DOMAIN}}\"]\n"
    );
    let jane = person("${EMPLOYER}");
    let repository = Repository::with(&[
        (".crm-admission.yaml", "variables: {DOMAIN: Acme.com, EMPLOYER: acme}\n"),
        ("acme.yaml", &acme),
        ("jane.yaml", &jane),
    ]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("acme.yaml", &acme);
    let found = client.raw_diagnostics("acme.yaml");
    let said: Vec<&str> = found.iter().map(|found| found["message"].as_str().unwrap()).collect();
    assert!(said.len() == 1 && said[0].contains("; the value comes from ${DOMAIN}"), "{said:?}");
    // The value of a variable stands elsewhere, so it can only be accepted here.
    let actions = client.actions("acme.yaml", 7, 13, None);
    let titles: Vec<&str> = actions.iter().map(|action| action["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Ignore domain/not-canonical here, with a reason"]);
    client.open("jane.yaml", &jane);
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
    let mut client = Client::new(repository.path(), &["--var", "EMPLOYER=globex"]);
    assert_eq!(client.diagnostics("jane.yaml"), ["6:10-21 warning company-exists/unresolved"]);
}

#[test]
fn a_record_with_an_unknown_name_can_be_the_one_that_is_referred_to() {
    let unknown = company("\"${NAME}\"");
    let repository = Repository::with(&[("any.yaml", &unknown), ("jane.yaml", &person("acme"))]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("jane.yaml", &person("acme"));
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
    client.open("any.yaml", &company("globex"));
    assert_eq!(client.diagnostics("jane.yaml"), [MISSING]);
    client.change("any.yaml", 2, &unknown.replace("Company", "\"${KIND}\""));
    assert_eq!(client.diagnostics("jane.yaml"), NONE);
    // Such a name is not completed.
    client.change("any.yaml", 3, &unknown);
    let text = format!("{PERSON}spec:\n  companyRef:\n    name: |\n");
    assert_eq!(client.completed("jane.yaml", &text), []);
}

#[test]
fn patches_of_kustomize_are_no_records() {
    let (unit, patch) = ("resources: [acme.yaml]\n", format!("{COMPANY}spec: {{domains: [acme.com]}}\n"));
    let patched = format!("{unit}patches: [{{path: patch.yaml}}]\n");
    let repository = Repository::with(&[
        ("kustomization.yaml", &patched),
        ("acme.yaml", &company("acme")),
        ("patch.yaml", &patch),
    ]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("patch.yaml", &patch);
    assert_eq!(client.diagnostics("patch.yaml"), NONE);
    repository.write("kustomization.yaml", unit);
    let changes = json!([{"uri": client.uri("kustomization.yaml"), "type": 2}]);
    client.notify("workspace/didChangeWatchedFiles", json!({"changes": changes}));
    assert_eq!(
        client.diagnostics("patch.yaml"),
        ["2:17-21 warning schema/duplicate-object", "3:0-4 error display-name"]
    );
}
