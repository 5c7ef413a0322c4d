//! Checks and fixes a YAML file; only values that are not canonical change, and only once.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use crm_check::check::fix::fix;
use crm_check::check::{Applier, Bundle, Existing, Judge, Known};
use crm_check::report::{Colour, Format, Report, render};
use crm_core::catalog::Action;
use crm_core::normalize::{DomainLists, domain};
use crm_core::policy::Policy;
use crm_manifest::{Input, Variables, unified_diff};
use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;

static JUDGE: LazyLock<Judge> =
    LazyLock::new(|| Judge::new(Policy::default(), None, Timestamp::UNIX_EPOCH).unwrap());
static LISTS: LazyLock<DomainLists> = LazyLock::new(DomainLists::default);

/// The fields whose values `--fix` may change.
const STRINGS: [&str; 2] = ["displayName", "linkedinProfile"];
const DOMAINS: &str = "domains";

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(text) else { return Corpus::Reject };
    check("a.yaml", text);
    if text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) {
        check("a.json", text);
    }
    Corpus::Keep
});

fn check(name: &str, before: &str) {
    let report = report(name, before);
    for format in [Format::Text, Format::Json, Format::Junit, Format::Sarif, Format::Github] {
        assert!(!render(&report, format, Action::Warn, Colour::Plain).is_empty());
    }
    let Some(after) = fixed(name, before) else { return };
    assert_ne!(before, after);
    assert_eq!(fixed(name, &after), None, "the second fix of:\n{before}\nfixed to:\n{after}");
    assert!(!unified_diff(name, before, &after).is_empty());
    let (old, new) = (input(name, before), input(name, &after));
    assert_eq!((old.documents().len(), old.errors().len()), (new.documents().len(), new.errors().len()));
    for (old, new) in values(&old).iter().zip(&values(&new)) {
        compare(old, new, false);
    }
    let denials = |report: &Report| report.count(Action::Deny);
    assert!(denials(&self::report(name, &after)) <= denials(&report), "{before}\nfixed to:\n{after}");
}

fn input(name: &str, text: &str) -> Input {
    Input::new(Path::new(name), text.to_owned())
}

fn values(input: &Input) -> Vec<Value> {
    input.documents().iter().map(|document| document.tree.value(document.tree.root)).collect()
}

fn report(name: &str, text: &str) -> Report {
    let bundle = Bundle::new(vec![input(name, text)], Variables::default());
    let known = Known { bundle: Existing::new(&bundle), complete: true, ..Known::default() };
    JUDGE.report(&bundle, &known, Some(Applier::Kubectl), &|| ())
}

/// The text that `--fix` would write; `None` if it would not write.
fn fixed(name: &str, text: &str) -> Option<String> {
    let bundle = Bundle::new(vec![input(name, text)], Variables::default());
    fix(&bundle, &JUDGE).rewritten.pop().map(|rewritten| rewritten.after)
}

/// Fails if a value differs that `--fix` must not change.
fn compare(old: &Value, new: &Value, in_spec: bool) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            assert!(old.keys().eq(new.keys()), "{old:?}\n{new:?}");
            for ((key, old), new) in old.iter().zip(new.values()) {
                match (old, new) {
                    (Value::String(_), Value::String(_)) if in_spec && STRINGS.contains(&key.as_str()) => {}
                    (Value::Array(old), Value::Array(new)) if in_spec && key == DOMAINS => {
                        assert_eq!(canonical(old), canonical(new));
                    }
                    (old, new) => compare(old, new, key == "spec"),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len());
            for (old, new) in old.iter().zip(new) {
                compare(old, new, false);
            }
        }
        (old, new) => assert_eq!(old, new),
    }
}

/// The canonical values of a list of domains, each once. Those that have none stay.
fn canonical(list: &[Value]) -> Vec<Value> {
    let mut domains = Vec::new();
    for entry in list {
        let name = entry.as_str().and_then(|text| domain(text, &LISTS).ok());
        let entry = name.map_or_else(|| entry.clone(), |name| Value::from(name.as_ref()));
        if !entry.is_string() || !domains.contains(&entry) {
            domains.push(entry);
        }
    }
    domains
}
