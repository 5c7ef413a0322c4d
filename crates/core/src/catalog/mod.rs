//! The only list of rules: ids, kinds, default actions and the texts that explain each rule.
//!
//! Messages, warnings, metrics, reports, the policy's schema and `docs/rules.md` take them from here.
//!
//! *Architecture invariant:* the catalogue does not know how the engine evaluates a rule.

mod codes;
mod entries;
mod help;
mod reported;
mod rule;

pub use codes::{
    DUPLICATE_OBJECT, MERGE_ORDER, NO_REASON, NOT_CANONICAL, ORDER, ReasonCode, UNKNOWN_RULE, UNUSED,
    UnknownId, find,
};
pub use help::{page, table};
pub use reported::{ReportedRule, SUPPRESSION, Suppression};
pub use rule::{Action, Example, Rule, RuleId, UnknownRule};

impl RuleId {
    /// The catalogue's entry.
    pub fn rule(self) -> &'static Rule {
        // `entries::RULES` is in the order of the enum; a test checks that.
        &entries::RULES[self as usize]
    }
}

/// All rules, in the order in which they are documented.
pub fn rules() -> &'static [Rule] {
    &entries::RULES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_the_order_of_the_ids() {
        let listed: Vec<RuleId> = rules().iter().map(|rule| rule.id).collect();
        assert_eq!(listed, RuleId::ALL);
    }

    #[test]
    fn ids_are_parsed_and_the_error_names_an_unknown_one() {
        for id in RuleId::ALL {
            assert_eq!(id.as_str().parse(), Ok(id));
            assert_eq!(id.rule().id, id);
        }
        let error = "domains".parse::<RuleId>().unwrap_err();
        assert!(error.to_string().contains("\"domains\""), "{error}");
    }

    #[test]
    fn the_schema_of_the_policy_lists_the_actions() {
        let mut actions = Action::ALL.map(Action::as_str);
        actions.reverse();
        assert_eq!(actions, crate::api::policy::ACTIONS);
    }

    #[test]
    fn every_entry_has_all_texts_and_a_kind() {
        for rule in rules() {
            for text in [rule.title, rule.explanation, rule.fix, rule.example.bad, rule.example.good] {
                assert!(!text.trim().is_empty(), "{} has an empty text", rule.id);
            }
            assert!(!rule.kinds.is_empty(), "{} has no kind", rule.id);
        }
    }
}
