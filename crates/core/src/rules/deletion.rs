//! The rule `delete-referenced`: which dependents to count, and what the counts mean.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::evaluation::{Judge, Problem, Weight};
use super::finding::{Exempted, Reason, Shown, Verdict};
use super::path::FieldPath;
use crate::api::CrmKind;
use crate::api::names::is_subdomain;
use crate::catalog::{Action, RuleId};
use crate::links::{Count, Dependents, NAMED, Tally, Visibility};
use crate::policy::Policy;
use crate::quote::quote;

const RULE: RuleId = RuleId::DeleteReferenced;

/// The controllers that delete objects for the cluster. Their deletions are the consequence of earlier ones, and a
/// denial would block the deletion of a namespace or an owner. The shipped registration does not send their requests.
pub const SKIPPED_USERS: [&str; 2] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
];

/// The fix. A denial always has it, a warning only if it fits.
const FIX: &str = "; delete or change them first";

/// The maximum number of characters of the text and the name of the record, so that a warning with its field and rule
/// has at most 120.
const ROOM: usize = 80;

/// One request to delete a record.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: &'a str,
    /// The user who deletes it.
    pub requester: &'a UserInfo,
}

/// The dependents to count before [`evaluate_deletion`] can decide: none if the rule is disabled or the requester
/// exempt.
pub fn dependents(deletion: &Deletion<'_>, policy: &Policy, now: Timestamp) -> Vec<Dependents> {
    let judge = Judge { policy, requester: Some(deletion.requester), now };
    if is_skipped(deletion, policy) || judge.exemption(RULE).is_some() || !is_subdomain(deletion.name) {
        return Vec::new();
    }
    Dependents::of(deletion.kind, deletion.name)
}

fn is_skipped(deletion: &Deletion<'_>, policy: &Policy) -> bool {
    let user = deletion.requester.username.as_deref().unwrap_or_default();
    SKIPPED_USERS.contains(&user) || !policy.is_enabled(RULE) || !RULE.rule().checks(deletion.kind)
}

/// Decides about a deletion.
///
/// `found` are the answers to [`dependents()`], each with the kind of the dependents. `None` is a failed count, which
/// never denies.
pub fn evaluate_deletion(
    deletion: &Deletion<'_>,
    found: &[(CrmKind, Option<Tally>)],
    policy: &Policy,
    now: Timestamp,
) -> Verdict {
    let mut verdict = Verdict::default();
    if is_skipped(deletion, policy) {
        return verdict;
    }
    let judge = Judge { policy, requester: Some(deletion.requester), now };
    if let Some(exemption) = judge.exemption(RULE) {
        verdict.exempted.push(Exempted { rule: RULE, exemption: exemption.name.clone() });
        return verdict;
    }
    let action = policy.action(RULE, now).action;
    let owned = owned(found);
    match (referenced(deletion, found, action), owned) {
        (Some((text, weight)), owned) => {
            let text = owned.into_iter().fold(text, |text, owned| text + "; " + &owned);
            judge.report(&mut verdict, problem(deletion, text), weight);
        }
        // No reference dangles afterwards.
        (None, Some(owned)) => judge.report(&mut verdict, problem(deletion, owned), Weight::AtMostWarn),
        (None, None) => {}
    }
    if let Some(text) = unchecked(found) {
        judge.report(&mut verdict, problem(deletion, text), Weight::AtMostWarn);
    }
    verdict
}

fn problem(deletion: &Deletion<'_>, text: String) -> Problem {
    let field = FieldPath::of(&["metadata", "name"]);
    let value = Shown::Text(deletion.name.to_owned());
    Problem { rule: RULE, code: None, field, reason: Reason::Referenced, value, text, suggestion: None }
}

/// The text about the dependents of the record, if it has any.
fn referenced(
    deletion: &Deletion<'_>,
    found: &[(CrmKind, Option<Tally>)],
    action: Action,
) -> Option<(String, Weight)> {
    let tallies = found.iter().filter_map(|(kind, tally)| Some((*kind, tally.as_ref()?)));
    let (listed, hidden): (Vec<_>, Vec<_>) = tallies
        .filter(|(_, tally)| !tally.count.is_none())
        .partition(|(_, tally)| tally.visibility == Visibility::Visible);
    if !listed.is_empty() {
        let text = describe(&listed);
        let has_room = text.chars().count() + FIX.len() + deletion.name.len() <= ROOM;
        let text = if action == Action::Deny || has_room { text + FIX } else { text };
        return Some((text, Weight::Full));
    }
    if hidden.is_empty() {
        return None;
    }
    let text = "still referred to by records that you may not list; ask someone who may list them".to_owned();
    // A denial must say that there are dependents, but a warning must not reveal them.
    Some((text, if action == Action::Deny { Weight::Full } else { Weight::AtMostAudit }))
}

/// The text about the dependents that the garbage collector will delete, if the requester may list them.
fn owned(found: &[(CrmKind, Option<Tally>)]) -> Option<String> {
    let tallies = found.iter().filter_map(|(kind, tally)| Some((*kind, tally.as_ref()?)));
    let owned = tallies
        .filter(|(_, tally)| !tally.owned.is_none() && tally.visibility == Visibility::Visible)
        .map(|(kind, tally)| count_and_names(kind, tally.owned, &[]));
    let parts: Vec<String> = owned.collect();
    (!parts.is_empty()).then(|| format!("{} will be deleted with it", parts.join(" and ")))
}

fn describe(listed: &[(CrmKind, &Tally)]) -> String {
    let mut remaining = NAMED;
    let parts: Vec<String> = listed
        .iter()
        .map(|(kind, tally)| {
            let names: Vec<&String> = tally.names.iter().take(remaining).collect();
            remaining -= names.len();
            count_and_names(*kind, tally.count, &names)
        })
        .collect();
    format!("still referred to by {}", parts.join(" and "))
}

/// Such as `5 Notes ("n1", "n2", …)`.
fn count_and_names(kind: CrmKind, count: Count, names: &[&String]) -> String {
    let (prefix, number) = match count {
        Count::Exactly(number) => ("", number),
        Count::AtLeast(number) => ("at least ", number),
        Count::MoreThan(number) => ("more than ", number),
    };
    let noun = if number == 1 { kind.as_str() } else { plural(kind) };
    let mut names: Vec<String> = names.iter().map(|name| quote(name)).collect();
    let all_named = matches!(count, Count::Exactly(number) if number == names.len());
    if names.is_empty() {
        return format!("{prefix}{number} {noun}");
    }
    if !all_named {
        names.push("…".to_owned());
    }
    format!("{prefix}{number} {noun} ({})", names.join(", "))
}

/// The plural of the kind in a sentence.
fn plural(kind: CrmKind) -> &'static str {
    match kind {
        CrmKind::Company => "Companies",
        CrmKind::Person => "People",
        CrmKind::Note | CrmKind::NamespacedNote => "Notes",
        CrmKind::ClusterNote => "ClusterNotes",
    }
}

/// The text about failed counts. It names only kinds, so it reveals nothing about records.
fn unchecked(found: &[(CrmKind, Option<Tally>)]) -> Option<String> {
    let kinds: Vec<&str> =
        found.iter().filter(|(_, tally)| tally.is_none()).map(|(kind, _)| plural(*kind)).collect();
    (!kinds.is_empty()).then(|| format!("could not check whether {} refer to it", kinds.join(" or ")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn user(name: &str) -> UserInfo {
        UserInfo { username: Some(name.to_owned()), ..UserInfo::default() }
    }

    fn tally(count: Count, names: &[&str], visibility: Visibility) -> Option<Tally> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Some(Tally { count, owned: Count::Exactly(0), names, visibility })
    }

    fn listed(names: &[&str]) -> Option<Tally> {
        let names = names.to_vec();
        tally(Count::Exactly(names.len()), &names[..names.len().min(NAMED)], Visibility::Visible)
    }

    fn hidden(count: usize) -> Option<Tally> {
        tally(Count::Exactly(count), &["secret"][..count.min(1)], Visibility::Hidden)
    }

    /// The action and the text of every finding.
    fn findings(action: Action, people: Option<Tally>, notes: Option<Tally>) -> Vec<(Action, String)> {
        let mut policy = Policy::default();
        policy.set_rule(RULE, crate::policy::RuleSetting { action, enforce_after: None });
        let alice = user("alice");
        let deletion = Deletion { kind: CrmKind::Company, name: "acme", requester: &alice };
        let found = [(CrmKind::Person, people), (CrmKind::Note, notes)];
        let verdict = evaluate_deletion(&deletion, &found, &policy, Timestamp::UNIX_EPOCH);
        verdict.findings.into_iter().map(|finding| (finding.action, finding.text)).collect()
    }

    #[rstest]
    #[case::one(listed(&["ada"]), listed(&[]), r#"1 Person ("ada"); delete or change them first"#)]
    #[case::two_kinds(listed(&["ada"]), listed(&["n1", "n2"]), r#"1 Person ("ada") and 2 Notes ("n1", "n2")"#)]
    #[case::three_names_in_all(
        listed(&["ada", "bob"]), listed(&["n1", "n2"]), r#"2 People ("ada", "bob") and 2 Notes ("n1", …)"#
    )]
    #[case::no_names_left(
        listed(&["a", "b", "c", "d"]), listed(&["n1", "n2"]), r#"4 People ("a", "b", "c", …) and 2 Notes"#
    )]
    #[case::above_the_limit(
        tally(Count::MoreThan(1000), &["a"], Visibility::Visible), listed(&[]),
        r#"more than 1000 People ("a", …)"#
    )]
    #[case::a_count_that_failed_halfway(
        listed(&[]), tally(Count::AtLeast(1), &["n"], Visibility::Visible),
        r#"at least 1 Note ("n", …); delete or change them first"#
    )]
    #[case::only_kinds_that_may_be_listed(
        listed(&["ada"]), hidden(9), r#"1 Person ("ada"); delete or change them first"#
    )]
    fn dependents_are_counted_and_named(
        #[case] people: Option<Tally>,
        #[case] notes: Option<Tally>,
        #[case] expected: &str,
    ) {
        let found = findings(Action::Warn, people, notes);
        assert_eq!(found, [(Action::Warn, format!("still referred to by {expected}"))]);
    }

    #[test]
    fn a_denial_always_has_the_fix() {
        let found = findings(Action::Deny, listed(&["ada"]), listed(&["n1", "n2"]));
        assert_eq!(found[0].0, Action::Deny);
        assert!(found[0].1.ends_with(FIX), "{found:?}");
    }

    #[test]
    fn a_record_without_dependents_is_deleted_without_a_finding() {
        assert_eq!(findings(Action::Deny, listed(&[]), hidden(0)), []);
    }

    #[test]
    fn dependents_that_the_requester_may_not_list_are_only_recorded_and_a_denial_does_not_name_them() {
        for action in [Action::Audit, Action::Warn] {
            assert_eq!(findings(action, listed(&[]), hidden(4))[0].0, Action::Audit);
        }
        let found = findings(Action::Deny, listed(&[]), hidden(4));
        let text = "still referred to by records that you may not list; ask someone who may list them";
        assert_eq!(found, [(Action::Deny, text.to_owned())]);
    }

    fn owning(tally: Option<Tally>, owned: Count) -> Option<Tally> {
        tally.map(|tally| Tally { owned, ..tally })
    }

    #[test]
    fn dependents_that_are_deleted_with_the_record_never_deny() {
        let one = owning(listed(&[]), Count::Exactly(1));
        for action in [Action::Warn, Action::Deny] {
            let found = findings(action, listed(&[]), one.clone());
            assert_eq!(found, [(Action::Warn, "1 Note will be deleted with it".to_owned())]);
        }
        let found = findings(Action::Audit, listed(&[]), one);
        assert_eq!(found, [(Action::Audit, "1 Note will be deleted with it".to_owned())]);
        let many = owning(listed(&[]), Count::AtLeast(700));
        let found = findings(Action::Warn, listed(&[]), many);
        assert_eq!(found, [(Action::Warn, "at least 700 Notes will be deleted with it".to_owned())]);
    }

    #[test]
    fn dependents_that_stay_come_before_those_that_are_deleted() {
        let notes = owning(listed(&["n1"]), Count::Exactly(2));
        let found = findings(Action::Deny, listed(&["ada"]), notes);
        let text = r#"still referred to by 1 Person ("ada") and 1 Note ("n1"); delete or change them first; 2 Notes will be deleted with it"#;
        assert_eq!(found, [(Action::Deny, text.to_owned())]);
    }

    #[test]
    fn hidden_dependents_that_are_deleted_with_the_record_are_not_revealed() {
        let found = findings(Action::Deny, listed(&[]), owning(hidden(0), Count::Exactly(2)));
        assert_eq!(found, []);
    }

    #[test]
    fn a_failed_count_warns_and_never_denies() {
        let found = findings(Action::Deny, None, None);
        let text = "could not check whether People or Notes refer to it";
        assert_eq!(found, [(Action::Warn, text.to_owned())]);
        assert_eq!(findings(Action::Audit, None, None)[0].0, Action::Audit);
        // The other counts matter nevertheless.
        let found = findings(Action::Deny, listed(&["ada"]), None);
        let actions: Vec<Action> = found.iter().map(|(action, _)| *action).collect();
        assert_eq!(actions, [Action::Deny, Action::Warn]);
        assert!(found[1].1.starts_with("could not check whether Notes refer"), "{found:?}");
    }

    #[test]
    fn dependents_are_counted_only_if_the_rule_needs_them() {
        let asked = |kind, name, requester: &str, policy: &Policy| {
            let requester = user(requester);
            let deletion = Deletion { kind, name, requester: &requester };
            dependents(&deletion, policy, Timestamp::UNIX_EPOCH).len()
        };
        let policy = Policy::default();
        assert_eq!(asked(CrmKind::Company, "acme", "alice", &policy), 3);
        assert_eq!(asked(CrmKind::Person, "ada", "alice", &policy), 2);
        assert_eq!(asked(CrmKind::Note, "n", "alice", &policy), 0);
        for cleaner in SKIPPED_USERS {
            assert_eq!(asked(CrmKind::Company, "acme", cleaner, &policy), 0);
        }
        // No record can have such a name, and it would change the selector.
        assert_eq!(asked(CrmKind::Company, "acme,a=b", "alice", &policy), 0);
        let mut disabled = Policy::default();
        let setting = crate::policy::RuleSetting { action: Action::Disabled, enforce_after: None };
        disabled.set_rule(RULE, setting);
        assert_eq!(asked(CrmKind::Company, "acme", "alice", &disabled), 0);
    }
}
