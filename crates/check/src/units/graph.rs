//! Finds the units below some paths, and which files and units each refers to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crm_core::quote::quote;
use crm_manifest::{Input, Text, is_kustomization};
use serde_json::{Map, Value};

use super::kustomization::{Kustomization, Mention, Reading, Role, files_in};
use super::paths::normalized;

/// The units below some paths, and those that they refer to.
#[derive(Debug, Default)]
pub struct Units {
    units: Vec<Unit>,
    roots: Vec<usize>,
}

/// A directory with a kustomization file.
#[derive(Debug)]
struct Unit {
    /// The directory without links.
    directory: PathBuf,
    /// Its kustomization file.
    input: Input,
    /// Empty if the file cannot be read.
    kustomization: Kustomization,
    is_unreadable: bool,
    /// Whether it is below the given paths. Otherwise another unit refers to it.
    is_given: bool,
    links: Vec<Link>,
    obstacles: Vec<Obstacle>,
}

/// What a unit refers to.
#[derive(Debug)]
struct Link {
    role: Role,
    to: Linked,
}

#[derive(Debug)]
enum Linked {
    Unit(usize),
    File {
        /// The path without links.
        real: PathBuf,
        /// The path for reports.
        shown: PathBuf,
    },
}

/// A unit that is built: no other unit refers to it.
#[derive(Clone, Copy, Debug)]
pub struct Root<'u> {
    units: &'u Units,
    index: usize,
}

/// What a file is for a unit, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Its kustomization file, or that of a unit that it refers to.
    Kustomization,
    /// The same, if it cannot be read.
    Broken,
    /// A file with objects.
    Resource,
    /// A file with objects of a component.
    Component,
    /// A patch, the data of a generator, or the like.
    Input,
    /// A file of a unit whose kustomization file cannot be read.
    Unknown,
}

/// A reason not to build a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The kustomization file, as in reports.
    pub file: String,
    /// Line and column, both from 1.
    pub position: (usize, usize),
    /// The problem.
    pub message: String,
    /// What is needed to build it.
    pub cause: Cause,
}

/// What is needed to build a unit that is not built, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A correction of the kustomization file.
    Mistake,
    /// A kustomization file that can be read.
    Unreadable,
    /// The network.
    Remote,
    /// Helm.
    Charts,
}

/// The files of some units, by their paths without links.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) parts: BTreeMap<PathBuf, Part>,
    /// The paths for reports.
    shown: HashMap<PathBuf, PathBuf>,
}

impl Units {
    /// The units among these files, and those that they refer to, which are read from the disk. `unreadable` are the paths,
    /// as given or found, that cannot be read.
    pub fn find<'i>(inputs: impl Iterator<Item = &'i Input>, unreadable: &[PathBuf]) -> Self {
        let mut found = Self::default();
        let mut by_directory = HashMap::new();
        let inputs: Vec<&Input> = inputs.collect();
        for path in unreadable.iter().filter(|path| is_kustomization(path) && !path.is_dir()) {
            if let Some(real) = real_file(path) {
                found.add_unreadable(real, path, true, &mut by_directory);
            }
        }
        for input in inputs.iter().filter(|input| input.path.as_deref().is_some_and(is_kustomization)) {
            found.add((*input).clone(), true, &mut by_directory);
        }
        let mut next = 0;
        // Each directory is added once, so this ends.
        while next < found.units.len() {
            found.follow(next, &mut by_directory);
            next += 1;
        }
        found.add_unknown(&inputs, &by_directory);
        found.roots = found.choose_roots();
        found
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The units to build, in the order of the files: those that no other unit refers to. A component is none.
    pub fn roots(&self) -> impl Iterator<Item = Root<'_>> {
        self.roots.iter().map(|index| Root { units: self, index: *index })
    }

    /// The files of all units, each with what it is if nothing is built.
    pub(crate) fn members(&self) -> Members {
        let mut members = Members::default();
        for (index, unit) in self.units.iter().enumerate().filter(|(_, unit)| unit.is_given) {
            let part = if unit.kustomization.is_component { Part::Component } else { Part::Resource };
            self.collect(index, part, &mut members);
        }
        members
    }

    fn add(
        &mut self,
        input: Input,
        is_given: bool,
        by_directory: &mut HashMap<PathBuf, usize>,
    ) -> Option<usize> {
        let reading = Kustomization::read(&input);
        self.insert(input, reading, is_given, by_directory)
    }

    /// Adds a unit whose kustomization file has no text: it is not UTF-8, or nobody may read it.
    fn add_unreadable(
        &mut self,
        real: PathBuf,
        shown: &Path,
        is_given: bool,
        by_directory: &mut HashMap<PathBuf, usize>,
    ) -> Option<usize> {
        let mut input = Input::new(shown, String::new());
        input.real = Some(real);
        let reading = Reading::Unreadable(0, "cannot be read".to_owned());
        self.insert(input, reading, is_given, by_directory)
    }

    fn insert(
        &mut self,
        input: Input,
        reading: Reading,
        is_given: bool,
        by_directory: &mut HashMap<PathBuf, usize>,
    ) -> Option<usize> {
        let directory = input.real.as_deref()?.parent()?.to_owned();
        if let Some(index) = by_directory.get(&directory) {
            return Some(*index);
        }
        let mut obstacles = Vec::new();
        let kustomization = match reading {
            Reading::Kustomization(kustomization) => kustomization,
            Reading::Unreadable(at, message) => {
                obstacles.push(Obstacle::new(&input, at, message, Cause::Unreadable));
                Kustomization::default()
            }
            Reading::Other => return None,
        };
        let index = self.units.len();
        by_directory.insert(directory.clone(), index);
        let (is_unreadable, links) = (!obstacles.is_empty(), Vec::new());
        self.units.push(Unit { directory, input, kustomization, is_unreadable, is_given, links, obstacles });
        Some(index)
    }

    /// Adds to each unit whose kustomization file cannot be read what it may refer to: the files below its directory that
    /// are not below that of another unit.
    fn add_unknown(&mut self, inputs: &[&Input], by_directory: &HashMap<PathBuf, usize>) {
        if !self.units.iter().any(|unit| unit.is_unreadable) {
            return;
        }
        for input in inputs {
            let (Some(real), Some(shown)) = (&input.real, &input.path) else { continue };
            let nearest = real.ancestors().find_map(|directory| by_directory.get(directory));
            let unit = nearest.and_then(|index| self.units.get_mut(*index));
            if let Some(unit) = unit.filter(|unit| unit.is_unreadable) {
                let to = Linked::File { real: real.clone(), shown: shown.clone() };
                unit.links.push(Link { role: Role::Unknown, to });
            }
        }
    }

    /// Adds what a unit refers to.
    fn follow(&mut self, index: usize, by_directory: &mut HashMap<PathBuf, usize>) {
        let Some(unit) = self.units.get(index) else { return };
        let (mentions, charts) = (unit.kustomization.mentions.clone(), unit.kustomization.charts);
        let (directory, shown) = (unit.directory.clone(), unit.shown());
        let (mut links, mut faults) = (Vec::new(), Vec::new());
        if let Some(at) = charts {
            let message =
                "kustomize renders charts only with --enable-helm, which check does not use".to_owned();
            faults.push((at, message, Cause::Charts));
        }
        for Mention { path, at, role } in mentions {
            let shown = normalized(&shown.join(&path));
            let linked = match fs::canonicalize(directory.join(&path)) {
                _ if is_url(&path) => Err((not_local(&path), Cause::Remote)),
                Ok(real) if real.is_dir() => {
                    self.unit_in(real, &shown, by_directory).map(Linked::Unit).ok_or_else(|| {
                        let message = "this directory has no kustomization file that can be read";
                        (format!("{}: {message}", quote(&path)), Cause::Mistake)
                    })
                }
                Ok(real) => Ok(Linked::File { real, shown }),
                Err(_) if is_repository(&path) => Err((not_local(&path), Cause::Remote)),
                Err(error) => Err((format!("{}: cannot be read: {error}", quote(&path)), Cause::Mistake)),
            };
            match linked {
                Ok(to) => links.push(Link { role, to }),
                Err((message, cause)) => faults.push((at, message, cause)),
            }
        }
        if let Some(unit) = self.units.get_mut(index) {
            let obstacle = |(at, message, cause)| Obstacle::new(&unit.input, at, message, cause);
            let obstacles: Vec<Obstacle> = faults.into_iter().map(obstacle).collect();
            unit.obstacles.extend(obstacles);
            unit.links = links;
        }
    }

    /// The unit in a directory, which is read from the disk if necessary.
    fn unit_in(
        &mut self,
        real: PathBuf,
        shown: &Path,
        by_directory: &mut HashMap<PathBuf, usize>,
    ) -> Option<usize> {
        if let Some(index) = by_directory.get(&real) {
            return Some(*index);
        }
        let file = files_in(&real).find(|file| file.is_file())?;
        let shown = shown.join(file.file_name()?);
        match crm_manifest::read_file(file.clone(), &shown) {
            Ok(input) => self.add(input, false, by_directory),
            Err(_) => self.add_unreadable(file, &shown, false, by_directory),
        }
    }

    fn choose_roots(&self) -> Vec<usize> {
        let referred: HashSet<usize> = self
            .units
            .iter()
            .enumerate()
            .flat_map(|(index, unit)| unit.linked_units().filter(move |linked| *linked != index))
            .collect();
        let candidates = || {
            let units = self.units.iter().enumerate();
            units
                .filter(|(_, unit)| unit.is_given && !unit.kustomization.is_component)
                .map(|(index, _)| index)
        };
        let mut roots: Vec<usize> = candidates().filter(|index| !referred.contains(index)).collect();
        let mut reached = HashSet::new();
        roots.iter().for_each(|root| self.reach(*root, &mut reached));
        // Units that refer to each other in a circle: kustomize says what is wrong. Or only an unused component refers
        // to it.
        for index in candidates() {
            if !reached.contains(&index) {
                roots.push(index);
                self.reach(index, &mut reached);
            }
        }
        roots.sort_unstable();
        roots
    }

    fn reach(&self, from: usize, reached: &mut HashSet<usize>) {
        let mut pending = vec![from];
        while let Some(index) = pending.pop() {
            if reached.insert(index) {
                pending.extend(self.units.get(index).into_iter().flat_map(Unit::linked_units));
            }
        }
    }

    fn collect(&self, from: usize, part: Part, members: &mut Members) {
        let mut pending = vec![(from, part)];
        let mut done = HashSet::new();
        while let Some((index, part)) = pending.pop() {
            let Some(unit) = self.units.get(index).filter(|_| done.insert((index, part))) else { continue };
            if let (Some(real), Some(path)) = (&unit.input.real, &unit.input.path) {
                let part = if unit.is_unreadable { Part::Broken } else { Part::Kustomization };
                members.add(real, path, part);
            }
            for link in &unit.links {
                let of_link = part.max(link.role.part());
                match &link.to {
                    Linked::Unit(linked) => pending.push((*linked, of_link)),
                    Linked::File { real, shown } => members.add(real, shown, of_link),
                }
            }
        }
    }
}

impl<'u> Root<'u> {
    fn unit(&self) -> Option<&'u Unit> {
        self.units.units.get(self.index)
    }

    /// The name of its directory in reports.
    pub fn name(&self) -> String {
        let shown = self.unit().map(Unit::shown).unwrap_or_default();
        if shown.as_os_str().is_empty() { ".".to_owned() } else { shown.to_string_lossy().into_owned() }
    }

    /// Its directory, without links.
    pub fn directory(&self) -> &'u Path {
        self.unit().map_or(Path::new(""), |unit| &unit.directory)
    }

    /// Its kustomization file.
    pub(crate) fn file(&self) -> Option<&'u Input> {
        self.unit().map(|unit| &unit.input)
    }

    /// The fields of its kustomization file that kustomize reads only there, and not in units that it refers to.
    pub fn only_at_root(&self) -> Map<String, Value> {
        self.unit().map(|unit| unit.kustomization.only_at_root.clone()).unwrap_or_default()
    }

    /// Why it, or a unit that it refers to, is not built, most important first.
    pub fn obstacles(&self) -> Vec<&'u Obstacle> {
        let mut reached = HashSet::new();
        self.units.reach(self.index, &mut reached);
        let by_index: BTreeMap<usize, &Unit> =
            self.units.units.iter().enumerate().filter(|(index, _)| reached.contains(index)).collect();
        let mut obstacles: Vec<&Obstacle> = by_index.into_values().flat_map(|unit| &unit.obstacles).collect();
        obstacles.sort_by_key(|obstacle| obstacle.cause);
        obstacles
    }

    /// Its files, and those of the units that it refers to.
    pub(crate) fn members(&self) -> Members {
        let mut members = Members::default();
        self.units.collect(self.index, Part::Resource, &mut members);
        members
    }
}

impl Unit {
    /// The directory for reports.
    fn shown(&self) -> PathBuf {
        let directory = self.input.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        normalized(directory)
    }

    fn linked_units(&self) -> impl Iterator<Item = usize> {
        self.links.iter().filter_map(|link| match link.to {
            Linked::Unit(index) => Some(index),
            Linked::File { .. } => None,
        })
    }
}

impl Role {
    /// What a file of a unit with objects is.
    fn part(self) -> Part {
        match self {
            Self::Resource => Part::Resource,
            Self::Component => Part::Component,
            Self::Input => Part::Input,
            Self::Unknown => Part::Unknown,
        }
    }
}

impl Members {
    fn add(&mut self, real: &Path, shown: &Path, part: Part) {
        let known = self.parts.entry(real.to_owned()).or_insert(part);
        *known = part.min(*known);
        self.shown.entry(real.to_owned()).or_insert_with(|| shown.to_owned());
    }

    /// The path of a file for reports.
    pub(crate) fn shown(&self, real: &Path) -> PathBuf {
        self.shown.get(real).cloned().unwrap_or_else(|| real.to_owned())
    }

    /// The files that are this part.
    pub(crate) fn with(&self, part: Part) -> impl Iterator<Item = &Path> {
        self.parts.iter().filter(move |(_, of_file)| **of_file == part).map(|(file, _)| file.as_path())
    }
}

impl Obstacle {
    fn new(input: &Input, at: usize, message: String, cause: Cause) -> Self {
        let text: &Text = input.text();
        Self { file: input.name.clone(), position: text.line_and_column(at), message, cause }
    }
}

/// The path of a file without links. A link that leads nowhere stays, in its directory without links.
fn real_file(path: &Path) -> Option<PathBuf> {
    let of_link = || {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        Some(fs::canonicalize(directory.unwrap_or(Path::new("."))).ok()?.join(path.file_name()?))
    };
    fs::canonicalize(path).ok().or_else(of_link)
}

fn not_local(path: &str) -> String {
    format!("{}: check reads nothing from the network", quote(path))
}

/// Whether kustomize reads what a path names from the network, even if there is a file of this name.
fn is_url(path: &str) -> bool {
    path.contains("://")
        || ["git@", "git::", "gh:", "github.com/", "github.com:"].iter().any(|start| path.starts_with(start))
}

/// Whether a path that names no file is probably a repository.
fn is_repository(path: &str) -> bool {
    let host = path.split(['/', ':']).next().unwrap_or_default();
    path.contains("?ref=")
        || host.contains('@')
        || (host.contains('.') && !host.starts_with('.') && path.contains('/'))
}
