//! The command line: one file for each command; turns arguments into calls and errors into exit codes.

mod certs;
pub mod crds;
mod rules;
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use rules::markdown as rules_markdown;

/// The command could not do its work: bad arguments, unreadable input, no cluster.
const EXIT_FAILED: u8 = 2;

/// The admission webhook that guards CRM records in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "crm-admission", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the webhook.
    Serve(Box<serve::Serve>),
    /// List the rules, or explain one with an example and its fix.
    Rules(rules::Rules),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Make certificates for development.
    #[command(arg_required_else_help = true)]
    Certs(certs::Certs),
}

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fine => Self::SUCCESS,
        }
    }
}

/// Runs the command that the arguments name, and says how the process ends.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Rules(rules) => rules.run(),
        Command::Crds => crds::render().and_then(|text| print(&text)),
        Command::Certs(certs) => certs.run(),
    };
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let text = format!("error: {error:#}\n");
            // Where even this cannot be written there is nobody left to tell.
            let _ = anstream::stderr().write_all(text.as_bytes());
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Writes a result to standard output. A reader that has seen enough and closed it is no error.
fn print(text: &str) -> anyhow::Result<Outcome> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(Outcome::Fine),
    }
}
