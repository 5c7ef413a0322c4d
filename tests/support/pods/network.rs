//! Connects machines by a switch, which is a machine, too: nothing of this network is visible on the host.

use super::family::Family;
use super::machine::Machine;
use std::net::IpAddr;

/// What the kernel of a node must do: forward packets between pods, and use IPv6 addresses at once instead of searching
/// for duplicates first.
const SETTINGS: [(&str, &str); 4] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
];

/// Connects nodes to a switch. The first node has the number 1.
pub(super) fn connect(family: Family, switch: &Machine, nodes: &[&Machine]) {
    let mut commands = vec!["link add bridge type bridge".to_owned(), "link set bridge up".to_owned()];
    for (number, node) in (1..).zip(nodes) {
        configure(node);
        let port = format!("node-{number}");
        commands.push(format!("link add {port} type veth peer name eth0 netns {}", node.id()));
        commands.push(format!("link set {port} master bridge up"));
    }
    switch.ip(&commands);
    for (number, node) in (1..).zip(nodes) {
        node.ip(&addresses(family, number));
        node.ip(&routes(family, number, u8::try_from(nodes.len()).expect("less than 256 nodes")));
    }
}

fn configure(node: &Machine) {
    node.place().within(|| {
        for (name, value) in SETTINGS {
            let path = format!("/proc/sys/net/{name}");
            std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path} = {value}: {error}"));
        }
    });
}

fn addresses(family: Family, number: u8) -> Vec<String> {
    let mut commands = vec!["link set lo up".to_owned()];
    for address in family.node(number) {
        let prefix = Family::prefix(address);
        let flag = if address.is_ipv6() { " nodad" } else { "" };
        commands.push(format!("addr add {address}/{prefix} dev eth0{flag}"));
    }
    commands.push("link set eth0 up".to_owned());
    commands
}

fn routes(family: Family, number: u8, nodes: u8) -> Vec<String> {
    // A connection from a node to a Service needs a source address before kube-proxy's rules change its destination.
    let services = family.services().into_iter().map(|range| format!("route add {range} dev eth0"));
    let others = (1..=nodes).filter(|other| *other != number).flat_map(|other| {
        let pods: Vec<(String, IpAddr)> = family.pods_of(other).into_iter().zip(family.node(other)).collect();
        pods.into_iter().map(|(range, node)| format!("route add {range} via {node}"))
    });
    services.chain(others).collect()
}
