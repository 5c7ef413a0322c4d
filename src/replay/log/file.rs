//! Opens one log, finds out how it is written, and reads the events that may matter.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;

use super::cut::{Values, is_spread};
use super::lines::Lines;
use super::needles::Needles;
use super::{Cut, LONGEST_EVENT, Part, Place, Text, Unreadable};
use crate::replay::event::{self, Head};

/// The first bytes of a file that is compressed by gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The size of the buffer for reading.
const BUFFER: usize = 256 * 1024;
/// How much of the first line decides how a log is written.
const HEAD: u64 = 64 * 1024;
/// How many events may be unreadable before the first one that can be read. A file with more is no audit log.
const UNREADABLE_START: u64 = 1000;

/// Why a log cannot be read.
#[derive(Debug)]
pub(super) enum LogError {
    /// Reading failed.
    Io { path: PathBuf, source: io::Error },
    /// It has no event that can be read. `first` is the first thing that is not an event, and where it is.
    NotALog { path: PathBuf, first: String },
}

impl LogError {
    /// Adds the file to what cannot be read.
    pub(super) fn note(&self, unreadable: &mut Unreadable) {
        let (Self::Io { path, .. } | Self::NotALog { path, .. }) = self;
        unreadable.files.push((name(path), self.reason()));
    }

    fn reason(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("the audit log cannot be read: {source}"),
            Self::NotALog { first, .. } => format!(
                "not an audit log: give JSON lines or an EventList, as the API server writes them ({first})"
            ),
        }
    }
}

fn name(path: &Path) -> String {
    if is_input(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn is_input(path: &Path) -> bool {
    path.as_os_str() == crm_manifest::STANDARD_INPUT
}

/// One log while it is read.
pub(super) struct LogFile {
    path: PathBuf,
    name: Rc<str>,
    cut: Box<dyn Cut>,
    buffer: Vec<u8>,
    /// Whether an event was read, so that this is an audit log.
    is_log: bool,
    /// What could not be read before that.
    unreadable: Unreadable,
}

impl LogFile {
    /// Opens a log; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let cut = cutting(path).map_err(|source| LogError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            name: name(path).into(),
            cut,
            buffer: Vec::new(),
            is_log: false,
            unreadable: Unreadable::default(),
        })
    }

    /// The next event that may matter; `None` at the end.
    ///
    /// # Errors
    /// Reading failed, or this is no audit log.
    pub(super) fn next(
        &mut self,
        needles: &Needles,
        unreadable: &mut Unreadable,
    ) -> Result<Option<Text>, LogError> {
        loop {
            let Some((line, part)) = self.cut.next(&mut self.buffer).map_err(|source| self.failed(source))?
            else {
                self.check_is_log()?;
                return Ok(None);
            };
            let place = Place { file: Rc::clone(&self.name), line };
            let read = self.read(part, needles);
            if self.is_log {
                unreadable.append(std::mem::take(&mut self.unreadable));
            }
            match read {
                Ok(Some(text)) => return Ok(Some(Text { json: text, place })),
                Ok(None) => {}
                Err(why) if self.is_log => unreadable.add(&place, why),
                Err(why) => self.skip(&place, why)?,
            }
        }
    }

    /// The time of the first event; `None` if there is none.
    ///
    /// # Errors
    /// Reading failed, or this is no audit log.
    pub(super) fn first_time(mut self) -> Result<Option<Timestamp>, LogError> {
        while let Some((line, part)) =
            self.cut.next(&mut self.buffer).map_err(|source| self.failed(source))?
        {
            let time = match part {
                Part::Whole => self.head().and_then(|head| head.time().ok_or("the event has no time")),
                Part::TooLong => Err(TOO_LONG),
                Part::Fault(why) => Err(why),
            };
            match time {
                Ok(time) => return Ok(Some(time)),
                Err(why) => {
                    let place = Place { file: Rc::clone(&self.name), line };
                    self.skip(&place, why)?;
                }
            }
        }
        self.check_is_log()?;
        Ok(None)
    }

    /// The text of a part that may matter, which is then no longer in the buffer.
    fn read(&mut self, part: Part, needles: &Needles) -> Result<Option<String>, &'static str> {
        match part {
            Part::Fault(why) => return Err(why),
            // What an event is about comes before the objects, which make it long.
            Part::TooLong if needles.are_in(&self.buffer) => return Err(TOO_LONG),
            Part::TooLong => return Ok(None),
            Part::Whole => {}
        }
        if !self.is_log {
            self.head()?;
            self.is_log = true;
        }
        if !needles.are_in(&self.buffer) {
            return Ok(None);
        }
        let text =
            String::from_utf8(std::mem::take(&mut self.buffer)).map_err(|_| "the event is not UTF-8")?;
        Ok(Some(text))
    }

    fn head(&self) -> Result<Head<'_>, &'static str> {
        let text = std::str::from_utf8(&self.buffer).map_err(|_| "the event is not UTF-8")?;
        event::head(text)
    }

    /// Notes what cannot be read before the first event, which may mean that this is no audit log.
    fn skip(&mut self, place: &Place, why: &str) -> Result<(), LogError> {
        self.unreadable.add(place, why);
        if self.unreadable.count < UNREADABLE_START { Ok(()) } else { Err(self.not_a_log()) }
    }

    /// At the end: an empty file is a log without events, but a file with something else is none.
    fn check_is_log(&self) -> Result<(), LogError> {
        if self.is_log || self.unreadable.count == 0 { Ok(()) } else { Err(self.not_a_log()) }
    }

    fn not_a_log(&self) -> LogError {
        let first = self.unreadable.first.first().map(|(place, why)| format!("{place}: {why}"));
        LogError::NotALog { path: self.path.clone(), first: first.unwrap_or_default() }
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::Io { path: self.path.clone(), source }
    }
}

const TOO_LONG: &str = "the event is longer than 16 MiB";
const _: () = assert!(LONGEST_EVENT == 16 * 1024 * 1024, "the text names the limit");

fn cutting(path: &Path) -> io::Result<Box<dyn Cut>> {
    let raw: Box<dyn Read> = if is_input(path) { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let (start, rest) = beginning(BufReader::with_capacity(BUFFER, raw), GZIP.len() as u64, None)?;
    let is_gzip = start == GZIP;
    let whole = Cursor::new(start).chain(rest);
    let text: Box<dyn BufRead> = if is_gzip {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole)))
    } else {
        Box::new(whole)
    };
    let (head, rest) = beginning(text, HEAD, Some(b'\n'))?;
    let is_spread = is_spread(&head);
    let whole = Cursor::new(head).chain(rest);
    Ok(if is_spread { Box::new(Values::new(whole)) } else { Box::new(Lines::new(whole)) })
}

/// Reads the first bytes, at most `limit`, up to the end of the first line that is not empty.
fn beginning<R: BufRead>(mut reader: R, limit: u64, end: Option<u8>) -> io::Result<(Vec<u8>, R)> {
    let mut start = Vec::new();
    let mut limited = reader.by_ref().take(limit);
    match end {
        None => drop(limited.read_to_end(&mut start)?),
        Some(end) => while start.trim_ascii().is_empty() && limited.read_until(end, &mut start)? > 0 {},
    }
    Ok((start, reader))
}
