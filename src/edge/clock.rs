//! The only place that asks the clocks.
#![expect(clippy::disallowed_methods, reason = "this is the clock that all others are handed")]

use std::time::Instant;

use jiff::Timestamp;

use crate::now::Now;

/// This moment, on both clocks.
#[must_use]
pub fn now() -> Now {
    Now { instant: Instant::now(), wall: Timestamp::now() }
}
