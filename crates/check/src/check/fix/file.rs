//! One file before and after its values are fixed.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use crm_core::characters::printable;
use crm_manifest::edit::Edited;
use crm_manifest::{Input, replace, unified_diff};

/// A file to write.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// Its name in reports.
    pub name: String,
    /// The path as given or found; `None` for standard input.
    pub path: Option<PathBuf>,
    /// The path without links.
    real: Option<PathBuf>,
    /// Its present content.
    pub before: String,
    /// Its new content.
    pub after: String,
    /// The number of fixed values.
    pub count: usize,
}

/// A file that is not written, because it is outside of the given paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The name of the file, or of the link to it, in reports.
    pub name: String,
    /// The file itself.
    pub target: PathBuf,
    /// Whether a link leads to it. Otherwise kustomize does.
    pub is_link: bool,
}

impl Rewritten {
    pub(super) fn new(input: &Input, edited: Edited) -> Self {
        Self {
            name: input.name.clone(),
            path: input.path.clone(),
            real: input.real.clone(),
            before: input.text().as_str().to_owned(),
            after: edited.text,
            count: edited.count,
        }
    }

    /// Writes the file atomically. Standard input is not written.
    ///
    /// # Errors
    /// The file or its directory is not writable, or the file has changed since it was read.
    pub fn write(&self) -> io::Result<()> {
        match (&self.path, &self.real) {
            (None, _) => Ok(()),
            (_, Some(real)) => replace(real, self.before.as_bytes(), self.after.as_bytes()),
            (Some(_), None) => Err(io::Error::other("the path of the file cannot be resolved")),
        }
    }

    /// The change as a unified diff, with a path relative to `base`.
    fn diff(&self, base: &Path) -> String {
        let relative = self.real.as_deref().and_then(|real| real.strip_prefix(base).ok());
        let name = relative.map_or_else(|| self.name.clone(), |path| path.to_string_lossy().into_owned());
        unified_diff(&name, &self.before, &self.after)
    }
}

/// The changes of some files as one unified diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// The diff.
    pub text: String,
    /// The directory in which to apply it.
    pub base: PathBuf,
}

impl Diff {
    /// The diff of these files, for someone in the directory `current`.
    ///
    /// git and patch accept neither `..` nor absolute paths. So the paths are relative to the current directory, if all
    /// files are below it, else to the repository, else to the root.
    pub fn new(files: &[Rewritten], current: &Path) -> Self {
        let all_below = |base: &Path| {
            files.iter().filter_map(|file| file.real.as_deref()).all(|real| real.starts_with(base))
        };
        let repository = current.ancestors().find(|directory| directory.join(".git").exists());
        let base = [Some(current), repository].into_iter().flatten().find(|base| all_below(base));
        let base = base.unwrap_or(Path::new("/")).to_owned();
        Self { text: files.iter().map(|file| file.diff(&base)).collect(), base }
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.display().to_string();
        if !self.is_link {
            let name = printable(&self.name);
            return write!(
                f,
                "{name}: not fixed, because it is outside the given paths; pass it, too, to fix it"
            );
        }
        write!(
            f,
            "{}: not fixed, because it is a link to {}, outside the given paths; pass that path to fix it",
            printable(&self.name),
            printable(&target)
        )
    }
}
