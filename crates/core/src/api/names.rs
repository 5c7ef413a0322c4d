//! Validates names and times: which names are safe in an API path, and which times the API server accepts.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use regex::Regex;

use super::limits;
use crate::characters::is_invisible;

/// Longer strings, in bytes, are not compared with known words.
const LONGEST_COMPARED: usize = 4 * limits::LABEL;

/// Whether a name is a DNS-1123 subdomain, as the names of most objects are. As in the API machinery, only the length
/// of the whole name is limited.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= limits::NAME && name.split('.').all(is_label_of_any_length)
}

/// Whether a name is a DNS-1123 label, as the names of namespaces are.
pub fn is_label(name: &str) -> bool {
    name.len() <= limits::LABEL && is_label_of_any_length(name)
}

fn is_label_of_any_length(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether a string is a valid label key: a name, or a DNS subdomain, a slash and a name.
pub fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label_name(name),
        None => is_label_name(key),
    }
}

/// Whether a string is a valid label value, which may be empty.
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_name(value)
}

fn is_label_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    (1..=limits::LABEL).contains(&name.len())
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
}

/// The name of an object after its namespace, if it has one: `NAMESPACE/NAME`. An empty name stays empty.
pub fn full_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() || name.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// The namespace and the name in a [full name](full_name).
pub fn split_full_name(full_name: &str) -> (Option<&str>, &str) {
    full_name.split_once('/').map_or((None, full_name), |(namespace, name)| (Some(namespace), name))
}

/// Whether a name of a creator or user is safe as one segment of an API path.
///
/// The name has 1 to 253 characters, no `/` or `%`, no white space, no control or invisible characters, and is not `.`
/// or `..`. Letters of all scripts are valid, even if they look like other letters: no list of those is complete, and
/// names of people need them.
pub fn is_path_segment(name: &str) -> bool {
    let forbidden =
        |c: char| matches!(c, '/' | '%') || c.is_whitespace() || c.is_control() || is_invisible(c);
    !matches!(name, "" | "." | "..")
        && name.chars().take(limits::NAME + 1).count() <= limits::NAME
        && !name.contains(forbidden)
}

/// The first invisible character of a name. Such a name looks like another name.
pub fn invisible_character(name: &str) -> Option<char> {
    name.chars().find(|c| is_invisible(*c))
}

/// The least similarity of a suggestion for most words, for [`nearest`].
pub const NEAR_MISS: f64 = 0.8;

/// The known word that is most similar to `written`, ignoring case, with a similarity of at least `least`
/// (Jaro-Winkler, 0 to 1). Of equally similar words, the first.
pub fn nearest<'w>(known: impl IntoIterator<Item = &'w str>, written: &str, least: f64) -> Option<&'w str> {
    // A string that is longer than any label value or kind cannot be a typo of one, and the comparison would be slow.
    if written.len() > LONGEST_COMPARED {
        return None;
    }
    let written = written.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for word in known {
        let similarity = strsim::jaro_winkler(&word.to_lowercase(), &written);
        if similarity >= least && best.is_none_or(|(most, _)| similarity > most) {
            best = Some((similarity, word));
        }
    }
    best.map(|(_, word)| word)
}

/// Parses a time of RFC 3339, section 5.6, which is the `date-time` format of the schema.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    static SHAPE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        // Without Unicode, so that `\d` matches ASCII digits only.
        let shape =
            r"(?-u)^(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:[0-5]\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})$";
        Regex::new(shape).ok()
    });
    // jiff accepts more formats than RFC 3339, but fractions of at most nine digits.
    let parts = SHAPE.as_ref()?.captures(text)?;
    let part = |group| parts.get(group).map(|part| part.as_str());
    let (civil, fraction, offset) = (part(1)?, part(2).unwrap_or("0"), part(3)?);
    if let Ok(time) = format!("{civil}.{fraction}{offset}").parse() {
        return Some(time);
    }
    // The last hours of the year 9999, often used for "never", are later than the last instant of jiff.
    let is_a_date = civil.parse::<DateTime>().is_ok()
        && format!("2000-01-01T00:00:00{offset}").parse::<Timestamp>().is_ok();
    (is_a_date && civil.starts_with("9999-12-3")).then_some(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_objects_are_dns_subdomains() {
        let longest = "a".repeat(253);
        for good in ["a", "acme-corp", "1.2.3", "a.b-c.d", &longest] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "-a", "a-", "A", "a_b", "a/b", "ä", &"a".repeat(254)] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert!(is_label(&"a".repeat(63)) && !is_label(&"a".repeat(64)) && !is_label("a.b"));
    }

    #[test]
    fn a_full_name_has_the_namespace_first() {
        for (namespace, name, full) in [(None, "acme", "acme"), (Some("sales"), "call", "sales/call")] {
            assert_eq!(full_name(namespace.unwrap_or_default(), name), full);
            assert_eq!(split_full_name(full), (namespace, name));
        }
        assert_eq!(full_name("sales", ""), "");
    }

    #[test]
    fn label_keys_and_values_are_valid_as_for_the_api_server() {
        for good in ["source", "crm.milo.io/source", "a.b_c-D", "a.b-c/A_1.b"] {
            assert!(is_label_key(good), "{good}");
        }
        for bad in ["", "a b", "-a", "A.b/c", "a/b/c", "a_b/c", "/a", "a/", &"a".repeat(64)] {
            assert!(!is_label_key(bad), "{bad}");
        }
        assert!(
            is_label_value("") && is_label_value("a_B.1") && !is_label_value("a b") && !is_label_value("a-")
        );
    }

    #[test]
    fn a_name_must_be_one_path_segment() {
        for bad in ["", ".", "..", "a/b", "a%2fb", "a b", "a\u{a0}b", "a\tb", "a\u{7f}"] {
            assert!(!is_path_segment(bad), "{bad:?}");
        }
        for good in [
            "alice",
            "oidc:alice@corp.example",
            "system:serviceaccount:ns:sa",
            "...",
            "åsa",
            &"a".repeat(253),
        ] {
            assert!(is_path_segment(good), "{good:?}");
        }
        assert!(!is_path_segment(&"é".repeat(254)));
    }

    #[test]
    fn a_name_must_not_have_invisible_characters() {
        for c in ('\0'..=char::MAX).filter(|c| is_invisible(*c)) {
            let name = format!("al{c}ice");
            assert!(!is_path_segment(&name), "{name:?}");
            assert_eq!(invisible_character(&name), Some(c));
        }
        // Joiners, which some scripts need, and letters that look like others.
        for name in ["کاربر\u{200c}ها", "क्\u{200d}ष", "\u{430}lice"] {
            assert!(is_path_segment(name) && invisible_character(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn times_have_the_format_of_rfc_3339() {
        for good in [
            "2027-01-15T09:00:00Z",
            "2027-01-15t09:00:00.123z",
            "2027-01-15T09:00:00+01:00",
            "2027-01-15T09:30:00.1234567890123Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-05:00",
        ] {
            assert!(parse_time(good).is_some(), "{good}");
        }
        for bad in [
            "2027-01-15",
            "2027-01-15 09:00:00Z",
            "2027-01-15T09:00Z",
            "2027-13-15T09:00:00Z",
            "2027-01-15T09:00:60Z",
            "9999-12-32T00:00:00Z",
            "2027-01-15T09:00:00+99:99",
            "2027-01-15T09:00:00",
            "tomorrow",
            "",
        ] {
            assert!(parse_time(bad).is_none(), "{bad}");
        }
    }
}
