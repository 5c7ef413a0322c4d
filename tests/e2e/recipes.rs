//! Runs every command in the recipes of `docs/policy.md` and compares its output with the page.
//!
//! A section runs from its start. Its YAML blocks are files, named by their first line, and each `console` block has
//! commands, each followed by its output. `UPDATE_GENERATED=1` writes the output into the page.

use crate::stage;
use crate::support::installation::Installation;
use crate::support::repository;
use jiff::{ToSpan, Zoned};
use std::path::Path;
use std::process::Command;

/// The day in the page that stands for a day in the future.
const DAY: &str = "2027-02-01";

#[test]
fn every_recipe_has_the_output_on_the_page() {
    let mut stage = stage::exclusive();
    stage.webhook.ensure_running();
    stage.webhook.register();
    let path = repository().join("docs/policy.md");
    let page = std::fs::read_to_string(&path).expect("docs/policy.md");
    let mut written = String::new();
    for section in sections(&page) {
        written += &run(&stage, section);
    }
    if std::env::var("UPDATE_GENERATED").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &written).expect("docs/policy.md can be written");
    }
    assert!(page == written, "docs/policy.md differs from the output:\n{}", difference(&page, &written));
}

/// The page, split before every heading except its title. YAML comments start with a single "#", like the title.
fn sections(page: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = page.match_indices("\n##").map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    let ends = starts.iter().skip(1).copied().chain([page.len()]);
    starts.iter().zip(ends).map(|(start, end)| &page[*start..end]).collect()
}

/// Runs the commands of a section. Returns the section with their output.
fn run(stage: &Installation, section: &str) -> String {
    let workspace = stage.plane.workspace();
    let directory = workspace.file("recipe", "x").parent().expect("a directory").to_owned();
    stage.plane.kubectl("admin").run(["delete", "admissionpolicy", "--all", "--ignore-not-found"]).succeeds();
    let mut written = String::new();
    for (index, part) in section.split("```").enumerate() {
        // Every second part is inside a fence.
        let inside = match part.split_once('\n') {
            Some(("yaml", content)) if index % 2 == 1 => {
                let name =
                    content.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a file's name");
                workspace.write("recipe", name, &content.replace(DAY, &in_a_week()));
                part.to_owned()
            }
            Some(("console", content)) if index % 2 == 1 => {
                format!("console\n{}", console(stage, &directory, content))
            }
            _ => part.to_owned(),
        };
        written += if index == 0 { "" } else { "```" };
        written += &inside;
    }
    written
}

fn console(stage: &Installation, directory: &Path, content: &str) -> String {
    let commands = content.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.map(|command| format!("$ {command}\n{}", output(stage, directory, command))).collect()
}

/// The output of a command on a terminal, with the day replaced by the one of the page.
fn output(stage: &Installation, directory: &Path, command: &str) -> String {
    let kubectl = stage.plane.kubectl("admin");
    let programs = kubectl.program().parent().expect("a directory");
    let ours = Path::new(env!("CARGO_BIN_EXE_crm-admission")).parent().expect("a directory");
    let others = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{}:{others}", programs.display(), ours.display());
    let output = Command::new("sh")
        .args(["-c", &format!("({command}) 2>&1")])
        .current_dir(directory)
        .env("PATH", path)
        .env("HOME", directory)
        .env("KUBECONFIG", stage.plane.kubeconfig("admin"))
        .output()
        .expect("a shell");
    let printed = String::from_utf8_lossy(&output.stdout).replace(&in_a_week(), DAY);
    let end = if printed.is_empty() || printed.ends_with('\n') { "" } else { "\n" };
    format!("{printed}{end}")
}

fn in_a_week() -> String {
    (Zoned::now() + 7.days()).strftime("%Y-%m-%d").to_string()
}

fn difference(page: &str, written: &str) -> String {
    let lines = page.lines().zip(written.lines()).filter(|(said, is)| said != is).take(5);
    lines.map(|(said, is)| format!("- {said}\n+ {is}\n")).collect()
}
