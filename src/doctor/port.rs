//! Checks whether the webhook answers at its address, and reads its certificate.

use rustls::pki_types::CertificateDer;

use super::diagnosis::{Check, Diagnosis, Examination, Id};
use super::shipped::NAME;
use super::target::{Settings, Target, command, kubectl};
use crate::certificates::{Address, look_at_served};

/// Connects to the webhook if it can be reached from here, and returns its certificate.
pub(super) async fn probe(
    target: &Target,
    settings: &Settings,
) -> (Check, Option<Vec<CertificateDer<'static>>>) {
    let check = |summary: String, finding: Option<Diagnosis>| Check {
        examination: Examination::Port,
        summary,
        findings: finding.into_iter().collect(),
    };
    let Some(address) = target.address(settings) else {
        return (check(String::new(), Some(not_probed(target, settings))), None);
    };
    let (asked, host, limit) = (address.clone(), target.host(settings), settings.timeout);
    let look = tokio::task::spawn_blocking(move || look_at_served(&asked, &host, limit));
    let why = match look.await {
        Ok(Ok(chain)) => return (check(format!("{address} answers with TLS"), None), Some(chain)),
        Ok(Err(error)) => error.source.to_string(),
        Err(error) => error.to_string(),
    };
    (check(String::new(), Some(unreachable(&address, &why, settings))), None)
}

fn not_probed(target: &Target, settings: &Settings) -> Diagnosis {
    let port = target.port();
    let service = &settings.service;
    let fix = format!(
        "{} port-forward service/{service} 9443:{port} & sleep 3; {} --connect 127.0.0.1:9443",
        kubectl(settings),
        command("doctor", settings)
    );
    let text = "not tried: a Service cannot be reached from outside the cluster";
    Diagnosis::skipped(Id::PortNotProbed, format!("port {port} of service {service}"), text, fix)
}

fn unreachable(address: &Address, why: &str, settings: &Settings) -> Diagnosis {
    let kubectl = kubectl(settings);
    let fix = format!("{kubectl} get pods; {kubectl} logs deployment/{NAME} --tail=50");
    let text = format!("no TLS connection to it is possible from here: {why}");
    Diagnosis::failure(Id::PortUnreachable, address.to_string(), text, fix)
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Level;
    use super::super::samples::settings;
    use super::*;

    #[tokio::test]
    async fn a_port_that_was_not_tried_is_skipped_with_a_command_to_try_it() {
        let (check, served) = probe(&Target::Service { port: 443 }, &settings()).await;
        assert_eq!((check.level(), check.findings[0].id), (Level::Skipped, Id::PortNotProbed));
        assert!(check.findings[0].fix.contains("--connect 127.0.0.1:9443"));
        assert_eq!(served, None);
        let elsewhere = Settings { namespace: "crm".to_owned(), ..settings() };
        let (check, _) = probe(&Target::Service { port: 443 }, &elsewhere).await;
        let expected = "crm-admission doctor --namespace crm --connect 127.0.0.1:9443";
        assert!(check.findings[0].fix.ends_with(expected), "{check:?}");
    }
}
