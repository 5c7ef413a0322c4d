//! Reads YAML scalars as kubectl does: by the rules of YAML 1.1, where `yes` is a boolean and `010` is 8.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Number, Value};

/// The prefix of YAML's own tags.
const YAML: &str = "tag:yaml.org,2002:";
/// kubectl does not look at the bits after the last byte.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What a scalar means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer that is too large for `Int`.
    LargeInt(u64),
    Float(f64),
    Text(String),
}

impl Resolved {
    /// Its JSON form.
    pub(crate) fn value(self) -> Result<Value, &'static str> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(bool) => Value::Bool(bool),
            Self::Int(int) => Value::Number(int.into()),
            // kubectl has no type for it.
            #[expect(clippy::cast_precision_loss, reason = "kubectl rounds it, too")]
            Self::LargeInt(int) => float(int as f64)?,
            Self::Float(number) => float(number)?,
            Self::Text(text) => Value::String(text),
        })
    }

    /// The key of a map that it becomes.
    pub(crate) fn key(&self) -> Result<String, &'static str> {
        Ok(match self {
            Self::Null => return Err("a key must not be empty or null"),
            Self::LargeInt(_) => return Err("the number is too large for a key"),
            Self::Bool(bool) => bool.to_string(),
            Self::Int(int) => int.to_string(),
            Self::Float(number) => float_key(*number),
            Self::Text(text) => text.clone(),
        })
    }
}

/// kubectl sends 1e3 as 1000.
fn float(number: f64) -> Result<Value, &'static str> {
    let whole = format!("{number}").parse::<i64>().ok();
    let number = whole.map(Number::from).or_else(|| Number::from_f64(number));
    number.map(Value::Number).ok_or("infinity and not-a-number have no form in JSON")
}

/// A number as a key: as short as possible for a float of 32 bits, with an exponent from a million on.
#[expect(clippy::cast_possible_truncation, reason = "kubectl rounds it, too")]
fn float_key(number: f64) -> String {
    let number = number as f32;
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, Ok(exponent))) =
        scientific.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>()))
    else {
        return scientific;
    };
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The meaning of a plain scalar, or of one with a tag, which is in its long form; `None` if it is not of that type.
///
/// A tag that is not one of YAML's scalar types, such as `!vault`, makes it a string.
pub(crate) fn resolve(tag: &str, text: &str) -> Option<Resolved> {
    let as_it_is = || Resolved::Text(text.to_owned());
    let of_type = match tag.strip_prefix(YAML) {
        _ if tag.is_empty() => return Some(plain(text)),
        Some("null") => |resolved: &Resolved| matches!(resolved, Resolved::Null),
        Some("bool") => |resolved: &Resolved| matches!(resolved, Resolved::Bool(_)),
        Some("int") => |resolved: &Resolved| matches!(resolved, Resolved::Int(_) | Resolved::LargeInt(_)),
        Some("float") => {
            return match plain(text) {
                #[expect(clippy::cast_precision_loss, reason = "kubectl rounds it, too")]
                Resolved::Int(int) => Some(Resolved::Float(int as f64)),
                Resolved::Float(number) => Some(Resolved::Float(number)),
                _ => None,
            };
        }
        Some("timestamp") => return is_timestamp(text).then(as_it_is),
        Some("binary") => return binary(text).map(Resolved::Text),
        _ => return Some(as_it_is()),
    };
    Some(plain(text)).filter(of_type)
}

/// The meaning of a scalar without quotes and tag.
pub(crate) fn plain(text: &str) -> Resolved {
    let resolved = match text.bytes().next() {
        None => Some(Resolved::Null),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => word(text),
        Some(b'.') => word(text).or_else(|| fraction(text)),
        Some(b'+' | b'-' | b'0'..=b'9') => word(text).or_else(|| number(text)),
        Some(_) => None,
    };
    resolved.unwrap_or_else(|| Resolved::Text(text.to_owned()))
}

fn word(text: &str) -> Option<Resolved> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Resolved::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Resolved::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Resolved::Null,
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// A number that starts with its dot. Underscores must be between digits.
fn fraction(text: &str) -> Option<Resolved> {
    let is_digit =
        |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
    let is_between_digits = |(at, _): (usize, &str)| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
    let is_number = text.match_indices('_').all(is_between_digits);
    is_number.then(|| decimal(&text.replace('_', ""))).flatten()
}

fn number(text: &str) -> Option<Resolved> {
    let digits: Cow<'_, str> = if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    integer(&digits).or_else(|| decimal(&digits)).or_else(|| odd_binary(&digits))
}

/// A number in decimal, octal (`0` or `0o`), hexadecimal or binary.
fn integer(digits: &str) -> Option<Resolved> {
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let (radix, figures) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, unsigned.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, unsigned.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, unsigned.get(2..)?),
        [b'0', _, ..] => (8, unsigned.get(1..)?),
        _ => (10, unsigned),
    };
    if figures.starts_with(['+', '-']) {
        return None;
    }
    let size = u64::from_str_radix(figures, radix).ok()?;
    let signed = if digits.starts_with('-') { -i128::from(size) } else { i128::from(size) };
    match i64::try_from(signed) {
        Ok(int) => Some(Resolved::Int(int)),
        Err(_) => (unsigned.len() == digits.len()).then_some(Resolved::LargeInt(size)),
    }
}

/// A binary number with a sign after its prefix.
fn odd_binary(digits: &str) -> Option<Resolved> {
    let figures = digits.strip_prefix("0b")?;
    i64::from_str_radix(figures, 2).ok().map(Resolved::Int)
}

fn decimal(digits: &str) -> Option<Resolved> {
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    let number: f64 = digits.parse().ok().filter(|_| is_number)?;
    Some(Resolved::Float(number)).filter(|_| number.is_finite())
}

fn binary(text: &str) -> Option<String> {
    let base64: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = BASE64.decode(base64).ok()?;
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        decoded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Some(decoded)
}

/// Whether a text is a date, or a date and time, in one of the forms that kubectl knows.
fn is_timestamp(text: &str) -> bool {
    timestamp(text).is_some()
}

fn timestamp(text: &str) -> Option<()> {
    let mut rest = Figures(text);
    let year = rest.exactly(4)?;
    rest.skip("-")?;
    let month = rest.up_to_two()?;
    rest.skip("-")?;
    let day = rest.up_to_two()?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then_some(())?;
    if rest.0.is_empty() {
        return Some(());
    }
    let has_zone = rest.skip("T").or_else(|| rest.skip("t")).is_some();
    if !has_zone {
        rest.spaces()?;
    }
    rest.time()?;
    if has_zone {
        rest.zone()?;
    }
    rest.0.is_empty().then_some(())
}

/// The rest of a timestamp.
struct Figures<'t>(&'t str);

impl Figures<'_> {
    fn skip(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn exactly(&mut self, length: usize) -> Option<u32> {
        let (figures, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        figures.bytes().all(|byte| byte.is_ascii_digit()).then(|| figures.parse().ok()).flatten()
    }

    fn up_to_two(&mut self) -> Option<u32> {
        let length = self.0.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if length == 0 { None } else { self.exactly(length) }
    }

    fn spaces(&mut self) -> Option<()> {
        let rest = self.0.trim_start_matches(' ');
        let is_any = rest.len() < self.0.len();
        self.0 = rest;
        is_any.then_some(())
    }

    /// Hours, minutes, seconds and a fraction of them.
    fn time(&mut self) -> Option<()> {
        for (index, end) in [24, 60, 60].into_iter().enumerate() {
            if index > 0 {
                self.skip(":")?;
            }
            self.up_to_two().filter(|figures| *figures < end)?;
        }
        if let Some(fraction) = self.0.strip_prefix(['.', ',']) {
            let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if rest.len() < fraction.len() {
                self.0 = rest;
            }
        }
        Some(())
    }

    /// `Z`, or an offset such as `+02:00`.
    fn zone(&mut self) -> Option<()> {
        if self.skip("Z").is_some() {
            return Some(());
        }
        self.skip("+").or_else(|| self.skip("-"))?;
        self.exactly(2).filter(|hours| *hours <= 24)?;
        self.skip(":")?;
        self.exactly(2).filter(|minutes| *minutes <= 60)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        plain(text).value().unwrap()
    }

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
            ("0b101", json!(5)),
            ("0b-101", json!(-5)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            (".5_0", json!(0.5)),
            ("1e3", json!(1000)),
            ("089", json!(89)),
            ("-0.0", json!(0)),
            ("1e300", json!(1e300)),
            ("18446744073709551615", json!(18446744073709551615.0)),
            ("07777777777777777777777777", json!(7777777777777777777777777.0)),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        let texts = [
            "acme.com",
            "1.2.3.4",
            "2027-01-15",
            "12:30:45x",
            "-",
            "+",
            ".",
            "0xzz",
            "--5",
            "1-2",
            "é",
            "1e999",
            "._5",
            ".5_",
            "+0xFFFFFFFFFFFFFFFF",
            "<<",
            "=",
            "nULL",
        ];
        for text in texts {
            assert_eq!(read(text), json!(text), "{text:?}");
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
            ("float", "18446744073709551615", None),
            ("binary", "aGk=", Some(json!("hi"))),
            ("binary", "aG\nk=", Some(json!("hi"))),
            ("binary", "aGl=", Some(json!("hi"))),
            ("binary", "aGk", None),
            ("binary", "4oI=", Some(json!("\u{fffd}\u{fffd}"))),
            ("str", "yes", Some(json!("yes"))),
        ];
        for (tag, text, expected) in cases {
            let resolved = resolve(&format!("{YAML}{tag}"), text);
            assert_eq!(resolved.map(|resolved| resolved.value().unwrap()), expected, "{tag} {text:?}");
        }
        assert_eq!(resolve("!foo", "yes"), Some(Resolved::Text("yes".to_owned())));
    }

    #[test]
    fn what_has_the_tag_of_a_timestamp_is_one() {
        let timestamps = [
            "2001-01-01",
            "2001-1-1",
            "2000-02-29",
            "2001-12-14t21:59:43.10-05:00",
            "2001-12-14T1:2:3Z",
            "2001-12-14   21:59:43.1",
            "2001-12-14 21:59:43,1",
        ];
        for text in timestamps {
            assert_eq!(resolve(&format!("{YAML}timestamp"), text), Some(Resolved::Text(text.to_owned())));
        }
        for text in
            ["", "x", "2001", "2001-02-29", "2001-13-01", "2001-12-14 24:00:00", "2001-12-14 21:59:43Z"]
        {
            assert_eq!(resolve(&format!("{YAML}timestamp"), text), None, "{text:?}");
        }
    }

    #[test]
    fn infinity_and_not_a_number_have_no_json_form() {
        for text in [".inf", "-.Inf", ".NaN"] {
            assert!(plain(text).value().is_err(), "{text:?}");
        }
    }

    #[test]
    fn keys_are_strings() {
        let cases = [
            ("1", "1"),
            ("yes", "true"),
            ("1.5", "1.5"),
            ("1e5", "100000"),
            ("1e6", "1e+06"),
            ("123456789.5", "1.2345679e+08"),
            ("0.00001", "1e-05"),
            ("0.0001", "0.0001"),
            ("-.inf", "-.inf"),
            (".nan", ".nan"),
            ("1e300", ".inf"),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text).key().as_deref(), Ok(expected), "{text:?}");
        }
        assert!(plain("").key().is_err());
        assert!(plain("18446744073709551615").key().is_err());
    }
}
