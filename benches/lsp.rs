//! Measures how long the language server takes to answer a change in a workspace of 5,000 documents in 1,000 files. For
//! comparison, it also measures a check of the same files. Both take turns in one run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should fail"
)]

mod bundle;
#[path = "../tests/lsp/client.rs"]
mod client;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bundle::{DOCUMENTS_IN_A_FILE, write_bundle};
use client::Client;

const FILES: usize = 1000;
const ROUNDS: usize = 5;
/// The number of changes in a round.
const CHANGES: i32 = 40;
/// The file that is edited. Two records of it refer to a company in it.
const FILE: &str = "f00500.yaml";

/// The time that each of some calls took.
struct Samples {
    name: &'static str,
    took: Vec<Duration>,
}

fn main() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("bundle");
    write_bundle(&directory, FILES);
    let samples = |name| Samples { name, took: Vec::new() };
    let mut check = samples("check of the bundle");
    let mut start = samples("start of the server");
    let mut value = samples("diagnostics after a change of a value");
    let mut name = samples("diagnostics after a change of a name that two records refer to");
    let mut completion = samples("completion of a name out of 2,000");
    for _ in 0..ROUNDS {
        check.time(|| check_bundle(&directory));
        let text = fs::read_to_string(directory.join(FILE)).unwrap();
        let mut client = start.time(|| started(&directory, &text));
        for change in 0..CHANGES {
            let of_value = text.replace("Makes things", &format!("Makes {change} things"));
            value.time(|| answered(&mut client, 3 * change + 2, &of_value));
            let of_name = text.replacen("name: record-2500", &format!("name: record-x{change}"), 1);
            name.time(|| answered(&mut client, 3 * change + 3, &of_name));
            let line = text.lines().position(|line| line.contains("companyRef")).unwrap() as u32 + 1;
            answered(&mut client, 3 * change + 4, &text);
            let proposals = completion.time(|| client.at("textDocument/completion", FILE, line, 10));
            assert!(!proposals["items"].as_array().unwrap().is_empty());
        }
    }
    let documents = FILES * DOCUMENTS_IN_A_FILE;
    let threads = std::thread::available_parallelism().unwrap();
    println!("{documents} documents in {FILES} files, {threads} threads, {ROUNDS} rounds");
    let whole = check.print();
    start.print();
    for samples in [&mut value, &mut name, &mut completion] {
        let median = samples.print();
        println!("  {:.1} % of the check", 100.0 * median.as_secs_f64() / whole.as_secs_f64());
    }
}

fn started(directory: &Path, text: &str) -> Client {
    let mut client = Client::new(directory, &[]);
    client.open(FILE, text);
    client.diagnostics_of(FILE, 1);
    client
}

fn answered(client: &mut Client, version: i32, text: &str) {
    client.change(FILE, version, text);
    client.diagnostics_of(FILE, version);
}

fn check_bundle(directory: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    command.arg("check").arg(directory).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(command.status().unwrap().code(), Some(0));
}

impl Samples {
    fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.took.push(start.elapsed());
        result
    }

    /// Prints the line of these samples. Returns the median.
    fn print(&mut self) -> Duration {
        self.took.sort();
        let at = |part: usize| self.took[(self.took.len() - 1) * part / 100];
        println!("{}: median {:.1?} (99 %: {:.1?}, slowest {:.1?})", self.name, at(50), at(99), at(100));
        at(50)
    }
}
