//! The kind Company: an organization that staff deal with, as the CRM sees it.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::record::{CreatorReference, RecordStatus};
use super::{limits, schema};

/// What is known about the company.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "crm.milo.io",
    version = "v1alpha1",
    kind = "Company",
    plural = "companies",
    singular = "company",
    category = "crm",
    status = "RecordStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Company is a company in the CRM, such as a customer, a prospect or a partner. People refer \
           to it by name, and Notes can be about it. Labels are the way to categorize it. For example, \
           crm.milo.io/source says how it was won, and crm.milo.io/segment which market it belongs to.",
    printcolumn(
        name = "Display Name",
        type_ = "string",
        json_path = ".spec.displayName",
        description = "The company's name as people read it."
    ),
    printcolumn(
        name = "Domain",
        type_ = "string",
        json_path = ".spec.domains[0]",
        description = "The first of the company's domains."
    ),
    printcolumn(
        name = "Organization",
        type_ = "string",
        json_path = ".spec.organizationRef.name",
        description = "The system organization that belongs to the company.",
        priority = 1
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
pub struct CompanySpec {
    /// The company's name as people read it, such as Acme Corporation. At most 256 characters.
    #[schemars(length(min = 1, max = limits::DISPLAY_NAME))]
    pub display_name: String,

    /// The internet domains of the company, the main one first, such as acme.com. Addresses may be pasted as
    /// they are; HTTPS://www.Acme.com/ is stored as acme.com. International names are stored in their ASCII
    /// form (xn--...). At most 100 domains of at most 253 characters.
    // Atomic, since normalization rewrites entries: in a set, two spellings of a domain could have two owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::DOMAINS), inner(length(max = limits::DOMAIN)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub domains: Option<Vec<String>>,

    /// What the company does, in a few sentences. At most 4096 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::DESCRIPTION))]
    pub description: Option<String>,

    /// The company's page on LinkedIn, such as https://linkedin.com/company/acme-corp; pages under /school/
    /// and /showcase/ are accepted too. The address may be pasted as the browser shows it. At most 2048
    /// characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::LINKEDIN_PROFILE))]
    pub linkedin_profile: Option<String>,

    /// The system organization that belongs to the company, if it is a customer already. Staff set it by
    /// hand; nothing links the two automatically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_ref: Option<OrganizationReference>,

    /// The user who created the record. Usually left out, as it is then set to the requesting user. It cannot
    /// be changed afterwards.
    pub creator_ref: CreatorReference,
}

/// A system organization.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct OrganizationReference {
    /// The name of the Organization object, such as acme-org. At most 253 characters.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
}
