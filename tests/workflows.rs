//! Tests the workflows of this repository: they run what `.ci/run` runs, on all supported versions of Kubernetes, and pin
//! what they use. `make workflows` checks their syntax and their permissions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;
use serde_json::Value;

const WORKFLOWS: [&str; 3] = ["ci", "fuzz", "release"];
/// The tag of a release of this version.
const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at_root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn workflow(name: &str) -> Value {
    serde_saphyr::from_str(&read(&format!(".github/workflows/{name}.yml"))).unwrap()
}

/// What the expression captures in a text.
fn captured(expression: &str, text: &str) -> BTreeSet<String> {
    Regex::new(expression).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The targets that a workflow makes by name.
fn targets(workflow: &str) -> BTreeSet<String> {
    captured(r"(?m)^\s*(?:- )?(?:run: )?make ([a-z0-9-]+)", workflow)
}

#[test]
fn there_is_no_other_workflow() {
    let files = std::fs::read_dir(at_root(".github/workflows")).unwrap();
    let names: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, WORKFLOWS.map(|name| format!("{name}.yml")).into());
}

#[test]
fn every_action_is_pinned_by_commit_and_names_its_version() {
    let pinned = Regex::new(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$").unwrap();
    let mut pins = BTreeSet::new();
    for name in WORKFLOWS {
        for line in
            read(&format!(".github/workflows/{name}.yml")).lines().filter(|line| line.contains("uses:"))
        {
            assert!(pinned.is_match(line), "{name}: {line}");
            pins.insert(line.split_once("uses: ").unwrap().1.to_owned());
        }
    }
    let actions: BTreeSet<&str> = pins.iter().map(|pin| pin.split('@').next().unwrap()).collect();
    assert_eq!(actions.len(), pins.len(), "an action has two versions: {pins:#?}");
}

#[test]
fn ci_runs_on_every_supported_version_of_kubernetes() {
    let script = ". tests/control-plane/programs.sh && supported_versions";
    let output = Command::new("bash").args(["-c", script]).current_dir(at_root("")).output().unwrap();
    let supported = String::from_utf8(output.stdout).unwrap();
    let tested = &workflow("ci")["jobs"]["e2e"]["strategy"]["matrix"]["kubernetes"];
    let tested: Vec<&str> =
        tested.as_array().unwrap().iter().map(|version| version.as_str().unwrap()).collect();
    assert_eq!(tested, supported.lines().collect::<Vec<_>>());
}

#[test]
fn ci_runs_what_must_pass_before_a_change_lands() {
    let text = read(".github/workflows/ci.yml");
    let matrices: String = text.lines().filter(|line| line.trim_start().starts_with("target: ")).collect();
    let run = &targets(&text) | &captured(r"\b([a-z0-9-]+)\b", &matrices);
    let needed = captured(r"(?m)^step ([a-z0-9-]+)", &read(".ci/run"));
    assert!(needed.len() > 5 && needed.is_subset(&run), "{needed:?} are not all in {run:?}");
}

#[test]
fn every_target_that_a_workflow_makes_exists() {
    let makefile = read("Makefile");
    let mut found = BTreeSet::new();
    for name in WORKFLOWS {
        found.extend(targets(&read(&format!(".github/workflows/{name}.yml"))));
    }
    assert!(found.contains("fuzz") && found.contains("release"), "{found:?}");
    for target in found {
        assert!(makefile.contains(&format!("\n{target}:")), "{target}");
    }
}

/// The notes that a repository with this changelog gives a tag.
fn release_notes(tag: &str, changelog: &str) -> Output {
    let repository = tempfile::tempdir().unwrap();
    let at = |file: &str| repository.path().join(file);
    std::fs::create_dir_all(at("scripts/lib")).unwrap();
    for file in ["scripts/release-notes", "scripts/lib/version", "Cargo.toml"] {
        std::fs::copy(at_root(file), at(file)).unwrap();
    }
    std::fs::write(at("CHANGELOG.md"), changelog).unwrap();
    Command::new(at("scripts/release-notes")).arg(tag).output().unwrap()
}

/// The changelog of this repository without what is in no release yet.
fn released() -> String {
    let changelog = read("CHANGELOG.md");
    let (head, rest) = changelog.split_once("## [Unreleased]\n").unwrap();
    format!("{head}## [Unreleased]\n\n## {}", rest.split_once("\n## ").unwrap().1)
}

#[test]
fn a_release_has_the_notes_of_its_version() {
    let output = release_notes(TAG, &released());
    let notes = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && notes.contains("### "), "{notes}");
    assert!(!notes.contains("\n## "), "{notes}");
    let section = format!("## [{}] - ", env!("CARGO_PKG_VERSION"));
    assert!(released().split_once(&section).unwrap().1.contains(&notes));
}

#[test]
fn no_release_leaves_entries_behind() {
    let changelog = released().replace("## [Unreleased]\n", "## [Unreleased]\n\n### Added\n\n- New.\n");
    let output = release_notes(TAG, &changelog);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{said}");
    assert!(said.contains("CHANGELOG.md has entries under \"Unreleased\""), "{said}");
}

#[test]
fn no_release_has_another_tag_than_its_version() {
    for tag in ["v0.0.1", env!("CARGO_PKG_VERSION"), "main", ""] {
        let output = release_notes(tag, &released());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{tag}: {said}");
        assert!(said.contains("the version in Cargo.toml"), "{tag}: {said}");
    }
}
