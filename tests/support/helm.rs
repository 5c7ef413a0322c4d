//! The real helm, run on the chart as it is shipped.

use super::control_plane::{built_programs, given_programs};
use super::process;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// helm with the kubeconfig of one user, and directories of its own.
pub(crate) struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// helm as the user of this kubeconfig; what it keeps goes to `home`.
    pub(crate) fn new(kubeconfig: PathBuf, home: &Path) -> Self {
        // Those who have a control plane of their own need not have helm: it is built then.
        let mut directories = given_programs().into_iter().chain([built_programs()]);
        let program = directories.find_map(|directory| {
            let program = directory.join("helm");
            program.is_file().then_some(program)
        });
        let program = program.expect("helm is missing: run tests/control-plane/build first");
        Self { program, kubeconfig, home: home.to_owned() }
    }

    /// `helm ARGS`, which must succeed; returns what it prints.
    #[track_caller]
    pub(crate) fn succeeds<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// `helm ARGS`, which must fail; returns what it complains.
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
        command.output().expect("helm can be started")
    }
}
