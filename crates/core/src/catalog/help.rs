//! The help of a rule: its explanation, fix and example as plain text and as Markdown.

use super::rule::{Example, Rule};

impl Rule {
    /// The explanation, the fix and the manifests of the example, as plain text with indented manifests.
    pub fn help_text(&self) -> String {
        let mut text = format!("{}\n\nFix: {}\n", self.explanation, self.fix);
        for (title, manifest) in self.example.titled() {
            text += &format!("\n{title}:\n\n");
            text.extend(manifest.lines().flat_map(|line| ["    ", line, "\n"]));
        }
        text
    }

    /// The same as Markdown, without a heading.
    pub fn help_markdown(&self) -> String {
        let mut text = format!("{}\n\n**Fix.** {}\n", self.explanation, self.fix);
        for (title, manifest) in self.example.titled() {
            text += &format!("\n{title}:\n\n```yaml\n{manifest}```\n");
        }
        text
    }
}

impl Example {
    /// The manifests with their titles, in the order in which they are shown.
    fn titled(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let stored = self.stored.map(|manifest| ("Stored record", manifest));
        stored.into_iter().chain([("Breaks the rule", self.bad), ("Fixed", self.good)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, RuleId, rules};
    use super::*;

    fn rule(stored: Option<&'static str>) -> Rule {
        Rule {
            id: RuleId::Schema,
            kinds: &[],
            default_action: Action::Deny,
            title: "Title",
            explanation: "Why.",
            fix: "How.",
            example: Example { stored, bad: "a: 1\nb: 2\n", good: "a: 3\n" },
        }
    }

    #[test]
    fn the_text_has_the_explanation_the_fix_and_indented_manifests() {
        let expected = "Why.\n\nFix: How.\n\nBreaks the rule:\n\n    a: 1\n    b: 2\n\nFixed:\n\n    a: 3\n";
        assert_eq!(rule(None).help_text(), expected);
    }

    #[test]
    fn the_markdown_has_the_manifests_in_code_blocks() {
        let expected = "Why.\n\n**Fix.** How.\n\n\
                        Breaks the rule:\n\n```yaml\na: 1\nb: 2\n```\n\nFixed:\n\n```yaml\na: 3\n```\n";
        assert_eq!(rule(None).help_markdown(), expected);
    }

    #[test]
    fn a_stored_record_comes_first() {
        let rule = rule(Some("a: 0\n"));
        assert!(rule.help_text().starts_with("Why.\n\nFix: How.\n\nStored record:\n\n    a: 0\n\nBreaks"));
        let markdown = "Why.\n\n**Fix.** How.\n\nStored record:\n\n```yaml\na: 0\n```\n\nBreaks";
        assert!(rule.help_markdown().starts_with(markdown));
    }

    #[test]
    fn every_manifest_ends_its_last_line_so_that_a_code_block_can_end_after_it() {
        for rule in rules() {
            for (title, manifest) in rule.example.titled() {
                assert!(manifest.ends_with('\n'), "{}: {title}", rule.id);
            }
        }
    }
}
