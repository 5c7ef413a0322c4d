//! Compares what `crm-manifest` and kubectl make of a file.

use std::path::Path;

use crm_manifest::{Input, SyntaxError};
use serde_json::{Number, Value};

use super::kubectl::Read;

/// What ends a line in YAML, but not for kubectl when it looks for separators.
const LINE_BREAKS: [char; 4] = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];
/// The maximum number of levels, as documented.
const MAX_DEPTH: u64 = 128;

/// What differs; `None` if nothing does but what is meant to.
pub(crate) fn difference(text: &str, theirs: &Read) -> Option<String> {
    let ours = Input::new(Path::new("a.yaml"), text.to_owned());
    let values: Vec<Value> =
        ours.documents().iter().map(|document| document.tree.value(document.tree.root)).collect();
    let ours = ours.errors();
    match &theirs.error {
        Some(_) if !ours.is_empty() => None,
        Some(error) => Some(format!("only kubectl does not accept it: {error}; we read {values:?}")),
        None if ours.is_empty() => {
            let is_same = values.len() == theirs.documents.len()
                && values.iter().zip(&theirs.documents).all(|(ours, theirs)| is_same(ours, theirs));
            (!is_same).then(|| format!("we read {values:?}, kubectl {:?}", theirs.documents))
        }
        None => {
            // The messages for JSON that kubectl takes for YAML, of which it then leaves out a part, are those of JSON.
            let json =
                ours.iter().position(|error| theirs.leaves_out && error.message.starts_with("not JSON: "));
            let unmeant =
                ours.iter().take(json.unwrap_or(ours.len())).find(|error| !is_meant(text, error, theirs))?;
            Some(format!("only we do not accept it: {unmeant}; kubectl reads {:?}", theirs.documents))
        }
    }
}

/// Whether we do not accept on purpose what kubectl reads. `docs/ci.md` lists the reasons for its readers.
fn is_meant(text: &str, error: &SyntaxError, theirs: &Read) -> bool {
    let message = error.message.as_str();
    // The last one wins in kubectl, the first one in other tools, and nobody means to write both.
    let is_duplicate = message.starts_with("duplicate key ") && theirs.has_duplicates;
    // Nobody means to write a document that is never sent.
    let is_left_out = message.starts_with("kubectl leaves out the text") && theirs.leaves_out;
    // For kubectl, only a line feed ends the line of a separator, which it cuts off.
    let is_on_a_separator = message
        .starts_with("kubectl leaves out the text from here to the next line feed")
        && text.split('\n').any(|line| line.starts_with("---") && line.contains(LINE_BREAKS));
    // A limit for attacks.
    let is_deep = (message.starts_with("nested deeper than")
        || message.ends_with("recursion limit exceeded"))
        && theirs.depth + 1 >= MAX_DEPTH;
    // What kubectl does not send is of no interest to it, but such a value comes with a duplicate.
    let is_overridden =
        ["infinity and not-a-number", "a key must not be empty", "the number is too large for a key"]
            .iter()
            .any(|start| message.starts_with(start))
            && theirs.has_duplicates;
    is_duplicate
        || is_left_out
        || is_on_a_separator
        || is_overridden
        || is_deep
        || is_half_a_pair(text, message, theirs)
        || (theirs.leaves_out && is_behind_the_end(text, error))
}

/// Whether kubectl replaces half of a surrogate pair in JSON by U+FFFD. Nobody means to write that.
fn is_half_a_pair(text: &str, message: &str, theirs: &Read) -> bool {
    let is_about_escapes = message.contains("hex escape") || message.contains("Unicode character escape");
    is_about_escapes
        && !text.contains(char::REPLACEMENT_CHARACTER)
        && theirs.documents.iter().any(|document| document.to_string().contains(char::REPLACEMENT_CHARACTER))
}

/// Whether a character that is not allowed is in text that kubectl does not read, which we do not accept anyway.
fn is_behind_the_end(text: &str, error: &SyntaxError) -> bool {
    let is_control = error.message == "control characters are not allowed";
    is_control
        && text.char_indices().any(|(at, _)| {
            let before = Input::new(Path::new("a.yaml"), text.get(..at).unwrap_or_default().to_owned());
            before.errors().iter().any(|error| error.message.starts_with("kubectl leaves out the text"))
        })
}

/// Whether two values are the same. kubectl sends a whole number without a fraction, however it was written.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => is_same_number(ours, theirs),
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, ours)| theirs.get(key).is_some_and(|theirs| is_same(ours, theirs)))
        }
        _ => ours == theirs,
    }
}

fn is_same_number(ours: &Number, theirs: &Number) -> bool {
    if let (Some(ours), Some(theirs)) = (ours.as_i64(), theirs.as_i64()) {
        return ours == theirs;
    }
    let (Some(ours), Some(theirs)) = (ours.as_f64(), theirs.as_f64()) else {
        return false;
    };
    // The library that reads kubectl's answer may miss the last bit.
    (ours - theirs).abs() <= ours.abs() * 2.0 * f64::EPSILON
}
