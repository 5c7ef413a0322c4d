//! Stores the names of all objects of one kind, and nothing else.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use arc_swap::ArcSwap;
use hashbrown::HashTable;

use super::Presence;
use super::nearest::Search;

/// The number of parts of a set. Each has its own lock, so that reading a million names for a suggestion blocks a
/// change, and the lookups behind it, no longer than one part takes.
const SHARDS: usize = 64;
/// The bits of a hash that choose the part. A table uses the lowest and the highest ones, which must differ within a part.
const SHARD_SHIFT: u32 = 40;

/// A set of names with many readers and one task that updates it.
///
/// A name of 22 letters takes 60 to 70 bytes (measured with 100 000 and with a million: 17 bytes for each slot of a
/// table that is half to seven eighths full, and a heap block for the string). A reflector's store takes more than 400
/// for an object without its content. An empty set takes 8 KiB.
#[derive(Default)]
pub struct Names {
    shards: ArcSwap<Shards>,
}

struct Shards {
    hasher: RandomState,
    list: Vec<RwLock<Shard>>,
}

/// A key with its hash, which is computed once: that is most of the work for a name.
#[derive(Clone, Copy)]
struct Hashed<'a> {
    key: &'a str,
    hash: u64,
}

/// A name is in one of the two sets. Few objects are being deleted, so a second set is cheaper than a flag for every
/// name.
#[derive(Default)]
struct Shard {
    present: HashTable<Box<str>>,
    terminating: HashTable<Box<str>>,
}

impl Names {
    /// Records what is known of an object; `Missing` removes its name.
    pub fn set(&self, namespace: Option<&str>, name: &str, presence: Presence) {
        let key = key(namespace, name);
        let shards = self.shards.load();
        let key = shards.hashed(&key);
        let mut shard = shards.of(key).write().unwrap_or_else(PoisonError::into_inner);
        shard.set(key, presence, &shards.hasher);
    }

    /// What is known of an object; `Missing` if its name is not in the set.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Presence {
        let key = key(namespace, name);
        let shards = self.shards.load();
        let key = shards.hashed(&key);
        read(shards.of(key)).get(key)
    }

    /// Replaces the content by that of `other`.
    ///
    /// A concurrent reader sees the old content or the new one, never a mix. Only the task that also calls
    /// [`Names::set`] may call this; otherwise a change could be lost with the old content.
    pub fn replace(&self, other: Self) {
        self.shards.store(other.shards.into_inner());
    }

    /// The number of names.
    pub fn count(&self) -> usize {
        self.shards.load().list.iter().map(|shard| read(shard).len()).sum()
    }

    /// The name in the same namespace that `name` was probably meant to be.
    ///
    /// Objects that are being deleted are not suggested. `Search` defines similarity and bounds the work.
    pub fn nearest(&self, namespace: Option<&str>, name: &str) -> Option<String> {
        let mut search = Search::new(namespace, name);
        for shard in &self.shards.load().list {
            for key in &read(shard).present {
                if search.offer(key).is_break() {
                    break;
                }
            }
        }
        search.finish(|shorter| self.get(namespace, shorter) == Presence::Exists)
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self { hasher: RandomState::new(), list: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl Shards {
    fn hashed<'a>(&self, key: &'a str) -> Hashed<'a> {
        Hashed { key, hash: self.hasher.hash_one(key) }
    }

    fn of(&self, key: Hashed<'_>) -> &RwLock<Shard> {
        // The remainder is below SHARDS, so the cast loses nothing.
        let index = (key.hash >> SHARD_SHIFT) % SHARDS as u64;
        &self.list[index as usize]
    }
}

impl Shard {
    fn set(&mut self, key: Hashed<'_>, presence: Presence, hasher: &RandomState) {
        let (into, out_of) = match presence {
            Presence::Exists => (Some(&mut self.present), [Some(&mut self.terminating), None]),
            Presence::Terminating => (Some(&mut self.terminating), [Some(&mut self.present), None]),
            Presence::Missing => (None, [Some(&mut self.terminating), Some(&mut self.present)]),
        };
        for table in out_of.into_iter().flatten() {
            if let Ok(entry) = table.find_entry(key.hash, key.is()) {
                entry.remove();
            }
        }
        // Most events are about known objects: do not allocate for them, and leave the table as large as it is.
        if let Some(table) = into
            && table.find(key.hash, key.is()).is_none()
        {
            table.insert_unique(key.hash, key.key.into(), |name| hasher.hash_one(&**name));
        }
    }

    fn get(&self, key: Hashed<'_>) -> Presence {
        let has = |table: &HashTable<Box<str>>| table.find(key.hash, key.is()).is_some();
        if has(&self.present) {
            Presence::Exists
        } else if has(&self.terminating) {
            Presence::Terminating
        } else {
            Presence::Missing
        }
    }

    fn len(&self) -> usize {
        self.present.len() + self.terminating.len()
    }
}

impl Hashed<'_> {
    fn is(&self) -> impl Fn(&Box<str>) -> bool {
        |name| **name == *self.key
    }
}

/// Every operation leaves a shard consistent, so a panic while it was locked does no harm.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

/// A namespace cannot contain a slash, so no two objects share a key.
fn key<'a>(namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
    match namespace {
        Some(namespace) => Cow::Owned(format!("{namespace}/{name}")),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn names(of: &[&str]) -> Names {
        let names = Names::default();
        for name in of {
            names.set(None, name, Presence::Exists);
        }
        names
    }

    #[test]
    fn a_name_is_in_one_state_at_a_time() {
        let names = Names::default();
        assert_eq!(names.get(None, "acme"), Presence::Missing);
        for presence in [Presence::Exists, Presence::Terminating, Presence::Exists, Presence::Exists] {
            names.set(None, "acme", presence);
            assert_eq!(names.get(None, "acme"), presence);
            assert_eq!(names.count(), 1);
        }
        names.set(None, "acme", Presence::Missing);
        assert_eq!(names.get(None, "acme"), Presence::Missing);
        assert_eq!(names.count(), 0);
    }

    #[test]
    fn a_terminating_name_can_be_removed() {
        let names = Names::default();
        names.set(None, "acme", Presence::Terminating);
        names.set(None, "acme", Presence::Missing);
        assert_eq!(names.count(), 0);
    }

    #[test]
    fn the_same_name_in_another_namespace_is_another_object() {
        let names = Names::default();
        names.set(Some("sales"), "bob", Presence::Exists);
        assert_eq!(names.get(Some("sales"), "bob"), Presence::Exists);
        assert_eq!(names.get(Some("support"), "bob"), Presence::Missing);
        assert_eq!(names.get(None, "bob"), Presence::Missing);
    }

    #[test]
    fn replacing_drops_what_the_new_content_does_not_hold() {
        let names = names(&["acme", "globex"]);
        names.set(None, "initech", Presence::Terminating);
        names.replace(self::names(&["globex", "hooli"]));
        assert_eq!(names.get(None, "acme"), Presence::Missing);
        assert_eq!(names.get(None, "initech"), Presence::Missing);
        assert_eq!(names.get(None, "globex"), Presence::Exists);
        assert_eq!(names.get(None, "hooli"), Presence::Exists);
        assert_eq!(names.count(), 2);
    }

    #[test]
    fn answers_do_not_stop_while_the_content_is_replaced() {
        let names = names(&["acme"]);
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                for _ in 0..200 {
                    names.replace(self::names(&["acme", "globex"]));
                }
            });
            while !replacing.is_finished() {
                assert_eq!(names.get(None, "acme"), Presence::Exists);
            }
        });
    }

    #[rstest]
    #[case::transposed_letters("acme-crop", Some("acme-corp"))]
    #[case::a_letter_too_few("acme-cor", Some("acme-corp"))]
    #[case::a_letter_too_many("acmee-corp", Some("acme-corp"))]
    #[case::another_letter("acme-korp", Some("acme-corp"))]
    #[case::two_edits_in_a_long_name("akme-korp", Some("acme-corp"))]
    #[case::two_letters_that_occur_nowhere_else("axme-cyrp", Some("acme-corp"))]
    #[case::three_edits("akne-korp", None)]
    #[case::two_edits_in_a_short_name("gloss", None)]
    #[case::something_else("umbrella", None)]
    #[case::too_short_to_guess("ac", None)]
    #[case::the_start_of_one_name("initech", Some("initech-international"))]
    #[case::the_start_of_two_names("hooli", None)]
    #[case::a_start_that_ends_within_a_word("initech-inter", None)]
    #[case::a_name_with_more_at_its_end("globe-holding-inc", Some("globe-holding"))]
    #[case::a_name_that_is_there("initech-international", None)]
    fn nearest(#[case] wanted: &str, #[case] expected: Option<&str>) {
        let names = names(&[
            "acme-corp",
            "globe",
            "globe-holding",
            "hooli-labs",
            "hooli.example",
            "initech-international",
        ]);
        assert_eq!(names.nearest(None, wanted).as_deref(), expected);
    }

    #[test]
    fn the_nearest_of_many_does_not_depend_on_the_order_of_arrival() {
        // All have the distance 1, but for one with 2 that comes first in the alphabet.
        let mut near = vec!["acme-corf", "acme-corb", "acme-cord", "aaame-corp", "acme-core"];
        for _ in 0..near.len() {
            near.rotate_left(1);
            assert_eq!(names(&near).nearest(None, "acme-corp").as_deref(), Some("acme-corb"));
        }
    }

    #[test]
    fn a_name_is_proposed_from_the_same_namespace_only() {
        let names = Names::default();
        names.set(Some("sales"), "robert", Presence::Exists);
        assert_eq!(names.nearest(Some("sales"), "robret").as_deref(), Some("robert"));
        assert_eq!(names.nearest(Some("support"), "robret"), None);
        assert_eq!(names.nearest(None, "robret"), None);
    }

    #[test]
    fn an_object_that_is_being_deleted_is_not_proposed() {
        let names = Names::default();
        names.set(None, "acme-corp", Presence::Terminating);
        assert_eq!(names.nearest(None, "acme-crop"), None);
        assert_eq!(names.nearest(None, "acme-corp-inc"), None);
    }
}
