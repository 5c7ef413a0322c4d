//! The tasks in the background without which the program must not go on: none of them may die unnoticed.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// Background tasks. They are expected to run for as long as the program does, and are ended when this is dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts a task. Must be called within a runtime.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until one of them has ended, however it did, and returns its name. Cancel safe.
    pub(super) async fn first_death(&mut self) -> Death {
        let (id, panicked) = match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, false),
            Some(Err(error)) => (error.id(), error.is_panic()),
            None => std::future::pending().await,
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        Death { name, how: if panicked { "panicked" } else { "ended" } }
    }
}

/// The end of a background task.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) name: &'static str,
    pub(super) how: &'static str,
}
