//! Tests that nothing of a cluster remains, however it ends, and that a cluster that runs is left alone.

use crate::support::place::Place;
use crate::support::pods::cluster::{Cluster, Shape};
use crate::support::pods::family::Family;
use crate::support::pods::{abandoned, cgroups};
use crate::support::poll::{self, Seen};
use crate::support::process;
use crate::support::workspace::Workspace;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long it may take until a cluster is ready or gone.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn nothing_remains_of_a_dropped_cluster() {
    let links = host_links();
    let cluster = Cluster::start(Family::Ipv4);
    cluster.install();
    let traces = Traces::of(&cluster);
    abandoned::remove();
    cluster.plane().kubectl("admin").run(["wait", "nodes", "--all", "--for=condition=Ready"]).succeeds();
    assert!(!traces.found().is_empty());
    drop(cluster);
    traces.await_none();
    assert_eq!(host_links(), links);
}

#[test]
fn nothing_remains_of_a_killed_program() {
    let mut holder = Holder::start();
    let traces = holder.traces();
    assert!(!traces.found().is_empty());
    holder.kill();
    traces.await_none();
}

#[test]
fn the_next_start_removes_what_a_killed_program_and_its_shells_have_left() {
    let mut holder = Holder::start();
    let traces = holder.traces();
    let shells: Vec<String> = process::children(holder.program.id()).iter().map(u32::to_string).collect();
    // At the same time, so that no shell can clean up.
    let stopped = Command::new("kill").arg("-STOP").args(&shells).status().unwrap();
    assert!(stopped.success());
    holder.kill();
    let killed = Command::new("kill").arg("-KILL").args(&shells).status().unwrap();
    assert!(killed.success());
    assert!(!traces.found().is_empty(), "there is nothing to remove");
    poll::until("no trace", PATIENCE, || {
        abandoned::remove();
        match traces.found() {
            none if none.is_empty() => Seen::Ready(()),
            found => Seen::NotYet(format!("{found:?}")),
        }
    });
}

/// How to recognize what belongs to a cluster.
#[derive(serde::Deserialize, serde::Serialize)]
struct Traces {
    /// What the names of its cgroups, and of the directory of its files, begin with.
    mark: String,
    directory: String,
    /// The namespaces of its machines.
    namespaces: BTreeSet<String>,
}

impl Traces {
    fn of(cluster: &Cluster) -> Self {
        let namespaces_of = |place| match place {
            Place::Of(id) => namespaces(id),
            Place::Here => BTreeSet::new(),
        };
        Self {
            mark: cluster.mark().to_owned(),
            directory: cluster.plane().workspace().path().to_str().unwrap().to_owned(),
            namespaces: cluster.machines().flat_map(|machine| namespaces_of(machine.place())).collect(),
        }
    }

    /// Descriptions of what exists: processes, mounts, cgroups and files.
    fn found(&self) -> Vec<String> {
        let processes = processes().filter(|id| self.owns(*id)).map(|id| format!("the process {id}"));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts.lines().filter(|line| line.contains(&self.mark)).map(str::to_owned);
        let groups = cgroups::hierarchies().into_iter().map(|root| root.join(&self.mark));
        let files = groups.chain([self.directory.clone().into()]).filter(|path| path.exists());
        processes.chain(mounts).chain(files.map(|path| path.display().to_string())).collect()
    }

    /// Whether a process is on a machine, in a pod, or has started one of them.
    fn owns(&self, id: u32) -> bool {
        let read = |file: &str| fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
        let mentions = |file| String::from_utf8_lossy(&read(file)).contains(&self.mark);
        !namespaces(id).is_disjoint(&self.namespaces) || mentions("cgroup") || mentions("cmdline")
    }

    #[track_caller]
    fn await_none(&self) {
        poll::until("no trace of the cluster", PATIENCE, || match self.found() {
            none if none.is_empty() => Seen::Ready(()),
            found => Seen::NotYet(format!("{found:?}")),
        });
    }
}

/// The network, mount and process namespaces of a process.
fn namespaces(id: u32) -> BTreeSet<String> {
    let links = ["net", "mnt", "pid"].map(|kind| fs::read_link(format!("/proc/{id}/ns/{kind}")));
    links.into_iter().filter_map(Result::ok).map(|link| link.display().to_string()).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The names of the network interfaces of this machine.
fn host_links() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").unwrap().filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The variable with the path of the file in which [`hold_a_cluster`] reports the traces of its cluster.
const REPORT: &str = "CRM_ADMISSION_TEST_HOLDER";

/// This program, started again to hold a cluster.
struct Holder {
    program: Child,
    workspace: Workspace,
}

impl Holder {
    fn start() -> Self {
        let workspace = Workspace::create();
        let program = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "remains::hold_a_cluster"])
            .env(REPORT, report(&workspace))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { program, workspace }
    }

    /// Waits until its cluster is ready.
    fn traces(&mut self) -> Traces {
        poll::until("the report of the other program", PATIENCE, || {
            match (fs::read(report(&self.workspace)), self.program.try_wait().unwrap()) {
                (Ok(report), _) => Seen::Ready(serde_json::from_slice(&report).unwrap()),
                (Err(_), Some(status)) => Seen::Never(format!("it exited with {status}")),
                (Err(error), None) => Seen::NotYet(error.to_string()),
            }
        })
    }

    fn kill(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn report(workspace: &Workspace) -> std::path::PathBuf {
    workspace.file("report", "traces.json")
}

/// Not a test: holds a cluster until it is killed by one of the tests above.
#[test]
#[ignore = "started by other tests"]
fn hold_a_cluster() {
    let Some(report) = std::env::var_os(REPORT) else {
        return;
    };
    let cluster = Cluster::start_as(&Shape { nodes: 1, ..Shape::of(Family::Ipv4) });
    cluster.install();
    let unfinished = Path::new(&report).with_extension("new");
    fs::write(&unfinished, serde_json::to_string(&Traces::of(&cluster)).unwrap()).unwrap();
    fs::rename(unfinished, report).unwrap();
    loop {
        std::thread::park();
    }
}
