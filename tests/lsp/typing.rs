//! Tests what helps somebody who is typing, and what would be in the way.

use super::client::Client;
use crate::repository::{COMPANY, GOOD, PERSON, Repository};

const NONE: Vec<String> = Vec::new();

fn repository() -> Repository {
    Repository::with(&[
        ("acme.yaml", &format!("{COMPANY}{GOOD}")),
        ("jane.yaml", &format!("{PERSON}spec: {{displayName: Jane}}\n")),
    ])
}

fn labels(proposals: &[(String, String)]) -> Vec<&str> {
    proposals.iter().map(|(label, _)| label.as_str()).collect()
}

// What is half typed.

#[test]
fn what_is_missing_is_shown_when_the_text_is_saved() {
    let repository = repository();
    let mut client = Client::new(repository.path(), &[]);
    client.open("bob.yaml", "");
    assert_eq!(client.diagnostics_of("bob.yaml", 1), NONE);
    let texts = [
        "api",
        "apiVersion: crm.milo.io/v1alpha1\n",
        "apiVersion: crm.milo.io/v1alpha1\nkind:\n",
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\n",
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata:\n",
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata:\n  name: bob\nspec:\n",
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata:\n  name: bob\nspec:\n  dis",
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata:\n  name: bob\nspec:\n  displayName: Bob\n  companyRef:\n    name:\n",
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata:\n  name: bob\nspec:\n  displayName: Bob\n  companyRef: {name: }\n",
    ];
    for (version, text) in (2..).zip(texts) {
        client.change("bob.yaml", version, text);
        assert_eq!(client.diagnostics_of("bob.yaml", version), NONE, "{text}");
    }
    client.save("bob.yaml");
    assert_eq!(client.diagnostics("bob.yaml"), ["6:15-19 error company-exists"]);
}

#[test]
fn a_document_that_cannot_be_read_has_one_diagnostic_and_the_others_are_judged() {
    let repository = Repository::new();
    let mut client = Client::new(repository.path(), &[]);
    let text =
        format!("{COMPANY}spec:\n  displayName: A\n  do\n---\n{PERSON}spec: {{displayName: J, x: 1}}\n");
    client.open("a.yaml", &text);
    assert_eq!(client.diagnostics("a.yaml"), ["5:2-4 error syntax", "10:23-24 error schema"]);
}

#[test]
fn a_document_that_cannot_be_read_now_still_exists_for_others() {
    let repository = repository();
    let jane = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: acme}}}}\n");
    let mut client = Client::new(repository.path(), &[]);
    client.open("jane.yaml", &jane);
    client.open("acme.yaml", &format!("{COMPANY}{GOOD}"));
    client.change("acme.yaml", 2, &format!("{COMPANY}{GOOD}x"));
    assert_eq!(client.diagnostics_of("acme.yaml", 2).len(), 1);
    client.change("jane.yaml", 2, &format!("# changed\n{jane}"));
    assert_eq!(client.diagnostics_of("jane.yaml", 2), NONE);
}

#[test]
fn files_of_others_have_no_diagnostics() {
    let repository = Repository::new();
    let mut client = Client::new(repository.path(), &[]);
    for (name, text) in
        [("a.yaml", "a: [1\nb: }"), ("b.yaml", "just text"), ("c.yaml", "kind: Pod\napiVersion: v1\n")]
    {
        client.open(name, text);
        assert_eq!(client.diagnostics(name), NONE, "{text}");
    }
}

// Completion.

#[test]
fn fields_are_completed_where_the_text_cannot_be_read() {
    let repository = repository();
    let mut client = Client::new(repository.path(), &[]);
    let text = format!("{PERSON}spec:\n  displayName: Bob\n  co|\n  jobTitle: x\n");
    let proposals = client.completed("bob.yaml", &text);
    let labels = labels(&proposals);
    assert!(labels.contains(&"companyRef") && labels.contains(&"contactRefs"), "{labels:?}");
    assert!(!labels.contains(&"displayName") && !labels.contains(&"jobTitle"), "{labels:?}");
    let (_, accepted) = proposals.iter().find(|(label, _)| label == "companyRef").unwrap();
    assert!(accepted.contains("\n  companyRef:\n  jobTitle: x\n"), "{accepted}");
    let head = client.completed("new.yaml", "|");
    assert!(head.contains(&("kind".to_owned(), "kind: ".to_owned())), "{head:?}");
    let kinds = client.completed("new.yaml", "apiVersion: crm.milo.io/v1alpha1\nkind: |");
    assert_eq!(self::labels(&kinds), ["Company", "Person", "Note"]);
}

#[test]
fn names_of_records_are_completed() {
    let repository = repository();
    let mut client = Client::new(repository.path(), &[]);
    let text = format!("{PERSON}spec:\n  companyRef:\n    name: |\n");
    let expected = vec![("acme".to_owned(), text.replace('|', "acme"))];
    assert_eq!(client.completed("bob.yaml", &text), expected);
    let text = format!("{PERSON}spec:\n  companyRef: {{name:|}}\n");
    assert_eq!(client.completed("bob.yaml", &text), [("acme".to_owned(), text.replace('|', " acme"))]);
    let note = PERSON.replace("Person", "Note").replace("jane", "n");
    let subject = |kind: &str| format!("{note}spec:\n  subjectRef:\n{kind}    name: |\n");
    let proposals = client.completed("n.yaml", &subject("    kind: Person\n"));
    assert_eq!(labels(&proposals), ["jane"]);
    let proposals = client.completed("n.yaml", &subject(""));
    assert_eq!(labels(&proposals), ["acme", "jane"]);
}

#[test]
fn names_are_completed_in_json() {
    let repository = repository();
    let mut client = Client::new(repository.path(), &[]);
    let text =
        r#"{"apiVersion": "crm.milo.io/v1alpha1", "kind": "Person", "spec": {"companyRef": {"name": "|"}}"#;
    assert_eq!(client.completed("b.json", text), [("acme".to_owned(), text.replace('|', "acme"))]);
    let text = text.replace("\"|\"", "|");
    assert_eq!(client.completed("b.json", &text), [("acme".to_owned(), text.replace('|', "\"acme\""))]);
}

#[test]
fn labels_of_the_policy_are_completed() {
    let repository = repository();
    let mut client = Client::new(repository.path(), &[]);
    let head = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata:\n  name: x\n  labels:\n";
    let keys = client.completed("a.yaml", &format!("{head}    |\n"));
    let key = labels(&keys).first().copied().unwrap_or_else(|| panic!("no label: {keys:?}")).to_owned();
    let values = client.completed("a.yaml", &format!("{head}    {key}: |\n"));
    assert!(!values.is_empty(), "{key}");
}

#[test]
fn records_of_others_and_text_are_not_completed() {
    let repository = repository();
    let mut client = Client::new(repository.path(), &[]);
    assert!(client.completed("a.yaml", "apiVersion: v1\nkind: Pod\nspec:\n  |\n").is_empty());
    assert!(
        client
            .completed("a.yaml", &format!("{PERSON}spec:\n  notes: |-\n    na|\n").replacen("|-", ">-", 1))
            .is_empty()
    );
}

// Hover.

#[test]
fn a_field_shows_its_description_and_a_finding_its_rule() {
    let repository = repository();
    let mut client = Client::new(repository.path(), &[]);
    let text = format!("{COMPANY}spec:\n  displayName: A\n  domains: [Acme.com]\n");
    client.open("a.yaml", &text);
    let hover = |client: &mut Client, line, character| {
        let result = client.at("textDocument/hover", "a.yaml", line, character);
        result["contents"]["value"].as_str().unwrap_or_default().to_owned()
    };
    let field = hover(&mut client, 5, 4);
    assert!(field.starts_with("**spec.domains** (list of strings)\n\n"), "{field}");
    let both = hover(&mut client, 5, 14);
    assert!(both.starts_with("**spec.domains[0]**") && both.contains("\n## domain\n"), "{both}");
    assert!(both.contains("`not-canonical`: "), "{both}");
    assert_eq!(hover(&mut client, 4, 1), "");
    client.open("a.yaml", "apiVersion: v1\nkind: Pod\nspec: {}\n");
    assert_eq!(hover(&mut client, 2, 1), "");
}
