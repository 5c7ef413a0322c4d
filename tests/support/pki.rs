//! Certificates for servers and clients, and the keys of a control plane.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// A CA for one run.
pub(crate) struct Authority {
    /// Its certificate, which clients trust.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn create(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters without names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a self-signed certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A server certificate for the loopback addresses, localhost, and the Service by which the API server calls the
    /// webhook.
    pub(crate) fn server(&self) -> Identity {
        self.server_at(&[])
    }

    /// Like [`Authority::server`], with further names and addresses.
    pub(crate) fn server_at(&self, names: &[String]) -> Identity {
        let local = ["127.0.0.1", "::1", "localhost", "crm-admission.crm-admission-system.svc"];
        let names: Vec<&str> = local.into_iter().chain(names.iter().map(String::as_str)).collect();
        self.server_for(&names, 365)
    }

    /// A server certificate for these names that is valid for this many days.
    pub(crate) fn server_for(&self, names: &[&str], days: i64) -> Identity {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A client certificate with this common name.
    pub(crate) fn client(&self, name: &str) -> Identity {
        self.client_in(name, None)
    }

    /// A client certificate of a user in this group, as the API server reads it.
    pub(crate) fn client_in(&self, name: &str, group: Option<&str>) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters without names");
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A private and a public key as PEM, with which kube-apiserver signs and verifies the tokens of service accounts.
pub(crate) fn signing_keys() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    (key.serialize_pem(), key.public_key_pem())
}
