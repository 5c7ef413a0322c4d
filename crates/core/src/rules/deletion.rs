//! The rule that a deleted record is not referred to any more: whom to ask about, and what the answers mean.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::evaluation::{Judge, Problem, Weight};
use super::finding::{Exempted, Reason, Shown, Verdict};
use super::path::FieldPath;
use crate::api::CrmKind;
use crate::api::names::is_subdomain;
use crate::catalog::{Action, RuleId};
use crate::links::{Count, Dependants, NAMED, Sight, Tally};
use crate::policy::Policy;
use crate::quote::quote;

const RULE: RuleId = RuleId::DeleteReferenced;

/// Those who clean up for the cluster. What they delete is gone already in every sense but one, and to keep them
/// waiting keeps a namespace or an owner from going. The shipped registration does not send their requests.
pub const CLEANERS: [&str; 2] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
];

/// What a person does about it, in a refusal always and in a warning where there is room.
const FIX: &str = "; delete or change them first";

/// How many characters the text and the record's name may have so that a warning with its field and rule has no more
/// than 120.
const ROOM: usize = 80;

/// One request to delete a record.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: &'a str,
    /// Who deletes it.
    pub requester: &'a UserInfo,
}

/// Who has to be looked for before [`evaluate_deletion`] can decide: nobody where the rule is disabled or the
/// requester exempt.
pub fn dependants(deletion: &Deletion<'_>, policy: &Policy, now: Timestamp) -> Vec<Dependants> {
    let judge = Judge { policy, requester: Some(deletion.requester), now };
    if is_unlooked(deletion, policy) || judge.exemption(RULE).is_some() || !is_subdomain(deletion.name) {
        return Vec::new();
    }
    Dependants::on(deletion.kind, deletion.name)
}

fn is_unlooked(deletion: &Deletion<'_>, policy: &Policy) -> bool {
    let user = deletion.requester.username.as_deref().unwrap_or_default();
    CLEANERS.contains(&user) || !policy.is_enabled(RULE) || !RULE.rule().kinds.contains(&deletion.kind)
}

/// Decides about a deletion.
///
/// `found` are the answers to [`dependants()`], each with the kind it is about; `None` is one that could not be found
/// out, which never refuses.
pub fn evaluate_deletion(
    deletion: &Deletion<'_>,
    found: &[(CrmKind, Option<Tally>)],
    policy: &Policy,
    now: Timestamp,
) -> Verdict {
    let mut verdict = Verdict::default();
    if is_unlooked(deletion, policy) {
        return verdict;
    }
    let judge = Judge { policy, requester: Some(deletion.requester), now };
    if let Some(exemption) = judge.exemption(RULE) {
        verdict.exempted.push(Exempted { rule: RULE, exemption: exemption.name.clone() });
        return verdict;
    }
    let action = policy.action(RULE, now).action;
    if let Some((text, weight)) = referenced(deletion, found, action) {
        judge.report(&mut verdict, problem(deletion, text), weight);
    }
    if let Some(text) = unchecked(found) {
        judge.report(&mut verdict, problem(deletion, text), Weight::Advice);
    }
    verdict
}

fn problem(deletion: &Deletion<'_>, text: String) -> Problem {
    let field = FieldPath::of(&["metadata", "name"]);
    let value = Shown::Text(deletion.name.to_owned());
    Problem { rule: RULE, code: None, field, reason: Reason::Referenced, value, text }
}

/// What there is to say of those who refer to the record, if anybody does.
fn referenced(
    deletion: &Deletion<'_>,
    found: &[(CrmKind, Option<Tally>)],
    action: Action,
) -> Option<(String, Weight)> {
    let tallies = found.iter().filter_map(|(kind, tally)| Some((*kind, tally.as_ref()?)));
    let (listed, hidden): (Vec<_>, Vec<_>) = tallies
        .filter(|(_, tally)| tally.count != Count::Exactly(0))
        .partition(|(_, tally)| tally.sight == Sight::Listed);
    if !listed.is_empty() {
        let text = told(&listed);
        let has_room = text.chars().count() + FIX.len() + deletion.name.len() <= ROOM;
        let text = if action == Action::Deny || has_room { text + FIX } else { text };
        return Some((text, Weight::Full));
    }
    if hidden.is_empty() {
        return None;
    }
    let text = "still referred to by records that you may not list; ask somebody who may".to_owned();
    // A refusal has to say that there is something. Nothing else needs to be said, and so nothing is.
    Some((text, if action == Action::Deny { Weight::Full } else { Weight::Record }))
}

fn told(listed: &[(CrmKind, &Tally)]) -> String {
    let mut left = NAMED;
    let parts: Vec<String> = listed
        .iter()
        .map(|(kind, tally)| {
            let names: Vec<&String> = tally.names.iter().take(left).collect();
            left -= names.len();
            counted(*kind, tally.count, &names)
        })
        .collect();
    format!("still referred to by {}", parts.join(" and "))
}

/// Such as `5 Notes ("n1", "n2", …)`.
fn counted(kind: CrmKind, count: Count, names: &[&String]) -> String {
    let (said, number) = match count {
        Count::Exactly(number) => ("", number),
        Count::AtLeast(number) => ("at least ", number),
        Count::MoreThan(number) => ("more than ", number),
    };
    let noun = if number == 1 { kind.as_str() } else { several(kind) };
    let mut names: Vec<String> = names.iter().map(|name| quote(name)).collect();
    let all_named = matches!(count, Count::Exactly(number) if number == names.len());
    if names.is_empty() {
        return format!("{said}{number} {noun}");
    }
    if !all_named {
        names.push("…".to_owned());
    }
    format!("{said}{number} {noun} ({})", names.join(", "))
}

/// The kind as one speaks of several.
fn several(kind: CrmKind) -> &'static str {
    match kind {
        CrmKind::Company => "Companies",
        CrmKind::Person => "People",
        CrmKind::Note => "Notes",
    }
}

/// What there is to say of what could not be found out. It names kinds, which says nothing of records.
fn unchecked(found: &[(CrmKind, Option<Tally>)]) -> Option<String> {
    let kinds: Vec<&str> =
        found.iter().filter(|(_, tally)| tally.is_none()).map(|(kind, _)| several(*kind)).collect();
    (!kinds.is_empty()).then(|| format!("whether {} refer to it could not be checked", kinds.join(" or ")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn user(name: &str) -> UserInfo {
        UserInfo { username: Some(name.to_owned()), ..UserInfo::default() }
    }

    fn tally(count: Count, names: &[&str], sight: Sight) -> Option<Tally> {
        Some(Tally { count, names: names.iter().map(|name| (*name).to_owned()).collect(), sight })
    }

    fn listed(names: &[&str]) -> Option<Tally> {
        let names = names.to_vec();
        tally(Count::Exactly(names.len()), &names[..names.len().min(NAMED)], Sight::Listed)
    }

    fn hidden(count: usize) -> Option<Tally> {
        tally(Count::Exactly(count), &["secret"][..count.min(1)], Sight::Hidden)
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
    #[case::above_the_bound(
        tally(Count::MoreThan(1000), &["a"], Sight::Listed), listed(&[]),
        r#"more than 1000 People ("a", …)"#
    )]
    #[case::broken_off(
        listed(&[]), tally(Count::AtLeast(1), &["n"], Sight::Listed),
        r#"at least 1 Note ("n", …); delete or change them first"#
    )]
    #[case::only_what_may_be_listed_is_told(
        listed(&["ada"]), hidden(9), r#"1 Person ("ada"); delete or change them first"#
    )]
    fn dependants_are_counted_and_named(
        #[case] people: Option<Tally>,
        #[case] notes: Option<Tally>,
        #[case] expected: &str,
    ) {
        let told = findings(Action::Warn, people, notes);
        assert_eq!(told, [(Action::Warn, format!("still referred to by {expected}"))]);
    }

    #[test]
    fn a_refusal_always_tells_the_fix() {
        let told = findings(Action::Deny, listed(&["ada"]), listed(&["n1", "n2"]));
        assert_eq!(told[0].0, Action::Deny);
        assert!(told[0].1.ends_with(FIX), "{told:?}");
    }

    #[test]
    fn what_nobody_refers_to_goes_without_a_word() {
        assert_eq!(findings(Action::Deny, listed(&[]), hidden(0)), []);
    }

    #[test]
    fn what_the_requester_may_not_list_is_recorded_only_and_a_refusal_says_no_more_than_it_must() {
        for action in [Action::Audit, Action::Warn] {
            assert_eq!(findings(action, listed(&[]), hidden(4))[0].0, Action::Audit);
        }
        let told = findings(Action::Deny, listed(&[]), hidden(4));
        let text = "still referred to by records that you may not list; ask somebody who may";
        assert_eq!(told, [(Action::Deny, text.to_owned())]);
    }

    #[test]
    fn what_could_not_be_found_out_warns_and_never_refuses() {
        let told = findings(Action::Deny, None, None);
        let text = "whether People or Notes refer to it could not be checked";
        assert_eq!(told, [(Action::Warn, text.to_owned())]);
        assert_eq!(findings(Action::Audit, None, None)[0].0, Action::Audit);
        // What is known for certain counts all the same.
        let told = findings(Action::Deny, listed(&["ada"]), None);
        let actions: Vec<Action> = told.iter().map(|(action, _)| *action).collect();
        assert_eq!(actions, [Action::Deny, Action::Warn]);
        assert!(told[1].1.starts_with("whether Notes refer to it"), "{told:?}");
    }

    #[test]
    fn nobody_is_looked_for_in_vain() {
        let asked = |kind, name, requester: &str, policy: &Policy| {
            let requester = user(requester);
            let deletion = Deletion { kind, name, requester: &requester };
            dependants(&deletion, policy, Timestamp::UNIX_EPOCH).len()
        };
        let policy = Policy::default();
        assert_eq!(asked(CrmKind::Company, "acme", "alice", &policy), 2);
        assert_eq!(asked(CrmKind::Person, "ada", "alice", &policy), 1);
        assert_eq!(asked(CrmKind::Note, "n", "alice", &policy), 0);
        for cleaner in CLEANERS {
            assert_eq!(asked(CrmKind::Company, "acme", cleaner, &policy), 0);
        }
        // No record can have such a name, and a selector of it would be another one.
        assert_eq!(asked(CrmKind::Company, "acme,a=b", "alice", &policy), 0);
        let mut disabled = Policy::default();
        let setting = crate::policy::RuleSetting { action: Action::Disabled, enforce_after: None };
        disabled.set_rule(RULE, setting);
        assert_eq!(asked(CrmKind::Company, "acme", "alice", &disabled), 0);
    }
}
