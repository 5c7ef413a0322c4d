//! Writes canonical values to stored records, and never overwrites the changes of others.

use crm_check::conformance::{Subject, record};
use crm_core::api::CrmKind;
use crm_core::characters::printable;
use crm_core::patch;
use crm_core::quote::quote;
use crm_core::rules::{Change, Effect, Shown, canonical_form, shown};
use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch as JsonPatch, PatchOperation, TestOperation};
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use super::examine::{Examiner, full_name};
use super::stored::{Labels, Stored, path, stored};
use crate::cluster::{ReadError, Reader, may_be_temporary, retried};

/// The name of the writer in `managedFields`.
const FIELD_MANAGER: &str = "crm-admission-audit";
/// The number of attempts if others write the same record.
const ATTEMPTS: u32 = 5;

/// Fixes the records of a cluster.
pub(super) struct Fixer<'e> {
    reader: Reader,
    examiner: &'e Examiner,
    labels: Labels,
}

/// The result for a record.
#[derive(Clone, Debug)]
pub(super) enum Fixed {
    /// It is canonical now; this is the stored record.
    Stored {
        /// The record.
        object: Value,
        /// The number of fixed values; zero if somebody else was faster.
        values: u64,
    },
    /// It was deleted meanwhile.
    Gone,
    /// It was not changed.
    Not(NotFixed),
}

/// A record that could not be fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFixed {
    /// Its kind.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// The reason: the message of the API server.
    pub reason: String,
}

/// The result of one attempt.
enum Attempt {
    Written(Value),
    /// It was changed meanwhile; this is the current record, or `None` if it is gone.
    Outdated(Option<Value>),
    Denied(String),
}

impl<'e> Fixer<'e> {
    /// Writes as the user of `reader` what `examiner` finds not canonical.
    pub(super) fn new(reader: Reader, examiner: &'e Examiner) -> Self {
        Self { reader, examiner, labels: examiner.labels() }
    }

    /// Makes the values of a record canonical. If the record has changed since it was read, it is read and judged
    /// again.
    ///
    /// # Errors
    /// The API server keeps failing.
    pub(super) async fn fix(&self, kind: CrmKind, mut object: Value) -> Result<Fixed, ReadError> {
        let name = full_name(&object);
        for _ in 0..ATTEMPTS {
            let changes = self.examiner.changes(&Subject::stored(kind, &object));
            if changes.is_empty() {
                return Ok(Fixed::Stored { object, values: 0 });
            }
            if !object["metadata"]["deletionTimestamp"].is_null() {
                let reason = "it is being deleted".to_owned();
                return Ok(Fixed::Not(NotFixed { kind, name, reason }));
            }
            match self.write(kind, &name, &object, &conditional(&object, &changes)).await? {
                Attempt::Written(object) => {
                    return Ok(Fixed::Stored { object, values: changes.len() as u64 });
                }
                Attempt::Denied(reason) => return Ok(Fixed::Not(NotFixed { kind, name, reason })),
                Attempt::Outdated(Some(fresh)) => object = fresh,
                Attempt::Outdated(None) => return Ok(Fixed::Gone),
            }
        }
        let reason = "others changed it before each attempt to write it".to_owned();
        Ok(Fixed::Not(NotFixed { kind, name, reason }))
    }

    async fn write(
        &self,
        kind: CrmKind,
        name: &str,
        object: &Value,
        patch: &JsonPatch,
    ) -> Result<Attempt, ReadError> {
        let error = match retried(|| self.patch(kind, name, patch)).await {
            Ok(object) => return Ok(Attempt::Written(object.into_value(&self.labels))),
            Err(error) => error,
        };
        let reason = match &error {
            ReadError::Failed(failure) if !may_be_temporary(&error) => {
                failure.status().map(|status| status.message.clone())
            }
            _ => None,
        };
        let Some(reason) = reason else {
            return Err(error);
        };
        // A failed condition and a denied value both return 422, so compare with the current record.
        if matches!(error.code(), Some(404 | 409 | 422)) {
            let now = stored(&self.reader, kind, name, &self.labels).await?;
            if now.as_ref().is_none_or(|now| version(now) != version(object)) {
                return Ok(Attempt::Outdated(now));
            }
        }
        Ok(Attempt::Denied(reason))
    }

    async fn patch(&self, kind: CrmKind, name: &str, patch: &JsonPatch) -> Result<Stored, ReadError> {
        let patch: Patch<()> = Patch::Json(patch.clone());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let (path, name) = path(kind, name);
        let request = Request::new(path).patch(name, &params, &patch)?;
        self.reader.read(request).await?.parse()
    }
}

/// The patch with the changes, on the condition that the record has not changed since it was judged.
fn conditional(object: &Value, changes: &[Change]) -> JsonPatch {
    let mut patch = patch::patch(&record(object), changes);
    let condition = TestOperation {
        path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
        value: version(object).clone(),
    };
    patch.0.insert(0, PatchOperation::Test(condition));
    patch
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

/// The changes of a record, one line for each value: `Company/acme: spec.domains[0]: "Acme.com" -> "acme.com"`.
pub(super) fn values(kind: CrmKind, name: &str, changes: &[Change]) -> String {
    let line = |change: &Change| {
        let before = match shown(change.rule, change.before.as_deref().unwrap_or_default()) {
            Shown::Text(text) => quote(&text),
            Shown::Nothing | Shown::Hidden => "\"\"".to_owned(),
        };
        let after = match (&change.after, change.effect) {
            (Some(after), Effect::Normalized) => format!("-> {}", canonical_form(change.rule, after)),
            (Some(after), _) => format!("-> {}", quote(after)),
            (None, Effect::DuplicateRemoved { first }) => {
                format!("removed, a duplicate of spec.domains[{first}]")
            }
            (None, _) => "removed".to_owned(),
        };
        format!("{}/{}: {}: {before} {after}\n", kind.label(), printable(name), change.field)
    };
    changes.iter().map(line).collect()
}
