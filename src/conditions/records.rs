//! What is known of each record: which state of it was judged, with which result, and what it refers to.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use crm_core::api::CrmKind;
use smallvec::SmallVec;

use crate::audit::{Compliance, Condition, Labels};
use crate::directory::{Changed, TargetId};

/// The maximum number of records that wait in order. The others are only marked.
const MOST_IN_ORDER: usize = 4096;
/// How many records are visited at a time, so that nobody waits long for the lock: about 0.1 ms.
const CHUNK: usize = 2048;

/// A record by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) kind: CrmKind,
    pub(super) name: Box<str>,
}

/// A hash of everything of a record that a judgement depends on or writes: spec, labels and condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark(u64);

/// The objects that a record refers to and that are looked up.
pub(super) type Targets = SmallVec<[TargetId; 4]>;

/// The result for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) mark: Mark,
    pub(super) compliance: Compliance,
    pub(super) targets: Targets,
}

/// When a record is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// In the order of arrival: something has just changed.
    Next,
    /// When no other waits.
    Later,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Judge this record. [`Records::settle`], [`Records::give_back`], [`Records::give_up`] or [`Records::forget`] must
    /// follow.
    Judge(Key),
    /// Ask again: the next record has not been found yet.
    Search,
    /// Nothing.
    Rest,
}

/// All records, and those that have to be judged. A record waits at most once.
///
/// It holds the names and what [`Known`] has, nothing else of a record. A name of 22 letters takes about 160 bytes:
/// 72 for a slot of a tree that is half to wholly full, and a heap block for the name; and a heap block for the
/// references if there are more than four.
#[derive(Debug, Default)]
pub(super) struct Records {
    kinds: BTreeMap<CrmKind, OfKind>,
    /// The records whose turn is next.
    order: VecDeque<Key>,
    /// The number of records that are marked.
    marked: usize,
    /// Where the search for marked records continues.
    cursor: Option<Key>,
    counts: BTreeMap<(CrmKind, Compliance), usize>,
}

#[derive(Debug, Default)]
struct OfKind {
    known: BTreeMap<Box<str>, Known>,
    /// The number of the current list.
    round: u8,
}

#[derive(Debug, Default)]
struct Known {
    mark: Mark,
    targets: Targets,
    /// `None` before it was judged.
    compliance: Option<Compliance>,
    state: State,
    /// The last list that had it.
    round: u8,
}

/// Whether a record has to be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Settled,
    /// It is marked, and its turn is later.
    Marked,
    /// It is in the order.
    InOrder,
    /// It is being judged.
    Taken,
    /// It is being judged, and has changed since.
    TakenAndChanged,
}

impl Key {
    pub(super) fn new(kind: CrmKind, name: &str) -> Self {
        Self { kind, name: name.into() }
    }
}

impl Mark {
    /// Only the `wanted` labels count. They are in the order of their keys, as the API server writes them.
    pub(super) fn of<'l>(
        uid: Option<&str>,
        generation: Option<i64>,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        wanted: &Labels,
        condition: Option<&Condition>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (uid, generation, condition).hash(&mut hasher);
        for label in labels.filter(|(key, _)| wanted.contains(*key)) {
            label.hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

impl Records {
    /// The number of records that wait to be judged.
    pub(super) fn waiting(&self) -> usize {
        self.marked + self.order.len()
    }

    /// The number of records of each kind and result.
    pub(super) fn counts(&self) -> impl Iterator<Item = (CrmKind, Compliance, usize)> {
        self.counts.iter().map(|((kind, compliance), count)| (*kind, *compliance, *count))
    }

    /// Whether this state of the record was judged.
    pub(super) fn knows(&self, kind: CrmKind, name: &str, mark: Mark) -> bool {
        self.known(kind, name).is_some_and(|known| known.compliance.is_some() && known.mark == mark)
    }

    /// Whether the record was judged with that result and these references.
    pub(super) fn agrees(&self, kind: CrmKind, name: &str, judged: &Judged) -> bool {
        let Judged { compliance, targets, .. } = judged;
        let agrees = |known: &Known| known.compliance == Some(*compliance) && known.targets == *targets;
        self.known(kind, name).is_some_and(agrees)
    }

    fn known(&self, kind: CrmKind, name: &str) -> Option<&Known> {
        self.kinds.get(&kind)?.known.get(name)
    }

    fn known_mut(&mut self, key: &Key) -> Option<&mut Known> {
        self.kinds.get_mut(&key.kind)?.known.get_mut(&key.name)
    }

    /// A record has to be judged. It is added if it is new.
    pub(super) fn want(&mut self, kind: CrmKind, name: &str, turn: Turn) {
        let has_turn = turn == Turn::Next && self.order.len() < MOST_IN_ORDER;
        let of_kind = self.kinds.entry(kind).or_default();
        let round = of_kind.round;
        let known = of_kind.known.entry(name.into()).or_insert_with(|| Known { round, ..Known::default() });
        let before = known.state;
        known.state = match before {
            State::InOrder => State::InOrder,
            State::Taken | State::TakenAndChanged => State::TakenAndChanged,
            State::Settled | State::Marked if has_turn => State::InOrder,
            State::Settled | State::Marked => State::Marked,
        };
        let after = known.state;
        self.marked += usize::from(after == State::Marked);
        self.marked -= usize::from(before == State::Marked);
        if after == State::InOrder && before != State::InOrder {
            self.order.push_back(Key::new(kind, name));
        }
    }

    /// The records after `from` that refer to one of these objects have to be judged. Call it again with the record
    /// that it returns, until it returns none.
    pub(super) fn want_dependents(&mut self, changed: &Changed, from: Option<Key>) -> Option<Key> {
        // It is not known yet what a record refers to that is being judged, and the answer may be from before.
        let is_taken = |known: &Known| matches!(known.state, State::Taken | State::TakenAndChanged);
        let refers = |known: &Known| known.targets.iter().any(|target| changed.targets.contains(target));
        self.want_some(from, Turn::Next, u32::MAX, |known| is_taken(known) || refers(known)).1
    }

    /// At most `most` of the records after `from` with that result have to be judged, when no other waits. Returns how
    /// many, and where to continue, as [`Self::want_dependents`].
    pub(super) fn want_all(
        &mut self,
        compliance: Compliance,
        most: u32,
        from: Option<Key>,
    ) -> (u32, Option<Key>) {
        self.want_some(from, Turn::Later, most, |known| known.compliance == Some(compliance))
    }

    fn want_some(
        &mut self,
        from: Option<Key>,
        turn: Turn,
        most: u32,
        wanted: impl Fn(&Known) -> bool,
    ) -> (u32, Option<Key>) {
        let (mut found, mut count) = (Vec::new(), 0);
        let last = self.visit(from, |kind, name, known| {
            if wanted(known) {
                found.push(Key::new(kind, name));
                count += 1;
            }
            count < most
        });
        for Key { kind, name } in found {
            self.want(kind, &name, turn);
        }
        (count, last)
    }

    /// Visits some records after `from`, while `visit` wants more, and returns the last one; `None` at the end.
    fn visit(
        &mut self,
        from: Option<Key>,
        mut visit: impl FnMut(CrmKind, &str, &mut Known) -> bool,
    ) -> Option<Key> {
        let mut left = CHUNK;
        let start = from.as_ref().map(|key| key.kind);
        for (kind, of_kind) in
            self.kinds.iter_mut().filter(|(kind, _)| start.is_none_or(|start| **kind >= start))
        {
            let after = match &from {
                Some(key) if key.kind == *kind => Bound::Excluded(&*key.name),
                _ => Bound::Unbounded,
            };
            for (name, known) in of_kind.known.range_mut::<str, _>((after, Bound::Unbounded)) {
                let wants_more = visit(*kind, name, known);
                left -= 1;
                if left == 0 || !wants_more {
                    return Some(Key::new(*kind, name));
                }
            }
        }
        None
    }

    /// The record whose turn it is.
    pub(super) fn take(&mut self) -> Work {
        while let Some(key) = self.order.pop_front() {
            if let Some(known) = self.known_mut(&key)
                && known.state == State::InOrder
            {
                known.state = State::Taken;
                return Work::Judge(key);
            }
        }
        if self.marked == 0 {
            return Work::Rest;
        }
        let mut order = VecDeque::new();
        let from = self.cursor.take();
        self.cursor = self.visit(from, |kind, name, known| {
            if known.state == State::Marked {
                known.state = State::InOrder;
                order.push_back(Key::new(kind, name));
            }
            true
        });
        self.marked -= order.len();
        self.order = order;
        Work::Search
    }

    /// Records the result for a record that was taken.
    pub(super) fn settle(&mut self, key: &Key, judged: Judged) {
        self.judged(key.kind, &key.name, judged);
        self.give_up(key);
    }

    /// Gives up on a record that was taken, until it changes or is judged again anyway.
    pub(super) fn give_up(&mut self, key: &Key) {
        let Some(known) = self.known_mut(key) else { return };
        let state = known.state;
        if matches!(state, State::Taken | State::TakenAndChanged) {
            known.state = State::Settled;
        }
        if state == State::TakenAndChanged {
            self.want(key.kind, &key.name, Turn::Next);
        }
    }

    /// Gives a record back that was taken and could not be judged.
    pub(super) fn give_back(&mut self, key: &Key, turn: Turn) {
        let Some(known) = self.known_mut(key) else { return };
        if matches!(known.state, State::Taken | State::TakenAndChanged) {
            known.state = State::Settled;
            self.want(key.kind, &key.name, turn);
        }
    }

    /// Begins a list of a kind.
    pub(super) fn begin_list(&mut self, kind: CrmKind) {
        let of_kind = self.kinds.entry(kind).or_default();
        of_kind.round = of_kind.round.wrapping_add(1);
    }

    /// Adds a record of a list that was judged at once.
    pub(super) fn list(&mut self, kind: CrmKind, name: &str, judged: Judged) {
        let of_kind = self.kinds.entry(kind).or_default();
        let known = of_kind.known.entry(name.into()).or_default();
        known.round = of_kind.round;
        // Whoever judges it has a newer state.
        if !matches!(known.state, State::Taken | State::TakenAndChanged) {
            self.judged(kind, name, judged);
        }
    }

    /// Forgets the records of a kind that were not in the list.
    pub(super) fn end_list(&mut self, kind: CrmKind) {
        let Some(of_kind) = self.kinds.get(&kind) else { return };
        let gone = of_kind.known.iter().filter(|(_, known)| known.round != of_kind.round);
        let gone: Vec<Box<str>> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.forget(kind, &name);
        }
    }

    fn judged(&mut self, kind: CrmKind, name: &str, judged: Judged) {
        let Some(known) = self.kinds.get_mut(&kind).and_then(|of_kind| of_kind.known.get_mut(name)) else {
            return;
        };
        let Judged { mark, compliance, targets } = judged;
        let before = known.compliance.replace(compliance);
        (known.mark, known.targets) = (mark, targets);
        known.targets.shrink_to_fit();
        self.uncount(kind, before);
        *self.counts.entry((kind, compliance)).or_default() += 1;
    }

    fn uncount(&mut self, kind: CrmKind, compliance: Option<Compliance>) {
        if let Some(count) = compliance.and_then(|compliance| self.counts.get_mut(&(kind, compliance))) {
            *count = count.saturating_sub(1);
        }
    }

    /// Forgets a record, which is gone.
    pub(super) fn forget(&mut self, kind: CrmKind, name: &str) {
        let Some(known) = self.kinds.get_mut(&kind).and_then(|of_kind| of_kind.known.remove(name)) else {
            return;
        };
        self.marked -= usize::from(known.state == State::Marked);
        self.uncount(kind, known.compliance);
    }
}

#[cfg(test)]
mod tests;
