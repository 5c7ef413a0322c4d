//! What kustomize has rendered, each object at its place in the files of the repository.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crm_manifest::{Step, Variables};
use serde_json::Value;

use super::file::{File, Object, Placed, Rendering, Standing, field, field_mut, is_named_after, name};

/// The objects that one unit renders.
#[derive(Debug)]
pub(super) struct Build {
    /// The name of its directory.
    pub(super) name: String,
    pub(super) objects: Vec<Built>,
    /// The indexes of the builds that are variants of it: they share records, so they are deployed elsewhere.
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
    /// Its objects to check. `index` is that of the build, and `files` are those of the bundle.
    pub(super) fn objects<'b>(&'b self, index: usize, files: &'b [File]) -> impl Iterator<Item = Placed<'b>> {
        self.objects.iter().filter_map(move |built| {
            let file = files.get(built.file).filter(|file| file.standing != Standing::Excepted)?;
            let rendering =
                Rendering { build: index, name: &self.name, original: built.object_in(&file.objects) };
            let document = file.input.documents().get(built.document)?;
            let (document_index, object) = (built.document, &built.object);
            Some(Placed { file, document, document_index, object, rendering: Some(rendering) })
        })
    }

    /// All its objects, without their places.
    pub(super) fn objects_alone(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().map(|built| &built.object)
    }

    /// Makes the changes of a file whose objects were those of `before`.
    pub(super) fn carry(&mut self, index: usize, before: &[Vec<Object>], file: &File) {
        for built in self.objects.iter_mut().filter(|built| built.file == index) {
            let root = file.input.documents().get(built.document).map(|document| document.tree.root);
            let (old, new) = (built.object_in(before), built.object_in(&file.objects));
            let changed = old.zip(new).map(|(old, new)| (old.clone(), new.clone()));
            if let Some((old, new)) = changed {
                carry(&old, &new, &mut built.object, &mut Vec::new());
                (built.object.root, built.object.place) = (new.root, new.place);
            } else if let Some(root) = root {
                built.object.root = root;
            }
        }
    }
}

/// Makes the change from `old` to `new` in a field of an object, and in those below it, where it was as in `old`.
fn carry(old: &Object, new: &Object, object: &mut Object, path: &mut Vec<Step>) {
    let Some(after) = field(&new.value, path) else { return };
    if object.agrees(old, path) {
        if let Some(value) = field_mut(&mut object.value, path) {
            value.clone_from(after);
            object.substitution.take(&new.substitution, path);
        }
        return;
    }
    let Some(Value::Object(fields)) = field(&object.value, path) else { return };
    for key in fields.keys().cloned().collect::<Vec<_>>() {
        path.push(Step::Name(key));
        carry(old, new, object, path);
        path.pop();
    }
}

impl Built {
    /// A rendered object, at the place of the one that it comes from, or of the first one in the file; `None` if the file
    /// has no document.
    pub(super) fn new(file_index: usize, file: &File, value: Value, variables: &Variables) -> Option<Self> {
        let is_generated = file.standing == Standing::Kustomization;
        let object = Object::rendered(file.input.documents().first()?.tree.root, value, variables);
        let original = if is_generated { None } else { original(&file.objects, &object.value) };
        let (document, original, object) = match original {
            Some((document, index)) => {
                let Object { root, place, .. } = file.objects.get(document)?.get(index)?.clone();
                (document, Some(index), Object { root, place, ..object })
            }
            None => (0, None, object),
        };
        Some(Self { object, file: file_index, document, original })
    }

    fn object_in<'o>(&self, objects: &'o [Vec<Object>]) -> Option<&'o Object> {
        objects.get(self.document)?.get(self.original?)
    }
}

/// The document and the index of the object in a file that was rendered as `value`. kustomize can have given it a prefix, a
/// suffix or another namespace.
fn original(objects: &[Vec<Object>], value: &Value) -> Option<(usize, usize)> {
    let rendered = name(value);
    // A prefix can make the name of one object look like that of another, so the content counts first.
    let likeness = |object: &Value| {
        let written = name(object);
        let part = is_named_after(value, object).then_some(written.len());
        let is_same = part.is_some() && object["spec"] == value["spec"];
        let is_in_place = object["metadata"]["namespace"] == value["metadata"]["namespace"];
        (is_same, written == rendered, part, is_in_place)
    };
    let all = objects.iter().enumerate().flat_map(|(document, objects)| {
        objects.iter().enumerate().map(move |(index, object)| ((document, index), &object.value))
    });
    let same_kind = all
        .filter(|(_, object)| object["kind"] == value["kind"] && object["apiVersion"] == value["apiVersion"]);
    let likely = same_kind.max_by_key(|(place, object)| (likeness(object), Reverse(*place)));
    likely.map(|(place, _)| place)
}
