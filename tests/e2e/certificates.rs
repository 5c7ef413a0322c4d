//! Tests self-managed certificates: they are created once, trusted by the API server, and renewed and repaired during
//! writes.

use crate::support::control_plane::ControlPlane;
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::pki::Authority;
use crate::support::poll::{self, Seen};
use crate::support::process::Witness;
use crate::support::records::company;
use crate::support::webhook::{self, Reach, Webhook};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crm_admission::certificates::look_at_served;
use crm_admission::pki::{self, Facts};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a renewal may take, including the time to wait for API servers.
const PATIENCE: Duration = Duration::from_secs(90);
const NAMESPACE: &str = "crm-admission-system";
const KINDS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// The webhooks in both configurations.
const WEBHOOKS: usize = 4;

/// A control plane with the kinds and the permissions, without Secret and registration. One test uses it at a time.
struct Stage {
    _witness: Witness,
    plane: MutexGuard<'static, ControlPlane>,
}

impl Stage {
    fn set() -> Self {
        static PLANE: LazyLock<Mutex<ControlPlane>> = LazyLock::new(|| {
            let plane = ControlPlane::start();
            plane.install_kinds(&manifest("crds"));
            plane.install_roles();
            Mutex::new(plane)
        });
        let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = Self { _witness: Witness::new(plane.logs()), plane };
        let admin = stage.admin();
        stage.plane.install_self_managed_permissions();
        for kind in KINDS {
            admin.run(["delete", kind, "crm-admission", "--ignore-not-found"]).succeeds();
        }
        stage.delete_secret();
        stage
    }

    fn admin(&self) -> Kubectl {
        self.plane.kubectl("admin")
    }

    fn delete_secret(&self) {
        let gone = ["delete", "secret", "crm-admission-tls", "--ignore-not-found", "--namespace", NAMESPACE];
        self.admin().run(gone).succeeds();
    }

    /// The strings of the Secret; `None` before it exists.
    fn secret(&self) -> Option<Secret> {
        let get = ["get", "secret", "crm-admission-tls", "--namespace", NAMESPACE, "-o", "json"];
        let found = self.admin().run(get);
        found.ok().then(|| Secret(found.json()))
    }

    /// The bundles of a webhook configuration, one for each webhook.
    fn bundles(&self, kind: &str) -> Vec<Vec<CertificateDer<'static>>> {
        let object = self.admin().get(kind, "crm-admission");
        let webhooks = object["webhooks"].as_array().unwrap();
        let text =
            |webhook: &Value| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
        webhooks.iter().map(|webhook| pki::certificates(&STANDARD.decode(text(webhook)).unwrap())).collect()
    }

    /// The bundles of both configurations.
    fn all_bundles(&self) -> Vec<Vec<CertificateDer<'static>>> {
        KINDS.iter().flat_map(|kind| self.bundles(kind)).collect()
    }

    /// Waits until the Secret is valid, and all webhooks trust exactly its CAs.
    #[track_caller]
    fn await_trust(&self) -> Secret {
        poll::until("bundles with the CAs of the Secret", PATIENCE, || match self.secret() {
            None => Seen::NotYet("there is no Secret".to_owned()),
            Some(secret) => {
                let cas = secret.certificates("ca.crt");
                let bundles = self.all_bundles();
                if !cas.is_empty() && bundles.len() == WEBHOOKS && bundles.iter().all(|bundle| *bundle == cas)
                {
                    Seen::Ready(secret)
                } else {
                    Seen::NotYet(format!("{} CAs, trusted: {:?}", cas.len(), bundles.iter().map(Vec::len)))
                }
            }
        })
    }
}

/// The stored Secret.
struct Secret(Value);

impl Secret {
    fn text(&self, key: &str) -> Vec<u8> {
        STANDARD.decode(self.0["data"][key].as_str().unwrap_or_default()).unwrap()
    }

    fn certificates(&self, key: &str) -> Vec<CertificateDer<'static>> {
        pki::certificates(&self.text(key))
    }
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// The certificate that a replica serves.
fn served(replica: &Webhook) -> Vec<CertificateDer<'static>> {
    look_at_served(&replica.address().parse().unwrap(), "127.0.0.1", Duration::from_secs(5)).unwrap()
}

/// Waits until every replica serves the Secret's certificate.
#[track_caller]
fn await_served(stage: &Stage, replicas: &[&Webhook]) {
    poll::until("the certificate of the Secret", PATIENCE, || {
        let stored = stage.secret().unwrap().certificates("tls.crt");
        match replicas.iter().position(|replica| served(replica) != stored) {
            None => Seen::Ready(()),
            Some(replica) => Seen::NotYet(format!("replica {replica} serves another")),
        }
    });
}

/// Waits until a replica says that the upkeep of its certificates works.
#[track_caller]
fn await_upkeep(replica: &Webhook) {
    poll::until("working certificate upkeep", PATIENCE, || match replica.admin_page("/readyz") {
        Ok((200, page)) if page.contains("[+]certificate upkeep ok") => Seen::Ready(()),
        other => Seen::NotYet(format!("{other:?}")),
    });
}

/// Does something while records are written and new callers connect to every replica. No call may fail.
#[track_caller]
fn while_writes_go_on(stage: &Stage, replicas: &[&Webhook], act: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let alice = stage.plane.kubectl("alice");
    let record = company("certificates-probe", "{displayName: Acme}");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut writes = 0;
            while !done.load(Ordering::Relaxed) {
                alice.run_with(&record, ["apply", "--dry-run=server", "-f", "-"]).succeeds();
                writes += 1;
            }
            writes
        });
        let caller = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // In this order, because an API server may not know the newest bundle yet.
                let bundles = stage.all_bundles();
                for replica in replicas {
                    let chain = served(replica);
                    for bundle in &bundles {
                        pki::verify(&chain, bundle, "127.0.0.1", now()).unwrap();
                    }
                }
            }
        });
        // Stop the threads in any case, because running ones would hide the failure.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        done.store(true, Ordering::Relaxed);
        let writes = writer.join().expect("no write failed");
        caller.join().expect("every caller accepted every replica");
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(writes > 3, "only {writes} writes meanwhile");
    });
}

/// Registers one replica to mutate and the other to validate, so that every write needs both.
#[track_caller]
fn register(stage: &Stage, [mutating, validating]: [&Webhook; 2]) {
    let admin = stage.admin();
    let local = |shipped: Value| match shipped["kind"].as_str() {
        Some("MutatingWebhookConfiguration") => mutating.local(shipped),
        _ => validating.local(shipped),
    };
    let items: Vec<Value> = webhook::shipped(&admin).into_iter().map(local).collect();
    admin.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).succeeds();
    stage.await_trust();
    for replica in [mutating, validating] {
        replica.await_reach(Reach::Called);
    }
}

/// A configuration without its bundles and without the metadata that the API server changes.
fn without_bundles(mut configuration: Value) -> Value {
    for field in ["resourceVersion", "generation", "managedFields"] {
        configuration["metadata"].as_object_mut().unwrap().remove(field);
    }
    for webhook in configuration["webhooks"].as_array_mut().unwrap() {
        webhook["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    }
    configuration
}

#[test]
fn a_first_start_creates_the_secret_and_writes_only_the_bundles() {
    let stage = Stage::set();
    let webhook = Webhook::start_self_managed(&stage.plane);
    webhook.install();
    stage.await_trust();
    let before = KINDS.map(|kind| stage.admin().get(kind, "crm-admission"));
    // Register the shipped configurations, which have no bundle, while the webhook runs. Only the bundles are written.
    for kind in KINDS {
        stage.admin().run(["delete", kind, "crm-admission"]).succeeds();
    }
    webhook.install();
    let secret = stage.await_trust();
    webhook.await_reach(Reach::Called);
    for (kind, before) in KINDS.iter().zip(before) {
        let mut after = without_bundles(stage.admin().get(kind, "crm-admission"));
        let mut before = without_bundles(before);
        for object in [&mut after, &mut before] {
            for field in ["uid", "creationTimestamp"] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
        }
        assert_eq!(before, after);
        let written: Vec<Value> = owned_by_the_webhook(&stage, kind);
        assert!(!written.is_empty() && written.iter().all(only_bundles), "{written:?}");
    }
    assert_eq!(secret.0["type"], "kubernetes.io/tls");
    assert_eq!(secret.0["metadata"]["labels"]["app.kubernetes.io/managed-by"], "crm-admission");
    let leaf = Facts::of(&secret.certificates("tls.crt")[0]).unwrap();
    let names = ["svc", "svc.cluster.local"].map(|end| format!("crm-admission.{NAMESPACE}.{end}"));
    for name in names.iter().map(String::as_str).chain(["crm-admission", "127.0.0.1"]) {
        assert!(leaf.names.iter().any(|known| known == name), "{name} is not among {:?}", leaf.names);
    }
    let (code, page) = webhook.admin_page("/readyz").unwrap();
    assert!(code == 200 && page.contains("[+]certificate upkeep ok"), "{code} {page}");
    let (_, page) = webhook.admin_page("/metrics").unwrap();
    for certificate in ["serving", "ca", "ca-bundle"] {
        let metric =
            format!("crm_admission_certificate_expiry_timestamp_seconds{{certificate=\"{certificate}\"}} ");
        assert!(page.contains(&metric), "{metric} is not in\n{page}");
    }
}

#[test]
fn a_configuration_without_a_ca_has_it_at_once() {
    let stage = Stage::set();
    let webhook = Webhook::start_self_managed(&stage.plane);
    webhook.install();
    stage.await_trust();
    for _ in 0..3 {
        for kind in KINDS {
            stage.admin().run(["delete", kind, "crm-admission"]).succeeds();
        }
        webhook.install();
        // Much shorter than the time between two turns without a change.
        poll::until("bundles", Duration::from_secs(4), || {
            match stage.all_bundles().iter().all(|bundle| !bundle.is_empty()) {
                true => Seen::Ready(()),
                false => Seen::NotYet("a bundle is empty".to_owned()),
            }
        });
    }
}

/// How often a replica has written a `caBundle`.
fn bundle_writes(replica: &Webhook) -> u32 {
    let (_, page) = replica.admin_page("/metrics").unwrap();
    let metric = "crm_admission_certificate_writes_total{object=\"ca-bundle\"} ";
    let line = page.lines().find_map(|line| line.strip_prefix(metric)).expect("the metric");
    line.parse().unwrap()
}

#[test]
fn another_product_that_keeps_replacing_the_ca_is_not_answered_at_every_write() {
    let stage = Stage::set();
    let webhook = Webhook::start_self_managed(&stage.plane);
    webhook.install();
    stage.await_trust();
    let theirs = STANDARD.encode(Authority::create("Acme CA").pem);
    let patch =
        json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": theirs}]).to_string();
    let before = bundle_writes(&webhook);
    for _ in 0..80 {
        let write = ["patch", KINDS[0], "crm-admission", "--type=json", "-p", &patch];
        stage.admin().run(write).succeeds();
    }
    let ours = bundle_writes(&webhook) - before;
    assert!((5..50).contains(&ours), "{ours} writes of the webhook");
    let log = std::fs::read_to_string(webhook.log().path()).unwrap();
    assert!(log.contains("keep changing; does another product manage them too?"), "{log}");
    // The last word is the webhook's.
    let admin = stage.admin();
    poll::until("a bundle with our CA", PATIENCE, || {
        let cas = stage.secret().unwrap().certificates("ca.crt");
        match stage.bundles(KINDS[0])[0].starts_with(&cas) {
            true => Seen::Ready(()),
            false => Seen::NotYet(admin.get(KINDS[0], "crm-admission").to_string()),
        }
    });
}

#[test]
fn a_secret_of_an_admin_is_left_unchanged_and_the_replica_says_what_to_do() {
    let stage = Stage::set();
    let webhook = Webhook::start_self_managed(&stage.plane);
    webhook.install();
    stage.await_trust();
    let identity = Authority::create("Acme CA").server_for(&["acme.example"], 90);
    let [certificate, key] = [("tls.crt", &identity.certificate), ("tls.key", &identity.key)]
        .map(|(name, text)| stage.plane.workspace().write("foreign", name, text).display().to_string());
    // As admins do it: the labels and the other keys of the Secret stay.
    let create = ["create", "secret", "tls", "crm-admission-tls", "--namespace", NAMESPACE];
    let files = ["--cert", &certificate, "--key", &key, "--dry-run=client", "-o", "yaml"];
    let theirs = stage.admin().run(create.into_iter().chain(files)).succeeds().stdout;
    stage.admin().apply(&theirs).succeeds();
    let before = stage.secret().unwrap();
    let page = poll::until("the reason", PATIENCE, || match webhook.admin_page("/readyz") {
        Ok((_, page)) if page.contains("was left unchanged") => Seen::Ready(page),
        other => Seen::NotYet(format!("{other:?}")),
    });
    assert!(page.contains("it has a certificate that CN=Acme CA issued, not crm-admission"), "{page}");
    let after = stage.secret().unwrap();
    assert_eq!(after.text("tls.key"), identity.key.into_bytes());
    assert_eq!(after.0, before.0);
    // The fix that it names.
    stage.delete_secret();
    await_upkeep(&webhook);
    stage.await_trust();
}

/// The fields of a configuration that the webhook owns according to `managedFields`.
fn owned_by_the_webhook(stage: &Stage, kind: &str) -> Vec<Value> {
    let get = ["get", kind, "crm-admission", "-o", "json", "--show-managed-fields"];
    let object = stage.admin().run(get).succeeds().json();
    let owners = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    owners
        .into_iter()
        .filter(|owner| owner["manager"] == "crm-admission")
        .map(|owner| owner["fieldsV1"].clone())
        .collect()
}

/// Whether every leaf of a set of fields is a bundle.
fn only_bundles(fields: &Value) -> bool {
    fields.as_object().is_some_and(|fields| {
        fields.iter().all(|(name, below)| {
            name == "f:caBundle" || below.as_object().is_some_and(|it| !it.is_empty()) && only_bundles(below)
        })
    })
}

#[test]
fn two_replicas_that_start_at_the_same_time_create_one_secret() {
    let stage = Stage::set();
    let start = || Webhook::start_self_managed(&stage.plane);
    let [one, other] = std::thread::scope(|scope| {
        [scope.spawn(start), scope.spawn(start)]
            .map(|replica| replica.join().expect("a replica that is ready"))
    });
    register(&stage, [&one, &other]);
    await_served(&stage, &[&one, &other]);
    let secret = stage.await_trust();
    assert_eq!(secret.certificates("ca.crt").len(), 1, "a second CA was created");
}

#[test]
fn a_deleted_secret_is_created_again_during_writes() {
    let stage = Stage::set();
    let replicas = [(); 2].map(|()| Webhook::start_self_managed(&stage.plane));
    let [one, other] = [&replicas[0], &replicas[1]];
    register(&stage, [one, other]);
    let before = stage.await_trust().certificates("ca.crt");
    while_writes_go_on(&stage, &[one, other], || {
        stage.delete_secret();
        let after = stage.await_trust().certificates("ca.crt");
        assert_ne!(after[0], before[0], "a new CA");
        assert_eq!(after[1..], before[..], "the lost CA stays trusted");
        await_served(&stage, &[one, other]);
    });
}

#[test]
fn a_corrupted_secret_is_replaced_during_writes() {
    let stage = Stage::set();
    let replicas = [(); 2].map(|()| Webhook::start_self_managed(&stage.plane));
    let [one, other] = [&replicas[0], &replicas[1]];
    register(&stage, [one, other]);
    while_writes_go_on(&stage, &[one, other], || {
        for key in ["tls.key", "tls.crt", "ca.key", "ca.crt"] {
            let before = stage.await_trust();
            let patch = json!({"data": {key: STANDARD.encode("hello")}}).to_string();
            let run = ["patch", "secret", "crm-admission-tls", "--namespace", NAMESPACE, "-p", &patch];
            stage.admin().run(run).succeeds();
            poll::until("other content of the Secret", PATIENCE, || match stage.secret() {
                Some(secret) if ![b"hello".to_vec(), before.text(key)].contains(&secret.text(key)) => {
                    Seen::Ready(())
                }
                _ => Seen::NotYet(format!("{key} is as it was")),
            });
            stage.await_trust();
            await_served(&stage, &[one, other]);
        }
    });
}

/// A Secret that is years old: half of the CA's lifetime has passed.
fn aged(stage: &Stage) -> Vec<u8> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "crm-admission CA 2023-01-01");
    params.not_before = now - 3 * 365 * DAY;
    params.not_after = now + 2 * 365 * DAY;
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names = [
        &format!("crm-admission.{NAMESPACE}.svc"),
        &format!("crm-admission.{NAMESPACE}.svc.cluster.local"),
        &format!("crm-admission.{NAMESPACE}"),
        "crm-admission",
        "127.0.0.1",
    ];
    let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - 10 * DAY;
    params.not_after = now + 80 * DAY;
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &ca).unwrap();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "crm-admission-tls", "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": leaf.pem(),
            "tls.key": key.serialize_pem(),
            "ca.crt": ca.pem(),
            "ca.key": ca.key().serialize_pem(),
        },
    });
    // In place of what is there: a deleted Secret is created again at once.
    stage.admin().apply(&secret.to_string()).succeeds();
    ca.der().to_vec()
}

#[test]
fn a_ca_past_half_of_its_lifetime_is_replaced_during_writes() {
    let stage = Stage::set();
    let old = CertificateDer::from(aged(&stage));
    let replicas = [(); 2].map(|()| Webhook::start_self_managed(&stage.plane));
    let [one, other] = [&replicas[0], &replicas[1]];
    let by = |chain: &[CertificateDer<'static>], ca: &CertificateDer<'static>| {
        pki::verify(chain, std::slice::from_ref(ca), "127.0.0.1", now()).is_ok()
    };
    // Without callers, there is nothing to wait for. The old Secret is restored during the writes.
    register(&stage, [one, other]);
    await_served(&stage, &[one, other]);
    let first = stage.await_trust();
    assert_eq!(first.certificates("ca.crt")[1..], [old]);
    while_writes_go_on(&stage, &[one, other], || {
        let old = CertificateDer::from(aged(&stage));
        let new = poll::until("a certificate by a new CA", PATIENCE, || match stage.secret() {
            Some(secret) if secret.certificates("ca.crt").len() > 1 => {
                let cas = secret.certificates("ca.crt");
                assert!(cas.contains(&old), "the old CA is not trusted any more");
                if by(&secret.certificates("tls.crt"), &cas[0]) {
                    Seen::Ready(cas[0].clone())
                } else {
                    // Meanwhile, the served certificate is from another CA.
                    Seen::NotYet("the new CA is trusted first".to_owned())
                }
            }
            _ => Seen::NotYet("there is no new CA".to_owned()),
        });
        await_served(&stage, &[one, other]);
        assert!([one, other].iter().all(|replica| by(&served(replica), &new)));
    });
}

#[test]
fn a_replica_without_its_permissions_names_them_and_continues() {
    let stage = Stage::set();
    let webhook = Webhook::start_self_managed(&stage.plane);
    webhook.install();
    stage.await_trust();
    webhook.await_reach(Reach::Called);
    let admin = stage.admin();
    admin.run(["delete", "clusterrolebinding", "crm-admission-certificates"]).succeeds();
    let page = poll::until("an impaired part", PATIENCE, || match webhook.admin_page("/readyz") {
        Ok((200, page)) if page.contains("[!]certificate upkeep") => Seen::Ready(page),
        other => Seen::NotYet(format!("{other:?}")),
    });
    assert!(
        page.contains("the ClusterRole and the ClusterRoleBinding crm-admission-certificates grant it"),
        "{page}"
    );
    webhook.await_reach(Reach::Called);
    admin.apply_path(&manifest("overlays/self-managed/rbac.yaml")).succeeds();
    await_upkeep(&webhook);
}

#[test]
fn the_permissions_are_limited_to_its_own_objects() {
    let stage = Stage::set();
    let webhook = stage.plane.kubectl("crm-admission");
    for (args, allowed) in [
        (&["get", "secret/crm-admission-tls", "-n", NAMESPACE][..], true),
        (&["update", "secret/crm-admission-tls", "-n", NAMESPACE], true),
        (&["get", "secret/another", "-n", NAMESPACE], false),
        (&["watch", "secret/crm-admission-tls", "-n", NAMESPACE], true),
        (&["list", "secrets", "-n", NAMESPACE], false),
        (&["delete", "secret/crm-admission-tls", "-n", NAMESPACE], false),
        (&["get", "secret/crm-admission-tls", "-n", "default"], false),
        (&["create", "secrets", "-n", "default"], false),
        (&["patch", "mutatingwebhookconfiguration/crm-admission"], true),
        (&["patch", "validatingwebhookconfiguration/another"], false),
        (&["watch", "validatingwebhookconfigurations"], false),
        (&["delete", "mutatingwebhookconfiguration/crm-admission"], false),
        (&["create", "validatingwebhookconfigurations"], false),
    ] {
        let asked = webhook.run(["auth", "can-i"].iter().chain(args));
        assert_eq!(asked.ok(), allowed, "{args:?}: {asked}");
    }
}

#[test]
fn certs_show_lists_trusted_and_untrusted_certificates() {
    let stage = Stage::set();
    let webhook = Webhook::start_self_managed(&stage.plane);
    webhook.install();
    stage.await_trust();
    let show = |args: &[&str]| {
        let output = Command::new(webhook::product())
            .args(["certs", "show"])
            .args(args)
            .env("KUBECONFIG", stage.plane.kubeconfig("admin"))
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = show(&["--connect", &webhook.address()]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    // It may still be the second in which the certificate was created.
    let out = out.replace("(90 days left)", "(89 days left)");
    for part in [
        "Secret crm-admission-system/crm-admission-tls\n  certificate CN=crm-admission for ",
        "(89 days left)\n  CA CN=crm-admission CA ",
        ": the certificate in the Secret\n",
        "MutatingWebhookConfiguration crm-admission\n  mutate.crm.milo.io, which calls 127.0.0.1, accepts it\n",
        "  delete.crm.milo.io, which calls 127.0.0.1, accepts it\n    trusts CN=crm-admission CA ",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    // After this, the damaged configuration is not repaired.
    drop(webhook);
    stage.delete_secret();
    aged(&stage);
    let (code, out, _) = show(&["--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(1), "{out}");
    let problems = report["problems"].as_array().unwrap();
    let refused = "mutate.crm.milo.io of MutatingWebhookConfiguration would not accept the certificate of Secret \
                   crm-admission-system/crm-admission-tls: it was not signed by a trusted CA";
    assert!(problems.contains(&json!(refused)), "{problems:?}");
    stage.delete_secret();
    let (code, out, _) = show(&[]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("problem: there is no Secret crm-admission-system/crm-admission-tls"), "{out}");
}
