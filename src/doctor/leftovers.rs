//! Finds objects that only another overlay, component or source of certificates needs: certificates, permissions and the
//! floor.

use serde_json::Value;

use super::diagnosis::{Check, Diagnosis, Examination, Id};
use super::questions::Answer;
use super::registration::is_two_calls;
use super::shipped::{CERTIFICATE_ROLES, FLOOR_NAME, MARK, NAME};
use super::snapshot::{PolicyPart, Snapshot};
use super::source::{Source, annotation};
use super::target::{Settings, kubectl};

/// The Certificates of cert-manager, as kubectl accepts them.
pub(super) const CERTIFICATES: &str = "certificates.cert-manager.io";
/// The Issuers of cert-manager.
const ISSUERS: &str = "issuers.cert-manager.io";

pub(super) fn judge(snapshot: &Snapshot, settings: &Settings) -> Check {
    let deployment = format!("deployment {}/{NAME}", settings.namespace);
    let mut findings = match (snapshot.deployment.known(&deployment), Source::deployed(snapshot)) {
        (Err(finding), _) => vec![finding],
        (Ok(_), Some(Source::SelfManaged)) => of_cert_manager(snapshot, settings),
        (Ok(_), Some(Source::CertManager { .. } | Source::Own)) => of_self_managed(snapshot, settings),
        // It is unknown what the program needs.
        (Ok(_), None) => Vec::new(),
    };
    findings.extend(of_one_call(snapshot));
    let summary = "no certificates, permissions or floor of another overlay or component".to_owned();
    Check { examination: Examination::Leftovers, summary, findings }
}

/// What the overlay for cert-manager has, except what [`super::contest`] reports.
fn of_cert_manager(snapshot: &Snapshot, settings: &Settings) -> Vec<Diagnosis> {
    let kinds = [(CERTIFICATES, &snapshot.certificates), (ISSUERS, &snapshot.issuers)];
    let mut findings = Vec::new();
    for (resource, answer) in kinds {
        let objects = match answer.known(&format!("{resource} in {}", settings.namespace)) {
            Ok(objects) => objects.into_iter().flatten(),
            Err(finding) => {
                findings.push(finding);
                continue;
            }
        };
        let objects = objects
            .filter(|object| is_ours(object) && object["spec"]["secretName"] != settings.tls_secret.as_str());
        let names = objects.filter_map(|object| object["metadata"]["name"].as_str());
        let text = "cert-manager keeps it up to date, but the program manages its certificates itself";
        findings.extend(names.map(|name| {
            let fix = format!("{} delete {resource} {name}", kubectl(settings));
            Diagnosis::warning(Id::Leftover, format!("{resource} {}/{name}", settings.namespace), text, fix)
        }));
    }
    findings
}

/// The permissions that only self-managed certificates need.
fn of_self_managed(snapshot: &Snapshot, settings: &Settings) -> Vec<Diagnosis> {
    let text = "it grants permissions that only self-managed certificates need";
    let leftover = |(kind, answer): (&str, &Answer<Value>)| {
        let kind = kind.to_lowercase();
        let subject = format!("{kind} {CERTIFICATE_ROLES}");
        match answer.known(&subject) {
            Err(finding) => Some(finding),
            Ok(binding) => binding.filter(|binding| is_ours(binding)).map(|_| {
                let fix = format!("{} delete {kind} {CERTIFICATE_ROLES}", kubectl(settings));
                Diagnosis::warning(Id::Leftover, subject, text, fix)
            }),
        }
    };
    snapshot.bindings().filter_map(leftover).collect()
}

/// The floor, if the component one-call brought it.
fn of_one_call(snapshot: &Snapshot) -> Vec<Diagnosis> {
    if !is_two_calls(snapshot) {
        return Vec::new();
    }
    let (mark, one_call) = MARK;
    let came = |answer: &Answer<Value>| {
        answer.found().is_some_and(|object| annotation(object, mark) == Some(one_call))
    };
    let text = "it came with one call for each write, which is switched off";
    let leftover = |part: PolicyPart| {
        let subject = format!("{} {FLOOR_NAME}", part.kind().to_lowercase());
        let fix = format!("kubectl delete {subject}");
        Diagnosis::warning(Id::Leftover, subject, text, fix)
    };
    snapshot.floor().filter(|(_, answer)| came(answer)).map(|(part, _)| leftover(part)).collect()
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/name"] == NAME
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::diagnosis::Level;
    use super::super::samples::{self, settings};
    use super::*;

    fn found(args: &[&str], edit: impl FnOnce(&mut Snapshot)) -> Vec<(String, String)> {
        let mut snapshot = samples::snapshot();
        snapshot.deployment = samples::deployment(args);
        edit(&mut snapshot);
        let findings = judge(&snapshot, &settings()).findings;
        assert!(findings.iter().all(|finding| (finding.id, finding.level) == (Id::Leftover, Level::Warning)));
        findings.into_iter().map(|finding| (finding.subject, finding.fix)).collect()
    }

    fn pair(subject: &str, fix: &str) -> (String, String) {
        (subject.to_owned(), fix.to_owned())
    }

    fn ours(name: &str) -> Value {
        json!({"metadata": {"name": name, "labels": {"app.kubernetes.io/name": NAME}}})
    }

    #[test]
    fn objects_of_cert_manager_are_left_over_beside_self_managed_certificates() {
        let edit = |snapshot: &mut Snapshot| {
            snapshot.certificates = Answer::Found(vec![ours("crm-admission-ca")]);
            snapshot.issuers = Answer::Found(vec![json!({"metadata": {"name": "theirs"}}), ours(NAME)]);
        };
        let expected = [
            pair(
                "certificates.cert-manager.io crm-admission-system/crm-admission-ca",
                "kubectl -n crm-admission-system delete certificates.cert-manager.io crm-admission-ca",
            ),
            pair(
                "issuers.cert-manager.io crm-admission-system/crm-admission",
                "kubectl -n crm-admission-system delete issuers.cert-manager.io crm-admission",
            ),
        ];
        assert_eq!(found(&["--tls-self-managed"], edit), expected);
        assert_eq!(found(&["--tls-cert=/tls/tls.crt"], edit), []);
        assert_eq!(found(&[], edit), []);
    }

    #[test]
    fn permissions_for_self_managed_certificates_are_left_over_beside_others() {
        let edit = |snapshot: &mut Snapshot| snapshot.bindings[1] = Answer::Found(ours(CERTIFICATE_ROLES));
        let expected = [pair(
            "rolebinding crm-admission-certificates",
            "kubectl -n crm-admission-system delete rolebinding crm-admission-certificates",
        )];
        assert_eq!(found(&["--tls-cert=/tls/tls.crt"], edit), expected);
        assert_eq!(found(&["--tls-self-managed"], edit), []);
    }

    #[test]
    fn the_floor_is_left_over_if_it_came_with_one_call() {
        let floor = |annotations: Value| {
            found(&[], |snapshot| {
                snapshot.floor[0] = Answer::Found(json!({"metadata": {"annotations": annotations}}));
            })
        };
        let expected = [pair(
            "validatingadmissionpolicy crm-admission-floor",
            "kubectl delete validatingadmissionpolicy crm-admission-floor",
        )];
        assert_eq!(floor(json!({"admission.crm.milo.io/registration": "one-call"})), expected);
        assert_eq!(floor(json!({})), []);
        // It may be the only check that is left.
        let unregistered = found(&[], |snapshot| {
            let annotations = json!({"admission.crm.milo.io/registration": "one-call"});
            snapshot.floor[0] = Answer::Found(json!({"metadata": {"annotations": annotations}}));
            snapshot.registrations[1] = Answer::Absent;
        });
        assert_eq!(unregistered, []);
    }
}
