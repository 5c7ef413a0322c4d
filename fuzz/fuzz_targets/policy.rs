//! Compiles a policy document; what compiles, shown and compiled again, is the same policy.
#![no_main]

use crm_core::policy::{compile, document};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    crm_admission_fuzz::mutate_json(data, size, max_size, seed)
});

fuzz_target!(|json: &[u8]| -> Corpus {
    let Ok(given) = serde_json::from_slice::<Value>(json) else { return Corpus::Reject };
    match compile(&given, "fuzz") {
        Ok(policy) => {
            let shown = document(&policy);
            let again = compile(&shown, "fuzz").unwrap_or_else(|problems| panic!("{problems}: {shown}"));
            assert_eq!(document(&again), shown);
            // A regular expression has no equality, but its debug form has its pattern.
            assert_eq!(format!("{again:?}"), format!("{policy:?}"));
        }
        Err(problems) => assert!(!problems.0.is_empty() && !problems.to_string().is_empty()),
    }
    Corpus::Keep
});
