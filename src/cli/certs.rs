//! `certs`: creates certificates for development, and shows those of a cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use crm_core::api::installation::{CONFIGURATION, NAMESPACE, SERVICE, TLS_SECRET};
use crm_core::api::names;

use super::cluster::ClusterArgs;
use super::{Outcome, block_on, duration, print};
use crate::certificates::{self, Address, CertificateView, Inspection, Settings};
use crate::server::dev_certificate;
use crm_core::characters::printable;

#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Create ca.crt, tls.crt and tls.key for localhost, 127.0.0.1 and ::1, unless DIR has valid ones.
    Dev {
        /// The directory; created if it does not exist.
        dir: PathBuf,
    },
    /// Show the certificate of an installation, which CAs the webhook configurations trust, and when each expires.
    ///
    /// Exit codes: 0 no problem; 1 a certificate is not trusted, has expired or expires soon; 2 the cluster or the
    /// address could not be read.
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    names: Names,
    /// Also check the certificate that is served at this address, such as the local end of `kubectl port-forward`.
    #[arg(long, env = "CRM_ADMISSION_CONNECT", value_name = "HOST:PORT")]
    connect: Option<Address>,
    /// Timeout for the connection to the address of --connect.
    #[arg(long, default_value = "10s", env = "CRM_ADMISSION_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    timeout: Duration,
    /// Output format.
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The names of the objects of an installation.
#[derive(Clone, Debug, Args)]
pub(super) struct Names {
    /// The namespace of the Secret and the Service; by default the namespace that `serve` runs in, or
    /// crm-admission-system for the other commands.
    #[arg(long, env = "CRM_ADMISSION_NAMESPACE", value_name = "NAME", value_parser = label)]
    namespace: Option<String>,
    /// The Secret with the webhook's certificate; `serve --tls-self-managed` creates it.
    #[arg(long, env = "CRM_ADMISSION_TLS_SECRET", default_value = TLS_SECRET, value_name = "NAME", value_parser = subdomain)]
    tls_secret: String,
    /// The Service through which the API server calls the webhook.
    #[arg(long, env = "CRM_ADMISSION_SERVICE", default_value = SERVICE, value_name = "NAME", value_parser = label)]
    service: String,
}

/// An empty variable counts as not set.
fn label(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || names::is_label(text) {
        Ok(text.to_owned())
    } else {
        Err("not a name such as crm-admission")
    }
}

fn subdomain(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || names::is_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("not a name such as crm-admission-tls")
    }
}

impl Names {
    /// `further` are names for the certificate besides those of the Service.
    pub(super) fn settings(&self, otherwise: &str, further: &[String]) -> Settings {
        let given = |name: &str, otherwise: &str| {
            if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
        };
        Settings {
            namespace: given(self.namespace.as_deref().unwrap_or_default(), otherwise),
            secret: given(&self.tls_secret, TLS_SECRET),
            service: given(&self.service, SERVICE),
            further: further.iter().filter(|name| !name.is_empty()).cloned().collect(),
        }
    }
}

impl Certs {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            CertsCommand::Dev { dir } => {
                let made = dev_certificate::ensure(&dir)?;
                let verb = match made.outcome {
                    dev_certificate::Outcome::Made => "created",
                    dev_certificate::Outcome::Kept => "kept",
                };
                let files = [&made.ca, &made.certificate, &made.key];
                let lines: Vec<String> = files
                    .iter()
                    .map(|file| format!("{verb} {}\n", printable(&file.display().to_string())))
                    .collect();
                print(&lines.concat())
            }
            CertsCommand::Show(show) => show.run(),
        }
    }
}

impl Show {
    fn run(self) -> anyhow::Result<Outcome> {
        let settings = self.names.settings(NAMESPACE, &[]);
        let served = match &self.connect {
            Some(address) => {
                let chain = certificates::look_at_served(address, &settings.service_host(), self.timeout)?;
                Some((address.clone(), chain))
            }
            None => None,
        };
        let inspect = async |client| Ok(certificates::inspect(&client, &settings, served).await?);
        let inspection = block_on(self.cluster.ask(inspect))?;
        print(&match self.format {
            Format::Text => text(&inspection),
            Format::Json => serde_json::to_string_pretty(&inspection)? + "\n",
        })?;
        Ok(if inspection.problems.is_empty() { Outcome::Fine } else { Outcome::Findings })
    }
}

fn text(inspection: &Inspection) -> String {
    let Inspection { secret, configurations, served, problems } = inspection;
    let mut lines = vec![format!("Secret {}/{}", secret.namespace, secret.name)];
    if secret.found {
        lines.extend(secret.chain.iter().map(|certificate| line("certificate", certificate)));
        lines.extend(secret.cas.iter().map(|certificate| line("CA", certificate)));
    } else {
        lines.push("  does not exist".to_owned());
    }
    if let Some(why) = &secret.unusable_if_self_managed {
        lines.push(format!("  not used by --tls-self-managed: {why}"));
    }
    if let Some(served) = served {
        let same = if served.is_stored {
            "the certificate in the Secret"
        } else {
            "not the certificate in the Secret"
        };
        lines.push(format!("Served at {}: {same}", served.address));
        lines.extend(served.chain.iter().map(|certificate| line("certificate", certificate)));
    }
    for configuration in configurations {
        lines.push(format!("{} {}", configuration.kind, CONFIGURATION));
        for webhook in &configuration.webhooks {
            let distrust = match served {
                Some(_) => &webhook.distrusts_served,
                None => &webhook.distrusts_stored,
            };
            let verdict =
                distrust.as_ref().map_or("accepts it".to_owned(), |why| format!("does not accept it: {why}"));
            let server = webhook.server.as_deref().unwrap_or("a server without a name");
            lines.push(format!("  {}, which calls {server}, {verdict}", webhook.name));
            lines.extend(webhook.cas.iter().map(|ca| format!("  {}", line("trusts", ca))));
        }
    }
    if configurations.is_empty() {
        lines.push(format!("There is no webhook configuration {} yet", CONFIGURATION));
    }
    lines.extend(problems.iter().map(|problem| format!("problem: {problem}")));
    // The names in certificates can be anything, and whoever answers at the address chose those of the served one.
    lines.iter().map(|line| printable(line) + "\n").collect()
}

fn line(role: &str, certificate: &CertificateView) -> String {
    let CertificateView { subject, names, not_after, days_left, .. } = certificate;
    let names = if names.is_empty() { String::new() } else { format!(" for {}", names.join(", ")) };
    let named = match (subject.is_empty(), names.is_empty()) {
        (false, _) => format!(" {subject}{names}"),
        (true, false) => names,
        (true, true) => " without a name".to_owned(),
    };
    format!("  {role}{named}, until {not_after} ({days_left} days left)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{BundleView, ConfigurationView, SecretView, ServedView};
    use crate::pki::Age;

    fn certificate(subject: &str, names: &[&str]) -> CertificateView {
        CertificateView {
            subject: subject.to_owned(),
            issuer: subject.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            not_before: "2026-01-01".to_owned(),
            not_after: "2027-01-01".to_owned(),
            days_left: 9,
            ends_soon: false,
            age: Age::Good,
        }
    }

    #[test]
    fn a_certificate_without_a_subject_or_without_names_is_still_a_sentence() {
        for (subject, names, expected) in [
            ("CN=a", &["b"][..], "  CA CN=a for b, until 2027-01-01 (9 days left)"),
            ("CN=a", &[], "  CA CN=a, until 2027-01-01 (9 days left)"),
            ("", &["b", "c"], "  CA for b, c, until 2027-01-01 (9 days left)"),
            ("", &[], "  CA without a name, until 2027-01-01 (9 days left)"),
        ] {
            assert_eq!(line("CA", &certificate(subject, names)), expected);
        }
    }

    #[test]
    fn the_names_in_a_certificate_cannot_break_a_line() {
        let hostile = "a\nproblem: none\u{1b}[2J\u{202e}";
        let certificate = certificate(hostile, &[hostile]);
        let chain = vec![certificate];
        let secret = SecretView {
            namespace: "crm".to_owned(),
            name: "tls".to_owned(),
            found: true,
            unusable_if_self_managed: None,
            chain: chain.clone(),
            cas: chain.clone(),
        };
        let webhook = BundleView {
            name: hostile.to_owned(),
            server: Some(hostile.to_owned()),
            cas: chain.clone(),
            distrusts_stored: None,
            distrusts_served: Some(hostile.to_owned()),
        };
        let configuration = ConfigurationView { kind: hostile.to_owned(), webhooks: vec![webhook] };
        let text = text(&Inspection {
            secret,
            configurations: vec![configuration],
            served: Some(ServedView { address: "localhost:1".to_owned(), chain, is_stored: false }),
            problems: vec![hostile.to_owned()],
        });
        let shown = r"a\nproblem: none\u001b[2J\u202e";
        assert!(text.contains(&format!("\n  certificate {shown} for {shown}, until 2027-01-01")), "{text}");
        assert!(text.ends_with(&format!("\nproblem: {shown}\n")), "{text}");
        assert_eq!(text.lines().count(), 9, "{text}");
        assert!(!text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
    }
}
