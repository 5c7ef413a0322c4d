//! The time limits of a single connection, while nobody attacks: handshake, first request, headers, body, idle time.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::honest::CALLER;
use crate::program::Program;
use crate::requests;
use crate::support::http::{Connection, Place};
use crate::support::pki::Authority;

/// Longer than any of these limits.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often a slow client sends something.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a connection is idle after a request. The API server keeps connections for 90 seconds, which is too long
/// for a test.
const IDLE: Duration = Duration::from_secs(15);
/// At twice the minimum rate, this takes three seconds.
const LARGE: usize = 6 << 20;
/// How many bytes are sent at a time.
const PIECE: usize = 32 << 10;
/// How long a changed client CA may take to have an effect. Files are read every ten seconds.
const REREAD: Duration = Duration::from_secs(16);

async fn open(place: &Place) -> Connection {
    Connection::open_from(CALLER, place).await.expect("a connection")
}

/// Sends `words` on a new connection, and then `more` now and then. Returns the seconds until the server closes it.
async fn seconds_until_closed(place: &Place, words: &str, more: Option<&str>) -> f64 {
    let mut connection = open(place).await;
    let start = Instant::now();
    connection.send(words.as_bytes()).await.expect("an open connection");
    let end = async {
        while timeout(PAUSE, connection.closed()).await.is_err() {
            let Some(more) = more else { continue };
            if connection.send(more.as_bytes()).await.is_err() {
                break;
            }
        }
    };
    timeout(PATIENCE, end).await.expect("the end of the connection");
    start.elapsed().as_secs_f64()
}

#[track_caller]
fn is_within(seconds: f64, range: RangeInclusive<f64>) {
    assert!(range.contains(&seconds), "{seconds:.1} s, and not {range:?}");
}

#[tokio::test]
async fn a_silent_socket_is_closed_after_three_seconds() {
    let program = Program::start();
    is_within(seconds_until_closed(&program.webhook_socket(), "", None).await, 2.5..=5.0);
}

#[tokio::test]
async fn with_a_client_ca_a_silent_socket_is_closed_after_three_seconds() {
    let program = Program::start_for(&Authority::create("callers"));
    is_within(seconds_until_closed(&program.webhook_socket(), "", None).await, 2.5..=5.0);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_ten_seconds() {
    let program = Program::start();
    is_within(seconds_until_closed(&program.webhook(), "", None).await, 9.0..=13.0);
}

#[tokio::test]
async fn endless_headers_are_rejected_after_three_seconds() {
    let program = Program::start();
    let seconds =
        seconds_until_closed(&program.webhook(), "POST /mutate HTTP/1.1\r\n", Some("X-More: to come\r\n"))
            .await;
    is_within(seconds, 2.5..=5.0);
}

#[tokio::test]
async fn endless_headers_are_rejected_on_a_kept_connection_too() {
    let program = Program::start();
    let place = program.webhook();
    let mut connection = open(&place).await;
    let [request, _] = requests::honest();
    assert_eq!(connection.call(&request).await.expect("an answer").status, 200);
    connection.send(b"POST /mutate HTTP/1.1\r\n").await.expect("an open connection");
    let start = Instant::now();
    timeout(PATIENCE, connection.closed()).await.expect("the end of the connection");
    is_within(start.elapsed().as_secs_f64(), 2.5..=5.0);
}

#[tokio::test]
async fn a_silent_admin_connection_is_closed_after_five_seconds() {
    let program = Program::start();
    is_within(seconds_until_closed(&program.admin(), "", None).await, 4.0..=7.0);
}

#[tokio::test]
async fn a_body_that_arrives_byte_by_byte_is_rejected_after_two_seconds() {
    let program = Program::start();
    let words = requests::head(1000);
    is_within(seconds_until_closed(&program.webhook(), &words, Some(" ")).await, 1.5..=4.0);
}

#[tokio::test]
async fn a_body_without_its_last_byte_is_rejected_after_two_seconds() {
    let program = Program::start();
    let request = requests::post(&requests::long(PIECE));
    let words = std::str::from_utf8(&request[..request.len() - 1]).expect("a text");
    is_within(seconds_until_closed(&program.webhook(), words, None).await, 1.5..=4.0);
}

/// Sends a body of this length at a rate in bytes per second, and returns the status of the answer.
async fn upload(length: usize, rate: usize) -> Result<u16, String> {
    let program = Program::start();
    let mut connection = open(&program.webhook()).await;
    let body = requests::long(length);
    connection.send(requests::head(body.len()).as_bytes()).await.expect("an open connection");
    let start = Instant::now();
    for (number, piece) in body.chunks(PIECE).enumerate() {
        sleep_until(start + Duration::from_secs_f64((number * PIECE) as f64 / rate as f64)).await;
        let sent = connection.send(piece).await;
        sent.map_err(|error| format!("given up after {:.1?}: {error}", start.elapsed()))?;
    }
    let answer = timeout(PATIENCE, connection.answer()).await.expect("an answer or an end");
    answer.map(|answer| answer.status).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_body_of_two_mebibytes_a_second_is_accepted() {
    assert_eq!(upload(LARGE, 2 << 20).await, Ok(200));
}

#[tokio::test]
async fn a_small_body_may_be_slow_for_a_second() {
    assert_eq!(upload(3 * PIECE, 2 * PIECE).await, Ok(200));
}

#[tokio::test]
async fn a_body_of_half_a_mebibyte_a_second_is_rejected() {
    let outcome = upload(LARGE, 1 << 19).await;
    assert!(outcome.as_ref().map_or(true, |status| *status == 408), "{outcome:?}");
}

#[tokio::test]
async fn a_connection_may_be_idle_after_a_request() {
    let program = Program::start();
    let mut connection = open(&program.webhook()).await;
    let [request, _] = requests::honest();
    assert_eq!(connection.call(&request).await.expect("an answer").status, 200);
    // The test is that nothing happens during this time.
    sleep(IDLE).await;
    assert_eq!(connection.call(&request).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_changed_client_ca_closes_the_connections_of_the_old_one() {
    let [old, new] = ["old callers", "new callers"].map(Authority::create);
    let program = Program::start_for(&old);
    let [request, _] = requests::honest();
    let [old_place, new_place] =
        [&old, &new].map(|authority| program.webhook_as(Some(&authority.client("kube-apiserver"))));
    let mut kept = open(&old_place).await;
    assert_eq!(kept.call(&request).await.expect("an answer").status, 200);

    program.change_clients(&new);
    timeout(REREAD, kept.closed()).await.expect("a connection that is closed");
    assert_eq!(open(&new_place).await.call(&request).await.expect("an answer").status, 200);
    let refused = async { Connection::open_from(CALLER, &old_place).await?.call(&request).await.map(drop) };
    refused.await.expect_err("a caller of the old CA is not accepted");
}
