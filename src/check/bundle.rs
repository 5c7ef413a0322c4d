//! The objects in the files that are checked, with what each claims to be.

use std::path::PathBuf;
use std::{fmt, io};

use crm_core::api::{self, CrmKind};
use rayon::prelude::*;
use serde_json::Value;

use super::documents::{ParsedDocument, SyntaxError};
use super::fix::{Wanted, fix};
use super::judge::Judge;
use super::read::{self, ReadError, Source};
use super::report::{InputError, printable};
use super::tree::{Content, NodeId, Step, Tree};
use super::{diff, write};

/// All files of one check.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    pub(super) sources: Vec<Source>,
    pub(super) errors: Vec<InputError>,
    /// How many values have been fixed.
    pub(super) fixed: usize,
    /// What would have been fixed, were it not somebody else's.
    pub(super) outside: Vec<Outside>,
}

/// A file that `--fix` would write otherwise, and does not: a link leads to it out of what was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// How reports call the link.
    pub name: String,
    /// What it leads to, by whatever other links.
    pub target: PathBuf,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.display().to_string();
        write!(
            f,
            "{}: not fixed, since it is a link to {}, outside of the paths given; give that path to fix it",
            printable(&self.name),
            printable(&target)
        )
    }
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

/// What stands where an object should, and is none.
#[derive(Clone, Debug)]
pub(super) struct Misshapen<'b> {
    pub(super) source: &'b Source,
    /// In bytes.
    pub(super) at: usize,
    pub(super) message: &'static str,
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
    /// As it was named or found; `None` for standard input.
    pub path: Option<PathBuf>,
    /// The same without links.
    real: Option<PathBuf>,
    /// Whether it is not to be written.
    leads_out: bool,
    /// What it holds now.
    pub before: String,
    /// What it should hold.
    pub after: String,
    /// How many values that changes.
    count: usize,
}

impl Rewritten {
    /// Writes the file, so that whatever happens either the old content or the new one is there. Standard input has
    /// nowhere to be written to.
    ///
    /// # Errors
    /// The file, or one beside it, cannot be written, or somebody else has written it meanwhile.
    pub fn write(&self) -> io::Result<()> {
        match (&self.path, &self.real) {
            (None, _) => Ok(()),
            (_, Some(real)) => write::replace(real, self.before.as_bytes(), self.after.as_bytes()),
            (Some(_), None) => Err(io::Error::other("it cannot be found out which file this is")),
        }
    }

    fn left_alone(self) -> Option<Outside> {
        Some(Outside { name: self.name, target: self.real? })
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
    /// The only path that is given cannot be read; what cannot be read beside others is part of the report.
    pub fn read(paths: &[PathBuf], on_file: &(dyn Fn() + Sync)) -> Result<Self, ReadError> {
        Self::read_except(paths, &[], on_file)
    }

    /// Reads like [`Bundle::read`], without the files of `except` and those in its directories. A file that is
    /// among `paths` itself stays, unless `except` names it, too.
    ///
    /// # Errors
    /// As there.
    pub fn read_except(
        paths: &[PathBuf],
        except: &[PathBuf],
        on_file: &(dyn Fn() + Sync),
    ) -> Result<Self, ReadError> {
        let (sources, errors) = read::sources(paths, except, on_file)?;
        Ok(Self { sources, errors, ..Self::default() })
    }

    /// Every object, `List`s unfolded, in the order of the files.
    pub(super) fn objects(&self) -> Vec<Object<'_>> {
        let unfolded = |source| unfold_source(source).into_iter().flat_map(|unfolded| unfolded.objects);
        self.sources.par_iter().flat_map_iter(unfolded).collect()
    }

    /// What kubectl would refuse before it sends anything, in the order of the files.
    pub(super) fn misshapen(&self) -> Vec<Misshapen<'_>> {
        let unfolded = |source| unfold_source(source).into_iter().flat_map(|unfolded| unfolded.misshapen);
        self.sources.par_iter().flat_map_iter(unfolded).collect()
    }

    /// The values of every object, to look references up among.
    pub fn values(&self) -> Vec<Value> {
        self.objects().into_iter().map(|object| object.value).collect()
    }

    /// Says of an input as a whole that something could not be done with it.
    pub fn add_error(&mut self, file: &str, message: &str) {
        self.errors.push(InputError { file: file.to_owned(), place: None, message: message.to_owned() });
    }

    /// The text of standard input, if that was read.
    pub fn standard_input(&self) -> Option<&str> {
        self.sources.iter().find(|source| source.path.is_none()).map(|source| source.text.as_str())
    }

    /// Brings every value to its canonical form that can be, here and not yet in the files, and says what has
    /// changed. Files outside of what was named stay as they are; [`Bundle::outside`] lists them.
    pub fn fix(&mut self, judge: &Judge) -> Vec<Rewritten> {
        let all: Vec<Rewritten> =
            self.sources.par_iter_mut().filter_map(|source| fix_source(source, judge)).collect();
        let (outside, rewritten): (Vec<_>, Vec<_>) = all.into_iter().partition(|file| file.leads_out);
        self.outside.extend(outside.into_iter().filter_map(Rewritten::left_alone));
        self.fixed += rewritten.iter().map(|rewritten| rewritten.count).sum::<usize>();
        rewritten
    }

    /// What [`Bundle::fix`] left alone because a link leads to it out of what was named.
    pub fn outside(&self) -> &[Outside] {
        &self.outside
    }

    /// Takes a file as it is after all, since it could not be written.
    pub fn take_back(&mut self, rewritten: &Rewritten, why: &io::Error) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.path == rewritten.path) {
            source.set_text(rewritten.before.clone());
            self.fixed = self.fixed.saturating_sub(rewritten.count);
        }
        let message = format!("cannot be written: {why}");
        self.errors.push(InputError { file: rewritten.name.clone(), place: None, message });
    }
}

fn fix_source(source: &mut Source, judge: &Judge) -> Option<Rewritten> {
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
        real: source.real.clone(),
        leads_out: source.leads_out,
        before: source.text.as_str().to_owned(),
        after: fixed.text.clone(),
        count: fixed.count,
    };
    if !source.leads_out {
        source.set_text(fixed.text);
    }
    Some(rewritten)
}

/// What is to be changed in a document, by the way from its root.
fn wanted(source: &Source, document: &ParsedDocument, judge: &Judge) -> Vec<Wanted> {
    let in_object = |object: Object<'_>| {
        let wanted = judge.wanted(&object);
        wanted.into_iter().map(move |wanted| wanted.below(&object.place))
    };
    Unfolded::new(source, document).objects.into_iter().flat_map(in_object).collect()
}

fn unfold_source(source: &Source) -> Vec<Unfolded<'_>> {
    source.documents.iter().map(|document| Unfolded::new(source, document)).collect()
}

/// The first thing in a file that kubectl would refuse before it sends anything.
pub(super) fn misshapen_in(source: &Source) -> Option<SyntaxError> {
    let misshapen = unfold_source(source).into_iter().flat_map(|unfolded| unfolded.misshapen).next()?;
    let (line, column) = source.text.line_and_column(misshapen.at);
    Some(SyntaxError { line, column, message: misshapen.message.to_owned() })
}

/// The objects of a document.
struct Unfolded<'b> {
    source: &'b Source,
    document: &'b ParsedDocument,
    objects: Vec<Object<'b>>,
    misshapen: Vec<Misshapen<'b>>,
}

/// A list, and what its items are unless they say so themselves.
struct List<'b> {
    items: &'b [NodeId],
    api_version: Value,
    kind: Value,
}

impl<'b> Unfolded<'b> {
    fn new(source: &'b Source, document: &'b ParsedDocument) -> Self {
        let mut unfolded = Self { source, document, objects: Vec::new(), misshapen: Vec::new() };
        let root = document.tree.root;
        // Like an empty document, a null is nothing.
        if !document.tree.value_is_null(root) {
            unfolded.unfold(root, Vec::new(), None);
        }
        unfolded
    }

    /// A `List` of any kind stands for its items.
    fn unfold(&mut self, root: NodeId, place: Vec<Step>, list: Option<&List<'b>>) {
        let tree = &self.document.tree;
        if !matches!(tree.node(tree.resolve(root)).content, Content::Mapping { .. }) {
            return self.refuse(&place, "no object: a manifest is a map with apiVersion and kind");
        }
        let items_of = |place: &[Step]| [place, &[Step::Name("items".to_owned())]].concat();
        match List::at(tree, root) {
            Some(Ok(list)) => {
                for (index, item) in list.items.iter().enumerate() {
                    let mut item_place = items_of(&place);
                    item_place.push(Step::Index(index));
                    self.unfold(*item, item_place, Some(&list));
                }
                return;
            }
            Some(Err(message)) => return self.refuse(&items_of(&place), message),
            None => {}
        }
        let mut value = tree.value(root);
        if let Some(list) = list {
            list.lend(&mut value);
        }
        let identity = identity(&value);
        if list.is_some() && identity == Identity::Other && is_empty(&value["kind"]) {
            return self.refuse(&place, "no kind: an item of a List needs apiVersion and kind");
        }
        let (source, document) = (self.source, self.document);
        self.objects.push(Object { source, document, root, place, value, identity });
    }

    fn refuse(&mut self, place: &[Step], message: &'static str) {
        let tree = &self.document.tree;
        let at = tree.find(tree.root, place).position;
        self.misshapen.push(Misshapen { source: self.source, at, message });
    }
}

impl<'b> List<'b> {
    /// The list at a place, if something is there that calls itself one.
    fn at(tree: &'b Tree, root: NodeId) -> Option<Result<Self, &'static str>> {
        let field = |name: &str| tree.find(root, &[Step::Name(name.to_owned())]).node;
        let Value::String(kind) = tree.value(field("kind")?) else {
            return None;
        };
        let of_items = kind.strip_suffix("List")?;
        let items = field("items")?;
        let items = match &tree.node(tree.resolve(items)).content {
            Content::Sequence { entries, .. } => entries.as_slice(),
            Content::Scalar { value: Value::Null, .. } => &[],
            _ => return Some(Err("the items of a list must be a list")),
        };
        let api_version = field("apiVersion").map(|node| tree.value(node)).unwrap_or_default();
        Some(Ok(Self { items, api_version, kind: Value::String(of_items.to_owned()) }))
    }

    /// As kubectl does: an item that says neither is what the list says.
    fn lend(&self, item: &mut Value) {
        let says_neither = is_empty(&item["kind"]) && is_empty(&item["apiVersion"]);
        if says_neither && !is_empty(&self.kind) {
            item["kind"] = self.kind.clone();
            item["apiVersion"] = self.api_version.clone();
        }
    }
}

/// Whether a text is not given.
fn is_empty(text: &Value) -> bool {
    text.is_null() || text == ""
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
