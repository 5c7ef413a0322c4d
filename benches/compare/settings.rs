//! The settings from the environment: `BENCH_ONLY`, `BENCH_CASES`, `BENCH_ROUNDS`, `BENCH_SECONDS`, `BENCH_CORES`.

use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use crate::cases::Id;

const ROUNDS: usize = 5;
const SECONDS: f64 = 1.0;
/// The number of starts in the parts with many objects, where listing them is slow.
const STARTS: usize = 3;
/// The number of turns of a measurement through an API server. With etcd and shared cores, its speed varies for
/// seconds. With short turns, all contenders are affected alike.
const TURNS: u32 = 4;

/// A part of the comparison, which can be run separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Direct,
    Api,
    Scale,
    Conditions,
    Engine,
    Check,
    Lsp,
    Replay,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Direct,
        Self::Api,
        Self::Scale,
        Self::Conditions,
        Self::Engine,
        Self::Check,
        Self::Lsp,
        Self::Replay,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Api => "api",
            Self::Scale => "scale",
            Self::Conditions => "conditions",
            Self::Engine => "engine",
            Self::Check => "check",
            Self::Lsp => "lsp",
            Self::Replay => "replay",
        }
    }
}

/// The cores of a measurement with pinned processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// For the measured process.
    pub(crate) server: usize,
    /// For the load and the fake API server.
    pub(crate) client: usize,
}

pub(crate) struct Settings {
    pub(crate) parts: Vec<Part>,
    /// The cases of the direct part; `None` for all.
    pub(crate) cases: Option<Vec<Id>>,
    pub(crate) rounds: usize,
    /// How long one measurement takes.
    pub(crate) time: Duration,
    /// `None` if there is only one core or no `taskset`.
    pub(crate) cores: Option<Cores>,
}

impl Settings {
    pub(crate) fn read() -> Self {
        Self {
            parts: parts(),
            cases: cases(),
            rounds: number("BENCH_ROUNDS").unwrap_or(ROUNDS).max(1),
            time: Duration::from_secs_f64(number("BENCH_SECONDS").unwrap_or(SECONDS)),
            cores: cores(),
        }
    }

    /// How often a process is started to measure the start.
    pub(crate) fn starts(&self) -> usize {
        self.rounds.min(STARTS)
    }

    /// How often each contender is measured through an API server.
    pub(crate) fn turns(&self) -> usize {
        self.rounds * TURNS as usize
    }

    /// The duration of one of these measurements.
    pub(crate) fn turn(&self) -> Duration {
        self.time / TURNS
    }

    /// Whether this is a full run, whose results are written to the page.
    pub(crate) fn is_full(&self) -> bool {
        self.cases.is_none() && self.rounds >= ROUNDS && self.time >= Duration::from_secs_f64(SECONDS)
    }

    /// The settings in the heading of a table.
    pub(crate) fn shown(&self, part: Part) -> String {
        let pinned = match self.cores {
            // An API server and its etcd would share a core with the measured process.
            _ if part == Part::Api => "not pinned to cores".to_owned(),
            Some(Cores { server, client }) => format!("server on core {server}, client on core {client}"),
            None => "not pinned to cores".to_owned(),
        };
        let (rounds, time) = match part {
            Part::Scale | Part::Conditions => (self.starts(), self.time),
            Part::Api => (self.turns(), self.turn()),
            _ => (self.rounds, self.time),
        };
        let rounds = if rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
        format!("{rounds}, {time:?} for a measurement, {pinned}")
    }
}

fn parts() -> Vec<Part> {
    let Some(wanted) = variable("BENCH_ONLY") else {
        return Part::ALL.to_vec();
    };
    let part = |name: &str| {
        Part::ALL.into_iter().find(|part| part.name() == name).unwrap_or_else(|| {
            let names = Part::ALL.map(Part::name).join(", ");
            panic!("BENCH_ONLY={wanted}: no part {name:?}; the parts are {names}")
        })
    };
    wanted.split(',').map(part).collect()
}

fn cases() -> Option<Vec<Id>> {
    let wanted = variable("BENCH_CASES")?;
    let case = |name: &str| {
        Id::ALL.into_iter().find(|id| id.name() == name).unwrap_or_else(|| {
            let names = Id::ALL.map(Id::name).join(", ");
            panic!("BENCH_CASES={wanted}: no case {name:?}; the cases are {names}")
        })
    };
    Some(wanted.split(',').map(case).collect())
}

fn cores() -> Option<Cores> {
    let has_taskset = Command::new("taskset").arg("--version").output().is_ok();
    if let Some(wanted) = variable("BENCH_CORES") {
        let cores = wanted.split_once(',').and_then(|(server, client)| {
            Some(Cores { server: server.parse().ok()?, client: client.parse().ok()? })
        });
        return Some(cores.unwrap_or_else(|| panic!("BENCH_CORES={wanted}: give two numbers, such as 0,1")));
    }
    let enough = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    (has_taskset && enough).then_some(Cores { server: 0, client: 1 })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let value = variable(name)?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}: not a number")))
}
