//! Tests edits of any value in any style.

use std::path::Path;

use rstest::rstest;

use super::{Change, edit};
use crate::documents::{Syntax, parse};
use crate::files::Input;
use crate::text::Text;
use crate::tree::Step;

/// The text after the value at a path is set or, without a value, removed; and the number of changes made.
fn changed(before: &str, path: &[Step], value: Option<&str>) -> (String, usize) {
    let input = Input::new(Path::new("a.yaml"), before.to_owned());
    let change = Change { path: path.to_vec(), value: value.map(str::to_owned) };
    let edited = edit(&input, &[vec![change]]);
    (edited.text, edited.count)
}

#[rstest]
#[case::plain("k: x # y", "k: ")]
#[case::single("k: 'x' # y", "k: ")]
#[case::double("k: \"x\" # y", "k: ")]
#[case::flow("{k: x }", "{k: ")]
#[case::json("{\"k\": \"x\"}", "{\"k\": ")]
#[case::literal("k: |-\n  x", "k: ")]
#[case::folded("k: >\n  x\n", "k: ")]
fn any_string_can_be_written_in_any_style(#[case] before: &str, #[case] prefix: &str) {
    let texts = [
        "",
        "a",
        "'",
        "\"",
        "\\",
        "a: b",
        "a #b",
        "a:",
        "- a",
        "-",
        "---",
        "...",
        "-a",
        "? a",
        "%a",
        "@a",
        "`a",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "{a",
        "[a]",
        "a, b",
        "a]",
        "yes",
        "No",
        "~",
        "null",
        "42",
        "0x1F",
        "1e3",
        ".inf",
        "=",
        "<<",
        "é",
        "😀",
        "a\nb",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}a",
        "\u{a0}a",
        "2001-01-01",
    ];
    for text in texts {
        let (after, count) = changed(before, &[Step::Name("k".to_owned())], Some(text));
        let is_possible = !before.contains(['|', '>'])
            || !(text.is_empty() || text.contains(['\n', '\u{7f}', '\u{85}', '\u{2028}']));
        if count == 0 {
            assert!(!is_possible, "{text:?} in {before:?}");
            assert_eq!(after, before);
            continue;
        }
        let parsed = parse(&Text::new(after.clone()), Syntax::Yaml);
        let tree = &parsed.documents[0].tree;
        assert_eq!(tree.value(tree.root), serde_json::json!({ "k": text }), "{after:?}");
        assert!(after.starts_with(prefix), "{after:?}");
    }
}

#[rstest]
#[case::compact("- - a\n  - b\n", &[Step::Index(0), Step::Index(0)], "- - b\n")]
#[case::first("[a, b]", &[Step::Index(0)], "[b]")]
#[case::first_on_its_line("[\n  a, # x\n  b\n]", &[Step::Index(0)], "[\n  b\n]")]
#[case::first_of_two_lines("[a,\n  b]", &[Step::Index(0)], "[\n  b]")]
#[case::compact_with_a_comment("- - a\n  # b\n  - b\n", &[Step::Index(0), Step::Index(0)], "- - a\n  # b\n  - b\n")]
#[case::the_only_one("- a\n", &[Step::Index(0)], "- a\n")]
#[case::the_only_one_in_brackets("[a]\n", &[Step::Index(0)], "[a]\n")]
#[case::beside_a_pair("[x: 1, a, b: {}]\n", &[Step::Index(1)], "[x: 1, b: {}]\n")]
#[case::after_a_mapping("- x: 1\n  # y\n- a\n- b\n", &[Step::Index(1)], "- x: 1\n  # y\n- b\n")]
#[case::after_nothing("-\n- a\n- b\n", &[Step::Index(1)], "-\n- b\n")]
#[case::nowhere("- a\n- b\n", &[Step::Index(2)], "- a\n- b\n")]
fn any_entry_but_the_only_one_can_be_removed(
    #[case] before: &str,
    #[case] path: &[Step],
    #[case] after: &str,
) {
    assert_eq!(changed(before, path, None).0, after);
}

#[test]
fn a_change_that_cannot_be_made_does_not_stop_the_others() {
    let before = "a: >-\n  x\nb: x\nc: 1\n";
    let input = Input::new(Path::new("a.yaml"), before.to_owned());
    let change =
        |name: &str| Change { path: vec![Step::Name(name.to_owned())], value: Some("y\nz".to_owned()) };
    let edited = edit(&input, &[["a", "b", "c", "d"].map(change).to_vec()]);
    assert_eq!((edited.text.as_str(), edited.count), ("a: >-\n  x\nb: \"y\\nz\"\nc: 1\n", 1));
}
