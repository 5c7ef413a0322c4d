//! The two control planes that the tests share.
//!
//! Both live in statics, which are never dropped: their processes end, and their files go, with this program.

use crate::support::installation::{Installation, Witnessed};
use crate::updates;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The installation on which all tests run side by side: the webhook is registered and stays so.
pub(crate) fn shared() -> Witnessed<&'static Installation> {
    static SHARED: LazyLock<Installation> = LazyLock::new(|| {
        let installation = Installation::start();
        installation.plane.kubectl("alice").apply(&updates::older_than_the_rules()).succeeds();
        installation.webhook.register();
        installation
    });
    Witnessed::new(&SHARED)
}

/// An installation whose webhook one test at a time may stop or unregister. It is left as it happens to be.
pub(crate) fn exclusive() -> Witnessed<MutexGuard<'static, Installation>> {
    static EXCLUSIVE: LazyLock<Mutex<Installation>> = LazyLock::new(|| Mutex::new(Installation::start()));
    // A test that failed says nothing about the next one, which sets up what it needs.
    Witnessed::new(EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner))
}
