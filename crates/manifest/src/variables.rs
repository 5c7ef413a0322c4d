//! Replaces variables in a string as Flux does: `${NAME}`, `${NAME:=default}`, and `$$` for a `$`.
//!
//! Flux replaces them in the YAML that it has built, not in the file. So the quotes of the file are lost, and a string can
//! become a number, a boolean or a list.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::documents::documents;
use crate::edit::is_plain_in_block;

/// The maximum depth of defaults in defaults, so that a string cannot exhaust the stack.
const MAX_DEPTH: usize = 16;

/// The values of variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

/// A string with its variables replaced, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// Its parts, in order.
    pub parts: Vec<Part>,
    /// The names of the variables in it, except those in defaults that are not used.
    pub names: BTreeSet<String>,
}

/// A part of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text, or the value of a variable.
    Text(String),
    /// A variable without a value and a default: its name.
    Unknown(String),
    /// An expression that is not evaluated, as it is written: a function such as `${NAME,,}`, or one that Flux cannot
    /// read.
    Expression(String),
}

/// The place of a string in YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A list.
    List,
    /// A map.
    Map,
}

impl Variables {
    /// Whether a variable can have this name: letters, digits and `_`, without a digit at its start.
    pub fn is_name(name: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(is_part)
    }

    /// Sets a variable. Line breaks are removed from the value, as Flux does.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.replace('\n', ""));
    }

    /// Replaces the variables in a string; `None` if it has neither `${` nor `$$`.
    pub fn expand(&self, text: &str) -> Option<Expansion> {
        if !has_variables(text) {
            return None;
        }
        let mut expanding = Expanding { variables: self, rest: text, names: BTreeSet::new() };
        let parts = expanding.all();
        Some(Expansion { parts, names: expanding.names })
    }
}

/// Whether a string would change if every variable in it was known.
pub fn has_variables(text: &str) -> bool {
    text.contains("${") || text.contains("$$")
}

impl Part {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unknown(_) | Self::Expression(_) => None,
        }
    }
}

impl Expansion {
    /// The whole text; `None` if a part is unknown.
    pub fn text(&self) -> Option<String> {
        self.parts.iter().map(Part::text).collect()
    }

    /// Whether a string is this one for some values of what is unknown.
    pub fn can_be(&self, text: &str) -> bool {
        let known: Vec<Option<&str>> = self.parts.iter().map(Part::text).collect();
        let is_open = |part: Option<&Option<&str>>| part.is_some_and(Option::is_none);
        let (starts_open, ends_open) = (is_open(known.first()), is_open(known.last()));
        matches(text, &known.into_iter().flatten().collect::<Vec<_>>(), starts_open, ends_open)
    }
}

/// Whether a text consists of these parts in their order, with anything between them. It starts with the first part and
/// ends with the last one, unless that end is open.
fn matches(text: &str, parts: &[&str], starts_open: bool, ends_open: bool) -> bool {
    let mut rest = text;
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let after = match (index == 0 && !starts_open, is_last && !ends_open) {
            (true, true) => return rest == *part,
            (true, false) => rest.strip_prefix(part),
            (false, true) => return rest.ends_with(part),
            (false, false) => rest.split_once(part).map(|(_, after)| after),
        };
        let Some(after) = after else { return false };
        rest = after;
    }
    rest.is_empty() || ends_open
}

/// The value that Flux reads where the string `written` stood, after variables have made `text` of it.
///
/// # Errors
/// Why it is not YAML.
pub fn reread(written: &str, text: &str, holder: Holder) -> Result<Value, String> {
    // A string that needs quotes in YAML has them when variables are replaced.
    if !is_plain_in_block(written) {
        return Ok(Value::String(text.to_owned()));
    }
    let (document, step) = match holder {
        Holder::List => (format!("- {text}\n"), "/0"),
        Holder::Map => (format!("value: {text}\n"), "/value"),
    };
    let read = documents(&document).map_err(|error| error.message)?;
    let read = read.first().and_then(|(_, value)| value.pointer(step)).cloned();
    read.ok_or_else(|| "it is not one value".to_owned())
}

struct Expanding<'t> {
    variables: &'t Variables,
    rest: &'t str,
    names: BTreeSet<String>,
}

impl Expanding<'_> {
    fn all(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some((before, after)) = self.rest.split_once('$') {
            push(&mut parts, before);
            if let Some(after) = after.strip_prefix('$') {
                push(&mut parts, "$");
                self.rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                self.rest = after;
                let found = self.expression(0);
                append(&mut parts, found);
            } else {
                push(&mut parts, "$");
                self.rest = after;
            }
        }
        push(&mut parts, self.rest);
        parts
    }

    /// An expression, after its `${`.
    fn expression(&mut self, depth: usize) -> Vec<Part> {
        let inner = self.rest;
        let evaluated = if depth < MAX_DEPTH { self.evaluated(depth) } else { None };
        evaluated.unwrap_or_else(|| {
            let end = end(inner);
            self.rest = inner.get(end..).unwrap_or_default();
            vec![Part::Expression(format!("${{{}", inner.get(..end).unwrap_or(inner)))]
        })
    }

    fn evaluated(&mut self, depth: usize) -> Option<Vec<Part>> {
        let is_end = |c: char| !c.is_alphanumeric() && c != '_';
        let (name, after) = self.rest.split_at_checked(self.rest.find(is_end)?)?;
        if name.is_empty() {
            return None;
        }
        let value = self.variables.0.get(name).map(String::as_str);
        if let Some(after) = after.strip_prefix('}') {
            self.rest = after;
            self.names.insert(name.to_owned());
            return Some(vec![match value {
                Some(value) => Part::Text(value.to_owned()),
                None => Part::Unknown(name.to_owned()),
            }]);
        }
        let default = [":=", ":-", "="].into_iter().find_map(|sign| after.strip_prefix(sign))?;
        self.rest = default;
        let before = self.names.clone();
        let default = self.default(depth)?;
        // An empty value counts as none here.
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            self.names.insert(name.to_owned());
            return Some(default);
        };
        self.names = before;
        self.names.insert(name.to_owned());
        Some(vec![Part::Text(value.to_owned())])
    }

    /// A default up to its closing bracket. Only here, `$$` has no meaning.
    fn default(&mut self, depth: usize) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        loop {
            let at = self.rest.find('}')?;
            let inner = self.rest.find("${").filter(|inner| *inner < at);
            push(&mut parts, self.rest.get(..inner.unwrap_or(at))?);
            let Some(inner) = inner else {
                self.rest = self.rest.get(at + 1..)?;
                return Some(parts);
            };
            self.rest = self.rest.get(inner + 2..)?;
            let found = self.expression(depth + 1);
            append(&mut parts, found);
        }
    }
}

/// The byte after the bracket that closes an expression, or the end of the text.
fn end(inner: &str) -> usize {
    let mut depth = 1_usize;
    for (at, c) in inner.char_indices() {
        match c {
            '{' if inner.get(..at).is_some_and(|before| before.ends_with('$')) => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    inner.len()
}

fn append(parts: &mut Vec<Part>, more: Vec<Part>) {
    for part in more {
        match part {
            Part::Text(text) => push(parts, &text),
            other => parts.push(other),
        }
    }
}

fn push(parts: &mut Vec<Part>, more: &str) {
    match parts.last_mut() {
        _ if more.is_empty() => {}
        Some(Part::Text(text)) => text.push_str(more),
        _ => parts.push(Part::Text(more.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn variables() -> Variables {
        let mut variables = Variables::default();
        variables.set("A", "acme");
        variables.set("LINES", "a\nb\n");
        variables.set("EMPTY", "");
        variables
    }

    #[rstest]
    #[case::a_variable("x-${A}.com", "x-acme.com")]
    #[case::two("${A}${A}", "acmeacme")]
    #[case::an_escape("$${A} costs $$5", "${A} costs $5")]
    #[case::an_escaped_escape("$$$${A}", "$${A}")]
    #[case::no_variable("$A $ ${A}", "$A $ acme")]
    #[case::an_unused_default("${A:=b}${A:-b}${A=b}", "acmeacmeacme")]
    #[case::a_default("${B:=b}${B:-c}${B=d}", "bcd")]
    #[case::an_empty_default("[${B:=}]", "[]")]
    #[case::a_default_for_an_empty_value("${EMPTY:=b}[${EMPTY}]", "b[]")]
    #[case::a_default_with_a_variable("${B:=x-${A}-${C:-$$c}}}", "x-acme-$$c}")]
    #[case::line_breaks_in_a_value("${LINES}", "ab")]
    fn what_is_known_is_replaced(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(variables().expand(text).unwrap().text().as_deref(), Some(expected));
    }

    #[rstest]
    #[case::a_variable("${B}", "B")]
    #[case::in_a_default("${B:=${C}}", "C")]
    #[case::a_function("${A,,}", "${A,,}")]
    #[case::a_slice("a-${A:0:3}", "${A:0:3}")]
    #[case::another_default("${A:+x}", "${A:+x}")]
    #[case::a_replacement_with_a_variable("${A/a/${B}}", "${A/a/${B}}")]
    #[case::a_length("${#A}", "${#A}")]
    #[case::no_name("${}", "${}")]
    #[case::no_name_at_all("${user.name}", "${user.name}")]
    #[case::no_end("${A", "${A")]
    #[case::no_end_of_a_default("${B:=${A}", "${B:=${A}")]
    fn what_is_unknown_is_named(#[case] text: &str, #[case] expected: &str) {
        let expansion = variables().expand(text).unwrap();
        assert_eq!(expansion.text(), None);
        let unknown = expansion.parts.into_iter().find_map(|part| match part {
            Part::Text(_) => None,
            Part::Unknown(name) | Part::Expression(name) => Some(name),
        });
        assert_eq!(unknown.as_deref(), Some(expected));
    }

    #[test]
    fn a_text_without_variables_stays() {
        for text in ["", "acme", "$5", "{A}", "a $ {A}"] {
            assert_eq!(variables().expand(text), None, "{text}");
        }
    }

    #[test]
    fn deep_defaults_are_not_evaluated() {
        let deep = format!("{}{}", "${B:=".repeat(100_000), "}".repeat(100_000));
        assert_eq!(variables().expand(&deep).unwrap().text(), None);
    }

    #[test]
    fn the_variables_that_a_value_depends_on_are_known() {
        let names = |text: &str| variables().expand(text).unwrap().names.into_iter().collect::<Vec<_>>();
        assert_eq!(names("${A:=${C}}-${B:=${D:-x}}"), ["A", "B", "D"]);
    }

    #[test]
    fn names_are_those_of_flux() {
        for name in ["A", "_", "cluster_name2"] {
            assert!(Variables::is_name(name), "{name}");
        }
        for name in ["", "2a", "a-b", "a.b", "ä", "${A}"] {
            assert!(!Variables::is_name(name), "{name}");
        }
    }

    #[rstest]
    #[case::all("${B}", "anything", true)]
    #[case::a_start("acme-${B}", "acme-corp", true)]
    #[case::another_start("acme-${B}", "globex", false)]
    #[case::an_end("${B}-corp", "acme-corp", true)]
    #[case::another_end("${B}-corp", "acme-inc", false)]
    #[case::both("a-${B}-c", "a-b-c", true)]
    #[case::overlapping("aa${B}aa", "aaa", false)]
    #[case::nothing_in_place_of_it("a${B}", "a", true)]
    #[case::between("${B}-${C}", "a-b", true)]
    #[case::not_between("${B}-${C}", "ab", false)]
    fn an_unknown_name_can_be_another_one(#[case] text: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(variables().expand(text).unwrap().can_be(name), expected);
    }

    #[rstest]
    #[case::a_string("${A}", "acme", json!("acme"))]
    #[case::a_boolean("${A}", "true", json!(true))]
    #[case::a_number("${A}${B}", "42", json!(42))]
    #[case::nothing("${A}", "", json!(null))]
    #[case::a_quoted_number("${Q}1${Q}", "\"1\"", json!("1"))]
    #[case::a_list("${A}", "[a.com, b.com]", json!(["a.com", "b.com"]))]
    #[case::a_comment("${A}", "Acme #1", json!("Acme"))]
    #[case::quotes_that_yaml_needs("${A}: ${B}", "1: 2", json!("1: 2"))]
    #[case::lines("${A}\n", "1\n", json!("1\n"))]
    fn a_value_has_the_type_that_yaml_gives_it(
        #[case] written: &str,
        #[case] text: &str,
        #[case] expected: Value,
    ) {
        assert_eq!(reread(written, text, Holder::Map), Ok(expected.clone()));
        assert_eq!(reread(written, text, Holder::List), Ok(expected));
    }

    #[test]
    fn what_is_not_yaml_is_an_error() {
        assert!(reread("${A}", "Acme: the company", Holder::Map).is_err());
        assert!(reread("${A}", "[a.com", Holder::List).is_err());
        let entry = reread("${A}", "name: acme", Holder::List);
        assert_eq!(entry, Ok(json!({"name": "acme"})), "in a list, it is a map");
    }
}
