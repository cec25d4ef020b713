//! The four transaction machines of RFC 3261 §17 with the corrections of RFC 6026, one a file.
//!
//! A machine holds its state, its timers and the bytes that it may have to send again. It neither parses nor knows where the
//! bytes go: whoever owns it does both. It says by return value what is to be done, and `poll_timeout` when it wants to wake.
//!
//! Each timer of RFC 3261 table 4, and L and M of RFC 6026, has a test beside its machine that fails when it is a millisecond longer. Timer C is a
//! proxy's; there is none here.

pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod server;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::transport::Transport;

/// The timer values that all machines derive theirs from (RFC 3261 Table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest retransmission interval.
    pub t2: Duration,
    /// Longest life of a message in the network.
    pub t4: Duration,
    /// The transport loses nothing: nothing is sent twice, and no repetition is waited for.
    pub reliable: bool,
}

impl Timing {
    /// 64·T1: timers B, F, H, L and M, whatever the transport.
    #[must_use]
    pub fn give_up(self) -> Duration {
        self.t1 * 64
    }

    /// The same values for a transaction over `transport`.
    #[must_use]
    pub fn over(self, transport: Transport) -> Self {
        Self { reliable: transport.is_reliable(), ..self }
    }

    /// Timer D: at least 32 s over UDP (RFC 3261 §17.1.1.2).
    #[must_use]
    pub fn d(self) -> Duration {
        self.unless_reliable(self.give_up().max(Duration::from_secs(32)))
    }

    /// Timers I and K: T4 over UDP (RFC 3261 §17.2.1, §17.1.2.2).
    #[must_use]
    pub fn i(self) -> Duration {
        self.unless_reliable(self.t4)
    }

    /// Timer J: 64·T1 over UDP (RFC 3261 §17.2.2).
    #[must_use]
    pub fn j(self) -> Duration {
        self.unless_reliable(self.give_up())
    }

    /// How long repetitions may come: over a reliable transport none does.
    fn unless_reliable(self, wait: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { wait }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5), reliable: false }
    }
}

/// What a machine wants when its timers fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Nothing was due.
    Nothing,
    /// Send these bytes again.
    Send(Bytes),
    /// The transaction is over as it should be; drop it.
    Terminated,
    /// The peer never answered (timers B and F) or never acknowledged (H); tell the user and drop it.
    TimedOut,
}

/// A message that is sent again at growing intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resend {
    bytes: Bytes,
    at: Option<Instant>,
    interval: Duration,
}

impl Resend {
    /// First after T1; `at` is `None` over a reliable transport.
    fn new(timing: Timing, now: Instant, bytes: Bytes) -> Self {
        Self { bytes, at: (!timing.reliable).then(|| now + timing.t1), interval: timing.t1 }
    }

    /// Whichever comes first: this with its timer's letter, or the end of the transaction.
    fn or(&self, timer: char, end: (Instant, char)) -> (Instant, char) {
        self.at.filter(|at| *at < end.0).map_or(end, |at| (at, timer))
    }

    /// Gives the bytes when they are due and doubles the interval, up to `longest`.
    fn fire(&mut self, now: Instant, longest: Duration) -> Option<Bytes> {
        let due = self.at.filter(|at| *at <= now)?;
        self.interval = (self.interval * 2).min(longest);
        // Counted from when the timer was due, so that a late wake-up does not shift the ladder.
        let next = due + self.interval;
        self.at = Some(if next <= now { now + self.interval } else { next });
        Some(self.bytes.clone())
    }
}

#[cfg(test)]
mod testing {
    use super::{Fired, Instant};

    /// Wakes a machine at each of its timers until it wants no more, and writes down when, why and what came of it.
    pub(super) fn run<M>(
        start: Instant,
        machine: &mut M,
        poll: impl Fn(&M) -> Option<(Instant, char)>,
        fire: impl Fn(&mut M, Instant) -> Fired,
    ) -> Vec<String> {
        let mut ladder = Vec::new();
        while let Some((at, timer)) = poll(machine) {
            let outcome = match fire(machine, at) {
                Fired::Nothing => " nothing",
                Fired::Send(_) => "",
                Fired::Terminated => " terminated",
                Fired::TimedOut => " timed out",
            };
            ladder.push(format!("{} {timer}{outcome}", (at - start).as_millis()));
        }
        ladder
    }
}
