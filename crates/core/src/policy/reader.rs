//! Reads a document field by field and collects all problems with their paths. Policies and their tests are read so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::problem::{Problem, Problems};
use crate::api::limits;
use crate::api::names::{NEAR_MISS, nearest, parse_time};

/// The maximum memory of a compiled expression, in bytes. The time to match is at most linear in the string for every
/// expression, so this limits the time too.
const PATTERN_BYTES: usize = 1024 * 1024;
/// The maximum length of an expression, in characters.
const PATTERN_CHARS: usize = 1024;

/// The maximum number of entries of a list in a policy: that of the longest lists in the schema, which the API server
/// enforces.
pub const LONGEST_LIST: usize = limits::POLICY_DOMAINS;
/// The maximum number of problems that are kept. The others are counted, so that an invalid document cannot take much
/// more memory than its own size.
const MAX_PROBLEMS: usize = 1000;

/// The problems found so far.
#[derive(Debug, Default)]
pub struct ProblemList {
    problems: Vec<Problem>,
    left_out: usize,
}

impl ProblemList {
    /// The number of problems, including those that are not kept.
    pub fn len(&self) -> usize {
        self.problems.len() + self.left_out
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether there is a problem at this path or below.
    pub fn has_at(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.field.starts_with(path))
    }

    /// All problems, and one that says how many were left out.
    pub fn into_problems(mut self) -> Problems {
        if self.left_out > 0 {
            let text = format!("Invalid value: and {} more problems", self.left_out);
            self.problems.push(Problem { field: "spec".to_owned(), text });
        }
        Problems(self.problems)
    }

    /// Adds a problem with a value, which the message shows.
    pub fn invalid(&mut self, field: &str, value: &str, text: &str) {
        self.add(field, format!("Invalid value: {value:?}: {text}"));
    }

    /// Adds a problem with a missing value. `text` says what to do.
    pub fn required(&mut self, field: &str, text: &str) {
        self.add(field, format!("Required value: {text}"));
    }

    /// Counts a problem without keeping it; `false` if there is still room for it.
    fn only_counts(&mut self) -> bool {
        let is_full = self.problems.len() >= MAX_PROBLEMS;
        self.left_out += usize::from(is_full);
        is_full
    }

    /// Adds a problem. `text` starts with a prefix of the API machinery, such as `Invalid value: `.
    pub fn add(&mut self, field: &str, text: String) {
        if !self.only_counts() {
            self.problems.push(Problem { field: field.to_owned(), text });
        }
    }
}

/// One object of the document. Each field is read once.
#[derive(Debug)]
pub struct Fields<'a> {
    /// The path of the object, such as `spec.rules[1]`; empty for the document.
    pub path: String,
    fields: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The object at `path`. A null means a missing object.
    pub fn of(path: &str, value: Option<&'a Value>, problems: &mut ProblemList) -> Self {
        let fields = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => {
                problems.add(path, "Invalid value: must be an object".to_owned());
                None
            }
        };
        Self { path: path.to_owned(), fields, known: Vec::new() }
    }

    /// The object in a list entry.
    pub fn entry(path: &str, value: &'a Value, problems: &mut ProblemList) -> Option<Self> {
        if value.is_null() {
            problems.required(path, "must not be empty");
        }
        let fields = Self::of(path, Some(value), problems);
        fields.exists().then_some(fields)
    }

    /// The path of a field of this object.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether the object exists.
    pub fn exists(&self) -> bool {
        self.fields.is_some()
    }

    /// The value of a field. A null means a missing value.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    /// The object in a field. A null means a missing object.
    pub fn object(&mut self, name: &'static str, problems: &mut ProblemList) -> Fields<'a> {
        let value = self.value(name);
        Fields::of(&self.at(name), value, problems)
    }

    /// The string in a field. A value of another type is a problem.
    pub fn string(&mut self, name: &'static str, problems: &mut ProblemList) -> Option<&'a str> {
        match self.value(name)? {
            Value::String(string) => Some(string),
            other => {
                problems.invalid(&self.at(name), &other.to_string(), "must be a string; put it in quotes");
                None
            }
        }
    }

    /// A string that must be set and not be empty.
    pub fn required_string(&mut self, name: &'static str, problems: &mut ProblemList) -> Option<&'a str> {
        let wrong_type = self.value(name).is_some_and(|value| !value.is_string());
        let text = self.string(name, problems).filter(|text| !text.is_empty());
        if text.is_none() && !wrong_type {
            problems.required(&self.at(name), "set it");
        }
        text
    }

    /// One of a fixed set of values.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
        problems: &mut ProblemList,
    ) -> Option<T> {
        if let Some(Value::Bool(flag)) = self.value(name) {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let note = "YAML reads bare words such as Off and No as booleans";
            problems.add(&self.at(name), format!("Unsupported value: {flag}: {note}; {}", supported(&words)));
            return None;
        }
        let text = self.string(name, problems)?;
        let meant = words.iter().find(|(word, _)| *word == text);
        if meant.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            problems.add(&self.at(name), unsupported(text, &words));
        }
        meant.map(|(_, value)| *value)
    }

    /// The boolean in a field.
    pub fn flag(&mut self, name: &'static str, problems: &mut ProblemList) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                problems.invalid(&self.at(name), &other.to_string(), "must be true or false");
                None
            }
        }
    }

    /// The time in a field.
    pub fn time(&mut self, name: &'static str, problems: &mut ProblemList) -> Option<Timestamp> {
        let text = self.string(name, problems)?;
        let time = parse_time(text);
        if time.is_none() {
            problems.invalid(&self.at(name), text, "must be a time such as 2027-01-15T00:00:00Z");
        }
        time
    }

    /// The regular expression in a field. It is limited in length and memory.
    pub fn pattern(&mut self, name: &'static str, problems: &mut ProblemList) -> Option<Regex> {
        let text = self.string(name, problems)?;
        let path = self.at(name);
        if text.chars().count() > PATTERN_CHARS {
            problems.add(&path, format!("Invalid value: longer than {PATTERN_CHARS} characters"));
            return None;
        }
        let compiled =
            RegexBuilder::new(text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
        match compiled {
            Ok(regex) => Some(regex),
            Err(regex::Error::CompiledTooBig(_)) => {
                problems.invalid(&path, text, "needs too much memory; use smaller repetitions");
                None
            }
            Err(error) => {
                // The error has several lines, and only the last one has the reason.
                let error = error.to_string();
                let reason =
                    error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                problems.invalid(&path, text, &format!("invalid regular expression: {reason}"));
                None
            }
        }
    }

    /// The entries of a list, each with its path; `None` for a missing list.
    pub fn list(
        &mut self,
        name: &'static str,
        problems: &mut ProblemList,
    ) -> Option<Vec<(String, &'a Value)>> {
        self.list_of(name, usize::MAX, problems)
    }

    /// The entries of a list with at most `max` entries. A longer list is one problem, and its entries are not read.
    pub fn list_of(
        &mut self,
        name: &'static str,
        max: usize,
        problems: &mut ProblemList,
    ) -> Option<Vec<(String, &'a Value)>> {
        let path = self.at(name);
        match self.value(name)? {
            Value::Array(entries) if entries.len() > max => {
                let number = entries.len();
                problems
                    .add(&path, format!("Invalid value: has {number} entries; at most {max} are allowed"));
                None
            }
            Value::Array(entries) => {
                let at = |(index, entry)| (format!("{path}[{index}]"), entry);
                Some(entries.iter().enumerate().map(at).collect())
            }
            _ => {
                problems.add(&path, "Invalid value: must be a list".to_owned());
                None
            }
        }
    }

    /// The entries of a list of strings, without those of other types. There are at most [`LONGEST_LIST`].
    pub fn strings(
        &mut self,
        name: &'static str,
        problems: &mut ProblemList,
    ) -> Option<Vec<(String, &'a str)>> {
        let entries = self.list_of(name, LONGEST_LIST, problems)?;
        let text = |(path, entry): (String, &'a Value)| match entry {
            Value::String(text) => Some((path, text.as_str())),
            other => {
                problems.invalid(&path, &other.to_string(), "must be a string; put it in quotes");
                None
            }
        };
        Some(entries.into_iter().filter_map(text).collect())
    }

    /// The map in a field, from keys to lists of strings, where a string is a list of one; `None` for a missing map.
    pub fn map_of_strings(
        &mut self,
        name: &'static str,
        problems: &mut ProblemList,
    ) -> Option<BTreeMap<String, Vec<String>>> {
        let map = self.object(name, problems);
        let mut values = BTreeMap::new();
        for (key, value) in map.fields? {
            let at = map.at(key);
            let entries = match value {
                Value::String(one) => Some(vec![one.as_str()]),
                Value::Array(entries) => entries.iter().map(Value::as_str).collect::<Option<Vec<&str>>>(),
                _ => None,
            };
            match entries {
                Some(entries) => {
                    values.insert(key.clone(), entries.into_iter().map(str::to_owned).collect());
                }
                None => problems.add(&at, "Invalid value: must be a list of strings".to_owned()),
            }
        }
        Some(values)
    }

    /// Reports every field that was not read, because a misspelled field would have no effect.
    pub fn report_unknown(self, problems: &mut ProblemList) {
        for name in self.fields.into_iter().flat_map(Map::keys) {
            // Looking for what was meant takes time.
            if !self.known.contains(&name.as_str()) && !problems.only_counts() {
                let hint = match did_you_mean(name, &self.known) {
                    none if none.is_empty() => format!("; the fields are {}", self.known.join(", ")),
                    hint => hint,
                };
                problems.add(&self.at(name), format!("Forbidden: unknown field{hint}"));
            }
        }
    }
}

/// The message about an unknown word.
pub fn unsupported(word: &str, known: &[&str]) -> String {
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
