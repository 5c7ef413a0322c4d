//! Tests quick fixes.

use serde_json::{Value, json};

use super::client::{Client, applied};
use crate::repository::{COMPANY, GOOD, PERSON, Repository};

fn company() -> String {
    format!(
        "{COMPANY}spec:\n  displayName: é😀 # name\n  domains:\n  - \"HTTPS://Acme.com/\" # main\n  - acme.com\n  linkedinProfile: linkedin.com/company/acme/about\n"
    )
}

/// The titles of actions with the text after each.
fn results(actions: &[Value], client: &Client, name: &str, text: &str) -> Vec<(String, String)> {
    let result = |action: &Value| {
        let edits = action["edit"]["changes"][client.uri(name)].as_array().unwrap();
        (action["title"].as_str().unwrap().to_owned(), applied(text, edits))
    };
    actions.iter().map(result).collect()
}

#[test]
fn one_value_is_fixed_or_all_are_as_by_check() {
    let text = company();
    let repository = Repository::with(&[("a.yaml", &text)]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("a.yaml", &text);
    let actions = client.actions("a.yaml", 6, 10, None);
    let found = results(&actions, &client, "a.yaml", &text);
    let titles: Vec<&str> = found.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "Change to \"acme.com\"",
            "Ignore domain/not-canonical here, with a reason",
            "Fix all 3 values in this file",
            "Fix all 3 values in this file"
        ]
    );
    assert_eq!(found[0].1, text.replace("\"HTTPS://Acme.com/\"", "\"acme.com\""));
    assert_eq!(
        found[1].1,
        text.replace("  - \"HTTPS", "  # crm-admission: ignore domain/not-canonical: \n  - \"HTTPS")
    );
    assert_eq!(actions[0]["isPreferred"], true);
    assert_eq!(actions[0]["diagnostics"][0]["code"], "domain/not-canonical");
    assert_eq!((&actions[2]["kind"], &actions[3]["kind"]), (&json!("quickfix"), &json!("source.fixAll")));
    repository.check(&["--fix"]);
    assert_eq!(found[2].1, repository.read("a.yaml"));
    assert_eq!(found[3].1, found[2].1);
    // Only what differs is replaced.
    let edits = actions[0]["edit"]["changes"][client.uri("a.yaml")].as_array().unwrap();
    assert_eq!(edits.len(), 1);
    assert_eq!(edits[0]["range"]["start"], json!({"line": 6, "character": 5}));
}

#[test]
fn only_the_kinds_that_are_asked_for_are_offered() {
    let text = company();
    let repository = Repository::with(&[("a.yaml", &text)]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("a.yaml", &text);
    let kinds = |actions: Vec<Value>| -> Vec<String> {
        actions.iter().map(|action| action["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(client.actions("a.yaml", 0, 0, None)), ["source.fixAll"]);
    for only in ["source", "source.fixAll"] {
        assert_eq!(kinds(client.actions("a.yaml", 6, 10, Some(only))), ["source.fixAll"], "{only}");
    }
    assert_eq!(kinds(client.actions("a.yaml", 6, 10, Some("quickfix"))), ["quickfix"; 3]);
    assert!(client.actions("a.yaml", 6, 10, Some("refactor")).is_empty());
}

#[test]
fn what_was_probably_meant_is_offered() {
    let text = format!(
        "{PERSON}spec:\n  displayName: Jane\n  jobTitel: x\n  companyRef: {{name: acme-crop}}\n---\napiVersion: crm.milo.io/v1alpha1\nkind: Compny\nmetadata: {{name: x}}\nspec: {{}}\n"
    );
    let acme = format!("{}{GOOD}", COMPANY.replace("acme", "acme-corp"));
    let repository = Repository::with(&[("jane.yaml", &text), ("acme.yaml", &acme)]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("jane.yaml", &text);
    for (line, character, before, after) in
        [(5, 4, "jobTitel", "jobTitle"), (6, 22, "acme-crop", "acme-corp"), (9, 8, "Compny", "Company")]
    {
        let actions = client.actions("jane.yaml", line, character, Some("quickfix"));
        let found = results(&actions, &client, "jane.yaml", &text);
        assert_eq!(found[0], (format!("Change to {after:?}"), text.replace(before, after)));
    }
}

#[test]
fn the_allowed_label_and_the_accepted_kind_that_were_probably_meant_are_offered() {
    let labelled = COMPANY.replace("{name: acme}", "{name: acme, labels: {crm.milo.io/source: referal}}");
    let note = COMPANY.replace("Company", "Note").replace("acme", "n");
    let text = format!(
        "{labelled}{GOOD}---\n{note}spec:\n  subjectRef: {{apiGroup: crm.milo.io, kind: Compeny, name: acme}}\n  content: x\n"
    );
    let repository = Repository::with(&[("a.yaml", &text)]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("a.yaml", &text);
    for (line, character, before, after) in [(2, 55, "referal", "referral"), (9, 48, "Compeny", "Company")] {
        let actions = client.actions("a.yaml", line, character, Some("quickfix"));
        let found = results(&actions, &client, "a.yaml", &text);
        assert_eq!(found[0], (format!("Change to {after:?}"), text.replace(before, after)));
    }
}

#[test]
fn a_client_with_versions_gets_the_version() {
    let text = company();
    let repository = Repository::with(&[("a.yaml", &text)]);
    let mut client = Client::start(repository.path(), &[]);
    client.initialize(&json!({"capabilities": {"workspace": {"workspaceEdit": {"documentChanges": true}}}}));
    client.open("a.yaml", &text);
    client.change("a.yaml", 7, &text);
    let actions = client.actions("a.yaml", 6, 10, Some("quickfix"));
    let change = &actions[0]["edit"]["documentChanges"][0];
    assert_eq!(change["textDocument"], json!({"uri": client.uri("a.yaml"), "version": 7}));
    assert_eq!(change["edits"].as_array().unwrap().len(), 1);
}

#[test]
fn a_finding_in_json_cannot_be_suppressed_but_fixed() {
    let text = r#"{"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme"},
"spec": {"displayName": "A", "domains": ["Acme.com"]}}"#;
    let repository = Repository::with(&[("a.json", text)]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("a.json", text);
    let actions = client.actions("a.json", 1, 44, Some("quickfix"));
    let found = results(&actions, &client, "a.json", text);
    assert_eq!(found, [("Change to \"acme.com\"".to_owned(), text.replace("Acme.com", "acme.com"))]);
}

#[test]
fn the_range_of_an_edit_counts_lines_of_windows() {
    let text = company().replace('\n', "\r\n");
    let repository = Repository::with(&[("a.yaml", &text)]);
    let mut client = Client::new(repository.path(), &[]);
    client.open("a.yaml", &text);
    let actions = client.actions("a.yaml", 7, 5, Some("quickfix"));
    let found = results(&actions, &client, "a.yaml", &text);
    assert_eq!(found[0], ("Remove the duplicate".to_owned(), text.replace("  - acme.com\r\n", "")));
}
