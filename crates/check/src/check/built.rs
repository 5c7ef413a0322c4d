//! What kustomize has rendered, each object at its place in the files of the repository.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde_json::Value;

use super::file::{File, Object, Placed, Rendering, Standing};

/// The objects that one unit renders.
#[derive(Debug)]
pub(super) struct Build {
    /// The name of its directory.
    pub(super) name: String,
    pub(super) objects: Vec<Built>,
    /// The indexes of the builds that are variants of it: they share resources, so they are deployed elsewhere.
    pub(super) variants: BTreeSet<usize>,
}

/// One rendered object.
#[derive(Debug)]
pub(super) struct Built {
    object: Object,
    /// The index of the file that it comes from.
    file: usize,
    /// The index of the document in that file.
    document: usize,
    /// The index of the object in that document; `None` if it was generated.
    original: Option<usize>,
}

impl Build {
    /// Its objects. `index` is that of the build, and `files` are those of the bundle.
    pub(super) fn objects<'b>(&'b self, index: usize, files: &'b [File]) -> impl Iterator<Item = Placed<'b>> {
        self.objects.iter().filter_map(move |built| {
            let file = files.get(built.file)?;
            let rendering =
                Rendering { build: index, name: &self.name, original: built.original(&file.objects) };
            let document = file.input.documents().get(built.document)?;
            let (document_index, object) = (built.document, &built.object);
            Some(Placed { file, document, document_index, object, rendering: Some(rendering) })
        })
    }

    /// The values of its objects.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().map(|built| &built.object.value)
    }

    /// Makes the changes of a file whose objects were those of `before`.
    pub(super) fn carry(&mut self, index: usize, before: &[Vec<Object>], file: &File) {
        for built in self.objects.iter_mut().filter(|built| built.file == index) {
            let root = file.input.documents().get(built.document).map(|document| document.tree.root);
            let (old, new) = (built.object_in(before), built.object_in(&file.objects));
            let changed = old.zip(new).map(|(old, new)| (old.value.clone(), new.clone()));
            if let Some((old, new)) = changed {
                carry(&old, &new.value, &mut built.object.value);
                (built.object.root, built.object.place) = (new.root, new.place);
            } else if let Some(root) = root {
                built.object.root = root;
            }
        }
    }
}

/// Makes the change from `old` to `new` in a value, where it was as in `old`.
fn carry(old: &Value, new: &Value, value: &mut Value) {
    if value == old {
        value.clone_from(new);
    } else if let (Value::Object(old), Value::Object(new), Value::Object(fields)) = (old, new, value) {
        for (key, value) in fields.iter_mut() {
            if let Some((old, new)) = old.get(key).zip(new.get(key)) {
                carry(old, new, value);
            }
        }
    }
}

impl Built {
    /// A rendered object, at the place of the one that it comes from, or of the first one in the file; `None` if the file
    /// has no document.
    pub(super) fn new(file_index: usize, file: &File, value: Value) -> Option<Self> {
        let is_generated = file.standing == Standing::Kustomization;
        let original = if is_generated { None } else { original(&file.objects, &value) };
        let (document, root, place) = match original {
            Some((document, index)) => {
                let object = file.objects.get(document)?.get(index)?;
                (document, object.root, object.place.clone())
            }
            None => (0, file.input.documents().first()?.tree.root, Vec::new()),
        };
        let object = Object::rendered(root, place, value);
        Some(Self { object, file: file_index, document, original: original.map(|(_, index)| index) })
    }

    fn object_in<'o>(&self, objects: &'o [Vec<Object>]) -> Option<&'o Object> {
        objects.get(self.document)?.get(self.original?)
    }

    fn original<'o>(&self, objects: &'o [Vec<Object>]) -> Option<&'o Value> {
        self.object_in(objects).map(|object| &object.value)
    }
}

/// The document and the index of the object in a file that was rendered as `value`. kustomize can have given it a prefix, a
/// suffix or another namespace.
fn original(objects: &[Vec<Object>], value: &Value) -> Option<(usize, usize)> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let rendered = name(value);
    let likeness = |object: &Value| {
        let written = name(object);
        let is_in_place = object["metadata"]["namespace"] == value["metadata"]["namespace"];
        (written == rendered, rendered.contains(&written).then_some(written.len()), is_in_place)
    };
    let all = objects.iter().enumerate().flat_map(|(document, objects)| {
        objects.iter().enumerate().map(move |(index, object)| ((document, index), &object.value))
    });
    let same_kind = all
        .filter(|(_, object)| object["kind"] == value["kind"] && object["apiVersion"] == value["apiVersion"]);
    let likely = same_kind.max_by_key(|(place, object)| (likeness(object), Reverse(*place)));
    likely.map(|(place, _)| place)
}
