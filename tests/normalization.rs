//! Tests normalization with its published vectors, and its properties with random input.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;
use std::thread;

use crm_core::normalize::{
    self, CANONICAL_DOMAIN_PATTERN, CANONICAL_LINKEDIN_PATTERN, Code, DomainLists, Field, Invalid,
    NOT_CERTAIN_DOMAIN_PATTERN, NOT_CERTAIN_LINKEDIN_PATTERN, ProfileKind,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use regex::Regex;
use serde::Deserialize;
use url::Url;

const KINDS: [ProfileKind; 2] = [ProfileKind::Person, ProfileKind::Company];

static LISTS: LazyLock<DomainLists> = LazyLock::new(DomainLists::default);
static CANONICAL_DOMAIN: LazyLock<Regex> = LazyLock::new(|| Regex::new(CANONICAL_DOMAIN_PATTERN).unwrap());
static CANONICAL_LINKEDIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(CANONICAL_LINKEDIN_PATTERN).unwrap());
static NOT_CERTAIN_DOMAIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(NOT_CERTAIN_DOMAIN_PATTERN).unwrap());
static NOT_CERTAIN_LINKEDIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(NOT_CERTAIN_LINKEDIN_PATTERN).unwrap());

/// One line of a vector file: an input, and either its canonical value or its reason code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    input: String,
    kind: Option<Kind>,
    expect: Option<String>,
    reject: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum Kind {
    Person,
    Company,
}

impl From<Kind> for ProfileKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Person => ProfileKind::Person,
            Kind::Company => ProfileKind::Company,
        }
    }
}

type Normalized<'a> = Result<Cow<'a, str>, Code>;

/// A domain under the lists of the built-in policy.
fn domain(input: &str) -> Normalized<'_> {
    normalize::domain(input, &LISTS).map_err(Invalid::code)
}

fn linkedin_profile(input: &str, kind: ProfileKind) -> Normalized<'_> {
    normalize::linkedin_profile(input, kind).map_err(Invalid::code)
}

/// Runs every vector of `file` and reports all that fail, not only the first.
fn check_vectors(file: &str, normalize: fn(&Vector) -> Normalized<'_>) {
    let mut failures = String::new();
    let mut count = 0;
    for (index, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        let vector: Vector =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("line {number}: {error}: {line}"));
        let expected = match (&vector.expect, &vector.reject) {
            (Some(value), None) => Ok(value.as_str()),
            (None, Some(code)) => Err(code.as_str()),
            _ => panic!("line {number}: needs either expect or reject: {line}"),
        };
        let result = normalize(&vector);
        let got = result.as_deref().map_err(|code| code.as_str());
        if got != expected {
            let input = &vector.input;
            writeln!(failures, "line {number}: {input:?}\n  expected {expected:?}\n  got      {got:?}")
                .unwrap();
        }
        count += 1;
    }
    assert!(count > 0, "the file has no vectors");
    assert!(failures.is_empty(), "of {count} vectors, these fail:\n{failures}");
}

#[test]
fn domains_normalize_as_in_the_vectors() {
    check_vectors(include_str!("vectors/domains.jsonl"), |vector| domain(&vector.input));
}

#[test]
fn linkedin_profiles_normalize_as_in_the_vectors() {
    check_vectors(include_str!("vectors/linkedin.jsonl"), |vector| {
        let kind = vector.kind.expect("a LinkedIn vector has a kind");
        linkedin_profile(&vector.input, kind.into())
    });
}

#[test]
fn every_vector_has_the_properties() {
    let files = [include_str!("vectors/domains.jsonl"), include_str!("vectors/linkedin.jsonl")];
    for line in files.iter().flat_map(|file| file.lines()) {
        let vector: Vector = serde_json::from_str(line).unwrap();
        check_input(&vector.input).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// Checks the properties that the results must have for any input.
fn check_input(input: &str) -> TestCaseResult {
    check_determinism(input)?;
    check_shown(input)?;
    check_certain(input)?;
    if let Ok(name) = domain(input) {
        check_canonical_domain(&name)?;
    }
    if let Err(invalid) = normalize::domain(input, &LISTS) {
        check_text(&invalid.text(Field::Domain))?;
    }
    for kind in KINDS {
        if let Err(invalid) = normalize::linkedin_profile(input, kind) {
            check_text(&invalid.text(Field::LinkedinProfile(kind)))?;
        }
        if let Ok(address) = linkedin_profile(input, kind) {
            check_canonical_linkedin(&address, kind)?;
        }
    }
    Ok(())
}

/// A value of which the patterns are certain is not changed, whatever the lists of a policy say. The registration leaves
/// such values out.
fn check_certain(input: &str) -> TestCaseResult {
    if is_certain_domain(input) {
        let mut owned = DomainLists::default();
        owned.owned.insert(input.to_owned());
        let none = DomainLists { owned: [].into(), shared_hosts: [].into(), mail_providers: [].into() };
        for lists in [&LISTS, &owned, &none] {
            let result = normalize::domain(input, lists).map_err(Invalid::code);
            prop_assert!(result.is_err() || result.as_deref() == Ok(input), "{input:?}");
        }
    }
    if CANONICAL_LINKEDIN.is_match(input) && !NOT_CERTAIN_LINKEDIN.is_match(input) {
        for kind in KINDS {
            let result = linkedin_profile(input, kind);
            prop_assert!(result.is_err() || result.as_deref() == Ok(input), "{input:?}");
        }
    }
    Ok(())
}

fn is_certain_domain(input: &str) -> bool {
    CANONICAL_DOMAIN.is_match(input) && !NOT_CERTAIN_DOMAIN.is_match(input)
}

/// The text about an invalid value is one line without the character as it is.
fn check_text(text: &str) -> TestCaseResult {
    prop_assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace() && c != ' '), "{text:?}");
    prop_assert!(!text.contains(crm_core::characters::is_invisible), "{text:?}");
    Ok(())
}

/// Of an address with a user before it, only the host at its end may be shown.
fn check_shown(input: &str) -> TestCaseResult {
    if let Some(host) = normalize::host_after_user(input) {
        let at = input.rfind('@').map(|at| &input[at + 1..]);
        prop_assert!(at.is_some_and(|rest| rest.starts_with(host)), "{input:?} shows {host:?}");
        prop_assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)));
    }
    Ok(())
}

/// The result depends only on the input, not on earlier calls or on the thread.
fn check_determinism(input: &str) -> TestCaseResult {
    let run = || (domain(input), KINDS.map(|kind| linkedin_profile(input, kind)));
    let first = run();
    prop_assert_eq!(&first, &run());
    let elsewhere = thread::scope(|scope| scope.spawn(run).join());
    prop_assert_eq!(Some(&first), elsewhere.as_ref().ok());
    Ok(())
}

fn check_gives(input: &str, result: Normalized<'_>, expected: &str) -> TestCaseResult {
    let got = result.as_deref();
    prop_assert_eq!(got, Ok(expected), "{:?}", input);
    Ok(())
}

fn check_canonical_domain(name: &str) -> TestCaseResult {
    prop_assert!(CANONICAL_DOMAIN.is_match(name), "{name} does not match the pattern");
    prop_assert!(name.len() <= 253, "{name} is too long");
    check_gives(name, domain(name), name)?;
    prop_assert!(matches!(domain(name), Ok(Cow::Borrowed(_))), "{name} is allocated again");
    if let Some(unicode) = normalize::unicode_form(name) {
        check_gives(&unicode, domain(&unicode), name)?;
    }

    // URL parsers read the same name, and no IP address.
    let url = Url::parse(&format!("https://{name}/"));
    prop_assert_eq!(url.as_ref().ok().and_then(Url::domain), Some(name));

    // Equivalent spellings have the same result.
    for decorated in [
        format!("https://{name}"),
        format!(" HTTP://{name}:8080/?#x=/y?z\n"),
        format!("//{name}.:443///"),
        name.to_ascii_uppercase(),
    ] {
        check_gives(&decorated, domain(&decorated), name)?;
    }
    let with_www = format!("www.{name}");
    if with_www.len() <= 253 {
        check_gives(&with_www, domain(&with_www), name)?;
    }
    Ok(())
}

fn check_canonical_linkedin(address: &str, kind: ProfileKind) -> TestCaseResult {
    prop_assert!(CANONICAL_LINKEDIN.is_match(address), "{address} does not match the pattern");
    prop_assert!(address.len() <= 2048, "{address} is too long");
    check_gives(address, linkedin_profile(address, kind), address)?;
    prop_assert!(
        matches!(linkedin_profile(address, kind), Ok(Cow::Borrowed(_))),
        "{address} is allocated again"
    );

    // No profile belongs to both a person and an organization.
    for other in KINDS.into_iter().filter(|other| *other != kind) {
        prop_assert_eq!(linkedin_profile(address, other), Err(Code::WrongKind));
    }

    // URL parsers read it unchanged.
    let url = Url::parse(address);
    prop_assert_eq!(url.as_ref().ok().map(Url::as_str), Some(address));

    // Equivalent spellings have the same result.
    let bare = address.trim_start_matches("https://");
    for decorated in [
        format!(" {bare}/ "),
        format!("http://WWW.{bare}?x=%zz#/../"),
        format!("//m.{bare}//about/%ff"),
        address.replacen("linkedin.com/", "uk.LinkedIn.com.:443/mwlite/", 1),
    ] {
        check_gives(&decorated, linkedin_profile(&decorated, kind), address)?;
    }
    Ok(())
}

/// Fragments that some step or another parser treats specially.
const FRAGMENTS: &[&str] = &[
    "http://",
    "https://",
    "HTTPS://",
    "//",
    "https:",
    "ftp://",
    "mailto:",
    "javascript:",
    ":",
    "/",
    "//",
    "\\",
    "?",
    "#",
    "@",
    "*",
    "[",
    "]",
    "[::1]",
    "::1",
    "www.",
    "WWW.",
    "www",
    "www。",
    "m.",
    "uk.",
    ".",
    "..",
    "。",
    "．",
    "-",
    "--",
    "_",
    "%",
    "%2e",
    "%2E",
    "%2F",
    "%25",
    "%00",
    "%20",
    "%ff",
    "%C3%A9",
    "%cc%88",
    "%e2%80%8b",
    ":80",
    ":443",
    ":",
    ":65536",
    ":+80",
    ":80:80",
    "/in/",
    "/In/",
    "/company/",
    "/company-beta/",
    "/school/",
    "/showcase/",
    "/m/",
    "/mwlite/",
    "/comm",
    "/../",
    "/./",
    "/pub/",
    "/me",
    "unavailable",
    "linkedin.com",
    "LinkedIn.com",
    "lnkd.in",
    "lin\u{212A}edin.com",
    "facebook.com",
    "linktr.ee",
    "x.com",
    "acme",
    "Acme",
    "acme.com",
    "com",
    "co.uk",
    ".ck",
    "github.io",
    "xn--",
    "xn--bcher-kva",
    "xn--a",
    "bücher",
    "bu\u{308}cher",
    "faß",
    "食狮",
    "公司",
    ".cn",
    "ａｃｍｅ",
    "①",
    "℀",
    "א",
    "\u{5D0}\u{5D1}",
    "١",
    "0x7f",
    "0x",
    "127.0.0.1",
    "1",
    "08",
    "☃",
    "🚀",
    "👨\u{200D}🏫",
    "\u{200C}",
    "\u{200D}",
    "\u{200B}",
    "\u{AD}",
    "\u{FEFF}",
    "\u{202E}",
    "\u{2060}",
    "\u{301}",
    "\u{345}",
    "\u{338}",
    "\u{FFFD}",
    "\u{3000}",
    "\u{A0}",
    " ",
    "\t",
    "\n",
    "\0",
    "\u{7F}",
    "\u{85}",
    "İ",
    "ı",
    "ΑΣ",
    "\u{212A}",
    "\u{1E9E}",
    "\u{37E}",
    "<",
    ">",
    "=",
    "\"",
    "'",
    "(",
    ")",
    ",",
    ";",
    "&",
    "~",
    "+",
    "!",
    "$",
    "ACoAABx7Qk2mZ9_pLr4TdW-uYv8NbHs3JfGc6Ea",
    "AC",
    "a",
    "Z",
    "jane-roe",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(FRAGMENTS).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

fn hostile(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..most).prop_map(|fragments| fragments.concat())
}

/// A label that is usually valid, in ASCII or other scripts.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z0-9]([a-zA-Z0-9-]{0,12}[a-zA-Z0-9])?",
        2 => "[a-zäöüßéøœñ]{1,10}",
        2 => "[а-яА-Я]{1,10}",
        1 => "[\u{5D0}-\u{5EA}]{1,8}",
        1 => "[぀-ヿ一-鿿]{1,8}",
        1 => "[a-z0-9]{50,64}",
        1 => "\\PC{1,6}",
        2 => prop::sample::select(&["www", "com", "uk", "co", "ck", "example", "xn--bcher-kva"][..])
            .prop_map(str::to_owned),
    ]
}

fn near_domain() -> impl Strategy<Value = String> {
    let labels = prop::collection::vec(label(), 1..6).prop_map(|labels| labels.join("."));
    let front = prop::sample::select(&["", "", "www.", "https://", "HTTP://www.", "//", " "][..]);
    let end = prop::sample::select(&["", "", ".", "/", ":443", ".:80/x?y#z", "\u{200B}"][..]);
    (front, labels, end).prop_map(|(front, labels, end)| format!("{front}{labels}{end}"))
}

fn near_profile() -> impl Strategy<Value = String> {
    let host = prop::sample::select(
        &["linkedin.com", "https://www.linkedin.com", "http://UK.linkedin.com:80", "//m.LinkedIn.com."][..],
    );
    let page =
        prop::sample::select(&["/in/", "/In/", "/m/in/", "/company/", "/company-beta/", "//school/"][..]);
    let slug = prop_oneof![
        2 => "[a-zA-Z0-9._~-]{1,20}",
        2 => "[a-zA-ZÀ-ʯΑ-ωЀ-я\u{300}-\u{345}ꙀꙂᲐႠİẞΩÅ-]{1,20}",
        1 => "AC[ow]AA[A-Za-z0-9_-]{33,35}",
        1 => "(%[0-9a-fA-F]{2}){1,6}",
        1 => "\\PC{1,160}",
        2 => hostile(5),
    ];
    (host, page, slug, hostile(3)).prop_map(|(host, page, slug, end)| format!("{host}{page}{slug}{end}"))
}

/// Strings that match a pattern from `^` to `$`.
fn matching(pattern: &str) -> impl Strategy<Value = String> {
    let whole = pattern.strip_prefix('^').and_then(|pattern| pattern.strip_suffix('$'));
    prop::string::string_regex(whole.expect("a pattern of a whole string")).expect("a pattern")
}

proptest! {
    // Seeds of failures are not stored in files: write a named test for an input that fails.
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_string_has_the_properties(input in any::<String>()) {
        check_input(&input)?;
    }

    #[test]
    fn any_long_string_has_the_properties(input in hostile(600)) {
        check_input(&input)?;
    }

    #[test]
    fn hostile_strings_have_the_properties(input in hostile(9)) {
        check_input(&input)?;
    }

    #[test]
    fn near_domains_have_the_properties(input in near_domain()) {
        check_input(&input)?;
    }

    #[test]
    fn near_profiles_have_the_properties(input in near_profile()) {
        check_input(&input)?;
    }

    #[test]
    fn values_in_canonical_form_stay_if_they_are_certain(
        domain in matching(CANONICAL_DOMAIN_PATTERN),
        address in matching(CANONICAL_LINKEDIN_PATTERN),
    ) {
        check_certain(&domain)?;
        check_certain(&address)?;
        // Most such addresses have a letter or an escape that is not certain.
        check_certain(&address.to_ascii_lowercase().replace('%', "-"))?;
    }
}

#[test]
fn the_properties_are_checked_on_enough_results() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut names = 0;
    let mut addresses = 0;
    let mut certain = 0;
    for _ in 0..500 {
        let input = matching(CANONICAL_DOMAIN_PATTERN).new_tree(&mut runner).unwrap().current();
        certain += usize::from(is_certain_domain(&input) && domain(&input).is_ok());
        let input = near_domain().new_tree(&mut runner).unwrap().current();
        names += usize::from(domain(&input).is_ok());
        let input = near_profile().new_tree(&mut runner).unwrap().current();
        addresses += usize::from(KINDS.iter().any(|kind| linkedin_profile(&input, *kind).is_ok()));
    }
    assert!(certain > 100, "{certain} of 500 domains in canonical form are certain and accepted");
    assert!(names > 100, "{names} of 500 near-domains are accepted");
    assert!(addresses > 100, "{addresses} of 500 near-profiles are accepted");
}
