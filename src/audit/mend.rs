//! Writes canonical values back into stored records, and never over what somebody else has written meanwhile.

use crm_core::api::CrmKind;
use crm_core::patch;
use crm_core::rules::{Change, Effect, Record, Shown, quote, shown};
use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch as JsonPatch, PatchOperation, TestOperation};
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use super::examine::Examiner;
use super::patience::{may_pass, patiently};
use super::stored::{Labels, Stored, path, stored};
use crate::check::record;
use crate::check::report::printable;
use crate::cluster::{ReadError, Reader};

/// Who changed a field, as `managedFields` says it.
const FIELD_MANAGER: &str = "crm-admission-audit";
/// How often a record that somebody else is writing is tried.
const ATTEMPTS: u32 = 5;

/// Mends the records of a cluster.
pub struct Mender<'e> {
    reader: Reader,
    examiner: &'e Examiner,
    labels: Labels,
}

/// What has become of a record.
#[derive(Clone, Debug)]
pub enum Mended {
    /// It is canonical now, and this is how it is stored.
    Stored {
        /// The record.
        object: Value,
        /// How many values were brought to their canonical form; none where somebody else was faster.
        values: u64,
    },
    /// It is not there any more, or on its way out.
    Gone,
    /// It stays as it is.
    Not(NotMended),
}

/// A record that could not be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotMended {
    /// Its kind.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// Why: what the API server says.
    pub reason: String,
}

/// How one attempt ended.
enum Attempt {
    Written(Value),
    /// It was changed meanwhile; this is how it is now, unless it is gone.
    Outdated(Option<Value>),
    Refused(String),
}

impl<'e> Mender<'e> {
    /// Writes as whoever the client of `reader` is, what `examiner` finds not canonical.
    pub fn new(reader: Reader, examiner: &'e Examiner) -> Self {
        Self { reader, examiner, labels: examiner.labels() }
    }

    /// Brings the values of a record to their canonical form. A record that has been changed since it was read is read
    /// and judged anew.
    ///
    /// # Errors
    /// The API server goes on failing.
    pub async fn mend(&self, kind: CrmKind, mut object: Value) -> Result<Mended, ReadError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        for _ in 0..ATTEMPTS {
            if !object["metadata"]["deletionTimestamp"].is_null() {
                return Ok(Mended::Gone);
            }
            let now = record(&object);
            let changes = self.examiner.changes(kind, &now);
            if changes.is_empty() {
                return Ok(Mended::Stored { object, values: 0 });
            }
            match self.write(kind, &name, &object, &conditional(&object, &now, &changes)).await? {
                Attempt::Written(object) => {
                    return Ok(Mended::Stored { object, values: changes.len() as u64 });
                }
                Attempt::Refused(reason) => return Ok(Mended::Not(NotMended { kind, name, reason })),
                Attempt::Outdated(Some(fresh)) => object = fresh,
                Attempt::Outdated(None) => return Ok(Mended::Gone),
            }
        }
        let reason = "it was changed by others each time it was about to be written".to_owned();
        Ok(Mended::Not(NotMended { kind, name, reason }))
    }

    async fn write(
        &self,
        kind: CrmKind,
        name: &str,
        object: &Value,
        patch: &JsonPatch,
    ) -> Result<Attempt, ReadError> {
        let error = match patiently(|| self.patch(kind, name, patch)).await {
            Ok(object) => return Ok(Attempt::Written(object.into_value(&self.labels))),
            Err(error) => error,
        };
        let reason = match &error {
            ReadError::Failed(kube::Error::Api(status)) if !may_pass(&error) => status.message.clone(),
            _ => return Err(error),
        };
        // A test of a patch that fails is a 422 as much as a value that is refused. Only the record itself tells.
        if matches!(error.code(), Some(404 | 409 | 422)) {
            let now = stored(&self.reader, kind, name, &self.labels).await?;
            if now.as_ref().is_none_or(|now| version(now) != version(object)) {
                return Ok(Attempt::Outdated(now));
            }
        }
        Ok(Attempt::Refused(reason))
    }

    async fn patch(&self, kind: CrmKind, name: &str, patch: &JsonPatch) -> Result<Stored, ReadError> {
        let patch: Patch<()> = Patch::Json(patch.clone());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = Request::new(path(kind)).patch(name, &params, &patch)?;
        self.reader.read(request).await?.parse()
    }
}

/// The changes, on the condition that the record is the one that was judged.
fn conditional(object: &Value, record: &Record, changes: &[Change]) -> JsonPatch {
    let mut patch = patch::patch(record, changes);
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

/// What would be changed in a record, a line for each value: `Company/acme: spec.domains[0]: "Acme.com" -> "acme.com"`.
pub fn values(kind: CrmKind, name: &str, changes: &[Change]) -> String {
    let line = |change: &Change| {
        let before = match shown(change.rule, change.before.as_deref().unwrap_or_default()) {
            Shown::Text(text) => quote(&text),
            Shown::Nothing | Shown::Hidden => "\"\"".to_owned(),
        };
        let after = match (&change.after, change.effect) {
            (Some(after), _) => format!("-> {}", quote(after)),
            (None, Effect::DuplicateRemoved { first }) => {
                format!("removed, a duplicate of spec.domains[{first}]")
            }
            (None, _) => "removed".to_owned(),
        };
        format!("{}/{}: {}: {before} {after}\n", kind.as_str(), printable(name), change.field)
    };
    changes.iter().map(line).collect()
}
