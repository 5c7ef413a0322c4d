//! A whole cluster: a control plane with controllers on the first node, further nodes, and the product as an image.

use super::abandoned;
use super::cgroups::Cgroups;
use super::family::{self, Family};
use super::image::Image;
use super::machine::Machine;
use super::node::{self, Node, PAUSE, Plan};
use super::owner::Owner;
use super::{network, requirements};
use crate::support::control_plane::{API_SERVER, Account, Auditing, ControlPlane, Setup};
use crate::support::process::{Log, Process, Witness};
use crate::support::repository;
use crate::support::workspace::Workspace;
use crm_release::image;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// The image of the product on every node.
pub(crate) const IMAGE: &str = concat!("registry.example.com/crm-admission:", env!("CARGO_PKG_VERSION"));
/// The image of release 0.1.0 on every node.
pub(crate) const FIRST_IMAGE: &str = "registry.example.com/crm-admission:first";

/// The ports of etcd, of its peers, and of kube-apiserver, on the first node.
const PORTS: [u16; 3] = [2379, 2380, 6443];

/// What a cluster consists of.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) family: Family,
    /// The number of nodes.
    pub(crate) nodes: u8,
    /// The images on every node beside those of the product.
    pub(crate) images: &'a [Image<'a>],
    /// Further flags of kube-apiserver.
    pub(crate) flags: &'a [&'a str],
}

impl Shape<'_> {
    /// Two nodes, with the product only.
    pub(crate) fn of(family: Family) -> Self {
        Self { family, nodes: 2, images: &[], flags: &[] }
    }
}

/// A running cluster. Dropping it, or the end of the test program, ends everything and removes all traces.
pub(crate) struct Cluster {
    family: Family,
    mark: String,
    _controllers: Controllers,
    nodes: Vec<Node>,
    switch: Machine,
    /// Runs on the first node. After the nodes, because it owns the directory of their files.
    plane: ControlPlane,
    _cgroups: Cgroups,
}

impl Cluster {
    /// Starts a cluster of two nodes and waits until both are ready.
    #[track_caller]
    pub(crate) fn start(family: Family) -> Self {
        Self::start_as(&Shape::of(family))
    }

    /// Like [`Cluster::start`], with another shape.
    #[track_caller]
    pub(crate) fn start_as(shape: &Shape<'_>) -> Self {
        requirements::check().unwrap_or_else(|why| panic!("{why}"));
        abandoned::remove();
        let family = shape.family;
        let owner = Owner::new();
        let names: Vec<String> = (1..=shape.nodes).map(|number| format!("node-{number}")).collect();
        let cgroups = Cgroups::create(&owner, &names).unwrap_or_else(|why| panic!("{why}"));
        let workspace = Workspace::create_as(&format!("{}-", owner.mark()));
        let images = write_images(&workspace, shape.images);
        let switch = Machine::start(&owner, "switch", &workspace, "", &[]);
        let machine = |name: &String| node::machine(&owner, name, &workspace, &directory(&workspace, name));
        let machines: Vec<Machine> = names.iter().map(machine).collect();
        network::connect(family, &switch, &machines.iter().collect::<Vec<_>>());
        let setup = setup(shape, &workspace, &machines[0], &names);
        let plane = ControlPlane::start_as(workspace, setup);
        let controllers = start_controllers(&machines[0], &plane, family);
        let plans: Vec<Plan> = (1..)
            .zip(&names)
            .map(|(number, name)| plan(family, number, name, &cgroups, &images, &plane))
            .collect();
        let nodes = start_nodes(machines, &plane, &plans);
        let cluster = Self {
            family,
            mark: owner.mark().to_owned(),
            _controllers: controllers,
            nodes,
            switch,
            plane,
            _cgroups: cgroups,
        };
        node::await_ready(cluster.nodes.len(), &cluster.plane.kubectl("admin"));
        cluster.plane.install_user_roles();
        cluster
    }

    /// The control plane, with kubectl as every user.
    pub(crate) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// What the names of its cgroups, and of the directory of its files, begin with.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// The kubeconfig of a user for programs on any node.
    pub(super) fn kubeconfig_of_nodes(&self, user: &str) -> PathBuf {
        kubeconfig(&self.plane, self.family, user)
    }

    /// Ends a node with all of its pods, like a power cut.
    pub(crate) fn lose_node(&mut self, name: &str) {
        self.nodes.retain(|node| node.name() != name);
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All machines.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.nodes.iter().map(Node::machine).chain([&self.switch])
    }

    /// A command on the first node that finds kubectl and is an admin of the cluster.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let kubectl = self.plane.kubectl("admin");
        let directory = kubectl.program().parent().expect("a directory");
        let mut command = self.plane.place().client(program);
        command
            .env("PATH", format!("{}:{}", directory.display(), requirements::path()))
            .env("HOME", self.plane.workspace().file("homes", "command"))
            .env("KUBECONFIG", self.plane.kubeconfig("admin"))
            .stdin(Stdio::null());
        command
    }

    /// Installs the product with `scripts/install`, and returns the output of the script.
    #[track_caller]
    pub(crate) fn install(&self) -> String {
        self.install_with(&[])
    }

    /// Like [`Cluster::install`], with these arguments.
    #[track_caller]
    pub(crate) fn install_with(&self, args: &[&str]) -> String {
        self.script("install", &[&["--image", IMAGE], args].concat())
    }

    /// Like [`Cluster::install_with`], but the script must fail.
    #[track_caller]
    pub(crate) fn install_fails(&self, args: &[&str]) -> String {
        let install = repository().join("scripts/install");
        let (success, printed) = self.output(&install, &[&["--image", IMAGE], args].concat());
        assert!(!success, "scripts/install succeeded\n{printed}");
        printed
    }

    /// Runs a script of the product, which must succeed, and returns its output.
    #[track_caller]
    pub(crate) fn script(&self, name: &str, args: &[&str]) -> String {
        self.run(&repository().join("scripts").join(name), args)
    }

    /// Runs a program as an admin, which must succeed, and returns its output.
    #[track_caller]
    pub(crate) fn run(&self, program: &Path, args: &[&str]) -> String {
        let (success, printed) = self.output(program, args);
        assert!(success, "{} {args:?} failed\n{printed}", program.display());
        printed
    }

    fn output(&self, program: &Path, args: &[&str]) -> (bool, String) {
        let output = self.command(program).args(args).output().expect("a program that starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.success(), text(output.stdout) + &text(output.stderr))
    }

    /// The pods of the product and their logs, to find out why a test failed.
    fn describe_pods(&self) -> String {
        let admin = self.plane.kubectl("admin");
        let of_namespace =
            |args: &[&str]| admin.run([&["--namespace", "crm-admission-system"], args].concat()).to_string();
        let selector = "--selector=app.kubernetes.io/name=crm-admission";
        [of_namespace(&["describe", "pods"]), of_namespace(&["logs", selector, "--prefix", "--tail=40"])]
            .concat()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.describe_pods());
        }
    }
}

/// The directory of a node.
fn directory(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.file("nodes", name)
}

/// Writes the archives that every node imports.
fn write_images(workspace: &Workspace, others: &[Image<'_>]) -> Vec<PathBuf> {
    let programs = requirements::built_programs();
    let [pause, product, first] =
        ["pause", "crm-admission", "crm-admission-first"].map(|name| programs.join(name));
    let product_of = |name, program| Image { name, program, path: image::PATH, user: image::USER };
    let images = [
        Image { name: PAUSE, program: &pause, path: "pause", user: "65535:65535" },
        product_of(IMAGE, &product),
        product_of(FIRST_IMAGE, &first),
    ];
    let write = |image: &Image<'_>| {
        let name = image.program.file_name().expect("a name").to_string_lossy();
        let archive = workspace.file("images", &format!("{name}.tar"));
        image.write(&archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
        archive
    };
    images.iter().chain(others).map(write).collect()
}

/// The control plane on the first node, with the accounts of controllers and nodes.
fn setup(shape: &Shape<'_>, workspace: &Workspace, first: &Machine, nodes: &[String]) -> Setup {
    let family = shape.family;
    let identity = |name| workspace.file("identities", name).display().to_string();
    let component =
        |name: &str| Account { name: name.to_owned(), username: format!("system:{name}"), group: "" };
    let node = |name: &String| Account {
        name: name.clone(),
        username: format!("system:node:{name}"),
        group: "system:nodes",
    };
    let components = ["kube-controller-manager", "kube-scheduler", "kube-proxy"].map(component);
    let address = family.node(1)[0];
    let flags = [
        format!("--bind-address={}", family.unspecified()),
        format!("--advertise-address={address}"),
        format!("--service-cluster-ip-range={}", family.services().join(",")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--allow-privileged=true".to_owned(),
        // For API servers that are pods. The CA is that of all clients, so the name of the proxy is required.
        format!("--proxy-client-cert-file={}", identity("kubelet-client.crt")),
        format!("--proxy-client-key-file={}", identity("kubelet-client.key")),
        format!("--requestheader-client-ca-file={}", identity("ca.crt")),
        format!("--requestheader-allowed-names={API_SERVER}"),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
    ];
    let further = shape.flags.iter().map(|flag| (*flag).to_owned());
    Setup {
        place: first.place(),
        ports: Some(PORTS),
        auditing: Auditing::Off,
        addresses: family.api_service().into_iter().chain([address.to_string()]).collect(),
        accounts: components.into_iter().chain(nodes.iter().map(node)).collect(),
        flags: flags.into_iter().chain(further).collect(),
    }
}

/// kube-controller-manager and kube-scheduler.
struct Controllers {
    _witness: Witness,
    _programs: [Process; 2],
}

/// Starts the controllers on the first node.
fn start_controllers(first: &Machine, plane: &ControlPlane, family: Family) -> Controllers {
    let log = |name| Log::new(plane.workspace().file("logs", &format!("{name}.log")));
    let witness = Witness::new(["kube-controller-manager", "kube-scheduler"].map(log));
    let start = |name: &'static str, args: &[String]| {
        let mut command = node::command(first, name);
        command
            .arg("--kubeconfig")
            .arg(kubeconfig(plane, family, name))
            .arg("--leader-elect=false")
            .args(args);
        Process::start(name, command, &log(name))
    };
    let identity = |name| plane.workspace().file("identities", name).display().to_string();
    let manager = [
        "--use-service-account-credentials".to_owned(),
        format!("--root-ca-file={}", identity("ca.crt")),
        format!("--service-account-private-key-file={}", identity("service-accounts.key")),
    ];
    let programs = [start("kube-controller-manager", &manager), start("kube-scheduler", &[])];
    Controllers { _witness: witness, _programs: programs }
}

/// The kubeconfig of a node or a controller, with the address of the first node.
fn kubeconfig(plane: &ControlPlane, family: Family, name: &str) -> PathBuf {
    let server = format!("https://{}:{}", family::host(family.node(1)[0]), PORTS[2]);
    plane.kubeconfig_through(&server, name)
}

fn plan(
    family: Family,
    number: u8,
    name: &str,
    cgroups: &Cgroups,
    images: &[PathBuf],
    plane: &ControlPlane,
) -> Plan {
    Plan {
        name: name.to_owned(),
        number,
        family,
        directory: directory(plane.workspace(), name),
        cgroup: cgroups.of(name),
        images: images.to_vec(),
        kubelet_kubeconfig: kubeconfig(plane, family, name),
        proxy_kubeconfig: kubeconfig(plane, family, "kube-proxy"),
        authority: plane.authority(),
    }
}

/// Starts all nodes at the same time.
fn start_nodes(machines: Vec<Machine>, plane: &ControlPlane, plans: &[Plan]) -> Vec<Node> {
    thread::scope(|scope| {
        let starting: Vec<_> = machines
            .into_iter()
            .zip(plans)
            .map(|(machine, plan)| scope.spawn(|| Node::start(machine, plane.workspace(), plan)))
            .collect();
        let ended = starting.into_iter().map(|node| node.join());
        ended.map(|node| node.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
