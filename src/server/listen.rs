//! Opens listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// How many connections may wait to be accepted. The kernel may allow fewer.
const BACKLOG: i32 = 1024;

/// A socket that listens on this address.
///
/// `[::]` also takes connections by IPv4, whatever the default of the machine. On a machine without IPv6, it means
/// `0.0.0.0`.
///
/// # Errors
/// The address is in use or does not belong to this machine, or the port needs a permission.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match open(address) {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && lacks_ipv6(&error) => {
            let instead = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            tracing::info!(%address, %instead, "this machine has no IPv6");
            open(instead)
        }
        opened => opened,
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    // Connections of the last process that are still closing do not block the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether the machine has no IPv6: the kernel has none, or it is turned off.
fn lacks_ipv6(error: &io::Error) -> bool {
    const AF_NOT_SUPPORTED: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(AF_NOT_SUPPORTED)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn both_stacks_reach_the_unspecified_address() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in ["127.0.0.1", "::1"] {
            TcpStream::connect((address, port)).unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = listen(listener.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_machine_without_ipv6_is_recognized() {
        let turned_off = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let missing = io::Error::from_raw_os_error(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        assert!(lacks_ipv6(&turned_off) && lacks_ipv6(&missing));
        assert!(!lacks_ipv6(&io::Error::from(io::ErrorKind::AddrInUse)));
    }
}
