//! Reads several logs in the order of time: rotated ones one after the other, and those of several API servers in turns.

use std::collections::VecDeque;
use std::path::PathBuf;

use jiff::Timestamp;

use super::file::{LogError, LogFile};
use super::needles::Needles;
use super::{Text, Unreadable};
use crate::replay::event;

/// Logs while they are read.
///
/// A file is opened when its time has come, so there may be thousands of them.
pub(in crate::replay) struct Logs {
    needles: Needles,
    /// Files that are not open yet, with the time of their first event; the earliest is first.
    waiting: VecDeque<(Timestamp, PathBuf)>,
    open: Vec<Open>,
    /// Whether the time of events matters, because there are several logs.
    are_several: bool,
    unreadable: Unreadable,
}

/// A log with its next event, and the time of that.
struct Open {
    file: LogFile,
    next: Text,
    time: Timestamp,
}

impl Logs {
    /// The logs in these files; `-` is standard input.
    ///
    /// # Errors
    /// A file cannot be read, or is no audit log.
    pub(in crate::replay) fn open(paths: &[PathBuf], needles: Needles) -> Result<Self, LogError> {
        let mut logs = Self {
            needles,
            waiting: VecDeque::new(),
            open: Vec::new(),
            are_several: paths.len() > 1,
            unreadable: Unreadable::default(),
        };
        let mut waiting = Vec::new();
        for path in paths {
            let is_input = path.as_os_str() == crm_manifest::STANDARD_INPUT;
            if !logs.are_several || is_input {
                // Standard input can be read only once.
                logs.start(LogFile::open(path)?)?;
            } else if let Some(time) = LogFile::open(path)?.first_time()? {
                waiting.push((time, path.clone()));
            }
        }
        waiting.sort_by_key(|(time, _)| *time);
        logs.waiting = waiting.into();
        Ok(logs)
    }

    /// The next event that may matter; `None` at the end.
    ///
    /// # Errors
    /// A file cannot be read, or is no audit log.
    pub(in crate::replay) fn next(&mut self) -> Result<Option<Text>, LogError> {
        loop {
            let earliest = (0..self.open.len()).min_by_key(|index| self.open[*index].time);
            let is_due = |(time, _): &mut (Timestamp, PathBuf)| {
                earliest.is_none_or(|index| *time <= self.open[index].time)
            };
            if let Some((_, path)) = self.waiting.pop_front_if(is_due) {
                self.start(LogFile::open(&path)?)?;
                continue;
            }
            let Some(earliest) = earliest else { return Ok(None) };
            let Open { file, next, .. } = self.open.remove(earliest);
            self.start_at(earliest, file)?;
            return Ok(Some(next));
        }
    }

    /// What could not be read so far.
    pub(in crate::replay) fn unreadable(&mut self) -> &mut Unreadable {
        &mut self.unreadable
    }

    fn start(&mut self, file: LogFile) -> Result<(), LogError> {
        self.start_at(self.open.len(), file)
    }

    /// Reads the next event of a log, which is closed if there is none.
    fn start_at(&mut self, index: usize, mut file: LogFile) -> Result<(), LogError> {
        while let Some(next) = file.next(&self.needles, &mut self.unreadable)? {
            let time = match self.are_several {
                false => Some(Timestamp::MIN),
                true => match event::head(&next.json) {
                    Ok(head) => head.time(),
                    Err(why) => {
                        self.unreadable.add(&next.place, why);
                        continue;
                    }
                },
            };
            // An event without a time is found to be unreadable at once.
            let time = time.unwrap_or(Timestamp::MIN);
            self.open.insert(index, Open { file, next, time });
            return Ok(());
        }
        Ok(())
    }
}
