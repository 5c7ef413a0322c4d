//! Tests `check --format full`: what is marked in the line of a finding.

use rstest::rstest;

use crate::repository::{COMPANY, Repository};

/// The line of the only finding, and what is marked in it, without the line number.
#[track_caller]
fn marked(text: &str) -> String {
    let ended = Repository::with(&[("a.yaml", text)]).check(&["a.yaml", "--format", "full"]);
    let lines: Vec<&str> = ended.out.lines().collect();
    let mark = lines.iter().position(|line| line.trim_start_matches([' ', '|']).starts_with('^'));
    let at = mark.unwrap_or_else(|| panic!("{}{}", ended.out, ended.err));
    let after = |line: &str| line.split_once("| ").unwrap().1.to_owned();
    format!("{}\n{}", after(lines[at - 1]), after(lines[at]))
}

#[rstest]
#[case::plain("  domains:\n  - co.uk # main\n", "  - co.uk # main\n    ^^^^^")]
#[case::quoted("  domains: ['co.uk', a.io]\n", "  domains: ['co.uk', a.io]\n            ^^^^^^^")]
#[case::block("  domains:\n  - |2- # why | not\n      co.uk\n", "  - |2- # why | not\n    ^^^")]
#[case::alias("  description: &d co.uk\n  domains: [*d]\n", "  domains: [*d]\n            ^^")]
#[case::unknown_field("  colour: red\n", "  colour: red\n  ^^^^^^")]
#[case::wrong_type("  domains: {a: b}\n", "  domains: {a: b}\n           ^^^^^^")]
#[case::block_collection("  domains:\n    a: b\n", "  domains:\n  ^^^^^^^")]
#[case::several_lines("  domains:\n  - 'co\n    .uk'\n", "  - 'co\n    ^^^")]
#[case::overriding(
    "  <<: {description: x}\n  description: y\n  <<: {description: z}\n",
    "  <<: {description: z}\n  ^^"
)]
#[case::comment(
    "  description: x # crm-admission: ignore domain\n",
    "  description: x # crm-admission: ignore domain\n                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
)]
fn the_value_is_marked(#[case] spec: &str, #[case] expected: &str) {
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("{COMPANY}spec:\n  displayName: A\n{spec}").replace('\n', end);
        assert_eq!(marked(&text), expected, "{end:?}");
    }
}

#[test]
fn the_mark_is_under_the_value_after_wide_characters_and_tabs() {
    // The emoji and each of the characters take two columns, and a tab becomes four spaces.
    let line = "  {description: 会社🏢,\tdisplayName: A, domains: [co.uk]}";
    let expected = line.replace('\t', "    ");
    let found = marked(&format!("{COMPANY}spec:\n{line}\n"));
    assert_eq!(found, format!("{expected}\n{}^^^^^", " ".repeat(53)));
}

#[test]
fn a_missing_field_is_marked_at_the_key_of_its_parent() {
    assert_eq!(marked(&format!("{COMPANY}spec:\n  description: x\n")), "spec:\n^^^^");
}

#[test]
fn control_characters_are_escaped_and_long_lines_are_cut() {
    let long = "x".repeat(200_000);
    let text =
        format!("{COMPANY}spec: {{displayName: A, description: \"{long}\u{202e}\", domains: [co.uk]}}\n");
    let ended = Repository::with(&[("a.yaml", &text)]).check(&["a.yaml", "--format", "full"]);
    assert!(ended.ends_with(1).out.len() < 2000, "{}", ended.out.len());
    assert!(ended.out.contains("\\u202e\", domains: [co.uk]"), "{}", ended.out);
}

#[test]
fn errors_have_their_line_too_and_the_summary_comes_last() {
    let repository = Repository::with(&[("a.yaml", "a: b: c\n")]);
    let ended = repository.check(&[".", "none.yaml", "--format", "full"]);
    let out = &ended.ends_with(2).out;
    assert!(out.contains("\n-->") && out.contains("--> none.yaml\n"), "{out}");
    assert!(out.contains(" --> a.yaml:") && out.contains("\n  | "), "{out}");
    assert!(out.ends_with("; 2 files could not be fully read.\n"), "{out}");
}

#[test]
fn the_fix_is_help_and_what_is_rendered_is_not_fixed_by_the_program() {
    let text = format!("{COMPANY}spec: {{displayName: A, domains: [Acme.com]}}\n");
    let help = |text: &str| {
        let ended = Repository::with(&[("a.yaml", text)]).check(&["a.yaml", "--format", "full"]);
        let line = ended.out.lines().find(|line| line.contains("= help: ")).unwrap();
        line.split_once("= help: ").unwrap().1.to_owned()
    };
    assert_eq!(help(&text), "crm-admission check --fix writes the canonical value");
    let rendered = help(&format!("---\n# Source: crm/templates/a.yaml\n{text}"));
    assert!(rendered.starts_with("Enter only the domain"), "{rendered}");
}

#[test]
fn without_a_terminal_the_report_is_text_and_quiet_leaves_only_findings() {
    let repository = Repository::with(&[("a.yaml", &format!("{COMPANY}spec: {{displayName: ''}}\n"))]);
    assert!(repository.check(&[]).ends_with(1).out.starts_with("a.yaml:4:21: deny: "));
    let out = repository.check(&["--format", "full", "--quiet"]).ends_with(1).out.clone();
    assert!(out.starts_with("deny: Company \"acme\": ") && out.ends_with("or person.\n\n"), "{out}");
}
