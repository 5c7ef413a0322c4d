//! Replaces the files of units by what kustomize renders from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::built::{Build, Built};
use super::bundle::Bundle;
use super::file::{File, Standing};
use crate::report::{Access, InputError};
use crate::units::{Cause, Members, Obstacle, Origin, Part, Rendered, Root, Units, rendered};

/// What became of a unit.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was built.
    Built {
        /// The manifests, with `buildMetadata: [originAnnotations]`.
        output: String,
        /// The absolute path to which the origins in them are relative.
        base: PathBuf,
    },
    /// The tool reported this problem.
    Failed(String),
    /// The build was not started, because its kustomization file, or that of a unit that it refers to, has a mistake or
    /// needs something that is missing.
    Blocked(Obstacle),
    /// It was not built: its resources are checked as they stand.
    Skipped,
}

/// The indexes of the files of a bundle, so that each is found at once. It holds as long as no file is removed.
#[derive(Default)]
struct Index {
    /// By their paths without links.
    by_real: HashMap<PathBuf, usize>,
    /// By the paths in origins. Thousands of objects can come from one file, whose links are resolved once.
    by_origin: HashMap<PathBuf, Option<usize>>,
}

impl Bundle {
    /// Leaves aside what is no record in its own right: kustomization files, patches, and what generators read. Records of
    /// components only exist.
    pub fn without_builds(&mut self, units: &Units) {
        let standings = units.members().parts.into_iter();
        self.settle(&standings.map(|(file, part)| (file, without_build(part))).collect());
        let mut index = Index::of(&self.files);
        for (unit, root) in units.roots().enumerate() {
            self.add_as_they_stand(unit, &root.members(), &mut index);
        }
    }

    /// Takes the objects of a unit that is not built as they stand. Reads those of its files that are outside of the given
    /// paths, such as those of its base. A file below these paths that is missing was left out on purpose.
    fn add_as_they_stand(&mut self, unit: usize, members: &Members, index: &mut Index) {
        for (real, part) in &members.parts {
            let Some(standing) = without_build(*part) else { continue };
            let is_given = self.given.iter().any(|given| real.starts_with(given));
            let found = match is_given {
                true => index.by_real.get(real).copied(),
                false => self.file_at(real, members, standing, index),
            };
            let Some(file) = found.and_then(|found| self.files.get_mut(found)) else { continue };
            file.units.insert(unit);
            if !is_given {
                // A build can have read it before.
                file.standing = file.standing.min(standing);
            }
        }
    }

    /// Checks what the units render in place of their files. `outcomes` are those of [`Units::roots`], in order.
    pub fn with_builds(&mut self, units: &Units, outcomes: Vec<Outcome>) {
        let roots: Vec<(Root<'_>, Members)> = units.roots().map(|root| (root, root.members())).collect();
        let mut standings: BTreeMap<PathBuf, Option<Standing>> =
            units.members().parts.into_keys().map(|file| (file, None)).collect();
        for ((_, members), outcome) in roots.iter().zip(&outcomes) {
            for (file, part) in &members.parts {
                let known = standings.entry(file.clone()).or_default();
                // The first variant is the strongest.
                *known = [*known, standing(outcome, *part)].into_iter().flatten().min();
            }
        }
        self.settle(&standings);
        let mut index = Index::of(&self.files);
        let mut resources = Vec::new();
        for (unit, ((root, members), outcome)) in roots.into_iter().zip(outcomes).enumerate() {
            match outcome {
                Outcome::Built { output, base } => match rendered(&output, &base) {
                    Ok(objects) => {
                        self.add_build(root, &members, objects, &mut index);
                        resources.push(members);
                    }
                    Err(message) => self.fail(root, &message),
                },
                Outcome::Failed(message) => self.fail(root, &message),
                Outcome::Blocked(obstacle) => self.block(obstacle, &members, &mut index),
                Outcome::Skipped => self.add_as_they_stand(unit, &members, &mut index),
            }
        }
        self.find_variants(&resources);
    }

    fn add_build(&mut self, root: Root<'_>, members: &Members, rendered: Vec<Rendered>, index: &mut Index) {
        let mut objects = Vec::with_capacity(rendered.len());
        for Rendered { value, origin } in rendered {
            let file = origin.and_then(|origin| self.file_of(origin, members, index));
            let file = file.or_else(|| {
                self.file_at(root.file()?.real.as_deref()?, members, Standing::Kustomization, index)
            });
            objects.extend(
                file.and_then(|index| Built::new(index, self.files.get(index)?, value, &self.variables)),
            );
        }
        self.builds.push(Build { name: root.name(), objects, variants: BTreeSet::new() });
    }

    /// The index of the file that an object comes from.
    fn file_of(&mut self, origin: Origin, members: &Members, index: &mut Index) -> Option<usize> {
        let (path, standing) = match origin {
            Origin::File(path) => (path, Standing::Source),
            Origin::Generator(path) => (path, Standing::Kustomization),
        };
        if let Some(found) = index.by_origin.get(&path) {
            return *found;
        }
        let real = fs::canonicalize(&path).ok();
        let found = real.and_then(|real| self.file_at(&real, members, standing, index));
        index.by_origin.insert(path, found);
        found
    }

    /// The index of a file, which is read if it is not in the bundle. `None` if it does not exist, or if it cannot be read,
    /// which is reported.
    fn file_at(
        &mut self,
        real: &Path,
        members: &Members,
        standing: Standing,
        index: &mut Index,
    ) -> Option<usize> {
        if let Some(found) = index.by_real.get(real) {
            return Some(*found);
        }
        if !real.is_file() {
            return None;
        }
        let input = match crm_manifest::read_file(real.to_owned(), &members.shown(real)) {
            Ok(input) => input,
            Err(error) => {
                self.add_once(error.into());
                return None;
            }
        };
        let standing = if self.excepted.contains(real) { Standing::Excepted } else { standing };
        let found = self.files.len();
        self.files.push(File::extra(input, standing, &self.variables));
        index.by_real.insert(real.to_owned(), found);
        Some(found)
    }

    fn fail(&mut self, root: Root<'_>, message: &str) {
        let file = root.file().map(|input| input.name.clone()).unwrap_or_default();
        self.add_error(&file, Access::Read, message);
    }

    /// Reports why a unit is not built. A file that cannot be read is reported as every other such file, once.
    fn block(&mut self, obstacle: Obstacle, members: &Members, index: &mut Index) {
        if obstacle.cause == Cause::Unreadable {
            for file in members.with(Part::Broken) {
                self.file_at(file, members, Standing::Unbuilt, index);
            }
            return;
        }
        let Obstacle { file, position, message, .. } = obstacle;
        let error =
            InputError { file, access: Access::Read, position: Some(position), message, excerpt: None };
        // Several units can refer to the one with the mistake.
        self.add_once(error);
    }

    /// Finds the builds that share files with records. `members` are those of each build. Builds of one deployment can share
    /// other files, such as a namespace.
    fn find_variants(&mut self, members: &[Members]) {
        let has_record = |file: &&File| file.objects().any(|placed| placed.object.identity.kind().is_some());
        let with_records: BTreeSet<&Path> =
            self.files.iter().filter(has_record).filter_map(|file| file.input.real.as_deref()).collect();
        let mut by_resource: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
        for (index, members) in members.iter().enumerate() {
            let shared = members.with(Part::Resource).filter(|file| with_records.contains(*file));
            shared.for_each(|file| by_resource.entry(file).or_default().push(index));
        }
        for (build, index) in self.builds.iter_mut().zip(0..) {
            let sharing = by_resource.values().filter(|builds| builds.contains(&index)).flatten();
            build.variants = sharing.copied().filter(|other| *other != index).collect();
        }
    }
}

impl Index {
    fn of(files: &[File]) -> Self {
        let paths = files.iter().zip(0..).filter_map(|(file, index)| Some((file.input.real.clone()?, index)));
        Self { by_real: paths.collect(), by_origin: HashMap::new() }
    }
}

/// What a file is for a unit with this outcome; `None` if it has no objects.
fn standing(outcome: &Outcome, part: Part) -> Option<Standing> {
    match (outcome, part) {
        (_, Part::Broken | Part::Unknown) => without_build(part),
        (_, Part::Input) => None,
        (Outcome::Built { .. }, Part::Kustomization) => Some(Standing::Kustomization),
        (_, Part::Kustomization) => None,
        (Outcome::Built { .. }, _) => Some(Standing::Source),
        (Outcome::Skipped, part) => without_build(part),
        (Outcome::Failed(_) | Outcome::Blocked(_), _) => Some(Standing::Unbuilt),
    }
}

/// What a file of a unit is if nothing is built; `None` if it has no objects.
fn without_build(part: Part) -> Option<Standing> {
    match part {
        Part::Resource => Some(Standing::Checked),
        Part::Component => Some(Standing::Known),
        Part::Broken => Some(Standing::Unbuilt),
        Part::Unknown => Some(Standing::Unknown),
        Part::Kustomization | Part::Input => None,
    }
}
