//! One file before and after its values are fixed.

use std::path::PathBuf;
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

/// A file that is not written, because a link leads to it out of the given paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The name of the link in reports.
    pub name: String,
    /// The file itself.
    pub target: PathBuf,
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

    /// The change as a unified diff.
    pub fn diff(&self) -> String {
        unified_diff(&self.name, &self.before, &self.after)
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.display().to_string();
        write!(
            f,
            "{}: not fixed, because it is a link to {}, outside the given paths; pass that path to fix it",
            printable(&self.name),
            printable(&target)
        )
    }
}
