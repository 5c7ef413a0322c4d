//! The names of one kind, and the state of its watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crm_core::api::{ResourceKind, Target};
use crm_core::existence::Presence;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ObjectHead;
use crate::cluster::ReadError;
use crate::directory::PartStatus;
use crate::directory::changes::{Changes, TargetId};
use crm_core::existence::Names;

/// How long names count after their watch has failed. For the first minutes, old names are better than none: an API
/// server that is replaced is back by then. After that, all questions go to the API server.
const BELIEVED: Duration = Duration::from_secs(300);

/// Whether the webhook must wait for a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// It can start without, and ask the API server about single objects meanwhile.
    #[default]
    Optional,
    /// It is not ready until it has listed the names of that kind once, or knows that the kind does not exist.
    Required,
}

/// The problem of a watch, as `/readyz` shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the cluster has no such kind")]
    Absent,
    #[error("the watch fell too far behind")]
    Expired,
    #[error("the API server answers with status {0}")]
    Status(u16),
    #[error("the API server cannot be reached")]
    Unreachable,
    #[error("the API server does not answer")]
    Silent,
    #[error("the API server ends watches at once")]
    Ended,
    #[error("an object is too large to be read")]
    TooLarge,
    #[error("the watch panicked")]
    Panicked,
}

impl Trouble {
    pub(super) fn of(error: &ReadError) -> Self {
        match (error, error.code()) {
            (_, Some(404)) => Self::Absent,
            (_, Some(410)) => Self::Expired,
            (_, Some(code)) => Self::Status(code),
            (ReadError::Late(_), None) => Self::Silent,
            (ReadError::TooLarge | ReadError::ObjectTooLarge { .. }, None) => Self::TooLarge,
            (ReadError::Failed(_), None) => Self::Unreachable,
        }
    }
}

/// The names of one kind, updated by a task.
pub(super) struct Part {
    kind: Arc<ResourceKind>,
    pub(super) names: Names,
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
    changes: Arc<Changes>,
}

#[derive(Default)]
struct State {
    need: Need,
    is_known: bool,
    trouble: Option<(Trouble, Instant)>,
    restarts: u64,
}

impl Part {
    pub(super) fn new(kind: Arc<ResourceKind>, stop: CancellationToken, changes: Arc<Changes>) -> Self {
        Self { kind, names: Names::default(), stop, state: Mutex::default(), changes }
    }

    pub(super) fn kind(&self) -> &ResourceKind {
        &self.kind
    }

    /// Raises the need, never lowers it.
    pub(super) fn need(&self, need: Need) {
        let mut state = self.state();
        state.need = state.need.max(need);
    }

    pub(super) fn recall(&self, target: &Target) -> Option<Presence> {
        match self.names.get(target.namespace.as_deref(), &target.name) {
            Presence::Missing => None,
            known => self.is_believed().then_some(known),
        }
    }

    pub(super) fn is_believed(&self) -> bool {
        match &self.state().trouble {
            Some((_, since)) => since.elapsed() < BELIEVED,
            None => true,
        }
    }

    pub(super) fn status(&self) -> PartStatus {
        let objects = self.names.count();
        let state = self.state();
        let not_ready = match &state.trouble {
            Some((trouble, _)) => Some(trouble.to_string()),
            None if state.is_known => None,
            None => Some("not read yet".to_owned()),
        };
        let required = state.need == Need::Required && !state.is_known;
        PartStatus { kind: self.kind.to_string(), objects, not_ready, required, restarts: state.restarts }
    }

    /// Records what a watch says of an object, and tells followers if that is new.
    pub(super) fn changed(&self, object: &ObjectHead, presence: Presence) {
        let Some(name) = object.name() else { return };
        let namespace = object.namespace();
        let is_new = self.changes.are_followed() && self.names.get(namespace, name) != presence;
        self.names.set(namespace, name, presence);
        if is_new {
            self.changes.report(TargetId::of(&self.kind, namespace, name));
        }
    }

    /// Replaces the known names by a complete list.
    pub(super) fn replace(&self, names: Names) {
        self.names.replace(names);
        let mut state = self.state();
        let was_known = std::mem::replace(&mut state.is_known, true);
        let trouble = state.trouble.take();
        drop(state);
        // Before the first list, nobody relied on these names.
        if was_known {
            self.changes.report_any();
        }
        if !was_known || trouble.is_some() {
            tracing::info!(kind = %self.kind, objects = self.names.count(), "the names of a kind are known");
        }
    }

    /// Records that the watch works.
    pub(super) fn works(&self) {
        let trouble = self.state().trouble.take();
        if trouble.is_some() {
            tracing::info!(kind = %self.kind, "the watch of a kind works again");
        }
    }

    /// Records a problem of the watch, and logs it if it is new.
    pub(super) fn suffers(&self, trouble: Trouble, error: Option<&ReadError>) {
        if trouble == Trouble::Absent {
            // None of its objects can exist, so there is nothing to wait for.
            self.names.replace(Names::default());
        }
        let mut state = self.state();
        state.is_known |= trouble == Trouble::Absent;
        state.restarts += u64::from(trouble == Trouble::Panicked);
        let (known, since) = match state.trouble.take() {
            Some((known, since)) => (Some(known), since),
            None => (None, Instant::now()),
        };
        let is_news = known.as_ref() != Some(&trouble);
        state.trouble = Some((trouble.clone(), since));
        drop(state);
        // A kind that stays absent is listed again and again, and nothing has changed.
        if is_news && trouble == Trouble::Absent {
            self.changes.report_any();
        }
        let error = error.map(tracing::field::display);
        match trouble {
            _ if !is_news => {}
            // Normal after a restart of the API server; the next list fixes it.
            Trouble::Expired => tracing::info!(kind = %self.kind, %trouble, error, "listing a kind again"),
            _ => tracing::warn!(kind = %self.kind, %trouble, error, "the watch of a kind does not work"),
        }
    }

    /// Every operation leaves the state consistent, even if a panic has poisoned the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
