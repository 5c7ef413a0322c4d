//! Logs on standard error, as text for people or as JSON for collectors.
//!
//! Call sites can log any value: `value.rs` escapes and shortens all values in both formats.

mod json;
mod text;
mod value;

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use json::{JsonFields, JsonLine};
use text::TextFields;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The variables that may contain a filter. The first one that is set counts.
const FILTER_VARIABLES: [&str; 2] = ["CRM_ADMISSION_LOG", "RUST_LOG"];
const DEFAULT_FILTER: &str = "info";
/// kube's client logs its own failures, sometimes with the body of an answer, which may contain records. Our own lines
/// say what failed, so its lines appear only if the filter names it.
const QUIET: &str = "kube_client=off,kube_runtime=off";

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object per line, with its fields at the top level.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is invalid.
    #[error(
        "{origin}: {filter:?} is not a log filter ({source}); give a level such as \"debug\", or \"info,kube_client=debug\""
    )]
    Filter {
        /// Where the filter was set.
        origin: &'static str,
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process already has a subscriber.
    #[error("logging is set up already")]
    Twice(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Sets up logging to standard error, and logs a panic as one line.
///
/// `filter` comes from the command line; the alternatives are `CRM_ADMISSION_LOG`, then `RUST_LOG`, then `info`. Colors
/// appear only on a terminal and without `NO_COLOR`.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), LogsError> {
    let filter = choose_filter(filter, |name| std::env::var(name).ok())?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = if std::io::stderr().is_terminal() && !no_color { Colours::Yes } else { Colours::No };
    let subscriber = subscriber(format, filter, colours, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(LogsError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    Yes,
    No,
}

fn choose_filter(
    given: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EnvFilter, LogsError> {
    let of_variable = |name| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let (origin, filter) = given
        .map(|filter| ("the log filter", filter.to_owned()))
        .or_else(|| FILTER_VARIABLES.into_iter().find_map(of_variable))
        .unwrap_or(("the default", DEFAULT_FILTER.to_owned()));
    EnvFilter::builder().parse(format!("{QUIET},{filter}")).map_err(|source| LogsError::Filter {
        origin,
        filter,
        source,
    })
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    colours: Colours,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours == Colours::Yes)
        .with_writer(writer)
        // Otherwise, a failure to write to standard error would itself be written to standard error, and would stop the
        // process.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => Box::new(builder.fmt_fields(TextFields).finish()),
        LogFormat::Json => Box::new(builder.fmt_fields(JsonFields).event_format(JsonLine).finish()),
    }
}

/// Logs a panic as one event. The default hook would write lines of its own between the JSON.
///
/// A message that was built at run time may quote user input, so only a literal one is shown, with its place in the
/// code. `RUST_BACKTRACE=1` adds the stack.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = panic_message(info.payload());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let stack =
        (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
    tracing::error!(panic = message, place, stack, "panicked");
}

fn panic_message(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)")
}

#[cfg(test)]
mod tests;
