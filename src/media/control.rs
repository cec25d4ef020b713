//! A leg's RTCP: whose it is, where it goes, and what it comes to for the record.
//!
//! ```text
//!                     from                                              ours goes
//!  multiplexed        where RTP comes from                              where RTP goes
//!  a port of its own  the address that the SDP names; or, when RTP      there; when RTP was moved, to where the far end's RTCP came
//!                     was learned from elsewhere, its host, if it       from, or else above the port that RTP comes from
//!                     speaks for the stream that we hear
//! ```
//!
//! What anybody else sends is counted and changes nothing: no figure, no address, no stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::audio::Codec;
use crate::rtp::rtcp::{Compound, Learned, Packet, REPORT_LENGTH_MAX, Received, ReportBlock, Sent, Session, WallClock};
use crate::rtp::srtp::RTCP_OVERHEAD_MAX;
use crate::rtp::{RtcpPath, Ssrc};

use super::LegSettings;
use super::quality::{Measured, RoundTrip, StreamQuality};
use super::reception::{Jitter, Losses};
use super::source::Source;

/// A jump of what the far end has of our stream beyond this is another count, not a minute's loss.
const JUMP_MAX: u32 = 100_000;

/// Longest packet of RTCP that a leg sends, protected or not.
pub const CONTROL_LENGTH_MAX: usize = REPORT_LENGTH_MAX + RTCP_OVERHEAD_MAX;

/// One leg's RTCP.
#[derive(Debug)]
pub(super) struct Control {
    session: Session,
    path: RtcpPath,
    /// Where the far end's RTCP came from, where that is not what the SDP says.
    learned: Option<SocketAddr>,
    first_sequence: u32,
    trips: Trips,
    reported: Reported,
}

#[derive(Debug, Default)]
struct Trips {
    sum: Duration,
    count: u32,
    longest: Duration,
}

/// What the far end has reported of our stream, block by block.
#[derive(Debug, Default)]
struct Reported {
    last: Option<ReportBlock>,
    expected: u64,
    lost: u64,
    /// In units of the clock.
    jitter_sum: u64,
    jitter_highest: u32,
    blocks: u64,
}

impl Control {
    /// For a stream that begins with the number `first_sequence`.
    pub(super) fn new(settings: &LegSettings, first_sequence: u16, now: Instant) -> Self {
        let clock = WallClock { instant: now, ntp: settings.wall };
        Self {
            session: Session::new(Ssrc(settings.ssrc), settings.cname, clock, settings.random, now),
            path: settings.rtcp,
            learned: None,
            first_sequence: first_sequence.into(),
            trips: Trips::default(),
            reported: Reported::default(),
        }
    }

    /// What was negotiated again.
    pub(super) fn describe(&mut self, path: RtcpPath) {
        if path != self.path {
            self.path = path;
            self.learned = None;
        }
    }

    /// When [`is_due`](Self::is_due) is to be asked next.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.session.poll_timeout()
    }

    /// Whether it is time to report.
    pub(super) fn is_due(&mut self, now: Instant, packets_sent: u64) -> bool {
        self.session.is_due(now, packets_sent)
    }

    /// Where reports go; `None` when they cannot.
    pub(super) fn destination(&self, source: &Source) -> Option<SocketAddr> {
        let destination = match self.path {
            RtcpPath::Nowhere => None,
            RtcpPath::Multiplexed => Some(source.destination()),
            RtcpPath::At(described) if !source.has_moved() => Some(self.learned.unwrap_or(described)),
            RtcpPath::At(_) => self.learned.or_else(|| match RtcpPath::beside(source.destination()) {
                RtcpPath::At(beside) => Some(beside),
                RtcpPath::Multiplexed | RtcpPath::Nowhere => None,
            }),
        };
        destination.filter(|destination| destination.port() != 0 && !destination.ip().is_unspecified())
    }

    /// RTCP goes with RTP, over one socket.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.path == RtcpPath::Multiplexed
    }

    /// Writes a report, or the last one with BYE; `None` when nobody needs to hear that.
    pub(super) fn write(
        &mut self,
        now: Instant,
        sent: Sent,
        received: Option<Received>,
        goodbye: bool,
        out: &mut [u8; CONTROL_LENGTH_MAX],
    ) -> Option<usize> {
        if goodbye && !self.session.may_leave(sent.packets) {
            return None;
        }
        let report = out.first_chunk_mut::<REPORT_LENGTH_MAX>()?;
        Some(self.session.write(now, sent, received, goodbye, report))
    }

    /// Takes a datagram that came to the port of RTP, or to that of RTCP (`is_beside`); `heard` is the stream that is heard. `None`
    /// when it is no RTCP or a stranger's.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        is_beside: bool,
        source: &Source,
        heard: Option<Ssrc>,
    ) -> Option<Learned> {
        let compound = Compound::parse(datagram).ok()?;
        let is_theirs = if is_beside { self.is_theirs(from, compound, source, heard) } else { source.is_far_end(from) };
        if !is_theirs {
            return None;
        }
        let learned = self.session.handle(now, compound, datagram.len());
        if let Some(trip) = learned.round_trip {
            self.trips.add(trip);
        }
        if let Some(block) = learned.block {
            self.reported.add(block, self.first_sequence);
        }
        Some(learned)
    }

    /// Whether what came to the port of RTCP may be the far end's, as far as its source tells.
    pub(super) fn may_be_from(&self, from: SocketAddr, source: &Source) -> bool {
        let is_named = self.path == RtcpPath::At(from) || self.learned == Some(from);
        is_named || source.locked().is_some_and(|locked| locked.ip() == from.ip())
    }

    /// Judges RTCP on a port of its own.
    fn is_theirs(&mut self, from: SocketAddr, compound: Compound<'_>, source: &Source, heard: Option<Ssrc>) -> bool {
        let RtcpPath::At(described) = self.path else { return false };
        if from == described || self.learned == Some(from) {
            return true;
        }
        // Behind a NAT nobody can say from which port it comes: so it is known by its host, and by a number that one must have
        // heard to say it.
        let speaks_for = compound.packets().find_map(|packet| match packet {
            Packet::SenderReport { ssrc, .. } | Packet::ReceiverReport { ssrc, .. } => Some(ssrc),
            Packet::Description(_) | Packet::Goodbye(_) | Packet::Other(_) => None,
        });
        let is_theirs =
            source.locked().is_some_and(|locked| locked.ip() == from.ip()) && heard.is_some() && speaks_for == heard;
        if is_theirs {
            self.learned = Some(from);
        }
        is_theirs
    }

    /// The stream that we send goes on under this number.
    pub(super) fn ssrc(&self) -> Ssrc {
        self.session.ssrc()
    }

    /// Our stream goes on under another number: the far end uses ours (RFC 3550 §8.2).
    pub(super) fn change_ssrc(&mut self) {
        let ssrc = Ssrc((self.session.draw() >> 32) as u32); // the better half of it
        self.rename(ssrc);
    }

    /// Our stream goes on under this number.
    pub(super) fn rename(&mut self, ssrc: Ssrc) {
        if ssrc != self.session.ssrc() {
            self.session.rename(ssrc);
            // The far end counts anew.
            self.reported.last = None;
        }
    }

    /// The far end's stream is heard, or not any more.
    pub(super) fn hear(&mut self, is_sender: bool) {
        self.session.hear(is_sender);
    }

    pub(super) fn round_trip(&self) -> Option<RoundTrip> {
        let mean = self.trips.sum.checked_div(self.trips.count)?;
        Some(RoundTrip { mean, longest: self.trips.longest })
    }

    /// Our stream as the far end hears it; `None` when it has not said.
    pub(super) fn reported(&self, codec: Codec) -> Option<StreamQuality> {
        let Reported { expected, lost, jitter_sum, jitter_highest, blocks, .. } = self.reported;
        let time = |units: u64| Duration::from_micros(units.saturating_mul(1_000_000) / u64::from(codec.clock_rate()));
        let jitter = Jitter { mean: time(jitter_sum.checked_div(blocks)?), highest: time(jitter_highest.into()) };
        // How they lie is not reported: as chance has it.
        let losses = Losses { expected: expected.max(1), lost, bursts: 0 };
        let round_trip = self.round_trip().map_or(Duration::ZERO, |trip| trip.mean);
        Measured { losses, jitter, round_trip, buffer: None }.rate(codec)
    }
}

impl Trips {
    fn add(&mut self, trip: Duration) {
        self.sum = self.sum.saturating_add(trip);
        self.count += 1;
        self.longest = self.longest.max(trip);
    }
}

impl Reported {
    fn add(&mut self, block: ReportBlock, first_sequence: u32) {
        let lost = |block: ReportBlock| i64::from(block.lost);
        let (expected, more) = match self.last {
            Some(last) => (block.highest.wrapping_sub(last.highest), lost(block) - lost(last)),
            None => (block.highest.wrapping_sub(first_sequence).wrapping_add(1), lost(block)),
        };
        if expected <= JUMP_MAX {
            self.expected += u64::from(expected);
            // Late packets and duplicates are taken back.
            self.lost = self.lost.saturating_add_signed(more).min(self.expected);
        }
        self.jitter_sum += u64::from(block.jitter);
        self.jitter_highest = self.jitter_highest.max(block.jitter);
        self.blocks += 1;
        self.last = Some(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpTime;
    use crate::rtp::rtcp::{Cname, NtpTime};

    const RTP: &str = "203.0.113.5:4000";
    const RTCP: &str = "203.0.113.5:4001";
    const STRANGER: &str = "198.51.100.66:9";
    const THEIRS: Ssrc = Ssrc(0xfa7);

    struct Story {
        control: Control,
        source: Source,
        far: Session,
        now: Instant,
    }

    impl Story {
        fn new(path: RtcpPath, described: &str) -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
            let now = Instant::now();
            let settings = LegSettings { rtcp: path, first_sequence: 65_000, ..LegSettings::plain(at(described)) };
            let clock = WallClock { instant: now, ntp: NtpTime(77 << 32) };
            Self {
                control: Control::new(&settings, settings.first_sequence, now),
                source: Source::new(settings.remote, None),
                far: Session::new(THEIRS, Cname::from_random([7; 12]), clock, 1, now),
                now,
            }
        }

        fn lock(&mut self, from: &str) {
            for _ in 0..30 {
                self.source.handle_packet(self.now, at(from));
                self.now += Duration::from_millis(20);
            }
            assert_eq!(self.source.locked(), Some(at(from)));
        }

        fn report(&mut self, highest: u32, lost: i32) -> Vec<u8> {
            let received = Received { ssrc: self.control.ssrc(), fraction_lost: 0, lost, highest, jitter: 80 };
            let sent = Sent { packets: 100, octets: 16_000, timestamp: RtpTime(0) };
            let mut out = [0; REPORT_LENGTH_MAX];
            let length = self.far.write(self.now, sent, Some(received), true, &mut out);
            out[..length].to_vec()
        }

        fn handle(&mut self, from: &str, datagram: &[u8], is_beside: bool) -> Option<Learned> {
            self.control.handle(self.now, at(from), datagram, is_beside, &self.source, Some(THEIRS))
        }

        fn destination(&self) -> Option<String> {
            self.control.destination(&self.source).map(|destination| destination.to_string())
        }
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn beside(address: &str) -> RtcpPath {
        RtcpPath::beside(at(address))
    }

    #[test]
    fn it_goes_and_comes_where_the_sdp_says() {
        let mut story = Story::new(beside(RTP), RTP);
        let report = story.report(65_100, 3);
        assert_eq!(story.destination().as_deref(), Some(RTCP));
        assert!(story.handle(RTCP, &report, true).is_some());
        let mut story = Story::new(RtcpPath::At(at("203.0.113.9:77")), RTP);
        assert_eq!(story.destination().as_deref(), Some("203.0.113.9:77"));
        assert!(story.handle(RTCP, &report, true).is_none());
        assert!(story.handle("203.0.113.9:77", &report, true).is_some());
        let mut story = Story::new(RtcpPath::Multiplexed, RTP);
        assert_eq!(story.destination().as_deref(), Some(RTP));
        assert!(story.handle(RTP, &report, false).is_some());
        assert!(story.handle(RTCP, &report, true).is_none(), "nobody was told of that port");
        assert_eq!(Story::new(RtcpPath::Nowhere, RTP).destination(), None);
        assert_eq!(Story::new(beside("0.0.0.0:4000"), "0.0.0.0:4000").destination(), None);
    }

    /// A BYE, a loss of everything, a report that is not even asked for: from a stranger they are nothing.
    #[test]
    fn a_strangers_reports_change_nothing() {
        for path in [RtcpPath::Multiplexed, beside(RTP)] {
            let mut story = Story::new(path, RTP);
            story.lock(RTP);
            let (report, destination) = (story.report(65_100, 100), story.destination());
            for from in [STRANGER, "203.0.113.6:4001"] {
                assert_eq!((story.handle(from, &report, true), story.handle(from, &report, false)), (None, None));
            }
            // On the far end's own host, but of another stream.
            let mut forged = report.clone();
            forged[4..8].copy_from_slice(&1_u32.to_be_bytes());
            assert_eq!(story.handle("203.0.113.5:9", &forged, true), None);
            assert_eq!((story.control.round_trip(), story.control.reported(Codec::Pcmu)), (None, None));
            assert_eq!((story.destination(), story.control.learned), (destination, None));
        }
    }

    /// The SDP names a private address; RTP was learned, and RTCP comes from some port of the same host.
    #[test]
    fn behind_a_nat_it_is_known_by_its_host_and_its_stream() {
        let private = "192.168.1.10:4000";
        let mut story = Story::new(beside(private), private);
        let report = story.report(65_100, 0);
        assert!(story.handle("203.0.113.5:61234", &report, true).is_none(), "RTP has not been learned yet");
        story.lock("203.0.113.5:61000");
        assert_eq!(story.destination().as_deref(), Some("203.0.113.5:61001"), "a guess, as long as nothing came");
        assert!(story.handle("203.0.113.5:61234", &report, true).is_some());
        assert_eq!(story.destination().as_deref(), Some("203.0.113.5:61234"));
        assert!(story.handle("203.0.113.6:61234", &report, true).is_none());
        // Another description begins anew.
        story.control.describe(beside(RTP));
        story.source.describe(at(RTP));
        assert_eq!(story.destination().as_deref(), Some(RTCP));
    }

    #[test]
    fn reports_add_up_over_the_call_and_over_counts_that_begin_anew() {
        let mut story = Story::new(beside(RTP), RTP);
        for (highest, lost) in [(65_099, 4), (65_199, 24), (65_199, 22)] {
            let report = story.report(highest, lost);
            story.handle(RTCP, &report, true).unwrap();
        }
        let quality = story.control.reported(Codec::Pcmu).unwrap();
        // 22 of 200: what came late was taken back.
        assert_eq!((quality.loss, quality.jitter), (1_100, Duration::from_millis(10)));
        // Whoever reports now has counted from elsewhere on.
        for (highest, lost) in [(5, 0), (105, 0)] {
            let report = story.report(highest, lost);
            story.handle(RTCP, &report, true).unwrap();
        }
        assert_eq!(story.control.reported(Codec::Pcmu).unwrap().loss, 733, "22 of 300");
        let report = story.report(205, -0x80_0000);
        story.handle(RTCP, &report, true).unwrap();
        assert_eq!(story.control.reported(Codec::Pcmu).unwrap().loss, 0, "and no claim makes it less than none");
    }

    #[test]
    fn an_ssrc_taken_twice_is_left_to_the_other() {
        let mut story = Story::new(beside(RTP), RTP);
        let before = story.control.ssrc();
        story.far.rename(before);
        let report = story.report(65_100, 0);
        assert!(story.handle(RTCP, &report, true).unwrap().collision);
        story.control.change_ssrc();
        assert_ne!(story.control.ssrc(), before);
    }
}
