//! Runs the real helm on the shipped chart.

use super::control_plane::{built_programs, given_programs};
use super::process;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// helm with the kubeconfig of one user, and its own directories.
pub(crate) struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// helm as the user of this kubeconfig, with its files in `home`.
    pub(crate) fn new(kubeconfig: PathBuf, home: &Path) -> Self {
        Self { program: Self::program(), kubeconfig, home: home.to_owned() }
    }

    /// The path of helm.
    pub(crate) fn program() -> PathBuf {
        // An existing control plane may come without helm, which is built then.
        let mut directories = given_programs().into_iter().chain([built_programs()]);
        let program = directories.find_map(|directory| {
            let program = directory.join("helm");
            program.is_file().then_some(program)
        });
        program.expect("helm is missing: run tests/control-plane/build first")
    }

    /// `helm ARGS`, which must succeed; returns what it prints.
    #[track_caller]
    pub(crate) fn succeeds<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// `helm ARGS`, which must fail; returns its standard error.
    #[track_caller]
    pub(crate) fn fails<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        let mut command = Command::new(&self.program);
        process::clear_environment(&mut command);
        let command = command.env("HOME", &self.home).env("KUBECONFIG", &self.kubeconfig).args(args);
        command.output().expect("a program that starts")
    }
}
