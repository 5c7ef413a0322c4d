//! The manifests of this version of the program: the registration, the RBAC permissions, and the guard and floor, which
//! the API server evaluates.

use crm_core::api::installation::{NAMESPACE, TLS_SECRET};
use crm_core::api::{CrmKind, VERSION};
use serde_json::{Value, json};

use crm_manifest::{SyntaxError, documents};

use super::target::Settings;

pub(super) use crm_core::api::installation::{NAME, SERVICE_ACCOUNT};

/// The path of the registration in the repository, for fixes.
pub(super) const REGISTRATION_PATH: &str = "manifests/registration/webhooks.yaml";
const REGISTRATION: &str = include_str!("../../manifests/registration/webhooks.yaml");
/// The path of the floor in the repository, for fixes.
pub(super) const FLOOR_PATH: &str = "manifests/floor/floor.yaml";
const FLOOR: &str = include_str!("../../manifests/floor/floor.yaml");
/// The name of the floor's policy and of its binding.
pub(super) const FLOOR_NAME: &str = "crm-admission-floor";
/// The path of the guard in the repository, for fixes.
pub(super) const GUARD_PATH: &str = "manifests/guard/guard.yaml";
const GUARD: &str = include_str!("../../manifests/guard/guard.yaml");
/// The name of the guard's policy and of its binding.
pub(super) const GUARD_NAME: &str = "crm-admission-guard";
/// The name of the roles, and of their bindings, that only self-managed certificates need.
pub(super) const CERTIFICATE_ROLES: &str = "crm-admission-certificates";
/// The annotation that marks a validating configuration without [`VALIDATE`] as intended.
pub(super) const MARK: (&str, &str) = ("admission.crm.milo.io/registration", "one-call");
/// The webhook that is not registered if each write is one call.
pub(super) const VALIDATE: &str = "validate.crm.milo.io";
/// The other webhook for writes of records.
pub(super) const MUTATE: &str = "mutate.crm.milo.io";
/// The condition by which [`MUTATE`] leaves complete and canonical records to [`VALIDATE`].
pub(super) const MAY_NEED_CHANGES: &str = "may-need-changes";

/// The shipped RBAC permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Permissions {
    /// The permissions that the program always needs.
    Base,
    /// The additional permissions for self-managed certificates.
    SelfManaged,
    /// The additional permissions to write conditions.
    Conditions,
}

impl Permissions {
    #[cfg(test)]
    const ALL: [Self; 3] = [Self::Base, Self::SelfManaged, Self::Conditions];

    /// The path of their file in the repository, for fixes.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Base => "manifests/base/rbac.yaml",
            Self::SelfManaged => "manifests/overlays/self-managed/rbac.yaml",
            Self::Conditions => "manifests/components/conditions/rbac.yaml",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Base => include_str!("../../manifests/base/rbac.yaml"),
            Self::SelfManaged => include_str!("../../manifests/overlays/self-managed/rbac.yaml"),
            Self::Conditions => include_str!("../../manifests/components/conditions/rbac.yaml"),
        }
    }

    /// The Roles and ClusterRoles in the file.
    pub(super) fn roles(self) -> Vec<Value> {
        let is_role = |object: &Value| object["kind"] == "ClusterRole" || object["kind"] == "Role";
        objects(self.text()).into_iter().filter(is_role).collect()
    }
}

/// The namespace of the installation in place of the shipped one.
pub(super) fn namespace(shipped: Option<&str>, settings: &Settings) -> String {
    match shipped {
        None | Some(NAMESPACE) => settings.namespace.clone(),
        Some(other) => other.to_owned(),
    }
}

/// The name in the installation in place of the shipped one.
pub(super) fn name<'s>(shipped: &'s str, settings: &'s Settings) -> &'s str {
    if shipped == TLS_SECRET { &settings.tls_secret } else { shipped }
}

/// The command that applies a shipped file to the namespace of the installation.
pub(super) fn apply(path: &str, settings: &Settings) -> String {
    let mut edits = String::new();
    if settings.namespace != NAMESPACE {
        edits += &format!(" -e 's/namespace: {NAMESPACE}/namespace: {}/'", settings.namespace);
    }
    if settings.tls_secret != TLS_SECRET {
        edits += &format!(" -e 's/{TLS_SECRET}/{}/'", settings.tls_secret);
    }
    if path == GUARD_PATH && settings.namespace != NAMESPACE {
        edits += &format!(" -e 's/{}/{}/'", account(NAMESPACE), account(&settings.namespace));
    }
    if edits.is_empty() {
        format!("kubectl apply -f {path}")
    } else {
        format!("sed{edits} {path} | kubectl apply -f -")
    }
}

/// The shipped webhook configuration of this kind.
pub(super) fn registration(kind: &str) -> Value {
    objects(REGISTRATION).into_iter().find(|object| object["kind"] == kind).unwrap_or_default()
}

/// The rules of the component for Milo's notes, in both configurations.
pub(super) fn milo_rules() -> [Value; 2] {
    let kinds = [CrmKind::ClusterNote, CrmKind::NamespacedNote];
    kinds.map(|kind| {
        json!({
            "apiGroups": [kind.group()],
            "apiVersions": [VERSION],
            "resources": [kind.plural()],
            "operations": ["CREATE", "UPDATE"],
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
        })
    })
}

/// The shipped object of the floor of this kind.
pub(super) fn floor(kind: &str) -> Value {
    objects(FLOOR).into_iter().find(|object| object["kind"] == kind).unwrap_or_default()
}

/// The shipped object of the guard of this kind, for the service account of the installation.
pub(super) fn guard(kind: &str, settings: &Settings) -> Value {
    let text = GUARD.replace(&account(NAMESPACE), &account(&settings.namespace));
    objects(&text).into_iter().find(|object| object["kind"] == kind).unwrap_or_default()
}

/// The user name of the service account in a namespace.
pub(super) fn account(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}")
}

fn objects(text: &str) -> Vec<Value> {
    read(text).unwrap_or_default()
}

fn read(text: &str) -> Result<Vec<Value>, SyntaxError> {
    Ok(documents(text)?.into_iter().map(|(_, object)| object).collect())
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::PolicyPart;
    use super::*;

    #[test]
    fn all_shipped_files_can_be_parsed() {
        assert!(read(REGISTRATION).is_ok());
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            let shipped = registration(kind);
            assert_eq!(shipped["metadata"]["name"], NAME, "{kind}");
            assert!(!shipped["webhooks"].as_array().unwrap().is_empty(), "{kind}");
        }
        let mutating = &registration("MutatingWebhookConfiguration")["webhooks"][0];
        assert_eq!(mutating["name"], MUTATE);
        assert_eq!(mutating["matchConditions"][1]["name"], MAY_NEED_CHANGES);
        assert!(read(FLOOR).is_ok());
        assert!(read(GUARD).is_ok());
        let settings = super::super::samples::settings();
        for part in PolicyPart::ALL {
            assert_eq!(floor(part.kind())["metadata"]["name"], FLOOR_NAME, "{part:?}");
            assert_eq!(guard(part.kind(), &settings)["metadata"]["name"], GUARD_NAME, "{part:?}");
        }
        for permissions in Permissions::ALL {
            assert!(read(permissions.text()).is_ok() && !permissions.roles().is_empty(), "{permissions:?}");
        }
    }

    #[test]
    fn the_component_for_milos_notes_adds_these_rules_to_both_configurations() {
        let component = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("manifests/components/milo/kustomization.yaml");
        let component: Value = serde_saphyr::from_str(&std::fs::read_to_string(component).unwrap()).unwrap();
        let patches = component["patches"].as_array().unwrap();
        let of_kind = |kind: &str| {
            let patch = patches.iter().find(|patch| patch["target"]["kind"] == kind).unwrap();
            let patch: Vec<Value> = serde_saphyr::from_str(patch["patch"].as_str().unwrap()).unwrap();
            patch.into_iter().map(|mut operation| operation["value"].take()).collect::<Vec<_>>()
        };
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            assert_eq!(of_kind(kind), milo_rules(), "{kind}");
        }
    }

    #[test]
    fn files_are_applied_to_the_namespace_of_the_installation() {
        let settings = super::super::samples::settings();
        assert_eq!(apply("a.yaml", &settings), "kubectl apply -f a.yaml");
        let elsewhere = Settings { namespace: "crm".to_owned(), ..settings };
        let expected =
            "sed -e 's/namespace: crm-admission-system/namespace: crm/' a.yaml | kubectl apply -f -";
        assert_eq!(apply("a.yaml", &elsewhere), expected);
        let named = Settings { tls_secret: "tls".to_owned(), ..super::super::samples::settings() };
        assert_eq!(apply("a.yaml", &named), "sed -e 's/crm-admission-tls/tls/' a.yaml | kubectl apply -f -");
    }

    #[test]
    fn the_guard_is_for_the_service_account_of_the_installation() {
        let elsewhere = Settings { namespace: "crm".to_owned(), ..super::super::samples::settings() };
        let guard = guard(PolicyPart::Policy.kind(), &elsewhere);
        let expected = "request.userInfo.username == 'system:serviceaccount:crm:crm-admission'";
        assert_eq!(guard["spec"]["matchConditions"][0]["expression"], expected);
        let edit = "s/system:serviceaccount:crm-admission-system:crm-admission/\
                    system:serviceaccount:crm:crm-admission/";
        let fix = apply(GUARD_PATH, &elsewhere);
        assert!(fix.contains(edit), "{fix}");
    }

    #[test]
    fn the_paths_in_fixes_exist() {
        for path in Permissions::ALL.map(Permissions::path).into_iter().chain([
            REGISTRATION_PATH,
            FLOOR_PATH,
            GUARD_PATH,
        ]) {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            assert!(file.is_file(), "{path}");
        }
    }
}
