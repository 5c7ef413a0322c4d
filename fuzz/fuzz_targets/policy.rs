//! Compiles a policy document; what compiles, shown and compiled again, is the same policy.
#![no_main]

use std::sync::LazyLock;

use crm_core::catalog::rules;
use crm_core::policy::{compile, document};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde_json::Value;

/// Strings that mean something in a policy.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let settings = "Deny Warn Audit Disabled Enforce Skip Allow Normalize RequireCanonical CacheThenLive Live \
        Company Person Note username uid acme.com github.io crm.milo.io/team 2027-01-15T00:00:00Z ^(.+)@acme\\.com$";
    rules().iter().map(|rule| rule.id.as_str()).chain(settings.split_whitespace()).collect()
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    crm_admission_fuzz::mutate_json(data, size, max_size, seed, &WORDS)
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
