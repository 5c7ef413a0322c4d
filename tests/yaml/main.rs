//! Reads thousands of mutated files as `crm-manifest` does and as kubectl does, and compares.
//!
//! `make yaml` builds kubectl's side (`tests/kubectl-yaml`, which needs Go) and runs this. `YAML_FILES` is the number of
//! files and `YAML_SEED` the seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and say what they compared"
)]

mod compare;
mod corpus;
mod kubectl;
mod minimise;
mod mutate;
mod places;

use std::fmt::Write as _;

use kubectl::Kubectl;
use mutate::Random;

/// The number of differences that are made small and shown.
const SHOWN: usize = 10;

#[test]
fn mutated_files_are_read_as_kubectl_reads_them() {
    let files = variable("YAML_FILES").unwrap_or(2000);
    let mut random = Random::new(variable("YAML_SEED").unwrap_or(1));
    let corpus = corpus::texts();
    let mut texts: Vec<String> = corpus.clone();
    texts.resize_with(corpus.len() + files, || mutate::mutated(&corpus, &mut random));
    assert_same(&texts);
    assert_in_place(&texts);
}

#[test]
fn the_files_of_the_corpus_are_many_and_of_all_kinds() {
    let corpus = corpus::texts();
    assert!(corpus.len() > 300, "{}", corpus.len());
    for part in ["kind: Company", "<<", "&", "!!", "---", "{\"", "\r\n", "List", "\u{feff}"] {
        assert!(corpus.iter().any(|text| text.contains(part)), "{part:?}");
    }
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

fn assert_same(texts: &[String]) {
    let mut kubectl = Kubectl::start();
    let mut report = String::new();
    let mut differences = 0;
    let mut accepted = 0;
    for (text, theirs) in texts.iter().zip(kubectl.read_all(texts)) {
        accepted += usize::from(theirs.error.is_none());
        let Some(difference) = compare::difference(text, &theirs) else {
            continue;
        };
        differences += 1;
        if differences <= SHOWN {
            let small =
                minimise::minimised(text, |text| compare::difference(text, &kubectl.read(text)).is_some());
            let difference = compare::difference(&small, &kubectl.read(&small)).unwrap_or(difference);
            writeln!(report, "{small:?}\n{difference}\n").unwrap();
        }
    }
    assert!(differences == 0, "{differences} of {} files are read otherwise:\n{report}", texts.len());
    // If kubectl accepted hardly any of them, the comparison would say little.
    assert!(accepted * 4 > texts.len(), "kubectl reads only {accepted} of {}", texts.len());
    println!("{} files compared, {accepted} of which kubectl reads", texts.len());
}

fn assert_in_place(texts: &[String]) {
    if let Some(text) = texts.iter().find(|text| places::misplaced(text).is_some()) {
        let small = minimise::minimised(text, |text| places::misplaced(text).is_some());
        panic!("{small:?}: {}", places::misplaced(&small).unwrap_or_default());
    }
}
