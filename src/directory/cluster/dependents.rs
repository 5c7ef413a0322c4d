//! Counts the dependents of a record with field selectors, page by page.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crm_core::links::{Count, Dependents, NAMED};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::flights::{Age, Flights};
use crate::cluster::{Pager, ReadError, Reader};
use crate::directory::LookupError;
use crate::directory::referrers::{Dependent, Referrer};

/// The maximum size of a page: a quarter of the maximum count.
const PAGE: u32 = 250;

/// The maximum count. Users who delete a record with more dependents do not need the exact number, and get an answer
/// within about a second.
pub(super) const MOST: usize = 1000;

/// The maximum number of dependents that are read, with those that will be deleted with the record.
const MOST_READ: usize = 20 * MOST;

/// The maximum number of counts at the same time. Of everything that users can trigger, counts cost the API server
/// most, and deleting a company needs two.
pub const COUNTS_AT_A_TIME: usize = 2;

/// How long a count waits for its turn. Usual counts take some milliseconds; one that waits longer is behind unusual
/// ones and should fail while there is time left to decide.
const TURN: Duration = Duration::from_millis(500);

/// The dependents that were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Those that stay.
    pub(super) count: Count,
    /// Those that the garbage collector will delete.
    pub(super) owned: Count,
    /// The first few names of those that stay.
    pub(super) names: Vec<String>,
}

type Answer = Result<Counted, LookupError>;

/// What was counted so far, for callers whose time runs out.
type Progress = Arc<Mutex<Found>>;

#[derive(Clone, Debug, Default)]
struct Found {
    /// Those that stay.
    staying: usize,
    owned: usize,
    names: Vec<String>,
}

impl Found {
    fn add(&mut self, dependent: Dependent) {
        if dependent.is_owned {
            self.owned += 1;
            return;
        }
        self.staying += 1;
        if self.names.len() < NAMED {
            self.names.push(dependent.name);
        }
    }

    fn all(&self) -> usize {
        self.staying + self.owned
    }

    fn as_counts(&self, count: impl Fn(usize) -> Count) -> Counted {
        Counted { count: count(self.staying), owned: count(self.owned), names: self.names.clone() }
    }

    /// The lower bound that an incomplete count gives. `None` if no dependent that stays was found, because then nobody
    /// knows whether there is one.
    fn at_least(&self) -> Option<Counted> {
        (self.staying > 0).then(|| self.as_counts(Count::AtLeast))
    }

    /// The count that was stopped above the maximum.
    fn at_most(&self) -> Counted {
        self.as_counts(|number| if number > MOST { Count::MoreThan(MOST) } else { Count::AtLeast(number) })
    }
}

/// Counts dependents: equal questions share a count, and few counts run at the same time.
pub(super) struct Counting {
    reader: Reader,
    turns: Arc<Semaphore>,
    flights: Flights<Dependents, Answer, Progress>,
}

impl Counting {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, turns: Arc::new(Semaphore::new(COUNTS_AT_A_TIME)), flights: Flights::new() }
    }

    /// The number of dependents, within `limit`. Equal questions at the same time share a count, but zero is valid only
    /// for questions from before the count.
    pub(super) async fn count(&self, question: &Dependents, limit: Duration) -> Answer {
        let age = |answer: &Answer| match answer {
            Ok(Counted { count: Count::Exactly(0), owned: Count::Exactly(0), .. }) => Age::FreshOnly,
            Ok(_) | Err(_) => Age::Any,
        };
        let mut progress = None;
        let asking = self.flights.ask(question, || self.begin(question), age, |now| progress = Some(now));
        match timeout(limit, asking).await {
            Ok(answer) => answer,
            // A partial count is still a valid lower bound.
            Err(_) => progress.and_then(|found| lock(&found).at_least()).ok_or(LookupError::Late(limit)),
        }
    }

    fn begin(&self, question: &Dependents) -> (BoxFuture<'static, Answer>, Progress) {
        let progress = Progress::default();
        let (reader, turns, found) = (self.reader.clone(), Arc::clone(&self.turns), Arc::clone(&progress));
        let question = question.clone();
        let count = async move {
            let Ok(_turn) = timeout(TURN, turns.acquire()).await else {
                return Err(LookupError::Busy);
            };
            match count(reader, &question, &found).await {
                Ok(counted) => Ok(counted),
                Err(error) => lock(&found).at_least().ok_or(error.into()),
            }
        };
        (count.boxed(), progress)
    }
}

/// Counts to the end or to the maximum. Without a resource version, the API server answers with the latest state.
async fn count(reader: Reader, question: &Dependents, found: &Mutex<Found>) -> Result<Counted, ReadError> {
    let mut pages = Pager::new(reader, Referrer::listing(question));
    loop {
        // One more than the maximum shows that there are more. A further page does not, because the API server does not
        // know whether the rest contains any matches.
        let left = MOST + 1 - lock(found).staying;
        let most = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
        let page = pages.next::<Referrer>(most).await?;
        let is_end = page.is_none();
        let items = page.into_iter().flat_map(|page| page.items);
        let mut found = lock(found);
        items.filter_map(|item| item.counted(question)).for_each(|dependent| found.add(dependent));
        if found.staying > MOST {
            return Ok(found.at_most());
        }
        if is_end {
            return Ok(found.as_counts(Count::Exactly));
        }
        if found.all() > MOST_READ {
            return found.at_least().ok_or(ReadError::TooLarge);
        }
    }
}

/// Nothing under the lock can panic, so the value is consistent.
fn lock(found: &Mutex<Found>) -> std::sync::MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}
