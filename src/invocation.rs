//! What users type to run this program, for help, usage lines and hints.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

/// The name of the program, unless kubectl runs it.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// `crm-admission`, or `kubectl crm-admission` if the program runs as a plugin of kubectl.
#[must_use]
pub fn invocation() -> &'static str {
    static INVOCATION: LazyLock<String> =
        LazyLock::new(|| of(std::env::args_os().next().as_deref().unwrap_or_default()));
    &INVOCATION
}

/// kubectl finds plugins by their file names: `kubectl a-b c` is kubectl-a_b-c.
fn of(program: &OsStr) -> String {
    let file_name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    match file_name.strip_prefix("kubectl-") {
        Some(words) => format!("kubectl {}", words.replace('-', " ").replace('_', "-")),
        None => PROGRAM.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plugin_of_kubectl_has_another_name() {
        let of = |program: &str| of(OsStr::new(program));
        assert_eq!(of("/opt/krew/bin/kubectl-crm_admission"), "kubectl crm-admission");
        assert_eq!(of("kubectl-crm-admission"), "kubectl crm admission");
        for name in ["crm-admission", "/kubectl-plugins/crm-admission", "renamed", ""] {
            assert_eq!(of(name), PROGRAM, "{name}");
        }
    }
}
