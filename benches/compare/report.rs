//! Medians with their spread, tables in Markdown, and the page with the results.

use std::fmt;
use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::load::Sample;
use crate::settings::{Part, Settings};
use crate::support::repository;

/// The median of some values, with their minimum and maximum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[half - 1], values[half]),
            _ => values[half],
        };
        Self { median, least: values[0], most: values[values.len() - 1] }
    }

    /// The spread of one value of samples.
    pub(crate) fn over(samples: &[Sample], figure: fn(&Sample) -> f64) -> Self {
        Self::of(samples.iter().map(figure))
    }

    /// Only the median, for tables.
    pub(crate) fn shown(&self) -> String {
        short(self.median)
    }

    /// The spread of a value that is computed for each round.
    pub(crate) fn paired(a: &[Sample], b: &[Sample], figure: impl Fn(&Sample, &Sample) -> f64) -> Self {
        Self::of(a.iter().zip(b).map(|(a, b)| figure(a, b)))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least, most] = [self.median, self.least, self.most].map(short);
        if least == most { write!(f, "{median}") } else { write!(f, "{median} ({least}–{most})") }
    }
}

/// A number with its significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => format!("{:.1}k", value / 1000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A target for a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// A sign for whether the median reaches the target.
    pub(crate) fn sign(self, seen: Spread) -> &'static str {
        let is_met = match self {
            Self::AtMost(most) => seen.median <= most,
            Self::AtLeast(least) => seen.median >= least,
        };
        if is_met { "✓" } else { "✗" }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// The text of one part of the page.
#[derive(Default)]
pub(crate) struct Report {
    text: String,
    targets: Vec<[String; 4]>,
}

impl Report {
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.line("");
        self.line(&format!("| {} |", head.join(" | ")));
        self.line(&format!("|{}", " --- |".repeat(head.len())));
        for row in rows {
            self.line(&format!("| {} |", row.join(" | ")));
        }
        self.line("");
    }

    pub(crate) fn target(&mut self, what: &str, bound: Bound, unit: &str, seen: Spread) {
        let sign = bound.sign(seen).to_owned();
        self.targets.push([what.to_owned(), format!("{bound}{unit}"), format!("{seen}{unit}"), sign]);
    }

    /// A target for the ratio of `a` to `b`, by round.
    pub(crate) fn ratio(
        &mut self,
        what: &str,
        bound: Bound,
        [a, b]: [&[Sample]; 2],
        figure: fn(&Sample) -> f64,
    ) {
        self.target(what, bound, " ×", Spread::paired(a, b, |a, b| figure(a) / figure(b)));
    }

    /// Writes the table of targets, and clears the targets.
    fn write_targets(&mut self) {
        let rows: Vec<_> = std::mem::take(&mut self.targets).into_iter().map(Vec::from).collect();
        if !rows.is_empty() {
            self.line("\nTargets:");
            self.table(&["what", "target", "measured", ""], &rows);
        }
    }

    /// Prints the results, and writes them to the page after a full run.
    pub(crate) fn publish(mut self, part: Part, settings: &Settings) {
        self.write_targets();
        let heading = heading(part, settings);
        let text = format!("{heading}\n\n{}\n", self.text.trim());
        print(&text);
        if settings.is_full() {
            write_page(part, &text);
        } else {
            crate::say("This was a short run: docs/performance.md was not changed.");
        }
    }
}

#[allow(clippy::print_stdout, reason = "the results of the benchmark")]
fn print(text: &str) {
    println!("{text}");
}

fn write_page(part: Part, text: &str) {
    let path = repository().join("docs/performance.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) =
        (format!("<!-- bench:{} -->\n", part.name()), format!("<!-- /bench:{} -->", part.name()));
    let start = page.find(&begin).map(|at| at + begin.len());
    let stop = page.find(&end);
    let (Some(start), Some(stop)) = (start, stop) else {
        panic!("{} has no {begin:?} and {end:?} to write between", path.display());
    };
    fs::write(&path, format!("{}\n{text}\n{}", &page[..start], &page[stop..])).unwrap();
}

/// The heading: command, machine, date and versions.
fn heading(part: Part, settings: &Settings) -> String {
    let mut text = format!("`BENCH_ONLY={} make bench`", part.name());
    if matches!(part, Part::Direct | Part::Api | Part::Scale | Part::Conditions) {
        let _ = write!(text, ": {}", settings.shown(part));
    }
    text.push_str(".\n");
    let _ = writeln!(text, "{}.", machine());
    let versions = [
        ("commit", first_line("git", &["rev-parse", "--short", "HEAD"])),
        ("", first_line("rustc", &["--version"])),
        ("", first_line("go", &["version"]).map(|line| line.replacen("go version ", "", 1))),
        ("controller-runtime", required("benches/go-webhook/go.mod", "sigs.k8s.io/controller-runtime")),
        ("Kubernetes", required("tests/control-plane/go.mod", "k8s.io/kubernetes")),
    ];
    let versions: Vec<String> = versions
        .into_iter()
        .filter_map(|(name, version)| Some(format!("{name} {}", version?).trim().to_owned()))
        .collect();
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let _ = write!(text, "{}; {today}.", versions.join(", "));
    text
}

fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    // Not `available_parallelism`, because this program may be pinned.
    let cores = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cores.lines().filter(|line| line.starts_with("processor")).count();
    format!("{processor}, {cores} cores, {:.0} GiB, Linux {}", memory / 1024.0 / 1024.0, kernel.trim())
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(repository()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// The version of a module that a Go module requires.
fn required(file: &str, module: &str) -> Option<String> {
    let text = fs::read_to_string(repository().join(file)).ok()?;
    let mut lines = text.lines().map(|line| line.trim_start_matches("require").trim());
    lines.find_map(|line| Some(line.strip_prefix(module)?.split_whitespace().next()?.to_owned()))
}
