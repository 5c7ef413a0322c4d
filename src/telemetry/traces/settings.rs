//! Where spans go and which are recorded: the flag, and the variables of the OpenTelemetry specification.

use std::path::PathBuf;
use std::time::Duration;

use crm_core::quote::quote;
use http::{HeaderName, HeaderValue, Uri};
use opentelemetry_otlp::Compression;
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

/// The flag of `serve`, which goes before the variables.
const FLAG: &str = "--otlp-endpoint";
/// The path that the specification appends to the address of a collector.
const PATH: &str = "/v1/traces";

// The first of these that is set counts.
const PROTOCOL: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const COMPRESSION: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const CERTIFICATE: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
/// Variables whose effect somebody would miss.
const UNSUPPORTED: &[&str] = &[
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];

/// How long a delivery may take. It is the default of the specification.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where spans go, and which are recorded.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) endpoint: Uri,
    /// Names, and values as they were given: percent-encoded.
    pub(super) headers: Vec<(String, SecretString)>,
    pub(super) timeout: Duration,
    pub(super) compression: Option<Compression>,
    /// A file with the CAs that sign the certificate of the collector; `None` for those of the system.
    pub(super) authorities: Option<Authorities>,
    pub(super) sampler: Sampler,
}

/// A PEM file with CAs, and the variable that names it.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    pub(super) variable: &'static str,
    pub(super) path: PathBuf,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The endpoint is not the URL of a collector.
    #[error(
        "{origin}: {problem}; give the URL of a collector that accepts OTLP over HTTP, such as http://otel-collector.monitoring:4318"
    )]
    Endpoint {
        /// The flag or variable.
        origin: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The value of a variable is invalid.
    #[error("{variable}: {problem}; {fix}")]
    Value {
        /// The name of the variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        fix: &'static str,
    },
}

impl Settings {
    /// Reads the settings; `flag` is the value of `--otlp-endpoint`, and `variable` returns the value of a variable of the
    /// environment. An empty value counts as not set. `None` if there is no endpoint, or if a variable turns traces off.
    ///
    /// # Errors
    /// A setting is invalid. Without an endpoint, nothing else is checked.
    pub fn read(
        flag: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let variables = Variables { read: &variable };
        let Some(endpoint) = endpoint(flag, &variables)? else { return Ok(None) };
        if variables.turn_off()? {
            return Ok(None);
        }
        variables.check_protocol()?;
        variables.check_unsupported()?;
        Ok(Some(Self {
            endpoint,
            headers: variables.headers()?,
            timeout: variables.timeout()?,
            compression: variables.compression()?,
            authorities: variables
                .first(CERTIFICATE)
                .map(|(variable, path)| Authorities { variable, path: path.into() }),
            sampler: variables.sampler()?,
        }))
    }

    /// The address of the collector, for the log. It has no secrets.
    pub fn collector(&self) -> String {
        self.endpoint.to_string()
    }
}

fn endpoint(flag: Option<&str>, variables: &Variables<'_>) -> Result<Option<Uri>, SettingsError> {
    if let Some(flag) = flag.filter(|flag| !flag.is_empty()) {
        return base(FLAG, flag).map(Some);
    }
    if let Some((name, value)) = variables.first(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]) {
        return address(name, &value).map(Some);
    }
    match variables.first(&["OTEL_EXPORTER_OTLP_ENDPOINT"]) {
        Some((name, value)) => base(name, &value).map(Some),
        None => Ok(None),
    }
}

/// The address of a collector, to which the path is appended.
fn base(origin: &'static str, given: &str) -> Result<Uri, SettingsError> {
    let base = address(origin, given)?;
    let whole = format!("{}{PATH}", base.to_string().trim_end_matches('/'));
    address(origin, &whole)
}

fn address(origin: &'static str, given: &str) -> Result<Uri, SettingsError> {
    let refused = |problem: String| SettingsError::Endpoint { origin, problem };
    // Not quoted: what stands before the @ may be a password.
    if given.contains('@') {
        let problem = "must not contain a user or a password (put them into OTEL_EXPORTER_OTLP_HEADERS)";
        return Err(refused(problem.to_owned()));
    }
    if given.contains(['?', '#']) {
        return Err(refused(format!("{} has a query or a fragment", quote(given))));
    }
    let uri: Uri = given.parse().map_err(|_| refused(format!("{} is not a URL", quote(given))))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        _ => Err(refused(format!("{} does not begin with http:// or https://", quote(given)))),
    }
}

/// The variables of the environment.
struct Variables<'v> {
    read: &'v dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    /// The first of these variables that is set, and its value.
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = (self.read)(name)?.trim().to_owned();
            (!value.is_empty()).then_some((*name, value))
        })
    }

    fn turn_off(&self) -> Result<bool, SettingsError> {
        let disabled = self.first(&["OTEL_SDK_DISABLED"]);
        if disabled.is_some_and(|(_, value)| value.eq_ignore_ascii_case("true")) {
            return Ok(true);
        }
        match self.first(&["OTEL_TRACES_EXPORTER"]) {
            Some((_, value)) if value == "none" => Ok(true),
            Some((variable, value)) if value != "otlp" => {
                Err(invalid(variable, &value, "give otlp, or none to turn traces off"))
            }
            _ => Ok(false),
        }
    }

    fn check_protocol(&self) -> Result<(), SettingsError> {
        match self.first(PROTOCOL) {
            Some((variable, value)) if value != "http/protobuf" => Err(invalid(
                variable,
                &value,
                "give http/protobuf, and the port of the collector for it, which is usually 4318",
            )),
            _ => Ok(()),
        }
    }

    fn check_unsupported(&self) -> Result<(), SettingsError> {
        match self.first(UNSUPPORTED) {
            Some((variable, _)) => Err(SettingsError::Value {
                variable,
                problem: "client certificates are not supported".to_owned(),
                fix: "unset it, and use OTEL_EXPORTER_OTLP_HEADERS to authenticate",
            }),
            None => Ok(()),
        }
    }

    /// Never quotes what was given, because it may be a secret.
    fn headers(&self) -> Result<Vec<(String, SecretString)>, SettingsError> {
        let Some((variable, value)) = self.first(HEADERS) else { return Ok(Vec::new()) };
        let entries = value.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
        let read = entries.map(|(index, entry)| {
            header(entry).ok_or_else(|| SettingsError::Value {
                variable,
                problem: format!("entry {} is not a header", index + 1),
                fix: "give entries NAME=VALUE, separated by commas, with values in percent-encoding",
            })
        });
        read.collect()
    }

    fn timeout(&self) -> Result<Duration, SettingsError> {
        let Some((variable, value)) = self.first(TIMEOUT) else { return Ok(DEFAULT_TIMEOUT) };
        let timeout = value.parse().ok().map(Duration::from_millis);
        timeout
            .filter(|timeout| !timeout.is_zero() && *timeout <= LONGEST_TIMEOUT)
            .ok_or_else(|| invalid(variable, &value, "give milliseconds, from 1 to 60000"))
    }

    fn compression(&self) -> Result<Option<Compression>, SettingsError> {
        match self.first(COMPRESSION) {
            Some((_, value)) if value == "gzip" => Ok(Some(Compression::Gzip)),
            Some((variable, value)) if value != "none" => Err(invalid(variable, &value, "give gzip or none")),
            _ => Ok(None),
        }
    }

    /// Without a variable, a review is recorded if its parent is, and if it has none.
    fn sampler(&self) -> Result<Sampler, SettingsError> {
        let parent_based = |root: Sampler| Sampler::ParentBased(Box::new(root));
        let Some((variable, value)) = self.first(&["OTEL_TRACES_SAMPLER"]) else {
            return Ok(parent_based(Sampler::AlwaysOn));
        };
        match value.as_str() {
            "always_on" => Ok(Sampler::AlwaysOn),
            "always_off" => Ok(Sampler::AlwaysOff),
            "traceidratio" => Ok(Sampler::TraceIdRatioBased(self.ratio()?)),
            "parentbased_always_on" => Ok(parent_based(Sampler::AlwaysOn)),
            "parentbased_always_off" => Ok(parent_based(Sampler::AlwaysOff)),
            "parentbased_traceidratio" => Ok(parent_based(Sampler::TraceIdRatioBased(self.ratio()?))),
            _ => Err(invalid(
                variable,
                &value,
                "give always_on, always_off or traceidratio, or one of them after parentbased_",
            )),
        }
    }

    fn ratio(&self) -> Result<f64, SettingsError> {
        let Some((variable, value)) = self.first(&["OTEL_TRACES_SAMPLER_ARG"]) else { return Ok(1.0) };
        let ratio = value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| invalid(variable, &value, "give a share of all traces, from 0 to 1"))
    }
}

fn header(entry: &str) -> Option<(String, SecretString)> {
    let (name, value) = entry.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    HeaderName::from_bytes(name.as_bytes()).ok()?;
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    HeaderValue::from_str(&decoded).ok()?;
    Some((name.to_owned(), value.into()))
}

fn invalid(variable: &'static str, value: &str, fix: &'static str) -> SettingsError {
    SettingsError::Value { variable, problem: format!("{} is not supported", quote(value)), fix }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn read(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        Settings::read(flag, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// The settings with a collector and these variables.
    fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        read(None, &[&[COLLECTOR], variables].concat()).map(|settings| settings.expect("traces that are on"))
    }

    #[rstest]
    #[case::nothing(None, &[])]
    #[case::empty(Some(""), &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")])]
    #[case::other_variables(None, &[("OTEL_TRACES_SAMPLER", "nonsense")])]
    #[case::disabled(Some("http://collector:4318"), &[("OTEL_SDK_DISABLED", "True")])]
    #[case::no_exporter(Some("http://collector:4318"), &[("OTEL_TRACES_EXPORTER", "none")])]
    fn traces_are_off(#[case] flag: Option<&str>, #[case] variables: &[(&str, &str)]) {
        assert!(read(flag, variables).unwrap().is_none());
    }

    #[rstest]
    #[case::flag(Some("http://flag:4318"), &[COLLECTOR], "http://flag:4318/v1/traces")]
    #[case::variable(None, &[COLLECTOR], "http://collector:4318/v1/traces")]
    #[case::slash(Some("https://flag/"), &[], "https://flag/v1/traces")]
    #[case::path(Some("https://flag/otlp"), &[], "https://flag/otlp/v1/traces")]
    #[case::whole_address(
        None,
        &[COLLECTOR, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/here")],
        "http://traces:4318/here"
    )]
    #[case::ipv6(Some("http://[::1]:4318"), &[], "http://[::1]:4318/v1/traces")]
    fn the_endpoint_is_that_of_the_specification(
        #[case] flag: Option<&str>,
        #[case] variables: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        assert_eq!(read(flag, variables).unwrap().unwrap().collector(), expected);
    }

    #[rstest]
    #[case::no_scheme("collector:4318", r#""collector:4318" does not begin with http:// or https://"#)]
    #[case::host_alone("collector", r#""collector" does not begin with http:// or https://"#)]
    #[case::grpc(
        "grpc://collector:4317",
        r#""grpc://collector:4317" does not begin with http:// or https://"#
    )]
    #[case::spaces("http://col lector", r#""http://col lector" is not a URL"#)]
    #[case::no_host("http://", r#""http://" is not a URL"#)]
    #[case::query("http://collector?a=b", r#""http://collector?a=b" has a query or a fragment"#)]
    #[case::password("http://me:secret@collector", "must not contain a user or a password")]
    fn a_bad_endpoint_is_refused_with_its_flag_and_a_fix(#[case] endpoint: &str, #[case] problem: &str) {
        for (flag, variables, origin) in [
            (Some(endpoint), vec![], "--otlp-endpoint"),
            (None, vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ] {
            let error = read(flag, &variables).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{origin}: {problem}")), "{error}");
            assert!(error.ends_with("such as http://otel-collector.monitoring:4318"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[rstest]
    #[case::grpc("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "give http/protobuf")]
    #[case::exporter("OTEL_TRACES_EXPORTER", "console", "give otlp")]
    #[case::timeout("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "give milliseconds")]
    #[case::no_time("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "give milliseconds")]
    #[case::compression("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "give gzip or none")]
    #[case::sampler("OTEL_TRACES_SAMPLER", "often", "give always_on")]
    #[case::client_certificate("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/tls.crt", "unset it")]
    #[case::client_key("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/tls.key", "unset it")]
    fn a_bad_variable_is_refused_with_its_name_and_a_fix(
        #[case] variable: &str,
        #[case] value: &str,
        #[case] fix: &str,
    ) {
        let error = with(&[(variable, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{variable}: ")), "{error}");
        assert!(error.contains(&format!("; {fix}")), "{error}");
    }

    #[rstest]
    #[case::more_than_all("1.5")]
    #[case::negative("-0.1")]
    #[case::not_a_number("NaN")]
    #[case::words("half")]
    fn a_bad_ratio_is_refused(#[case] ratio: &str) {
        let variables = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        let error = with(&variables).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_TRACES_SAMPLER_ARG: "), "{error}");
    }

    #[rstest]
    #[case::no_value("api-key")]
    #[case::bad_name("api key=hunter2")]
    #[case::bad_value("api-key=hunter2%0A")]
    #[case::the_second("a=b, =hunter2")]
    fn a_bad_header_is_refused_without_its_value(#[case] headers: &str) {
        let error = with(&[("OTEL_EXPORTER_OTLP_HEADERS", headers)]).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_HEADERS: entry "), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("key"), "{error}");
    }

    #[test]
    fn headers_are_read_and_not_shown() {
        let settings = with(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2, x-tenant = a%20b,")]).unwrap();
        let headers: Vec<_> =
            settings.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(headers, [("api-key", "hunter2"), ("x-tenant", "a%20b")]);
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }

    #[rstest]
    #[case::default(None, "ParentBased(AlwaysOn)")]
    #[case::always(Some("always_on"), "AlwaysOn")]
    #[case::never(Some("parentbased_always_off"), "ParentBased(AlwaysOff)")]
    #[case::ratio(Some("parentbased_traceidratio"), "ParentBased(TraceIdRatioBased(0.25))")]
    fn the_sampler_is_that_of_the_specification(#[case] sampler: Option<&str>, #[case] expected: &str) {
        let mut variables = vec![("OTEL_TRACES_SAMPLER_ARG", "0.25")];
        variables.extend(sampler.map(|sampler| ("OTEL_TRACES_SAMPLER", sampler)));
        assert_eq!(format!("{:?}", with(&variables).unwrap().sampler), expected);
    }

    #[test]
    fn the_variable_for_traces_goes_before_the_one_for_all_signals() {
        let variables =
            [("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000")];
        assert_eq!(with(&variables).unwrap().timeout, Duration::from_secs(2));
    }
}
