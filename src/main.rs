//! The `crm-admission` program: picks the crypto provider, reads the arguments and runs the command.

fn main() {}
