//! Strategies for the specs of records, valid and invalid.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several programs, none of which uses everything"
)]
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Strings, some of which a rule treats specially.
fn text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "",
        " ",
        "Acme",
        " Acme ",
        "acme.com",
        "HTTPS://www.Acme.com/x?y#z",
        "co.uk",
        "a@b.c",
        "www.www.example.org",
        "bücher.example",
        "linkedin.com/in/Jane-Doe/",
        "https://linkedin.com/company/acme",
        "LinkedIn.com/school/x",
        "acme-corp",
        "acme-crop",
        "jane-doe",
        "leaving",
        "../x",
        "Company",
        "company",
        "Person",
        "crm.milo.io",
        "alice",
        "2999-01-01T00:00:00Z",
        "2001-01-01T00:00:00Z",
        "not a time",
        "a\u{0}b",
        "a\u{202e}b",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

/// Any JSON value, most often a string.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => text().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let field = prop::sample::select(vec!["name", "kind", "apiGroup", "namespace", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((field, inner), 0..5).prop_map(|fields| fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

/// A spec with any of the fields that rules check, each with any value.
pub fn spec() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        "displayName",
        "domains",
        "linkedinProfile",
        "creatorRef",
        "companyRef",
        "userRef",
        "organizationRef",
        "subjectRef",
        "content",
        "interactionTime",
        "nextActionTime",
        "unknown",
    ]);
    prop::collection::vec((field, value()), 0..9).prop_map(|fields| {
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
    })
}

/// A spec that is often valid.
pub fn plausible() -> impl Strategy<Value = Value> {
    (spec(), prop::collection::vec(text(), 0..5)).prop_map(|(mut spec, domains)| {
        spec["displayName"] = json!(" Acme ");
        spec["domains"] = json!(domains.into_iter().filter(|text| text.contains(".com")).collect::<Vec<_>>());
        for field in ["companyRef", "userRef", "organizationRef", "linkedinProfile", "creatorRef"] {
            spec[field] = Value::Null;
        }
        spec
    })
}

pub fn kind() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Company", "Person", "Note"])
}

/// A complete and canonical spec for a record of this kind.
pub fn complete(kind: &str) -> Value {
    let creator = json!({"name": "zoe"});
    match kind {
        "Company" => json!({
            "displayName": "Acme", "domains": ["acme.com", "acme.io"],
            "linkedinProfile": "https://linkedin.com/company/acme", "creatorRef": creator,
        }),
        "Person" => json!({
            "displayName": "Jane Doe", "linkedinProfile": "https://linkedin.com/in/jane-doe",
            "companyRef": {"name": "acme-corp"}, "creatorRef": creator,
        }),
        _ => json!({
            "subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp"},
            "content": "Called.", "creatorRef": creator,
        }),
    }
}

/// A complete and canonical spec of this kind, in which up to two fields were replaced by any value or are missing.
pub fn disturbed(kind: &'static str) -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        "displayName",
        "domains",
        "linkedinProfile",
        "creatorRef",
        "companyRef",
        "subjectRef",
        "content",
        "unknown",
    ]);
    let other = prop_oneof![
        2 => text().prop_map(|text| Some(text.into())),
        2 => prop::collection::vec(text(), 0..4).prop_map(|texts| Some(texts.into())),
        2 => text().prop_map(|name| Some(json!({"name": name}))),
        2 => text().prop_map(|kind| Some(json!({"kind": kind, "name": "acme-corp"}))),
        1 => Just(None),
        2 => value().prop_map(Some),
    ];
    prop::collection::vec((field, other), 0..3).prop_map(move |replaced| {
        let mut spec = complete(kind);
        let fields = spec.as_object_mut().unwrap();
        for (field, value) in replaced {
            match value {
                Some(value) => fields.insert(field.to_owned(), value),
                None => fields.remove(field),
            };
        }
        spec
    })
}
