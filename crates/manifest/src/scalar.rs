//! Reads YAML scalars as kubectl does: by the rules of YAML 1.1, where `yes` is a boolean and `010` is 8.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// The prefix of YAML's own tags.
const YAML: &str = "tag:yaml.org,2002:";

/// The value of a plain scalar without a tag; `None` for a number that JSON cannot hold.
pub(crate) fn plain(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        _ => {}
    }
    let numeric = text.trim_start_matches(['+', '-']).trim_start_matches('.');
    match numeric.as_bytes().first() {
        Some(b'0'..=b'9') => Some(number(text).unwrap_or_else(|| Value::String(text.to_owned()))),
        _ if is_infinite_or_nan(text) => None,
        _ => Some(Value::String(text.to_owned())),
    }
}

/// The value of a scalar with a tag, with or without quotes; `None` if it is not of that type. Any tag that is not one
/// of YAML's scalar types, such as `!vault`, makes it a string.
pub(crate) fn tagged(text: &str, tag: &str) -> Option<Value> {
    let as_it_is = || Value::String(text.to_owned());
    match tag.strip_prefix(YAML) {
        Some("null") => plain(text).filter(Value::is_null),
        Some("bool") => plain(text).filter(Value::is_boolean),
        Some("int") => plain(text).filter(|value| value.is_number() && is_integer(text)),
        Some("float") => plain(text).filter(Value::is_number),
        Some("binary") => {
            let base64: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            let bytes = STANDARD.decode(base64).ok()?;
            Some(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Some(as_it_is()),
    }
}

fn is_integer(text: &str) -> bool {
    integer(&text.replace('_', "")).is_some()
}

fn is_infinite_or_nan(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn number(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

fn integer(digits: &str) -> Option<Value> {
    let (negative, unsigned) = match digits.as_bytes().first()? {
        b'-' => (true, &digits[1..]),
        b'+' => (false, &digits[1..]),
        _ => (false, digits),
    };
    let (radix, figures) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if figures.starts_with(['+', '-']) {
        return None;
    }
    let size = u64::from_str_radix(figures, radix).ok()?;
    if !negative {
        return Some(Value::Number(size.into()));
    }
    let value = i64::try_from(-i128::from(size)).ok()?;
    Some(Value::Number(value.into()))
}

fn float(digits: &str) -> Option<Value> {
    let fits = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !digits.chars().all(fits) {
        return None;
    }
    let float: f64 = digits.parse().ok()?;
    // kubectl sends 1e3 as 1000.
    let whole = format!("{float}").parse::<i64>().ok();
    whole.map(Number::from).or_else(|| Number::from_f64(float)).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_and_numbers_have_the_meaning_of_kubectl() {
        let cases = [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("42", json!(42)),
            ("+42", json!(42)),
            ("-7", json!(-7)),
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000)),
            ("089", json!(89)),
            ("-0.0", json!(0)),
            ("1e300", json!(1e300)),
            ("18446744073709551615", json!(18446744073709551615u64)),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn strings_that_look_like_numbers_are_strings() {
        for text in
            ["acme.com", "1.2.3.4", "2027-01-15", "12:30:45x", "-", "+", ".", "0xzz", "--5", "1-2", "é"]
        {
            assert_eq!(plain(text), Some(json!(text)), "{text:?}");
        }
    }

    #[test]
    fn a_tag_sets_the_type_of_a_scalar() {
        let cases = [
            ("int", "5", Some(json!(5))),
            ("int", "x", None),
            ("int", "1.5", None),
            ("int", "", None),
            ("bool", "yes", Some(json!(true))),
            ("bool", "1", None),
            ("null", "", Some(json!(null))),
            ("null", "x", None),
            ("float", "1e3", Some(json!(1000))),
            ("float", "1.5", Some(json!(1.5))),
            ("float", "5", Some(json!(5))),
            ("float", ".inf", None),
            ("binary", "aGk=", Some(json!("hi"))),
            ("binary", "aG\nk=", Some(json!("hi"))),
            ("binary", "aGk", None),
            ("str", "yes", Some(json!("yes"))),
            ("timestamp", "2001-01-01", Some(json!("2001-01-01"))),
        ];
        for (tag, text, expected) in cases {
            assert_eq!(tagged(text, &format!("{YAML}{tag}")), expected, "{tag} {text:?}");
        }
        assert_eq!(tagged("yes", "!foo"), Some(json!("yes")));
    }

    #[test]
    fn infinity_and_not_a_number_have_no_json_form() {
        for text in [".inf", "-.Inf", ".NaN"] {
            assert_eq!(plain(text), None, "{text:?}");
        }
    }
}
