//! Sleeping on two descriptors at once, with the precision of the clock.

use std::os::fd::RawFd;
use std::time::Instant;

use crate::edge::clock;

/// Sleeps until one of the descriptors can be read or `until` has come; `None` waits for the descriptors alone.
pub fn wait(descriptors: [RawFd; 2], until: Option<Instant>) {
    let mut polls = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let left = until.map(|until| until.saturating_duration_since(clock::now().instant));
    let left = left.map(|left| libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(left.subsec_nanos()),
    });
    let timeout = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: two pollfds, as announced; the timespec, if any, outlives the call; no signal mask.
    #[expect(unsafe_code, reason = "ppoll is not in std")]
    unsafe {
        libc::ppoll(polls.as_mut_ptr(), 2, timeout, std::ptr::null());
    }
}
