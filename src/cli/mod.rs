//! The command line: one file for each command; turns arguments into calls and errors into exit codes.

mod audit;
mod baseline;
mod certs;
mod check;
mod cluster;
pub mod configuration;
pub mod crds;
mod doctor;
mod judging;
mod lsp;
mod policy;
mod policy_replay;
mod policy_test;
mod progress;
mod refs;
mod rules;
pub mod schemas;
mod serve;
mod usage;
mod variables;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::invocation::invocation;
use crate::server;
use crm_check::check::Bundle;
use crm_core::characters::printable;

/// There are findings, or the installation is not healthy.
const EXIT_FINDINGS: u8 = 1;
/// The command could not do its work: bad arguments, unreadable input, no cluster.
const EXIT_FAILED: u8 = 2;

/// Admission webhook for CRM records in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "crm-admission", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the webhook.
    Serve(Box<serve::Serve>),
    /// Check records in files as the webhook would, without a cluster.
    Check(check::Check),
    /// Run the language server on standard input and output, for an editor.
    ///
    /// It shows what `check` finds in YAML and JSON, with quick fixes, hover and completion. Exit codes: 0 the client has
    /// shut it down, 1 the client has disappeared.
    Lsp(lsp::Lsp),
    /// Audit stored records as the webhook would, and fix values with --fix.
    Audit(audit::Audit),
    /// Show the references of a record and its dependents, or list dangling references.
    ///
    /// Exit codes: 0 everything exists; 1 the record, or an object that a record refers to, does not exist; 2 the
    /// cluster could not be read.
    #[command(arg_required_else_help = true)]
    Refs(refs::Refs),
    /// List the rules, or explain one with an example and its fix.
    Rules(rules::Rules),
    /// Validate, print or test a policy, or try it on the writes in audit logs.
    #[command(arg_required_else_help = true)]
    Policy(policy::PolicyArgs),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Write the JSON Schemas of all kinds into a directory, for editors and offline validators.
    ///
    /// The files have the paths that catalogs of schemas use, such as DIR/crm.milo.io/company_v1alpha1.json. They describe
    /// manifests as users write them, so creatorRef is optional, and unknown fields are errors.
    #[command(arg_required_else_help = true)]
    Schemas {
        /// The directory, which is created if it does not exist.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print a script that completes commands and flags in a shell.
    ///
    #[command(visible_alias = "completion", after_help = completions_help())]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages, one for each command, into a directory.
    #[command(arg_required_else_help = true)]
    Man {
        /// The directory, which is created if it does not exist.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print the version.
    Version,
    /// Create certificates for development, or show those of a cluster.
    #[command(arg_required_else_help = true)]
    Certs(certs::Certs),
    /// Find out why an installation does not work, and print a fix for each problem.
    ///
    /// Exit codes: 0 healthy, with or without warnings; 1 not healthy; 2 no cluster could be examined.
    Doctor(doctor::Doctor),
}

/// The result of a command that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// There are findings, and they were printed.
    Findings,
    /// Part of the work could not be done, and an error was printed.
    Incomplete,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fine => Self::SUCCESS,
            Outcome::Findings => Self::from(EXIT_FINDINGS),
            Outcome::Incomplete => Self::from(EXIT_FAILED),
        }
    }
}

/// Parses the arguments, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    let command = usage::without_empty_variables(Cli::command().bin_name(invocation()));
    let parsed = command.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => run(cli),
        Err(error) => usage::report(&error, command),
    }
}

fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Lsp(lsp) => lsp.run(),
        Command::Audit(audit) => audit.run(),
        Command::Refs(refs) => refs.run(),
        Command::Rules(rules) => rules.run(),
        Command::Policy(policy) => policy.run(),
        Command::Crds => crds::render().and_then(|text| print(&text)),
        Command::Schemas { directory } => schemas::write_to(&directory),
        Command::Completions { shell } => print_exactly(&completions(shell)),
        Command::Man { directory } => write_man_pages(&directory),
        Command::Version => print(&format!("crm-admission {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Certs(certs) => certs.run(),
        Command::Doctor(doctor) => doctor.run(),
    };
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // The error may quote a file or an answer from outside.
            let text = format!("error: {}\n", printable(&with_causes(&error)));
            // If this cannot be written either, there is nowhere else to report it.
            let _ = anstream::stderr().write_all(text.as_bytes());
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn completions_help() -> String {
    format!("For bash: source <({} completions bash)", invocation())
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "crm-admission", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn write_man_pages(directory: &Path) -> anyhow::Result<Outcome> {
    // The values of variables would be those of this environment.
    let command = hide_env_values(Cli::command());
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.with_context(|| format!("cannot write man pages to {}", directory.display()))?;
    Ok(Outcome::Fine)
}

/// The page `docs/cli.md`: the `--help` text of every command.
pub fn reference() -> String {
    let mut text = String::from(
        "<!-- Generated by `make generate` from src/cli; do not edit. -->\n\n# Commands\n\n\
         The output of `--help`. Results go to standard output, logs and progress to standard error. Exit codes: 0\n\
         success, 1 findings or not healthy, 2 the command could not do its work.\n\n\
         A program with the name `kubectl-crm_admission` is a plugin of kubectl, which calls it as\n\
         `kubectl crm-admission`.\n",
    );
    let mut root = hide_env_values(Cli::command().term_width(100));
    root.build();
    describe(&mut text, &mut root, "crm-admission");
    text
}

/// Hides the values of environment variables, because the page must not depend on the environment.
fn hide_env_values(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(hide_env_values)
}

fn describe(text: &mut String, command: &mut clap::Command, name: &str) {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    *text += &format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n"));
    for child in command.get_subcommands_mut().filter(|child| child.get_name() != "help") {
        let name = format!("{name} {}", child.get_name());
        describe(text, child, &name);
    }
}

/// An error with its causes, except those that its message already contains.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Runs the asynchronous work of a command on this thread.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    run_on(tokio::runtime::Builder::new_current_thread(), work)
}

fn run_on<T>(
    mut runtime: tokio::runtime::Builder,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    runtime.enable_all().build().context("cannot start the runtime")?.block_on(work)
}

/// The arguments PATH and those of `-f`, which mean the same.
fn joined(paths: &[PathBuf], files: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().chain(files).cloned().collect()
}

/// The file of `--output`; `None` for standard output, also as `-`.
fn output_file(output: Option<&Path>) -> Option<&Path> {
    output.filter(|path| path.as_os_str() != crm_manifest::STANDARD_INPUT)
}

/// Fails if the file of `--output` is one of these files, or a manifest in one of these directories, which it would
/// overwrite. `what` says in the error what they are, such as `an input`.
fn keep<'p>(
    what: &str,
    mut files: impl Iterator<Item = &'p PathBuf>,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    let Some(output) = output_file(output) else { return Ok(()) };
    let real = output.canonicalize().ok();
    let is_overwritten = |file: &PathBuf| match (file.canonicalize(), &real) {
        (Ok(directory), Some(real)) if directory.is_dir() => real.starts_with(directory) && has_objects(real),
        (Ok(file), Some(real)) => file == *real,
        // Neither of them exists, or only one.
        _ => file == output,
    };
    if files.any(is_overwritten) {
        anyhow::bail!("{}: --output would overwrite {what}; give the report another name", output.display());
    }
    Ok(())
}

/// Whether a file in a directory that is read has objects. A report of an earlier run has none.
fn has_objects(file: &Path) -> bool {
    let is_object = |object: crm_manifest::Object| {
        ["apiVersion", "kind"].iter().all(|field| object.value[*field].is_string())
    };
    crm_manifest::is_kustomization(file)
        || crm_manifest::is_manifest(file)
            && crm_manifest::read_file(file.to_owned(), file).is_ok_and(|input| {
                input.documents().iter().flat_map(|document| crm_manifest::unfold(document).0).any(is_object)
            })
}

/// Warns of paths of `--resources` that have no object: then references to everything that should be there are dangling.
fn warn_of_empty(resources: &Bundle, paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in resources.without_objects(paths) {
        let text = format!(
            "warning: {}: this path of --resources has no object; check the path\n",
            printable(&path)
        );
        io::stderr().write_all(text.as_bytes())?;
    }
    Ok(())
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    server::parse_duration(text).ok_or("not a duration such as 10s, 1m30s or 500ms")
}

/// Writes a result to standard output, with colours only on a terminal.
fn print(text: &str) -> anyhow::Result<Outcome> {
    written(anstream::stdout().lock(), text)
}

/// Writes a result to standard output byte for byte. Escape sequences in it belong to the content and are kept.
fn print_exactly(text: &str) -> anyhow::Result<Outcome> {
    written(io::stdout().lock(), text)
}

/// A closed pipe is not an error: its reader needs no more.
fn written(mut out: impl Write, text: &str) -> anyhow::Result<Outcome> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(Outcome::Fine),
    }
}
