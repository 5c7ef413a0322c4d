//! How the certificates of an installation are: what the Secret holds, what is served, what is trusted, until when.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use serde::Serialize;

use super::chain::{self, Facts, certificates};
use super::store::{Store, StoreError};
use super::trust::{Configuration, Hook, Trust, TrustError};
use super::{Settings, unix_now};

const DAY: i64 = 24 * 60 * 60;
/// With fewer days left somebody should look: whatever renews certificates should have done so long before.
const FEW_DAYS: i64 = 14;
/// The part of its life, as a divisor, below which that counts: some certificates live for a day only.
const LITTLE: i64 = 5;
/// How long each step of a look at what is served may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the certificates of an installation are.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// What is stored.
    pub secret: SecretView,
    /// What the two webhook configurations trust; those that are not there are left out.
    pub configurations: Vec<ConfigurationView>,
    /// What is really served, if it was looked at.
    pub served: Option<ServedView>,
    /// What is wrong, each with its fix. Empty if nothing is.
    pub problems: Vec<String>,
}

/// What is stored.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub found: bool,
    /// The certificate, followed by those between it and the CA.
    pub chain: Vec<CertificateView>,
    /// The CAs that it says are to be trusted, the current one first.
    pub cas: Vec<CertificateView>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// Whose it is.
    pub subject: String,
    /// By whom it is.
    pub issuer: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// From when it holds.
    pub not_before: String,
    /// Until when it holds.
    pub not_after: String,
    /// How many whole days that is from now; negative if it is over.
    pub days_left: i64,
    /// Whether it should have been renewed by now: few days are left, and little of its life.
    pub ends_soon: bool,
}

/// What a webhook configuration trusts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationView {
    /// Of which kind it is.
    pub kind: String,
    /// Its webhooks.
    pub webhooks: Vec<BundleView>,
}

/// What one webhook of a configuration trusts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleView {
    /// The webhook's name.
    pub name: String,
    /// By what name the API server calls the server.
    pub server: Option<String>,
    /// The CAs of its `caBundle`.
    pub cas: Vec<CertificateView>,
    /// Why the certificate of the Secret would be refused; `None` if it is accepted.
    pub refuses_stored: Option<String>,
    /// Why the certificate that is served would be refused; `None` if it is accepted, or was not looked at.
    pub refuses_served: Option<String>,
}

/// What is really served.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedView {
    /// Where it was looked at.
    pub address: String,
    /// The certificate, followed by those between it and the CA.
    pub chain: Vec<CertificateView>,
    /// Whether it is the one of the Secret.
    pub is_stored: bool,
}

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The Secret could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A webhook configuration could not be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// What is served could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot look at what {address} serves: {source}; is the address right, and does it speak TLS?")]
pub struct LookError {
    /// Where.
    pub address: String,
    /// Why not.
    pub source: io::Error,
}

/// Looks at everything, and changes nothing. `served` is what [`look_at_served`] found, and where.
pub async fn inspect(
    client: &Client,
    settings: &Settings,
    served: Option<(String, Vec<CertificateDer<'static>>)>,
) -> Result<Inspection, InspectError> {
    let live = Trust::new(client).read().await?;
    let stored = Store::new(client.clone(), &settings.namespace, &settings.secret).read().await?;
    let found = stored.is_some();
    let contents = stored.map(|stored| stored.contents).unwrap_or_default();
    let chains = Chains {
        stored: certificates(&contents.certificate),
        cas: certificates(&contents.cas),
        served: served.as_ref().map(|(_, chain)| chain.clone()),
        now: unix_now(),
    };
    let secret = SecretView {
        namespace: settings.namespace.clone(),
        name: settings.secret.clone(),
        found,
        chain: chains.views(&chains.stored),
        cas: chains.views(&chains.cas),
    };
    let configurations: Vec<_> =
        live.iter().map(|configuration| chains.configuration(configuration)).collect();
    let served = served.map(|(address, chain)| ServedView {
        address,
        chain: chains.views(&chain),
        is_stored: !chain.is_empty() && chain.first() == chains.stored.first(),
    });
    let problems = problems(&secret, &configurations, served.as_ref());
    Ok(Inspection { secret, configurations, served, problems })
}

struct Chains {
    stored: Vec<CertificateDer<'static>>,
    cas: Vec<CertificateDer<'static>>,
    served: Option<Vec<CertificateDer<'static>>>,
    now: i64,
}

impl Chains {
    fn views(&self, chain: &[CertificateDer<'static>]) -> Vec<CertificateView> {
        chain.iter().filter_map(Facts::of).map(|facts| view(facts, self.now)).collect()
    }

    fn configuration(&self, configuration: &Configuration) -> ConfigurationView {
        let webhooks = configuration.hooks.iter().map(|hook| self.webhook(hook)).collect();
        ConfigurationView { kind: configuration.kind.clone(), webhooks }
    }

    fn webhook(&self, hook: &Hook) -> BundleView {
        let refusal = |chain: &[CertificateDer<'static>]| {
            let server = hook.server.as_deref().unwrap_or_default();
            chain::verify(chain, &hook.bundle, server, self.now).err()
        };
        BundleView {
            name: hook.name.clone(),
            server: hook.server.clone(),
            cas: self.views(&hook.bundle),
            refuses_stored: refusal(&self.stored),
            refuses_served: self.served.as_deref().and_then(refusal),
        }
    }
}

fn view(facts: Facts, now: i64) -> CertificateView {
    let left = facts.not_after - now;
    let date = |seconds| {
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |date| date.to_string())
    };
    CertificateView {
        subject: facts.subject,
        issuer: facts.issuer,
        names: facts.names,
        not_before: date(facts.not_before),
        not_after: date(facts.not_after),
        days_left: left.div_euclid(DAY),
        ends_soon: left < (FEW_DAYS * DAY).min((facts.not_after - facts.not_before) / LITTLE),
    }
}

/// What is served counts, where it was looked at; else what is stored.
fn problems(
    secret: &SecretView,
    configurations: &[ConfigurationView],
    served: Option<&ServedView>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let SecretView { namespace, name, .. } = secret;
    let (what, chain) = match served {
        Some(served) => (format!("the certificate that {} serves", served.address), &served.chain),
        None => (format!("the certificate of Secret {namespace}/{name}"), &secret.chain),
    };
    if !secret.found && served.is_none() {
        problems.push(format!(
            "there is no Secret {namespace}/{name}: does `serve --tls-self-managed` run there? (--namespace, \
             --tls-secret)"
        ));
        return problems;
    }
    match chain.first() {
        None => {
            problems.push(format!("{what} is missing or damaged; delete the Secret to have it made again"))
        }
        Some(leaf) => problems.extend(age(&what, leaf)),
    }
    if let Some(ca) = secret.cas.first() {
        problems.extend(age(&format!("the CA of Secret {namespace}/{name}"), ca));
    }
    for configuration in configurations {
        for webhook in &configuration.webhooks {
            let refusal = match served {
                Some(_) => &webhook.refuses_served,
                None => &webhook.refuses_stored,
            };
            if let Some(refusal) = refusal {
                let (name, kind) = (&webhook.name, &configuration.kind);
                problems.push(format!("{name} of {kind} would refuse {what}: {refusal}"));
            }
        }
    }
    problems
}

fn age(what: &str, certificate: &CertificateView) -> Option<String> {
    let CertificateView { not_after, days_left, ends_soon, .. } = certificate;
    if *days_left < 0 {
        Some(format!("{what} has expired at {not_after}; look at the log of whoever renews it"))
    } else if *ends_soon {
        Some(format!(
            "{what} ends at {not_after} and should be renewed by now; look at the log of whoever renews it"
        ))
    } else {
        None
    }
}

/// The certificates that a server shows, whether or not anybody trusts them. Blocks for some seconds at most.
pub fn look_at_served(address: &str, server: &str) -> Result<Vec<CertificateDer<'static>>, LookError> {
    let failed = |source| LookError { address: address.to_owned(), source };
    shown(address, server).map_err(failed)
}

fn shown(address: &str, server: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let target = address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no such host"))?;
    let mut socket = TcpStream::connect_timeout(&target, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let everything = Anybody { algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(everything))
        .with_no_client_auth();
    let server = ServerName::try_from(server.to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), server).map_err(io::Error::other)?;
    let mut outcome = Ok(());
    while outcome.is_ok() && connection.is_handshaking() {
        outcome = connection.complete_io(&mut socket).map(drop);
    }
    // A server that wants to know its callers ends the handshake, but has shown its certificate before.
    match connection.peer_certificates() {
        Some(chain) => Ok(chain.iter().map(|der| der.clone().into_owned()).collect()),
        None => Err(outcome.err().unwrap_or_else(|| io::Error::other("it shows no certificate"))),
    }
}

/// Accepts every certificate: here it is looked at, and nothing is said to whoever has it.
#[derive(Debug)]
struct Anybody {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
