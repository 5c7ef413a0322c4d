//! Background tasks that the program needs: if one stops, the program notices and exits.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// Background tasks. Each should run as long as the program. Dropping this stops them.
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

    /// Waits until a task has stopped for any reason, and returns its name. Cancel safe.
    pub(super) async fn first_death(&mut self) -> Death {
        let (id, panicked) = match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, false),
            Some(Err(error)) => (error.id(), error.is_panic()),
            None => std::future::pending().await,
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        Death { name, how: if panicked { "panicked" } else { "stopped" } }
    }
}

/// A background task that has stopped.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) name: &'static str,
    pub(super) how: &'static str,
}
