//! One leg's SRTP: what it sends is protected, what comes is opened, in place, and new keys take over within the call.
//!
//! Our stream has one SSRC for the call's whole life, and one roll-over counter that nothing but the packets themselves tell. When keys
//! change it goes on (RFC 3711 §3.3.1), but a far end that begins anew (another device behind the same dialog, an implementation that
//! makes its contexts afresh) would count from 0 (RFC 4568 §7.1.4), and nothing in the description says which. As long as our counter
//! is 0, which is 11 to 22 minutes, both are the same. Beyond that a change of keys puts the stream under another SSRC, for which every far end counts
//! from 0. What comes is tried with either counter ([`Receiver::rekeyed`]), and packets of the old key that were under way are heard
//! until the first of the new one.

use crate::rtp::srtp::{KeyPair, Receiver, Refused, Sender};

/// Both directions of a leg under SRTP.
#[derive(Debug)]
pub(super) struct Protection {
    keys: KeyPair,
    sender: Sender,
    receiver: Receiver,
    /// Of the keys before, until the far end has taken up the new ones.
    before: Option<Receiver>,
}

/// What a change of keys does to our stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// It goes on.
    GoesOn,
    /// It needs another SSRC.
    BeginsAnew,
}

impl Protection {
    /// For a stream that begins.
    pub(super) fn new(keys: KeyPair) -> Self {
        Self { sender: Sender::new(&keys.ours), receiver: Receiver::new(&keys.theirs), before: None, keys }
    }

    /// What was agreed on again; the same keys change nothing.
    pub(super) fn rekey(&mut self, keys: KeyPair) -> Stream {
        if keys == self.keys {
            return Stream::GoesOn;
        }
        let stream = if self.sender.has_rolled_over() { Stream::BeginsAnew } else { Stream::GoesOn };
        match stream {
            Stream::BeginsAnew => self.sender = Sender::new(&keys.ours),
            Stream::GoesOn if keys.ours != self.keys.ours => self.sender = self.sender.rekeyed(&keys.ours),
            Stream::GoesOn => {}
        }
        if keys.theirs != self.keys.theirs {
            let receiver = self.receiver.rekeyed(&keys.theirs);
            self.before = Some(std::mem::replace(&mut self.receiver, receiver));
        }
        self.keys = keys;
        stream
    }

    /// Protects the RTP packet in the first `length` bytes, which needs [`RTP_OVERHEAD_MAX`](crate::rtp::srtp::RTP_OVERHEAD_MAX) more, and gives
    /// its new length. `None`: it must not be sent.
    pub(super) fn protect(&mut self, packet: &mut [u8], length: usize) -> Option<usize> {
        let protected = self.sender.protect(packet, length);
        protected.inspect_err(|error| tracing::debug!(%error, "a packet cannot be protected and is not sent")).ok()
    }

    /// The same for RTCP, which needs [`RTCP_OVERHEAD_MAX`](crate::rtp::srtp::RTCP_OVERHEAD_MAX) more.
    pub(super) fn protect_rtcp(&mut self, packet: &mut [u8], length: usize) -> Option<usize> {
        let protected = self.sender.protect_rtcp(packet, length);
        protected.inspect_err(|error| tracing::debug!(%error, "a report cannot be protected and is not sent")).ok()
    }

    /// Authenticates and decrypts what came, RTP or RTCP, and gives the length of what it was.
    pub(super) fn open(&mut self, packet: &mut [u8]) -> Result<usize, Refused> {
        let opened = open(&mut self.receiver, packet);
        let Some(before) = &mut self.before else { return opened };
        match opened {
            Ok(length) => {
                self.before = None;
                Ok(length)
            }
            // What was refused is as it came.
            Err(Refused::Forged) => open(before, packet),
            Err(refused) => Err(refused),
        }
    }
}

/// RFC 5761 §4: RTCP's packet types look like payload types 64 to 95 with the marker set, which no RTP of ours has.
fn open(receiver: &mut Receiver, packet: &mut [u8]) -> Result<usize, Refused> {
    if packet.get(1).is_some_and(|second| (192..=223).contains(second)) {
        receiver.unprotect_rtcp(packet)
    } else {
        receiver.unprotect(packet)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::dtmf::{Digit, Road};
    use crate::ids::Ids;
    use crate::media::{Event, Leg, LegReport, LegSettings, MAX_PACKET};
    use crate::rtp::RtpHeader;
    use crate::rtp::srtp::{MasterKey, RTCP_OVERHEAD_MAX, Suite};

    const NEAR: &str = "192.0.2.1:4000";
    const FAR: &str = "198.51.100.7:5000";
    const STRANGER: &str = "203.0.113.66:6000";

    fn key(suite: Suite, seed: u64) -> MasterKey {
        MasterKey::random(suite, &mut Ids::from_seed(seed))
    }

    fn keys(suite: Suite, [ours, theirs]: [u64; 2]) -> KeyPair {
        KeyPair { ours: key(suite, ours), theirs: key(suite, theirs) }
    }

    fn settings(remote: &str, keys: Option<KeyPair>) -> LegSettings {
        LegSettings {
            srtp: keys.map(Box::new),
            first_sequence: u16::MAX,
            silent_after: Some(Duration::from_secs(1)),
            ..LegSettings::plain(remote.parse().unwrap())
        }
    }

    /// Two legs that talk to each other, and what the second has heard.
    struct Talk {
        near: Leg,
        far: Leg,
        now: Instant,
        events: Vec<Event>,
    }

    impl Talk {
        fn new(suite: Suite) -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
            let now = Instant::now();
            let near = Leg::new(settings(FAR, Some(keys(suite, [1, 2]))), now);
            let far = Leg::new(settings(NEAR, Some(keys(suite, [2, 1]))), now);
            Self { near, far, now, events: Vec::new() }
        }

        /// A packet of the near leg on its way, 20 ms on.
        fn packet(&mut self) -> Vec<u8> {
            let mut packet = [0; MAX_PACKET];
            self.now += Duration::from_millis(20);
            let length = self.near.tick(self.now, &mut packet, &mut Vec::new()).unwrap();
            packet[..length].to_vec()
        }

        /// Whether the far leg takes it.
        fn is_taken(&mut self, from: &str, packet: &[u8]) -> bool {
            let from = from.parse().unwrap();
            self.far.handle_packet(self.now, from, &mut packet.to_vec(), &mut self.events).is_some()
        }

        /// `count` packets that all arrive; gives the header of the last.
        fn talk(&mut self, count: usize) -> RtpHeader {
            for index in 1.. {
                let packet = self.packet();
                assert!(self.is_taken(NEAR, &packet), "packet {index}");
                if index >= count {
                    return RtpHeader::parse(&packet).unwrap().0;
                }
            }
            unreachable!("it returns")
        }

        fn rekey(&mut self, near: Option<KeyPair>, far: Option<KeyPair>) {
            self.near.retarget(settings(FAR, near), self.now);
            self.far.retarget(settings(NEAR, far), self.now);
        }

        fn report(&self) -> LegReport {
            self.far.report()
        }
    }

    #[test]
    fn what_one_leg_says_another_hears_and_nobody_else() {
        for suite in Suite::ALL {
            let mut talk = Talk::new(suite);
            assert!(talk.near.press(Digit::STAR, Duration::from_millis(100)));
            let first = talk.talk(1);
            assert_eq!(first.sequence.0, u16::MAX >> 1, "far from the roll-over");
            talk.talk(20);
            assert_eq!(talk.events, [Event::Digit(Digit::STAR, Road::TelephoneEvent)], "{suite}");
            let expected = LegReport { packets_received: 21, digits: 1, ..talk.report() };
            assert_eq!((talk.report(), talk.report().srtp), (expected, Some(suite)));
            // In the clear, it is not what it was.
            let (mut packet, from) = (talk.packet(), NEAR.parse().unwrap());
            let mut plain = Leg::new(settings(NEAR, None), talk.now);
            let clear = plain.handle_packet(talk.now, from, &mut packet, &mut talk.events);
            assert!(clear.is_none_or(|clear| clear[12..172] != [0xff; 160]), "{suite}");
        }
    }

    /// Pain 1, and issue 3's seventh: a stranger's packet enters no call and steers no answer, not even its silence.
    #[test]
    fn what_is_not_authentic_is_counted_and_does_nothing() {
        let mut talk = Talk::new(Suite::AesCm128HmacSha1_80);
        let stranger: SocketAddr = STRANGER.parse().unwrap();
        let mut forged = talk.packet();
        forged[20] ^= 1;
        for packet in [&forged[..], &forged[..30], &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff], b"x", b""] {
            assert!(!talk.is_taken(STRANGER, packet));
        }
        let near: SocketAddr = NEAR.parse().unwrap();
        assert_eq!((talk.far.destination(), talk.far.locked()), (near, None), "{stranger} is not believed");
        assert_eq!((talk.report().packets_ignored, talk.report().packets_forged), (5, 5));
        // Forged packets are no sign of life.
        for _ in 0..49 {
            let mut packet = talk.packet();
            packet[30] ^= 0x10;
            assert!(!talk.is_taken(NEAR, &packet));
            talk.far.tick(talk.now, &mut [0; MAX_PACKET], &mut talk.events);
        }
        assert_eq!(talk.events, [Event::Silent]);
        talk.talk(5);
        assert_eq!(talk.far.locked(), Some(near));
        // A repeated packet is not forged; a stranger costs no cryptography once the far end is known.
        let packet = talk.packet();
        assert!(talk.is_taken(NEAR, &packet) && !talk.is_taken(NEAR, &packet) && !talk.is_taken(STRANGER, &packet));
        assert_eq!((talk.report().packets_ignored, talk.report().packets_forged), (56, 54));
    }

    #[test]
    fn the_same_keys_again_change_nothing() {
        let suite = Suite::AeadAes128Gcm;
        let mut talk = Talk::new(suite);
        let old = talk.packet();
        assert!(talk.is_taken(NEAR, &old));
        let before = talk.talk(3);
        talk.rekey(Some(keys(suite, [1, 2])), Some(keys(suite, [2, 1])));
        assert!(!talk.is_taken(NEAR, &old), "what was heard is not heard again");
        let after = talk.talk(1);
        assert_eq!((after.ssrc, after.sequence), (before.ssrc, before.sequence.next()));
    }

    /// Packets of the old key that were under way are heard until the first of the new one.
    #[test]
    fn new_keys_take_over_without_a_gap() {
        for suite in Suite::ALL {
            let mut talk = Talk::new(suite);
            let before = talk.talk(3);
            let (under_way, too_late) = (talk.packet(), talk.packet());
            talk.rekey(Some(keys(suite, [3, 4])), Some(keys(suite, [4, 3])));
            assert!(talk.is_taken(NEAR, &under_way));
            let after = talk.talk(1);
            assert_eq!((after.ssrc, after.sequence.0), (before.ssrc, before.sequence.0 + 3), "one stream goes on");
            assert!(!talk.is_taken(NEAR, &too_late), "its key is gone");
            assert_eq!(talk.report().packets_forged, 1);
            talk.talk(2);
        }
    }

    /// RFC 4568 §7.1.4 and RFC 3711 §3.3.1 leave open what a far end takes the roll-over counter for.
    #[test]
    fn new_keys_behind_a_roll_over_put_the_stream_under_another_ssrc() {
        let suite = Suite::AeadAes128Gcm;
        for (near, far, is_afresh) in [([3, 4], [4, 3], false), ([1, 4], [4, 1], true)] {
            let mut talk = Talk::new(suite);
            for index in 0..0x8000 {
                let packet = talk.packet();
                assert!(index % 1_000 > 0 || talk.is_taken(NEAR, &packet));
            }
            let before = talk.talk(1);
            assert_eq!(before.sequence.0, u16::MAX, "the last before the roll-over");
            let before = talk.talk(1);
            talk.near.retarget(settings(FAR, Some(keys(suite, near))), talk.now);
            let theirs = settings(NEAR, Some(keys(suite, far)));
            if is_afresh {
                // Another device, or one that makes its contexts anew.
                talk.far = Leg::new(theirs, talk.now);
            } else {
                talk.far.retarget(theirs, talk.now);
            }
            let after = talk.talk(1);
            assert_eq!((after.ssrc.0, after.sequence.0), (before.ssrc.0 + 1, 1), "{near:?} {far:?}");
            assert_eq!(after.timestamp, before.timestamp.plus(160));
            talk.talk(2);
        }
    }

    #[test]
    fn a_stream_may_become_srtp_and_plain_again() {
        let suite = Suite::AesCm128HmacSha1_32;
        let mut talk = Talk::new(suite);
        let before = talk.talk(3);
        talk.rekey(None, None);
        let plain = talk.talk(3);
        assert_eq!((plain.ssrc, plain.sequence.0, talk.report().srtp), (before.ssrc, before.sequence.0 + 3, None));
        talk.rekey(Some(keys(suite, [5, 6])), Some(keys(suite, [6, 5])));
        let packet = talk.packet();
        assert_eq!(packet.len(), 172 + 4);
        assert!(talk.is_taken(NEAR, &packet));
        let mut forged = packet;
        forged[3] = forged[3].wrapping_add(1);
        assert!(!talk.is_taken(NEAR, &forged), "nor is plain RTP taken any more");
    }

    /// What a leg gives to those who read and write RTCP.
    #[test]
    fn rtcp_is_protected_and_opened_by_the_leg_too() {
        let mut talk = Talk::new(Suite::AeadAes256Gcm);
        let clear = [&[0x80, 201, 0, 1][..], &[0, 0, 0, 1]].concat();
        let mut packet = [&clear[..], &[0; RTCP_OVERHEAD_MAX]].concat();
        let length = talk.near.protect_rtcp(&mut packet, clear.len()).unwrap();
        assert_eq!(length, packet.len());
        let from = NEAR.parse().unwrap();
        assert_eq!(talk.far.open(from, &mut packet.clone()), Some(&clear[..]));
        assert_eq!(talk.far.open(from, &mut packet.clone()), None, "once");
        assert_eq!((talk.report().packets_ignored, talk.report().packets_forged), (1, 0));
        let mut plain = Leg::new(settings(NEAR, None), talk.now);
        assert_eq!(plain.protect_rtcp(&mut packet, 8), Some(8));
        assert_eq!(plain.open(from, &mut clear.clone()), Some(&clear[..]));
    }
}
