//! The requests of the load. `tests/support/http.rs` sends them.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use crate::support::http::{Connection, Place, trust};

/// The placeholder for a number with the same number of digits.
pub(crate) const SLOT: &str = "@@@@@@@@";

/// The numbers for the slot of a request.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// Increasing, so that none repeats.
    Rising,
    /// Below the limit, in an order that the processor's cache cannot predict.
    Scattered(u64),
}

/// A request, ready to be sent.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    slot: Option<usize>,
    numbers: Numbers,
    next: AtomicU64,
    /// The expected status of the answer.
    pub(crate) status: u16,
}

impl Template {
    pub(crate) fn post(path: &str, headers: &str, body: &str, numbers: Numbers, status: u16) -> Self {
        let head =
            format!("{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::new(&format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}{body}"), numbers, status)
    }

    /// A request for only the metadata of objects, like those of the webhooks.
    pub(crate) fn get(path: &str, numbers: Numbers, status: u16) -> Self {
        let accept = "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        Self::new(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{accept}\r\n\r\n"), numbers, status)
    }

    fn new(text: &str, numbers: Numbers, status: u16) -> Self {
        let (slot, bytes) = (text.find(SLOT), text.as_bytes().to_vec());
        Self { bytes, slot, numbers, next: AtomicU64::new(0), status }
    }

    /// Writes the request, with the next number in its slot.
    pub(crate) fn fill(&self, request: &mut Vec<u8>) {
        request.clear();
        request.extend_from_slice(&self.bytes);
        let Some(slot) = self.slot else { return };
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let mut number = match self.numbers {
            Numbers::Rising => next,
            // Knuth's multiplicative hash.
            Numbers::Scattered(limit) => next.wrapping_mul(2_654_435_761) % limit,
        };
        for digit in request[slot..slot + SLOT.len()].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap();
            number /= 10;
        }
    }
}
