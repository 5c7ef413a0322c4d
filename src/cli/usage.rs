//! Parses arguments and environment variables, and reports usage errors.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, Command};
use crm_core::characters::printable;

use super::EXIT_FAILED;

/// A name that no environment variable can have.
const UNSET: &str = "=";

/// The command, for which an empty environment variable is one that is not set. CI systems set them empty.
pub(super) fn without_empty_variables(command: Command) -> Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let changed = move |arg: Arg| match arg.get_env() {
        Some(name) if is_empty(name) => arg.env(UNSET).hide_env(true),
        _ => arg,
    };
    command.mut_args(changed).mut_subcommands(without_empty_variables)
}

/// Prints help or the version if that was asked for. Prints a usage error on one line, and the usage of the command on
/// the next.
pub(super) fn report(error: &clap::Error, command: Command) -> ExitCode {
    // If this cannot be written, nobody can be told.
    let _ = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.print(),
        _ => {
            let usage = usage(command, std::env::args_os());
            let text = format!("{}\n{usage}\n", on_one_line(&error.render().to_string()));
            anstream::stderr().write_all(text.as_bytes())
        }
    };
    if error.use_stderr() { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS }
}

/// The usage line of the subcommand that the arguments name.
fn usage(mut command: Command, args: impl Iterator<Item = OsString>) -> String {
    command.build();
    for arg in args.skip(1) {
        match arg.to_str().and_then(|arg| command.find_subcommand(arg)) {
            Some(subcommand) => command = subcommand.clone(),
            None => break,
        }
    }
    let usage = command.render_usage().to_string();
    usage.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn on_one_line(error: &str) -> String {
    let lines = error.lines().map(str::trim);
    let message = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let parts = message.filter(|line| !line.is_empty()).map(|line| match line.strip_prefix("tip: ") {
        Some(tip) => format!("({tip})"),
        None => line.to_owned(),
    });
    format!("{}; see --help", printable(&parts.collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_is_that_of_the_named_command() {
        let command = || {
            let child = Command::new("policy").subcommand(Command::new("check").arg(Arg::new("FILE")));
            Command::new("program").subcommand(child)
        };
        let usage = |args: &[&str]| usage(command(), args.iter().map(OsString::from));
        assert_eq!(usage(&["x"]), "Usage: program [COMMAND]");
        assert_eq!(usage(&["x", "policy", "check", "--no"]), "Usage: program policy check [FILE]");
        assert_eq!(usage(&["x", "--no", "policy"]), "Usage: program [COMMAND]");
    }
}
