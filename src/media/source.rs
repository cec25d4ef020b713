//! Symmetric RTP: media goes where the far end's media comes from, once it has come, whatever its SDP said.
//!
//! ```text
//!                first packet from anywhere            5 packets from it
//!   Open, to the SDP's address ──────► Open, to the candidate ──────► Locked
//!     ▲                                                                 │
//!     └────────────────── 2 s without a packet from it ─────────────────┘
//! ```
//!
//! Phones behind a NAT write a private address into their SDP; strangers may send to any port. So whoever sends first
//! is believed for the moment, the SDP's own address goes before anybody else until the lock, and after it strangers are not heard.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Packets from one source until others are not heard: 100 ms of speech.
const PACKETS_TO_LOCK: u8 = 5;

/// A candidate that stops this early was a stray packet, perhaps of the port's last call.
const CANDIDATE_QUIET_MAX: Duration = Duration::from_millis(200);

/// A locked source that is quiet for this long may have moved to another address.
const LOCKED_QUIET_MAX: Duration = Duration::from_secs(2);

/// Who is heard and where media goes.
#[derive(Debug)]
pub(super) struct Source {
    /// What the SDP says.
    described: SocketAddr,
    destination: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Anybody may become the candidate.
    Open,
    /// This source has sent `packets` so far.
    Candidate { source: SocketAddr, packets: u8, last: Instant },
    /// Only this source is heard.
    Locked { source: SocketAddr, last: Instant },
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the far end's.
    Heard,
    /// It is the far end's, and media goes there from now on.
    Moved,
    /// A stranger's.
    Ignored,
}

impl Source {
    pub(super) fn new(described: SocketAddr) -> Self {
        Self { described, destination: described, state: State::Open }
    }

    pub(super) fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// The only source that is heard, once it is known.
    pub(super) fn locked(&self) -> Option<SocketAddr> {
        match self.state {
            State::Locked { source, .. } => Some(source),
            State::Open | State::Candidate { .. } => None,
        }
    }

    /// A new description. The same address as before (a refreshed session) changes nothing; another one is used at once and opens learning.
    pub(super) fn describe(&mut self, described: SocketAddr) {
        if described != self.described {
            *self = Self::new(described);
        }
    }

    /// Judges an RTP packet with a negotiated payload type.
    pub(super) fn handle_packet(&mut self, now: Instant, from: SocketAddr) -> Verdict {
        self.handle_time(now);
        match &mut self.state {
            State::Locked { source, last } if *source == from => {
                *last = now;
                Verdict::Heard
            }
            State::Locked { .. } => Verdict::Ignored,
            State::Candidate { source, packets, last } if *source == from => {
                *packets += 1;
                *last = now;
                if *packets >= PACKETS_TO_LOCK {
                    self.state = State::Locked { source: from, last: now };
                }
                Verdict::Heard
            }
            State::Candidate { .. } if from != self.described => Verdict::Ignored,
            State::Open | State::Candidate { .. } => {
                self.state = State::Candidate { source: from, packets: 1, last: now };
                let moved = self.destination != from;
                self.destination = from;
                if moved { Verdict::Moved } else { Verdict::Heard }
            }
        }
    }

    /// A packet that says nothing but that its sender lives (comfort noise, say).
    pub(super) fn handle_sign_of_life(&mut self, now: Instant, from: SocketAddr) -> bool {
        match &mut self.state {
            State::Locked { source, last } | State::Candidate { source, last, .. } if *source == from => {
                *last = now;
                true
            }
            State::Locked { .. } | State::Candidate { .. } => false,
            State::Open => from == self.destination,
        }
    }

    /// Opens learning again when whoever was heard has gone quiet. Media keeps going to where it went.
    pub(super) fn handle_time(&mut self, now: Instant) {
        let quiet = |last: Instant| now.saturating_duration_since(last);
        let gone = match self.state {
            State::Open => false,
            State::Candidate { last, .. } => quiet(last) >= CANDIDATE_QUIET_MAX,
            State::Locked { last, .. } => quiet(last) >= LOCKED_QUIET_MAX,
        };
        if gone {
            self.state = State::Open;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "192.168.1.10:4000";
    const PHONE: &str = "203.0.113.5:62000";
    const STRANGER: &str = "198.51.100.66:9";

    struct Story {
        source: Source,
        now: Instant,
    }

    impl Story {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        fn new() -> Self {
            Self { source: Source::new(SDP.parse().unwrap()), now: Instant::now() }
        }

        /// `count` packets from `from`, 20 ms apart; gives the last verdict.
        fn packets(&mut self, from: &str, count: u32) -> Verdict {
            let mut verdict = Verdict::Ignored;
            for _ in 0..count {
                verdict = self.source.handle_packet(self.now, from.parse().unwrap());
                self.now += Duration::from_millis(20);
            }
            verdict
        }

        fn state(&self) -> (String, bool) {
            (self.source.destination().to_string(), self.source.locked().is_some())
        }
    }

    #[test]
    fn a_phone_behind_a_nat_is_learned_and_locked() {
        let mut story = Story::new();
        assert_eq!(story.state(), (SDP.to_owned(), false));
        assert_eq!(story.packets(PHONE, 1), Verdict::Moved);
        assert_eq!(story.packets(PHONE, 3), Verdict::Heard);
        assert_eq!(story.state(), (PHONE.to_owned(), false));
        assert_eq!(story.packets(PHONE, 1), Verdict::Heard);
        assert_eq!(story.state(), (PHONE.to_owned(), true));
    }

    #[test]
    fn strangers_are_not_heard_and_cannot_hinder_the_lock() {
        let mut story = Story::new();
        for _ in 0..5 {
            story.packets(PHONE, 1);
            assert_eq!(story.packets(STRANGER, 1), Verdict::Ignored);
        }
        assert_eq!(story.state(), (PHONE.to_owned(), true));
        assert_eq!(story.packets(STRANGER, 50), Verdict::Ignored);
        assert_eq!(story.packets(SDP, 1), Verdict::Ignored, "nor the SDP's address, after the lock");
    }

    #[test]
    fn the_described_address_goes_before_a_stranger_until_the_lock() {
        let mut story = Story::new();
        assert_eq!(story.packets(STRANGER, 4), Verdict::Heard);
        assert_eq!(story.packets(SDP, 1), Verdict::Moved);
        assert_eq!(story.packets(STRANGER, 1), Verdict::Ignored);
        story.packets(SDP, 4);
        assert_eq!(story.state(), (SDP.to_owned(), true));
    }

    #[test]
    fn a_stray_packet_of_the_ports_last_call_is_forgotten() {
        let mut story = Story::new();
        story.packets(STRANGER, 1);
        story.now += Duration::from_millis(179);
        assert_eq!(story.packets(PHONE, 1), Verdict::Ignored, "199 ms after the stray packet");
        assert_eq!(story.packets(PHONE, 1), Verdict::Moved);
    }

    #[test]
    fn a_phone_that_changes_its_network_is_learned_again_after_two_seconds() {
        let mut story = Story::new();
        story.packets(STRANGER, 5);
        assert_eq!(story.packets(PHONE, 98), Verdict::Ignored, "1.96 s after the last packet");
        story.source.handle_time(story.now);
        assert!(story.state().1);
        story.now += Duration::from_millis(20);
        story.source.handle_time(story.now);
        assert_eq!(story.state(), (STRANGER.to_owned(), false), "media goes on to where it went");
        assert_eq!(story.packets(PHONE, 1), Verdict::Moved);
    }

    #[test]
    fn a_new_description_opens_and_the_same_one_does_not() {
        let mut story = Story::new();
        story.packets(PHONE, 5);
        story.source.describe(SDP.parse().unwrap());
        assert_eq!(story.state(), (PHONE.to_owned(), true));
        story.source.describe(STRANGER.parse().unwrap());
        assert_eq!(story.state(), (STRANGER.to_owned(), false));
    }
}
