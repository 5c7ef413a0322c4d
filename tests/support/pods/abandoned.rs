//! Removes what is left of the clusters of programs that have ended.
//!
//! There is nothing, unless something has also killed the shells that watch over machines and files.

use super::{cgroups, owner};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// Removes all traces of these clusters, and nothing of a program that runs.
pub(crate) fn remove() {
    kill_machines();
    cgroups::remove_abandoned();
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(owner::is_abandoned) {
            // What is still being written is removed at the next start.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Kills the first processes of their machines; the kernel kills the others.
fn kill_machines() {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for id in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0).filter_map(|one| str::from_utf8(one).ok());
        if arguments.any(owner::is_abandoned) {
            // An error means that it has ended meanwhile.
            let _ = Pid::from_raw(id).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}
