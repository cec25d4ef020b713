//! What came and what never came, and how evenly (RFC 3550 §6.4.1, appendix A.1, A.3 and A.8), over all streams that a leg has heard.
//!
//! Losses are counted twice. For the far end as RFC 3550 has it, packets expected less packets that came, duplicates included. For our
//! own record by the sequence numbers that have not come, in a window of 64: neither a duplicate nor a late packet falsifies
//! it, and it tells how many came to be missing in a row.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::Received;
use crate::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

/// A jump forward beyond a minute of packets is a restarted stream, not a loss.
const JUMP_MAX: i16 = 3_000;

/// A sender whose timestamps go on by more than a quarter of a second between two packets in a row, and by no more than a minute, has said
/// nothing meanwhile.
const PAUSES_A_SECOND: i32 = 4;
const PAUSE_MAX_SECONDS: i32 = 60;

/// The totals, and the stream under way.
#[derive(Debug)]
pub(super) struct Reception {
    clock_rate: u32,
    /// From here on arrivals are counted in units of the clock.
    origin: Instant,
    packets: u64,
    before: Losses,
    stream: Option<Stream>,
    unevenness: Unevenness,
    pauses: bool,
}

/// What was lost of what was expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Sequence numbers from each stream's first to its highest.
    pub(super) expected: u64,
    /// Those of them that have not come.
    pub(super) lost: u64,
    /// Runs of them.
    pub(super) bursts: u64,
}

/// Interarrival jitter (RFC 3550 §6.4.1) over a leg's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Jitter {
    /// The mean of what each packet added.
    pub(super) mean: Duration,
    /// The highest that it stood at.
    pub(super) highest: Duration,
}

#[derive(Debug)]
struct Stream {
    ssrc: Ssrc,
    first: u32,
    /// With the wraps in the upper half.
    highest: u32,
    /// The timestamp of the packet that came last; none behind a telephone event, whose stands still.
    timestamp: Option<RtpTime>,
    /// Bit n is set when the packet n before the highest has come: a duplicate must not hide a loss.
    seen: u64,
    /// The packet that left the window last had not come.
    gap: bool,
    missing: u64,
    /// Runs of missing packets that have left the window.
    bursts: u64,
    /// All that came, duplicates too.
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
}

/// RFC 3550 appendix A.8.
#[derive(Debug, Default)]
struct Unevenness {
    /// Arrival less timestamp of the packet before, in units of the clock.
    transit: Option<u32>,
    /// Sixteen times the jitter.
    scaled: u32,
    highest: u32,
    sum: u64,
    count: u64,
    /// The same of clocks before this one, in microseconds.
    before: (u64, u64, u64),
}

impl Reception {
    /// Nothing has come, of a codec with this clock.
    pub(super) fn new(clock_rate: u32, now: Instant) -> Self {
        Self {
            clock_rate,
            origin: now,
            packets: 0,
            before: Losses::default(),
            stream: None,
            unevenness: Unevenness::default(),
            pauses: false,
        }
    }

    /// Another codec from now on.
    pub(super) fn change_clock(&mut self, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            self.unevenness.settle(self.clock_rate);
            self.clock_rate = clock_rate;
        }
    }

    /// Counts one accepted packet that came at `arrival`. `is_timed` is false for one whose timestamp says nothing of when it was
    /// sent: a telephone event's.
    pub(super) fn handle_packet(&mut self, arrival: Instant, header: &RtpHeader, is_timed: bool) {
        self.packets += 1;
        let timestamp = is_timed.then_some(header.timestamp);
        let before = match &mut self.stream {
            Some(stream) => stream.extend(header).map(|ahead| (ahead, stream.timestamp)),
            None => None,
        };
        if let (Some(stream), Some((ahead, last))) = (&mut self.stream, before) {
            stream.timestamp = timestamp;
            let second = self.clock_rate.cast_signed();
            let pause = second / PAUSES_A_SECOND..=second.saturating_mul(PAUSE_MAX_SECONDS);
            self.pauses |= ahead == 1
                && timestamp.zip(last).is_some_and(|(timestamp, last)| pause.contains(&timestamp.since(last)));
        } else {
            self.before = self.losses();
            self.stream = Some(Stream::new(header, timestamp));
            self.unevenness.restart();
        }
        if let Some(timestamp) = timestamp {
            let since = arrival.saturating_duration_since(self.origin);
            self.unevenness.add(units(since, self.clock_rate).wrapping_sub(timestamp.0), self.clock_rate);
        }
    }

    /// Packets counted, duplicates included.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// All streams together.
    pub(super) fn losses(&self) -> Losses {
        let stream = self.stream.as_ref().map(Stream::losses).unwrap_or_default();
        Losses {
            expected: self.before.expected + stream.expected,
            lost: self.before.lost + stream.lost,
            bursts: self.before.bursts + stream.bursts,
        }
    }

    /// How uneven they came.
    pub(super) fn jitter(&self) -> Jitter {
        self.unevenness.over_all(self.clock_rate)
    }

    /// The sender stops sending while it has nothing to say, without a word of it: its silence is no fault.
    pub(super) fn pauses(&self) -> bool {
        self.pauses
    }

    /// The stream under way.
    pub(super) fn ssrc(&self) -> Option<Ssrc> {
        self.stream.as_ref().map(|stream| stream.ssrc)
    }

    /// What to tell the far end of the stream under way; nothing when nothing came since the last time (RFC 3550 §6.4).
    pub(super) fn report(&mut self) -> Option<Received> {
        let stream = self.stream.as_mut()?;
        let now = (stream.expected(), stream.received);
        let (expected, received) = (now.0.saturating_sub(stream.reported.0), now.1 - stream.reported.1);
        if received == 0 {
            return None;
        }
        stream.reported = now;
        let lost = expected.saturating_sub(received);
        let fraction_lost = (lost << 8).checked_div(expected).unwrap_or(0);
        let total = i64::try_from(now.0).unwrap_or(i64::MAX) - i64::try_from(now.1).unwrap_or(i64::MAX);
        Some(Received {
            ssrc: stream.ssrc,
            // What came is some of it, so it is below 256.
            fraction_lost: u8::try_from(fraction_lost).unwrap_or(u8::MAX),
            lost: i32::try_from(total.clamp(-0x80_0000, 0x7f_ffff)).unwrap_or_default(),
            highest: stream.highest,
            jitter: self.unevenness.scaled >> 4,
        })
    }

    /// The far end has said that its stream is over: whatever comes next is another one.
    pub(super) fn end_stream(&mut self) {
        self.before = self.losses();
        self.stream = None;
        self.unevenness.restart();
    }
}

impl Stream {
    fn new(header: &RtpHeader, timestamp: Option<RtpTime>) -> Self {
        let first = u32::from(header.sequence.0);
        Self {
            ssrc: header.ssrc,
            first,
            highest: first,
            timestamp,
            seen: u64::MAX,
            gap: false,
            missing: 0,
            bursts: 0,
            received: 1,
            reported: (0, 0),
        }
    }

    /// How far the packet is ahead of the highest; `None` when it begins another stream.
    fn extend(&mut self, header: &RtpHeader) -> Option<i16> {
        let ahead = header.sequence.since(SequenceNumber(self.highest as u16)); // the lower half
        if header.ssrc != self.ssrc || !(-JUMP_MAX..=JUMP_MAX).contains(&ahead) {
            return None;
        }
        self.received += 1;
        if let Ok(steps @ 1..) = u32::try_from(ahead) {
            self.missing += u64::from(steps - 1);
            self.leave(steps);
            self.seen = self.seen.checked_shl(steps).unwrap_or(0) | 1;
            self.highest = self.highest.wrapping_add(steps);
        } else if let Some(bit) = 1_u64.checked_shl(u32::from(ahead.unsigned_abs()))
            && self.seen & bit == 0
        {
            self.seen |= bit;
            self.missing = self.missing.saturating_sub(1);
        }
        Some(ahead)
    }

    /// Counts the runs of missing packets among those that leave the window when it moves on by `steps`.
    fn leave(&mut self, steps: u32) {
        if self.seen == u64::MAX && steps == 1 {
            self.gap = false;
            return;
        }
        let count = steps.min(u64::BITS);
        let leaving = !self.seen >> (u64::BITS - count);
        self.bursts += runs(leaving, self.gap, count);
        self.gap = leaving & 1 != 0;
        // Those that were never in the window.
        if steps > u64::BITS && !self.gap {
            self.bursts += 1;
            self.gap = true;
        }
    }

    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.first)) + 1
    }

    fn losses(&self) -> Losses {
        let bursts = self.bursts + runs(!self.seen, self.gap, u64::BITS);
        Losses { expected: self.expected(), lost: self.missing, bursts }
    }
}

/// Runs of set bits that begin in the lower `count` bits of `missing`, the highest of them first, behind one that was `before`.
fn runs(missing: u64, before: bool, count: u32) -> u64 {
    let earlier = (missing >> 1) | (u64::from(before) << (count - 1));
    u64::from((missing & !earlier).count_ones())
}

impl Unevenness {
    fn add(&mut self, transit: u32, clock_rate: u32) {
        let Some(last) = self.transit.replace(transit) else { return };
        let difference = transit.wrapping_sub(last).cast_signed().unsigned_abs();
        // Timestamps that jump by a second are another beginning, not a network's doing.
        if difference > clock_rate {
            return;
        }
        self.scaled = self.scaled + difference - ((self.scaled + 8) >> 4);
        self.highest = self.highest.max(self.scaled >> 4);
        self.sum += u64::from(difference);
        self.count += 1;
    }

    /// Another stream begins.
    fn restart(&mut self) {
        self.transit = None;
        self.scaled = 0;
    }

    fn settle(&mut self, clock_rate: u32) {
        let (sum, count, highest) = self.totals(clock_rate);
        *self = Self { before: (sum, count, highest), ..Self::default() };
    }

    /// Sum of the differences in microseconds, how many, and the highest jitter in microseconds.
    fn totals(&self, clock_rate: u32) -> (u64, u64, u64) {
        let (sum, count, highest) = self.before;
        let micros = |units: u64| units.saturating_mul(1_000_000) / u64::from(clock_rate.max(1));
        (sum + micros(self.sum), count + self.count, highest.max(micros(self.highest.into())))
    }

    fn over_all(&self, clock_rate: u32) -> Jitter {
        let (sum, count, highest) = self.totals(clock_rate);
        let mean = Duration::from_micros(sum.checked_div(count).unwrap_or(0));
        Jitter { mean, highest: Duration::from_micros(highest) }
    }
}

/// A duration in units of a clock, modulo 2^32.
fn units(duration: Duration, clock_rate: u32) -> u32 {
    let whole = duration.as_secs().wrapping_mul(clock_rate.into());
    let rest = u64::from(duration.subsec_nanos()) * u64::from(clock_rate) / 1_000_000_000;
    whole.wrapping_add(rest) as u32 // RTP timestamps wrap there
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Story {
        reception: Reception,
        now: Instant,
        timestamp: u32,
    }

    impl Story {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        fn new() -> Self {
            let now = Instant::now();
            Self { reception: Reception::new(8_000, now), now, timestamp: u32::MAX - 1_000 }
        }

        fn packet(&mut self, ssrc: u32, sequence: u16) {
            let header = RtpHeader {
                marker: false,
                payload_type: 0,
                sequence: SequenceNumber(sequence),
                timestamp: RtpTime(self.timestamp),
                ssrc: Ssrc(ssrc),
            };
            self.reception.handle_packet(self.now, &header, true);
        }

        /// A packet of the next 20 ms that takes `late` longer than the network's least.
        fn next(&mut self, sequence: u16, late: Duration) {
            self.now += Duration::from_millis(20);
            self.timestamp = self.timestamp.wrapping_add(160);
            self.now += late;
            self.packet(1, sequence);
            self.now -= late;
        }
    }

    fn counted(packets: &[(u32, u16)]) -> (u64, u64, u64) {
        let mut story = Story::new();
        packets.iter().for_each(|&(ssrc, sequence)| story.packet(ssrc, sequence));
        let losses = story.reception.losses();
        (story.reception.packets(), losses.lost, losses.bursts)
    }

    #[test]
    fn gaps_are_losses_and_late_packets_fill_them() {
        assert_eq!(counted(&[]), (0, 0, 0));
        assert_eq!(counted(&[(1, 65_534), (1, 65_535), (1, 0), (1, 1)]), (4, 0, 0));
        assert_eq!(counted(&[(1, 65_534), (1, 2)]), (2, 3, 1));
        assert_eq!(counted(&[(1, 65_534), (1, 2), (1, 0), (1, 0), (1, 2)]), (5, 2, 2));
        assert_eq!(counted(&[(1, 5), (1, 4), (1, 6)]), (3, 0, 0), "what came before the first is no gain");
        assert_eq!(counted(&[(1, 0), (1, 100), (1, 50)]), (3, 98, 2), "a packet 50 late is filled in");
        assert_eq!(counted(&[(1, 0), (1, 100), (1, 20)]), (3, 99, 1), "one 80 late is too late to know");
    }

    #[test]
    fn another_stream_begins_anew() {
        assert_eq!(counted(&[(1, 10), (1, 12), (2, 9_000), (2, 9_002)]), (4, 2, 2));
        assert_eq!(counted(&[(1, 10), (1, 20_000), (1, 20_001)]), (3, 0, 0), "a jump is a restart");
        let mut story = Story::new();
        story.packet(1, 10);
        story.reception.end_stream();
        assert_eq!((story.reception.ssrc(), story.reception.report()), (None, None));
        story.packet(1, 500);
        assert_eq!(story.reception.losses(), Losses { expected: 2, lost: 0, bursts: 0 }, "it said BYE in between");
    }

    /// Runs of losses, however they lie in the window of 64, against a count by hand.
    #[test]
    fn bursts_are_counted_once_wherever_the_window_ends() {
        let mut ids = crate::ids::Ids::from_seed(9);
        for likely in [2, 5, 20, 80] {
            let mut story = Story::new();
            let came: Vec<bool> = (0..20_000).map(|index| index % 19_999 == 0 || ids.below(100) >= likely).collect();
            for (sequence, _) in (0_u16..).zip(&came).filter(|(_, came)| **came) {
                story.packet(1, sequence);
            }
            let lost = came.iter().filter(|came| !**came).count() as u64;
            let bursts = came.windows(2).filter(|pair| pair[0] && !pair[1]).count() as u64;
            assert_eq!(story.reception.losses(), Losses { expected: 20_000, lost, bursts }, "{likely} %");
        }
    }

    /// RFC 3550 appendix A.3: the share since the last report in 256ths, the total, and the wraps in the upper half.
    #[test]
    fn the_far_end_is_told_what_the_rfc_has_it_told() {
        let mut story = Story::new();
        for sequence in (65_486..=65_535).chain(0..50).filter(|sequence| sequence % 4 != 0) {
            story.packet(7, sequence as u16);
        }
        let received = story.reception.report().unwrap();
        // 65,486 … 65,585: a hundred, of which the last came; each fourth is missing.
        assert_eq!((received.ssrc, received.highest), (Ssrc(7), 65_536 + 49));
        assert_eq!((received.lost, received.fraction_lost), (25, 64));
        assert_eq!(story.reception.report(), None, "nothing has come since");
        (50..100).for_each(|sequence| story.packet(7, sequence));
        assert_eq!(story.reception.report().map(|received| (received.lost, received.fraction_lost)), Some((25, 0)));
        // Duplicates may make it negative; the share is never.
        (0..60).for_each(|_| story.packet(7, 100));
        assert_eq!(story.reception.report().map(|received| (received.lost, received.fraction_lost)), Some((-34, 0)));
        story.packet(8, 3);
        let received = story.reception.report().unwrap();
        assert_eq!((received.ssrc, received.lost, received.highest), (Ssrc(8), 0, 3), "another stream, another count");
    }

    /// RFC 3550 appendix A.8: what each packet differs from the last one, in units of the clock, smoothed by sixteen.
    #[test]
    fn jitter_is_the_smoothed_difference_of_transits() {
        let mut story = Story::new();
        for sequence in 0..2_000 {
            story.next(sequence, Duration::from_millis(u64::from(sequence % 2) * 10));
        }
        let received = story.reception.report().unwrap();
        // Each packet is 10 ms earlier or later than the one before it: 80 units.
        assert!((78..=80).contains(&received.jitter), "{}", received.jitter);
        let jitter = story.reception.jitter();
        assert_eq!(jitter.mean, Duration::from_millis(10));
        assert!(jitter.highest <= Duration::from_millis(10) && jitter.highest > Duration::from_micros(9_500));
        // A codec with another clock: the same in time.
        story.reception.change_clock(48_000);
        for sequence in 2_000..4_000 {
            story.timestamp = story.timestamp.wrapping_add(800);
            story.next(sequence, Duration::from_millis(u64::from(sequence % 2) * 10));
        }
        assert!((470..=480).contains(&story.reception.report().unwrap().jitter));
        assert_eq!(story.reception.jitter().mean, Duration::from_millis(10));
    }

    #[test]
    fn neither_keys_nor_jumps_nor_pauses_are_jitter() {
        let mut story = Story::new();
        let event = |story: &mut Story, sequence| {
            story.now += Duration::from_millis(20);
            let header = RtpHeader {
                marker: false,
                payload_type: 101,
                sequence: SequenceNumber(sequence),
                timestamp: RtpTime(story.timestamp),
                ssrc: Ssrc(1),
            };
            story.reception.handle_packet(story.now, &header, false);
        };
        (0..10).for_each(|sequence| story.next(sequence, Duration::ZERO));
        (10..60).for_each(|sequence| event(&mut story, sequence));
        story.timestamp = story.timestamp.wrapping_add(50 * 160);
        (60..70).for_each(|sequence| story.next(sequence, Duration::ZERO));
        assert!(!story.reception.pauses(), "a key of a second is no pause");
        // A sender that turns to another source behind its own number.
        story.timestamp = story.timestamp.wrapping_add(0x4000_0000);
        story.next(70, Duration::ZERO);
        assert_eq!((story.reception.jitter(), story.reception.pauses()), (Jitter::default(), false));
        // One that says nothing for a second.
        let mut story = Story::new();
        story.next(0, Duration::ZERO);
        story.now += Duration::from_secs(1);
        story.timestamp = story.timestamp.wrapping_add(8_000);
        story.next(1, Duration::ZERO);
        assert_eq!((story.reception.jitter(), story.reception.pauses()), (Jitter::default(), true));
        // And one of whom a second is lost.
        let mut story = Story::new();
        story.next(0, Duration::ZERO);
        story.timestamp = story.timestamp.wrapping_add(8_000);
        story.next(51, Duration::ZERO);
        assert!(!story.reception.pauses());
    }
}
