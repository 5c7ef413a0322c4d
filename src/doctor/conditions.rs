//! Checks that a replica writes conditions if the program runs with `--conditions`, and that nothing is left if it does not.

use crm_core::api::installation::CONDITIONS_LEASE;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::diagnosis::{Check, Diagnosis, Examination, Id};
use super::shipped::NAME;
use super::snapshot::Snapshot;
use super::source::is_on;
use super::target::{Settings, kubectl};

const FLAG: &str = "--conditions";
const VARIABLE: &str = "CRM_ADMISSION_CONDITIONS";
/// A leader renews the Lease every two seconds. The clocks of its node and of this machine may differ.
const SILENCE: SignedDuration = SignedDuration::from_secs(60);

/// Whether the Deployment starts the program with `--conditions`; `None` if unknown.
pub(super) fn are_on(snapshot: &Snapshot) -> Option<bool> {
    snapshot.deployment.found().and_then(|deployment| is_on(deployment, FLAG, VARIABLE))
}

pub(super) fn judge(snapshot: &Snapshot, settings: &Settings) -> Check {
    let (summary, finding) = match are_on(snapshot) {
        Some(true) => match leader(snapshot, settings) {
            Ok(leader) => (format!("{leader} writes them"), None),
            Err(finding) => (String::new(), Some(finding)),
        },
        Some(false) => ("off".to_owned(), leftover(snapshot, settings)),
        None => {
            let deployment = format!("deployment {}/{NAME}", settings.namespace);
            let summary = "the Deployment does not say whether they are on".to_owned();
            (summary, snapshot.deployment.known(&deployment).err())
        }
    };
    Check { examination: Examination::Conditions, summary, findings: finding.into_iter().collect() }
}

/// The replica that holds the Lease, as the Lease names it.
fn leader(snapshot: &Snapshot, settings: &Settings) -> Result<String, Diagnosis> {
    let subject = subject(settings);
    let why = match snapshot.lease.known(&subject)? {
        None => "it does not exist, so no replica writes conditions".to_owned(),
        Some(lease) => {
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            match renewed(lease) {
                _ if holder.is_empty() => "no replica holds it, so none writes conditions".to_owned(),
                Some(time) if settings.now.duration_since(time) <= SILENCE => return Ok(holder.to_owned()),
                Some(time) => format!(
                    "{holder} holds it, but has not renewed it since {}, so no replica writes conditions",
                    time.strftime("%Y-%m-%dT%H:%M:%SZ")
                ),
                None => {
                    format!("{holder} holds it, but has never renewed it, so no replica writes conditions")
                }
            }
        }
    };
    let logs = format!("{} logs -l app.kubernetes.io/name={NAME} --prefix --tail=50", kubectl(settings));
    Err(Diagnosis::warning(Id::ConditionsNotWritten, subject, why, logs))
}

fn renewed(lease: &Value) -> Option<Timestamp> {
    lease["spec"]["renewTime"].as_str()?.parse().ok()
}

/// The Lease, which nobody holds any more.
fn leftover(snapshot: &Snapshot, settings: &Settings) -> Option<Diagnosis> {
    let subject = subject(settings);
    match snapshot.lease.known(&subject) {
        Err(finding) => Some(finding),
        Ok(lease) => lease.map(|_| {
            let fix = format!("{} delete lease {CONDITIONS_LEASE}", kubectl(settings));
            let text = "the program used it to write conditions, which is switched off";
            Diagnosis::warning(Id::Leftover, subject, text, fix)
        }),
    }
}

fn subject(settings: &Settings) -> String {
    format!("lease {}/{CONDITIONS_LEASE}", settings.namespace)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::super::diagnosis::Level;
    use super::super::questions::Answer;
    use super::super::samples::{self, settings};
    use super::*;

    fn lease(holder: &str, seconds_ago: i64) -> Answer<Value> {
        let renewed = settings().now - SignedDuration::from_secs(seconds_ago);
        let renewed = renewed.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        Answer::Found(json!({"spec": {"holderIdentity": holder, "renewTime": renewed}}))
    }

    fn check(args: &[&str], lease: Answer<Value>) -> Check {
        let mut snapshot = samples::snapshot();
        (snapshot.deployment, snapshot.lease) = (samples::deployment(args), lease);
        judge(&snapshot, &settings())
    }

    #[test]
    fn a_leader_that_renews_its_lease_writes_conditions() {
        // A clock may be ahead.
        for ago in [0, 2, 59, -30] {
            let check = check(&["serve", "--conditions"], lease("crm-admission-1", ago));
            assert_eq!((check.level(), check.summary.as_str()), (Level::Ok, "crm-admission-1 writes them"));
        }
    }

    #[rstest]
    #[case::absent(Answer::Absent, "it does not exist")]
    #[case::released(lease("", 2), "no replica holds it")]
    #[case::silent(
        lease("crm-admission-1", 90),
        "crm-admission-1 holds it, but has not renewed it since 2027-"
    )]
    #[case::never(Answer::Found(json!({"spec": {"holderIdentity": "a"}})), "has never renewed it")]
    fn without_a_leader_nobody_writes_conditions(#[case] lease: Answer<Value>, #[case] why: &str) {
        let check = check(&["serve", "--conditions"], lease);
        let [finding] = &check.findings[..] else { panic!("{check:?}") };
        assert_eq!((finding.id, finding.level), (Id::ConditionsNotWritten, Level::Warning));
        assert!(finding.text.contains(why), "{finding:?}");
        assert_eq!(finding.subject, "lease crm-admission-system/crm-admission-conditions");
    }

    #[test]
    fn a_lease_is_left_over_if_conditions_are_off() {
        let check = check(&["serve", "--conditions-rate=5"], lease("crm-admission-1", 2));
        let [finding] = &check.findings[..] else { panic!("{check:?}") };
        assert_eq!((finding.id, finding.level), (Id::Leftover, Level::Warning));
        assert_eq!(finding.fix, "kubectl -n crm-admission-system delete lease crm-admission-conditions");
        assert_eq!(self::check(&["serve"], Answer::Absent).level(), Level::Ok);
    }

    #[test]
    fn what_cannot_be_read_is_a_finding_and_an_absent_deployment_is_none() {
        let forbidden = Answer::Forbidden("cannot get leases".to_owned());
        for args in [&["serve", "--conditions"][..], &["serve"]] {
            assert_eq!(check(args, forbidden.clone()).level(), Level::Skipped, "{args:?}");
        }
        let mut snapshot = samples::snapshot();
        snapshot.lease = lease("crm-admission-1", 2);
        assert_eq!(judge(&snapshot, &settings()).findings, []);
        // Otherwise, the report of somebody who may read nothing would say something.
        snapshot.deployment = Answer::Forbidden("cannot get deployments".to_owned());
        assert_eq!(judge(&snapshot, &settings()).level(), Level::Skipped);
    }

    #[rstest]
    #[case::on("true", true)]
    #[case::a_word("yes", true)]
    #[case::off("False", false)]
    #[case::number("0", false)]
    #[case::empty("", false)]
    fn the_variable_counts_as_the_program_reads_it(#[case] value: &str, #[case] expected: bool) {
        let mut snapshot = samples::snapshot();
        snapshot.deployment = samples::deployment(&["serve"]);
        samples::found(&mut snapshot.deployment)["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": VARIABLE, "value": value}]);
        assert_eq!(are_on(&snapshot), Some(expected));
    }
}
