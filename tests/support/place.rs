//! Where programs run: here, or in the namespaces of a machine of a cluster with pods.

use super::process::{self, KEEPER};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

/// The network of a process, and the file systems and processes that it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Those of this program.
    #[default]
    Here,
    /// Those of the process with this id.
    Of(u32),
}

impl Place {
    /// A command for [`Process::start`](process::Process::start) that runs `program` in this place. Callers add
    /// arguments.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        // The keeper runs there too, because it sends signals by the ids of that place.
        let mut command = self.tool("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(program);
        command
    }

    /// A command that runs `program` in this place until it exits. If we are killed, it goes on.
    pub(crate) fn tool(self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&["--net", "--mount", "--pid"], program)
    }

    /// Like [`Place::tool`], but only the network is that of the place.
    pub(crate) fn client(self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&["--net"], program)
    }

    fn enter(self, namespaces: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = match self {
            Self::Here => Command::new(program),
            Self::Of(id) => {
                let mut command = Command::new("nsenter");
                command.args(["--target", &id.to_string()]).args(namespaces).arg("--").arg(program);
                command
            }
        };
        process::clear_environment(&mut command);
        command
    }

    /// Moves this thread into the network of the place. Threads that it starts later follow.
    pub(crate) fn join_network(self) {
        if let Some(path) = self.network() {
            let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|error| panic!("{} cannot be entered: {error}", path.display()));
        }
    }

    /// Runs `action` in the network of the place.
    pub(crate) fn within<T: Send>(self, action: impl FnOnce() -> T + Send) -> T {
        if self == Self::Here {
            return action();
        }
        // In its own thread, because a thread cannot return from a network that is gone.
        let run = || {
            self.join_network();
            action()
        };
        let ended = thread::scope(|scope| scope.spawn(run).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The file of its network namespace; `None` here.
    fn network(self) -> Option<PathBuf> {
        match self {
            Self::Here => None,
            Self::Of(id) => Some(PathBuf::from(format!("/proc/{id}/ns/net"))),
        }
    }
}
