//! The kind Company: a company that staff deal with.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::record::{CreatorReference, RecordStatus};
use super::{limits, schema};

/// The data of the company.
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
    selectable = ".spec.creatorRef.name",
    selectable = ".spec.organizationRef.name",
    doc = "Company is a company in the CRM, such as a customer, a prospect or a partner. People refer \
           to it by name, and Notes can be about it. Use labels to categorize it. For example, \
           crm.milo.io/source says how it became a customer, and crm.milo.io/segment which market it belongs to.",
    printcolumn(
        name = "Display Name",
        type_ = "string",
        json_path = ".spec.displayName",
        description = "The name of the company as people read it."
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
    /// The name of the company as people read it, such as Acme Corporation. At most 256 characters.
    #[schemars(length(min = 1, max = limits::DISPLAY_NAME))]
    pub display_name: String,

    /// The internet domains of the company, the main one first, such as acme.com. Addresses may be pasted as
    /// the browser shows them; HTTPS://www.Acme.com/ is stored as acme.com. International names are stored in their ASCII
    /// form (xn--...). At most 100 domains of at most 253 characters.
    // Atomic, because normalization rewrites entries: in a set, two spellings of a domain could have two owners.
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

    /// The system organization that belongs to the company, if it is already a customer. Staff set it by
    /// hand; nothing sets it automatically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_ref: Option<OrganizationReference>,

    /// The user who created the record. Usually left out, because it is then set to the requesting user. It cannot
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
