//! The kind Person: a person whom staff deal with, at a company or independent.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::record::{CreatorReference, RecordStatus};
use super::{limits, schema};

/// The data of the person.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "crm.milo.io",
    version = "v1alpha1",
    kind = "Person",
    plural = "people",
    singular = "person",
    category = "crm",
    status = "RecordStatus",
    derive = "Default",
    derive = "PartialEq",
    selectable = ".spec.companyRef.name",
    selectable = ".spec.creatorRef.name",
    selectable = ".spec.userRef.name",
    doc = "Person is a person in the CRM, such as a contact at a company or an independent consultant. \
           Notes can be about a Person. The command kubectl get people --field-selector \
           spec.companyRef.name=acme-corp lists everyone at a company. Use labels to categorize \
           a Person. For example, crm.milo.io/source says where the contact comes from.",
    printcolumn(
        name = "Display Name",
        type_ = "string",
        json_path = ".spec.displayName",
        description = "The name of the person as people read it."
    ),
    printcolumn(
        name = "Job Title",
        type_ = "string",
        json_path = ".spec.jobTitle",
        description = "What the person does at the company."
    ),
    printcolumn(
        name = "Company",
        type_ = "string",
        json_path = ".spec.companyRef.name",
        description = "The Company that the person works for."
    ),
    printcolumn(
        name = "Creator",
        type_ = "string",
        json_path = ".spec.creatorRef.name",
        description = "The user who created the record.",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct PersonSpec {
    /// The full name of the person as people read it, such as Jane Doe. At most 256 characters.
    #[schemars(length(min = 1, max = limits::DISPLAY_NAME))]
    pub display_name: String,

    /// What the person does at the company, such as Head of Engineering. At most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::JOB_TITLE))]
    pub job_title: Option<String>,

    /// The person's profile on LinkedIn, such as https://linkedin.com/in/jane-doe. The address may be pasted
    /// as the browser shows it. At most 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::LINKEDIN_PROFILE))]
    pub linkedin_profile: Option<String>,

    /// The Company that the person works for. It must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company_ref: Option<CompanyReference>,

    /// The user account of the person, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ref: Option<UserReference>,

    /// The Contact objects that hold the person's addresses and subscriptions. At most 100, of which at most
    /// one is primary.
    // Atomic, because a Contact may be listed twice, under two types, and because "at most one primary" is a property
    // of the whole list: two owners of parts of it could break the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::CONTACTS))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.filter(contact, has(contact.primary) && contact.primary).size() <= 1")
            .message("at most one contact may have primary: true")
    )]
    pub contact_refs: Option<Vec<ContactReference>>,

    /// The user who created the record. Usually left out, because it is then set to the requesting user. It cannot
    /// be changed afterwards.
    pub creator_ref: CreatorReference,
}

/// A Company, which is cluster-scoped like the Person.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct CompanyReference {
    /// The name of the Company object, such as acme-corp. At most 253 characters.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
}

/// A user account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct UserReference {
    /// The name of the user, such as jane.doe@acme.com. At most 253 characters; no slash, percent sign or
    /// whitespace.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
}

/// A Contact object: an address of the person.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct ContactReference {
    /// The name of the Contact object, such as jane-doe-work. At most 253 characters.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,

    /// The namespace of the Contact object, such as crm-contacts. At most 63 characters.
    #[schemars(length(min = 1, max = limits::LABEL))]
    pub namespace: String,

    /// What the contact is used for, such as work, personal or other. At most 63 characters.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::CONTACT_TYPE))]
    pub type_: Option<String>,

    /// Whether this is the contact to use first. At most one contact of a person is primary. If it is
    /// left out, this contact is not primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<bool>,
}
