//! Finds out why an installation does not work, with a fix for each problem.
//!
//! Reading and judging are separate: `snapshot` reads everything from the API server, and every examination is a plain
//! function of what was read. The port and the dry runs come last.
//!
//! *Architecture invariant:* this room reads the cluster and changes nothing; it creates only access reviews and dry
//! runs. It knows the ids of rules and the policy document, but not how a rule is decided.

mod access;
mod canary;
mod certificates;
mod compare;
mod conditions;
mod contest;
mod crds;
mod diagnosis;
mod guard;
mod leftovers;
mod policy;
mod port;
mod questions;
mod registration;
mod report;
mod service;
mod shipped;
mod snapshot;
mod source;
mod target;
mod version;

#[cfg(test)]
mod samples;

use kube::Client;

pub use self::diagnosis::{Check, Diagnosis, Examination, Id, Level};
pub use self::questions::NoCluster;
pub use self::report::{Format, Report, markdown};
pub use self::target::{Place, Settings};

use self::questions::Questions;
use self::shipped::Permissions;
use self::snapshot::Snapshot;
use self::source::Source;

/// Examines the installation. `progress` is called with each step.
///
/// # Errors
/// The API server does not answer, or does not accept the credentials.
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
    let mut certificates = certificates::judge(&snapshot, &target, served.as_deref(), settings);
    certificates.findings.extend(contest::judge(&snapshot, settings));
    checks.push(certificates);
    progress("checking the permissions of the service account");
    let source = Source::of(&snapshot);
    let mut permissions = source.permissions().to_vec();
    permissions.extend((conditions::are_on(&snapshot) == Some(true)).then_some(Permissions::Conditions));
    let granted = access::ask(&questions, &access::needs(&permissions, settings), settings).await;
    let mut access = access::judge(&snapshot.service_account, &granted, settings);
    // The service account may have the permission even if it does not need it.
    let guarded = access::ask(&questions, &access::guarded(settings), settings).await;
    guard::judge(&snapshot, guard::permission(&guarded, &source), settings).add_to(&mut access);
    checks.push(access);
    checks.push(policy::judge(&snapshot.policies));
    checks.push(conditions::judge(&snapshot, settings));
    checks.push(leftovers::judge(&snapshot, settings));
    progress("creating a Company as a dry run");
    checks.push(canary::try_out(&questions, &snapshot, settings).await);
    Ok(Report { checks })
}
