//! Tests the format of log lines, and that no value can break it.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crm_core::characters::is_invisible;
use serde_json::{Value, json};

use super::*;

/// Collects log output.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, filter: &str, colours: Colours, event: impl FnOnce()) -> String {
    let sink = Sink::default();
    let writer = sink.clone();
    let filter = choose_filter(Some(filter), |_| None).unwrap();
    let subscriber = subscriber(format, filter, colours, move || writer.clone());
    tracing::subscriber::with_default(subscriber, event);
    String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn json_lines_have_their_fields_at_the_top_level() {
    let line = logged(LogFormat::Json, "info", Colours::No, || tracing::info!(uid = "u-1", "decided"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["uid"], "u-1");
    assert_eq!(line["message"], "decided");
    assert_eq!(line["level"], "INFO");
}

#[test]
fn text_has_colours_only_on_request() {
    let event = || tracing::info!("decided");
    assert!(!logged(LogFormat::Text, "info", Colours::No, event).contains('\u{1b}'));
    assert!(logged(LogFormat::Text, "info", Colours::Yes, event).contains('\u{1b}'));
}

#[test]
fn the_filter_hides_lower_levels() {
    let event = || tracing::debug!("detail");
    assert_eq!(logged(LogFormat::Text, "info", Colours::No, event), "");
    assert!(logged(LogFormat::Text, "debug", Colours::No, event).contains("detail"));
}

#[test]
fn the_command_line_overrides_our_variable_which_overrides_the_common_one() {
    let both = |name: &str| Some(if name == "RUST_LOG" { "trace" } else { "warn" }.to_owned());
    let common = |name: &str| (name == "RUST_LOG").then(|| "trace".to_owned());
    let level = |given, variable: &dyn Fn(&str) -> Option<String>| {
        let filter = choose_filter(given, variable).unwrap().to_string();
        let own = filter.split(',').filter(|directive| !directive.contains("=off"));
        own.map(str::to_owned).collect::<String>()
    };
    assert_eq!(level(Some("error"), &both), "error");
    assert_eq!(level(None, &both), "warn");
    assert_eq!(level(None, &common), "trace");
    assert_eq!(level(None, &|_| None), "info");
    assert_eq!(level(None, &|_| Some(String::new())), "info");
}

#[test]
fn the_client_library_is_silent_unless_the_filter_names_it() {
    let event = || tracing::warn!(target: "kube_client", "a body");
    assert_eq!(logged(LogFormat::Text, "debug", Colours::No, event), "");
    assert!(logged(LogFormat::Text, "info,kube_client=warn", Colours::No, event).contains("a body"));
}

#[test]
fn a_panic_shows_only_literal_messages() {
    let literal = std::panic::catch_unwind(|| panic!("index out of range")).unwrap_err();
    assert_eq!(panic_message(&*literal), "index out of range");
    let name = String::from("acme");
    let formatted = std::panic::catch_unwind(|| panic!("no {name}")).unwrap_err();
    assert_eq!(panic_message(&*formatted), "(message withheld)");
}

#[test]
fn an_invalid_filter_is_reported_with_the_name_of_its_variable() {
    let bad = |name: &str| (name == "CRM_ADMISSION_LOG").then(|| "crm=loud".to_owned());
    let error = choose_filter(None, bad).unwrap_err().to_string();
    assert!(error.starts_with(r#"CRM_ADMISSION_LOG: "crm=loud" is not a log filter"#), "{error}");
}

/// A type with any debug output.
struct Called<'c>(&'c str);

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One event in both formats.
fn both(event: impl Fn()) -> (String, Value) {
    let text = logged(LogFormat::Text, "info", Colours::No, &event);
    let json = logged(LogFormat::Json, "info", Colours::No, &event);
    assert!(json.ends_with('\n'), "{json}");
    let value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    for line in [&text, &json] {
        let steers =
            |c: char| c != '\n' && c != ' ' && (c.is_control() || c.is_whitespace() || is_invisible(c));
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.contains(steers), "{line:?}");
    }
    (text, value)
}

/// The part after the message.
fn fields(text: &str) -> &str {
    text.trim_end().split_once(": decided ").unwrap().1
}

#[test]
fn a_name_cannot_forge_a_line() {
    let name = "acme\n2026-11-24T00:00:00Z INFO decided user=\"mallory\"";
    let (text, json) = both(|| tracing::info!(name, shown = %name, "decided"));
    let quoted = r#""acme\n2026-11-24T00:00:00Z INFO decided user=\"mallory\"""#;
    assert_eq!(fields(&text), format!("name={quoted} shown={quoted}"));
    let shown = r#"acme\n2026-11-24T00:00:00Z INFO decided user="mallory""#;
    assert_eq!((&json["name"], &json["shown"]), (&json!(shown), &json!(shown)));
    assert_eq!(json["message"], "decided");
}

#[test]
fn a_name_cannot_forge_a_field() {
    let name = "acme user=mallory";
    let (text, _) = both(|| tracing::info!(shown = %name, "decided"));
    assert_eq!(fields(&text), "shown=\"acme user=mallory\"");
    for name in ["a=b", "a\"b", "a\\b", "'a", "", "ü"] {
        let (text, _) = both(|| tracing::info!(shown = %name, "decided"));
        assert_eq!(fields(&text), format!("shown={name:?}"));
    }
}

#[test]
fn a_name_cannot_control_a_terminal() {
    let name = "\u{1b}[2J\u{9b}2J\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{7f}\u{0}\r\t\u{200b}";
    let (text, json) = both(|| tracing::info!(name, shown = %name, debug = ?name, "decided"));
    let shown = r"\u001b[2J\u009b2J\u0085\u2028\u2029\u202e\u2066\u007f\u0000\r\t\u200b";
    assert!(fields(&text).starts_with(&format!("name=\"{shown}\" shown=\"{shown}\" ")), "{text}");
    assert_eq!((&json["name"], &json["shown"]), (&json!(shown), &json!(shown)));
}

#[test]
fn a_message_cannot_break_its_line_and_is_not_cut() {
    let (text, json) = both(|| tracing::info!("{}", Called("a\nb \u{1b}[2J=\"c\"")));
    assert!(text.ends_with(": a\\nb \\u001b[2J=\"c\"\n"), "{text}");
    assert_eq!(json["message"], "a\\nb \\u001b[2J=\"c\"");
    let long = "x".repeat(400);
    let (text, json) = both(|| tracing::info!("{}", Called(&long)));
    assert!(text.trim_end().ends_with(&long) && json["message"] == json!(long), "{text}");
}

#[test]
fn a_value_is_cut_at_253_characters() {
    let longest = "é".repeat(253);
    let longer = "é".repeat(254);
    let large = "é".repeat(1_250_000);
    let cut = format!("{longest}…");
    for (name, expected) in [(&longest, &longest), (&longer, &cut), (&large, &cut)] {
        let (text, json) = both(|| tracing::info!(name, shown = %name, debug = ?name, "decided"));
        assert!(fields(&text).starts_with(&format!("name=\"{expected}\" shown=\"{expected}\" ")), "{text}");
        assert_eq!((&json["name"], &json["shown"]), (&json!(expected), &json!(expected)));
    }
    let escapes = "\n".repeat(2_500_000);
    let (text, json) = both(|| tracing::info!(name = escapes, "decided"));
    assert_eq!(fields(&text), format!("name=\"{}…\"", r"\n".repeat(126)));
    assert_eq!(json["name"], json!(format!("{}…", r"\n".repeat(126))));
}

#[test]
fn a_large_value_is_formatted_only_as_far_as_it_is_shown() {
    /// Counts how much of it is formatted.
    struct Endless<'c>(&'c Cell<usize>);
    impl fmt::Display for Endless<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                self.0.set(self.0.get() + 1);
                f.write_str("x")?;
            }
        }
    }
    let asked = Cell::new(0);
    let (text, _) = both(|| tracing::info!(shown = %Endless(&asked), "decided"));
    assert_eq!(fields(&text), format!("shown=\"{}…\"", "x".repeat(253)));
    assert_eq!(asked.get(), 2 * 255, "once for each format");
}

#[test]
fn an_error_has_its_causes_and_may_be_longer_than_a_name() {
    let cause = io::Error::other("no\nsuch file");
    let error =
        anyhow::Error::new(cause).context("a.yaml: cannot be read").context("again: a.yaml: cannot be read");
    let error: &(dyn std::error::Error + 'static) = error.as_ref();
    let (text, json) = both(|| tracing::info!(error, "decided"));
    let expected = r"again: a.yaml: cannot be read: no\nsuch file";
    assert_eq!(fields(&text), format!("error=\"{expected}\""), "repeated causes appear once");
    assert_eq!(json["error"], expected);

    let large = io::Error::other("é".repeat(2000));
    let (text, json) = both(|| tracing::info!(error = &large as &dyn std::error::Error, "decided"));
    let cut = format!("{}…", "é".repeat(1024));
    assert_eq!((fields(&text), &json["error"]), (&*format!("error=\"{cut}\""), &json!(cut)));
}

#[test]
fn all_problems_of_a_usual_policy_are_logged() {
    let problems = "spec.rules[0].rule: Unsupported value; ".repeat(50);
    let (text, json) = both(|| tracing::info!(%problems, "decided"));
    assert!(text.contains(&problems) && json["problems"] == json!(problems), "{text}");
}

#[test]
fn numbers_and_words_have_no_quotes() {
    let (text, json) = both(|| {
        tracing::info!(user = "alice", kind = %Called("Company"), listen = %Called("[::]:9443"), objects = 3, left = -1, share = 0.5, good = true, delay = ?Duration::from_secs(10), absent = None::<&str>, "decided");
    });
    let expected =
        "user=\"alice\" kind=Company listen=[::]:9443 objects=3 left=-1 share=0.5 good=true delay=10s";
    assert_eq!(fields(&text), expected);
    let mut json = json;
    assert!(json["timestamp"].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{json}");
    json.as_object_mut().unwrap().remove("timestamp");
    let expected = json!({
        "level": "INFO", "message": "decided", "target": "crm_admission::telemetry::logs::tests",
        "user": "alice", "kind": "Company", "listen": "[::]:9443", "objects": 3, "left": -1, "share": 0.5, "good": true,
        "delay": "10s",
    });
    assert_eq!(json, expected);
}

#[test]
fn the_fields_of_spans_are_escaped_and_cut_too() {
    let name = format!("a\n\"{}", "x".repeat(300));
    let (text, json) = both(|| {
        let outer = tracing::info_span!("outer", called = name, count = 1, late = tracing::field::Empty);
        let _outer = outer.enter();
        let inner = tracing::info_span!("inner");
        let _inner = inner.enter();
        outer.record("late", "b\nc");
        tracing::info!("decided");
    });
    let cut = format!("{}…", "x".repeat(249));
    assert!(
        text.contains(&format!(r#"outer{{called="a\n\"{}…" count=1 late="b\nc"}}:inner: "#, "x".repeat(248))),
        "{text}"
    );
    let outer = json!({"name": "outer", "called": format!(r#"a\n"{cut}"#), "count": 1, "late": r"b\nc"});
    assert_eq!(json["spans"], json!([outer, {"name": "inner"}]));
}
