//! Normalizes the addresses of LinkedIn profiles (`P1`–`P13`).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use unicode_normalization::UnicodeNormalization;

use super::code::{Code, Detail, Invalid, ProfileKind};
use super::shared::{self, Address, Scheme, strip_prefix_ignoring_case};
use crate::characters::is_invisible;

/// The maximum number of characters of the decoded name of a profile (`P12`).
const MAX_SLUG: usize = 150;

/// The characters that a canonical address percent-encodes: all but the unreserved characters of RFC 3986 (`P13`).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The pages that show a profile (`P7`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    In,
    Company,
    School,
    Showcase,
}

impl Page {
    /// Step `P7`: the page with this first segment.
    fn of(segment: &str) -> Option<Self> {
        const SEGMENTS: [(&str, Page); 5] = [
            ("in", Page::In),
            ("company", Page::Company),
            ("company-beta", Page::Company),
            ("school", Page::School),
            ("showcase", Page::Showcase),
        ];
        let page = SEGMENTS.iter().find(|(name, _)| segment.eq_ignore_ascii_case(name));
        page.map(|(_, page)| *page)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Company => "company",
            Self::School => "school",
            Self::Showcase => "showcase",
        }
    }

    fn kind(self) -> ProfileKind {
        match self {
            Self::In => ProfileKind::Person,
            Self::Company | Self::School | Self::Showcase => ProfileKind::Company,
        }
    }
}

/// The canonical address of a LinkedIn profile, `https://linkedin.com/<page>/<slug>`: ASCII only, without `www`, query,
/// fragment, trailing slash or anything after the slug. A canonical address is borrowed unchanged.
///
/// # Errors
/// The code of the first step of the normalization contract (section 3) that fails.
pub fn linkedin_profile(input: &str, kind: ProfileKind) -> Result<Cow<'_, str>, Invalid> {
    let address = shared::read(input)?; // P1
    check_authority(&address)?;
    check_dot_segments(address.path)?;
    let mut segments = segments(address.path);
    let (page, segment) = page(&mut segments)?;
    if page.kind() != kind {
        return Err(Code::WrongKind.into()); // P8
    }
    let segment = segment.ok_or(Code::NoProfile)?;
    let slug = fold(decode(segment)?, page);
    check_slug(&slug, page)?;
    let canonical =
        format!("https://linkedin.com/{}/{}", page.as_str(), utf8_percent_encode(&slug, RESERVED)); // P13
    Ok(if canonical == input { Cow::Borrowed(input) } else { Cow::Owned(canonical) })
}

/// Steps `P2` to `P4`.
fn check_authority(address: &Address<'_>) -> Result<(), Invalid> {
    if address.authority.contains('@') {
        return Err(Code::Userinfo.into()); // P2
    }
    let (host, port) = address.authority.split_once(':').unwrap_or((address.authority, ""));
    check_host(host).map_err(|code| match code {
        Code::NotLinkedin if is_bare_name(address) => Invalid::with_detail(code, Detail::BareName),
        code => code.into(),
    })?;
    let default = match address.scheme {
        Scheme::Http => "80",
        Scheme::Https | Scheme::Implied => "443",
    };
    if port.is_empty() || port == default { Ok(()) } else { Err(Code::BadPort.into()) } // P4
}

/// Whether an address has no host, only the name or number of a profile, with or without the page before it: `1035`,
/// `acme-corp`, `in/jane`.
fn is_bare_name(address: &Address<'_>) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    address.scheme == Scheme::Implied && address.authority.chars().all(is_name)
}

/// Step `P3`. It compares the unmapped host, so that no mapping can turn a look-alike into a host of LinkedIn.
fn check_host(host: &str) -> Result<(), Code> {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    match host {
        "lnkd.in" | "www.lnkd.in" => Err(Code::ShortLink),
        "linkedin.com" => Ok(()),
        _ if host.strip_suffix(".linkedin.com").is_some_and(is_linkedin_label) => Ok(()),
        _ => Err(Code::NotLinkedin),
    }
}

/// Whether `<label>.linkedin.com` shows the same profiles: the web and mobile hosts, and those of countries (`uk`,
/// `de`).
fn is_linkedin_label(label: &str) -> bool {
    matches!(label, "www" | "m" | "touch")
        || label.len() == 2 && label.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// The segments of the path, without empty ones (`P5`).
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Step `P5`. It also checks segments after the slug, because a `..` there would remove the segment before it.
fn check_dot_segments(path: &str) -> Result<(), Code> {
    if segments(path).any(is_dot_segment) { Err(Code::BadPath) } else { Ok(()) }
}

/// Whether `segment` is `.` or `..`, where a dot may be written as `%2e`.
fn is_dot_segment(segment: &str) -> bool {
    let without_dot = |text| strip_dot(text).unwrap_or(text);
    !segment.is_empty() && without_dot(without_dot(segment)).is_empty()
}

fn strip_dot(text: &str) -> Option<&str> {
    text.strip_prefix('.').or_else(|| strip_prefix_ignoring_case(text, "%2e"))
}

/// Step `P6`: the first segment, or the second if the first only says how the same page is shown: on mobile, from mail
/// or signed out.
fn first_unwrapped<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const WRAPPERS: [&str; 5] = ["m", "mwlite", "comm", "organization-guest", "public-profile"];
    let first = segments.next()?;
    if WRAPPERS.iter().any(|wrapper| first.eq_ignore_ascii_case(wrapper)) {
        segments.next()
    } else {
        Some(first)
    }
}

/// Steps `P7` and `P9`: the page, and the segment with the slug if there is one.
fn page<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Result<(Page, Option<&'a str>), Code> {
    let first = first_unwrapped(segments).ok_or(Code::NoProfile)?;
    if let Some(page) = Page::of(first) {
        return Ok((page, segments.next()));
    }
    // The ids of companies in the Sales Navigator are the ids of their pages. Other sales pages have ids of their own.
    let is_sales = first.eq_ignore_ascii_case("sales")
        && segments.next().is_some_and(|second| second.eq_ignore_ascii_case("company"));
    let id = segments.next().filter(|id| is_sales && id.bytes().all(|byte| byte.is_ascii_digit()));
    id.map(|id| (Page::Company, Some(id))).ok_or(Code::UnsupportedPath)
}

/// Step `P10`.
fn decode(segment: &str) -> Result<Cow<'_, str>, Invalid> {
    // The decoder keeps a `%` without two hex digits, so this checks it first.
    let is_malformed = segment.split('%').skip(1).any(|rest| {
        !matches!(rest.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    });
    let percent = Invalid::character(Code::BadSlug, '%');
    if is_malformed {
        return Err(percent);
    }
    percent_decode_str(segment).decode_utf8().map_err(|_| percent)
}

/// Step `P11`: LinkedIn ignores case in names, but not in member tokens.
fn fold(slug: Cow<'_, str>, page: Page) -> Cow<'_, str> {
    if page == Page::In && is_member_token(&slug) {
        return slug;
    }
    if slug.is_ascii() {
        // ASCII is already composed.
        let has_upper_case = slug.bytes().any(|byte| byte.is_ascii_uppercase());
        return if has_upper_case { Cow::Owned(slug.to_ascii_lowercase()) } else { slug };
    }
    let composed: String = slug.nfc().collect();
    Cow::Owned(composed.to_lowercase().nfc().collect())
}

/// Whether `slug` matches `^AC[ow]AA[A-Za-z0-9_-]{34}$`. This is base64, which is case-sensitive.
fn is_member_token(slug: &str) -> bool {
    let [b'A', b'C', b'o' | b'w', b'A', b'A', rest @ ..] = slug.as_bytes() else {
        return false;
    };
    rest.len() == 34 && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Step `P12`.
fn check_slug(slug: &str, page: Page) -> Result<(), Invalid> {
    if let Some(c) = slug.chars().find(|c| !is_slug_character(*c)) {
        return Err(Invalid::character(Code::BadSlug, c)); // a, b
    }
    let is_stray = |c: &char| matches!(c, ',' | ';' | ':') || page == Page::In && *c == '.';
    if let Some(c) = slug.chars().next_back().filter(is_stray) {
        return Err(Invalid::character(Code::BadSlug, c)); // c
    }
    if slug.chars().count() > MAX_SLUG {
        return Err(Code::TooLong.into()); // d
    }
    if slug == "unavailable" || page == Page::In && slug == "me" {
        return Err(Code::Placeholder.into()); // e
    }
    Ok(())
}

/// Steps `P12a` and `P12b`.
fn is_slug_character(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c)
    } else {
        !(c.is_control() || c.is_whitespace() || is_invisible(c) || c == char::REPLACEMENT_CHARACTER)
    }
}

#[cfg(test)]
mod tests {
    use super::ProfileKind::{Company, Person};
    use super::*;
    use crate::normalize::MAX_INPUT_CHARS;

    const TOKEN: &str = "ACoAABx7Qk2mZ9_pLr4TdW-uYv8NbHs3JfGc6Ea";

    #[track_caller]
    fn normalizes(input: &str, kind: ProfileKind, expected: &str) {
        let expected = format!("https://linkedin.com/{expected}");
        assert_eq!(linkedin_profile(input, kind).as_deref(), Ok(expected.as_str()), "{input:?}");
    }

    #[track_caller]
    fn is_invalid(input: &str, kind: ProfileKind, code: Code) {
        assert_eq!(linkedin_profile(input, kind).map_err(Invalid::code), Err(code), "{input:?}");
    }

    /// The address of a person with `slug`, plain and percent-encoded, which `P10` treats alike.
    fn addresses_of(slug: &str) -> [String; 2] {
        let encoded: String = slug.bytes().map(|byte| format!("%{byte:02x}")).collect();
        [slug, &encoded].map(|slug| format!("linkedin.com/in/{slug}"))
    }

    #[test]
    fn a_canonical_address_is_borrowed() {
        for (input, kind) in [
            ("https://linkedin.com/in/jane-roe", Person),
            ("https://linkedin.com/in/ACoAABx7Qk2mZ9_pLr4TdW-uYv8NbHs3JfGc6Ea", Person),
            ("https://linkedin.com/in/j%C3%BCrgen%2C-phd", Person),
            ("https://linkedin.com/company/acme-inc.", Company),
            ("https://linkedin.com/school/12345", Company),
            ("https://linkedin.com/showcase/a~b_c.d-", Company),
        ] {
            assert!(
                matches!(linkedin_profile(input, kind), Ok(Cow::Borrowed(same)) if same == input),
                "{input}"
            );
        }
    }

    #[test]
    fn a_company_in_the_sales_navigator_has_the_id_of_its_page() {
        for path in ["sales/company/1035", "Sales//COMPANY/1035/people", "m/sales/company/1035?x"] {
            normalizes(&format!("linkedin.com/{path}"), Company, "company/1035");
            is_invalid(&format!("linkedin.com/{path}"), Person, Code::WrongKind);
        }
        for path in [
            "sales",
            "sales/company",
            "sales/company/globex",
            "sales/company/10a",
            "sales/company/%31",
            "sales/company-beta/1035",
            "sales/lead/1035",
            "x/company/1035",
        ] {
            is_invalid(&format!("linkedin.com/{path}"), Company, Code::UnsupportedPath);
        }
    }

    #[test]
    fn a_bare_name_or_number_is_told_the_form_of_an_address() {
        let bare = Err(Invalid::with_detail(Code::NotLinkedin, Detail::BareName));
        for input in ["1035", "acme-corp", "jane_roe", "jürgen", "in/jane", "/company/acme"] {
            assert_eq!(linkedin_profile(input, Company), bare, "{input}");
        }
        for input in
            ["acme.com", "https://acme", "//acme", "acme.com/in/jane", "[x](https://linkedin.com/in/x)"]
        {
            assert_eq!(linkedin_profile(input, Company), Err(Code::NotLinkedin.into()), "{input}");
        }
    }

    #[test]
    fn the_first_character_that_a_name_cannot_have_is_named() {
        for (slug, c) in [
            ("a\"b<c", '"'),
            ("a%20b%2F", ' '),
            ("a%25b", '%'),
            ("a%zz", '%'),
            ("a%ff", '%'),
            ("a\u{200B}b", '\u{200B}'),
            ("jane,", ','),
            ("jane.", '.'),
        ] {
            let expected = Err(Invalid::character(Code::BadSlug, c));
            assert_eq!(linkedin_profile(&format!("linkedin.com/in/{slug}"), Person), expected, "{slug:?}");
        }
    }

    #[test]
    fn the_input_may_have_2048_characters_and_no_more() {
        let front = "linkedin.com/in/jane?";
        let query = "é".repeat(MAX_INPUT_CHARS - front.len());
        normalizes(&format!("\n{front}{query} "), Person, "in/jane");
        is_invalid(&format!("{front}{query}é"), Person, Code::TooLong);
    }

    #[test]
    fn the_shared_steps_come_first() {
        is_invalid("\u{FEFF} ", Person, Code::Empty);
        is_invalid("a@b c", Person, Code::BadChar);
        is_invalid("linkedin.com/in/jane?a b", Person, Code::BadChar);
        is_invalid("linkedin.com\\in\\jane", Person, Code::BadChar);
        is_invalid("ftp://a@linkedin.com/in/jane", Person, Code::BadScheme);
        is_invalid("linkedin:in/jane", Person, Code::BadScheme);
    }

    #[test]
    fn an_at_sign_in_the_authority_is_user_info_with_or_without_a_scheme() {
        for input in [
            "jane@linkedin.com",
            "@jane",
            "https://a:b@linkedin.com/in/x",
            "//@linkedin.com",
            "lnkd.in@x",
            "x@lnkd.in",
        ] {
            is_invalid(input, Person, Code::Userinfo);
        }
        normalizes("linkedin.com/in/jane@acme", Person, "in/jane%40acme");
        normalizes("linkedin.com/in/jane?a@b", Person, "in/jane");
    }

    #[test]
    fn all_hosts_of_linkedin_show_the_same_profile() {
        for host in ["", "www.", "m.", "touch.", "uk.", "de.", "zz.", "WWW.", "Uk."] {
            for end in ["", ".", ":", ".:", ":443", ".:443"] {
                normalizes(&format!("{host}LinkedIn.com{end}/in/jane"), Person, "in/jane");
            }
        }
    }

    #[test]
    fn other_hosts_are_not_linkedin() {
        for host in [
            "",
            ".",
            ".linkedin.com",
            "linkedin.com..",
            "linkedin",
            "www.linkedin",
            "usa.linkedin.com",
            "u.linkedin.com",
            "u1.linkedin.com",
            "u-.linkedin.com",
            "ük.linkedin.com",
            "é.linkedin.com",
            "..linkedin.com",
            "business.linkedin.com",
            "www.uk.linkedin.com",
            "uk.www.linkedin.com",
            "www.www.linkedin.com",
            "wwwlinkedin.com",
            "uklinkedin.com",
            "linkedin.com.evil.example",
            "linkedin.cn",
            "linkedin.com%2e",
            "%6cinkedin.com",
            "[::1]",
            "lin\u{212A}edin.com",
            "l\u{131}nkedin.com",
            "L\u{130}NKEDIN.COM",
            "ｌinkedin.com",
            "linkedin。com",
            "linke\u{AD}din.com",
            "www\u{200B}.linkedin.com",
            "uk.lnkd.in",
            "m.lnkd.in",
            "www.www.lnkd.in",
            "lnkd.in..",
        ] {
            is_invalid(&format!("https://{host}/in/jane"), Person, Code::NotLinkedin);
        }
    }

    #[test]
    fn short_links_are_invalid_with_any_port_and_path() {
        for input in [
            "lnkd.in",
            "LNKD.IN./x",
            "https://www.lnkd.in:8080/e/abc",
            "//lnkd.in:443",
            "www.lnkd.in.:x/../in",
        ] {
            is_invalid(input, Person, Code::ShortLink);
        }
    }

    #[test]
    fn the_host_is_checked_before_the_port() {
        is_invalid("https://acme.com:x/in/jane", Person, Code::NotLinkedin);
        is_invalid("https://[::1]:443/in/jane", Person, Code::NotLinkedin);
    }

    #[test]
    fn only_the_default_port_of_the_scheme_is_valid() {
        normalizes("http://linkedin.com:80/in/jane", Person, "in/jane");
        normalizes("http://linkedin.com:/in/jane", Person, "in/jane");
        normalizes("https://linkedin.com:443/in/jane", Person, "in/jane");
        normalizes("//linkedin.com:443/in/jane", Person, "in/jane");
        normalizes("linkedin.com:443/in/jane", Person, "in/jane");
        for input in [
            "http://linkedin.com:443/in/jane",
            "https://linkedin.com:80/in/jane",
            "//linkedin.com:80/in/jane",
            "linkedin.com:80/in/jane",
            "linkedin.com:0443/in/jane",
            "linkedin.com:443:/in/jane",
            "linkedin.com:443:443/in/jane",
            "linkedin.com::443/in/jane",
            "linkedin.com:８０/in/jane",
            "linkedin.com:+443/in/jane",
            "linkedin.com:x/../..",
        ] {
            is_invalid(input, Person, Code::BadPort);
        }
    }

    #[test]
    fn dot_segments_are_invalid_anywhere_in_the_path() {
        for dots in [".", "..", "%2e", "%2E", "%2e.", ".%2E", "%2E%2e"] {
            for path in [
                format!("/{dots}"),
                format!("/{dots}/in/jane"),
                format!("/in/{dots}/jane"),
                format!("/in/{dots}"),
                format!("/in/jane/{dots}"),
                format!("//in//jane//x//{dots}//"),
                format!("/in/jane/{dots}?x"),
                format!("/in/jane/{dots}#x"),
            ] {
                is_invalid(&format!("linkedin.com{path}"), Person, Code::BadPath);
            }
        }
    }

    #[test]
    fn dots_in_other_places_are_no_dot_segments() {
        for end in ["/...", "/.a", "/a.", "/%252e", "/%2", "/.%2", "/..;x", "/..%2f", "?/../", "#/../"] {
            normalizes(&format!("linkedin.com/in/jane{end}"), Person, "in/jane");
        }
        is_invalid("linkedin.com/in/...", Person, Code::BadSlug);
        is_invalid("linkedin.com/in/%252e", Person, Code::BadSlug);
    }

    #[test]
    fn a_dot_segment_is_reported_before_other_problems_of_the_path() {
        is_invalid("linkedin.com/jobs/..", Person, Code::BadPath);
        is_invalid("linkedin.com/company/acme/..", Person, Code::BadPath);
        is_invalid("linkedin.com/in/%zz/.", Person, Code::BadPath);
    }

    #[test]
    fn an_address_without_segments_names_no_profile() {
        for input in [
            "linkedin.com",
            "linkedin.com/",
            "www.linkedin.com////",
            "linkedin.com?in/x",
            "linkedin.com/#/in/x",
        ] {
            is_invalid(input, Person, Code::NoProfile);
        }
    }

    #[test]
    fn one_leading_wrapper_is_removed() {
        for wrapper in
            ["m", "mwlite", "comm", "organization-guest", "public-profile", "M", "MwLite", "Public-Profile"]
        {
            normalizes(&format!("linkedin.com/{wrapper}/in/jane"), Person, "in/jane");
            normalizes(&format!("linkedin.com//{wrapper}//company/acme"), Company, "company/acme");
            is_invalid(&format!("linkedin.com/{wrapper}"), Person, Code::NoProfile);
            is_invalid(&format!("linkedin.com/{wrapper}/"), Person, Code::NoProfile);
        }
    }

    #[test]
    fn a_second_wrapper_is_not_removed() {
        is_invalid("linkedin.com/m/m/in/jane", Person, Code::UnsupportedPath);
        is_invalid("linkedin.com/comm/mwlite", Person, Code::UnsupportedPath);
        normalizes("linkedin.com/in/m", Person, "in/m");
        normalizes("linkedin.com/m/in/comm", Person, "in/comm");
    }

    #[test]
    fn a_wrapper_is_compared_without_decoding() {
        is_invalid("linkedin.com/%6d/in/jane", Person, Code::UnsupportedPath);
        is_invalid("linkedin.com/co\u{FF4D}m/in/jane", Person, Code::UnsupportedPath);
    }

    #[test]
    fn pages_are_compared_in_ascii_lower_case_without_decoding() {
        normalizes("linkedin.com/IN/jane", Person, "in/jane");
        normalizes("linkedin.com/Company-BETA/12", Company, "company/12");
        normalizes("linkedin.com/SCHOOL/x", Company, "school/x");
        normalizes("linkedin.com/ShowCase/x", Company, "showcase/x");
        for page in
            ["%69n", "i%6E", "\u{130}n", "ın", "in;x", "in-", "school-beta", "in-beta", "companies", "ｉｎ"]
        {
            is_invalid(&format!("linkedin.com/{page}/jane"), Person, Code::UnsupportedPath);
        }
    }

    #[test]
    fn pages_that_are_not_profiles_are_invalid() {
        for path in [
            "pub/a/1/2/3",
            "profile/view",
            "sales/lead/x",
            "jobs",
            "feed",
            "groups/1",
            "authwall",
            "de/in/jane",
            "jane",
        ] {
            is_invalid(&format!("linkedin.com/{path}"), Person, Code::UnsupportedPath);
            is_invalid(&format!("linkedin.com/{path}"), Company, Code::UnsupportedPath);
        }
    }

    #[test]
    fn a_person_needs_in_and_a_company_any_other_page() {
        for page in ["company", "company-beta", "school", "showcase"] {
            is_invalid(&format!("linkedin.com/{page}/acme"), Person, Code::WrongKind);
        }
        is_invalid("linkedin.com/in/jane", Company, Code::WrongKind);
    }

    #[test]
    fn the_wrong_kind_is_reported_before_a_missing_or_bad_name() {
        is_invalid("linkedin.com/company", Person, Code::WrongKind);
        is_invalid("linkedin.com/in/", Company, Code::WrongKind);
        is_invalid("linkedin.com/in/%zz", Company, Code::WrongKind);
    }

    #[test]
    fn a_page_without_a_name_names_no_profile() {
        for input in
            ["linkedin.com/in", "linkedin.com/in//", "linkedin.com/m/in/?jane", "linkedin.com/in#jane"]
        {
            is_invalid(input, Person, Code::NoProfile);
        }
    }

    #[test]
    fn everything_after_the_name_is_dropped_unread() {
        for end in ["/", "//", "/about/", "/%ff/%zz", "/<x>", "/in/john", "?x", "#x", "/a?b#c"] {
            normalizes(&format!("linkedin.com/in/jane{end}"), Person, "in/jane");
        }
    }

    #[test]
    fn a_percent_sign_needs_two_hex_digits() {
        for slug in ["%", "a%", "a%4", "%4g", "%g4", "%%41", "%u0041", "% 41", "%é", "a%é1", "%41%", "%+1"]
        {
            let code = if slug.contains(' ') { Code::BadChar } else { Code::BadSlug };
            is_invalid(&format!("linkedin.com/in/{slug}"), Person, code);
        }
    }

    #[test]
    fn the_decoded_name_has_to_be_utf_8() {
        for slug in ["%ff", "%C3", "%C3%28", "%ED%A0%80", "%F4%90%80%80", "%C0%AF", "%E2%82", "é%C3", "%C3é"]
        {
            is_invalid(&format!("linkedin.com/in/{slug}"), Person, Code::BadSlug);
        }
    }

    #[test]
    fn a_name_is_decoded_once_only() {
        is_invalid("linkedin.com/in/%2541", Person, Code::BadSlug);
        is_invalid("linkedin.com/in/jane%2525", Person, Code::BadSlug);
        normalizes("linkedin.com/in/%4A%61ne+roe", Person, "in/jane%2Broe");
    }

    #[test]
    fn bytes_of_one_character_may_be_mixed_with_characters() {
        normalizes("linkedin.com/in/%C3%9Cé%c3%a9", Person, "in/%C3%BC%C3%A9%C3%A9");
    }

    #[test]
    fn names_are_composed_and_lower_cased() {
        normalizes("linkedin.com/in/JU%CC%88RGEN", Person, "in/j%C3%BCrgen");
        normalizes("linkedin.com/company/SociÉtÉ", Company, "company/soci%C3%A9t%C3%A9");
        normalizes("linkedin.com/in/\u{212A}elvin", Person, "in/kelvin");
        // A capital sigma is a final one at the end of a word only.
        normalizes("linkedin.com/in/ΣΟΣ", Person, "in/%CF%83%CE%BF%CF%82");
        // A dotted capital I is two characters in lower case.
        normalizes("linkedin.com/in/İ", Person, "in/i%CC%87");
        // Lower-casing does not fold: a sharp s and full-width letters stay what they are.
        normalizes("linkedin.com/in/ß", Person, "in/%C3%9F");
        normalizes("linkedin.com/in/Ａ", Person, "in/%EF%BD%81");
        // A comparison sign and a combining slash are one character once composed.
        normalizes("linkedin.com/in/a%3C%CC%B8b", Person, "in/a%E2%89%AEb");
    }

    #[test]
    fn lower_casing_is_followed_by_composition() {
        // Combinations in which decomposed, lower-cased and composed forms all differ.
        for slug in [
            "\u{2126}\u{301}",
            "\u{3D2}\u{301}",
            "İ\u{323}",
            "A\u{30A}\u{301}",
            "\u{1E9E}\u{301}",
            "Σ\u{345}",
        ] {
            let input = format!("linkedin.com/in/{slug}");
            let once = linkedin_profile(&input, Person).unwrap();
            let twice = linkedin_profile(&once, Person).unwrap();
            assert_eq!(once, twice, "{slug:?}");
        }
    }

    #[test]
    fn a_member_token_keeps_its_case() {
        let other = TOKEN.replacen("ACo", "ACw", 1);
        let symbols = format!("ACoAA{}", "_-".repeat(17));
        for token in [TOKEN, &other, &symbols] {
            for input in addresses_of(token) {
                normalizes(&input, Person, &format!("in/{token}"));
            }
        }
    }

    #[test]
    fn a_name_that_resembles_a_member_token_is_lower_cased() {
        for slug in [
            &TOKEN[..38],
            &format!("{TOKEN}a"),
            &TOKEN.replacen("AC", "Ac", 1),
            &TOKEN.replacen("ACo", "ACO", 1),
            &TOKEN.replacen("ACoAA", "ACoAB", 1),
            &TOKEN.replacen("ACo", "ACx", 1),
            &TOKEN.replacen('_', ".", 1),
            &TOKEN.replacen('_', "~", 1),
            &format!("x{TOKEN}"),
        ] {
            normalizes(&format!("linkedin.com/in/{slug}"), Person, &format!("in/{}", slug.to_lowercase()));
        }
        // As many bytes as a token, but not as many characters.
        let slug = format!("ACoAA{}", "É".repeat(17));
        normalizes(&format!("linkedin.com/in/{slug}"), Person, &format!("in/acoaa{}", "%C3%A9".repeat(17)));
    }

    #[test]
    fn only_people_have_member_tokens() {
        let expected = format!("company/{}", TOKEN.to_lowercase());
        normalizes(&format!("linkedin.com/company/{TOKEN}"), Company, &expected);
    }

    #[test]
    fn a_name_has_letters_digits_and_the_punctuation_of_paths() {
        for c in (0x20..0x7F).map(char::from) {
            let input = format!("linkedin.com/in/a%{:02X}b", u32::from(c));
            if c.is_ascii_alphanumeric() || "-._~".contains(c) {
                normalizes(&input, Person, &format!("in/a{}b", c.to_ascii_lowercase()));
            } else if "!$&'()*+,;=:@".contains(c) {
                normalizes(&input, Person, &format!("in/a%{:02X}b", u32::from(c)));
            } else {
                is_invalid(&input, Person, Code::BadSlug);
            }
        }
    }

    #[test]
    fn a_name_has_no_control_whitespace_invisible_or_replacement_characters() {
        for c in [
            '\0', '\t', '\n', '\u{7F}', '\u{80}', '\u{85}', '\u{A0}', '\u{3000}', '\u{2028}', '\u{AD}',
            '\u{61C}', '\u{180E}', '\u{200B}', '\u{200E}', '\u{202E}', '\u{2063}', '\u{2067}', '\u{FEFF}',
            '\u{FFFD}',
        ] {
            for slug in [format!("a{c}b"), format!("a{c}"), format!("{c}a"), c.to_string()] {
                let [_, encoded] = addresses_of(&slug);
                is_invalid(&encoded, Person, Code::BadSlug);
            }
        }
    }

    #[test]
    fn a_name_may_have_joiners_marks_and_private_characters() {
        for slug in ["a\u{200C}b", "a\u{200D}", "\u{301}", "\u{E000}", "\u{10FFFF}", "\u{2065}", "\u{FE0F}"] {
            for input in addresses_of(slug) {
                let expected = utf8_percent_encode(slug, RESERVED).to_string();
                normalizes(&input, Person, &format!("in/{expected}"));
            }
        }
    }

    #[test]
    fn a_name_must_not_end_in_the_punctuation_of_a_sentence() {
        for end in [",", ";", ":", "%2C", "%3b", "%3A", "\u{37E}", ".,"] {
            is_invalid(&format!("linkedin.com/in/jane{end}"), Person, Code::BadSlug);
            is_invalid(&format!("linkedin.com/company/acme{end}"), Company, Code::BadSlug);
        }
        for inside in [",", ";", ":"] {
            assert!(linkedin_profile(&format!("linkedin.com/in/a{inside}b"), Person).is_ok());
            assert!(linkedin_profile(&format!("linkedin.com/in/{inside}b"), Person).is_ok());
        }
    }

    #[test]
    fn only_an_organizations_name_may_end_in_a_dot() {
        is_invalid("linkedin.com/in/jane.", Person, Code::BadSlug);
        is_invalid("linkedin.com/in/jane%2e", Person, Code::BadSlug);
        for page in ["company", "school", "showcase"] {
            normalizes(&format!("linkedin.com/{page}/acme-inc%2e"), Company, &format!("{page}/acme-inc."));
        }
        normalizes("linkedin.com/company/...", Company, "company/...");
        for end in ["!", ")", "'", "-", "_", "~", "*", "="] {
            assert!(linkedin_profile(&format!("linkedin.com/in/jane{end}"), Person).is_ok(), "{end}");
        }
    }

    #[test]
    fn a_name_has_at_most_150_characters_once_decoded() {
        for c in ["a", "é", "🚀", "%41", "%C3%89"] {
            let longest = c.repeat(150);
            assert!(linkedin_profile(&format!("linkedin.com/in/{longest}"), Person).is_ok());
            is_invalid(&format!("linkedin.com/in/{longest}a"), Person, Code::TooLong);
        }
        // Composed first: 151 characters, of which two become one.
        let composed = format!("{}e\u{301}", "a".repeat(149));
        assert!(linkedin_profile(&format!("linkedin.com/in/{composed}"), Person).is_ok());
        // Lower-cased first: 150 characters, of which one becomes two.
        let lowered = format!("{}İ", "a".repeat(149));
        is_invalid(&format!("linkedin.com/in/{lowered}"), Person, Code::TooLong);
    }

    #[test]
    fn the_longest_canonical_address_fits_the_limit_of_inputs() {
        let input = format!("linkedin.com/showcase/{}", "🚀".repeat(150));
        let longest = linkedin_profile(&input, Company).unwrap();
        assert!(longest.len() <= MAX_INPUT_CHARS);
        assert_eq!(linkedin_profile(&longest, Company).unwrap(), longest);
    }

    #[test]
    fn bad_characters_and_endings_are_reported_before_length() {
        let long = "a".repeat(151);
        is_invalid(&format!("linkedin.com/in/{long}%20"), Person, Code::BadSlug);
        is_invalid(&format!("linkedin.com/in/{long}."), Person, Code::BadSlug);
        is_invalid(&format!("linkedin.com/company/{long},"), Company, Code::BadSlug);
    }

    #[test]
    fn the_placeholders_of_linkedin_are_invalid() {
        for slug in ["me", "ME", "%6De", "unavailable", "Unavailable"] {
            is_invalid(&format!("linkedin.com/in/{slug}"), Person, Code::Placeholder);
        }
        for page in ["company", "school", "showcase"] {
            is_invalid(&format!("linkedin.com/{page}/UNAVAILABLE/"), Company, Code::Placeholder);
            normalizes(&format!("linkedin.com/{page}/me"), Company, &format!("{page}/me"));
        }
        normalizes("linkedin.com/in/me2", Person, "in/me2");
        normalizes("linkedin.com/in/unavailable-", Person, "in/unavailable-");
    }

    #[test]
    fn hex_digits_are_written_in_upper_case() {
        normalizes("linkedin.com/company/a%2cb%c3%a9", Company, "company/a%2Cb%C3%A9");
    }

    #[test]
    fn numeric_ids_stay_as_given() {
        normalizes("linkedin.com/company/00012345", Company, "company/00012345");
    }
}
