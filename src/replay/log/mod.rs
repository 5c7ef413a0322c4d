//! Reads audit logs: JSON lines or an `EventList`, plain or compressed by gzip, and several files in the order of time.
//!
//! Only text moves here: which events matter is decided by [`Needles`], and `event.rs` reads them.

mod cut;
mod file;
mod lines;
mod merge;
mod needles;

use std::io;

pub(super) use merge::Logs;
pub(super) use needles::Needles;

/// The maximum length of an event in bytes. An object has at most 3 MiB, and an event up to two.
const LONGEST_EVENT: usize = 16 * 1024 * 1024;

/// The maximum number of unreadable events that are named.
const NAMED: usize = 10;

/// An event in a log, as text.
#[derive(Debug)]
pub(super) struct Text {
    /// The event. It is valid JSON only if the log is.
    pub(super) json: String,
    /// Where it begins.
    pub(super) place: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    file: std::rc::Rc<str>,
    /// From 1.
    line: u64,
}

/// `audit.log:17`
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// The number of events.
    pub count: u64,
    /// The first of these events: where, such as `audit.log:17`, and why.
    pub first: Vec<(String, String)>,
    /// The files that cannot be read, or only up to some event: the name, and why.
    pub files: Vec<(String, String)>,
}

impl Unreadable {
    pub(super) fn add(&mut self, place: &Place, why: impl Into<String>) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push((place.to_string(), why.into()));
        }
    }

    /// Takes over the events of another one.
    fn append(&mut self, mut other: Self) {
        self.count += other.count;
        other.first.truncate(NAMED.saturating_sub(self.first.len()));
        self.first.append(&mut other.first);
    }
}

/// A part of a log.
enum Part {
    /// An event. The text is in the buffer.
    Whole,
    /// An event that is longer than [`LONGEST_EVENT`]. Its start is in the buffer.
    TooLong,
    /// No event. The text says why.
    Fault(&'static str),
}

/// Cuts a log into events.
trait Cut {
    /// Puts the next event into `buffer`, and returns the line where it begins; `None` at the end.
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<(u64, Part)>>;
}
