//! Checks whether the service account has the shipped permissions.

use std::collections::BTreeMap;
use std::fmt;

use futures::StreamExt;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use super::diagnosis::{Check, Diagnosis, Examination, Id, counted};
use super::questions::{Answer, Questions, Resource, not_permitted, unanswered};
use super::shipped::{self, GUARD_PATH, Permissions, SERVICE_ACCOUNT};
use super::source::Source;
use super::target::Settings;

/// The maximum number of access reviews at the same time.
const CONCURRENT: usize = 8;

const REVIEWS: Resource = Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
};

/// The verbs that change nothing.
const READING: [&str; 3] = ["get", "list", "watch"];
/// The group of the webhook configurations.
const REGISTRATION_GROUP: &str = "admissionregistration.k8s.io";

/// One permission, and the shipped roles that grant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    given_by: Permissions,
    verb: String,
    on: Object,
}

/// The object of a permission.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    group: String,
    resource: String,
    name: Option<String>,
    namespace: Option<String>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        Ok(())
    }
}

/// All permissions that these shipped roles grant.
pub(super) fn needs(permissions: &[Permissions], settings: &Settings) -> Vec<Need> {
    let of = |given_by: &Permissions| {
        let roles = given_by.roles();
        roles.iter().flat_map(|role| of_role(*given_by, role, settings)).collect::<Vec<_>>()
    };
    permissions.iter().flat_map(of).collect()
}

/// The permissions that the guard limits: those to change webhook configurations.
pub(super) fn guarded(settings: &Settings) -> Vec<Need> {
    let mut needs = needs(Source::SelfManaged.permissions(), settings);
    needs.retain(|need| need.on.group == REGISTRATION_GROUP && !READING.contains(&need.verb.as_str()));
    needs
}

fn of_role(given_by: Permissions, role: &Value, settings: &Settings) -> Vec<Need> {
    let namespace = (role["kind"] == "Role")
        .then(|| shipped::namespace(role["metadata"]["namespace"].as_str(), settings));
    let mut needs = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names: Vec<Option<String>> = match strings(&rule["resourceNames"]) {
            names if names.is_empty() => vec![None],
            names => names.iter().map(|name| Some(shipped::name(name, settings).to_owned())).collect(),
        };
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for name in &names {
                    let on = Object {
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        namespace: namespace.clone(),
                    };
                    let need = |verb| Need { given_by, verb, on: on.clone() };
                    needs.extend(strings(&rule["verbs"]).into_iter().map(need));
                }
            }
        }
    }
    needs
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Asks the API server for each permission whether the service account has it.
pub(super) async fn ask(
    questions: &Questions,
    needs: &[Need],
    settings: &Settings,
) -> Vec<(Need, Answer<bool>)> {
    let reviews = futures::stream::iter(needs.iter().cloned()).map(|need| async move {
        let granted = granted(questions, &need, settings).await;
        (need, granted)
    });
    reviews.buffered(CONCURRENT).collect().await
}

async fn granted(questions: &Questions, need: &Need, settings: &Settings) -> Answer<bool> {
    let review = match serde_json::from_value::<DynamicObject>(review(need, settings)) {
        Ok(review) => review,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    match questions.create(REVIEWS, &review, &PostParams::default()).await {
        Answer::Found(Ok(answer)) => {
            let status = &answer["status"];
            Answer::Found(status["allowed"] == true && status["denied"] != true)
        }
        Answer::Found(Err(status)) if status.code == 403 => Answer::Forbidden(status.message),
        Answer::Found(Err(status)) => Answer::Failed(status.message),
        Answer::Absent => Answer::Absent,
        Answer::Forbidden(message) => Answer::Forbidden(message),
        Answer::Failed(why) => Answer::Failed(why),
    }
}

fn review(need: &Need, settings: &Settings) -> Value {
    let namespace = &settings.namespace;
    let (resource, subresource) = need.on.resource.split_once('/').unwrap_or((&need.on.resource, ""));
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": REVIEWS.kind,
        // Reviews have no metadata, but `DynamicObject` requires the field.
        "metadata": {},
        "spec": {
            "user": shipped::account(namespace),
            "groups": [
                "system:serviceaccounts",
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated",
            ],
            "resourceAttributes": {
                "verb": need.verb,
                "group": need.on.group,
                "resource": resource,
                "subresource": subresource,
                "name": need.on.name.as_deref().unwrap_or_default(),
                "namespace": need.on.namespace.as_deref().unwrap_or_default(),
            },
        },
    })
}

pub(super) fn judge(account: &Answer<Value>, granted: &[(Need, Answer<bool>)], settings: &Settings) -> Check {
    let subject = format!("serviceaccount {}/{SERVICE_ACCOUNT}", settings.namespace);
    let mut findings = Vec::new();
    match account.known(&subject) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let (text, fix) =
                ("it does not exist, so no pod can run as it", grant(Permissions::Base, settings));
            findings.push(Diagnosis::failure(Id::ServiceAccountAbsent, &subject, text, fix));
        }
        Err(finding) => findings.push(finding),
    }
    findings.extend(missing(&subject, granted, settings));
    findings.extend(unknown(&subject, granted));
    let summary =
        format!("{subject} has the {} that it needs", counted(granted.len(), "permission", "permissions"));
    Check { examination: Examination::Access, summary, findings }
}

/// The command that grants these permissions.
fn grant(permissions: Permissions, settings: &Settings) -> String {
    let apply = shipped::apply(permissions.path(), settings);
    match permissions {
        Permissions::Base | Permissions::Conditions => apply,
        // Apply the guard first, so that the permission is never unlimited.
        Permissions::SelfManaged => format!("{} && {apply}", shipped::apply(GUARD_PATH, settings)),
    }
}

/// The missing permissions, one finding for each object.
fn missing(subject: &str, granted: &[(Need, Answer<bool>)], settings: &Settings) -> Vec<Diagnosis> {
    let mut missing: BTreeMap<(Permissions, &Object), Vec<&str>> = BTreeMap::new();
    for (need, answer) in granted {
        if answer.found() == Some(&false) {
            missing.entry((need.given_by, &need.on)).or_default().push(&need.verb);
        }
    }
    let finding = |((given_by, object), verbs): ((Permissions, &Object), Vec<&str>)| {
        let text = format!("it lacks permission to {} {object}", verbs.join(", "));
        Diagnosis::failure(Id::RbacMissing, subject, text, grant(given_by, settings))
    };
    missing.into_iter().map(finding).collect()
}

/// The first review without an answer. One is enough: a user who cannot create one review can create none.
fn unknown(subject: &str, granted: &[(Need, Answer<bool>)]) -> Option<Diagnosis> {
    let subject = format!("permissions of {subject}");
    granted.iter().find_map(|(_, answer)| match answer {
        Answer::Forbidden(message) => Some(not_permitted(&subject, message)),
        Answer::Failed(why) => Some(unanswered(&subject, why)),
        Answer::Absent => Some(unanswered(&subject, "the API server does not serve SubjectAccessReviews")),
        Answer::Found(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Level;
    use super::super::samples::settings;
    use super::*;

    fn named(verb: &str, group: &str, resource: &str) -> Need {
        let on = Object { group: group.to_owned(), resource: resource.to_owned(), ..Object::default() };
        Need { given_by: Permissions::Base, verb: verb.to_owned(), on }
    }

    #[test]
    fn the_needs_match_the_shipped_roles() {
        let needs = needs(Source::Own.permissions(), &settings());
        for need in [
            named("watch", "crm.milo.io", "companies"),
            named("patch", "admission.crm.milo.io", "admissionpolicies/status"),
            named("create", "authorization.k8s.io", "subjectaccessreviews"),
        ] {
            assert!(needs.contains(&need), "{need:?}");
        }
    }

    #[test]
    fn self_managed_certificates_need_more_permissions_and_the_fix_names_their_file() {
        let settings = Settings { tls_secret: "tls".to_owned(), ..settings() };
        let needs = needs(Source::SelfManaged.permissions(), &settings);
        let own: Vec<_> = needs.iter().filter(|need| need.given_by == Permissions::SelfManaged).collect();
        let told: Vec<_> = own.iter().map(|need| format!("{} {}", need.verb, need.on)).collect();
        assert!(
            told.contains(&"update secrets \"tls\" in namespace crm-admission-system".to_owned()),
            "{told:?}"
        );
        let answers: Vec<_> = own.into_iter().map(|need| (need.clone(), Answer::Found(false))).collect();
        let findings = judge(&Answer::Found(json!({})), &answers, &settings).findings;
        assert!(!findings.is_empty());
        for finding in findings {
            let [guard, permissions] = ["guard/guard.yaml", "overlays/self-managed/rbac.yaml"]
                .map(|file| finding.fix.find(&format!("manifests/{file}")));
            assert!(guard.is_some() && guard < permissions, "{finding:?}");
        }
    }

    #[test]
    fn a_role_grants_permissions_in_its_namespace_and_for_its_resource_names() {
        let role = json!({"kind": "Role", "metadata": {"namespace": "crm-admission-system"}, "rules": [{
            "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a", "b"],
        }]});
        let settings = Settings { namespace: "crm".to_owned(), ..settings() };
        let needs = of_role(Permissions::Base, &role, &settings);
        let told: Vec<String> = needs.iter().map(|need| need.on.to_string()).collect();
        assert_eq!(told, ["secrets \"a\" in namespace crm", "secrets \"b\" in namespace crm"]);
        let review = review(&needs[1], &settings);
        let attributes = &review["spec"]["resourceAttributes"];
        assert_eq!((&attributes["name"], &attributes["namespace"]), (&json!("b"), &json!("crm")));
        assert_eq!(review["spec"]["user"], "system:serviceaccount:crm:crm-admission");
    }

    #[test]
    fn conditions_need_the_status_of_records_and_a_lease_and_the_fix_names_their_file() {
        let needs = needs(&[Permissions::Conditions], &settings());
        let told: Vec<_> = needs.iter().map(|need| format!("{} {}", need.verb, need.on)).collect();
        for expected in [
            "patch people/status.crm.milo.io",
            "create leases.coordination.k8s.io in namespace crm-admission-system",
            "update leases.coordination.k8s.io \"crm-admission-conditions\" in namespace crm-admission-system",
        ] {
            assert!(told.contains(&expected.to_owned()), "{expected} is not in {told:?}");
        }
        let fix = grant(Permissions::Conditions, &settings());
        assert_eq!(fix, "kubectl apply -f manifests/components/conditions/rbac.yaml");
    }

    #[test]
    fn a_subresource_is_a_field_of_its_own_in_the_review() {
        let review = review(&named("patch", "g", "things/status"), &settings());
        let attributes = &review["spec"]["resourceAttributes"];
        let asked = (&attributes["resource"], &attributes["subresource"]);
        assert_eq!(asked, (&json!("things"), &json!("status")));
    }

    #[test]
    fn missing_permissions_are_reported_for_each_resource() {
        let answers = [
            (named("get", "crm.milo.io", "people"), Answer::Found(false)),
            (named("list", "crm.milo.io", "people"), Answer::Found(false)),
            (named("get", "crm.milo.io", "companies"), Answer::Found(true)),
        ];
        let account = Answer::Found(json!({}));
        let findings = judge(&account, &answers, &settings()).findings;
        assert_eq!((findings.len(), findings[0].id), (1, Id::RbacMissing));
        assert_eq!(findings[0].text, "it lacks permission to get, list people.crm.milo.io");
    }

    #[test]
    fn a_missing_account_and_forbidden_reviews_are_reported() {
        let answers =
            vec![(named("get", "", "pods"), Answer::Forbidden("cannot create reviews".to_owned())); 3];
        let findings = judge(&Answer::Absent, &answers, &settings()).findings;
        let told: Vec<_> = findings.iter().map(|finding| (finding.id, finding.level)).collect();
        assert_eq!(told, [(Id::ServiceAccountAbsent, Level::Failure), (Id::NotPermitted, Level::Skipped)]);
    }
}
