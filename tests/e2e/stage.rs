//! The control plane that the tests share.
//!
//! It lives in a static, which is never dropped: its processes end, and its files go, with this program.

use crate::support::installation::{Installation, Witnessed};
use std::sync::LazyLock;

/// The installation on which all tests run side by side: the webhook is registered and stays so.
pub(crate) fn shared() -> Witnessed<&'static Installation> {
    static SHARED: LazyLock<Installation> = LazyLock::new(|| {
        let installation = Installation::start();
        installation.webhook.register();
        installation
    });
    Witnessed::new(&SHARED)
}
