//! Writes the inputs with which the fuzz targets start: the vectors, manifests and examples of this repository.
//!
//! `make fuzz` runs it. An input has a name by its number, so a second run replaces it.
#![allow(clippy::unwrap_used, reason = "a program for developers, which cannot continue without its files")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Ask, create, delete};
use crm_admission::pki::{Authority, DAY, Validity, certificates, unix_now};
use crm_core::catalog::rules;
use crm_core::policy::{Policy, document};
use regex::Regex;
use serde_json::{Value, json};

/// The start of a Company whose spec follows.
const COMPANY: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\nspec:";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = root.join("fuzz/corpus");
    write(&corpus.join("review"), reviews(root));
    write(&corpus.join("policy"), policies(root));
    write(&corpus.join("yaml"), manifests(root));
    write(&corpus.join("domain"), vectors(&root.join("tests/vectors/domains.jsonl")));
    write(&corpus.join("linkedin"), vectors(&root.join("tests/vectors/linkedin.jsonl")));
    write(&corpus.join("certificates"), pems());
}

fn write(directory: &Path, seeds: Vec<Vec<u8>>) {
    fs::create_dir_all(directory).unwrap();
    for (index, seed) in seeds.into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{index:04}")), seed).unwrap();
    }
}

/// The text in the field `input` of each line.
fn vectors(file: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let vectors = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    vectors.map(|vector| vector["input"].as_str().unwrap().into()).collect()
}

/// Reviews of the manifests and of the examples of every rule.
fn reviews(root: &Path) -> Vec<Vec<u8>> {
    let mut asks = vec![delete("Company"), delete("Person")];
    let files = files(&root.join("manifests/examples"), "yaml");
    let shipped = files.iter().flat_map(|file| objects(&fs::read_to_string(file).unwrap()));
    asks.extend(shipped.map(review));
    for example in rules().iter().map(|rule| &rule.example) {
        for object in [example.bad, example.good].into_iter().flat_map(objects) {
            let ask = review(object);
            let stored = example.stored.and_then(|text| objects(text).pop());
            asks.push(match stored {
                Some(stored) => ask.with("/operation", json!("UPDATE")).with("/oldObject", stored),
                None => ask,
            });
        }
    }
    asks.iter().map(Ask::body).collect()
}

fn review(object: Value) -> Ask {
    create(object["kind"].as_str().unwrap_or_default(), Value::Null).with("/object", object)
}

/// The policies in the manifests, in the docs and in strings of the tests.
fn policies(root: &Path) -> Vec<Vec<u8>> {
    let mut texts = vec![document(&Policy::default()).to_string()];
    texts.extend(blocks(&fs::read_to_string(root.join("docs/policy.md")).unwrap()));
    texts.extend(literals(&fs::read_to_string(root.join("tests/policy_documents.rs")).unwrap()));
    texts.extend(literals(&fs::read_to_string(root.join("tests/policies.rs")).unwrap()));
    let found = texts.iter().flat_map(|text| objects(text));
    found.filter(|object| object["spec"].is_object()).map(|object| object.to_string().into()).collect()
}

/// All manifests, the examples of every rule and the strings in the tests of `--fix`.
fn manifests(root: &Path) -> Vec<Vec<u8>> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let mut texts: Vec<String> = ["manifests/examples", "examples", "manifests/policy"]
        .iter()
        .flat_map(|directory| files(&root.join(directory), "yaml"))
        .map(read)
        .collect();
    texts.extend(rules().iter().flat_map(|rule| [rule.example.bad, rule.example.good]).map(str::to_owned));
    for tests in
        ["crates/check/src/check/fix/tests.rs", "crates/manifest/src/edit/tests.rs", "tests/check_fix.rs"]
    {
        for literal in literals(&read(root.join(tests))) {
            texts.push(format!("{COMPANY}\n  displayName: A\n  domains: {literal}\n"));
            texts.push(format!("{COMPANY}\n  displayName: A\n  domains:\n  {literal}\n"));
            texts.push(format!("{COMPANY}\n  displayName: {literal}\n"));
            texts.push(literal);
        }
    }
    texts.into_iter().map(String::into_bytes).collect()
}

/// Certificates and keys of a CA and of a server.
fn pems() -> Vec<Vec<u8>> {
    let validity = Validity::from_now(unix_now(), 3650 * DAY);
    let authority = Authority::create("fuzz CA", validity).unwrap();
    let names = ["crm-admission.crm-system.svc", "127.0.0.1", "::1"].map(str::to_owned);
    let server = authority.issue("fuzz", &names, validity).unwrap();
    let ca = crm_admission::pki::write(&[authority.certificate().clone()]).into_bytes();
    let der = certificates(&server.certificate).remove(0).to_vec();
    let chain = [server.certificate.clone(), ca.clone()].concat();
    let with_key = [server.certificate.clone(), server.key.clone()].concat();
    let ca_with_key = [ca.clone(), authority.key_pem().into_bytes()].concat();
    vec![
        authority.certificate().to_vec(),
        der,
        ca,
        server.certificate,
        server.key,
        chain,
        with_key,
        ca_with_key,
    ]
}

/// The objects of a text; none if it cannot be read.
fn objects(text: &str) -> Vec<Value> {
    let documents = crm_manifest::documents(text).unwrap_or_default();
    documents.into_iter().map(|(_, value)| value).filter(Value::is_object).collect()
}

/// The files with this extension, recursively.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|given| given == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The blocks of YAML in a page.
fn blocks(page: &str) -> Vec<String> {
    let block = Regex::new(r"(?s)```yaml\n(.*?)```").unwrap();
    block.captures_iter(page).map(|found| found[1].to_owned()).collect()
}

/// The strings in Rust code, with their escapes resolved.
fn literals(code: &str) -> Vec<String> {
    let literal = Regex::new(r##"(?s)r#"(.*?)"#|"((?:[^"\\]|\\.)*)""##).unwrap();
    let escape = Regex::new(r#"\\(?:u\{([0-9a-fA-F]+)\}|(.))"#).unwrap();
    let resolved = |found: &regex::Captures<'_>| match (found.get(1), found.get(2).map_or("", |c| c.as_str()))
    {
        (Some(code), _) => {
            let code = u32::from_str_radix(code.as_str(), 16).ok();
            code.and_then(char::from_u32).unwrap_or_default().to_string()
        }
        (None, "n") => "\n".to_owned(),
        (None, "r") => "\r".to_owned(),
        (None, "t") => "\t".to_owned(),
        (None, other) => other.to_owned(),
    };
    let text = |found: regex::Captures<'_>| match (found.get(1), found.get(2)) {
        (Some(raw), _) => raw.as_str().to_owned(),
        (_, quoted) => escape.replace_all(quoted.map_or("", |text| text.as_str()), resolved).into_owned(),
    };
    literal.captures_iter(code).map(text).filter(|text| text.len() > 1).collect()
}
