//! The entries of the catalogue, in the order of `RuleId`.

use super::rule::{Action, Example, Rule, RuleId};
use crate::api::CrmKind::{self, Company, Note, Person};

const ALL_KINDS: &[CrmKind] = &CrmKind::OWN;

/// A manifest of a CRM kind from its own lines.
macro_rules! manifest {
    ($kind:literal, $name:literal, $($line:literal)*) => {
        concat!("apiVersion: crm.milo.io/v1alpha1\nkind: ", $kind, "\n", "metadata:\n  name: ", $name, "\n", $($line, "\n",)*)
    };
}

pub(super) static RULES: [Rule; RuleId::ALL.len()] = [
    Rule {
        id: RuleId::Schema,
        kinds: ALL_KINDS,
        default_action: Action::Deny,
        title: "Fields have the correct type",
        explanation: "A rule cannot check a value of the wrong type, such as a number instead of a string, so a wrong type is a finding of its own. The schema in the CustomResourceDefinition requires the same and more, and the API server enforces it even if this rule is disabled. Under this rule, `crm-admission check` reports everything that the schema requires, including unknown fields.",
        fix: "Correct the field that the message names: give it the right type, remove an unknown one, or add a missing one. Put a string in quotes if YAML would read it as a number or a boolean. `kubectl explain` shows the type of every field.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: 42"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: \"42\""),
        },
    },
    Rule {
        id: RuleId::DisplayName,
        kinds: &[Company, Person],
        default_action: Action::Deny,
        title: "The display name is set, with at most 256 characters and no control characters",
        explanation: "spec.displayName is the name that people see. It must not be blank, and it is blank if it consists only of white space and of characters that show nothing, such as a zero-width space. Characters that change the direction of text are not valid either, because they make other characters appear in another order. Leading and trailing white space is removed when the record is stored; length and characters are checked after that.",
        fix: "Set spec.displayName to the name by which people know the company or person.",
        example: Example {
            stored: None,
            bad: manifest!("Person", "philip-fry", "spec:" "  displayName: \" \""),
            good: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry"),
        },
    },
    Rule {
        id: RuleId::CreatorRef,
        kinds: ALL_KINDS,
        default_action: Action::Deny,
        title: "The creator is set and has a valid name",
        explanation: "spec.creatorRef.name says who created the record. If it is missing on create, the webhook sets it to the name to which the policy maps the requesting user. If an update leaves it out, it is restored. A given name is never overwritten. The name has 1 to 253 characters, without \"/\", \"%\", white space or control characters, and is not \".\" or \"..\", so that it is safe as a segment of an API path. It also has no invisible characters and none that change the direction of text, because it would then look like another name. The message shows such a character by its code, such as U+200B.",
        fix: "Leave spec.creatorRef out to have it filled in, or set spec.creatorRef.name to a valid name. If a name has an invisible character, type the name again instead of copying it.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  creatorRef:" "    name: sales/alice"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  creatorRef:" "    name: alice"),
        },
    },
    Rule {
        id: RuleId::CreatorImmutable,
        kinds: ALL_KINDS,
        default_action: Action::Deny,
        title: "An update does not change the creator",
        explanation: "The creator of a record never changes. Once spec.creatorRef is set, it stays; a record without one may still get one.",
        fix: "Keep spec.creatorRef as it is stored, or leave it out.",
        example: Example {
            stored: Some(
                manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  creatorRef:" "    name: alice"),
            ),
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  creatorRef:" "    name: bob"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corporation" "  creatorRef:" "    name: alice"),
        },
    },
    Rule {
        id: RuleId::CreatorIsRequester,
        kinds: ALL_KINDS,
        default_action: Action::Disabled,
        title: "The creator is the user who creates the record",
        explanation: "On create, a given spec.creatorRef.name must be the name to which the policy maps the requesting user. Enable this rule in clusters where nobody may create records in the name of another user.",
        fix: "Leave spec.creatorRef out, or set spec.creatorRef.name to your own name.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  creatorRef:" "    name: somebody-else"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp"),
        },
    },
    Rule {
        id: RuleId::CreatorExists,
        kinds: ALL_KINDS,
        default_action: Action::Disabled,
        title: "The creator exists",
        explanation: "spec.creatorRef.name must be the name of an object of the kind that the policy gives in references.kinds.user, such as a User of an identity system.",
        fix: "Correct spec.creatorRef.name, or create that user first.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  creatorRef:" "    name: nobody"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  creatorRef:" "    name: alice"),
        },
    },
    Rule {
        id: RuleId::Domain,
        kinds: &[Company],
        default_action: Action::Deny,
        title: "Domains are full domain names without duplicates",
        explanation: "Every entry of spec.domains is stored in one form: lower case, without scheme, \"www.\", port and path, and with international names as A-labels. An entry that could mean another company (an e-mail address, a page on a shared site, a public suffix, an IP address) is denied, because the webhook does not guess. The policy lists the shared sites in domains.sharedHosts, and names that are accepted although they are public suffixes in domains.owned. Duplicates are removed; at most 100 domains may remain.",
        fix: "Enter only the domain, such as acme.com. The message says what is wrong with the entry.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  domains:" "  - acme.com" "  - co.uk"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  domains:" "  - acme.com" "  - acme.co.uk"),
        },
    },
    Rule {
        id: RuleId::DomainHint,
        kinds: &[Company],
        default_action: Action::Warn,
        title: "Domains are not probable mistakes",
        explanation: "A domain can be valid and still be a mistake: the name of a mail provider such as gmail.com, where everybody can get an address, or a name under a top-level domain that does not exist, such as acme.con. The policy lists the mail providers in domains.mailProviders. Names that end in example, test, invalid, local, internal, lan, home or corp are not reported as unknown. The rule checks the canonical name and never rewrites it.",
        fix: "Give the company's own domain, or correct the typo. If the domain is correct, ignore the warning. A cluster admin can change the list of mail providers.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  domains:" "  - gmail.com" "  - acme.con"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  domains:" "  - acme.com"),
        },
    },
    Rule {
        id: RuleId::LinkedinProfile,
        kinds: &[Company, Person],
        default_action: Action::Deny,
        title: "The LinkedIn profile is the address of a profile page",
        explanation: "spec.linkedinProfile is stored in one form: https://linkedin.com/company/NAME (or school, showcase) for a Company and https://linkedin.com/in/NAME for a Person. Addresses of other sites and of other pages on LinkedIn are denied, and so are shortened links. The number of a company in the Sales Navigator (linkedin.com/sales/company/NUMBER) is also the number of its page, so it is rewritten.",
        fix: "Open the profile and copy its public address.",
        example: Example {
            stored: None,
            bad: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  linkedinProfile: https://lnkd.in/abc"),
            good: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  linkedinProfile: https://linkedin.com/in/philip-fry"),
        },
    },
    Rule {
        id: RuleId::LabelValue,
        kinds: ALL_KINDS,
        default_action: Action::Warn,
        title: "Labels that the policy lists have an allowed value",
        explanation: "Labels categorize records, and a category with two spellings becomes two categories. The policy lists labels with their allowed values and the kinds of records that they restrict; the built-in policy lists crm.milo.io/source of a Company. Other labels may have any value.",
        fix: "Use one of the allowed values that the message lists, or ask a cluster admin to add the value to the policy.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "  labels:" "    crm.milo.io/source: refferal" "spec:" "  displayName: Acme Corp"),
            good: manifest!("Company", "acme-corp", "  labels:" "    crm.milo.io/source: referral" "spec:" "  displayName: Acme Corp"),
        },
    },
    Rule {
        id: RuleId::OrganizationExists,
        kinds: &[Company],
        default_action: Action::Disabled,
        title: "The system Organization exists",
        explanation: "spec.organizationRef.name must be the name of an object of the kind that the policy gives in references.kinds.organization.",
        fix: "Correct spec.organizationRef.name, or leave spec.organizationRef out.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  organizationRef:" "    name: no-such-organization"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  organizationRef:" "    name: acme"),
        },
    },
    Rule {
        id: RuleId::CompanyExists,
        kinds: &[Person],
        default_action: Action::Deny,
        title: "The company that a person works for exists",
        explanation: "spec.companyRef.name must be the name of a Company that exists and is not being deleted. A Company that was just created is found.",
        fix: "Correct spec.companyRef.name, create the Company first, or leave spec.companyRef out.",
        example: Example {
            stored: None,
            bad: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  companyRef:" "    name: planet-expres"),
            good: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  companyRef:" "    name: planet-express"),
        },
    },
    Rule {
        id: RuleId::ContactExists,
        kinds: &[Person],
        default_action: Action::Disabled,
        title: "The contacts of a person exist",
        explanation: "Every entry of spec.contactRefs must name an object of the kind that the policy gives in references.kinds.contact, such as a Contact of a notification service, by its name and namespace. A contact that was just created is found.",
        fix: "Correct the name and the namespace, create the contact first, or remove the entry.",
        example: Example {
            stored: None,
            bad: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  contactRefs:" "  - name: fry-hom" "    namespace: crm-contacts"),
            good: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  contactRefs:" "  - name: fry-home" "    namespace: crm-contacts"),
        },
    },
    Rule {
        id: RuleId::UserExists,
        kinds: &[Person],
        default_action: Action::Disabled,
        title: "The system User exists",
        explanation: "spec.userRef.name must be the name of an object of the kind that the policy gives in references.kinds.user. The same names are valid as for a creator, so it has no invisible characters.",
        fix: "Correct spec.userRef.name, or leave spec.userRef out.",
        example: Example {
            stored: None,
            bad: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  userRef:" "    name: nobody"),
            good: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  userRef:" "    name: alice"),
        },
    },
    Rule {
        id: RuleId::SubjectKind,
        kinds: &[Note],
        default_action: Action::Deny,
        title: "A note is about an object of an accepted kind",
        explanation: "spec.subjectRef.apiGroup and spec.subjectRef.kind must exactly match those of a Company, a Person, or a kind that the policy adds in references.subjects. A missing apiGroup is filled in if only one accepted kind has the name. Namespaced kinds need spec.subjectRef.namespace, and other kinds must not have it. Of Milo's notes, a ClusterNote is about a cluster-scoped object, and a Note about one in its own namespace.",
        fix: "Set spec.subjectRef to apiGroup crm.milo.io, kind Company or Person, and the name.",
        example: Example {
            stored: None,
            bad: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: company" "    name: planet-express" "  content: Called about a delivery."),
            good: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: Called about a delivery."),
        },
    },
    Rule {
        id: RuleId::SubjectExists,
        kinds: &[Note],
        default_action: Action::Deny,
        title: "The subject of a note exists",
        explanation: "spec.subjectRef must name an object that exists and is not being deleted. An object that was just created is found.",
        fix: "Correct spec.subjectRef.name, or create that object first.",
        example: Example {
            stored: None,
            bad: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-expres" "  content: Called about a delivery."),
            good: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: Called about a delivery."),
        },
    },
    Rule {
        id: RuleId::SubjectImmutable,
        kinds: &[Note],
        default_action: Action::Deny,
        title: "An update does not change the subject of a note",
        explanation: "A note is part of the history of its subject. To say the same about another object, create another note.",
        fix: "Keep spec.subjectRef as it is stored. Create a new Note for another subject.",
        example: Example {
            stored: Some(
                manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: Called about a delivery." "  creatorRef:" "    name: alice"),
            ),
            bad: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: acme-corp" "  content: Called about a delivery." "  creatorRef:" "    name: alice"),
            good: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: Called twice about a delivery." "  creatorRef:" "    name: alice"),
        },
    },
    Rule {
        id: RuleId::NoteContent,
        kinds: &[Note],
        default_action: Action::Deny,
        title: "A note has content, with at most 1000 characters",
        explanation: "spec.content says what was learned or agreed. It must not be blank, and it is blank if it consists only of white space and of characters that show nothing. Put a longer text into a document and link to it from the note.",
        fix: "Write spec.content, with at most 1000 characters.",
        example: Example {
            stored: None,
            bad: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: \" \""),
            good: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: Called about a delivery."),
        },
    },
    Rule {
        id: RuleId::NextActionTime,
        kinds: &[Note],
        default_action: Action::Deny,
        title: "The next action is not in the past",
        explanation: "When spec.nextActionTime is set or changed, it may be at most one minute in the past. A stored time stays valid after it has passed.",
        fix: "Set spec.nextActionTime to a future time, or leave it out.",
        example: Example {
            stored: None,
            bad: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: Called about a delivery." "  nextActionTime: \"2001-01-01T09:00:00Z\""),
            good: manifest!("Note", "first-call", "spec:" "  subjectRef:" "    apiGroup: crm.milo.io" "    kind: Company" "    name: planet-express" "  content: Called about a delivery." "  nextActionTime: \"2999-01-01T09:00:00Z\""),
        },
    },
    Rule {
        id: RuleId::DeleteReferenced,
        kinds: &[Company, Person],
        default_action: Action::Warn,
        title: "No record refers to a deleted record",
        explanation: "If a Company or a Person is deleted, the People and Notes that name it in spec.companyRef or spec.subjectRef refer to a missing object. The message counts these dependents, up to 1000 of each kind, and names up to three. Dependents that are being deleted do not count. Notes whose owner is the record are counted apart: the garbage collector deletes them with it, so they are no reason to deny. Requesters learn only about kinds that they may list: a warning leaves out the others, and a denial that is based only on others does not count or name them. With Deny the answer is 409 Conflict. `kubectl delete --dry-run=server` shows it in advance. Deletions by the garbage collector, by the namespace controller and by exempt users are not checked. A failed lookup is a warning and never denies. The rule is best effort: while the webhook is down or overloaded, the API server deletes without asking it (`failurePolicy: Ignore`).",
        fix: "Delete the records that refer to it first, or have the People refer to another Company. The subject of a Note cannot change, so a Note can only be deleted.",
        example: Example {
            stored: Some(
                manifest!("Company", "planet-express", "spec:" "  displayName: Planet Express" "  creatorRef:" "    name: alice"),
            ),
            bad: "# While People refer to it:\n# kubectl delete company planet-express\n",
            good: "# When no record refers to it:\n# kubectl delete company planet-express\n",
        },
    },
];
