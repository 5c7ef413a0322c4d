//! Tests that the condition by which the registration leaves out complete and canonical records is up to date, in the
//! kustomizations and in the chart.

use crm_core::api::{CrmKind, limits};
use crm_core::characters::BLANK_PATTERN;
use crm_core::normalize::{
    CANONICAL_DOMAIN_PATTERN, CANONICAL_LINKEDIN_PATTERN, NOT_CERTAIN_DOMAIN_PATTERN,
    NOT_CERTAIN_LINKEDIN_PATTERN,
};

use super::{CHART, is_up_to_date, path};

/// The first line of the condition, and the name that `doctor` knows.
const NAME: &str = "  - name: may-need-changes\n";

/// The lines of the condition are indented at least as far.
const INDENTATION: &str = "    ";

/// The webhook is called for longer lists of domains, because finding duplicates takes quadratic time.
const MOST_DOMAINS: usize = 20;

#[test]
fn the_condition_of_the_registration_is_up_to_date() {
    for file in ["manifests/registration/webhooks.yaml", &format!("{CHART}/templates/webhooks.yaml")] {
        let stored = std::fs::read_to_string(path(file)).unwrap();
        let (before, rest) = stored.split_once(NAME).unwrap_or_else(|| panic!("{file} has no {NAME:?}"));
        let old: usize =
            rest.split_inclusive('\n').take_while(|line| line.starts_with(INDENTATION)).map(str::len).sum();
        is_up_to_date(file, &format!("{before}{}{}", condition(), &rest[old..]));
    }
}

/// The condition with the patterns of the code.
fn condition() -> String {
    let condition = CONDITION
        .replace("NAMED_KINDS", &kinds(|kind| kind.model() != CrmKind::Note))
        .replace("MOST_DOMAINS", &MOST_DOMAINS.to_string())
        .replace("MAX_DOMAIN", &limits::DOMAIN.to_string())
        .replace("MAX_LINKEDIN", &limits::LINKEDIN_PROFILE.to_string())
        .replace("MAX_CREATOR", &limits::NAME.to_string())
        .replace("MAX_DISPLAY_NAME", &limits::DISPLAY_NAME.to_string())
        .replace("NOT_CERTAIN_DOMAIN", NOT_CERTAIN_DOMAIN_PATTERN)
        .replace("NOT_CERTAIN_LINKEDIN", NOT_CERTAIN_LINKEDIN_PATTERN)
        .replace("CANONICAL_DOMAIN", CANONICAL_DOMAIN_PATTERN)
        .replace("CANONICAL_LINKEDIN", CANONICAL_LINKEDIN_PATTERN)
        .replace("BLANK_CHARACTER", blank_character());
    // Helm would read them as the start and the end of an action.
    assert!(!condition.contains("{{") && !condition.contains("}}"), "{condition}");
    format!("{NAME}{condition}")
}

/// These kinds, as the entries of a list in CEL.
fn kinds(are: impl Fn(CrmKind) -> bool) -> String {
    let kinds = CrmKind::ALL.into_iter().filter(|kind| are(*kind));
    kinds.map(|kind| format!("'{}'", kind.as_str())).collect::<Vec<_>>().join(", ")
}

/// The class of characters that are blank. It includes all white space, which the webhook trims.
fn blank_character() -> &'static str {
    let class = BLANK_PATTERN.strip_prefix('^').and_then(|pattern| pattern.strip_suffix("*$"));
    class.expect("a pattern of one class of characters")
}

/// Each line is indented like the first, so that YAML folds them into one.
const CONDITION: &str = r"    expression: >-
      ![dyn(object).?spec.orValue(null)].exists(spec,
      type(spec) == map
      && has(spec.creatorRef) && type(spec.creatorRef) == map
      && has(spec.creatorRef.name) && type(spec.creatorRef.name) == string && spec.creatorRef.name != ''
      && size(spec.creatorRef.name) <= MAX_CREATOR
      && (!has(spec.domains) || spec.domains == null
      || (type(spec.domains) == list && size(spec.domains) <= MOST_DOMAINS
      && spec.domains.all(domain, type(domain) == string && size(domain) <= MAX_DOMAIN
      && domain.matches(r'CANONICAL_DOMAIN')
      && !domain.matches(r'NOT_CERTAIN_DOMAIN')
      && spec.domains.exists_one(other, other == domain))))
      && (!has(spec.linkedinProfile) || spec.linkedinProfile == null
      || (type(spec.linkedinProfile) == string && size(spec.linkedinProfile) <= MAX_LINKEDIN
      && spec.linkedinProfile.matches(r'CANONICAL_LINKEDIN')
      && !spec.linkedinProfile.matches(r'NOT_CERTAIN_LINKEDIN')))
      && (object.?kind.orValue('') in [NAMED_KINDS]
      ? has(spec.displayName) && type(spec.displayName) == string
      && spec.displayName != '' && size(spec.displayName) <= MAX_DISPLAY_NAME
      && !spec.displayName.matches(r'^BLANK_CHARACTER|BLANK_CHARACTER$')
      : request.operation == 'UPDATE'
      && has(spec.subjectRef) && type(spec.subjectRef) == map
      && has(spec.subjectRef.apiGroup) && type(spec.subjectRef.apiGroup) == string))
";
