//! Checks by their status whether the policies are valid and in force.

use serde_json::Value;

use super::diagnosis::{Check, Diagnosis, Examination, Id};
use super::questions::Answer;
use crate::policy_source::cluster::{ACCEPTED, IN_FORCE};

pub(super) fn judge(policies: &Answer<Vec<Value>>) -> Check {
    let (summary, findings) = match policies.known("admissionpolicies") {
        Err(finding) => (String::new(), vec![finding]),
        Ok(None) => (
            "the cluster does not have the AdmissionPolicy kind: the built-in policy is in force".to_owned(),
            vec![],
        ),
        Ok(Some(policies)) => (summary(policies), policies.iter().filter_map(finding).collect()),
    };
    Check { examination: Examination::Policy, summary, findings }
}

/// The policy that is used: the one named `default`.
pub(super) fn counting(policies: &[Value]) -> Option<&Value> {
    policies.iter().find(|policy| policy["metadata"]["name"] == IN_FORCE)
}

/// Whether its status says that its current version is in force.
pub(super) fn is_in_force(policy: &Value) -> bool {
    finding(policy).is_none()
}

fn summary(policies: &[Value]) -> String {
    match counting(policies) {
        Some(policy) => {
            format!("admissionpolicy {IN_FORCE}@{} is in force", policy["metadata"]["generation"])
        }
        None => format!("there is no admissionpolicy {IN_FORCE}: the built-in policy is in force"),
    }
}

fn finding(policy: &Value) -> Option<Diagnosis> {
    let name = policy["metadata"]["name"].as_str().unwrap_or_default();
    let subject = format!("admissionpolicy {name}");
    if name != IN_FORCE {
        let text = format!("it has no effect: only the one named {IN_FORCE} is used");
        let fix = format!("kubectl delete admissionpolicy {name}");
        return Some(Diagnosis::warning(Id::PolicyNotUsed, subject, text, fix));
    }
    let conditions = policy["status"]["conditions"].as_array().into_iter().flatten();
    let accepted = conditions.into_iter().find(|condition| condition["type"] == ACCEPTED);
    let generation = policy["metadata"]["generation"].as_i64();
    match accepted {
        Some(accepted) if accepted["observedGeneration"].as_i64() == generation => {
            let is_invalid = accepted["status"] != "True";
            is_invalid.then(|| {
                let problems = accepted["message"].as_str().unwrap_or("its status does not say why");
                let in_force = match policy["status"]["lastAccepted"]["generation"].as_i64() {
                    Some(generation) => format!("{name}@{generation}"),
                    None => "the last valid policy".to_owned(),
                };
                let text = format!("it is invalid, and {in_force} stays in force: {problems}");
                Diagnosis::failure(
                    Id::PolicyNotAccepted,
                    subject,
                    text,
                    format!("kubectl edit admissionpolicy {name}"),
                )
            })
        }
        _ => {
            let text = "no replica has loaded its current version yet";
            let fix = "kubectl wait admissionpolicy default --for=condition=Accepted --timeout=30s";
            Some(Diagnosis::warning(Id::PolicyNotTaken, subject, text, fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::diagnosis::Level;
    use super::*;

    fn policy(name: &str, generation: i64, status: &str, observed: i64) -> Value {
        json!({
            "metadata": {"name": name, "generation": generation},
            "status": {"conditions": [{
                "type": "Accepted", "status": status, "observedGeneration": observed,
                "message": "spec.rules[0].rule: no such rule",
            }]},
        })
    }

    fn found(policies: Vec<Value>) -> Vec<Diagnosis> {
        judge(&Answer::Found(policies)).findings
    }

    #[test]
    fn an_accepted_policy_and_no_policy_are_fine() {
        assert_eq!(found(vec![policy("default", 2, "True", 2)]), []);
        assert_eq!(found(vec![]), []);
        assert_eq!(judge(&Answer::Absent).findings, []);
    }

    #[test]
    fn an_invalid_policy_is_reported_with_its_problems() {
        let findings = found(vec![policy("default", 2, "False", 2)]);
        assert_eq!((findings[0].id, findings[0].level), (Id::PolicyNotAccepted, Level::Failure));
        assert!(findings[0].text.ends_with("spec.rules[0].rule: no such rule"));
    }

    #[test]
    fn the_last_valid_version_is_named() {
        let mut policy = policy("default", 3, "False", 3);
        policy["status"]["lastAccepted"] = json!({"generation": 2, "spec": {}});
        let text = &found(vec![policy])[0].text;
        assert!(text.starts_with("it is invalid, and default@2 stays in force: "), "{text}");
    }

    #[test]
    fn a_policy_of_another_name_has_no_effect() {
        let findings = found(vec![policy("strict", 1, "False", 1)]);
        assert_eq!((findings[0].id, findings[0].level), (Id::PolicyNotUsed, Level::Warning));
    }

    #[test]
    fn a_policy_with_an_outdated_or_missing_status_is_not_loaded_yet() {
        for policy in [
            policy("default", 3, "True", 2),
            policy("default", 3, "False", 2),
            json!({"metadata": {"name": "default", "generation": 1}}),
        ] {
            let findings = found(vec![policy]);
            assert_eq!((findings[0].id, findings[0].level), (Id::PolicyNotTaken, Level::Warning));
        }
    }
}
