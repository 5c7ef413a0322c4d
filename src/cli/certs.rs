//! `certs`: certificates for development.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Outcome, print};
use crate::server::dev_certificate;

#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Make ca.crt, tls.crt and tls.key for localhost, 127.0.0.1 and ::1, unless DIR has good ones.
    Dev {
        /// The directory; made if it is absent.
        dir: PathBuf,
    },
}

impl Certs {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            CertsCommand::Dev { dir } => {
                let made = dev_certificate::ensure(&dir)?;
                let verb = match made.outcome {
                    dev_certificate::Outcome::Made => "made",
                    dev_certificate::Outcome::Kept => "kept",
                };
                let files = [&made.ca, &made.certificate, &made.key];
                let lines: Vec<String> =
                    files.iter().map(|file| format!("{verb} {}\n", file.display())).collect();
                print(&lines.concat())
            }
        }
    }
}
