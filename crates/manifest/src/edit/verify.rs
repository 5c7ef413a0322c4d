//! Keeps a candidate only if the resulting text has exactly the expected values.

use serde_json::Value;

use super::change::{Candidate, Change, Edited};
use super::splice::apply;
use crate::documents;
use crate::files::Input;
use crate::text::Text;
use crate::tree::Step;

/// Collects the candidates that can be applied.
pub(super) struct Verifier<'f> {
    input: &'f Input,
    changes: &'f [Vec<Change>],
    /// The values of the documents before any change.
    values: Vec<Value>,
    kept: Vec<&'f Candidate>,
    /// The text with the candidates that are kept.
    text: String,
}

impl<'f> Verifier<'f> {
    pub(super) fn new(input: &'f Input, changes: &'f [Vec<Change>]) -> Self {
        Self {
            input,
            changes,
            values: values(input),
            kept: Vec::new(),
            text: input.text().as_str().to_owned(),
        }
    }

    /// Keeps all of these that can be applied together; halving finds those that cannot.
    pub(super) fn keep(&mut self, candidates: &'f [Candidate]) {
        if candidates.is_empty() {
            return;
        }
        let before = self.kept.len();
        self.kept.extend(candidates);
        if let Some(text) = self.text_as_expected() {
            self.text = text;
            return;
        }
        self.kept.truncate(before);
        if candidates.len() > 1 {
            let (first, second) = candidates.split_at(candidates.len() / 2);
            self.keep(first);
            self.keep(second);
        }
    }

    pub(super) fn finish(self) -> Edited {
        Edited { count: self.kept.iter().map(|candidate| candidate.makes.len()).sum(), text: self.text }
    }

    /// The text with the kept candidates, if it has the old values with exactly their changes.
    fn text_as_expected(&self) -> Option<String> {
        let splices = self.kept.iter().flat_map(|candidate| &candidate.splices);
        let text = Text::new(apply(self.input.text().as_str(), splices)?);
        has_values(self.input, &text, &self.expected()).then(|| text.into_string())
    }

    fn expected(&self) -> Vec<Value> {
        let mut expected = self.values.clone();
        let mut removed = Vec::new();
        for candidate in &self.kept {
            let changes = self.changes.get(candidate.document).map(Vec::as_slice).unwrap_or_default();
            let Some(document) = expected.get_mut(candidate.document) else {
                continue;
            };
            for change in candidate.makes.iter().filter_map(|index| changes.get(*index)) {
                match &change.value {
                    Some(value) => set(document, &change.path, value),
                    None => removed.push((candidate.document, &change.path)),
                }
            }
        }
        // From the last to the first, so that the indexes stay valid.
        removed.sort_by_key(|(_, path)| std::cmp::Reverse(last_index(path)));
        for (index, path) in removed {
            if let Some(document) = expected.get_mut(index) {
                remove(document, path);
            }
        }
        expected
    }
}

/// The values of the documents of an input.
pub(super) fn values(input: &Input) -> Vec<Value> {
    let trees = input.documents().iter().map(|document| &document.tree);
    trees.map(|tree| tree.value(tree.root)).collect()
}

/// Whether the documents of a text have these values, and it has as many problems as the input.
pub(super) fn has_values(input: &Input, text: &Text, expected: &[Value]) -> bool {
    let parsed = documents::parse(text, input.syntax);
    let trees = parsed.documents.iter().map(|document| &document.tree);
    parsed.errors.len() == input.errors().len()
        && parsed.documents.len() == input.documents().len()
        && trees.map(|tree| tree.value(tree.root)).eq(expected.iter().cloned())
}

fn last_index(path: &[Step]) -> Option<usize> {
    match path.last()? {
        Step::Index(index) => Some(*index),
        Step::Name(_) => None,
    }
}

fn set(document: &mut Value, path: &[Step], value: &str) {
    if let Some(place) = at(document, path) {
        *place = Value::String(value.to_owned());
    }
}

fn remove(document: &mut Value, path: &[Step]) {
    let (Some(index), Some((_, list))) = (last_index(path), path.split_last()) else {
        return;
    };
    if let Some(Value::Array(entries)) = at(document, list)
        && index < entries.len()
    {
        entries.remove(index);
    }
}

/// The value at a path.
pub(super) fn at<'v>(document: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Name(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    })
}
