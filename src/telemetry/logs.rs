//! Logs on standard error, as text for people or as JSON for collectors.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The variables that may hold a filter, the first of them that is set counts.
const FILTER_VARIABLES: [&str; 2] = ["CRM_ADMISSION_LOG", "RUST_LOG"];
const DEFAULT_FILTER: &str = "info";
/// The client library logs what fails by itself, and at some places the body of an answer, which may hold records.
/// Our own lines say what failed; whoever needs the library's must name it in the filter.
const QUIET: &str = "kube_client=off,kube_runtime=off";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for a person to read.
    #[default]
    Text,
    /// One JSON object a line, its fields at the top level.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not one.
    #[error(
        "{origin}: {filter:?} is not a log filter ({source}); give a level such as \"debug\", or \"info,kube_client=debug\""
    )]
    Filter {
        /// Where the filter was given.
        origin: &'static str,
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a subscriber already.
    #[error("logging is set up already")]
    Twice(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Sets up the logs of the process on standard error, and makes a panic one line of them.
///
/// `filter` is what the command line says; without it `CRM_ADMISSION_LOG` counts, then `RUST_LOG`, then `info`.
/// Colours appear on a terminal only, and not with `NO_COLOR`.
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
        // It would be told on standard error, which is what cannot be written, and end the process.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    }
}

/// A panic as one event, where the default hook would write lines of its own in between the JSON.
///
/// A message that was put together at run time may quote what a user wrote, so only a literal one is shown; the place
/// tells the rest. `RUST_BACKTRACE=1` adds the stack.
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
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, colours: Colours, event: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let filter = choose_filter(Some(filter), |_| None).unwrap();
        let subscriber = subscriber(format, filter, colours, move || writer.clone());
        tracing::subscriber::with_default(subscriber, event);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_hold_their_fields_at_the_top_level() {
        let line = logged(LogFormat::Json, "info", Colours::No, || tracing::info!(uid = "u-1", "decided"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["uid"], "u-1");
        assert_eq!(line["message"], "decided");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_has_colours_only_where_they_are_wanted() {
        let event = || tracing::info!("decided");
        assert!(!logged(LogFormat::Text, "info", Colours::No, event).contains('\u{1b}'));
        assert!(logged(LogFormat::Text, "info", Colours::Yes, event).contains('\u{1b}'));
    }

    #[test]
    fn the_filter_holds_back_what_is_below_it() {
        let event = || tracing::debug!("detail");
        assert_eq!(logged(LogFormat::Text, "info", Colours::No, event), "");
        assert!(logged(LogFormat::Text, "debug", Colours::No, event).contains("detail"));
    }

    #[test]
    fn the_command_line_comes_before_our_variable_and_that_before_the_common_one() {
        let both = |name: &str| Some(if name == "RUST_LOG" { "trace" } else { "warn" }.to_owned());
        let common = |name: &str| (name == "RUST_LOG").then(|| "trace".to_owned());
        let level = |given, variable: &dyn Fn(&str) -> Option<String>| {
            let filter = choose_filter(given, variable).unwrap().to_string();
            let own = filter.split(',').filter(|directive| !directive.contains("=off"));
            own.map(str::to_owned).collect::<String>()
        };
        assert_eq!(level(Some("error"), &both), "error");
        assert_eq!(level(None, &both), "warn");
        assert_eq!(level(None, &common), "trace");
        assert_eq!(level(None, &|_| None), "info");
        assert_eq!(level(None, &|_| Some(String::new())), "info");
    }

    #[test]
    fn the_client_library_is_silent_unless_the_filter_names_it() {
        let event = || tracing::warn!(target: "kube_client", "a body");
        assert_eq!(logged(LogFormat::Text, "debug", Colours::No, event), "");
        assert!(logged(LogFormat::Text, "info,kube_client=warn", Colours::No, event).contains("a body"));
    }

    #[test]
    fn a_panic_shows_its_message_only_if_that_cannot_quote_a_record() {
        let literal = std::panic::catch_unwind(|| panic!("index out of range")).unwrap_err();
        assert_eq!(panic_message(&*literal), "index out of range");
        let name = String::from("acme");
        let formatted = std::panic::catch_unwind(|| panic!("no {name}")).unwrap_err();
        assert_eq!(panic_message(&*formatted), "(message withheld)");
    }

    #[test]
    fn a_bad_filter_is_refused_with_the_name_of_its_variable() {
        let bad = |name: &str| (name == "CRM_ADMISSION_LOG").then(|| "crm=loud".to_owned());
        let error = choose_filter(None, bad).unwrap_err().to_string();
        assert!(error.starts_with(r#"CRM_ADMISSION_LOG: "crm=loud" is not a log filter"#), "{error}");
    }
}
