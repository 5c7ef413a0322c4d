//! Searches a directory for manifests, without the files that git ignores and those that the user excludes.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The extensions of the names of manifests.
pub const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// The names under which kustomize looks for the file that makes a directory a unit. They are manifests, too.
pub const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Which files of a directory are read. The default is all but hidden ones.
#[derive(Clone, Debug)]
pub struct Walk {
    ignored: Ignored,
    excluded: Arc<Gitignore>,
}

/// What happens to the files that git ignores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// They are left out, and those of `.ignore` files, too.
    LeftOut,
    /// They are read.
    Read,
}

/// A pattern that is not a glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{glob:?} is not a glob as in .gitignore: {cause}")]
pub struct BadGlob {
    /// The pattern.
    pub glob: String,
    /// The problem.
    pub cause: String,
}

/// A path below a directory that cannot be searched or read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) cause: io::Error,
}

/// The manifests below a directory.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Sorted.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) errors: Vec<Unreadable>,
}

impl Default for Walk {
    fn default() -> Self {
        Self { ignored: Ignored::Read, excluded: Arc::new(Gitignore::empty()) }
    }
}

impl Walk {
    /// A walk without the files that match a glob. A glob has the syntax of a line of a `.gitignore` in the directory
    /// `base`.
    ///
    /// # Errors
    /// The first pattern that is not a glob.
    pub fn new(ignored: Ignored, base: &Path, exclude: &[String]) -> Result<Self, BadGlob> {
        // Files are compared by their paths without links.
        let mut globs = GitignoreBuilder::new(fs::canonicalize(base).unwrap_or_else(|_| base.to_owned()));
        for glob in exclude {
            let bad = |error: ignore::Error| BadGlob { glob: glob.clone(), cause: reason(error).1 };
            globs.add_line(None, glob).map_err(bad)?;
        }
        let none = |error: ignore::Error| BadGlob { glob: exclude.join(","), cause: reason(error).1 };
        Ok(Self { ignored, excluded: Arc::new(globs.build().map_err(none)?) })
    }

    /// The manifests below a directory. Links to directories are not followed.
    pub(crate) fn below(&self, directory: &Path) -> Walked {
        let mut walked = Walked::default();
        for entry in self.builder(directory).build() {
            match entry {
                Ok(entry) if is_manifest(entry.path()) => match fs::metadata(entry.path()) {
                    Ok(metadata) if metadata.is_file() => walked.files.push(entry.into_path()),
                    Ok(_) => {}
                    // A dangling link, which kubectl does not skip either.
                    Err(cause) => walked.errors.push(Unreadable { path: entry.into_path(), cause }),
                },
                Ok(_) => {}
                Err(error) => walked.errors.push(unreadable(directory, error)),
            }
        }
        walked.files.sort();
        walked
    }

    /// Whether this walk leaves out every manifest below a directory.
    pub(crate) fn leaves_out_all(&self, directory: &Path, walked: &Walked) -> bool {
        let is_file = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        let mut all = Self::default().builder(directory).build().filter_map(Result::ok);
        walked.files.is_empty()
            && walked.errors.is_empty()
            && all.any(|entry| is_manifest(entry.path()) && is_file(entry.path()))
    }

    fn builder(&self, directory: &Path) -> WalkBuilder {
        let mut builder = WalkBuilder::new(directory);
        builder.standard_filters(self.ignored == Ignored::LeftOut).hidden(true);
        if self.excluded.is_empty() {
            return builder;
        }
        let excluded = Arc::clone(&self.excluded);
        let (given, real) = (directory.to_owned(), fs::canonicalize(directory));
        let real = real.unwrap_or_else(|_| directory.to_owned());
        builder.filter_entry(move |entry| {
            let path = entry.path().strip_prefix(&given).map(|below| real.join(below));
            let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
            !path.is_ok_and(|path| excluded.matched(path, is_directory).is_ignore())
        });
        builder
    }
}

/// The error of a directory below the one that was searched.
fn unreadable(searched: &Path, error: ignore::Error) -> Unreadable {
    let (path, message) = reason(error.clone());
    let cause = error.into_io_error().unwrap_or_else(|| io::Error::other(message));
    Unreadable { path: path.unwrap_or_else(|| searched.to_owned()), cause }
}

/// The path and the problem of an error, without what is around them.
fn reason(error: ignore::Error) -> (Option<PathBuf>, String) {
    let mut path = None;
    let mut cause = error;
    loop {
        cause = match cause {
            ignore::Error::WithPath { path: of, err } => {
                path = Some(of);
                *err
            }
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => *err,
            ignore::Error::Glob { err, .. } => return (path, err),
            cause => return (path, cause.to_string()),
        };
    }
}

/// Whether kustomize reads a file of this name as the kustomization file of its directory.
pub fn is_kustomization(path: &Path) -> bool {
    path.file_name().is_some_and(|name| KUSTOMIZATIONS.iter().any(|own| name == *own))
}

/// Whether the name of a file in a directory is that of a manifest.
pub fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) || is_kustomization(path)
}
