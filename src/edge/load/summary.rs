//! What a load run has shown.

use std::collections::BTreeMap;
use std::time::Duration;

use super::heard::Counts;
use super::spread::Spread;
use crate::audio::Codec;
use crate::rtp::srtp::Suite;

/// Everything that was counted. Packets and spacing are those of the measured window, calls and latencies those of the whole run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// INVITEs sent.
    pub placed: usize,
    /// Calls answered with 200.
    pub answered: usize,
    /// How many of them are in which codec, protected how.
    pub audio: BTreeMap<(Codec, Option<Suite>), usize>,
    /// Calls up through the whole window.
    pub measured: usize,
    /// Calls that were not answered, by final status; 408 is also a far end that never answered.
    pub refused: BTreeMap<u16, usize>,
    /// Calls that the far end ended before we did.
    pub broken_off: usize,
    /// Calls whose BYE was not answered in time.
    pub not_hung_up: usize,
    /// INVITE sent to 200 received.
    pub set_up: Spread,
    /// 200 received to first RTP packet.
    pub first_audio: Spread,
    /// Calls that heard nothing at all.
    pub silent: usize,
    /// How long the window was.
    pub window: Duration,
    /// Packets received in the window.
    pub heard: Counts,
    /// Packets that 50 a second make of the window.
    pub expected: u64,
    /// Share, 0 to 1, of its packets that the worst call got.
    pub worst_share: f64,
    /// From one packet of a call to its next.
    pub spacing: Spread,
    /// Packets that our own sockets had no room for, in the whole run: lost here.
    pub lost_here: u64,
    /// Packets sent in the window, and those that the system would not take.
    pub sent: u64,
    /// See `sent`.
    pub unsent: u64,
    /// Packets whose SRTP could not be authenticated, in the whole run.
    pub forged: u64,
    /// Presses begun.
    pub presses: u64,
    /// Presses that the far end would not take by INFO.
    pub keys_refused: u64,
    /// Presses that no sound followed.
    pub presses_unanswered: u64,
    /// First packet of a press to first packet of the prompt that follows.
    pub reaction: Spread,
    /// What the server's process used, when it was watched.
    pub server: Option<Server>,
    /// CPU time of the generator itself in the window.
    pub own_cpu: Duration,
    /// How late its milliseconds came.
    pub own_lateness: Spread,
    /// Nothing at all came back.
    pub unreachable: bool,
    /// Ctrl-C ended it.
    pub interrupted: bool,
}

/// What the server's process used in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Server {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Resident memory now, and before the first call.
    pub memory_kb: u64,
    /// See `memory_kb`.
    pub memory_before_kb: u64,
}

impl Summary {
    /// CPU of the server for a call and second, in µs.
    #[must_use]
    pub fn cpu_us_per_call_second(&self) -> Option<f64> {
        let call_seconds = self.measured as f64 * self.window.as_secs_f64();
        let server = self.server.filter(|_| call_seconds > 0.0)?;
        Some(server.cpu.as_secs_f64() * 1e6 / call_seconds)
    }

    /// Memory of the server for a call.
    #[must_use]
    pub fn memory_kb_per_call(&self) -> Option<f64> {
        let server = self.server.filter(|_| self.measured > 0)?;
        Some(server.memory_kb.saturating_sub(server.memory_before_kb) as f64 / self.measured as f64)
    }
}
