//! What the CRM records have in common: group, version, creator and status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{limits, schema};

/// The API group of the CRM records. The `kube` attributes of the kinds repeat it: they take only literals.
pub const GROUP: &str = "crm.milo.io";

/// The only version of the CRM records, served and stored.
pub const VERSION: &str = "v1alpha1";

/// The user who created the record.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct CreatorReference {
    /// The name of the user, such as jane.doe@example.com. At most 253 characters; no slash, percent sign or
    /// whitespace.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
}

/// The state of the record as controllers observe it. Staff do not write it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct RecordStatus {
    /// The user who created the record, as the controllers of Milo write it. crm-admission never writes it. At most
    /// 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::IDENTITY))]
    pub created_by: Option<String>,

    /// The current state of the record, one entry for each aspect. Wait for one with
    /// kubectl wait --for=condition=TYPE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
