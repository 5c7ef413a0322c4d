//! The rules about who created a record: `creator-ref`, `creator-immutable`, `creator-is-requester`.

use k8s_openapi::api::authentication::v1::UserInfo;

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::{Change, Effect};
use super::path::FieldPath;
use super::request::{Operation, Record, Request, StringValue};
use crate::api::names::{invisible_character, is_path_segment};
use crate::catalog::RuleId;
use crate::links::CREATOR;
use crate::policy::Policy;
use crate::quote::quote;

/// The text about an invalid name.
const SEGMENT_FORM: &str =
    "must be 1-253 characters, without \"/\", \"%\" or white space, and not \".\" or \"..\"";

/// The problem with a name that is not a valid path segment, and the fix.
pub(super) fn segment_problem(name: &str) -> String {
    match invisible_character(name) {
        // By its code, because it is not visible.
        Some(c) => {
            format!("has the invisible character U+{:04X}; remove it", u32::from(c))
        }
        None => SEGMENT_FORM.to_owned(),
    }
}

/// The creator of a record, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Creator<'a> {
    /// From the object.
    Given(&'a str),
    /// From the requesting user.
    Defaulted(String),
    /// From the stored object.
    Restored(&'a str),
    /// Missing, because no source of the policy yields a name for the user.
    Unmapped,
    /// Missing in the stored object, and in the update if there is one.
    NeverSet,
    /// Missing in a file without a known requester. The cluster will set it.
    Unknown,
    /// The value has the wrong type, which is a finding of `schema`.
    WrongType,
}

impl<'a> Creator<'a> {
    /// Finds the creator of the record in a request.
    pub(super) fn of(request: &Request<'a>, policy: &Policy) -> Self {
        match creator_name(request.object) {
            None => return Self::WrongType,
            Some(name) if !name.is_empty() => return Self::Given(name),
            Some(_) => {}
        }
        match request.operation {
            Operation::Update(stored) => match stored_creator(stored) {
                Some(name) => Self::Restored(name),
                None => Self::NeverSet,
            },
            Operation::Stored => Self::NeverSet,
            Operation::Create => match request.requester {
                None => Self::Unknown,
                Some(user) => mapped(policy, user).map_or(Self::Unmapped, Self::Defaulted),
            },
        }
    }

    /// The name that will be stored, if there is one.
    pub(super) fn name(&self, policy: &Policy) -> Option<&str> {
        // A disabled rule makes no change, so nothing is set or restored.
        let changes = policy.is_enabled(RuleId::CreatorRef);
        match self {
            Self::Given(name) => Some(name),
            Self::Defaulted(name) if changes => Some(name),
            Self::Restored(name) if changes => Some(name),
            _ => None,
        }
    }
}

/// The name in `spec.creatorRef`; empty if missing, `None` if it has the wrong type.
fn creator_name(record: &Record) -> Option<&str> {
    match record.get(&reference_path()) {
        None => Some(""),
        Some(serde_json::Value::Object(fields)) => match StringValue::of(fields.get("name")) {
            StringValue::Given(name) => Some(name),
            StringValue::Missing => Some(""),
            StringValue::WrongType(_) => None,
        },
        Some(_) => None,
    }
}

/// The creator of a stored record, if it has one.
pub(super) fn stored_creator(stored: &Record) -> Option<&str> {
    creator_name(stored).filter(|name| !name.is_empty())
}

/// The first name that the sources of the policy yield for a user.
fn mapped(policy: &Policy, user: &UserInfo) -> Option<String> {
    policy.creator_sources.iter().find_map(|source| source.name(user))
}

fn reference_path() -> FieldPath {
    FieldPath::of(&["spec", CREATOR.field])
}

/// The path of the name of the creator.
pub(super) fn name_path() -> FieldPath {
    reference_path().field("name")
}

/// Checks `spec.creatorRef`.
pub(super) fn creator(evaluation: &mut Evaluation<'_>) {
    let creator = Creator::of(evaluation.request, evaluation.policy);
    match &creator {
        Creator::WrongType => wrong_type(evaluation),
        Creator::Given(name) => well_formed(evaluation, name),
        Creator::Defaulted(name) => set(evaluation, name, Effect::Defaulted),
        Creator::Restored(name) => set(evaluation, name, Effect::Restored),
        Creator::Unmapped => unmapped(evaluation, RuleId::CreatorRef, "set spec.creatorRef.name"),
        Creator::NeverSet => {
            let (text, weight) = match evaluation.request.operation {
                Operation::Stored => ("set the user who created the record", Weight::Full),
                _ => (
                    "the stored record has no creator either; set the user who created it",
                    Weight::AtMostWarn,
                ),
            };
            let problem = Problem::required(RuleId::CreatorRef, name_path(), text);
            evaluation.report(problem, weight);
        }
        Creator::Unknown => {}
    }
    immutable(evaluation, &creator);
    is_requester(evaluation, &creator);
}

fn wrong_type(evaluation: &mut Evaluation<'_>) {
    // Reading the parent and the field reports the one with the wrong type.
    if evaluation.object(&reference_path()).is_some() {
        evaluation.string(&name_path());
    }
}

fn well_formed(evaluation: &mut Evaluation<'_>, name: &str) {
    if is_path_segment(name) {
        return;
    }
    let path = name_path();
    let weight = Weight::ratchet(evaluation.request.leaves_unchanged(&path));
    evaluation.report(Problem::invalid(RuleId::CreatorRef, path, name, segment_problem(name)), weight);
}

fn set(evaluation: &mut Evaluation<'_>, name: &str, effect: Effect) {
    evaluation.change(Change {
        rule: RuleId::CreatorRef,
        field: name_path(),
        before: None,
        after: Some(name.to_owned()),
        effect,
        was_stored: false,
    });
}

fn unmapped(evaluation: &mut Evaluation<'_>, rule: RuleId, fix: &str) {
    let user = evaluation.request.requester.and_then(|user| user.username.as_deref()).unwrap_or_default();
    let text = format!("the user {} could not be mapped to a creator; {fix}", quote(user));
    let problem = match rule {
        RuleId::CreatorRef => Problem::required(rule, name_path(), text),
        _ => Problem::invalid(rule, name_path(), "", text),
    };
    evaluation.report(problem, Weight::Full);
}

fn immutable(evaluation: &mut Evaluation<'_>, creator: &Creator<'_>) {
    let Some(stored) = evaluation.request.stored().and_then(stored_creator) else {
        return;
    };
    let name = creator.name(evaluation.policy).unwrap_or_default();
    if name != stored {
        let text = format!("field is immutable: keep {}", quote(stored));
        evaluation.report(Problem::invalid(RuleId::CreatorImmutable, name_path(), name, text), Weight::Full);
    }
}

fn is_requester(evaluation: &mut Evaluation<'_>, creator: &Creator<'_>) {
    let request = evaluation.request;
    let (Operation::Create, Some(user)) = (request.operation, request.requester) else {
        return;
    };
    if !evaluation.policy.is_enabled(RuleId::CreatorIsRequester) {
        return;
    }
    let Some(own) = mapped(evaluation.policy, user) else {
        let fix = "ask a cluster admin to map it in the policy";
        return unmapped(evaluation, RuleId::CreatorIsRequester, fix);
    };
    let name = creator.name(evaluation.policy).unwrap_or_default();
    if !name.is_empty() && name != own {
        let text = format!("must be the requesting user, {}", quote(&own));
        let problem = Problem::invalid(RuleId::CreatorIsRequester, name_path(), name, text);
        evaluation.report(problem, Weight::Full);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::{Facts, Verdict, evaluate};
    use super::*;
    use crate::api::CrmKind;
    use crate::catalog::Action;
    use crate::policy::{CreatorSource, RuleSetting, SourceField};

    fn record(spec: Value) -> Record {
        Record { spec, ..Record::default() }
    }

    fn person(creator: &str) -> Record {
        record(json!({"displayName": "Ada", "creatorRef": {"name": creator}}))
    }

    /// The verdict about a write by this user under the built-in policy, with `user-exists` enabled.
    fn verdict(object: &Record, operation: Operation<'_>, user: &str, sources: &[CreatorSource]) -> Verdict {
        let mut policy = Policy::default();
        policy.creator_sources = sources.to_vec();
        policy.set_rule(RuleId::UserExists, RuleSetting { action: Action::Deny, enforce_after: None });
        let user =
            UserInfo { username: Some(user.to_owned()), uid: Some("u-17".to_owned()), ..UserInfo::default() };
        let request = Request {
            kind: CrmKind::Person,
            object,
            operation,
            requester: Some(&user),
            dry_run: false,
            field_manager: None,
        };
        evaluate(&request, &Facts::default(), &policy, Timestamp::UNIX_EPOCH)
    }

    /// Each finding as `action field: message`.
    fn findings(verdict: &Verdict) -> Vec<String> {
        let line = |finding: &super::super::Finding| {
            format!("{} {}: {}", finding.action.as_str(), finding.field, finding.message())
        };
        verdict.findings.iter().map(line).collect()
    }

    fn by_alice(object: &Record, operation: Operation<'_>) -> Vec<String> {
        findings(&verdict(object, operation, "alice", &[CreatorSource::username()]))
    }

    #[rstest]
    #[case::soft_hyphen('\u{ad}')]
    #[case::arabic_letter_mark('\u{61c}')]
    #[case::mongolian_vowel_separator('\u{180e}')]
    #[case::zero_width_space('\u{200b}')]
    #[case::left_to_right_mark('\u{200e}')]
    #[case::right_to_left_mark('\u{200f}')]
    #[case::embedding('\u{202a}')]
    #[case::override_of_direction('\u{202e}')]
    #[case::word_joiner('\u{2060}')]
    #[case::invisible_plus('\u{2064}')]
    #[case::isolate('\u{2066}')]
    #[case::end_of_isolate('\u{2069}')]
    #[case::byte_order_mark('\u{feff}')]
    fn a_name_with_an_invisible_character_is_denied(#[case] c: char) {
        let code = u32::from(c);
        for name in [format!("al{c}ice"), format!("{c}alice"), format!("alice{c}")] {
            let shown = name.replace(c, &format!("\\u{code:04x}"));
            let found = |field: &str, rule: &str| {
                format!(
                    "Deny spec.{field}.name: Invalid value: \"{shown}\": has the invisible character U+{code:04X}; \
                     remove it [{rule}]"
                )
            };
            assert_eq!(by_alice(&person(&name), Operation::Create), [found("creatorRef", "creator-ref")]);
            let mut object = person("alice");
            object.spec["userRef"] = json!({"name": name});
            assert_eq!(by_alice(&object, Operation::Create), [found("userRef", "user-exists")]);
        }
    }

    #[rstest]
    #[case::slash("a/b")]
    #[case::percent("a%62")]
    #[case::space("a b")]
    #[case::no_break_space("a\u{a0}b")]
    #[case::line_separator("a\u{2028}b")]
    #[case::line_break("a\nb")]
    #[case::control("a\u{7f}b")]
    #[case::control_of_the_upper_half("a\u{9b}b")]
    #[case::this_directory(".")]
    #[case::the_directory_above("..")]
    fn a_name_that_is_not_a_path_segment_is_denied(#[case] name: &str) {
        let found = by_alice(&person(name), Operation::Create);
        assert!(found.len() == 1 && found[0].contains(": must be 1-253 characters, without"), "{found:?}");
    }

    #[test]
    fn a_name_that_is_too_long_is_denied() {
        assert_eq!(by_alice(&person(&"é".repeat(253)), Operation::Create), [] as [&str; 0]);
        let found = by_alice(&person(&"é".repeat(254)), Operation::Create);
        assert!(found.len() == 1 && found[0].contains(": must be 1-253 characters"), "{found:?}");
    }

    #[rstest]
    #[case::joiner_that_a_script_needs("کاربر\u{200c}ها")]
    #[case::letter_that_looks_like_another("\u{430}lice")]
    #[case::mark_above_a_letter("a\u{30a}sa")]
    fn a_name_with_letters_of_any_script_is_allowed(#[case] name: &str) {
        assert_eq!(by_alice(&person(name), Operation::Create), [] as [&str; 0]);
    }

    #[test]
    fn an_update_that_leaves_such_a_name_unchanged_gets_a_warning_and_one_that_sets_it_is_denied() {
        let name = "al\u{200b}ice";
        let mut new = person(name);
        new.spec["jobTitle"] = json!("CEO");
        let found = by_alice(&new, Operation::Update(&person(name)));
        assert!(found.len() == 1 && found[0].starts_with("Warn spec.creatorRef.name: "), "{found:?}");
        let old = record(json!({"displayName": "Ada"}));
        let found = by_alice(&new, Operation::Update(&old));
        assert!(found.len() == 1 && found[0].starts_with("Deny spec.creatorRef.name: "), "{found:?}");

        let old =
            record(json!({"displayName": "Ada", "userRef": {"name": name}, "creatorRef": {"name": "alice"}}));
        let mut new = old.clone();
        new.spec["jobTitle"] = json!("CEO");
        let found = by_alice(&new, Operation::Update(&old));
        assert!(found.len() == 1 && found[0].starts_with("Warn spec.userRef.name: "), "{found:?}");
    }

    #[test]
    fn an_update_that_leaves_such_a_name_out_has_it_restored() {
        let name = "al\u{200b}ice";
        let object = record(json!({"displayName": "Ada Lovelace"}));
        let verdict = verdict(&object, Operation::Update(&person(name)), "alice", &[]);
        assert_eq!(findings(&verdict), [] as [&str; 0]);
        assert_eq!(verdict.changes[0].after.as_deref(), Some(name));
    }

    #[test]
    fn a_source_that_yields_such_a_name_is_skipped() {
        let object = record(json!({"displayName": "Ada"}));
        let uid = CreatorSource { from: SourceField::Uid, ..CreatorSource::username() };
        let name = "al\u{202e}ice";
        let both = verdict(&object, Operation::Create, name, &[CreatorSource::username(), uid]);
        assert_eq!(findings(&both), [] as [&str; 0]);
        assert_eq!(both.changes[0].after.as_deref(), Some("u-17"));

        let one = verdict(&object, Operation::Create, name, &[CreatorSource::username()]);
        let found = r#"Deny spec.creatorRef.name: Required value: the user "al\u202eice" could not be mapped to a creator; set spec.creatorRef.name [creator-ref]"#;
        assert_eq!((findings(&one), one.changes.len()), (vec![found.to_owned()], 0));
    }
}
