//! Maps a requesting user to the name of a creator.

use k8s_openapi::api::authentication::v1::UserInfo;
use regex::Regex;

use crate::api::names::is_path_segment;

/// One way to derive the name of a creator from the requesting user.
#[derive(Clone, Debug)]
pub struct CreatorSource {
    /// The field of the user.
    pub from: SourceField,
    /// A prefix that the value must have, and that is removed.
    pub strip_prefix: Option<String>,
    /// An expression that must match. Its group `name` is the result.
    pub pattern: Option<Regex>,
}

/// Two sources are equal if their expressions have the same text.
impl PartialEq for CreatorSource {
    fn eq(&self, other: &Self) -> bool {
        let text = |source: &Self| source.pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
        self.from == other.from && self.strip_prefix == other.strip_prefix && text(self) == text(other)
    }
}

/// A field of the requesting user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceField {
    /// `userInfo.username`.
    Username,
    /// `userInfo.uid`.
    Uid,
    /// The values of `userInfo.extra` under this key.
    Extra(String),
}

impl CreatorSource {
    /// The unchanged username.
    pub fn username() -> Self {
        Self { from: SourceField::Username, strip_prefix: None, pattern: None }
    }

    /// The first valid name from this source; `None` if it yields none.
    pub fn name(&self, user: &UserInfo) -> Option<String> {
        match &self.from {
            SourceField::Username => self.extract(user.username.as_deref()?),
            SourceField::Uid => self.extract(user.uid.as_deref()?),
            SourceField::Extra(key) => {
                user.extra.as_ref()?.get(key)?.iter().find_map(|value| self.extract(value))
            }
        }
    }

    fn extract(&self, value: &str) -> Option<String> {
        let value = match &self.strip_prefix {
            Some(prefix) => value.strip_prefix(prefix.as_str())?,
            None => value,
        };
        let name = match &self.pattern {
            Some(pattern) => pattern.captures(value)?.name("name")?.as_str(),
            None => value,
        };
        is_path_segment(name).then(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> UserInfo {
        UserInfo {
            username: Some("oidc:alice@corp.example".to_owned()),
            uid: Some("u-17".to_owned()),
            extra: Some(
                [("example.com/staff-id".to_owned(), vec!["a/b".to_owned(), "s42".to_owned()])].into(),
            ),
            ..UserInfo::default()
        }
    }

    fn source(from: SourceField, strip_prefix: Option<&str>, pattern: Option<&str>) -> CreatorSource {
        CreatorSource {
            from,
            strip_prefix: strip_prefix.map(str::to_owned),
            pattern: pattern.map(|pattern| Regex::new(pattern).unwrap()),
        }
    }

    #[test]
    fn each_field_of_the_user_can_be_the_source() {
        let extra = SourceField::Extra("example.com/staff-id".to_owned());
        let name = |from| source(from, None, None).name(&alice());
        assert_eq!(name(SourceField::Username).as_deref(), Some("oidc:alice@corp.example"));
        assert_eq!(name(SourceField::Uid).as_deref(), Some("u-17"));
        assert_eq!(name(extra).as_deref(), Some("s42"), "the first valid value is used");
        assert_eq!(name(SourceField::Extra("other".to_owned())), None);
    }

    #[test]
    fn prefix_and_pattern_extract_the_name() {
        let pattern = Some(r"^(?<name>[^@]+)@corp\.example$");
        let mapped = |prefix, pattern| source(SourceField::Username, prefix, pattern).name(&alice());
        assert_eq!(mapped(Some("oidc:"), pattern).as_deref(), Some("alice"));
        assert_eq!(mapped(Some("saml:"), pattern), None, "a missing prefix");
        assert_eq!(mapped(Some("oidc:"), Some(r"^(?<name>\d+)$")), None, "a pattern that does not match");
        assert_eq!(mapped(None, Some(r"^oidc:(?<name>x)?")), None, "an optional group without a match");
    }
}
