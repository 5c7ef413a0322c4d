//! Measured processes: started on one core, watched through `/proc`, and stopped with this program.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::settings::Cores;
use crate::support::process::{Log, Process};
use crate::support::workspace::Workspace;
use crate::support::{memory, net};

/// Linux reports the time of processes in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(2);

/// The resources that a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time, in user and kernel mode, of all threads.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
        // The second field is the name in parentheses, which may contain anything.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
        let kib = memory::current(pid).expect("a running process");
        Self { cpu: TICK * ticks, resident: kib * 1024 }
    }
}

/// The sign that a process is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    /// `/readyz` on this port is 200.
    Page(u16),
    /// It listens on this port.
    Listens(u16),
}

impl Ready {
    fn look(self) -> Result<(), String> {
        match self {
            Self::Page(port) => match net::get(port, "/readyz") {
                Ok((200, _)) => Ok(()),
                Ok((code, body)) => Err(format!("{code} {body}")),
                Err(error) => Err(error.to_string()),
            },
            Self::Listens(port) => {
                net::listens(port).then_some(()).ok_or_else(|| "nobody listens".to_owned())
            }
        }
    }
}

/// A measured process.
pub(crate) struct Server {
    pub(crate) pid: u32,
    /// The time from the start of the process until it was ready.
    pub(crate) start: Duration,
    _process: Process,
}

/// A program to start.
pub(crate) struct Program<'a> {
    pub(crate) name: &'static str,
    pub(crate) path: &'a Path,
    pub(crate) args: Vec<String>,
    pub(crate) kubeconfig: Option<&'a Path>,
    pub(crate) ready: Ready,
    pub(crate) core: Option<usize>,
}

impl Server {
    /// Starts a program and waits until it is ready.
    pub(crate) fn start(workspace: &Workspace, program: &Program<'_>) -> Result<Self, String> {
        let pid_file = workspace.file("pids", program.name);
        let _ = fs::remove_file(&pid_file);
        // The shell writes its own id and then replaces itself with the program.
        let mut command = Process::command("sh");
        command.args(["-c", r#"echo $$ >"$0.new"; mv "$0.new" "$0"; exec "$@""#]).arg(&pid_file);
        if let Some(core) = program.core {
            command.args(["taskset", "-c", &core.to_string()]);
        }
        command.arg(program.path).args(&program.args);
        if let Some(kubeconfig) = program.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let log = Log::new(workspace.file("logs", &format!("{}.log", program.name)));
        let start = Instant::now();
        let mut process = Process::start(program.name, command, &log);
        await_ready(&mut process, program.ready, &log)?;
        let start = start.elapsed();
        let pid = fs::read_to_string(&pid_file).map_err(|error| error.to_string())?;
        Ok(Self { pid: pid.trim().parse().expect("the id of a process"), start, _process: process })
    }

    pub(crate) fn resident(&self) -> f64 {
        Usage::of(self.pid).resident as f64
    }
}

fn await_ready(process: &mut Process, ready: Ready, log: &Log) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = match ready.look() {
            Ok(()) => return Ok(()),
            Err(last) => last,
        };
        let printed = || fs::read_to_string(log.path()).unwrap_or_default();
        if let Some(status) = process.ended() {
            return Err(format!("it exited with {status}\n{}", printed()));
        }
        if Instant::now() > deadline {
            return Err(format!("it is not ready: {last}\n{}", printed()));
        }
        thread::sleep(PAUSE);
    }
}

/// Pins this program to the client's core until it is dropped.
pub(crate) struct Pinned {
    all: usize,
}

impl Pinned {
    pub(crate) fn to(cores: Option<Cores>) -> Option<Self> {
        let all = thread::available_parallelism().unwrap().get();
        pin(&cores?.client.to_string());
        Some(Self { all })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        pin(&format!("0-{}", self.all - 1));
    }
}

/// All threads of this program.
fn pin(cores: &str) {
    let pid = std::process::id().to_string();
    let done = Command::new("taskset").args(["-a", "-c", "-p", cores, &pid]).stdout(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "taskset cannot pin this program to {cores}");
}
