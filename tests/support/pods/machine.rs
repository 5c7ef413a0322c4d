//! A simulated machine: a network, mounts and processes of its own.

use super::owner::Owner;
use crate::support::place::Place;
use crate::support::process::{self, Log, Process};
use crate::support::workspace::Workspace;
use std::ffi::OsStr;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

/// How long it may take until a machine is set up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first process of a machine after its setup: it collects the exit status of processes without a parent.
const HOLD: &str = r#"
echo "the machine is set up"
while :; do sleep 3600 & wait; done
"#;

/// A running machine. When it is dropped, all of its processes are killed.
pub(crate) struct Machine {
    place: Place,
    _first: Process,
}

impl Machine {
    /// The options of `unshare` for the namespaces of a machine. When `unshare` is killed, the kernel kills the first
    /// process of the machine, and with it all others.
    pub(super) const NAMESPACES: [&'static str; 8] = [
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation=private",
        "--",
    ];

    /// Starts a machine, which runs a script with these arguments to set up its mounts.
    pub(super) fn start(
        owner: &Owner,
        name: &str,
        workspace: &Workspace,
        setup: &str,
        args: &[&OsStr],
    ) -> Self {
        let log = Log::new(workspace.file("logs", &format!("{name}.log")));
        let mut command = Process::command("unshare");
        command
            .args(Self::NAMESPACES)
            .args(["sh", "-ec", &format!("{setup}\n{HOLD}"), owner.mark()])
            .args(args);
        let mut first = Process::start("machine", command, &log);
        let printed = || std::fs::read_to_string(log.path()).unwrap_or_default();
        first
            .ready(PATIENCE, || match printed() {
                text if text.contains("the machine is set up") => Ok(()),
                text => Err(text),
            })
            .unwrap_or_else(|why| panic!("{name}: {why}"));
        let unshare = first.id().expect("the id of unshare");
        let id = process::children(unshare).into_iter().next().expect("the first process of the machine");
        Self { place: Place::Of(id), _first: first }
    }

    /// Where its programs run.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The id of its first process, as we see it.
    pub(super) fn id(&self) -> u32 {
        match self.place {
            Place::Of(id) => id,
            Place::Here => unreachable!("a machine has its own namespaces"),
        }
    }

    /// Runs these commands of `ip` in its network.
    pub(super) fn ip(&self, commands: &[String]) {
        let mut child = self
            .place
            .client("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip starts");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(commands.join("\n").as_bytes()).expect("ip reads its input");
        drop(input);
        let output = child.wait_with_output().expect("the end of ip");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip failed: {error}\n{}", commands.join("\n"));
    }
}
