//! Reads the documents of a text as kubectl does, each separately, so that a broken one does not affect the others.

use std::ops::Range;

use serde_json::Value;

use crate::compose::{self, Composed};
use crate::cut::{self, Part, SEPARATOR};
use crate::fault::Fault;
use crate::json;
use crate::text::{BYTE_ORDER_MARK, Text};
use crate::tree::Tree;

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
    /// The bytes of the comments that belong to no document.
    pub(crate) loose_comments: Vec<Range<usize>>,
}

/// One document of a text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its values.
    pub tree: Tree,
    /// The Helm template that it was rendered from, according to its `# Source:` comment.
    pub template: Option<String>,
    /// The bytes of its comments, in order. JSON has none.
    pub comments: Vec<Range<usize>>,
}

/// The syntax of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// YAML, or JSON if kubectl takes the text for JSON.
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
    let whole = text.as_str();
    let content = whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(whole);
    let base = whole.len() - content.len();
    let read = match syntax {
        Syntax::Json => Read::json(json::read(content, base)),
        Syntax::Yaml if cut::starts_like_json(content) => Read::json_or_yaml(content, base),
        Syntax::Yaml => Read::yaml(content, base),
    };
    let error = |Fault { at, message }| {
        let (line, column) = text.line_and_column(at);
        SyntaxError { line, column, message }
    };
    Parsed {
        documents: read.documents,
        errors: read.faults.into_iter().map(error).collect(),
        loose_comments: read.loose_comments,
    }
}

/// The documents of a text or of a part of it, and the problems of the others.
#[derive(Default)]
struct Read {
    documents: Vec<Document>,
    faults: Vec<Fault>,
    loose_comments: Vec<Range<usize>>,
}

impl Read {
    fn yaml(text: &str, base: usize) -> Self {
        let (parts, faults) = cut::parts(text, base);
        let mut read = Self { faults, ..Self::default() };
        // kubectl cuts off what is before the first separator, too. In YAML, comments there belong to the next document.
        let mut head = Vec::new();
        for (index, Part { start, text: part, comment }) in parts.into_iter().enumerate() {
            let Composed { tree, comments } = match compose::compose(part, start) {
                Ok(composed) => composed,
                Err(fault) => {
                    read.faults.push(fault);
                    head.clear();
                    continue;
                }
            };
            if part.starts_with(SEPARATOR) {
                // The next document is the empty one before this separator.
                read.loose_comments.append(&mut head);
            }
            let comments = head.drain(..).chain(comment).chain(comments).collect();
            match tree {
                Some(tree) => read.documents.push(Document { tree, template: template(part), comments }),
                None if index == 0 && !part.starts_with(SEPARATOR) => head = comments,
                None => read.loose_comments.extend(comments),
            }
        }
        read.loose_comments.extend(head);
        read
    }

    fn json(read: json::Read) -> Self {
        let documents =
            read.trees.into_iter().map(|tree| Document { tree, template: None, comments: Vec::new() });
        Self { documents: documents.collect(), faults: read.faults, ..Self::default() }
    }

    /// JSON. What comes after the first value, or instead of it, may be YAML.
    fn json_or_yaml(text: &str, base: usize) -> Self {
        let json = json::read(text, base);
        let Some(broken) = json.first_broken.filter(|broken| broken.values_before <= 1) else {
            return Self::json(json);
        };
        let start = cut::yaml_after_json(text, broken.after);
        let Some((start, rest)) = start.and_then(|start| Some((start, text.get(start..)?))) else {
            return Self::json(json);
        };
        let yaml = Self::yaml(rest, base + start);
        // If it is neither, a second value that looks like JSON is meant to be JSON.
        if !yaml.faults.is_empty() && broken.values_before == 1 && broken.starts_like_json {
            return Self::json(json);
        }
        let mut read = Self::json(json.before(base + broken.after));
        read.documents.extend(yaml.documents);
        read.faults.extend(yaml.faults);
        read.loose_comments.extend(yaml.loose_comments);
        read
    }
}

/// The template that Helm names in the comment before a document.
fn template(part: &str) -> Option<String> {
    let part = part.trim_start_matches(BYTE_ORDER_MARK);
    let comments =
        part.lines().take_while(|line| line.is_empty() || line.starts_with('#') || line.starts_with("---"));
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
        // What is missing at the end of the text is reported where it should belong.
        for text in ["s:\n  a: [b,\n  c,\n  d\n", "s:\n  a: \"b,\n  c,\n  d\n"] {
            let error = documents(text).unwrap_err();
            assert_eq!((error.line, error.column), (2, 6), "{error}");
        }
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
    fn deep_nesting_is_an_error_and_does_not_exhaust_the_stack() {
        for open in ["[", "{a: "] {
            let error = documents(&open.repeat(100_000)).unwrap_err();
            assert_eq!(error.message, "nested deeper than 128 levels with aliases expanded");
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
    fn a_directive_is_an_error_because_the_text_is_cut_after_it() {
        let parsed = parse(&Text::new("%YAML 1.1\n---\na: 1\n".to_owned()), Syntax::Yaml);
        assert_eq!((parsed.documents.len(), parsed.errors.len()), (1, 1));
        // Only a line feed is a place to cut.
        assert_eq!(one("%YAML 1.1\r---\ra: 1\r"), json!({"a": 1}));
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
