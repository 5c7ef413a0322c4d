//! Tells followers which objects have appeared or disappeared, so that they can judge their dependents again.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crm_core::api::{ResourceKind, Target};
use tokio::sync::Notify;

/// The maximum number of objects that are told apart. After more changes than that, any object may have changed.
const MOST: usize = 16_384;

/// A short name of an object: a hash of its kind, namespace and name. Two objects can have the same, so it says only
/// that an object may be meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(u32);

impl TargetId {
    /// The short name of the object of that kind, namespace and name.
    pub fn of(kind: &ResourceKind, namespace: Option<&str>, name: &str) -> Self {
        // The same in every run, and not against attacks: whoever finds a collision causes a needless judgement.
        let mut hasher = DefaultHasher::new();
        (&kind.group, &kind.kind, namespace.filter(|_| kind.namespaced), name).hash(&mut hasher);
        // Half of a hash is a hash.
        Self(hasher.finish() as u32)
    }
}

impl From<&Target> for TargetId {
    fn from(target: &Target) -> Self {
        Self::of(&target.kind, target.namespace.as_deref(), &target.name)
    }
}

/// What has changed since a follower asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The objects that have appeared or disappeared, or are being deleted now.
    pub targets: BTreeSet<TargetId>,
    /// Whether any other object may have changed, too: a list was read again, or there were too many changes.
    pub any: bool,
}

/// The changes of a directory. They are collected only while somebody follows them.
#[derive(Debug, Default)]
pub struct Changes {
    followers: AtomicUsize,
    changed: Mutex<Changed>,
    news: Notify,
}

/// Collects changes until it is dropped. There is one follower at a time.
#[derive(Debug)]
pub struct Following<'c>(&'c Changes);

impl Changes {
    /// Collects changes from now on.
    pub fn follow(&self) -> Following<'_> {
        self.followers.fetch_add(1, Ordering::Relaxed);
        *self.changed() = Changed::default();
        Following(self)
    }

    pub(super) fn are_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    /// Records that an object has appeared or disappeared. Call it after the directory knows.
    pub(super) fn report(&self, target: TargetId) {
        if self.are_followed() {
            let mut changed = self.changed();
            if changed.targets.len() < MOST {
                changed.targets.insert(target);
            } else {
                changed.any = true;
            }
            self.news.notify_one();
        }
    }

    /// Records that any object may have appeared or disappeared.
    pub(super) fn report_any(&self) {
        if self.are_followed() {
            self.changed().any = true;
            self.news.notify_one();
        }
    }

    /// Every operation leaves the set consistent, even if a panic has poisoned the lock.
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following<'_> {
    /// Waits for changes, and returns all since the last call. Cancel safe.
    pub async fn next(&self) -> Changed {
        loop {
            let changed = std::mem::take(&mut *self.0.changed());
            if changed != Changed::default() {
                return changed;
            }
            self.0.news.notified().await;
        }
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TargetId {
        TargetId::of(&ResourceKind::crm("Company", "companies"), None, name)
    }

    #[tokio::test]
    async fn changes_are_collected_once_and_only_while_somebody_follows() {
        let changes = Changes::default();
        changes.report(id("before"));
        let following = changes.follow();
        changes.report(id("acme"));
        changes.report(id("acme"));
        changes.report(id("globex"));
        assert_eq!(
            following.next().await,
            Changed { targets: [id("acme"), id("globex")].into(), any: false }
        );
        changes.report_any();
        assert_eq!(following.next().await, Changed { targets: BTreeSet::new(), any: true });
        drop(following);
        assert!(!changes.are_followed());
    }

    #[tokio::test]
    async fn too_many_changes_mean_that_any_object_may_have_changed() {
        let changes = Changes::default();
        let following = changes.follow();
        for number in 0..MOST * 2 {
            changes.report(id(&number.to_string()));
        }
        let Changed { targets, any } = following.next().await;
        assert!(any && targets.len() <= MOST, "{}", targets.len());
    }

    #[test]
    fn kinds_namespaces_and_names_are_told_apart() {
        let contact = |namespaced| ResourceKind { namespaced, ..ResourceKind::crm("Contact", "contacts") };
        assert_ne!(id("a"), id("b"));
        assert_ne!(id("a"), TargetId::of(&contact(false), None, "a"));
        let of = |namespace| TargetId::of(&contact(true), namespace, "a");
        assert_ne!(of(Some("x")), of(Some("y")));
    }
}
