//! Symmetric RTP: media goes where the far end's media comes from, once it has come, whatever its SDP said.
//!
//! ```text
//!                first packet from anywhere           5 packets from it, 60 ms
//!   Open, to the SDP's address ──────► Open, to the candidate ──────► Locked
//!     ▲                                                                 │
//!     └────────────────── 2 s without a packet from it ─────────────────┘
//! ```
//!
//! Phones behind a NAT write a private address into their SDP; strangers may send to any port. So whoever sends first
//! is believed for the moment, but until the lock whoever is likelier goes before it ([`Rank`]), and after it nobody else is heard. Where the
//! SDP names a public address, one who sends from neither there nor where the signalling comes from is not believed at all before it
//! has been the only one for half a second: neither is it heard, nor does media go to it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::one_way::is_private;

/// Packets from one source until others are not heard: 100 ms of speech.
const PACKETS_TO_LOCK: u8 = 5;

/// They take this long at least: a handful sent at once is no stream.
const TIME_TO_LOCK: Duration = Duration::from_millis(60);

/// Packets until one is believed whom nothing speaks for, and how long they take at least: half a second of speech.
const STRANGE_PACKETS_TO_LOCK: u8 = 25;
const STRANGE_TIME_TO_LOCK: Duration = Duration::from_millis(450);

/// A candidate that stops this early was a stray packet, perhaps of the port's last call.
const CANDIDATE_QUIET_MAX: Duration = Duration::from_millis(200);

/// A locked source that is quiet for this long may have moved to another address.
const LOCKED_QUIET_MAX: Duration = Duration::from_secs(2);

/// Who is heard and where media goes.
#[derive(Debug)]
pub(super) struct Source {
    /// What the SDP says.
    described: SocketAddr,
    /// Where the signalling comes from.
    peer: Option<IpAddr>,
    destination: SocketAddr,
    state: State,
}

/// How likely it is that a source is the far end: the likelier goes before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Nothing speaks for it, and the SDP names another address that could be reached.
    Strange,
    /// Somebody must be it: what the SDP names cannot be reached.
    Possible,
    /// The host that the SDP names, or the one that the signalling comes from.
    Likely,
    /// What the SDP names.
    Described,
}

#[derive(Debug)]
enum State {
    /// Anybody may become the candidate.
    Open,
    /// This source has sent `packets` so far.
    Candidate { source: SocketAddr, rank: Rank, packets: u8, first: Instant, last: Instant },
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
    /// `peer` is where the signalling comes from, if that is known.
    pub(super) fn new(described: SocketAddr, peer: Option<IpAddr>) -> Self {
        Self { described, peer, destination: described, state: State::Open }
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

    /// True when `from` is where the far end is: whom we are locked to, or, before that, where media goes.
    pub(super) fn is_far_end(&self, from: SocketAddr) -> bool {
        self.locked().unwrap_or(self.destination) == from
    }

    /// Media goes elsewhere than the SDP says.
    pub(super) fn has_moved(&self) -> bool {
        self.destination != self.described
    }

    /// A new description. The same address as before (a refreshed session) changes nothing; another one is used at once and opens learning.
    pub(super) fn describe(&mut self, described: SocketAddr) {
        if described != self.described {
            *self = Self::new(described, self.peer);
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
            State::Candidate { source, rank, packets, first, last } if *source == from => {
                *packets = packets.saturating_add(1);
                *last = now;
                let strange = *rank == Rank::Strange;
                let (count, time) = match strange {
                    true => (STRANGE_PACKETS_TO_LOCK, STRANGE_TIME_TO_LOCK),
                    false => (PACKETS_TO_LOCK, TIME_TO_LOCK),
                };
                let locks = *packets >= count && now.saturating_duration_since(*first) >= time;
                if locks {
                    self.state = State::Locked { source: from, last: now };
                }
                if strange && !locks { Verdict::Ignored } else { self.follow(from) }
            }
            State::Candidate { rank, .. } if *rank >= rank_of(self.described, self.peer, from) => Verdict::Ignored,
            State::Open | State::Candidate { .. } => {
                let rank = rank_of(self.described, self.peer, from);
                self.state = State::Candidate { source: from, rank, packets: 1, first: now, last: now };
                if rank == Rank::Strange { Verdict::Ignored } else { self.follow(from) }
            }
        }
    }

    fn follow(&mut self, from: SocketAddr) -> Verdict {
        let moved = self.destination != from;
        self.destination = from;
        if moved { Verdict::Moved } else { Verdict::Heard }
    }

    /// A packet that says nothing but that its sender lives (comfort noise, say).
    pub(super) fn handle_sign_of_life(&mut self, now: Instant, from: SocketAddr) -> bool {
        match &mut self.state {
            State::Candidate { rank: Rank::Strange, .. } => false,
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

fn rank_of(described: SocketAddr, peer: Option<IpAddr>, from: SocketAddr) -> Rank {
    let (host, named) = (from.ip().to_canonical(), described.ip().to_canonical());
    if from == described {
        Rank::Described
    } else if host == named || peer.is_some_and(|peer| peer.to_canonical() == host) {
        Rank::Likely
    } else if is_private(named) || named.is_unspecified() {
        Rank::Possible
    } else {
        Rank::Strange
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
            Self { source: Source::new(SDP.parse().unwrap(), None), now: Instant::now() }
        }

        fn described(described: &str, peer: Option<&str>) -> Self {
            let source = Source::new(described.parse().unwrap(), peer.map(|peer| peer.parse().unwrap()));
            Self { source, ..Self::new() }
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

    /// Four hundred sources, a packet each, before and between those of the phone: none of them moves anything.
    #[test]
    fn a_flood_of_spoofed_sources_does_not_steer_what_a_public_address_gets() {
        let mut story = Story::described("203.0.113.5:4000", None);
        let spoofed = |number: u32| format!("198.51.{}.{}:{}", number / 256, number % 256, 1_024 + number);
        for number in 0..400 {
            assert_eq!(story.source.handle_packet(story.now, spoofed(number).parse().unwrap()), Verdict::Ignored);
        }
        assert_eq!(story.state(), ("203.0.113.5:4000".to_owned(), false));
        for number in 0..5 {
            assert_eq!(story.packets("203.0.113.5:4000", 1), Verdict::Heard, "the phone's packet {number}");
            for number in 0..400 {
                assert_eq!(story.source.handle_packet(story.now, spoofed(number).parse().unwrap()), Verdict::Ignored);
            }
        }
        assert_eq!(story.state(), ("203.0.113.5:4000".to_owned(), true));
    }

    /// The flood is there before the phone, which sends from another port than its SDP says: its host is known.
    #[test]
    fn a_flood_during_learning_gives_way_to_the_host_that_is_known() {
        for (described, peer) in [("203.0.113.5:4000", None), (SDP, Some("203.0.113.5"))] {
            let mut story = Story::described(described, peer);
            let mut heard = 0;
            for tick in 0..20_u64 {
                for number in 0..20 {
                    let from = SocketAddr::from(([198, 51, 100, 1], 1_024 + number));
                    story.source.handle_packet(story.now, from);
                }
                if tick >= 3 {
                    heard += u32::from(story.packets(PHONE, 1) != Verdict::Ignored);
                } else {
                    story.now += Duration::from_millis(20);
                }
            }
            assert_eq!((story.state(), heard), ((PHONE.to_owned(), true), 17), "{described}, {peer:?}");
        }
    }

    #[test]
    fn a_gateway_of_another_host_is_believed_after_half_a_second_alone() {
        let mut story = Story::described("203.0.113.5:4000", None);
        assert_eq!(story.packets(STRANGER, 24), Verdict::Ignored);
        assert_eq!(story.state(), ("203.0.113.5:4000".to_owned(), false));
        assert_eq!(story.packets(STRANGER, 1), Verdict::Moved);
        assert_eq!(story.state(), (STRANGER.to_owned(), true));
        // A thousand packets at once are no half second.
        let mut story = Story::described("203.0.113.5:4000", None);
        for _ in 0..1_000 {
            assert_eq!(story.source.handle_packet(story.now, STRANGER.parse().unwrap()), Verdict::Ignored);
        }
        assert_eq!(story.state(), ("203.0.113.5:4000".to_owned(), false));
        assert!(!story.source.handle_sign_of_life(story.now, STRANGER.parse().unwrap()));
    }

    #[test]
    fn a_handful_at_once_is_no_stream() {
        let mut story = Story::new();
        for _ in 0..50 {
            story.source.handle_packet(story.now, STRANGER.parse().unwrap());
        }
        assert_eq!(story.packets(SDP, 1), Verdict::Moved, "not locked: the SDP's address goes before it");
    }

    #[test]
    fn the_far_end_is_whom_media_goes_to_until_the_lock_and_then_whom_it_is_locked_to() {
        let mut story = Story::new();
        let is_far_end = |story: &Story, from: &str| story.source.is_far_end(from.parse().unwrap());
        assert!(is_far_end(&story, SDP) && !is_far_end(&story, PHONE));
        story.packets(PHONE, 1);
        assert!(!is_far_end(&story, SDP) && is_far_end(&story, PHONE) && story.source.has_moved());
        story.packets(PHONE, 4);
        assert!(!is_far_end(&story, SDP) && is_far_end(&story, PHONE));
    }
}
