//! Attacks with slow, incomplete, large and heavy bodies, with answers that nobody reads, and with expensive policies.

use std::ops::Range;
use std::sync::Arc;

use crate::honest::CALLER;
use crate::outcome::{besiege, besiege_for, time};
use crate::program::Program;
use crate::requests;
use crate::support::http::{Connection, Place};
use crate::swarm::{Attack, Swarm, ask, ask_without_reading, hold, trickle};

/// A little less than a tenth of the 64 MiB that all bodies may take. Ten of these leave no room for an honest review.
const LARGE: usize = (64 << 20) / 10 - 100;
/// The maximum number of objects in a body is in this range. The search for it stops at this precision.
const OBJECTS: Range<usize> = 1_000..200_000;
const EXACTLY: usize = 8;
/// The maximum number of domains that are checked one by one.
const DOMAINS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_arrive_byte_by_byte_block_nobody() {
    besiege("slow-bodies", |program| {
        let words = vec![requests::head(1000).into_bytes().into()];
        Attack { words, ..Attack::silent(program.webhook(), 200, 100) }
            .start(|connection, words| trickle(connection, words, b" "))
    })
    .await;
}

/// Sends large bodies at full speed and holds back the last byte.
fn holding_back(program: &Program, connections: usize) -> Swarm {
    let request = requests::post(&requests::long(LARGE));
    let words = vec![request[..request.len() - 1].into()];
    Attack { words, ..Attack::silent(program.webhook(), connections, 10) }.start(hold)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_large_bodies_without_their_last_byte_take_no_memory_from_others() {
    besiege("large-bodies-10", |program| holding_back(program, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_large_bodies_without_their_last_byte_take_no_memory_from_others() {
    besiege("large-bodies-20", |program| holding_back(program, 20)).await;
}

/// The heaviest review that the program accepts, found as an attacker would. It leaves no memory for another one.
async fn heaviest(place: &Place) -> Arc<[u8]> {
    let mut range = OBJECTS;
    while range.len() > EXACTLY {
        let middle = range.start + range.len() / 2;
        let mut connection = Connection::open_from(CALLER, place).await.expect("a connection");
        let request = requests::post(&requests::heavy(middle));
        match connection.call(&request).await.expect("an answer").status {
            413 => range.end = middle,
            200 => range.start = middle,
            status => panic!("status {status}"),
        }
    }
    requests::post(&requests::heavy(range.start))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_many_small_objects_take_no_memory_from_others() {
    let heaviest = heaviest(&Program::start().webhook()).await;
    besiege("heavy-bodies", |program| {
        Attack { words: vec![heaviest], ..Attack::silent(program.webhook(), 8, 4) }.start(ask)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_take_no_memory_from_others() {
    // At a higher rate, a program without optimization would be busy with the bodies. So this takes longer.
    besiege_for(2 * time(), "unread-answers", |program| {
        let words = vec![requests::post(&requests::denied(DOMAINS))];
        Attack { words, ..Attack::silent(program.webhook(), 200, 14) }.start(ask_without_reading)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_take_long_to_compile_block_nobody() {
    besiege("expensive-policies", |program| {
        let words = vec![requests::post(&requests::expensive_policy())];
        Attack { words, ..Attack::silent(program.webhook(), 100, 50) }.start(ask)
    })
    .await;
}
