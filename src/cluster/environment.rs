//! Reads environment variables.

use std::ffi::OsString;

/// The values of environment variables. Empty ones count as not set.
pub(super) type Variables<'v> = &'v dyn Fn(&str) -> Option<OsString>;

/// The value of a variable of this process.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
