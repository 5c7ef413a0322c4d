//! Finds the kubeconfig files and the context, and checks them, as kubectl does.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};

use super::environment::Variables;
use super::errors::innermost;

/// What the user said about the cluster: the flags `--kubeconfig` and `--context`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The only file to read.
    pub kubeconfig: Option<PathBuf>,
    /// The context to use instead of the current one.
    pub context: Option<String>,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("the kubeconfig {} cannot be read: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        why: String,
    },
    /// Something that was named does not exist.
    #[error("{files}: there is no {what} {name:?}; {}", known(names))]
    Absent {
        /// The files that were read.
        files: String,
        /// A context or a cluster.
        what: &'static str,
        /// Its name.
        name: String,
        /// The names that exist.
        names: Vec<String>,
    },
    /// A value is missing or not valid, or contradicts another.
    #[error("{place}: {problem}")]
    Invalid {
        /// The context and the files.
        place: String,
        /// What is wrong.
        problem: String,
    },
}

fn known(names: &[String]) -> String {
    match names {
        [] => "there are none".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    }
}

/// A context with its cluster and its user.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) server: Uri,
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
    pub(super) namespace: Option<String>,
    /// Its name and the files, for messages.
    pub(super) place: String,
}

/// The result of the search.
#[derive(Debug)]
pub(super) enum Found {
    Context(Box<Chosen>),
    /// No context is selected, with the reason. In a pod, its service account is used.
    Nothing(String),
}

/// Finds the context to use.
pub(super) fn find(source: &Source, variables: Variables<'_>) -> Result<Found, ConfigError> {
    let files = files(source, variables);
    let mut config = Kubeconfig::default();
    let mut read = Vec::new();
    for file in &files {
        // A file that was named by the flag must exist; of all others, those that exist are used.
        if source.kubeconfig.is_none() && is_absent(file) {
            continue;
        }
        let mut next = Kubeconfig::read_from(file).map_err(|error| unreadable(file, &error))?;
        next.current_context.take_if(|name| name.is_empty());
        config = config.merge(next).map_err(|error| unreadable(file, &error))?;
        read.push(file.display().to_string());
    }
    let names = || config.contexts.iter().map(|context| context.name.clone()).collect::<Vec<_>>();
    let shown = if read.is_empty() { paths(&files) } else { read.join(", ") };
    let given = source.context.as_ref().filter(|name| !name.is_empty());
    let Some(name) = given.or(config.current_context.as_ref()) else {
        return if source.kubeconfig.is_none() {
            Ok(Found::Nothing(nothing(&read, &files)))
        } else {
            let problem = format!("it sets no current-context; give --context; {}", known(&names()));
            Err(ConfigError::Invalid { place: shown, problem })
        };
    };
    let context = config.contexts.iter().find(|context| context.name == *name);
    let Some(context) = context.and_then(|context| context.context.clone()) else {
        let (name, names) = (name.clone(), names());
        return Err(ConfigError::Absent { files: shown, what: "context", name, names });
    };
    let place = format!("context {name:?} of {shown}");
    let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let Some(cluster) = cluster.and_then(|cluster| cluster.cluster.clone()) else {
        let names = config.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        return Err(ConfigError::Absent { files: place, what: "cluster", name: context.cluster, names });
    };
    let user = config.auth_infos.iter().find(|user| Some(&user.name) == context.user.as_ref());
    // Without a user, requests are anonymous, as in kubectl.
    let user = user.and_then(|user| user.auth_info.clone()).unwrap_or_default();
    checked(cluster, user, context.namespace, place)
}

/// The files to read, in the order of their precedence.
fn files(source: &Source, variables: Variables<'_>) -> Vec<PathBuf> {
    if let Some(file) = &source.kubeconfig {
        return vec![file.clone()];
    }
    if let Some(list) = variables("KUBECONFIG") {
        return std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
    }
    let home = variables("HOME").map(PathBuf::from);
    home.map(|home| home.join(".kube").join("config")).into_iter().collect()
}

fn is_absent(file: &Path) -> bool {
    matches!(std::fs::metadata(file), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

fn unreadable(file: &Path, error: &KubeconfigError) -> ConfigError {
    let why = match error {
        KubeconfigError::ReadConfig(error, _) => innermost(error),
        // Only the first line: the others quote the file, which contains keys and tokens.
        KubeconfigError::Parse(error) => {
            error.without_snippet().to_string().lines().next().unwrap_or_default().to_owned()
        }
        error => error.to_string(),
    };
    ConfigError::Unreadable { file: file.to_owned(), why }
}

fn nothing(read: &[String], files: &[PathBuf]) -> String {
    match (read, files) {
        ([], []) => "there is no kubeconfig; set KUBECONFIG or give --kubeconfig".to_owned(),
        ([], files) => format!("there is no kubeconfig {}", paths(files)),
        (read, _) => format!("{} sets no current-context; give --context", read.join(", ")),
    }
}

fn paths(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Checks what kubectl checks before it sends a request.
fn checked(
    mut cluster: Cluster,
    mut user: AuthInfo,
    namespace: Option<String>,
    place: String,
) -> Result<Found, ConfigError> {
    without_empty_values(&mut cluster, &mut user);
    let problem = contradiction(&cluster, &user);
    let server = cluster.server.as_deref().ok_or_else(|| "the cluster has no server".to_owned());
    let server = server.and_then(server_url);
    let server = match (problem, server) {
        (None, Ok(server)) => server,
        (Some(problem), _) | (None, Err(problem)) => return Err(ConfigError::Invalid { place, problem }),
    };
    let place = format!("{place} ({})", shown(&server));
    // kubectl sends no credentials without TLS.
    let user = match server.scheme_str() {
        Some("https") => user,
        _ => AuthInfo {
            impersonate: user.impersonate,
            impersonate_uid: user.impersonate_uid,
            impersonate_groups: user.impersonate_groups,
            impersonate_user_extra: user.impersonate_user_extra,
            ..AuthInfo::default()
        },
    };
    let namespace = namespace.filter(|namespace| !namespace.is_empty());
    Ok(Found::Context(Box::new(Chosen { server, cluster, user, namespace, place })))
}

/// The address of an API server, without a user and a password.
fn shown(server: &Uri) -> String {
    let scheme = server.scheme_str().unwrap_or_default();
    let authority = server.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", server.path().trim_end_matches('/'))
}

/// An empty value counts as not set.
fn without_empty_values(cluster: &mut Cluster, user: &mut AuthInfo) {
    for value in [
        &mut cluster.server,
        &mut cluster.certificate_authority_data,
        &mut cluster.proxy_url,
        &mut cluster.tls_server_name,
        &mut user.username,
        &mut user.client_certificate_data,
        &mut user.impersonate,
        &mut user.impersonate_uid,
    ] {
        value.take_if(|value| value.is_empty());
    }
    for file in [
        &mut cluster.certificate_authority,
        &mut user.token_file,
        &mut user.client_certificate,
        &mut user.client_key,
    ] {
        // kube has made an empty path the directory of the kubeconfig.
        file.take_if(|file| file.is_empty() || file.ends_with('/'));
    }
    for value in [&mut user.password, &mut user.token, &mut user.client_key_data] {
        value.take_if(|value| secret(value).is_empty());
    }
    user.impersonate_groups.take_if(|groups| groups.is_empty());
    user.impersonate_user_extra.take_if(|extra| extra.is_empty());
}

/// The text of a secret value of a kubeconfig.
pub(super) fn secret(value: &secrecy::SecretString) -> &str {
    secrecy::ExposeSecret::expose_secret(value)
}

/// A problem of values that kubectl does not accept together.
fn contradiction(cluster: &Cluster, user: &AuthInfo) -> Option<String> {
    let has_ca = cluster.certificate_authority.is_some() || cluster.certificate_authority_data.is_some();
    let has_certificate = user.client_certificate.is_some() || user.client_certificate_data.is_some();
    let has_key = user.client_key.is_some() || user.client_key_data.is_some();
    let both = |one: bool, other: bool, text: &str| (one && other).then(|| text.to_owned());
    let pairs = [
        both(
            cluster.certificate_authority.is_some(),
            cluster.certificate_authority_data.is_some(),
            "certificate-authority and certificate-authority-data are both set",
        ),
        both(
            has_ca,
            cluster.insecure_skip_tls_verify == Some(true),
            "insecure-skip-tls-verify and a certificate-authority are both set",
        ),
        both(
            user.client_certificate.is_some(),
            user.client_certificate_data.is_some(),
            "client-certificate and client-certificate-data are both set",
        ),
        both(
            has_certificate && user.client_key.is_some(),
            user.client_key_data.is_some(),
            "client-key and client-key-data are both set",
        ),
        both(has_certificate, !has_key, "there is a client-certificate without a client-key"),
        both(
            user.token.is_some(),
            user.username.is_some() || user.password.is_some(),
            "a token and a username are both set",
        ),
        both(user.exec.is_some(), user.auth_provider.is_some(), "exec and auth-provider are both set"),
        both(
            user.exec.as_ref().is_some_and(|exec| exec.command.as_ref().is_none_or(String::is_empty)),
            true,
            "exec has no command",
        ),
        both(
            user.impersonate.is_none(),
            user.impersonate_uid.is_some()
                || user.impersonate_groups.is_some()
                || user.impersonate_user_extra.is_some(),
            "as-uid, as-groups or as-user-extra is set without as",
        ),
    ];
    pairs.into_iter().flatten().next()
}

/// The URL of the API server. Without a scheme, kubectl uses HTTP, and then accepts no path.
fn server_url(text: &str) -> Result<Uri, String> {
    let invalid = || format!("server: {text:?} is not a URL, such as https://api.example:6443");
    let uri = match text.parse::<Uri>() {
        Ok(uri) if uri.scheme().is_some() && uri.authority().is_some() => uri,
        _ => {
            let uri: Uri = format!("http://{text}").parse().map_err(|_| invalid())?;
            if !matches!(uri.path(), "" | "/") {
                return Err(invalid());
            }
            uri
        }
    };
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https") => Err(invalid()),
        _ => Err(format!("server: the scheme of {text:?} is not http or https")),
    }
}

/// A value of a kubeconfig that is given as base64 or by the path of a file.
pub(super) fn content(
    setting: &str,
    data: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Vec<u8>>, String> {
    if let Some(data) = data {
        let decoded = STANDARD.decode(data.trim());
        return decoded.map(Some).map_err(|_| format!("{setting}-data is not base64"));
    }
    let Some(file) = file else { return Ok(None) };
    let read = std::fs::read(file);
    read.map(Some).map_err(|error| format!("{setting}: {file} cannot be read: {}", innermost(&error)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Writes a kubeconfig whose contexts have a cluster of the same name, at `https://NAME`.
        fn write(&self, file: &str, contexts: &[&str], current: Option<&str>) -> PathBuf {
            let host = file.split('/').next_back().unwrap();
            let named = |kind: &str, of: &dyn Fn(&str) -> Value| -> Vec<Value> {
                contexts.iter().map(|name| json!({"name": name, kind: of(name)})).collect()
            };
            let content = json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": named("cluster", &|name| json!({"server": format!("https://{host}.{name}")})),
                "contexts": named("context", &|name| json!({"cluster": name, "user": "nobody"})),
                "current-context": current,
            });
            self.raw(file, &content.to_string())
        }

        fn raw(&self, file: &str, content: &str) -> PathBuf {
            let path = self.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }

        fn find(&self, source: &Source, kubeconfig: Option<&[PathBuf]>) -> Result<Found, ConfigError> {
            let list = kubeconfig.map(|paths| std::env::join_paths(paths).unwrap());
            find(source, &|name| match name {
                "KUBECONFIG" => list.clone(),
                "HOME" => Some(self.0.path().into()),
                _ => None,
            })
        }
    }

    fn server(found: Result<Found, ConfigError>) -> String {
        match found {
            Ok(Found::Context(chosen)) => chosen.server.to_string(),
            Ok(Found::Nothing(why)) => format!("nothing: {why}"),
            Err(error) => format!("error: {error}"),
        }
    }

    fn context(name: &str) -> Source {
        Source { kubeconfig: None, context: Some(name.to_owned()) }
    }

    #[test]
    fn the_flag_wins_over_the_variable_and_that_over_the_home_directory() {
        let home = Home::new();
        home.write(".kube/config", &["home"], Some("home"));
        let variable = home.write("variable", &["variable"], Some("variable"));
        let flag = home.write("flag", &["flag"], Some("flag"));
        let none = Source::default();
        assert_eq!(server(home.find(&none, None)), "https://config.home/");
        assert_eq!(
            server(home.find(&none, Some(std::slice::from_ref(&variable)))),
            "https://variable.variable/"
        );
        let given = Source { kubeconfig: Some(flag), context: None };
        assert_eq!(server(home.find(&given, Some(&[variable]))), "https://flag.flag/");
    }

    #[test]
    fn the_first_of_several_files_wins_and_missing_ones_are_skipped() {
        let home = Home::new();
        let one = home.write("one", &["a", "b"], None);
        let two = home.write("two", &["b", "c"], Some("b"));
        let files = [home.path("absent"), one.clone(), two.clone()];
        assert_eq!(server(home.find(&Source::default(), Some(&files))), "https://one.b/");
        assert_eq!(server(home.find(&context("c"), Some(&files))), "https://two.c/");
        let absent = server(home.find(&context("d"), Some(&files)));
        let expected = format!(
            "error: {}, {}: there is no context \"d\"; there are: a, b, c",
            one.display(),
            two.display()
        );
        assert_eq!(absent, expected);
    }

    #[test]
    fn without_a_context_there_is_nothing_unless_a_file_was_named() {
        let home = Home::new();
        let absent = home.path("absent");
        let found = server(home.find(&Source::default(), Some(std::slice::from_ref(&absent))));
        assert_eq!(found, format!("nothing: there is no kubeconfig {}", absent.display()));
        let currentless = home.write("currentless", &["a"], Some(""));
        let found = server(home.find(&Source::default(), Some(std::slice::from_ref(&currentless))));
        assert!(found.starts_with("nothing: ") && found.contains("give --context"), "{found}");
        let named = |file| Source { kubeconfig: Some(file), context: None };
        let found = server(home.find(&named(currentless), None));
        assert!(found.starts_with("error: ") && found.contains("there are: a"), "{found}");
        let found = server(home.find(&named(absent), None));
        assert!(found.ends_with("absent cannot be read: No such file or directory"), "{found}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_not_quoted() {
        let home = Home::new();
        for content in ["users: [{name: a, user: {token: [secret]}}]", "a: b: secret"] {
            let file = home.raw("broken", content);
            let found = server(home.find(&Source::default(), Some(&[file])));
            assert!(found.contains("broken cannot be read: "), "{found}");
            assert!(!found.contains("secret") && !found.contains('\n'), "{found}");
        }
        let found = server(home.find(&Source::default(), Some(&[home.path("")])));
        assert!(found.contains("cannot be read: Is a directory"), "{found}");
    }

    /// The result for a cluster and a user with these settings.
    fn settings(cluster: Value, user: Value) -> Result<Found, ConfigError> {
        let home = Home::new();
        let content = json!({
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        let file = home.raw("config", &content.to_string());
        home.find(&Source::default(), Some(&[file]))
    }

    #[test]
    fn a_server_without_a_scheme_is_http() {
        let of = |text: &str| server(settings(json!({"server": text}), json!({})));
        assert_eq!(of("api.example:6443"), "http://api.example:6443/");
        assert_eq!(of("127.0.0.1"), "http://127.0.0.1/");
        assert_eq!(of("https://[::1]:6443/path"), "https://[::1]:6443/path");
        assert_eq!(of("HTTPS://api.example"), "https://api.example/");
        for (text, problem) in [
            ("", "the cluster has no server"),
            ("api.example/path", "is not a URL"),
            ("https://", "is not a URL"),
            ("a b", "is not a URL"),
            ("ftp://api.example", "is not http or https"),
        ] {
            let found = of(text);
            assert!(
                found.starts_with("error: context \"x\" of ") && found.contains(problem),
                "{text}: {found}"
            );
        }
    }

    #[test]
    fn a_password_in_the_server_is_not_shown() {
        let found = settings(json!({"server": "https://user:pass@api.example:6443/a/"}), json!({}));
        let Ok(Found::Context(chosen)) = found else { panic!("{found:?}") };
        assert!(chosen.place.ends_with(" (https://api.example:6443/a)"), "{}", chosen.place);
    }

    #[test]
    fn credentials_are_sent_only_over_tls() {
        let user = json!({"token": "t", "as": "someone"});
        let chosen = |server: &str| match settings(json!({"server": server}), user.clone()) {
            Ok(Found::Context(chosen)) => chosen.user,
            other => panic!("{other:?}"),
        };
        assert!(chosen("https://api.example").token.is_some());
        let plain = chosen("http://api.example");
        assert!(plain.token.is_none());
        assert_eq!(plain.impersonate.as_deref(), Some("someone"));
    }

    #[test]
    fn what_kubectl_does_not_accept_together_is_an_error() {
        let https = json!({"server": "https://a"});
        let with = |more: Value| {
            let mut cluster = https.clone();
            cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            cluster
        };
        for (cluster, user, expected) in [
            (
                with(json!({"certificate-authority": "f", "certificate-authority-data": "d"})),
                json!({}),
                "both set",
            ),
            (
                with(json!({"certificate-authority": "f", "insecure-skip-tls-verify": true})),
                json!({}),
                "both set",
            ),
            (https.clone(), json!({"client-certificate": "f"}), "without a client-key"),
            (https.clone(), json!({"token": "t", "username": "u"}), "a token and a username"),
            (https.clone(), json!({"exec": {"command": ""}}), "exec has no command"),
            (https.clone(), json!({"as-groups": ["g"]}), "without as"),
        ] {
            let found = server(settings(cluster, user));
            assert!(found.starts_with("error: ") && found.contains(expected), "{found}");
        }
        let empty = with(json!({"certificate-authority": "", "insecure-skip-tls-verify": true}));
        assert_eq!(server(settings(empty, json!({"token": "", "username": "u"}))), "https://a/");
    }
}
