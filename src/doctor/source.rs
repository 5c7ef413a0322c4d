//! Finds out who creates the certificate, because the fix depends on it.

use serde_json::Value;

use super::shipped::{self, NAME};
use super::snapshot::{Registration, Snapshot};
use super::target::{Settings, Target, kubectl};
use crate::certificates::CERT_MANAGER;

const MANAGED: &str = "--tls-self-managed";
const MANAGED_VARIABLE: &str = "CRM_ADMISSION_TLS_SELF_MANAGED";
const FILES: [&str; 2] = ["--tls-cert", "--tls-dev"];
/// cert-manager's annotation of a webhook configuration: the Certificate whose CA to write into it.
pub(super) const INJECT_CA_FROM: &str = "cert-manager.io/inject-ca-from";

/// Who creates the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The program, with `--tls-self-managed`.
    SelfManaged,
    /// cert-manager, for this Certificate.
    CertManager { certificate: String },
    /// An admin.
    Own,
}

impl Source {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let secret = snapshot.secret.found();
        let has_ca_key = secret.is_some_and(|secret| secret["data"]["ca.key"].is_string());
        if snapshot.deployment.found().and_then(is_self_managed).unwrap_or(has_ca_key) {
            return Self::SelfManaged;
        }
        let named = secret.and_then(|secret| annotation(secret, CERT_MANAGER));
        let injected =
            snapshot.registrations().find_map(|(_, live)| annotation(live.found()?, INJECT_CA_FROM));
        let injected = injected.map(|from| from.rsplit_once('/').map_or(from, |(_, name)| name));
        match named.or(injected) {
            Some(certificate) => Self::CertManager { certificate: certificate.to_owned() },
            None => Self::Own,
        }
    }

    /// The same if the Deployment tells; `None` if it does not.
    pub(super) fn deployed(snapshot: &Snapshot) -> Option<Self> {
        snapshot.deployment.found().and_then(is_self_managed).map(|_| Self::of(snapshot))
    }

    /// The command that creates the missing Secret, or shows why it is missing.
    pub(super) fn make(&self, settings: &Settings) -> String {
        let (kubectl, secret) = (kubectl(settings), &settings.tls_secret);
        match self {
            Self::SelfManaged => format!("{kubectl} logs deployment/{NAME} --tail=50"),
            Self::CertManager { certificate } => format!("{kubectl} describe certificate {certificate}"),
            Self::Own => {
                format!("{kubectl} create secret generic {secret} --type=kubernetes.io/tls {OWN_FILES}")
            }
        }
    }

    /// The command that renews the certificate. All replicas load the new one while they run.
    pub(super) fn renew(&self, settings: &Settings) -> String {
        let (kubectl, secret) = (kubectl(settings), &settings.tls_secret);
        match self {
            // The Secret is created again after it was deleted.
            Self::SelfManaged | Self::CertManager { .. } => format!("{kubectl} delete secret {secret}"),
            // Nobody would create it again, so replace it.
            Self::Own => format!(
                "{kubectl} create secret generic {secret} --type=kubernetes.io/tls {OWN_FILES} \
                 --dry-run=client -o yaml | {kubectl} apply -f -"
            ),
        }
    }

    /// The command that makes the certificate valid for the name that the API server calls.
    pub(super) fn rename(&self, host: &str, target: &Target, settings: &Settings) -> String {
        let kubectl = kubectl(settings);
        match (self, target) {
            (Self::SelfManaged, Target::Service { .. }) => {
                let service = &settings.service;
                format!("{kubectl} set env deployment/{NAME} CRM_ADMISSION_SERVICE={service}")
            }
            (Self::SelfManaged, Target::Url(_)) => {
                format!("{kubectl} set env deployment/{NAME} CRM_ADMISSION_TLS_SAN={host}")
            }
            (Self::CertManager { certificate }, _) => format!("{kubectl} edit certificate {certificate}"),
            (Self::Own, _) => self.renew(settings),
        }
    }

    /// The command that replaces an expired or expiring CA.
    pub(super) fn renew_ca(&self, set_bundle: &str, settings: &Settings) -> String {
        match self {
            Self::SelfManaged => self.renew(settings),
            // cert-manager renews the CA, but may have failed to write it to the configuration.
            Self::CertManager { .. } => {
                format!("{} describe certificates,issuers; {set_bundle}", kubectl(settings))
            }
            Self::Own => format!("{}; {set_bundle}", self.renew(settings)),
        }
    }

    /// The command that makes a configuration trust the CA: `patch`, after the annotation by which cert-manager keeps
    /// the CA up to date.
    pub(super) fn trust(&self, registration: Registration, patch: String, settings: &Settings) -> String {
        match self {
            Self::SelfManaged | Self::Own => patch,
            Self::CertManager { certificate } => format!(
                "kubectl annotate {} {NAME} --overwrite {INJECT_CA_FROM}={}/{certificate} && {patch}",
                registration.singular(),
                settings.namespace
            ),
        }
    }

    /// The shipped permissions that the program needs.
    pub(super) fn permissions(&self) -> &'static [shipped::Permissions] {
        match self {
            Self::SelfManaged => &[shipped::Permissions::Base, shipped::Permissions::SelfManaged],
            Self::CertManager { .. } | Self::Own => &[shipped::Permissions::Base],
        }
    }
}

/// The files that an admin has created, in the current directory.
const OWN_FILES: &str = "--from-file=tls.crt --from-file=tls.key --from-file=ca.crt";

pub(super) fn annotation<'o>(object: &'o Value, name: &str) -> Option<&'o str> {
    object["metadata"]["annotations"][name].as_str()
}

/// The value of a flag of the program in the Deployment, or of its environment variable.
pub(super) fn setting<'d>(deployment: &'d Value, flag: &str, variable: &str) -> Option<&'d str> {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array()?;
    let container = containers.iter().find(|container| container["name"] == NAME)?;
    let of = |field: &str| container[field].as_array().into_iter().flatten();
    let mut args = of("command").chain(of("args")).filter_map(Value::as_str);
    let of_arg = args.find_map(|arg| arg.strip_prefix(flag).filter(|rest| !rest.starts_with('-')));
    let of_flag = of_arg.and_then(|rest| if rest.is_empty() { args.next() } else { rest.strip_prefix('=') });
    let of_variable = || of("env").find(|known| known["name"] == variable)?["value"].as_str();
    of_flag.or_else(of_variable)
}

/// Whether a flag of the program without a value is in the Deployment, or its environment variable; `None` if the
/// Deployment does not have the program. Words such as `false` turn the variable off.
pub(super) fn is_on(deployment: &Value, flag: &str, variable: &str) -> Option<bool> {
    const OFF: [&str; 7] = ["", "n", "no", "f", "false", "off", "0"];
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array()?;
    let container = containers.iter().find(|container| container["name"] == NAME)?;
    let of = |field: &str| container[field].as_array().into_iter().flatten();
    let is_given = of("command").chain(of("args")).any(|arg| arg == flag);
    let value = of("env").find(|known| known["name"] == variable).and_then(|known| known["value"].as_str());
    Some(is_given || value.is_some_and(|value| !OFF.contains(&value.to_lowercase().as_str())))
}

/// Whether the Deployment starts the program with a self-managed certificate; `None` if unknown.
fn is_self_managed(deployment: &Value) -> Option<bool> {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array()?;
    let of_each = |field: &'static str| {
        containers.iter().flat_map(move |container| container[field].as_array().into_iter().flatten())
    };
    let args = || of_each("command").chain(of_each("args")).filter_map(Value::as_str);
    let managed = |variable: &Value| variable["name"] == MANAGED_VARIABLE && variable["value"] == "true";
    let is_flag = |arg: &str, flag: &str| {
        arg.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if args().any(|arg| arg == MANAGED) || of_each("env").any(managed) {
        Some(true)
    } else {
        args().any(|arg| FILES.iter().any(|flag| is_flag(arg, flag))).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::questions::Answer;
    use super::super::samples::{self, settings};
    use super::*;

    fn source(edit: impl FnOnce(&mut Snapshot)) -> Source {
        let mut snapshot = samples::snapshot();
        edit(&mut snapshot);
        Source::of(&snapshot)
    }

    fn deployment(args: &Value, env: &Value) -> Answer<Value> {
        let containers = json!([{"args": args, "env": env}]);
        Answer::Found(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
    }

    #[test]
    fn a_self_managed_certificate_is_recognized_by_the_deployment_or_the_secret() {
        let with_ca_key = |snapshot: &mut Snapshot| {
            snapshot.secret = Answer::Found(json!({"data": {"ca.key": "a2V5"}}));
        };
        assert_eq!(source(with_ca_key), Source::SelfManaged);
        for (args, env) in [
            (json!(["serve", "--tls-self-managed"]), json!([])),
            (json!(["serve"]), json!([{"name": "CRM_ADMISSION_TLS_SELF_MANAGED", "value": "true"}])),
        ] {
            assert_eq!(source(|snapshot| snapshot.deployment = deployment(&args, &env)), Source::SelfManaged);
        }
        // An admin may keep the CA's key there too.
        let mounted = source(|snapshot| {
            with_ca_key(snapshot);
            snapshot.deployment = deployment(&json!(["serve", "--tls-cert=/tls/tls.crt"]), &json!([]));
        });
        assert_eq!(mounted, Source::Own);
    }

    #[test]
    fn cert_manager_is_recognized_by_its_annotations() {
        let expected = Source::CertManager { certificate: "crm".to_owned() };
        let of_secret = source(|snapshot| {
            let annotations = json!({"cert-manager.io/certificate-name": "crm"});
            snapshot.secret = Answer::Found(json!({"metadata": {"annotations": annotations}}));
        });
        assert_eq!(of_secret, expected);
        let of_configuration = source(|snapshot| {
            let annotations = json!({"cert-manager.io/inject-ca-from": "crm-admission-system/crm"});
            samples::found(&mut snapshot.registrations[1])["metadata"]["annotations"] = annotations;
        });
        assert_eq!(of_configuration, expected);
    }

    #[test]
    fn a_secret_that_nobody_would_create_again_is_never_deleted() {
        let renew = Source::Own.renew(&settings());
        assert!(!renew.contains("delete") && renew.contains("--from-file=tls.crt"), "{renew}");
        let service = Target::Service { port: 443 };
        assert!(!Source::Own.rename("a.svc", &service, &settings()).contains("delete"));
        assert!(Source::SelfManaged.renew(&settings()).ends_with("delete secret crm-admission-tls"));
    }

    #[test]
    fn a_wrong_name_is_fixed_at_the_source_of_the_certificate() {
        let url = Target::Url("crm.example:443".parse().unwrap());
        let fix = Source::SelfManaged.rename("crm.example", &url, &settings());
        assert!(fix.ends_with("CRM_ADMISSION_TLS_SAN=crm.example"), "{fix}");
        let fix = Source::CertManager { certificate: "crm".to_owned() }.rename("a", &url, &settings());
        assert!(fix.ends_with("edit certificate crm"), "{fix}");
    }
}
