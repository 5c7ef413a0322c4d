//! The result of an attack: a line to read, and the assertions.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use crate::honest::{Calls, Group, Ready, everybody};
use crate::program::Program;
use crate::swarm::Swarm;

/// The environment variable with the length of an attack in seconds.
const SECONDS: &str = "SIEGE_SECONDS";
/// Short enough for all attacks together to take less than three minutes.
const DEFAULT_SECONDS: u64 = 8;
/// The environment variable with the path of a file that collects the lines of all attacks.
const TABLE: &str = "SIEGE_TABLE";

/// The peak of memory must stay below this, in MiB. The manifests give a container 256 MiB.
const PEAK_MIB: u64 = 200;
/// How many warnings an attack may cause. A few tell the operator; thousands hide everything else.
const WARNINGS: usize = 10;

/// The length of an attack.
pub(crate) fn time() -> Duration {
    let seconds = std::env::var(SECONDS).ok().filter(|seconds| !seconds.is_empty());
    let seconds = seconds.map(|seconds| seconds.parse().expect("SIEGE_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS))
}

/// Attacks a program that does not ask for client certificates, and asserts that the attack does no harm.
pub(crate) async fn besiege(name: &'static str, attack: impl FnOnce(&Program) -> Swarm) {
    besiege_for(time(), name, attack).await;
}

/// Like [`besiege`], for an attack of another length.
pub(crate) async fn besiege_for(time: Duration, name: &'static str, attack: impl FnOnce(&Program) -> Swarm) {
    let program = Program::start();
    let groups = everybody(&program, None);
    Outcome::after(time, name, &program, groups, || Some(attack(&program))).await.is_harmless();
}

/// The result of one attack.
pub(crate) struct Outcome {
    name: &'static str,
    calls: Vec<(Group, Calls)>,
    opened: usize,
    /// How many attackers there were.
    wanted: usize,
    warnings: usize,
    peak_mib: u64,
}

impl Outcome {
    /// Attacks the program while `groups` call it. Calls count from the first moment of the attack.
    pub(crate) async fn of(
        name: &'static str,
        program: &Program,
        groups: Vec<Group>,
        attack: impl FnOnce() -> Option<Swarm>,
    ) -> Self {
        Self::after(time(), name, program, groups, attack).await
    }

    async fn after(
        time: Duration,
        name: &'static str,
        program: &Program,
        groups: Vec<Group>,
        attack: impl FnOnce() -> Option<Swarm>,
    ) -> Self {
        let ready = Ready::prepare(groups).await;
        let swarm = attack();
        let calls = ready.call_for(time).await;
        let (opened, wanted) = swarm.map_or((0, 0), |swarm| (swarm.opened(), swarm.connections()));
        let (warnings, peak_mib) = (program.warnings(), program.peak_mib());
        let outcome = Self { name, calls, opened, wanted, warnings, peak_mib };
        outcome.print();
        outcome
    }

    /// Prints the line, and details below it.
    #[allow(clippy::print_stdout, reason = "people read the result")]
    fn print(&self) {
        let counts: Vec<String> =
            self.calls.iter().map(|(group, calls)| format!("{} {calls}", group.name)).collect();
        let line = format!(
            "siege: {:<25} {}, attackers' connections {}, warnings {}, peak {} MiB",
            format!("{}:", self.name),
            counts.join(", "),
            self.opened,
            self.warnings,
            self.peak_mib
        );
        // The test harness has printed the start of a line.
        println!("\n{line}");
        for (group, calls) in &self.calls {
            println!("  {}: {}", group.name, calls.details());
        }
        if let Some(table) = std::env::var_os(TABLE) {
            let mut table = File::options().create(true).append(true).open(table).expect("the table");
            writeln!(table, "{line}").expect("a line in the table");
        }
    }

    /// Asserts that honest callers got their answers, that memory stayed within its limit, and that the log is short.
    #[track_caller]
    pub(crate) fn is_harmless(&self) {
        let Self { name, opened, wanted, .. } = self;
        assert!(
            opened >= wanted,
            "{name}: only {opened} of {wanted} attackers connected; set a higher {SECONDS} on this machine"
        );
        let mut harm: Vec<String> = Vec::new();
        for (group, calls) in &self.calls {
            if calls.answered * 100 < calls.made * group.percent {
                harm.push(format!("{} {calls}: {}", group.name, calls.details()));
            }
        }
        if self.peak_mib >= PEAK_MIB {
            harm.push(format!("a peak of {} MiB", self.peak_mib));
        }
        if self.warnings > WARNINGS {
            harm.push(format!("{} warnings", self.warnings));
        }
        assert!(harm.is_empty(), "{}:\n{}", self.name, harm.join("\n"));
    }
}
