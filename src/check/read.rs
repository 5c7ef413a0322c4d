//! Finds manifest files and reads them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::documents::{self, ParsedDocument, Syntax, SyntaxError};
use super::report::InputError;
use super::text::Text;

/// Stands for standard input among paths, and names it in reports.
const STANDARD_INPUT: &str = "-";
/// More than this is no file that a person wrote, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

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

/// One file, or what came from standard input.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// How reports call it.
    pub(super) name: String,
    /// Where it is; `None` for standard input.
    pub(super) path: Option<PathBuf>,
    pub(super) syntax: Syntax,
    pub(super) text: Text,
    pub(super) documents: Vec<ParsedDocument>,
    pub(super) errors: Vec<SyntaxError>,
}

impl Source {
    pub(super) fn new(path: &Path, text: String) -> Self {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let mut source = Self {
            name: name(path),
            path: Some(path.to_owned()).filter(|path| path.as_os_str() != STANDARD_INPUT),
            syntax: if is_json { Syntax::Json } else { Syntax::Yaml },
            text: Text::new(String::new()),
            documents: Vec::new(),
            errors: Vec::new(),
        };
        source.set_text(text);
        source
    }

    /// Takes another text and reads it.
    pub(super) fn set_text(&mut self, text: String) {
        self.text = Text::new(text);
        let parsed = documents::parse(&self.text, self.syntax);
        (self.documents, self.errors) = (parsed.documents, parsed.errors);
    }
}

/// The name of a file in reports: with `/` between its parts and without a needless `./`, as CI servers match it
/// with the files of a repository.
fn name(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    match parts.split_first() {
        Some((root, rest)) if root == "/" => format!("/{}", rest.join("/")),
        _ => parts.join("/"),
    }
}

/// Reads the files given and, recursively, those of the directories given, in parallel; `-` is standard input.
///
/// In directories that is every `*.yaml`, `*.yml` and `*.json` that is not hidden; links to directories are not
/// followed. Files come in the order given, those of a directory in the order of their names, and each once.
/// What is found and cannot be read is reported beside what can. `on_file` hears of each file that is done.
///
/// # Errors
/// A path that is given and not there.
pub(super) fn sources(
    paths: &[PathBuf],
    on_file: &(dyn Fn() + Sync),
) -> Result<(Vec<Source>, Vec<InputError>), ReadError> {
    let read = |path: &PathBuf| {
        let source = source(path);
        on_file();
        source
    };
    let results: Vec<Result<Source, InputError>> = all_files(paths)?.par_iter().map(read).collect();
    let mut sources = Vec::with_capacity(results.len());
    let mut errors = Vec::new();
    for result in results {
        match result {
            Ok(source) => sources.push(source),
            Err(error) => errors.push(error),
        }
    }
    Ok((sources, errors))
}

/// The objects in the files given and, recursively, in the directories given.
///
/// # Errors
/// The first file that cannot be read.
pub fn read_objects(paths: &[PathBuf]) -> Result<Vec<Value>, ReadError> {
    let mut objects = Vec::new();
    for path in all_files(paths)? {
        let text = content(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let source = Source::new(&path, text);
        if let Some(source) = source.errors.into_iter().next() {
            return Err(ReadError::Syntax { path, source });
        }
        objects.extend(source.documents.iter().map(|document| document.tree.value(document.tree.root)));
    }
    Ok(objects)
}

fn source(path: &Path) -> Result<Source, InputError> {
    let text = content(path).map_err(|error| InputError {
        file: name(path),
        place: None,
        message: format!("cannot be read: {error}"),
    })?;
    Ok(Source::new(path, text))
}

fn content(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut read = |from: &mut dyn Read| from.take(MAX_FILE + 1).read_to_end(&mut bytes);
    if path.as_os_str() == STANDARD_INPUT {
        read(&mut io::stdin().lock())?
    } else {
        read(&mut File::open(path)?)?
    };
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        io::Error::other(format!("not UTF-8 text after byte {valid}"))
    })
}

/// The files that the paths lead to, each once however it is named.
fn all_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReadError> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for path in paths {
        for file in files(path)? {
            if seen.insert(fs::canonicalize(&file).unwrap_or_else(|_| file.clone())) {
                all.push(file);
            }
        }
    }
    Ok(all)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    if path.as_os_str() == STANDARD_INPUT || !fs::metadata(path).map_err(failed)?.is_dir() {
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
    fn directories_are_searched_for_manifests_and_each_is_read_once() {
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
        let again = root.path().join("a/../b.yaml");
        let objects = read_objects(&[root.path().to_owned(), again]).unwrap();
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, ["List", "B", "C", "D"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = read_objects(&["no/such/file.yaml".into()]).unwrap_err();
        assert!(error.to_string().contains("no/such/file.yaml"), "{error}");
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("broken.yaml");
        fs::write(&file, "a: [1\nb: 2\n").unwrap();
        let error = read_objects(&[file]).unwrap_err();
        assert!(error.to_string().contains("broken.yaml: line "), "{error}");
    }

    #[test]
    fn names_in_reports_are_those_of_a_repository() {
        for (path, expected) in
            [("./a/b.yaml", "a/b.yaml"), ("a.yaml", "a.yaml"), ("/x/./y.json", "/x/y.json")]
        {
            assert_eq!(name(Path::new(path)), expected);
        }
    }

    #[test]
    fn what_is_found_and_cannot_be_read_does_not_hide_the_rest() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.yaml"), b"a: \xff\n").unwrap();
        fs::write(root.path().join("b.yaml"), "b: 1\n").unwrap();
        let (sources, errors) = sources(&[root.path().to_owned()], &|| ()).unwrap();
        assert_eq!((sources.len(), errors.len()), (1, 1));
        assert!(errors[0].message.contains("not UTF-8 text after byte 3"), "{errors:?}");
    }
}
