//! The files of one check, with their objects.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use crm_manifest::{Input, Inputs, ReadError, STANDARD_INPUT, Variables, Walk, unfold};
use rayon::prelude::*;
use serde_json::Value;

use super::built::Build;
use super::file::{File, Object, Placed, Standing};
use super::fix::file::Rewritten;
use crate::report::{Access, InputError};
use crate::units::Units;

/// The files of one check.
#[derive(Debug, Default)]
pub struct Bundle {
    pub(super) files: Vec<File>,
    /// Those that are replaced in the objects.
    pub(super) variables: Variables,
    /// What kustomize has rendered.
    pub(super) builds: Vec<Build>,
    pub(super) errors: Vec<InputError>,
    /// The given paths, and the files below them, that cannot be read.
    unreadable: Vec<PathBuf>,
    /// The given paths, without links.
    pub(super) given: Vec<PathBuf>,
    /// The files that were excepted, by their paths without links. They are not checked if kustomize renders them either.
    pub(super) excepted: HashSet<PathBuf>,
    /// The names of the directories in which every manifest was left out.
    left_out: Vec<String>,
    /// The number of fixed values.
    pub(super) fixed: usize,
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
        let Inputs { inputs, errors, left_out, omitted } = crm_manifest::read(paths, except, walk, on_file)?;
        let unreadable = errors.iter().map(|error| error.path().to_owned()).collect();
        let errors = errors.into_iter().map(InputError::from).collect();
        let given = paths.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        let bundle = Self::new(inputs, variables);
        Ok(Self { errors, unreadable, left_out, given, excepted: omitted, ..bundle })
    }

    /// The bundle of these files. `variables` are replaced in the objects.
    pub fn new(inputs: Vec<Input>, variables: Variables) -> Self {
        let files = inputs.into_par_iter().map(|input| File::new(input, &variables)).collect();
        Self { files, variables, ..Self::default() }
    }

    /// The directories with a kustomization file. All files are checked as they stand until [`Self::without_builds`] or
    /// [`Self::with_builds`] is called.
    pub fn units(&self) -> Units {
        Units::find(self.files.iter().map(|file| &file.input), &self.unreadable)
    }

    /// Gives the files of some units, by their paths without links, their standing. `None` removes a file, unless the user
    /// has named it.
    pub(super) fn settle(&mut self, standings: &BTreeMap<PathBuf, Option<Standing>>) {
        self.files.retain_mut(|file| {
            let Some(standing) = file.input.real.as_ref().and_then(|real| standings.get(real)) else {
                return true;
            };
            file.standing = standing.unwrap_or(Standing::Named);
            standing.is_some() || file.input.is_named
        });
    }

    /// The number of encrypted documents.
    pub(super) fn encrypted(&self) -> usize {
        self.files.iter().map(|file| file.encrypted).sum()
    }

    /// The number of files.
    pub(super) fn len(&self) -> usize {
        let is_none = |file: &&File| matches!(file.standing, Standing::Kustomization | Standing::Excepted);
        self.files.iter().filter(|file| !is_none(file)).count()
    }

    /// Every object to check: first those that are checked as they stand, in the order of the files, then those of each
    /// build.
    pub(super) fn objects(&self) -> impl Iterator<Item = Placed<'_>> {
        let as_they_stand = self.files.iter().filter(|file| file.is_judged()).flat_map(File::objects);
        as_they_stand.chain(
            self.builds.iter().enumerate().flat_map(|(index, build)| build.objects(index, &self.files)),
        )
    }

    /// The objects that exist without a build.
    pub(super) fn standing_objects(&self) -> impl Iterator<Item = &Object> {
        self.standing_files().flat_map(File::objects).map(|placed| placed.object)
    }

    /// The files with these objects.
    fn standing_files(&self) -> impl Iterator<Item = &File> {
        let exist = |file: &&File| match file.standing {
            Standing::Checked | Standing::Known | Standing::Unbuilt | Standing::Unknown => true,
            Standing::Excepted | Standing::Kustomization | Standing::Source | Standing::Named => false,
        };
        self.files.iter().filter(exist)
    }

    /// Leaves only what exists if the files stand for that. Of a unit, these are its resources as they stand: patches and
    /// what generators read are no objects.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn keep_existing(&mut self) -> Result<(), Box<InputError>> {
        let units = self.units();
        self.without_builds(&units);
        self.errors().into_iter().next().map_or(Ok(()), |error| Err(Box::new(error)))
    }

    /// The objects of these files and directories, if they stand for what exists. Their variables are not replaced, because
    /// what is stored holds none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn existing(paths: &[PathBuf]) -> Result<Vec<Value>, Box<InputError>> {
        Ok(Self::of_existing(paths)?.existing_objects())
    }

    /// The bundle of these files and directories, if they stand for what exists. [`Self::existing_objects`] has its objects.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of_existing(paths: &[PathBuf]) -> Result<Self, Box<InputError>> {
        let bundle = Self::read(paths, &[], &Walk::default(), Variables::default(), &|| ());
        let mut bundle = bundle.map_err(InputError::from)?;
        bundle.keep_existing()?;
        Ok(bundle)
    }

    /// The objects that exist without a build. Their variables are not replaced.
    pub fn existing_objects(&self) -> Vec<Value> {
        let documents = self.standing_files().flat_map(|file| file.input.documents());
        documents.flat_map(|document| unfold(document).0).map(|object| object.value).collect()
    }

    /// The names of those of the given paths that have no object which exists without a build.
    pub fn without_objects(&self, paths: &[PathBuf]) -> Vec<String> {
        let is_empty = |path: &&PathBuf| {
            let real = fs::canonicalize(path).ok().filter(|_| path.as_os_str() != STANDARD_INPUT);
            let is_below = |file: &File| match (&file.input.real, &real) {
                // It belongs to a unit below one of the paths.
                _ if file.is_extra => true,
                (Some(file), Some(real)) => file.starts_with(real),
                (file, real) => file.is_none() && real.is_none(),
            };
            !self.standing_files().any(|file| is_below(file) && file.objects().next().is_some())
        };
        paths.iter().filter(is_empty).map(|path| crm_manifest::name(path)).collect()
    }

    /// The names of the variables in the objects.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let as_they_stand = self.files.iter().flat_map(File::objects).map(|placed| placed.object);
        let all = as_they_stand.chain(self.builds.iter().flat_map(Build::objects_alone));
        all.flat_map(|object| object.substitution.names())
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

    /// Adds a problem that can be found in several ways once.
    pub(super) fn add_once(&mut self, error: InputError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
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
        let Some(index) = self.files.iter().position(|file| file.input.path == rewritten.path) else {
            return;
        };
        let Some(file) = self.files.get_mut(index) else { return };
        let before = file.set_text(text.to_owned(), &self.variables);
        self.builds.iter_mut().for_each(|build| build.carry(index, &before, file));
    }
}
