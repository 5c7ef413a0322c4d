//! The names of domains that a policy treats specially: owned names, shared sites and mail providers.

use std::collections::BTreeSet;

/// The lists of a policy. Every entry is a canonical name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainLists {
    /// Names that a Company may record although they are public suffixes or shared sites (`D13`, `D14`).
    pub owned: BTreeSet<String>,
    /// Sites on which many companies have a page. The page belongs to a company, but the host does not (`D14`).
    pub shared_hosts: BTreeSet<String>,
    /// Names under which everybody can get a mailbox, for [`domain_hint`](super::domain_hint).
    pub mail_providers: BTreeSet<String>,
}

/// The shared sites of the built-in policy.
pub(super) const SHARED_HOSTS: [&str; 35] = [
    "about.me",
    "bit.ly",
    "bsky.app",
    "calendly.com",
    "crunchbase.com",
    "docs.google.com",
    "drive.google.com",
    "facebook.com",
    "fb.com",
    "fb.me",
    "g.page",
    "github.com",
    "gitlab.com",
    "goo.gl",
    "instagram.com",
    "linkedin.com",
    "linktr.ee",
    "lnkd.in",
    "maps.google.com",
    "medium.com",
    "pinterest.com",
    "reddit.com",
    "sites.google.com",
    "t.me",
    "threads.com",
    "threads.net",
    "tiktok.com",
    "twitter.com",
    "vimeo.com",
    "wa.me",
    "x.com",
    "xing.com",
    "yelp.com",
    "youtu.be",
    "youtube.com",
];

/// The mail providers of the built-in policy.
pub(super) const MAIL_PROVIDERS: [&str; 28] = [
    "126.com",
    "163.com",
    "aol.com",
    "fastmail.com",
    "gmail.com",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.com",
    "icloud.com",
    "live.com",
    "mac.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "web.de",
    "yahoo.com",
    "yandex.ru",
    "ymail.com",
    "zoho.com",
];

impl Default for DomainLists {
    /// The lists of the built-in policy.
    fn default() -> Self {
        Self {
            owned: BTreeSet::new(),
            shared_hosts: SHARED_HOSTS.map(str::to_owned).into(),
            mail_providers: MAIL_PROVIDERS.map(str::to_owned).into(),
        }
    }
}

/// Whether `name` is one of these names or a subdomain of one.
pub(super) fn is_within(name: &str, names: &BTreeSet<String>) -> bool {
    let mut rest = Some(name);
    while let Some(host) = rest {
        if names.contains(host) {
            return true;
        }
        rest = host.split_once('.').map(|(_, parent)| parent);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::domain_name;
    use super::*;

    #[test]
    fn the_names_of_the_built_in_lists_are_canonical_sorted_and_unique() {
        for names in [&SHARED_HOSTS[..], &MAIL_PROVIDERS[..]] {
            assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
            for name in names {
                assert_eq!(domain_name(name).as_deref(), Ok(*name));
            }
        }
    }
}
