//! Reads a document field by field: what is wrong is noted with its path, and reading goes on.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::api::names::{nearest, parse_time};

/// How like a known word must be to what was written to be suggested (Jaro-Winkler, 0 to 1).
const NEAR_MISS: f64 = 0.8;

/// The problems found so far.
#[derive(Default)]
pub(super) struct Notes(pub(super) Vec<Problem>);

impl Notes {
    pub(super) fn invalid(&mut self, field: &str, value: &str, text: &str) {
        self.note(field, format!("Invalid value: {value:?}: {text}"));
    }

    pub(super) fn required(&mut self, field: &str, text: &str) {
        self.note(field, format!("Required value: {text}"));
    }

    pub(super) fn note(&mut self, field: &str, text: String) {
        self.0.push(Problem { field: field.to_owned(), text });
    }
}

/// One object of the document, of which each field is read once.
pub(super) struct Fields<'a> {
    pub(super) path: String,
    fields: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The object at `path`. A null is an absent one, in which no field is given.
    pub(super) fn of(path: &str, value: Option<&'a Value>, notes: &mut Notes) -> Self {
        let fields = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => {
                notes.note(path, "Invalid value: must be an object".to_owned());
                None
            }
        };
        Self { path: path.to_owned(), fields, known: Vec::new() }
    }

    /// The object that a list entry must be.
    pub(super) fn entry(path: &str, value: &'a Value, notes: &mut Notes) -> Option<Self> {
        if value.is_null() {
            notes.required(path, "an entry must not be empty");
        }
        let fields = Self::of(path, Some(value), notes);
        fields.are_given().then_some(fields)
    }

    /// The path of a field of this object.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether the object is there.
    pub(super) fn are_given(&self) -> bool {
        self.fields.is_some()
    }

    /// The value of a field; a null is no value.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn object(&mut self, name: &'static str, notes: &mut Notes) -> Fields<'a> {
        let value = self.value(name);
        Fields::of(&self.at(name), value, notes)
    }

    pub(super) fn text(&mut self, name: &'static str, notes: &mut Notes) -> Option<&'a str> {
        match self.value(name)? {
            Value::String(text) => Some(text),
            other => {
                notes.invalid(&self.at(name), &other.to_string(), "must be a text; put it in quotes");
                None
            }
        }
    }

    /// A text that must be there and not be empty.
    pub(super) fn required_text(&mut self, name: &'static str, notes: &mut Notes) -> Option<&'a str> {
        let wrong_type = self.value(name).is_some_and(|value| !value.is_string());
        let text = self.text(name, notes).filter(|text| !text.is_empty());
        if text.is_none() && !wrong_type {
            notes.required(&self.at(name), "set it");
        }
        text
    }

    /// One of a closed set of words, given with their meanings.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
        notes: &mut Notes,
    ) -> Option<T> {
        if let Some(Value::Bool(flag)) = self.value(name) {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let note = "YAML reads bare words such as Off and No as booleans";
            notes.note(&self.at(name), format!("Unsupported value: {flag}: {note}; {}", supported(&words)));
            return None;
        }
        let text = self.text(name, notes)?;
        let meant = words.iter().find(|(word, _)| *word == text);
        if meant.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            notes.note(&self.at(name), unsupported(text, &words));
        }
        meant.map(|(_, value)| *value)
    }

    pub(super) fn flag(&mut self, name: &'static str, notes: &mut Notes) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                notes.invalid(&self.at(name), &other.to_string(), "must be true or false");
                None
            }
        }
    }

    pub(super) fn time(&mut self, name: &'static str, notes: &mut Notes) -> Option<Timestamp> {
        let text = self.text(name, notes)?;
        let time = parse_time(text);
        if time.is_none() {
            notes.invalid(&self.at(name), text, "must be a time such as 2027-01-15T00:00:00Z");
        }
        time
    }

    /// The entries of a list, each with its path; `None` for a list that is absent.
    pub(super) fn list(&mut self, name: &'static str, notes: &mut Notes) -> Option<Vec<(String, &'a Value)>> {
        let path = self.at(name);
        match self.value(name)? {
            Value::Array(entries) => {
                let at = |(index, entry)| (format!("{path}[{index}]"), entry);
                Some(entries.iter().enumerate().map(at).collect())
            }
            _ => {
                notes.note(&path, "Invalid value: must be a list".to_owned());
                None
            }
        }
    }

    /// The entries of a list of texts; those of other types are left out.
    pub(super) fn texts(&mut self, name: &'static str, notes: &mut Notes) -> Option<Vec<(String, &'a str)>> {
        let entries = self.list(name, notes)?;
        let text = |(path, entry): (String, &'a Value)| match entry {
            Value::String(text) => Some((path, text.as_str())),
            other => {
                notes.invalid(&path, &other.to_string(), "must be a text; put it in quotes");
                None
            }
        };
        Some(entries.into_iter().filter_map(text).collect())
    }

    /// Notes every field that was never asked for: a misspelled one would else be without effect.
    pub(super) fn end(self, notes: &mut Notes) {
        for name in self.fields.into_iter().flat_map(Map::keys) {
            if !self.known.contains(&name.as_str()) {
                let hint = did_you_mean(name, &self.known);
                notes.note(&self.at(name), format!("Forbidden: unknown field{hint}"));
            }
        }
    }
}

/// The message about a word that is not among the known ones.
pub(super) fn unsupported(word: &str, known: &[&str]) -> String {
    let hint = did_you_mean(word, known).replacen("; ", "", 1);
    let space = if hint.is_empty() { "" } else { " " };
    format!("Unsupported value: {word:?}: {hint}{space}{}", supported(known))
}

fn supported(words: &[&str]) -> String {
    let listed: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("supported values: {}", listed.join(", "))
}

fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(known.iter().copied(), word, NEAR_MISS) {
        Some(meant) => format!("; did you mean {meant:?}?"),
        None => String::new(),
    }
}
