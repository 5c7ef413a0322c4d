//! Tests properties with random objects: every object gets an answer, and a second mutation changes nothing.

use crate::common::specs::{kind, plausible, spec};
use crate::common::{create, pipeline_with, update};
use crm_core::policy::Policy;
use proptest::prelude::*;
use serde_json::json;

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
