//! Free ports, and a simple HTTP client for health endpoints.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How often a start is retried if another program has taken the port.
const ATTEMPTS: usize = 5;

/// Starts something on `N` ports that were free a moment ago.
///
/// Another program can take a port first. Only then, the start is retried with other ports.
pub(crate) fn on_free_ports<const N: usize, T>(mut start: impl FnMut([u16; N]) -> Result<T, String>) -> T {
    for _ in 1..ATTEMPTS {
        match start(free_ports()) {
            Ok(started) => return started,
            Err(why) if why.to_ascii_lowercase().contains("address already in use") => {}
            Err(why) => panic!("{why}"),
        }
    }
    start(free_ports()).unwrap_or_else(|why| panic!("{why}"))
}

/// All listeners are kept until every port is known, so that all ports differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound address").port())
}

/// Whether anything listens on this port of the loopback address.
pub(crate) fn listens(port: u16) -> bool {
    connect(port).is_ok()
}

/// The status code and the body of a plain `GET http://127.0.0.1:PORT/PATH`.
pub(crate) fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = connect(port)?;
    // With HTTP/1.0, the answer has no chunks and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| io::Error::other(format!("not an HTTP answer: {head:?}")))?;
    Ok((code, body.to_owned()))
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let patience = Duration::from_secs(5);
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}
