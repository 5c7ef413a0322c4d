//! A temporary directory that is removed even if the test program is killed.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Removes the directory when we close the pipe. Programs that write to it are killed at the same time, so more than
/// one attempt may be needed.
const JANITOR: &str = r#"
read -r _
sweeps=0
until rm -rf -- "$1" || [ $((sweeps += 1)) -ge 50 ]; do sleep 0.1; done
"#;

/// The directory of one control plane. Declare it after the fields that write to it, because fields are dropped in
/// order.
pub(crate) struct Workspace {
    path: PathBuf,
    janitor: Child,
}

impl Workspace {
    /// A new directory that only the current user can enter.
    pub(crate) fn create() -> Self {
        let directory = tempfile::Builder::new().prefix("crm-admission-").tempdir();
        // The janitor removes it, because destructors do not run for statics or after a kill.
        let path = directory.expect("a temporary directory").keep();
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Self { path, janitor }
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

impl Drop for Workspace {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
