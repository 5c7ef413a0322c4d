//! Domains: what is typed or pasted as a company's domain, to its lower-case ASCII name (`D1`–`D15`).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::code::Code;
use super::shared::{self, Address, Scheme};

/// The most characters of a name, without a trailing dot (`D9`).
const MAX_NAME: usize = 253;

/// The most characters of a label (`D9`).
const MAX_LABEL: usize = 63;

/// Sites on which a page, not the host, belongs to the company (`D14`).
const SHARED_SITES: [&str; 9] = [
    "facebook.com",
    "github.com",
    "instagram.com",
    "linkedin.com",
    "lnkd.in",
    "tiktok.com",
    "twitter.com",
    "x.com",
    "youtube.com",
];

/// The canonical form of one domain: a lower-case ASCII name of two or more labels, without scheme, `www.`,
/// port, path or trailing dot. A canonical domain is returned unchanged.
///
/// The result borrows from `input` wherever the name stands in it as such (`https://acme.com/` gives a borrowed
/// `acme.com`): to learn whether the value changed, compare the two.
///
/// # Errors
/// The code of the first step of the normalization contract (section 2) that the input fails.
pub fn domain(input: &str) -> Result<Cow<'_, str>, Code> {
    let address = shared::read(input)?; // D1
    check_user(&address)?;
    let host = host(address.authority)?;
    check_characters(host)?;
    match to_ascii(host)? {
        Cow::Borrowed(ascii) => name(ascii, address.path).map(Cow::Borrowed),
        Cow::Owned(ascii) => name(&ascii, address.path).map(|name| Cow::Owned(name.to_owned())),
    }
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

/// Step `D3`: the authority less its port.
fn host(authority: &str) -> Result<&str, Code> {
    if authority.starts_with('[') {
        return Err(Code::IpAddress);
    }
    let host = match authority.split_once(':') {
        None => authority,
        Some((_, rest)) if rest.contains(':') => {
            let is_address = authority.parse::<Ipv6Addr>().is_ok();
            return Err(if is_address { Code::IpAddress } else { Code::BadPort });
        }
        Some((host, port)) if is_port(port) => host,
        Some(_) => return Err(Code::BadPort),
    };
    if host.is_empty() { Err(Code::Empty) } else { Ok(host) }
}

/// Whether `text` may stand behind a host's colon: nothing, or 1–5 digits with a value of at most 65535.
fn is_port(text: &str) -> bool {
    // The digits are checked apart because `u16` also parses a leading `+` and any number of zeros.
    text.is_empty()
        || text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Steps `D4` and `D5`.
fn check_characters(host: &str) -> Result<(), Code> {
    if host.contains('*') {
        return Err(Code::Wildcard);
    }
    if host.contains(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-')) {
        return Err(Code::BadChar);
    }
    Ok(())
}

/// Step `D6`. Lengths and hyphens are left to `D8` and `D9`, which have codes of their own.
fn to_ascii(host: &str) -> Result<Cow<'_, str>, Code> {
    Uts46::new()
        .to_ascii(host.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| Code::BadIdn)
}

/// Steps `D7` to `D15`: the canonical name in the A-label form that `D6` gives.
fn name<'a>(ascii: &'a str, path: &str) -> Result<&'a str, Code> {
    let name = ascii.strip_suffix('.').unwrap_or(ascii); // D7
    check_labels(name)?;
    let name = without_www(name);
    if is_icann_suffix(name) {
        return Err(Code::PublicSuffix); // D13
    }
    if path.contains(|c| c != '/') && is_on_shared_site(name) {
        return Err(Code::SharedHost); // D14
    }
    Ok(name)
}

/// Steps `D7` to `D11`. Each looks at every label before the next begins, for the first step decides the code.
fn check_labels(name: &str) -> Result<(), Code> {
    let labels = || name.split('.');
    if labels().any(str::is_empty) {
        return Err(Code::EmptyLabel); // D7
    }
    if labels().any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(Code::BadHyphen); // D8
    }
    if name.len() > MAX_NAME || labels().any(|label| label.len() > MAX_LABEL) {
        return Err(Code::TooLong); // D9
    }
    if labels().next_back().is_some_and(is_number) {
        return Err(Code::IpAddress); // D10
    }
    if labels().count() < 2 {
        return Err(Code::SingleLabel); // D11
    }
    Ok(())
}

/// Whether URL parsers read a name that ends in `label` as an IPv4 address (`D10`).
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Step `D12`. It repeats so that the result is stable, and stops before it would leave a single label or a
/// suffix under which others register names.
fn without_www(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix("www.")
        && rest.contains('.')
        && !is_icann_suffix(rest)
    {
        name = rest;
    }
    name
}

/// Whether the whole of `name` is a public suffix whose prevailing rule is in the ICANN section of the Public
/// Suffix List (`D13`).
fn is_icann_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|suffix| suffix.as_bytes() == name.as_bytes() && suffix.typ() == Some(psl::Type::Icann))
}

/// Whether `name` is one of the shared sites or under one (`D14`).
fn is_on_shared_site(name: &str) -> bool {
    SHARED_SITES
        .iter()
        .any(|site| name.strip_suffix(site).is_some_and(|front| front.is_empty() || front.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::MAX_INPUT_CHARS;

    #[track_caller]
    fn accepts(input: &str, expected: &str) {
        assert_eq!(domain(input).as_deref(), Ok(expected), "{input:?}");
    }

    #[track_caller]
    fn rejects(input: &str, code: Code) {
        assert_eq!(domain(input), Err(code), "{input:?}");
    }

    /// `a` or more `a`s in labels of 60, `length` characters in all, ending in `.com`.
    fn name_of(length: usize) -> String {
        let front: String = (0..length - 4).map(|i| if i % 61 == 60 { '.' } else { 'a' }).collect();
        assert!(!front.ends_with('.'), "the length leaves an empty label");
        format!("{front}.com")
    }

    #[test]
    fn a_canonical_domain_is_returned_borrowed_and_whole() {
        for input in ["acme.com", "xn--bcher-kva.example", "www.gov.uk", "ab--cd.com", "acme.xn--p1ai"] {
            assert!(matches!(domain(input), Ok(Cow::Borrowed(name)) if name == input), "{input}");
        }
    }

    #[test]
    fn a_name_that_stands_in_the_input_is_borrowed_from_it() {
        for input in [" https://www.acme.com:443/about ", "acme.com.", "//acme.com?x#y"] {
            assert!(matches!(domain(input), Ok(Cow::Borrowed("acme.com"))), "{input}");
        }
        assert!(matches!(domain("Acme.com"), Ok(Cow::Owned(name)) if name == "acme.com"));
    }

    #[test]
    fn the_input_may_have_2048_characters_and_no_more() {
        let front = "acme.com/";
        let path = "é".repeat(MAX_INPUT_CHARS - front.len());
        accepts(&format!("{front}{path}"), "acme.com");
        accepts(&format!(" {front}{path}\u{200B} "), "acme.com");
        rejects(&format!("{front}{path}é"), Code::TooLong);
    }

    #[test]
    fn the_shared_steps_come_first() {
        rejects(" \u{200B} ", Code::Empty);
        rejects("a@b c", Code::BadChar);
        rejects("acme.com/a b", Code::BadChar);
        rejects("acme.com?a\u{A0}b", Code::BadChar);
        rejects("acme.com#a\\b", Code::BadChar);
        rejects("ftp://a@b", Code::BadScheme);
        rejects("x:a@b", Code::BadScheme);
    }

    #[test]
    fn an_at_sign_without_a_scheme_looks_like_an_email_address() {
        for input in
            ["jane@acme.com", "@", "@acme.com", "jane@", "a@b@c", "1:2@acme.com", "[a@b", "jané@acme.com"]
        {
            rejects(input, Code::Email);
        }
    }

    #[test]
    fn an_at_sign_behind_a_scheme_is_user_info() {
        for input in ["http://a@acme.com", "HTTPS://a:b@acme.com", "//@acme.com", "https://@", "https://[@"] {
            rejects(input, Code::Userinfo);
        }
    }

    #[test]
    fn an_at_sign_behind_the_authority_is_no_concern() {
        for input in ["acme.com/@x", "acme.com?@", "acme.com#a@b"] {
            accepts(input, "acme.com");
        }
    }

    #[test]
    fn a_full_width_at_sign_is_no_valid_host() {
        rejects("jane\u{FF20}acme.com", Code::BadIdn);
    }

    #[test]
    fn brackets_in_front_are_an_ip_address_whatever_they_hold() {
        for input in ["[", "[]", "[acme.com]", "[::1]", "https://[::1]:x:y/", "[*"] {
            rejects(input, Code::IpAddress);
        }
    }

    #[test]
    fn several_colons_are_an_ip_address_only_if_they_parse_as_one() {
        for input in ["::", "::1", "2001:db8::1", "//fe80::1", "1::ffff:1.2.3.4", "abcd:1::2"] {
            rejects(input, Code::IpAddress);
        }
        for input in
            ["acme.com::", "1:2:3", "https://acme.com:80:", "//fe80::1%25eth0", "::g", "acme.com:80:80"]
        {
            rejects(input, Code::BadPort);
        }
    }

    #[test]
    fn an_ipv6_address_that_begins_like_a_scheme_is_read_as_one() {
        rejects("fe80::1", Code::BadScheme);
    }

    #[test]
    fn a_port_is_empty_or_one_to_five_digits_up_to_65535() {
        for port in ["", "0", "1", "00000", "00080", "65535", "9999"] {
            accepts(&format!("acme.com:{port}"), "acme.com");
        }
        for port in ["65536", "99999", "000080", "+80", "-1", "8a", "0x50", "８０", "٣", "80.", "http", "%38"]
        {
            rejects(&format!("acme.com:{port}"), Code::BadPort);
        }
    }

    #[test]
    fn a_bad_port_outranks_an_empty_host_and_bad_characters_in_the_host() {
        rejects(":http", Code::BadPort);
        rejects("*_.com:http", Code::BadPort);
    }

    #[test]
    fn a_missing_host_is_empty() {
        for input in
            ["https://", "HTTP://", "//", "///a.b", ":80", ":", "/acme.com", "?x", "#x", "http:///acme.com"]
        {
            rejects(input, Code::Empty);
        }
    }

    #[test]
    fn an_asterisk_outranks_other_bad_characters() {
        for input in ["*", "*.acme.com", "_*.acme.com", "a%*", "*..", "acme.*:80"] {
            rejects(input, Code::Wildcard);
        }
        accepts("acme.com/*", "acme.com");
        accepts("acme.com?*", "acme.com");
    }

    #[test]
    fn ascii_characters_other_than_letters_digits_dots_and_hyphens_are_bad() {
        for c in (0x21..0x7F).map(char::from).filter(|c| !c.is_ascii_alphanumeric()) {
            if ".-*@:/?#\\".contains(c) {
                continue; // They have a meaning, or a step, of their own.
            }
            rejects(&format!("a{c}b.com"), Code::BadChar);
            // Before D6 and D7, which would fail too.
            rejects(&format!("a{c}\u{301}..com"), Code::BadChar);
        }
    }

    #[test]
    fn names_are_mapped_to_lower_case_a_labels() {
        accepts("BÜCHER.Example", "xn--bcher-kva.example");
        accepts("xN--BCHER-kva.example", "xn--bcher-kva.example");
        accepts("ｘｎ－－bcher-kva.example", "xn--bcher-kva.example");
        accepts("faß.de", "xn--fa-hia.de");
        accepts("a\u{200B}c\u{AD}me\u{2060}.com", "acme.com");
        accepts("\u{212A}elvin.com", "kelvin.com");
        accepts("①②.com", "12.com");
    }

    #[test]
    fn every_dot_of_idna_separates_labels() {
        for dot in ["。", "．", "｡"] {
            accepts(&format!("www{dot}acme{dot}com{dot}"), "acme.com");
        }
    }

    #[test]
    fn what_uts_46_refuses_is_no_valid_name() {
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
            rejects(input, Code::BadIdn);
        }
    }

    #[test]
    fn a_name_is_checked_for_validity_before_its_labels() {
        rejects("..xn--a.com", Code::BadIdn);
        rejects("-a\u{200D}b.com", Code::BadIdn);
    }

    #[test]
    fn one_trailing_dot_is_removed_and_no_more() {
        accepts("acme.com.", "acme.com");
        accepts("acme.com.:80/", "acme.com");
        rejects("acme.com..", Code::EmptyLabel);
        rejects("acme.com.。", Code::EmptyLabel);
        rejects(".", Code::EmptyLabel);
        rejects("..", Code::EmptyLabel);
        rejects("acme..com", Code::EmptyLabel);
        rejects(".acme.com", Code::EmptyLabel);
        rejects("。acme.com", Code::EmptyLabel);
    }

    #[test]
    fn a_label_of_ignored_characters_is_empty() {
        rejects("\u{AD}a.\u{AD}.com", Code::EmptyLabel);
        rejects("a\u{AD}", Code::SingleLabel);
        // Between trimmed ends, so that the host is the soft hyphen alone.
        rejects("https://\u{AD}:80/", Code::EmptyLabel);
        accepts("acme.com.\u{AD}:80", "acme.com");
    }

    #[test]
    fn an_empty_label_outranks_hyphens_lengths_and_numbers() {
        rejects("-a..com", Code::EmptyLabel);
        rejects(&format!("{}..com", "a".repeat(64)), Code::EmptyLabel);
        rejects("1..1", Code::EmptyLabel);
        rejects("1..", Code::EmptyLabel);
    }

    #[test]
    fn labels_must_not_start_or_end_with_a_hyphen() {
        for input in ["-a.com", "a-.com", "a.-com", "a.com-", "-", "a.-", "-.a", "--.com", "a.b-.com."] {
            rejects(input, Code::BadHyphen);
        }
        accepts("a-b.com", "a-b.com");
        accepts("a---b.com", "a---b.com");
        accepts("r3---sn.com", "r3---sn.com");
    }

    #[test]
    fn a_bad_hyphen_outranks_lengths_numbers_and_single_labels() {
        rejects(&format!("{}-.com", "a".repeat(64)), Code::BadHyphen);
        rejects("-a.1", Code::BadHyphen);
        rejects("-a", Code::BadHyphen);
    }

    #[test]
    fn a_label_has_at_most_63_characters() {
        let longest = format!("{}.com", "a".repeat(63));
        accepts(&longest, &longest);
        rejects(&format!("{}.com", "a".repeat(64)), Code::TooLong);
        rejects(&format!("acme.{}", "a".repeat(64)), Code::TooLong);
        rejects(&"a".repeat(64), Code::TooLong);
    }

    #[test]
    fn a_label_is_measured_as_an_a_label() {
        let longest = domain(&format!("ü{}.com", "a".repeat(55))).unwrap().into_owned();
        assert_eq!(longest.len(), 63 + ".com".len());
        rejects(&format!("ü{}.com", "a".repeat(56)), Code::TooLong);
        rejects(&format!("{}.com", "食狮".repeat(30)), Code::TooLong);
        accepts(&format!("{}.com", "Ａ".repeat(63)), &format!("{}.com", "a".repeat(63)));
    }

    #[test]
    fn a_name_has_at_most_253_characters_without_its_trailing_dot() {
        let longest = name_of(253);
        accepts(&longest, &longest);
        accepts(&format!("{longest}."), &longest);
        rejects(&name_of(254), Code::TooLong);
    }

    #[test]
    fn a_name_is_measured_before_www_is_removed() {
        accepts(&format!("www.{}", name_of(249)), &name_of(249));
        rejects(&format!("www.{}", name_of(250)), Code::TooLong);
    }

    #[test]
    fn lengths_outrank_numbers_and_single_labels() {
        rejects(&"1".repeat(64), Code::TooLong);
        rejects(&format!("acme.{}", "1".repeat(64)), Code::TooLong);
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
            rejects(input, Code::IpAddress);
        }
    }

    #[test]
    fn a_number_in_front_or_a_near_number_is_a_name() {
        for input in
            ["1.com", "0x.com", "1.2.3.com", "acme.0xg", "acme.1a", "acme.0b1", "acme.00x1", "acme.x1"]
        {
            accepts(input, input);
        }
    }

    #[test]
    fn one_label_is_no_full_name() {
        for input in ["acme", "localhost:8080", "com", "www", "www.", "公司", "a-b", "https//acme.com"] {
            rejects(input, Code::SingleLabel);
        }
    }

    #[test]
    fn www_is_removed_as_often_as_it_stands_in_front() {
        accepts("www.acme.com", "acme.com");
        accepts("WWW.wWw.www.acme.com", "acme.com");
        accepts("ｗｗｗ.acme.com", "acme.com");
        accepts("www.www2.www.acme.com", "www2.www.acme.com");
        accepts("www.acme.example", "acme.example");
        accepts("www.bücher.example", "xn--bcher-kva.example");
    }

    #[test]
    fn www_stays_where_a_single_label_would_be_left() {
        accepts("www.com", "www.com");
        accepts("www.example", "www.example");
        accepts("www.www", "www.www");
        accepts("www.www.www", "www.www");
        accepts("www.www.com", "www.com");
    }

    #[test]
    fn www_stays_in_front_of_an_icann_suffix() {
        for input in ["www.gov.uk", "www.co.uk", "www.com.au", "www.ck", "www.test.ck", "www.xn--55qx5d.cn"] {
            accepts(input, input);
        }
        accepts("www.www.gov.uk", "www.gov.uk");
        accepts("www.www.ck", "www.ck");
        accepts("www.acme.co.uk", "acme.co.uk");
        accepts("www.city.kobe.jp", "city.kobe.jp");
    }

    #[test]
    fn www_is_removed_in_front_of_a_private_suffix() {
        accepts("www.github.io", "github.io");
        accepts("www.uk.com", "uk.com");
        accepts("www.blogspot.com", "blogspot.com");
    }

    #[test]
    fn only_www_itself_is_removed() {
        for input in
            ["www2.acme.com", "wwww.acme.com", "www-eu.acme.com", "wwwacme.com", "m.acme.com", "a.www.com"]
        {
            accepts(input, input);
        }
    }

    #[test]
    fn icann_suffixes_are_refused() {
        for input in
            ["co.uk", "CO.UK.", "https://com.au:443/x", "test.ck", "gov.uk", "公司.cn", "xn--55qx5d.cn"]
        {
            rejects(input, Code::PublicSuffix);
        }
        // A wildcard rule and its exception.
        rejects("anything.kawasaki.jp", Code::PublicSuffix);
        accepts("city.kawasaki.jp", "city.kawasaki.jp");
        // The node above a wildcard has no rule of its own.
        accepts("kawasaki.jp", "kawasaki.jp");
        rejects("kawasaki.miyagi.jp", Code::PublicSuffix);
    }

    #[test]
    fn private_suffixes_and_unlisted_tlds_are_accepted() {
        for input in [
            "github.io",
            "uk.com",
            "blogspot.com",
            "herokuapp.com",
            "acme.test",
            "acme.internal",
            "a.b.invalid",
        ] {
            accepts(input, input);
        }
    }

    #[test]
    fn a_page_on_a_shared_site_is_refused() {
        for site in SHARED_SITES {
            rejects(&format!("{site}/acme"), Code::SharedHost);
            rejects(&format!("https://www.{site}/acme/"), Code::SharedHost);
            rejects(&format!("de.m.{}.:443//@", site.to_uppercase()), Code::SharedHost);
            rejects(&format!("{site}/."), Code::SharedHost);
        }
        rejects("facebook。com/acme", Code::SharedHost);
    }

    #[test]
    fn a_shared_sites_own_name_is_accepted() {
        for site in SHARED_SITES {
            for rest in ["", "/", "//", "///?a/b", "?a=/b", "#/acme", "/#!/acme"] {
                accepts(&format!("https://www.{site}{rest}"), site);
            }
        }
        accepts("m.facebook.com", "m.facebook.com");
    }

    #[test]
    fn a_name_that_only_resembles_a_shared_site_may_have_a_path() {
        for input in ["notfacebook.com", "x.com.acme.example", "netflix.com", "facebook.co.uk", "my-x.com"] {
            accepts(&format!("{input}/acme"), input);
        }
    }

    #[test]
    fn a_public_suffix_is_refused_before_its_path_is_looked_at() {
        rejects("co.uk/acme", Code::PublicSuffix);
    }
}
