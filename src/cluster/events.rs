//! Reads the events of one watch call, one at a time.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;

use futures::{AsyncBufRead, AsyncBufReadExt};
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use kube::Client;
use kube::api::WatchEvent;
use kube::core::Status;
use serde::de::DeserializeOwned;

use super::errors::chain;
use super::reading::{LARGEST, ReadError, append};
use crate::json;

/// The size of a buffer that is kept for the next event, in bytes. Usual metadata takes 1 to 2 KiB.
const KEPT: usize = 16 * 1024;

/// A watch call that has been answered.
///
/// It holds one event, as a line in a buffer that doubles. With metadata of the maximum size in etcd, 1.5 MiB, that takes
/// up to 3 MiB, until the event is read.
pub(super) struct Events<K> {
    body: Pin<Box<dyn AsyncBufRead + Send>>,
    /// The beginning of the next event, if only a part of it has arrived.
    line: Vec<u8>,
    kind: PhantomData<fn() -> K>,
}

impl<K: DeserializeOwned> Events<K> {
    /// Sends the request for a watch to the API server.
    ///
    /// # Errors
    /// The API server denies the call or cannot be reached.
    pub(super) async fn watch(
        client: &Client,
        mut request: http::Request<Vec<u8>>,
    ) -> Result<Self, ReadError> {
        // From 1.37, the API server compresses each event by itself, and kube's client reads only the first.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // Not `Api::watch`, which copies each event, limits no size, and passes over metadata as slowly as serde_json.
        let body = client.request_stream(request).await?;
        Ok(Self { body: Box::pin(body), line: Vec::new(), kind: PhantomData })
    }

    /// The next event; `None` if the call has ended. An event without its end is left out, since the next call has it.
    ///
    /// Nothing is lost if the caller stops waiting.
    ///
    /// # Errors
    /// The connection broke, or what the API server sent is not an event, or is too large.
    pub(super) async fn next(&mut self) -> Result<Option<WatchEvent<K>>, ReadError> {
        loop {
            let chunk = match self.body.fill_buf().await {
                Ok(chunk) => chunk,
                Err(error) if is_cut_off(&error) => return Ok(None),
                Err(error) => return Err(kube::Error::ReadEvents(error).into()),
            };
            if chunk.is_empty() {
                return Ok(None);
            }
            let (part, is_end) = match memchr::memchr(b'\n', chunk) {
                Some(end) => (chunk.get(..end).unwrap_or_default(), true),
                None => (chunk, false),
            };
            if self.line.len() + part.len() > LARGEST {
                return Err(ReadError::TooLarge);
            }
            let line = if is_end && self.line.is_empty() {
                // The usual case: the whole event has arrived at once, and is not copied.
                part
            } else {
                append(&mut self.line, part);
                &self.line
            };
            let event = is_end.then(|| parse(line));
            let length = part.len() + usize::from(is_end);
            self.body.consume_unpin(length);
            if let Some(event) = event {
                self.line.clear();
                self.line.shrink_to(KEPT);
                if let Some(event) = event? {
                    return Ok(Some(event));
                }
            }
        }
    }
}

/// The event of a line; `None` for an empty one.
fn parse<K: DeserializeOwned>(line: &[u8]) -> kube::Result<Option<WatchEvent<K>>> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    json::from_slice(line).map(Some).map_err(|error| match json::from_slice::<Status>(line) {
        // Whatever is between may answer so. Every field of a Status is optional, but an error has a code.
        Ok(status) if status.code > 0 => kube::Error::Api(status.boxed()),
        _ => kube::Error::SerdeError(error),
    })
}

/// Whether the connection ended within the answer. That is how a watch ends if a proxy or a restart of the API server ends
/// it.
fn is_cut_off(error: &io::Error) -> bool {
    chain(error)
        .iter()
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}
