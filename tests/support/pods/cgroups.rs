//! The cgroups of a cluster, beside those of the host. They are the only traces of a cluster outside of its machines.

use super::owner::{self, Owner};
use crate::support::janitor::Janitor;
use std::fs;
use std::path::{Path, PathBuf};

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Removes the cgroups with these paths and all below. The kernel does not allow it while a process is in one.
const REMOVE: &str = r#"
left=no
for group; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + || left=yes
done
[ "$left" = no ]
"#;

/// The cgroups of one cluster, in every hierarchy. Dropping them, or the end of this program, removes them.
pub(crate) struct Cgroups {
    mark: String,
    _janitor: Janitor,
}

impl Cgroups {
    /// Creates a cgroup with the mark of the owner and in it one for each node.
    pub(super) fn create(owner: &Owner, nodes: &[String]) -> Result<Self, String> {
        let groups: Vec<PathBuf> = hierarchies().iter().map(|root| root.join(owner.mark())).collect();
        // Before the first one is created, so that none can be forgotten.
        let janitor = Janitor::hire(REMOVE, &groups);
        for group in &groups {
            create(group)?;
            nodes.iter().try_for_each(|node| create(&group.join(node)))?;
        }
        Ok(Self { mark: owner.mark().to_owned(), _janitor: janitor })
    }

    /// The path of a node's cgroup from the root of each hierarchy, as the kubelet needs it.
    pub(super) fn of(&self, node: &str) -> String {
        format!("/{}/{node}", self.mark)
    }
}

/// Removes the cgroups of programs that have ended. It cannot remove one with processes.
pub(super) fn remove_abandoned() {
    for root in hierarchies() {
        let entries = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
        let abandoned = entries.filter(|entry| entry.file_name().to_str().is_some_and(owner::is_abandoned));
        let paths: Vec<PathBuf> = abandoned.map(|entry| entry.path()).collect();
        drop(Janitor::hire(REMOVE, paths));
    }
}

/// The roots of all hierarchies: one with version 2 of cgroups, one for each controller with version 1.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    if is_version_2(Path::new(ROOT)) {
        return vec![PathBuf::from(ROOT)];
    }
    let entries = fs::read_dir(ROOT).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    // Some controllers share a hierarchy, which then has symbolic links as further names.
    let real = entries.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists());
    real.collect()
}

fn is_version_2(root: &Path) -> bool {
    root.join("cgroup.controllers").exists()
}

/// Creates a cgroup with all controllers of its parent.
fn create(group: &Path) -> Result<(), String> {
    let failed = |error| {
        format!(
            "the cgroup {} cannot be created ({error}): mount cgroups writable, as in a privileged container",
            group.display()
        )
    };
    let parent = group.parent().expect("a cgroup below the root");
    if is_version_2(parent) {
        pass_controllers_on(parent).map_err(failed)?;
    }
    fs::create_dir(group).map_err(failed)?;
    // With version 1, these are empty at first, and then no process can be added.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = parent.join(file);
        if !is_version_2(parent) && inherited.exists() {
            let value = fs::read(inherited).map_err(failed)?;
            fs::write(group.join(file), value).map_err(failed)?;
        }
    }
    Ok(())
}

/// Enables the controllers of a cgroup for those below, as the kubelet requires. On most systems, systemd has enabled
/// them for the root.
fn pass_controllers_on(group: &Path) -> std::io::Result<()> {
    let controllers = fs::read_to_string(group.join("cgroup.controllers"))?;
    let enabled = fs::read_to_string(group.join("cgroup.subtree_control"))?;
    let missing =
        controllers.split_whitespace().filter(|one| !enabled.split_whitespace().any(|on| on == *one));
    for controller in missing {
        fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))?;
    }
    Ok(())
}
