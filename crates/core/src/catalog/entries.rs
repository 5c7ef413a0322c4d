//! The entries of the catalogue, in the order of `RuleId`.

use super::{Action, Example, Rule, RuleId};
use crate::api::CrmKind::{self, Company, Note, Person};

const ALL_KINDS: &[CrmKind] = &CrmKind::ALL;

/// A manifest of one of our kinds from its distinctive lines.
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
        title: "Fields have the types that the rules need",
        explanation: "A value of a wrong type (a number where text belongs, a single value where a list belongs) cannot be judged by the rule that looks at it, so it is reported as a finding of its own. The schema in the CustomResourceDefinition demands the same and more, and the API server holds to it even when this rule is disabled. `crm-admission check` reports all that the schema demands under this rule, unknown fields included.",
        fix: "Give the value in the type that the message names; quote text that YAML would read as a number or a boolean. `kubectl explain` shows every field with its type.",
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
        title: "A display name is there, at most 256 characters, without control characters",
        explanation: "spec.displayName is the name that people see. It must not be blank. White space around it is removed when the record is stored; length and characters are judged after that.",
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
        title: "The creator is there and well formed",
        explanation: "spec.creatorRef.name says who created the record. When it is absent on create it is set from the requesting user, as the policy maps users to names; when an update leaves it out it is restored. A given one is never overwritten. The name is 1 to 253 characters, without \"/\", \"%\", white space or control characters, and not \".\" or \"..\", so that it is safe as a segment of an API path. It has no invisible characters either, nor any that change the direction of text: with one, a name would look like another. The message shows such a character as U+200B.",
        fix: "Leave spec.creatorRef out to have it filled in, or set spec.creatorRef.name to a name of that form. Type a name that has an invisible character anew instead of copying it.",
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
        explanation: "Who created a record is a fact of its past. Once spec.creatorRef is set it stays; a record that has none may still get one.",
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
        explanation: "On create, a given spec.creatorRef.name must be the name that the policy maps the requesting user to. For clusters in which nobody may write records in another's name.",
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
        title: "The creator names an existing object",
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
        title: "Domains are full domain names, each once",
        explanation: "Every entry of spec.domains is brought to one spelling: lower case, without scheme, \"www.\", port and path, with international names in their A-label form. An entry that could mean another company (an e-mail address, a page on a shared site, a public suffix, an IP address) is refused instead of guessed at. Duplicates are removed; at most 100 domains stay.",
        fix: "Give each domain by itself, such as acme.com. The message says what is wrong with the entry.",
        example: Example {
            stored: None,
            bad: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  domains:" "  - acme.com" "  - co.uk"),
            good: manifest!("Company", "acme-corp", "spec:" "  displayName: Acme Corp" "  domains:" "  - acme.com" "  - acme.co.uk"),
        },
    },
    Rule {
        id: RuleId::LinkedinProfile,
        kinds: &[Company, Person],
        default_action: Action::Deny,
        title: "A LinkedIn profile is the address of one",
        explanation: "spec.linkedinProfile is brought to one spelling, https://linkedin.com/company/NAME (or school, showcase) for a Company and https://linkedin.com/in/NAME for a Person. Addresses of other sites, of other pages on LinkedIn and shortened links are refused.",
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
        title: "Listed labels have one of their allowed values",
        explanation: "Labels categorize records, and a category spelled in two ways is two categories. The policy lists labels with their allowed values; without a policy that is crm.milo.io/source. Other labels are free.",
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
        explanation: "spec.companyRef.name must be the name of a Company that exists and is not being deleted. A Company that was created a moment ago is found.",
        fix: "Correct spec.companyRef.name, create the Company first, or leave spec.companyRef out.",
        example: Example {
            stored: None,
            bad: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  companyRef:" "    name: planet-expres"),
            good: manifest!("Person", "philip-fry", "spec:" "  displayName: Philip J. Fry" "  companyRef:" "    name: planet-express"),
        },
    },
    Rule {
        id: RuleId::UserExists,
        kinds: &[Person],
        default_action: Action::Disabled,
        title: "The system User exists",
        explanation: "spec.userRef.name must be the name of an object of the kind that the policy gives in references.kinds.user. It has the form of a creator's name, so it has no invisible characters.",
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
        title: "A note is about a kind that notes may be about",
        explanation: "spec.subjectRef.apiGroup and spec.subjectRef.kind must be, letter by letter, those of a Company, a Person, or a kind that the policy adds in references.subjects. spec.subjectRef.namespace belongs to namespaced kinds and only to them.",
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
        title: "What a note is about exists",
        explanation: "spec.subjectRef must name an object that exists and is not being deleted. An object that was created a moment ago is found.",
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
        title: "An update does not change what a note is about",
        explanation: "A note is part of the history of its subject. To say the same about something else, write another note.",
        fix: "Keep spec.subjectRef as it is stored; write a new Note for another subject.",
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
        title: "A note has content, at most 1000 characters",
        explanation: "spec.content is what was learned or agreed. It must not be blank. Longer texts belong in a document that the note links to.",
        fix: "Write spec.content, in 1000 characters or fewer.",
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
        title: "A next action does not lie in the past",
        explanation: "When spec.nextActionTime is set or changed, it may be at most one minute in the past. A time that has passed since it was stored stays.",
        fix: "Set spec.nextActionTime to a time ahead, or leave it out.",
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
        title: "A deleted record is not referred to any more",
        explanation: "Deleting a Company or a Person leaves the People whose spec.companyRef and the Notes whose spec.subjectRef name it with a reference to nothing. The message counts these dependents, up to 1000 of each kind, and names up to three. Dependents that are being deleted do not count. Requesters learn only about kinds that they may list: a warning leaves the others out, and a denial because of them alone says only that there are some. With Deny the answer is 409 Conflict. `kubectl delete --dry-run=server` shows it first. Deletions by the garbage collector, by the namespace controller and by exempt users are not checked. A failed lookup is a warning and never denies. The rule is best effort: while the webhook is down or overloaded, the API server deletes without asking it (`failurePolicy: Ignore`).",
        fix: "Delete the records that refer to it first, or have the People refer to another Company. A Note stays about what it is about, so it can only be deleted.",
        example: Example {
            stored: Some(
                manifest!("Company", "planet-express", "spec:" "  displayName: Planet Express" "  creatorRef:" "    name: alice"),
            ),
            bad: "# While people refer to it:\n# kubectl delete company planet-express\n",
            good: "# Once nobody refers to it:\n# kubectl delete company planet-express\n",
        },
    },
];
