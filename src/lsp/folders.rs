//! A folder of the workspace: its files as they are on disk, with open documents on top of them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crm_check::check::{Bundle, Checked, Workspace};
use crm_core::api::Target;
use crm_core::existence::Fact;
use crm_manifest::{Walk, is_kustomization};
use jiff::Timestamp;

use super::documents::Documents;
use super::setup::{SetUp, Setup};

/// The name of the configuration file.
const CONFIGURATION: &str = ".crm-admission.yaml";

/// A folder.
pub(super) struct Folder {
    pub(super) root: PathBuf,
    /// Whether its files are read. Without a folder, only open documents are.
    is_read: bool,
    /// Whether it must be read anew.
    pub(super) is_stale: bool,
    /// `None` until it could be set up.
    loaded: Option<Loaded>,
}

struct Loaded {
    workspace: Workspace,
    /// The files that were found on disk.
    on_disk: HashSet<PathBuf>,
    resources: Vec<PathBuf>,
    sources: Vec<PathBuf>,
    /// The last result for each file.
    results: HashMap<PathBuf, Checked>,
}

impl Folder {
    /// A folder whose files are read.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, is_read: true, is_stale: true, loaded: None }
    }

    /// No folder: open documents alone, with the configuration of this directory.
    pub(super) fn none(directory: PathBuf) -> Self {
        Self { root: directory, is_read: false, is_stale: true, loaded: None }
    }

    /// Reads everything anew. If that fails, what was read before stays.
    ///
    /// # Errors
    /// The folder cannot be set up.
    pub(super) fn load(&mut self, set_up: &SetUp) -> Result<(), String> {
        self.is_stale = false;
        let Setup { judge, applier, walk, variables, paths, resources, is_complete, sources } =
            set_up(&self.root)?;
        let elsewhere = Bundle::read(&resources, &[], &Walk::default(), variables.clone(), &|| {});
        let elsewhere = elsewhere.map_err(|error| error.to_string())?;
        let paths = if paths.is_empty() { vec![self.root.clone()] } else { paths };
        let bundle = if self.is_read {
            Bundle::read(&paths, &resources, &walk, variables, &|| {}).map_err(|error| error.to_string())?
        } else {
            Bundle::new(Vec::new(), variables)
        };
        let workspace = Workspace::new(judge, applier, &self.root, bundle, elsewhere, is_complete)
            .map_err(|error| error.to_string())?;
        let on_disk = workspace.paths().map(Path::to_owned).collect();
        let results = HashMap::new();
        self.loaded = Some(Loaded { workspace, on_disk, resources, sources, results });
        Ok(())
    }

    /// Puts the open documents of this folder on top of its files.
    pub(super) fn overlay(&mut self, documents: &Documents, is_mine: impl Fn(&Path) -> bool) {
        for (path, text) in documents.all().filter(|(path, _)| is_mine(path)) {
            self.set(path, text.to_owned());
        }
    }

    /// Replaces the text of a file. Objects of `resources` are not judged.
    pub(super) fn set(&mut self, path: &Path, text: String) {
        if let Some(loaded) = &mut self.loaded
            && !loaded.resources.iter().any(|resource| path.starts_with(resource))
        {
            loaded.workspace.set(path, text);
        }
    }

    /// Takes over what is on disk, after a document was closed or a file has changed.
    pub(super) fn restore(&mut self, path: &Path) {
        let Some(loaded) = &mut self.loaded else { return };
        match crm_manifest::text(path) {
            Ok(text) if loaded.on_disk.contains(path) => loaded.workspace.set(path, text),
            _ => {
                loaded.workspace.remove(path);
                loaded.results.remove(path);
            }
        }
    }

    /// Whether the file is one of those that were found on disk.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.on_disk.contains(path))
    }

    /// Whether everything depends on this file: the configuration, the policy, kustomization files, and objects that exist
    /// elsewhere.
    pub(super) fn depends_on(&self, path: &Path) -> bool {
        let is_configuration = path.file_name().is_some_and(|name| name == CONFIGURATION);
        let says_what_files_are = is_configuration || is_kustomization(path);
        let loaded = self.loaded.as_ref();
        says_what_files_are
            || loaded.is_some_and(|loaded| {
                loaded.sources.iter().any(|source| source == path)
                    || loaded.resources.iter().any(|resource| path.starts_with(resource))
            })
    }

    /// Judges what has changed. Returns the paths of the files whose result may have changed.
    pub(super) fn judge(&mut self, now: Timestamp) -> Vec<PathBuf> {
        let Some(loaded) = &mut self.loaded else {
            return Vec::new();
        };
        let checked = loaded.workspace.judge(now);
        let paths = checked.iter().map(|checked| checked.path.clone()).collect();
        loaded.results.extend(checked.into_iter().map(|checked| (checked.path.clone(), checked)));
        paths
    }

    pub(super) fn workspace(&self) -> Option<&Workspace> {
        self.loaded.as_ref().map(|loaded| &loaded.workspace)
    }

    pub(super) fn result(&self, path: &Path) -> Option<&Checked> {
        self.loaded.as_ref()?.results.get(path)
    }

    /// The files that have a result.
    pub(super) fn judged(&self) -> impl Iterator<Item = &Path> {
        self.loaded.iter().flat_map(|loaded| loaded.results.keys()).map(PathBuf::as_path)
    }

    /// The targets to ask a cluster about.
    pub(super) fn ask(&mut self) -> HashSet<Target> {
        self.loaded.as_mut().map(|loaded| loaded.workspace.ask()).unwrap_or_default()
    }

    pub(super) fn answer(&mut self, answers: &HashMap<Target, Fact>) {
        if let Some(loaded) = &mut self.loaded {
            let answers = answers.iter().map(|(target, fact)| (target.clone(), fact.clone()));
            loaded.workspace.answer(answers);
        }
    }

    /// Lets the cluster be asked again about objects that did not exist.
    pub(super) fn doubt(&mut self) {
        if let Some(loaded) = &mut self.loaded {
            loaded.workspace.doubt();
        }
    }
}
