//! Checks whether the guard limits the permission to patch webhook configurations as shipped.

use serde_json::Value;

use super::access::Need;
use super::compare::changed_spec;
use super::diagnosis::{Check, Diagnosis, Id};
use super::questions::Answer;
use super::shipped::{self, GUARD_NAME, GUARD_PATH};
use super::snapshot::{PolicyPart, Snapshot};
use super::source::Source;
use super::target::Settings;

/// Whether the service account may patch webhook configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// It may; or this is unknown, and the shipped roles grant it for certificates from this source.
    Granted,
    /// It may not.
    Absent,
}

/// Whether the service account has the permission, according to the answers.
pub(super) fn permission(answers: &[(Need, Answer<bool>)], source: &Source) -> Permission {
    let known = || answers.iter().map(|(_, answer)| answer.found());
    let granted = known().any(|answer| answer == Some(&true));
    let unknown = known().any(|answer| answer.is_none());
    if granted || (unknown && *source == Source::SelfManaged) {
        Permission::Granted
    } else {
        Permission::Absent
    }
}

/// The findings about the guard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    permission: Permission,
    findings: Vec<Diagnosis>,
}

impl Judgement {
    /// Adds it to the check of the service account's permissions.
    pub(super) fn add_to(self, access: &mut Check) {
        if self.permission == Permission::Granted && self.findings.is_empty() {
            access.summary += ", and the guard";
        }
        access.findings.extend(self.findings);
    }
}

pub(super) fn judge(snapshot: &Snapshot, permission: Permission, settings: &Settings) -> Judgement {
    let findings = match permission {
        Permission::Granted => {
            snapshot.guard().filter_map(|(part, live)| flaw(part, live, settings)).collect()
        }
        Permission::Absent => Vec::new(),
    };
    Judgement { permission, findings }
}

fn flaw(part: PolicyPart, answer: &Answer<Value>, settings: &Settings) -> Option<Diagnosis> {
    let subject = format!("{} {GUARD_NAME}", part.kind().to_lowercase());
    let fix = || shipped::apply(GUARD_PATH, settings);
    match answer.known(&subject) {
        Err(finding) => Some(finding),
        Ok(None) => {
            let text = "it does not exist, and the service account may patch webhook configurations";
            Some(Diagnosis::failure(Id::GuardAbsent, subject, text, fix()))
        }
        Ok(Some(live)) => {
            let changed = changed_spec(&shipped::guard(part.kind(), settings), live)?;
            let text = format!(
                "it differs from the shipped one, and the service account may patch webhook configurations: {changed}"
            );
            Some(Diagnosis::failure(Id::GuardChanged, subject, text, fix()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::access;
    use super::super::diagnosis::{Examination, Level};
    use super::super::samples::{self, settings};
    use super::*;

    const POLICY: &str = "validatingadmissionpolicy crm-admission-guard";
    const BINDING: &str = "validatingadmissionpolicybinding crm-admission-guard";

    fn guarded() -> Snapshot {
        let guard = PolicyPart::ALL.map(|part| Answer::Found(shipped::guard(part.kind(), &settings())));
        Snapshot { guard, ..samples::snapshot() }
    }

    fn answers(answer: &Answer<bool>) -> Vec<(Need, Answer<bool>)> {
        access::guarded(&settings()).into_iter().map(|need| (need, answer.clone())).collect()
    }

    #[track_caller]
    fn one(edit: impl FnOnce(&mut Snapshot), id: Id, level: Level, subject: &str, text: &str) {
        let mut snapshot = guarded();
        edit(&mut snapshot);
        let findings = judge(&snapshot, Permission::Granted, &settings()).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        let finding = &findings[0];
        assert_eq!((finding.id, finding.level, finding.subject.as_str()), (id, level, subject));
        assert!(finding.text.contains(text), "{finding:?}");
        if level == Level::Failure {
            assert_eq!(finding.fix, "kubectl apply -f manifests/guard/guard.yaml");
        }
    }

    #[test]
    fn the_permission_is_checked_for_both_configurations() {
        assert_eq!(answers(&Answer::Found(true)).len(), 2);
    }

    #[test]
    fn the_permission_with_the_shipped_guard_is_fine_and_in_the_summary() {
        let mut check =
            Check { examination: Examination::Access, summary: "fine".to_owned(), findings: Vec::new() };
        judge(&guarded(), Permission::Granted, &settings()).add_to(&mut check);
        assert_eq!((check.findings.as_slice(), check.summary.as_str()), (&[][..], "fine, and the guard"));
    }

    #[test]
    fn without_the_permission_a_missing_guard_is_fine() {
        let judgement = judge(&samples::snapshot(), Permission::Absent, &settings());
        assert_eq!(judgement.findings, []);
    }

    #[test]
    fn the_permission_without_a_part_of_the_guard_is_a_failure() {
        let absent = |part: usize, subject| {
            let edit = |snapshot: &mut Snapshot| snapshot.guard[part] = Answer::Absent;
            one(edit, Id::GuardAbsent, Level::Failure, subject, "does not exist");
        };
        absent(0, POLICY);
        absent(1, BINDING);
    }

    #[test]
    fn the_permission_with_a_changed_guard_is_a_failure_that_names_each_field() {
        let changed = |part: usize, subject, pointer: &'static str, value: Value, text: &str| {
            let edit = |snapshot: &mut Snapshot| {
                *samples::found(&mut snapshot.guard[part]).pointer_mut(pointer).unwrap() = value;
            };
            one(edit, Id::GuardChanged, Level::Failure, subject, text);
        };
        let expression = "/spec/validations/0/expression";
        changed(0, POLICY, expression, json!("true"), "spec.validations[0].expression");
        changed(0, POLICY, "/spec/failurePolicy", json!("Ignore"), "spec.failurePolicy");
        let condition = "/spec/matchConditions/0/expression";
        changed(
            0,
            POLICY,
            condition,
            json!("false"),
            "spec.matchConditions[by-the-service-account].expression",
        );
        let actions = "/spec/validationActions";
        changed(1, BINDING, actions, json!(["Audit"]), "spec.validationActions[0]");
        changed(1, BINDING, "/spec/policyName", json!("another"), "spec.policyName");
    }

    #[test]
    fn a_binding_that_excludes_objects_is_a_failure() {
        let narrow = json!({"objectSelector": {"matchLabels": {"guard": "yes"}}});
        let edit = |snapshot: &mut Snapshot| {
            samples::found(&mut snapshot.guard[1])["spec"]["matchResources"] = narrow;
        };
        one(edit, Id::GuardChanged, Level::Failure, BINDING, "spec.matchResources");
    }

    #[test]
    fn the_guard_of_another_namespace_is_a_failure() {
        let settings = Settings { namespace: "crm".to_owned(), ..settings() };
        let findings = judge(&guarded(), Permission::Granted, &settings).findings;
        assert_eq!((findings.len(), findings[0].id), (1, Id::GuardChanged));
        assert!(findings[0].text.contains("spec.matchConditions[by-the-service-account]"), "{findings:?}");
    }

    #[test]
    fn a_guard_that_cannot_be_read_is_skipped() {
        let edit = |snapshot: &mut Snapshot| {
            snapshot.guard[0] = Answer::Forbidden("cannot get validatingadmissionpolicies".to_owned());
        };
        let text = "cannot get validatingadmissionpolicies";
        one(edit, Id::NotPermitted, Level::Skipped, POLICY, text);
    }

    #[test]
    fn if_the_permission_is_unknown_the_source_of_the_certificate_decides() {
        let forbidden = answers(&Answer::Forbidden("no".to_owned()));
        assert_eq!(permission(&forbidden, &Source::SelfManaged), Permission::Granted);
        assert_eq!(permission(&forbidden, &Source::Own), Permission::Absent);
        assert_eq!(permission(&answers(&Answer::Found(false)), &Source::SelfManaged), Permission::Absent);
        assert_eq!(permission(&answers(&Answer::Found(true)), &Source::Own), Permission::Granted);
    }

    #[test]
    fn the_permission_for_one_configuration_is_enough() {
        let mut one = answers(&Answer::Found(false));
        one[1].1 = Answer::Found(true);
        assert_eq!(permission(&one, &Source::Own), Permission::Granted);
    }
}
