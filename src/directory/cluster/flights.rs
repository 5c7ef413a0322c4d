//! Lets equal questions at the same time share one call.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

/// A call that has taken longer is not joined any more: it may never finish, and would block every new question while
/// somebody still waits for it.
const JOINABLE: Duration = Duration::from_secs(1);

type Call<A> = BoxFuture<'static, A>;

/// The calls in progress, by question.
///
/// The callers that wait for a call drive it. A caller that leaves at its own deadline does not affect the others; when
/// the last one leaves, the call is dropped.
///
/// A caller that joins gets the answer to an older question. Some answers may then be outdated: "missing" is wrong for
/// an object that was created just before the caller asked. A caller that gets such an answer from an older call asks
/// once more. All callers that joined the old call share the second one, which is newer than all their questions. So
/// any number of questions at the same time costs two calls, and nobody waits for more than two.
///
/// A call may have a progress `P`, which all its callers see, for those that leave before it finishes.
pub(super) struct Flights<K: Eq + Hash, A, P = ()> {
    board: Arc<Mutex<Board<K, A, P>>>,
}

struct Board<K, A, P> {
    clock: u64,
    flights: HashMap<K, Flight<A, P>>,
}

struct Flight<A, P> {
    departure: u64,
    since: Instant,
    call: WeakShared<Call<A>>,
    progress: P,
}

/// Removes a call from the board when it finishes or is dropped.
struct Landing<K: Eq + Hash, A, P> {
    board: Arc<Mutex<Board<K, A, P>>>,
    key: K,
    departure: u64,
}

/// Which answers are valid for a question that was asked after the call started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// The answer is valid for later questions too.
    Any,
    /// The answer is valid only for questions from before the call.
    FreshOnly,
}

impl<K, A, P> Flights<K, A, P>
where
    K: Clone + Eq + Hash + Send + 'static,
    A: Clone + Send + Sync + 'static,
    P: Clone + Send + 'static,
{
    pub(super) fn new() -> Self {
        Self { board: Arc::new(Mutex::new(Board { clock: 0, flights: HashMap::new() })) }
    }

    /// The answer to `key`, from `call` unless an equal call is in progress; `age` judges answers of such a call.
    /// `waits` gets the progress of each call.
    pub(super) async fn ask(
        &self,
        key: &K,
        call: impl Fn() -> (Call<A>, P),
        age: impl Fn(&A) -> Age,
        mut waits: impl FnMut(P),
    ) -> A {
        let arrival = lock(&self.board).tick();
        loop {
            let (departure, flight, progress) = self.join(key, &call);
            waits(progress);
            let answer = flight.await;
            if departure > arrival || age(&answer) == Age::Any {
                return answer;
            }
        }
    }

    /// When the call was started, the call, and its progress.
    fn join(&self, key: &K, call: impl Fn() -> (Call<A>, P)) -> (u64, Shared<Call<A>>, P) {
        let mut board = lock(&self.board);
        // The result of `upgrade` leaves this function. If it were dropped here as the last one, it would drop the
        // call, and its `Landing` would wait for the lock that is held here.
        if let Some(flight) = board.flights.get(key)
            && flight.since.elapsed() < JOINABLE
            && let Some(call) = flight.call.upgrade()
        {
            return (flight.departure, call, flight.progress.clone());
        }
        let (call, progress) = call();
        let departure = board.tick();
        let landing = Landing { board: self.board.clone(), key: key.clone(), departure };
        let call = async move {
            let _landing = landing;
            call.await
        };
        let call = call.boxed().shared();
        if let Some(weak) = call.downgrade() {
            let flight = Flight { departure, since: Instant::now(), call: weak, progress: progress.clone() };
            board.flights.insert(key.clone(), flight);
        }
        (departure, call, progress)
    }
}

impl<K, A, P> Board<K, A, P> {
    /// A time later than all before.
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl<K: Eq + Hash, A, P> Drop for Landing<K, A, P> {
    fn drop(&mut self) {
        let mut board = lock(&self.board);
        if board.flights.get(&self.key).is_some_and(|flight| flight.departure == self.departure) {
            board.flights.remove(&self.key);
        }
    }
}

/// Nothing under the lock can panic, so a poisoned board is consistent.
fn lock<K, A, P>(board: &Mutex<Board<K, A, P>>) -> MutexGuard<'_, Board<K, A, P>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;

    use futures::future::join_all;
    use futures::poll;
    use tokio::sync::oneshot;
    use tokio::time::{advance, timeout};

    use super::*;

    /// Calls that are answered by hand, in the order in which they were made.
    #[derive(Default)]
    struct Calls(RefCell<Vec<Option<oneshot::Sender<u32>>>>);

    impl Calls {
        fn make(&self) -> Call<u32> {
            let (answer, call) = oneshot::channel();
            self.0.borrow_mut().push(Some(answer));
            async move { call.await.unwrap_or(u32::MAX) }.boxed()
        }

        fn answer(&self, call: usize, answer: u32) {
            self.0.borrow_mut()[call].take().unwrap().send(answer).unwrap();
        }

        fn made(&self) -> usize {
            self.0.borrow().len()
        }

        fn is_abandoned(&self, call: usize) -> bool {
            self.0.borrow()[call].as_ref().unwrap().is_closed()
        }
    }

    /// Zero must be fresh.
    fn age(answer: &u32) -> Age {
        if *answer == 0 { Age::FreshOnly } else { Age::Any }
    }

    async fn ask(flights: &Flights<&'static str, u32>, calls: &Calls, key: &'static str) -> u32 {
        flights.ask(&key, || (calls.make(), ()), age, |()| {}).await
    }

    #[tokio::test]
    async fn only_equal_questions_share_a_call() {
        let (flights, calls) = (Flights::new(), Calls::default());
        let mut asking = pin!(join_all(["a", "a", "b", "a"].map(|key| ask(&flights, &calls, key))));
        assert!(poll!(&mut asking).is_pending());
        assert_eq!(calls.made(), 2);
        calls.answer(0, 1);
        calls.answer(1, 2);
        assert_eq!(asking.await, [1, 1, 2, 1]);
        assert!(lock(&flights.board).flights.is_empty());
    }

    #[tokio::test]
    async fn a_finished_call_is_not_joined() {
        let (flights, calls) = (Flights::new(), Calls::default());
        for answer in [1, 2] {
            let mut asking = pin!(ask(&flights, &calls, "a"));
            assert!(poll!(&mut asking).is_pending());
            calls.answer(calls.made() - 1, answer);
            assert_eq!(asking.await, answer);
        }
    }

    #[tokio::test]
    async fn callers_that_join_an_older_call_share_a_second_call_for_a_fresh_answer() {
        let (flights, calls) = (Flights::new(), Calls::default());
        let mut asking = pin!(join_all((0..64).map(|_| ask(&flights, &calls, "a"))));
        assert!(poll!(&mut asking).is_pending());
        calls.answer(0, 0);
        assert!(poll!(&mut asking).is_pending());
        assert_eq!(calls.made(), 2);
        calls.answer(1, 7);
        let answers = asking.await;
        assert_eq!(answers[0], 0, "the caller that started the call uses its answer");
        assert!(answers[1..].iter().all(|answer| *answer == 7));
        assert_eq!(calls.made(), 2);
    }

    #[tokio::test]
    async fn a_fresh_answer_is_always_used() {
        let (flights, calls) = (Flights::new(), Calls::default());
        let mut asking = pin!(join_all((0..3).map(|_| ask(&flights, &calls, "a"))));
        for call in 0..2 {
            assert!(poll!(&mut asking).is_pending());
            calls.answer(call, 0);
        }
        assert_eq!(asking.await, [0, 0, 0]);
        assert_eq!(calls.made(), 2);
    }

    #[tokio::test]
    async fn a_caller_that_leaves_early_does_not_stop_the_call() {
        let (flights, calls) = (Flights::new(), Calls::default());
        let mut first = Box::pin(ask(&flights, &calls, "a"));
        let mut second = pin!(ask(&flights, &calls, "a"));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        drop(first);
        assert!(!calls.is_abandoned(0));
        calls.answer(0, 3);
        assert_eq!(second.await, 3);
        assert_eq!(calls.made(), 1);
    }

    #[tokio::test]
    async fn all_callers_of_a_call_see_its_progress() {
        let (flights, calls) = (Flights::<&str, u32, usize>::new(), Calls::default());
        let shown = RefCell::new(Vec::new());
        let ask = || {
            let call = || (calls.make(), calls.made());
            flights.ask(&"a", call, age, |progress| shown.borrow_mut().push(progress))
        };
        let mut asking = pin!(join_all([ask(), ask()]));
        assert!(poll!(&mut asking).is_pending());
        assert_eq!(*shown.borrow(), [1, 1]);
        calls.answer(0, 0);
        assert!(poll!(&mut asking).is_pending());
        assert_eq!(*shown.borrow(), [1, 1, 2], "the second one asks once more");
        calls.answer(1, 7);
        assert_eq!(asking.await, [0, 7]);
    }

    #[tokio::test]
    async fn a_call_without_callers_is_dropped() {
        let (flights, calls) = (Flights::new(), Calls::default());
        let mut first = Box::pin(ask(&flights, &calls, "a"));
        assert!(poll!(&mut first).is_pending());
        drop(first);
        assert!(calls.is_abandoned(0));
        assert!(lock(&flights.board).flights.is_empty());
        let mut second = pin!(ask(&flights, &calls, "a"));
        assert!(poll!(&mut second).is_pending());
        assert_eq!(calls.made(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_call_is_not_joined_after_a_second() {
        let (flights, calls) = (Flights::new(), Calls::default());
        let mut first = pin!(timeout(JOINABLE * 3, ask(&flights, &calls, "a")));
        assert!(poll!(&mut first).is_pending());
        advance(JOINABLE).await;
        let mut second = pin!(ask(&flights, &calls, "a"));
        assert!(poll!(&mut second).is_pending());
        assert_eq!(calls.made(), 2);
        // The end of the old call must not take the new one off the board.
        calls.answer(0, 1);
        assert_eq!(first.await, Ok(1));
        let mut third = pin!(ask(&flights, &calls, "a"));
        assert!(poll!(&mut third).is_pending());
        assert_eq!(calls.made(), 2);
        calls.answer(1, 2);
        assert_eq!(second.await, 2);
        assert_eq!(third.await, 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_question_is_answered_in_any_order_of_joining_and_leaving() {
        let flights = Arc::new(Flights::<u32, u32>::new());
        let asking = (0..2000_u32).map(|number| {
            let flights = flights.clone();
            tokio::spawn(async move {
                let call = || {
                    let call = async move {
                        for _ in 0..number % 5 {
                            tokio::task::yield_now().await;
                        }
                        number % 2
                    };
                    (call.boxed(), ())
                };
                let key = number % 3;
                let mut asking = pin!(flights.ask(&key, call, age, |()| {}));
                if number % 7 == 0 {
                    let _left = poll!(&mut asking);
                    return true;
                }
                asking.await < 2
            })
        });
        assert!(join_all(asking).await.into_iter().all(|answer| answer.unwrap()));
        assert!(lock(&flights.board).flights.is_empty());
    }
}
