//! Runs commands of the product and measures their memory.

use crate::support::control_plane::ControlPlane;
pub(crate) use crate::support::memory::peak as peak_memory;
use crate::support::poll::{self, Seen};
use crate::support::process;
use crate::support::webhook;
use serde_json::Value;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The result of a run of the program: its output, its exit code, and its measured peak of memory in KiB.
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
    pub(crate) peak: u64,
}

impl Ran {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.told()))
    }

    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.told());
        self
    }

    pub(crate) fn told(&self) -> String {
        let start = |text: &str| text.chars().take(2000).collect::<String>();
        format!("{:?}\n{}\n{}", self.code, start(&self.stdout), start(&self.stderr))
    }
}

/// Starts the program as one of the users.
pub(crate) fn start(plane: &ControlPlane, user: &str, args: &[&str]) -> Child {
    let mut command = Command::new(webhook::product());
    process::clear_environment(&mut command);
    command
        .env("KUBECONFIG", plane.workspace().file("kubeconfigs", user))
        .env("NO_COLOR", "1")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program that starts")
}

/// Runs the program until it exits.
#[track_caller]
pub(crate) fn run(plane: &ControlPlane, user: &str, args: &[&str]) -> Ran {
    let mut child = start(plane, user, args);
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).expect("text");
            text
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = read(Box::new(child.stderr.take().expect("a pipe")));
    let mut peak = 0;
    let status = poll::until("the end of the program", PATIENCE, || {
        peak = peak_memory(child.id()).unwrap_or(peak);
        match child.try_wait().expect("the state of a child process") {
            Some(status) => Seen::Ready(status),
            None => Seen::NotYet("it is running".to_owned()),
        }
    });
    let [stdout, stderr] = [stdout, stderr].map(|text| text.join().expect("text"));
    Ran { stdout, stderr, code: status.code(), peak }
}

/// Resets the peak of a process's memory to its current memory.
pub(crate) fn forget_peak_memory(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a process of ours");
}
