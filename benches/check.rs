//! Measures `check` on a large bundle of 5,000 documents in 1,000 files, and on one of 20 times that size. For comparison,
//! it also measures the start of the process, and reading the first bundle with a YAML library. All take turns in one run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should fail"
)]

mod bundle;
mod measured;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bundle::{DOCUMENTS_IN_A_FILE, write_bundle};
use measured::{Sample, run};

/// A directory below that of the benchmark, and the number of files in it.
type Bundle = (&'static str, usize);
const BUNDLE: Bundle = ("bundle", 1000);
const LARGE: Bundle = ("large", 20_000);
const ROUNDS: usize = 7;
/// The same for the large bundle, which takes as long as twenty others.
const LARGE_ROUNDS: usize = 3;
/// How often the memory of the running check is read.
const GLANCE: Duration = Duration::from_millis(1);

/// One of the measured programs.
struct Contender {
    name: &'static str,
    run: fn(&Path) -> Sample,
    rounds: usize,
    samples: Vec<Sample>,
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    for bundle in [BUNDLE, LARGE] {
        write_bundle(&directory.path().join(bundle.0), bundle.1);
    }
    let mut contenders = [
        Contender::new("check of the bundle", check_bundle),
        Contender::new("check of one file", check_one),
        Contender::new("check --diff of the bundle", diff_bundle),
        Contender {
            rounds: LARGE_ROUNDS,
            ..Contender::new("check of 20 times as many files, fewer rounds", check_large)
        },
        Contender::new("serde-saphyr, values only, one thread", read_values),
    ];
    for round in 0..ROUNDS {
        for contender in contenders.iter_mut().filter(|contender| round < contender.rounds) {
            contender.samples.push((contender.run)(directory.path()));
        }
    }
    println!(
        "{} documents in {} files, {} threads, {ROUNDS} rounds",
        BUNDLE.1 * DOCUMENTS_IN_A_FILE,
        BUNDLE.1,
        std::thread::available_parallelism().unwrap()
    );
    for Contender { name, samples, .. } in &mut contenders {
        samples.sort_by_key(|sample| sample.took);
        let (median, most) = (samples[samples.len() / 2].took, samples[samples.len() - 1].took);
        let peak = samples.iter().map(|sample| sample.peak).max().unwrap() / 1024;
        let memory = if peak > 0 { format!(", at most {peak} MiB") } else { String::new() };
        println!("{name}: median {median:.1?} (fastest {:.1?}, slowest {most:.1?}){memory}", samples[0].took);
    }
}

impl Contender {
    fn new(name: &'static str, run: fn(&Path) -> Sample) -> Self {
        Self { name, run, rounds: ROUNDS, samples: Vec::new() }
    }
}

fn check_bundle(directory: &Path) -> Sample {
    check(&directory.join(BUNDLE.0), &[])
}

fn check_large(directory: &Path) -> Sample {
    check(&directory.join(LARGE.0), &[])
}

fn diff_bundle(directory: &Path) -> Sample {
    check(&directory.join(BUNDLE.0), &["--diff"])
}

fn check_one(directory: &Path) -> Sample {
    check(&directory.join(BUNDLE.0).join("f00000.yaml"), &[])
}

fn check(path: &Path, args: &[&str]) -> Sample {
    let command = |product: &mut Command| {
        product.arg("check").args(args).arg(path);
    };
    run(command, 0, GLANCE)
}

fn read_values(directory: &Path) -> Sample {
    let start = Instant::now();
    let mut documents = 0;
    for file in fs::read_dir(directory.join(BUNDLE.0)).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let values: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
        documents += values.len();
    }
    assert_eq!(documents, BUNDLE.1 * DOCUMENTS_IN_A_FILE);
    Sample { took: start.elapsed(), peak: 0 }
}
