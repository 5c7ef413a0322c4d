//! Recognizes whose a Secret is, so that no key of somebody else is overwritten.
//!
//! Pure.

use std::fmt;

use crm_core::api::installation::NAME;
use k8s_openapi::api::core::v1::Secret;

use super::renewal::{Contents, ca_name};
use crate::pki::{self, Facts, certificates};

/// The label that tells who manages an object. The Kubernetes documentation recommends it.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The annotation that describes an object to its readers.
pub(super) const DESCRIPTION: &str = "kubernetes.io/description";
/// The annotation of a Secret that cert-manager manages: the name of its Certificate.
pub const CERT_MANAGER: &str = "cert-manager.io/certificate-name";

/// Whose a Secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's: it has no content.
    Nobody,
    /// This program wrote it.
    Us {
        /// Whether it has the label that says so.
        labelled: bool,
    },
    /// Somebody else's.
    Other(Other),
}

/// The owner of a Secret that this program must not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other {
    /// cert-manager writes it.
    CertManager {
        /// The name of its Certificate.
        certificate: String,
    },
    /// It has a certificate that somebody else issued.
    Issued {
        /// The issuer.
        issuer: String,
    },
    /// It has other content.
    Unknown,
}

impl Other {
    /// How to use its certificate, or how to let the program create its own.
    pub fn fix(&self, namespace: &str, secret: &str) -> String {
        let own = format!(
            "kubectl -n {namespace} delete secret {secret}, or give another name with --tls-secret, and the program \
             creates its own"
        );
        match self {
            Self::CertManager { certificate } => format!(
                "to keep cert-manager, serve with --tls-cert and --tls-key instead of --tls-self-managed (the overlay \
                 cert-manager); otherwise kubectl -n {namespace} delete certificate {certificate}, then {own}"
            ),
            Self::Issued { .. } => format!(
                "to use this certificate, serve with --tls-cert and --tls-key instead of --tls-self-managed (the \
                 overlay own-certificate); otherwise keep a copy, then {own}"
            ),
            Self::Unknown => format!("keep a copy, then {own}"),
        }
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertManager { certificate } => {
                write!(f, "cert-manager manages it for the Certificate {certificate}")
            }
            Self::Issued { issuer } => write!(f, "it has a certificate that {issuer} issued, not {NAME}"),
            Self::Unknown => write!(f, "it has content that {NAME} did not write"),
        }
    }
}

impl Owner {
    /// Whose this Secret is.
    ///
    /// The label alone does not decide: `kubectl apply` of another certificate keeps the labels that are there. Secrets
    /// whose label was lost are recognized by their CA.
    pub fn of(secret: &Secret) -> Self {
        let contents = Contents::of(secret);
        if let Some(certificate) = annotation(secret, CERT_MANAGER) {
            return Self::Other(Other::CertManager { certificate: certificate.to_owned() });
        }
        if contents == Contents::default() {
            return Self::Nobody;
        }
        if let Some(issuer) = stranger(&contents) {
            return Self::Other(Other::Issued { issuer });
        }
        let label = secret.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
        let labelled = label.is_some_and(|manager| manager == NAME);
        if labelled || has_our_ca(&contents) { Self::Us { labelled } } else { Self::Other(Other::Unknown) }
    }
}

fn annotation<'s>(secret: &'s Secret, key: &str) -> Option<&'s str> {
    secret.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The issuer of a certificate with its key, if it is not one of our CAs. Without its key, a certificate is no loss.
fn stranger(contents: &Contents) -> Option<String> {
    let chain = certificates(&contents.certificate);
    let issuer = Facts::of(chain.first()?)?.issuer;
    pki::key_fits(&chain, &contents.key).ok()?;
    (!is_our_ca(&issuer)).then_some(issuer)
}

fn has_our_ca(contents: &Contents) -> bool {
    let ca = certificates(&contents.cas).first().and_then(Facts::of);
    ca.is_some_and(|ca| is_our_ca(&ca.subject))
}

fn is_our_ca(name: &str) -> bool {
    name.contains(&ca_name())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::certificates::renewal::{CurrentCa, Situation, due};
    use crate::pki::{Authority, DAY, Validity, unix_now};

    fn ours() -> Contents {
        let names = ["crm-admission.crm-admission-system.svc".to_owned()];
        let situation =
            Situation { names: &names, live: &[], current_ca: CurrentCa::NotYet, now: unix_now() };
        due(None, &situation).unwrap().unwrap().contents
    }

    /// A certificate and its key by another CA.
    fn theirs() -> Contents {
        let validity = Validity::from_now(unix_now(), DAY);
        let authority = Authority::create("Acme Issuing CA", validity).unwrap();
        let identity = authority.issue("acme", &["acme.example".to_owned()], validity).unwrap();
        Contents { certificate: identity.certificate, key: identity.key, ..Contents::default() }
    }

    fn secret(contents: &Contents, label: Option<&str>, certificate: Option<&str>) -> Secret {
        let metadata = json!({
            "labels": label.map(|manager| json!({MANAGED_BY: manager})),
            "annotations": certificate.map(|name| json!({CERT_MANAGER: name})),
        });
        let mut secret: Secret = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        secret.data = Some(contents.data());
        secret
    }

    #[rstest]
    #[case::created(ours(), Some(NAME), Owner::Us { labelled: true })]
    #[case::without_its_label(ours(), None, Owner::Us { labelled: false })]
    #[case::with_a_label_of_helm(ours(), Some("Helm"), Owner::Us { labelled: false })]
    #[case::damaged(Contents { key: b"hello".to_vec(), ..theirs() }, Some(NAME), Owner::Us { labelled: true })]
    #[case::empty(Contents::default(), None, Owner::Nobody)]
    #[case::of_an_admin(theirs(), None, Owner::Other(Other::Issued { issuer: "CN=Acme Issuing CA".to_owned() }))]
    #[case::of_an_admin_over_ours(
        Contents { cas: ours().cas, ca_key: ours().ca_key, ..theirs() },
        Some(NAME),
        Owner::Other(Other::Issued { issuer: "CN=Acme Issuing CA".to_owned() }),
    )]
    #[case::of_something_else(
        Contents { key: b"hello".to_vec(), ..Contents::default() }, None, Owner::Other(Other::Unknown)
    )]
    fn the_owner_is_recognized(
        #[case] contents: Contents,
        #[case] label: Option<&str>,
        #[case] owner: Owner,
    ) {
        assert_eq!(Owner::of(&secret(&contents, label, None)), owner);
        let owner = Owner::Other(Other::CertManager { certificate: "webhook".to_owned() });
        assert_eq!(Owner::of(&secret(&contents, label, Some("webhook"))), owner);
    }
}
