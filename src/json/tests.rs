//! Compares the reader with serde_json, value by value.

use rstest::rstest;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;

/// A document of which a part is passed over.
#[derive(Debug, Deserialize, PartialEq)]
struct Document {
    kept: Value,
}

/// Reads a value, and passes over it.
fn read_and_passed(json: &str) -> (Option<Value>, bool) {
    let kept = format!(r#"{{"kept":{json},"x":1}}"#);
    let passed = format!(r#"{{"passed":{json},"kept":1}}"#);
    for document in [&kept, &passed] {
        let expected = serde_json::from_str::<Document>(document).ok();
        assert_eq!(read::<Document>(document), expected, "{document}");
    }
    (read::<Document>(&kept).map(|document| document.kept), read::<Document>(&passed).is_some())
}

#[rstest]
#[case::null("null")]
#[case::booleans("[true,false]")]
#[case::integers("[0,7,-7,18446744073709551615,-9223372036854775808]")]
#[case::large_integers("[18446744073709551616,-9223372036854775809]")]
#[case::fractions("[0.1,-0,-0.0,1e5,1E+5,1e-999,2.2250738585072011e-308]")]
#[case::strings(r#"["","a","acme.com","0123456","01234567","012345678","0123456789abcdef0123456789"]"#)]
#[case::other_characters("[\"ü€😀\",\"\u{7f}\u{80}\u{ff}\",\"abcdefgü\",\"\u{feff}\"]")]
#[case::escapes(r#"["\"\\\/\b\f\n\r\t","a\nb","\u0041\u00fc\u20AC","\ud83d\uDE00","\u0000"]"#)]
#[case::objects(r#"{"a":{},"b":{"c":[]},"\u0064":"e","":[{}]}"#)]
#[case::keys_twice(r#"{"a":1,"a":2}"#)]
#[case::white_space(" [ 1 , \n{ \"a\"\t:\r\n2 , \"b\" : [ ] , \"c\" : { } } ] ")]
#[case::a_key_that_serde_json_knows(r#"{"$serde_json::private::RawValue":"[1]"}"#)]
fn everything_usual_is_read(#[case] json: &str) {
    let (read, passed) = read_and_passed(json);
    assert!(passed);
    assert_eq!(format!("{read:?}"), format!("{:?}", serde_json::from_str::<Value>(json).ok()));
}

#[rstest]
#[case::nothing("")]
#[case::words("nul")]
#[case::a_longer_word("truex")]
#[case::upper_case("NULL")]
#[case::not_a_number("NaN")]
#[case::leading_zero("01")]
#[case::leading_plus("+1")]
#[case::leading_point(".5")]
#[case::no_fraction("1.")]
#[case::no_exponent("1e")]
#[case::minus_alone("-")]
#[case::two_numbers("1-2")]
#[case::no_end_of_string("\"a")]
#[case::control_character("\"a\tb\"")]
#[case::control_character_later("\"abcdefghijk\u{1f}b\"")]
#[case::zero_character("\"\0\"")]
#[case::unknown_escape(r#""\x""#)]
#[case::short_escape(r#""\u12""#)]
#[case::escape_of_other_digits(r#""\u12g4""#)]
#[case::escaped_quote(r#""\""#)]
#[case::trailing_comma_in_a_list("[1,]")]
#[case::trailing_comma_in_an_object(r#"{"a":1,}"#)]
#[case::leading_comma("[,1]")]
#[case::two_commas("[1,,2]")]
#[case::no_comma("[1 2]")]
#[case::no_comma_in_an_object(r#"{"a":1 "b":2}"#)]
#[case::no_colon(r#"{"a" 1}"#)]
#[case::no_value(r#"{"a":}"#)]
#[case::no_key("{:1}")]
#[case::a_key_without_quotes("{a:1}")]
#[case::a_number_as_key("{1:1}")]
#[case::brackets_mixed("[1}")]
#[case::braces_mixed(r#"{"a":1]"#)]
#[case::brackets_mixed_inside(r#"[{"a":[1}]]"#)]
#[case::not_closed("[[1]")]
#[case::another_space("\u{a0}1")]
#[case::form_feed("[1,\u{c}2]")]
#[case::a_comment("1 // one")]
fn what_is_not_json_is_not_read(#[case] json: &str) {
    assert_eq!(read_and_passed(json), (None, false));
}

/// serde_json decodes what it returns, but not what it passes over.
#[rstest]
#[case::first_half(r#""\ud83d""#)]
#[case::second_half(r#""\ude00""#)]
#[case::other_order(r#""\ude00\ud83d""#)]
fn half_of_a_character_may_only_be_passed(#[case] json: &str) {
    assert_eq!(read_and_passed(json), (None, true));
}

#[rstest]
#[case::after_the_document(r#"{"kept":1} {}"#)]
#[case::a_comma_after_the_document(r#"{"kept":1},"#)]
#[case::no_document("")]
#[case::a_field_twice(r#"{"kept":1,"kept":2}"#)]
#[case::a_missing_field("{}")]
fn a_document_that_does_not_fit_is_not_read(#[case] json: &str) {
    assert!(serde_json::from_str::<Document>(json).is_err());
    assert_eq!(read::<Document>(json), None);
}

/// These are left to serde_json although it reads them.
#[rstest]
#[case::too_deep(format!(r#"{{"kept":{}}}"#, nest(64)))]
#[case::too_deep_to_pass(format!(r#"{{"passed":{},"kept":1}}"#, nest(65)))]
#[case::too_large_to_pass(r#"{"passed":1e999,"kept":1}"#)]
#[case::a_list_for_a_struct("[1]")]
fn unusual_documents_are_not_read(#[case] json: String) {
    assert!(serde_json::from_str::<Document>(&json).is_ok());
    assert_eq!(read::<Document>(&json), None);
}

#[test]
fn all_levels_can_be_used() {
    assert_eq!(read_and_passed(&nest(62)).0, serde_json::from_str(&nest(62)).ok());
    assert!(read::<Document>(&format!(r#"{{"passed":{},"kept":1}}"#, nest(63))).is_some());
}

/// This many nested lists with an object.
fn nest(levels: usize) -> String {
    format!("{}{{}}{}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Tagged {
    Added(Value),
    Deleted(Value),
}

#[derive(Debug, Deserialize, PartialEq)]
enum Choice {
    First,
    Second(u8),
}

#[rstest]
#[case::usual(r#"{"type":"ADDED","object":{"a":[1]}}"#, true)]
#[case::spaces(r#"{ "type" : "DELETED" , "object" : 1 }"#, true)]
#[case::the_other_order(r#"{"object":{"a":1},"type":"ADDED"}"#, true)]
#[case::another_variant(r#"{"type":"CHANGED","object":1}"#, false)]
#[case::no_variant(r#"{"object":1}"#, false)]
#[case::not_a_string(r#"{"type":1,"object":1}"#, false)]
fn the_type_of_an_event_is_read(#[case] json: &str, #[case] is_read: bool) {
    assert_eq!(read::<Tagged>(json), serde_json::from_str(json).ok());
    assert_eq!(read::<Tagged>(json).is_some(), is_read);
}

#[derive(Debug, Deserialize)]
struct Unparsed<'a> {
    #[serde(borrow)]
    borrowed: &'a RawValue,
    owned: Option<Box<RawValue>>,
}

#[rstest]
#[case::objects(r#"{"a":[1,"\u0041"]}"#)]
#[case::numbers("-1.50e3")]
#[case::texts(r#""a\"b""#)]
#[case::no_value("null")]
fn values_that_stay_text_are_read(#[case] json: &str) {
    let document = format!(r#"{{"borrowed": {json} ,"owned": {json} }}"#);
    let shown = |read: Option<Unparsed<'_>>| {
        let Unparsed { borrowed, owned } = read?;
        Some((borrowed.get().to_owned(), owned.map(|owned| owned.get().to_owned())))
    };
    let expected = shown(serde_json::from_str(&document).ok());
    assert!(expected.is_some());
    assert_eq!(shown(read(&document)), expected);
    for wrong in [r#"{"borrowed":[1,],"owned":1}"#, r#"{"borrowed":1e,"owned":1}"#, r#"{"borrowed":}"#] {
        assert!(read::<Unparsed<'_>>(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn variants_without_content_are_read() {
    assert_eq!(read::<Vec<Choice>>(r#"["First", "First"]"#), Some(vec![Choice::First, Choice::First]));
    for json in ["\"Second\"", "\"Third\"", "1", "null"] {
        assert!(serde_json::from_str::<Choice>(json).is_err(), "{json}");
        assert_eq!(read::<Choice>(json), None, "{json}");
    }
    // serde_json reads these.
    for json in [r#"{"Second":1}"#, r#""F\u0069rst""#] {
        assert!(serde_json::from_str::<Choice>(json).is_ok(), "{json}");
        assert_eq!(read::<Choice>(json), None, "{json}");
        assert_eq!(from_slice::<Choice>(json.as_bytes()).ok(), serde_json::from_str(json).ok());
    }
}

/// serde_json looks only into the strings that it returns.
#[test]
fn what_the_reader_leaves_is_read_from_bytes() {
    let text = format!(r#"{{"kept":{}}}"#, nest(64));
    assert_eq!(from_slice::<Document>(text.as_bytes()).ok(), serde_json::from_str(&text).ok());
    assert!(from_slice::<Document>(b"{\"passed\":\"\xff\",\"kept\":1}").is_ok());
    assert!(from_slice::<Document>(b"{\"kept\":\"\xff\"}").is_err());
}

/// The end of a string is found sixteen bytes at a time, so the places before and after it matter.
#[test]
fn strings_end_where_they_end() {
    for length in 0..40 {
        for end in
            ["\"", "\\\"\"", "\\\\\"", "\u{1f}\"", "\u{20}\"", "\u{7f}\"", "ü\"", "!\"", "#\"", "[\"", "]\""]
        {
            for rest in ["", ",\"", "             "] {
                let json = format!("[\"{}{end}{rest}]", "a".repeat(length));
                assert_eq!(read::<Value>(&json), serde_json::from_str(&json).ok(), "{json:?}");
            }
        }
    }
}

/// What comes first decides, so every order of these bytes matters, also across the end of sixteen bytes.
#[test]
fn escapes_end_where_they_end() {
    let parts = ["a", "\"", "\\", "n", "\\u0041", "\u{1f}"];
    let texts = (0..parts.len().pow(5)).map(|number| {
        (0..5).map(|place| parts[number / parts.len().pow(place) % parts.len()]).collect::<String>()
    });
    for text in texts {
        for before in [0, 11, 13, 14, 15, 31] {
            // The last bytes of a document are read one by one.
            for after in ["", ",\"0123456789abcdef\""] {
                let json = format!("[\"{}{text}\"{after}]", "b".repeat(before));
                assert_eq!(read::<Value>(&json), serde_json::from_str(&json).ok(), "{json:?}");
            }
        }
    }
}
