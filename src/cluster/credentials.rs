//! Bearer tokens that change: those of a file, and those of an exec plugin.
//!
//! kube has both, too. But it runs a plugin three times for each client, does not trim a token file, and panics if a
//! token cannot be sent.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::config::{ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::BoxError;
use tower::filter::AsyncPredicate;

/// How long a token of a file is used before the file is read again: as in kubectl.
const FILE_LIFETIME: Duration = Duration::from_secs(60);
/// How long before its end a token is replaced, so that it does not expire on the way.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);
/// The newest version of the plugin interface, and the one before it.
const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The token file cannot be read.
    #[error("the token file {} cannot be read: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// A token has line breaks or other characters that no token has.
    #[error("the token is not valid: it is empty or contains line breaks or control characters")]
    NotAToken,
    /// The plugin is not installed.
    #[error("the exec plugin {command} of the kubeconfig is not installed{}", after(hint))]
    NotInstalled {
        /// Its command.
        command: String,
        /// The text of the kubeconfig that says how to install it.
        hint: String,
    },
    /// The plugin cannot be started, fails, or its answer cannot be used.
    #[error("the exec plugin {command} of the kubeconfig {problem}")]
    Plugin {
        /// Its command.
        command: String,
        /// What happened.
        problem: String,
    },
}

fn after(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(": {hint}") }
}

/// The value of the header `Authorization` for a token. Logs never show it.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, CredentialError> {
    if token.is_empty() {
        return Err(CredentialError::NotAToken);
    }
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| CredentialError::NotAToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Adds the current token to each request.
#[derive(Clone)]
pub(super) enum Token {
    File(Arc<TokenFile>),
    Plugin(Arc<Plugin>),
}

impl Token {
    async fn header(&self) -> Result<HeaderValue, CredentialError> {
        match self {
            Self::File(file) => file.header().await,
            Self::Plugin(plugin) => plugin.header().await,
        }
    }
}

impl AsyncPredicate<Request<Body>> for Token {
    type Future = BoxFuture<'static, Result<Self::Request, BoxError>>;
    type Request = Request<Body>;

    fn check(&mut self, mut request: Request<Body>) -> Self::Future {
        let token = self.clone();
        async move {
            request.headers_mut().insert(AUTHORIZATION, token.header().await?);
            Ok(request)
        }
        .boxed()
    }
}

/// A file with a token that something else replaces from time to time.
pub(super) struct TokenFile {
    path: PathBuf,
    held: Mutex<(HeaderValue, Instant)>,
}

impl TokenFile {
    /// Reads the file.
    pub(super) fn read(path: PathBuf) -> Result<Self, CredentialError> {
        let held = Mutex::new((Self::now(&path)?, Instant::now()));
        Ok(Self { path, held })
    }

    fn now(path: &PathBuf) -> Result<HeaderValue, CredentialError> {
        match std::fs::read_to_string(path) {
            Ok(text) => bearer(text.trim()),
            Err(why) => Err(CredentialError::Unreadable { file: path.clone(), why }),
        }
    }

    /// The token. If the file cannot be read again, the last one may still be valid.
    async fn header(&self) -> Result<HeaderValue, CredentialError> {
        let mut held = self.held.lock().await;
        if held.1.elapsed() >= FILE_LIFETIME {
            let path = self.path.clone();
            if let Ok(Ok(token)) = tokio::task::spawn_blocking(move || Self::now(&path)).await {
                held.0 = token;
            }
            held.1 = Instant::now();
        }
        Ok(held.0.clone())
    }
}

/// A program that logs in, and returns a token or a client certificate.
pub(super) struct Plugin {
    config: ExecConfig,
    held: Mutex<(HeaderValue, Option<Timestamp>)>,
}

/// What a plugin returned.
pub(super) struct LoggedIn {
    /// The plugin, if it returned a token.
    pub(super) token: Option<Plugin>,
    /// A certificate and its key, as PEM.
    pub(super) certificate: Option<(String, String)>,
}

impl Plugin {
    /// Checks the settings of a plugin, runs it, and waits for it: a plugin may ask the user to log in.
    pub(super) async fn log_in(config: ExecConfig) -> Result<LoggedIn, CredentialError> {
        let (config, status) = run(config).await?;
        let certificate = match (status.client_certificate_data, status.client_key_data) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(problem(&config, "returned a certificate without a key or a key without one")),
        };
        let token = match status.token {
            Some(token) => {
                let header =
                    bearer(&token).map_err(|_| problem(&config, "returned a token that is not valid"))?;
                let expires = expiry(&config, status.expiration_timestamp.as_deref())?;
                Some(Self { config, held: Mutex::new((header, expires)) })
            }
            None if certificate.is_none() => {
                return Err(problem(&config, "returned neither a token nor a client certificate"));
            }
            None => None,
        };
        Ok(LoggedIn { token, certificate })
    }

    async fn header(&self) -> Result<HeaderValue, CredentialError> {
        let mut held = self.held.lock().await;
        if held.1.is_some_and(|expires| Timestamp::now() + AHEAD >= expires) {
            let (config, status) = run(self.config.clone()).await?;
            let token = status.token.unwrap_or_default();
            let header = bearer(&token).map_err(|_| problem(&config, "returned no valid token"))?;
            *held = (header, expiry(&config, status.expiration_timestamp.as_deref())?);
        }
        Ok(held.0.clone())
    }
}

fn expiry(config: &ExecConfig, text: Option<&str>) -> Result<Option<Timestamp>, CredentialError> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| problem(config, "returned an expirationTimestamp that is not a time"))
}

fn problem(config: &ExecConfig, problem: impl Into<String>) -> CredentialError {
    CredentialError::Plugin { command: name(config), problem: problem.into() }
}

fn name(config: &ExecConfig) -> String {
    config.command.clone().unwrap_or_default()
}

/// The object that a plugin reads from `KUBERNETES_EXEC_INFO`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'c> {
    kind: &'static str,
    api_version: &'c str,
    spec: Spec<'c>,
}

#[derive(Serialize)]
struct Spec<'c> {
    interactive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'c ExecAuthCluster>,
}

/// The object that a plugin prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    kind: String,
    api_version: String,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs a plugin on a thread that may block.
async fn run(config: ExecConfig) -> Result<(ExecConfig, Status), CredentialError> {
    let command = name(&config);
    let ran = tokio::task::spawn_blocking(move || reply(&config).map(|status| (config, status))).await;
    ran.unwrap_or_else(|_| Err(CredentialError::Plugin { command, problem: "could not be run".to_owned() }))
}

fn reply(config: &ExecConfig) -> Result<Status, CredentialError> {
    let version = version(config)?;
    let output = match command(config, version)?.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = config.install_hint.clone().unwrap_or_default();
            return Err(CredentialError::NotInstalled {
                command: name(config),
                hint: hint.trim().to_owned(),
            });
        }
        Err(error) => return Err(problem(config, format!("cannot be started: {error}"))),
    };
    if !output.status.success() {
        // It has told the user why on standard error, which is ours.
        return Err(problem(config, format!("failed with {}", output.status)));
    }
    let unreadable = "did not return an ExecCredential as JSON";
    let reply: Reply = serde_json::from_slice(&output.stdout).map_err(|_| problem(config, unreadable))?;
    if reply.kind != "ExecCredential" || reply.api_version != version {
        let text = format!(
            "returned {} of {}, and the kubeconfig expects ExecCredential of {version}",
            reply.kind, reply.api_version
        );
        return Err(problem(config, text));
    }
    let mut status = reply.status.ok_or_else(|| problem(config, "returned no status"))?;
    for value in [&mut status.token, &mut status.client_certificate_data, &mut status.client_key_data] {
        value.take_if(|value| value.is_empty());
    }
    Ok(status)
}

fn version(config: &ExecConfig) -> Result<&str, CredentialError> {
    match config.api_version.as_deref() {
        Some(version @ (V1 | V1BETA1)) => Ok(version),
        Some(other) => Err(problem(config, format!("has the unknown apiVersion {other}; use {V1}"))),
        None => Err(problem(config, format!("has no apiVersion; use {V1}"))),
    }
}

fn command(config: &ExecConfig, version: &str) -> Result<Command, CredentialError> {
    let mut command = Command::new(name(config));
    command.args(config.args.iter().flatten());
    for variable in config.env.iter().flatten() {
        if let Some(name) = variable.get("name").filter(|name| !name.is_empty()) {
            command.env(name, variable.get("value").map(String::as_str).unwrap_or_default());
        }
    }
    let interactive = is_interactive(config, version)?;
    let cluster = config.cluster.as_ref().filter(|_| config.provide_cluster_info);
    let question =
        Question { kind: "ExecCredential", api_version: version, spec: Spec { interactive, cluster } };
    let question = serde_json::to_string(&question).map_err(|error| problem(config, error.to_string()))?;
    command.env("KUBERNETES_EXEC_INFO", question);
    command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
    // The plugin talks to the user there.
    command.stderr(Stdio::inherit());
    Ok(command)
}

fn is_interactive(config: &ExecConfig, version: &str) -> Result<bool, CredentialError> {
    let terminal = io::stdin().is_terminal();
    match config.interactive_mode {
        Some(ExecInteractiveMode::Never) => Ok(false),
        Some(ExecInteractiveMode::IfAvailable) => Ok(terminal),
        Some(ExecInteractiveMode::Always) if terminal => Ok(true),
        Some(ExecInteractiveMode::Always) => Err(problem(config, "needs a terminal as standard input")),
        None if version == V1BETA1 => Ok(terminal),
        None => Err(problem(config, "has no interactiveMode; use IfAvailable")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plugin that is this shell script.
    fn plugin(script: &str) -> ExecConfig {
        ExecConfig {
            api_version: Some(V1.to_owned()),
            command: Some("sh".to_owned()),
            args: Some(vec!["-c".to_owned(), script.to_owned()]),
            interactive_mode: Some(ExecInteractiveMode::Never),
            ..ExecConfig::default()
        }
    }

    fn printing(status: &str) -> ExecConfig {
        let reply = format!(r#"{{"kind": "ExecCredential", "apiVersion": "{V1}", "status": {status}}}"#);
        plugin(&format!("echo '{reply}'"))
    }

    async fn problem_of(config: ExecConfig) -> String {
        match Plugin::log_in(config).await {
            Ok(_) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_plugin_returns_a_token_or_a_certificate() {
        let token = Plugin::log_in(printing(r#"{"token": "a"}"#)).await.unwrap();
        assert!(token.certificate.is_none());
        assert_eq!(token.token.unwrap().header().await.unwrap(), "Bearer a");
        let both = r#"{"clientCertificateData": "c", "clientKeyData": "k"}"#;
        let certificate = Plugin::log_in(printing(both)).await.unwrap();
        assert!(certificate.token.is_none());
        assert_eq!(certificate.certificate.unwrap(), ("c".to_owned(), "k".to_owned()));
    }

    #[tokio::test]
    async fn a_plugin_runs_again_only_when_its_token_expires() {
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        for (expiry, runs) in [("2000-01-01T00:00:00Z", 3), ("2900-01-01T00:00:00Z", 1)] {
            let _ = std::fs::remove_file(&count);
            let mut config = printing(&format!(r#"{{"token": "a", "expirationTimestamp": "{expiry}"}}"#));
            let script = config.args.as_mut().unwrap().last_mut().unwrap();
            *script = format!("echo x >>{}; {script}", count.display());
            let plugin = Plugin::log_in(config).await.unwrap().token.unwrap();
            for _ in 0..2 {
                plugin.header().await.unwrap();
            }
            assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), runs, "{expiry}");
        }
    }

    #[tokio::test]
    async fn a_plugin_that_does_not_log_in_is_told_with_the_reason() {
        let mut absent = plugin("");
        absent.command = Some("no-such-plugin".to_owned());
        absent.install_hint = Some("See example.com.\n".to_owned());
        let other =
            r#"echo '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1"}'"#;
        let unversioned = ExecConfig { api_version: None, ..plugin("") };
        let modeless = ExecConfig { interactive_mode: None, ..plugin("") };
        for (config, expected) in [
            (absent, "the exec plugin no-such-plugin of the kubeconfig is not installed: See example.com."),
            (plugin("exit 3"), "failed with exit status: 3"),
            (plugin("echo hello"), "did not return an ExecCredential as JSON"),
            (plugin(other), "returned ExecCredential of client.authentication.k8s.io/v1beta1, and"),
            (printing("null"), "returned no status"),
            (printing("{}"), "returned neither a token nor a client certificate"),
            (printing(r#"{"clientKeyData": "k"}"#), "returned a certificate without a key"),
            (printing(r#"{"token": "a\\nb"}"#), "returned a token that is not valid"),
            (printing(r#"{"token": "a", "expirationTimestamp": "soon"}"#), "that is not a time"),
            (unversioned, "has no apiVersion"),
            (modeless, "has no interactiveMode"),
        ] {
            let problem = problem_of(config).await;
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_plugin_gets_its_variables_and_the_cluster() {
        let mut config = plugin(
            r#"test "$A" = b || exit 1; echo "$KUBERNETES_EXEC_INFO" | grep -q '"interactive":false' || exit 2
            echo "$KUBERNETES_EXEC_INFO" | grep -q '"server":"https://a"' || exit 4"#,
        );
        let variable = [("name", "A"), ("value", "b")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        config.env = Some(vec![variable.into()]);
        config.cluster = Some(ExecAuthCluster { server: Some("https://a".to_owned()), ..Default::default() });
        let problem = problem_of(config.clone()).await;
        assert!(problem.contains("exit status: 4"), "{problem}");
        config.provide_cluster_info = true;
        let problem = problem_of(config).await;
        assert!(problem.contains("did not return an ExecCredential"), "{problem}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_file_is_trimmed_and_read_again_after_a_minute() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "a\n").unwrap();
        let file = TokenFile::read(path.clone()).unwrap();
        std::fs::write(&path, "b\n").unwrap();
        assert_eq!(file.header().await.unwrap(), "Bearer a");
        tokio::time::advance(FILE_LIFETIME).await;
        assert_eq!(file.header().await.unwrap(), "Bearer b");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(FILE_LIFETIME).await;
        assert_eq!(file.header().await.unwrap(), "Bearer b", "it may still be valid");
        assert!(matches!(TokenFile::read(path), Err(CredentialError::Unreadable { .. })));
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_an_error() {
        assert!(bearer("a").unwrap().is_sensitive());
        for token in ["", "a\nb", "a\u{0}"] {
            assert!(matches!(bearer(token), Err(CredentialError::NotAToken)), "{token:?}");
        }
    }
}
