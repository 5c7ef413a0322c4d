//! Who has started a cluster, so that what a dead program left behind can be found and removed.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the marks of all clusters begin with.
const PREFIX: &str = "crm-admission-pods-";

/// The mark of one cluster of this program: in the names of its cgroups, and in the arguments of its machines.
pub(crate) struct Owner {
    mark: String,
}

impl Owner {
    /// The mark of another cluster of this program.
    pub(super) fn new() -> Self {
        static CLUSTERS: AtomicUsize = AtomicUsize::new(0);
        let (id, number) = (std::process::id(), CLUSTERS.fetch_add(1, Ordering::Relaxed));
        // The start time, because the id may be that of another program later.
        let started = started(id).expect("the start of this program");
        Self { mark: format!("{PREFIX}{}-{id}-{started}-{number}", id_space()) }
    }

    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }
}

/// Whether this begins with the mark of a program that has ended.
pub(super) fn is_abandoned(mark: &str) -> bool {
    let Some(owner) = mark.strip_prefix(PREFIX) else {
        return false;
    };
    let parts: Vec<&str> = owner.split('-').collect();
    let [space, id, start, ..] = parts[..] else {
        return false;
    };
    let alive = id.parse().ok().and_then(started).is_some_and(|started| started.to_string() == start);
    space == id_space() && !alive
}

/// The namespace of our process ids: the id of a program in a container means nothing here.
fn id_space() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

/// When a process was started, in ticks since the start of the kernel; `None` if there is no such process.
fn started(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program, in parentheses, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}
