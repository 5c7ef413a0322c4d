//! The objects in the files that are checked, with what each claims to be.

use std::path::PathBuf;

use rayon::prelude::*;
use serde_json::Value;

use super::documents::ParsedDocument;
use super::fix::{Wanted, fix};
use super::judge::Judge;
use super::read::{self, ReadError, Source};
use super::report::InputError;
use super::tree::{Content, NodeId, Step, Tree};
use super::{diff, write};
use crate::api::{self, CrmKind};

/// All files of one check.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(super) sources: Vec<Source>,
    pub(super) errors: Vec<InputError>,
    /// How many values have been fixed.
    pub(super) fixed: usize,
}

/// One object, as it stands in a file.
#[derive(Clone, Debug)]
pub(super) struct Object<'b> {
    pub(super) source: &'b Source,
    pub(super) document: &'b ParsedDocument,
    pub(super) root: NodeId,
    /// The way from the document's root to the object's, where it is an item of a list.
    pub(super) place: Vec<Step>,
    pub(super) value: Value,
    pub(super) identity: Identity,
}

/// What an object claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A record.
    Record(CrmKind),
    /// Something of our group that there is not, or of one of our kinds without a group: the field that is wrong.
    Misfit(&'static str),
    /// Something that is not ours to check.
    Other,
}

/// A file that `--fix` would write otherwise.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// How reports call it.
    pub name: String,
    /// Where it is; `None` for standard input.
    pub path: Option<PathBuf>,
    /// What it holds now.
    pub before: String,
    /// What it should hold.
    pub after: String,
}

impl Rewritten {
    /// Writes the file, so that whatever happens either the old content or the new one is there. Standard input has
    /// nowhere to be written to.
    ///
    /// # Errors
    /// The file, or one beside it, cannot be written, or somebody else has written it meanwhile.
    pub fn write(&self) -> std::io::Result<()> {
        match &self.path {
            Some(path) => write::replace(path, self.before.as_bytes(), self.after.as_bytes()),
            None => Ok(()),
        }
    }

    /// The change as a unified diff.
    pub fn diff(&self) -> String {
        diff::unified(&self.name, &self.before, &self.after)
    }
}

impl Bundle {
    /// Reads files, directories and, for `-`, standard input. `on_file` hears of each file that is done.
    ///
    /// # Errors
    /// A path that is given and not there.
    pub fn read(paths: &[PathBuf], on_file: &(dyn Fn() + Sync)) -> Result<Self, ReadError> {
        let (sources, errors) = read::sources(paths, on_file)?;
        Ok(Self { sources, errors, fixed: 0 })
    }

    /// Every object, `List`s unfolded, in the order of the files.
    pub(super) fn objects(&self) -> Vec<Object<'_>> {
        self.sources.par_iter().flat_map_iter(objects_of).collect()
    }

    /// The values of every object, to look references up among.
    pub fn values(&self) -> Vec<Value> {
        self.objects().into_iter().map(|object| object.value).collect()
    }

    /// The text of standard input, if that was read.
    pub fn standard_input(&self) -> Option<&str> {
        self.sources.iter().find(|source| source.path.is_none()).map(|source| source.text.as_str())
    }

    /// Brings every value to its canonical form that can be, here and not yet in the files, and says what has
    /// changed.
    pub fn fix(&mut self, judge: &Judge) -> Vec<Rewritten> {
        let fixes: Vec<_> =
            self.sources.par_iter_mut().filter_map(|source| fix_source(source, judge)).collect();
        let (rewritten, counts): (Vec<_>, Vec<usize>) = fixes.into_iter().unzip();
        self.fixed += counts.into_iter().sum::<usize>();
        rewritten
    }
}

fn fix_source(source: &mut Source, judge: &Judge) -> Option<(Rewritten, usize)> {
    let wanted: Vec<Vec<Wanted>> =
        source.documents.iter().map(|document| wanted(source, document, judge)).collect();
    if wanted.iter().all(Vec::is_empty) {
        return None;
    }
    let fixed = fix(source, &wanted);
    if fixed.count == 0 {
        return None;
    }
    let rewritten = Rewritten {
        name: source.name.clone(),
        path: source.path.clone(),
        before: source.text.as_str().to_owned(),
        after: fixed.text.clone(),
    };
    source.set_text(fixed.text);
    Some((rewritten, fixed.count))
}

/// What is to be changed in a document, by the way from its root.
fn wanted(source: &Source, document: &ParsedDocument, judge: &Judge) -> Vec<Wanted> {
    let in_object = |object: Object<'_>| {
        let wanted = judge.wanted(&object);
        wanted.into_iter().map(move |wanted| wanted.below(&object.place))
    };
    objects_in(source, document).into_iter().flat_map(in_object).collect()
}

fn objects_of(source: &Source) -> Vec<Object<'_>> {
    source.documents.iter().flat_map(|document| objects_in(source, document)).collect()
}

fn objects_in<'b>(source: &'b Source, document: &'b ParsedDocument) -> Vec<Object<'b>> {
    let mut objects = Vec::new();
    unfold(source, document, document.tree.root, Vec::new(), &mut objects);
    objects
}

/// A `List` of any kind stands for its items.
fn unfold<'b>(
    source: &'b Source,
    document: &'b ParsedDocument,
    root: NodeId,
    place: Vec<Step>,
    objects: &mut Vec<Object<'b>>,
) {
    let tree = &document.tree;
    if let Some(items) = items(tree, root) {
        for (index, item) in items.iter().enumerate() {
            let item_place =
                [place.as_slice(), &[Step::Name("items".to_owned()), Step::Index(index)]].concat();
            unfold(source, document, *item, item_place, objects);
        }
        return;
    }
    let value = tree.value(root);
    let identity = identity(&value);
    objects.push(Object { source, document, root, place, value, identity });
}

fn items(tree: &Tree, root: NodeId) -> Option<&[NodeId]> {
    let kind = tree.find(root, &[Step::Name("kind".to_owned())]).node?;
    let Value::String(kind) = tree.value(kind) else {
        return None;
    };
    let items = tree.find(root, &[Step::Name("items".to_owned())]).node?;
    match &tree.node(tree.resolve(items)).content {
        Content::Sequence { entries, .. } if kind.ends_with("List") => Some(entries),
        _ => None,
    }
}

fn identity(value: &Value) -> Identity {
    let kind = value["kind"].as_str();
    let known = kind.and_then(|kind| CrmKind::of(api::GROUP, api::VERSION, kind));
    let Some(api_version) = value["apiVersion"].as_str() else {
        // Without a group it could be anybody's, but nobody else has told us.
        return if known.is_some() { Identity::Misfit("apiVersion") } else { Identity::Other };
    };
    let (group, version) = api_version.split_once('/').unwrap_or((api_version, ""));
    match (known, kind) {
        _ if group != api::GROUP => Identity::Other,
        _ if version != api::VERSION => Identity::Misfit("apiVersion"),
        (Some(kind), _) => Identity::Record(kind),
        (None, _) => Identity::Misfit("kind"),
    }
}
