//! Words the errors of requests to an API server: one plain sentence with the cause and, if there is one, the fix.

use std::error::Error;
use std::fmt;
use std::io;

use kube::core::Status;
use rustls::{AlertDescription, CertificateError};

use super::credentials::CredentialError;

/// The maximum length of an answer that is not from an API server, in characters.
const FOREIGN: usize = 200;

/// The reason that kube gives an answer that is not a Status.
const NOT_A_STATUS: &str = "Failed to parse error data";

/// A request to the API server that failed.
///
/// Its text is one sentence for people. It has no source, because the sentence already contains the cause, and because
/// kube's own texts contain Rust code.
#[derive(Debug)]
pub struct RequestError(Box<kube::Error>);

impl RequestError {
    /// The answer of the API server, if it answered.
    pub fn status(&self) -> Option<&Status> {
        match &*self.0 {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// The status code of the answer, if the API server answered.
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// Whether the same request may succeed later.
    pub fn may_pass(&self) -> bool {
        match &*self.0 {
            kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
            kube::Error::Service(error) => {
                let lasts = |error: &&(dyn Error + 'static)| {
                    error.is::<CredentialError>() || error.is::<rustls::Error>()
                };
                !chain(&**error).iter().any(lasts)
            }
            kube::Error::HyperError(_) => true,
            _ => false,
        }
    }
}

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> Self {
        Self(Box::new(error))
    }
}

impl Error for RequestError {}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use kube::Error as E;
        match &*self.0 {
            E::Api(status) => f.write_str(&answer(status)),
            E::Service(error) => f.write_str(&unreachable(&**error)),
            E::HyperError(error) => write!(f, "the connection to the API server broke: {}", innermost(error)),
            E::ReadEvents(error) => write!(f, "the connection to the API server broke: {}", innermost(error)),
            E::SerdeError(error) => write!(f, "the answer of the API server has an unexpected form: {error}"),
            E::FromUtf8(_) | E::LinesCodecMaxLineLengthExceeded => {
                f.write_str("the answer of the API server cannot be read")
            }
            E::RustlsTls(error) => f.write_str(&certificates(error)),
            E::ProxyProtocolUnsupported { .. } | E::ProxyProtocolDisabled { .. } => {
                f.write_str("the scheme of the proxy is not one of http, https and socks5")
            }
            error => write!(f, "the request cannot be sent: {}", innermost(error)),
        }
    }
}

/// What the API server answered.
fn answer(status: &Status) -> String {
    let Status { code, message, reason, .. } = status;
    if reason == NOT_A_STATUS {
        let text: String = message.lines().next().unwrap_or_default().chars().take(FOREIGN).collect();
        let text = if text.is_empty() { "nothing else".to_owned() } else { text };
        return match code {
            401 => unauthorized(),
            _ => format!("the server answers with status {code} and not like an API server: {text}"),
        };
    }
    match code {
        401 => unauthorized(),
        403 if !message.is_empty() => format!("the API server denies the request: {message}"),
        _ if message.is_empty() => format!("the API server answers with status {code}"),
        _ => format!("the API server answers with status {code}: {message}"),
    }
}

fn unauthorized() -> String {
    "the API server does not accept the credentials: the token or client certificate has expired or is not valid; \
     log in again"
        .to_owned()
}

/// Why there is no connection to the API server.
fn unreachable(error: &(dyn Error + 'static)) -> String {
    let chain = chain(error);
    for error in &chain {
        if let Some(error) = error.downcast_ref::<CredentialError>() {
            return error.to_string();
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return handshake(error);
        }
    }
    if let Some(text) = chain.iter().find_map(|error| proxy(&error.to_string(), &chain)) {
        return text;
    }
    format!("the API server cannot be reached: {}", innermost(error))
}

/// What is wrong with a proxy. The types of these errors are private, so only their texts tell.
fn proxy(text: &str, chain: &[&(dyn Error + 'static)]) -> Option<String> {
    if let Some(problem) = text.strip_prefix("tunnel error: ") {
        return Some(match problem {
            "proxy authorization required" => {
                "the proxy asks for a user and a password: put them into its URL, as http://USER:PASSWORD@HOST:PORT"
                    .to_owned()
            }
            "unsuccessful" => "the proxy opens no connection to the API server".to_owned(),
            "unexpected end of file" => "the proxy closed the connection".to_owned(),
            _ => match chain.last() {
                Some(last) => format!("the proxy cannot be used: {}", plain(*last)),
                None => format!("the proxy cannot be used: {problem}"),
            },
        });
    }
    text.strip_prefix("SOCKS error: ").map(|problem| format!("the SOCKS proxy cannot be used: {problem}"))
}

/// Why the TLS handshake failed.
fn handshake(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::InvalidMessage(_) => {
            "the API server cannot be reached: what answers there does not use TLS".to_owned()
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => "the API server does not accept the client certificate of the kubeconfig".to_owned(),
        error => format!("the TLS connection to the API server failed: {}", words(&error.to_string())),
    }
}

/// Why the certificate of the API server is not accepted.
fn certificate(error: &CertificateError) -> String {
    let why = match error {
        CertificateError::UnknownIssuer => {
            "is not from a trusted CA; check certificate-authority in the kubeconfig".to_owned()
        }
        CertificateError::NotValidForName => {
            "is for another name; check server and tls-server-name in the kubeconfig".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!(
                "is for {names} and not for {}; check server and tls-server-name in the kubeconfig",
                expected.to_str()
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is the clock of this machine correct?".to_owned()
        }
        CertificateError::Other(error) => format!("is not valid: {}", words(&innermost(&*error.0))),
        error => format!("is not valid: {}", words(&error.to_string())),
    };
    format!("the certificate of the API server {why}")
}

/// A name as rustls writes it, such as `DnsName("localhost")` or `IpAddress(127.0.0.1)`, without the code around it.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

/// What is wrong with the certificates of the kubeconfig.
fn certificates(error: &kube::client::RustlsTlsError) -> String {
    use kube::client::RustlsTlsError as E;
    match error {
        E::InvalidIdentityPem(_) => "the client certificate or its key is not valid PEM".to_owned(),
        E::MissingPrivateKey => "the client key is not a private key in PEM".to_owned(),
        E::MissingCertificate => "the client certificate is not a certificate in PEM".to_owned(),
        E::InvalidPrivateKey(error) => {
            format!(
                "the client key cannot be used with the client certificate: {}",
                words(&error.to_string())
            )
        }
        E::UnknownPrivateKeyFormat => "the format of the client key is unknown; use PKCS #8".to_owned(),
        E::AddRootCertificate(error) => {
            format!("the trusted CAs cannot be used: {}", words(&innermost(&**error)))
        }
        E::NoValidNativeRootCA(_) => "this machine has no trusted CAs; set certificate-authority".to_owned(),
        E::InvalidServerName(_) => "tls-server-name is not a DNS name or an IP address".to_owned(),
    }
}

/// An error and its causes, from the outermost to the innermost.
pub(super) fn chain<'e>(error: &'e (dyn Error + 'static)) -> Vec<&'e (dyn Error + 'static)> {
    let mut chain = vec![error];
    let mut next = cause(error);
    while let Some(error) = next {
        chain.push(error);
        next = cause(error);
    }
    chain
}

/// The cause of an error. The standard library leaves out the first cause inside of an [`io::Error`].
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The first cause, in plain words: outer errors of libraries say only in which step it happened.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map_or_else(String::new, |error| plain(*error))
}

/// The text of an error without causes.
fn plain(error: &(dyn Error + 'static)) -> String {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return match error.kind() {
            io::ErrorKind::TimedOut => "no answer in time".to_owned(),
            _ => {
                let text = error.to_string();
                text.split(" (os error").next().unwrap_or_default().to_owned()
            }
        };
    }
    match error.to_string() {
        text if text == "deadline has elapsed" => "no answer in time".to_owned(),
        text => text,
    }
}

/// Splits names of Rust variants, which some libraries show, into words: `CaUsedAsEndEntity`.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 8);
    let mut previous = ' ';
    for character in text.chars() {
        if character.is_uppercase() && previous.is_lowercase() {
            words.push(' ');
            words.extend(character.to_lowercase());
        } else {
            words.push(character);
        }
        previous = character;
    }
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use super::*;

    fn text(error: kube::Error) -> String {
        RequestError::from(error).to_string()
    }

    fn status(code: u16, message: &str, reason: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    /// A failure as kube returns it, in the layers in which hyper and tokio wrap it.
    fn service(error: impl Error + Send + Sync + 'static) -> kube::Error {
        kube::Error::Service(Box::new(io::Error::other(io::Error::other(error))))
    }

    #[test]
    fn an_answer_of_the_api_server_is_a_sentence_without_rust_code() {
        let denied = r#"companies.crm.milo.io is forbidden: User "bob" cannot list resource "companies""#;
        for (error, expected) in [
            (status(403, denied, "Forbidden"), format!("the API server denies the request: {denied}")),
            (status(401, "Unauthorized", "Unauthorized"), unauthorized()),
            (status(401, "no", NOT_A_STATUS), unauthorized()),
            (status(500, "", ""), "the API server answers with status 500".to_owned()),
            (
                status(409, "changed", "Conflict"),
                "the API server answers with status 409: changed".to_owned(),
            ),
            (
                status(502, "<html>\n<body>Bad Gateway", NOT_A_STATUS),
                "the server answers with status 502 and not like an API server: <html>".to_owned(),
            ),
            (
                status(503, "", NOT_A_STATUS),
                "the server answers with status 503 and not like an API server: nothing else".to_owned(),
            ),
        ] {
            assert_eq!(text(error), expected);
        }
    }

    #[test]
    fn a_certificate_that_is_not_accepted_is_told_with_the_setting_to_check() {
        let wrong = |error| service(rustls::Error::InvalidCertificate(error));
        let expected = ServerName::try_from("api.example").unwrap();
        let presented = vec![r#"DnsName("localhost")"#.to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        for (error, expected) in [
            (CertificateError::UnknownIssuer, "is not from a trusted CA; check certificate-authority"),
            (
                CertificateError::NotValidForNameContext { expected, presented },
                "is for localhost, 127.0.0.1 and not for api.example; check server and tls-server-name",
            ),
            (CertificateError::Expired, "has expired"),
            (CertificateError::BadSignature, "is not valid: Bad signature"),
            (
                CertificateError::Other(rustls::OtherError(Arc::new(io::Error::other("CaUsedAsEndEntity")))),
                "is not valid: Ca used as end entity",
            ),
        ] {
            let text = text(wrong(error));
            let expected = format!("the certificate of the API server {expected}");
            assert!(text.starts_with(&expected), "{text}");
        }
    }

    #[test]
    fn a_connection_that_fails_is_told_with_its_cause() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(text(service(refused)), "the API server cannot be reached: Connection refused");
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(text(service(late)), "the API server cannot be reached: no answer in time");
        let alert = rustls::Error::AlertReceived(AlertDescription::BadCertificate);
        assert!(text(service(alert)).contains("does not accept the client certificate"));
    }

    #[test]
    fn a_problem_of_a_proxy_is_not_one_of_the_api_server() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Private(&'static str);
        for (error, expected) in [
            ("tunnel error: unsuccessful", "the proxy opens no connection to the API server"),
            ("tunnel error: proxy authorization required", "the proxy asks for a user and a password"),
            ("SOCKS error: io error during SOCKS handshake", "the SOCKS proxy cannot be used: io error"),
        ] {
            let text = text(service(Private(error)));
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn only_failures_that_may_pass_are_retried() {
        let passes = |error| RequestError::from(error).may_pass();
        assert!(passes(service(io::Error::from(io::ErrorKind::ConnectionReset))));
        assert!(passes(status(503, "", "")));
        assert!(!passes(status(403, "", "")));
        assert!(!passes(service(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))));
    }
}
