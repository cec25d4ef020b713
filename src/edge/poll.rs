//! Sleeping on several descriptors at once, with the precision of the clock.

use std::os::fd::RawFd;
use std::time::Instant;

use crate::edge::clock;

/// What is slept on.
pub struct Poll {
    descriptors: Vec<libc::pollfd>,
}

impl Poll {
    /// All of these, for reading; they stay open as long as this is used.
    #[must_use]
    pub fn new(descriptors: impl IntoIterator<Item = RawFd>) -> Self {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        Self { descriptors: descriptors.into_iter().map(poll).collect() }
    }

    /// Sleeps until one of the descriptors can be read or `until` has come; `None` waits for the descriptors alone.
    pub fn wait(&mut self, until: Option<Instant>) {
        let left = until.map(|until| until.saturating_duration_since(clock::now().instant));
        let left = left.map(|left| libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(left.subsec_nanos()),
        });
        let timeout = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let count = libc::nfds_t::try_from(self.descriptors.len()).unwrap_or_default();
        // SAFETY: as many pollfds as announced; the timespec, if any, outlives the call; no signal mask.
        #[expect(unsafe_code, reason = "ppoll is not in std")]
        unsafe {
            libc::ppoll(self.descriptors.as_mut_ptr(), count, timeout, std::ptr::null());
        }
    }
}
