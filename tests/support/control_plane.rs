//! A real etcd and kube-apiserver, with users that have different permissions.

use super::kubectl::Kubectl;
use super::pki::{self, Authority};
use super::place::Place;
use super::poll::{self, Seen};
use super::process::{Log, Process, Witness};
use super::workspace::Workspace;
use super::{manifest, net, repository};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program may take to start. It takes seconds, and longer on a busy machine.
const START: Duration = Duration::from_secs(90);

/// The user name of the webhook: the shipped service account, so that it has exactly the shipped permissions.
pub(crate) const WEBHOOK_USER: &str = "system:serviceaccount:crm-admission-system:crm-admission";

/// The user name of the daily audit: its shipped service account.
pub(crate) const AUDIT_USER: &str = "system:serviceaccount:crm-admission-system:crm-admission-audit";

/// The user name of the API server when it calls a kubelet or another API server.
pub(crate) const API_SERVER: &str = "kube-apiserver";

/// How the API server names the guard in a denial.
pub(crate) const GUARD: &str = "ValidatingAdmissionPolicy 'crm-admission-guard'";

/// A user. `roles.yaml` has the permissions of the groups.
pub(crate) struct User {
    /// The name in the tests.
    pub(crate) name: &'static str,
    /// The name in the API server.
    pub(crate) username: &'static str,
    groups: &'static [&'static str],
}

impl User {
    const fn person(name: &'static str, groups: &'static [&'static str]) -> Self {
        Self { name, username: name, groups }
    }
}

/// All users.
pub(crate) const USERS: [User; 8] = [
    User::person("admin", &["system:masters"]),
    User::person("alice", &["crm-editors"]),
    User::person("bob", &["crm-viewers"]),
    User::person("carol", &["crm-editors"]),
    User::person("dora", &["crm-people-writers"]),
    User::person("erin", &["crm-cleaners"]),
    User {
        name: "crm-admission",
        username: WEBHOOK_USER,
        groups: &["system:serviceaccounts", "system:serviceaccounts:crm-admission-system"],
    },
    User {
        name: "crm-admission-audit",
        username: AUDIT_USER,
        groups: &["system:serviceaccounts", "system:serviceaccounts:crm-admission-system"],
    },
];

/// Whether the API server writes an audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auditing {
    Off,
    /// The requests of the webhook's user and of the audit's, and all deletions, when they arrive.
    On,
    /// The same with the status of the answer, when it has been sent.
    Answers,
    /// The writes of records, by the audit policy in `docs/policy.md`.
    Writes,
}

/// The kubeconfig and the token of something else than the users of the tests, such as a node.
pub(crate) struct Account {
    /// The name of the kubeconfig.
    pub(crate) name: String,
    /// The name in the API server.
    pub(crate) username: String,
    pub(crate) group: &'static str,
}

/// What the programs of a control plane serve, and where.
pub(crate) struct Setup {
    pub(crate) place: Place,
    /// The ports of etcd, of its peers, and of kube-apiserver; `None` for free ones.
    pub(crate) ports: Option<[u16; 3]>,
    pub(crate) auditing: Auditing,
    /// Further names and addresses in the certificate of kube-apiserver.
    pub(crate) addresses: Vec<String>,
    pub(crate) accounts: Vec<Account>,
    /// The flags of kube-apiserver about its addresses, permissions and admission.
    pub(crate) flags: Vec<String>,
}

impl Setup {
    /// A control plane without controllers and nodes.
    fn alone(auditing: Auditing) -> Self {
        let flags = [
            "--bind-address=127.0.0.1",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            // It would wait for service accounts of a controller, and no controllers run here.
            "--disable-admission-plugins=ServiceAccount",
        ];
        Self {
            place: Place::Here,
            ports: None,
            auditing,
            addresses: Vec::new(),
            accounts: Vec::new(),
            flags: flags.map(str::to_owned).to_vec(),
        }
    }
}

/// A running control plane. Dropping it, or the end of the test program, ends its processes and removes its files.
pub(crate) struct ControlPlane {
    _witness: Witness,
    /// `None` while it is stopped.
    apiserver: Option<Process>,
    etcd: Process,
    apiserver_log: Log,
    ports: [u16; 2],
    programs: PathBuf,
    setup: Setup,
    workspace: Workspace,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver and waits until both are ready.
    pub(crate) fn start() -> Self {
        Self::start_with(Auditing::Off)
    }

    /// Like [`ControlPlane::start`], optionally with an audit log.
    pub(crate) fn start_with(auditing: Auditing) -> Self {
        Self::start_as(Workspace::create(), Setup::alone(auditing))
    }

    /// Like [`ControlPlane::start`]; the API server sends the spans of all requests to this collector, by OTLP over gRPC.
    pub(crate) fn start_traced(collector: &str) -> Self {
        let workspace = Workspace::create();
        let configuration = json!({
            // Version 1 exists since Kubernetes 1.34.
            "apiVersion": "apiserver.config.k8s.io/v1beta1",
            "kind": "TracingConfiguration",
            "endpoint": collector,
            "samplingRatePerMillion": 1_000_000,
        });
        let file = workspace.write("tracing", "configuration.yaml", &configuration.to_string());
        let mut setup = Setup::alone(Auditing::Off);
        setup.flags.push(format!("--tracing-config-file={}", file.display()));
        Self::start_as(workspace, setup)
    }

    /// Like [`ControlPlane::start`], with its files in `workspace`.
    pub(crate) fn start_as(workspace: Workspace, setup: Setup) -> Self {
        let programs = programs();
        let logs =
            ["etcd", "kube-apiserver"].map(|name| Log::new(workspace.file("logs", &format!("{name}.log"))));
        let etcd_ports = setup.ports.map(|[client, peers, _]| [client, peers]);
        let (etcd, etcd_port) =
            on_ports(etcd_ports, |ports| start_etcd(setup.place, &programs, &workspace, &logs[0], ports));
        write_identities(&workspace, &setup);
        let (apiserver, port) = on_ports(setup.ports.map(|[.., port]| [port]), |[port]| {
            start_apiserver(&setup, &programs, &workspace, &logs[1], [etcd_port, port])
        });
        let apiserver_log = logs[1].clone();
        Self {
            _witness: Witness::new(logs),
            apiserver: Some(apiserver),
            etcd,
            apiserver_log,
            ports: [etcd_port, port],
            programs,
            setup,
            workspace,
        }
    }

    /// Stops kube-apiserver like an upgrade, and waits until it has exited. etcd keeps running.
    #[track_caller]
    pub(crate) fn stop_apiserver(&mut self) {
        let mut apiserver = self.apiserver.take().expect("a running kube-apiserver");
        apiserver.signal("TERM");
        apiserver.wait(START);
    }

    /// Starts kube-apiserver again, on the same port and data, and waits until it is ready.
    #[track_caller]
    pub(crate) fn restart_apiserver(&mut self) {
        let started =
            start_apiserver(&self.setup, &self.programs, &self.workspace, &self.apiserver_log, self.ports);
        let (apiserver, _) = started.unwrap_or_else(|why| panic!("{why}"));
        self.apiserver = Some(apiserver);
    }

    /// Stops etcd without ending it: connections to it hang, as on a machine with a broken disk.
    pub(crate) fn pause_etcd(&mut self) {
        self.etcd.signal("STOP");
    }

    /// Lets etcd continue. Does nothing if it is running.
    pub(crate) fn resume_etcd(&mut self) {
        self.etcd.signal("CONT");
    }

    /// Starts another kube-apiserver on the same etcd, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_peer(&self) -> Peer {
        let workspace = Workspace::create();
        let identities = self.workspace.path().join("identities");
        for file in std::fs::read_dir(identities).expect("the identities").map(|file| file.expect("a file")) {
            let copy = workspace.file("identities", file.file_name().to_str().expect("a name in UTF-8"));
            std::fs::copy(file.path(), copy).expect("a copy");
        }
        let log = Log::new(workspace.file("logs", "kube-apiserver.log"));
        let apiserver = net::on_free_ports(|[port]| {
            start_apiserver(&self.setup, &self.programs, &workspace, &log, [self.ports[0], port])
        });
        Peer {
            _witness: Witness::new([log]),
            _apiserver: apiserver.0,
            place: self.setup.place,
            programs: self.programs.clone(),
            workspace,
        }
    }

    /// kubectl as one of [`USERS`].
    #[track_caller]
    pub(crate) fn kubectl(&self, user: &str) -> Kubectl {
        kubectl(self.setup.place, &self.programs, &self.workspace, user)
    }

    /// The minor version of Kubernetes 1, which is 31 or later.
    #[track_caller]
    pub(crate) fn minor(&self) -> u32 {
        let version = self.kubectl("admin").run(["get", "--raw", "/version"]).succeeds().json();
        let minor = version["minor"].as_str().expect("a minor version");
        // Some providers write `31+`.
        minor.trim_end_matches('+').parse().expect("a number")
    }

    /// The id of the process of the API server.
    pub(crate) fn process(&self) -> Option<u32> {
        self.apiserver.as_ref()?.id()
    }

    /// Where its programs run, and kubectl.
    pub(crate) fn place(&self) -> Place {
        self.setup.place
    }

    /// The CA of the API server as PEM, which clients trust.
    pub(crate) fn ca(&self) -> Vec<u8> {
        std::fs::read(self.workspace.file("identities", "ca.crt")).expect("the CA of the control plane")
    }

    /// The kubeconfig file of one of [`USERS`].
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        kubeconfig(&self.workspace, user)
    }

    /// A kubeconfig file for a user with another address of the API server, such as a proxy.
    pub(crate) fn kubeconfig_through(&self, server: &str, user: &str) -> PathBuf {
        let authority = self.authority();
        let content = kubeconfig_content(server, &authority, user);
        self.workspace.write("kubeconfigs", &format!("{user}-through-proxy"), &content)
    }

    /// The path of the CA of the API server.
    pub(crate) fn authority(&self) -> PathBuf {
        self.workspace.file("identities", "ca.crt")
    }

    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The log files of etcd and kube-apiserver.
    pub(crate) fn logs(&self) -> impl Iterator<Item = Log> {
        [self.etcd.log(), &self.apiserver_log].map(Log::clone).into_iter()
    }

    /// The ports of etcd and of kube-apiserver.
    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// The events in the audit log, in order.
    #[track_caller]
    pub(crate) fn audited(&self) -> Vec<Value> {
        assert_ne!(self.setup.auditing, Auditing::Off, "this control plane has no audit log");
        let text = std::fs::read_to_string(self.audit_log()).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("an event in JSON")).collect()
    }

    /// The path of the audit log.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.workspace.file("audit", "log")
    }

    /// Grants the permissions of the users and of the webhook.
    pub(crate) fn install_roles(&self) {
        // In this order, because the first file creates the namespace of the shipped service account.
        self.install_user_roles();
        self.kubectl("admin").apply_path(&manifest("base/rbac.yaml")).succeeds();
    }

    /// Grants the permissions of the users.
    pub(crate) fn install_user_roles(&self) {
        let roles = repository().join("tests/support/roles.yaml");
        self.kubectl("admin").apply_path(&roles).succeeds();
    }

    /// Grants the webhook the permissions for self-managed certificates, after the guard is in force.
    #[track_caller]
    pub(crate) fn install_self_managed_permissions(&self) {
        let admin = self.kubectl("admin");
        admin.apply_path(&manifest("guard/guard.yaml")).succeeds();
        self.await_guard();
        admin.apply_path(&manifest("overlays/self-managed/rbac.yaml")).succeeds();
    }

    /// Waits until the API server denies the webhook's user a request only because of the guard.
    #[track_caller]
    pub(crate) fn await_guard(&self) {
        let admin = self.kubectl("admin");
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"generateName": "probe-"},
        });
        let create =
            ["create", "--dry-run=server", "-f", "-", "--as", WEBHOOK_USER, "--as-group=system:masters"];
        poll::until("the guard", START, || match admin.run_with(&configuration.to_string(), create) {
            tried if tried.stderr.contains(GUARD) => Seen::Ready(()),
            tried => Seen::NotYet(tried.to_string()),
        });
    }

    /// Applies the CRDs of the product and waits until the kinds can be used.
    pub(crate) fn install_kinds(&self, path: &Path) {
        let admin = self.kubectl("admin");
        admin.apply_path(path).succeeds();
        admin.run(["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"]).succeeds();
        poll::until("resources of the kinds", START, || {
            let listed = admin.run(["get", "companies,people,notes,admissionpolicies"]);
            if listed.ok() { Seen::Ready(()) } else { Seen::NotYet(listed.stderr) }
        });
    }
}

/// Another kube-apiserver on the etcd of a [`ControlPlane`], with the same users.
pub(crate) struct Peer {
    _witness: Witness,
    _apiserver: Process,
    place: Place,
    programs: PathBuf,
    workspace: Workspace,
}

impl Peer {
    /// kubectl as one of [`USERS`], with this API server.
    #[track_caller]
    pub(crate) fn kubectl(&self, user: &str) -> Kubectl {
        kubectl(self.place, &self.programs, &self.workspace, user)
    }
}

#[track_caller]
fn kubectl(place: Place, programs: &Path, workspace: &Workspace, user: &str) -> Kubectl {
    assert!(USERS.iter().any(|known| known.name == user), "there is no user {user:?}");
    Kubectl::new(place, programs, workspace, user)
}

/// The directory with the programs that `tests/control-plane/build` has built: of the version in `$KUBERNETES`, or of the
/// newest.
pub(crate) fn built_programs() -> PathBuf {
    let version = std::env::var_os("KUBERNETES").unwrap_or_default();
    repository().join("target/kubernetes").join(version).join("bin")
}

/// The directory with existing programs, from `$KUBEBUILDER_ASSETS`.
pub(crate) fn given_programs() -> Option<PathBuf> {
    let directory = std::env::var_os("KUBEBUILDER_ASSETS").filter(|directory| !directory.is_empty())?;
    Some(std::path::absolute(directory).expect("a current directory"))
}

/// The directory with etcd, kube-apiserver and kubectl.
pub(crate) fn programs() -> PathBuf {
    let directory = given_programs().unwrap_or_else(built_programs);
    for program in ["etcd", "kube-apiserver", "kubectl"] {
        let path = directory.join(program);
        assert!(path.is_file(), "{} is missing: run tests/control-plane/build first", path.display());
    }
    directory
}

/// Starts something on these ports, or on free ones.
fn on_ports<const N: usize, T>(
    given: Option<[u16; N]>,
    mut start: impl FnMut([u16; N]) -> Result<T, String>,
) -> T {
    match given {
        Some(ports) => start(ports).unwrap_or_else(|why| panic!("{why}")),
        None => net::on_free_ports(start),
    }
}

fn start_etcd(
    place: Place,
    programs: &Path,
    workspace: &Workspace,
    log: &Log,
    [port, peer_port]: [u16; 2],
) -> Result<(Process, u16), String> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = place.command(programs.join("etcd"));
    command
        // A new directory for each attempt, because the first start stores the addresses of a cluster.
        .arg("--data-dir")
        .arg(workspace.path().join(format!("etcd-{port}")))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // The data need not survive a power cut, so do not wait for the disk.
        .arg("--unsafe-no-fsync");
    let mut etcd = Process::start("etcd", command, log);
    // kube-apiserver exits if etcd is not ready yet.
    etcd.ready(START, || match place.within(|| net::get(port, "/health")) {
        Ok((200, body)) if body.contains(r#""health":"true""#) => Ok(()),
        Ok((code, body)) => Err(format!("{code} {body}")),
        Err(error) => Err(error.to_string()),
    })?;
    Ok((etcd, port))
}

fn start_apiserver(
    setup: &Setup,
    programs: &Path,
    workspace: &Workspace,
    log: &Log,
    [etcd_port, port]: [u16; 2],
) -> Result<(Process, u16), String> {
    write_kubeconfigs(workspace, port);
    let file = |name| workspace.file("identities", name);
    let mut command = setup.place.command(programs.join("kube-apiserver"));
    command
        .args(["--etcd-servers", &format!("http://127.0.0.1:{etcd_port}")])
        .args(["--secure-port", &port.to_string()])
        .arg("--tls-cert-file")
        .arg(file("server.crt"))
        .arg("--tls-private-key-file")
        .arg(file("server.key"))
        .arg("--service-account-signing-key-file")
        .arg(file("service-accounts.key"))
        .arg("--service-account-key-file")
        .arg(file("service-accounts.pub"))
        .args(["--service-account-issuer", "https://kubernetes.default.svc"])
        .arg("--token-auth-file")
        .arg(file("tokens.csv"))
        .arg("--client-ca-file")
        .arg(file("ca.crt"))
        // For the logs of pods, and commands in them.
        .arg("--kubelet-client-certificate")
        .arg(file("kubelet-client.crt"))
        .arg("--kubelet-client-key")
        .arg(file("kubelet-client.key"))
        .args(&setup.flags);
    let audit_policy = match setup.auditing {
        Auditing::Off => None,
        Auditing::On => Some(audit_policy("ResponseComplete")),
        Auditing::Answers => Some(audit_policy("RequestReceived")),
        Auditing::Writes => Some(documented_audit_policy()),
    };
    if let Some(policy) = audit_policy {
        command.arg("--audit-policy-file").arg(workspace.write("audit", "policy.yaml", &policy));
        command.arg("--audit-log-path").arg(workspace.file("audit", "log"));
        // Write each event at once, not in batches.
        command.args(["--audit-log-mode", "blocking"]);
    }
    let mut apiserver = Process::start("kube-apiserver", command, log);
    let admin = Kubectl::new(setup.place, programs, workspace, "admin");
    apiserver.ready(START, || {
        let readiness = admin.run(["get", "--raw", "/readyz"]);
        if readiness.ok() { Ok(()) } else { Err(readiness.stderr) }
    })?;
    Ok((apiserver, port))
}

/// The audit policy: verb and resource of each request, either when it arrives or with its answer, whichever is not
/// `omitted`.
fn audit_policy(omitted: &str) -> String {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["ResponseStarted", "Panic", omitted],
        "rules": [{"level": "Metadata", "users": [WEBHOOK_USER, AUDIT_USER]}, {"level": "Metadata", "verbs": ["delete"]}, {"level": "None"}],
    })
    .to_string()
}

/// The audit policy that users are told to have for `policy replay`.
fn documented_audit_policy() -> String {
    let page = std::fs::read_to_string(repository().join("docs/policy.md")).expect("docs/policy.md");
    let mut blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.starts_with("# audit-policy.yaml")).expect("an audit policy").to_owned()
}

/// Writes the certificates and tokens of kube-apiserver and its users.
fn write_identities(workspace: &Workspace, setup: &Setup) {
    let authority = Authority::create("control plane of a test");
    let server = authority.server_at(&setup.addresses);
    let kubelet_client = authority.client(API_SERVER);
    let mut tokens = String::new();
    for User { name, username, groups } in &USERS {
        writeln!(tokens, r#"{},{username},{name},"{}""#, token(name), groups.join(","))
            .expect("a longer text");
    }
    for Account { name, username, group } in &setup.accounts {
        writeln!(tokens, "{},{username},{name},{group}", token(name)).expect("a longer text");
    }
    let write = |name, content: &str| workspace.write("identities", name, content);
    write("ca.crt", &authority.pem);
    write("server.crt", &server.certificate);
    write("server.key", &server.key);
    // Users may also log in with a certificate; one is enough for the tests.
    let alice = authority.client_in("alice", Some("crm-editors"));
    write("alice.crt", &alice.certificate);
    write("alice.key", &alice.key);
    write("kubelet-client.crt", &kubelet_client.certificate);
    write("kubelet-client.key", &kubelet_client.key);
    let (private, public) = pki::signing_keys();
    write("service-accounts.key", &private);
    write("service-accounts.pub", &public);
    write("tokens.csv", &tokens);
}

/// Not a secret: the API server listens on the loopback address for some minutes, and has only test records.
pub(crate) fn token(user: &str) -> String {
    format!("token-of-{user}")
}

/// The path of a user's kubeconfig file.
pub(crate) fn kubeconfig(workspace: &Workspace, user: &str) -> PathBuf {
    workspace.file("kubeconfigs", user)
}

fn write_kubeconfigs(workspace: &Workspace, port: u16) {
    let authority = workspace.file("identities", "ca.crt");
    let server = format!("https://127.0.0.1:{port}");
    for User { name, .. } in &USERS {
        workspace.write("kubeconfigs", name, &kubeconfig_content(&server, &authority, name));
    }
}

fn kubeconfig_content(server: &str, authority: &Path, user: &str) -> String {
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": user, "user": {"token": token(user)}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    });
    content.to_string()
}
