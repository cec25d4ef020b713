//! The moment an input happened, as the edge saw it. Pure code never asks a clock: it is handed one of these.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// One moment on both clocks: `instant` for timers (monotonic), `wall` for calendars, cases and records (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time; what every deadline is measured in.
    pub instant: Instant,
    /// Wall-clock time in UTC; what people read.
    pub wall: Timestamp,
}

impl Now {
    /// The moment `duration` after this one, on both clocks. Saturates at the end of the calendar.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let wall = jiff::SignedDuration::try_from(duration)
            .ok()
            .and_then(|duration| self.wall.checked_add(duration).ok())
            .unwrap_or(Timestamp::MAX);
        Self { instant: self.instant + duration, wall }
    }
}
