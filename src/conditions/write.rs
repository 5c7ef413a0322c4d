//! Reads one record and writes its condition.

use std::time::Duration;

use crm_core::api::CrmKind;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::records::Key;
use crate::audit::{COMPLIANT, Condition, Labels, Record, Stored, get, path};
use crate::cluster::{ReadError, Reader};

/// The name of the writer in `managedFields`.
const FIELD_MANAGER: &str = "crm-admission";
/// The time limit of one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The current state of a record; `None` if it does not exist.
///
/// # Errors
/// The API server denies the request or fails.
pub(super) async fn read(reader: &Reader, key: &Key, labels: &Labels) -> Result<Option<Record>, ReadError> {
    let stored = async { reader.read(get(key.kind, &key.name)?).await?.parse::<Stored>() };
    match within(stored).await {
        Ok(stored) => Ok(Some(stored.into_record(labels))),
        // Use the code: kube's `get_opt` checks the reason, which is missing for a kind that does not exist.
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the condition of a record, if the record is still the one that was judged. Returns the new state.
///
/// # Errors
/// The API server denies the request or fails. Status 409: the record has changed. Status 404: it is gone.
pub(super) async fn write(
    reader: &Reader,
    kind: CrmKind,
    record: &Record,
    condition: &Condition,
    labels: &Labels,
) -> Result<Record, ReadError> {
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(applied(kind, record, condition));
    let (path, name) = path(kind, record.name());
    let request = Request::new(path).patch_subresource("status", name, &parameters, &patch)?;
    let written = async { reader.read(request).await?.parse::<Stored>() };
    Ok(within(written).await?.into_record(labels))
}

/// What is applied: the condition, and which object in which state it is about. Other conditions have other owners.
fn applied(kind: CrmKind, record: &Record, condition: &Condition) -> Value {
    let resource = kind.resource();
    let mut entry = json!(condition);
    entry["type"] = COMPLIANT.into();
    json!({
        "apiVersion": format!("{}/{}", resource.group, resource.version),
        "kind": resource.kind,
        "metadata": {
            "name": record.name(),
            "uid": record.uid,
            "resourceVersion": record.object["metadata"]["resourceVersion"],
        },
        "status": {"conditions": [entry]},
    })
}

async fn within<T>(request: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    timeout(PATIENCE, request).await.unwrap_or(Err(ReadError::Late(PATIENCE)))
}
