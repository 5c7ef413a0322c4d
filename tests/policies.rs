//! Tests how a policy changes answers: actions, dates, modes, creator sources, references, exemptions.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Ask, create, noon, pipeline_over, update};
use crm_admission::directory::{CountDependents, Found, LookUp, LookupError, PartStatus};
use crm_core::api::{CrmKind, ResourceKind, Target};
use crm_core::catalog::{Action, RuleId};
use crm_core::existence::{Objects, Presence};
use crm_core::links::{Dependents, Tally};
use crm_core::policy::{
    Consistency, CreatorSource, DryRunMode, Exemption, LabelRule, LookupErrorMode, NormalizationMode, Policy,
    RuleSetting, SourceField,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::ToSpan;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::{Value, json};

fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}

fn action(rule: RuleId, action: Action) -> Policy {
    policy(|policy| policy.set_rule(rule, RuleSetting { action, enforce_after: None }))
}

fn bad_company() -> Ask {
    create("Company", json!({"displayName": "Acme", "domains": ["co.uk", "Acme.com"]}))
}

fn person_at(company: &str) -> Ask {
    create("Person", json!({"displayName": "Jane", "companyRef": {"name": company}}))
}

// ---- Actions

#[test]
fn warn_allows_a_value_with_the_message_of_the_denial_and_still_changes_values() {
    let answer = bad_company().ask_under(action(RuleId::Domain, Action::Warn));
    let warnings = answer.warnings();
    assert!(
        warnings[0].starts_with("spec.domains[0]: ") && warnings[0].ends_with("[domain/public-suffix]"),
        "{warnings:?}"
    );
    assert_eq!(warnings[1], r#"spec.domains[1]: "Acme.com" stored as "acme.com" [domain]"#);
    assert_eq!(answer.patched()["spec"]["domains"], json!(["co.uk", "acme.com"]));
    assert_eq!(answer.annotation("rules"), Some("domain=Warn"));
}

#[test]
fn audit_records_the_finding_without_a_warning() {
    let answer = bad_company().ask_under(action(RuleId::Domain, Action::Audit));
    answer.is_allowed_with(&[r#"spec.domains[1]: "Acme.com" stored as "acme.com" [domain]"#]);
    assert_eq!(answer.annotation("rules"), Some("domain=Audit"));
}

#[test]
fn disabled_neither_checks_nor_changes() {
    let answer = bad_company().ask_under(action(RuleId::Domain, Action::Disabled));
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patched()["spec"]["domains"], json!(["co.uk", "Acme.com"]));
    assert_eq!(answer.annotation("rules"), None);
    let answer = create("Company", json!({"displayName": "Acme"}))
        .ask_under(action(RuleId::CreatorRef, Action::Disabled));
    assert_eq!(answer.patch(), [] as [Value; 0]);
}

#[test]
fn before_its_start_date_a_denial_is_a_warning_that_names_the_date() {
    let dated = |days: i64| {
        let enforce_after = Some(noon() + (24 * days).hours());
        policy(|policy| policy.set_rule(RuleId::Domain, RuleSetting { action: Action::Deny, enforce_after }))
    };
    let answer = bad_company().ask_under(dated(3));
    assert!(answer.is_allowed());
    assert!(answer.warnings()[0].contains("denied from 2026-11-26"), "{:?}", answer.warnings());
    bad_company().ask_under(dated(0)).is_denied_for(&[("Invalid spec.domains[0]", "[domain/public-suffix]")]);
}

// ---- Normalization

#[test]
fn require_canonical_never_rewrites_and_the_message_has_the_canonical_value() {
    let strict = || {
        policy(|policy| {
            policy.normalization.domains = NormalizationMode::RequireCanonical;
            policy.normalization.linkedin_profile = NormalizationMode::RequireCanonical;
        })
    };
    let spec = json!({"displayName": "Acme", "domains": ["acme.com", "Acme.com"], "linkedinProfile": "linkedin.com/company/acme"});
    create("Company", spec).ask_under(strict()).is_denied_for(&[
        ("Invalid spec.domains[1]", "duplicate of spec.domains[0]; remove it [domain/not-canonical]"),
        (
            "Invalid spec.linkedinProfile",
            r#"write "https://linkedin.com/company/acme" [linkedin-profile/not-canonical]"#,
        ),
    ]);
    let old = json!({"displayName": "Acme", "domains": ["Acme.com"], "creatorRef": {"name": "alice"}});
    let mut new = old.clone();
    new["domains"] = json!(["Acme.com", "acme.io"]);
    let answer = update("Company", old, new).ask_under(strict());
    assert!(answer.is_allowed(), "an old entry is no reason to deny: {:?}", answer.causes());
    assert_eq!(answer.patch(), [] as [Value; 0]);
    assert!(answer.warnings()[0].contains("[domain/not-canonical]"), "{:?}", answer.warnings());
}

// ---- Domains

#[test]
fn a_valid_domain_that_is_probably_a_mistake_gets_a_hint_and_is_stored() {
    let domains = json!(["acme.com", "https://Gmail.com/", "acme.con", "acme.example", "gmail.com"]);
    let ask = create("Company", json!({"displayName": "Acme", "domains": domains}));
    let answer = ask.clone().ask();
    answer.is_allowed_with(&[
        r#"spec.domains[1]: Invalid value: "https://Gmail.co…": is a mail provider; give the company's own domain [domain-hint/mail-provider]"#,
        r#"spec.domains[2]: Invalid value: "acme.con": ends in no known top-level domain; check the spelling [domain-hint/unknown-tld]"#,
        r#"spec.domains[1]: "https://Gmail.com/" stored as "gmail.com" [domain]"#,
        r#"spec.domains[4]: "gmail.com" duplicate removed [domain]"#,
    ]);
    assert_eq!(answer.annotation("rules"), Some("domain-hint=Warn"));
    ask.clone().ask_under(action(RuleId::DomainHint, Action::Deny)).is_denied_for(&[
        ("Invalid spec.domains[1]", "[domain-hint/mail-provider]"),
        ("Invalid spec.domains[2]", "[domain-hint/unknown-tld]"),
    ]);
    let answer = ask.ask_under(action(RuleId::DomainHint, Action::Disabled));
    assert!(!answer.warnings().iter().any(|warning| warning.contains("domain-hint")));
}

#[test]
fn a_hint_about_a_stored_domain_never_denies() {
    let old = json!({"displayName": "Acme", "domains": ["gmail.com"], "creatorRef": {"name": "alice"}});
    let mut new = old.clone();
    new["domains"] = json!(["acme.com", "gmail.com"]);
    let answer = update("Company", old, new).ask_under(action(RuleId::DomainHint, Action::Deny));
    assert!(answer.is_allowed(), "{:?}", answer.causes());
    assert!(answer.warnings()[0].starts_with("spec.domains[1]: "), "{:?}", answer.warnings());
}

#[test]
fn the_policy_says_who_owns_a_name_which_sites_are_shared_and_who_hands_out_mailboxes() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let policy = policy(|policy| {
        policy.domains.owned = names(&["gov.uk", "facebook.com"]);
        policy.domains.shared_hosts = names(&["facebook.com", "pages.example"]);
        policy.domains.mail_providers = names(&["mail.example"]);
    });
    let domains = json!(["gov.uk", "facebook.com/meta", "gmail.com", "github.com/acme"]);
    let ask = create("Company", json!({"displayName": "Acme", "domains": domains}));
    ask.clone().ask().is_denied_for(&[
        ("Invalid spec.domains[0]", "[domain/public-suffix]"),
        ("Invalid spec.domains[1]", "[domain/shared-host]"),
        ("Invalid spec.domains[3]", "[domain/shared-host]"),
    ]);
    let answer = ask.ask_under(policy.clone());
    assert_eq!(
        answer.patched()["spec"]["domains"],
        json!(["gov.uk", "facebook.com", "gmail.com", "github.com"])
    );
    let domains = json!(["co.uk", "acme.pages.example/?x", "mail.example"]);
    let answer = create("Company", json!({"displayName": "Acme", "domains": domains})).ask_under(policy);
    answer.is_denied_for(&[
        ("Invalid spec.domains[0]", "[domain/public-suffix]"),
        ("Invalid spec.domains[1]", "[domain/shared-host]"),
    ]);
    assert!(answer.warnings()[0].ends_with("[domain-hint/mail-provider]"), "{:?}", answer.warnings());
}

#[test]
fn a_canonical_name_with_a_labels_is_followed_by_its_form_in_unicode() {
    let ask = create("Company", json!({"displayName": "Acme", "domains": ["BÜCHER.example"]}));
    ask.clone().ask().is_allowed_with(&[
        r#"spec.domains[0]: "BÜCHER.example" stored as "xn--bcher-kva.example" (bücher.example) [domain]"#,
    ]);
    let strict = policy(|policy| policy.normalization.domains = NormalizationMode::RequireCanonical);
    ask.ask_under(strict).is_denied_for(&[(
        "Invalid spec.domains[0]",
        r#"write "xn--bcher-kva.example" (bücher.example) [domain/not-canonical]"#,
    )]);
}

#[test]
fn of_a_value_with_an_at_sign_only_a_certain_host_is_shown() {
    let domains = json!(["jane@acme.com", "https://u:p@ss@acme.com/x", "jane@acme.com, x", "a,b@c.com"]);
    let ask = create(
        "Company",
        json!({"displayName": "Acme", "domains": domains, "linkedinProfile": "me@linkedin.com/company/a"}),
    );
    ask.ask().is_denied_for(&[
        ("Invalid spec.domains[0]", r#"Invalid value: "…@acme.com": looks like an e-mail address; give only the domain, the part after the @ [domain/email]"#),
        ("Invalid spec.domains[1]", r#"Invalid value: "…@acme.com": must not contain a user name"#),
        ("Invalid spec.domains[2]", r#"Invalid value: "": contains a character that cannot be part of it; give exactly one value, without spaces, commas or quotes [domain/bad-char]"#),
        ("Invalid spec.domains[3]", r#"Invalid value: "…@c.com": looks like an e-mail"#),
        ("Invalid spec.linkedinProfile", r#"Invalid value: "…@linkedin.com": must not contain a user name"#),
    ]);
}

#[test]
fn messages_name_what_does_not_belong_and_what_this_kind_needs() {
    let domains = json!(["acme.com, acme.io", "[acme](https://acme.com)"]);
    let company = |profile: &str| {
        create("Company", json!({"displayName": "Acme", "domains": domains, "linkedinProfile": profile}))
    };
    let of_domains = [
        ("Invalid spec.domains[0]", r#"quotes (found " ") [domain/bad-char]"#),
        (
            "Invalid spec.domains[1]",
            r#"starts with "[", as only an IP address does; give the domain name alone, not a link in Markdown [domain/ip-address]"#,
        ),
    ];
    for (profile, text) in [
        (
            "linkedin.com/in/jane",
            ": a Company needs linkedin.com/company/, /school/ or /showcase/ [linkedin-profile/wrong-kind]",
        ),
        ("1035", "; give it as https://linkedin.com/company/NAME [linkedin-profile/not-linkedin]"),
        ("linkedin.com/company/a%22b", r#"at its end (found "\"") [linkedin-profile/bad-slug]"#),
    ] {
        let all = [&of_domains[..], &[("Invalid spec.linkedinProfile", text)]].concat();
        company(profile).ask().is_denied_for(&all);
    }
    create("Person", json!({"displayName": "Jane", "linkedinProfile": "linkedin.com/company/acme"}))
        .ask()
        .is_denied_for(&[("Invalid spec.linkedinProfile", ": a Person needs linkedin.com/in/… [")]);
}

// ---- Creators

fn source(from: SourceField, strip_prefix: Option<&str>, pattern: Option<&str>) -> CreatorSource {
    let pattern = pattern.map(|pattern| regex::Regex::new(pattern).unwrap());
    CreatorSource { from, strip_prefix: strip_prefix.map(str::to_owned), pattern }
}

#[test]
fn the_first_source_with_a_name_wins() {
    let sources = vec![
        source(SourceField::Extra("example.com/staff-id".to_owned()), None, None),
        source(SourceField::Username, Some("oidc:"), Some(r"^(?<name>[^@]+)@corp\.example$")),
    ];
    let policy = policy(|policy| policy.creator_sources = sources);
    let ask = |user: Value| create("Company", json!({"displayName": "Acme"})).with("/userInfo", user);
    let creator = |user| ask(user).ask_under(policy.clone()).patched()["spec"]["creatorRef"]["name"].clone();
    assert_eq!(creator(json!({"username": "oidc:jane@corp.example"})), "jane");
    let extra = json!({"username": "oidc:jane@corp.example", "extra": {"example.com/staff-id": ["s42"]}});
    assert_eq!(creator(extra), "s42");
    ask(json!({"username": "oidc:eve@other.example"})).ask_under(policy.clone()).is_denied_for(&[(
        "Required spec.creatorRef.name",
        r#"the user "oidc:eve@other.example" could not be mapped to a creator; set spec.creatorRef.name [creator-ref]"#,
    )]);
}

#[test]
fn creator_is_requester_denies_another_name_and_users_that_cannot_be_mapped() {
    let strict = || action(RuleId::CreatorIsRequester, Action::Deny);
    let named = |name: &str| create("Company", json!({"displayName": "Acme", "creatorRef": {"name": name}}));
    named("alice").ask_under(strict()).is_allowed_with(&[]);
    named("bob").ask_under(strict()).is_denied_for(&[(
        "Invalid spec.creatorRef.name",
        r#""bob": must be the requesting user, "alice" [creator-is-requester]"#,
    )]);
    let unmapped = named("bob").with("/userInfo/username", json!("a/b"));
    unmapped.ask_under(strict()).is_denied_for(&[("Invalid spec.creatorRef.name", "could not be mapped")]);
    let old = json!({"displayName": "Acme", "creatorRef": {"name": "bob"}});
    let new = json!({"displayName": "Acme Corp", "creatorRef": {"name": "bob"}});
    update("Company", old, new).ask_under(strict()).is_allowed_with(&[]);
}

#[test]
fn kinds_of_the_policy_are_looked_up_for_users_and_creators() {
    let users = |rule| {
        policy(|policy| {
            policy.set_rule(rule, RuleSetting { action: Action::Deny, enforce_after: None });
            policy.references.user = Some(kind("iam.example.com", "User", "users", false));
        })
    };
    let person = |user: &str| create("Person", json!({"displayName": "Jane", "userRef": {"name": user}}));
    person("alice").ask_under(users(RuleId::UserExists)).is_allowed_with(&[]);
    person("alcie").ask_under(users(RuleId::UserExists)).is_denied_for(&[(
        "NotFound spec.userRef.name",
        r#"no User of that name; did you mean "alice"? [user-exists]"#,
    )]);
    person("a%2fb")
        .ask_under(users(RuleId::UserExists))
        .is_denied_for(&[("Invalid spec.userRef.name", "[user-exists]")]);
    person("alcie").ask().is_allowed_with(&[]);
    let company =
        |user: &str| create("Company", json!({"displayName": "Acme", "creatorRef": {"name": user}}));
    company("alice").ask_under(users(RuleId::CreatorExists)).is_allowed_with(&[]);
    company("nobody")
        .ask_under(users(RuleId::CreatorExists))
        .is_denied_for(&[("NotFound spec.creatorRef.name", "no User of that name [creator-exists]")]);
    let defaulted =
        create("Company", json!({"displayName": "Acme"})).with("/userInfo/username", json!("mallory"));
    defaulted
        .ask_under(users(RuleId::CreatorExists))
        .is_denied_for(&[("NotFound spec.creatorRef.name", r#""mallory": no User"#)]);
}

#[test]
fn an_organization_is_looked_up_if_the_policy_defines_its_kind() {
    let policy = policy(|policy| {
        policy
            .set_rule(RuleId::OrganizationExists, RuleSetting { action: Action::Deny, enforce_after: None });
        policy.references.organization =
            Some(kind("orgs.example.com", "Organization", "organizations", false));
    });
    let ask = create("Company", json!({"displayName": "Acme", "organizationRef": {"name": "acme"}}));
    ask.clone().ask().is_allowed_with(&[]);
    ask.ask_under(policy).is_denied_for(&[(
        "NotFound spec.organizationRef.name",
        "no Organization of that name [organization-exists]",
    )]);
}

#[test]
fn every_contact_is_looked_up_if_the_policy_defines_its_kind() {
    let contact = |name: &str| json!({"name": name, "namespace": "crm"});
    let object = |namespace: &str| {
        json!({
            "apiVersion": "notification.example.com/v1", "kind": "Contact",
            "metadata": {"name": "jane-work", "namespace": namespace},
        })
    };
    let policy = policy(|policy| {
        policy.set_rule(RuleId::ContactExists, RuleSetting { action: Action::Deny, enforce_after: None });
        policy.references.contact = Some(kind("notification.example.com", "Contact", "contacts", true));
    });
    let pipeline = pipeline_over(Arc::new(Objects::new(&[object("crm")])), policy);
    let person = |contacts: Value| create("Person", json!({"displayName": "Jane", "contactRefs": contacts}));
    person(json!([contact("jane-work")])).put_to(&pipeline).is_allowed_with(&[]);
    person(json!([contact("jane-work"), contact("jane-wrok"), contact("boat")]))
        .put_to(&pipeline)
        .is_denied_for(&[
            (
                "NotFound spec.contactRefs[1].name",
                r#""jane-wrok": no Contact of that name; did you mean "jane-work"? [contact-exists]"#,
            ),
            ("NotFound spec.contactRefs[2].name", "no Contact of that name [contact-exists]"),
        ]);
    person(json!([contact("boat")])).ask().is_allowed_with(&[]);
}

fn kind(group: &str, kind: &str, plural: &str, namespaced: bool) -> Arc<ResourceKind> {
    let owned = str::to_owned;
    Arc::new(ResourceKind {
        group: owned(group),
        version: owned("v1"),
        kind: owned(kind),
        plural: owned(plural),
        namespaced,
    })
}

#[test]
fn notes_may_be_about_kinds_that_the_policy_adds() {
    let contacts = || {
        policy(|policy| policy.references.subjects.push(kind("n.example.com", "Contact", "contacts", true)))
    };
    let about = |subject: Value| create("Note", json!({"subjectRef": subject, "content": "x"}));
    let contact =
        json!({"apiGroup": "n.example.com", "kind": "Contact", "name": "jane", "namespace": "sales"});
    about(contact.clone()).ask().is_denied_for(&[("NotSupported spec.subjectRef.kind", "[subject-kind]")]);
    about(contact)
        .ask_under(contacts())
        .is_denied_for(&[("NotFound spec.subjectRef.name", "no Contact of that name [subject-exists]")]);
    let without = json!({"apiGroup": "n.example.com", "kind": "Contact", "name": "jane"});
    about(without)
        .ask_under(contacts())
        .is_denied_for(&[("Required spec.subjectRef.namespace", "set the namespace [subject-kind]")]);
    let malformed =
        json!({"apiGroup": "n.example.com", "kind": "Contact", "name": "jane", "namespace": "a/b"});
    about(malformed)
        .ask_under(contacts())
        .is_denied_for(&[("Invalid spec.subjectRef.namespace", "[subject-kind]")]);
}

#[test]
fn an_absent_group_is_filled_in_only_if_one_accepted_kind_has_the_name() {
    let about = |subject: Value, groups: &[&str]| {
        let policy = policy(|policy| {
            let kinds = groups.iter().map(|group| kind(group, "Contact", "contacts", false));
            policy.references.subjects.extend(kinds);
            policy.set_rule(
                RuleId::SubjectExists,
                RuleSetting { action: Action::Disabled, enforce_after: None },
            );
        });
        create("Note", json!({"subjectRef": subject, "content": "x"})).ask_under(policy)
    };
    let contact = json!({"kind": "Contact", "name": "jane"});
    let answer = about(contact.clone(), &["n.example.com"]);
    assert_eq!(answer.patched()["spec"]["subjectRef"]["apiGroup"], "n.example.com");
    about(contact.clone(), &["n.example.com", "m.example.com"]).is_denied_for(&[(
        "Required spec.subjectRef.apiGroup",
        r#"Contact is in the API group "n.example.com" or "m.example.com" [subject-kind]"#,
    )]);
    // The core group has no name, so that none is missing.
    let answer = about(contact.clone(), &["n.example.com", ""]);
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patched()["spec"]["subjectRef"], contact);
}

// ---- Labels

#[test]
fn the_policy_lists_labels_and_may_require_them() {
    let tiers = || {
        policy(|policy| {
            policy.labels = vec![LabelRule {
                key: "tier".to_owned(),
                kinds: None,
                allowed: vec!["gold".to_owned(), "tin".to_owned()],
                required: true,
            }];
            policy.set_rule(RuleId::LabelValue, RuleSetting { action: Action::Deny, enforce_after: None });
        })
    };
    let ask = create("Company", json!({"displayName": "Acme"}));
    ask.clone().ask_under(tiers()).is_denied_for(&[(
        "Required metadata.labels[tier]",
        r#"set it to one of "gold", "tin" [label-value]"#,
    )]);
    let with = |value: &str| {
        ask.clone().with("/object/metadata/labels", json!({"tier": value, "crm.milo.io/source": "anything"}))
    };
    with("gold").ask_under(tiers()).is_allowed_with(&[]);
    with("Gold")
        .ask_under(tiers())
        .is_denied_for(&[("NotSupported metadata.labels[tier]", r#"did you mean "gold"?"#)]);
}

#[test]
fn a_label_is_restricted_on_the_kinds_that_the_policy_names() {
    let labels = json!({"crm.milo.io/source": "zzz"});
    let of_kind = |kind: &str| {
        let spec = match kind {
            "Note" => json!({
                "subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp"}, "content": "x",
            }),
            _ => json!({"displayName": "Acme"}),
        };
        create(kind, spec).with("/object/metadata/labels", labels.clone())
    };
    let restricted = |kinds: Option<&[CrmKind]>| {
        let policy = policy(|policy| {
            policy.labels[0].kinds = kinds.map(<[CrmKind]>::to_vec);
            policy.labels[0].required = true;
        });
        ["Company", "Person", "Note"].map(|kind| of_kind(kind).ask_under(policy.clone()).warnings().len())
    };
    assert_eq!(["Company", "Person", "Note"].map(|kind| of_kind(kind).ask().warnings().len()), [1, 0, 0]);
    assert_eq!(restricted(None), [1, 1, 1]);
    assert_eq!(restricted(Some(&[CrmKind::Person, CrmKind::Note])), [0, 1, 1]);
}

// ---- References

#[test]
fn a_dry_run_follows_the_mode_of_the_policy() {
    let dry = || person_at("nowhere").with("/dryRun", json!(true));
    let mode = |mode| policy(|policy| policy.references.on_dry_run = mode);
    dry().ask().is_denied_for(&[("NotFound spec.companyRef.name", "[company-exists]")]);
    let warned = dry().ask_under(mode(DryRunMode::Warn));
    warned.is_allowed_with(&[
        r#"spec.companyRef.name: Not found: "nowhere": no Company of that name [company-exists]"#,
    ]);
    dry().ask_under(mode(DryRunMode::Skip)).is_allowed_with(&[]);
    person_at("nowhere")
        .ask_under(mode(DryRunMode::Skip))
        .is_denied_for(&[("NotFound spec.companyRef.name", "")]);
    let flux = |ask: Ask| ask.with("/options/fieldManager", json!("kustomize-controller"));
    assert!(flux(dry()).ask().is_allowed(), "Flux sends dry runs of a bundle before it applies it");
    assert!(!flux(person_at("nowhere")).ask().is_allowed());
    let malformed = person_at("no/where").with("/dryRun", json!(true)).ask_under(mode(DryRunMode::Skip));
    malformed.is_denied_for(&[("Invalid spec.companyRef.name", "must consist of lower-case letters")]);
}

/// A directory whose lookups fail, except those from its local copy.
struct Broken(Option<Presence>);

impl LookUp for Broken {
    fn recall(&self, _: &Target) -> Option<Presence> {
        self.0
    }

    fn confirm<'a>(&'a self, _: &'a Target, limit: Duration) -> BoxFuture<'a, Result<Presence, LookupError>> {
        async move { Err(LookupError::Late(limit)) }.boxed()
    }

    fn identify<'a>(
        &'a self,
        _target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        std::future::ready(Err(LookupError::Late(limit))).boxed()
    }

    fn suggest<'a>(&'a self, _: &'a Target, _: &'a UserInfo, _: Duration) -> BoxFuture<'a, Option<String>> {
        async { None }.boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        Vec::new()
    }
}

impl CountDependents for Broken {
    fn dependents<'a>(
        &'a self,
        _: &'a Dependents,
        _: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        async move { Err(LookupError::Late(limit)) }.boxed()
    }
}

#[test]
fn a_failed_lookup_is_never_reported_as_not_found() {
    let broken = |known, policy| pipeline_over(Arc::new(Broken(known)), policy);
    let answer = person_at("acme-corp").put_to(&broken(None, Policy::default()));
    answer.is_denied_for(&[(
        "Invalid spec.companyRef.name",
        "could not be checked, try again [company-exists]",
    )]);
    let status = &answer.response()["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(503), &json!("ServiceUnavailable")));
    assert!(!answer.review.to_string().to_lowercase().contains("not found"));

    let allow = policy(|policy| policy.references.on_lookup_error = LookupErrorMode::Allow);
    let answer = person_at("acme-corp").put_to(&broken(None, allow));
    assert!(answer.is_allowed());
    assert!(answer.warnings()[0].contains("could not be checked"), "{:?}", answer.warnings());

    let with_more = create("Person", json!({"companyRef": {"name": "acme-corp"}}));
    let answer = with_more.put_to(&broken(None, Policy::default()));
    assert_eq!(answer.response()["status"]["code"], 422, "a certain finding sets the status");
    answer.is_denied_for(&[
        ("Required spec.displayName", ""),
        ("Invalid spec.companyRef.name", "could not be checked"),
    ]);
}

#[test]
fn an_unrelated_edit_needs_no_lookup() {
    let old =
        json!({"displayName": "Jane", "companyRef": {"name": "acme-corp"}, "creatorRef": {"name": "alice"}});
    let mut new = old.clone();
    new["jobTitle"] = json!("CEO");
    let answer = update("Person", old, new).put_to(&pipeline_over(Arc::new(Broken(None)), Policy::default()));
    assert!(answer.is_allowed(), "{:?}", answer.causes());
}

#[test]
fn live_consistency_does_not_use_the_local_copy() {
    let live = policy(|policy| policy.references.consistency = Consistency::Live);
    let pipeline = |policy| pipeline_over(Arc::new(Broken(Some(Presence::Exists))), policy);
    person_at("acme-corp").put_to(&pipeline(Policy::default())).is_allowed_with(&[]);
    person_at("acme-corp")
        .put_to(&pipeline(live))
        .is_denied_for(&[("Invalid spec.companyRef.name", "could not be checked")]);
}

// ---- Exemptions

#[test]
fn an_exemption_drops_findings_and_is_recorded_and_changes_are_made() {
    let exempt = |expires: i64| {
        policy(|policy| {
            policy.exemptions = vec![Exemption {
                name: "migration".to_owned(),
                users: Vec::new(),
                groups: vec!["crm-editors".to_owned()],
                rules: vec![RuleId::Domain],
                reason: None,
                expires: Some(noon() + expires.hours()),
            }];
        })
    };
    let answer = bad_company().ask_under(exempt(1));
    answer.is_allowed_with(&[r#"spec.domains[1]: "Acme.com" stored as "acme.com" [domain]"#]);
    assert_eq!(answer.annotation("exempted-by"), Some("migration"));
    assert_eq!(answer.annotation("rules"), None);
    bad_company().ask_under(exempt(0)).is_denied_for(&[("Invalid spec.domains[0]", "")]);
    let other = bad_company().with("/userInfo/groups", json!(["staff"]));
    other.ask_under(exempt(1)).is_denied_for(&[("Invalid spec.domains[0]", "")]);
}
