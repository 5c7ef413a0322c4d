//! `policy`: validates, prints and tests policies without a cluster, and tries them on the writes in audit logs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use crm_core::policy::{self, Policy};
use jiff::Timestamp;

use super::policy_replay::Replay;
use super::policy_test::PolicyTest;
use super::{Outcome, print};
use crate::policy_source::{self, PolicyFileError};
use crm_core::characters::printable;

#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Validate a policy: print every problem with its field, and exit with 1 if there is one. For a valid policy,
    /// print warnings about what has no effect; they do not change the exit code.
    Check {
        /// Policy file, YAML or JSON, or `-` for standard input.
        #[arg(required_unless_present = "filename")]
        file: Option<PathBuf>,
        /// The same as FILE, as in kubectl.
        #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "file")]
        filename: Option<PathBuf>,
    },
    /// Print the effective policy as YAML, with every default filled in.
    Show {
        /// Policy file, or `-` for standard input; by default the built-in policy.
        file: Option<PathBuf>,
        /// The same as FILE, as in kubectl.
        #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "file")]
        filename: Option<PathBuf>,
    },
    /// Run tests of a policy: files of kind AdmissionPolicyTest, with requests and what is expected of the webhook.
    ///
    /// Documents of other kinds are left aside. Exit codes: 0 all cases pass; 1 a case fails; 2 there is no test, or one
    /// cannot be read or is invalid.
    Test(PolicyTest),
    /// Try a policy on the writes in audit logs of the API server: which would newly be denied, or warned of?
    ///
    /// Decides each write of a Company, Person or Note under two policies. Exit codes: 0 nothing would newly be denied, 1
    /// something would, 2 a log could not be read, not even one write could be decided, or some events were unreadable
    /// and nothing would newly be denied.
    Replay(Box<Replay>),
}

impl PolicyArgs {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            PolicyCommand::Check { file, filename } => check(&file.or(filename).unwrap_or_default()),
            PolicyCommand::Test(test) => test.run(),
            PolicyCommand::Show { file, filename } => {
                let policy = match file.or(filename) {
                    Some(file) => policy_source::read(&file)?,
                    None => Policy::default(),
                };
                let yaml = serde_saphyr::to_string(&policy::document(&policy))
                    .context("the policy cannot be written as YAML")?;
                print(&yaml)
            }
            PolicyCommand::Replay(replay) => replay.run(),
        }
    }
}

fn check(file: &Path) -> anyhow::Result<Outcome> {
    match policy_source::read_with_document(file) {
        Ok((policy, document)) => {
            let name = document["metadata"]["name"].as_str().and_then(policy::warning_about_name);
            let warnings = policy::warnings(&document, &policy, Timestamp::now());
            let warnings = name.iter().chain(&warnings).map(|warning| format!("warning: {warning}"));
            let line = |text: String| printable(&format!("{}: {text}", file.display())) + "\n";
            print(&warnings.chain(["accepted".to_owned()]).map(line).collect::<String>())
        }
        Err(PolicyFileError::Invalid { path, problems }) => {
            let line =
                |problem: &policy::Problem| printable(&format!("{}: {problem}", path.display())) + "\n";
            print(&problems.0.iter().map(line).collect::<String>())?;
            Ok(Outcome::Findings)
        }
        Err(error) => Err(error.into()),
    }
}
