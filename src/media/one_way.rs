//! Audio that goes one way only, found while it happens.
//!
//! ```text
//!            answered, both mean to send                     RTP comes
//!  Off ──────────────────────────────────► waiting ─────────────────────────► heard
//!   ▲                                         │ 2.5 s                          │ 2.5 s without RTP, and no word that
//!   │ hold, or a description                  ▼                                ▼ nothing would come
//!   └─ of one direction                   Unheard ◄────────────────────────────┘         RTP again: HeardAgain
//!
//!  a report of the far end that counts nothing of what we have sent for two seconds: Unreceived; one that does: ReceivedAgain
//! ```
//!
//! Silence is no fault where the far end holds the call, where it said that it would be silent (comfort noise, a packet of Opus that
//! says so), or where it was seen to pause without a word; unless its own sender reports count packets that never came. Of
//! a far end without RTCP it is not known what it hears, and nothing is said of that.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// No RTP for this long is a fault: half a second is left of the three in which it is to be told.
pub const QUIET_MAX: Duration = Duration::from_millis(2_500);

/// A far end's report counts nothing of ours only when it must have had this much of it.
const SENT_MIN: Duration = Duration::from_secs(2);

/// Packets that we have sent in that time at least, 20 ms each; fewer when worker or line were interrupted.
const PACKETS_MIN: u64 = 50;

/// Packets that a far end counts as sent and that never came: more than chance may take.
const PACKETS_UNSEEN: u32 = 25;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneWay {
    /// Nothing comes from the far end, or no longer.
    Unheard(Unheard),
    /// The far end has said more of its silence since it was found.
    Explained(FarSays),
    /// It comes again, after this long.
    HeardAgain(Duration),
    /// The far end reports that nothing comes of what goes to this address.
    Unreceived(SocketAddr),
    /// It comes again, after this long.
    ReceivedAgain(Duration),
}

/// A far end that is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// It was heard before; not heard since the call was answered otherwise.
    pub stopped: bool,
    /// What it says of it.
    pub far_end: FarSays,
    /// The address in its description, if it is one that only its own network can reach, and nothing corrected it.
    pub private: Option<SocketAddr>,
}

/// What a far end's reports say of its own sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FarSays {
    /// It does not report.
    #[default]
    Nothing,
    /// It sends: what it sends is lost on its way.
    Sends,
    /// It sends nothing.
    SendsNothing,
}

impl OneWay {
    /// True for what somebody should look into.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Unheard(_) | Self::Unreceived(_) => true,
            Self::Explained(_) | Self::HeardAgain(_) | Self::ReceivedAgain(_) => false,
        }
    }
}

impl fmt::Display for OneWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unheard(unheard) => {
                f.write_str(match unheard.stopped {
                    true => "one-way audio: the far end's RTP has stopped",
                    false => "one-way audio: no RTP has come from the far end since the answer",
                })?;
                if let Some(address) = unheard.private {
                    write!(
                        f,
                        "; its SDP names the private address {address}: check its NAT and what its SBC advertises"
                    )?;
                }
                write!(f, "; {}", unheard.far_end)
            }
            Self::Explained(says) => write!(f, "one-way audio: {says}"),
            Self::HeardAgain(after) => write!(f, "the far end is heard again after {}", seconds(*after)),
            Self::Unreceived(address) => write!(
                f,
                "one-way audio: the far end reports (RTCP) that it receives nothing of ours; check what lies between this machine and \
                 {address}, and whether that is its address"
            ),
            Self::ReceivedAgain(after) => {
                write!(f, "the far end reports that it receives us again, after {}", seconds(*after))
            }
        }
    }
}

impl fmt::Display for FarSays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "check the advertised address and that our RTP ports are reachable from there",
            Self::Sends => "it reports (RTCP) that it sends: check firewalls on the way to our RTP ports",
            Self::SendsNothing => {
                "it reports (RTCP) that it sends nothing: check the far end itself (microphone, mute)"
            }
        })
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100)
}

/// Watches one leg. It is told of packets only while nothing is heard ([`is_unheard`](Self::is_unheard)).
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Since when both ends should be heard.
    since: Option<Since>,
    /// What the far end said last of its own sending, and when.
    says: Option<(FarSays, Instant)>,
    unheard: Option<Instant>,
    unreceived: Option<Instant>,
    sender: Option<SenderCount>,
    highest: Option<Highest>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    moment: Instant,
    packets_sent: u64,
}

/// What the far end's last sender report counted, and what had come by then.
#[derive(Clone, Copy, Debug)]
struct SenderCount {
    sent: u32,
    received: u64,
}

/// The highest sequence number of ours that a report named, and how many packets had left by then.
#[derive(Clone, Copy, Debug)]
struct Highest {
    number: u32,
    packets_sent: u64,
}

/// What a report of the far end says that matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Packets that it has sent, by its sender report.
    pub(super) sent: Option<u32>,
    /// Packets that we have received.
    pub(super) received: u64,
    /// The highest number of ours that it has, if it has any.
    pub(super) highest: Option<u32>,
    /// Packets that we have sent.
    pub(super) packets_sent: u64,
    /// Where to.
    pub(super) destination: SocketAddr,
}

impl Watch {
    /// Both ends mean to send and to hear from now on, or not any more. What was found before is forgotten when it is not so.
    pub(super) fn expect(&mut self, now: Instant, both_ways: bool, packets_sent: u64) {
        if !both_ways {
            let sender = self.sender;
            *self = Self { sender, ..Self::default() };
        } else if self.since.is_none() {
            self.since = Some(Since { moment: now, packets_sent });
        }
    }

    /// The far end was found not to be heard: [`hear`](Self::hear) is to be told of the next packet.
    pub(super) fn is_unheard(&self) -> bool {
        self.unheard.is_some()
    }

    /// A packet came.
    pub(super) fn hear(&mut self, now: Instant) -> Option<OneWay> {
        self.unheard.take().map(|since| OneWay::HeardAgain(now.saturating_duration_since(since)))
    }

    /// Looks at a leg that has not heard RTP since `heard`. `stopped` if it ever did; `is_excused` if the last packet said that
    /// silence follows, or the far end is known to fall silent without a word.
    pub(super) fn tick(&mut self, now: Instant, heard: Instant, stopped: bool, is_excused: bool) -> Option<Unheard> {
        let from = self.since?.moment.max(heard);
        if self.unheard.is_some() || now.saturating_duration_since(from) < QUIET_MAX {
            return None;
        }
        let far_end = self.says.filter(|(_, said)| *said > from).map_or(FarSays::Nothing, |(says, _)| says);
        if is_excused && far_end != FarSays::Sends {
            return None;
        }
        self.unheard = Some(from);
        Some(Unheard { stopped, far_end, private: None })
    }

    /// Takes a report of the far end's.
    pub(super) fn handle_report(&mut self, now: Instant, report: Heard) -> Option<OneWay> {
        let says = self.said_of_itself(report);
        let before = self.says.replace((says, now)).map(|(says, _)| says);
        self.said_of_us(now, report).or_else(|| {
            let is_news = self.unheard.is_some() && Some(says) != before && says != FarSays::Nothing;
            is_news.then_some(OneWay::Explained(says))
        })
    }

    fn said_of_itself(&mut self, report: Heard) -> FarSays {
        let Some(sent) = report.sent else {
            self.sender = None;
            // RFC 3550 §6.4: who reports without a sender's part has sent nothing for two reports.
            return FarSays::SendsNothing;
        };
        let count = SenderCount { sent, received: report.received };
        let (sent, received) = match self.sender.replace(count) {
            Some(before) => (sent.wrapping_sub(before.sent), report.received.saturating_sub(before.received)),
            None => (sent, report.received),
        };
        match (sent, received) {
            (0, _) => FarSays::SendsNothing,
            (PACKETS_UNSEEN.., 0) => FarSays::Sends,
            _ => FarSays::Nothing,
        }
    }

    fn said_of_us(&mut self, now: Instant, report: Heard) -> Option<OneWay> {
        let since = self.since?;
        let before = self.highest;
        if let Some(number) = report.highest {
            self.highest = Some(Highest { number, packets_sent: report.packets_sent });
        }
        let has_more = report.highest.is_some_and(|number| before.is_none_or(|before| before.number != number));
        if has_more {
            let since = self.unreceived.take()?;
            return Some(OneWay::ReceivedAgain(now.saturating_duration_since(since)));
        }
        let sent_before = before.map_or(since.packets_sent, |before| before.packets_sent.max(since.packets_sent));
        let must_have = now.saturating_duration_since(since.moment) >= SENT_MIN
            && report.packets_sent.saturating_sub(sent_before) >= PACKETS_MIN;
        if !must_have || self.unreceived.is_some() {
            return None;
        }
        self.unreceived = Some(now);
        Some(OneWay::Unreceived(report.destination))
    }
}

/// Whether an address is one that only its own network, or its own machine, can reach: RFC 1918, RFC 6598, RFC 4193, link-local, loopback.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_link_local()
                || address.is_loopback()
                || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: &str = "192.0.2.1:4000";

    struct Story {
        watch: Watch,
        now: Instant,
        heard: Instant,
        received: u64,
        packets_sent: u64,
        announced: bool,
        pauses: bool,
    }

    impl Story {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        fn new() -> Self {
            let now = Instant::now();
            let mut watch = Watch::default();
            watch.expect(now, true, 0);
            Self { watch, now, heard: now, received: 0, packets_sent: 0, announced: false, pauses: false }
        }

        fn packet(&mut self, announces: bool) -> Option<OneWay> {
            self.heard = self.now;
            self.received += 1;
            self.announced = announces;
            let is_news = self.watch.is_unheard();
            let found = self.watch.hear(self.now);
            assert_eq!(found.is_some(), is_news);
            found
        }

        /// Ticks for so long at most, until something is found; how long that took.
        fn quiet(&mut self, seconds: f64) -> Option<(Duration, Unheard)> {
            let from = self.now;
            while self.now < from + Duration::from_secs_f64(seconds) {
                self.now += Duration::from_millis(20);
                self.packets_sent += 1;
                if let Some(found) = self.look() {
                    return Some((self.now - from, found));
                }
            }
            None
        }

        fn look(&mut self) -> Option<Unheard> {
            self.watch.tick(self.now, self.heard, self.received > 0, self.announced || self.pauses)
        }

        fn report(&mut self, sent: Option<u32>, highest: Option<u32>) -> Option<OneWay> {
            let (received, packets_sent) = (self.received, self.packets_sent);
            let destination = THERE.parse().unwrap();
            self.watch.handle_report(self.now, Heard { sent, received, highest, packets_sent, destination })
        }
    }

    fn unheard(stopped: bool, far_end: FarSays) -> Unheard {
        Unheard { stopped, far_end, private: None }
    }

    #[test]
    fn a_far_end_that_never_speaks_is_told_within_three_seconds_and_once() {
        let mut story = Story::new();
        assert_eq!(story.quiet(10.0), Some((QUIET_MAX, unheard(false, FarSays::Nothing))));
        assert_eq!(story.quiet(60.0), None);
        assert_eq!(story.packet(false), Some(OneWay::HeardAgain(QUIET_MAX + Duration::from_secs(60))));
        assert_eq!(story.packet(false), None);
        assert_eq!(story.quiet(10.0), Some((QUIET_MAX, unheard(true, FarSays::Nothing))), "it stops");
    }

    #[test]
    fn packets_each_two_seconds_are_enough() {
        let mut story = Story::new();
        for _ in 0..50 {
            assert_eq!((story.quiet(2.4), story.packet(false)), (None, None));
        }
    }

    /// Comfort noise, a packet of Opus that says nothing, a sender that pauses without a word; a hold.
    #[test]
    fn a_silence_that_was_announced_is_none() {
        let mut story = Story::new();
        story.packet(true);
        assert_eq!(story.quiet(60.0), None);
        story.packet(false);
        assert!(story.quiet(60.0).is_some());
        let mut story = Story::new();
        story.packet(false);
        story.pauses = true;
        assert_eq!(story.quiet(60.0), None);
        let mut story = Story::new();
        story.watch.expect(story.now, false, 0);
        assert_eq!((story.quiet(60.0), story.report(None, None)), (None, None));
        story.watch.expect(story.now, true, story.packets_sent);
        assert_eq!(
            story.quiet(10.0),
            Some((QUIET_MAX, unheard(false, FarSays::Nothing))),
            "counted from the resumption"
        );
    }

    #[test]
    fn its_own_count_of_packets_tells_lost_ones_from_none() {
        let mut story = Story::new();
        story.quiet(2.0);
        story.report(Some(100), Some(7));
        assert_eq!(story.quiet(1.0).unwrap().1, unheard(false, FarSays::Sends));
        // An announced silence, and yet it counts packets: they are lost.
        let mut story = Story::new();
        story.packet(false);
        story.report(Some(1), Some(7));
        story.packet(true);
        assert_eq!(story.quiet(3.0), None);
        story.report(Some(2), Some(9));
        assert_eq!(story.quiet(3.0), None, "the one that came");
        story.report(Some(250), Some(11));
        assert_eq!(story.quiet(0.1).unwrap().1, unheard(true, FarSays::Sends));
        // It says so only later, and then that it has stopped.
        let mut story = Story::new();
        story.quiet(3.0);
        assert_eq!(story.report(Some(150), Some(7)), Some(OneWay::Explained(FarSays::Sends)));
        assert_eq!(story.report(Some(300), Some(8)), None);
        assert_eq!(story.report(None, Some(9)), Some(OneWay::Explained(FarSays::SendsNothing)));
    }

    #[test]
    fn a_far_end_that_counts_nothing_of_ours_is_believed() {
        let mut story = Story::new();
        let unreceived = Some(OneWay::Unreceived(THERE.parse().unwrap()));
        story.packet(false);
        story.quiet(1.5);
        assert_eq!(story.report(Some(75), None), None, "nothing may have reached it yet");
        story.packet(false);
        story.quiet(1.0);
        story.packet(false);
        assert_eq!(story.report(Some(75), None), unreceived);
        assert_eq!(story.report(Some(100), None), None, "once");
        story.quiet(2.0);
        assert_eq!(story.report(Some(200), Some(40)), Some(OneWay::ReceivedAgain(Duration::from_secs(2))));
        // It had some, and no more come: the number stands still.
        story.quiet(0.5);
        assert_eq!(story.report(Some(300), Some(40)), None, "fewer than a second's packets since");
        story.packet(false);
        story.quiet(2.0);
        assert_eq!(story.report(Some(300), Some(40)), unreceived);
    }

    /// Nothing is known of what it hears, and nothing is said of it.
    #[test]
    fn a_far_end_without_reports_is_not_guessed_at() {
        let mut story = Story::new();
        for _ in 0..100 {
            story.packet(false);
            assert_eq!(story.quiet(1.0), None);
        }
    }

    #[test]
    fn private_addresses_are_known() {
        for private in [
            "10.1.2.3",
            "172.20.0.1",
            "192.168.1.10",
            "100.64.0.1",
            "169.254.1.1",
            "127.0.0.1",
            "fd00::1",
            "fe80::1",
            "::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["203.0.113.5", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
        assert!(is_private("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn each_finding_says_which_side_is_silent_and_what_to_check() {
        let told = |found: OneWay| found.to_string();
        let private = Some("192.168.1.10:4000".parse().unwrap());
        let unheard = Unheard { stopped: false, far_end: FarSays::Nothing, private };
        assert_eq!(
            told(OneWay::Unheard(unheard)),
            "one-way audio: no RTP has come from the far end since the answer; its SDP names the private address \
             192.168.1.10:4000: check its NAT and what its SBC advertises; check the advertised address and that our RTP ports are \
             reachable from there"
        );
        let stopped = Unheard { stopped: true, far_end: FarSays::SendsNothing, private: None };
        assert_eq!(
            told(OneWay::Unheard(stopped)),
            "one-way audio: the far end's RTP has stopped; it reports (RTCP) that it sends nothing: check the far end itself \
             (microphone, mute)"
        );
        assert!(told(OneWay::Unreceived(THERE.parse().unwrap())).contains("receives nothing of ours"));
        assert_eq!(told(OneWay::HeardAgain(Duration::from_millis(4_260))), "the far end is heard again after 4.2 s");
    }
}
