//! Reads several logs in the order of time: rotated ones one after the other, and those of several API servers in turns.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

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
    /// The logs in these files; `-` is standard input. A file that cannot be read, or is no audit log, is left out, and is
    /// part of what could not be read.
    pub(in crate::replay) fn open(paths: &[PathBuf], needles: Needles) -> Self {
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
            // Standard input can be read only once.
            if !logs.are_several || is_input {
                logs.start(path);
                continue;
            }
            match LogFile::open(path).and_then(LogFile::first_time) {
                Ok(time) => waiting.extend(time.map(|time| (time, path.clone()))),
                Err(error) => error.note(&mut logs.unreadable),
            }
        }
        waiting.sort_by_key(|(time, _)| *time);
        logs.waiting = waiting.into();
        logs
    }

    /// The next event that may matter; `None` at the end.
    pub(in crate::replay) fn next(&mut self) -> Option<Text> {
        loop {
            let earliest = (0..self.open.len()).min_by_key(|index| self.open[*index].time);
            let is_due = |(time, _): &mut (Timestamp, PathBuf)| {
                earliest.is_none_or(|index| *time <= self.open[index].time)
            };
            if let Some((_, path)) = self.waiting.pop_front_if(is_due) {
                self.start(&path);
                continue;
            }
            let Open { file, next, .. } = self.open.remove(earliest?);
            self.read_on(earliest?, file);
            return Some(next);
        }
    }

    /// What could not be read so far.
    pub(in crate::replay) fn unreadable(&mut self) -> &mut Unreadable {
        &mut self.unreadable
    }

    fn start(&mut self, path: &Path) {
        match LogFile::open(path) {
            Ok(file) => self.read_on(self.open.len(), file),
            Err(error) => error.note(&mut self.unreadable),
        }
    }

    /// Reads the next event of a log, which is closed if there is none, or if it cannot be read any further.
    fn read_on(&mut self, index: usize, file: LogFile) {
        if let Err(error) = self.open_at(index, file) {
            error.note(&mut self.unreadable);
        }
    }

    fn open_at(&mut self, index: usize, mut file: LogFile) -> Result<(), LogError> {
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
