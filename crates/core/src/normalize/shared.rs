//! The first steps for both kinds of value: trimming, size, characters, scheme and split (`S1`–`S5`).

use super::code::{Code, Invalid};
use crate::characters::is_invisible;

/// The maximum number of characters (Unicode scalar values) of an input after trimming (`S2`).
pub const MAX_INPUT_CHARS: usize = 2048;

/// The parts of an input after `S5`. Nothing is decoded or resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub(super) scheme: Scheme,
    /// The part up to the first `/`, `?`, `#` or the end; may be empty.
    pub(super) authority: &'a str,
    /// The part from there to the first `?`, `#` or the end; empty, or starts with `/`.
    pub(super) path: &'a str,
    /// The part between the first `?` after the authority and the first `#`; may be empty.
    pub(super) query: &'a str,
}

/// The scheme of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `http://`.
    Http,
    /// `https://` or `//`.
    Https,
    /// No scheme, which means https.
    Implied,
}

/// Steps `S1` to `S5`.
pub(super) fn read(input: &str) -> Result<Address<'_>, Invalid> {
    // S1
    let value = trimmed(input);
    if value.is_empty() {
        return Err(Code::Empty.into());
    }
    // S2: a text has no more characters than bytes.
    if value.len() > MAX_INPUT_CHARS && value.chars().count() > MAX_INPUT_CHARS {
        return Err(Code::TooLong.into());
    }
    // S3: nearly every value is visible ASCII, where only the backslash is bad, and bytes are faster than characters.
    let is_fine = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_bad = |c: &char| c.is_control() || c.is_whitespace() || *c == '\\';
    if !is_fine && let Some(c) = value.chars().find(is_bad) {
        return Err(Invalid::character(Code::BadChar, c));
    }
    let (scheme, rest) = split_scheme(value)?;
    let (authority, path, query) = split(rest);
    Ok(Address { scheme, authority, path, query })
}

/// Step `S1`.
fn trimmed(input: &str) -> &str {
    input.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// What follows the last `@` of a value, if that `@` stands in the authority and nothing but letters, digits, `.` and
/// `-` follows it there: the part that is neither a password nor the name of a person.
///
/// The value may be invalid in any other way.
pub fn host_after_user(input: &str) -> Option<&str> {
    let value = trimmed(input);
    let (front, after_scheme) = value.split_once("//").unwrap_or(("", value));
    let has_scheme = front.is_empty() || front.ends_with(':') && !front.contains(['/', '?', '#', '@']);
    let rest = if has_scheme { after_scheme } else { value };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, host) = authority.rsplit_once('@')?;
    let after_authority = rest.strip_prefix(authority).unwrap_or_default();
    let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    (is_plain && !after_authority.contains('@')).then_some(host)
}

/// `text` without `prefix`, ignoring ASCII case.
pub(super) fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(prefix.len())?;
    front.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Step `S4`: the scheme and the rest.
fn split_scheme(value: &str) -> Result<(Scheme, &str), Code> {
    if let Some(rest) = strip_prefix_ignoring_case(value, "http://") {
        Ok((Scheme::Http, rest))
    } else if let Some(rest) = strip_prefix_ignoring_case(value, "https://") {
        Ok((Scheme::Https, rest))
    } else if let Some(rest) = value.strip_prefix("//") {
        Ok((Scheme::Https, rest))
    } else if names_another_scheme(value) {
        Err(Code::BadScheme)
    } else {
        Ok((Scheme::Implied, value))
    }
}

/// Cases `S4c` and `S4d`. The name of a scheme has no `:`, so it ends at the first one.
fn names_another_scheme(value: &str) -> bool {
    let Some((name, rest)) = value.split_once(':') else {
        return false;
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'));
    // A name with a dot is a host (`acme.com:http`), and a digit after the colon starts a port (`localhost:8080`). With
    // two slashes it is a scheme in any case.
    let has_slashes = rest.starts_with("//");
    let is_host_and_port = name.contains('.') || rest.starts_with(|c: char| c.is_ascii_digit());
    is_name && (has_slashes || !is_host_and_port)
}

/// Step `S5`: authority, path and query. The fragment is removed.
fn split(rest: &str) -> (&str, &str, &str) {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let tail = rest.strip_prefix(authority).unwrap_or_default();
    let tail = tail.split('#').next().unwrap_or_default();
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    (authority, path, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(
        scheme: Scheme,
        authority: &'static str,
        path: &'static str,
    ) -> Result<Address<'static>, Code> {
        Ok(Address { scheme, authority, path, query: "" })
    }

    /// The parts without the query, and the code of an invalid input.
    fn read(input: &str) -> Result<Address<'_>, Code> {
        let address = super::read(input).map_err(Invalid::code)?;
        Ok(Address { query: "", ..address })
    }

    #[test]
    fn whitespace_and_invisible_characters_are_trimmed_from_both_ends_in_any_order() {
        let ends = ["\u{FEFF} \u{200B}\t", "\u{85}\u{3000}\u{2028}\u{AD}", "\r\n\u{202A}\u{2069}\u{180E}"];
        for end in ends {
            let input = format!("{end}acme.com{end}");
            assert_eq!(read(&input), address(Scheme::Implied, "acme.com", ""), "{input:?}");
        }
    }

    #[test]
    fn an_input_of_only_white_space_and_invisible_characters_is_empty() {
        for input in ["", " ", "\u{200B}", "\u{FEFF}\n\u{61C}\u{2064} \u{2003}"] {
            assert_eq!(read(input), Err(Code::Empty), "{input:?}");
        }
    }

    #[test]
    fn joiners_and_control_characters_are_not_trimmed() {
        assert_eq!(read("\u{200C}"), address(Scheme::Implied, "\u{200C}", ""));
        assert_eq!(read("\u{200D}a"), address(Scheme::Implied, "\u{200D}a", ""));
        assert_eq!(read("\0"), Err(Code::BadChar));
        assert_eq!(read("acme.com\u{1}"), Err(Code::BadChar));
    }

    #[test]
    fn size_is_counted_in_characters_after_trimming() {
        let longest = "é".repeat(MAX_INPUT_CHARS);
        assert!(read(&longest).is_ok());
        assert!(read(&format!("  {longest}\u{200B}\n")).is_ok());
        assert_eq!(read(&format!("{longest}é")), Err(Code::TooLong));
    }

    #[test]
    fn size_is_checked_before_characters_and_scheme() {
        let long = "x".repeat(MAX_INPUT_CHARS);
        assert_eq!(read(&format!("ftp://a b{long}")), Err(Code::TooLong));
        assert_eq!(read("ftp://a b"), Err(Code::BadChar));
    }

    #[test]
    fn whitespace_control_characters_and_backslashes_are_invalid_anywhere() {
        for bad in
            [" ", "\u{A0}", "\u{3000}", "\u{2028}", "\u{85}", "\u{1680}", "\0", "\u{7F}", "\u{9F}", "\\"]
        {
            for input in [
                format!("ac{bad}me.com"),
                format!("a.b/{bad}x"),
                format!("a.b?{bad}x"),
                format!("a.b#{bad}x"),
                format!("https:{bad}//a.b"),
            ] {
                assert_eq!(read(&input), Err(Code::BadChar), "{input:?}");
            }
        }
    }

    #[test]
    fn invisible_characters_and_joiners_inside_are_checked_by_later_steps() {
        for inside in ["\u{200B}", "\u{AD}", "\u{FEFF}", "\u{202E}", "\u{200C}", "\u{200D}"] {
            assert!(read(&format!("a{inside}b.com")).is_ok(), "{inside:?}");
        }
    }

    #[test]
    fn http_and_https_are_schemes_in_any_case() {
        assert_eq!(read("http://a.b"), address(Scheme::Http, "a.b", ""));
        assert_eq!(read("HtTp://a.b"), address(Scheme::Http, "a.b", ""));
        assert_eq!(read("HTTPS://a.b"), address(Scheme::Https, "a.b", ""));
        assert_eq!(read("//a.b"), address(Scheme::Https, "a.b", ""));
        assert_eq!(read("a.b"), address(Scheme::Implied, "a.b", ""));
    }

    #[test]
    fn a_look_alike_of_http_is_not_a_scheme() {
        // The Kelvin sign and the long s have ASCII letters as their other case.
        assert_eq!(read("http\u{17F}://a.b"), address(Scheme::Implied, "http\u{17F}:", "//a.b"));
        assert_eq!(read("\u{FF48}ttp://a.b"), address(Scheme::Implied, "\u{FF48}ttp:", "//a.b"));
        assert_eq!(read("https\u{FF1A}//a.b"), address(Scheme::Implied, "https\u{FF1A}", "//a.b"));
    }

    #[test]
    fn only_one_scheme_is_removed() {
        assert_eq!(read("http://https://a.b"), address(Scheme::Http, "https:", "//a.b"));
        assert_eq!(read("////a.b"), address(Scheme::Https, "", "//a.b"));
        assert_eq!(read("///a.b"), address(Scheme::Https, "", "/a.b"));
    }

    #[test]
    fn a_name_and_two_slashes_are_a_bad_scheme_even_with_dots() {
        for input in ["ftp://a.b", "a.b://c", "x+y-1.z://", "h://1", "httpss://a.b", "shttp://a.b"] {
            assert_eq!(read(input), Err(Code::BadScheme), "{input}");
        }
    }

    #[test]
    fn a_name_and_a_colon_are_a_bad_scheme_unless_a_digit_follows() {
        for input in [
            "mailto:x",
            "localhost:",
            "https:",
            "http:/a.b",
            "a:b",
            "a:\u{FF18}",
            "a+b:",
            "a-1:x",
            "a:/8",
            "a:?1",
        ] {
            assert_eq!(read(input), Err(Code::BadScheme), "{input}");
        }
        for input in ["localhost:8080", "mailto:8", "a:0x"] {
            assert_eq!(read(input), address(Scheme::Implied, input, ""), "{input}");
        }
    }

    #[test]
    fn a_dot_before_the_colon_makes_a_host() {
        for input in ["acme.com:", "acme.com:http", "a.:x"] {
            assert_eq!(read(input), address(Scheme::Implied, input, ""), "{input}");
        }
    }

    #[test]
    fn an_invalid_scheme_name_is_no_scheme() {
        for input in ["1a:b", ":b", "+a:b", "-a:b", "a_b:c", "é:x", "aé:x", "a@b:c", "[::1]"] {
            assert_eq!(read(input), address(Scheme::Implied, input, ""), "{input}");
        }
        assert_eq!(read("3://x"), address(Scheme::Implied, "3:", "//x"));
        assert_eq!(read("://x"), address(Scheme::Implied, ":", "//x"));
        assert_eq!(read("a/b:c"), address(Scheme::Implied, "a", "/b:c"));
    }

    #[test]
    fn the_authority_ends_at_the_first_slash_question_mark_or_hash() {
        assert_eq!(read("a.b/c/d?e/f#g"), address(Scheme::Implied, "a.b", "/c/d"));
        assert_eq!(read("a.b?c/d"), address(Scheme::Implied, "a.b", ""));
        assert_eq!(read("a.b#c/d?e"), address(Scheme::Implied, "a.b", ""));
        assert_eq!(read("a.b/c#d?e/f"), address(Scheme::Implied, "a.b", "/c"));
        assert_eq!(read("a.b/?c"), address(Scheme::Implied, "a.b", "/"));
        assert_eq!(read("?a"), address(Scheme::Implied, "", ""));
        assert_eq!(read("/a"), address(Scheme::Implied, "", "/a"));
    }

    #[test]
    fn the_query_is_between_the_first_question_mark_and_the_first_hash() {
        let query = |input| super::read(input).unwrap().query;
        for (input, expected) in [
            ("a.b", ""),
            ("a.b?", ""),
            ("a.b/c?d=e?f#g?h", "d=e?f"),
            ("a.b#?c", ""),
            ("a.b/#/?c", ""),
            ("a.b?#c", ""),
        ] {
            assert_eq!(query(input), expected, "{input}");
        }
    }

    #[test]
    fn the_first_forbidden_character_is_named() {
        for (input, c) in [("acme com\\x", ' '), ("acme.com/\\ ", '\\'), ("a\u{A0}b\tc", '\u{A0}')] {
            assert_eq!(super::read(input), Err(Invalid::character(Code::BadChar, c)), "{input:?}");
        }
    }

    #[test]
    fn only_a_plain_host_after_the_last_at_sign_of_the_authority_may_be_shown() {
        for (input, expected) in [
            ("jane@acme.com", Some("acme.com")),
            (" jane doe@acme.com\u{200B} ", Some("acme.com")),
            ("https://user:p@ss@acme.com/x?y", Some("acme.com")),
            ("//user@acme.com#x", Some("acme.com")),
            ("ftp://user@acme.com", Some("acme.com")),
            ("mailto:jane@acme.com", Some("acme.com")),
            ("jane@", Some("")),
            ("acme.com", None),
            ("acme.com/@jane", None),
            ("https://acme.com?mail=jane@acme.com", None),
            ("jane@acme.com/@x", None),
            ("jane@acme.com:443", None),
            ("user:p/w@acme.com", None),
            ("jane@acme.com, bob", None),
            ("jane@acme.com\\x", None),
            ("jane@bücher.example", None),
            ("a@b//c@d.com", None),
            ("https://a?//c@d.com", None),
        ] {
            assert_eq!(host_after_user(input), expected, "{input:?}");
        }
    }

    #[test]
    fn nothing_is_decoded_or_resolved_when_splitting() {
        assert_eq!(read("a%2Fb/../%2e"), address(Scheme::Implied, "a%2Fb", "/../%2e"));
    }

    #[test]
    fn a_prefix_is_stripped_only_on_a_character_boundary() {
        assert_eq!(strip_prefix_ignoring_case("%2Ex", "%2e"), Some("x"));
        assert_eq!(strip_prefix_ignoring_case("%2", "%2e"), None);
        assert_eq!(strip_prefix_ignoring_case("a\u{1F680}", "%2e"), None);
    }
}
