//! What another process of this machine has used so far: its memory as `/proc` tells, its CPU time by its own clock.

#![expect(clippy::disallowed_methods, reason = "/proc is read as files")]
#![expect(unsafe_code, reason = "the clock of another process is not in std")]

use std::io;
use std::time::Duration;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads. (`/proc` knows it in steps of 10 ms, which is what fifty calls use in a second.)
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
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok(Usage { cpu: cpu(id)?, memory_kb: resident_kb(&status).ok_or_else(unreadable)? })
}

fn cpu(id: u32) -> io::Result<Duration> {
    let id = libc::pid_t::try_from(id).map_err(|_| io::ErrorKind::NotFound)?;
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: `clock` is a whole clockid_t that outlives the call.
    let error = unsafe { libc::clock_getcpuclockid(id, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: `time` is a whole timespec that outlives the call.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Ok(Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0)))
}

fn resident_kb(status: &str) -> Option<u64> {
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    memory.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_from_outside() {
        assert_eq!(resident_kb("Name:\ta\nVmHWM:\t9 kB\nVmRSS:\t  1234 kB\n"), Some(1234));
        assert_eq!(resident_kb("Name:\ta\n"), None, "a kernel thread has none");
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.cpu > Duration::ZERO && usage.memory_kb > 0, "{usage:?}");
        assert!(super::usage(u32::MAX).is_err(), "there is no such process");
    }
}
