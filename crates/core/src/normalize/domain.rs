//! Normalizes domains to lower-case ASCII names (`D1`–`D15`).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::code::{Code, Detail, Invalid};
use super::lists::{DomainLists, is_within};
use super::shared::{self, Address, Scheme};

/// The maximum number of characters of a name, without a trailing dot (`D9`).
const MAX_NAME: usize = 253;

/// The maximum number of characters of a label (`D9`).
const MAX_LABEL: usize = 63;

/// The canonical value of one domain: a lower-case ASCII name of two or more labels, without scheme, `www.`,
/// port, path or trailing dot. A canonical domain is returned unchanged.
///
/// The result borrows from `input` if it is a part of it (`https://acme.com/` gives a borrowed `acme.com`). To find out
/// whether the value changed, compare the two.
///
/// # Errors
/// The first step of the normalization contract (section 2) that fails.
pub fn domain<'a>(input: &'a str, lists: &DomainLists) -> Result<Cow<'a, str>, Invalid> {
    let (name, names_page) = read(input)?;
    if lists.owned.contains(name.as_ref()) {
        return Ok(name);
    }
    if is_icann_suffix(&name) {
        return Err(Code::PublicSuffix.into()); // D13
    }
    if names_page && is_within(&name, &lists.shared_hosts) {
        return Err(Code::SharedHost.into()); // D14
    }
    Ok(name)
}

/// The canonical name of a domain whoever owns it, even of a public suffix or a shared site (`D1` to `D12`).
///
/// # Errors
/// The first of these steps that fails.
pub fn domain_name(input: &str) -> Result<Cow<'_, str>, Invalid> {
    read(input).map(|(name, _)| name)
}

/// The name in Unicode if it has A-labels: `bücher.example` for `xn--bcher-kva.example`. `None` also if the Unicode form is
/// not read as the same name.
pub fn unicode_form(name: &str) -> Option<String> {
    if !name.contains("xn--") {
        return None;
    }
    let (unicode, result) = Uts46::new().to_unicode(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow);
    // Some forms are read as another name, such as a label that begins with `xn--` again.
    let is_the_same = || to_ascii(&unicode).is_ok_and(|again| again == name);
    (result.is_ok() && unicode != name && is_the_same()).then(|| unicode.into_owned())
}

/// Steps `D1` to `D12`: the name, and whether the input names a page of it.
fn read(input: &str) -> Result<(Cow<'_, str>, bool), Invalid> {
    let address = shared::read(input)?; // D1
    check_user(&address)?;
    let host = host(address.authority)?;
    check_characters(host)?;
    let name = match to_ascii(host)? {
        Cow::Borrowed(ascii) => name(ascii).map(Cow::Borrowed),
        Cow::Owned(ascii) => name(&ascii).map(|name| Cow::Owned(name.to_owned())),
    };
    // A query without a slash in front of it belongs to no page: `github.com?tab=x`.
    let has_query = !address.path.is_empty() && !address.query.is_empty();
    Ok((name?, has_query || address.path.contains(|c| c != '/')))
}

/// Step `D2`.
fn check_user(address: &Address<'_>) -> Result<(), Code> {
    if !address.authority.contains('@') {
        return Ok(());
    }
    match address.scheme {
        Scheme::Implied => Err(Code::Email),
        Scheme::Http | Scheme::Https => Err(Code::Userinfo),
    }
}

/// Step `D3`: the authority without its port.
fn host(authority: &str) -> Result<&str, Invalid> {
    if let Some(rest) = authority.strip_prefix('[') {
        let is_address = rest.split_once(']').is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
        let markdown = Invalid::with_detail(Code::IpAddress, Detail::Bracket);
        return Err(if is_address { Code::IpAddress.into() } else { markdown });
    }
    let host = match authority.split_once(':') {
        None => authority,
        Some((_, rest)) if rest.contains(':') => {
            let is_address = authority.parse::<Ipv6Addr>().is_ok();
            return Err(if is_address { Code::IpAddress } else { Code::BadPort }.into());
        }
        Some((host, port)) if is_port(port) => host,
        Some(_) => return Err(Code::BadPort.into()),
    };
    if host.is_empty() { Err(Code::Empty.into()) } else { Ok(host) }
}

/// Whether `text` is a valid port: empty, or 1–5 digits with a value of at most 65535.
fn is_port(text: &str) -> bool {
    // The digits are checked separately, because `u16` also parses a leading `+` and any number of zeros.
    text.is_empty()
        || text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Steps `D4` and `D5`.
fn check_characters(host: &str) -> Result<(), Invalid> {
    if host.contains('*') {
        return Err(Code::Wildcard.into());
    }
    let is_bad = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'.' | b'-');
    match host.bytes().find(is_bad) {
        Some(byte) => Err(Invalid::character(Code::BadChar, char::from(byte))),
        None => Ok(()),
    }
}

/// Step `D6`. `D8` and `D9` check hyphens and lengths, because they have their own codes.
fn to_ascii(host: &str) -> Result<Cow<'_, str>, Code> {
    Uts46::new()
        .to_ascii(host.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| Code::BadIdn)
}

/// Steps `D7` to `D12`: the name from the A-labels of `D6`.
fn name(ascii: &str) -> Result<&str, Code> {
    let name = ascii.strip_suffix('.').unwrap_or(ascii); // D7
    check_labels(name)?;
    Ok(without_www(name))
}

/// Steps `D7` to `D11`. The first failing step determines the code, and each is about all labels. So what later steps
/// need is noted while the labels are read.
fn check_labels(name: &str) -> Result<(), Code> {
    let (mut count, mut last) = (0, &[][..]);
    let (mut has_outer_hyphen, mut has_long) = (false, false);
    for label in name.as_bytes().split(|byte| *byte == b'.') {
        if label.is_empty() {
            return Err(Code::EmptyLabel); // D7
        }
        has_outer_hyphen |= label.starts_with(b"-") || label.ends_with(b"-");
        has_long |= label.len() > MAX_LABEL;
        count += 1;
        last = label;
    }
    if has_outer_hyphen {
        return Err(Code::BadHyphen); // D8
    }
    if has_long || name.len() > MAX_NAME {
        return Err(Code::TooLong); // D9
    }
    if is_number(last) {
        return Err(Code::IpAddress); // D10
    }
    if count < 2 {
        return Err(Code::SingleLabel); // D11
    }
    Ok(())
}

/// Whether URL parsers read a name that ends in `label` as an IPv4 address (`D10`).
fn is_number(label: &[u8]) -> bool {
    match label.strip_prefix(b"0x") {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
        None => label.iter().all(u8::is_ascii_digit),
    }
}

/// Step `D12`. It repeats so that the result is stable, and stops if only a single label or a public suffix would
/// remain.
fn without_www(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix("www.")
        && rest.contains('.')
        && !is_icann_suffix(rest)
    {
        name = rest;
    }
    name
}

/// Whether `name` as a whole is a public suffix with a prevailing rule in the ICANN section of the Public Suffix List
/// (`D13`).
fn is_icann_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|suffix| suffix.as_bytes() == name.as_bytes() && suffix.typ() == Some(psl::Type::Icann))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::super::lists::SHARED_HOSTS;
    use super::*;
    use crate::normalize::MAX_INPUT_CHARS;

    static LISTS: LazyLock<DomainLists> = LazyLock::new(DomainLists::default);

    /// The result with the built-in lists.
    fn domain(input: &str) -> Result<Cow<'_, str>, Code> {
        super::domain(input, &LISTS).map_err(Invalid::code)
    }

    #[track_caller]
    fn normalizes(input: &str, expected: &str) {
        assert_eq!(domain(input).as_deref(), Ok(expected), "{input:?}");
    }

    #[track_caller]
    fn is_invalid(input: &str, code: Code) {
        assert_eq!(domain(input), Err(code), "{input:?}");
    }

    /// A name of `length` characters with labels of `a`s, ending in `.com`.
    fn name_of(length: usize) -> String {
        let front: String = (0..length - 4).map(|i| if i % 61 == 60 { '.' } else { 'a' }).collect();
        assert!(!front.ends_with('.'), "the length leaves an empty label");
        format!("{front}.com")
    }

    #[test]
    fn a_canonical_domain_is_borrowed_unchanged() {
        for input in ["acme.com", "xn--bcher-kva.example", "www.gov.uk", "ab--cd.com", "acme.xn--p1ai"] {
            assert!(matches!(domain(input), Ok(Cow::Borrowed(name)) if name == input), "{input}");
        }
    }

    #[test]
    fn a_name_that_is_part_of_the_input_is_borrowed_from_it() {
        for input in [" https://www.acme.com:443/about ", "acme.com.", "//acme.com?x#y"] {
            assert!(matches!(domain(input), Ok(Cow::Borrowed("acme.com"))), "{input}");
        }
        assert!(matches!(domain("Acme.com"), Ok(Cow::Owned(name)) if name == "acme.com"));
    }

    #[test]
    fn the_input_may_have_2048_characters_and_no_more() {
        let front = "acme.com/";
        let path = "é".repeat(MAX_INPUT_CHARS - front.len());
        normalizes(&format!("{front}{path}"), "acme.com");
        normalizes(&format!(" {front}{path}\u{200B} "), "acme.com");
        is_invalid(&format!("{front}{path}é"), Code::TooLong);
    }

    #[test]
    fn the_shared_steps_come_first() {
        is_invalid(" \u{200B} ", Code::Empty);
        is_invalid("a@b c", Code::BadChar);
        is_invalid("acme.com/a b", Code::BadChar);
        is_invalid("acme.com?a\u{A0}b", Code::BadChar);
        is_invalid("acme.com#a\\b", Code::BadChar);
        is_invalid("ftp://a@b", Code::BadScheme);
        is_invalid("x:a@b", Code::BadScheme);
    }

    #[test]
    fn an_at_sign_without_a_scheme_looks_like_an_email_address() {
        for input in
            ["jane@acme.com", "@", "@acme.com", "jane@", "a@b@c", "1:2@acme.com", "[a@b", "jané@acme.com"]
        {
            is_invalid(input, Code::Email);
        }
    }

    #[test]
    fn an_at_sign_after_a_scheme_is_user_info() {
        for input in ["http://a@acme.com", "HTTPS://a:b@acme.com", "//@acme.com", "https://@", "https://[@"] {
            is_invalid(input, Code::Userinfo);
        }
    }

    #[test]
    fn an_at_sign_after_the_authority_is_ignored() {
        for input in ["acme.com/@x", "acme.com?@", "acme.com#a@b"] {
            normalizes(input, "acme.com");
        }
    }

    #[test]
    fn a_full_width_at_sign_is_invalid_in_a_host() {
        is_invalid("jane\u{FF20}acme.com", Code::BadIdn);
    }

    #[test]
    fn a_leading_bracket_means_an_ip_address() {
        for input in ["[", "[]", "[acme.com]", "[::1]", "https://[::1]:x:y/", "[*"] {
            is_invalid(input, Code::IpAddress);
        }
    }

    #[test]
    fn several_colons_are_an_ip_address_only_if_they_parse_as_one() {
        for input in ["::", "::1", "2001:db8::1", "//fe80::1", "1::ffff:1.2.3.4", "abcd:1::2"] {
            is_invalid(input, Code::IpAddress);
        }
        for input in
            ["acme.com::", "1:2:3", "https://acme.com:80:", "//fe80::1%25eth0", "::g", "acme.com:80:80"]
        {
            is_invalid(input, Code::BadPort);
        }
    }

    #[test]
    fn an_ipv6_address_that_begins_like_a_scheme_is_a_bad_scheme() {
        is_invalid("fe80::1", Code::BadScheme);
    }

    #[test]
    fn a_port_is_empty_or_one_to_five_digits_up_to_65535() {
        for port in ["", "0", "1", "00000", "00080", "65535", "9999"] {
            normalizes(&format!("acme.com:{port}"), "acme.com");
        }
        for port in ["65536", "99999", "000080", "+80", "-1", "8a", "0x50", "８０", "٣", "80.", "http", "%38"]
        {
            is_invalid(&format!("acme.com:{port}"), Code::BadPort);
        }
    }

    #[test]
    fn a_bad_port_is_reported_before_an_empty_host_and_bad_characters() {
        is_invalid(":http", Code::BadPort);
        is_invalid("*_.com:http", Code::BadPort);
    }

    #[test]
    fn a_missing_host_is_empty() {
        for input in
            ["https://", "HTTP://", "//", "///a.b", ":80", ":", "/acme.com", "?x", "#x", "http:///acme.com"]
        {
            is_invalid(input, Code::Empty);
        }
    }

    #[test]
    fn an_asterisk_is_reported_before_other_bad_characters() {
        for input in ["*", "*.acme.com", "_*.acme.com", "a%*", "*..", "acme.*:80"] {
            is_invalid(input, Code::Wildcard);
        }
        normalizes("acme.com/*", "acme.com");
        normalizes("acme.com?*", "acme.com");
    }

    #[test]
    fn ascii_characters_other_than_letters_digits_dots_and_hyphens_are_bad() {
        for c in (0x21..0x7F).map(char::from).filter(|c| !c.is_ascii_alphanumeric()) {
            if ".-*@:/?#\\".contains(c) {
                continue; // These have another meaning or another code.
            }
            is_invalid(&format!("a{c}b.com"), Code::BadChar);
            // D6 and D7 would fail too, but come later.
            is_invalid(&format!("a{c}\u{301}..com"), Code::BadChar);
        }
    }

    #[test]
    fn names_are_mapped_to_lower_case_a_labels() {
        normalizes("BÜCHER.Example", "xn--bcher-kva.example");
        normalizes("xN--BCHER-kva.example", "xn--bcher-kva.example");
        normalizes("ｘｎ－－bcher-kva.example", "xn--bcher-kva.example");
        normalizes("faß.de", "xn--fa-hia.de");
        normalizes("a\u{200B}c\u{AD}me\u{2060}.com", "acme.com");
        normalizes("\u{212A}elvin.com", "kelvin.com");
        normalizes("①②.com", "12.com");
    }

    #[test]
    fn every_dot_of_idna_separates_labels() {
        for dot in ["。", "．", "｡"] {
            normalizes(&format!("www{dot}acme{dot}com{dot}"), "acme.com");
        }
    }

    #[test]
    fn a_name_that_is_invalid_under_uts_46_is_invalid() {
        for input in [
            "xn--a.com",
            "xn--.com",
            "xn--acme-.com",
            "xn--\u{FC}.com",
            "a\u{200D}b.com",
            "\u{200C}a.com",
            "\u{301}a.com",
            "a\u{5D0}.com",
            "\u{5D0}1\u{661}.com",
            "a\u{FF3F}b.com",
            "a\u{FF0F}b.com",
            "a\u{FF05}b.com",
            "\u{FFFD}.com",
            "a\u{202E}b.com",
            "\u{E000}.com",
            "\u{2488}com",
        ] {
            is_invalid(input, Code::BadIdn);
        }
    }

    #[test]
    fn a_name_is_checked_for_validity_before_its_labels() {
        is_invalid("..xn--a.com", Code::BadIdn);
        is_invalid("-a\u{200D}b.com", Code::BadIdn);
    }

    #[test]
    fn only_one_trailing_dot_is_removed() {
        normalizes("acme.com.", "acme.com");
        normalizes("acme.com.:80/", "acme.com");
        is_invalid("acme.com..", Code::EmptyLabel);
        is_invalid("acme.com.。", Code::EmptyLabel);
        is_invalid(".", Code::EmptyLabel);
        is_invalid("..", Code::EmptyLabel);
        is_invalid("acme..com", Code::EmptyLabel);
        is_invalid(".acme.com", Code::EmptyLabel);
        is_invalid("。acme.com", Code::EmptyLabel);
    }

    #[test]
    fn a_label_of_ignored_characters_is_empty() {
        is_invalid("\u{AD}a.\u{AD}.com", Code::EmptyLabel);
        is_invalid("a\u{AD}", Code::SingleLabel);
        // In the middle of the input, so that the soft hyphen is not trimmed.
        is_invalid("https://\u{AD}:80/", Code::EmptyLabel);
        normalizes("acme.com.\u{AD}:80", "acme.com");
    }

    #[test]
    fn an_empty_label_is_reported_before_hyphens_lengths_and_numbers() {
        is_invalid("-a..com", Code::EmptyLabel);
        is_invalid(&format!("{}..com", "a".repeat(64)), Code::EmptyLabel);
        is_invalid("1..1", Code::EmptyLabel);
        is_invalid("1..", Code::EmptyLabel);
    }

    #[test]
    fn labels_must_not_start_or_end_with_a_hyphen() {
        for input in ["-a.com", "a-.com", "a.-com", "a.com-", "-", "a.-", "-.a", "--.com", "a.b-.com."] {
            is_invalid(input, Code::BadHyphen);
        }
        normalizes("a-b.com", "a-b.com");
        normalizes("a---b.com", "a---b.com");
        normalizes("r3---sn.com", "r3---sn.com");
    }

    #[test]
    fn a_bad_hyphen_is_reported_before_lengths_numbers_and_single_labels() {
        is_invalid(&format!("{}-.com", "a".repeat(64)), Code::BadHyphen);
        is_invalid("-a.1", Code::BadHyphen);
        is_invalid("-a", Code::BadHyphen);
    }

    #[test]
    fn a_label_has_at_most_63_characters() {
        let longest = format!("{}.com", "a".repeat(63));
        normalizes(&longest, &longest);
        is_invalid(&format!("{}.com", "a".repeat(64)), Code::TooLong);
        is_invalid(&format!("acme.{}", "a".repeat(64)), Code::TooLong);
        is_invalid(&"a".repeat(64), Code::TooLong);
    }

    #[test]
    fn a_label_is_measured_as_an_a_label() {
        let longest = domain(&format!("ü{}.com", "a".repeat(55))).unwrap().into_owned();
        assert_eq!(longest.len(), 63 + ".com".len());
        is_invalid(&format!("ü{}.com", "a".repeat(56)), Code::TooLong);
        is_invalid(&format!("{}.com", "食狮".repeat(30)), Code::TooLong);
        normalizes(&format!("{}.com", "Ａ".repeat(63)), &format!("{}.com", "a".repeat(63)));
    }

    #[test]
    fn a_name_has_at_most_253_characters_without_its_trailing_dot() {
        let longest = name_of(253);
        normalizes(&longest, &longest);
        normalizes(&format!("{longest}."), &longest);
        is_invalid(&name_of(254), Code::TooLong);
    }

    #[test]
    fn a_name_is_measured_before_www_is_removed() {
        normalizes(&format!("www.{}", name_of(249)), &name_of(249));
        is_invalid(&format!("www.{}", name_of(250)), Code::TooLong);
    }

    #[test]
    fn lengths_are_reported_before_numbers_and_single_labels() {
        is_invalid(&"1".repeat(64), Code::TooLong);
        is_invalid(&format!("acme.{}", "1".repeat(64)), Code::TooLong);
    }

    #[test]
    fn a_name_that_ends_in_a_number_is_an_ip_address() {
        for input in [
            "1.2.3.4",
            "1.2.3.4.",
            "1",
            "0",
            "4294967296",
            "acme.1",
            "acme.com.007",
            "0x",
            "acme.0x",
            "0X7F.1",
            "acme.0XfF",
            "127.0x1",
            "１.２.３.４",
            "acme.①",
            "www.1",
            "999.999.999.999",
        ] {
            is_invalid(input, Code::IpAddress);
        }
    }

    #[test]
    fn a_name_may_begin_with_a_number_or_end_in_a_near_number() {
        for input in
            ["1.com", "0x.com", "1.2.3.com", "acme.0xg", "acme.1a", "acme.0b1", "acme.00x1", "acme.x1"]
        {
            normalizes(input, input);
        }
    }

    #[test]
    fn one_label_is_not_a_full_name() {
        for input in ["acme", "localhost:8080", "com", "www", "www.", "公司", "a-b", "https//acme.com"] {
            is_invalid(input, Code::SingleLabel);
        }
    }

    #[test]
    fn repeated_www_is_removed() {
        normalizes("www.acme.com", "acme.com");
        normalizes("WWW.wWw.www.acme.com", "acme.com");
        normalizes("ｗｗｗ.acme.com", "acme.com");
        normalizes("www.www2.www.acme.com", "www2.www.acme.com");
        normalizes("www.acme.example", "acme.example");
        normalizes("www.bücher.example", "xn--bcher-kva.example");
    }

    #[test]
    fn www_stays_if_a_single_label_would_remain() {
        normalizes("www.com", "www.com");
        normalizes("www.example", "www.example");
        normalizes("www.www", "www.www");
        normalizes("www.www.www", "www.www");
        normalizes("www.www.com", "www.com");
    }

    #[test]
    fn www_stays_before_an_icann_suffix() {
        for input in ["www.gov.uk", "www.co.uk", "www.com.au", "www.ck", "www.test.ck", "www.xn--55qx5d.cn"] {
            normalizes(input, input);
        }
        normalizes("www.www.gov.uk", "www.gov.uk");
        normalizes("www.www.ck", "www.ck");
        normalizes("www.acme.co.uk", "acme.co.uk");
        normalizes("www.city.kobe.jp", "city.kobe.jp");
    }

    #[test]
    fn www_is_removed_before_a_private_suffix() {
        normalizes("www.github.io", "github.io");
        normalizes("www.uk.com", "uk.com");
        normalizes("www.blogspot.com", "blogspot.com");
    }

    #[test]
    fn only_the_label_www_is_removed() {
        for input in
            ["www2.acme.com", "wwww.acme.com", "www-eu.acme.com", "wwwacme.com", "m.acme.com", "a.www.com"]
        {
            normalizes(input, input);
        }
    }

    #[test]
    fn icann_suffixes_are_invalid() {
        for input in
            ["co.uk", "CO.UK.", "https://com.au:443/x", "test.ck", "gov.uk", "公司.cn", "xn--55qx5d.cn"]
        {
            is_invalid(input, Code::PublicSuffix);
        }
        // A wildcard rule and its exception.
        is_invalid("anything.kawasaki.jp", Code::PublicSuffix);
        normalizes("city.kawasaki.jp", "city.kawasaki.jp");
        // The parent of a wildcard has no rule.
        normalizes("kawasaki.jp", "kawasaki.jp");
        is_invalid("kawasaki.miyagi.jp", Code::PublicSuffix);
    }

    #[test]
    fn private_suffixes_and_unlisted_tlds_are_valid() {
        for input in [
            "github.io",
            "uk.com",
            "blogspot.com",
            "herokuapp.com",
            "acme.test",
            "acme.internal",
            "a.b.invalid",
        ] {
            normalizes(input, input);
        }
    }

    #[test]
    fn a_page_on_a_shared_site_is_invalid() {
        for site in SHARED_HOSTS {
            is_invalid(&format!("{site}/acme"), Code::SharedHost);
            is_invalid(&format!("https://www.{site}/acme/"), Code::SharedHost);
            is_invalid(&format!("de.m.{}.:443//@", site.to_uppercase()), Code::SharedHost);
            is_invalid(&format!("{site}/."), Code::SharedHost);
            is_invalid(&format!("https://www.{site}/?id=5#x"), Code::SharedHost);
        }
        is_invalid("facebook。com/acme", Code::SharedHost);
    }

    #[test]
    fn the_name_of_a_shared_site_is_valid() {
        for site in SHARED_HOSTS {
            for rest in ["", "/", "//", "/?", "?#a", "?a=/b", "#/acme", "/#!/acme?x"] {
                normalizes(&format!("https://www.{site}{rest}"), site);
            }
        }
        normalizes("m.facebook.com", "m.facebook.com");
    }

    #[test]
    fn a_name_that_only_resembles_a_shared_site_may_have_a_path() {
        for input in ["notfacebook.com", "x.com.acme.example", "netflix.com", "facebook.co.uk", "my-x.com"] {
            normalizes(&format!("{input}/acme"), input);
        }
    }

    #[test]
    fn a_public_suffix_is_reported_before_its_path() {
        is_invalid("co.uk/acme", Code::PublicSuffix);
    }

    #[test]
    fn a_page_of_another_site_is_only_decoration() {
        for input in ["https://globex.com/?id=5", "globex.com/about", "docs.globex.com/?x"] {
            assert!(domain(input).is_ok_and(|name| name.ends_with("globex.com")), "{input}");
        }
        // Only these names of the site are shared.
        normalizes("https://cloud.google.com/maps", "cloud.google.com");
    }

    #[test]
    fn the_policy_names_the_sites_and_the_owned_names() {
        let lists = DomainLists {
            owned: ["gov.uk", "facebook.com"].map(str::to_owned).into(),
            shared_hosts: ["facebook.com", "pages.example"].map(str::to_owned).into(),
            ..DomainLists::default()
        };
        let with_lists = |input| super::domain(input, &lists).map_err(Invalid::code);
        for (input, expected) in [
            ("https://GOV.uk/", Ok("gov.uk")),
            ("co.uk", Err(Code::PublicSuffix)),
            // The contract keeps `www.` before every public suffix.
            ("www.gov.uk", Ok("www.gov.uk")),
            ("www.facebook.com/acme", Ok("facebook.com")),
            ("m.facebook.com/acme", Err(Code::SharedHost)),
            ("acme.pages.example/?x", Err(Code::SharedHost)),
            ("github.com/acme", Ok("github.com")),
        ] {
            assert_eq!(with_lists(input).as_deref(), expected.as_deref(), "{input}");
        }
    }

    #[test]
    fn a_name_is_read_whoever_owns_it() {
        assert_eq!(domain_name("https://GOV.uk./x").as_deref(), Ok("gov.uk"));
        assert_eq!(domain_name("www.facebook.com/acme").as_deref(), Ok("facebook.com"));
        assert_eq!(domain_name("gov"), Err(Code::SingleLabel.into()));
    }

    #[test]
    fn a_name_with_a_labels_has_a_form_in_unicode() {
        assert_eq!(unicode_form("www.xn--bcher-kva.xn--p1ai").as_deref(), Some("www.bücher.рф"));
        for name in ["acme.com", "xn--a.com", "https://linkedin.com/company/xn--bcher-kva", "axn--b.com"] {
            assert_eq!(unicode_form(name), None, "{name}");
        }
    }

    #[test]
    fn a_form_in_unicode_that_is_read_as_another_name_is_not_shown() {
        let name = "xn--xn--bfastmail-goo.gl43bcher44goo.glgoo.aa.asoa2gl43bhhhhhh";
        assert_eq!(domain_name(name).as_deref(), Ok(name));
        assert_eq!(unicode_form(name), None);
    }

    #[test]
    fn the_first_bad_character_of_the_host_is_named() {
        for (input, c) in [("acme.com,acme.io", ','), ("é_\"b\".com", '_'), ("\"acme.com\"", '"')] {
            let expected = Err(Invalid::character(Code::BadChar, c));
            assert_eq!(super::domain(input, &LISTS), expected, "{input}");
        }
    }

    #[test]
    fn a_link_in_markdown_is_not_called_an_ip_address() {
        let text = |input| super::domain(input, &LISTS).unwrap_err().text(super::super::Field::Domain);
        for input in ["[acme](https://acme.com)", "[acme.com]", "["] {
            assert!(text(input).starts_with(r#"starts with "[", as only an IP address does"#), "{input}");
        }
        for input in ["[::1]", "https://[2001:db8::1]:443/", "::1"] {
            assert_eq!(text(input), Code::IpAddress.text(), "{input}");
        }
    }
}
