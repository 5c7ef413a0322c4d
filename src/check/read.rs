//! Finds manifest files and reads the documents in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::documents::{self, SyntaxError};

/// One document of a file, `List` kinds unfolded.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file, as it was named or found.
    pub path: PathBuf,
    /// The line on which the document starts, from 1.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// Why manifests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory cannot be opened or read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not YAML or JSON.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// Which one.
        path: PathBuf,
        /// Where and why.
        source: SyntaxError,
    },
}

/// Reads all documents of the files given and, recursively, of the directories given.
///
/// In directories that is every `*.yaml`, `*.yml` and `*.json` that is not hidden; links to directories are not
/// followed. Files come in the order given, those of a directory in the order of their names.
///
/// # Errors
/// The first file that cannot be read.
pub fn read_paths(paths: &[PathBuf]) -> Result<Vec<Document>, ReadError> {
    let mut documents = Vec::new();
    for path in paths {
        for file in files(path)? {
            documents.extend(read_file(&file)?);
        }
    }
    Ok(documents)
}

fn read_file(path: &Path) -> Result<Vec<Document>, ReadError> {
    let text = fs::read_to_string(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    let read =
        documents::documents(&text).map_err(|source| ReadError::Syntax { path: path.to_owned(), source })?;
    let mut documents = Vec::new();
    for (line, value) in read {
        unfold(path, line, value, &mut documents);
    }
    Ok(documents)
}

/// A `List` of any kind stands for its items.
fn unfold(path: &Path, line: usize, mut value: Value, documents: &mut Vec<Document>) {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").filter(|_| is_list).map(Value::take) {
        Some(Value::Array(items)) => {
            for item in items {
                unfold(path, line, item, documents);
            }
        }
        _ => documents.push(Document { path: path.to_owned(), line, value }),
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        let failed = |source| ReadError::Io { path: directory.clone(), source };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // Not that of a link's target: a link to a directory could lead in a circle.
            if entry.file_type().map_err(failed)?.is_dir() {
                pending.push(entry.path());
            } else if is_manifest(&entry.path()) && entry.path().is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_searched_for_manifests_and_lists_are_unfolded() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b.yaml", "kind: B\n---\nkind: C\n");
        write("a/list.yml", "kind: List\nitems:\n- kind: A1\n- kind: XList\n  items: [{kind: A2}]\n");
        write("d.json", "{\"kind\": \"D\"}");
        write(".hidden.yaml", "kind: Hidden\n");
        write(".git/e.yaml", "kind: Hidden\n");
        write("notes.txt", "kind: Text\n");
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
        let documents = read_paths(&[root.path().to_owned()]).unwrap();
        let kinds: Vec<&str> = documents.iter().filter_map(|d| d.value["kind"].as_str()).collect();
        assert_eq!(kinds, ["A1", "A2", "B", "C", "D"]);
        assert_eq!(documents[3].line, 3);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = read_paths(&["no/such/file.yaml".into()]).unwrap_err();
        assert!(error.to_string().contains("no/such/file.yaml"), "{error}");
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("broken.yaml");
        fs::write(&file, "a: [1\nb: 2\n").unwrap();
        let error = read_paths(&[file]).unwrap_err();
        assert!(error.to_string().contains("broken.yaml: line "), "{error}");
    }
}
