//! Builds the client with which the program asks a cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{AuthInfo, Cluster, Config, ExecAuthCluster, ExecConfig, InClusterError};
use secrecy::SecretString;
use tower::buffer::BufferLayer;
use tower::filter::AsyncFilterLayer;

use super::credentials::{CredentialError, Plugin, Token, TokenFile, bearer};
use super::environment::{Variables, variable};
use super::errors::{RequestError, innermost};
use super::kubeconfig::{Chosen, ConfigError, Found, Source, content, find, secret};
use super::proxy::{self, ProxyError};

/// How long connecting to the API server may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a watch call lasts, in seconds. The API server then closes it; if it does not, the connection is dead.
/// What was read can be outdated for this long.
pub const WATCH_SECONDS: u32 = 60;

/// How long a connection may be silent; after that it is dead. Every watch call is shorter.
pub const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// How many requests may wait for a token at the same time, as in kube's client.
const WAITING: usize = 1024;

/// The token of the service account of a pod.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A client, and where it was found.
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The context, the files and the server, for messages.
    pub place: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no cluster.
    #[error("no cluster: {0}, and this is not a pod with a service account")]
    NoCluster(String),
    /// The kubeconfig cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A proxy cannot be used.
    #[error("{place}: {problem}")]
    Proxy {
        /// The context and the files.
        place: String,
        /// What is wrong.
        problem: ProxyError,
    },
    /// The credentials cannot be used.
    #[error("{place}: {problem}")]
    Credentials {
        /// The context and the files.
        place: String,
        /// What is wrong.
        problem: CredentialError,
    },
    /// A value of the kubeconfig or of the pod cannot be used.
    #[error("{place}: {problem}")]
    Unusable {
        /// The context and the files.
        place: String,
        /// What is wrong.
        problem: String,
    },
}

impl Source {
    /// The client for the cluster that the user means.
    ///
    /// The first of these counts, as in kubectl: the flags; the files of `KUBECONFIG`; `~/.kube/config`; the service
    /// account of the pod. An exec plugin runs here, and again only when its token expires.
    ///
    /// # Errors
    /// There is no cluster, or its configuration cannot be used. The API server is not asked.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let (mut config, token, place, proxy_url) = match find(self, &variable)? {
            Found::Context(chosen) => of_context(*chosen).await?,
            Found::Nothing(why) => of_pod(why)?,
        };
        let at = |problem| ConnectError::Proxy { place: place.clone(), problem };
        config.proxy_url = proxy(&config, proxy_url.as_deref(), &variable).map_err(at)?;
        let client = client(bounded(config), token);
        let problem = |error: kube::Error| RequestError::from(error).to_string();
        match client {
            Ok(client) => Ok(Connection { client, place }),
            Err(error) => Err(ConnectError::Unusable { place, problem: problem(error) }),
        }
    }
}

/// A configuration, the token that changes, the place for messages, and the setting `proxy-url`.
type Parts = (Config, Option<Token>, String, Option<String>);

async fn of_context(chosen: Chosen) -> Result<Parts, ConnectError> {
    let Chosen { server, cluster, user, namespace, place } = chosen;
    let unusable = |problem| ConnectError::Unusable { place: place.clone(), problem };
    let mut config = Config::new(server);
    if let Some(namespace) = namespace {
        config.default_namespace = namespace;
    }
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify == Some(true);
    let ca = authority(&cluster).map_err(unusable)?;
    config.root_cert = roots(ca.as_deref(), &config).map_err(unusable)?;
    config.tls_server_name.clone_from(&cluster.tls_server_name);
    let credentials = credentials(user, &cluster, ca).await;
    let (auth_info, token) =
        credentials.map_err(|problem| ConnectError::Credentials { place: place.clone(), problem })?;
    config.auth_info = auth_info;
    Ok((config, token, place, cluster.proxy_url))
}

fn authority(cluster: &Cluster) -> Result<Option<Vec<u8>>, String> {
    let data = cluster.certificate_authority_data.as_deref();
    content("certificate-authority", data, cluster.certificate_authority.as_deref())
}

/// The CAs of the kubeconfig; `None` for those of this machine.
fn roots(ca: Option<&[u8]>, config: &Config) -> Result<Option<Vec<Vec<u8>>>, String> {
    let Some(ca) = ca else {
        let needs_none = config.accept_invalid_certs || config.cluster_url.scheme_str() != Some("https");
        // Otherwise kube would look for those of this machine, and a small container has none.
        return Ok(needs_none.then(Vec::new));
    };
    let blocks = pem::parse_many(ca).map_err(|_| "certificate-authority is not valid PEM".to_owned())?;
    let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE");
    let certificates: Vec<_> = certificates.map(pem::Pem::into_contents).collect();
    if certificates.is_empty() {
        return Err("certificate-authority contains no certificate".to_owned());
    }
    Ok(Some(certificates))
}

/// The credentials that kube adds itself, and the token that changes.
async fn credentials(
    mut user: AuthInfo,
    cluster: &Cluster,
    ca: Option<Vec<u8>>,
) -> Result<(AuthInfo, Option<Token>), CredentialError> {
    if let Some(provider) = user.auth_provider.take() {
        let token = provider.config.get("id-token").filter(|_| provider.name == "oidc");
        let problem = format!("uses the auth-provider {}, which is not supported; use exec", provider.name);
        let token = token.ok_or(CredentialError::Plugin { command: provider.name.clone(), problem })?;
        user.token = Some(SecretString::from(token.clone()));
    }
    if let Some(token) = &user.token {
        bearer(secret(token))?;
    }
    // A token file that can be read wins over a token, and a token over a plugin.
    let file = user.token_file.take().map(|file| TokenFile::read(Path::new(&file).to_owned()));
    let file = match file {
        Some(Err(_)) if user.token.is_some() => None,
        file => file.transpose()?,
    };
    if let Some(file) = file {
        user.token = None;
        user.exec = None;
        return Ok((user, Some(Token::File(Arc::new(file)))));
    }
    let plugin = user.exec.take().filter(|_| user.token.is_none() && user.username.is_none());
    let Some(plugin) = plugin else { return Ok((user, None)) };
    let logged_in = Plugin::log_in(told_of(plugin, cluster, ca)).await?;
    if let Some((certificate, key)) = logged_in.certificate {
        user.client_certificate_data = Some(STANDARD.encode(certificate));
        user.client_key_data = Some(SecretString::from(STANDARD.encode(key)));
    }
    Ok((user, logged_in.token.map(|plugin| Token::Plugin(Arc::new(plugin)))))
}

/// The plugin with the cluster for which it logs in.
fn told_of(plugin: ExecConfig, cluster: &Cluster, ca: Option<Vec<u8>>) -> ExecConfig {
    let mut extensions = cluster.extensions.iter().flatten();
    let extension = extensions.find(|extension| extension.name == "client.authentication.k8s.io/exec");
    let cluster = ExecAuthCluster {
        server: cluster.server.clone(),
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
        certificate_authority_data: ca,
        proxy_url: cluster.proxy_url.clone(),
        tls_server_name: cluster.tls_server_name.clone(),
        config: extension.map(|extension| extension.extension.clone()),
    };
    ExecConfig { cluster: Some(cluster), ..plugin }
}

/// The service account of the pod, if this is one.
fn of_pod(why: String) -> Result<Parts, ConnectError> {
    let host = variable("KUBERNETES_SERVICE_HOST");
    if host.is_none() || variable("KUBERNETES_SERVICE_PORT").is_none() || !Path::new(POD_TOKEN).is_file() {
        return Err(ConnectError::NoCluster(why));
    }
    let place = "the service account of this pod".to_owned();
    match Config::incluster() {
        Ok(mut config) => {
            let file = config.auth_info.token_file.take().unwrap_or_else(|| POD_TOKEN.to_owned());
            let token = TokenFile::read(file.into());
            let token =
                token.map_err(|problem| ConnectError::Credentials { place: place.clone(), problem })?;
            Ok((config, Some(Token::File(Arc::new(token))), place, None))
        }
        Err(error) => Err(ConnectError::Unusable { place, problem: pod(&error) }),
    }
}

fn pod(error: &InClusterError) -> String {
    match error {
        InClusterError::ReadDefaultNamespace(error) => {
            format!("its namespace cannot be read: {}", innermost(error))
        }
        InClusterError::ReadCertificateBundle(error) => {
            format!("its CA cannot be read: {}", innermost(error))
        }
        InClusterError::ParseCertificates(_) => "its CA is not valid PEM".to_owned(),
        error => format!("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: {}", innermost(error)),
    }
}

fn proxy(
    config: &Config,
    setting: Option<&str>,
    variables: Variables<'_>,
) -> Result<Option<http::Uri>, ProxyError> {
    match setting {
        Some(url) => proxy::of_kubeconfig(url).map(Some),
        None => proxy::of_environment(&config.cluster_url, variables),
    }
}

/// The configuration for questions on which a request waits.
///
/// kube itself retries 429, 503 and 504 for minutes; here every question has a deadline, and every watch has its
/// own pauses.
#[must_use]
pub fn bounded(mut config: Config) -> Config {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    // Otherwise the idle time of a connection would count.
    config.reset_reader_on_write = true;
    config
}

fn client(config: Config, token: Option<Token>) -> kube::Result<Client> {
    let builder = ClientBuilder::try_from(config)?;
    Ok(match token {
        None => builder.build(),
        Some(token) => builder
            // The filter needs a service that can be cloned.
            .with_layer(&BufferLayer::new(WAITING))
            .with_layer(&AsyncFilterLayer::new(token))
            .build(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_has_no_retries_or_deadlines_of_its_own() {
        let config = bounded(Config::new("https://localhost".parse().unwrap()));
        assert!(!config.default_retry);
        assert!(config.reset_reader_on_write);
        assert_eq!(config.read_timeout, Some(SILENCE));
    }

    #[test]
    fn the_proxy_of_the_kubeconfig_wins_over_the_environment() {
        let config = Config::new("https://api.example".parse().unwrap());
        let variables = |name: &str| Some(if name == "NO_PROXY" { "*" } else { "http://other:1" }.into());
        let found = proxy(&config, Some("http://own:1"), &variables).unwrap();
        assert_eq!(found.unwrap(), "http://own:1/", "and NO_PROXY does not apply to it");
        assert_eq!(proxy(&config, None, &variables).unwrap(), None);
    }

    #[test]
    fn a_ca_without_a_certificate_is_an_error() {
        let config = Config::new("https://api.example".parse().unwrap());
        for ca in ["", "-----BEGIN X-----\n-----END X-----\n"] {
            let problem = roots(Some(ca.as_bytes()), &config).unwrap_err();
            assert!(problem.contains("contains no certificate"), "{problem}");
        }
        assert_eq!(roots(None, &config), Ok(None), "those of this machine");
        let plain = Config::new("http://api.example".parse().unwrap());
        assert_eq!(roots(None, &plain), Ok(Some(Vec::new())), "none are needed");
    }
}
