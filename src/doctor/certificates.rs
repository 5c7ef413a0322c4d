//! Checks whether the API server trusts the certificate, now and in the next days.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::Value;

use super::diagnosis::{Check, Diagnosis, Examination, Id, counted};
use super::questions::Answer;
use super::registration::{self, Bundle};
use super::shipped::NAME;
use super::snapshot::Snapshot;
use super::source::Source;
use super::target::{Settings, Target, kubectl};
use crate::certificates::Owner;
use crate::pki::{self, Age, Facts, Untrusted, date};

/// A certificate and its name in messages.
struct Candidate {
    subject: String,
    chain: Vec<CertificateDer<'static>>,
}

impl Candidate {
    fn facts(&self) -> Option<Facts> {
        self.chain.first().and_then(Facts::of)
    }
}

/// `served` is the served certificate, if the port could be reached.
pub(super) fn judge(
    snapshot: &Snapshot,
    target: &Target,
    served: Option<&[CertificateDer<'static>]>,
    settings: &Settings,
) -> Check {
    let mut findings = Vec::new();
    let mut candidates = Vec::new();
    let source = Source::of(snapshot);
    match stored(&snapshot.secret, target, &source, settings) {
        Ok(stored) => candidates.extend(stored),
        Err(finding) => findings.push(finding),
    }
    if let Some(chain) = served {
        let stored = candidates.first();
        if stored.is_none_or(|stored| stored.chain.first() != chain.first()) {
            findings.extend(stored.map(|stored| differs(stored, settings)));
            candidates
                .push(Candidate { subject: "the served certificate".to_owned(), chain: chain.to_vec() });
        }
    }
    let bundles = registration::bundles(snapshot);
    for candidate in &candidates {
        let expiry = |facts| expiry(&candidate.subject, &facts, &source.renew(settings), settings);
        findings.extend(candidate.facts().and_then(expiry));
        findings.extend(distrust(candidate, &bundles, snapshot, target, settings));
    }
    Check {
        examination: Examination::Certificates,
        summary: summary(&candidates, &bundles, settings),
        findings,
    }
}

fn summary(candidates: &[Candidate], bundles: &[Bundle], settings: &Settings) -> String {
    let Some(candidate) = candidates.first() else {
        return "no certificate could be checked".to_owned();
    };
    let days = candidate.facts().map_or(0, |facts| facts.validity.days_left(settings.now.as_second()));
    let webhooks = counted(bundles.len(), "webhook", "webhooks");
    format!("{} is trusted by {webhooks} and valid for {days} more days", candidate.subject)
}

/// The certificate of the Secret. It may be missing if the webhook is called by a URL.
fn stored(
    secret: &Answer<Value>,
    target: &Target,
    source: &Source,
    settings: &Settings,
) -> Result<Option<Candidate>, Diagnosis> {
    let subject = format!("secret {}/{}", settings.namespace, settings.tls_secret);
    let Some(secret) = secret.known(&subject)? else {
        return if target.is_service() { Err(absent(subject, source, settings)) } else { Ok(None) };
    };
    foreign(secret, &subject, source, settings)?;
    let unusable =
        |text: String| Diagnosis::failure(Id::SecretUnusable, &subject, text, source.renew(settings));
    let part = |key: &str| match secret["data"][key].as_str() {
        Some(text) if !text.is_empty() => {
            STANDARD.decode(text).map_err(|_| unusable(format!("{key} is not valid base64")))
        }
        _ => Err(unusable(format!("it has no {key}"))),
    };
    let chain = pki::certificates(&part("tls.crt")?);
    if chain.is_empty() {
        return Err(unusable("tls.crt is not a PEM certificate".to_owned()));
    }
    pki::key_fits(&chain, &part("tls.key")?).map_err(|why| unusable(format!("tls.key: {why}")))?;
    Ok(Some(Candidate { subject: format!("the certificate of {subject}"), chain }))
}

/// Finds a Secret that a program with self-managed certificates does not use.
fn foreign(secret: &Value, subject: &str, source: &Source, settings: &Settings) -> Result<(), Diagnosis> {
    let owner = Secret::deserialize(secret).map(|secret| Owner::of(&secret));
    match owner {
        Ok(Owner::Other(other)) if *source == Source::SelfManaged => {
            let fix = other.fix(&settings.namespace, &settings.tls_secret);
            Err(Diagnosis::failure(Id::SecretForeign, subject, other.to_string(), fix))
        }
        _ => Ok(()),
    }
}

fn absent(subject: String, source: &Source, settings: &Settings) -> Diagnosis {
    Diagnosis::failure(Id::SecretAbsent, subject, "it does not exist", source.make(settings))
}

fn differs(stored: &Candidate, settings: &Settings) -> Diagnosis {
    let text = format!("it is not {}", stored.subject);
    let fix = format!("{} rollout restart deployment/{NAME}", kubectl(settings));
    Diagnosis::warning(Id::ServedDiffers, "the served certificate", text, fix)
}

fn expiry(subject: &str, facts: &Facts, fix: &str, settings: &Settings) -> Option<Diagnosis> {
    let now = settings.now.as_second();
    let over = |text: String| Some(Diagnosis::failure(Id::CertificateExpired, subject, text, fix));
    match facts.validity.age(now) {
        Age::Good => None,
        Age::NotYet => over(format!("it is not valid before {}", date(facts.validity.not_before))),
        Age::Over => over(format!("it expired at {}", date(facts.validity.not_after))),
        Age::EndsSoon => {
            let days = usize::try_from(facts.validity.days_left(now)).unwrap_or_default();
            let text = format!(
                "it expires at {}, in {}",
                date(facts.validity.not_after),
                counted(days, "day", "days")
            );
            Some(Diagnosis::warning(Id::CertificateExpiresSoon, subject, text, fix))
        }
    }
}

/// The reasons why webhooks do not trust the certificate.
fn distrust(
    candidate: &Candidate,
    bundles: &[Bundle],
    snapshot: &Snapshot,
    target: &Target,
    settings: &Settings,
) -> Vec<Diagnosis> {
    let mut findings: Vec<Diagnosis> = Vec::new();
    for bundle in bundles {
        let finding = distrust_of(bundle, candidate, snapshot, target, settings);
        // A wrong name is the same finding for every webhook.
        findings.extend(finding.filter(|finding| !findings.contains(finding)));
    }
    findings
}

fn distrust_of(
    Bundle { registration, hook }: &Bundle,
    candidate: &Candidate,
    snapshot: &Snapshot,
    target: &Target,
    settings: &Settings,
) -> Option<Diagnosis> {
    let (source, host) = (Source::of(snapshot), hook.server.as_ref()?);
    let subject = format!("{}, webhook {}", registration::subject(*registration), hook.name);
    let set_bundle = || registration::set_bundle(*registration, snapshot, settings);
    // An expired certificate is a finding already, so verify it at a time when it was valid.
    let now = settings.now.as_second();
    let time = candidate.facts().map_or(now, |facts| facts.validity.nearest(now));
    match pki::trusting_ca(&candidate.chain, &hook.bundle, host, time) {
        Ok(ca) => {
            let facts = Facts::of(ca).filter(|_| Some(ca) != candidate.chain.first())?;
            let subject = format!("the CA in the caBundle of {subject}");
            expiry(&subject, &facts, &source.renew_ca(&set_bundle(), settings), settings)
        }
        Err(Untrusted::Name(why)) => {
            let text =
                format!("it is not valid for {host}, the name by which the API server calls it: {why}");
            let fix = source.rename(host, target, settings);
            Some(Diagnosis::failure(Id::CertificateWrongName, &candidate.subject, text, fix))
        }
        Err(why) => {
            let text = format!("its caBundle does not trust {}: {why}", candidate.subject);
            Some(Diagnosis::failure(Id::CaBundleMismatch, subject, text, set_bundle()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::diagnosis::Level;
    use super::super::samples::{self, Authority, settings};
    use super::*;

    const SERVICE: Target = Target::Service { port: 443 };
    const HOST: &str = "crm-admission.crm-admission-system.svc";

    /// The findings for this Secret if the webhooks trust `authority`.
    fn found(
        secret: Answer<Value>,
        authority: &Authority,
        served: Option<&Vec<CertificateDer<'static>>>,
    ) -> Vec<Diagnosis> {
        let mut snapshot = samples::snapshot_trusting(authority);
        snapshot.secret = secret;
        judge(&snapshot, &SERVICE, served.map(Vec::as_slice), &settings()).findings
    }

    fn ids(findings: &[Diagnosis]) -> Vec<(Id, Level)> {
        findings.iter().map(|finding| (finding.id, finding.level)).collect()
    }

    #[test]
    fn a_certificate_that_is_stored_served_and_trusted_is_fine() {
        let authority = Authority::new(3650);
        let (secret, chain) = authority.secret(HOST, 100);
        assert_eq!(found(Answer::Found(secret.clone()), &authority, Some(&chain)), []);
        let mut snapshot = samples::snapshot_trusting(&authority);
        snapshot.secret = Answer::Found(secret);
        let summary = judge(&snapshot, &SERVICE, None, &settings()).summary;
        let expected = "the certificate of secret crm-admission-system/crm-admission-tls is trusted by 4 webhooks \
                        and valid for 100 more days";
        assert_eq!(summary, expected);
    }

    #[test]
    fn a_secret_is_required_if_a_service_is_called() {
        let authority = Authority::new(3650);
        assert_eq!(ids(&found(Answer::Absent, &authority, None)), [(Id::SecretAbsent, Level::Failure)]);
        let url = Target::Url("127.0.0.1:9443".parse().unwrap());
        let mut snapshot = samples::snapshot_trusting(&authority);
        snapshot.secret = Answer::Absent;
        assert_eq!(judge(&snapshot, &url, None, &settings()).findings, []);
    }

    #[test]
    fn a_secret_of_somebody_else_is_found_if_certificates_are_self_managed() {
        let authority = Authority::new(3650);
        let (secret, _) = authority.secret(HOST, 100);
        let mut snapshot = samples::snapshot_trusting(&authority);
        snapshot.secret = Answer::Found(secret);
        snapshot.deployment = Answer::Found(json!({"spec": {"template": {"spec": {"containers": [
            {"name": "crm-admission", "args": ["serve", "--tls-self-managed"]},
        ]}}}}));
        let findings = judge(&snapshot, &SERVICE, None, &settings()).findings;
        assert_eq!(ids(&findings), [(Id::SecretForeign, Level::Failure)]);
        assert!(findings[0].text.starts_with("it has a certificate that"), "{findings:?}");
    }

    #[test]
    fn a_secret_with_missing_or_mismatched_parts_is_unusable() {
        let authority = Authority::new(3650);
        let (secret, _) = authority.secret(HOST, 100);
        let (other, _) = authority.secret(HOST, 100);
        for (part, value, text) in [
            ("tls.crt", json!(null), "it has no tls.crt"),
            ("tls.key", json!(null), "it has no tls.key"),
            ("tls.crt", json!(STANDARD.encode("text")), "tls.crt is not a PEM certificate"),
            ("tls.key", json!(STANDARD.encode("text")), "it is not a private key"),
            ("tls.key", other["data"]["tls.key"].clone(), "it is not the key of the certificate"),
        ] {
            let mut secret = secret.clone();
            secret["data"][part] = value;
            let findings = found(Answer::Found(secret), &authority, None);
            assert_eq!(ids(&findings), [(Id::SecretUnusable, Level::Failure)]);
            assert!(findings[0].text.contains(text), "{findings:?}");
        }
    }

    #[test]
    fn a_bundle_that_does_not_trust_the_certificate_is_a_failure() {
        let (secret, _) = Authority::new(3650).secret(HOST, 100);
        let findings = found(Answer::Found(secret), &Authority::new(3650), None);
        assert_eq!(ids(&findings), [(Id::CaBundleMismatch, Level::Failure); 4]);
        assert!(findings[0].subject.ends_with("webhook mutate.crm.milo.io"), "{findings:?}");
        assert!(findings[2].subject.ends_with("webhook delete.crm.milo.io"), "{findings:?}");
        assert!(
            findings[3].subject.ends_with("webhook validate.admissionpolicies.crm.milo.io"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_certificate_for_another_name_is_reported_once() {
        let authority = Authority::new(3650);
        let (secret, _) = authority.secret("crm-admission.elsewhere.svc", 100);
        let findings = found(Answer::Found(secret), &authority, None);
        assert_eq!(ids(&findings), [(Id::CertificateWrongName, Level::Failure)]);
        assert!(findings[0].text.contains(HOST), "{findings:?}");
    }

    #[test]
    fn an_expired_or_expiring_certificate_is_reported() {
        let authority = Authority::new(3650);
        for (days, id, level) in
            [(-1, Id::CertificateExpired, Level::Failure), (13, Id::CertificateExpiresSoon, Level::Warning)]
        {
            let (secret, _) = authority.secret(HOST, days);
            assert_eq!(ids(&found(Answer::Found(secret), &authority, None)), [(id, level)], "{days}");
        }
        let (secret, _) = authority.secret(HOST, 14);
        assert_eq!(found(Answer::Found(secret), &authority, None), []);
    }

    #[test]
    fn an_expired_ca_is_reported_too() {
        let authority = Authority::new(-1);
        let (secret, _) = authority.secret(HOST, 100);
        let findings = found(Answer::Found(secret), &authority, None);
        assert_eq!(ids(&findings), [(Id::CertificateExpired, Level::Failure); 4]);
        assert!(findings[0].subject.starts_with("the CA in the caBundle of"), "{findings:?}");
    }

    #[test]
    fn a_renewed_ca_with_the_same_key_beside_the_expired_one_is_fine() {
        let authority = Authority::new(3650);
        let mut snapshot = samples::snapshot_trusting(&authority.until(-1).and(&authority));
        snapshot.secret = Answer::Found(authority.secret(HOST, 100).0);
        assert_eq!(judge(&snapshot, &SERVICE, None, &settings()).findings, []);
    }

    #[test]
    fn each_webhook_is_checked_with_the_name_that_it_calls() {
        let authority = Authority::new(3650);
        let mut snapshot = samples::snapshot_trusting(&authority);
        snapshot.secret = Answer::Found(authority.secret(HOST, 100).0);
        let webhook = &mut samples::found(&mut snapshot.registrations[0])["webhooks"][0];
        let bundle = webhook["clientConfig"]["caBundle"].clone();
        webhook["clientConfig"] = json!({"url": "https://crm.example/mutate", "caBundle": bundle});
        let findings = judge(&snapshot, &SERVICE, None, &settings()).findings;
        assert_eq!(ids(&findings), [(Id::CertificateWrongName, Level::Failure)]);
        assert!(findings[0].text.contains("not valid for crm.example"), "{findings:?}");
    }

    #[test]
    fn a_served_certificate_that_is_not_in_the_secret_is_checked_too() {
        let authority = Authority::new(3650);
        let (secret, _) = authority.secret(HOST, 100);
        let (_, served) = authority.secret(HOST, 100);
        let findings = found(Answer::Found(secret.clone()), &authority, Some(&served));
        assert_eq!(ids(&findings), [(Id::ServedDiffers, Level::Warning)]);
        let (_, stranger) = Authority::new(3650).secret(HOST, 100);
        let findings = found(Answer::Found(secret), &authority, Some(&stranger));
        assert_eq!(findings[0].id, Id::ServedDiffers);
        assert_eq!(ids(&findings[1..]), [(Id::CaBundleMismatch, Level::Failure); 4]);
        assert!(findings[1].text.contains("does not trust the served certificate"), "{findings:?}");
    }
}
