//! A control plane with the product, installed in the order in which an admin would do it.

use super::control_plane::ControlPlane;
use super::manifest;
use super::process::Witness;
use super::webhook::Webhook;
use std::ops::Deref;

/// A control plane with the kinds, the roles and a running webhook.
pub(crate) struct Installation {
    pub(crate) webhook: Webhook,
    /// Dropped last: the webhook is its client.
    pub(crate) plane: ControlPlane,
}

impl Installation {
    /// Starts everything. The webhook is ready, but not registered.
    pub(crate) fn start() -> Self {
        Self::start_on(ControlPlane::start())
    }

    /// Like [`Installation::start`], on a running control plane.
    pub(crate) fn start_on(plane: ControlPlane) -> Self {
        plane.install_kinds(&manifest("crds"));
        plane.install_roles();
        Self { webhook: Webhook::start(&plane), plane }
    }

    /// Prints the logs of all programs from now on if the test fails.
    pub(crate) fn witness(&self) -> Witness {
        Witness::new(self.plane.logs().chain([self.webhook.log().clone()]))
    }
}

/// A shared installation in one test. If the test fails, the logs are printed.
pub(crate) struct Witnessed<T> {
    _witness: Witness,
    installation: T,
}

impl<T: Deref<Target = Installation>> Witnessed<T> {
    pub(crate) fn new(installation: T) -> Self {
        Self { _witness: installation.witness(), installation }
    }
}

impl<T> Deref for Witnessed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.installation
    }
}

impl<T> std::ops::DerefMut for Witnessed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.installation
    }
}
