//! Counts who refers to a record, by lists in which the API server selects, page by page.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crm_core::api::{Count, Dependants, NAMED};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::flights::{Age, Flights};
use crate::cluster::{Pager, ReadError, Reader};
use crate::directory::{LookupError, Referrer};

/// How many records a page holds at most: a quarter of what is counted.
const PAGE: u32 = 250;

/// Up to how many is counted. Whoever deletes a record with more dependants need not know how many exactly, and has
/// an answer within a second or so.
pub(super) const MOST: usize = 1000;

/// How many counts go on at a time. They are what costs an API server most of all that anybody can have us ask, and a
/// deletion of a company is two of them.
const AT_A_TIME: usize = 2;

/// How long a count waits for its turn. Usual counts take some milliseconds; whoever waits for longer is behind some
/// that are not usual, and should say so while there is time left to decide.
const TURN: Duration = Duration::from_millis(500);

/// Dependants as far as they were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) count: Count,
    /// The first few.
    pub(super) names: Vec<String>,
}

type Answer = Result<Counted, LookupError>;

/// What was counted so far, for those whose time runs out before the count ends.
type Progress = Arc<Mutex<Found>>;

#[derive(Clone, Debug, Default)]
struct Found {
    records: usize,
    names: Vec<String>,
}

impl Found {
    fn add(&mut self, name: String) {
        self.records += 1;
        if self.names.len() < NAMED {
            self.names.push(name);
        }
    }

    fn as_count(&self, count: Count) -> Counted {
        Counted { count, names: self.names.clone() }
    }

    /// What is true of a count that did not come to its end.
    fn at_least(&self) -> Option<Counted> {
        (self.records > 0).then(|| self.as_count(Count::AtLeast(self.records)))
    }
}

/// Counts dependants, each question once at a time and few questions at a time.
pub(super) struct Counting {
    reader: Reader,
    turns: Arc<Semaphore>,
    flights: Flights<Dependants, Answer, Progress>,
}

impl Counting {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, turns: Arc::new(Semaphore::new(AT_A_TIME)), flights: Flights::new() }
    }

    /// How many there are, within `limit`. Concurrent equal questions share a count, save that "there are none" is only
    /// good for those who asked before it was begun.
    pub(super) async fn count(&self, question: &Dependants, limit: Duration) -> Answer {
        let age = |answer: &Answer| match answer {
            Ok(Counted { count: Count::Exactly(0), .. }) => Age::FreshOnly,
            Ok(_) | Err(_) => Age::Any,
        };
        let mut progress = None;
        let asking = self.flights.ask(question, || self.begin(question), age, |now| progress = Some(now));
        match timeout(limit, asking).await {
            Ok(answer) => answer,
            // What was counted is true all the same.
            Err(_) => progress.and_then(|found| lock(&found).at_least()).ok_or(LookupError::Late(limit)),
        }
    }

    fn begin(&self, question: &Dependants) -> (BoxFuture<'static, Answer>, Progress) {
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

/// Counts to the end, or to the bound. It names no resource version, so the API server answers with the latest state.
async fn count(reader: Reader, question: &Dependants, found: &Mutex<Found>) -> Result<Counted, ReadError> {
    let mut pages = Pager::new(reader, Referrer::listing(question));
    loop {
        // One more than the bound says that there are more; that pages go on says nothing, as the API server does not
        // know whether the rest holds anything that is selected.
        let left = MOST + 1 - lock(found).records;
        let most = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
        let page = pages.next::<Referrer>(most).await?;
        let is_end = page.is_none();
        let items = page.into_iter().flat_map(|page| page.items);
        let mut found = lock(found);
        items.filter_map(|item| item.name_if_counted(question)).for_each(|name| found.add(name));
        if found.records > MOST {
            return Ok(found.as_count(Count::MoreThan(MOST)));
        }
        if is_end {
            return Ok(found.as_count(Count::Exactly(found.records)));
        }
    }
}

/// Nothing that can panic is done under the lock, so what is found is whole.
fn lock(found: &Mutex<Found>) -> std::sync::MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}
