//! The benchmarks that stand by themselves, run so that what they print gets onto the page too.

use std::process::{Command, Stdio};

use crate::report::Report;
use crate::say;
use crate::settings::{Part, Settings};
use crate::support::repository;

pub(crate) fn run(part: Part, settings: &Settings) {
    let bench = part.name();
    say(&format!("cargo bench --bench {bench}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--locked", "--quiet", "--bench", bench])
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "the benchmark {bench} ended with {}", output.status);
    let mut report = Report::default();
    report.line("```text");
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        report.line(line.trim_end());
    }
    report.line("```");
    report.publish(part, settings);
}
