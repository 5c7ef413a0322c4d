//! Normalizes domains and LinkedIn addresses as staff type or paste them. The result is the canonical value, or a
//! reason code for an invalid value. Valid domains that are probably mistakes get a hint.
//!
//! The room implements the normalization contract step by step. Comments name the step (`S1`, `D12`, `P6`). The steps
//! run in the order of the contract, and the first that fails determines the code.
//!
//! *Architecture invariant:* string in, string or code out. Nothing here knows Kubernetes, does input or output, or
//! depends on anything but its arguments. Unicode and Public Suffix List data are compiled in.

mod code;
mod domain;
mod hint;
mod linkedin;
mod lists;
mod shared;

pub use code::{Code, Field, Invalid, ProfileKind};
pub use domain::{domain, domain_name, unicode_form};
pub use hint::{Hint, domain_hint};
pub use linkedin::linkedin_profile;
pub use lists::DomainLists;
pub use shared::{MAX_INPUT_CHARS, host_after_user};

/// The maximum number of domains of a Company, counted after duplicates are removed (`L3`).
pub const MAX_DOMAINS: usize = 100;

/// The regular expression that every canonical domain matches (`A4`). A canonical domain also has at most 253
/// characters, which the pattern does not check.
pub const CANONICAL_DOMAIN_PATTERN: &str =
    r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// The regular expression that every canonical LinkedIn address matches (`A4`). A canonical address also has at most
/// 2048 characters, which the pattern does not check.
pub const CANONICAL_LINKEDIN_PATTERN: &str =
    r"^https://linkedin\.com/(in|company|school|showcase)/[A-Za-z0-9._~%-]+$";

/// The regular expression that finds, in a domain that matches [`CANONICAL_DOMAIN_PATTERN`], what normalization may still
/// change. Without it, such a domain is either invalid or canonical, whatever the lists of a policy say.
pub const NOT_CERTAIN_DOMAIN_PATTERN: &str = r"^www\.|xn--";

/// The same for an address that matches [`CANONICAL_LINKEDIN_PATTERN`].
pub const NOT_CERTAIN_LINKEDIN_PATTERN: &str = "[A-Z%]";
