//! Replaces the content of a file, or creates one, atomically.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Replaces the content of a file if it is still `before`. At any moment the file has either the old content or the new
/// one. Its mode and owner, and links to it, stay the same.
///
/// `path` must not contain links. Follow them when you read the file: later they may lead to another file.
///
/// # Errors
/// The file is not writable, has changed, or is behind a link now; or its directory is not writable. Then the file is
/// unchanged.
pub fn replace(path: &Path, before: &[u8], after: &[u8]) -> io::Result<()> {
    has_no_links(path)?;
    // A rename would also replace a file that is not writable.
    let metadata = OpenOptions::new().write(true).open(path)?.metadata()?;
    let beside = path.parent().unwrap_or(Path::new("/"));
    let mut file = NamedTempFile::new_in(beside)?;
    file.write_all(after)?;
    take_over(file.as_file(), &metadata)?;
    // Without this, a power cut may leave an empty file.
    file.as_file().sync_all()?;
    if fs::read(path)? != before {
        return Err(io::Error::other("the file has changed since it was read; run the command again"));
    }
    has_no_links(path)?;
    file.persist(path)?;
    Ok(())
}

/// Creates a file with this content. At no moment is there a part of it.
///
/// # Errors
/// There is a file or a link of this name, or its directory does not exist or is not writable.
pub fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    new_beside(path, content)?.persist_noclobber(path)?;
    Ok(())
}

/// Creates a file with this content, or replaces the file or the link of this name by it. At any moment the file has
/// either the old content or the new one. It has the mode of a new file.
///
/// # Errors
/// There is a directory of this name, or its directory does not exist or is not writable.
pub fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    new_beside(path, content)?.persist(path)?;
    Ok(())
}

/// A temporary file with this content, in the same directory so that it can be renamed.
fn new_beside(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As for any new file: the mask of the process takes bits away.
    let mut file = Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(beside)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn has_no_links(path: &Path) -> io::Result<()> {
    if fs::canonicalize(path)? == path {
        return Ok(());
    }
    Err(io::Error::other("the file was replaced by a link since it was read; run the command again"))
}

fn take_over(file: &File, of: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (of.uid(), of.gid()) {
        // Only root can change the owner. The new file of another user belongs to that user.
        match fchown(file, Some(of.uid()), Some(of.gid())) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    // After the owner, because a change of owner clears bits of the mode.
    file.set_permissions(of.permissions())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn directory_with(content: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("a.yaml");
        fs::write(&path, content).unwrap();
        (directory, path)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_mode_stays_and_no_other_file_is_left() {
        let (directory, path) = directory_with("old");
        for mode in [0o600, 0o664, 0o755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            replace(&path, &fs::read(&path).unwrap(), format!("{mode}").as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{mode}"));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(names(directory.path()), ["a.yaml"]);
    }

    #[test]
    fn a_link_that_replaces_the_file_is_not_followed() {
        let (directory, path) = directory_with("old");
        let (elsewhere, target) = directory_with("old");
        fs::remove_file(&path).unwrap();
        symlink(&target, &path).unwrap();
        let error = replace(&path, b"old", b"new").unwrap_err();
        assert!(error.to_string().contains("replaced by a link"), "{error}");
        assert_eq!(
            (names(directory.path()), names(elsewhere.path())),
            (vec!["a.yaml".to_owned()], vec!["a.yaml".to_owned()])
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    }

    #[test]
    fn a_link_that_replaces_the_directory_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (elsewhere, target) = directory_with("old");
        let inside = root.path().canonicalize().unwrap().join("records");
        symlink(elsewhere.path(), &inside).unwrap();
        let error = replace(&inside.join("a.yaml"), b"old", b"new").unwrap_err();
        assert!(error.to_string().contains("replaced by a link"), "{error}");
        assert_eq!(names(elsewhere.path()), ["a.yaml"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    }

    #[test]
    fn a_change_by_somebody_else_is_not_overwritten() {
        let (directory, path) = directory_with("theirs");
        let error = replace(&path, b"old", b"new").unwrap_err();
        assert!(error.to_string().contains("has changed since it was read"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(names(directory.path()), ["a.yaml"]);
    }

    #[test]
    fn a_created_file_is_readable_as_any_other_and_replaces_nothing() {
        let (directory, path) = directory_with("old");
        let new = path.with_file_name("b.json");
        create(&new, b"new").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!((fs::read_to_string(&new).unwrap(), mode(&new)), ("new".to_owned(), mode(&path)));
        assert_eq!(create(&path, b"new").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        put(&path, b"newer").unwrap();
        put(&new, b"newer").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap(), mode(&path)), ("newer".to_owned(), mode(&new)));
        assert_eq!(fs::read_to_string(&new).unwrap(), "newer");
        assert_eq!(names(directory.path()), ["a.yaml", "b.json"]);
    }

    #[test]
    fn a_reader_sees_the_old_content_to_the_end() {
        let (_directory, path) = directory_with("old");
        let open = File::open(&path).unwrap();
        replace(&path, b"old", b"new, and longer").unwrap();
        assert_eq!(io::read_to_string(open).unwrap(), "old");
    }
}
