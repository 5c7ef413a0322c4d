//! The maximum sizes in the schemas: characters (Unicode scalar values) for strings, entries for lists.

/// The display name of a person or company.
pub const DISPLAY_NAME: usize = 256;

/// A job title.
pub const JOB_TITLE: usize = 256;

/// The description of a company.
pub const DESCRIPTION: usize = 4096;

/// The domains of one company.
pub const DOMAINS: usize = 100;

/// One domain name. DNS has the same limit.
pub const DOMAIN: usize = 253;

/// The address of a LinkedIn profile.
pub const LINKEDIN_PROFILE: usize = 2048;

/// The contacts of one person.
pub const CONTACTS: usize = 100;

/// The type of a contact. Label values have the same limit.
pub const CONTACT_TYPE: usize = 63;

/// The name of an object, of a user or of an API group. In most cases this is a DNS subdomain.
pub const NAME: usize = 253;

/// The name of a namespace or a kind: a DNS label.
pub const LABEL: usize = 63;

/// The content of a note.
pub const NOTE_CONTENT: usize = 1000;

/// The next action of a note.
pub const NEXT_ACTION: usize = 1000;

/// The entries of most lists in a policy.
pub const POLICY_ENTRIES: usize = 100;

/// The entries of the lists of domains in a policy.
pub const POLICY_DOMAINS: usize = 1000;

/// The sources of a creator's name.
pub const CREATOR_SOURCES: usize = 20;

/// The regular expression in a source.
pub const PATTERN: usize = 1024;

/// The key of a label or of an attribute of a user: a DNS subdomain, a slash and a name.
pub const QUALIFIED_NAME: usize = 317;

/// The allowed values of one label.
pub const LABEL_VALUES: usize = 500;

/// The name of a field manager. The API server has the same limit.
pub const FIELD_MANAGER: usize = 128;

/// The name of a user or of a group of users. Some identity providers use a whole path as the name of a group.
pub const IDENTITY: usize = 1024;

/// The reason of an exemption.
pub const REASON: usize = 1024;
