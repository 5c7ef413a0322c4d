//! What kubectl reads, does not accept and leaves out, example by example. The differential test compares all of them with it.

use std::path::Path;

use rstest::rstest;
use serde_json::{Value, json};

use crate::edit::{Change, edit};
use crate::{Input, Step, documents};

fn read(text: &str) -> Vec<Value> {
    documents(text)
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
        .into_iter()
        .map(|(_, value)| value)
        .collect()
}

#[rstest]
#[case::comment_after_a_bracket("a: [acme.com]# c\n", json!({"a": ["acme.com"]}))]
#[case::comment_after_a_quote("a: \"Acme\"# c\n", json!({"a": "Acme"}))]
#[case::byte_order_mark_inside("a: b\u{feff}\nc: \u{feff}d\n", json!({"a": "b\u{feff}", "c": "\u{feff}d"}))]
#[case::byte_order_mark_in_front_of_a_key("a: b\n\u{feff}c: d\n", json!({"a": "b", "\u{feff}c": "d"}))]
#[case::two_byte_order_marks("\u{feff}\u{feff}a: b\n", json!({"a": "b"}))]
#[case::next_line("a: b\u{85}c: d\n", json!({"a": "b", "c": "d"}))]
#[case::line_separator("a: |-\n  b\u{2028}  c\n", json!({"a": "b\u{2028}c"}))]
#[case::paragraph_separator("a: b # c\u{2029}d: e\n", json!({"a": "b", "d": "e"}))]
#[case::carriage_return("a: b\rc: d\r", json!({"a": "b", "c": "d"}))]
#[case::two_carriage_returns("a: |\r\r\n  b\r\r\n  c\r\r\n", json!({"a": "b\nc\n"}))]
#[case::no_line_end("a: |\n  b", json!({"a": "b\n"}))]
#[case::no_line_end_but_a_carriage_return("a: |\n  b\r", json!({"a": "b\n"}))]
#[case::separator_with_comments_only("a: 1\n--- # c\r# d\u{85} \r\n", json!({"a": 1}))]
#[case::separator_that_is_not_cut("--- # c\ra: 1\n", json!({"a": 1}))]
#[case::document_end("a: 1\n...\n...\n# c\n", json!({"a": 1}))]
#[case::quote_escaped_in_double_quotes("a: \"it\\'s\"\n", json!({"a": "it's"}))]
#[case::colon_before_a_comma("[a:, b]\n", json!(["a:", "b"]))]
#[case::tab_after_a_value("a: b\t\n\n", json!({"a": "b"}))]
#[case::tab_before_a_comment("a: b\t# c\n", json!({"a": "b"}))]
#[case::key_of_1024_characters(&format!("{}: 1\n", "é".repeat(1024)), json!({"é".repeat(1024): 1}))]
#[case::numbers_as_keys("{1: a, 1.5: b, 1e6: c, .inf: d, yes: e}\n",
    json!({"1": "a", "1.5": "b", "1e+06": "c", ".inf": "d", "true": "e"}))]
#[case::alias_as_a_key("a: &x b\n*x : c\n", json!({"a": "b", "b": "c"}))]
#[case::tag_that_nobody_knows("a: !foo yes\nb: ! yes\nc: !<x:y> 1\n", json!({"a": "yes", "b": "yes", "c": "1"}))]
#[case::tags_of_collections("a: !!seq {b: !!map [c]}\n", json!({"a": {"b": ["c"]}}))]
#[case::float_of_an_integer("a: !!float 5\nb: !!timestamp 2001-01-01\n", json!({"a": 5, "b": "2001-01-01"}))]
#[case::white_space_of_unicode_before_what_looks_like_json("\u{85}{n: {}}", json!({"false": {}}))]
#[case::pairs_in_a_list("[a: b, d: ]\n", json!([{"a": "b"}, {"d": null}]))]
fn what_kubectl_reads_is_read(#[case] text: &str, #[case] expected: Value) {
    assert_eq!(read(text), [expected]);
}

#[rstest]
#[case::tab_alone_on_a_line("a: b\n\t\nc: d\n", (2, 1))]
#[case::tab_as_indentation("a:\n\tb: c\n", (2, 1))]
#[case::escape("a: b\u{1b}\n", (1, 5))]
#[case::delete("é: b\u{7f}\n", (1, 5))]
#[case::vertical_tab("a: b\u{b}\n", (1, 5))]
#[case::bell("a: 'b\u{7}'\n", (1, 6))]
#[case::c1("a: b # \u{9b}\n", (1, 8))]
#[case::not_a_character("a: b\u{fffe}\n", (1, 5))]
#[case::directive("%YAML 1.1\n---\na: b\n", (2, 1))]
#[case::value_on_the_line_of_the_separator("a: b\n---\n--- {c: d}\n", (3, 5))]
#[case::anchor_with_a_dot("a: &acme.com b\n", (1, 9))]
#[case::empty_key(": b\n", (1, 1))]
#[case::null_key("a: b\n~: c\n", (2, 1))]
#[case::key_that_is_a_list("[a]: b\n", (1, 1))]
#[case::huge_key("18446744073709551615: b\n", (1, 1))]
#[case::timestamp_that_is_none("a: !!timestamp b\n", (1, 4))]
#[case::infinity("a: .inf\n", (1, 4))]
#[case::tag_without_a_handle("a: !x!y b\n", (1, 4))]
#[case::slash_escaped("a: \"b\\/c\"\n", (1, 6))]
#[case::half_a_surrogate_pair("a: \"\\ud83d\\ude00\"\n", (1, 7))]
#[case::anchor_that_contains_itself("a: &x [1, *x]\n", (1, 11))]
#[case::anchor_that_contains_itself_and_had_another_value("a: &x 1\nb: &x [*x]\n", (2, 8))]
#[case::alias_before_its_anchor("a: *x\nb: &x 1\n", (1, 4))]
#[case::merge_of_a_list_behind_an_alias("a: &x [{b: c}]\n<<: *x\n", (2, 5))]
#[case::merge_of_a_list_in_a_list("<<: [[{b: c}]]\n", (1, 5))]
#[case::question_mark_in_a_plain_entry("{a: b?c: d}\n", (1, 6))]
#[case::colon_at_the_start_of_an_entry("[a: b, : c]\n", (1, 8))]
#[case::merge_of_nothing("<<:\na: b\n", (1, 4))]
#[case::key_that_is_too_long(&format!("{}: 1\n", "é".repeat(1026)), (1, 1027))]
#[case::json_of_three_bytes("{a}", (1, 2))]
#[case::unclosed_single_quote("a: b\nc: 'd\n", (2, 4))]
fn what_kubectl_does_not_accept_is_an_error_at_its_place(#[case] text: &str, #[case] place: (usize, usize)) {
    let error = documents(text).unwrap_err();
    assert_eq!((error.line, error.column), place, "{error}");
}

#[rstest]
#[case::after_the_end("a: b\n...\nc: d\n", (3, 1))]
#[case::after_a_list("[a]\nb: c\n", (2, 1))]
#[case::after_a_separator_that_is_not_cut("a: b\r---\rc: d\r", (2, 4))]
#[case::after_a_comment_on_a_separator("a: b\n--- # é\r c: d\ne: f\n", (3, 2))]
#[case::after_two_comments_on_a_separator("a: b\n--- # c\r# d\r\re: f\n", (5, 1))]
#[case::after_another_line_break_on_a_separator("a: b\n--- # c\u{2028}d: e\r\n", (2, 9))]
fn text_that_kubectl_leaves_out_is_an_error(#[case] text: &str, #[case] place: (usize, usize)) {
    let error = documents(text).unwrap_err();
    assert!(error.message.starts_with("kubectl leaves out the text"), "{error}");
    assert_eq!((error.line, error.column), place, "{error}");
}

#[test]
fn a_quoted_string_is_reported_by_the_quote_that_it_has() {
    for text in ["a: 'b", "a: \"b"] {
        let error = documents(text).unwrap_err();
        assert_eq!((error.column, error.message.as_str()), (4, "found no closing quote"));
    }
}

#[test]
fn merge_keys_count_in_the_order_in_which_they_stand() {
    let bases = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\n";
    let cases = [
        ("{a: 0, <<: *x}", json!({"a": 1, "b": 1})),
        ("{<<: *x, a: 0}", json!({"a": 0, "b": 1})),
        ("{<<: *x, <<: *y}", json!({"a": 1, "b": 2, "c": 2})),
        ("{<<: [*x, *y]}", json!({"a": 1, "b": 1, "c": 2})),
        ("{\"<<\": *x}", json!({"<<": {"a": 1, "b": 1}})),
        ("{!!merge '<<': *x}", json!({"a": 1, "b": 1})),
        ("{<<: {<<: *x, a: 0}, b: 0}", json!({"a": 0, "b": 0})),
    ];
    for (text, expected) in cases {
        assert_eq!(read(&format!("{bases}z: {text}\n"))[0]["z"], expected, "{text}");
    }
}

#[test]
fn merge_keys_that_override_a_key_before_them_are_listed() {
    let text = "x: &x {a: 1, b: 1}\nz:\n  a: 0\n  <<: *x\n  <<: {b: 2, c: 3}\n  b: 4\nw: {<<: *x, a: 1}\n";
    let input = Input::new(Path::new("a.yaml"), text.to_owned());
    let tree = &input.documents()[0].tree;
    let overridden = tree.overridden(tree.root);
    let places: Vec<_> = overridden
        .iter()
        .map(|overridden| (input.text().line_and_column(overridden.at.start), overridden.key.as_str()))
        .collect();
    assert_eq!(places, [((4, 3), "a"), ((5, 3), "b")]);
}

#[test]
fn a_value_in_a_merged_map_is_where_it_is_written_and_one_behind_an_alias_at_the_alias() {
    let text = "x: &x {a: 1}\nz:\n  <<: {b: 2}\nw:\n  <<: [*x, {c: 3}]\n";
    let input = Input::new(Path::new("a.yaml"), text.to_owned());
    let tree = &input.documents()[0].tree;
    let place = |path: [&str; 2]| {
        let path = path.map(|name| Step::Name(name.to_owned()));
        input.text().line_and_column(tree.find(tree.root, &path).position)
    };
    assert_eq!(place(["z", "b"]), (3, 11));
    assert_eq!(place(["w", "a"]), (5, 8));
    assert_eq!(place(["w", "c"]), (5, 16));
}

#[test]
fn an_anchor_behind_a_line_break_of_yaml_is_not_removed_with_the_entry_before_it() {
    let text = "d:\n- a # x\u{2028}- &b b\n- c\ne: *b\n";
    let input = Input::new(Path::new("a.yaml"), text.to_owned());
    let path = vec![Step::Name("d".to_owned()), Step::Index(0)];
    let edited = edit(&input, &[vec![Change { path, value: None }]]);
    assert_eq!((edited.text.as_str(), edited.count), ("d:\n- &b b\n- c\ne: *b\n", 1));
}

#[test]
fn json_is_read_as_json_and_what_follows_it_may_be_yaml() {
    assert_eq!(read("{\"a\": \"\\ud83d\\ude00\\/\"}\n{\"b\": 1}"), [json!({"a": "😀/"}), json!({"b": 1})]);
    assert_eq!(read("{\"a\": 1}\n---\nb: yes\n"), [json!({"a": 1}), json!({"b": true})]);
    assert_eq!(read("{\"a\": 1} # c\n"), [json!({"a": 1})]);
    assert_eq!(read("{a: yes}\n---\n{\"b\": no}\n"), [json!({"a": true}), json!({"b": false})]);
    // A number ends where it cannot go on.
    assert!(documents("{}1_0a").unwrap_err().message.starts_with("not JSON"));
    // After two values it must be JSON.
    assert!(documents("{\"a\": 1}\n{\"b\": 1}\n---\nc: 1\n").is_err());
    // A document after the first is YAML, whatever it looks like.
    assert!(documents("a: 1\n---\n{\"b\": \"\\ud83d\\ude00\"}\n").is_err());
}

#[test]
fn entries_that_are_left_of_their_bracket_are_read_at_once() {
    let entries = "b,\n".repeat(20_000);
    assert_eq!(read(&format!("s:\n  a: [\n{entries}c]\n"))[0]["s"]["a"].as_array().unwrap().len(), 20_001);
}

#[test]
fn a_document_that_cannot_be_read_does_not_hide_the_line_that_is_no_separator() {
    let input = Input::new(Path::new("a.yaml"), "a: [\n--- x\nb: 1\n---\nc: 1\n".to_owned());
    assert_eq!((input.documents().len(), input.errors().len()), (1, 2));
}

#[test]
fn a_byte_points_at_a_key_or_a_scalar() {
    let text = "a:\n  - b: one\n    c: {d: 'two'}\ne: &x 3\nf: *x\n";
    let input = Input::new(Path::new("a.yaml"), text.to_owned());
    let tree = &input.documents()[0].tree;
    let pointed = |needle: &str| {
        let at = text.find(needle).unwrap() + 1;
        tree.pointed(at).map(|pointed| (format!("{:?}", pointed.path), &text[pointed.bytes], pointed.is_key))
    };
    let name = |name: &str| format!("Name({name:?})");
    let below = |rest: &str| format!("[Name(\"a\"), Index(0), {rest}]");
    assert_eq!(pointed("b:"), Some((below(&name("b")), "b", true)));
    assert_eq!(pointed("one"), Some((below(&name("b")), "one", false)));
    assert_eq!(pointed("'two'"), Some((below("Name(\"c\"), Name(\"d\")"), "'two'", false)));
    assert_eq!(pointed("*x"), Some((format!("[{}]", name("f")), "*x", false)));
    assert_eq!(pointed("\n  -"), None);
}
