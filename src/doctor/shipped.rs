//! What is shipped with this version of the program: the registration and the access rights.

use serde_json::Value;

use super::Settings;
use crate::check::{SyntaxError, documents};

/// The name of everything that is shipped but has a name of its own.
pub(super) const NAME: &str = "crm-admission";
/// The service account as which the program runs.
pub(super) const SERVICE_ACCOUNT: &str = NAME;

/// Where the registration is in the repository, for fixes.
pub(super) const REGISTRATION_PATH: &str = "manifests/registration/webhooks.yaml";
const REGISTRATION: &str = include_str!("../../manifests/registration/webhooks.yaml");
/// Where the access rights are in the repository, for fixes.
pub(super) const RBAC_PATH: &str = "manifests/base/rbac.yaml";
const RBAC: &str = include_str!("../../manifests/base/rbac.yaml");

/// The namespace in all that is shipped.
const NAMESPACE: &str = "crm-admission-system";

/// The namespace that something is in, when it was shipped for this one.
pub(super) fn namespace(shipped: Option<&str>, settings: &Settings) -> String {
    match shipped {
        None | Some(NAMESPACE) => settings.namespace.clone(),
        Some(other) => other.to_owned(),
    }
}

/// The command that applies a shipped file to the namespace of the installation.
pub(super) fn apply(path: &str, settings: &Settings) -> String {
    match settings.namespace.as_str() {
        NAMESPACE => format!("kubectl apply -f {path}"),
        other => {
            format!("sed 's/namespace: {NAMESPACE}/namespace: {other}/' {path} | kubectl apply -f -")
        }
    }
}

/// The shipped webhook configuration of this kind.
pub(super) fn registration(kind: &str) -> Value {
    objects(REGISTRATION).into_iter().find(|object| object["kind"] == kind).unwrap_or_default()
}

/// The shipped roles, both kinds of them.
pub(super) fn roles() -> Vec<Value> {
    let is_role = |object: &Value| object["kind"] == "ClusterRole" || object["kind"] == "Role";
    objects(RBAC).into_iter().filter(is_role).collect()
}

fn objects(text: &str) -> Vec<Value> {
    read(text).unwrap_or_default()
}

fn read(text: &str) -> Result<Vec<Value>, SyntaxError> {
    Ok(documents(text)?.into_iter().map(|(_, object)| object).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_can_be_read() {
        assert!(read(REGISTRATION).is_ok() && read(RBAC).is_ok());
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            let shipped = registration(kind);
            assert_eq!(shipped["metadata"]["name"], NAME, "{kind}");
            assert!(!shipped["webhooks"].as_array().unwrap().is_empty(), "{kind}");
        }
        assert!(!roles().is_empty());
    }

    #[test]
    fn files_are_applied_to_the_namespace_of_the_installation() {
        let settings = super::super::samples::settings();
        assert_eq!(apply("a.yaml", &settings), "kubectl apply -f a.yaml");
        let elsewhere = Settings { namespace: "crm".to_owned(), ..settings };
        let expected = "sed 's/namespace: crm-admission-system/namespace: crm/' a.yaml | kubectl apply -f -";
        assert_eq!(apply("a.yaml", &elsewhere), expected);
    }

    #[test]
    fn the_paths_that_fixes_name_are_where_the_files_are() {
        for path in [REGISTRATION_PATH, RBAC_PATH] {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            assert!(file.is_file(), "{path}");
        }
    }
}
