//! Keeps the Secret, the trust in it and what is served in step, for ever: one turn every few seconds.
//!
//! A turn reads the webhook configurations first and the Secret after them. A bundle is then only written over by a
//! replica that has read a Secret at least as new as the one whose bundle it was: otherwise a replica that is late
//! could take the trust from a new CA again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kube::Client;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep, timeout};

use super::authority::{self, AuthorityError, Contents, CurrentCa, Situation};
use super::chain::{self, Facts, certificates};
use super::store::{Store, StoreError, Stored, Written};
use super::trust::{Configuration, Hook, Trust, TrustError};
use super::{Settings, unix_now};
use crate::telemetry::Metrics;

/// How often it is looked whether something is due. It is what a configuration that is installed later waits for.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a turn may take.
const TURN: Duration = Duration::from_secs(30);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a turn begins again when it has written something, or another replica was faster.
const ROUNDS: usize = 8;
/// How long a CA must have been trusted before a certificate by it takes the place of one that works.
///
/// To read a configuration back says that it is stored. Each API server learns of it by a watch of its own: at once
/// as a rule, and seconds later where that watch has just been cut off and begins again. Nobody waits for it.
const SETTLING: Duration = Duration::from_secs(10);
/// How long a CA counts as new by the wall clock. Longer than it settles: the clocks of nodes differ.
const NEW_CA: Duration = Duration::from_secs(60);
/// How long what is trusted besides the CAs of the Secret is left: longer than another replica can take to stop
/// serving a certificate by it.
const SURPLUS: Duration = Duration::from_secs(60);
/// How long a CA that was made is left alone, even if it seems not to hold now. Two replicas whose clocks disagree by
/// years would otherwise do nothing but replace each other's.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// The names of the certificates in the metrics.
const CA: &str = "ca";
const CA_BUNDLE: &str = "ca-bundle";

/// A certificate and its key, as PEM. They are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

/// Whoever serves the certificate.
pub trait Serve: Send + Sync + 'static {
    /// Serves this from now on. It is called at every turn, mostly with what is served already. The error is a text
    /// that says the fix.
    fn serve(&self, identity: &Identity) -> impl Future<Output = Result<(), String>> + Send;
}

/// How the upkeep is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Whoever calls accepts the certificate that is served.
    Fine,
    /// There is none, or it would be refused.
    NotReady(String),
    /// The last turn failed, and what was good before is served on.
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
    Authority(#[from] AuthorityError),
    #[error("the certificate of the Secret cannot be served: {0}")]
    Serve(String),
    #[error("{why}, so soon after another was made; do the clocks of the replicas agree?")]
    TooSoon { why: String },
    #[error(
        "others write the Secret or the configurations all the time; is it managed by another product too?"
    )]
    Restless,
    #[error("the API server takes longer than {} seconds", TURN.as_secs())]
    Slow,
}

/// Keeps the certificates of one installation.
pub struct Keeper<S> {
    store: Store,
    trust: Trust,
    names: Vec<String>,
    serve: S,
    metrics: Metrics,
    state: Arc<ArcSwap<State>>,
    memory: Memory,
}

/// What a process remembers from one turn to the next. To lose it costs a little waiting.
#[derive(Default)]
struct Memory {
    /// What is served.
    served: Option<Identity>,
    /// The current CA, and since when it is trusted by all configurations.
    trusted: Option<(CertificateDer<'static>, Instant)>,
    /// Since when configurations trust more than they have to.
    surplus: Option<Instant>,
    /// When this process made a CA.
    made_ca: Option<Instant>,
    /// What the last turn failed of.
    failure: Option<String>,
}

impl<S: Serve> Keeper<S> {
    /// `serve` is told what to serve. Nothing happens before [`Keeper::keep`].
    pub fn new(client: &Client, settings: &Settings, serve: S, metrics: Metrics) -> Self {
        let state = State::NotReady("starting".to_owned());
        Self {
            store: Store::new(client.clone(), &settings.namespace, &settings.secret),
            trust: Trust::new(client),
            names: settings.names(),
            serve,
            metrics,
            state: Arc::new(ArcSwap::from_pointee(state)),
            memory: Memory::default(),
        }
    }

    /// How it is doing, at any time.
    pub fn state(&self) -> impl Fn() -> State + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move || State::clone(&state.load())
    }

    /// Takes turns. Never returns.
    pub async fn keep(mut self) {
        let mut pause = Duration::from_secs(1);
        loop {
            let outcome = timeout(TURN, self.turn()).await.unwrap_or(Err(KeeperError::Slow));
            match outcome {
                Ok(()) => {
                    if self.memory.failure.take().is_some() {
                        tracing::info!("the upkeep of the certificates works again");
                    }
                    pause = Duration::from_secs(1);
                    sleep(INTERVAL).await;
                }
                Err(error) => {
                    self.fails(&error.to_string());
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// What was good before is good as far as anybody knows.
    fn fails(&mut self, error: &str) {
        self.metrics.certificate_upkeep_failed();
        if self.memory.failure.as_deref() != Some(error) {
            tracing::error!(error, "the upkeep of the certificates failed; trying again");
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
            // In this order: see the head of this file.
            let live = self.trust.read().await?;
            let stored = self.store.read().await?;
            let found = stored.as_ref().map(|stored| stored.contents.clone());
            let contents = match self.renew(stored, &live).await {
                Ok(Some(contents)) => contents,
                Ok(None) => continue,
                Err(error) => return self.make_do(found, &live, error).await,
            };
            match self.publish(&live, &certificates(&contents.cas)).await {
                // What is trusted is what can be read back.
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return self.make_do(Some(contents), &live, error).await,
            }
            self.take_over(&contents, &live).await?;
            self.tell(&contents, &live);
            return Ok(());
        }
        Err(KeeperError::Restless)
    }

    /// What is stored may be good for months when it cannot be renewed today, and a replica that has just been started
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

    /// Makes what is due. Returns the contents of the Secret if they are good, and `None` if they have to be read
    /// again, by whomever they were written.
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
        let due = authority::due(stored.as_ref().map(|stored| &stored.contents), &situation)?;
        let Some(due) = due else {
            return Ok(stored.map(|stored| stored.contents));
        };
        let new_ca = stored.as_ref().is_none_or(|stored| stored.contents.ca_key != due.contents.ca_key);
        let too_soon = self.memory.made_ca.is_some_and(|made| made.elapsed() < LEFT_ALONE);
        if new_ca && too_soon && due.why.is_about_time() {
            return Err(KeeperError::TooSoon { why: due.why.to_string() });
        }
        if self.store.write(stored, &due.contents).await? == Written::Done {
            let made = if new_ca { "ca" } else { "certificate" };
            tracing::info!(why = %due.why, made, "the Secret of the certificates is renewed");
            self.metrics.certificates_written("secret");
            if new_ca {
                self.memory.made_ca = Some(Instant::now());
            }
        }
        Ok(None)
    }

    /// Whether something had to be written.
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
                tracing::info!(
                    kind = configuration.kind,
                    cas = wanted.len(),
                    "the caBundle is brought up to date"
                );
                self.metrics.certificates_written("ca-bundle");
                written = true;
            }
        }
        Ok(written)
    }

    /// Serves what the Secret holds, once those who call accept it. Until then what works is served on; where nothing is
    /// served yet, a certificate that not every API server may know to trust is waited for.
    async fn take_over(&mut self, contents: &Contents, live: &[Configuration]) -> Result<(), KeeperError> {
        let identity = Identity { certificate: contents.certificate.clone(), key: contents.key.clone() };
        let works = |identity: &Identity| refusal(&certificates(&identity.certificate), live).is_none();
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

    /// Tells the state and the metrics how things are.
    fn tell(&self, contents: &Contents, live: &[Configuration]) {
        let ends = |der: &CertificateDer<'_>| Facts::of(der).map(|facts| facts.not_after);
        if let Some(not_after) = certificates(&contents.cas).first().and_then(ends) {
            self.metrics.certificate_expires(CA, not_after);
        }
        let Some(served) = &self.memory.served else {
            let why = "the CA was made a moment ago, and not every API server may know it yet";
            self.state.store(Arc::new(State::NotReady(why.to_owned())));
            return;
        };
        let chain = certificates(&served.certificate);
        let needed = hooks(live).filter_map(|hook| {
            let ca = chain::voucher(&chain, &hook.bundle, hook.server.as_deref()?, unix_now()).ok()?;
            ends(ca)
        });
        if let Some(not_after) = needed.min() {
            self.metrics.certificate_expires(CA_BUNDLE, not_after);
        }
        let state = match refusal(&chain, live) {
            None => State::Fine,
            Some(why) => State::NotReady(why),
        };
        self.state.store(Arc::new(state));
    }
}

impl Memory {
    /// Whether the current CA is trusted, and has been for long enough.
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

    /// Whether the certificate is by the CA that has been trusted for long enough, or by the CA of what is served.
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

/// What a configuration has to trust: the CAs of the Secret, and for a while what it trusts besides.
fn wanted_bundle(
    configuration: &Configuration,
    bundle: &[CertificateDer<'static>],
    keep_surplus: bool,
) -> Vec<CertificateDer<'static>> {
    let now = unix_now();
    let mut wanted = bundle.to_vec();
    for ca in configuration.hooks.iter().filter(|_| keep_surplus).flat_map(|hook| &hook.bundle) {
        if !wanted.contains(ca) && Facts::of(ca).is_some_and(|facts| facts.covers(now)) {
            wanted.push(ca.clone());
        }
    }
    wanted
}

/// Whether those who call would accept the certificate by this CA alone.
fn is_by(chain: &[CertificateDer<'static>], ca: &CertificateDer<'static>, live: &[Configuration]) -> bool {
    let accepts = |hook: &Hook| match &hook.server {
        Some(server) => chain::verify(chain, std::slice::from_ref(ca), server, unix_now()).is_ok(),
        None => true,
    };
    hooks(live).all(accepts)
}

/// Whether the certificate is by a CA that has just taken the place of another. A first installation has no other, and
/// need not wait.
fn is_by_new_ca(contents: &Contents, live: &[Configuration]) -> bool {
    let Some(ca) = certificates(&contents.cas).into_iter().next() else {
        return false;
    };
    let is_new = authority::age_of_ca(&ca, unix_now()).is_some_and(|age| age < NEW_CA);
    let replaces = hooks(live).any(|hook| hook.bundle.iter().any(|known| *known != ca));
    is_new && replaces && is_by(&certificates(&contents.certificate), &ca, live)
}

/// Why one of those who call would refuse this certificate.
fn refusal(chain: &[CertificateDer<'static>], live: &[Configuration]) -> Option<String> {
    let now = unix_now();
    live.iter().find_map(|configuration| {
        configuration.hooks.iter().find_map(|hook| {
            let why = hook.refuses(chain, now)?;
            let server = hook.server.as_deref().unwrap_or_default();
            Some(format!("{} of {} would refuse it as {server}: {why}", hook.name, configuration.kind))
        })
    })
}

#[cfg(test)]
mod tests;
