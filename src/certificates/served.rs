//! Reads the certificate that a server serves, whether it is trusted or not.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::pki::provider;

/// The default port of an `https` URL.
const HTTPS: u16 = 443;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The string is not a valid [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not HOST:PORT, such as 127.0.0.1:9443")]
pub struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(NotAnAddress)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host,
            None if host.contains([':', '/']) => return Err(NotAnAddress),
            None => host,
        };
        let port = port.parse().map_err(|_| NotAnAddress)?;
        if host.is_empty() { Err(NotAnAddress) } else { Ok(Self { host: host.to_owned(), port }) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Address {
    /// The address of a URL.
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: uri.port_u16().unwrap_or(HTTPS) })
    }
}

/// The served certificate could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the certificate of {address}: {source}; is the address correct, and does it use TLS?")]
pub struct LookError {
    /// The address.
    pub address: Address,
    /// The cause.
    pub source: io::Error,
}

/// The certificates that a server presents for the name `server`. Blocks, for `limit` at most after the address is
/// resolved.
pub fn look_at_served(
    address: &Address,
    server: &str,
    limit: Duration,
) -> Result<Vec<CertificateDer<'static>>, LookError> {
    let late = |error: io::Error| match error.kind() {
        // With a read timeout, this error is the timeout.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))
        }
        _ => error,
    };
    presented(address, server, limit)
        .map_err(|source| LookError { address: address.clone(), source: late(source) })
}

fn presented(address: &Address, server: &str, limit: Duration) -> io::Result<Vec<CertificateDer<'static>>> {
    let mut connection = client(server)?;
    let targets: Vec<SocketAddr> = (address.host.as_str(), address.port).to_socket_addrs()?.collect();
    let deadline = Instant::now() + limit;
    let mut socket = connect(&targets, deadline)?;
    let mut outcome = Ok(());
    while outcome.is_ok() && connection.is_handshaking() {
        outcome = match step(&mut connection, &mut socket, deadline) {
            // A signal ends a read with a timeout, even one that is handled elsewhere. The deadline stays the same.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            ended => ended,
        };
    }
    // A server that requires client certificates aborts the handshake, but has presented its certificate before.
    match connection.peer_certificates() {
        Some(chain) => Ok(chain.iter().map(|der| der.clone().into_owned()).collect()),
        None => Err(outcome.err().unwrap_or_else(|| io::Error::other("it presents no certificate"))),
    }
}

fn client(server: &str) -> io::Result<ClientConnection> {
    let provider = provider();
    let everything = Anybody { algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(everything))
        .with_no_client_auth();
    let server = ServerName::try_from(server.to_owned()).map_err(io::Error::other)?;
    ClientConnection::new(Arc::new(config), server).map_err(io::Error::other)
}

/// Connects to the first address of a name that answers: `localhost` has two, and often only one is served.
fn connect(targets: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::other("no such host"));
    for target in targets {
        outcome = left(deadline).and_then(|left| TcpStream::connect_timeout(target, left));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn step(connection: &mut ClientConnection, socket: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    let left = Some(left(deadline)?);
    socket.set_read_timeout(left)?;
    socket.set_write_timeout(left)?;
    if connection.wants_write() {
        return connection.write_tls(socket).map(drop);
    }
    if connection.read_tls(socket)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    connection.process_new_packets().map(drop).map_err(io::Error::other)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Accepts every certificate, because it is only inspected; no data is sent.
#[derive(Debug)]
struct Anybody {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["127.0.0.1:9443", "localhost:1", "[::1]:9443"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "9443", "host:", ":1", "::1:9443", "https://host:1", "host:70000"] {
            assert_eq!(text.parse::<Address>(), Err(NotAnAddress), "{text}");
        }
        assert_eq!(Address::of_url("https://[::1]:9443/mutate").unwrap().to_string(), "[::1]:9443");
        assert_eq!(Address::of_url("https://crm.example/mutate").unwrap().to_string(), "crm.example:443");
    }

    #[test]
    fn a_silent_server_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let error = look_at_served(&address, "localhost", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.source.to_string(), "no answer within 50ms");
    }

    #[test]
    fn every_address_of_a_name_is_tried() {
        let [open, closed] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let targets = [&closed, &open].map(|listener| listener.local_addr().unwrap());
        drop(closed);
        let socket = connect(&targets, Instant::now() + Duration::from_secs(5)).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), targets[1]);
    }
}
