//! The least of an HTTP/1.1 client: a load that costs more than what it measures would measure itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What stands in a request for a number of as many digits.
pub(crate) const SLOT: &str = "@@@@@@@@";

/// A server on the loopback address.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// Which numbers come into the slot of a request.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// Never the same again.
    Rising,
    /// All below the limit, in no order that a cache of the processor could follow.
    Scattered(u64),
}

/// A request, ready to be sent.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    slot: Option<usize>,
    numbers: Numbers,
    next: AtomicU64,
    /// With which status it is answered.
    pub(crate) status: u16,
}

impl Template {
    pub(crate) fn post(path: &str, headers: &str, body: &str, numbers: Numbers, status: u16) -> Self {
        let head =
            format!("{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::new(&format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}{body}"), numbers, status)
    }

    pub(crate) fn get(path: &str, numbers: Numbers, status: u16) -> Self {
        Self::new(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), numbers, status)
    }

    fn new(text: &str, numbers: Numbers, status: u16) -> Self {
        let (slot, bytes) = (text.find(SLOT), text.as_bytes().to_vec());
        Self { bytes, slot, numbers, next: AtomicU64::new(0), status }
    }

    /// Writes the request, with the next number in its slot.
    pub(crate) fn fill(&self, request: &mut Vec<u8>) {
        request.clear();
        request.extend_from_slice(&self.bytes);
        let Some(slot) = self.slot else { return };
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let mut number = match self.numbers {
            Numbers::Rising => next,
            // Knuth's multiplicative hash.
            Numbers::Scattered(limit) => next.wrapping_mul(2_654_435_761) % limit,
        };
        for digit in request[slot..slot + SLOT.len()].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap();
            number /= 10;
        }
    }
}

/// Trusts one authority.
pub(crate) fn trust(authority: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    answer: Vec<u8>,
}

/// An answer as it came; the body may still be cut into chunks.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(place: &Place) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, place.port))).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &place.tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from("127.0.0.1").unwrap();
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
            }
        };
        Ok(Self { stream, answer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.answer.clear();
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

/// What the head of an answer says of the answer.
struct Shape {
    status: u16,
    body: usize,
    /// `None` for a body that comes in chunks.
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
