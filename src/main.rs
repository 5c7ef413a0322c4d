//! The `crm-admission` program: picks the crypto provider, reads the arguments and runs the command.

use std::process::ExitCode;

use crm_admission::cli;

fn main() -> ExitCode {
    // Before anything can make a TLS configuration. It fails only where a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::main()
}
