//! Finds others that write the certificate, although the program manages it itself. Each of them would keep replacing
//! what the other has written.

use serde_json::Value;

use super::diagnosis::{Diagnosis, Id};
use super::leftovers::CERTIFICATES;
use super::registration;
use super::shipped::NAME;
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
        if let Some(applier) = applier_of_bundle(live) {
            let text = format!(
                "the program writes its caBundle, and {applier} too: remove caBundle from the manifest that it applies"
            );
            let fix = format!("kubectl get {subject} -o yaml --show-managed-fields");
            findings.push(Diagnosis::warning(Id::CertificateContested, subject, text, fix));
        }
    }
    findings
}

/// The Certificates of cert-manager for the Secret of the program.
fn certificates(snapshot: &Snapshot, settings: &Settings) -> Vec<Diagnosis> {
    let certificates = match snapshot.certificates.known(&format!("{CERTIFICATES} in {}", settings.namespace))
    {
        Err(finding) => return vec![finding],
        Ok(certificates) => certificates.into_iter().flatten(),
    };
    let for_our_secret =
        certificates.filter(|certificate| certificate["spec"]["secretName"] == settings.tls_secret.as_str());
    let contests = |certificate: &Value| {
        let name = certificate["metadata"]["name"].as_str()?;
        let text = format!(
            "the program writes Secret {}, and cert-manager too, for this Certificate",
            settings.tls_secret
        );
        let fix = format!("{} delete {CERTIFICATES} {name}", kubectl(settings));
        let subject = format!("certificate {}/{name}", settings.namespace);
        Some(Diagnosis::failure(Id::CertificateContested, subject, text, fix))
    };
    for_our_secret.filter_map(contests).collect()
}

/// Who else applies a `caBundle`, such as a GitOps product. It writes its own value again with every change.
fn applier_of_bundle(configuration: &Value) -> Option<&str> {
    let managers = configuration["metadata"]["managedFields"].as_array()?;
    let applies = |entry: &&Value| {
        entry["operation"] == "Apply"
            && entry["manager"] != NAME
            && has_key(&entry["fieldsV1"]["f:webhooks"], "f:caBundle")
    };
    managers.iter().find(applies)?["manager"].as_str()
}

fn has_key(fields: &Value, key: &str) -> bool {
    let Some(fields) = fields.as_object() else { return false };
    fields.iter().any(|(name, below)| name == key || has_key(below, key))
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
    fn one(findings: &[Diagnosis], level: Level, subject: &str, fix: &str) {
        assert_eq!(findings.len(), 1, "{findings:?}");
        let Diagnosis { id, level: found, subject: about, fix: command, .. } = &findings[0];
        assert_eq!((*id, *found), (Id::CertificateContested, level));
        assert_eq!((about.as_str(), command.as_str()), (subject, fix));
    }

    fn certificate(secret: &str) -> Answer<Vec<Value>> {
        Answer::Found(vec![json!({"metadata": {"name": "crm"}, "spec": {"secretName": secret}})])
    }

    #[test]
    fn a_certificate_of_cert_manager_for_the_same_secret_is_a_failure() {
        one(
            &found(|snapshot| snapshot.certificates = certificate("crm-admission-tls")),
            Level::Failure,
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
            Level::Failure,
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

    #[test]
    fn somebody_else_who_applies_a_bundle_is_a_warning() {
        let managed = |manager: &str, operation: &str| {
            let fields = json!({"f:webhooks": {"k:{}": {"f:clientConfig": {"f:caBundle": {}}}}});
            let managers = json!([{"manager": manager, "operation": operation, "fieldsV1": fields}]);
            found(|snapshot| {
                samples::found(&mut snapshot.registrations[0])["metadata"]["managedFields"] = managers;
            })
        };
        let findings = managed("argocd-controller", "Apply");
        one(
            &findings,
            Level::Warning,
            "mutatingwebhookconfiguration crm-admission",
            "kubectl get mutatingwebhookconfiguration crm-admission -o yaml --show-managed-fields",
        );
        assert!(findings[0].text.contains("and argocd-controller too"), "{findings:?}");
        // An admin may have repaired the bundle once.
        assert_eq!(managed("kubectl-patch", "Update"), []);
        assert_eq!(managed(NAME, "Apply"), []);
    }
}
