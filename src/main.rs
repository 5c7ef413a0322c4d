//! The `crm-admission` program: picks the crypto provider, reads the arguments and runs the command.

use std::process::ExitCode;

use crm_admission::cli;

/// musl's own allocator is slow, and has one lock for all threads: docs/performance.md, "The static program".
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Must run before any TLS configuration is created. Fails only if a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::main()
}
