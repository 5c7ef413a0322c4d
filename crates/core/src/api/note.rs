//! The kind Note: a note that staff write about a Company, a Person or another accepted kind of object.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::record::{CreatorReference, RecordStatus};
use super::{limits, schema};

/// The subject, the content and the next action of the note.
// The times are strings, so that every stored Note can be read. The date-time format of the API server allows times,
// such as an offset of +99:99, that a time type cannot parse, and one such Note would make its whole list unreadable.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "crm.milo.io",
    version = "v1alpha1",
    kind = "Note",
    plural = "notes",
    singular = "note",
    category = "crm",
    status = "RecordStatus",
    derive = "Default",
    derive = "PartialEq",
    selectable = ".spec.subjectRef.apiGroup",
    selectable = ".spec.subjectRef.kind",
    selectable = ".spec.subjectRef.name",
    selectable = ".spec.subjectRef.namespace",
    selectable = ".spec.creatorRef.name",
    selectable = ".spec.followUp",
    selectable = ".spec.nextActionTime",
    doc = "Note is a note about a Company, a Person or another accepted kind of object, such as the \
           content of a call or a meeting, or the next action. The command kubectl get notes \
           --field-selector spec.subjectRef.kind=Company,spec.subjectRef.name=acme-corp lists the Notes \
           about a company.",
    printcolumn(
        name = "Subject Kind",
        type_ = "string",
        json_path = ".spec.subjectRef.kind",
        description = "The kind of the object that the Note is about."
    ),
    printcolumn(
        name = "Subject",
        type_ = "string",
        json_path = ".spec.subjectRef.name",
        description = "The name of the object that the Note is about."
    ),
    printcolumn(
        name = "Follow Up",
        type_ = "boolean",
        json_path = ".spec.followUp",
        description = "Whether there is still something to do."
    ),
    // A string, because kubectl shows a date as an age, and a future date as <invalid>.
    printcolumn(
        name = "Next Action Time",
        type_ = "string",
        json_path = ".spec.nextActionTime",
        description = "When the next action is due."
    ),
    printcolumn(
        name = "Next Action",
        type_ = "string",
        json_path = ".spec.nextAction",
        description = "The next action.",
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
pub struct NoteSpec {
    /// The object that the Note is about. It must exist, and cannot be changed afterwards.
    // Atomic, as references are in Kubernetes: parts of two subjects do not make a valid one.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub subject_ref: SubjectReference,

    /// The text of the Note. At most 1000 characters.
    #[schemars(length(min = 1, max = limits::NOTE_CONTENT))]
    pub content: String,

    /// When the call, meeting or message took place, as an RFC 3339 time such as 2027-01-15T09:30:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub interaction_time: Option<String>,

    /// Whether there is still something to do. Defaults to false.
    #[serde(default)]
    pub follow_up: bool,

    /// The next action, such as Send the offer. At most 1000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::NEXT_ACTION))]
    pub next_action: Option<String>,

    /// When the next action is due, as an RFC 3339 time such as 2027-01-22T14:00:00+01:00. When it is set or
    /// changed, it must not be in the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_action_time: Option<String>,

    /// The user who created the record. Usually left out, because it is then set to the requesting user. It cannot
    /// be changed afterwards.
    pub creator_ref: CreatorReference,
}

/// The object that a Note is about.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct SubjectReference {
    /// The API group of the object, without the version. It is crm.milo.io for a Company or a Person. If
    /// it is left out, it is set to the group of the accepted kind of this name, unless there are several. Empty
    /// means the core group. At most 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::NAME))]
    pub api_group: Option<String>,

    /// The kind of the object. It is Company, Person, or another kind that the admission policy accepts. At
    /// most 63 characters.
    #[schemars(length(min = 1, max = limits::LABEL))]
    pub kind: String,

    /// The name of the object, such as acme-corp. At most 253 characters.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,

    /// The namespace of the object. Set it for namespaced kinds only; Company and Person are cluster-scoped
    /// and have none. At most 63 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::LABEL))]
    pub namespace: Option<String>,
}
