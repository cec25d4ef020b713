//! How many sockets this process may have open.

#![expect(unsafe_code, reason = "getrlimit and setrlimit are not in std")]

use std::io;

/// Lifts the limit on open files to what the system allows this process (`RLIMIT_NOFILE`, soft to hard) and gives it. Many
/// systems begin at 1,024, which would be as many calls.
///
/// # Errors
/// What the system says; the limit then stays as it was.
pub fn lift_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is whole and outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; nothing is written.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}
