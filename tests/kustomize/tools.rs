//! The programs that build.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Directories, each to be the PATH, with one program that builds.
pub(crate) struct Tools {
    directory: TempDir,
    names: Vec<&'static str>,
}

impl Tools {
    /// kustomize, and kubectl if there is one.
    pub(crate) fn new() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let kustomize = target.join("tools/bin/kustomize");
        assert!(kustomize.is_file(), "{}: run tests/kustomize/build", kustomize.display());
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|path| path.join("kubectl"));
        let kubectl = on_path.chain([target.join("kubernetes/bin/kubectl")]).find(|file| file.is_file());
        let tools = [("kustomize", Some(kustomize)), ("kubectl", kubectl)];
        let directory = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        for (name, program) in tools.into_iter().filter_map(|(name, program)| Some((name, program?))) {
            fs::create_dir(directory.path().join(name)).unwrap();
            symlink(fs::canonicalize(program).unwrap(), directory.path().join(name).join(name)).unwrap();
            names.push(name);
        }
        Self { directory, names }
    }

    /// The PATH of each.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.names.iter().map(|name| self.directory.path().join(name))
    }
}
