//! One file of a check, with its objects.

use std::collections::BTreeSet;

use crm_core::api;
use crm_manifest::{Document, Found, Input, NodeId, NotAnObject, Step, SyntaxError, Variables, unfold};
use serde_json::Value;

use super::substitution::Substitution;
use super::suppressions::Suppressions;
use crate::conformance::Identity;
use crate::report::{Access, Excerpt, InputError};

/// The map that SOPS adds to a document that it encrypts.
const SOPS: &str = "sops";
/// The advice for a file with `{{` that cannot be read.
const TEMPLATE: &str =
    "; if this is a template of Helm, check what it renders: helm template … | crm-admission check -";
/// The advice for a line with `${` that cannot be read.
const VARIABLE: &str = "; between brackets, write a variable in quotes: \"${NAME}\"";

/// One file with its objects.
#[derive(Debug)]
pub(super) struct File {
    pub(super) input: Input,
    /// Those of each document, in order.
    pub(super) objects: Vec<Vec<Object>>,
    not_objects: Vec<NotAnObject>,
    /// The number of documents that SOPS has encrypted. Their objects exist, but are neither judged nor fixed: a change
    /// would break their signature.
    pub(super) encrypted: usize,
    pub(super) standing: Standing,
    /// Whether it is read only because kustomize has read it. Then it is not among the given paths.
    pub(super) is_extra: bool,
    /// The units that have its objects as they stand, because they are not built.
    pub(super) units: BTreeSet<usize>,
}

/// What a file is for the check. If it is several for several units, the first of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The user says that it is elsewhere: its objects exist, and are not checked, whoever renders them.
    Excepted,
    /// A kustomization file of a unit that is built.
    Kustomization,
    /// Its objects are checked as they stand. If a unit that is built has them, too, they are also checked as rendered.
    Checked,
    /// kustomize renders its objects, which are checked as rendered.
    Source,
    /// Its objects exist, but are not checked: those of a component that nobody has built.
    Known,
    /// Its objects exist, but are not checked, because a unit could not be built.
    Unbuilt,
    /// Nobody knows whether it has objects, because it is below a kustomization file that cannot be read. If it has, they
    /// exist.
    Unknown,
    /// They are checked as they stand, because the user has named the file. But it is a part of a unit, such as a patch, so
    /// its objects do not exist by themselves.
    Named,
}

/// A part of a file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The byte in the text.
    pub at: usize,
    /// The problem.
    pub message: String,
    /// Whether it is valid YAML or JSON, but no object.
    pub is_no_object: bool,
}

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) root: NodeId,
    /// The path from the root of the document, if it is an item of a list.
    pub(super) place: Vec<Step>,
    /// Its value, with the variables replaced that are known.
    pub(super) value: Value,
    pub(super) substitution: Substitution,
    pub(super) identity: Identity,
}

/// An object and the document that it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'b> {
    pub(super) file: &'b File,
    pub(super) document: &'b Document,
    /// The index of the document in the file.
    pub(super) document_index: usize,
    pub(super) object: &'b Object,
    /// The build that has rendered it; `None` if the object is checked as it stands.
    pub(super) rendering: Option<Rendering<'b>>,
}

/// The build of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rendering<'b> {
    /// The index of the build.
    pub(super) build: usize,
    /// The name of the directory that was built.
    pub(super) name: &'b str,
    /// The object as it stands in its file; `None` if it was generated.
    pub(super) original: Option<&'b Object>,
}

impl File {
    pub(super) fn new(input: Input, variables: &Variables) -> Self {
        let mut file = Self {
            input,
            objects: Vec::new(),
            not_objects: Vec::new(),
            encrypted: 0,
            standing: Standing::Checked,
            is_extra: false,
            units: BTreeSet::new(),
        };
        file.unfold(variables);
        file
    }

    /// A file that kustomize has read, and that is not among the given paths.
    pub(super) fn extra(mut input: Input, standing: Standing, variables: &Variables) -> Self {
        input.is_outside = true;
        Self { is_extra: true, standing, ..Self::new(input, variables) }
    }

    /// Whether its objects are checked as they stand.
    pub(super) fn is_judged(&self) -> bool {
        matches!(self.standing, Standing::Checked | Standing::Named)
    }

    /// Whether a comment in it can suppress something.
    pub(super) fn has_findings(&self) -> bool {
        !matches!(self.standing, Standing::Excepted | Standing::Known | Standing::Unbuilt | Standing::Unknown)
    }

    /// Replaces the text, and returns the objects of the former one.
    pub(super) fn set_text(&mut self, text: String, variables: &Variables) -> Vec<Vec<Object>> {
        let before = std::mem::take(&mut self.objects);
        self.input.set_text(text);
        self.unfold(variables);
        before
    }

    fn unfold(&mut self, variables: &Variables) {
        (self.objects, self.not_objects, self.encrypted) = (Vec::new(), Vec::new(), 0);
        for document in self.input.documents() {
            let (objects, not_objects) = unfold(document);
            let object =
                |crm_manifest::Object { root, place, value }| Object::new(root, place, value, variables);
            let mut objects: Vec<Object> = objects.into_iter().map(object).collect();
            if is_encrypted(document) {
                self.encrypted += 1;
                objects.iter_mut().for_each(|object| object.identity = Identity::Encrypted);
            }
            self.objects.push(objects);
            self.not_objects.extend(not_objects);
        }
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = Placed<'_>> {
        let documents = self.input.documents().iter().zip(&self.objects).enumerate();
        documents.flat_map(move |(document_index, (document, objects))| {
            let placed =
                move |object| Placed { file: self, document, document_index, object, rendering: None };
            objects.iter().map(placed)
        })
    }

    /// A template of Helm is no YAML, and this program does not render it. Neither is a variable between brackets.
    fn with_advice(&self, error: &SyntaxError) -> String {
        let text = self.input.text();
        let advice = if text.as_str().contains("{{") {
            TEMPLATE
        } else if text.line(error.line).contains("${") {
            VARIABLE
        } else {
            ""
        };
        format!("{}{advice}", error.message)
    }

    /// The suppressions in its comments. Those of an encrypted document mean nothing, because it is not judged.
    pub(super) fn suppressions(&self) -> Suppressions {
        let documents = self.input.documents().iter().filter(|document| !is_encrypted(document));
        Suppressions::new(self.input.text(), documents, self.input.loose_comments())
    }

    /// Everything in it that could not be read.
    pub(super) fn errors(&self) -> impl Iterator<Item = InputError> {
        let text = self.input.text();
        let error = |fault: Fault| {
            let (line, start) = text.line_around(fault.at);
            InputError {
                file: self.input.name.clone(),
                access: Access::Read,
                position: Some(text.line_and_column(fault.at)),
                message: fault.message,
                excerpt: Some(Excerpt::at_byte(line, start, "")),
            }
        };
        self.faults().into_iter().map(error)
    }

    /// The same with bytes.
    pub(super) fn faults(&self) -> Vec<Fault> {
        if self.standing == Standing::Unknown {
            return Vec::new();
        }
        let text = self.input.text();
        let syntax = self.input.errors().iter().map(|error| Fault {
            at: text.byte(error.line, error.column),
            message: self.with_advice(error),
            is_no_object: false,
        });
        let not_objects = self.not_objects.iter();
        let not_objects =
            not_objects.map(|not| Fault { at: not.at, message: not.message.to_owned(), is_no_object: true });
        syntax.chain(not_objects).collect()
    }
}

/// Whether SOPS has encrypted a document: it adds a map `sops` to it.
fn is_encrypted(document: &Document) -> bool {
    let tree = &document.tree;
    let sops = tree.find(tree.root, &[Step::Name(SOPS.to_owned())]).node;
    sops.is_some_and(|node| tree.value(node).is_object())
}

impl Object {
    /// An object with the variables in its value replaced.
    pub(super) fn new(root: NodeId, place: Vec<Step>, mut value: Value, variables: &Variables) -> Self {
        let substitution = Substitution::new(&mut value, variables);
        let identity = identity(&value, &substitution);
        Self { root, place, value, substitution, identity }
    }

    /// An object that was rendered.
    pub(super) fn rendered(root: NodeId, value: Value, variables: &Variables) -> Self {
        let object = Self::new(root, Vec::new(), value, variables);
        let identity = if object.value[SOPS].is_object() { Identity::Encrypted } else { object.identity };
        Self { identity, ..object }
    }

    /// Whether a field has the same value as that of another object, from the same variables.
    pub(super) fn agrees(&self, other: &Self, path: &[Step]) -> bool {
        field(&self.value, path) == field(&other.value, path)
            && self.substitution.agrees(&other.substitution, path)
    }
}

fn identity(object: &Value, substitution: &Substitution) -> Identity {
    let is_unknown = |field: &str| substitution.unknown_at(&[Step::Name(field.to_owned())]).is_some();
    let is_ours =
        || object["apiVersion"].as_str().is_some_and(|version| api::group_of(version) == api::GROUP);
    if is_unknown("apiVersion") || (is_unknown("kind") && is_ours()) {
        return Identity::Hidden;
    }
    Identity::of(object)
}

impl Placed<'_> {
    /// The node and the byte of a field. If the object was rendered and the field does not stand in the file with this
    /// value, those of the object.
    pub(super) fn find(&self, path: &[Step]) -> Found {
        let original = self.rendering.and_then(|rendering| rendering.original).unwrap_or(self.object);
        let path = if self.stands(path) { original.substitution.written(path) } else { Vec::new() };
        self.document.tree.find(self.object.root, &path)
    }

    /// The value of a field.
    pub(super) fn value(&self, path: &[Step]) -> Option<&Value> {
        field(&self.object.value, path)
    }

    /// Whether a field stands in the file with its value, or is missing there, too.
    pub(super) fn stands(&self, path: &[Step]) -> bool {
        match self.rendering {
            None => true,
            Some(Rendering { original, .. }) => {
                original.is_some_and(|original| original.agrees(self.object, path))
            }
        }
    }

    /// Whether it is at the place of another object, because nobody knows the one that it was rendered from.
    pub(super) fn is_displaced(&self) -> bool {
        let of = |original: &Object| is_named_after(&self.object.value, &original.value);
        self.rendering.is_some_and(|rendering| !rendering.original.is_some_and(of))
    }

    /// The name of the directory whose build has rendered it, unless it stands in the file exactly so.
    pub(super) fn rendered_from(&self) -> Option<&str> {
        self.rendering.filter(|_| !self.stands(&[])).map(|rendering| rendering.name)
    }
}

/// Whether an object can be rendered from one: kustomize adds a prefix and a suffix to its name.
pub(super) fn is_named_after(object: &Value, original: &Value) -> bool {
    name(object).contains(name(original))
}

/// The name of an object; empty if it has none.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The value at a path.
pub(super) fn field<'v>(value: &'v Value, path: &[Step]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

/// The value at a path, to change it.
pub(super) fn field_mut<'v>(value: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    })
}
