//! A minimal HTTP/1.1 client, so that the load costs little compared with the server that is measured.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::pki::Identity;

/// A server on the loopback address.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Place {
    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

/// A TLS client that trusts one CA.
pub(crate) fn trust(authority: &str) -> Arc<ClientConfig> {
    trust_as(authority, None)
}

/// A TLS client that trusts one CA and has a client certificate.
pub(crate) fn trust_as(authority: &str, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    })
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The size of a segment on Ethernet, in bytes.
const SEGMENT: u32 = 1460;

/// Enough for most answers, in bytes.
const ANSWER: usize = 16 * 1024;

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    answer: Vec<u8>,
}

/// An answer as it arrived; the body may be in chunks.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(place: &Place) -> io::Result<Self> {
        Self::over(TcpStream::connect(place.address()).await?, place).await
    }

    /// Like [`Connection::open`], from another address: all of 127.0.0.0/8 is this machine.
    ///
    /// Segments are as small as on a network. With the large ones of the loopback interface, the kernel buffers more
    /// than a megabyte for a client that does not read, and the server needs less memory.
    pub(crate) async fn open_from(source: Ipv4Addr, place: &Place) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
        socket.bind(SocketAddr::from((source, 0)))?;
        Self::over(socket.connect(place.address()).await?, place).await
    }

    async fn over(stream: TcpStream, place: &Place) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &place.tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::IpAddress(IpAddr::from(Ipv4Addr::LOCALHOST).into());
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
            }
        };
        Ok(Self { stream, answer: Vec::new() })
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.send(request).await?;
        self.answer().await
    }

    /// Sends a request, or a part of one.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Waits until the server closes the connection, and drops what it sends before. Cancel safe.
    pub(crate) async fn closed(&mut self) {
        // Small, because an attack has hundreds of them.
        let mut unread = [0; 512];
        while self.stream.read(&mut unread).await.is_ok_and(|count| count > 0) {}
    }

    /// Reads one answer to its end.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer<'_>> {
        self.answer.clear();
        self.answer.reserve(ANSWER);
        let mut shape = None;
        loop {
            if shape.is_none() {
                shape = Shape::of(&self.answer)?;
            }
            if let Some(shape) = &shape
                && shape.is_complete(&self.answer)
            {
                return Ok(Answer { status: shape.status, body: &self.answer[shape.body..] });
            }
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The properties of an answer, from its head.
struct Shape {
    status: u16,
    body: usize,
    /// `None` for a body in chunks.
    length: Option<usize>,
}

impl Shape {
    /// `None` while the head is not complete.
    fn of(answer: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&answer[..end]).map_err(io::Error::other)?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an answer: {head}")))?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        Ok(Some(Self { status, body: end + 4, length }))
    }

    fn is_complete(&self, answer: &[u8]) -> bool {
        match self.length {
            Some(length) => answer.len() >= self.body + length,
            None => answer.ends_with(b"0\r\n\r\n"),
        }
    }
}
