//! Checks whether the CRDs are those of this version of the program, and whether their kinds are served.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::compare::{Extra, differences, name_some};
use super::diagnosis::{Check, Diagnosis, Examination, Id, counted};
use super::questions::Answer;
use crate::invocation::invocation;

fn apply() -> String {
    format!("{} crds | kubectl apply --server-side --force-conflicts -f -", invocation())
}

/// `wanted` has the order of `found`.
pub(super) fn judge(found: &[Answer<Value>], wanted: &[CustomResourceDefinition]) -> Check {
    let findings = found.iter().zip(wanted).flat_map(|(found, wanted)| definition(found, wanted)).collect();
    let summary = counted(wanted.len(), "definition is up to date", "definitions are up to date");
    Check { examination: Examination::Crds, summary, findings }
}

fn definition(found: &Answer<Value>, wanted: &CustomResourceDefinition) -> Vec<Diagnosis> {
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    let subject = format!("crd {name}");
    match found.known(&subject) {
        Err(finding) => vec![finding],
        Ok(None) => vec![Diagnosis::failure(Id::CrdAbsent, subject, "it does not exist", apply())],
        Ok(Some(found)) => {
            let findings = [
                outdated(&subject, found, wanted),
                not_established(&subject, name, found),
                stored_version(&subject, found, wanted),
            ];
            findings.into_iter().flatten().collect()
        }
    }
}

fn outdated(subject: &str, found: &Value, wanted: &CustomResourceDefinition) -> Option<Diagnosis> {
    let wanted = serde_json::to_value(&wanted.spec).unwrap_or_default();
    let differences = differences("spec", &wanted, &found["spec"], Extra::Allowed);
    let named = name_some(&differences)?;
    let text = format!("it differs from the one that this version ships: {named}");
    Some(if differences.iter().all(|path| is_for_people(path)) {
        Diagnosis::warning(Id::CrdOutdated, subject, text, apply())
    } else {
        Diagnosis::failure(Id::CrdOutdated, subject, text, apply())
    })
}

/// Whether only `kubectl explain` and `kubectl get` show this field.
fn is_for_people(path: &str) -> bool {
    path.ends_with(".description") || path.contains(".additionalPrinterColumns")
}

fn not_established(subject: &str, name: &str, found: &Value) -> Option<Diagnosis> {
    let fix = format!("kubectl describe crd {name}");
    let conditions = || found["status"]["conditions"].as_array().into_iter().flatten();
    let is = |kind: &str, status: &str| {
        conditions().find(|condition| condition["type"] == kind && condition["status"] == status)
    };
    if found["metadata"].get("deletionTimestamp").is_some() {
        let text = "it is being deleted, with all its records";
        return Some(Diagnosis::failure(Id::CrdNotEstablished, subject, text, fix));
    }
    if is("Established", "True").is_some() {
        return None;
    }
    let why = is("NamesAccepted", "False").or_else(|| is("Established", "False"));
    let why =
        why.and_then(|condition| condition["message"].as_str()).unwrap_or("its conditions do not say why");
    let text = format!("its kind is not served: {why}");
    Some(Diagnosis::failure(Id::CrdNotEstablished, subject, text, fix))
}

fn stored_version(subject: &str, found: &Value, wanted: &CustomResourceDefinition) -> Option<Diagnosis> {
    let known = |version: &&str| wanted.spec.versions.iter().any(|known| known.name == *version);
    let stored = found["status"]["storedVersions"].as_array().into_iter().flatten();
    let unknown: Vec<&str> = stored.filter_map(Value::as_str).filter(|version| !known(version)).collect();
    (!unknown.is_empty()).then(|| {
        let text =
            format!("records may be stored as {}, which this version does not have", unknown.join(", "));
        let plural = &wanted.spec.names.plural;
        let resource = format!("{plural}.{}", wanted.spec.group);
        let versions: Vec<&str> = wanted.spec.versions.iter().map(|version| version.name.as_str()).collect();
        let status = json!({"status": {"storedVersions": versions}});
        let fix = format!(
            "kubectl get {resource} -o yaml | kubectl replace -f - && \
             kubectl patch crd {resource} --subresource=status --type=merge -p '{status}'"
        );
        Diagnosis::warning(Id::CrdStoredVersion, subject, text, fix)
    })
}

#[cfg(test)]
mod tests {
    use crm_core::api::Company;

    use super::super::diagnosis::Level;
    use super::*;
    use kube::CustomResourceExt;

    fn live() -> Value {
        let mut live = serde_json::to_value(Company::crd()).unwrap();
        // Defaults that the API server adds.
        live["spec"]["conversion"] = json!({"strategy": "None"});
        live["status"] = json!({
            "conditions": [{"type": "Established", "status": "True"}],
            "storedVersions": ["v1alpha1"],
        });
        live
    }

    fn found(live: Value) -> Vec<Diagnosis> {
        judge(&[Answer::Found(live)], &[Company::crd()]).findings
    }

    #[track_caller]
    fn one(live: Value, id: Id, level: Level, text: &str) {
        let findings = found(live);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].id, findings[0].level), (id, level));
        assert!(findings[0].text.contains(text), "{findings:?}");
    }

    #[test]
    fn a_shipped_definition_is_fine_and_so_is_a_newer_one() {
        assert_eq!(found(live()), []);
        let mut newer = live();
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        newer.pointer_mut(spec).unwrap()["fax"] = json!({"type": "string"});
        assert_eq!(found(newer), []);
    }

    #[test]
    fn a_missing_definition_is_a_failure() {
        let findings = judge(&[Answer::Absent], &[Company::crd()]).findings;
        assert_eq!(findings[0].id, Id::CrdAbsent);
        assert_eq!(findings[0].subject, "crd companies.crm.milo.io");
    }

    #[test]
    fn an_older_definition_is_reported_with_its_missing_fields() {
        let mut older = live();
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        older.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("domains");
        let path = "spec.versions[v1alpha1].schema.openAPIV3Schema.properties.spec.properties.domains";
        one(older, Id::CrdOutdated, Level::Failure, path);
    }

    #[test]
    fn an_older_description_is_only_a_warning() {
        let mut older = live();
        older.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").unwrap()["description"] = json!("Old.");
        one(older, Id::CrdOutdated, Level::Warning, "openAPIV3Schema.description");
    }

    #[test]
    fn a_definition_whose_kind_is_not_served_says_why() {
        let mut live = live();
        live["status"]["conditions"] = json!([
            {"type": "NamesAccepted", "status": "False", "message": "\"companies\" is already in use"},
            {"type": "Established", "status": "False", "message": "not all names are accepted"},
        ]);
        one(live, Id::CrdNotEstablished, Level::Failure, "\"companies\" is already in use");
    }

    #[test]
    fn a_definition_that_is_being_deleted_is_a_failure() {
        let mut live = live();
        live["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        one(live, Id::CrdNotEstablished, Level::Failure, "being deleted");
    }

    #[test]
    fn records_in_a_removed_version_are_a_warning() {
        let mut live = live();
        live["status"]["storedVersions"] = json!(["v1alpha0", "v1alpha1"]);
        one(live, Id::CrdStoredVersion, Level::Warning, "stored as v1alpha0");
    }

    #[test]
    fn a_forbidden_read_is_skipped_and_a_failed_read_is_a_failure() {
        let wanted = [Company::crd()];
        let forbidden = judge(&[Answer::Forbidden("cannot get crds".to_owned())], &wanted);
        assert_eq!((forbidden.level(), forbidden.findings[0].id), (Level::Skipped, Id::NotPermitted));
        assert!(forbidden.findings[0].text.contains("cannot get crds"));
        let failed = judge(&[Answer::Failed("etcd is away".to_owned())], &wanted);
        assert_eq!((failed.level(), failed.findings[0].id), (Level::Failure, Id::Unanswered));
    }
}
