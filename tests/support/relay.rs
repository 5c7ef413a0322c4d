//! Relays and proxies on the loopback addresses that lead to one port, whatever host the client asks for.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What a client says before its connection reaches the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Nothing: a plain relay.
    None,
    /// `CONNECT`, as to an HTTP proxy.
    Connect,
    /// `CONNECT` with this value of `Proxy-Authorization`.
    ConnectAs(&'static str),
    /// SOCKS 5 without a password.
    Socks,
}

/// A running relay. It stops with the test program.
pub(crate) struct Relay {
    address: SocketAddr,
    met: Arc<AtomicUsize>,
}

impl Relay {
    /// Listens on this address, and leads to a port of 127.0.0.1.
    ///
    /// # Errors
    /// The machine does not have this address.
    pub(crate) fn start(on: IpAddr, greeting: Greeting, target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((on, 0))?;
        let address = listener.local_addr()?;
        let met = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&met);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                // The client notices any error as the end of its connection.
                thread::spawn(move || serve(client, greeting, target));
            }
        });
        Ok(Self { address, met })
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections so far.
    pub(crate) fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }
}

fn serve(client: TcpStream, greeting: Greeting, target: u16) -> io::Result<()> {
    match greeting {
        Greeting::None => {}
        Greeting::Connect => connect(&client, None)?,
        Greeting::ConnectAs(credentials) => connect(&client, Some(credentials))?,
        Greeting::Socks => socks(&client)?,
    }
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    let back = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || copy(back.0, back.1));
    copy(client, server)
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    copied.map(drop)
}

/// Reads a `CONNECT` request, byte by byte, so that nothing of what follows is lost.
fn connect(mut client: &TcpStream, credentials: Option<&str>) -> io::Result<()> {
    let mut head = Vec::new();
    let mut reader = BufReader::with_capacity(1, client);
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let answer = if !head.starts_with("CONNECT ") {
        "405 Method Not Allowed"
    } else if credentials.is_some_and(|wanted| !head.contains(wanted)) {
        "407 Proxy Authentication Required"
    } else {
        "200 OK"
    };
    write!(client, "HTTP/1.1 {answer}\r\n\r\n")?;
    if answer.starts_with("200") { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Reads the greeting and the request of SOCKS 5, and answers that all is well.
fn socks(mut client: &TcpStream) -> io::Result<()> {
    fn read(mut client: &TcpStream, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes)?;
        Ok(bytes)
    }
    let methods = read(client, 2)?[1];
    read(client, usize::from(methods))?;
    client.write_all(&[5, 0])?;
    let host = match read(client, 4)?[3] {
        1 => 4,
        3 => usize::from(read(client, 1)?[0]),
        _ => 16,
    };
    read(client, host + 2)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
}
