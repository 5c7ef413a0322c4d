//! Reads one answer of the API server, limited by its size and by a budget for all answers.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::AsyncBufReadExt;
use kube::Client;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::RequestError;
use crate::json;

/// The maximum size of an answer in bytes. The API server accepts requests of up to 3 MiB, and etcd stores 1.5 MiB, so
/// any single object fits twice. A page of a list that is too large is requested again with fewer objects.
pub(super) const LARGEST: usize = 8 * 1024 * 1024;

/// How many answers larger than [`SMALL`] are read at the same time. Two, so that a slow list does not block everything
/// else; not more, because they count against the memory of a container: 16 MiB of the shipped 256.
const LARGE_AT_A_TIME: usize = 2;

/// Up to this size, an answer does not wait for others. The metadata of a usual object takes 1 to 2 KiB, so a usual
/// lookup never waits, and the lookups of all reviews together take no more than one large answer.
const SMALL: usize = 16 * 1024;

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The answer is too large.
    #[error("the answer of the API server is larger than {} MiB", LARGEST / (1024 * 1024))]
    TooLarge,
    /// A list contains an object that is too large by itself.
    #[error("an object of the kind {kind} is larger than {} MiB", LARGEST / (1024 * 1024))]
    ObjectTooLarge {
        /// The kind of the list.
        kind: String,
    },
    /// The answer did not arrive in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The API server or the connection to it failed, or the answer is not of the expected type.
    #[error("{0}")]
    Failed(#[source] RequestError),
}

impl ReadError {
    /// The status of the API server's error, if it answered with one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Failed(error) => error.code(),
            _ => None,
        }
    }
}

impl From<kube::Error> for ReadError {
    fn from(error: kube::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<kube::core::request::Error> for ReadError {
    fn from(error: kube::core::request::Error) -> Self {
        kube::Error::BuildRequest(error).into()
    }
}

/// The memory budget of all answers of the API server. Clones share it.
///
/// `serve` has one for everything that reviews may wait for, and one for the conditions controller, so that no review
/// waits for its lists. Each command creates its own.
#[derive(Clone, Debug)]
pub struct ReadBudget {
    held: Arc<AtomicUsize>,
    slots: Arc<Semaphore>,
}

impl Default for ReadBudget {
    fn default() -> Self {
        Self { held: Arc::default(), slots: Arc::new(Semaphore::new(LARGE_AT_A_TIME)) }
    }
}

impl ReadBudget {
    /// A budget for background work, which reads one large answer at a time.
    pub fn for_background() -> Self {
        Self { held: Arc::default(), slots: Arc::new(Semaphore::new(1)) }
    }

    /// The number of bytes in use.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn claim(&self) -> Claim {
        Claim { budget: self.clone(), bytes: 0, slot: None }
    }
}

/// A part of the budget; dropping it releases it.
///
/// A claim of more than 16 KiB waits for one of two slots, in order of arrival. A slot covers the maximum of one claim,
/// so a claim with a slot never waits again, and no two can deadlock. Waiting takes no memory, because unread data
/// stays at the API server. The caller limits the time.
#[derive(Debug)]
pub struct Claim {
    budget: ReadBudget,
    bytes: usize,
    slot: Option<OwnedSemaphorePermit>,
}

impl Claim {
    /// Adds bytes.
    ///
    /// # Errors
    /// The claim would exceed the maximum.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), ReadError> {
        let total = self.bytes.saturating_add(bytes);
        if total > LARGEST {
            return Err(ReadError::TooLarge);
        }
        if total > SMALL && self.slot.is_none() {
            // It fails only if the semaphore is closed, which never happens.
            self.slot = Arc::clone(&self.budget.slots).acquire_owned().await.ok();
        }
        self.bytes = total;
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The body of an answer. It counts against the budget until it is dropped, so parse it and drop it.
#[derive(Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    _claim: Claim,
}

impl Answer {
    /// The length in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Parses the body.
    ///
    /// # Errors
    /// The body is not JSON of the expected type.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ReadError> {
        Ok(json::from_slice(&self.bytes).map_err(kube::Error::SerdeError)?)
    }
}

/// A client of an API server, with a budget for its answers.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    budget: ReadBudget,
}

impl Reader {
    /// `client` with its own budget, for commands.
    pub fn new(client: Client) -> Self {
        Self::within(client, ReadBudget::default())
    }

    /// `client` with a shared budget.
    pub fn within(client: Client, budget: ReadBudget) -> Self {
        Self { client, budget }
    }

    /// The client, for requests without these bounds.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A claim for a request that is large itself, and then for its answer.
    pub fn claim(&self) -> Claim {
        self.budget.claim()
    }

    /// Sends a request and reads the answer as it arrives. Stops reading if it is too large.
    ///
    /// # Errors
    /// The API server denies the request or cannot be reached, or the answer is too large.
    pub async fn read(&self, request: http::Request<Vec<u8>>) -> Result<Answer, ReadError> {
        self.read_under(self.claim(), request).await
    }

    /// Like [`Reader::read`], with an existing claim.
    ///
    /// # Errors
    /// The same as those of [`Reader::read`].
    pub async fn read_under(
        &self,
        mut claim: Claim,
        request: http::Request<Vec<u8>>,
    ) -> Result<Answer, ReadError> {
        // Not `Client::request`, which holds an answer three times, whatever its size. kube itself reads the body of an
        // error, which the API server keeps short.
        let mut body = pin!(self.client.request_stream(request).await?);
        let mut bytes = Vec::new();
        loop {
            let chunk = body.fill_buf().await.map_err(broken)?;
            if chunk.is_empty() {
                return Ok(Answer { bytes, _claim: claim });
            }
            claim.grow(chunk.len()).await?;
            append(&mut bytes, chunk);
            let length = chunk.len();
            body.consume_unpin(length);
        }
    }
}

/// Appends `more`. The buffer doubles, up to the maximum size of an answer.
pub(super) fn append(bytes: &mut Vec<u8>, more: &[u8]) {
    let needed = bytes.len() + more.len();
    if needed > bytes.capacity() {
        let room = (bytes.capacity() * 2).min(LARGEST).max(needed);
        bytes.reserve_exact(room - bytes.len());
    }
    bytes.extend_from_slice(more);
}

/// The error of an incomplete answer, in the form that kube uses.
fn broken(error: io::Error) -> kube::Error {
    error.downcast().unwrap_or_else(|error| kube::Error::Service(Box::new(error)))
}
