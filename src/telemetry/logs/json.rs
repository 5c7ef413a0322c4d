//! Writes a log line as one JSON object with the fields of the event at its top level.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::value::{Value, key};

/// Writes fields as members of an object, each with a comma before it.
///
/// Invisible characters are escaped before the string becomes JSON, so that showing the decoded string is as safe as
/// showing the line.
pub(super) struct JsonFields;

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut members = Members(String::new());
        fields.record(&mut members);
        writer.write_str(&members.0)
    }
}

/// Writes an event as one object on one line.
pub(super) struct JsonLine;

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
        context.format_fields(writer.by_ref(), event)?;
        write!(writer, ",\"target\":{}", json(metadata.target()))?;
        spans(context, &mut writer)?;
        writeln!(writer, "}}")
    }
}

/// The spans around an event, the outermost first. Only libraries use spans.
fn spans<S>(context: &FmtContext<'_, S, JsonFields>, writer: &mut Writer<'_>) -> fmt::Result
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let mut list = String::new();
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        let comma = if list.is_empty() { "" } else { "," };
        list += &format!("{comma}{{\"name\":{}", json(span.metadata().name()));
        if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
            list += fields;
        }
        list.push('}');
    }
    if list.is_empty() { Ok(()) } else { write!(writer, ",\"spans\":[{list}]") }
}

struct Members(String);

impl Members {
    fn push(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        self.0.extend([",", &json(key(field)), ":", &json(value)]);
    }

    fn push_text(&mut self, field: &Field, value: &Value<'_>) {
        let mut text = String::new();
        value.push_bare(&mut text);
        self.push(field, &text);
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field, &Value::given(field, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.push_text(field, &Value::error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push_text(field, &Value::written(field, value));
    }
}

/// Only strings and numbers are written here, so this cannot fail.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
