//! Whether anybody answers where the webhook should be, and with which certificate.

use std::fmt;
use std::str::FromStr;

use super::diagnosis::{Check, Diagnosis, Examination, Id};
use super::registration::Target;
use super::shipped::NAME;
use super::trust::{self, Chain};
use super::{Place, Settings, kubectl};

/// The port of an `https` URL that names none.
const HTTPS: u16 = 443;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a text is no [`Address`].
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
    /// The address that a URL leads to.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: uri.port_u16().unwrap_or(HTTPS) })
    }
}

impl Target {
    /// The name that the certificate has to be for.
    pub(super) fn host(&self, settings: &Settings) -> String {
        match self {
            Self::Service { .. } => settings.service_host(),
            Self::Url(address) => address.host.clone(),
        }
    }
}

/// Connects to the webhook, where there is a way to it, and tells what it shows.
pub(super) async fn probe(target: &Target, settings: &Settings) -> (Check, Option<Chain>) {
    let check = |summary: String, finding: Option<Diagnosis>| Check {
        examination: Examination::Port,
        summary,
        findings: finding.into_iter().collect(),
    };
    let Some(address) = address(target, settings) else {
        return (check(String::new(), Some(not_probed(target, settings))), None);
    };
    match trust::served(&address.to_string(), &target.host(settings), settings.timeout).await {
        Ok(chain) => (check(format!("{address} answers with TLS"), None), Some(chain)),
        Err(why) => (check(String::new(), Some(unreachable(&address, &why, settings))), None),
    }
}

fn address(target: &Target, settings: &Settings) -> Option<Address> {
    match (&settings.connect, target, settings.place) {
        (Some(address), _, _) | (None, Target::Url(address), _) => Some(address.clone()),
        (None, Target::Service { port }, Place::Inside) => {
            Some(Address { host: settings.service_host(), port: *port })
        }
        (None, Target::Service { .. }, Place::Outside) => None,
    }
}

fn not_probed(target: &Target, settings: &Settings) -> Diagnosis {
    let port = if let Target::Service { port } = target { *port } else { HTTPS };
    let service = &settings.service;
    let fix = format!(
        "{} port-forward service/{service} 9443:{port} & sleep 3; {NAME} doctor --connect 127.0.0.1:9443",
        kubectl(settings)
    );
    let text = "not tried: from outside of the cluster the name of a Service leads nowhere";
    Diagnosis::skipped(Id::PortNotProbed, format!("port {port} of service {service}"), text, fix)
}

fn unreachable(address: &Address, why: &str, settings: &Settings) -> Diagnosis {
    let kubectl = kubectl(settings);
    let fix = format!("{kubectl} get pods; {kubectl} logs deployment/{NAME} --tail=50");
    let text = format!("there is no TLS connection to it from here: {why}");
    Diagnosis::failure(Id::PortUnreachable, address.to_string(), text, fix)
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Level;
    use super::super::samples::settings;
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
    fn the_name_of_a_service_is_an_address_only_in_the_cluster() {
        let service = Target::Service { port: 443 };
        let inside = Settings { place: Place::Inside, ..settings() };
        let expected = "crm-admission.crm-admission-system.svc:443";
        assert_eq!(address(&service, &inside).unwrap().to_string(), expected);
        assert_eq!(address(&service, &settings()), None);
        let forwarded: Address = "127.0.0.1:1".parse().unwrap();
        let settings = Settings { connect: Some(forwarded.clone()), ..settings() };
        assert_eq!(address(&service, &settings), Some(forwarded));
    }

    #[tokio::test]
    async fn a_port_that_is_not_tried_is_skipped_and_says_how_to_try_it() {
        let (check, served) = probe(&Target::Service { port: 443 }, &settings()).await;
        assert_eq!((check.level(), check.findings[0].id), (Level::Skipped, Id::PortNotProbed));
        assert!(check.findings[0].fix.contains("--connect 127.0.0.1:9443"));
        assert_eq!(served, None);
    }
}
