//! Checks and decrypts what comes: several streams under one key, no packet twice (RFC 3711 §3.3, §3.4).

use super::key::MasterKey;
use super::replay::{Window, nearest};
use super::transform::{ENCRYPTED, INDEX_LENGTH, RTCP_HEADER_LENGTH, Transform};
use super::{Lifetime, Suite};
use crate::rtp::RtpHeader;

/// Streams that are remembered. A far end has one, and another one when it is transferred or starts anew; when so many have
/// come, the one that was heard longest ago makes room, which only the holder of the key can bring about.
pub const STREAMS_MAX: usize = 8;

/// The receiving half of a leg's SRTP.
pub struct Receiver {
    suite: Suite,
    rtp: Transform,
    rtcp: Transform,
    lifetime: Lifetime,
    streams: Streams,
    rtcp_streams: Streams,
    packets: u64,
    rtcp_packets: u64,
    /// Where the streams of the key before this one stood.
    before: Streams,
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It ends inside what a packet must have.
    #[error("the packet ends inside its header or tag")]
    TooShort,
    /// It has come before, or is too old to know.
    #[error("the packet has come before, or comes too late to know")]
    Replayed,
    /// Its tag is not right: forged, damaged, or made with another key.
    #[error("the packet's authentication failed")]
    Forged,
    /// The key has protected as many packets as it may (RFC 3711 §9.2).
    #[error("the far end's key has come to the end of its life")]
    KeyExpired,
}

impl Receiver {
    /// For a far end that protects with `key`.
    #[must_use]
    pub fn new(key: &MasterKey) -> Self {
        let (rtp, rtcp) = key.transforms();
        Self {
            suite: key.suite(),
            rtp,
            rtcp,
            lifetime: key.lifetime(),
            streams: Streams::default(),
            rtcp_streams: Streams::default(),
            packets: 0,
            rtcp_packets: 0,
            before: Streams::default(),
        }
    }

    /// For the same far end under another key. Its roll-over counters go on (RFC 3711 §3.3.1), or begin anew as many far ends have
    /// it; the first packets tell.
    #[must_use]
    pub fn rekeyed(&self, key: &MasterKey) -> Self {
        Self { before: self.streams.clone(), ..Self::new(key) }
    }

    /// How it is protected.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// True when a packet of the far end was authenticated under this key.
    #[must_use]
    pub fn has_received(&self) -> bool {
        self.packets + self.rtcp_packets > 0
    }

    /// Checks and decrypts an SRTP packet in place, and gives the RTP packet's length.
    ///
    /// # Errors
    /// [`Refused`]; `packet` is then as it was, and so is all that this receiver knows.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, Refused> {
        let clear_length = packet.len().checked_sub(self.rtp.tag_length()).ok_or(Refused::TooShort)?;
        let clear = packet.get(..clear_length).ok_or(Refused::TooShort)?;
        let Some([_, _, s0, s1, _, _, _, _, ssrc @ ..]) = clear.first_chunk::<12>() else {
            return Err(Refused::TooShort);
        };
        let (sequence, ssrc) = (u16::from_be_bytes([*s0, *s1]), u32::from_be_bytes(*ssrc));
        let payload = RtpHeader::length(clear).ok().filter(|&payload| payload <= clear_length);
        let payload = payload.ok_or(Refused::TooShort)?;
        if self.packets >= self.lifetime.rtp {
            return Err(Refused::KeyExpired);
        }
        let index = match self.streams.find(ssrc) {
            Some(stream) => {
                let index = nearest(stream.highest(), sequence).filter(|&index| stream.is_new(index));
                let index = index.ok_or(Refused::Replayed)?;
                self.rtp.open_rtp(packet, payload, ssrc, index).map_err(|_| Refused::Forged)?;
                index
            }
            None => self
                .first_indices(ssrc, sequence)
                .find(|&index| self.rtp.open_rtp(packet, payload, ssrc, index).is_ok())
                .ok_or(Refused::Forged)?,
        };
        self.streams.mark(ssrc, index);
        self.packets += 1;
        Ok(clear_length)
    }

    /// Checks and decrypts an SRTCP packet in place, and gives the RTCP packet's length. A packet that its sender chose not to
    /// encrypt (the E bit) is authenticated all the same.
    ///
    /// # Errors
    /// [`Refused`]; all that this receiver knows is then as it was.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Refused> {
        let clear_length = packet.len().checked_sub(self.rtcp.tag_length() + INDEX_LENGTH);
        let clear_length = clear_length.filter(|&length| length >= RTCP_HEADER_LENGTH).ok_or(Refused::TooShort)?;
        let Some([_, _, _, _, ssrc @ ..]) = packet.first_chunk::<RTCP_HEADER_LENGTH>() else {
            return Err(Refused::TooShort);
        };
        let ssrc = u32::from_be_bytes(*ssrc);
        let word = self.rtcp.rtcp_word(packet).ok_or(Refused::TooShort)?;
        let index = u64::from(word & !ENCRYPTED);
        if self.rtcp_packets >= self.lifetime.rtcp {
            return Err(Refused::KeyExpired);
        }
        if self.rtcp_streams.find(ssrc).is_some_and(|stream| !stream.is_new(index)) {
            return Err(Refused::Replayed);
        }
        self.rtcp.open_rtcp(packet, ssrc, word).map_err(|_| Refused::Forged)?;
        self.rtcp_streams.mark(ssrc, index);
        self.rtcp_packets += 1;
        Ok(clear_length)
    }

    /// The indices that the first packet heard of a stream may have, the likeliest first: no roll-over yet; one, missed together with the
    /// first packets; the one after those under the key before.
    fn first_indices(&self, ssrc: u32, sequence: u16) -> impl Iterator<Item = u64> + use<> {
        let rolled_over = (sequence < 1 << 15).then_some(u64::from(sequence) + (1 << 16));
        let known = self.before.find(ssrc).and_then(|stream| nearest(stream.highest(), sequence));
        let known = known.filter(|&index| index >= 1 << 16 && Some(index) != rolled_over);
        std::iter::once(u64::from(sequence)).chain(rolled_over).chain(known)
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("suite", &self.suite).field("packets", &self.packets).finish_non_exhaustive()
    }
}

/// The streams of one kind of packet, the one heard last first.
#[derive(Clone, Debug, Default)]
struct Streams([Option<(u32, Window)>; STREAMS_MAX]);

impl Streams {
    fn find(&self, ssrc: u32) -> Option<&Window> {
        self.0.iter().flatten().find(|(stream, _)| *stream == ssrc).map(|(_, window)| window)
    }

    /// Remembers the index of a packet that was authenticated; a stream that is not known yet begins with it.
    fn mark(&mut self, ssrc: u32, index: u64) {
        let place = self.0.iter().position(|stream| stream.as_ref().is_some_and(|(stream, _)| *stream == ssrc));
        let place = place.unwrap_or_else(|| {
            let free = self.0.iter().position(Option::is_none).unwrap_or(STREAMS_MAX - 1);
            if let Some(stream) = self.0.get_mut(free) {
                *stream = Some((ssrc, Window::new(index)));
            }
            free
        });
        if let Some(Some((_, window))) = self.0.get_mut(place) {
            window.mark(index);
        }
        if let Some(heard) = self.0.get_mut(..=place).filter(|_| place > 0) {
            heard.rotate_right(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ids;
    use crate::rtp::srtp::{RTCP_OVERHEAD_MAX, RTP_OVERHEAD_MAX, Sender, Unsent};

    const SSRC: u32 = 0xdead_beef;

    fn key(suite: Suite, seed: u64) -> MasterKey {
        MasterKey::random(suite, &mut Ids::from_seed(seed))
    }

    fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 160, 0, 0, 0, 0];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[8..].copy_from_slice(&ssrc.to_be_bytes());
        packet.extend((0..160).map(|place| place as u8 ^ sequence as u8));
        packet
    }

    fn rtcp(ssrc: u32) -> Vec<u8> {
        [&[0x81, 201, 0, 7][..], &ssrc.to_be_bytes(), &[9; 24]].concat()
    }

    /// Both ends of one direction.
    struct Pair {
        sender: Sender,
        receiver: Receiver,
    }

    impl Pair {
        fn new(suite: Suite) -> Self {
            Self { sender: Sender::new(&key(suite, 1)), receiver: Receiver::new(&key(suite, 1)) }
        }

        fn sent(&mut self, ssrc: u32, sequence: u16) -> Vec<u8> {
            let clear = rtp(ssrc, sequence);
            let mut buffer = [&clear[..], &[0; RTP_OVERHEAD_MAX]].concat();
            let length = self.sender.protect(&mut buffer, clear.len()).unwrap();
            assert_eq!(length, clear.len() + self.sender.suite().rtp_tag_length());
            assert_ne!(buffer[12..172], clear[12..], "the payload is hidden");
            buffer.truncate(length);
            buffer
        }

        fn sent_rtcp(&mut self, clear: &[u8]) -> Vec<u8> {
            let mut buffer = [clear, &[0; RTCP_OVERHEAD_MAX]].concat();
            let length = self.sender.protect_rtcp(&mut buffer, clear.len()).unwrap();
            assert_eq!(length, clear.len() + self.sender.suite().rtcp_tag_length() + 4);
            buffer.truncate(length);
            buffer
        }

        /// The sequence number of what was received, its payload having been looked at.
        fn received(&mut self, packet: &[u8]) -> Result<u16, Refused> {
            let mut packet = packet.to_vec();
            let before = packet.clone();
            let length = self.receiver.unprotect(&mut packet).inspect_err(|_| assert_eq!(packet, before))?;
            packet.truncate(length);
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            assert_eq!(packet, rtp(u32::from_be_bytes(packet[8..12].try_into().unwrap()), sequence));
            Ok(sequence)
        }

        fn received_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, Refused> {
            let mut packet = packet.to_vec();
            let length = self.receiver.unprotect_rtcp(&mut packet)?;
            packet.truncate(length);
            Ok(packet)
        }
    }

    #[test]
    fn what_is_sent_is_received_once() {
        for suite in Suite::ALL {
            let mut pair = Pair::new(suite);
            for sequence in 0..300 {
                let packet = pair.sent(SSRC, sequence);
                assert_eq!(pair.received(&packet), Ok(sequence), "{suite}");
                assert_eq!(pair.received(&packet), Err(Refused::Replayed), "{suite}");
            }
        }
    }

    /// An attacker who knows the stream sends packets ahead of it, as far as a window could be moved, with tags of their own:
    /// the stream goes on as if nothing had come.
    #[test]
    fn forged_packets_do_not_silence_the_stream() {
        for suite in Suite::ALL {
            let mut pair = Pair::new(suite);
            for sequence in 1_000..1_200_u16 {
                let packet = pair.sent(SSRC, sequence);
                for ahead in [0, 1, 64, 128, 1_000, 0x7fff, 0x8000, 0xfc18] {
                    let mut forged = packet.clone();
                    forged[2..4].copy_from_slice(&sequence.wrapping_add(ahead).to_be_bytes());
                    let last = forged.len() - 1;
                    forged[last] ^= 1;
                    let refused = pair.received(&forged).unwrap_err();
                    assert!(matches!(refused, Refused::Forged | Refused::Replayed), "{suite} {refused}");
                }
                assert_eq!(pair.received(&packet), Ok(sequence), "{suite}");
            }
        }
    }

    #[test]
    fn every_bit_of_a_packet_is_authenticated() {
        for suite in Suite::ALL {
            let mut pair = Pair::new(suite);
            let (first, packet) = (pair.sent(SSRC, 7), pair.sent(SSRC, 8));
            let report = pair.sent_rtcp(&rtcp(SSRC));
            assert_eq!(pair.received(&first), Ok(7));
            for bit in 0..packet.len() * 8 {
                let mut forged = packet.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(pair.received(&forged).is_err(), "{suite} bit {bit}");
            }
            for bit in 0..report.len() * 8 {
                let mut forged = report.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(pair.received_rtcp(&forged).is_err(), "{suite} bit {bit} of RTCP");
            }
            assert_eq!(pair.received(&packet), Ok(8));
            assert_eq!(pair.received_rtcp(&report), Ok(rtcp(SSRC)));
        }
    }

    #[test]
    fn packets_cut_at_any_length_are_refused() {
        for suite in Suite::ALL {
            let mut pair = Pair::new(suite);
            let (packet, report) = (pair.sent(SSRC, 7), pair.sent_rtcp(&rtcp(SSRC)));
            for length in 0..packet.len() {
                assert!(pair.received(&packet[..length]).is_err(), "{suite} {length}");
            }
            for length in 0..report.len() {
                assert!(pair.received_rtcp(&report[..length]).is_err(), "{suite} {length} of RTCP");
            }
            // Fifteen contributing sources and an extension that are not there.
            let mut packet = packet;
            packet[0] = 0x9f;
            assert!((0..packet.len()).all(|length| pair.received(&packet[..length]).is_err()));
            assert!(!pair.receiver.has_received());
        }
    }

    #[test]
    fn the_roll_over_is_followed_through_loss_and_disorder() {
        for suite in Suite::ALL {
            let mut pair = Pair::new(suite);
            let sequences: Vec<u16> = (0..40).map(|step| 0xfff0_u16.wrapping_add(step)).collect();
            let packets: Vec<Vec<u8>> = sequences.iter().map(|&sequence| pair.sent(SSRC, sequence)).collect();
            // 0xffff comes after 0x0000 and 0x0005, 0x0003 never does.
            for place in [0, 1, 14, 16, 21, 15, 18, 17, 20, 22, 39, 13] {
                assert_eq!(pair.received(&packets[place]), Ok(sequences[place]), "{suite} {place}");
                assert_eq!(pair.received(&packets[place]), Err(Refused::Replayed), "{suite} {place}");
            }
        }
    }

    #[test]
    fn three_roll_overs_are_counted() {
        let mut pair = Pair::new(Suite::AeadAes128Gcm);
        // A prime step: each sequence number is another one.
        for count in (0..=3 << 16).step_by(1_009) {
            let sequence = count as u16;
            let packet = pair.sent(SSRC, sequence);
            assert_eq!(pair.received(&packet), Ok(sequence), "packet {count}");
        }
        let gone = (2 << 16) as u16 + 60_000;
        let mut late = [&rtp(SSRC, gone)[..], &[0; RTP_OVERHEAD_MAX]].concat();
        assert_eq!(pair.sender.protect(&mut late, 172), Err(Unsent::Repeated), "the third round is over");
    }

    /// Whoever hears a stream only after its first roll-over (lost packets, an early 200) hears it all the same.
    #[test]
    fn a_receiver_that_missed_the_first_roll_over_joins() {
        for suite in Suite::ALL {
            let mut pair = Pair::new(suite);
            let missed: Vec<_> = [0xfffe, 0xffff, 0].map(|sequence| pair.sent(SSRC, sequence)).into();
            let packet = pair.sent(SSRC, 1);
            assert_eq!(pair.received(&packet), Ok(1), "{suite}");
            assert_eq!(pair.received(&missed[1]), Ok(0xffff), "{suite}");
            let packet = pair.sent(SSRC, 2);
            assert_eq!(pair.received(&packet), Ok(2), "{suite}");
        }
    }

    /// RFC 3711 §3.3.2: a packet older than the window cannot be told from a replay.
    #[test]
    fn what_comes_128_packets_late_is_dropped() {
        let mut pair = Pair::new(Suite::AesCm128HmacSha1_80);
        let packets: Vec<_> = (0..200).map(|sequence| pair.sent(SSRC, sequence)).collect();
        assert_eq!(pair.received(&packets[150]), Ok(150));
        assert_eq!(pair.received(&packets[150 - 127]), Ok(23));
        assert_eq!(pair.received(&packets[150 - 128]), Err(Refused::Replayed));
    }

    #[test]
    fn streams_are_kept_apart_and_bounded() {
        let suite = Suite::AesCm128HmacSha1_80;
        let mut pair = Pair::new(suite);
        let streams = 0..STREAMS_MAX as u32;
        let packets: Vec<_> = streams
            .map(|ssrc| {
                pair.sender = Sender::new(&key(suite, 1));
                pair.sent(ssrc, 5)
            })
            .collect();
        for round in 0..2 {
            for packet in &packets {
                let expected = if round == 0 { Ok(5) } else { Err(Refused::Replayed) };
                assert_eq!(pair.received(packet), expected);
            }
        }
        // A forged stream does not push out one that is heard.
        let mut forged = packets[0].clone();
        for ssrc in 1_000..1_100_u32 {
            forged[8..12].copy_from_slice(&ssrc.to_be_bytes());
            assert_eq!(pair.received(&forged), Err(Refused::Forged));
        }
        assert!(packets.iter().all(|packet| pair.received(packet) == Err(Refused::Replayed)));
        // One more takes the place of the one heard longest ago, which is the first.
        pair.sender = Sender::new(&key(suite, 1));
        let packet = pair.sent(77, 1);
        assert_eq!(pair.received(&packet), Ok(1));
        assert_eq!(pair.received(&packets[1]), Err(Refused::Replayed));
        assert_eq!(pair.received(&packets[0]), Ok(5));
    }

    #[test]
    fn rtcp_is_received_once_whatever_its_order() {
        for suite in Suite::ALL {
            let mut pair = Pair::new(suite);
            let packets: Vec<_> = (0..4).map(|_| pair.sent_rtcp(&rtcp(SSRC))).collect();
            assert!(packets.iter().all(|packet| packet[8..32] != rtcp(SSRC)[8..]), "{suite}: the report is hidden");
            for place in [1, 0, 3, 2] {
                assert_eq!(pair.received_rtcp(&packets[place]), Ok(rtcp(SSRC)), "{suite} {place}");
                assert_eq!(pair.received_rtcp(&packets[place]), Err(Refused::Replayed), "{suite} {place}");
            }
        }
    }

    #[test]
    fn another_key_or_another_suite_opens_nothing() {
        for suite in Suite::ALL {
            for other in Suite::ALL {
                let mut pair = Pair::new(suite);
                pair.receiver = Receiver::new(&key(other, 2));
                let (packet, report) = (pair.sent(SSRC, 9), pair.sent_rtcp(&rtcp(SSRC)));
                assert_eq!(pair.received(&packet), Err(Refused::Forged));
                assert_eq!(pair.received_rtcp(&report), Err(Refused::Forged));
                let mut plain = rtp(SSRC, 10);
                assert_eq!(pair.receiver.unprotect(&mut plain), Err(Refused::Forged), "plain RTP is not taken");
            }
        }
    }

    /// RFC 3711 §3.3.1: the counter goes on under a new key. Far ends that begin anew at 0 are understood as well.
    #[test]
    fn a_new_key_takes_over_with_either_roll_over_counter() {
        for suite in Suite::ALL {
            for continues in [true, false] {
                let mut pair = Pair::new(suite);
                for sequence in [0xfffe, 0xffff, 0, 1, 0x8000, 0xffff, 0] {
                    let packet = pair.sent(SSRC, sequence);
                    assert_eq!(pair.received(&packet), Ok(sequence));
                }
                let new = key(suite, 2);
                pair.receiver = pair.receiver.rekeyed(&new);
                assert!(!pair.receiver.has_received());
                pair.sender = if continues { pair.sender.rekeyed(&new) } else { Sender::new(&new) };
                for sequence in [2, 3, 0x8000, 0xffff, 0] {
                    let packet = pair.sent(SSRC, sequence);
                    assert_eq!(pair.received(&packet), Ok(sequence), "{suite} {continues}");
                }
            }
        }
    }

    #[test]
    fn no_index_is_used_twice() {
        let mut pair = Pair::new(Suite::AesCm128HmacSha1_32);
        drop(pair.sent(SSRC, 100));
        for (ssrc, sequence) in [(SSRC, 100), (SSRC, 99), (SSRC, 0xfff0), (SSRC + 1, 101)] {
            let mut buffer = [&rtp(ssrc, sequence)[..], &[0; RTP_OVERHEAD_MAX]].concat();
            assert_eq!(pair.sender.protect(&mut buffer, 172), Err(Unsent::Repeated), "{sequence}");
        }
        drop(pair.sent(SSRC, 101));
        let mut short = [&rtp(SSRC, 102)[..], &[0; 3]].concat();
        assert_eq!(pair.sender.protect(&mut short, 172), Err(Unsent::Malformed), "no room for the tag");
        assert_eq!(pair.sender.protect(&mut short, 11), Err(Unsent::Malformed));
        assert_eq!(pair.sender.protect(&mut short, 1_000), Err(Unsent::Malformed));
        assert_eq!(pair.sender.protect_rtcp(&mut short, 7), Err(Unsent::Malformed));
        assert_eq!(pair.sender.protect_rtcp(&mut short, 170), Err(Unsent::Malformed));
    }

    #[test]
    fn a_key_ends_with_its_lifetime() {
        let suite = Suite::AeadAes256Gcm;
        let key = MasterKey::new(suite, &[7; 44], Lifetime::of(3)).unwrap();
        let mut pair = Pair { sender: Sender::new(&key), receiver: Receiver::new(&key) };
        let endless = MasterKey::new(suite, &[7; 44], Lifetime::MAX).unwrap();
        for sequence in 0..3 {
            let (packet, report) = (pair.sent(SSRC, sequence), pair.sent_rtcp(&rtcp(SSRC)));
            assert_eq!((pair.received(&packet), pair.received_rtcp(&report)), (Ok(sequence), Ok(rtcp(SSRC))));
        }
        let mut buffer = [&rtp(SSRC, 3)[..], &[0; RTP_OVERHEAD_MAX]].concat();
        assert_eq!(pair.sender.protect(&mut buffer, 172), Err(Unsent::KeyExpired));
        assert_eq!(pair.sender.protect_rtcp(&mut buffer, 100), Err(Unsent::KeyExpired));
        pair.sender = Sender::new(&endless);
        let packet = pair.sent(SSRC, 3);
        assert_eq!(pair.received(&packet), Err(Refused::KeyExpired));
        for _ in 0..3 {
            drop(pair.sent_rtcp(&rtcp(SSRC)));
        }
        let report = pair.sent_rtcp(&rtcp(SSRC));
        assert_eq!(pair.received_rtcp(&report), Err(Refused::KeyExpired));
    }

    #[test]
    fn a_context_shows_no_key() {
        let pair = Pair::new(Suite::AeadAes128Gcm);
        assert_eq!(format!("{:?}", pair.sender), "Sender { suite: AeadAes128Gcm, last: None, .. }");
        assert_eq!(format!("{:?}", pair.receiver), "Receiver { suite: AeadAes128Gcm, packets: 0, .. }");
        assert!(size_of::<Sender>() + size_of::<Receiver>() < 8_192, "{}", size_of::<Sender>() + size_of::<Receiver>());
    }
}
