//! Generated files say what the code says: `docs/rules.md`, `docs/cli.md`, and the table in `docs/doctor.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails the test")]

use std::path::Path;
use std::process::Command;

use crm_admission::{cli, doctor};

/// Set to `1`, it makes these tests write the files instead of comparing them; `make generate` does so.
const UPDATE: &str = "UPDATE_GENERATED";

#[track_caller]
fn is_up_to_date(file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        std::fs::write(&path, generated).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == generated, "{file} is not what the code generates: run `make generate`");
}

#[test]
fn the_page_of_rules_is_up_to_date() {
    is_up_to_date("docs/rules.md", &cli::rules_markdown());
}

#[test]
fn the_page_of_commands_is_up_to_date() {
    is_up_to_date("docs/cli.md", &cli::reference());
}

#[test]
fn the_table_of_what_doctor_finds_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("<!-- table -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of table -->\n").unwrap();
    let table = doctor::markdown();
    let page = format!("{before}<!-- table -->\n{table}<!-- end of table -->\n{after}");
    is_up_to_date("docs/doctor.md", &page);
}

#[test]
fn the_program_prints_the_same_page_of_rules() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_crm-admission")).args(["rules", "--format", "markdown"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), cli::rules_markdown());
}
