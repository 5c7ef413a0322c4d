//! Runs the separate benchmarks, and adds their output to the page.

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
        .expect("a program that starts");
    assert!(output.status.success(), "the benchmark {bench} exited with {}", output.status);
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut report = Report::default();
    if part == Part::Engine {
        report.table(&["call", "median", "allocations", "bytes"], &calls(&printed));
    } else {
        report.line("```text");
        for line in printed.lines() {
            report.line(line.trim_end());
        }
        report.line("```");
    }
    report.publish(part, settings);
}

/// The medians in the tree that divan prints: the time of each call, and what it allocates.
fn calls(tree: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut group = String::new();
    let mut lines = tree.lines();
    while let Some(line) = lines.next() {
        let is_nested = !line.starts_with(['├', '╰']);
        let (first, median) = cells(line);
        if first.starts_with("alloc:") {
            let figures = [lines.next(), lines.next()].map(|line| cells(line.unwrap_or_default()).1);
            let row = rows.last_mut().expect("a call before its allocations");
            row.truncate(2);
            row.extend(figures);
        } else if median.starts_with(|first: char| first.is_ascii_digit()) && line.contains(['├', '╰']) {
            // The name comes before the fastest time, which is a number and a unit.
            let words: Vec<&str> = first.split_whitespace().collect();
            let name = words[..words.len() - 2].join(" ");
            let name = if is_nested { format!("{group} {name}") } else { name };
            rows.push(vec![format!("`{name}`"), median, "0".to_owned(), "0 B".to_owned()]);
        } else if !is_nested {
            group = first;
        }
    }
    rows
}

/// The first cell of a line without the branches of the tree, and the cell with the median.
fn cells(line: &str) -> (String, String) {
    let mut cells = line.trim_start_matches(['│', '├', '╰', '─', ' ']).split('│').map(str::trim);
    (cells.next().unwrap_or_default().to_owned(), cells.nth(1).unwrap_or_default().to_owned())
}
