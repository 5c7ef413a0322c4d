//! The cases: reviews as the API server sends them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Numbers, SLOT, Template};

/// The expected answer to a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Patched,
    /// With this many causes.
    Refused(usize),
}

/// One kind of request.
pub(crate) struct Case {
    pub(crate) id: Id,
    pub(crate) title: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) spec: Value,
    pub(crate) verdict: Verdict,
    pub(crate) numbers: fn(u64) -> Numbers,
    /// The delay of the API server for a GET.
    pub(crate) delay: Duration,
}

/// The names of the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    Messy,
    Clean,
    Hit,
    Miss,
    SlowMiss,
    Refusal,
    Note,
}

impl Id {
    pub(crate) const ALL: [Self; 7] =
        [Self::Messy, Self::Clean, Self::Hit, Self::Miss, Self::SlowMiss, Self::Refusal, Self::Note];

    /// The name in `BENCH_CASES`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Messy => "messy",
            Self::Clean => "clean",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::SlowMiss => "slow-miss",
            Self::Refusal => "refusal",
            Self::Note => "note",
        }
    }

    pub(crate) fn case(self) -> Case {
        all().into_iter().find(|case| case.id == self).unwrap()
    }
}

pub(crate) const SLOW: Duration = Duration::from_millis(2);

impl Case {
    /// The request, for a directory with this many Companies.
    pub(crate) fn request(&self, path: &str, companies: u64) -> Template {
        let body = review(self.kind, &self.spec).to_string();
        Template::post(path, "", &body, (self.numbers)(companies), 200)
    }

    /// Returns an error if the answer is not the expected one.
    pub(crate) fn check(&self, who: &str, body: &str) {
        let answer: Value = serde_json::from_str(body)
            .unwrap_or_else(|error| panic!("{who} answers {:?} with no JSON: {error}: {body}", self.title));
        let response = &answer["response"];
        let causes = response["status"]["details"]["causes"].as_array().map_or(0, Vec::len);
        let seen = match (response["allowed"].as_bool(), response["patch"].is_string()) {
            (Some(true), false) => Verdict::Allowed,
            (Some(true), true) => Verdict::Patched,
            _ => Verdict::Refused(causes),
        };
        assert!(seen == self.verdict, "{who} answers {:?} with {seen:?}: {body}", self.title);
    }
}

pub(crate) fn all() -> Vec<Case> {
    let scattered = |companies: u64| Numbers::Scattered(companies.max(1));
    let rising = |_| Numbers::Rising;
    let case = |id, title, kind, spec, verdict| Case {
        id,
        title,
        kind,
        spec,
        verdict,
        numbers: scattered,
        delay: Duration::ZERO,
    };
    use Verdict::{Allowed, Patched, Refused};
    vec![
        case(
            Id::Messy,
            "Company that needs a default and normalization",
            "Company",
            messy_company(),
            Patched,
        ),
        case(Id::Clean, "clean Company", "Company", clean_company(), Allowed),
        case(Id::Hit, "Person whose company is in the cache", "Person", person("company-"), Allowed),
        Case {
            numbers: rising,
            ..case(Id::Miss, "Person whose company needs a live GET", "Person", person("late-"), Allowed)
        },
        Case {
            numbers: rising,
            delay: SLOW,
            ..case(Id::SlowMiss, "the same, the API server taking 2 ms", "Person", person("late-"), Allowed)
        },
        case(Id::Refusal, "Company refused with five findings", "Company", hopeless_company(), Refused(5)),
        case(Id::Note, "Note", "Note", note(), Allowed),
    ]
}

/// A Person with a misspelled company: it is looked up live, and then the nearest name is searched.
pub(crate) fn misspelled() -> Case {
    Case {
        id: Id::Refusal,
        title: "Person whose company is misspelled",
        kind: "Person",
        spec: person("compamy-"),
        verdict: Verdict::Refused(1),
        numbers: |companies| Numbers::Scattered(companies.max(1)),
        delay: Duration::ZERO,
    }
}

pub(crate) fn messy_company() -> Value {
    json!({
        "displayName": "Acme Corporation",
        "domains": ["HTTPS://www.Acme.com/", "acme.io"],
        "description": "Makes everything that a coyote could need.",
        "linkedinProfile": "www.linkedin.com/company/Acme-Corp/about/",
    })
}

pub(crate) fn clean_company() -> Value {
    json!({
        "displayName": "Acme Corporation",
        "domains": ["acme.com", "acme.io"],
        "description": "Makes everything that a coyote could need.",
        "linkedinProfile": "https://linkedin.com/company/acme-corp",
        "creatorRef": {"name": "alice"},
    })
}

fn hopeless_company() -> Value {
    json!({
        "displayName": " ",
        "domains": ["co.uk", "a b"],
        "linkedinProfile": "x",
        "creatorRef": {"name": "/"},
    })
}

fn person(company: &str) -> Value {
    person_at(&format!("{company}{SLOT}"))
}

pub(crate) fn person_at(company: &str) -> Value {
    json!({
        "displayName": "Wile E. Coyote",
        "jobTitle": "Head of Product Testing",
        "linkedinProfile": "https://linkedin.com/in/wile-coyote",
        "companyRef": {"name": company},
        "creatorRef": {"name": "alice"},
    })
}

fn note() -> Value {
    json!({
        "subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": format!("company-{SLOT}")},
        "content": "Called about deliveries. They want a quote for a yearly contract.",
        "interactionTime": "2026-10-05T14:30:00Z",
        "followUp": true,
        "nextAction": "Send the quote",
        "creatorRef": {"name": "alice"},
    })
}

/// A review of a create, with all fields that an API server sends.
fn review(kind: &str, spec: &Value) -> Value {
    let plural = match kind {
        "Company" => "companies",
        "Person" => "people",
        _ => "notes",
    };
    let kind_of = json!({"group": "crm.milo.io", "version": "v1alpha1", "kind": kind});
    let resource = json!({"group": "crm.milo.io", "version": "v1alpha1", "resource": plural});
    let fields: serde_json::Map<String, Value> =
        spec.as_object().unwrap().keys().map(|field| (format!("f:{field}"), json!({}))).collect();
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "8f6f4a5e-5b0d-4d53-a9b1-0c9c6a1f7e21",
            "kind": kind_of,
            "resource": resource,
            "requestKind": kind_of,
            "requestResource": resource,
            "name": "wile-coyote",
            "operation": "CREATE",
            "userInfo": {
                "username": "alice",
                "uid": "alice",
                "groups": ["crm-editors", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=7c41f0"]},
            },
            "object": {
                "apiVersion": "crm.milo.io/v1alpha1",
                "kind": kind,
                "metadata": {
                    "name": "wile-coyote",
                    "uid": "0d2b8d0b-4a55-4f8e-8a53-0f6c2e1b9a77",
                    "creationTimestamp": "2026-11-01T09:30:00Z",
                    "generation": 1,
                    "labels": {"crm.milo.io/source": "referral"},
                    "managedFields": [{
                        "apiVersion": "crm.milo.io/v1alpha1",
                        "fieldsType": "FieldsV1",
                        "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:crm.milo.io/source": {}}}, "f:spec": fields},
                        "manager": "kubectl-create",
                        "operation": "Update",
                        "time": "2026-11-01T09:30:00Z",
                    }],
                },
                "spec": spec,
            },
            "oldObject": null,
            "dryRun": false,
            "options": {
                "kind": "CreateOptions",
                "apiVersion": "meta.k8s.io/v1",
                "fieldManager": "kubectl-create",
                "fieldValidation": "Strict",
            },
        },
    })
}
