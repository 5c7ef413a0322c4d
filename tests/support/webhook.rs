//! Runs the product as a process, and registers it with the API server.

use super::control_plane::ControlPlane;
use super::kubectl::Kubectl;
use super::pki::Authority;
use super::poll::{self, Seen};
use super::process::{Log, Process, Witness};
use super::{manifest, net};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a start, a stop, or a change in the API server may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a write that should reach the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The API server calls the webhook.
    Called,
    /// The API server calls the webhook, but gets no answer.
    Unreachable,
    /// The API server does not call it.
    Unregistered,
}

/// The source of its certificate.
enum Certificate {
    /// Files with this stem, and the CA as PEM, which the registration contains.
    Files { stem: PathBuf, authority: String },
    /// The webhook itself, which also writes its CA to the registration.
    SelfManaged,
}

/// The webhook of one control plane, over all its restarts, always on the same ports.
pub(crate) struct Webhook {
    _witness: Witness,
    /// `None` while it is stopped.
    process: Option<Process>,
    ports: [u16; 2],
    certificate: Certificate,
    kubeconfig: PathBuf,
    admin: Kubectl,
    log: Log,
}

impl Webhook {
    /// Starts the product for a control plane with the kinds and roles, and waits until it is ready. It is not
    /// registered yet.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        Self::start_through(plane, plane.kubeconfig("crm-admission"))
    }

    /// Like [`Webhook::start`], with another kubeconfig.
    pub(crate) fn start_through(plane: &ControlPlane, kubeconfig: PathBuf) -> Self {
        let workspace = plane.workspace();
        let authority = Authority::create("webhook of a test");
        let server = authority.server();
        // Each replica has its own certificate file: a replica would treat the certificate of another as a renewal.
        let name = Self::name();
        workspace.write(&name, "tls.crt", &server.certificate);
        workspace.write(&name, "tls.key", &server.key);
        let stem = workspace.file(&name, "tls");
        let certificate = Certificate::Files { stem, authority: authority.pem };
        Self::start_with(plane, &name, certificate, kubeconfig, &[])
    }

    /// Starts the product with self-managed certificates, and waits until it is ready. It needs the permissions of
    /// [`ControlPlane::install_self_managed_permissions`].
    pub(crate) fn start_self_managed(plane: &ControlPlane) -> Self {
        Self::start_self_managed_with(plane, &[])
    }

    /// Like [`Webhook::start_self_managed`], with further arguments.
    pub(crate) fn start_self_managed_with(plane: &ControlPlane, args: &[&str]) -> Self {
        let kubeconfig = plane.kubeconfig("crm-admission");
        Self::start_with(plane, &Self::name(), Certificate::SelfManaged, kubeconfig, args)
    }

    fn name() -> String {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        format!("crm-admission-{}", STARTED.fetch_add(1, Ordering::Relaxed))
    }

    fn start_with(
        plane: &ControlPlane,
        name: &str,
        certificate: Certificate,
        kubeconfig: PathBuf,
        args: &[&str],
    ) -> Self {
        let log = Log::new(plane.workspace().file("logs", &format!("{name}.log")));
        let mut webhook = Self {
            _witness: Witness::new([log.clone()]),
            process: None,
            ports: [0, 0],
            certificate,
            kubeconfig,
            admin: plane.kubectl("admin"),
            log,
        };
        net::on_free_ports(|ports| {
            webhook.ports = ports;
            webhook.launch(args)
        });
        webhook
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The id of the process.
    #[track_caller]
    pub(crate) fn id(&self) -> u32 {
        let process = self.process.as_ref().expect("a running webhook");
        process.id().expect("the id of the webhook")
    }

    /// The port for reviews.
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The CA of its certificate as PEM.
    pub(crate) fn ca(&self) -> &str {
        match &self.certificate {
            Certificate::Files { authority, .. } => authority,
            Certificate::SelfManaged => panic!("its CA is in the cluster"),
        }
    }

    /// The CA of its certificate as a `caBundle`.
    pub(crate) fn ca_bundle(&self) -> String {
        STANDARD.encode(self.ca())
    }

    /// The port of `/readyz` and `/metrics`.
    pub(crate) fn admin_port(&self) -> u16 {
        self.ports[1]
    }

    /// `HOST:PORT` of the webhook itself.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// `http://…`, the URL of the admin port.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    /// The status code and the body of a page of the admin port.
    pub(crate) fn admin_page(&self, path: &str) -> std::io::Result<(u16, String)> {
        net::get(self.ports[1], path)
    }

    /// Its answer to a review that is sent directly, without the API server.
    #[track_caller]
    pub(crate) fn review(&self, path: &str, review: &Value) -> Value {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(self.ca().as_bytes()).expect("a certificate");
        let url = format!("https://127.0.0.1:{}{path}", self.ports[0]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let asked = runtime.block_on(async {
            let client = reqwest::Client::builder().tls_certs_only([authority]).timeout(PATIENCE).build()?;
            client.post(url).json(review).send().await?.error_for_status()?.json().await
        });
        asked.unwrap_or_else(|error: reqwest::Error| panic!("no answer to {review}: {error}"))
    }

    /// Kills it, like a crash.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it like Kubernetes, and returns its exit status.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a running webhook");
        process.signal("TERM");
        process.wait(PATIENCE)
    }

    /// Starts it if it does not run.
    #[track_caller]
    pub(crate) fn ensure_running(&mut self) {
        if self.process.is_none() {
            self.restart();
        }
    }

    /// Starts it again after [`Webhook::kill`] or [`Webhook::stop`] and waits until it is ready.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// Starts it again with further arguments, such as `--policy FILE`. Stops it first if it is running.
    #[track_caller]
    pub(crate) fn restart_with(&mut self, args: &[&str]) {
        if self.process.is_some() {
            let ended = self.stop();
            assert!(ended.success(), "the webhook stopped with {ended}");
        }
        self.launch(args).unwrap_or_else(|why| panic!("{why}"));
    }

    fn launch(&mut self, args: &[&str]) -> Result<(), String> {
        let [port, admin_port] = self.ports;
        let mut command = Process::command(product());
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RUST_BACKTRACE", "1")
            // Without a balancer, no shutdown delay is needed. Arguments override these variables.
            .env("CRM_ADMISSION_SHUTDOWN_DELAY", "1s")
            // Also log allowed requests, for the output of failing tests.
            .env("CRM_ADMISSION_LOG", "info,crm_admission=debug")
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--admin-listen", &format!("127.0.0.1:{admin_port}")])
            .args(["--directory", "cluster"])
            .args(args);
        match &self.certificate {
            Certificate::Files { stem, .. } => {
                command.arg("--tls-cert").arg(stem.with_extension("crt"));
                command.arg("--tls-key").arg(stem.with_extension("key"));
            }
            Certificate::SelfManaged => {
                // Without a Service, the API server calls this process by its address.
                command.args(["--tls-self-managed", "--tls-san", "127.0.0.1"]);
                command.args(["--namespace", "crm-admission-system"]);
            }
        }
        let mut process = Process::start("crm-admission", command, &self.log);
        process.ready(PATIENCE, || match net::get(admin_port, "/readyz") {
            Ok((200, _)) => Ok(()),
            Ok((code, body)) => Err(format!("{code} {body}")),
            Err(error) => Err(error.to_string()),
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Registers the shipped configurations and waits until the API server calls the webhook for both.
    #[track_caller]
    pub(crate) fn register(&self) {
        self.register_at(self.ports[0]);
    }

    /// Like [`Webhook::register`], at another port: that of a balancer.
    #[track_caller]
    pub(crate) fn register_at(&self, port: u16) {
        self.install_at(port);
        self.await_reach(Reach::Called);
        self.await_validation();
    }

    /// Applies the shipped configurations with the address of this process.
    #[track_caller]
    pub(crate) fn install(&self) {
        self.install_at(self.ports[0]);
    }

    #[track_caller]
    fn install_at(&self, port: u16) {
        let configurations: Vec<Value> =
            shipped(&self.admin).into_iter().map(|shipped| self.local_at(shipped, port)).collect();
        self.admin.apply(&list(&configurations)).succeeds();
    }

    /// Registers the shipped configurations for one call, and waits until they and the floor are in force.
    #[track_caller]
    pub(crate) fn register_for_one_call(&self) {
        let (floor, configurations): (Vec<Value>, Vec<Value>) =
            one_call(&self.admin).into_iter().partition(|object| is_of(object, "ValidatingAdmissionPolicy"));
        self.unregister();
        self.admin.apply(&list(&floor)).succeeds();
        poll::until("a floor", PATIENCE, || {
            let blank = json!({
                "apiVersion": "crm.milo.io/v1alpha1",
                "kind": "Company",
                "metadata": {"generateName": "probe-"},
                "spec": {"displayName": " ", "creatorRef": {"name": "probe"}},
            });
            match self.admin.run_with(&blank.to_string(), ["create", "--dry-run=server", "-f", "-"]) {
                tried if tried.stderr.contains("crm-admission-floor") => Seen::Ready(()),
                tried => Seen::NotYet(tried.to_string()),
            }
        });
        let configurations: Vec<Value> = configurations.into_iter().map(|it| self.local(it)).collect();
        self.admin.apply(&list(&configurations)).succeeds();
        self.await_reach(Reach::Called);
        let validations = || calls(&self.admin, "validate.crm.milo.io");
        poll::until("a write that is not validated", PATIENCE, || {
            let before = validations();
            match (self.reach(), validations() - before) {
                (Ok(Reach::Called), 0) => Seen::Ready(()),
                seen => Seen::NotYet(format!("{seen:?}")),
            }
        });
    }

    /// Deletes the configurations and waits until the API server does not call the webhook any more.
    #[track_caller]
    pub(crate) fn unregister(&self) {
        let kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
        self.admin.run(["delete", kinds, "crm-admission", "--ignore-not-found"]).succeeds();
        self.await_reach(Reach::Unregistered);
    }

    /// A configuration with the address of this process instead of a Service, because there is no pod network.
    pub(crate) fn local(&self, configuration: Value) -> Value {
        self.local_at(configuration, self.ports[0])
    }

    fn local_at(&self, mut configuration: Value, port: u16) -> Value {
        for webhook in configuration["webhooks"].as_array_mut().expect("a list of webhooks") {
            let path = webhook["clientConfig"]["service"]["path"].as_str().expect("a path").to_owned();
            let url = format!("https://127.0.0.1:{port}{path}");
            webhook["clientConfig"] = json!({"url": url});
            if let Certificate::Files { authority, .. } = &self.certificate {
                webhook["clientConfig"]["caBundle"] = STANDARD.encode(authority).into();
            }
        }
        configuration
    }

    /// Waits until writes have this result.
    #[track_caller]
    pub(crate) fn await_reach(&self, wanted: Reach) {
        poll::until(&format!("a webhook that is {wanted:?}"), PATIENCE, || match self.reach() {
            Ok(reach) if reach == wanted => Seen::Ready(()),
            Ok(reach) => Seen::NotYet(format!("{reach:?}")),
            Err(seen) => Seen::NotYet(seen),
        });
    }

    /// Tries a write without the required creatorRef, which only the webhook sets.
    fn reach(&self) -> Result<Reach, String> {
        let probe = json!({
            "apiVersion": "crm.milo.io/v1alpha1",
            "kind": "Company",
            "metadata": {"generateName": "probe-"},
            "spec": {"displayName": "Probe"},
        });
        let tried = self.admin.run_with(&probe.to_string(), ["create", "--dry-run=server", "-f", "-"]);
        if tried.ok() {
            Ok(Reach::Called)
        } else if tried.stderr.contains("failed calling webhook") {
            Ok(Reach::Unreachable)
        } else if tried.stderr.contains("spec.creatorRef") {
            Ok(Reach::Unregistered)
        } else {
            Err(tried.to_string())
        }
    }

    /// Waits until the API server calls the validating webhook too. API servers load the two configurations
    /// independently. Validation has no visible effect, but the API server counts its calls.
    #[track_caller]
    fn await_validation(&self) {
        let calls = || calls(&self.admin, "validate.crm.milo.io");
        let before = calls();
        poll::until("a call of validate.crm.milo.io", PATIENCE, || match (self.reach(), calls()) {
            (Ok(Reach::Called), after) if after > before => Seen::Ready(()),
            (reach, after) => Seen::NotYet(format!("{reach:?}, {before} calls before, {after} now")),
        });
    }
}

/// The shipped webhook configurations.
#[track_caller]
pub(crate) fn shipped(kubectl: &Kubectl) -> Vec<Value> {
    kubectl.read(&manifest("registration/webhooks.yaml"))
}

/// The shipped webhook configurations for one call, and the floor.
#[track_caller]
pub(crate) fn one_call(kubectl: &Kubectl) -> Vec<Value> {
    let overlay = manifest("overlays/one-call");
    let rendered = kubectl.run(["kustomize", overlay.to_str().expect("a path in UTF-8")]).succeeds().stdout;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).expect("YAML");
    let of_registration = ["ValidatingAdmissionPolicy", "MutatingWebhook", "ValidatingWebhook"];
    objects.into_iter().filter(|object| of_registration.iter().any(|kind| is_of(object, kind))).collect()
}

/// Whether its kind has this prefix.
fn is_of(object: &Value, kind: &str) -> bool {
    object["kind"].as_str().is_some_and(|of| of.starts_with(kind))
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// The number of calls of a webhook, according to the API server.
#[track_caller]
pub(crate) fn calls(admin: &Kubectl, webhook: &str) -> u64 {
    let label = format!(r#"name="{webhook}""#);
    let metrics = admin.run(["get", "--raw", "/metrics"]).succeeds().stdout;
    metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_admission_webhook_request_total{"))
        .filter(|line| line.contains(&label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// The variable with the path of another build to test, such as an older one for comparison.
const PRODUCT: &str = "CRM_ADMISSION_TEST_PROGRAM";

/// The path of the built program: from Cargo in tests, and one directory above itself in an example.
pub(crate) fn product() -> PathBuf {
    let given = std::env::var_os(PRODUCT).map(PathBuf::from);
    let built = || option_env!("CARGO_BIN_EXE_crm-admission").map_or_else(beside_example, PathBuf::from);
    let path = given.unwrap_or_else(built);
    assert!(path.is_file(), "{} is missing: run `cargo build` first", path.display());
    path
}

fn beside_example() -> PathBuf {
    let example = std::env::current_exe().expect("the path of this program");
    let examples = example.parent().expect("a directory");
    examples.parent().expect("a directory above it").join("crm-admission")
}
