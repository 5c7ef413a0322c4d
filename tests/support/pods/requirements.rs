//! What this machine needs for a cluster with pods, and what to do if something is missing.

use super::machine::Machine;
use crate::support::{process, repository};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that the operating system provides, and their packages in Debian.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("runc", "runc"),
    ("unshare", "util-linux"),
];

/// The programs of a node that `tests/pods/build` builds.
const BUILT: [&str; 13] = [
    "bridge",
    "containerd",
    "containerd-shim-runc-v2",
    "crm-admission",
    "crm-admission-first",
    "ctr",
    "host-local",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
    "loopback",
    "pause",
];

/// Fails if the kernel cannot connect the nodes and pods.
const PROBE: &str = "
ip link add bridge type bridge
ip link add one type veth peer name other
nft add table inet probe
mount -t tmpfs tmpfs /run
";

/// The directory with the programs that `tests/pods/build` has built.
pub(crate) fn built_programs() -> PathBuf {
    repository().join("target/pods/bin")
}

/// The files of release 0.1.0, with its manifests and scripts.
pub(crate) fn first_release() -> PathBuf {
    repository().join("target/pods/first-release")
}

/// The directories with programs that the operating system provides. Some users have no `sbin` in their `PATH`.
pub(super) fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// The path of a program that the operating system provides.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path()).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// Says what is missing on this machine, and what to do.
pub(super) fn check() -> Result<(), String> {
    let mut missing: Vec<String> = Vec::new();
    for program in BUILT.iter().filter(|name| !built_programs().join(name).exists()) {
        missing.push(format!("{program} is not built: run tests/pods/build"));
    }
    for (program, package) in PROGRAMS.iter().filter(|(program, _)| find(program).is_none()) {
        missing.push(format!("{program} is not installed: in Debian, install the package {package}"));
    }
    if !rustix::process::geteuid().is_root() {
        missing.push("this user is not root: run the tests as root".to_owned());
    } else if missing.is_empty() {
        missing.extend(probe().err());
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("a cluster with pods cannot run here:\n- {}", missing.join("\n- "))),
    }
}

/// Tries to make a machine.
fn probe() -> Result<(), String> {
    let mut command = Command::new("unshare");
    process::clear_environment(&mut command);
    command.env("PATH", path()).args(Machine::NAMESPACES).args(["sh", "-ec", PROBE]);
    let output = command.output().map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() && Path::new("/sys/fs/cgroup").exists() {
        return Ok(());
    }
    Err(format!(
        "root may not create namespaces, networks or mounts ({}): it needs CAP_SYS_ADMIN and CAP_NET_ADMIN, as on a \
         virtual machine or in a privileged container, and a kernel with bridge, veth and nf_tables",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}
