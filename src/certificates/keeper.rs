//! Keeps the Secret, the webhook configurations and the served certificate in step: one turn after each change of them,
//! and regularly.
//!
//! A turn reads the webhook configurations first and the Secret after them. So a replica overwrites a bundle only after
//! it has read a Secret that is at least as new as the bundle. Otherwise a slow replica could remove a new CA.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use backon::{BackoffBuilder, ExponentialBuilder};
use kube::Client;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep, timeout};

use super::Settings;
use super::changes::Changes;
use super::owner::{Other, Owner};
use super::pace::Pace;
use super::renewal::{self, Contents, CurrentCa, RenewalError, Situation};
use super::store::{Store, StoreError, Stored, Written};
use super::trust::{Configuration, Hook, Trust, TrustError};
use crate::pki::{self, Facts, Identity, certificates, unix_now};
use crate::telemetry::Metrics;

/// The time between turns when nothing changes.
const INTERVAL: Duration = Duration::from_secs(30);
/// The time between turns when something is pending, or when changes cannot be watched.
const SHORT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a turn may take.
const TURN: Duration = Duration::from_secs(30);
/// The maximum pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pauses after failures in a row: they double, from a second on.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(LONGEST_PAUSE)
    .without_max_times();
/// How often a turn starts again after it has written something or another replica was faster.
const ROUNDS: usize = 8;
/// How long a CA must have been trusted before its certificate replaces one that works.
///
/// Reading a configuration back shows only that it is stored. Each API server learns about it through its own watch:
/// usually at once, but seconds later if that watch has just been interrupted.
const SETTLING: Duration = Duration::from_secs(10);
/// How long a CA counts as new. Longer than [`SETTLING`], because the clocks of nodes differ.
const NEW_CA: Duration = Duration::from_secs(60);
/// How long CAs stay in a bundle that are not in the Secret: longer than another replica can take to stop serving their
/// certificates, which is [`INTERVAL`] and [`SETTLING`].
const SURPLUS: Duration = Duration::from_secs(60);
/// How long a CA that was just created stays, even if it seems invalid now. Otherwise, two replicas whose clocks differ
/// by years would keep replacing each other's CA.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// The names of the certificates in the metrics.
const CA: &str = "ca";
const CA_BUNDLE: &str = "ca-bundle";

/// Serves the certificate.
pub trait Serve: Send + Sync + 'static {
    /// Serves this from now on. Called at every turn, usually with the certificate that is already in use. The error
    /// contains the fix.
    fn serve(&self, identity: &Identity) -> impl Future<Output = Result<(), String>> + Send;
}

/// The state of the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All API servers accept the served certificate.
    Fine,
    /// There is no certificate, or callers would not accept it.
    NotReady(String),
    /// The last turn failed, and the last valid certificate stays in use.
    Impaired(String),
}

/// Why a turn failed.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Renewal(#[from] RenewalError),
    #[error("{secret} was left unchanged: {other}; {fix}")]
    Foreign { secret: String, other: Other, fix: String },
    #[error("the certificate of the Secret cannot be served: {0}")]
    Serve(String),
    #[error("{why}, although it was created a moment ago; do the clocks of the replicas agree?")]
    TooSoon { why: String },
    #[error("the Secret or the configurations keep changing; does another product manage them too?")]
    KeepsChanging,
    #[error("the API server takes longer than {} seconds", TURN.as_secs())]
    Slow,
}

/// Manages the certificates of one installation.
pub struct Keeper<S> {
    client: Client,
    settings: Settings,
    store: Store,
    trust: Trust,
    names: Vec<String>,
    serve: S,
    metrics: Metrics,
    state: Arc<ArcSwap<State>>,
    pace: Pace,
    memory: Memory,
}

/// What a process remembers between turns. Losing it costs only a short wait.
#[derive(Default)]
struct Memory {
    /// The certificate in use.
    served: Option<Identity>,
    /// The current CA, and since when all configurations trust it.
    trusted: Option<(CertificateDer<'static>, Instant)>,
    /// Since when configurations trust more CAs than needed.
    surplus: Option<Instant>,
    /// When this process created a CA.
    made_ca: Option<Instant>,
    /// Whether changes have to wait.
    hurried: bool,
    /// Why the last turn failed.
    failure: Option<String>,
    /// Why changes cannot be watched.
    watch_failure: Option<String>,
}

impl<S: Serve> Keeper<S> {
    /// `serve` receives the certificate. Nothing happens before [`Keeper::keep`].
    pub fn new(client: &Client, settings: &Settings, serve: S, metrics: Metrics) -> Self {
        let state = State::NotReady("starting".to_owned());
        Self {
            client: client.clone(),
            settings: settings.clone(),
            store: Store::new(client.clone(), &settings.namespace, &settings.secret),
            trust: Trust::new(client),
            names: settings.names(),
            serve,
            metrics,
            state: Arc::new(ArcSwap::from_pointee(state)),
            pace: Pace::new(),
            memory: Memory::default(),
        }
    }

    /// Returns a function that reads the state at any time.
    pub fn state(&self) -> impl Fn() -> State + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move || State::clone(&state.load())
    }

    /// Runs turns. Never returns.
    pub async fn keep(mut self) {
        let mut changes = Changes::of(&self.client, &self.settings);
        let mut pauses = PAUSES.build();
        loop {
            let outcome = timeout(TURN, self.turn()).await.unwrap_or(Err(KeeperError::Slow));
            let pause = match outcome {
                Ok(()) => {
                    if self.memory.failure.take().is_some() {
                        tracing::info!("updating the certificates works again");
                    }
                    pauses = PAUSES.build();
                    self.interval(&changes)
                }
                Err(error) => {
                    self.fails(&error.to_string());
                    let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                    if matches!(error, KeeperError::KeepsChanging | KeeperError::Slow) {
                        // A change would not help.
                        sleep(pause).await;
                        continue;
                    }
                    pause
                }
            };
            changes.wait(pause, self.earliest()).await;
            self.watched(changes.failure());
        }
    }

    /// When a change may start the next turn. Logs if that is later than at once.
    fn earliest(&mut self) -> Instant {
        let earliest = self.pace.next();
        let hurried = earliest > Instant::now();
        if hurried && !self.memory.hurried {
            tracing::warn!("changes are answered late for a while, because {}", KeeperError::KeepsChanging);
        }
        self.memory.hurried = hurried;
        earliest
    }

    /// The time to the next turn if nothing changes.
    fn interval(&self, changes: &Changes) -> Duration {
        if changes.failure().is_none() && self.is_settled() { INTERVAL } else { SHORT_INTERVAL }
    }

    /// Whether only the passing of months makes anything due.
    fn is_settled(&self) -> bool {
        let Memory { trusted, surplus, .. } = &self.memory;
        let trusted = trusted.as_ref().is_none_or(|(_, since)| since.elapsed() >= SETTLING);
        trusted && surplus.is_none() && **self.state.load() == State::Fine
    }

    /// Records whether changes are noticed at once.
    fn watched(&mut self, failure: Option<&str>) {
        if failure == self.memory.watch_failure.as_deref() {
            return;
        }
        match failure {
            Some(error) => {
                self.metrics.certificates().upkeep_failed();
                tracing::warn!(error, "changes of the certificates are noticed late; retrying");
            }
            None => tracing::info!("changes of the certificates are noticed at once again"),
        }
        self.memory.watch_failure = failure.map(str::to_owned);
    }

    /// Records a failure. A certificate that was accepted before is assumed to be accepted still.
    fn fails(&mut self, error: &str) {
        self.metrics.certificates().upkeep_failed();
        if self.memory.failure.as_deref() != Some(error) {
            tracing::error!(error, "updating the certificates failed; retrying");
            self.memory.failure = Some(error.to_owned());
        }
        let state = match **self.state.load() {
            State::NotReady(_) => State::NotReady(error.to_owned()),
            State::Fine | State::Impaired(_) => State::Impaired(error.to_owned()),
        };
        self.state.store(Arc::new(state));
    }

    async fn turn(&mut self) -> Result<(), KeeperError> {
        for _ in 0..ROUNDS {
            // In this order, see the start of this file.
            let live = self.trust.read().await?;
            let stored = self.store.read().await?;
            if let Some(Stored { owner: Owner::Other(other), .. }) = &stored {
                return Err(self.foreign(other));
            }
            let found = stored.as_ref().map(|stored| stored.contents.clone());
            let contents = match self.renew(stored, &live).await {
                Ok(Some(contents)) => contents,
                Ok(None) => continue,
                Err(error) => return self.make_do(found, &live, error).await,
            };
            match self.publish(&live, &certificates(&contents.cas)).await {
                // Only what was read back counts as trusted.
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return self.make_do(Some(contents), &live, error).await,
            }
            self.take_over(&contents, &live).await?;
            self.tell(&contents, &live);
            return Ok(());
        }
        Err(KeeperError::KeepsChanging)
    }

    fn foreign(&self, other: &Other) -> KeeperError {
        let Settings { namespace, secret: name, .. } = &self.settings;
        KeeperError::Foreign {
            secret: format!("Secret {namespace}/{name}"),
            other: other.clone(),
            fix: other.fix(namespace, name),
        }
    }

    /// Serves the stored certificate after a failure. It may be valid for months, and a replica that has just started
    /// has nothing else to serve.
    async fn make_do(
        &mut self,
        found: Option<Contents>,
        live: &[Configuration],
        error: KeeperError,
    ) -> Result<(), KeeperError> {
        if let Some(contents) = found
            && self.take_over(&contents, live).await.is_ok()
        {
            self.tell(&contents, live);
        }
        Err(error)
    }

    /// Creates what is due. Returns the contents of the Secret if they are up to date, and `None` if they must be read
    /// again.
    async fn renew(
        &mut self,
        stored: Option<Stored>,
        live: &[Configuration],
    ) -> Result<Option<Contents>, KeeperError> {
        let bundle = stored.as_ref().map(|stored| certificates(&stored.contents.cas)).unwrap_or_default();
        let trusted: Vec<_> = hooks(live).flat_map(|hook| hook.bundle.iter().cloned()).collect();
        let situation = Situation {
            names: &self.names,
            live: &trusted,
            current_ca: self.memory.current_ca(bundle.first(), live),
            now: unix_now(),
        };
        let due = renewal::due(stored.as_ref().map(|stored| &stored.contents), &situation)?;
        let Some(due) = due else {
            return self.label(stored).await;
        };
        let new_ca = stored.as_ref().is_none_or(|stored| stored.contents.ca_key != due.contents.ca_key);
        let too_soon = self.memory.made_ca.is_some_and(|made| made.elapsed() < LEFT_ALONE);
        if new_ca && too_soon && due.why.is_about_time() {
            return Err(KeeperError::TooSoon { why: due.why.to_string() });
        }
        if self.store.write(stored, &due.contents).await? == Written::Done {
            let made = if new_ca { "ca" } else { "certificate" };
            tracing::info!(why = %due.why, made, "renewed the Secret of the certificates");
            self.written("secret");
            if new_ca {
                self.memory.made_ca = Some(Instant::now());
            }
        }
        Ok(None)
    }

    fn written(&mut self, what: &'static str) {
        self.metrics.certificates().written(what);
        self.pace.written();
    }

    /// Labels a Secret that this program wrote and that has lost its label. Returns the same as `renew`.
    async fn label(&mut self, stored: Option<Stored>) -> Result<Option<Contents>, KeeperError> {
        let Some(stored) = stored else { return Ok(None) };
        if stored.owner == (Owner::Us { labelled: true }) {
            return Ok(Some(stored.contents));
        }
        let contents = stored.contents.clone();
        if self.store.write(Some(stored), &contents).await? == Written::Done {
            tracing::info!("labelled the Secret of the certificates");
            self.written("secret");
        }
        Ok(None)
    }

    /// Writes bundles that are not up to date. Returns whether something was written.
    async fn publish(
        &mut self,
        live: &[Configuration],
        bundle: &[CertificateDer<'static>],
    ) -> Result<bool, KeeperError> {
        let surplus = hooks(live).any(|hook| hook.bundle.iter().any(|ca| !bundle.contains(ca)));
        let since = match (surplus, self.memory.surplus) {
            (false, _) => None,
            (true, since) => Some(since.unwrap_or_else(Instant::now)),
        };
        self.memory.surplus = since;
        let keep_surplus = since.is_none_or(|since| since.elapsed() < SURPLUS);
        let mut written = false;
        for configuration in live {
            let wanted = wanted_bundle(configuration, bundle, keep_surplus);
            let is_there =
                |hook: &Hook| hook.is_clean() && hook.trusts(&wanted) && hook.bundle.len() == wanted.len();
            if !configuration.hooks.iter().all(is_there) {
                self.trust.publish(configuration, &wanted).await?;
                tracing::info!(kind = configuration.kind, cas = wanted.len(), "updated the caBundle");
                self.written("ca-bundle");
                written = true;
            }
        }
        Ok(written)
    }

    /// Serves the certificate of the Secret once callers accept it. Until then, a working certificate stays in use; if
    /// there is none yet, this waits for a CA that not every API server may know.
    async fn take_over(&mut self, contents: &Contents, live: &[Configuration]) -> Result<(), KeeperError> {
        let identity = Identity { certificate: contents.certificate.clone(), key: contents.key.clone() };
        let works = |identity: &Identity| distrust(&certificates(&identity.certificate), live).is_none();
        let settled = || self.memory.has_settled(&identity, live);
        let chosen = match &self.memory.served {
            None if is_by_new_ca(contents, live) && !settled() => return Ok(()),
            Some(served) if *served != identity && works(served) && (!works(&identity) || !settled()) => {
                served.clone()
            }
            _ => identity,
        };
        self.serve.serve(&chosen).await.map_err(KeeperError::Serve)?;
        self.memory.served = Some(chosen);
        Ok(())
    }

    /// Updates the state and the metrics.
    fn tell(&self, contents: &Contents, live: &[Configuration]) {
        let ends = |der: &CertificateDer<'_>| Facts::of(der).map(|facts| facts.validity.not_after);
        if let Some(not_after) = certificates(&contents.cas).first().and_then(ends) {
            self.metrics.certificates().expires(CA, not_after);
        }
        let Some(served) = &self.memory.served else {
            let why = "the CA was created a moment ago, and not every API server may know it yet";
            self.state.store(Arc::new(State::NotReady(why.to_owned())));
            return;
        };
        let chain = certificates(&served.certificate);
        let needed = hooks(live).filter_map(|hook| {
            let ca = pki::trusting_ca(&chain, &hook.bundle, hook.server.as_deref()?, unix_now()).ok()?;
            ends(ca)
        });
        if let Some(not_after) = needed.min() {
            self.metrics.certificates().expires(CA_BUNDLE, not_after);
        }
        let state = match distrust(&chain, live) {
            None => State::Fine,
            Some(why) => State::NotReady(why),
        };
        self.state.store(Arc::new(state));
    }
}

impl Memory {
    /// Whether the current CA has been trusted for long enough.
    fn current_ca(&mut self, ca: Option<&CertificateDer<'static>>, live: &[Configuration]) -> CurrentCa {
        let Some(ca) = ca.filter(|ca| hooks(live).all(|hook| hook.bundle.contains(*ca))) else {
            self.trusted = None;
            return CurrentCa::NotYet;
        };
        let since = match self.trusted.take() {
            Some((known, since)) if known == *ca => since,
            _ => Instant::now(),
        };
        self.trusted = Some((ca.clone(), since));
        if live.is_empty() || since.elapsed() >= SETTLING { CurrentCa::Trusted } else { CurrentCa::NotYet }
    }

    /// Whether the certificate is from a CA that has been trusted for long enough, or from the CA of the served
    /// certificate.
    fn has_settled(&self, identity: &Identity, live: &[Configuration]) -> bool {
        let Some((ca, since)) = &self.trusted else {
            return live.is_empty();
        };
        let by_current = |identity: &Identity| is_by(&certificates(&identity.certificate), ca, live);
        let same = by_current(identity) && self.served.as_ref().is_some_and(by_current);
        same || since.elapsed() >= SETTLING
    }
}

fn hooks(live: &[Configuration]) -> impl Iterator<Item = &Hook> {
    live.iter().flat_map(|configuration| &configuration.hooks)
}

/// The CAs that a configuration should trust: those of the Secret, and for a while the others that it trusts.
fn wanted_bundle(
    configuration: &Configuration,
    bundle: &[CertificateDer<'static>],
    keep_surplus: bool,
) -> Vec<CertificateDer<'static>> {
    let now = unix_now();
    let mut wanted = bundle.to_vec();
    for ca in configuration.hooks.iter().filter(|_| keep_surplus).flat_map(|hook| &hook.bundle) {
        if !wanted.contains(ca) && Facts::of(ca).is_some_and(|facts| facts.validity.covers(now)) {
            wanted.push(ca.clone());
        }
    }
    wanted
}

/// Whether callers would accept the certificate by this CA alone.
fn is_by(chain: &[CertificateDer<'static>], ca: &CertificateDer<'static>, live: &[Configuration]) -> bool {
    let accepts = |hook: &Hook| match &hook.server {
        Some(server) => pki::verify(chain, std::slice::from_ref(ca), server, unix_now()).is_ok(),
        None => true,
    };
    hooks(live).all(accepts)
}

/// Whether the certificate is from a CA that has just replaced another. A first installation has no other CA and does
/// not wait.
fn is_by_new_ca(contents: &Contents, live: &[Configuration]) -> bool {
    let Some(ca) = certificates(&contents.cas).into_iter().next() else {
        return false;
    };
    let is_new = renewal::age_of_ca(&ca, unix_now()).is_some_and(|age| age < NEW_CA);
    let replaces = hooks(live).any(|hook| hook.bundle.iter().any(|known| *known != ca));
    is_new && replaces && is_by(&certificates(&contents.certificate), &ca, live)
}

/// Why a caller would not accept this certificate.
fn distrust(chain: &[CertificateDer<'static>], live: &[Configuration]) -> Option<String> {
    let now = unix_now();
    live.iter().find_map(|configuration| {
        configuration.hooks.iter().find_map(|hook| {
            let why = hook.distrusts(chain, now)?;
            let server = hook.server.as_deref().unwrap_or_default();
            Some(format!("{} of {} would not accept it for {server}: {why}", hook.name, configuration.kind))
        })
    })
}

#[cfg(test)]
mod tests;
