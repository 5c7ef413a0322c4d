//! Writes the fields of a text line: `decided user="alice" duration_us=212`.

use std::error::Error;
use std::fmt::{self, Write};

use anstyle::Style;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use super::value::{Value, key};

/// Writes fields so that no value can look like another field or line.
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let (name, sign) = if writer.has_ansi_escapes() {
            (Style::new().italic(), Style::new().dimmed())
        } else {
            (Style::new(), Style::new())
        };
        let mut line = Line { text: String::new(), name, sign };
        fields.record(&mut line);
        writer.write_str(&line.text)
    }
}

struct Line {
    text: String,
    name: Style,
    sign: Style,
}

impl Line {
    fn push(&mut self, field: &Field, value: &Value<'_>) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        if field.name() == "message" {
            return value.push_bare(&mut self.text);
        }
        let Self { name, sign, .. } = *self;
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{name}{}{name:#}{sign}={sign:#}", key(field));
        value.push_quoted(&mut self.text);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, &Value::given(field, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.push(field, &Value::error(field, value));
    }

    /// Also numbers and booleans, which need no quotes.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, &Value::written(field, value));
    }
}
