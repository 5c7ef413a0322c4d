//! A temporary directory that is removed even if the test program is killed.

use super::janitor::Janitor;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The directory of one control plane. Declare it after the fields that write to it, because fields are dropped in
/// order.
pub(crate) struct Workspace {
    path: PathBuf,
    /// Removes the directory, because destructors do not run for statics or after a kill.
    _janitor: Janitor,
}

impl Workspace {
    /// A new directory that only the current user can enter.
    pub(crate) fn create() -> Self {
        Self::create_as("crm-admission-")
    }

    /// Like [`Workspace::create`], with another beginning of its name.
    pub(crate) fn create_as(prefix: &str) -> Self {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir();
        let path = directory.expect("a temporary directory").keep();
        let janitor = Janitor::hire(r#"rm -rf -- "$1""#, [&path]);
        Self { path, _janitor: janitor }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in a directory of the workspace, which is created if it does not exist.
    pub(crate) fn file(&self, directory: &str, name: &str) -> PathBuf {
        let directory = self.path.join(directory);
        fs::create_dir_all(&directory).expect("a directory in the workspace");
        directory.join(name)
    }

    /// Writes a file that only the current user can read, because some contain keys and tokens. Returns its path.
    pub(crate) fn write(&self, directory: &str, name: &str, content: &str) -> PathBuf {
        let path = self.file(directory, name);
        let mut file = private_file(&path);
        file.write_all(content.as_bytes()).expect("a written file");
        path
    }
}

fn private_file(path: &Path) -> fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()))
}
