//! Finds out why an installation does not work, with a fix for each problem.
//!
//! Reading is apart from judging: `snapshot` asks the API server, and every examination is a plain function from what
//! was read to what is wrong with it. The port and the canary are tried at the end.
//!
//! *Architecture invariant:* it reads the cluster and changes nothing; its only creates are reviews of access and dry
//! runs. Of rules it knows no more than the policy's document and their ids.

mod access;
mod canary;
mod certificates;
mod compare;
mod crds;
mod diagnosis;
mod guard;
mod policy;
mod port;
mod questions;
mod registration;
mod report;
mod service;
mod shipped;
mod snapshot;
mod source;
mod version;

#[cfg(test)]
mod samples;

use std::time::Duration;

use crm_core::api::installation::{NAME, NAMESPACE, SERVICE, TLS_SECRET, service_host};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;

pub use self::diagnosis::{Check, Diagnosis, Examination, Id, Level};
pub use self::questions::NoCluster;
pub use self::report::{Format, Report, markdown};

use self::questions::Questions;
use self::snapshot::Snapshot;
use self::source::Source;
use crate::certificates::Address;

/// What is examined, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the installation.
    pub namespace: String,
    /// The Service that leads to the webhook.
    pub service: String,
    /// The Secret with the webhook's certificate.
    pub tls_secret: String,
    /// Where the webhook is reached from here, when that is another address than the API server's.
    pub connect: Option<Address>,
    /// Whether this runs in a pod, where names of Services lead somewhere.
    pub place: Place,
    /// How long each question may take.
    pub timeout: Duration,
    /// The definitions that should be in the cluster.
    pub definitions: Vec<CustomResourceDefinition>,
    /// When this is.
    pub now: Timestamp,
}

/// Where the examination runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a pod of the cluster.
    Inside,
    /// Elsewhere.
    Outside,
}

impl Settings {
    /// The name by which the API server calls the Service.
    fn service_host(&self) -> String {
        service_host(&self.service, &self.namespace)
    }
}

/// Examines the installation. `progress` hears what is being done.
///
/// # Errors
/// There is no cluster that answers, or it does not know the caller.
pub async fn examine(
    client: Client,
    settings: &Settings,
    progress: &(dyn Fn(&'static str) + Sync),
) -> Result<Report, NoCluster> {
    let questions = Questions::new(client, settings.timeout);
    progress("connecting to the API server");
    let version = questions.version().await?;
    progress("reading the cluster");
    let snapshot = Snapshot::take(&questions, settings).await;
    let target = registration::target(&snapshot, settings);

    let mut checks = vec![
        version::judge(&version),
        crds::judge(&snapshot.definitions, &settings.definitions),
        registration::judge(&snapshot, settings),
        service::judge(&snapshot, &target, settings),
    ];
    progress("connecting to the webhook");
    let (port, served) = port::probe(&target, settings).await;
    checks.push(port);
    checks.push(certificates::judge(&snapshot, &target, served.as_deref(), settings));
    progress("checking the permissions of the service account");
    let source = Source::of(&snapshot);
    let granted = access::ask(&questions, &access::needs(&source, settings), settings).await;
    let mut access = access::judge(&snapshot.service_account, &granted, settings);
    // The right may be there though it is not needed.
    let guarded = access::ask(&questions, &access::guarded(settings), settings).await;
    guard::judge(&snapshot, guard::right(&guarded, &source), settings).add_to(&mut access);
    checks.push(access);
    checks.push(policy::judge(&snapshot.policies));
    progress("creating a Company as a dry run");
    checks.push(canary::try_out(&questions, &snapshot, settings).await);
    Ok(Report { checks })
}

/// The program and arguments that act on the installation's namespace.
fn kubectl(settings: &Settings) -> String {
    format!("kubectl -n {}", settings.namespace)
}

/// A command of the program about this installation.
fn command(name: &str, settings: &Settings) -> String {
    let flags = [
        ("namespace", &settings.namespace, NAMESPACE),
        ("service", &settings.service, SERVICE),
        ("tls-secret", &settings.tls_secret, TLS_SECRET),
    ];
    let given = flags.iter().filter(|(_, value, otherwise)| value != otherwise);
    given.fold(format!("{NAME} {name}"), |command, (flag, value, _)| format!("{command} --{flag} {value}"))
}

/// How many, and of what.
fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
