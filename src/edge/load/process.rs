//! What another process of this machine has used so far, as `/proc` tells.

#![expect(clippy::disallowed_methods, reason = "/proc is read as files")]

use std::io;
use std::time::Duration;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, to 10 ms.
    pub cpu: Duration,
    /// Resident memory.
    pub memory_kb: u64,
}

/// What process `id` has used.
///
/// # Errors
/// When there is no such process, or it is not ours to see.
pub fn usage(id: u32) -> io::Result<Usage> {
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{id} cannot be understood"));
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    read(&stat, &status).ok_or_else(unreadable)
}

fn read(stat: &str, status: &str) -> Option<Usage> {
    // Fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms; the name before them may hold blanks and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let memory_kb = memory.split_whitespace().next()?.parse().ok()?;
    Some(Usage { cpu: Duration::from_millis(user.checked_add(system)?.checked_mul(10)?), memory_kb })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_also_under_a_name_with_brackets() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 5 1 2";
        let usage = read(stat, "Name:\ta\nVmHWM:\t9 kB\nVmRSS:\t  1234 kB\n");
        assert_eq!(usage, Some(Usage { cpu: Duration::from_secs(3), memory_kb: 1234 }));
        assert_eq!(read("17 (a) S 1", "VmRSS: 1 kB"), None);
        assert!(super::usage(std::process::id()).unwrap().memory_kb > 0);
    }
}
