//! `doctor`: examines the installation in the cluster of the current kubeconfig, and prints what is wrong with it.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use crm_core::api::installation::NAMESPACE;
use jiff::Timestamp;

use super::certs::Names;
use super::cluster::ClusterArgs;
use super::crds::definitions;
use super::{Outcome, block_on, duration, print};
use crate::certificates::Address;
use crate::doctor::{self, Format, NoCluster, Place, Report, Settings};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    names: Names,
    /// The address of the webhook as seen from here, such as a forwarded port; by default the URL in the webhook
    /// configurations or, inside the cluster, the Service.
    #[arg(long, env = "CRM_ADMISSION_CONNECT", value_name = "HOST:PORT")]
    connect: Option<Address>,
    /// Timeout for each request.
    #[arg(long, default_value = "10s", env = "CRM_ADMISSION_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    timeout: Duration,
    /// Format of the report.
    #[arg(short = 'o', long, value_enum, default_value_t = FormatArg::Text, env = "CRM_ADMISSION_FORMAT")]
    format: FormatArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Text,
    Json,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let format = match self.format {
            FormatArg::Text => Format::Text,
            FormatArg::Json => Format::Json,
        };
        let report = block_on(self.examine())?;
        if !report.says_something() {
            return Err(NoCluster::NothingReadable.into());
        }
        print(&report.render(format))?;
        Ok(if report.is_healthy() { Outcome::Fine } else { Outcome::Findings })
    }

    async fn examine(self) -> anyhow::Result<Report> {
        let installation = self.names.settings(NAMESPACE, &[]);
        let settings = Settings {
            namespace: installation.namespace,
            service: installation.service,
            tls_secret: installation.secret,
            connect: self.connect,
            // The kubelet sets this variable in every pod.
            place: match std::env::var_os("KUBERNETES_SERVICE_HOST") {
                Some(_) => Place::Inside,
                None => Place::Outside,
            },
            timeout: self.timeout,
            definitions: definitions(),
            now: Timestamp::now(),
        };
        let examine = async |client| {
            let report = doctor::examine(client, &settings, &show).await;
            show("");
            Ok(report?)
        };
        self.cluster.ask(examine).await
    }
}

/// Shows the current step on a terminal, in place of the previous one.
fn show(step: &'static str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let dots = if step.is_empty() { "" } else { " …" };
        // Failing to write this line must not stop the work.
        let _ = write!(stderr, "\r\u{1b}[K{step}{dots}");
        let _ = stderr.flush();
    }
}
