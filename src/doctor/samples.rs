//! A healthy installation, for the tests of this room.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crm_core::api::installation::{NAMESPACE, SERVICE, TLS_SECRET};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::questions::Answer;
use super::shipped;
use super::snapshot::{Registration, Snapshot};
use super::target::{Place, Settings};
use crate::pki::certificates;

/// The current time in all samples.
const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 60 * 60;

pub(super) fn settings() -> Settings {
    Settings {
        namespace: NAMESPACE.to_owned(),
        service: SERVICE.to_owned(),
        tls_secret: TLS_SECRET.to_owned(),
        connect: None,
        place: Place::Outside,
        timeout: std::time::Duration::from_secs(10),
        definitions: Vec::new(),
        now: Timestamp::from_second(NOW).unwrap(),
    }
}

pub(super) fn snapshot() -> Snapshot {
    snapshot_trusting(&Authority::new(3650))
}

/// A snapshot whose webhooks trust this CA. The Secret is from another CA.
pub(super) fn snapshot_trusting(authority: &Authority) -> Snapshot {
    let registration = |registration: Registration| {
        let mut configuration = shipped::registration(registration.kind());
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            webhook["clientConfig"]["caBundle"] = json!(STANDARD.encode(&authority.pem));
        }
        Answer::Found(configuration)
    };
    Snapshot {
        definitions: Vec::new(),
        registrations: Registration::ALL.map(registration),
        floor: [Answer::Absent, Answer::Absent],
        guard: [Answer::Absent, Answer::Absent],
        service: Answer::Found(json!({"spec": {"ports": [{"port": 443}]}})),
        endpoint_slices: Answer::Found(vec![json!({"endpoints": [{"conditions": {"ready": true}}]})]),
        secret: Answer::Absent,
        deployment: Answer::Absent,
        service_account: Answer::Found(json!({})),
        policies: Answer::Found(Vec::new()),
        certificates: Answer::Absent,
        issuers: Answer::Absent,
        bindings: [Answer::Absent, Answer::Absent],
        lease: Answer::Absent,
    }
}

/// A Deployment that starts the program with these arguments.
pub(super) fn deployment(args: &[&str]) -> Answer<Value> {
    let container = json!({"name": "crm-admission", "args": args});
    Answer::Found(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
}

pub(super) fn found(answer: &mut Answer<Value>) -> &mut Value {
    match answer {
        Answer::Found(value) => value,
        other => panic!("{other:?}"),
    }
}

/// A CA that is valid until some days after [`NOW`].
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(days: i64) -> Self {
        Self::with_key(KeyPair::generate().unwrap(), days)
    }

    fn with_key(key: KeyPair, days: i64) -> Self {
        let mut params = until(Vec::new(), days);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// The same CA with another expiry date.
    pub(super) fn until(&self, days: i64) -> Self {
        let key = KeyPair::from_pem(&self.issuer.key().serialize_pem()).unwrap();
        Self::with_key(key, days)
    }

    /// The PEM of both CAs, for a `caBundle`.
    pub(super) fn and(self, other: &Self) -> Self {
        Self { pem: self.pem + &other.pem, ..self }
    }

    /// A Secret with a certificate for `host`, and that certificate.
    pub(super) fn secret(&self, host: &str, days: i64) -> (Value, Vec<CertificateDer<'static>>) {
        let key = KeyPair::generate().unwrap();
        let certificate = until(vec![host.to_owned()], days).signed_by(&key, &self.issuer).unwrap();
        let encode = |text: &str| STANDARD.encode(text);
        let secret = json!({"data": {
            "tls.crt": encode(&certificate.pem()),
            "tls.key": encode(&key.serialize_pem()),
            "ca.crt": encode(&self.pem),
        }});
        (secret, certificates(certificate.pem().as_bytes()))
    }
}

fn until(names: Vec<String>, days: i64) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    params.not_before = at(NOW - 365 * DAY);
    // Some hours more, so that this many whole days are left.
    params.not_after = at(NOW + days * DAY + DAY / 4);
    params
}
