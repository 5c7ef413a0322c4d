//! Finds manifest files and reads them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::bundle;
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
    #[error("{}:{}:{}: {}", path.display(), fault.line, fault.column, fault.message)]
    Syntax {
        /// Which one.
        path: PathBuf,
        /// Where and why.
        fault: SyntaxError,
    },
}

impl From<ReadError> for InputError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { path, source } => {
                Self { file: name(&path), place: None, message: format!("cannot be read: {source}") }
            }
            ReadError::Syntax { path, fault } => {
                Self { file: name(&path), place: Some((fault.line, fault.column)), message: fault.message }
            }
        }
    }
}

/// One file, or what came from standard input.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// How reports call it.
    pub(super) name: String,
    /// As it was named or found; `None` for standard input.
    pub(super) path: Option<PathBuf>,
    /// The same without links, found out once, before it was read: what is read is what may be written.
    pub(super) real: Option<PathBuf>,
    /// Whether a link leads to it out of all that was named.
    pub(super) leads_out: bool,
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
            real: None,
            leads_out: false,
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
/// What cannot be read is reported beside what can. Files of `except` are left out, unless they are given themselves
/// and only found there. `on_file` hears of each file that is done.
///
/// # Errors
/// The only path that is given cannot be read.
pub(super) fn sources(
    paths: &[PathBuf],
    except: &[PathBuf],
    on_file: &(dyn Fn() + Sync),
) -> Result<(Vec<Source>, Vec<InputError>), ReadError> {
    let named: HashSet<PathBuf> = paths.iter().filter_map(|path| real(path)).collect();
    let is_named = |file: &Path| file.ancestors().any(|part| named.contains(part));
    let read = |file: &Found| {
        let mut source = source(file);
        if let (Ok(source), Some(real)) = (&mut source, &file.real) {
            source.leads_out = !is_named(real);
        }
        on_file();
        source
    };
    let Search { mut files, mut errors } = Search::new(paths);
    if let ([_], [], [_]) = (paths, files.as_slice(), errors.as_slice()) {
        return Err(errors.swap_remove(0));
    }
    leave_out(&mut files, paths, except);
    let results: Vec<Result<Source, ReadError>> = files.par_iter().map(read).collect();
    let mut sources = Vec::with_capacity(results.len());
    for result in results {
        match result {
            Ok(source) => sources.push(source),
            Err(error) => errors.push(error),
        }
    }
    Ok((sources, errors.into_iter().map(InputError::from).collect()))
}

fn leave_out(files: &mut Vec<Found>, given: &[PathBuf], except: &[PathBuf]) {
    if except.is_empty() {
        return;
    }
    let canonical = |paths: &[PathBuf]| -> HashSet<PathBuf> {
        paths.iter().map(|path| real(path).unwrap_or_else(|| path.clone())).collect()
    };
    let (given, named) = (canonical(given), canonical(except));
    let search = Search::new(except);
    let found: HashSet<&Path> = search.files.iter().map(Found::key).collect();
    files.retain(|file| {
        let file = file.key();
        !named.contains(file) && (given.contains(file) || !found.contains(file))
    });
}

/// The objects in the files given and, recursively, in the directories given.
///
/// # Errors
/// The first file that cannot be read.
pub fn read_objects(paths: &[PathBuf]) -> Result<Vec<Value>, ReadError> {
    let mut objects = Vec::new();
    let search = Search::new(paths);
    if let Some(error) = search.errors.into_iter().next() {
        return Err(error);
    }
    for file in search.files {
        let source = source(&file)?;
        if let Some(fault) = source.errors.first().cloned().or_else(|| bundle::misshapen_in(&source)) {
            return Err(ReadError::Syntax { path: file.path, fault });
        }
        objects.extend(source.documents.iter().map(|document| document.tree.value(document.tree.root)));
    }
    Ok(objects)
}

fn source(file: &Found) -> Result<Source, ReadError> {
    let path = &file.path;
    let bytes = content(file.key()).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { real: file.real.clone(), ..Source::new(path, text) }),
        Err(error) => Err(ReadError::Syntax { path: path.clone(), fault: not_text(error.as_bytes()) }),
    }
}

/// Where these bytes stop being text.
fn not_text(bytes: &[u8]) -> SyntaxError {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let (line, column) = Text::new(valid.to_owned()).line_and_column(valid.len());
    SyntaxError { line, column, message: "cannot be read: not UTF-8 text".to_owned() }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
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
    Ok(bytes)
}

/// The one path of a file or directory, however it is named. Standard input has none, nor has what cannot be followed,
/// such as the end of a pipe.
fn real(path: &Path) -> Option<PathBuf> {
    if path.as_os_str() == STANDARD_INPUT { None } else { fs::canonicalize(path).ok() }
}

/// A file that a path leads to.
#[derive(Clone, Debug)]
struct Found {
    /// As it was named or found.
    path: PathBuf,
    /// The same without links.
    real: Option<PathBuf>,
}

impl Found {
    fn new(path: PathBuf) -> Self {
        Self { real: real(&path), path }
    }

    /// The same for all names of a file.
    fn key(&self) -> &Path {
        self.real.as_deref().unwrap_or(&self.path)
    }
}

/// What paths lead to.
#[derive(Debug, Default)]
struct Search {
    /// Each once however it is named.
    files: Vec<Found>,
    /// What cannot be searched.
    errors: Vec<ReadError>,
}

impl Search {
    fn new(paths: &[PathBuf]) -> Self {
        let mut search = Self::default();
        let mut seen = HashSet::new();
        for path in paths {
            let files = search.below(path).into_iter().map(Found::new);
            search.files.extend(files.filter(|file| seen.insert(file.key().to_owned())));
        }
        search
    }

    fn below(&mut self, path: &Path) -> Vec<PathBuf> {
        if path.as_os_str() == STANDARD_INPUT {
            return vec![path.to_owned()];
        }
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => return vec![path.to_owned()],
            Ok(_) => {}
            Err(source) => {
                self.errors.push(ReadError::Io { path: path.to_owned(), source });
                return Vec::new();
            }
        }
        let mut found = Vec::new();
        let mut pending = vec![path.to_owned()];
        while let Some(directory) = pending.pop() {
            if let Err(source) = look_into(&directory, &mut found, &mut pending) {
                self.errors.push(ReadError::Io { path: directory, source });
            }
        }
        found.sort();
        found
    }
}

/// Adds the manifests and the directories in a directory.
fn look_into(directory: &Path, found: &mut Vec<PathBuf>, pending: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // Not that of a link's target: a link to a directory could lead in a circle.
        if entry.file_type()?.is_dir() {
            pending.push(entry.path());
        } else if is_manifest(&entry.path()) && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
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
        assert!(error.to_string().contains("broken.yaml:2:2: "), "{error}");
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
        fs::write(root.path().join("a.yaml"), "# é\n- \u{e9}".as_bytes().split_last().unwrap().1).unwrap();
        fs::write(root.path().join("b.yaml"), "b: 1\n").unwrap();
        let (sources, errors) = sources(&[root.path().to_owned()], &[], &|| ()).unwrap();
        assert_eq!((sources.len(), errors.len()), (1, 1));
        assert_eq!((errors[0].place, errors[0].message.contains("not UTF-8 text")), (Some((2, 3)), true));
    }
}
