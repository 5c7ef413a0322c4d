//! The reason codes of invalid values, and the text of each for users (section 4 of the normalization contract).

use std::fmt;

use crate::quote::quote;

/// The reason why a value is invalid, in the order of the table in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Nothing is left after trimming, or there is no host (`S1`, `D3`).
    Empty,
    /// The input, the name, one of its labels or the LinkedIn name is too long (`S2`, `D9`, `P12`).
    TooLong,
    /// An invalid character (`S3`, `D5`).
    BadChar,
    /// A scheme other than http and https, or an invalid scheme (`S4`).
    BadScheme,
    /// An e-mail address instead of a domain (`D2`).
    Email,
    /// A user name, or any `@`, before the host (`D2`, `P2`).
    Userinfo,
    /// An invalid port or, for LinkedIn, a port other than the default (`D3`, `P4`).
    BadPort,
    /// A `*` in the host (`D4`).
    Wildcard,
    /// The host is not valid under UTS #46 (`D6`).
    BadIdn,
    /// Two dots in a row, or a leading dot (`D7`).
    EmptyLabel,
    /// A label that starts or ends with a hyphen (`D8`).
    BadHyphen,
    /// An IP address in any notation, or a name that ends in a number (`D3`, `D10`).
    IpAddress,
    /// A name without a dot (`D11`).
    SingleLabel,
    /// The whole name is a public suffix of the ICANN section (`D13`).
    PublicSuffix,
    /// A page on a shared site (`D14`).
    SharedHost,
    /// More than [`MAX_DOMAINS`](super::MAX_DOMAINS) entries (`L3`; the caller checks the list).
    TooMany,
    /// The host does not belong to LinkedIn (`P3`).
    NotLinkedin,
    /// A `lnkd.in` link, which cannot be resolved without the network (`P3`).
    ShortLink,
    /// A `.` or `..` segment in the path (`P5`).
    BadPath,
    /// The address does not name a profile (`P6`, `P9`).
    NoProfile,
    /// A page of LinkedIn that is not a profile (`P7`).
    UnsupportedPath,
    /// The page of a company for a Person, or the page of a person for a Company (`P8`).
    WrongKind,
    /// The name of the profile is invalid (`P10`, `P12`).
    BadSlug,
    /// A page that LinkedIn shows instead of a profile (`P12`).
    Placeholder,
}

/// The kind of record that has a LinkedIn profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProfileKind {
    /// A Person: `/in/…`.
    Person,
    /// A Company: `/company/…`, `/school/…` or `/showcase/…`.
    Company,
}

/// The field of a value, because some texts depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// An entry of a Company's `spec.domains`.
    Domain,
    /// `spec.linkedinProfile` of a record of this kind.
    LinkedinProfile(ProfileKind),
}

/// Why a value is invalid: the code, and what the text says about this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid {
    code: Code,
    detail: Option<Detail>,
}

/// What the text says about one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// The first character that does not belong.
    Character(char),
    /// A `[` that starts no IP address.
    Bracket,
    /// A name or number without the address of a page.
    BareName,
}

impl Invalid {
    /// The value is invalid because of this character.
    pub(super) fn character(code: Code, character: char) -> Self {
        Self { code, detail: Some(Detail::Character(character)) }
    }

    pub(super) fn with_detail(code: Code, detail: Detail) -> Self {
        Self { code, detail: Some(detail) }
    }

    /// The code.
    pub const fn code(self) -> Code {
        self.code
    }

    /// The same without a character of the value, for values that must not be shown.
    #[must_use]
    pub fn without_character(self) -> Self {
        let detail = self.detail.filter(|detail| !matches!(detail, Detail::Character(_)));
        Self { detail, ..self }
    }

    /// The problem with a value of `field` and its fix, without the value and the code.
    pub fn text(self, field: Field) -> String {
        let text = self.code.text_for(field);
        match (self.detail, field) {
            (None, _) => text.to_owned(),
            (Some(Detail::Character(c)), _) => {
                format!("{text} (found {})", quote(c.encode_utf8(&mut [0; 4])))
            }
            (Some(Detail::Bracket), _) => {
                r#"starts with "[", as only an IP address does; give the domain name alone, not a link in Markdown"#
                    .to_owned()
            }
            (Some(Detail::BareName), Field::LinkedinProfile(ProfileKind::Person)) => {
                format!("{text}; give it as https://linkedin.com/in/NAME")
            }
            (Some(Detail::BareName), _) => format!("{text}; give it as https://linkedin.com/company/NAME"),
        }
    }
}

impl From<Code> for Invalid {
    fn from(code: Code) -> Self {
        Self { code, detail: None }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(formatter)
    }
}

impl std::error::Error for Invalid {}

impl Code {
    /// All codes, in the order of the table in the contract.
    pub const ALL: [Code; 24] = [
        Code::Empty,
        Code::TooLong,
        Code::BadChar,
        Code::BadScheme,
        Code::Email,
        Code::Userinfo,
        Code::BadPort,
        Code::Wildcard,
        Code::BadIdn,
        Code::EmptyLabel,
        Code::BadHyphen,
        Code::IpAddress,
        Code::SingleLabel,
        Code::PublicSuffix,
        Code::SharedHost,
        Code::TooMany,
        Code::NotLinkedin,
        Code::ShortLink,
        Code::BadPath,
        Code::NoProfile,
        Code::UnsupportedPath,
        Code::WrongKind,
        Code::BadSlug,
        Code::Placeholder,
    ];

    /// The stable identifier in kebab case, as messages show it in brackets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Empty => "empty",
            Code::TooLong => "too-long",
            Code::BadChar => "bad-char",
            Code::BadScheme => "bad-scheme",
            Code::Email => "email",
            Code::Userinfo => "userinfo",
            Code::BadPort => "bad-port",
            Code::Wildcard => "wildcard",
            Code::BadIdn => "bad-idn",
            Code::EmptyLabel => "empty-label",
            Code::BadHyphen => "bad-hyphen",
            Code::IpAddress => "ip-address",
            Code::SingleLabel => "single-label",
            Code::PublicSuffix => "public-suffix",
            Code::SharedHost => "shared-host",
            Code::TooMany => "too-many",
            Code::NotLinkedin => "not-linkedin",
            Code::ShortLink => "short-link",
            Code::BadPath => "bad-path",
            Code::NoProfile => "no-profile",
            Code::UnsupportedPath => "unsupported-path",
            Code::WrongKind => "wrong-kind",
            Code::BadSlug => "bad-slug",
            Code::Placeholder => "placeholder",
        }
    }

    /// The problem and its fix, for every field that can have the code.
    pub const fn text(self) -> &'static str {
        match self {
            Code::Empty => "no value: remove the entry, or leave the field out",
            Code::TooLong => {
                "too long (domain name: 253 characters, 63 per label; LinkedIn name: 150; any input: 2048)"
            }
            Code::BadChar => {
                "contains a character that cannot be part of it; give exactly one value, \
                 without spaces, commas or quotes"
            }
            Code::BadScheme => "only http:// and https:// addresses (or no scheme) are accepted",
            Code::Email => "looks like an e-mail address; give only the domain, the part after the @",
            Code::Userinfo => r#"must not contain a user name or "@" in front of the host"#,
            Code::BadPort => "has an invalid port (LinkedIn: any port but the default)",
            Code::Wildcard => "wildcards are not accepted; give the domain itself, such as acme.com",
            Code::BadIdn => "is not a valid internationalized domain name",
            Code::EmptyLabel => "has an empty label (two dots in a row, or a dot in front)",
            Code::BadHyphen => "a label must not start or end with a hyphen",
            Code::IpAddress => "is an IP address or ends in a number; give a domain name",
            Code::SingleLabel => "is not a full domain name; give one with a dot, such as acme.com",
            Code::PublicSuffix => {
                "is a public suffix under which others register names; give the company's own name under it"
            }
            Code::SharedHost => {
                "is a page on a shared site, not a domain; \
                 use linkedinProfile, or give the company's own domain"
            }
            Code::TooMany => "more than 100 domains",
            Code::NotLinkedin => "is not an address on linkedin.com",
            Code::ShortLink => {
                "lnkd.in links cannot be resolved here; open it and copy the address it leads to"
            }
            Code::BadPath => r#"the path contains "." or ".." segments"#,
            Code::NoProfile => {
                "names no profile; \
                 expected linkedin.com/in/NAME (Person) or linkedin.com/company/NAME (Company)"
            }
            Code::UnsupportedPath => {
                "is not a profile page; open the profile and copy its public address (/in/…, /company/…)"
            }
            Code::WrongKind => {
                "a Person needs linkedin.com/in/…; \
                 a Company needs linkedin.com/company/, /school/ or /showcase/"
            }
            Code::BadSlug => {
                "the profile name contains characters LinkedIn names do not have, \
                 or stray punctuation at its end"
            }
            Code::Placeholder => "is LinkedIn's own placeholder page, not a profile",
        }
    }

    /// The same for one field.
    pub const fn text_for(self, field: Field) -> &'static str {
        match (self, field) {
            (Code::TooLong, Field::Domain) => {
                "too long (domain name: 253 characters, 63 per label; any input: 2048)"
            }
            (Code::TooLong, Field::LinkedinProfile(_)) => "too long (LinkedIn name: 150; any input: 2048)",
            (Code::BadPort, Field::Domain) => "has an invalid port",
            (Code::BadPort, Field::LinkedinProfile(_)) => "has an invalid port (any port but the default)",
            (Code::WrongKind, Field::LinkedinProfile(ProfileKind::Person)) => {
                "a Person needs linkedin.com/in/…"
            }
            (Code::WrongKind, Field::LinkedinProfile(ProfileKind::Company)) => {
                "a Company needs linkedin.com/company/, /school/ or /showcase/"
            }
            _ => self.text(),
        }
    }

    /// Whether a value of this field can have the code.
    pub const fn applies_to(self, field: Field) -> bool {
        let linkedin = matches!(field, Field::LinkedinProfile(_));
        match self {
            Code::Empty
            | Code::TooLong
            | Code::BadChar
            | Code::BadScheme
            | Code::Userinfo
            | Code::BadPort => true,
            Code::Email
            | Code::Wildcard
            | Code::BadIdn
            | Code::EmptyLabel
            | Code::BadHyphen
            | Code::IpAddress
            | Code::SingleLabel
            | Code::PublicSuffix
            | Code::SharedHost
            | Code::TooMany => !linkedin,
            Code::NotLinkedin
            | Code::ShortLink
            | Code::BadPath
            | Code::NoProfile
            | Code::UnsupportedPath
            | Code::WrongKind
            | Code::BadSlug
            | Code::Placeholder => linkedin,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::normalize::{MAX_DOMAINS, MAX_INPUT_CHARS};

    const PERSON: Field = Field::LinkedinProfile(ProfileKind::Person);
    const COMPANY: Field = Field::LinkedinProfile(ProfileKind::Company);
    const FIELDS: [Field; 3] = [Field::Domain, PERSON, COMPANY];

    #[test]
    fn every_code_has_a_unique_identifier_in_kebab_case() {
        let ids: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
        for id in ids {
            assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{id}");
            assert!(!id.starts_with('-') && !id.ends_with('-') && !id.contains("--"), "{id}");
        }
    }

    #[test]
    fn all_lists_the_codes_in_declaration_order() {
        assert!(Code::ALL.is_sorted());
    }

    #[test]
    fn a_code_is_displayed_as_its_identifier() {
        assert_eq!(Code::PublicSuffix.to_string(), "public-suffix");
        assert_eq!(format!("{:>12}|", Code::Email), "       email|");
    }

    #[test]
    fn every_text_is_unique_and_one_line_without_the_code() {
        for field in FIELDS {
            let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.text_for(field)).collect();
            assert_eq!(texts.len(), Code::ALL.len());
            for text in texts {
                assert!(!text.is_empty() && !text.contains(['\n', '[', ']']), "{text}");
                assert!(!text.contains("  ") && text.trim() == text, "{text}");
            }
        }
    }

    #[test]
    fn texts_name_only_the_limits_of_their_field() {
        assert!(Code::TooLong.text_for(Field::Domain).contains("253"));
        assert!(!Code::TooLong.text_for(Field::Domain).contains("150"));
        assert!(Code::TooLong.text_for(PERSON).contains("150"));
        assert!(!Code::TooLong.text_for(COMPANY).contains("253"));
        assert!(!Code::BadPort.text_for(Field::Domain).contains("default"));
        assert!(Code::BadPort.text_for(PERSON).contains("default"));
    }

    #[test]
    fn texts_name_the_limits_that_the_code_enforces() {
        for field in FIELDS {
            assert!(Code::TooLong.text_for(field).contains(&MAX_INPUT_CHARS.to_string()));
            assert!(Code::TooMany.text_for(field).contains(&MAX_DOMAINS.to_string()));
        }
    }

    #[test]
    fn the_wrong_kind_of_profile_gets_the_address_that_this_kind_needs() {
        let text = |field| Invalid::from(Code::WrongKind).text(field);
        assert_eq!(text(PERSON), "a Person needs linkedin.com/in/…");
        assert_eq!(text(COMPANY), "a Company needs linkedin.com/company/, /school/ or /showcase/");
    }

    #[test]
    fn a_bare_name_gets_the_form_of_the_address_for_its_kind() {
        let text = |field| Invalid::with_detail(Code::NotLinkedin, Detail::BareName).text(field);
        assert_eq!(
            text(PERSON),
            "is not an address on linkedin.com; give it as https://linkedin.com/in/NAME"
        );
        assert_eq!(
            text(COMPANY),
            "is not an address on linkedin.com; give it as https://linkedin.com/company/NAME"
        );
    }

    #[test]
    fn the_text_about_a_character_names_it_escaped_and_can_leave_it_out() {
        for (c, shown) in [(',', r#"",""#), ('"', r#""\"""#), ('\u{a0}', r#""\u00a0""#), ('é', r#""é""#)] {
            let invalid = Invalid::character(Code::BadChar, c);
            assert_eq!(invalid.text(Field::Domain), format!("{} (found {shown})", Code::BadChar.text()));
            assert_eq!(invalid.without_character().text(Field::Domain), Code::BadChar.text());
        }
    }
}
