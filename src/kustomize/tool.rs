//! Runs `kustomize build` or `kubectl kustomize` on one directory, with a time limit and limits of its output.

use std::cell::Cell;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crm_check::units::Root;
use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The programs and their commands, best first.
const PROGRAMS: [(&str, &str); 2] = [("kustomize", "build"), ("kubectl", "kustomize")];
/// The time limit of one build.
///
/// kustomize compares each resource with all others, so 5,000 resources can take more than a minute.
const LIMIT: Duration = Duration::from_secs(300);
/// The maximum size of the manifests of one build, in bytes: as that of a file.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;
/// The maximum size of its errors, in bytes. The rest is cut off.
const MAX_ERRORS: u64 = 16 * 1024;

/// The environment of a build: kustomize also reads URLs that stand in the files of generators and transformers. These
/// variables let it reach no other machine, by HTTP or by git.
const NO_NETWORK: [(&str, &str); 7] = [
    // Nothing listens on the port `discard`.
    ("HTTP_PROXY", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("http_proxy", "http://127.0.0.1:9"),
    ("https_proxy", "http://127.0.0.1:9"),
    ("NO_PROXY", ""),
    ("no_proxy", ""),
    ("GIT_ALLOW_PROTOCOL", ""),
];

/// A program that builds.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    program: PathBuf,
    command: &'static str,
    /// What users type.
    name: String,
}

/// Why a directory cannot be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error("cannot prepare the build: {0}")]
    Preparation(io::Error),
    #[error("{tool} cannot be run: {source}")]
    Run { tool: String, source: io::Error },
    #[error("{tool} has not ended within {} seconds", LIMIT.as_secs())]
    Late { tool: String },
    #[error("{tool} renders more than {} MiB", MAX_OUTPUT >> 20)]
    Long { tool: String },
    #[error("{tool} fails: {errors}")]
    Failed { tool: String, errors: String },
}

impl Tool {
    /// The first of the programs on the PATH. A directory of the PATH that is relative is left out, because it could be in
    /// the repository.
    pub(super) fn find() -> Option<Self> {
        let path = env::var_os("PATH")?;
        let directories: Vec<PathBuf> =
            env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
        PROGRAMS.into_iter().find_map(|(name, command)| {
            let program =
                directories.iter().map(|directory| directory.join(name)).find(|file| is_program(file))?;
            Some(Self { program, command, name: format!("{name} {command}") })
        })
    }

    /// The manifests that a directory renders, with annotations of their origins, and the directory to which these are
    /// relative.
    ///
    /// Only the kustomization that is built can ask for these annotations. So this builds a temporary one that refers to
    /// the directory, and leaves the files of the user as they are.
    pub(super) async fn build(&self, root: Root<'_>) -> Result<(String, PathBuf), BuildError> {
        let (wrapper, base) = wrapper(root).map_err(BuildError::Preparation)?;
        let output = self.run(&base).await;
        drop(wrapper);
        match output {
            Err(BuildError::Failed { tool, errors }) => {
                Err(BuildError::Failed { tool, errors: own_part(&errors, root.directory()).to_owned() })
            }
            output => Ok((output?, base)),
        }
    }

    async fn run(&self, directory: &Path) -> Result<String, BuildError> {
        let tool = || self.name.clone();
        let failed = |source| BuildError::Run { tool: tool(), source };
        let mut child = Command::new(&self.program)
            .arg(self.command)
            .arg(directory)
            .envs(NO_NETWORK)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (output, errors) = tokio::try_join!(output(stdout), errors(stderr))?;
            let status = child.wait().await?;
            group.leave();
            Ok((status, output, errors))
        };
        let ended = timeout(LIMIT, work).await.map_err(|_| BuildError::Late { tool: tool() })?;
        let (status, output, errors) = ended.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::FileTooLarge => BuildError::Long { tool: tool() },
            _ => failed(error),
        })?;
        if !status.success() {
            let errors = plain(&String::from_utf8_lossy(&errors));
            let errors = if errors.is_empty() { status.to_string() } else { errors };
            return Err(BuildError::Failed { tool: tool(), errors });
        }
        String::from_utf8(output).map_err(|_| failed(io::Error::other("its output is not UTF-8 text")))
    }
}

/// The processes that the tool has started, which are killed with the build.
struct Group(Cell<Option<Pid>>);

impl Group {
    /// The group of a process that leads one.
    fn of(leader: &Child) -> Self {
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        Self(Cell::new(id.and_then(Pid::from_raw)))
    }

    /// The leader has ended, so its id can soon be that of another process.
    fn leave(&self) {
        self.0.take();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.take() {
            // It fails only if all have ended.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file()) && access(file, Access::EXEC_OK).is_ok()
}

/// A temporary directory with a kustomization file that refers to a unit, and its path without links.
fn wrapper(root: Root<'_>) -> io::Result<(TempDir, PathBuf)> {
    let wrapper = tempfile::Builder::new().prefix("crm-admission-").tempdir()?;
    let base = fs::canonicalize(wrapper.path())?;
    if base.starts_with(root.directory()) {
        // kustomize would take the reference for a circle.
        return Err(io::Error::other(format!(
            "the directory for temporary files, {}, is inside of the directory to build; set TMPDIR to one outside",
            env::temp_dir().display()
        )));
    }
    // kustomize accepts no absolute path of a directory.
    let resource = relative(root.directory(), &base);
    let mut kustomization = root.only_at_root();
    if let Some(Value::String(schema)) =
        kustomization.get_mut("openapi").and_then(|openapi| openapi.get_mut("path"))
    {
        // Only files below the kustomization file may be read.
        fs::copy(root.directory().join(&*schema), base.join(SCHEMA))?;
        SCHEMA.clone_into(schema);
    }
    kustomization.insert("resources".to_owned(), json!([resource.to_string_lossy()]));
    kustomization.insert("buildMetadata".to_owned(), json!(["originAnnotations"]));
    fs::write(base.join("kustomization.yaml"), Value::Object(kustomization).to_string())?;
    Ok((wrapper, base))
}

/// The name of the copy of an OpenAPI schema.
const SCHEMA: &str = "openapi.json";

/// A path as seen from a directory. Both are absolute and without links.
fn relative(path: &Path, from: &Path) -> PathBuf {
    let (mut path, mut from) = (path.components().peekable(), from.components().peekable());
    while path.peek().is_some() && path.peek() == from.peek() {
        path.next();
        from.next();
    }
    from.map(|_| Component::ParentDir)
        .chain(path)
        .map(|part| AsRef::<OsStr>::as_ref(&part).to_owned())
        .collect()
}

/// The part of an error that is about the unit itself, without what kustomize says about the temporary kustomization file.
fn own_part<'e>(errors: &'e str, unit: &Path) -> &'e str {
    let starts = ["recursed accumulation of path", "couldn't make target for path"].into_iter();
    let mut own =
        starts.filter_map(|start| Some(errors.split_once(&format!("{start} '{}': ", unit.display()))?.1));
    own.next().unwrap_or(errors)
}

/// An error without what programs write around it: `Error: …`, or a line of a log.
fn plain(errors: &str) -> String {
    let errors = errors.trim();
    if let Some((_, quoted)) = errors.split_once("] \"command failed\" err=\"") {
        return quoted.strip_suffix('"').unwrap_or(quoted).replace("\\\"", "\"");
    }
    ["Error: ", "error: "]
        .into_iter()
        .find_map(|start| errors.strip_prefix(start))
        .unwrap_or(errors)
        .to_owned()
}

/// The manifests. If they are too large, the program is not waited for.
async fn output(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MAX_OUTPUT { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// The start of the errors. The rest is read, too, so that the program does not wait.
async fn errors(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(MAX_ERRORS).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_to_a_directory() {
        for (path, from, expected) in [
            ("/a/b", "/tmp/x", "../../a/b"),
            ("/tmp/a", "/tmp/x", "../a"),
            ("/tmp", "/tmp/x", ".."),
            ("/", "/tmp", ".."),
            ("/tmp/x/y", "/tmp/x", "y"),
        ] {
            assert_eq!(relative(Path::new(path), Path::new(from)), Path::new(expected), "{path} from {from}");
        }
    }

    #[test]
    fn an_error_is_about_the_unit() {
        let errors = "accumulating resources: accumulation err='…': recursed accumulation of path '/r/dev': missing name";
        assert_eq!(own_part(errors, Path::new("/r/dev")), "missing name");
        assert_eq!(own_part("unknown flag", Path::new("/r/dev")), "unknown flag");
    }

    #[test]
    fn an_error_is_without_what_is_around_it() {
        assert_eq!(plain("Error: no luck\n"), "no luck");
        assert_eq!(
            plain("E1201 05:25:27 29 run.go:72] \"command failed\" err=\"no \\\"luck\\\"\"\n"),
            "no \"luck\""
        );
    }
}
