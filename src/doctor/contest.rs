//! Finds objects that make cert-manager write the Secret or a `caBundle`, although the program manages both itself.

use serde_json::Value;

use super::diagnosis::{Diagnosis, Id};
use super::leftovers::CERTIFICATES;
use super::registration;
use super::snapshot::Snapshot;
use super::source::{INJECT_CA_FROM, Source, annotation};
use super::target::{Settings, kubectl};

pub(super) fn judge(snapshot: &Snapshot, settings: &Settings) -> Vec<Diagnosis> {
    if Source::deployed(snapshot) != Some(Source::SelfManaged) {
        return Vec::new();
    }
    let mut findings = certificates(snapshot, settings);
    for (kind, answer) in snapshot.registrations() {
        let Some(live) = answer.found() else { continue };
        let subject = registration::subject(kind);
        if annotation(live, INJECT_CA_FROM).is_some() {
            let text = "the program writes its caBundle, and cert-manager too, because of an annotation";
            let fix = format!("kubectl annotate {subject} {INJECT_CA_FROM}-");
            findings.push(Diagnosis::failure(Id::CertificateContested, &subject, text, fix));
        }
    }
    findings
}

/// The Certificates of cert-manager for the Secret of the program.
fn certificates(snapshot: &Snapshot, settings: &Settings) -> Vec<Diagnosis> {
    // `leftovers` reports it if they could not be read.
    let certificates = snapshot.certificates.found().into_iter().flatten();
    let for_our_secret =
        certificates.filter(|certificate| certificate["spec"]["secretName"] == settings.tls_secret.as_str());
    let contests = |certificate: &Value| {
        let name = certificate["metadata"]["name"].as_str()?;
        let text = format!(
            "cert-manager writes Secret {} for this Certificate, so the program with --tls-self-managed does not use it",
            settings.tls_secret
        );
        let fix = format!("{} delete {CERTIFICATES} {name}", kubectl(settings));
        let subject = format!("certificate {}/{name}", settings.namespace);
        Some(Diagnosis::failure(Id::CertificateContested, subject, text, fix))
    };
    for_our_secret.filter_map(contests).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::diagnosis::Level;
    use super::super::questions::Answer;
    use super::super::samples::{self, settings};
    use super::*;

    fn found(edit: impl FnOnce(&mut Snapshot)) -> Vec<Diagnosis> {
        let mut snapshot = samples::snapshot();
        snapshot.deployment = samples::deployment(&["--tls-self-managed"]);
        edit(&mut snapshot);
        judge(&snapshot, &settings())
    }

    #[track_caller]
    fn one(findings: &[Diagnosis], subject: &str, fix: &str) {
        assert_eq!(findings.len(), 1, "{findings:?}");
        let Diagnosis { id, level, subject: about, fix: command, .. } = &findings[0];
        assert_eq!((*id, *level), (Id::CertificateContested, Level::Failure));
        assert_eq!((about.as_str(), command.as_str()), (subject, fix));
    }

    fn certificate(secret: &str) -> Answer<Vec<Value>> {
        Answer::Found(vec![json!({"metadata": {"name": "crm"}, "spec": {"secretName": secret}})])
    }

    #[test]
    fn a_certificate_of_cert_manager_for_the_same_secret_is_a_failure() {
        one(
            &found(|snapshot| snapshot.certificates = certificate("crm-admission-tls")),
            "certificate crm-admission-system/crm",
            "kubectl -n crm-admission-system delete certificates.cert-manager.io crm",
        );
        assert_eq!(found(|snapshot| snapshot.certificates = certificate("another")), []);
    }

    #[test]
    fn an_annotation_that_makes_cert_manager_write_the_bundle_is_a_failure() {
        let annotate = |snapshot: &mut Snapshot| {
            let annotations = json!({"cert-manager.io/inject-ca-from": "crm-admission-system/crm"});
            samples::found(&mut snapshot.registrations[1])["metadata"]["annotations"] = annotations;
        };
        one(
            &found(annotate),
            "validatingwebhookconfiguration crm-admission",
            "kubectl annotate validatingwebhookconfiguration crm-admission cert-manager.io/inject-ca-from-",
        );
        assert_eq!(
            found(|snapshot| {
                annotate(snapshot);
                snapshot.deployment = samples::deployment(&["--tls-cert=/tls/tls.crt"]);
            }),
            []
        );
    }
}
