//! Which proxy leads to an API server: that of the kubeconfig, or that of the environment as Go's programs read it.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use super::environment::Variables;

/// Why a proxy cannot be used. Does not quote its URL, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is not a URL.
    #[error("{0} is not the URL of a proxy, such as http://proxy.example:3128")]
    NotAUrl(&'static str),
    /// It has another scheme.
    #[error("{0} has a scheme other than http, https and socks5")]
    Scheme(&'static str),
    /// kube's client cannot log in to a SOCKS proxy.
    #[error("{0} has a user, and SOCKS proxies with users are not supported")]
    SocksUser(&'static str),
}

/// The proxy of the setting `proxy-url`, as kubectl reads it. `NO_PROXY` does not apply to it.
pub(super) fn of_kubeconfig(url: &str) -> Result<Uri, ProxyError> {
    let setting = "proxy-url";
    let uri = parsed(url).ok_or(ProxyError::NotAUrl(setting))?;
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") => usable(uri, setting),
        _ => Err(ProxyError::Scheme(setting)),
    }
}

/// The proxy of the environment for this API server; `None` if requests go to it directly.
pub(super) fn of_environment(server: &Uri, variables: Variables<'_>) -> Result<Option<Uri>, ProxyError> {
    let names = match server.scheme_str() {
        Some("http") => ["HTTP_PROXY", "http_proxy"],
        _ => ["HTTPS_PROXY", "https_proxy"],
    };
    let Some((setting, url)) = first(names, variables) else { return Ok(None) };
    let exceptions = first(["NO_PROXY", "no_proxy"], variables).map(|(_, list)| list).unwrap_or_default();
    if is_excepted(server, &exceptions) {
        return Ok(None);
    }
    let uri = match parsed(&url) {
        Some(uri) => uri,
        None => parsed(&format!("http://{url}")).ok_or(ProxyError::NotAUrl(setting))?,
    };
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") => usable(uri, setting).map(Some),
        // For Go, both names mean that the proxy looks up the host.
        Some("socks5h") => {
            let rest = uri.to_string().replacen("socks5h", "socks5", 1);
            usable(rest.parse().map_err(|_| ProxyError::NotAUrl(setting))?, setting).map(Some)
        }
        _ => Err(ProxyError::Scheme(setting)),
    }
}

fn first(names: [&'static str; 2], variables: Variables<'_>) -> Option<(&'static str, String)> {
    let value = |name| variables(name).map(|value| (name, value.to_string_lossy().into_owned()));
    names.into_iter().find_map(value)
}

/// A URL with a scheme and a host.
fn parsed(url: &str) -> Option<Uri> {
    let uri: Uri = url.trim().parse().ok()?;
    (uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

fn usable(uri: Uri, setting: &'static str) -> Result<Uri, ProxyError> {
    if uri.scheme_str() != Some("socks5") {
        return Ok(uri);
    }
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    if authority.contains('@') {
        return Err(ProxyError::SocksUser(setting));
    }
    if uri.port().is_some() {
        return Ok(uri);
    }
    // kube's client assumes the port of HTTP.
    format!("socks5://{authority}:1080").parse().map_err(|_| ProxyError::NotAUrl(setting))
}

/// Whether `NO_PROXY` names this server, by the rules of Go's `httpproxy`. The environment never sends requests for
/// this machine to a proxy.
fn is_excepted(server: &Uri, exceptions: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let host = host.to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback()) {
        return true;
    }
    let assumed = if server.scheme_str() == Some("http") { 80 } else { 443 };
    let port = server.port_u16().unwrap_or(assumed);
    exceptions.split(',').any(|entry| names(&entry.trim().to_ascii_lowercase(), &host, address, port))
}

/// Whether one entry of `NO_PROXY` names a host.
fn names(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return address.is_some_and(|address| network.contains(&address.to_canonical()));
    }
    let (name, wanted) = with_port(entry);
    if wanted.is_some_and(|wanted| wanted.parse() != Ok(port)) || name.is_empty() {
        return false;
    }
    if let Ok(excepted) = name.parse::<IpAddr>() {
        return address.is_some_and(|address| address.to_canonical() == excepted.to_canonical());
    }
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// Splits `host:port` and `[IPv6]:port`. An address of IPv6 without brackets has no port.
fn with_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port)),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn chosen(server: &str, variables: &[(&str, &str)]) -> Result<Option<String>, ProxyError> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let proxy = of_environment(&server.parse().unwrap(), &value)?;
        Ok(proxy.map(|uri| uri.to_string()))
    }

    #[test]
    fn the_scheme_of_the_server_selects_the_variable() {
        let both = [("HTTP_PROXY", "http://plain:1"), ("HTTPS_PROXY", "http://secure:2")];
        assert_eq!(chosen("https://api.example", &both), Ok(Some("http://secure:2/".to_owned())));
        assert_eq!(chosen("http://api.example", &both), Ok(Some("http://plain:1/".to_owned())));
        assert_eq!(chosen("https://api.example", &both[..1]), Ok(None));
        let lower = [("https_proxy", "http://lower:1"), ("HTTPS_PROXY", "http://upper:1")];
        assert_eq!(chosen("https://api.example", &lower), Ok(Some("http://upper:1/".to_owned())));
        assert_eq!(chosen("https://api.example", &lower[..1]), Ok(Some("http://lower:1/".to_owned())));
    }

    #[test]
    fn a_proxy_without_a_scheme_is_http_in_the_environment_only() {
        for url in ["proxy.example:3128", "user:pass@proxy.example:3128"] {
            let found = chosen("https://api.example", &[("HTTPS_PROXY", url)]);
            assert_eq!(found, Ok(Some(format!("http://{url}/"))));
            assert!(of_kubeconfig(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_known_schemes_are_used_and_socks_has_its_port() {
        let of = |url| of_kubeconfig(url).map(|uri| uri.to_string());
        assert_eq!(of("socks5://proxy.example"), Ok("socks5://proxy.example:1080/".to_owned()));
        assert_eq!(of("socks5://proxy.example:9"), Ok("socks5://proxy.example:9/".to_owned()));
        assert_eq!(of("https://proxy.example"), Ok("https://proxy.example/".to_owned()));
        assert_eq!(of("ftp://proxy.example"), Err(ProxyError::Scheme("proxy-url")));
        assert_eq!(of("socks5://a:b@proxy.example"), Err(ProxyError::SocksUser("proxy-url")));
        let found = chosen("https://api.example", &[("HTTPS_PROXY", "socks5h://proxy.example:9")]);
        assert_eq!(found, Ok(Some("socks5://proxy.example:9/".to_owned())));
        let found = chosen("https://api.example", &[("HTTPS_PROXY", "a b")]);
        assert_eq!(found, Err(ProxyError::NotAUrl("HTTPS_PROXY")));
    }

    #[test]
    fn exceptions_are_those_of_go() {
        for (server, exceptions, direct) in [
            ("https://localhost:6443", "", true),
            ("https://127.0.0.1:6443", "", true),
            ("https://[::1]:6443", "", true),
            ("https://api.example", "", false),
            ("https://api.example", "*", true),
            ("https://api.example", "other,*", true),
            ("https://api.example", "example", true),
            ("https://api.example", ".example", true),
            ("https://example", ".example", false),
            ("https://example", "*.example", false),
            ("https://api.example", "*.example", true),
            ("https://notexample", "example", false),
            ("https://API.example", " api.EXAMPLE ", true),
            ("https://api.example", ",,api.example", true),
            ("https://api.example:6443", "api.example:443", false),
            ("https://api.example:6443", "api.example:6443", true),
            ("https://api.example", "api.example:443", true),
            ("http://api.example", "api.example:80", true),
            ("https://10.1.2.3", "10.0.0.0/8", true),
            ("https://11.1.2.3", "10.0.0.0/8", false),
            ("https://10.1.2.3", "10.1.2.3", true),
            ("https://10.1.2.3", "10.1.2.3:6443", false),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "fd00::1", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "[fd00::1]:443", false),
            ("https://10.1.2.3", "3", true),
            ("https://api.example", ":443", false),
        ] {
            let variables =
                [("HTTPS_PROXY", "http://proxy"), ("HTTP_PROXY", "http://proxy"), ("NO_PROXY", exceptions)];
            let proxy = chosen(server, &variables).unwrap();
            assert_eq!(proxy.is_none(), direct, "{server} with NO_PROXY={exceptions:?}");
        }
    }
}
