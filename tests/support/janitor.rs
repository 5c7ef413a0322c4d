//! A shell that cleans up after us, even if we are killed.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Waits until we close a pipe, which the kernel does if we are killed, and then tries to clean up. Programs that are in
/// the way are killed at the same time, so more than one attempt may be needed.
const WATCH: &str = r#"
read -r _
attempts=0
until clean "$@" || [ $((attempts += 1)) -ge 100 ]; do sleep 0.1; done
"#;

/// Dropping it runs its script, and waits until it has finished.
pub(crate) struct Janitor {
    shell: Child,
}

impl Janitor {
    /// The script runs at the end, with these arguments, until it succeeds.
    pub(crate) fn hire(script: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let shell = Command::new("sh")
            .args(["-c", &format!("clean() {{\n{script}\n}}\n{WATCH}"), "janitor"])
            .args(args)
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Self { shell }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
