//! Certificates: what they say, who vouches for them, and which one is served at an address.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::parse_x509_certificate;

/// A certificate, and those between it and its authority.
pub(super) type Chain = Vec<CertificateDer<'static>>;

/// When a certificate holds, in seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// What a bundle of authorities makes of a certificate, whenever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It vouches for it, by an authority that holds as long as this.
    Trusted(Option<Validity>),
    /// It vouches for it, but not by this name; the names that it has.
    WrongName(String),
    /// It does not vouch for it; why.
    Untrusted(String),
}

/// The certificates of a text, up to what cannot be read.
pub(super) fn certificates(pem: &[u8]) -> Chain {
    CertificateDer::pem_slice_iter(pem).map_while(Result::ok).collect()
}

/// The authorities of a bundle; `None` if there are none, or one that cannot be read: then Go, and so the API server, takes
/// none of them.
pub(super) fn authorities(pem: &[u8]) -> Option<Chain> {
    let found = certificates(pem);
    let good = !found.is_empty() && found.iter().all(|authority| validity(authority).is_some());
    good.then_some(found)
}

/// When it holds; `None` if it is no certificate.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    Some(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}

/// Whether the private key is the certificate's.
///
/// # Errors
/// Why not.
pub(super) fn key_fits(chain: &Chain, key: &[u8]) -> Result<(), String> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "it is no private key in PEM".to_owned())?;
    match CertifiedKey::from_der(chain.clone(), key, &provider()) {
        Ok(_) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("it is not the key of the certificate".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Whether one of the authorities vouches for the chain by the name `host`, at a time at which the certificate holds.
pub(super) fn verify(chain: &Chain, authorities: &Chain, host: &str, now: i64) -> Verdict {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Verdict::Untrusted("there is no certificate".to_owned());
    };
    let Ok(name) = ServerName::try_from(host) else {
        return Verdict::WrongName(format!("{host:?} is no name that a certificate can have"));
    };
    let time = time_of(leaf, now);
    let mut verdict = Verdict::Untrusted("no authority of it signed the certificate".to_owned());
    for authority in authorities {
        let result = if authority == leaf {
            // Vouched for by itself. Go, and so the API server, accepts that whether or not it is an authority.
            ParsedCertificate::try_from(leaf)
                .and_then(|parsed| rustls::client::verify_server_name(&parsed, &name))
        } else {
            verify_by(leaf, intermediates, authority, &name, time)
        };
        match result {
            Ok(()) => return Verdict::Trusted(validity(authority)),
            Err(Error::InvalidCertificate(
                error @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
            )) => verdict = Verdict::WrongName(error.to_string()),
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
            Err(error) if !matches!(verdict, Verdict::WrongName(_)) => {
                verdict = Verdict::Untrusted(error.to_string());
            }
            Err(_) => {}
        }
    }
    verdict
}

fn verify_by(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    authority: &CertificateDer<'static>,
    name: &ServerName<'_>,
    time: UnixTime,
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    verifier.verify_server_cert(leaf, intermediates, name, &[], time).map(|_| ())
}

/// Now, or else the time next to it at which the certificate holds: that it does not hold now is found elsewhere.
fn time_of(leaf: &CertificateDer<'_>, now: i64) -> UnixTime {
    let seconds = match validity(leaf) {
        Some(held) if held.not_before <= held.not_after => now.clamp(held.not_before, held.not_after),
        _ => now,
    };
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// The chain that is served at `address` to who asks for `host`.
///
/// # Errors
/// Why there is no TLS connection, in words.
pub(super) async fn served(address: &str, host: &str, limit: Duration) -> Result<Chain, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host:?}: {error}"))?;
    let witness = Arc::new(Witness { provider: provider(), seen: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    let connected = timeout(limit, connect).await;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match connected {
        // A server that wants a certificate of us turns us away, but only after it has shown its own.
        _ if !seen.is_empty() => Ok(seen),
        Ok(Ok(_)) => Err("the server shows no certificate".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// Takes every certificate and remembers it: it is judged later. That the server has its key is verified.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Chain>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Named, and not the process's default, so that this works whatever else the process installs.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
