//! Replaces the files of units by what kustomize renders from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crm_manifest::Input;

use super::built::{Build, Built};
use super::bundle::Bundle;
use super::file::{File, Standing};
use crate::report::{Access, InputError};
use crate::units::{Members, Obstacle, Origin, Part, Rendered, Root, Units, rendered};

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
    /// It was not built, because its kustomization file, or that of a unit that it refers to, has a mistake or needs
    /// something that is missing.
    Refused(Obstacle),
    /// It was not built: its resources are checked as they stand.
    Skipped,
}

/// The indexes of the units that have the objects of a file as they stand, by its path without links.
type Owners = BTreeMap<PathBuf, BTreeSet<usize>>;

impl Bundle {
    /// Leaves aside what is no record in its own right: kustomization files, patches, and what generators read. Records of
    /// components only exist.
    pub fn without_builds(&mut self, units: &Units) {
        let standings = units.members().parts.into_iter();
        self.settle(&standings.map(|(file, part)| (file, without_build(part))).collect());
        let mut owners = Owners::new();
        for (index, root) in units.roots().enumerate() {
            self.add_as_they_stand(index, &root.members(), &mut owners);
        }
        self.set_owners(&owners);
    }

    /// Takes the objects of a unit that is not built as they stand. Reads those of its files that are outside of the given
    /// paths, such as those of its base. A file below these paths that is missing was left out on purpose.
    fn add_as_they_stand(&mut self, unit: usize, members: &Members, owners: &mut Owners) {
        for (real, part) in &members.parts {
            let Some(standing) = without_build(*part) else { continue };
            owners.entry(real.clone()).or_default().insert(unit);
            if !self.given.iter().any(|given| real.starts_with(given)) {
                let file = self.file_at(real, members, standing);
                if let Some(file) = file.and_then(|index| self.files.get_mut(index)) {
                    // A build can have read it before.
                    file.standing = file.standing.min(standing);
                }
            }
        }
    }

    fn set_owners(&mut self, owners: &Owners) {
        for file in &mut self.files {
            let units = file.input.real.as_ref().and_then(|real| owners.get(real));
            file.units = units.cloned().unwrap_or_default();
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
        let (mut resources, mut owners) = (Vec::new(), Owners::new());
        for (index, ((root, members), outcome)) in roots.into_iter().zip(outcomes).enumerate() {
            match outcome {
                Outcome::Built { output, base } => match rendered(&output, &base) {
                    Ok(objects) => {
                        self.add_build(root, &members, objects);
                        resources.push(members);
                    }
                    Err(message) => self.fail(root, &message),
                },
                Outcome::Failed(message) => self.fail(root, &message),
                Outcome::Refused(obstacle) => self.refuse(obstacle),
                Outcome::Skipped => self.add_as_they_stand(index, &members, &mut owners),
            }
        }
        self.set_owners(&owners);
        self.find_variants(&resources);
    }

    fn add_build(&mut self, root: Root<'_>, members: &Members, rendered: Vec<Rendered>) {
        let mut objects = Vec::with_capacity(rendered.len());
        for Rendered { value, origin } in rendered {
            let file = origin.and_then(|origin| self.file_of(&origin, members));
            let file = file
                .or_else(|| self.file_at(root.file()?.real.as_deref()?, members, Standing::Kustomization));
            objects.extend(
                file.and_then(|index| Built::new(index, self.files.get(index)?, value, &self.variables)),
            );
        }
        self.builds.push(Build { name: root.name(), objects, variants: BTreeSet::new() });
    }

    /// The index of the file that an object comes from.
    fn file_of(&mut self, origin: &Origin, members: &Members) -> Option<usize> {
        match origin {
            Origin::File(path) => self.file_at(&fs::canonicalize(path).ok()?, members, Standing::Source),
            Origin::Generator(path) => {
                self.file_at(&fs::canonicalize(path).ok()?, members, Standing::Kustomization)
            }
        }
    }

    /// The index of a file, which is read if it is not in the bundle.
    fn file_at(&mut self, real: &Path, members: &Members, standing: Standing) -> Option<usize> {
        let is_it = |file: &File| file.input.real.as_deref() == Some(real);
        if let Some(index) = self.files.iter().position(is_it) {
            return Some(index);
        }
        let text = if real.is_file() { fs::read_to_string(real).ok()? } else { return None };
        let mut input = Input::new(&members.shown(real), text);
        input.real = Some(real.to_owned());
        self.files.push(File::extra(input, standing, &self.variables));
        Some(self.files.len() - 1)
    }

    fn fail(&mut self, root: Root<'_>, message: &str) {
        let file = root.file().map(|input| input.name.clone()).unwrap_or_default();
        self.add_error(&file, Access::Read, message);
    }

    fn refuse(&mut self, Obstacle { file, position, message, .. }: Obstacle) {
        let error =
            InputError { file, access: Access::Read, position: Some(position), message, excerpt: None };
        // Several units can refer to the one with the mistake.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Finds the builds that share files with records. `members` are those of each build. Builds of one deployment can share
    /// other files, such as a namespace.
    fn find_variants(&mut self, members: &[Members]) {
        let has_record = |file: &&File| file.objects().any(|placed| placed.object.identity.kind().is_some());
        let with_records: BTreeSet<&Path> =
            self.files.iter().filter(has_record).filter_map(|file| file.input.real.as_deref()).collect();
        let mut by_resource: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
        for (index, members) in members.iter().enumerate() {
            let shared = members.resources().filter(|file| with_records.contains(*file));
            shared.for_each(|file| by_resource.entry(file).or_default().push(index));
        }
        for (build, index) in self.builds.iter_mut().zip(0..) {
            let sharing = by_resource.values().filter(|builds| builds.contains(&index)).flatten();
            build.variants = sharing.copied().filter(|other| *other != index).collect();
        }
    }
}

/// What a file is for a unit with this outcome; `None` if it has no objects.
fn standing(outcome: &Outcome, part: Part) -> Option<Standing> {
    match (outcome, part) {
        (_, Part::Input) => None,
        (Outcome::Built { .. }, Part::Kustomization) => Some(Standing::Kustomization),
        (_, Part::Kustomization) => None,
        (Outcome::Built { .. }, _) => Some(Standing::Source),
        (Outcome::Skipped, part) => without_build(part),
        (Outcome::Failed(_) | Outcome::Refused(_), _) => Some(Standing::Unbuilt),
    }
}

/// What a file of a unit is if nothing is built; `None` if it has no objects.
fn without_build(part: Part) -> Option<Standing> {
    match part {
        Part::Resource => Some(Standing::Checked),
        Part::Component => Some(Standing::Known),
        Part::Kustomization | Part::Input => None,
    }
}
