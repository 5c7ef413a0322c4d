//! A node: a machine with containerd, the kubelet and kube-proxy.

use super::family::Family;
use super::machine::Machine;
use super::owner::Owner;
use super::requirements;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::process::{Log, Process, Witness};
use crate::support::workspace::Workspace;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a program may take to start. It takes seconds, and longer on a busy machine.
const START: Duration = Duration::from_secs(90);

/// Sets up the mounts of a node, with its directory as the argument, so that no program changes the host: containerd and
/// the kubelet write to fixed paths, and the kubelet sets parameters of the whole kernel.
const MOUNTS: &str = r#"
mkdir -p "$1/lib" "$1/log" "$1/parameters"
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
mount -t tmpfs tmpfs /run
set_aside() {
    [ -e "/proc/sys/$2" ] || return 0
    echo "$3" >"$1/parameters/${2##*/}"
    mount --bind "$1/parameters/${2##*/}" "/proc/sys/$2"
}
set_aside "$1" vm/overcommit_memory 1
set_aside "$1" vm/panic_on_oom 0
set_aside "$1" kernel/panic 10
set_aside "$1" kernel/panic_on_oops 1
set_aside "$1" kernel/keys/root_maxkeys 1000000
set_aside "$1" kernel/keys/root_maxbytes 25000000
"#;

/// Starts the machine of a node, with this directory for its files.
pub(super) fn machine(owner: &Owner, name: &str, workspace: &Workspace, directory: &Path) -> Machine {
    Machine::start(owner, name, workspace, MOUNTS, &[directory.as_os_str()])
}

/// What the programs of a node have to know.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) number: u8,
    pub(super) family: Family,
    /// The directory of its files.
    pub(super) directory: PathBuf,
    /// Its cgroup, from the root of the hierarchy.
    pub(super) cgroup: String,
    pub(super) images: Vec<PathBuf>,
    pub(super) kubelet_kubeconfig: PathBuf,
    pub(super) proxy_kubeconfig: PathBuf,
    /// The CA of the client certificate with which the API server calls the kubelet.
    pub(super) authority: PathBuf,
}

/// A running node. Dropping it kills its programs and pods, like a power cut.
pub(crate) struct Node {
    _witness: Witness,
    name: String,
    _programs: Vec<Process>,
    machine: Machine,
    /// That of containerd.
    socket: PathBuf,
}

impl Node {
    /// Starts the programs of a node on its machine.
    pub(super) fn start(machine: Machine, workspace: &Workspace, plan: &Plan) -> Self {
        let log = |program| Log::new(workspace.file("logs", &format!("{}-{program}.log", plan.name)));
        let logs = ["containerd", "kubelet", "kube-proxy"].map(log);
        let witness = Witness::new(logs.clone());
        let containerd = start_containerd(&machine, &logs[0], plan);
        let kubelet = Process::start("kubelet", kubelet(&machine, plan), &logs[1]);
        let proxy = Process::start("kube-proxy", proxy(&machine, plan), &logs[2]);
        let programs = vec![proxy, kubelet, containerd];
        Self {
            _witness: witness,
            name: plan.name.clone(),
            _programs: programs,
            machine,
            socket: socket(plan),
        }
    }

    /// Pulls an image from a registry without TLS, and gives it further names.
    pub(crate) fn pull(&self, image: &str, names: &[String]) -> Result<(), String> {
        let run = |args: &[&str]| {
            ctr(&self.machine, &self.socket, &[&["--namespace", "k8s.io", "images"], args].concat())
        };
        run(&["pull", "--local", "--plain-http", "--snapshotter", "native", image])?;
        names.iter().try_for_each(|name| run(&["tag", image, name]).map(drop))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// A command that runs a program of [`requirements::built_programs`] on a machine.
pub(super) fn command(machine: &Machine, program: &str) -> Command {
    let mut command = machine.place().command(requirements::built_programs().join(program));
    // containerd starts its shim, and the kubelet starts `mount`, by their names.
    command.env("PATH", format!("{}:{}", requirements::built_programs().display(), requirements::path()));
    command
}

/// Starts containerd and imports the images.
fn start_containerd(machine: &Machine, log: &Log, plan: &Plan) -> Process {
    let file = write(plan, "containerd.toml", &containerd_configuration(plan));
    write(plan, "networks/10-bridge.conflist", &network(plan).to_string());
    let mut arguments = command(machine, "containerd");
    arguments.arg("--config").arg(file);
    let mut containerd = Process::start("containerd", arguments, log);
    let socket = socket(plan);
    containerd
        .ready(START, || ctr(machine, &socket, &["version"]).map(drop))
        .unwrap_or_else(|why| panic!("{}: {why}", plan.name));
    for image in &plan.images {
        let import = ["--namespace", "k8s.io", "images", "import", "--local", "--snapshotter", "native"];
        ctr(machine, &socket, &[&import[..], &[text(image)]].concat())
            .expect("an image that can be imported");
    }
    containerd
}

fn ctr(machine: &Machine, socket: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = machine.place().tool(requirements::built_programs().join("ctr"));
    let output = command.arg("--address").arg(socket).args(args).output().expect("ctr starts");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn socket(plan: &Plan) -> PathBuf {
    plan.directory.join("containerd.sock")
}

fn containerd_configuration(plan: &Plan) -> String {
    let directory = text(&plan.directory);
    let [socket, programs] = [socket(plan), requirements::built_programs()];
    let [socket, programs] = [text(&socket), text(&programs)];
    let runc = requirements::find("runc").expect("runc");
    let runc = text(&runc);
    format!(
        r#"version = 3
root = "{directory}/containerd/root"
state = "{directory}/containerd/state"
[grpc]
  address = "{socket}"
[plugins.'io.containerd.internal.v1.opt']
  path = "{directory}/containerd/opt"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.images']
  # Copies files, so it works on every file system, and images are small.
  snapshotter = "native"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.runtime']
  # Without CAP_SYS_RESOURCE, no process may lower its own value.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{programs}"]
    conf_dir = "{directory}/networks"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
"#
    )
}

/// The image of sandboxes.
pub(super) const PAUSE: &str = "localhost/pause:1";

/// The network of the pods of a node, for the network plugins.
fn network(plan: &Plan) -> Value {
    let ranges = plan.family.pods_of(plan.number).into_iter().map(|range| json!([{"subnet": range}]));
    let routes = plan.family.everywhere().into_iter().map(|destination| json!({"dst": destination}));
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "pods",
            "isGateway": true,
            // A pod may call itself through a Service.
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": ranges.collect::<Vec<_>>(),
                "routes": routes.collect::<Vec<_>>(),
            },
        }],
    })
}

fn kubelet(machine: &Machine, plan: &Plan) -> Command {
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": plan.cgroup,
        "failSwapOn": false,
        // Without CAP_SYS_RESOURCE, it may not lower its own value.
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": format!("unix://{}", text(&socket(plan))),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": plan.authority},
        },
        "authorization": {"mode": "Webhook"},
        // No DNS runs here. The kubelet would copy the file of the host.
        "resolvConf": write(plan, "resolv.conf", ""),
        "volumePluginDir": plan.directory.join("volume-plugins"),
        // The disk of a machine that runs tests may be nearly full.
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
    });
    let file = write(plan, "kubelet.json", &configuration.to_string());
    let addresses: Vec<String> = plan.family.node(plan.number).iter().map(ToString::to_string).collect();
    let mut command = command(machine, "kubelet");
    command.arg("--config").arg(file);
    command.arg("--kubeconfig").arg(&plan.kubelet_kubeconfig);
    command.args(["--hostname-override", &plan.name, "--node-ip", &addresses.join(",")]);
    command
}

fn proxy(machine: &Machine, plan: &Plan) -> Command {
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": plan.proxy_kubeconfig},
        "clusterCIDR": plan.family.pods().join(","),
        "hostnameOverride": plan.name,
        "oomScoreAdj": 0,
        // These are parameters of the whole kernel.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    let file = write(plan, "kube-proxy.json", &configuration.to_string());
    let mut command = command(machine, "kube-proxy");
    command.arg("--config").arg(file);
    command
}

/// Writes a file in the directory of the node.
fn write(plan: &Plan, name: &str, content: &str) -> PathBuf {
    let path = plan.directory.join(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory of the node");
    std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Waits until this number of nodes is ready.
#[track_caller]
pub(super) fn await_ready(count: usize, admin: &Kubectl) {
    poll::until(&format!("{count} nodes that are ready"), START, || {
        match admin.run(["get", "nodes", "-o", "json"]) {
            listed if !listed.ok() => Seen::NotYet(listed.stderr),
            listed if ready(&listed.json()) == count => Seen::Ready(()),
            listed => Seen::NotYet(listed.stdout),
        }
    });
}

fn ready(nodes: &Value) -> usize {
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    let conditions = |node: &Value| node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let nodes = nodes["items"].as_array().map_or(&[][..], Vec::as_slice);
    nodes.iter().filter(|node| conditions(node).iter().any(is_ready)).count()
}
