//! The sizes that the schemas allow: characters (Unicode scalar values) for texts, entries for lists.

/// A person's or company's name as people read it.
pub const DISPLAY_NAME: usize = 256;

/// A job title.
pub const JOB_TITLE: usize = 256;

/// The free description of a company.
pub const DESCRIPTION: usize = 4096;

/// The domains of one company.
pub const DOMAINS: usize = 100;

/// One domain name, as in DNS.
pub const DOMAIN: usize = 253;

/// The address of a LinkedIn profile.
pub const LINKEDIN_PROFILE: usize = 2048;

/// The contacts of one person.
pub const CONTACTS: usize = 100;

/// The type of a contact: as long as a label value may be.
pub const CONTACT_TYPE: usize = 63;

/// The name of an object or user, or of an API group: a DNS subdomain in most cases.
pub const NAME: usize = 253;

/// The name of a namespace or a kind: a DNS label.
pub const LABEL: usize = 63;

/// The content of a note.
pub const NOTE_CONTENT: usize = 1000;

/// What is to be done next, in a note.
pub const NEXT_ACTION: usize = 1000;

/// The entries of most lists in a policy.
pub const POLICY_ENTRIES: usize = 100;

/// The sources of a creator's name.
pub const CREATOR_SOURCES: usize = 20;

/// The regular expression in a source.
pub const PATTERN: usize = 1024;

/// A label's key, or that of an attribute of a user: a DNS subdomain, a slash and a name.
pub const QUALIFIED_NAME: usize = 317;

/// The values that one label may have.
pub const LABEL_VALUES: usize = 500;

/// The name of a field manager, as the API server limits it.
pub const FIELD_MANAGER: usize = 128;

/// The name of a user or of a group of users: some directories name groups by a whole path.
pub const IDENTITY: usize = 1024;

/// Why somebody is exempt.
pub const REASON: usize = 1024;
