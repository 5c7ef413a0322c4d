//! Splits a text into documents as kubectl does, and reads each separately, so that a broken one does not affect the
//! others.

use serde_json::Value;

use crate::compose::{self, Fault};
use crate::json;
use crate::text::Text;
use crate::tree::Tree;

/// The line between two documents.
const SEPARATOR: &str = "---";
/// Helm writes it before each document.
const SOURCE: &str = "# Source: ";

/// A place in a text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1, in Unicode characters.
    pub column: usize,
    /// The problem.
    pub message: String,
}

/// The documents of a text, and the problems of those that cannot be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) documents: Vec<Document>,
    pub(crate) errors: Vec<SyntaxError>,
}

/// One document of a text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its values.
    pub tree: Tree,
    /// The Helm template that it was rendered from, according to its `# Source:` comment.
    pub template: Option<String>,
}

/// The syntax of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// YAML, or JSON if the text starts like JSON.
    Yaml,
    /// Only JSON, as the name of the file says.
    Json,
}

/// The values of all documents of a text, each with its first line. Empty documents are omitted.
///
/// # Errors
/// The first place that is not YAML or JSON, or has no JSON form.
pub fn documents(text: &str) -> Result<Vec<(usize, Value)>, SyntaxError> {
    let text = Text::new(text.to_owned());
    let mut parsed = parse(&text, Syntax::Yaml);
    if !parsed.errors.is_empty() {
        return Err(parsed.errors.swap_remove(0));
    }
    let placed = |document: &Document| {
        let tree = &document.tree;
        let (line, _) = text.line_and_column(tree.node(tree.root).range.start);
        (line, tree.value(tree.root))
    };
    Ok(parsed.documents.iter().map(placed).collect())
}

/// Reads all documents of a text.
pub(crate) fn parse(text: &Text, syntax: Syntax) -> Parsed {
    let mut parsed = Parsed::default();
    for (start, part) in parts(text.as_str()) {
        let template = template(part);
        let (trees, faults) = trees(part, start, syntax);
        let documents = trees.into_iter().map(|tree| Document { tree, template: template.clone() });
        parsed.documents.extend(documents);
        parsed.errors.extend(faults.into_iter().map(|Fault { at, message }| {
            let (line, column) = text.line_and_column(at);
            SyntaxError { line, column, message }
        }));
    }
    parsed
}

/// The trees of the readable values in a part, and the problems of the others.
fn trees(part: &str, start: usize, syntax: Syntax) -> (Vec<Tree>, Vec<Fault>) {
    let json = part.strip_prefix('\u{feff}').unwrap_or(part);
    let starts_like_json = json.trim_start_matches([' ', '\t', '\r', '\n']).starts_with(['{', '[']);
    let (trees, faults) = match syntax {
        Syntax::Yaml if !starts_like_json => (Vec::new(), Vec::new()),
        Syntax::Yaml | Syntax::Json => json::trees(json, start + part.len() - json.len()),
    };
    if syntax == Syntax::Json || (starts_like_json && faults.is_empty()) {
        return (trees, faults);
    }
    // A flow mapping in YAML also starts like JSON.
    match compose::compose(part, start) {
        Ok(composed) => (composed, Vec::new()),
        Err(fault) if trees.is_empty() => (Vec::new(), vec![fault]),
        Err(_) => (trees, faults),
    }
}

/// The parts of a text between separator lines, each with its first byte.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let before = text.get(start..at).unwrap_or_default();
        // Directives belong to the document after the separator.
        if line.trim_end() == SEPARATOR && !before.lines().any(|line| line.starts_with('%')) {
            parts.push((start, before));
            start = at + line.len();
        }
        at += line.len();
    }
    parts.push((start, text.get(start..).unwrap_or_default()));
    parts
}

/// The template that Helm names in the comment before a document.
fn template(part: &str) -> Option<String> {
    let comments = part.lines().take_while(|line| line.is_empty() || line.starts_with(['#', '\u{feff}']));
    let path = comments.filter_map(|line| line.strip_prefix(SOURCE)).next()?;
    Some(path.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        documents(text).unwrap().remove(0).1
    }

    #[test]
    fn documents_have_their_first_line_and_empty_ones_are_omitted() {
        let read = documents("# only a comment\n---\na: 1\n---\n---\nb: [x, 'y']\n").unwrap();
        assert_eq!(read, [(3, json!({"a": 1})), (6, json!({"b": ["x", "y"]}))]);
        assert_eq!(documents("").unwrap(), []);
    }

    #[test]
    fn quoted_and_tagged_scalars_are_strings_and_plain_ones_have_types() {
        assert_eq!(
            one("a: 'yes'\nb: yes\nc: !!str 42\nd: |\n  42\ne: ! 12\ny: 1\n"),
            json!({"a": "yes", "b": true, "c": "42", "d": "42\n", "e": "12", "true": 1})
        );
    }

    #[test]
    fn anchors_and_merge_keys_are_expanded_and_own_keys_win() {
        let text = "base: &b {x: 1, z: 2}\nown:\n  <<: *b\n  z: 3\nlist: &l [1]\nagain: *l\n";
        let expected = json!({"base": {"x": 1, "z": 2}, "own": {"x": 1, "z": 3}, "list": [1], "again": [1]});
        assert_eq!(one(text), expected);
    }

    #[test]
    fn json_is_yaml_too() {
        assert_eq!(one("{\"a\": {\"b\": [1, null, \"no\"]}}"), json!({"a": {"b": [1, null, "no"]}}));
    }

    #[test]
    fn a_closing_bracket_may_have_the_indentation_of_its_key() {
        let text = "a: {\n  b: [\n    é, # ]\n  ], c: [\n ]\n}\nd: é\n";
        assert_eq!(one(text), json!({"a": {"b": ["é"], "c": []}, "d": "é"}));
        let error = documents(&format!("{text}e: @\n")).unwrap_err();
        assert_eq!((error.line, error.column), (8, 4), "{error}");
    }

    #[test]
    fn little_indentation_and_tabs_are_accepted_as_by_kubectl() {
        let cases = [
            ("a: [\nb\n]\n", json!({"a": ["b"]})),
            (
                "s:\n  a: [\n  b,\n  'c', {\n  d: é }\n  ]\n  e: 1\n",
                json!({"s": {"a": ["b", "c", {"d": "é"}], "e": 1}}),
            ),
            ("s:\n  a: {\n b: c,\n d: e\n }\n", json!({"s": {"a": {"b": "c", "d": "e"}}})),
            ("s:\n  a: \"é\n  b\n\nc\\\nd\"\n  e: 'x\n y'\n", json!({"s": {"a": "é b\ncd", "e": "x y"}})),
            ("a:\tb\nc:\t-1\n", json!({"a": "b", "c": -1})),
            ("a: [x,\n\tz]\n", json!({"a": ["x", "z"]})),
        ];
        for (text, expected) in cases {
            assert_eq!(documents(text), Ok(vec![(1, expected)]), "{text:?}");
            // The places after it are those of the original text.
            let error = documents(&format!("{text}e: é @ @: : :\n")).unwrap_err();
            assert_eq!(error.line, text.lines().count() + 1, "{text:?} {error}");
        }
        for text in ["a: 'x\n--- y\nz'\n", "a:\n  b: 1\n c: 2\n", "a:\tb: c\n", "a:\n\tb: c\n", "a:\t- b\n"] {
            assert!(documents(text).is_err(), "{text:?}");
        }
        // A missing bracket is reported at its list, not at the end of the text.
        let error = documents("s:\n  a: [b,\n  c,\n  d\n").unwrap_err();
        assert_eq!((error.line, error.column), (3, 3), "{error}");
    }

    #[test]
    fn errors_have_their_place() {
        let error = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line >= 2, "{error}");
        let error = documents("a: 1\na: 2\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1), "{error}");
        assert!(error.message.contains("duplicate key \"a\""), "{error}");
        assert!(documents("a: .inf\n").unwrap_err().message.contains("no form in JSON"));
        assert!(documents("a: *nothing\n").is_err());
    }

    #[test]
    fn a_bomb_of_aliases_is_an_error_and_is_not_expanded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
        }
        let error = documents(&text).unwrap_err();
        assert!(error.message.contains("more than"), "{error}");
    }

    #[test]
    fn deep_nesting_is_an_error_and_does_not_exhaust_the_stack() {
        for open in ["[", "{a: "] {
            let error = documents(&open.repeat(100_000)).unwrap_err();
            assert_eq!(error.message, "recursion limit exceeded");
        }
    }

    #[test]
    fn a_broken_document_does_not_affect_the_others() {
        let text = Text::new("a: 1\n---\nb: [1\nc: é: 2\n--- \n# Source: x/y.yaml\nd: 4\n".to_owned());
        let parsed = parse(&text, Syntax::Yaml);
        let values: Vec<Value> = parsed.documents.iter().map(|d| d.tree.value(d.tree.root)).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"d": 4})]);
        assert_eq!(parsed.errors.len(), 1, "{:?}", parsed.errors);
        assert_eq!(parsed.errors[0].line, 4);
        assert_eq!(parsed.documents[1].template.as_deref(), Some("x/y.yaml"));
    }

    #[test]
    fn a_directive_belongs_to_the_document_after_it() {
        assert_eq!(one("%YAML 1.2\n---\na: 1\n"), json!({"a": 1}));
    }

    #[test]
    fn text_that_starts_like_json_may_be_yaml() {
        assert_eq!(one("{a: yes, 'b': [x]}\n"), json!({"a": true, "b": ["x"]}));
        assert_eq!(one("\u{feff}{\"a\": \"\\ud83d\\ude00\"}\n"), json!({"a": "😀"}));
        let error = documents("[1, {]").unwrap_err();
        assert!(!error.message.starts_with("not JSON"), "{error}");
    }

    #[test]
    fn a_json_file_must_be_json() {
        for text in ["{\"a\": }", "yes", "{\"a\": 1,}", "{\"a\": 1 // x\n}", "{\"a\": tru}", "[1, 2", "a: 1"]
        {
            let parsed = parse(&Text::new(text.to_owned()), Syntax::Json);
            assert_eq!((parsed.documents.len(), parsed.errors.len()), (0, 1), "{text}");
            assert!(parsed.errors[0].message.starts_with("not JSON: "), "{:?}", parsed.errors);
        }
        assert!(parse(&Text::new(" \n".to_owned()), Syntax::Json).errors.is_empty());
    }

    #[test]
    fn a_broken_json_document_does_not_affect_the_others() {
        let text = "{\"a\": 1}\n{\"b\": tru}\n{\"c\": {\n{\"d\": 4}\n{\"e\": 5, \"e\": 6} {\"f\": 7}\n";
        for syntax in [Syntax::Json, Syntax::Yaml] {
            let parsed = parse(&Text::new(text.to_owned()), syntax);
            let values: Vec<Value> = parsed.documents.iter().map(|d| d.tree.value(d.tree.root)).collect();
            assert_eq!(values, [json!({"a": 1}), json!({"f": 7})]);
            let lines: Vec<usize> = parsed.errors.iter().map(|error| error.line).collect();
            assert_eq!(lines, [2, 4, 5], "{:?}", parsed.errors);
        }
        // A value in a list is not a document.
        let text = "{\"items\": [\n{\"a\": 1},\n{\"b\": tru},\n{\"c\": 1}\n]}\n{\"d\": 4}\n";
        let parsed = parse(&Text::new(text.to_owned()), Syntax::Json);
        let values: Vec<Value> = parsed.documents.iter().map(|d| d.tree.value(d.tree.root)).collect();
        assert_eq!((values, parsed.errors.len()), (vec![json!({"d": 4})], 1), "{:?}", parsed.errors);
    }

    #[test]
    fn a_chain_of_aliases_is_an_error_and_does_not_exhaust_the_stack() {
        let mut text = "a0: &a0 [x]\n".to_owned();
        for level in 1..10_000 {
            text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }
        assert!(documents(&text).unwrap_err().message.contains("nested deeper than"));
    }
}
