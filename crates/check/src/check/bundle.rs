//! The files of one check, with their objects.

use std::io;
use std::path::PathBuf;

use crm_core::api;
use crm_manifest::{Document, Input, Inputs, NodeId, NotAnObject, ReadError, Step, Variables, Walk, unfold};
use rayon::prelude::*;
use serde_json::Value;

use super::fix::file::Rewritten;
use super::known::Existing;
use super::substitution::Substitution;
use super::suppressions::Suppressions;
use crate::conformance::Identity;
use crate::report::{Access, InputError};

/// The advice for a file with `{{` that cannot be read.
const TEMPLATE: &str =
    "; if this is a template of Helm, check what it renders: helm template … | crm-admission check -";

/// The advice for a line with `${` that cannot be read.
const VARIABLE: &str = "; between brackets, write a variable in quotes: \"${NAME}\"";

/// The files of one check.
#[derive(Debug, Default)]
pub struct Bundle {
    pub(super) files: Vec<File>,
    variables: Variables,
    errors: Vec<InputError>,
    /// The names of the directories in which every manifest was left out.
    left_out: Vec<String>,
    /// The number of fixed values.
    pub(super) fixed: usize,
}

/// One file with its objects.
#[derive(Debug)]
pub(super) struct File {
    pub(super) input: Input,
    /// Those of each document, in order.
    pub(super) objects: Vec<Vec<Object>>,
    not_objects: Vec<NotAnObject>,
    /// The number of documents that SOPS has encrypted. Their objects exist, but are neither judged nor fixed: a change
    /// would break their signature.
    encrypted: usize,
}

/// One object.
#[derive(Debug)]
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
    pub(super) object: &'b Object,
}

impl Bundle {
    /// Reads files, directories and, for `-`, standard input, without the files of `except` and those in its
    /// directories, and without those that `walk` leaves out. A file in `paths` itself stays, unless `except` names it,
    /// too. `variables` are replaced in the objects. `on_file` is called after each file.
    ///
    /// # Errors
    /// The only path given cannot be read. If there are others, its error is part of the report.
    pub fn read(
        paths: &[PathBuf],
        except: &[PathBuf],
        walk: &Walk,
        variables: Variables,
        on_file: &(dyn Fn() + Sync),
    ) -> Result<Self, ReadError> {
        let Inputs { inputs, errors, left_out } = crm_manifest::read(paths, except, walk, on_file)?;
        let errors = errors.into_iter().map(InputError::from).collect();
        Ok(Self { errors, left_out, ..Self::new(inputs, variables) })
    }

    /// The bundle of these files. `variables` are replaced in the objects.
    pub fn new(inputs: Vec<Input>, variables: Variables) -> Self {
        let files = inputs.into_par_iter().map(|input| File::new(input, &variables)).collect();
        Self { files, variables, ..Self::default() }
    }

    /// The number of encrypted documents.
    pub(super) fn encrypted(&self) -> usize {
        self.files.iter().map(|file| file.encrypted).sum()
    }

    /// The number of files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Every object, in the order of the files.
    pub(super) fn objects(&self) -> impl Iterator<Item = Placed<'_>> {
        self.files.iter().flat_map(File::objects)
    }

    /// The objects that exist when the bundle is applied.
    pub fn existing(&self) -> Existing {
        Existing::new(self.objects().map(|placed| (&placed.object.value, &placed.object.substitution)))
    }

    /// The names of the variables in the objects.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.objects().flat_map(|placed| placed.object.substitution.names())
    }

    /// The directories in which every manifest was left out.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Everything that could not be read.
    pub(super) fn errors(&self) -> Vec<InputError> {
        self.errors.iter().cloned().chain(self.files.iter().flat_map(File::errors)).collect()
    }

    /// Adds a problem with a whole input.
    pub fn add_error(&mut self, file: &str, access: Access, message: &str) {
        let (file, message) = (file.to_owned(), message.to_owned());
        self.errors.push(InputError { file, access, position: None, message });
    }

    /// The text of standard input, if it was read.
    pub fn standard_input(&self) -> Option<&str> {
        let file = self.files.iter().find(|file| file.input.path.is_none())?;
        Some(file.input.text().as_str())
    }

    /// Replaces the text of a file by its fixed text.
    pub fn accept(&mut self, rewritten: &Rewritten) {
        self.set_text(rewritten, &rewritten.after);
        self.fixed += rewritten.count;
    }

    /// Restores the text of a file that could not be written.
    pub fn restore(&mut self, rewritten: &Rewritten, why: &io::Error) {
        self.set_text(rewritten, &rewritten.before);
        self.fixed = self.fixed.saturating_sub(rewritten.count);
        self.add_error(&rewritten.name, Access::Write, &format!("cannot be written: {why}"));
    }

    fn set_text(&mut self, rewritten: &Rewritten, text: &str) {
        if let Some(file) = self.files.iter_mut().find(|file| file.input.path == rewritten.path) {
            file.input.set_text(text.to_owned());
            file.unfold(&self.variables);
        }
    }
}

impl File {
    fn new(input: Input, variables: &Variables) -> Self {
        let mut file = Self { input, objects: Vec::new(), not_objects: Vec::new(), encrypted: 0 };
        file.unfold(variables);
        file
    }

    fn unfold(&mut self, variables: &Variables) {
        (self.objects, self.not_objects, self.encrypted) = (Vec::new(), Vec::new(), 0);
        for document in self.input.documents() {
            let (objects, not_objects) = unfold(document);
            let mut objects: Vec<Object> =
                objects.into_iter().map(|object| Object::new(object, variables)).collect();
            if is_encrypted(document) {
                self.encrypted += 1;
                objects.iter_mut().for_each(|object| object.identity = Identity::Encrypted);
            }
            self.objects.push(objects);
            self.not_objects.extend(not_objects);
        }
    }

    fn objects(&self) -> impl Iterator<Item = Placed<'_>> {
        let documents = self.input.documents().iter().zip(&self.objects);
        documents.flat_map(move |(document, objects)| {
            objects.iter().map(move |object| Placed { file: self, document, object })
        })
    }

    /// A template of Helm is no YAML, and this program does not render it. Neither is a variable between brackets.
    fn with_advice(&self, mut error: InputError) -> InputError {
        let text = self.input.text().as_str();
        let line = error.position.and_then(|(line, _)| text.lines().nth(line.checked_sub(1)?));
        if text.contains("{{") {
            error.message += TEMPLATE;
        } else if line.is_some_and(|line| line.contains("${")) {
            error.message += VARIABLE;
        }
        error
    }

    /// The suppressions in its comments. Those of an encrypted document mean nothing, because it is not judged.
    pub(super) fn suppressions(&self) -> Suppressions {
        let documents = self.input.documents().iter().filter(|document| !is_encrypted(document));
        Suppressions::new(self.input.text(), documents, self.input.loose_comments())
    }

    fn errors(&self) -> impl Iterator<Item = InputError> {
        let error = |position, message: &str| InputError {
            file: self.input.name.clone(),
            access: Access::Read,
            position: Some(position),
            message: message.to_owned(),
        };
        let syntax = self.input.errors().iter();
        let syntax = syntax.map(move |fault| error((fault.line, fault.column), &fault.message));
        let not_objects = self.not_objects.iter();
        syntax
            .map(|error| self.with_advice(error))
            .chain(not_objects.map(move |not| error(self.input.text().line_and_column(not.at), not.message)))
    }
}

/// Whether SOPS has encrypted a document: it adds a map `sops` to it.
fn is_encrypted(document: &Document) -> bool {
    let tree = &document.tree;
    let sops = tree.find(tree.root, &[Step::Name("sops".to_owned())]).node;
    sops.is_some_and(|node| tree.value(node).is_object())
}

impl Object {
    fn new(object: crm_manifest::Object, variables: &Variables) -> Self {
        let crm_manifest::Object { root, place, mut value } = object;
        let substitution = Substitution::new(&mut value, variables);
        let identity = identity(&value, &substitution);
        Self { root, place, identity, value, substitution }
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
