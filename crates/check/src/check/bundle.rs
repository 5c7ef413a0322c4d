//! The files of one check, with their objects.

use std::io;
use std::path::PathBuf;

use crm_manifest::{Document, Input, Inputs, NodeId, NotAnObject, ReadError, Step, Walk, unfold};
use rayon::prelude::*;
use serde_json::Value;

use super::fix::file::Rewritten;
use super::suppressions::Suppressions;
use crate::conformance::Identity;
use crate::report::{Access, Excerpt, InputError};

/// The advice for a file with `{{` that cannot be read.
const TEMPLATE: &str =
    "; if this is a template of Helm, check what it renders: helm template … | crm-admission check -";

/// The files of one check.
#[derive(Debug, Default)]
pub struct Bundle {
    pub(super) files: Vec<File>,
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
#[derive(Debug)]
pub(super) struct Object {
    pub(super) root: NodeId,
    /// The path from the root of the document, if it is an item of a list.
    pub(super) place: Vec<Step>,
    pub(super) value: Value,
    pub(super) identity: Identity,
}

/// An object and the document that it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'b> {
    pub(super) file: &'b File,
    pub(super) document: &'b Document,
    pub(super) object: &'b Object,
    /// The index of the document in the file.
    pub(super) index: usize,
}

impl Bundle {
    /// Reads files, directories and, for `-`, standard input, without the files of `except` and those in its
    /// directories, and without those that `walk` leaves out. A file in `paths` itself stays, unless `except` names it,
    /// too. `on_file` is called after each file.
    ///
    /// # Errors
    /// The only path given cannot be read. If there are others, its error is part of the report.
    pub fn read(
        paths: &[PathBuf],
        except: &[PathBuf],
        walk: &Walk,
        on_file: &(dyn Fn() + Sync),
    ) -> Result<Self, ReadError> {
        let Inputs { inputs, errors, left_out } = crm_manifest::read(paths, except, walk, on_file)?;
        let errors = errors.into_iter().map(InputError::from).collect();
        Ok(Self { errors, left_out, ..Self::new(inputs) })
    }

    /// The bundle of these files.
    pub fn new(inputs: Vec<Input>) -> Self {
        Self { files: inputs.into_par_iter().map(File::new).collect(), ..Self::default() }
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

    /// The values of every object.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.objects().map(|placed| &placed.object.value)
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
        self.errors.push(InputError { file, access, position: None, message, excerpt: None });
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
            file.set_text(text.to_owned());
        }
    }
}

impl File {
    pub(super) fn new(input: Input) -> Self {
        let mut file = Self { input, objects: Vec::new(), not_objects: Vec::new(), encrypted: 0 };
        file.unfold();
        file
    }

    fn unfold(&mut self) {
        (self.objects, self.not_objects, self.encrypted) = (Vec::new(), Vec::new(), 0);
        for document in self.input.documents() {
            let (objects, not_objects) = unfold(document);
            let mut objects: Vec<Object> = objects.into_iter().map(Object::from).collect();
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
        documents.flat_map(move |(index, (document, objects))| {
            objects.iter().map(move |object| Placed { file: self, document, object, index })
        })
    }

    /// Replaces the text and reads it.
    pub(super) fn set_text(&mut self, text: String) {
        self.input.set_text(text);
        self.unfold();
    }

    /// A template of Helm is no YAML, and this program does not render it.
    fn with_advice(&self, message: &str) -> String {
        let advice = if self.input.text().as_str().contains("{{") { TEMPLATE } else { "" };
        format!("{message}{advice}")
    }

    /// The suppressions in its comments. Those of an encrypted document mean nothing, because it is not judged.
    pub(super) fn suppressions(&self) -> Suppressions {
        let documents = self.input.documents().iter().filter(|document| !is_encrypted(document));
        Suppressions::new(self.input.text(), documents, self.input.loose_comments())
    }

    fn errors(&self) -> impl Iterator<Item = InputError> {
        let error = |fault: Fault| {
            let text = self.input.text();
            let (line, column) = text.line_and_column(fault.at);
            let excerpt = Excerpt::new(text.line(line), column, "");
            InputError {
                file: self.input.name.clone(),
                access: Access::Read,
                position: Some((line, column)),
                message: fault.message,
                excerpt: Some(excerpt),
            }
        };
        self.faults().into_iter().map(error)
    }

    /// Everything that cannot be read.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let text = self.input.text();
        let syntax = self.input.errors().iter().map(|error| Fault {
            at: text.byte(error.line, error.column),
            message: self.with_advice(&error.message),
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
    let sops = tree.find(tree.root, &[Step::Name("sops".to_owned())]).node;
    sops.is_some_and(|node| tree.value(node).is_object())
}

impl From<crm_manifest::Object> for Object {
    fn from(object: crm_manifest::Object) -> Self {
        let crm_manifest::Object { root, place, value } = object;
        Self { root, place, identity: Identity::of(&value), value }
    }
}
