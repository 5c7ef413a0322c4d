//! Reads one answer of the API server into memory, up to a size, and within what all answers together may take.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::AsyncBufReadExt;
use kube::Client;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most that one answer may take, in bytes. The API server takes requests of up to 3 MiB, and etcd stores 1.5 MiB,
/// so any single object fits more than twice. A page of a list is asked for again with fewer objects.
pub(super) const LARGEST: usize = 8 * 1024 * 1024;

/// How many answers may be larger than [`SMALL`] at a time. Two, so that a list that takes its time does not hold up
/// everything else; not more, since they count against the memory of a container: 16 MiB of the shipped 256.
const LARGE_AT_A_TIME: usize = 2;

/// Up to this size an answer does not wait for others. The metadata of a usual object takes 1 to 2 KiB, so that a usual
/// look-up never waits, and those of all reviews at a time take no more than one large answer.
const SMALL: usize = 16 * 1024;

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is larger than any answer may be.
    #[error("the answer of the API server is larger than {} MiB", LARGEST / (1024 * 1024))]
    TooLarge,
    /// A list holds an object that is larger by itself.
    #[error("an object of the kind {kind} is larger than {} MiB", LARGEST / (1024 * 1024))]
    ObjectTooLarge {
        /// The kind, as the list calls it.
        kind: String,
    },
    /// It did not come in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The API server, or the way to it, failed; or the answer is not what was asked for.
    #[error(transparent)]
    Failed(#[from] kube::Error),
}

impl ReadError {
    /// The status with which the API server refused, where it did.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Failed(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

impl From<kube::core::request::Error> for ReadError {
    fn from(error: kube::core::request::Error) -> Self {
        Self::Failed(kube::Error::BuildRequest(error))
    }
}

/// What the answers of the API server take together. A clone is a share in the same budget.
///
/// A process has one: `serve` hands it to all who read, and each command makes its own.
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
    /// How many bytes are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn claim(&self) -> Claim {
        Claim { budget: self.clone(), bytes: 0, slot: None }
    }
}

/// A share of the budget; dropping it gives it back.
///
/// A claim of more than 16 KiB waits for one of two slots, first come first served. A slot covers all that one claim may
/// ever take, so whoever has one never waits again, and no two can wait for each other. Waiting takes no memory: what has
/// not been read stays with the API server. The caller decides how long to wait.
#[derive(Debug)]
pub struct Claim {
    budget: ReadBudget,
    bytes: usize,
    slot: Option<OwnedSemaphorePermit>,
}

impl Claim {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// It is more than any claim may take.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), ReadError> {
        let total = self.bytes.saturating_add(bytes);
        if total > LARGEST {
            return Err(ReadError::TooLarge);
        }
        if total > SMALL && self.slot.is_none() {
            // It fails only where the semaphore is closed, which nobody does.
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

/// The text of an answer. It counts against the budget until it is dropped, so parse it and let it go.
#[derive(Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    _claim: Claim,
}

impl Answer {
    /// How long the text is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the text says.
    ///
    /// # Errors
    /// It is not JSON, or not what was asked for.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ReadError> {
        Ok(serde_json::from_slice(&self.bytes).map_err(kube::Error::SerdeError)?)
    }
}

/// The way to an API server, with the budget for what it answers.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    budget: ReadBudget,
}

impl Reader {
    /// `client` with a budget of its own, as a command has it.
    pub fn new(client: Client) -> Self {
        Self::within(client, ReadBudget::default())
    }

    /// `client` within a budget that others share.
    pub fn within(client: Client, budget: ReadBudget) -> Self {
        Self { client, budget }
    }

    /// The client, for what is not read here.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A claim for a question that is large itself, and then for its answer.
    pub fn claim(&self) -> Claim {
        self.budget.claim()
    }

    /// Asks, and reads the answer as it comes. One that is too large is not read any further.
    ///
    /// # Errors
    /// The API server refuses or cannot be reached, or the answer is too large.
    pub async fn read(&self, request: http::Request<Vec<u8>>) -> Result<Answer, ReadError> {
        self.read_under(self.claim(), request).await
    }

    /// Like [`Reader::read`], under a claim that has been made.
    ///
    /// # Errors
    /// As those of [`Reader::read`].
    pub async fn read_under(
        &self,
        mut claim: Claim,
        request: http::Request<Vec<u8>>,
    ) -> Result<Answer, ReadError> {
        // Not `Client::request`: that one holds an answer three times, whatever its size. kube reads the text of a
        // refusal by itself, which the API server keeps short.
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

/// Appends `more`. The room grows by doubling, and never beyond the largest answer.
fn append(bytes: &mut Vec<u8>, more: &[u8]) {
    let needed = bytes.len() + more.len();
    if needed > bytes.capacity() {
        let room = (bytes.capacity() * 2).min(LARGEST).max(needed);
        bytes.reserve_exact(room - bytes.len());
    }
    bytes.extend_from_slice(more);
}

/// The error of an answer that broke off, as kube has it of answers that it reads itself.
fn broken(error: io::Error) -> kube::Error {
    error.downcast().unwrap_or_else(|error| kube::Error::Service(Box::new(error)))
}
