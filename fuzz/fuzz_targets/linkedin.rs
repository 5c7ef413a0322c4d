//! Normalizes any string as a LinkedIn address; a canonical address is a fixed point of exactly one kind of profile.
#![no_main]

use std::borrow::Cow;
use std::sync::LazyLock;

use crm_core::characters::is_invisible;
use crm_core::normalize::{
    CANONICAL_LINKEDIN_PATTERN, Code, Field, NOT_CERTAIN_LINKEDIN_PATTERN, ProfileKind, linkedin_profile,
};
use libfuzzer_sys::{Corpus, fuzz_target};
use regex::Regex;
use url::Url;

static CANONICAL: LazyLock<Regex> = LazyLock::new(|| Regex::new(CANONICAL_LINKEDIN_PATTERN).unwrap());
static NOT_CERTAIN: LazyLock<Regex> = LazyLock::new(|| Regex::new(NOT_CERTAIN_LINKEDIN_PATTERN).unwrap());

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(text) else { return Corpus::Reject };
    for (kind, other) in
        [(ProfileKind::Person, ProfileKind::Company), (ProfileKind::Company, ProfileKind::Person)]
    {
        match linkedin_profile(text, kind) {
            Ok(address) => {
                let is_certain = CANONICAL.is_match(text) && !NOT_CERTAIN.is_match(text);
                assert!(!is_certain || address == text, "{text:?}");
                check(&address, kind, other);
            }
            Err(invalid) => {
                let text = invalid.text(Field::LinkedinProfile(kind));
                assert!(!text.contains(|c: char| c.is_control() || is_invisible(c)), "{text:?}");
            }
        }
    }
    Corpus::Keep
});

fn check(address: &str, kind: ProfileKind, other: ProfileKind) {
    assert!(CANONICAL.is_match(address) && address.len() <= 2048, "{address}");
    assert!(
        matches!(linkedin_profile(address, kind), Ok(Cow::Borrowed(again)) if again == address),
        "{address}"
    );
    let as_other = linkedin_profile(address, other).map_err(|invalid| invalid.code());
    assert_eq!(as_other, Err(Code::WrongKind), "{address}");
    assert_eq!(Url::parse(address).unwrap().as_str(), address);
    let bare = address.trim_start_matches("https://");
    for spelling in [format!(" {bare}/ "), format!("http://WWW.{bare}?x=%zz#/../")] {
        let again = linkedin_profile(&spelling, kind).map_err(|invalid| invalid.code());
        assert!(
            again == Ok(Cow::Borrowed(address)) || again == Err(Code::TooLong),
            "{spelling:?}: {again:?}"
        );
    }
}
