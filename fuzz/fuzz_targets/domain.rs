//! Normalizes any string as a domain; a canonical name is a fixed point.
#![no_main]

use std::borrow::Cow;
use std::sync::LazyLock;

use crm_core::characters::is_invisible;
use crm_core::normalize::{
    CANONICAL_DOMAIN_PATTERN, Code, DomainLists, Field, NOT_CERTAIN_DOMAIN_PATTERN, domain, domain_hint,
    domain_name, host_after_user, unicode_form,
};
use libfuzzer_sys::{Corpus, fuzz_target};
use regex::Regex;
use url::Url;

static LISTS: LazyLock<DomainLists> = LazyLock::new(DomainLists::default);
static CANONICAL: LazyLock<Regex> = LazyLock::new(|| Regex::new(CANONICAL_DOMAIN_PATTERN).unwrap());
static NOT_CERTAIN: LazyLock<Regex> = LazyLock::new(|| Regex::new(NOT_CERTAIN_DOMAIN_PATTERN).unwrap());

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(text) else { return Corpus::Reject };
    if let Some(host) = host_after_user(text) {
        assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)), "{host:?}");
    }
    match domain(text, &LISTS) {
        Ok(name) => {
            let is_certain = CANONICAL.is_match(text) && !NOT_CERTAIN.is_match(text);
            assert!(!is_certain || name == text, "{text:?}");
            check(&name);
            assert_eq!(domain_name(text).as_deref(), Ok(name.as_ref()));
        }
        Err(invalid) => {
            let text = invalid.text(Field::Domain);
            assert!(!text.contains(|c: char| c.is_control() || is_invisible(c)), "{text:?}");
        }
    }
    Corpus::Keep
});

fn check(name: &str) {
    assert!(CANONICAL.is_match(name) && name.len() <= 253, "{name}");
    assert!(matches!(domain(name, &LISTS), Ok(Cow::Borrowed(again)) if again == name), "{name}");
    assert_eq!(Url::parse(&format!("https://{name}/")).unwrap().domain(), Some(name));
    let spellings = [format!(" HTTP://{name}:8080/?#x\n"), name.to_ascii_uppercase()];
    for spelling in spellings.into_iter().chain(unicode_form(name)) {
        let again = domain(&spelling, &LISTS).map_err(|invalid| invalid.code());
        assert!(again == Ok(Cow::Borrowed(name)) || again == Err(Code::TooLong), "{spelling:?}: {again:?}");
    }
    if let Some(hint) = domain_hint(name, &LISTS) {
        assert!(!hint.as_str().is_empty() && !hint.text().is_empty());
    }
}
