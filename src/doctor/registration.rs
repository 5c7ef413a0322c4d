//! Checks whether the webhook configurations are as shipped, and finds out where the API server calls the webhook.

use crm_core::api::{GROUP, MILO_NOTES_GROUP};
use serde_json::{Value, json};

use super::compare::{Extra, changed_spec, differences, name_some};
use super::diagnosis::{Check, Diagnosis, Examination, Id, Level};
use super::questions::Answer;
use super::shipped::{
    self, FLOOR_NAME, FLOOR_PATH, MARK, MAY_NEED_CHANGES, MUTATE, NAME, REGISTRATION_PATH, VALIDATE,
};
use super::snapshot::{PolicyPart, Registration, Snapshot};
use super::source::Source;
use super::target::{Settings, Target};
use crate::certificates::{Address, Hook};

/// The default port of a Service in a webhook configuration.
const DEFAULT_PORT: u16 = 443;

/// The `caBundle` of one webhook in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    pub(super) registration: Registration,
    pub(super) hook: Hook,
}

/// Where the configurations make the API server call the webhook; the Service if they do not name a target.
pub(super) fn target(snapshot: &Snapshot, settings: &Settings) -> Target {
    let configs = || live_webhooks(snapshot).map(|(_, webhook)| &webhook["clientConfig"]);
    let url = configs().find_map(|config| Address::of_url(config["url"].as_str()?));
    let port = configs().find_map(|config| config["service"]["port"].as_u64());
    let shipped = Registration::ALL.iter().find_map(|kind| {
        shipped::registration(kind.kind())["webhooks"][0]["clientConfig"]["service"]["port"].as_u64()
    });
    let is_service = configs().any(|config| config["service"]["name"] == settings.service.as_str());
    match url {
        Some(address) if !is_service => Target::Url(address),
        _ => {
            let port = port.or(shipped).and_then(|port| u16::try_from(port).ok());
            Target::Service { port: port.unwrap_or(DEFAULT_PORT) }
        }
    }
}

/// The bundles that can be parsed.
pub(super) fn bundles(snapshot: &Snapshot) -> Vec<Bundle> {
    let bundle = |(registration, webhook): (Registration, &Value)| {
        let hook = Hook::of(webhook);
        hook.is_readable().then_some(Bundle { registration, hook })
    };
    live_webhooks(snapshot).filter_map(bundle).collect()
}

fn live_webhooks(snapshot: &Snapshot) -> impl Iterator<Item = (Registration, &Value)> {
    snapshot.registrations().flat_map(|(registration, answer)| {
        let webhooks = answer.found().and_then(|found| found["webhooks"].as_array());
        webhooks.into_iter().flatten().map(move |webhook| (registration, webhook))
    })
}

fn name(webhook: &Value) -> String {
    webhook["name"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn judge(snapshot: &Snapshot, settings: &Settings) -> Check {
    let mut findings = Vec::new();
    for (registration, answer) in snapshot.registrations() {
        let subject = subject(registration);
        match answer.known(&subject) {
            Err(finding) => findings.push(finding),
            Ok(None) => {
                let text = "it does not exist, so the API server does not call the webhook";
                let fix = restore(registration, snapshot, settings);
                findings.push(Diagnosis::failure(Id::RegistrationAbsent, subject, text, fix));
            }
            Ok(Some(live)) => {
                findings.extend(changed(&subject, registration, live, snapshot, settings));
                findings.extend(untrusted(&subject, live, &set_bundle(registration, snapshot, settings)));
            }
        }
    }
    let mut summary =
        format!("both configurations are as shipped, {} webhooks", live_webhooks(snapshot).count());
    if is_one_call(snapshot) {
        findings.extend(unchecked(snapshot));
        findings.extend(floor(snapshot, settings));
        summary += ": one call for each write, and the floor";
    }
    Check { examination: Examination::Registration, summary, findings }
}

/// Whether each write is one call, and this is intended.
fn is_one_call(snapshot: &Snapshot) -> bool {
    snapshot.registration(Registration::Validating).found().is_some_and(leaves_out_validation)
}

/// Whether each write is two calls. Without the configuration, this is unknown.
pub(super) fn is_two_calls(snapshot: &Snapshot) -> bool {
    let live = snapshot.registration(Registration::Validating).found();
    live.is_some_and(|live| !leaves_out_validation(live))
}

fn leaves_out_validation(live: &Value) -> bool {
    let (mark, one_call) = MARK;
    let webhooks = live["webhooks"].as_array().into_iter().flatten();
    live["metadata"]["annotations"][mark] == one_call
        && webhooks.into_iter().all(|webhook| webhook["name"] != VALIDATE)
}

/// The expected configuration: the shipped one, without what one call for each write leaves out, and with the rules of the
/// component for Milo's notes if it is used.
fn wanted(registration: Registration, live: &Value, snapshot: &Snapshot) -> Value {
    let mut shipped = shipped::registration(registration.kind());
    // If it is there, it has a finding of its own: `unchecked`.
    if is_one_call(snapshot)
        && condition(live).is_none()
        && let Some((webhook, condition)) = condition(&shipped)
        && let Some(conditions) = shipped["webhooks"][webhook]["matchConditions"].as_array_mut()
    {
        conditions.remove(condition);
    }
    if has_milo_notes(live) {
        for webhook in shipped["webhooks"].as_array_mut().into_iter().flatten() {
            if let Some(rules) = webhook["rules"].as_array_mut().filter(|rules| writes(rules)) {
                rules.extend(shipped::milo_rules());
            }
        }
    }
    if leaves_out_validation(live)
        && let Some(webhooks) = shipped["webhooks"].as_array_mut()
    {
        webhooks.retain(|webhook| webhook["name"] != VALIDATE);
    }
    shipped
}

/// Where a configuration leaves complete and canonical records to [`VALIDATE`]: the indexes of the webhook and of its
/// condition.
fn condition(configuration: &Value) -> Option<(usize, usize)> {
    let index = |list: &Value, name: &str| list.as_array()?.iter().position(|entry| entry["name"] == name);
    let webhooks = &configuration["webhooks"];
    let webhook = index(webhooks, MUTATE)?;
    Some((webhook, index(&webhooks[webhook]["matchConditions"], MAY_NEED_CHANGES)?))
}

/// The finding about records that no webhook gets, for registrations without [`VALIDATE`].
fn unchecked(snapshot: &Snapshot) -> Option<Diagnosis> {
    let registration = Registration::Mutating;
    let (webhook, condition) = condition(snapshot.registration(registration).found()?)?;
    let path = format!("/webhooks/{webhook}/matchConditions/{condition}");
    let patch = json!([
        {"op": "test", "path": format!("{path}/name"), "value": MAY_NEED_CHANGES},
        {"op": "remove", "path": path},
    ]);
    let fix = format!("kubectl patch {} {NAME} --type=json -p '{patch}'", registration.singular());
    let text = format!(
        "the condition {MAY_NEED_CHANGES} of {MUTATE} leaves complete and canonical records to {VALIDATE}, which is not registered: only the floor checks them"
    );
    Some(Diagnosis::failure(Id::WritesUnchecked, subject(registration), text, fix))
}

/// Whether a webhook is called for Milo's notes.
fn has_milo_notes(live: &Value) -> bool {
    let webhooks = live["webhooks"].as_array().into_iter().flatten();
    let mut rules = webhooks.flat_map(|webhook| webhook["rules"].as_array().into_iter().flatten());
    rules.any(|rule| rule["apiGroups"] == json!([MILO_NOTES_GROUP]))
}

/// Whether these rules of a webhook are about writes of records, and not about deletions or policies.
fn writes(rules: &[Value]) -> bool {
    let has = |list: &Value, entry: &str| list.as_array().is_some_and(|list| list.contains(&json!(entry)));
    rules.iter().any(|rule| has(&rule["operations"], "CREATE") && has(&rule["apiGroups"], GROUP))
}

/// The findings about the floor, for registrations that rely on it as the last check.
fn floor(snapshot: &Snapshot, settings: &Settings) -> Vec<Diagnosis> {
    let fix = shipped::apply(FLOOR_PATH, settings);
    let judge = |(part, answer): (PolicyPart, &Answer<Value>)| {
        let subject = format!("{} {FLOOR_NAME}", part.kind().to_lowercase());
        match answer.known(&subject) {
            Err(finding) => Some(finding),
            Ok(None) => {
                let text = format!("it does not exist, and without {VALIDATE} it is the last check");
                Some(Diagnosis::failure(Id::FloorAbsent, subject, text, &fix))
            }
            Ok(Some(live)) => {
                let differing = changed_spec(&shipped::floor(part.kind()), live)?;
                let text = format!(
                    "it is the last check without {VALIDATE}, and differs from the shipped one: {differing}"
                );
                Some(Diagnosis::failure(Id::FloorChanged, subject, text, &fix))
            }
        }
    };
    snapshot.floor().filter_map(judge).collect()
}

pub(super) fn subject(registration: Registration) -> String {
    format!("{} {NAME}", registration.singular())
}

fn changed(
    subject: &str,
    registration: Registration,
    live: &Value,
    snapshot: &Snapshot,
    settings: &Settings,
) -> Option<Diagnosis> {
    let shipped = wanted(registration, live, snapshot);
    let wanted = without_target(&shipped["webhooks"]);
    let actual = without_target(&live["webhooks"]);
    let mut differing = differences("webhooks", &wanted, &actual, Extra::Differs);
    differing.extend(misdirected(&shipped, live, settings));
    let text = format!("it differs from the shipped one: {}", name_some(&differing)?);
    let fix = restore(registration, snapshot, settings);
    let level = if differing.iter().all(|path| path.ends_with(".timeoutSeconds")) {
        Level::Warning
    } else {
        Level::Failure
    };
    Some(Diagnosis { level, ..Diagnosis::failure(Id::RegistrationChanged, subject, text, fix) })
}

/// The webhooks without the fields that depend on the cluster.
fn without_target(webhooks: &Value) -> Value {
    let without = |webhook: &Value| {
        let mut webhook = webhook.clone();
        if let Some(fields) = webhook.as_object_mut() {
            fields.remove("clientConfig");
            // It matches all objects of cluster-scoped kinds, and AKS sets one on every webhook.
            fields.remove("namespaceSelector");
        }
        webhook
    };
    webhooks.as_array().into_iter().flatten().map(without).collect()
}

/// The fields of `clientConfig` that name another Service than the webhook's, or another path.
fn misdirected(shipped: &Value, live: &Value, settings: &Settings) -> Vec<String> {
    let all = |value: &Value| value["webhooks"].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for wanted in all(shipped) {
        for actual in all(live).iter().filter(|actual| actual["name"] == wanted["name"]) {
            let config = &actual["clientConfig"];
            let at = |field: &str| format!("webhooks[{}].clientConfig.{field}", name(actual));
            let path = wanted["clientConfig"]["service"]["path"].as_str().unwrap_or_default();
            if let Some(url) = config["url"].as_str() {
                let url_path =
                    url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
                if url_path != Some(path) {
                    found.push(at("url"));
                }
                continue;
            }
            for (field, wanted) in
                [("namespace", settings.namespace.as_str()), ("name", &settings.service), ("path", path)]
            {
                if config["service"][field] != wanted {
                    found.push(at(&format!("service.{field}")));
                }
            }
        }
    }
    found
}

fn untrusted(subject: &str, live: &Value, fix: &str) -> Vec<Diagnosis> {
    let judge = |webhook: &Value| {
        let hook = Hook::of(webhook);
        let subject = format!("{subject}, webhook {}", hook.name);
        if hook.is_readable() {
            None
        } else if hook.has_bundle() {
            let text = "its caBundle has no certificate, or one that cannot be read";
            Some(Diagnosis::failure(Id::CaBundleUnreadable, subject, text, fix))
        } else if webhook["clientConfig"]["url"].is_string() {
            let text = "it has no caBundle, so the API server trusts only public CAs";
            Some(Diagnosis::warning(Id::CaBundleEmpty, subject, text, fix))
        } else {
            let text = "it has no caBundle, so the API server does not trust the webhook";
            Some(Diagnosis::failure(Id::CaBundleEmpty, subject, text, fix))
        }
    };
    live["webhooks"].as_array().into_iter().flatten().filter_map(judge).collect()
}

/// The command that restores the shipped configuration.
///
/// It also writes the CA again: applying the shipped file removes a CA that was applied before, and without a CA the
/// API server denies every record.
pub(super) fn restore(registration: Registration, snapshot: &Snapshot, settings: &Settings) -> String {
    let shipped = shipped::registration(registration.kind());
    let bundle = set_bundle_of(&shipped, registration, snapshot, settings);
    format!("{} && {bundle}", shipped::apply(REGISTRATION_PATH, settings))
}

/// The command that writes the CA to all webhooks of a configuration.
pub(super) fn set_bundle(registration: Registration, snapshot: &Snapshot, settings: &Settings) -> String {
    match snapshot.registration(registration).found() {
        Some(live) => set_bundle_of(live, registration, snapshot, settings),
        None => String::new(),
    }
}

fn set_bundle_of(
    configuration: &Value,
    registration: Registration,
    snapshot: &Snapshot,
    settings: &Settings,
) -> String {
    let number = configuration["webhooks"].as_array().map_or(0, Vec::len);
    let operation = |index| {
        let path = format!("/webhooks/{index}/clientConfig/caBundle");
        json!({"op": "add", "path": path, "value": "CA"}).to_string().replace("CA\"}", "'\"$CA\"'\"}")
    };
    let patch = (0..number).map(operation).collect::<Vec<_>>().join(",");
    let (namespace, secret) = (&settings.namespace, &settings.tls_secret);
    // An admin who creates the certificate may keep the CA outside of the Secret.
    let ca = match snapshot.secret.found() {
        Some(found) if !found["data"]["ca.crt"].is_string() => "base64 <ca.crt | tr -d '\\n'".to_owned(),
        _ => format!("kubectl -n {namespace} get secret {secret} -o 'jsonpath={{.data.ca\\.crt}}'"),
    };
    let patch = format!(
        "CA=$({ca}) && test -n \"$CA\" && kubectl patch {} {NAME} --type=json -p '[{patch}]'",
        registration.singular()
    );
    Source::of(snapshot).trust(registration, patch, settings)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::samples::{self, settings};
    use super::*;

    fn findings(edit: impl FnOnce(&mut Snapshot)) -> Vec<Diagnosis> {
        let mut snapshot = samples::snapshot();
        edit(&mut snapshot);
        judge(&snapshot, &settings()).findings
    }

    #[track_caller]
    fn one(edit: impl FnOnce(&mut Value), id: Id, level: Level, text: &str) {
        let findings = findings(|snapshot| edit(samples::found(&mut snapshot.registrations[1])));
        assert_eq!(findings.len(), 1, "{findings:?}");
        let finding = &findings[0];
        assert_eq!((finding.id, finding.level), (id, level), "{finding:?}");
        assert!(finding.subject.contains("validatingwebhookconfiguration crm-admission"), "{finding:?}");
        assert!(finding.text.contains(text), "{finding:?}");
    }

    #[test]
    fn the_shipped_registration_is_fine() {
        assert_eq!(findings(|_| {}), []);
    }

    #[test]
    fn a_namespace_selector_as_aks_sets_it_is_fine() {
        let findings = findings(|snapshot| {
            for answer in &mut snapshot.registrations {
                for webhook in samples::found(answer)["webhooks"].as_array_mut().unwrap() {
                    let expression = json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]});
                    webhook["namespaceSelector"] = json!({"matchExpressions": [expression]});
                }
            }
        });
        assert_eq!(findings, []);
    }

    #[test]
    fn the_rules_of_the_component_for_milos_notes_are_fine_and_changed_ones_are_not() {
        let with_rules = |edit: fn(&mut Value)| {
            findings(|snapshot| {
                for answer in &mut snapshot.registrations {
                    let rules = samples::found(answer)["webhooks"][0]["rules"].as_array_mut().unwrap();
                    rules.extend(shipped::milo_rules());
                    edit(rules.last_mut().unwrap());
                }
            })
        };
        assert_eq!(with_rules(|_| {}), []);
        let changed = with_rules(|rule| rule["operations"] = json!(["CREATE"]));
        assert_eq!(changed.len(), 2, "{changed:?}");
        assert!(changed.iter().all(|finding| finding.id == Id::RegistrationChanged), "{changed:?}");
    }

    #[test]
    fn a_missing_configuration_is_a_failure() {
        let findings =
            findings(|snapshot| snapshot.registrations[0] = super::super::questions::Answer::Absent);
        assert_eq!((findings.len(), findings[0].id), (1, Id::RegistrationAbsent));
        assert_eq!(findings[0].subject, "mutatingwebhookconfiguration crm-admission");
    }

    #[test]
    fn every_changed_field_is_named() {
        let changed = |edit: fn(&mut Value), text| one(edit, Id::RegistrationChanged, Level::Failure, text);
        changed(
            |live| live["webhooks"][0]["failurePolicy"] = json!("Ignore"),
            "webhooks[validate.crm.milo.io].failurePolicy",
        );
        changed(
            |live| live["webhooks"][0]["objectSelector"] = json!({"matchLabels": {"a": "b"}}),
            "webhooks[validate.crm.milo.io].objectSelector.matchLabels",
        );
        changed(
            |live| {
                live["webhooks"].as_array_mut().unwrap().pop();
            },
            "webhooks[validate.admissionpolicies.crm.milo.io]",
        );
        changed(
            |live| live["webhooks"][2]["failurePolicy"] = json!("Fail"),
            "webhooks[validate.admissionpolicies.crm.milo.io].failurePolicy",
        );
        changed(
            |live| live["webhooks"][1]["clientConfig"]["service"]["path"] = json!("/"),
            "webhooks[delete.crm.milo.io].clientConfig.service.path",
        );
        changed(
            |live| live["webhooks"][0]["clientConfig"]["service"]["namespace"] = json!("elsewhere"),
            "webhooks[validate.crm.milo.io].clientConfig.service.namespace",
        );
    }

    /// Like the component for one call.
    fn remove_validation(snapshot: &mut Snapshot) {
        let live = samples::found(&mut snapshot.registrations[1]);
        live["metadata"]["annotations"] = json!({"admission.crm.milo.io/registration": "one-call"});
        live["webhooks"].as_array_mut().unwrap().retain(|webhook| webhook["name"] != "validate.crm.milo.io");
        let mutating = samples::found(&mut snapshot.registrations[0]);
        mutating["webhooks"][0]["matchConditions"].as_array_mut().unwrap().truncate(1);
        snapshot.floor = PolicyPart::ALL.map(|part| Answer::Found(shipped::floor(part.kind())));
    }

    #[test]
    fn one_call_with_the_floor_is_fine_and_in_the_summary() {
        let mut snapshot = samples::snapshot();
        remove_validation(&mut snapshot);
        let check = judge(&snapshot, &settings());
        assert_eq!(check.findings, []);
        assert!(check.summary.ends_with("3 webhooks: one call for each write, and the floor"), "{check:?}");
    }

    #[test]
    fn one_call_without_the_floor_or_with_a_changed_one_is_a_failure() {
        let one = |edit: fn(&mut Snapshot), id, subject: &str, text: &str| {
            let findings = findings(|snapshot| {
                remove_validation(snapshot);
                edit(snapshot);
            });
            assert_eq!(findings.len(), 1, "{findings:?}");
            let Diagnosis { fix, level, .. } = &findings[0];
            assert_eq!((findings[0].id, *level), (id, Level::Failure));
            assert!(findings[0].subject == subject && findings[0].text.contains(text), "{findings:?}");
            assert_eq!(fix, "kubectl apply -f manifests/floor/floor.yaml");
        };
        let (policy, binding) = (
            "validatingadmissionpolicy crm-admission-floor",
            "validatingadmissionpolicybinding crm-admission-floor",
        );
        one(|snapshot| snapshot.floor[0] = Answer::Absent, Id::FloorAbsent, policy, "it does not exist");
        one(|snapshot| snapshot.floor[1] = Answer::Absent, Id::FloorAbsent, binding, "it does not exist");
        one(
            |snapshot| samples::found(&mut snapshot.floor[1])["spec"]["validationActions"] = json!(["Audit"]),
            Id::FloorChanged,
            binding,
            "spec.validationActions[0]",
        );
    }

    #[test]
    fn one_call_that_leaves_out_records_is_a_failure() {
        let findings = findings(|snapshot| {
            let shipped = samples::snapshot().registrations[0].clone();
            remove_validation(snapshot);
            snapshot.registrations[0] = shipped;
        });
        assert_eq!(findings.len(), 1, "{findings:?}");
        let Diagnosis { id, level, subject, text, fix } = &findings[0];
        assert_eq!((*id, *level), (Id::WritesUnchecked, Level::Failure));
        assert_eq!(subject, "mutatingwebhookconfiguration crm-admission");
        assert!(text.contains("validate.crm.milo.io, which is not registered"), "{text}");
        let expected = r#"kubectl patch mutatingwebhookconfiguration crm-admission --type=json -p '[{"op":"test","path":"/webhooks/0/matchConditions/1/name","value":"may-need-changes"},{"op":"remove","path":"/webhooks/0/matchConditions/1"}]'"#;
        assert_eq!(fix, expected);
    }

    #[test]
    fn a_missing_or_changed_condition_is_named() {
        let changed = |edit: fn(&mut Value)| {
            let findings = findings(|snapshot| {
                let live = samples::found(&mut snapshot.registrations[0]);
                edit(&mut live["webhooks"][0]["matchConditions"]);
            });
            assert_eq!((findings.len(), findings[0].id), (1, Id::RegistrationChanged), "{findings:?}");
            findings[0].text.clone()
        };
        let path = "webhooks[mutate.crm.milo.io].matchConditions[may-need-changes]";
        let missing = changed(|conditions| conditions.as_array_mut().unwrap().truncate(1));
        assert!(missing.ends_with(path), "{missing}");
        let other = changed(|conditions| conditions[1]["expression"] = json!("false"));
        assert!(other.ends_with(&format!("{path}.expression")), "{other}");
    }

    #[test]
    fn missing_validation_is_a_failure_unless_it_is_intended() {
        let findings = findings(|snapshot| {
            remove_validation(snapshot);
            // Without the annotation, the registration should be that for two calls.
            snapshot.registrations[0] = samples::snapshot().registrations[0].clone();
            samples::found(&mut snapshot.registrations[1])["metadata"]["annotations"] = Value::Null;
        });
        assert_eq!((findings.len(), findings[0].id), (1, Id::RegistrationChanged));
        assert!(findings[0].text.contains("webhooks[validate.crm.milo.io]"), "{findings:?}");
    }

    #[test]
    fn one_call_excuses_no_other_missing_webhook() {
        let findings = findings(|snapshot| {
            remove_validation(snapshot);
            samples::found(&mut snapshot.registrations[1])["webhooks"] = json!([]);
            samples::found(&mut snapshot.registrations[0])["webhooks"][0]["reinvocationPolicy"] =
                json!("Never");
        });
        let texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
        assert!(texts[0].contains("webhooks[mutate.crm.milo.io].reinvocationPolicy"), "{texts:?}");
        assert_eq!(
            (texts.len(), texts[1]),
            (
                2,
                "it differs from the shipped one: webhooks[delete.crm.milo.io], \
                 webhooks[validate.admissionpolicies.crm.milo.io]"
            )
        );
    }

    #[test]
    fn another_timeout_is_only_a_warning() {
        let edit = |live: &mut Value| live["webhooks"][0]["timeoutSeconds"] = json!(10);
        one(edit, Id::RegistrationChanged, Level::Warning, "webhooks[validate.crm.milo.io].timeoutSeconds");
    }

    #[test]
    fn a_url_with_the_right_path_is_fine() {
        let url = |url: &str| {
            let url = url.to_owned();
            move |live: &mut Value| {
                let bundle = live["webhooks"][0]["clientConfig"]["caBundle"].clone();
                live["webhooks"][0]["clientConfig"] = json!({"url": url, "caBundle": bundle});
            }
        };
        let findings = findings(|snapshot| {
            url("https://127.0.0.1:9443/validate")(samples::found(&mut snapshot.registrations[1]));
        });
        assert_eq!(findings, []);
        let text = "webhooks[validate.crm.milo.io].clientConfig.url";
        one(url("https://127.0.0.1:9443/mutate"), Id::RegistrationChanged, Level::Failure, text);
    }

    #[test]
    fn an_empty_or_invalid_bundle_is_reported() {
        one(
            |live| live["webhooks"][0]["clientConfig"]["caBundle"] = json!(""),
            Id::CaBundleEmpty,
            Level::Failure,
            "no caBundle",
        );
        one(
            |live| live["webhooks"][0]["clientConfig"]["caBundle"] = json!(STANDARD.encode("no PEM")),
            Id::CaBundleUnreadable,
            Level::Failure,
            "has no certificate",
        );
    }

    #[test]
    fn every_fix_that_applies_the_registration_also_writes_the_ca() {
        let mut snapshot = samples::snapshot();
        let fix = restore(Registration::Mutating, &snapshot, &settings());
        assert!(
            fix.starts_with("kubectl apply -f manifests/registration/webhooks.yaml && CA=$(kubectl"),
            "{fix}"
        );
        snapshot.secret =
            super::super::questions::Answer::Found(json!({"data": {"tls.crt": "", "tls.key": ""}}));
        let fix = set_bundle(Registration::Mutating, &snapshot, &settings());
        assert!(fix.starts_with("CA=$(base64 <ca.crt"), "{fix}");
        let annotations = json!({"cert-manager.io/inject-ca-from": "crm-admission-system/crm-admission"});
        samples::found(&mut snapshot.registrations[1])["metadata"]["annotations"] = annotations;
        let fix = restore(Registration::Mutating, &snapshot, &settings());
        let annotate = "kubectl annotate mutatingwebhookconfiguration crm-admission --overwrite \
                        cert-manager.io/inject-ca-from=crm-admission-system/crm-admission";
        assert!(fix.contains(annotate), "{fix}");
    }

    #[test]
    fn the_target_comes_from_the_configurations() {
        let mut snapshot = samples::snapshot();
        assert_eq!(target(&snapshot, &settings()), Target::Service { port: 443 });
        for registration in &mut snapshot.registrations {
            for webhook in samples::found(registration)["webhooks"].as_array_mut().unwrap() {
                webhook["clientConfig"] = json!({"url": "https://127.0.0.1:9443/mutate"});
            }
        }
        assert_eq!(target(&snapshot, &settings()), Target::Url("127.0.0.1:9443".parse().unwrap()));
    }
}
