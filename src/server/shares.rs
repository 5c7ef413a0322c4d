//! Shares request places and memory among callers. When they run out, a request of the caller that has most is dropped.
//!
//! Callers are distinguished by address. While there is enough for all, no caller has a limit of its own, because all
//! API servers may have the same address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a request waits until others have been dropped. They are dropped when they are next polled, which is at
/// once unless the processor is busy.
const PATIENCE: Duration = Duration::from_secs(1);

/// The places and the memory of all requests.
#[derive(Debug)]
pub(super) struct Shares {
    places: usize,
    bytes: usize,
    table: Mutex<Table>,
    /// Notified when something is released.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    requests: HashMap<u64, Request>,
    total: Held,
}

/// What a request, a peer, or all hold.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    places: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Request {
    peer: IpAddr,
    held: Held,
    /// `None` after the request was told to give way.
    give_way: Option<Arc<Notify>>,
}

/// What has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// Places for requests in progress.
    Places,
    /// Memory.
    Bytes,
}

impl Held {
    fn of(self, what: Short) -> usize {
        match what {
            Short::Places => self.places,
            Short::Bytes => self.bytes,
        }
    }

    fn of_mut(&mut self, what: Short) -> &mut usize {
        match what {
            Short::Places => &mut self.places,
            Short::Bytes => &mut self.bytes,
        }
    }
}

/// What one request holds. Dropping it releases everything.
#[derive(Debug)]
pub(super) struct Share<'a> {
    shares: &'a Shares,
    id: u64,
    peer: IpAddr,
    give_way: Arc<Notify>,
}

impl Shares {
    /// Limits for all requests together.
    pub(super) fn new(places: usize, bytes: usize) -> Self {
        Self { places, bytes, table: Mutex::default(), freed: Notify::new() }
    }

    /// A new share for a request of this peer. It holds nothing yet.
    pub(super) fn enter(&self, peer: IpAddr) -> Share<'_> {
        let give_way = Arc::new(Notify::new());
        let mut table = self.table();
        let id = table.next;
        table.next += 1;
        let request = Request { peer, held: Held::default(), give_way: Some(Arc::clone(&give_way)) };
        table.requests.insert(id, request);
        Share { shares: self, id, peer, give_way }
    }

    fn capacity(&self, what: Short) -> usize {
        match what {
            Short::Places => self.places,
            Short::Bytes => self.bytes,
        }
    }

    /// Nothing under the lock can panic, so a poisoned table is consistent.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share<'_> {
    /// Takes more. If there is not enough, and another peer has more than this one would have, requests of that peer
    /// are told to give way, and this waits for them.
    ///
    /// # Errors
    /// This peer has most itself, or no request gave way in time.
    pub(super) async fn take(&self, what: Short, amount: usize) -> Result<(), Short> {
        if self.take_now(what, amount) {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Enabled before the table is read; otherwise a release in between would be missed.
            let freed = self.shares.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.take_now(what, amount) {
                return Ok(());
            }
            if !self.demand(what, amount) {
                return Err(what);
            }
            timeout_at(deadline, freed).await.map_err(|_| what)?;
        }
    }

    /// Resolves when this request must give way. The caller should then drop it.
    pub(super) async fn has_to_give_way(&self) {
        self.give_way.notified().await;
    }

    fn take_now(&self, what: Short, amount: usize) -> bool {
        let capacity = self.shares.capacity(what);
        let mut table = self.shares.table();
        if amount > capacity.saturating_sub(table.total.of(what)) {
            return false;
        }
        *table.total.of_mut(what) += amount;
        if let Some(request) = table.requests.get_mut(&self.id) {
            *request.held.of_mut(what) += amount;
        }
        true
    }

    /// Tells requests of the peer that has most to give way, until enough will be released. Returns false if waiting is
    /// useless because this peer would have most itself.
    fn demand(&self, what: Short, amount: usize) -> bool {
        let capacity = self.shares.capacity(what);
        let mut table = self.shares.table();
        let free = capacity.saturating_sub(table.total.of(what));
        // Requests that were told before will release theirs soon.
        let leaving = table.leaving(what);
        let mut missing = amount.saturating_sub(free + leaving);
        while missing > 0 {
            let by_peer = table.by_peer(what);
            let own = by_peer.get(&self.peer).copied().unwrap_or_default();
            let Some((peer, most)) = by_peer.into_iter().max_by_key(|(_, held)| *held) else { return false };
            if peer == self.peer || most <= own + amount {
                return false;
            }
            let Some(freed) = table.give_way(peer, what) else { return false };
            missing = missing.saturating_sub(freed);
        }
        true
    }
}

impl Table {
    /// What requests hold that were told to give way and still exist.
    fn leaving(&self, what: Short) -> usize {
        let leaving = self.requests.values().filter(|request| request.give_way.is_none());
        leaving.map(|request| request.held.of(what)).sum()
    }

    /// What each peer holds, without requests that were told to give way.
    fn by_peer(&self, what: Short) -> HashMap<IpAddr, usize> {
        let mut by_peer = HashMap::new();
        for request in self.requests.values().filter(|request| request.give_way.is_some()) {
            *by_peer.entry(request.peer).or_default() += request.held.of(what);
        }
        by_peer
    }

    /// Tells the request of `peer` that holds most, the oldest of equals, to give way. Returns how much it holds.
    fn give_way(&mut self, peer: IpAddr, what: Short) -> Option<usize> {
        let staying = self.requests.iter_mut().filter(|(_, request)| {
            request.peer == peer && request.give_way.is_some() && request.held.of(what) > 0
        });
        let (_, request) =
            staying.max_by_key(|(id, request)| (request.held.of(what), std::cmp::Reverse(**id)))?;
        request.give_way.take()?.notify_one();
        Some(request.held.of(what))
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut table = self.shares.table();
        if let Some(Request { held, .. }) = table.requests.remove(&self.id) {
            table.total.places = table.total.places.saturating_sub(held.places);
            table.total.bytes = table.total.bytes.saturating_sub(held.bytes);
        }
        drop(table);
        self.shares.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::pin;

    use futures::poll;

    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from(Ipv4Addr::new(192, 0, 2, last))
    }

    async fn holding(shares: &Shares, last: u8, bytes: usize) -> Share<'_> {
        let share = shares.enter(peer(last));
        share.take(Short::Bytes, bytes).await.unwrap();
        share
    }

    fn must_go(share: &Share<'_>) -> bool {
        let mut told = pin!(share.has_to_give_way());
        futures::FutureExt::now_or_never(&mut told).is_some()
    }

    #[tokio::test]
    async fn one_peer_may_use_everything_while_others_need_nothing() {
        let shares = Shares::new(2, 10);
        let all = holding(&shares, 1, 10).await;
        all.take(Short::Places, 2).await.unwrap();
        assert!(!must_go(&all));
    }

    #[tokio::test]
    async fn the_peer_that_has_most_is_denied_more_at_once() {
        let shares = Shares::new(1, 10);
        let (first, second) = (holding(&shares, 1, 6).await, shares.enter(peer(1)));
        assert_eq!(second.take(Short::Bytes, 5).await, Err(Short::Bytes));
        assert!(!must_go(&first), "no other peer needs anything");
        second.take(Short::Bytes, 4).await.unwrap();
    }

    #[tokio::test]
    async fn the_peer_that_has_most_gives_way_to_another_peer() {
        let shares = Shares::new(1, 10);
        let (small, large) = (holding(&shares, 1, 4).await, holding(&shares, 1, 6).await);
        let newcomer = shares.enter(peer(2));
        let mut taking = Box::pin(newcomer.take(Short::Bytes, 3));
        assert!(poll!(&mut taking).is_pending());
        assert!(must_go(&large), "the largest request of the peer that has most");
        assert!(!must_go(&small), "one is enough");
        drop(large);
        assert_eq!(taking.await, Ok(()));
    }

    #[tokio::test]
    async fn of_equal_requests_the_oldest_gives_way() {
        let shares = Shares::new(2, 10);
        let requests = [shares.enter(peer(1)), shares.enter(peer(1))];
        for request in &requests {
            request.take(Short::Places, 1).await.unwrap();
        }
        let newcomer = shares.enter(peer(2));
        let mut taking = Box::pin(newcomer.take(Short::Places, 1));
        assert!(poll!(&mut taking).is_pending());
        assert_eq!(requests.each_ref().map(must_go), [true, false]);
    }

    #[tokio::test]
    async fn no_request_gives_way_to_a_peer_that_would_then_have_most() {
        let shares = Shares::new(1, 10);
        let first = holding(&shares, 1, 5).await;
        let second = holding(&shares, 2, 4).await;
        assert_eq!(second.take(Short::Bytes, 2).await, Err(Short::Bytes));
        assert!(!must_go(&first));
    }

    #[tokio::test]
    async fn several_requests_give_way_if_one_is_not_enough() {
        let shares = Shares::new(1, 12);
        let held = [holding(&shares, 1, 4).await, holding(&shares, 1, 4).await, holding(&shares, 1, 4).await];
        let newcomers = [shares.enter(peer(2)), shares.enter(peer(3))];
        let mut first = Box::pin(newcomers[0].take(Short::Bytes, 5));
        let mut second = Box::pin(newcomers[1].take(Short::Bytes, 3));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        assert_eq!(held.each_ref().map(must_go), [true, true, false], "8 is enough for 5 and 3");
        drop(held);
        assert_eq!((first.await, second.await), (Ok(()), Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_request_to_give_way_has_a_limit() {
        let shares = Shares::new(1, 10);
        let _stays = holding(&shares, 1, 10).await;
        let newcomer = shares.enter(peer(2));
        let begin = Instant::now();
        assert_eq!(newcomer.take(Short::Bytes, 1).await, Err(Short::Bytes));
        assert_eq!(begin.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn everything_is_released_at_the_end() {
        let shares = Shares::new(3, 10);
        for _ in 0..3 {
            let share = holding(&shares, 1, 10).await;
            share.take(Short::Places, 3).await.unwrap();
        }
        let table = shares.table();
        assert!(table.requests.is_empty());
        assert_eq!((table.total.places, table.total.bytes), (0, 0));
    }
}
