//! Writes tar archives whose bytes depend only on the names, modes and contents of the files.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::read;

/// The mode of a program.
pub const PROGRAM: u32 = 0o755;
/// The mode of other files.
pub const DATA: u32 = 0o644;

/// A file in an archive.
#[derive(Clone, Debug)]
pub struct File {
    /// The path, without a slash at the beginning.
    pub path: String,
    /// The permissions.
    pub mode: u32,
    /// The content.
    pub content: Vec<u8>,
}

impl File {
    /// A file that is no program.
    pub fn data(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: DATA, content: content.into() }
    }

    /// A program.
    pub fn program(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: PROGRAM, content: content.into() }
    }
}

/// A tar archive of the files, sorted by path, with the directories above them. All have the same time, in seconds.
///
/// # Errors
/// If a path is longer than the format allows.
pub fn tar(mut files: Vec<File>, time: u64) -> io::Result<Vec<u8>> {
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let mut builder = Builder::new(Vec::new());
    let mut written = BTreeSet::new();
    for file in &files {
        let above: Vec<&Path> = Path::new(&file.path).ancestors().skip(1).collect();
        for directory in above.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
            if written.insert(directory) {
                let mut header = header(PROGRAM, 0, time);
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, directory, io::empty())?;
            }
        }
        let mut header = header(file.mode, file.content.len() as u64, time);
        builder.append_data(&mut header, &file.path, file.content.as_slice())?;
    }
    builder.into_inner()
}

fn header(mode: u32, size: u64, time: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(time);
    header
}

/// Compresses without a name and a time in the header.
///
/// # Errors
/// None in memory.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The files below a directory whose names do not begin with a dot, with their paths after `prefix`.
///
/// # Errors
/// If one cannot be read.
pub fn below(directory: &Path, prefix: &str) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(directory).map_err(|error| anyhow::anyhow!("{}: {error}", directory.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let inner = format!("{prefix}/{name}");
        match path.is_dir() {
            true => files.extend(below(&path, &inner)?),
            false => files.push(File::data(inner, read(&path)?)),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_files_does_not_matter() {
        let one = || File::data("b/one", "1");
        let other = || File::program("a/other", "2");
        assert_eq!(tar(vec![one(), other()], 7).unwrap(), tar(vec![other(), one()], 7).unwrap());
    }

    #[test]
    fn files_have_their_mode_and_the_time_and_directories_come_first() {
        let bytes = tar(vec![File::program("a/b/c", "2"), File::data("a/d", "")], 7).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries: Vec<(String, u32, u64)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (path, header.mode().unwrap(), header.mtime().unwrap())
            })
            .collect();
        let entry = |path: &str, mode| (path.to_owned(), mode, 7);
        assert_eq!(
            entries,
            [entry("a", PROGRAM), entry("a/b", PROGRAM), entry("a/b/c", PROGRAM), entry("a/d", DATA)]
        );
    }

    #[test]
    fn compressed_bytes_name_neither_file_nor_time() {
        let header = gzip(b"text").unwrap();
        assert_eq!(header[3..8], [0; 5]);
    }
}
