//! Tests properties with random objects: every object gets an answer, and a second mutation changes nothing.

use crate::common::{create, pipeline_with, update};
use crm_core::policy::Policy;
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
fn spec() -> impl Strategy<Value = Value> {
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
fn plausible() -> impl Strategy<Value = Value> {
    (spec(), prop::collection::vec(text(), 0..5)).prop_map(|(mut spec, domains)| {
        spec["displayName"] = json!(" Acme ");
        spec["domains"] = json!(domains.into_iter().filter(|text| text.contains(".com")).collect::<Vec<_>>());
        for field in ["companyRef", "userRef", "organizationRef", "linkedinProfile", "creatorRef"] {
            spec[field] = Value::Null;
        }
        spec
    })
}

fn kind() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Company", "Person", "Note"])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_object_gets_an_answer_that_is_the_same_each_time(kind in kind(), spec in spec()) {
        let pipeline = pipeline_with(Policy::default());
        let ask = create(kind, spec);
        let first = ask.clone().put_to(&pipeline);
        prop_assert_eq!(&first.review, &ask.clone().put_to(&pipeline).review);
        prop_assert_eq!(first.is_allowed(), first.causes().is_empty(), "a denial has causes");
        ask.validate().put_to(&pipeline);
    }

    #[test]
    fn a_mutated_object_needs_no_other_mutation_and_is_valid(kind in kind(), spec in prop_oneof![spec(), plausible()]) {
        let pipeline = pipeline_with(Policy::default());
        let first = create(kind, spec).put_to(&pipeline);
        if first.is_allowed() {
            let patched = first.patched()["spec"].clone();
            let again = create(kind, patched.clone()).put_to(&pipeline);
            prop_assert!(again.is_allowed() && again.patch().is_empty(), "{}", again.review);
            let judged = create(kind, patched).validate().put_to(&pipeline);
            prop_assert!(judged.is_allowed(), "{:#?}", judged.causes());
        }
    }

    #[test]
    fn an_update_that_only_changes_unchecked_fields_is_never_denied(kind in kind(), spec in spec()) {
        let pipeline = pipeline_with(Policy::default());
        let mut edited = spec.clone();
        edited["description"] = json!("edited");
        let ask = update(kind, spec, edited);
        for ask in [ask.clone(), ask.validate()] {
            let answer = ask.put_to(&pipeline);
            // A field that is missing in both objects is restored or reported, and never a reason to deny.
            prop_assert!(answer.is_allowed(), "{:#?}", answer.causes());
        }
    }
}
