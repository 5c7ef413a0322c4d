//! Tests that every copy of the version and of the repository's address is that of Cargo.toml.

use std::path::Path;
use std::sync::LazyLock;

use ignore::WalkBuilder;
use regex::Regex;

use super::chart::{CHART_YAML, README};
use super::{is_up_to_date, path};

/// The version of the program, whose only original is in Cargo.toml.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The address of the repository, whose only original is there too.
pub(super) const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Where a file contains a copy of one of them, by its context, a regular expression.
const COPIES: [&str; 14] = [
    "crm-admission:{version}",
    "crm-admission@v{version}",
    "crm-admission=={version}",
    "--version {version}",
    r"crm-admission-(?:\$\{\{[^}]*\}\}-)*v?{version}",
    r"(?:rev|REVISION): v{version}",
    r#"org\.opencontainers\.image\.version="{version}"#,
    r#"newTag: "?{version}"#,
    r"\n(?:v|appV)ersion: {version}",
    r"/crm-admission/(?:blob|raw|releases/download)/v{version}",
    r"\bVERSION={version}",
    r"https://github\.com/{owner}/crm-admission",
    r"ghcr\.io/{owner}/(?:charts/)?crm-admission",
    r"(?:uses: |REPOSITORY=){owner}/crm-admission",
];

/// Files that contain versions of their own, or the history.
const NO_COPIES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "go.mod", "go.sum", "CHANGELOG.md", "copies.rs"];

/// A place for a copy, and what belongs there.
struct Copies {
    context: Regex,
    original: &'static str,
}

impl Copies {
    fn of(context: &str) -> Self {
        let owner = REPOSITORY.strip_prefix("https://github.com/").and_then(|path| path.split_once('/'));
        let (owner, _) = owner.expect("`repository` in Cargo.toml is on GitHub");
        let (placeholder, any, original) = match context.contains("{version}") {
            true => ("{version}", r"\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)\.\d+)?\b", VERSION),
            false => ("{owner}", r"[\w.-]+", owner),
        };
        let (before, after) = context.split_once(placeholder).unwrap();
        Self { context: Regex::new(&format!("({before}){any}({after})")).unwrap(), original }
    }

    fn corrected(&self, text: &str) -> String {
        self.context.replace_all(text, format!("${{1}}{}${{2}}", self.original)).into_owned()
    }
}

/// The text with the originals in place of the copies.
pub(super) fn corrected(text: &str) -> String {
    static ALL: LazyLock<[Copies; COPIES.len()]> = LazyLock::new(|| COPIES.map(Copies::of));
    ALL.iter().fold(text.to_owned(), |text, copies| copies.corrected(&text))
}

/// The text files of the repository that may contain copies, with their paths in it.
fn files_with_copies() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let walk = WalkBuilder::new(root).hidden(false).filter_entry(|entry| entry.file_name() != ".git").build();
    let entries = walk.map(Result::unwrap).filter(|entry| entry.path().is_file());
    let entries = entries.filter(|entry| !NO_COPIES.iter().any(|name| entry.file_name() == *name));
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| (name(entry.path()), text(entry.path()))).collect()
}

#[test]
fn every_copy_of_the_version_and_the_repository_is_up_to_date() {
    let files = files_with_copies();
    for (file, text) in &files {
        let corrected = corrected(text);
        if corrected != *text && ![CHART_YAML, README].contains(&file.as_str()) {
            is_up_to_date(file, &corrected);
        }
    }
    for context in COPIES {
        let copies = Copies::of(context).context;
        assert!(files.iter().any(|(_, text)| copies.is_match(text)), "no file has {context}");
    }
}

/// Without this, the next release would leave a copy behind whose context is not in the list.
#[test]
fn the_version_stands_only_where_a_release_changes_it() {
    let version = regex::escape(VERSION);
    // Not in an address such as 192.0.2.0.
    let alone = Regex::new(&format!(r"(?:^|[^\d.]){version}(?:[^\d]|$)")).unwrap();
    // What a release was stays true.
    let history = Regex::new(&format!("release {version}")).unwrap();
    let known: Vec<Regex> =
        COPIES.map(Copies::of).map(|copies| copies.context).into_iter().chain([history]).collect();
    let has_strays = |(file, text): (String, String)| {
        let rest = known.iter().fold(text, |text, known| known.replace_all(&text, "").into_owned());
        alone.is_match(&rest).then_some(file)
    };
    let strays: Vec<String> = files_with_copies().into_iter().filter_map(has_strays).collect();
    assert!(strays.is_empty(), "add the context of the version to COPIES: {strays:?}");
}

/// `cargo fuzz` would change the file, and a build with `--locked` would fail.
#[test]
fn the_lock_file_of_the_fuzz_targets_has_this_version() {
    let lock = std::fs::read_to_string(path("fuzz/Cargo.lock")).unwrap();
    for package in ["crm-admission", "crm-check", "crm-core", "crm-manifest"] {
        let entry = format!("name = \"{package}\"\nversion = \"{VERSION}\"\n");
        assert!(
            lock.contains(&entry),
            "{package}: run `cargo update --workspace --manifest-path fuzz/Cargo.toml`"
        );
    }
}
