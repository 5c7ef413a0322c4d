//! Reports the certificates of an installation: stored, served and trusted, and their expiry dates.

use std::time::Duration;

use kube::Client;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tokio::time::timeout;

use super::Settings;
use super::owner::Owner;
use super::served::Address;
use super::store::{Store, StoreError};
use super::trust::{Configuration, Hook, Trust, TrustError};
use crate::pki::{self, Age, Facts, certificates, unix_now};

/// How long all requests to the API server may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The certificates of an installation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The Secret.
    pub secret: SecretView,
    /// The CAs that the webhook configurations trust; missing configurations are omitted.
    pub configurations: Vec<ConfigurationView>,
    /// The served certificate, if it was read.
    pub served: Option<ServedView>,
    /// All problems with their fixes.
    pub problems: Vec<String>,
}

/// The Secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it exists.
    pub found: bool,
    /// Why `--tls-self-managed` does not use it, and what to do; `None` if it does.
    pub unusable_if_self_managed: Option<String>,
    /// The certificate and its intermediates.
    pub chain: Vec<CertificateView>,
    /// The CAs in it, the current one first.
    pub cas: Vec<CertificateView>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// The subject.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// Its names.
    pub names: Vec<String>,
    /// Valid from.
    pub not_before: String,
    /// Valid until.
    pub not_after: String,
    /// The number of whole days left; negative if it has expired.
    pub days_left: i64,
    /// Whether it should have been renewed: few days of its lifetime are left.
    pub ends_soon: bool,
    /// The exact state.
    #[serde(skip)]
    pub age: Age,
}

/// The CAs that a webhook configuration trusts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationView {
    /// Its kind.
    pub kind: String,
    /// Its webhooks.
    pub webhooks: Vec<BundleView>,
}

/// The CAs that one webhook of a configuration trusts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleView {
    /// The webhook's name.
    pub name: String,
    /// The name by which the API server calls the server.
    pub server: Option<String>,
    /// The CAs of its `caBundle`.
    pub cas: Vec<CertificateView>,
    /// Why the certificate of the Secret would not be accepted; `None` if it is accepted.
    pub distrusts_stored: Option<String>,
    /// Why the served certificate would not be accepted; `None` if it is accepted or was not read.
    pub distrusts_served: Option<String>,
}

/// The served certificate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedView {
    /// The address.
    pub address: String,
    /// The certificate and its intermediates.
    pub chain: Vec<CertificateView>,
    /// Whether it is the certificate of the Secret.
    pub is_stored: bool,
}

/// Why the inspection failed.
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

/// Reads everything and changes nothing. `served` is the result of [`look_at_served`](super::look_at_served) with its
/// address.
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
    let owner = stored.as_ref().map_or(Owner::Nobody, |stored| stored.owner.clone());
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
        unusable_if_self_managed: match &owner {
            Owner::Other(other) => {
                Some(format!("{other}; {}", other.fix(&settings.namespace, &settings.secret)))
            }
            Owner::Nobody | Owner::Us { .. } => None,
        },
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
        let distrust = |chain: &[CertificateDer<'static>]| {
            hook.distrusts(chain, self.now).map(|distrust| distrust.to_string())
        };
        BundleView {
            name: hook.name.clone(),
            server: hook.server.clone(),
            cas: self.views(&hook.bundle),
            distrusts_stored: distrust(&self.stored),
            distrusts_served: self.served.as_deref().and_then(distrust),
        }
    }
}

fn view(facts: Facts, now: i64) -> CertificateView {
    let age = facts.validity.age(now);
    CertificateView {
        not_before: pki::date(facts.validity.not_before),
        not_after: pki::date(facts.validity.not_after),
        days_left: facts.validity.days_left(now),
        ends_soon: matches!(age, Age::EndsSoon | Age::Over),
        age,
        subject: facts.subject,
        issuer: facts.issuer,
        names: facts.names,
    }
}

/// The problems of the served certificate if it was read, otherwise of the stored one.
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
        None => problems.push(format!("{what} is missing or damaged; run `doctor` for the fix")),
        Some(leaf) => problems.extend(age(&what, leaf)),
    }
    if let Some(ca) = secret.cas.first() {
        problems.extend(age(&format!("the CA of Secret {namespace}/{name}"), ca));
    }
    for configuration in configurations {
        for webhook in &configuration.webhooks {
            let distrust = match served {
                Some(_) => &webhook.distrusts_served,
                None => &webhook.distrusts_stored,
            };
            if let Some(distrust) = distrust {
                let (name, kind) = (&webhook.name, &configuration.kind);
                problems.push(format!("{name} of {kind} would not accept {what}: {distrust}"));
            }
        }
    }
    problems
}

fn age(what: &str, certificate: &CertificateView) -> Option<String> {
    let CertificateView { not_before, not_after, age, .. } = certificate;
    match age {
        Age::Good => None,
        Age::NotYet => Some(format!("{what} is not valid before {not_before}; check the clocks")),
        Age::Over => {
            Some(format!("{what} expired at {not_after}; see the log of the program that renews it"))
        }
        Age::EndsSoon => Some(format!(
            "{what} expires at {not_after} and should have been renewed by now; see the log of the program that renews it"
        )),
    }
}
