//! How the certificates of an installation are: what the Secret holds, what is served, what is trusted, until when.

use std::time::Duration;

use kube::Client;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tokio::time::timeout;

use super::chain::{self, Age, Facts, certificates};
use super::served::Address;
use super::store::{Store, StoreError};
use super::trust::{Configuration, Hook, Trust, TrustError};
use super::{Settings, unix_now};

/// How long all questions to the API server may take.
const PATIENCE: Duration = Duration::from_secs(30);

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
    /// The same, more exactly.
    #[serde(skip)]
    pub age: Age,
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
    /// The API server does not answer.
    #[error("the API server takes longer than {} seconds", PATIENCE.as_secs())]
    Slow,
}

/// Looks at everything, and changes nothing. `served` is what [`look_at_served`](super::look_at_served) found, and where.
pub async fn inspect(
    client: &Client,
    settings: &Settings,
    served: Option<(Address, Vec<CertificateDer<'static>>)>,
) -> Result<Inspection, InspectError> {
    let read = async {
        let live = Trust::new(client).read().await?;
        let stored = Store::new(client.clone(), &settings.namespace, &settings.secret).read().await?;
        Ok::<_, InspectError>((live, stored))
    };
    let (live, stored) = timeout(PATIENCE, read).await.map_err(|_| InspectError::Slow)??;
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
        address: address.to_string(),
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
            hook.refuses(chain, self.now).map(|refusal| refusal.to_string())
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
    let age = facts.age(now);
    CertificateView {
        not_before: chain::date(facts.not_before),
        not_after: chain::date(facts.not_after),
        days_left: facts.days_left(now),
        ends_soon: matches!(age, Age::EndsSoon | Age::Over),
        age,
        subject: facts.subject,
        issuer: facts.issuer,
        names: facts.names,
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
            problems.push(format!("{what} is missing or damaged; `doctor` says how to have it made again"))
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
    let CertificateView { not_before, not_after, age, .. } = certificate;
    match age {
        Age::Good => None,
        Age::NotYet => Some(format!("{what} holds only from {not_before} on; look at the clocks")),
        Age::Over => Some(format!("{what} has expired at {not_after}; look at the log of whoever renews it")),
        Age::EndsSoon => Some(format!(
            "{what} ends at {not_after} and should be renewed by now; look at the log of whoever renews it"
        )),
    }
}
