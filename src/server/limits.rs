//! The limits of calls and of connections.

use std::time::Duration;

/// Limits for calls.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The maximum size of a body in bytes.
    pub body_bytes: usize,
    /// The memory of all requests together in bytes: their bodies as they arrive, and an estimate of the values parsed
    /// from them. When it is used up, a request of the peer that has most is dropped.
    pub memory_bytes: usize,
    /// How many requests are processed at the same time; a request counts once its body has arrived. At the limit, a
    /// request of the peer that has most is dropped, or else the new one gets a 503. Requests do not queue: one that
    /// waits past its deadline only delays the others.
    pub concurrent_requests: usize,
    /// How long a body may take at any speed.
    pub body_timeout: Duration,
    /// The average bytes per second that a body must reach if it takes longer.
    pub body_bytes_per_second: u32,
    /// The deadline of a request without a timeout.
    pub default_timeout: Duration,
    /// The maximum deadline.
    pub longest_timeout: Duration,
}

impl Default for Limits {
    /// 7 MiB hold two objects of the API server's maximum of 3 MiB and the rest of the review. The API server waits 10
    /// seconds for a webhook by default, and 30 at most.
    ///
    /// A usual review takes less than 100 KiB, so the memory is enough for all requests. Parsed values can take a
    /// hundred times as much memory as their JSON. Therefore `memory_bytes`, not `body_bytes`, determines how much
    /// memory the program needs.
    fn default() -> Self {
        Self {
            body_bytes: 7 * 1024 * 1024,
            memory_bytes: 64 * 1024 * 1024,
            concurrent_requests: 128,
            // An API server sends a body at once. Even 7 MiB over a bad network arrive within two seconds.
            body_timeout: Duration::from_secs(2),
            body_bytes_per_second: 1024 * 1024,
            default_timeout: Duration::from_secs(10),
            longest_timeout: Duration::from_secs(30),
        }
    }
}

/// Limits for the connections of a port.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// The maximum number of handshakes in progress.
    pub handshakes: usize,
    /// The maximum number of open connections after the handshake, including idle ones.
    pub connections: usize,
    /// How long a connection may be open without starting a request.
    pub first_request_timeout: Duration,
    /// How long the headers of a request may take.
    pub header_timeout: Duration,
    /// How long a connection may be idle after an answer.
    pub idle_timeout: Duration,
}

impl Default for ConnectionLimits {
    /// The limits of the webhook's port.
    fn default() -> Self {
        Self {
            // Together with the open connections, the admin port and our own connections to the API server, this
            // stays below the usual limit of 1024 open files.
            handshakes: 128,
            // Enough for several API servers and all reviews at the same time.
            connections: 512,
            first_request_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(120),
        }
    }
}
