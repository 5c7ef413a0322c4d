//! Finds manifest files and reads them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::documents::{self, Document, Syntax, SyntaxError};
use crate::text::Text;
use crate::walk::{Unreadable, Walk};

/// The path that stands for standard input, and its name in reports.
pub const STANDARD_INPUT: &str = "-";
/// The maximum size of a file, in bytes. Nobody writes larger ones by hand.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Why manifests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory cannot be opened or read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not YAML or JSON.
    #[error("{}:{}:{}: {}", path.display(), fault.line, fault.column, fault.message)]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The problem and its place.
        fault: SyntaxError,
    },
}

impl ReadError {
    /// The name of the file or directory in reports.
    pub fn file(&self) -> String {
        name(self.path())
    }

    /// The path of the file or directory, as given or found.
    pub fn path(&self) -> &Path {
        let (Self::Io { path, .. } | Self::Syntax { path, .. }) = self;
        path
    }
}

/// One file, or standard input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in reports: `/` between its parts, and no `./` at its start.
    pub name: String,
    /// The path as given or found; `None` for standard input.
    pub path: Option<PathBuf>,
    /// The path without links, resolved once, before the file is read. So the file that was read is the one to write.
    pub real: Option<PathBuf>,
    /// Whether a link leads to it from a given path, but it is outside of all given paths.
    pub is_outside: bool,
    /// Whether the file itself was given, and not only a directory in which it is.
    pub is_named: bool,
    /// Its syntax.
    pub syntax: Syntax,
    text: Text,
    documents: Vec<Document>,
    errors: Vec<SyntaxError>,
    loose_comments: Vec<Range<usize>>,
}

impl Input {
    /// Reads a text as the content of this file.
    pub fn new(path: &Path, text: String) -> Self {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let mut input = Self {
            name: name(path),
            path: Some(path.to_owned()).filter(|path| path.as_os_str() != STANDARD_INPUT),
            real: None,
            is_outside: false,
            is_named: false,
            syntax: if is_json { Syntax::Json } else { Syntax::Yaml },
            text: Text::new(String::new()),
            documents: Vec::new(),
            errors: Vec::new(),
            loose_comments: Vec::new(),
        };
        input.set_text(text);
        input
    }

    /// Replaces the text and reads it.
    pub fn set_text(&mut self, text: String) {
        self.text = Text::new(text);
        let parsed = documents::parse(&self.text, self.syntax);
        (self.documents, self.errors) = (parsed.documents, parsed.errors);
        self.loose_comments = parsed.loose_comments;
    }

    /// Its text.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// Its documents. Those that cannot be read and empty ones are missing.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The bytes of the comments that belong to no document, such as those between two separators.
    pub fn loose_comments(&self) -> &[Range<usize>] {
        &self.loose_comments
    }

    /// The problems of documents that cannot be read.
    pub fn errors(&self) -> &[SyntaxError] {
        &self.errors
    }
}

/// The files below some paths.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Those that can be read, each once, in the order of the paths and of the names in a directory.
    pub inputs: Vec<Input>,
    /// The problems of the others.
    pub errors: Vec<ReadError>,
    /// The names of the directories given in which every manifest was left out.
    pub left_out: Vec<String>,
    /// The files that are not read because of `except`, wherever they are, by their paths without links.
    pub omitted: HashSet<PathBuf>,
}

/// Reads the files given and, recursively, those of the directories given, in parallel; `-` is standard input.
///
/// In a directory, it reads each `*.yaml`, `*.yml`, `*.json` and `Kustomization` that is not hidden and that `walk` does not
/// leave out. It does not follow links to directories. It omits the files in `except`, and those in directories of `except` unless
/// `paths` names the file.
/// `on_file` is called after each file.
///
/// # Errors
/// The only path given cannot be read. If there are others, its error is in [`Inputs::errors`].
pub fn read(
    paths: &[PathBuf],
    except: &[PathBuf],
    walk: &Walk,
    on_file: &(dyn Fn() + Sync),
) -> Result<Inputs, ReadError> {
    let given: HashSet<PathBuf> = paths.iter().filter_map(|path| real(path)).collect();
    let is_given = |file: &Path| file.ancestors().any(|part| given.contains(part));
    let read = |file: &Found| {
        let mut input = input(file);
        if let (Ok(input), Some(real)) = (&mut input, &file.real) {
            input.is_outside = !is_given(real);
            input.is_named = given.contains(real);
        }
        on_file();
        input
    };
    let Search { mut files, mut errors, left_out, .. } = Search::new(paths, walk);
    if let ([_], [], [_]) = (paths, files.as_slice(), errors.as_slice()) {
        return Err(errors.swap_remove(0));
    }
    let omitted = omitted(paths, except);
    files.retain(|file| !omitted.contains(file.key()));
    let results: Vec<Result<Input, ReadError>> = files.par_iter().map(read).collect();
    let mut inputs = Vec::with_capacity(results.len());
    for result in results {
        match result {
            Ok(input) => inputs.push(input),
            Err(error) => errors.push(error),
        }
    }
    Ok(Inputs { inputs, errors, left_out: left_out.iter().map(|path| name(path)).collect(), omitted })
}

/// Reads one file by its path without links. `shown` is its path in reports.
///
/// # Errors
/// It cannot be read, is larger than 64 MiB, or is not UTF-8.
pub fn read_file(real: PathBuf, shown: &Path) -> Result<Input, ReadError> {
    input(&Found { path: shown.to_owned(), real: Some(real) })
}

/// The files that `except` names, and those in its directories unless they are given themselves.
fn omitted(given: &[PathBuf], except: &[PathBuf]) -> HashSet<PathBuf> {
    let canonical = |paths: &[PathBuf]| -> HashSet<PathBuf> {
        paths.iter().map(|path| real(path).unwrap_or_else(|| path.clone())).collect()
    };
    let (given, mut omitted) = (canonical(given), canonical(except));
    let everything = Walk::default();
    let found = Search::new(except, &everything).files.into_iter().map(|file| file.key().to_owned());
    omitted.extend(found.filter(|file| !given.contains(file)));
    omitted
}

/// The name of a file or directory in reports: with `/` between its parts and without `./` at its start, so that CI servers find it
/// among the files of a repository.
pub fn name(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    match parts.split_first() {
        // The current directory.
        None => ".".to_owned(),
        Some((root, rest)) if root == "/" => format!("/{}", rest.join("/")),
        _ => parts.join("/"),
    }
}

fn input(file: &Found) -> Result<Input, ReadError> {
    let path = &file.path;
    let bytes = content(file.key()).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Input { real: file.real.clone(), ..Input::new(path, text) }),
        Err(error) => Err(ReadError::Syntax { path: path.clone(), fault: not_text(error.as_bytes()) }),
    }
}

/// The first place that is not UTF-8.
fn not_text(bytes: &[u8]) -> SyntaxError {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let (line, column) = Text::new(valid.to_owned()).line_and_column(valid.len());
    SyntaxError { line, column, message: "cannot be read: not UTF-8 text".to_owned() }
}

/// The content of a file; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or has more than 64 MiB.
pub fn content(path: &Path) -> io::Result<Vec<u8>> {
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

/// The text of a file; `-` is standard input.
///
/// # Errors
/// As for [`content`], or it is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(content(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

/// The path of a file or directory without links. Standard input has none, and neither has a path that cannot be
/// resolved, such as the end of a pipe.
fn real(path: &Path) -> Option<PathBuf> {
    if path.as_os_str() == STANDARD_INPUT { None } else { fs::canonicalize(path).ok() }
}

/// A file to read.
#[derive(Clone, Debug)]
struct Found {
    /// The path as given or found.
    path: PathBuf,
    /// The path without links.
    real: Option<PathBuf>,
}

impl Found {
    fn new(path: PathBuf) -> Self {
        Self { real: real(&path), path }
    }

    /// Equal for all names of a file.
    fn key(&self) -> &Path {
        self.real.as_deref().unwrap_or(&self.path)
    }
}

/// The files below some paths.
#[derive(Debug)]
struct Search<'w> {
    walk: &'w Walk,
    /// Each once, even if it has several names.
    files: Vec<Found>,
    /// The paths that cannot be searched.
    errors: Vec<ReadError>,
    /// The directories in which every manifest was left out.
    left_out: Vec<PathBuf>,
}

impl<'w> Search<'w> {
    fn new(paths: &[PathBuf], walk: &'w Walk) -> Self {
        let mut search = Self { walk, files: Vec::new(), errors: Vec::new(), left_out: Vec::new() };
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
            Ok(metadata) if !metadata.is_dir() => vec![path.to_owned()],
            Ok(_) => self.in_directory(path),
            Err(source) => {
                self.errors.push(ReadError::Io { path: path.to_owned(), source });
                Vec::new()
            }
        }
    }

    fn in_directory(&mut self, directory: &Path) -> Vec<PathBuf> {
        let walked = self.walk.below(directory);
        if self.walk.leaves_out_all(directory, &walked) {
            self.left_out.push(directory.to_owned());
        }
        let errors = walked.errors.into_iter();
        self.errors.extend(errors.map(|Unreadable { path, cause: source }| ReadError::Io { path, source }));
        walked.files
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read_all(paths: &[PathBuf]) -> Result<Inputs, ReadError> {
        read(paths, &[], &Walk::default(), &|| ())
    }

    #[test]
    fn directories_are_searched_for_manifests_and_each_is_read_once() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b.yaml", "kind: B\n---\nkind: C\n");
        write("a/list.yml", "kind: A\n");
        write("d.json", "{\"kind\": \"D\"}");
        write(".hidden.yaml", "kind: Hidden\n");
        write(".git/e.yaml", "kind: Hidden\n");
        write("notes.txt", "kind: Text\n");
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
        let again = root.path().join("a/../b.yaml");
        let inputs = read_all(&[root.path().to_owned(), again]).unwrap().inputs;
        let documents = inputs.iter().flat_map(Input::documents);
        let kinds: Vec<Value> =
            documents.map(|document| document.tree.value(document.tree.root)["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B", "C", "D"]);
    }

    #[test]
    fn unreadable_paths_are_reported() {
        let error = read_all(&["no/such/file.yaml".into()]).unwrap_err();
        assert!(error.to_string().contains("no/such/file.yaml"), "{error}");
        let root = tempfile::tempdir().unwrap();
        let errors = read_all(&[root.path().to_owned(), "no/such/file.yaml".into()]).unwrap().errors;
        assert_eq!(errors.iter().map(ReadError::file).collect::<Vec<_>>(), ["no/such/file.yaml"]);
    }

    #[test]
    fn exceptions_are_not_read_unless_they_are_only_in_a_directory_and_given() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().canonicalize().unwrap().join(name);
        for name in ["a.yaml", "b.yaml", "c.yaml"] {
            fs::write(path(name), "{}").unwrap();
        }
        let given = [root.path().to_owned(), path("a.yaml"), path("b.yaml")];
        let except = [root.path().to_owned(), path("b.yaml"), path("absent.yaml")];
        let Inputs { inputs, mut omitted, .. } = read(&given, &except, &Walk::default(), &|| ()).unwrap();
        assert_eq!(
            inputs.iter().map(|input| input.real.clone().unwrap()).collect::<Vec<_>>(),
            [path("a.yaml")]
        );
        omitted.retain(|file| file.extension().is_some());
        assert_eq!(omitted, HashSet::from(["absent.yaml", "b.yaml", "c.yaml"].map(path)));
    }

    #[test]
    fn names_in_reports_are_paths_in_the_repository() {
        for (path, expected) in [
            ("./a/b.yaml", "a/b.yaml"),
            ("a.yaml", "a.yaml"),
            ("/x/./y.json", "/x/y.json"),
            (".", "."),
            ("./", "."),
        ] {
            assert_eq!(name(Path::new(path)), expected);
        }
    }

    #[test]
    fn an_unreadable_file_does_not_hide_the_others() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.yaml"), "# é\n- \u{e9}".as_bytes().split_last().unwrap().1).unwrap();
        fs::write(root.path().join("b.yaml"), "b: 1\n").unwrap();
        let read = read(&[root.path().to_owned()], &[], &Walk::default(), &|| ());
        let Inputs { inputs, errors, .. } = read.unwrap();
        assert_eq!((inputs.len(), errors.len()), (1, 1));
        let message = errors[0].to_string();
        assert!(message.ends_with("a.yaml:2:3: cannot be read: not UTF-8 text"), "{message}");
    }
}
