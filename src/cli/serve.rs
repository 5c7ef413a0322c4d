//! `serve`: puts directory, policy, pipeline and server together and runs them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum, value_parser};
use crm_check::check::Bundle;
use crm_core::api::{CrmKind, ResourceKind};
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use crm_core::rules;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::certs::Names;
use super::{Outcome, duration, run_on};
use crate::admission::Pipeline;
use crate::audit;
use crate::certificates::{self, Keeper};
use crate::cluster::{ReadBudget, Reader, Source};
use crate::conditions::{self, Conditions};
use crate::directory::{self, Changes, Cluster, Directory, Observed, Observer};
use crate::pki::Identity;
use crate::policy_source::{self, Current};
use crate::server::tls::{RELOAD_INTERVAL, watch};
use crate::server::{
    self, ClientCaFile, PartReport, PartState, Parts, Pem, Server, ServerConfig, Signals, Tls, TlsFiles,
    TlsMaterial,
};
use crate::telemetry::traces::{Delivery, Settings};
use crate::telemetry::{self, LogFormat, Metrics, Traces};

/// How long the last spans may take at the end, within the margin of the grace period of the pod.
const LAST_SPANS: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address on which the webhook listens, with TLS.
    #[arg(long, default_value = "[::]:9443", env = "CRM_ADMISSION_LISTEN", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics, without TLS.
    #[arg(long, default_value = "[::]:8080", env = "CRM_ADMISSION_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    tls: TlsSource,
    #[command(flatten)]
    names: Names,
    /// Additional DNS name or IP address for the certificate of --tls-self-managed, for an API server that calls the
    /// webhook by URL.
    #[arg(long = "tls-san", env = "CRM_ADMISSION_TLS_SAN", value_delimiter = ',', value_name = "NAME")]
    tls_sans: Vec<String>,
    /// PEM file with CAs: callers must have a certificate from one of them. Reloaded when its content changes. Without
    /// it, callers need no certificate.
    #[arg(long, env = "CRM_ADMISSION_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Accept only callers whose certificate has this name, or another of these names, as its common name or as an
    /// alternative name (DNS or URI). Without it, every certificate from --client-ca is accepted.
    #[arg(
        long = "client-name",
        env = "CRM_ADMISSION_CLIENT_NAME",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    client_names: Vec<String>,
    /// Where to look up whether an object exists: in the cluster (the default in a pod), or among the objects in
    /// --resources (the default elsewhere).
    #[arg(long, value_enum, env = "CRM_ADMISSION_DIRECTORY")]
    directory: Option<DirectoryKind>,
    /// Files or directories with manifests of the objects to look up, for --directory memory.
    #[arg(long, num_args = 1.., env = "CRM_ADMISSION_RESOURCES", value_delimiter = ',', value_name = "PATH")]
    resources: Vec<PathBuf>,
    /// Policy file, reloaded when it changes; by default the cluster's policy, or else the built-in policy.
    #[arg(long, env = "CRM_ADMISSION_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Time to keep serving requests after SIGTERM, while the cluster stops sending them.
    #[arg(long, default_value = "10s", env = "CRM_ADMISSION_SHUTDOWN_DELAY", value_name = "DURATION", value_parser = duration)]
    shutdown_delay: Duration,
    /// Pause between background audits of the stored records, for the metrics; off by default. Needs --directory
    /// cluster and permission to list notes.
    #[arg(long, env = "CRM_ADMISSION_AUDIT_INTERVAL", value_name = "DURATION", value_parser = interval)]
    audit_interval: Option<Duration>,
    /// Milo's notes (ClusterNote and Note of notes.miloapis.com) are registered, too: count them when a Company or a
    /// Person is deleted, and audit them in the background. Needs permission to list them.
    #[arg(long, env = "CRM_ADMISSION_MILO_NOTES", value_parser = FalseyValueParser::new())]
    milo_notes: bool,
    /// Write into the status of each record whether it complies with the policy: the condition Compliant. One replica
    /// does it at a time. Needs --directory cluster and the permissions of the component `conditions`.
    #[arg(long, env = "CRM_ADMISSION_CONDITIONS", value_parser = FalseyValueParser::new())]
    conditions: bool,
    /// Time in which --conditions judges every record again, even if nothing has changed.
    #[arg(long, default_value = "1h", env = "CRM_ADMISSION_CONDITIONS_INTERVAL", value_name = "DURATION", value_parser = conditions_interval)]
    conditions_interval: Duration,
    /// Maximum number of conditions that --conditions writes a second.
    #[arg(long, default_value_t = 20, env = "CRM_ADMISSION_CONDITIONS_RATE", value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1000))]
    conditions_rate: u32,
    /// URL of a collector to which traces are sent by OTLP over HTTP, such as http://otel-collector.monitoring:4318; off by
    /// default. /v1/traces is appended. Without the flag, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and
    /// OTEL_EXPORTER_OTLP_ENDPOINT count.
    #[allow(rustdoc::bare_urls, reason = "the help shows an address as users write it")]
    #[arg(long, env = "CRM_ADMISSION_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Format of log lines.
    #[arg(long, value_enum, default_value_t = LogFormatArg::Text, env = "CRM_ADMISSION_LOG_FORMAT", value_name = "FORMAT")]
    log_format: LogFormatArg,
    /// What to log, such as `debug` or `info,crm_admission::directory=debug`.
    #[arg(long, env = "CRM_ADMISSION_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct TlsSource {
    /// PEM file with the certificate chain; reloaded when its content changes.
    #[arg(long, requires = "tls_key", env = "CRM_ADMISSION_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[arg(long, requires = "tls_cert", env = "CRM_ADMISSION_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Directory with a development certificate (ca.crt, tls.crt, tls.key), which is created if it does not exist.
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"], env = "CRM_ADMISSION_TLS_DEV", value_name = "DIR")]
    tls_dev: Option<PathBuf>,
    /// Create a CA and a certificate in a Secret of the cluster, renew them, and write the CA to the caBundle of the
    /// webhook configurations.
    // The conflict with the other flags is checked below, because clap treats a variable with the value "false" as set.
    #[arg(long, env = "CRM_ADMISSION_TLS_SELF_MANAGED")]
    tls_self_managed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DirectoryKind {
    Cluster,
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    let interval = duration(text)?;
    if interval.is_zero() { Err("must be longer than 0; omit it to turn audits off") } else { Ok(interval) }
}

fn conditions_interval(text: &str) -> Result<Duration, &'static str> {
    let interval = duration(text)?;
    if interval < Duration::from_secs(1) { Err("must be at least 1s") } else { Ok(interval) }
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let format = match self.log_format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        };
        // An empty variable counts as not set.
        telemetry::logs::init(format, self.log.as_deref().filter(|filter| !filter.is_empty()))?;
        run_on(tokio::runtime::Builder::new_multi_thread(), self.serve())?;
        Ok(Outcome::Fine)
    }

    async fn serve(self) -> anyhow::Result<()> {
        let signals = Signals::of_process().context("cannot listen for signals")?;
        let metrics = Metrics::new();
        let (traces, delivery) = self.traces(&metrics)?;
        let runtime = tokio::runtime::Handle::current().metrics();
        metrics.serving().count_tasks(move || runtime.num_alive_tasks());
        let client = self.client().await?;
        let mut parts = self.certificate(client.as_ref(), metrics.clone(), signals).await?;
        parts.traces = traces;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let budget = ReadBudget::default();
        let reader = client.clone().map(|client| Reader::within(client, budget.clone()));
        let background = ReadBudget::for_background();
        let budgets = (budget, background.clone());
        metrics.serving().count_read_bytes(move || budgets.0.held() + budgets.1.held());
        let cluster = reader.clone().map(|reader| {
            Arc::new(Cluster::start(reader, &stop, &tasks).counting_milo_notes(self.milo_notes))
        });
        let directory: Arc<dyn Directory> = match &cluster {
            Some(cluster) => Arc::clone(cluster) as Arc<dyn Directory>,
            None => Arc::new(self.memory()?),
        };
        show_directory(&directory, &parts);
        let changes = cluster.as_ref().map(|cluster| cluster.changes());
        let current = Arc::new(Current::new(metrics.clone(), move |policy| {
            if let Some(cluster) = &cluster {
                cluster.watch_only(&rules::looked_up(policy, &CrmKind::ALL));
            }
        }));
        self.follow_policy(&current, client, &mut parts)?;
        self.audit(reader, &directory, &current, &mut parts)?;
        if let Some(conditions) = self.conditions(changes, background, &directory, &current, &metrics).await?
        {
            tasks.spawn(conditions::run(conditions, stop.clone()));
        }
        let observed = Arc::new(Observed::new(directory, CountLookups::new(metrics.clone())));
        let pipeline = Arc::new(Pipeline::new(observed, current.policy(), metrics));

        let config = ServerConfig {
            listen: self.listen,
            admin_listen: self.admin_listen,
            shutdown_delay: self.shutdown_delay,
            ..ServerConfig::default()
        };
        let served = Server::bind(config)?.run(pipeline, parts).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        if let (Ok(()), Some(delivery)) = (&served, delivery) {
            deliver_last(delivery).await?;
        }
        Ok(served?)
    }

    /// Where spans go, and the task that delivers them, if traces are on.
    fn traces(&self, metrics: &Metrics) -> anyhow::Result<(Traces, Option<Delivery>)> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(settings) = Settings::read(self.otlp_endpoint.as_deref(), variable)? else {
            return Ok((Traces::off(), None));
        };
        let (traces, delivery) = Traces::start(&settings, metrics)?;
        tracing::info!(collector = settings.collector(), "traces are on");
        Ok((traces, Some(delivery)))
    }

    /// Serves the certificate from files or a Secret, and keeps it up to date.
    async fn certificate(
        &self,
        client: Option<&kube::Client>,
        metrics: Metrics,
        signals: Signals,
    ) -> anyhow::Result<Parts> {
        let client_ca = self.client_ca()?;
        if let Some(files) = self.tls.files(client_ca.clone())? {
            let tls = Arc::new(Tls::load(&files, metrics.clone()).await?);
            let mut parts = Parts::new(Arc::clone(&tls), metrics, signals);
            parts.tasks.spawn("certificate", watch(tls, files, RELOAD_INTERVAL));
            return Ok(parts);
        }
        let client = match client {
            Some(client) => client.clone(),
            None => Source::default().connect().await.context("--tls-self-managed needs a cluster")?.client,
        };
        let settings = self.names.settings(client.default_namespace(), &self.tls_sans);
        let tls = Arc::new(Tls::waiting(metrics.clone())?);
        let mut parts = Parts::new(Arc::clone(&tls), metrics.clone(), signals);
        let keeper = Keeper::new(&client, &settings, FromSecret { tls, client_ca }, metrics);
        let state = keeper.state();
        let report = move || PartReport { name: "certificate upkeep".into(), state: upkeep_state(state()) };
        parts.readiness.ask(move || vec![report()]);
        parts.tasks.spawn("certificate upkeep", keeper.keep());
        Ok(parts)
    }

    fn client_ca(&self) -> anyhow::Result<Option<ClientCaFile>> {
        let names: Vec<String> = self.client_names.iter().filter(|name| !name.is_empty()).cloned().collect();
        match &self.client_ca {
            Some(path) if !path.as_os_str().is_empty() => {
                Ok(Some(ClientCaFile { path: path.clone(), names }))
            }
            // Without a CA, all callers would be accepted, although the user wants to restrict them.
            _ if !names.is_empty() => {
                bail!("--client-name needs --client-ca: names without a CA prove nothing")
            }
            _ => Ok(None),
        }
    }

    /// Keeps the policy from a file or the cluster up to date, and shows its state in `/readyz`.
    fn follow_policy(
        &self,
        current: &Arc<Current>,
        client: Option<kube::Client>,
        parts: &mut Parts,
    ) -> anyhow::Result<()> {
        let asked = Arc::clone(current);
        let report = move || PartReport { name: "policy".into(), state: policy_state(asked.state()) };
        parts.readiness.ask(move || vec![report()]);
        let current = Arc::clone(current);
        match (&self.policy, client) {
            (Some(path), _) => {
                // The first policy must be valid, because there is no earlier one to keep.
                let followed = policy_source::Followed::start(path, current)?;
                parts.tasks.spawn("policy", followed.follow(policy_source::RELOAD_INTERVAL));
            }
            (None, Some(client)) => {
                parts.tasks.spawn("policy", policy_source::cluster::follow(client, current));
            }
            (None, None) => current.accept(Policy::default()),
        }
        Ok(())
    }

    /// Starts background audits if they are enabled.
    fn audit(
        &self,
        reader: Option<Reader>,
        directory: &Arc<dyn Directory>,
        current: &Current,
        parts: &mut Parts,
    ) -> anyhow::Result<()> {
        let Some(interval) = self.audit_interval else { return Ok(()) };
        let Some(reader) = reader else {
            bail!("--audit-interval needs --directory cluster: it audits the records stored in the cluster");
        };
        let background = audit::Background {
            reader,
            directory: directory.clone(),
            policy: current.policy(),
            metrics: parts.metrics.clone(),
            kinds: if self.milo_notes { CrmKind::ALL.to_vec() } else { CrmKind::OWN.to_vec() },
            interval,
        };
        parts.tasks.spawn("audit", audit::run_in_background(background));
        Ok(())
    }

    /// The conditions controller, if it is enabled. It has connections and a budget of its own, also for lookups, so that
    /// no review waits for it.
    async fn conditions(
        &self,
        changes: Option<Arc<Changes>>,
        budget: ReadBudget,
        directory: &Arc<dyn Directory>,
        current: &Arc<Current>,
        metrics: &Metrics,
    ) -> anyhow::Result<Option<Conditions>> {
        if !self.conditions {
            return Ok(None);
        }
        let Some(changes) = changes else {
            bail!("--conditions needs --directory cluster: it writes into the records of the cluster");
        };
        let client = Source::default().connect().await?.client;
        let namespace = self.names.settings(client.default_namespace(), &[]).namespace;
        let policy = current.policy();
        let current = Arc::clone(current);
        let reader = Reader::within(client, budget);
        Ok(Some(Conditions {
            directory: Arc::new(directory::Background::new(directory.clone(), reader.clone())),
            reader,
            namespace,
            changes,
            policy,
            policy_is_known: Box::new(move || !matches!(current.state(), policy_source::State::Starting(_))),
            metrics: metrics.clone(),
            interval: self.conditions_interval,
            rate: self.conditions_rate,
        }))
    }

    /// A client of the cluster, if objects are looked up there.
    async fn client(&self) -> anyhow::Result<Option<kube::Client>> {
        match self.directory.unwrap_or_else(default_directory) {
            DirectoryKind::Memory => Ok(None),
            DirectoryKind::Cluster if !self.resources.is_empty() => {
                bail!(
                    "--resources needs --directory memory: with --directory cluster, objects are looked up in the cluster"
                )
            }
            DirectoryKind::Cluster => Ok(Some(Source::default().connect().await?.client)),
        }
    }

    fn memory(&self) -> anyhow::Result<Objects> {
        let objects = Bundle::existing(&self.resources)?;
        tracing::info!(objects = objects.len(), "looking up objects among those of --resources");
        Ok(Objects::new(&objects))
    }
}

/// Delivers the last spans. The server has stopped to listen to signals, so this does: a signal ends it at once.
async fn deliver_last(delivery: Delivery) -> anyhow::Result<()> {
    let mut signals = Signals::of_process().context("cannot listen for signals")?;
    tokio::select! {
        () = delivery.finish(LAST_SPANS) => {}
        _ = signals.next() => {}
    }
    Ok(())
}

/// Shows the parts of the directory in `/readyz` and in the metrics.
fn show_directory(directory: &Arc<dyn Directory>, parts: &Parts) {
    let asked = Arc::clone(directory);
    parts.readiness.ask(move || asked.status().into_iter().map(report).collect());
    let asked = Arc::clone(directory);
    parts.metrics.directory().count_objects(move || {
        let shown = |part: directory::PartStatus| telemetry::DirectoryKind {
            kind: part.kind,
            objects: part.objects as u64,
            ready: part.not_ready.is_none(),
            restarts: part.restarts,
        };
        asked.status().into_iter().map(shown).collect()
    });
}

fn policy_state(state: policy_source::State) -> PartState {
    match state {
        policy_source::State::Starting(why) => PartState::NotReady(why),
        policy_source::State::Fine => PartState::Ready,
        policy_source::State::Impaired(why) => PartState::Impaired(why),
    }
}

/// The cluster in a pod, where the kubelet sets this variable; elsewhere the objects of --resources.
fn default_directory() -> DirectoryKind {
    match std::env::var_os("KUBERNETES_SERVICE_HOST") {
        Some(_) => DirectoryKind::Cluster,
        None => DirectoryKind::Memory,
    }
}

impl TlsSource {
    /// `None` if the certificate does not come from files.
    fn files(&self, client_ca: Option<ClientCaFile>) -> anyhow::Result<Option<TlsFiles>> {
        match (&self.tls_cert, &self.tls_key, &self.tls_dev) {
            (None, None, None) if self.tls_self_managed => Ok(None),
            _ if self.tls_self_managed => {
                bail!("--tls-self-managed cannot be used with --tls-cert or --tls-dev")
            }
            (Some(certificate), Some(key), None) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca }))
            }
            (None, None, Some(dir)) => {
                Ok(Some(TlsFiles { client_ca, ..server::dev_certificate::ensure(dir)?.tls_files() }))
            }
            _ => bail!("give --tls-cert and --tls-key, or --tls-self-managed, or --tls-dev"),
        }
    }
}

/// Serves the certificate of the Secret, to the callers that the file of the client CA accepts.
struct FromSecret {
    tls: Arc<Tls>,
    client_ca: Option<ClientCaFile>,
}

impl certificates::Serve for FromSecret {
    async fn serve(&self, identity: &Identity) -> Result<(), String> {
        let client_ca = match &self.client_ca {
            Some(file) => Some(file.read().await.map_err(|error| error.to_string())?),
            None => None,
        };
        let material = TlsMaterial {
            certificate: Pem::new("tls.crt of the Secret", identity.certificate.clone()),
            key: Pem::new("tls.key of the Secret", identity.key.clone()),
            client_ca,
        };
        if self.tls.serves(&material) {
            return Ok(());
        }
        self.tls.replace(material).map_err(|error| error.to_string())
    }
}

fn upkeep_state(state: certificates::State) -> PartState {
    match state {
        certificates::State::Fine => PartState::Ready,
        certificates::State::NotReady(why) => PartState::NotReady(why),
        certificates::State::Impaired(why) => PartState::Impaired(why),
    }
}

fn report(part: directory::PartStatus) -> PartReport {
    let state = match part.not_ready {
        None => PartState::Ready,
        Some(reason) if part.required => PartState::NotReady(reason),
        Some(reason) => PartState::Impaired(reason),
    };
    PartReport { name: format!("directory {}", part.kind).into(), state }
}

/// Counts lookups in the metrics.
struct CountLookups {
    metrics: Metrics,
    /// The kinds that were looked up, with their names in the metrics. There are few: our own kinds and those of the
    /// policy.
    labels: ArcSwap<Vec<(ResourceKind, Arc<str>)>>,
}

impl CountLookups {
    fn new(metrics: Metrics) -> Self {
        Self { metrics, labels: ArcSwap::default() }
    }
}

impl Observer for CountLookups {
    fn looked_up(&self, kind: &ResourceKind, outcome: directory::Outcome) {
        if let Some((_, label)) = self.labels.load().iter().find(|(known, _)| known == kind) {
            return self.metrics.directory().lookup(label, outcome.as_str());
        }
        let label = Arc::from(kind.to_string());
        self.metrics.directory().lookup(&label, outcome.as_str());
        let more = |known: &Arc<Vec<_>>| [known.as_slice(), &[(kind.clone(), Arc::clone(&label))]].concat();
        self.labels.rcu(more);
    }
}
