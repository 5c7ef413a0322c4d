//! Measures the resident memory of a process, in KiB. There is no answer if the system does not report it, or if the process
//! has exited.

/// What it has now.
pub(crate) fn current(pid: u32) -> Option<u64> {
    resident(pid, "VmRSS:")
}

/// Its peak so far.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    resident(pid, "VmHWM:")
}

fn resident(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
