//! Reads the policy from a file, and again when its content changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crm_core::policy::{self, Policy, Problem, Problems};
use crm_manifest::{ReadError, content};
use jiff::Timestamp;
use ring::digest;
use serde_json::Value;
use tokio::time::MissedTickBehavior;

use super::Current;

/// How often the file is read.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Why a file has no valid policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read, or is not YAML.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// It is YAML, but not a valid policy.
    #[error("{}: {problems}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All problems.
        problems: Problems,
    },
}

/// Reads the policy in a file.
///
/// # Errors
/// The file cannot be read, is not YAML, or has an invalid policy; then with all problems.
pub fn read(path: &Path) -> Result<Policy, PolicyFileError> {
    read_with_document(path).map(|(policy, _)| policy)
}

/// Reads the policy in a file. Returns its document, too, for [`policy::warnings`].
///
/// # Errors
/// As for [`read`].
pub fn read_with_document(path: &Path) -> Result<(Policy, Value), PolicyFileError> {
    let content = content(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    compile(path, &content)
}

fn compile(path: &Path, content: &[u8]) -> Result<(Policy, Value), PolicyFileError> {
    let path = || path.to_owned();
    let text = std::str::from_utf8(content)
        .map_err(|error| ReadError::Io { path: path(), source: io::Error::other(error) })?;
    let mut documents =
        crm_manifest::documents(text).map_err(|fault| ReadError::Syntax { path: path(), fault })?;
    let invalid = |problems| PolicyFileError::Invalid { path: path(), problems };
    if documents.len() > 1 {
        let text = format!("a policy is one document, but the file has {}", documents.len());
        return Err(invalid(Problems(vec![Problem { field: String::new(), text }])));
    }
    let document = documents.pop().map_or(Value::Null, |(_, document)| document);
    let policy = policy::compile(&document, origin(content)).map_err(invalid)?;
    Ok((policy, document))
}

/// The name of a file's policy: the start of its digest.
fn origin(content: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, content);
    let hex: String = digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A file whose policy is in force.
pub struct Followed {
    path: PathBuf,
    current: Arc<Current>,
    /// The content of the last read; `None` if it failed.
    seen: Option<Vec<u8>>,
}

impl Followed {
    /// Puts the policy in a file into force.
    ///
    /// # Errors
    /// As for [`read`].
    pub fn start(path: &Path, current: Arc<Current>) -> Result<Self, PolicyFileError> {
        let content = content(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        let (policy, document) = compile(path, &content)?;
        accept(&current, policy, &document);
        Ok(Self { path: path.to_owned(), current, seen: Some(content) })
    }

    /// Reads the file at every interval, and puts its policy into force when it changes. Never returns.
    ///
    /// Compares contents, because file system events miss the replaced link of a mounted ConfigMap.
    pub async fn follow(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    /// Reads the file once.
    async fn look(&mut self) {
        let Self { path, current, seen } = self;
        let file = path.clone();
        let read = tokio::task::spawn_blocking(move || content(&file)).await;
        let content = match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(content) => content,
            Err(error) => {
                *seen = None;
                return current.lose(&format!("{}: {error}", path.display()));
            }
        };
        if seen.as_deref() == Some(content.as_slice()) {
            return;
        }
        match compile(path, &content) {
            Ok((policy, document)) => accept(current, policy, &document),
            Err(PolicyFileError::Invalid { problems, .. }) => current.reject(&origin(&content), &problems),
            Err(error) => current.lose(&error.to_string()),
        }
        *seen = Some(content);
    }
}

/// Puts a policy into force. Its warnings are those of an AdmissionPolicy that is applied: here, only the log has them.
fn accept(current: &Current, policy: Policy, document: &Value) {
    let warnings = policy::warnings(document, &policy, Timestamp::now());
    let origin = policy.origin.clone();
    current.accept(policy);
    for warning in warnings {
        tracing::warn!(policy = %origin, %warning, "the policy says something that has no effect");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use crm_core::catalog::{Action, RuleId};

    use super::*;
    use crate::policy_source::State;
    use crate::telemetry::Metrics;

    const STRICT: &str = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nspec: {rules: [{rule: label-value, action: Deny}]}\n";
    const BROKEN: &str = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nspec: {rules: [{rule: labels, action: Deny}]}\n";

    fn action(current: &Current) -> Action {
        current.policy().load().rule(RuleId::LabelValue).action
    }

    fn problem_of(text: &str) -> Problems {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        fs::write(&path, text).unwrap();
        match read(&path).unwrap_err() {
            PolicyFileError::Invalid { problems, .. } => problems,
            error => panic!("{error}"),
        }
    }

    #[test]
    fn a_policy_is_named_by_the_digest_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        fs::write(&path, STRICT).unwrap();
        let first = read(&path).unwrap().origin;
        assert!(first.starts_with("sha256:") && first.len() == 19, "{first}");
        fs::write(&path, format!("{STRICT}# changed\n")).unwrap();
        assert_ne!(read(&path).unwrap().origin, first);
    }

    #[test]
    fn empty_files_and_several_documents_are_invalid() {
        assert!(problem_of("").to_string().contains("empty"));
        assert!(problem_of("# nothing\n---\n").to_string().contains("empty"));
        assert!(problem_of(&format!("{STRICT}---\n{STRICT}")).to_string().contains("the file has 2"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = read(Path::new("no/such/policy.yaml")).unwrap_err();
        assert!(error.to_string().contains("no/such/policy.yaml"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        fs::write(&path, "a: [\n").unwrap();
        assert!(matches!(read(&path), Err(PolicyFileError::Unreadable(ReadError::Syntax { .. }))));
    }

    #[test]
    fn a_file_may_have_64_mib() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
        let PolicyFileError::Unreadable(ReadError::Io { source, .. }) = read(&path).unwrap_err() else {
            panic!("the file is read")
        };
        assert_eq!(source.to_string(), "larger than 64 MiB");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn new_content_comes_into_force_unless_it_is_invalid() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let current =
            Current::new(Metrics::new(), move |policy| hears.lock().unwrap().push(policy.origin.clone()));
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("policy.yaml");
        // A mounted ConfigMap changes like this: the file is a link, and the link is replaced.
        let swap = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            let new = dir.path().join("new");
            std::os::unix::fs::symlink(dir.path().join(name), &new).unwrap();
            fs::rename(new, &link).unwrap();
        };
        let current = Arc::new(current);
        swap("1", STRICT);
        let mut followed = Followed::start(&link, Arc::clone(&current)).unwrap();
        assert_eq!((action(&current), current.state()), (Action::Deny, State::Fine));
        followed.look().await;
        assert_eq!(heard.lock().unwrap().len(), 1, "equal content is not a change");

        swap("2", BROKEN);
        followed.look().await;
        assert_eq!(action(&current), Action::Deny);
        let State::Impaired(why) = current.state() else { panic!("{:?}", current.state()) };
        assert!(why.contains("spec.rules[0].rule: Unsupported value: \"labels\""), "{why}");

        fs::remove_file(&link).unwrap();
        followed.look().await;
        assert!(matches!(current.state(), State::Impaired(_)));
        swap("3", &STRICT.replace("Deny", "Audit"));
        followed.look().await;
        assert_eq!((action(&current), current.state()), (Action::Audit, State::Fine));
    }
}
