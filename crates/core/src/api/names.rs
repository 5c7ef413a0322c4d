//! The forms of names and times: what is safe in an API path, and what the API server reads.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use regex::Regex;

use super::limits;
use crate::characters::is_invisible;

/// Longer texts are not compared with known words, in bytes.
const LONGEST_COMPARED: usize = 4 * limits::LABEL;

/// Whether a name is a DNS-1123 subdomain, as names of most objects are. The API machinery bounds only the whole.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= limits::NAME && name.split('.').all(has_form_of_a_label)
}

/// Whether a name is a DNS-1123 label, as names of namespaces are.
pub fn is_label(name: &str) -> bool {
    name.len() <= limits::LABEL && has_form_of_a_label(name)
}

fn has_form_of_a_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether a text can be a label's key: a name, or a DNS subdomain, a slash and a name.
pub fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && has_form_of_a_label_name(name),
        None => has_form_of_a_label_name(key),
    }
}

/// Whether a text can be a label's value: it may be empty.
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || has_form_of_a_label_name(value)
}

fn has_form_of_a_label_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    (1..=limits::LABEL).contains(&name.len())
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
}

/// Whether a name of a creator or user is safe as one segment of an API path.
///
/// 1 to 253 characters, no `/` or `%`, no white space, no control or invisible characters, and not `.` or `..`. Letters
/// of all scripts are let through, also those that look like others: no list of them is complete, and names of people
/// need them.
pub fn is_path_segment(name: &str) -> bool {
    let forbidden =
        |c: char| matches!(c, '/' | '%') || c.is_whitespace() || c.is_control() || is_invisible(c);
    !matches!(name, "" | "." | "..")
        && name.chars().take(limits::NAME + 1).count() <= limits::NAME
        && !name.contains(forbidden)
}

/// The first invisible character of a name. Without it the name would look the same and be another one.
pub fn invisible_character(name: &str) -> Option<char> {
    name.chars().find(|c| is_invisible(*c))
}

/// The known word most like `written`, whatever its case, if it is at least so like it (Jaro-Winkler, 0 to 1); the
/// first of equals.
pub fn nearest<'w>(known: impl IntoIterator<Item = &'w str>, written: &str, least: f64) -> Option<&'w str> {
    // What is longer than any label value or kind was not meant as one, and would take its time to compare.
    if written.len() > LONGEST_COMPARED {
        return None;
    }
    let written = written.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for word in known {
        let likeness = strsim::jaro_winkler(&word.to_lowercase(), &written);
        if likeness >= least && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, word));
        }
    }
    best.map(|(_, word)| word)
}

/// Reads a time of RFC 3339, section 5.6: what the schema's `date-time` format accepts.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    static SHAPE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        // Without Unicode, whose digits are many, and which no time has.
        let shape =
            r"(?-u)^(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:[0-5]\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})$";
        Regex::new(shape).ok()
    });
    // jiff reads more forms than RFC 3339 has, and fractions of at most nine digits.
    let parts = SHAPE.as_ref()?.captures(text)?;
    let part = |group| parts.get(group).map(|part| part.as_str());
    let (civil, fraction, offset) = (part(1)?, part(2).unwrap_or("0"), part(3)?);
    if let Ok(time) = format!("{civil}.{fraction}{offset}").parse() {
        return Some(time);
    }
    // The last hours of the year 9999, a popular "never", lie past the last instant that jiff has.
    let is_a_date = civil.parse::<DateTime>().is_ok()
        && format!("2000-01-01T00:00:00{offset}").parse::<Timestamp>().is_ok();
    (is_a_date && civil.starts_with("9999-12-3")).then_some(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_are_what_objects_are_named() {
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
    fn keys_and_values_of_labels_have_the_form_that_the_api_server_demands() {
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
    fn names_that_are_not_one_path_segment_are_no_names() {
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
    fn names_with_a_character_that_nobody_sees_are_no_names() {
        for c in ('\0'..=char::MAX).filter(|c| is_invisible(*c)) {
            let name = format!("al{c}ice");
            assert!(!is_path_segment(&name), "{name:?}");
            assert_eq!(invisible_character(&name), Some(c));
        }
        // Joiners, which some scripts need, and letters that only look like others.
        for name in ["کاربر\u{200c}ها", "क्\u{200d}ष", "\u{430}lice"] {
            assert!(is_path_segment(name) && invisible_character(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
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
