//! Why a valid domain still deserves a second look (the hints of section 2).

use super::lists::DomainLists;

/// What is unusual about a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Everybody can get a mailbox under the name.
    MailProvider,
    /// The last label is in no rule of the Public Suffix List.
    UnknownTld,
}

/// Last labels that are in no list and still in use: the reserved ones, and those of internal networks.
const UNLISTED: [&str; 8] = ["corp", "example", "home", "internal", "invalid", "lan", "local", "test"];

impl Hint {
    /// All hints, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::MailProvider, Self::UnknownTld];

    /// The stable identifier in kebab case, as messages show it in brackets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MailProvider => "mail-provider",
            Self::UnknownTld => "unknown-tld",
        }
    }

    /// What is unusual, and what to do about it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::MailProvider => "is a mail provider; give the company's own domain",
            Self::UnknownTld => "ends in no known top-level domain; check the spelling",
        }
    }
}

/// The first hint about a canonical domain.
pub fn domain_hint(name: &str, lists: &DomainLists) -> Option<Hint> {
    if lists.mail_providers.contains(name) {
        return Some(Hint::MailProvider);
    }
    has_unknown_tld(name).then_some(Hint::UnknownTld)
}

fn has_unknown_tld(name: &str) -> bool {
    let tld = name.rsplit('.').next().unwrap_or_default();
    let is_listed = psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known());
    !is_listed && !UNLISTED.contains(&tld)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn hints(name: &str, expected: Option<Hint>) {
        assert_eq!(domain_hint(name, &DomainLists::default()), expected, "{name}");
    }

    #[test]
    fn only_the_name_of_a_mail_provider_itself_is_one() {
        for name in ["gmail.com", "web.de", "proton.me", "163.com"] {
            hints(name, Some(Hint::MailProvider));
        }
        for name in ["mail.gmail.com", "google.com", "notgmail.com"] {
            hints(name, None);
        }
    }

    #[test]
    fn a_name_under_no_known_top_level_domain_gets_a_hint() {
        for name in ["acme.con", "canned.mehttps", "acme.co.ukk", "a.xn--bcher-kva"] {
            hints(name, Some(Hint::UnknownTld));
        }
    }

    #[test]
    fn every_kind_of_rule_makes_a_top_level_domain_known() {
        // A plain rule, one of several labels, a wildcard with its exception, a private rule, and an A-label.
        for name in [
            "acme.com",
            "acme.co.uk",
            "gov.uk",
            "a.b.ck",
            "b.ck",
            "www.ck",
            "acme.github.io",
            "acme.xn--p1ai",
        ] {
            hints(name, None);
        }
    }

    #[test]
    fn reserved_and_internal_names_are_known() {
        for tld in UNLISTED {
            hints(&format!("acme.{tld}"), None);
        }
    }

    #[test]
    fn the_policy_names_the_mail_providers() {
        let lists =
            DomainLists { mail_providers: ["mail.con"].map(str::to_owned).into(), ..DomainLists::default() };
        assert_eq!(domain_hint("mail.con", &lists), Some(Hint::MailProvider));
        assert_eq!(domain_hint("gmail.com", &lists), None);
    }
}
