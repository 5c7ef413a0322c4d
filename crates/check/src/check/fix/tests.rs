//! Tests the text of a file after fixing, style by style.

use std::path::Path;
use std::sync::LazyLock;

use crm_core::policy::Policy;
use crm_manifest::{Input, Variables, unified_diff};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::Value;

use crate::check::bundle::Bundle;
use crate::check::judge::Judge;

#[path = "../../../../../tests/common/diff.rs"]
mod diff;

use diff::by_git_and_patch;

static JUDGE: LazyLock<Judge> =
    LazyLock::new(|| Judge::new(Policy::default(), None, Timestamp::UNIX_EPOCH).unwrap());

const COMPANY: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\n";

/// The text of a file after fixing, and the number of fixed values.
#[track_caller]
fn fixed(name: &str, before: &str) -> (String, usize) {
    let once = fixed_once(name, before);
    assert_eq!(fixed_once(name, &once.0), (once.0.clone(), 0), "a second time");
    once
}

fn fixed_once(name: &str, before: &str) -> (String, usize) {
    let bundle = Bundle::new(vec![Input::new(Path::new(name), before.to_owned())], Variables::default());
    match super::fix(&bundle, &JUDGE).rewritten.pop() {
        Some(rewritten) => {
            let diff = unified_diff(name, before, &rewritten.after);
            let after = [(); 2].map(|()| rewritten.after.clone());
            assert_eq!(by_git_and_patch(name, before, &diff), after);
            (rewritten.after, rewritten.count)
        }
        None => (before.to_owned(), 0),
    }
}

/// The spec of a company after fixing.
#[track_caller]
fn fixed_spec(before: &str) -> String {
    let (text, _) = fixed("a.yaml", &format!("{COMPANY}spec:{before}"));
    text.strip_prefix(&format!("{COMPANY}spec:")).unwrap().to_owned()
}

#[rstest]
#[case::plain("- Acme.com # main", "- acme.com # main")]
#[case::plain_far_from_its_dash("-   Acme.com  ", "-   acme.com  ")]
#[case::plain_tagged("- !!str &a Acme.com", "- !!str &a acme.com")]
#[case::plain_on_the_next_line("-\n    # ours\n    Acme.com", "-\n    # ours\n    acme.com")]
#[case::single_quoted("- 'https://Acme.com/' # x", "- 'acme.com' # x")]
#[case::double_quoted("- &a \"Acme.com\"#", "- &a \"acme.com\"#")]
#[case::double_quoted_with_escapes("- \"\\tAc\\u006De.com\"", "- \"acme.com\"")]
#[case::double_quoted_over_lines("- \"https://\\\n      Acme.com\"", "- \"acme.com\"")]
#[case::literal("- |- # x\n    Acme.com\n  # y", "- |- # x\n    acme.com\n  # y")]
#[case::literal_indented_more("- &a |2-\n      Acme.com", "- &a |2-\n    acme.com")]
#[case::literal_that_ends_with_a_line_break("- |\n    Acme.com", "- |-\n    acme.com")]
#[case::literal_that_keeps_line_breaks("- |2+ # x\n    Acme.com\n", "- |2- # x\n    acme.com\n")]
#[case::literal_after_blank_lines("- |-\n\n    Acme.com \n\n", "- |-\n    acme.com\n\n")]
#[case::folded("- !!str >-\n        https://Acme.com", "- !!str >-\n        acme.com")]
#[case::unicode("- bücher.example # ü", "- xn--bcher-kva.example # ü")]
fn an_entry_keeps_its_style(#[case] before: &str, #[case] after: &str) {
    let spec = |entry: &str| format!("\n  displayName: ü\n  domains:\n  {entry}\n  - acme.io\n");
    assert_eq!(fixed_spec(&spec(before)), spec(after));
}

#[rstest]
#[case::single_quoted("' Acme'", "'Acme'")]
#[case::single_quotes_within("' It''s \"Acme\": 1 # 2 '", "'It''s \"Acme\": 1 # 2'")]
#[case::double_quoted("\"Acme \" # x", "\"Acme\" # x")]
#[case::escapes_stay("\"  \\u00c4cme \\\"A\\\"\"", "\"\\u00c4cme \\\"A\\\"\"")]
#[case::escaped_white_space("\"\\u2003Acme\\u00e4 \\\\ \\\"\"", "\"Acmeä \\\\ \\\"\"")]
#[case::lines_stay("'  Acme\n    Corp '", "'Acme\n    Corp'")]
#[case::plain("\u{a0}Acme # x", "Acme # x")]
#[case::plain_over_lines("\u{2003}Acme\n    Corp # x", "Acme Corp # x")]
#[case::plain_that_would_be_a_boolean("\u{2003}yes", "'yes'")]
#[case::plain_that_would_be_nothing("\u{2003}null", "'null'")]
#[case::plain_that_would_be_a_number("\u{2003}42", "'42'")]
#[case::plain_that_would_be_an_entry("\u{2003}- Acme", "'- Acme'")]
#[case::plain_that_would_be_a_comment("\u{2003}#Acme", "'#Acme'")]
#[case::plain_that_would_be_an_alias("\u{2003}*Acme's", "'*Acme''s'")]
#[case::plain_that_would_be_a_list("\u{2003}[Acme]", "'[Acme]'")]
#[case::plain_with_a_comma("\u{2003}Acme, Inc. [x]", "Acme, Inc. [x]")]
#[case::folded(">\n    Acme\n    Corp\n\n", ">-\n    Acme Corp\n\n")]
#[case::literal("|-\n    \u{2003}- Acme: #1", "|-\n    - Acme: #1")]
fn a_name_is_trimmed_in_its_style(#[case] before: &str, #[case] after: &str) {
    let spec = |name: &str| format!("\n  displayName: {name}\n  description: x\n");
    assert_eq!(fixed_spec(&spec(before)), spec(after));
}

#[rstest]
#[case::plain(
    "{displayName: A, domains: [Acme.com, B.com ]}",
    "{displayName: A, domains: [acme.com, b.com ]}"
)]
#[case::no_spaces(
    "{displayName: A, domains: ['Acme.com',\"B.com\"]}",
    "{displayName: A, domains: ['acme.com',\"b.com\"]}"
)]
#[case::comma("{displayName: \u{2003}A B}", "{displayName: A B}")]
#[case::quoted_comma("{displayName: ' A, B', domains: []}", "{displayName: 'A, B', domains: []}")]
#[case::keys_like_json(
    "{\"displayName\":\" A\",\"domains\":[\"A.com\"], x: 1}",
    "{\"displayName\":\"A\",\"domains\":[\"a.com\"], x: 1}"
)]
fn fixes_work_between_brackets_too(#[case] before: &str, #[case] after: &str) {
    assert_eq!(fixed_spec(&format!(" {before}\n")), format!(" {after}\n"));
}

#[rstest]
#[case::values(
    "{\"displayName\": \" \\u00c4 \\\"\", \"domains\": [\"https:\\/\\/A.com\"]}",
    "{\"displayName\": \"\\u00c4 \\\"\", \"domains\": [\"a.com\"]}"
)]
#[case::entries(
    "{\"displayName\": \"A\",\n\"domains\": [\n  \"a.com\",\n  \"A.com\"\n]}",
    "{\"displayName\": \"A\",\n\"domains\": [\n  \"a.com\"\n]}"
)]
#[case::entries_on_a_line(
    "{\"displayName\": \"A\",\"domains\":[\"a.com\",\"A.com\",\"b.com\",\"B.com\",\"B.com\"]}",
    "{\"displayName\": \"A\",\"domains\":[\"a.com\",\"b.com\"]}"
)]
fn json_stays_json(#[case] before: &str, #[case] after: &str) {
    let file = |spec: &str| {
        format!(
            "\u{feff}{{\"apiVersion\":\"crm.milo.io/v1alpha1\",\r\n\t\"kind\":\"Company\",\"spec\":{spec}}}"
        )
    };
    for name in ["a.json", "a.yaml"] {
        let (text, _) = fixed(name, &file(before));
        assert_eq!(text, file(after));
        let json: Result<Value, _> = serde_json::from_str(text.trim_start_matches('\u{feff}'));
        assert!(json.is_ok(), "{text}");
    }
}

#[rstest]
#[case::last("- a.com\n  # why\n  - A.com # again\n", "- a.com\n  # why\n")]
#[case::without_a_line_end("- a.com # x - y\n  - A.com", "- a.com # x - y")]
#[case::several("- A.com\n  - a.com\n  - &x b.com\n  - 'A.com'\n  - B.com\n", "- a.com\n  - &x b.com\n")]
#[case::over_lines(
    "- a.com\n  - !!str\n    'A.com' # x\n  - |-\n    A.com\n\n  # y\n  - c.com\n",
    "- a.com\n\n  # y\n  - c.com\n"
)]
#[case::comment_within("- a.com\n  - # x\n    A.com\n", "- a.com\n")]
#[case::first_is_wrong("- a_b\n  - a.com\n  - A.com\n", "- a_b\n  - a.com\n")]
#[case::not_strings("- a.com\n  -\n  - 1\n  - {x: 1}\n  - A.com\n", "- a.com\n  -\n  - 1\n  - {x: 1}\n")]
fn a_duplicate_is_removed_with_its_line(#[case] before: &str, #[case] after: &str) {
    let spec = |list: &str| format!("\n  displayName: A\n  domains:\n  {list}");
    assert_eq!(fixed_spec(&spec(before)), spec(after));
    let crlf = |list: &str| spec(list).replace('\n', "\r\n");
    assert_eq!(fixed_spec(&crlf(before)), crlf(after));
}

#[rstest]
#[case::last("[a.com, A.com]", "[a.com]")]
#[case::last_with_spaces("[ a.com , A.com ]", "[ a.com ]")]
#[case::last_with_a_comma("[a.com, A.com,]", "[a.com,]")]
#[case::between("[a.com, &x 'A.com', b.com]", "[a.com, b.com]")]
#[case::between_without_spaces("['a.com','A.com','b.com']", "['a.com','b.com']")]
#[case::all_but_the_first("[A.com, a.com, \"A.com\"]", "[a.com]")]
#[case::on_the_next_line("[a.com,\n    A.com]", "[a.com]")]
#[case::on_the_next_line_with_others("[a.com,\n    A.com, b.com]", "[a.com,\n    b.com]")]
#[case::before_a_line_end("[a.com, A.com,\n    b.com]", "[a.com,\n    b.com]")]
#[case::before_a_comment("[a.com, A.com, # x\n    b.com]", "[a.com, # x\n    b.com]")]
#[case::after_a_comment("[a.com, # x, y\n    A.com]", "[a.com # x, y\n    ]")]
#[case::own_line(
    "[\n    a.com, # x\n    # y\n    A.com, # z\n    b.com\n    ]",
    "[\n    a.com, # x\n    # y\n    b.com\n    ]"
)]
#[case::own_last_line("[\n    a.com, # x\n    A.com # z\n    ]", "[\n    a.com # x\n    ]")]
#[case::own_last_lines("[\n    a.com,\n    A.com,\n    A.com\n    ]", "[\n    a.com\n    ]")]
#[case::own_last_line_with_a_comma("[\n    a.com,\n    A.com,\n    ]", "[\n    a.com,\n    ]")]
#[case::own_last_lines_with_a_comma(
    "[\n    a.com,\n    A.com, # x\n    A.com,\n    ]",
    "[\n    a.com,\n    ]"
)]
#[case::closed_under_its_key("[\n    a.com, # x\n    A.com # z\n  ] # ü", "[\n    a.com # x\n  ] # ü")]
#[case::a_comma_first_and_one_last(
    "[\n    a.com\n    , A.com\n    , A.com,\n    B.com, b.com\n    ]",
    "[\n    a.com,\n    b.com\n    ]"
)]
#[case::the_next_comma_first(
    "[ a.com,\n    A.com\n    , B.com, b.com, C.com ]",
    "[ a.com\n    , b.com, c.com ]"
)]
#[case::commas_of_both_kinds(
    "[\n    A.com,\n    b.com\n    , a.com\n    , B.com,\n    C.com]",
    "[\n    a.com,\n    b.com,\n    c.com]"
)]
#[case::commas_of_both_kinds_and_comments(
    "[ a.com,\n    A.com # x\n    , # y\n    A.com, # z\n    B.com\n    , b.com,\n    ]",
    "[ a.com # x\n     # y\n    , # z\n    b.com,\n    ]"
)]
#[case::commas_first("[ a.com\n    , A.com # x\n    , b.com\n    , B.com ]", "[ a.com\n    , b.com ]")]
fn a_duplicate_is_removed_with_its_comma(#[case] before: &str, #[case] after: &str) {
    let spec = |list: &str| format!("\n  displayName: A\n  domains: {list}\n");
    assert_eq!(fixed_spec(&spec(before)), spec(after));
    let crlf = |list: &str| spec(list).replace('\n', "\r\n");
    assert_eq!(fixed_spec(&crlf(before)), crlf(after));
}

#[rstest]
#[case::used_in_the_same_way("- &x A.com\n  - b.com\n  - *x\n", "- &x a.com\n  - b.com\n")]
#[case::used_as_a_string("- &x A.com\n  description: *x\n", "- &x a.com\n  description: A.com\n")]
#[case::used_in_both_ways(
    "- &x A.com\n  - b.com\n  - *x # y\n  description: *x # z\n",
    "- &x a.com\n  - b.com\n  description: A.com # z\n"
)]
#[case::a_duplicate_that_is_used_as_a_text(
    "- a.com\n  - &x A.com # y\n  description: *x\n",
    "- a.com\n  description: A.com\n"
)]
#[case::that_must_be_quoted("- &x ' A.com'\n  description: *x\n", "- &x 'a.com'\n  description: ' A.com'\n")]
#[case::of_a_profile(
    "- a.com\n  linkedinProfile: &l linkedin.com/company/acme\n  description: *l\n",
    "- a.com\n  linkedinProfile: &l https://linkedin.com/company/acme\n  description: linkedin.com/company/acme\n"
)]
#[case::used_for_something_else(
    "- *x # y\n  - b.com\n  description: &x A.com\n",
    "- *x # y\n  - b.com\n  description: &x A.com\n"
)]
fn an_anchor_changes_and_other_uses_keep_the_old_string(#[case] before: &str, #[case] after: &str) {
    let spec = |list: &str| format!("\n  displayName: A\n  domains:\n  {list}");
    assert_eq!(fixed_spec(&spec(before)), spec(after));
}

#[rstest]
#[case::for_a_field_that_stays(
    "{displayName: &x Acme.com, domains: [*x , b.com]}",
    "{displayName: &x Acme.com, domains: [acme.com , b.com]}"
)]
#[case::for_a_field_that_changes_otherwise(
    "{displayName: &x ' Acme.com', domains: [*x ]}",
    "{displayName: &x 'Acme.com', domains: [acme.com ]}"
)]
#[case::in_a_key(
    "{displayName: A, &x Acme.com : 1, domains: [*x ]}",
    "{displayName: A, &x Acme.com : 1, domains: [acme.com ]}"
)]
#[case::as_a_key(
    "{displayName: A, domains: [&x Acme.com], *x : 1}",
    "{displayName: A, domains: [&x acme.com], Acme.com : 1}"
)]
fn an_alias_is_replaced_by_the_literal(#[case] before: &str, #[case] after: &str) {
    assert_eq!(fixed_spec(&format!(" {before}\n")), format!(" {after}\n"));
}

#[rstest]
#[case::both_want_it(
    "- {spec: &s {displayName: ' A', domains: [A.com, a.com]}, <<: *c}\n- {<<: *c, spec: *s}",
    "- {spec: &s {displayName: 'A', domains: [a.com]}, <<: *c}\n- {<<: *c, spec: *s}"
)]
#[case::the_other_is_no_record(
    "- {<<: *c, kind: Other, spec: &s {displayName: A, domains: [A.com, a.com]}}\n- {<<: *c, spec: *s}",
    "- {<<: *c, kind: Other, spec: &s {displayName: A, domains: [A.com, a.com]}}\n- {<<: *c, spec: *s}"
)]
#[case::merged_and_wanted_by_both(
    "- {<<: *c, spec: &s {displayName: ' A', domains: [A.com]}}\n- {<<: *c, spec: {<<: *s, description: x}}",
    "- {<<: *c, spec: &s {displayName: 'A', domains: [a.com]}}\n- {<<: *c, spec: {<<: *s, description: x}}"
)]
#[case::merged_and_wanted_by_one(
    "- {<<: *c, kind: Other, spec: &s {displayName: ' A'}}\n- {<<: *c, spec: {<<: *s, domains: [A.com]}}",
    "- {<<: *c, kind: Other, spec: &s {displayName: ' A'}}\n- {<<: *c, spec: {<<: *s, domains: [a.com]}}"
)]
#[case::merged_and_overridden(
    "- {<<: *c, spec: &s {displayName: ' A', domains: [A.com]}}\n- {<<: *c, spec: {<<: *s, displayName: B}}",
    "- {<<: *c, spec: &s {displayName: 'A', domains: [a.com]}}\n- {<<: *c, spec: {<<: *s, displayName: B}}"
)]
#[case::an_anchor_goes_and_its_text_stays_where_it_is_used(
    "- {<<: *c, spec: {displayName: A, domains: [a.com, &x A.com]}}\n- {<<: *c, spec: {displayName: *x }}",
    "- {<<: *c, spec: {displayName: A, domains: [a.com]}}\n- {<<: *c, spec: {displayName: A.com }}"
)]
#[case::an_anchor_goes_after_its_aliases(
    "- {<<: *c, spec: {displayName: A, domains: [a.com, &x A.com]}}\n- {<<: *c, spec: {displayName: A, domains: [*x ]}}",
    "- {<<: *c, spec: {displayName: A, domains: [a.com]}}\n- {<<: *c, spec: {displayName: A, domains: [a.com ]}}"
)]
#[case::lists_of_lists(
    "- kind: List\n  items: &l [{<<: *c, spec: {displayName: ' A'}}]\n- {kind: List, items: *l}",
    "- kind: List\n  items: &l [{<<: *c, spec: {displayName: 'A'}}]\n- {kind: List, items: *l}"
)]
fn objects_with_shared_values_change_together(#[case] before: &str, #[case] after: &str) {
    let list = |items: &str| {
        format!(
            "kind: List\ncommon: &c {{apiVersion: crm.milo.io/v1alpha1, kind: Company}}\nitems:\n{items}\n"
        )
    };
    assert_eq!(fixed("a.yaml", &list(before)).0, list(after));
}

#[rstest]
#[case::with_duplicates("[a.com, A.com, 'b c', &x \"B.com\"]", "*l # x", "[a.com, b c, b.com] # x")]
#[case::canonical("[a.com, b.com]", "*l", "*l")]
#[case::with_what_is_no_text("[A.com, 1]", "*l", "*l")]
fn the_alias_of_a_list_with_other_uses_is_replaced_by_a_literal(
    #[case] list: &str,
    #[case] before: &str,
    #[case] after: &str,
) {
    let spec = |alias: &str| format!("\n  displayName: A\n  others: &l {list}\n  domains: {alias}\n");
    assert_eq!(fixed_spec(&spec(before)), spec(after));
}

#[test]
fn an_anchored_list_with_other_uses_stays() {
    let text = format!("{COMPANY}spec:\n  displayName: A\n  domains: &l [a.com, A.com]\n  others: *l\n");
    assert_eq!(fixed("a.yaml", &text), (text.clone(), 0));
}

#[test]
fn a_broken_document_beside_others_stays_unchanged() {
    let company = |name: &str| format!("{COMPANY}spec: {{displayName: {name}}}\r\n");
    let file = |name: &str| {
        format!(
            "\u{feff}# x\r\n{}--- \r\na: [1\r\nb: ' x'\r\n---\r\n{}...\r\n# end",
            company(name),
            company(name)
        )
    };
    assert_eq!(fixed("a.yaml", &file("' A'")), (file("'A'"), 2));
}

#[test]
fn list_items_without_a_kind_are_fixed_by_the_kind_of_the_list() {
    let list = |domain: &str| {
        format!(
            "apiVersion: crm.milo.io/v1alpha1\nkind: CompanyList\nitems:\n- spec: {{displayName: A, domains: [{domain}]}}\n"
        )
    };
    assert_eq!(fixed("a.yaml", &list("A.com")), (list("a.com"), 1));
}

#[test]
fn only_records_are_fixed() {
    let text = "apiVersion: v1\nkind: Company\nspec: {displayName: ' A', domains: [A.com]}\n";
    assert_eq!(fixed("a.yaml", text), (text.to_owned(), 0));
}

#[test]
fn every_change_is_counted() {
    let text = format!("{COMPANY}spec:\n  displayName: &x A.com \n  domains: [*x , a.com, B.com, a_b]\n");
    assert_eq!(fixed("a.yaml", &text).1, 3);
}
