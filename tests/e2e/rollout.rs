//! Tests that no call fails under a constant load of writes while two replicas behind one address are replaced, renew
//! their certificates and change their policy. Only a killed replica loses its calls in progress.

use crate::support::balancer::{Backend, Balancer};
use crate::support::control_plane::ControlPlane;
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::process::Witness;
use crate::support::webhook::Webhook;
use crate::support::writers::{IN_FLIGHT, Labels, Writers};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crm_admission::certificates::look_at_served;
use crm_admission::pki;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a change may take, including the time to wait for API servers.
const PATIENCE: Duration = Duration::from_secs(90);
const NAMESPACE: &str = "crm-admission-system";
const KINDS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
/// The number of writes that must succeed before the next change.
const AFTERWARDS: usize = 200;

/// A control plane with only the kinds and the permissions. One test uses it at a time.
struct Stage {
    _witness: Witness,
    plane: MutexGuard<'static, ControlPlane>,
    balancer: Balancer,
}

/// A replica and its backend in the balancer.
struct Replica {
    webhook: Webhook,
    backend: Arc<Backend>,
}

impl Stage {
    fn set() -> Self {
        static PLANE: LazyLock<Mutex<ControlPlane>> = LazyLock::new(|| {
            let plane = ControlPlane::start();
            plane.install_kinds(&manifest("crds"));
            plane.install_roles();
            plane.install_self_managed_permissions();
            Mutex::new(plane)
        });
        let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = Self { _witness: Witness::new(plane.logs()), plane, balancer: Balancer::start() };
        for kind in KINDS {
            stage.admin().run(["delete", kind, "crm-admission", "--ignore-not-found"]).succeeds();
        }
        stage.admin().run(["delete", "companies,admissionpolicies", "--all"]).succeeds();
        stage.delete_secret();
        stage
    }

    fn admin(&self) -> Kubectl {
        self.plane.kubectl("admin")
    }

    /// A new replica that receives calls.
    fn replica(&self) -> Replica {
        // With so many decisions, the end of the log would cover only the last moment.
        let quiet = "info,crm_admission::admission=warn";
        let args = ["--shutdown-delay", "3s", "--log", quiet];
        let webhook = Webhook::start_self_managed_with(&self.plane, &args);
        let backend = self.balancer.add(webhook.port(), webhook.admin_port());
        Replica { webhook, backend }
    }

    /// Two replicas, registered with the address of the balancer.
    fn replicas(&self) -> [Replica; 2] {
        let replicas = [(); 2].map(|()| self.replica());
        replicas[0].webhook.register_at(self.balancer.port());
        replicas
    }

    fn delete_secret(&self) {
        let gone = ["delete", "secret", "crm-admission-tls", "--ignore-not-found", "--namespace", NAMESPACE];
        self.admin().run(gone).succeeds();
    }

    /// A value of the Secret; empty if it is missing.
    fn secret(&self, key: &str) -> String {
        let get = ["get", "secret", "crm-admission-tls", "--ignore-not-found", "--namespace", NAMESPACE];
        let found = self.admin().run(get.into_iter().chain(["-o", "json"])).succeeds();
        let object: Value = serde_json::from_str(&found.stdout).unwrap_or_default();
        let text = object["data"][key].as_str().unwrap_or_default();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    }

    fn patch_secret(&self, texts: &[(&str, &str)]) {
        let data: Value = texts.iter().map(|(key, text)| (*key, STANDARD.encode(text))).collect();
        let patch = json!({ "data": data }).to_string();
        let run = ["patch", "secret", "crm-admission-tls", "--namespace", NAMESPACE, "-p", &patch];
        self.admin().run(run).succeeds();
    }

    /// The CA of the Secret, with its key.
    fn issuer(&self) -> Issuer<'static, KeyPair> {
        let key = KeyPair::from_pem(&self.secret("ca.key")).unwrap();
        Issuer::from_ca_cert_pem(&self.secret("ca.crt"), key).unwrap()
    }

    /// The number of failed webhook calls, according to the API server, including those that it ignored.
    fn failed_calls(&self) -> u64 {
        let metrics = self.admin().run(["get", "--raw", "/metrics"]).succeeds().stdout;
        let failed = |line: &&str| {
            line.starts_with("apiserver_admission_webhook_fail_open_count{")
                || line.starts_with("apiserver_admission_webhook_rejection_count{")
                    && line.contains(r#"error_type="calling_webhook_error""#)
        };
        let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        metrics.lines().filter(failed).filter_map(count).sum()
    }
}

impl Replica {
    /// The number of calls that it has answered.
    fn answered(&self) -> u64 {
        let (_, metrics) = self.webhook.admin_page("/metrics").unwrap();
        let counters = metrics.lines().filter(|line| line.starts_with("crm_admission_requests_total{"));
        counters.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// The certificate that it serves now.
    fn served(&self) -> Vec<CertificateDer<'static>> {
        look_at_served(&self.webhook.address().parse().unwrap(), "127.0.0.1", PATIENCE).unwrap()
    }

    /// Stops it like a pod that is deleted.
    #[track_caller]
    fn retire(mut self, balancer: &Balancer) {
        let ended = self.webhook.stop();
        assert!(ended.success(), "{ended}");
        balancer.remove(&self.backend);
    }
}

/// Waits until every replica serves a new certificate from the Secret.
#[track_caller]
fn await_other_certificate(stage: &Stage, replicas: &[Replica; 2], before: &[&str]) {
    poll::until("a new certificate on all replicas", PATIENCE, || {
        let stored = stage.secret("tls.crt");
        let serve = |replica: &Replica| replica.served() == pki::certificates(stored.as_bytes());
        match stored.is_empty() || before.contains(&stored.as_str()) {
            true => Seen::NotYet("the Secret has none".to_owned()),
            false if replicas.iter().all(serve) => Seen::Ready(()),
            false => Seen::NotYet("a replica serves another certificate than that of the Secret".to_owned()),
        }
    });
}

/// Waits until all replicas serve a certificate from a new CA of the Secret.
#[track_caller]
fn await_other_ca(stage: &Stage, replicas: &[Replica; 2], before: &CertificateDer<'static>) {
    poll::until("a certificate from a new CA on all replicas", PATIENCE, || {
        let cas = pki::certificates(stage.secret("ca.crt").as_bytes());
        let now = OffsetDateTime::now_utc().unix_timestamp();
        match cas.first() {
            Some(ca) if ca != before => {
                let by_it = |replica: &Replica| {
                    pki::verify(&replica.served(), std::slice::from_ref(ca), "127.0.0.1", now)
                };
                match replicas.iter().find_map(|replica| by_it(replica).err()) {
                    None => Seen::Ready(()),
                    Some(fault) => Seen::NotYet(fault.to_string()),
                }
            }
            _ => Seen::NotYet("there is no other CA".to_owned()),
        }
    });
}

/// Replaces both replicas. Each new one is ready before the old one stops.
fn replace(stage: &Stage, replicas: [Replica; 2]) -> [Replica; 2] {
    replicas.map(|old| {
        let new = stage.replica();
        old.retire(&stage.balancer);
        new
    })
}

/// Makes the certificate so old that it is due for renewal.
fn rotate_certificate(stage: &Stage, replicas: &[Replica; 2]) {
    let first = stage.secret("tls.crt");
    let now = OffsetDateTime::now_utc();
    let names = ["svc", "svc.cluster.local"].map(|end| format!("crm-admission.{NAMESPACE}.{end}"));
    let more = [format!("crm-admission.{NAMESPACE}"), "crm-admission".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names.into_iter().chain(more).collect::<Vec<_>>()).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - 60 * DAY;
    params.not_after = now + 30 * DAY;
    let key = KeyPair::generate().unwrap();
    let aged = params.signed_by(&key, &stage.issuer()).unwrap().pem();
    let ca = stage.secret("ca.key");
    stage.patch_secret(&[("tls.crt", &aged), ("tls.key", &key.serialize_pem())]);
    await_other_certificate(stage, replicas, &[&first, &aged]);
    assert_eq!(stage.secret("ca.key"), ca, "the CA was valid");
}

/// Makes the CA so old that it is due for renewal: the same key in a certificate from years ago.
fn rotate_ca(stage: &Stage, replicas: &[Replica; 2]) {
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::from_pem(&stage.secret("ca.key")).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "crm-admission CA");
    params.not_before = now - 3 * 365 * DAY;
    params.not_after = now + 2 * 365 * DAY;
    let aged = params.self_signed(&key).unwrap();
    stage.patch_secret(&[("ca.crt", &aged.pem())]);
    await_other_ca(stage, replicas, aged.der());
}

fn lose_secret(stage: &Stage, replicas: &[Replica; 2]) {
    let before = pki::certificates(stage.secret("ca.crt").as_bytes()).remove(0);
    stage.delete_secret();
    await_other_ca(stage, replicas, &before);
}

/// Changes the policy to deny label values that are not allowed, or to warn about them.
fn change_policy(stage: &Stage, replicas: &[Replica; 2], writers: &Writers, labels: Labels) {
    let action = if labels == Labels::Refused { "Deny" } else { "Warn" };
    let policy = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1",
        "kind": "AdmissionPolicy",
        "metadata": {"name": "default"},
        "spec": {"rules": [{"rule": "label-value", "action": action}]},
    });
    writers.expect(Labels::Changing);
    stage.admin().apply(&policy.to_string()).succeeds();
    let generation = &stage.admin().get("admissionpolicy", "default")["metadata"]["generation"];
    let shown = format!("crm_admission_policy_info{{policy=\"default@{generation}\"}} 1");
    for replica in replicas {
        poll::until("the new policy", PATIENCE, || match replica.webhook.admin_page("/metrics").unwrap() {
            (_, metrics) if metrics.contains(&shown) => Seen::Ready(()),
            _ => Seen::NotYet("another policy is in force".to_owned()),
        });
    }
    writers.expect(labels);
    writers.await_judged(labels);
}

/// Waits for more writes, and asserts that all writes succeeded.
#[track_caller]
fn all_is_well(writers: &Writers, when: &str) {
    writers.go_on_for(AFTERWARDS);
    writers.record().is_flawless(when);
}

/// Asserts that each replica has received a fair share of the calls since `before`.
#[track_caller]
fn both_take_part(replicas: &[Replica; 2], before: [u64; 2]) {
    let [one, other] = [0, 1].map(|index| replicas[index].answered() - before[index]);
    assert!(one.min(other) * 10 >= one + other, "unfair shares: {one} and {other} calls");
}

#[test]
fn planned_changes_lose_no_call() {
    let stage = Stage::set();
    let replicas = stage.replicas();
    let failed = stage.failed_calls();
    let writers = Writers::start(&stage.plane);
    all_is_well(&writers, "before any change");

    let replicas = replace(&stage, replicas);
    all_is_well(&writers, "both replicas are replaced");
    let before = replicas.each_ref().map(Replica::answered);

    rotate_certificate(&stage, &replicas);
    all_is_well(&writers, "the certificate is renewed");

    rotate_ca(&stage, &replicas);
    all_is_well(&writers, "the CA is renewed");

    for labels in [Labels::Refused, Labels::Warned] {
        change_policy(&stage, &replicas, &writers, labels);
        all_is_well(&writers, &format!("the policy is changed: {labels:?}"));
    }

    lose_secret(&stage, &replicas);
    all_is_well(&writers, "the Secret is made again");
    both_take_part(&replicas, before);

    // Replace the new replicas, too.
    let _replicas = replace(&stage, replicas);
    all_is_well(&writers, "both replicas are replaced again");
    assert_eq!(stage.failed_calls(), failed, "failed calls according to the API server");
    writers.finish();
}

#[test]
fn a_killed_replica_loses_only_its_calls_in_progress() {
    let stage = Stage::set();
    let replicas = stage.replicas();
    let before = replicas.each_ref().map(Replica::answered);
    let writers = Writers::start(&stage.plane);
    all_is_well(&writers, "before any change");
    both_take_part(&replicas, before);
    let [mut victim, survivor] = replicas;

    let backend = Arc::clone(&victim.backend);
    let [open, taken] = [backend.open(), backend.taken()];
    victim.webhook.kill();
    backend.await_gone();
    let noticed = Instant::now();
    writers.go_on_for(2 * AFTERWARDS);
    stage.balancer.remove(&backend);
    let replacement = stage.replica();
    writers.go_on_for(2 * AFTERWARDS);
    writers.record().has_no_wrong_answer("a replica is killed");
    // A connection has one call at a time.
    let connections = open + backend.taken() - taken;

    let failures = writers.record().failures();
    for (began, why) in &failures {
        assert!(why.contains("failed calling webhook"), "{why}");
        assert!(*began < noticed, "it was called after the balancer had noticed: {why}");
    }
    let [lost, refused] = [failures.len(), backend.refused()];
    assert!(
        lost <= IN_FLIGHT && lost <= connections + refused,
        "{lost} calls failed, but {connections} connections were lost and {refused} refused: {failures:?}"
    );
    writers.finish();
    drop([survivor, replacement]);
}
