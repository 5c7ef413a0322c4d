//! The loop of a replay: reads events in order, decides writes, and keeps up with what they change.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use crm_core::api::CrmKind;
use crm_core::api::names::full_name;
use crm_core::catalog::RuleId;
use crm_core::existence::Presence;
use crm_core::links::Count;
use crm_core::patch;
use crm_core::rules::{Deletion, Operation, Record, Reference, Request};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::event::{self, Answer, Event, ObjectRef};
use super::existence::{Answers, Existing};
use super::judge::{Policies, Verdicts};
use super::log::{Logs, Needles, Text};
use super::state::{self, Given, Sign, State, Stored};
use super::tally::{Decided, Listing, Tally, Undecided};
use crate::audit::NoAnswer;

/// How many events back an event is recognized that comes twice, as in overlapping copies of a log.
const REMEMBERED: usize = 65_536;

/// Decides the writes in these logs under both policies. `-` is standard input. `on_write` is called for each write.
/// A log that cannot be read is left out, and [`Tally::unreadable`] has it.
///
/// # Errors
/// A lookup in the cluster keeps failing.
pub async fn replay(
    paths: &[PathBuf],
    policies: &Policies,
    existing: Existing,
    listing: Listing,
    on_write: &dyn Fn(),
) -> Result<Tally, NoAnswer> {
    let kinds = policies.looked_up();
    let mut state = State::new(kinds.iter().map(AsRef::as_ref));
    let answers = Answers::new(existing, &mut state);
    let needles = Needles::new(kinds.iter().map(AsRef::as_ref));
    let mut logs = Logs::open(paths, needles);
    let mut run =
        Run { policies, answers, state, seen: Seen::default(), tally: Tally::default(), listing, on_write };
    while let Some(text) = logs.next() {
        if let Err(why) = run.take(&text).await? {
            logs.unreadable().add(&text.place, why);
        }
    }
    let Run { mut tally, .. } = run;
    tally.unreadable = std::mem::take(logs.unreadable());
    Ok(tally)
}

struct Run<'r> {
    policies: &'r Policies,
    answers: Answers,
    state: State,
    seen: Seen,
    tally: Tally,
    listing: Listing,
    on_write: &'r dyn Fn(),
}

/// One write of a record.
struct Write<'w> {
    kind: CrmKind,
    verb: Verb,
    /// The full name in the request; empty if the API server generates it.
    name: &'w str,
    /// The namespace; empty for a cluster-scoped record.
    namespace: &'w str,
    answer: Answer,
    dry_run: bool,
    now: Timestamp,
    user: UserInfo,
    field_manager: Option<String>,
    place: &'w dyn std::fmt::Display,
}

impl Write<'_> {
    /// Whether the record did not exist before.
    fn creates(&self) -> bool {
        self.verb == Verb::Create || self.answer == Answer::Done { created: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    fn of(verb: &str) -> Option<Self> {
        match verb {
            "create" => Some(Self::Create),
            "update" => Some(Self::Update),
            // Server-side apply is a patch, too.
            "patch" => Some(Self::Patch),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// The field that the webhook fills in.
const CREATOR: &str = "creatorRef";

/// Why an event cannot be read.
type Unread = &'static str;

const UNREADABLE_OBJECT: Unread = "the requestObject has a field of a wrong type";
const WITHOUT_A_TIME: Unread = "the event has no requestReceivedTimestamp and no stageTimestamp";

impl Run<'_> {
    /// Takes one event. The inner error says why it cannot be read.
    async fn take(&mut self, text: &Text) -> Result<Result<(), Unread>, NoAnswer> {
        let mut event = match event::read(&text.json) {
            Ok(event) => event,
            Err(why) => return Ok(Err(why)),
        };
        let Some(object) = event.object_ref.take() else { return Ok(Ok(())) };
        let known = self.state.kind(&object.api_group, &object.resource);
        let Some(kind) = known.filter(|_| object.subresource.is_empty() && event.is_complete()) else {
            return Ok(Ok(()));
        };
        if !self.seen.is_new(&event, &object) {
            return Ok(Ok(()));
        }
        match (kind, Verb::of(&event.verb)) {
            (Some(kind), Some(verb)) => {
                let Some(now) = event.time() else { return Ok(Err(WITHOUT_A_TIME)) };
                let name = full_name(&object.namespace, &object.name);
                let write = Write {
                    kind,
                    verb,
                    name: &name,
                    namespace: &object.namespace,
                    answer: event.answer(),
                    dry_run: event.is_dry_run(),
                    now,
                    user: event.take_user(),
                    field_manager: event.field_manager(),
                    place: &text.place,
                };
                self.take_write(&write, &event).await
            }
            (_, _) => {
                self.observe(kind, &object, &event);
                Ok(Ok(()))
            }
        }
    }

    async fn take_write(
        &mut self,
        write: &Write<'_>,
        event: &Event<'_>,
    ) -> Result<Result<(), Unread>, NoAnswer> {
        let stored = event.response_object.filter(|_| matches!(write.answer, Answer::Done { .. }));
        let stored = stored.and_then(|object| state::stored(write.kind, object));
        if write.verb == Verb::Delete {
            self.take_deletion(write, stored.as_ref());
            return Ok(Ok(()));
        }
        if write.answer == Answer::NotFound && write.verb != Verb::Create {
            self.see(write, Presence::Missing);
        }
        if matches!(write.answer, Answer::Refused | Answer::NotFound) {
            self.tally.read += 1;
            (self.on_write)();
            self.tally.add_undecided(Undecided::Refused);
            return Ok(Ok(()));
        }
        if event.request_object.is_none() && stored.is_none() {
            self.tally.without_object += 1;
            self.keep(write, stored.as_ref(), None);
            return Ok(Ok(()));
        }
        let given = match (write.verb, &stored) {
            (Verb::Patch, Some(stored)) => {
                stored.record().map(|record| given(stored, without_filled_in(record, write, event)))
            }
            (Verb::Patch, None) => None,
            (_, _) => match event.request_object.map(|object| state::given(object, write.namespace)) {
                Some(Some(given)) => Some(given),
                Some(None) => return Ok(Err(UNREADABLE_OBJECT)),
                None => stored.as_ref().and_then(|stored| Some(given(stored, stored.record()?))),
            },
        };
        self.tally.read += 1;
        (self.on_write)();
        match given {
            None => {
                self.tally.add_undecided(Undecided::Patch);
                self.keep(write, stored.as_ref(), None);
            }
            Some(given) => self.decide(write, &given, stored.as_ref()).await?,
        }
        Ok(Ok(()))
    }

    /// Decides a create or an update, and keeps what it changes.
    async fn decide(
        &mut self,
        write: &Write<'_>,
        given: &Given,
        stored: Option<&Stored>,
    ) -> Result<(), NoAnswer> {
        let creates = write.creates();
        let name = if given.is_named || write.name.is_empty() { &given.name } else { write.name };
        let last = if creates { None } else { self.state.last(write.kind, name) };
        let unknown = Record::default();
        let request = Request {
            kind: write.kind,
            object: &given.record,
            // Without the old object, every field counts as changed.
            operation: if creates {
                Operation::Create
            } else {
                Operation::Update(last.as_ref().unwrap_or(&unknown))
            },
            requester: Some(&write.user),
            dry_run: write.dry_run,
            field_manager: write.field_manager.as_deref(),
        };
        let references = self.policies.references(&request);
        let asked = || references.iter().flatten();
        self.answers.prepare(asked().map(|reference| &reference.target), &self.state).await?;
        let fact = |reference: &Reference| self.answers.fact(&reference.target, &self.state);
        let open: Vec<&Reference> = asked().filter(|reference| fact(reference).is_none()).collect();
        let verdicts = self.policies.decide(&request, &references, fact, write.now);
        self.tally.not_judged += distinct(&open);
        self.tally.patches += u64::from(write.verb == Verb::Patch);
        self.add(write, name, &verdicts, creates || last.is_some());
        let admitted = stored.is_none().then(|| (given, patch::applied(&given.record, &verdicts.changes)));
        self.keep(write, stored, admitted);
        Ok(())
    }

    fn add(&mut self, write: &Write<'_>, name: &str, verdicts: &Verdicts, old_is_known: bool) {
        let decided = Decided {
            time: write.now,
            user: write.user.username.as_deref().unwrap_or_default(),
            verb: write.verb.as_str(),
            dry_run: write.dry_run,
            kind: write.kind,
            name,
            old_is_known,
            place: write.place,
        };
        self.tally.add(&decided, verdicts.difference().as_ref(), self.listing);
    }

    /// Keeps what a write has stored. A dry run, and a write that was denied, store nothing.
    fn keep(&mut self, write: &Write<'_>, stored: Option<&Stored>, admitted: Option<(&Given, Record)>) {
        if write.dry_run || !matches!(write.answer, Answer::Done { .. }) {
            return;
        }
        let sign = if write.creates() { Sign::Creation } else { Sign::Change };
        match (stored, admitted) {
            (Some(stored), _) => self.state.keep(write.kind, stored),
            (None, Some((given, record))) if given.is_named => {
                self.state.keep_record(write.kind, &given.name, &record, sign);
            }
            (None, _) => self.state.lose(write.kind, write.name, sign),
        }
    }

    fn take_deletion(&mut self, write: &Write<'_>, stored: Option<&Stored>) {
        let name = if write.name.is_empty() { stored.map_or("", Stored::name) } else { write.name };
        // The webhook is not asked about deletions of other kinds.
        if RuleId::DeleteReferenced.rule().kinds.contains(&write.kind) {
            self.tally.read += 1;
            (self.on_write)();
            match write.answer {
                Answer::Refused | Answer::NotFound => self.tally.add_undecided(Undecided::Refused),
                Answer::Done { .. } | Answer::DeniedByUs => self.decide_deletion(write, name),
            }
        }
        match write.answer {
            Answer::Done { .. } if !write.dry_run => self.state.delete(write.kind, name),
            Answer::NotFound => self.see(write, Presence::Missing),
            _ => {}
        }
    }

    fn decide_deletion(&mut self, write: &Write<'_>, name: &str) {
        let deletion = Deletion { kind: write.kind, name, requester: &write.user };
        let (mut asks, mut knows_some) = (false, self.answers.knows_all());
        let count = |question: &_| {
            let tally = self.answers.dependents(question, &self.state);
            asks = true;
            knows_some |= tally.count != Count::Exactly(0);
            tally
        };
        let verdicts = self.policies.decide_deletion(&deletion, count, write.now);
        self.tally.open_deletions += u64::from(asks && !knows_some);
        self.add(write, name, &verdicts, true);
    }

    /// Takes an event that is no write of a record by its name.
    fn observe(&mut self, kind: Option<CrmKind>, object: &ObjectRef<'_>, event: &Event<'_>) {
        let answer = event.answer();
        let is_done = matches!(answer, Answer::Done { .. });
        let see = |state: &mut State, presence| {
            let name = full_name(&object.namespace, &object.name);
            state.observe(&object.api_group, &object.resource, &name, presence);
        };
        match &*event.verb {
            "deletecollection" => {
                if kind.is_some() {
                    self.tally.read += 1;
                    (self.on_write)();
                    self.tally.add_undecided(Undecided::Collection);
                }
                if is_done && !event.is_dry_run() {
                    self.state.forget(&object.api_group, &object.resource);
                }
            }
            "get" if answer == Answer::NotFound => see(&mut self.state, Presence::Missing),
            "get" if is_done => {
                let stored =
                    event.response_object.zip(kind).and_then(|(object, kind)| state::stored(kind, object));
                match (kind, stored) {
                    (Some(kind), Some(stored)) => self.state.keep(kind, &stored),
                    _ => see(&mut self.state, Presence::Exists),
                }
            }
            "delete" if is_done && !event.is_dry_run() => see(&mut self.state, Presence::Missing),
            "create" | "update" | "patch" if is_done && !event.is_dry_run() => {
                see(&mut self.state, Presence::Exists);
            }
            _ => {}
        }
    }

    fn see(&mut self, write: &Write<'_>, presence: Presence) {
        self.state.observe_record(write.kind, write.name, presence);
    }
}

/// The result of a patch that has created a record, without the creator that the webhook has filled in: the new policy may
/// fill in another one.
fn without_filled_in(mut record: Record, write: &Write<'_>, event: &Event<'_>) -> Record {
    let is_given = event.request_object.is_none_or(|body| body.get().contains(CREATOR));
    if write.creates()
        && !is_given
        && let Some(spec) = record.spec.as_object_mut()
    {
        spec.remove(CREATOR);
    }
    record
}

fn given(stored: &Stored, record: Record) -> Given {
    Given { name: stored.name().to_owned(), is_named: true, record }
}

/// The number of different references.
fn distinct(references: &[&Reference]) -> u64 {
    let is_first = |index: &usize| !references[..*index].contains(&references[*index]);
    (0..references.len()).filter(is_first).count() as u64
}

/// The last events, by what identifies them.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Whether an event is not one of the last. An event without an id is new. Several can have the same id, because a
    /// client can choose it with the header `Audit-ID`.
    fn is_new(&mut self, event: &Event<'_>, object: &ObjectRef<'_>) -> bool {
        if event.audit_id.is_empty() {
            return true;
        }
        let hash = self.hasher.hash_one((event.identity(), &*object.namespace, &*object.name));
        if !self.hashes.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        true
    }
}
