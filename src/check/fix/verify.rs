//! Makes changes only as long as the text still means what it should.

use serde_json::Value;

use super::super::documents;
use super::super::read::Source;
use super::super::text::Text;
use super::super::tree::Step;
use super::edits::apply;
use super::{Change, Fixed, Wanted};

/// Collects the changes that can be made.
pub(super) struct Verifier<'f> {
    source: &'f Source,
    wanted: &'f [Vec<Wanted>],
    /// What the documents mean as they are.
    values: Vec<Value>,
    kept: Vec<&'f Change>,
    /// The text with the changes that are kept.
    text: String,
}

impl<'f> Verifier<'f> {
    pub(super) fn new(source: &'f Source, wanted: &'f [Vec<Wanted>]) -> Self {
        let trees = source.documents.iter().map(|document| &document.tree);
        let values = trees.map(|tree| tree.value(tree.root)).collect();
        Self { source, wanted, values, kept: Vec::new(), text: source.text.as_str().to_owned() }
    }

    /// Keeps all of these that can be made together; what cannot is found by halving.
    pub(super) fn keep(&mut self, changes: &'f [Change]) {
        if changes.is_empty() {
            return;
        }
        let before = self.kept.len();
        self.kept.extend(changes);
        if let Some(text) = self.text_as_meant() {
            self.text = text;
            return;
        }
        self.kept.truncate(before);
        if changes.len() > 1 {
            let (first, second) = changes.split_at(changes.len() / 2);
            self.keep(first);
            self.keep(second);
        }
    }

    pub(super) fn finish(self) -> Fixed {
        Fixed { count: self.kept.iter().map(|change| change.serves.len()).sum(), text: self.text }
    }

    /// The text with the kept changes, if it means the old documents with exactly what they serve.
    fn text_as_meant(&self) -> Option<String> {
        let edits = self.kept.iter().flat_map(|change| &change.edits);
        let text = Text::new(apply(self.source.text.as_str(), edits)?);
        let parsed = documents::parse(&text, self.source.syntax);
        let same_size = parsed.errors.len() == self.source.errors.len()
            && parsed.documents.len() == self.source.documents.len();
        let documents = parsed.documents.iter().map(|document| &document.tree);
        let as_meant = documents.map(|tree| tree.value(tree.root)).eq(self.meant());
        (same_size && as_meant).then(|| text.into_string())
    }

    fn meant(&self) -> Vec<Value> {
        let mut meant = self.values.clone();
        let mut going = Vec::new();
        for change in &self.kept {
            let wanted = self.wanted.get(change.document).map(Vec::as_slice).unwrap_or_default();
            let Some(document) = meant.get_mut(change.document) else {
                continue;
            };
            for wanted in change.serves.iter().filter_map(|index| wanted.get(*index)) {
                match &wanted.value {
                    Some(value) => set(document, &wanted.path, value),
                    None => going.push((change.document, &wanted.path)),
                }
            }
        }
        // The later first, so that the indexes of the earlier still hold.
        going.sort_by_key(|(_, path)| std::cmp::Reverse(last_index(path)));
        for (index, path) in going {
            if let Some(document) = meant.get_mut(index) {
                remove(document, path);
            }
        }
        meant
    }
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

fn at<'v>(document: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Name(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    })
}
