//! Processes that never outlive the test program, and whose logs are printed when a test fails.

use super::place::Place;
use super::poll::{self, Seen};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// A shell that runs the program and reads a pipe from us.
///
/// A line on the pipe is the name of a signal for the program. When the pipe closes, the shell kills the program; the
/// kernel closes the pipe even if we are killed. The shell exits with the status of the program. (`prctl` with
/// `PR_SET_PDEATHSIG` is no alternative: it depends on the *thread* that started the program, and tests run in
/// threads.)
pub(super) const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
{
    while read -r signal <&3; do kill -s "$signal" "$program"; done
    kill -s KILL "$program"
} 2>/dev/null &
keeper=$!
exec 3<&-
wait "$program"
status=$?
kill -s KILL "$keeper" 2>/dev/null
exit "$status"
"#;

/// A running program. Dropping it kills the program and waits until it has exited.
pub(crate) struct Process {
    name: &'static str,
    shell: Child,
    /// `None` after it was closed, which kills the program.
    reins: Option<ChildStdin>,
    log: Log,
}

impl Process {
    /// A command for [`Process::start`]: `program` with an empty environment. Callers add arguments.
    pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
        Place::Here.command(program)
    }

    /// Starts the command of [`Process::command`] or [`Place::command`]. Its output is appended to `log`.
    pub(crate) fn start(name: &'static str, mut command: Command, log: &Log) -> Self {
        let output = log.open();
        let mut shell = command
            // Its own process group, so that only we receive Ctrl-C and stop everything in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a second handle of the log"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name, reins: shell.stdin.take(), shell, log: log.clone() }
    }

    /// The file with its output.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The id of the program itself, which is a child of the shell. Only for programs that run here.
    pub(crate) fn id(&self) -> Option<u32> {
        let shell = fs::read_link(format!("/proc/{}/exe", self.shell.id())).ok()?;
        // The other child of the shell is a shell, too.
        let is_program = |id: &u32| fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe != shell);
        children(self.shell.id()).into_iter().find(is_program)
    }

    /// Sends a signal by its name, such as `TERM` or `STOP`. Does nothing if the program has exited.
    pub(crate) fn signal(&mut self, signal: &str) {
        if let Some(reins) = &mut self.reins {
            let _ = writeln!(reins, "{signal}");
        }
    }

    /// The exit status; `None` if the program is running.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("the state of a child process")
    }

    /// Waits until the program exits.
    #[track_caller]
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        let name = self.name;
        poll::until(&format!("the end of {name}"), within, || match self.ended() {
            Some(status) => Seen::Ready(status),
            None => Seen::NotYet("it is still running".to_owned()),
        })
    }

    /// Waits until the program answers as expected. Fails at once if it exits.
    pub(crate) fn ready(
        &mut self,
        within: Duration,
        mut look: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let what = format!("{} that is ready", self.name);
        poll::try_until(&what, within, || match (self.ended(), look()) {
            (Some(status), _) => Seen::Never(format!("it exited with {status}")),
            (None, Ok(())) => Seen::Ready(()),
            (None, Err(last)) => Seen::NotYet(last),
        })
        .map_err(|why| format!("{why}\n{}", self.log.tail(0)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.reins.take());
        let _ = self.shell.wait();
    }
}

/// The ids of all processes that this one has started.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program, in parentheses, may contain anything. The state and the parent follow it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Leaves only `PATH`: proxies, `ETCD_…` and `CRM_ADMISSION_…` variables of the caller must not change a test.
pub(crate) fn clear_environment(command: &mut Command) {
    command.env_clear().env("LC_ALL", "C");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
}

/// The file with the output of a program, over all its restarts.
#[derive(Clone)]
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    /// The number of lines of a log that are printed.
    const LINES: usize = 40;

    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The current length of the log in bytes.
    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    fn open(&self) -> File {
        let file = File::options().create(true).append(true).open(&self.path);
        file.unwrap_or_else(|error| panic!("{} cannot be written: {error}", self.path.display()))
    }

    /// The last lines after the first `skip` bytes, with a heading.
    fn tail(&self, skip: u64) -> String {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let start = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
        let text = String::from_utf8_lossy(&bytes[start..]);
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(Self::LINES)..];
        let [count, all] = [shown.len(), lines.len()];
        format!("--- {count} of {all} new lines in {}\n{}", self.path.display(), shown.join("\n"))
    }
}

/// Prints the logs since its creation when a failing test drops it.
pub(crate) struct Witness {
    logs: Vec<(Log, u64)>,
}

impl Witness {
    pub(crate) fn new(logs: impl IntoIterator<Item = Log>) -> Self {
        Self { logs: logs.into_iter().map(|log| (log.clone(), log.length())).collect() }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if thread::panicking() {
            for (log, length) in &self.logs {
                eprintln!("{}", log.tail(*length));
            }
        }
    }
}
