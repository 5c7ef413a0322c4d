//! A directory in which `check` and other commands run, and what they answered.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const COMPANY: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\n";
pub(crate) const PERSON: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {name: jane}\n";
pub(crate) const GOOD: &str = "spec: {displayName: Acme}\n";

/// A directory in which files are checked.
pub(crate) struct Repository(TempDir);

/// The result of a check.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Repository {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let repository = Self::new();
        for (name, text) in files {
            repository.write(name, text);
        }
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn check(&self, args: &[&str]) -> Ended {
        self.check_input("", args)
    }

    pub(crate) fn check_input(&self, input: &str, args: &[&str]) -> Ended {
        Ended::of(self.command().args(args).write_stdin(input))
    }

    /// A check in a directory of the repository, with these environment variables.
    pub(crate) fn check_in(&self, directory: &str, variables: &[(&str, &str)], args: &[&str]) -> Ended {
        let directory = self.path().join(directory);
        Ended::of(self.command().current_dir(directory).envs(variables.iter().copied()).args(args))
    }

    /// Any command, with this standard input.
    pub(crate) fn run(&self, input: &str, args: &[&str]) -> Ended {
        Ended::of(self.program().args(args).write_stdin(input))
    }

    fn command(&self) -> Command {
        let mut command = self.program();
        command.arg("check");
        command
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
        // The developer's environment must not affect the test.
        let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CRM_ADMISSION_"));
        for name in ours {
            command.env_remove(name);
        }
        command.env_remove("KUBERNETES_SERVICE_HOST").env("KUBECONFIG", "/nonexistent/kubeconfig");
        // Nor may the global configuration of git.
        command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME");
        command.current_dir(self.path());
        command
    }

    /// Each finding as `FILE:LINE:COLUMN ACTION FIELD [RULE/CODE]`.
    #[track_caller]
    pub(crate) fn findings(&self, args: &[&str]) -> Vec<String> {
        let ended = self.check(&[args, &["--format", "json"]].concat());
        ended.findings()
    }
}

impl Ended {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }

    #[track_caller]
    pub(crate) fn findings(&self) -> Vec<String> {
        let spelled = |finding: &Value| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            let rule = match finding["code"].as_str() {
                Some(code) => format!("{}/{code}", text("rule")),
                None => text("rule"),
            };
            let (line, column) = (&finding["line"], &finding["column"]);
            format!("{}:{line}:{column} {} {} [{rule}]", text("file"), text("action"), text("field"))
        };
        self.json()["findings"].as_array().unwrap().iter().map(spelled).collect()
    }

    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }
}
