//! Creates two Companies as dry runs: a valid one, and one that must be denied.

use crm_core::api::{GROUP, VERSION};
use crm_core::catalog::{Action, RuleId};
use crm_core::policy::{NormalizationMode, Policy, compile};
use kube::api::{DynamicObject, PostParams};
use kube::core::Status;
use serde_json::{Value, json};

use super::diagnosis::{Check, Diagnosis, Examination, Id};
use super::policy;
use super::questions::{Answer, Questions, Resource, not_permitted, unanswered};
use super::registration::restore;
use super::shipped::NAME;
use super::snapshot::{Registration, Snapshot};
use super::target::{Settings, command, kubectl};

const COMPANIES: Resource = Resource { group: GROUP, version: VERSION, kind: "Company", plural: "companies" };

const WRITTEN_DOMAIN: &str = "HTTPS://Example.com/";
const STORED_DOMAIN: &str = "example.com";

const SUBJECT: &str = "dry run of a Company";

const SHOW_POLICY: &str = "kubectl get admissionpolicy default -o yaml";

/// What the webhook should do to the two Companies under the policy in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    creator: Mutation,
    domain: Mutation,
    blank_name: Denial,
    basis: Basis,
}

/// The policy that the plan is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// The policy in force.
    Known,
    /// The built-in policy, because the one in force is unknown.
    Assumed,
}

/// Whether the policy makes the webhook fill in or rewrite a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    Expected,
    Disabled,
}

/// Whether the policy makes the webhook deny an invalid Company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    Expected,
    /// Unknown: the policy has exemptions or denies only from a later date, or it could not be read.
    Perhaps,
    Disabled,
}

impl Plan {
    /// The plan for the policy that is in force according to these policies and their status.
    fn of(policies: &Answer<Vec<Value>>) -> Self {
        let policies = match policies {
            Answer::Found(policies) => policies.as_slice(),
            Answer::Absent => &[],
            Answer::Forbidden(_) | Answer::Failed(_) => return Self::assumed(),
        };
        let Some(document) = policy::counting(policies) else { return Self::under(&Policy::default()) };
        match compile(document, NAME) {
            Ok(policy) if policy::is_in_force(document) => Self::under(&policy),
            _ => Self::assumed(),
        }
    }

    /// The plan if the policy in force is unknown.
    fn assumed() -> Self {
        Self { basis: Basis::Assumed, blank_name: Denial::Perhaps, ..Self::under(&Policy::default()) }
    }

    /// The plan for this policy.
    fn under(policy: &Policy) -> Self {
        let mutation = |happens| if happens { Mutation::Expected } else { Mutation::Disabled };
        let rewrites = policy.normalization.domains == NormalizationMode::Normalize;
        let name = policy.rule(RuleId::DisplayName);
        Self {
            creator: mutation(policy.is_enabled(RuleId::CreatorRef)),
            domain: mutation(rewrites && policy.is_enabled(RuleId::Domain)),
            blank_name: match name.action {
                Action::Deny if policy.exemptions.is_empty() && name.enforce_after.is_none() => {
                    Denial::Expected
                }
                Action::Deny => Denial::Perhaps,
                Action::Warn | Action::Audit | Action::Disabled => Denial::Disabled,
            },
            basis: Basis::Known,
        }
    }

    fn good(self) -> Value {
        let domain = if self.domain == Mutation::Expected { WRITTEN_DOMAIN } else { STORED_DOMAIN };
        let mut spec = json!({"displayName": "crm-admission doctor", "domains": [domain]});
        if self.creator == Mutation::Disabled {
            spec["creatorRef"] = json!({"name": "crm-admission-doctor"});
        }
        company(spec)
    }

    /// A Company that the rules deny and the schema accepts: its name is blank.
    fn bad() -> Value {
        company(json!({"displayName": " ", "creatorRef": {"name": "crm-admission-doctor"}}))
    }

    /// The fields of the stored Company that the webhook should have changed and did not.
    fn untouched(self, stored: &Value) -> Vec<&'static str> {
        let spec = &stored["spec"];
        let mut untouched = Vec::new();
        if self.creator == Mutation::Expected && spec["creatorRef"]["name"].as_str().is_none_or(str::is_empty)
        {
            untouched.push("spec.creatorRef");
        }
        if self.domain == Mutation::Expected && spec["domains"][0] != STORED_DOMAIN {
            untouched.push("spec.domains");
        }
        untouched
    }
}

fn company(spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": COMPANIES.kind,
        "metadata": {"generateName": "crm-admission-doctor-"},
        "spec": spec,
    })
}

/// The API server's answer to a create.
type Tried = Answer<Result<Value, Box<Status>>>;

pub(super) async fn try_out(questions: &Questions, snapshot: &Snapshot, settings: &Settings) -> Check {
    let plan = Plan::of(&snapshot.policies);
    let mut findings = Vec::new();
    let mut summary = match judge_good(&create(questions, plan.good()).await, plan, snapshot, settings) {
        Reached::Yes(finding) => {
            findings.extend(finding);
            "a Company is admitted and completed".to_owned()
        }
        Reached::No(finding) => {
            findings.push(finding);
            return Check { examination: Examination::Canary, summary: String::new(), findings };
        }
    };
    if plan.blank_name != Denial::Disabled {
        findings.extend(judge_bad(&create(questions, Plan::bad()).await, plan, snapshot, settings));
        summary += ", and one with a blank name is denied";
    }
    Check { examination: Examination::Canary, summary, findings }
}

async fn create(questions: &Questions, object: Value) -> Tried {
    let params = PostParams { dry_run: true, field_manager: Some(NAME.to_owned()) };
    match serde_json::from_value::<DynamicObject>(object) {
        Ok(object) => questions.create(COMPANIES, &object, &params).await,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// Whether the API server called the webhook, with a finding if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reached {
    Yes(Option<Diagnosis>),
    No(Diagnosis),
}

fn judge_good(tried: &Tried, plan: Plan, snapshot: &Snapshot, settings: &Settings) -> Reached {
    let not_mutated = |text: String| Reached::No(not_mutated(text, plan, snapshot, settings));
    match tried {
        Answer::Found(Ok(stored)) => {
            let untouched = plan.untouched(stored);
            if untouched.is_empty() {
                return Reached::Yes(None);
            }
            not_mutated(format!("it is admitted, but the webhook did not change {}", untouched.join(" and ")))
        }
        Answer::Found(Err(status)) if by_rule(&status.message) => {
            let text = format!("the webhook denies it under the policy in force: {}", status.message);
            Reached::Yes(Some(Diagnosis::warning(Id::CanaryDenied, SUBJECT, text, SHOW_POLICY)))
        }
        Answer::Found(Err(status)) if lacks_permission(status) => {
            Reached::No(not_permitted(SUBJECT, &status.message))
        }
        Answer::Found(Err(status)) if lacks_creator(&status.message) => {
            not_mutated(format!("the webhook did not fill in the creator: {}", status.message))
        }
        Answer::Found(Err(status)) => Reached::No(denied(&status.message, settings)),
        Answer::Absent => Reached::No(denied("the API server does not serve companies", settings)),
        Answer::Forbidden(message) => Reached::No(not_permitted(SUBJECT, message)),
        Answer::Failed(why) => Reached::No(unanswered(SUBJECT, why)),
    }
}

fn not_mutated(text: String, plan: Plan, snapshot: &Snapshot, settings: &Settings) -> Diagnosis {
    let fix = restore(Registration::Mutating, snapshot, settings);
    match plan.basis {
        Basis::Known => Diagnosis::failure(Id::CanaryNotMutated, SUBJECT, text, fix),
        Basis::Assumed => {
            let text = format!("{text}; the policy in force could not be read and may intend this");
            Diagnosis::warning(Id::CanaryNotMutated, SUBJECT, text, fix)
        }
    }
}

fn judge_bad(tried: &Tried, plan: Plan, snapshot: &Snapshot, settings: &Settings) -> Option<Diagnosis> {
    const SUBJECT: &str = "dry run of a Company with a blank name";
    match tried {
        Answer::Found(Err(status)) if status.message.contains("[display-name") => None,
        Answer::Found(Err(status)) => {
            let text = format!("it is denied, but not because of its name: {}", status.message);
            Some(Diagnosis::warning(Id::CanaryDenied, SUBJECT, text, SHOW_POLICY))
        }
        Answer::Found(Ok(_)) if plan.blank_name == Denial::Perhaps => {
            let text = "it is admitted, which the policy may intend: it has exemptions or a later start date, or could not be read";
            Some(Diagnosis::warning(Id::CanaryAdmitted, SUBJECT, text, SHOW_POLICY))
        }
        Answer::Found(Ok(_)) => {
            let fix = restore(Registration::Validating, snapshot, settings);
            Some(Diagnosis::failure(Id::CanaryAdmitted, SUBJECT, "it is admitted", fix))
        }
        Answer::Absent => Some(unanswered(SUBJECT, "the API server does not serve companies")),
        Answer::Forbidden(message) => Some(not_permitted(SUBJECT, message)),
        Answer::Failed(why) => Some(unanswered(SUBJECT, why)),
    }
}

/// Whether a rule denied it: our messages end with the rule id.
fn by_rule(message: &str) -> bool {
    let ids = RuleId::ALL.into_iter().map(RuleId::as_str);
    ids.into_iter().any(|id| message.contains(&format!("[{id}]")) || message.contains(&format!("[{id}/")))
}

/// Whether the authorizer denied the request, not admission.
fn lacks_permission(status: &Status) -> bool {
    status.code == 403 && status.message.contains("cannot create resource")
}

/// Whether the schema denied the request, because the creator is missing.
fn lacks_creator(message: &str) -> bool {
    message.contains("spec.creatorRef: Required value")
}

/// The fix is this command of the program, not one of kubectl.
const CERTS_SHOW: &str = "certs show";

/// Parts of the API server's messages, with the probable cause and a command that shows more.
const MEANINGS: [(&str, &str, &str); 7] = [
    ("x509:", "the API server does not trust the certificate", CERTS_SHOW),
    (
        "no endpoints available",
        "no pod behind the Service is ready",
        "logs deployment/crm-admission --tail=50",
    ),
    (
        "connection refused",
        "nothing listens at the address that it calls",
        "logs deployment/crm-admission --tail=50",
    ),
    ("no such host", "the host name in the configuration does not resolve", "get services"),
    ("no route to host", "there is no route from the API server to the webhook", "get networkpolicies,pods"),
    ("deadline exceeded", "the webhook, or the network to it, is too slow", "get networkpolicies,pods"),
    ("not found", "the Service in the configuration does not exist", "get services"),
];

fn denied(message: &str, settings: &Settings) -> Diagnosis {
    let kubectl = kubectl(settings);
    let meant = MEANINGS.iter().find(|(part, ..)| message.contains(part));
    let called = message.contains("failed calling webhook") || message.contains("failed to call webhook");
    let (text, fix) = match meant.filter(|_| called) {
        Some((_, meaning, look)) => {
            let fix = match *look {
                CERTS_SHOW => command(CERTS_SHOW, settings),
                look => format!("{kubectl} {look}"),
            };
            (format!("{message} (probably {meaning})"), fix)
        }
        None if called => (message.to_owned(), format!("{kubectl} logs deployment/{NAME} --tail=50")),
        None => {
            let fix = "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations,validatingadmissionpolicies";
            (message.to_owned(), fix.to_owned())
        }
    };
    Diagnosis::failure(Id::CanaryRefused, SUBJECT, text, fix)
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Level;
    use super::super::samples::{self, settings};
    use super::*;

    const DEFAULT: Plan = Plan {
        creator: Mutation::Expected,
        domain: Mutation::Expected,
        blank_name: Denial::Expected,
        basis: Basis::Known,
    };

    fn denial(code: u16, message: &str) -> Tried {
        Answer::Found(Err(Box::new(Status {
            code,
            message: message.to_owned(),
            ..Status::failure(message, "Invalid")
        })))
    }

    fn stored(spec: Value) -> Tried {
        Answer::Found(Ok(json!({"spec": spec})))
    }

    #[track_caller]
    fn not_reached(tried: &Tried, id: Id, level: Level, text: &str) {
        let Reached::No(finding) = judge_good(tried, DEFAULT, &samples::snapshot(), &settings()) else {
            panic!("{tried:?}")
        };
        assert_eq!((finding.id, finding.level), (id, level));
        assert!(finding.text.contains(text), "{finding:?}");
    }

    #[test]
    fn a_completed_company_is_fine() {
        let tried = stored(json!({"creatorRef": {"name": "admin"}, "domains": ["example.com"]}));
        assert_eq!(judge_good(&tried, DEFAULT, &samples::snapshot(), &settings()), Reached::Yes(None));
    }

    #[test]
    fn a_company_that_was_not_completed_is_a_failure() {
        let tried = stored(json!({"creatorRef": {"name": "x"}, "domains": [WRITTEN_DOMAIN]}));
        not_reached(&tried, Id::CanaryNotMutated, Level::Failure, "the webhook did not change spec.domains");
        let message = "Company.crm.milo.io \"x\" is invalid: spec.creatorRef: Required value";
        not_reached(&denial(422, message), Id::CanaryNotMutated, Level::Failure, message);
    }

    #[test]
    fn a_webhook_that_cannot_be_called_is_explained() {
        for (why, meaning) in [
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "certificate",
            ),
            ("dial tcp 127.0.0.1:1: connect: connection refused", "nothing listens"),
            ("no endpoints available for service \"crm-admission\"", "no pod"),
            ("service \"crm-admission\" not found", "does not exist"),
            ("context deadline exceeded", "too slow"),
        ] {
            let message =
                format!("Internal error occurred: failed calling webhook \"mutate.crm.milo.io\": {why}");
            not_reached(&denial(500, &message), Id::CanaryRefused, Level::Failure, &message);
            not_reached(&denial(500, &message), Id::CanaryRefused, Level::Failure, meaning);
        }
    }

    #[test]
    fn denials_by_others_are_quoted() {
        let message = "admission webhook \"other.example\" denied the request: no";
        not_reached(&denial(403, message), Id::CanaryRefused, Level::Failure, message);
    }

    #[test]
    fn a_user_who_cannot_create_companies_gets_a_skipped_finding() {
        let message = "companies.crm.milo.io is forbidden: User \"bob\" cannot create resource \"companies\"";
        not_reached(&denial(403, message), Id::NotPermitted, Level::Skipped, message);
    }

    #[test]
    fn a_denial_by_a_rule_shows_that_the_webhook_works() {
        let message =
            "Company.crm.milo.io \"x\" is invalid: spec.creatorRef.name: Required value: … [creator-ref]";
        let Reached::Yes(Some(finding)) =
            judge_good(&denial(422, message), DEFAULT, &samples::snapshot(), &settings())
        else {
            panic!("not reached")
        };
        assert_eq!((finding.id, finding.level), (Id::CanaryDenied, Level::Warning));
    }

    #[test]
    fn an_invalid_company_must_be_denied_because_of_its_name() {
        assert_eq!(
            judge_bad(
                &denial(422, "spec.displayName: … [display-name]"),
                DEFAULT,
                &samples::snapshot(),
                &settings()
            ),
            None
        );
        let admitted = judge_bad(&stored(json!({})), DEFAULT, &samples::snapshot(), &settings()).unwrap();
        assert_eq!((admitted.id, admitted.level), (Id::CanaryAdmitted, Level::Failure));
        let perhaps = Plan { blank_name: Denial::Perhaps, ..DEFAULT };
        assert_eq!(
            judge_bad(&stored(json!({})), perhaps, &samples::snapshot(), &settings()).unwrap().level,
            Level::Warning
        );
    }

    /// The policy in force, accepted by the webhook.
    fn in_force(spec: Value) -> Value {
        json!({
            "apiVersion": "admission.crm.milo.io/v1alpha1",
            "kind": "AdmissionPolicy",
            "metadata": {"name": "default", "generation": 1},
            "spec": spec,
            "status": {"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 1}]},
        })
    }

    #[test]
    fn the_plan_follows_the_policy() {
        let plan = |spec: Value| Plan::of(&Answer::Found(vec![in_force(spec)]));
        assert_eq!(Plan::under(&Policy::default()), DEFAULT);
        assert_eq!(plan(json!({})), DEFAULT);
        let quiet = plan(json!({
            "rules": [
                {"rule": "creator-ref", "action": "Disabled"},
                {"rule": "display-name", "action": "Warn"},
            ],
            "normalization": {"domains": "RequireCanonical"},
        }));
        let expected = Plan {
            creator: Mutation::Disabled,
            domain: Mutation::Disabled,
            blank_name: Denial::Disabled,
            basis: Basis::Known,
        };
        assert_eq!(quiet, expected);
        assert_eq!(quiet.good()["spec"]["domains"], json!([STORED_DOMAIN]));
        let exemption = json!({"name": "x", "users": ["alice"], "rules": ["domain"]});
        assert_eq!(plan(json!({"exemptions": [exemption]})).blank_name, Denial::Perhaps);
        let dated = json!({"rule": "display-name", "enforceAfter": "2026-01-01T00:00:00Z"});
        assert_eq!(plan(json!({"rules": [dated]})).blank_name, Denial::Perhaps);
        assert_eq!(plan(json!({"rules": [{"rule": "no-such-rule"}]})), Plan::assumed());
    }

    #[test]
    fn an_unreadable_policy_makes_the_findings_warnings() {
        let refused = json!({
            "metadata": {"name": "default", "generation": 1},
            "status": {"conditions": [{"type": "Accepted", "status": "False", "observedGeneration": 1}]},
        });
        for policies in [Answer::Forbidden("no".to_owned()), Answer::Found(vec![refused])] {
            let plan = Plan::of(&policies);
            assert_eq!((plan.basis, plan.blank_name), (Basis::Assumed, Denial::Perhaps));
            let tried = denial(422, "spec.creatorRef: Required value");
            let Reached::No(finding) = judge_good(&tried, plan, &samples::snapshot(), &settings()) else {
                panic!("reached")
            };
            assert_eq!((finding.id, finding.level), (Id::CanaryNotMutated, Level::Warning));
        }
        assert_eq!(Plan::of(&Answer::Found(vec![])), DEFAULT);
        assert_eq!(Plan::of(&Answer::Absent), DEFAULT);
    }
}
