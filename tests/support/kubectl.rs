//! Runs the real kubectl as one user, with assertions that print everything when they fail.

use super::control_plane;
use super::place::Place;
use super::workspace::Workspace;
use serde_json::Value;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// kubectl with the kubeconfig of one user, and a home directory in the workspace, so that it does not use the
/// developer's files.
#[derive(Clone)]
pub(crate) struct Kubectl {
    place: Place,
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    /// kubectl as a user whose kubeconfig is in the workspace, in the network of `place`.
    pub(crate) fn new(place: Place, programs: &Path, workspace: &Workspace, user: &str) -> Self {
        Self {
            place,
            program: programs.join("kubectl"),
            kubeconfig: control_plane::kubeconfig(workspace, user),
            home: workspace.file("homes", user),
        }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// `kubectl ARGS`.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn run(&self, args: impl IntoIterator<Item = impl AsRef<str>>) -> Outcome {
        self.run_with("", args)
    }

    /// `kubectl ARGS` that reads `stdin`.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn run_with(&self, stdin: &str, args: impl IntoIterator<Item = impl AsRef<str>>) -> Outcome {
        let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut child = self
            .command()
            .args(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program that starts");
        // kubectl may fail before it has read all input.
        let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("the end of kubectl");
        Outcome {
            command: format!("kubectl {}", args.join(" ")),
            stdin: stdin.to_owned(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    fn command(&self) -> Command {
        let mut command = self.place.client(&self.program);
        command
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("NO_COLOR", "1")
            // A hanging test does not show the reason.
            .arg("--request-timeout=60s");
        command
    }

    /// `kubectl apply -f -`.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn apply(&self, manifests: &str) -> Outcome {
        self.run_with(manifests, ["apply", "-f", "-"])
    }

    /// `kubectl apply --server-side -f -`.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn apply_server_side(&self, manifests: &str) -> Outcome {
        self.run_with(manifests, ["apply", "--server-side", "-f", "-"])
    }

    /// `kubectl apply -R -f PATH`.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn apply_path(&self, path: &Path) -> Outcome {
        self.run(["apply", "-R", "-f", path.to_str().expect("a path in UTF-8")])
    }

    /// `kubectl create -f -`.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn create(&self, manifests: &str) -> Outcome {
        self.run_with(manifests, ["create", "-f", "-"])
    }

    /// `kubectl replace -f -`.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn replace(&self, manifests: &str) -> Outcome {
        self.run_with(manifests, ["replace", "-f", "-"])
    }

    /// `kubectl patch` with a JSON merge patch.
    #[must_use = "say whether it succeeds or fails"]
    pub(crate) fn patch(&self, resource: &str, name: &str, patch: &Value) -> Outcome {
        self.run(["patch", resource, name, "--type=merge", "-p", &patch.to_string()])
    }

    /// The stored object, which must exist.
    #[track_caller]
    pub(crate) fn get(&self, resource: &str, name: &str) -> Value {
        self.run(["get", resource, name, "-o", "json"]).succeeds().json()
    }

    /// Whether an object of this name exists.
    #[track_caller]
    pub(crate) fn has(&self, resource: &str, name: &str) -> bool {
        let found = self.run(["get", resource, name, "--ignore-not-found", "-o", "name"]).succeeds();
        !found.stdout.is_empty()
    }

    /// The objects in a file or directory, in order and without defaults.
    #[track_caller]
    pub(crate) fn read(&self, path: &Path) -> Vec<Value> {
        let path = path.to_str().expect("a path in UTF-8");
        let read = self
            .run(["create", "--dry-run=client", "--validate=false", "-o", "json", "-R", "-f", path])
            .succeeds();
        serde_json::Deserializer::from_str(&read.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{read}"))
    }
}

/// The output and the exit code of one call of kubectl.
pub(crate) struct Outcome {
    command: String,
    stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    code: Option<i32>,
}

impl Outcome {
    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.check("it failed", Self::ok)
    }

    #[track_caller]
    pub(crate) fn fails(self) -> Self {
        self.check("it succeeds", |it| !it.ok())
    }

    /// Asserts that `text` is on standard output.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        self.check(&format!("it did not print {text:?}"), |it| it.stdout.contains(text))
    }

    /// Asserts that standard output is empty.
    #[track_caller]
    pub(crate) fn prints_nothing(self) -> Self {
        self.check("it printed something", |it| it.stdout.is_empty())
    }

    /// Asserts that `text` is on standard error.
    #[track_caller]
    pub(crate) fn prints_error(self, text: &str) -> Self {
        self.check(&format!("standard error does not contain {text:?}"), |it| it.stderr.contains(text))
    }

    /// Asserts that `text` is not on standard error.
    #[track_caller]
    pub(crate) fn prints_no_error(self, text: &str) -> Self {
        self.check(&format!("it prints_error {text:?}"), |it| !it.stderr.contains(text))
    }

    /// Asserts that a line on standard error is exactly this warning.
    #[track_caller]
    pub(crate) fn warns(self, text: &str) -> Self {
        self.check(&format!("there is no warning {text:?}"), |it| {
            it.warnings().any(|warning| warning == text)
        })
    }

    /// Asserts that a warning of this rule begins with `start`.
    #[track_caller]
    pub(crate) fn warns_about(self, start: &str, rule: &str) -> Self {
        let [plain, with_code] = [format!("[{rule}]"), format!("[{rule}/")];
        let fits = |warning: &str| {
            warning.starts_with(start) && (warning.contains(&plain) || warning.contains(&with_code))
        };
        self.check(&format!("there is no warning {start:?} … [{rule}]"), |it| it.warnings().any(fits))
    }

    /// Asserts that there is no warning.
    #[track_caller]
    pub(crate) fn without_warnings(self) -> Self {
        self.check("it warns", |it| it.warnings().next().is_none())
    }

    /// Standard output, parsed as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }

    fn warnings(&self) -> impl Iterator<Item = &str> {
        self.stderr.lines().filter_map(|line| line.strip_prefix("Warning: "))
    }

    #[track_caller]
    fn check(self, complaint: &str, holds: impl FnOnce(&Self) -> bool) -> Self {
        assert!(holds(&self), "{complaint}\n{self}");
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "--- stdin\n{}", self.stdin)?;
        writeln!(f, "--- stdout\n{}", self.stdout)?;
        writeln!(f, "--- stderr\n{}", self.stderr)?;
        match self.code {
            Some(code) => writeln!(f, "--- exit code {code}"),
            None => writeln!(f, "--- ended by a signal"),
        }
    }
}
