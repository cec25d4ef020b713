//! One leg's part in RTCP: when it reports, and what the far end's reports say (RFC 3550 §6.3, §6.4).
//!
//! ```text
//!  tp: our last report                       tn: the next one        at tn the interval is drawn again (reconsideration):
//!  ─┴────────────────────────────────────────┴──────────►            tp + interval ≤ now: report; or else tn = tp + interval
//!
//!  our sender report, stamped T1 ───────────────────►  far end
//!                                                        │ delay: it says how long it had it
//!  now ◄───────────────────── its report: T1, delay ─────┘           round trip = now − T1 − delay
//! ```
//!
//! Whether a datagram is the far end's at all is not this file's matter: [`handle`](Session::handle) is given those that are.

use std::time::{Duration, Instant};

use super::compound::{Blocks, Compound, Packet};
use super::interval::Conditions;
use super::ntp::{WallClock, from_short_units, short_units};
use super::report::{Cname, REPORT_LENGTH_MAX, Report, ReportBlock, SenderInfo};
use crate::rtp::{RtpTime, Ssrc};

/// What a call of G.711 takes, in bits a second with IP and UDP.
const BANDWIDTH: u32 = 80_000;

/// Bytes of IP and UDP around a report (RFC 3550 §6.2 counts them).
const ENVELOPE: f64 = 28.0;

/// A round trip above this is a far end's mistake.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);

/// One leg's session.
#[derive(Debug)]
pub struct Session {
    ssrc: Ssrc,
    cname: Cname,
    clock: WallClock,
    random: u64,
    last: Instant,
    next: Instant,
    is_first: bool,
    average_size: f64,
    /// Members when `next` was drawn.
    members: u32,
    /// Packets that we had sent at the last report but one, and at the last.
    sent: [u64; 2],
    far: Far,
}

/// What is known of the far end from its reports.
#[derive(Debug, Default)]
struct Far {
    is_member: bool,
    is_sender: bool,
    /// Whose sender report came last, the middle of its stamp, and when.
    report: Option<(Ssrc, u32, Instant)>,
}

/// What we have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Packets so far.
    pub packets: u64,
    /// Bytes of payload in them.
    pub octets: u64,
    /// The stream's time at this moment.
    pub timestamp: RtpTime,
}

/// What we have received of the far end's stream (RFC 3550 appendix A.3, A.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The stream.
    pub ssrc: Ssrc,
    /// Since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Since it began; negative where duplicates came.
    pub lost: i32,
    /// Extended by the wraps.
    pub highest: u32,
    /// In units of the stream's clock.
    pub jitter: u32,
}

/// What a datagram of the far end says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// It reports: a sender or receiver report is in it.
    pub is_report: bool,
    /// Of its own stream.
    pub sender: Option<SenderInfo>,
    /// Of ours.
    pub block: Option<ReportBlock>,
    /// The time there and back.
    pub round_trip: Option<Duration>,
    /// Its stream has ended.
    pub goodbye: bool,
    /// It sends under our SSRC (RFC 3550 §8.2): we need another one.
    pub collision: bool,
}

impl Session {
    /// A session that has not reported yet. `random` decides when it does.
    #[must_use]
    pub fn new(ssrc: Ssrc, cname: Cname, clock: WallClock, random: u64, now: Instant) -> Self {
        let mut session = Self {
            ssrc,
            cname,
            clock,
            random,
            last: now,
            next: now,
            is_first: true,
            average_size: ENVELOPE + REPORT_LENGTH_MAX as f64,
            members: 1,
            sent: [0; 2],
            far: Far::default(),
        };
        session.next = now + session.interval(true);
        session
    }

    /// When [`is_due`](Self::is_due) is to be asked next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// The far end's stream is heard: it takes part, whether it reports or not.
    pub fn hear(&mut self, is_sender: bool) {
        self.far.is_member |= is_sender;
        self.far.is_sender = is_sender;
    }

    /// Whether a report is to be made now. The interval is drawn again with who takes part by now (RFC 3550 §6.3.6): when there
    /// are more than before it may be later.
    pub fn is_due(&mut self, now: Instant, packets_sent: u64) -> bool {
        if now < self.next {
            return false;
        }
        let next = self.last + self.interval(self.sends(packets_sent));
        if next > now {
            self.next = next;
            self.members = self.members();
        }
        next <= now
    }

    /// Writes a report, the last one with `goodbye`, and gives its length.
    pub fn write(
        &mut self,
        now: Instant,
        sent: Sent,
        received: Option<Received>,
        goodbye: bool,
        out: &mut [u8; REPORT_LENGTH_MAX],
    ) -> usize {
        let sends = self.sends(sent.packets);
        let sender = sends.then(|| SenderInfo {
            ntp: self.clock.at(now),
            timestamp: sent.timestamp,
            // Modulo 2^32, as RFC 3550 §6.4.1 has it.
            packets: sent.packets as u32,
            octets: sent.octets as u32,
        });
        let block = received.map(|received| {
            let report = self.far.report.filter(|(ssrc, ..)| *ssrc == received.ssrc);
            let (last_sender_report, delay) =
                report.map_or((0, 0), |(_, stamp, came)| (stamp, short_units(now.saturating_duration_since(came))));
            ReportBlock {
                ssrc: received.ssrc,
                fraction_lost: received.fraction_lost,
                lost: received.lost,
                highest: received.highest,
                jitter: received.jitter,
                last_sender_report,
                delay,
            }
        });
        let length = Report { ssrc: self.ssrc, sender, block, cname: self.cname, goodbye }.write(out);
        self.weigh(length);
        self.sent = [self.sent[1], sent.packets];
        self.is_first = false;
        self.last = now;
        self.next = now + self.interval(sends);
        self.members = self.members();
        length
    }

    /// True when BYE may be said: nobody knows of a stream that has neither sent nor reported (RFC 3550 §6.3.7).
    #[must_use]
    pub fn may_leave(&self, packets_sent: u64) -> bool {
        packets_sent > 0 || !self.is_first
    }

    /// Takes a datagram of the far end's, `size` bytes long.
    pub fn handle(&mut self, now: Instant, compound: Compound<'_>, size: usize) -> Learned {
        if self.collides(compound) {
            return Learned { collision: true, ..Learned::default() };
        }
        let mut learned = Learned::default();
        for packet in compound.packets() {
            match packet {
                // Our own, come back by whoever reflects what we send.
                Packet::SenderReport { ssrc, .. } | Packet::ReceiverReport { ssrc, .. } if ssrc == self.ssrc => {
                    return Learned::default();
                }
                Packet::SenderReport { ssrc, info, blocks } => {
                    learned.is_report = true;
                    learned.sender = Some(info);
                    self.far.report = Some((ssrc, info.ntp.middle(), now));
                    self.take_block(now, &blocks, &mut learned);
                }
                Packet::ReceiverReport { blocks, .. } => {
                    learned.is_report = true;
                    self.take_block(now, &blocks, &mut learned);
                }
                Packet::Goodbye(sources) => learned.goodbye |= sources.iter().any(|source| source != self.ssrc),
                Packet::Description(_) | Packet::Other(_) => {}
            }
        }
        self.weigh(size);
        self.far.is_member = true;
        if learned.goodbye {
            self.far = Far::default();
            self.next = self.sooner(now);
            self.members = 1;
        }
        learned
    }

    /// The number of our stream.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Our stream goes on under another SSRC.
    pub fn rename(&mut self, ssrc: Ssrc) {
        self.ssrc = ssrc;
    }

    /// Sixty-four random bits (SplitMix64): what is drawn here needs to be even, not secret.
    pub fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether somebody of another name uses our SSRC. Without a name it may be our own packet that comes back.
    fn collides(&self, compound: Compound<'_>) -> bool {
        let is_named_otherwise = |packet| match packet {
            Packet::Description(mut chunks) => {
                chunks.any(|(source, name)| source == self.ssrc && !name.is_empty() && name != self.cname.as_bytes())
            }
            Packet::SenderReport { .. } | Packet::ReceiverReport { .. } | Packet::Goodbye(_) | Packet::Other(_) => {
                false
            }
        };
        compound.packets().any(is_named_otherwise)
    }

    fn take_block(&self, now: Instant, blocks: &Blocks<'_>, learned: &mut Learned) {
        let Some(block) = blocks.iter().find(|block| block.ssrc == self.ssrc) else { return };
        learned.block = Some(block);
        if block.last_sender_report != 0 {
            let since = self.clock.at(now).middle().wrapping_sub(block.last_sender_report);
            // Clocks of two machines may make it a little less than nothing.
            let units = since.wrapping_sub(block.delay).cast_signed().max(0).cast_unsigned();
            learned.round_trip = Some(from_short_units(units)).filter(|time| *time <= ROUND_TRIP_MAX);
        }
    }

    fn sends(&self, packets_sent: u64) -> bool {
        packets_sent > self.sent[0]
    }

    fn members(&self) -> u32 {
        1 + u32::from(self.far.is_member)
    }

    fn interval(&mut self, we_send: bool) -> Duration {
        let random = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        let conditions = Conditions {
            members: self.members(),
            senders: u32::from(we_send) + u32::from(self.far.is_sender),
            we_send,
            is_first: self.is_first,
            average_size: self.average_size,
            bandwidth: BANDWIDTH,
        };
        conditions.interval(random)
    }

    /// RFC 3550 §6.3.3.
    fn weigh(&mut self, size: usize) {
        self.average_size += (ENVELOPE + size as f64 - self.average_size) / 16.0;
    }

    /// When the next report is due after somebody left (RFC 3550 §6.3.4).
    fn sooner(&self, now: Instant) -> Instant {
        now + self.next.saturating_duration_since(now) / self.members.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::rtcp::NtpTime;

    /// Two ends, the one the far end of the other, and what is on its way between them.
    struct Story {
        now: Instant,
        ends: [Session; 2],
        sent: u64,
    }

    const NAMES: [[u8; 12]; 2] = [[1; 12], [2; 12]];

    impl Story {
        fn new(seed: u64) -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
            let now = Instant::now();
            let end = |number: u32| {
                // The machines' clocks are an hour apart: nothing of it may show.
                let ntp = NtpTime(u64::from(number * 3_600 + 1) << 32);
                let clock = WallClock { instant: now, ntp };
                let name = Cname::from_random(NAMES[number as usize]);
                Session::new(Ssrc(number + 1), name, clock, seed + u64::from(number), now)
            };
            Self { now, ends: [end(0), end(1)], sent: 0 }
        }

        fn report(&mut self, end: usize, goodbye: bool) -> Vec<u8> {
            let sent = Sent { packets: self.sent, octets: self.sent * 160, timestamp: RtpTime(7) };
            let received = Received { ssrc: Ssrc(2 - end as u32), fraction_lost: 3, lost: 4, highest: 5, jitter: 6 };
            let mut out = [0; REPORT_LENGTH_MAX];
            let length = self.ends[end].write(self.now, sent, Some(received), goodbye, &mut out);
            out[..length].to_vec()
        }

        fn handle(&mut self, end: usize, datagram: &[u8]) -> Learned {
            self.ends[end].handle(self.now, Compound::parse(datagram).unwrap(), datagram.len())
        }
    }

    fn millis(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// RFC 3550 §6.4.1: whatever the clocks say, and however long the report was kept.
    #[test]
    fn the_round_trip_is_what_the_report_was_not_kept_for() {
        let mut story = Story::new(1);
        story.sent = 100;
        let report = story.report(0, false);
        story.now += millis(40);
        assert_eq!(story.handle(1, &report).round_trip, None, "it had no report of ours yet");
        story.now += millis(2_345);
        let back = story.report(1, false);
        story.now += millis(60);
        let learned = story.handle(0, &back);
        let error = learned.round_trip.unwrap().abs_diff(millis(100));
        assert!(error < Duration::from_micros(50), "{learned:?}");
        let block = learned.block.unwrap();
        assert_eq!((block.fraction_lost, block.lost, block.highest, block.jitter), (3, 4, 5, 6));
        assert_eq!(learned.sender.map(|info| (info.packets, info.octets)), Some((100, 16_000)));
        // A delay that is longer than the time that has passed, and a stamp that we never gave.
        let mut wrong = back.clone();
        wrong[48..52].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(story.handle(0, &wrong).round_trip.is_none_or(|time| time < ROUND_TRIP_MAX));
    }

    #[test]
    fn reports_are_two_to_six_seconds_apart_and_the_first_comes_sooner() {
        let (mut gaps, mut firsts) = (Vec::new(), Vec::new());
        for seed in 0..200 {
            let mut story = Story::new(seed * 1_000);
            let mut last = story.now;
            for count in 0..10 {
                while !story.ends[0].is_due(story.now, story.sent) {
                    story.now += millis(20);
                    story.sent += 1;
                }
                story.report(0, false);
                let gap = (story.now - last).as_millis();
                if count == 0 {
                    firsts.push(gap)
                } else {
                    gaps.push(gap)
                }
                last = story.now;
            }
        }
        let range = |gaps: &[u128]| (*gaps.iter().min().unwrap(), *gaps.iter().max().unwrap());
        let (least, most) = range(&firsts);
        assert!((1_020..1_500).contains(&least) && (2_700..=3_080).contains(&most), "{least} to {most}");
        let (least, most) = range(&gaps);
        assert!((2_040..2_900).contains(&least) && (5_600..=6_180).contains(&most), "{least} to {most}");
        let mean = gaps.iter().sum::<u128>() / gaps.len() as u128;
        // Reconsideration takes the later of two draws as often as not; e − 3/2 makes up for most of it.
        assert!((4_000..5_200).contains(&mean), "{mean}");
    }

    /// RFC 3550 §6.4: a sender report as long as something was sent since the last report but one.
    #[test]
    fn who_stops_sending_becomes_a_receiver_two_reports_later() {
        let mut story = Story::new(2);
        let kind = |story: &mut Story| story.report(0, false)[1];
        assert_eq!(kind(&mut story), 201);
        story.sent = 5;
        assert_eq!([kind(&mut story), kind(&mut story), kind(&mut story)], [200, 200, 201]);
    }

    #[test]
    fn a_goodbye_is_heard_once_said_and_only_by_who_was_there() {
        let mut story = Story::new(3);
        assert!(!story.ends[0].may_leave(0));
        assert!(story.ends[0].may_leave(1), "it has sent");
        let goodbye = story.report(0, true);
        assert!(story.ends[0].may_leave(0), "it has reported");
        let learned = story.handle(1, &goodbye);
        assert!(learned.goodbye && learned.is_report);
        // A BYE of our own stream, come back.
        assert!(!story.handle(0, &[0x81, 203, 0, 1, 0, 0, 0, 1]).goodbye);
    }

    #[test]
    fn what_comes_back_to_us_is_no_report_and_no_collision() {
        let mut story = Story::new(4);
        story.sent = 10;
        let ours = story.report(0, false);
        assert_eq!(story.handle(0, &ours), Learned::default());
        // Another end of the same number.
        story.ends[1].rename(Ssrc(1));
        let theirs = story.report(1, false);
        assert_eq!(story.handle(0, &theirs), Learned { collision: true, ..Learned::default() });
        story.ends[0].rename(Ssrc(77));
        assert!(story.handle(0, &theirs).is_report);
        assert_eq!(story.report(0, false)[4..8], [0, 0, 0, 77]);
    }

    #[test]
    fn a_report_on_another_stream_says_nothing_of_ours() {
        let mut story = Story::new(5);
        let mut datagram = story.report(1, false);
        assert_eq!(datagram[1], 201);
        datagram[8..12].copy_from_slice(&99_u32.to_be_bytes());
        let learned = story.handle(0, &datagram);
        assert_eq!((learned.is_report, learned.block), (true, None));
    }
}
