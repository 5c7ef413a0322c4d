//! The compiled policy: the settings that the engine reads, and the built-in ones.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::creator::CreatorSource;
use crate::api::{CrmKind, ResourceKind};
use crate::catalog::{Action, RuleId};
use crate::normalize::DomainLists;

/// A valid policy. It is replaced as a whole.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name in audit annotations, such as `default@3`.
    pub origin: String,
    /// How addresses are normalized.
    pub normalization: Normalization,
    /// Where a creator's name comes from, in order.
    pub creator_sources: Vec<CreatorSource>,
    /// Labels whose values are restricted.
    pub labels: Vec<LabelRule>,
    /// The names of domains that are treated specially.
    pub domains: DomainLists,
    /// Whether a new Note gets its subject as an owner, so that it is deleted with it.
    pub owned_by_subject: bool,
    /// How references are checked.
    pub references: References,
    /// Who is exempt from which rules.
    pub exemptions: Vec<Exemption>,
    pub(super) rules: [RuleSetting; RuleId::ALL.len()],
}

/// The setting of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSetting {
    /// The action for a finding.
    pub action: Action,
    /// Until this time `Deny` acts as `Warn`.
    pub enforce_after: Option<Timestamp>,
}

/// The action of one rule at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveAction {
    /// The action for a finding.
    pub action: Action,
    /// The time from which a `Deny` that still acts as `Warn` denies.
    pub denies_from: Option<Timestamp>,
}

/// What happens to a value that is valid but not canonical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormalizationMode {
    /// It is rewritten, with a warning that shows the stored value.
    #[default]
    Normalize,
    /// It is never rewritten, and a finding shows the canonical value.
    RequireCanonical,
}

/// The normalization mode of each field that has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalization {
    /// For `spec.domains`.
    pub domains: NormalizationMode,
    /// For `spec.linkedinProfile`.
    pub linkedin_profile: NormalizationMode,
}

/// A label whose values are restricted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRule {
    /// The key of the label.
    pub key: String,
    /// The kinds of records whose label is restricted; `None` for all.
    pub kinds: Option<Vec<CrmKind>>,
    /// The allowed values.
    pub allowed: Vec<String>,
    /// Whether records must have it.
    pub required: bool,
}

/// How references are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct References {
    /// The mode for dry-run requests.
    pub on_dry_run: DryRunMode,
    /// The modes for dry-run requests of certain field managers.
    pub on_dry_run_by_field_manager: Vec<(String, DryRunMode)>,
    /// What happens if a lookup fails or is too late.
    pub on_lookup_error: LookupErrorMode,
    /// Whether the local copy may answer lookups.
    pub consistency: Consistency,
    /// The kind that `user-exists` and `creator-exists` look up.
    pub user: Option<Arc<ResourceKind>>,
    /// The kind that `organization-exists` looks up.
    pub organization: Option<Arc<ResourceKind>>,
    /// The kind that `contact-exists` looks up. It is namespaced.
    pub contact: Option<Arc<ResourceKind>>,
    /// The kind of the `companyRef` of a Person.
    pub company: Arc<ResourceKind>,
    /// The kinds that Notes may be about: Company, Person and those that the policy adds.
    pub subjects: Vec<Arc<ResourceKind>>,
}

/// How the references of a dry-run request are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRunMode {
    /// As in a real request.
    Enforce,
    /// With at most a warning.
    Warn,
    /// Not at all: they are not looked up.
    Skip,
}

/// What happens if a lookup fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupErrorMode {
    /// The request is denied with a status that says to try again.
    Deny,
    /// The request is allowed with a warning.
    Allow,
}

/// Whether the local copy may answer lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// A name in the local copy exists; the API server is asked about any other.
    CacheThenLive,
    /// The API server is always asked.
    Live,
}

/// Who is exempt from which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// Its name in audit annotations.
    pub name: String,
    /// The names of exempt users.
    pub users: Vec<String>,
    /// The groups whose members are exempt.
    pub groups: Vec<String>,
    /// The rules whose findings are dropped.
    pub rules: Vec<RuleId>,
    /// The reason, for readers of the policy.
    pub reason: Option<String>,
    /// When it ends; `None` for never.
    pub expires: Option<Timestamp>,
}

impl Policy {
    /// The action for a finding of `rule` at the time `now`.
    pub fn action(&self, rule: RuleId, now: Timestamp) -> EffectiveAction {
        let setting = self.rules[rule as usize];
        match (setting.action, setting.enforce_after) {
            (Action::Deny, Some(date)) if now < date => {
                EffectiveAction { action: Action::Warn, denies_from: Some(date) }
            }
            (action, _) => EffectiveAction { action, denies_from: None },
        }
    }

    /// Whether `rule` is evaluated.
    pub fn is_enabled(&self, rule: RuleId) -> bool {
        self.rules[rule as usize].action != Action::Disabled
    }

    /// Changes the setting of one rule.
    pub fn set_rule(&mut self, rule: RuleId, setting: RuleSetting) {
        self.rules[rule as usize] = setting;
    }

    /// The setting of one rule.
    pub fn rule(&self, rule: RuleId) -> RuleSetting {
        self.rules[rule as usize]
    }

    /// The first exemption of `user` from `rule` at the time `now`.
    pub fn exemption(&self, rule: RuleId, user: &UserInfo, now: Timestamp) -> Option<&Exemption> {
        self.exemptions.iter().find(|exemption| {
            exemption.rules.contains(&rule)
                && exemption.expires.is_none_or(|end| now < end)
                && exemption.covers(user)
        })
    }
}

impl LabelRule {
    /// Whether the label of records of this kind is restricted.
    pub fn applies_to(&self, kind: CrmKind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind.model()))
    }
}

impl Exemption {
    fn covers(&self, user: &UserInfo) -> bool {
        let named = user.username.as_ref().is_some_and(|name| self.users.contains(name));
        named || user.groups.iter().flatten().any(|group| self.groups.contains(group))
    }
}

impl References {
    /// How the references of a dry run by this field manager are checked.
    pub fn dry_run_mode(&self, field_manager: Option<&str>) -> DryRunMode {
        let of_manager = field_manager
            .and_then(|manager| self.on_dry_run_by_field_manager.iter().find(|(name, _)| name == manager));
        of_manager.map_or(self.on_dry_run, |(_, mode)| *mode)
    }
}

impl Default for RuleSetting {
    fn default() -> Self {
        Self { action: Action::Deny, enforce_after: None }
    }
}

impl Default for References {
    fn default() -> Self {
        let company = Arc::new(CrmKind::Company.resource());
        let person = Arc::new(CrmKind::Person.resource());
        Self {
            on_dry_run: DryRunMode::Enforce,
            // Flux dry-runs a whole bundle before it applies any of it, so with Enforce a reference inside the bundle
            // would always be denied.
            on_dry_run_by_field_manager: vec![("kustomize-controller".to_owned(), DryRunMode::Warn)],
            on_lookup_error: LookupErrorMode::Deny,
            consistency: Consistency::CacheThenLive,
            user: None,
            organization: None,
            contact: None,
            subjects: vec![Arc::clone(&company), person],
            company,
        }
    }
}

/// The values of `crm.milo.io/source` that the built-in policy allows.
const SOURCES: [&str; 10] = [
    "product-signup",
    "newsletter-subscribe",
    "referral",
    "inbound-inquiry",
    "website",
    "existing-client-expansion",
    "partner-introduction",
    "organic-search",
    "marketing-campaign",
    "event",
];

impl Default for Policy {
    fn default() -> Self {
        let mut rules = [RuleSetting::default(); RuleId::ALL.len()];
        for id in RuleId::ALL {
            rules[id as usize].action = id.rule().default_action;
        }
        Self {
            origin: "built-in".to_owned(),
            rules,
            normalization: Normalization::default(),
            creator_sources: vec![CreatorSource::username()],
            labels: vec![LabelRule {
                key: "crm.milo.io/source".to_owned(),
                kinds: Some(vec![CrmKind::Company]),
                allowed: SOURCES.map(str::to_owned).to_vec(),
                required: false,
            }],
            domains: DomainLists::default(),
            owned_by_subject: false,
            references: References::default(),
            exemptions: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            username: Some(name.to_owned()),
            groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            ..UserInfo::default()
        }
    }

    #[test]
    fn in_the_built_in_policy_every_rule_has_its_default_action() {
        let policy = Policy::default();
        for id in RuleId::ALL {
            let expected = EffectiveAction { action: id.rule().default_action, denies_from: None };
            assert_eq!(policy.action(id, Timestamp::UNIX_EPOCH), expected, "{id}");
        }
    }

    #[test]
    fn deny_acts_as_warn_until_its_date() {
        let mut policy = Policy::default();
        let date = at("2027-01-15T00:00:00Z");
        policy.set_rule(RuleId::Domain, RuleSetting { action: Action::Deny, enforce_after: Some(date) });
        let before = policy.action(RuleId::Domain, at("2027-01-14T23:59:59Z"));
        assert_eq!(before, EffectiveAction { action: Action::Warn, denies_from: Some(date) });
        assert_eq!(policy.action(RuleId::Domain, date).action, Action::Deny);
    }

    #[test]
    fn an_exemption_covers_its_users_and_groups_for_its_rules_until_it_expires() {
        let exemption = Exemption {
            name: "migration".to_owned(),
            users: vec!["loader".to_owned()],
            groups: vec!["crm-migrators".to_owned()],
            rules: vec![RuleId::CompanyExists],
            reason: None,
            expires: Some(at("2027-02-01T00:00:00Z")),
        };
        let policy = Policy { exemptions: vec![exemption], ..Policy::default() };
        let now = at("2027-01-31T00:00:00Z");
        let name = |rule, user: &UserInfo, now| policy.exemption(rule, user, now).map(|e| e.name.as_str());
        assert_eq!(name(RuleId::CompanyExists, &user("loader", &[]), now), Some("migration"));
        assert_eq!(name(RuleId::CompanyExists, &user("eve", &["crm-migrators"]), now), Some("migration"));
        assert_eq!(name(RuleId::CompanyExists, &user("eve", &["staff"]), now), None);
        assert_eq!(name(RuleId::Domain, &user("loader", &[]), now), None);
        assert_eq!(name(RuleId::CompanyExists, &user("loader", &[]), at("2027-02-01T00:00:00Z")), None);
    }

    #[test]
    fn a_dry_run_by_flux_only_warns() {
        let references = References::default();
        assert_eq!(references.dry_run_mode(Some("kustomize-controller")), DryRunMode::Warn);
        assert_eq!(references.dry_run_mode(Some("kubectl")), DryRunMode::Enforce);
        assert_eq!(references.dry_run_mode(None), DryRunMode::Enforce);
    }
}
