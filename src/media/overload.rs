//! When a media worker has more to do than it can: its milliseconds come late.
//!
//! ```text
//!             a tenth of the last seconds' milliseconds came late
//!   Normal ─────────────────────────────────────────────────────────► Overloaded: new calls go elsewhere, or get 503
//!     ▲                                                                  │
//!     └──── a fiftieth or less, and five seconds since the change ───────┘
//! ```
//!
//! A far end's buffer takes a packet that comes a few milliseconds late; a worker that is late all the time makes every call
//! stutter. So new calls are refused while the old ones are still well. Up to [`ON_TIME_MAX`] nobody hears anything: a thread that sets
//! up calls on the same core costs a worker a millisecond or two now and then, while one with too much to do falls
//! behind further and further. A worker that is woken late, because the machine is busy otherwise, and has caught up within the time of a
//! frame could do more than it has to: refusing calls would not mend that. So what counts is lateness that it has not made good in
//! [`CATCH_UP_MAX`] milliseconds without a pause. Lateness under a handful of legs is no work of theirs in any case.

use std::time::Duration;

/// How much later than its moment a millisecond may come and still be on time: what the spacing of packets may vary by.
pub const ON_TIME_MAX: Duration = Duration::from_millis(3);

/// The share in units of 2^-20.
const ONE: u32 = 1 << 20;

/// The moving share forgets by 2^-11 a millisecond: half of what it knows is 1.4 s old. A pause of 100 ms, which a virtual machine
/// may well make, moves it by a twentieth.
const MEMORY_BITS: u32 = 11;

/// Share of late milliseconds that is too much, and share that is well again.
const TOO_MUCH: u32 = ONE / 10;
const WELL: u32 = ONE / 50;

/// Milliseconds that the state stays at least.
const HELD_MIN_MS: u32 = 5_000;

/// Milliseconds without a pause in which a worker that has time left makes good a late start.
const CATCH_UP_MAX: u32 = 20;

/// With fewer legs a worker is never overloaded by them.
pub const LEGS_MIN: usize = 50;

/// The moving share of late milliseconds, and what follows from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overload {
    share: u32,
    overloaded: bool,
    /// Milliseconds since the last change, up to [`HELD_MIN_MS`].
    held_ms: u32,
    /// Milliseconds since there was a pause, up to [`CATCH_UP_MAX`].
    busy_ms: u32,
}

impl Overload {
    /// One millisecond has come, `late` or not, at a worker of `legs` legs, which has `waited` for it or was still busy with those before.
    /// True when the state has changed with it.
    pub fn handle_tick(&mut self, late: bool, waited: bool, legs: usize) -> bool {
        self.share -= self.share >> MEMORY_BITS;
        self.busy_ms = if waited { 0 } else { (self.busy_ms + 1).min(CATCH_UP_MAX) };
        if late && self.busy_ms == CATCH_UP_MAX {
            self.share += ONE >> MEMORY_BITS;
        }
        self.held_ms = (self.held_ms + 1).min(HELD_MIN_MS);
        let changes = if self.overloaded {
            self.held_ms == HELD_MIN_MS && self.share <= WELL
        } else {
            legs >= LEGS_MIN && self.share >= TOO_MUCH
        };
        if changes {
            self.overloaded = !self.overloaded;
            self.held_ms = 0;
        }
        changes
    }

    /// No new leg should come here.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.overloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds until the state changes when `late` says which of them are late; `None` within a minute.
    fn until_change(overload: &mut Overload, legs: usize, late: impl Fn(u32) -> bool) -> Option<u32> {
        (1..=60_000).find(|&ms| overload.handle_tick(late(ms), false, legs))
    }

    #[test]
    fn a_worker_that_is_always_late_is_overloaded_within_a_quarter_of_a_second() {
        let mut overload = Overload::default();
        assert_eq!(until_change(&mut overload, 1_000, |_| true), Some(216 + CATCH_UP_MAX - 1));
        assert!(overload.is_overloaded());
    }

    #[test]
    fn a_share_of_late_milliseconds_decides_and_not_one_pause() {
        for (what, expected, late) in [
            ("one in five", Some(1_425), (|ms| ms % 5 == 0) as fn(u32) -> bool),
            ("one in twelve", None, |ms| ms % 12 == 0),
            ("a pause of 100 ms every two seconds", None, |ms| ms % 2_000 < 100),
            ("never", None, |_| false),
        ] {
            assert_eq!(until_change(&mut Overload::default(), LEGS_MIN, late), expected, "{what}");
        }
    }

    /// It comes back only when it is well, and not before five seconds: no flapping.
    #[test]
    fn hysteresis_keeps_the_state_until_the_worker_is_well() {
        let mut overload = Overload::default();
        until_change(&mut overload, 1_000, |_| true);
        let mut well_at_once = overload;
        assert_eq!(until_change(&mut well_at_once, 0, |_| false), Some(HELD_MIN_MS), "not before");
        assert_eq!(until_change(&mut overload, 1_000, |ms| ms % 20 == 0), None, "one in twenty is not well");
        assert_eq!(until_change(&mut overload, 1_000, |_| false), Some(1_984), "the share has to fall to a fiftieth");
        assert!(!overload.is_overloaded());
    }

    /// The machine wakes it 10 ms late each time, and it has caught up ten milliseconds later.
    #[test]
    fn a_worker_that_is_woken_late_and_catches_up_is_not_overloaded() {
        let mut overload = Overload::default();
        assert!(!(1..=60_000).any(|ms| overload.handle_tick(ms % 20 < 10, ms % 20 == 0, 1_000)));
        assert!(!(1..=60_000).any(|_| overload.handle_tick(true, true, 1_000)), "it waits, so it has time");
    }

    #[test]
    fn a_worker_with_few_legs_is_late_for_other_reasons() {
        assert_eq!(until_change(&mut Overload::default(), LEGS_MIN - 1, |_| true), None);
    }
}
