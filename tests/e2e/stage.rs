//! The two control planes that the tests share.
//!
//! Both are statics, which are never dropped. Their processes and files are removed when this program exits.

use crate::support::installation::{Installation, Witnessed};
use crate::updates;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The installation for tests that run in parallel. The webhook is always registered.
pub(crate) fn shared() -> Witnessed<&'static Installation> {
    static SHARED: LazyLock<Installation> = LazyLock::new(|| {
        let installation = Installation::start();
        installation.plane.kubectl("alice").apply(&updates::older_than_the_rules()).succeeds();
        installation.webhook.register();
        installation
    });
    Witnessed::new(&SHARED)
}

/// An installation whose webhook one test at a time may stop or unregister. Tests need not restore it.
pub(crate) fn exclusive() -> Witnessed<MutexGuard<'static, Installation>> {
    static EXCLUSIVE: LazyLock<Mutex<Installation>> = LazyLock::new(|| Mutex::new(Installation::start()));
    // A failed test does not affect the next one, which sets up everything that it needs.
    Witnessed::new(EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner))
}
