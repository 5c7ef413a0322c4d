//! Composes YAML documents into JSON values, with anchors, merge keys and kubectl's reading of scalars.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::scalar;

/// How many values a file may hold once its aliases are expanded, so that a few lines cannot fill the memory.
const MAX_VALUES: usize = 1_000_000;
/// How deep values may nest, so that a file cannot exhaust the stack.
const MAX_DEPTH: usize = 128;

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1, in Unicode characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl SyntaxError {
    fn at(marker: Marker, message: impl Into<String>) -> Self {
        Self { line: marker.line(), column: marker.col() + 1, message: message.into() }
    }
}

/// The documents of a text, each with the line on which it starts. Empty documents are left out.
///
/// # Errors
/// The first place that is not YAML, or has no JSON form.
pub fn documents(text: &str) -> Result<Vec<(usize, Value)>, SyntaxError> {
    let mut composer = Composer::new(text);
    let mut documents = Vec::new();
    loop {
        let (event, span) = composer.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => {
                let value = composer.value(event, span, 0)?;
                composer.anchors.clear();
                if !value.is_null() {
                    documents.push((span.start.line(), value));
                }
            }
        }
    }
}

struct Composer<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// The values that aliases repeat, each with how many values it holds in all.
    anchors: HashMap<usize, (Value, usize)>,
    /// How many values have been made, those that aliases repeat counted again each time.
    values: usize,
    last: Marker,
}

impl<'t> Composer<'t> {
    fn new(text: &'t str) -> Self {
        let start = Marker::new(0, 1, 0);
        Self { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0, last: start }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.last = span.start;
                Ok((event, span))
            }
            Some(Err(error)) => Err(SyntaxError::at(*error.marker(), error.info())),
            None => Ok((Event::StreamEnd, Span::new(self.last, self.last))),
        }
    }

    fn value(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Value, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError::at(span.start, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let before = self.values;
        self.count(1, span)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar_value(text.as_ref(), style, tag.as_deref(), span)?)
            }
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            Event::Alias(anchor) => (0, self.repeated(anchor, span)?),
            _ => return Err(SyntaxError::at(span.start, "the document ends too early")),
        };
        if anchor != 0 {
            // The copy counts too: anchors inside anchors are copied once for each of them.
            let size = self.values - before;
            self.count(size, span)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok(value)
    }

    fn repeated(&mut self, anchor: usize, span: Span) -> Result<Value, SyntaxError> {
        let no_anchor = || SyntaxError::at(span.start, "alias to an anchor that is not there");
        let size = self.anchors.get(&anchor).map(|(_, size)| *size).ok_or_else(no_anchor)?;
        // Before the copy is made: a few lines of aliases can stand for more than fits into memory.
        self.count(size, span)?;
        self.anchors.get(&anchor).map(|(value, _)| value.clone()).ok_or_else(no_anchor)
    }

    fn count(&mut self, values: usize, span: Span) -> Result<(), SyntaxError> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(SyntaxError::at(span.start, format!("holds more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(entries));
            }
            entries.push(self.value(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut fields = Map::new();
        let mut merged = Map::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(key, ScalarStyle::Plain, ..) if key == "<<");
            let key = key_text(self.value(event, span, depth + 1)?, span)?;
            let (event, value_span) = self.next()?;
            let value = self.value(event, value_span, depth + 1)?;
            if is_merge {
                merge(&mut merged, value, value_span)?;
            } else if fields.insert(key.clone(), value).is_some() {
                return Err(SyntaxError::at(span.start, format!("the key {key:?} is there twice")));
            }
        }
        for (key, value) in merged {
            fields.entry(key).or_insert(value);
        }
        Ok(Value::Object(fields))
    }
}

/// Takes the fields of a merge key's value; earlier ones win.
fn merge(merged: &mut Map<String, Value>, value: Value, span: Span) -> Result<(), SyntaxError> {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                merged.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(maps) => maps.into_iter().try_for_each(|map| merge(merged, map, span)),
        _ => Err(SyntaxError::at(span.start, "a merge key takes a map or a list of maps")),
    }
}

/// JSON has text keys only; others become the text of their value, as kubectl makes them.
fn key_text(key: Value, span: Span) -> Result<String, SyntaxError> {
    match key {
        Value::String(key) => Ok(key),
        Value::Bool(_) | Value::Number(_) | Value::Null => Ok(key.to_string()),
        Value::Array(_) | Value::Object(_) => Err(SyntaxError::at(span.start, "a key must be a scalar")),
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Value, SyntaxError> {
    let is_text = |tag: &Tag| {
        let non_specific = tag.suffix.is_empty() || tag.suffix == "!";
        non_specific || (tag.is_yaml_core_schema() && tag.suffix == "str")
    };
    if style != ScalarStyle::Plain || tag.is_some_and(is_text) {
        return Ok(Value::String(text.to_owned()));
    }
    scalar::plain(text).ok_or_else(|| SyntaxError::at(span.start, format!("{text} has no form in JSON")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        documents(text).unwrap().remove(0).1
    }

    #[test]
    fn documents_come_with_the_line_they_start_on_and_empty_ones_do_not_come() {
        let read = documents("# only a comment\n---\na: 1\n---\n---\nb: [x, 'y']\n").unwrap();
        assert_eq!(read, [(3, json!({"a": 1})), (6, json!({"b": ["x", "y"]}))]);
        assert_eq!(documents("").unwrap(), []);
    }

    #[test]
    fn quoted_and_tagged_scalars_are_text_and_plain_ones_are_read() {
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
    fn errors_say_where() {
        let error = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line >= 2, "{error}");
        let error = documents("a: 1\na: 2\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1), "{error}");
        assert!(error.message.contains("\"a\" is there twice"), "{error}");
        assert!(documents("a: .inf\n").unwrap_err().message.contains("no form in JSON"));
        assert!(documents("a: *nothing\n").is_err());
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_instead_of_expanded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
        }
        let error = documents(&text).unwrap_err();
        assert!(error.message.contains("more than"), "{error}");
    }

    #[test]
    fn anchors_inside_anchors_are_counted_each_time_they_are_copied() {
        let open: String = (0..100).map(|level| format!("&a{level} [")).collect();
        let text = format!("{open}{}{}", "x, ".repeat(20_000), "]".repeat(100));
        let error = documents(&text).unwrap_err();
        assert!(error.message.contains("more than"), "{error}");
    }

    #[test]
    fn a_deep_nest_is_refused_instead_of_exhausting_the_stack() {
        let error = documents(&"[".repeat(100_000)).unwrap_err();
        assert!(!error.message.is_empty());
    }
}
