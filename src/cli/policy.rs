//! `policy`: says offline what the cluster would say of a policy, and what a policy amounts to.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Outcome, print};
use crate::check::report::printable;
use crate::policy::{self, Policy};
use crate::policy_source::{self, PolicyFileError};

#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say whether a policy holds together: every problem with its field, exit code 1 if there is one.
    Check {
        /// The policy, YAML or JSON.
        file: PathBuf,
    },
    /// Print the effective policy as YAML, with every default filled in.
    Show {
        /// The policy; the built-in one without it.
        file: Option<PathBuf>,
    },
}

impl PolicyArgs {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            PolicyCommand::Check { file } => match policy_source::read(&file) {
                Ok(_) => print(&(printable(&format!("{}: accepted", file.display())) + "\n")),
                Err(PolicyFileError::Invalid { path, problems }) => {
                    let line = |problem: &policy::Problem| {
                        printable(&format!("{}: {problem}", path.display())) + "\n"
                    };
                    print(&problems.0.iter().map(line).collect::<String>())?;
                    Ok(Outcome::Findings)
                }
                Err(error) => Err(error.into()),
            },
            PolicyCommand::Show { file } => {
                let policy = match file {
                    Some(file) => policy_source::read(&file)?,
                    None => Policy::default(),
                };
                let yaml = serde_saphyr::to_string(&policy::document(&policy))
                    .context("the policy cannot be written as YAML")?;
                print(&yaml)
            }
        }
    }
}
