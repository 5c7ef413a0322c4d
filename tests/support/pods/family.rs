//! The addresses of a cluster: IPv4, IPv6, or both.

use std::net::IpAddr;

/// Which addresses nodes, pods and Services have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
    /// Both; IPv4 comes first.
    Dual,
}

impl Family {
    /// The IPv4 value, the IPv6 value, or both.
    fn of<T>(self, ipv4: T, ipv6: T) -> Vec<T> {
        match self {
            Self::Ipv4 => vec![ipv4],
            Self::Ipv6 => vec![ipv6],
            Self::Dual => vec![ipv4, ipv6],
        }
    }

    /// The addresses of a node. The numbers of nodes start at 1.
    pub(crate) fn node(self, number: u8) -> Vec<IpAddr> {
        let ipv4 = IpAddr::from([172, 31, 99, number]);
        self.of(ipv4, IpAddr::from([0xfd00, 0x99, 0, 0, 0, 0, 0, u16::from(number)]))
    }

    /// The length of the network prefix of a node's address.
    pub(crate) fn prefix(address: IpAddr) -> u8 {
        if address.is_ipv4() { 24 } else { 64 }
    }

    /// The ranges of the pods of one node.
    pub(crate) fn pods_of(self, number: u8) -> Vec<String> {
        self.of(format!("10.244.{number}.0/24"), format!("fd00:244:0:{number}::/64"))
    }

    /// The ranges of all pods.
    pub(crate) fn pods(self) -> Vec<String> {
        self.of("10.244.0.0/16", "fd00:244::/56").into_iter().map(str::to_owned).collect()
    }

    /// The ranges of Services.
    pub(crate) fn services(self) -> Vec<String> {
        self.of("10.96.0.0/16", "fd00:96::/112").into_iter().map(str::to_owned).collect()
    }

    /// The addresses of the Service `kubernetes`: the first of each range.
    pub(crate) fn api_service(self) -> Vec<String> {
        self.of("10.96.0.1", "fd00:96::1").into_iter().map(str::to_owned).collect()
    }

    /// The destination of the default routes.
    pub(crate) fn everywhere(self) -> Vec<&'static str> {
        self.of("0.0.0.0/0", "::/0")
    }

    /// The address that means all addresses of a machine.
    pub(crate) fn unspecified(self) -> &'static str {
        if self == Self::Ipv4 { "0.0.0.0" } else { "::" }
    }
}

/// The address as the host of a URL.
pub(crate) fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
