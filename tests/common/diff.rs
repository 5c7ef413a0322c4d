//! Applies a diff with git and with patch.

#![allow(unreachable_pub, reason = "compiled into several programs")]
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// Applies a diff of the file `name`, whose content is `before`, with each program, and returns the two results.
#[track_caller]
pub fn by_git_and_patch(name: &str, before: &str, diff: &str) -> [String; 2] {
    [("git", &["apply"][..]), ("patch", &["-p1", "--binary", "--quiet"])].map(|(program, args)| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, before).unwrap();
        apply(program, args, directory.path(), diff);
        fs::read_to_string(path).unwrap()
    })
}

/// Runs a program that reads a diff from standard input, and fails if it fails.
#[track_caller]
pub fn apply(program: &str, args: &[&str], directory: &Path, diff: &str) {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("diff");
    fs::write(&file, diff).unwrap();
    let input = File::open(file).unwrap();
    let output = Command::new(program).args(args).current_dir(directory).stdin(input).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program}: {}{}\n{diff}", text(&output.stdout), text(&output.stderr));
}
