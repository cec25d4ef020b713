//! Two legs, each the far end of the other, over a simulated line: what each reports of the other, what their records say of it, and which
//! of both is found not to be heard.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use contesta::audio::Codec;
use contesta::ids::Ids;
use contesta::media::{CONTROL_LENGTH_MAX, Event, FarSays, Leg, LegReport, LegSettings, MAX_PACKET, OneWay, Unheard};
use contesta::rtp::RtcpPath;
use contesta::rtp::rtcp::{Cname, Compound, NtpTime, Packet};
use contesta::rtp::srtp::{KeyPair, MasterKey, Suite};

const ADDRESSES: [&str; 2] = ["192.0.2.1:4000", "198.51.100.2:5000"];

/// What the line does to what this end sends.
#[derive(Clone, Copy, Default)]
struct Line {
    /// Of a hundred packets of RTP.
    lost: u64,
    delay: Duration,
    /// As much more, evenly.
    jitter: Duration,
    /// Nothing of RTP arrives.
    is_cut: bool,
    /// Nothing of RTCP.
    is_silent: bool,
    /// This end sends nothing of its own.
    is_mute: bool,
}

struct Story {
    legs: [Leg; 2],
    lines: [Line; 2],
    /// On its way to this end: when it arrives, whether it is RTCP, and what it is.
    under_way: [VecDeque<(Instant, bool, Vec<u8>)>; 2],
    settings: [LegSettings; 2],
    now: Instant,
    began: Instant,
    ids: Ids,
    events: [Vec<(Duration, OneWay)>; 2],
    /// What the first end sent of RTCP.
    reports: Vec<Vec<u8>>,
}

fn at(end: usize) -> SocketAddr {
    ADDRESSES[end].parse().unwrap()
}

impl Story {
    fn new(change: impl Fn(&mut LegSettings)) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        let now = Instant::now();
        let settings = [0, 1].map(|end| {
            let mut settings = LegSettings {
                ssrc: 0x1000 + end as u32,
                first_sequence: 65_500,
                both_ways: true,
                cname: Cname::from_random([end as u8; 12]),
                random: 40 + end as u64,
                wall: NtpTime((3_000 + 7_000 * end as u64) << 32),
                ..LegSettings::plain(at(1 - end))
            };
            change(&mut settings);
            settings
        });
        Self {
            legs: [Leg::new(settings[0].clone(), now), Leg::new(settings[1].clone(), now)],
            lines: [Line::default(); 2],
            under_way: [VecDeque::new(), VecDeque::new()],
            settings,
            now,
            began: now,
            ids: Ids::from_seed(8),
            events: [Vec::new(), Vec::new()],
            reports: Vec::new(),
        }
    }

    /// Twenty milliseconds at both ends, a millisecond at a time for what arrives.
    fn frame(&mut self) {
        for end in [0, 1] {
            let (mut packet, mut report, mut out) = ([0; MAX_PACKET], [0; CONTROL_LENGTH_MAX], Vec::new());
            let length = self.legs[end].tick(self.now, &mut packet, &mut out);
            if let Some(length) = length.filter(|_| !self.lines[end].is_mute) {
                self.send(end, false, &packet[..length]);
            }
            if let Some(control) = self.legs[end].control(self.now, &mut report) {
                if end == 0 {
                    self.reports.push(report[..control.length].to_vec());
                }
                self.send(end, true, &report[..control.length]);
            }
            self.note(end, out);
        }
        for _ in 0..20 {
            self.now += Duration::from_millis(1);
            for end in [0, 1] {
                while self.under_way[end].front().is_some_and(|(due, ..)| *due <= self.now) {
                    let (_, is_rtcp, mut packet) = self.under_way[end].pop_front().unwrap();
                    let mut out = Vec::new();
                    let from = at(1 - end);
                    let beside = self.settings[end].rtcp != RtcpPath::Multiplexed;
                    if is_rtcp && beside {
                        let from = SocketAddr::new(from.ip(), from.port() + 1);
                        self.legs[end].handle_control(self.now, from, &mut packet, &mut out);
                    } else {
                        self.legs[end].handle_packet(self.now, from, &mut packet, &mut out);
                    }
                    self.note(end, out);
                }
            }
        }
    }

    fn send(&mut self, end: usize, is_rtcp: bool, packet: &[u8]) {
        let line = self.lines[end];
        let is_lost = if is_rtcp { line.is_silent } else { line.is_cut || self.ids.below(100) < line.lost };
        if !is_lost {
            let jitter = Duration::from_micros(self.ids.below(line.jitter.as_micros() as u64 + 1));
            let queue = &mut self.under_way[1 - end];
            // A line that holds one packet up holds up those behind it.
            let due = queue.back().map_or(self.now, |(due, ..)| *due).max(self.now + line.delay + jitter);
            queue.push_back((due, is_rtcp, packet.to_vec()));
        }
    }

    fn note(&mut self, end: usize, out: Vec<Event>) {
        let since = self.now - self.began;
        self.events[end].extend(out.into_iter().filter_map(|event| match event {
            Event::OneWay(found) => Some((since, found)),
            Event::Digit(..)
            | Event::Played(_)
            | Event::Silent
            | Event::Learned(_)
            | Event::Bridged { .. }
            | Event::Closed(_) => None,
        }));
    }

    fn run(&mut self, seconds: u64) {
        (0..seconds * 50).for_each(|_| self.frame());
    }

    fn found(&mut self, end: usize) -> Vec<(Duration, OneWay)> {
        std::mem::take(&mut self.events[end])
    }

    fn reports(&self) -> [LegReport; 2] {
        [self.legs[0].report(), self.legs[1].report()]
    }
}

/// A minute of a line that loses, delays and jitters: both records tell it, each of its own half and of what the other said.
#[test]
fn both_ends_know_how_they_hear_and_are_heard() {
    for path in [RtcpPath::Multiplexed, RtcpPath::Nowhere] {
        let mut story = Story::new(|settings| {
            settings.rtcp = if path == RtcpPath::Multiplexed { path } else { RtcpPath::beside(settings.remote) };
        });
        let delay = Duration::from_millis(30);
        story.lines[0] = Line { lost: 8, delay, ..Line::default() };
        story.lines[1] = Line { delay, jitter: Duration::from_millis(16), ..Line::default() };
        story.run(120);
        let [first, second] = story.reports().map(|report| report.quality);
        // What the second hears is what the first is told, and the other way round; the report is a few seconds older.
        let (heard, told) = (second.heard.unwrap(), first.reported.unwrap());
        assert!((700..900).contains(&heard.loss) && heard.loss.abs_diff(told.loss) < 60, "{heard:?} {told:?}");
        assert!(heard.jitter < Duration::from_millis(1) && heard.mos < second.reported.unwrap().mos);
        let (heard, told) = (first.heard.unwrap(), second.reported.unwrap());
        assert_eq!((heard.loss, told.loss), (0, 0));
        for jitter in [heard.jitter, told.jitter] {
            assert!((Duration::from_millis(3)..Duration::from_millis(8)).contains(&jitter), "{heard:?} {told:?}");
        }
        for quality in [first, second] {
            // There and back, and what jitter adds.
            let trip = quality.round_trip.unwrap();
            let expected = Duration::from_millis(60)..Duration::from_millis(79);
            assert!(expected.contains(&trip.mean) && expected.contains(&trip.longest), "{trip:?}");
            assert_eq!(quality.one_way, 0);
        }
    }
}

/// RFC 3550 §6.1, §6.2: a report with a name each 2 to 6 s, and BYE in the last one.
#[test]
fn reports_leave_in_time_and_the_last_one_says_goodbye() {
    let mut story = Story::new(|_| {});
    story.run(100);
    let count = story.reports.len();
    assert!((18..40).contains(&count), "{count} in 100 s");
    let mut report = [0; CONTROL_LENGTH_MAX];
    let length = story.legs[0].farewell(story.now, &mut report).unwrap().length;
    story.reports.push(report[..length].to_vec());
    for (index, report) in story.reports.iter().enumerate() {
        let (mut sends, mut named, mut leaves) = (0, 0, 0);
        for packet in Compound::parse(report).unwrap().packets() {
            match packet {
                Packet::SenderReport { ssrc, info, blocks } => {
                    assert_eq!((ssrc.0, info.octets), (0x1000, info.packets * 160));
                    assert_eq!(blocks.iter().map(|block| block.ssrc.0).collect::<Vec<_>>(), [0x1001]);
                    sends += 1;
                }
                Packet::Description(mut names) => named += usize::from(names.any(|(_, name)| name.len() == 16)),
                Packet::Goodbye(sources) => leaves += sources.iter().count(),
                Packet::ReceiverReport { .. } | Packet::Other(_) => panic!("report {index} is no sender report"),
            }
        }
        assert_eq!((sends, named, leaves), (1, 1, usize::from(index == count)), "report {index}");
    }
    // Nobody knows of a leg that has said nothing.
    let mut silent = Leg::new(story.settings[0].clone(), story.now);
    assert_eq!(silent.farewell(story.now, &mut report), None);
}

fn unheard(stopped: bool, far_end: FarSays) -> OneWay {
    OneWay::Unheard(Unheard { stopped, far_end, private: None })
}

/// The first end's audio does not arrive: the second notices by itself, the first by the second's reports.
#[test]
fn audio_that_goes_one_way_is_found_at_both_ends_and_so_is_its_return() {
    let mut story = Story::new(|_| {});
    story.lines[0].is_cut = true;
    story.run(3);
    assert_eq!(story.found(1).first().map(|(after, _)| *after), Some(Duration::from_millis(2_500)));
    story.run(9);
    let found = story.found(0);
    assert!(matches!(found[..], [(_, OneWay::Unreceived(address))] if address == at(1)), "{found:?}");
    story.lines[0].is_cut = false;
    story.run(12);
    assert!(matches!(story.found(0)[..], [(_, OneWay::ReceivedAgain(_))]));
    assert!(story.found(1).iter().any(|(_, found)| matches!(found, OneWay::HeardAgain(_))));
    // It breaks off again in the middle of the call.
    story.lines[0].is_cut = true;
    let cut = story.now - story.began;
    story.run(3);
    let (after, found) = story.found(1)[0];
    assert!(after - cut <= Duration::from_millis(2_520), "{after:?}");
    assert!(matches!(found, OneWay::Unheard(Unheard { stopped: true, .. })), "{found:?}");
    assert_eq!(story.reports().map(|report| report.quality.one_way), [1, 2]);
}

#[test]
fn a_far_end_says_itself_whether_it_sends() {
    // It sends, and nothing arrives.
    let mut story = Story::new(|_| {});
    story.run(20);
    story.lines[0].is_cut = true;
    story.run(14);
    let found: Vec<OneWay> = story.found(1).into_iter().map(|(_, found)| found).collect();
    assert_eq!(found, [unheard(true, FarSays::Nothing), OneWay::Explained(FarSays::Sends)]);
    // It reports nothing at all: nothing is guessed.
    let mut story = Story::new(|_| {});
    story.lines[0] = Line { is_cut: true, is_silent: true, ..Line::default() };
    story.lines[1].is_silent = true;
    story.run(60);
    let found: Vec<OneWay> = story.found(1).into_iter().map(|(_, found)| found).collect();
    assert_eq!(found, [unheard(false, FarSays::Nothing)]);
    assert_eq!(story.found(0), [], "whether it is heard there, the first end cannot know");
}

/// Hold, one direction agreed on, a call that is not answered yet: silence is as it should be.
#[test]
fn where_silence_is_agreed_on_nothing_is_found() {
    let mut story = Story::new(|settings| settings.both_ways = false);
    story.lines = [Line { is_cut: true, ..Line::default() }; 2];
    story.run(60);
    assert_eq!((story.found(0), story.found(1)), (vec![], vec![]));
    // Answered now: counted from here.
    let answered = story.now - story.began;
    let settings = LegSettings { both_ways: true, ..story.settings[0].clone() };
    story.legs[0].retarget(settings.clone(), story.now);
    story.run(3);
    let after = story.found(0)[0].0 - answered;
    assert!(after <= Duration::from_millis(2_520) && after >= Duration::from_millis(2_480), "{after:?}");
    // Held: what was found is forgotten, and nothing more is.
    story.legs[0].retarget(LegSettings { both_ways: false, send: false, ..settings }, story.now);
    story.run(60);
    assert_eq!(story.found(0), []);
}

/// RFC 3389, RFC 7587 §3.1.3: a sender that says it will be silent, and is.
#[test]
fn comfort_noise_and_opus_that_says_nothing_announce_silence() {
    for (codec, payload_type, payload) in [(Codec::Pcmu, 13, vec![60]), (Codec::Opus, 111, vec![0x08])] {
        let mut story = Story::new(|settings| {
            settings.codec = codec;
            settings.payload_type = if codec == Codec::Opus { 111 } else { 0 };
        });
        story.run(5);
        story.lines[0].is_mute = true;
        let header = contesta::rtp::RtpHeader {
            marker: false,
            payload_type,
            sequence: contesta::rtp::SequenceNumber(65_500_u16.wrapping_add(250)),
            timestamp: contesta::rtp::RtpTime(codec.frame_units() * 250),
            ssrc: contesta::rtp::Ssrc(0x1000),
        };
        story.lines[0].is_silent = true;
        story.send(0, false, &[&header.to_bytes()[..], &payload].concat());
        story.run(60);
        assert_eq!(story.found(1), [], "{codec:?}");
    }
}

/// A stranger who knows our address, and even the port of RTCP: its BYE, its complaints, its other SSRC change nothing.
#[test]
fn a_strangers_rtcp_and_rtp_leave_a_locked_call_as_it_was() {
    for path in [RtcpPath::Multiplexed, RtcpPath::beside(at(1))] {
        let mut story = Story::new(|settings| {
            settings.rtcp = if path == RtcpPath::Multiplexed { path } else { RtcpPath::beside(settings.remote) };
        });
        story.run(10);
        let before = story.legs[0].report();
        let stranger: SocketAddr = "203.0.113.66:4444".parse().unwrap();
        let mut theirs = [0; CONTROL_LENGTH_MAX];
        // What the true far end would say, word for word, with a BYE.
        let mut twin = Story::new(|_| {});
        twin.run(10);
        let length = twin.legs[1].farewell(twin.now, &mut theirs).unwrap().length;
        let mut out = Vec::new();
        let destination = story.legs[0].destination();
        for sequence in 0..500_u16 {
            story.legs[0].handle_packet(story.now, stranger, &mut { theirs }[..length], &mut out);
            story.legs[0].handle_control(story.now, stranger, &mut { theirs }[..length], &mut out);
            // SSRC takeover: the stream's own number, from elsewhere.
            let header = contesta::rtp::RtpHeader {
                marker: true,
                payload_type: 101,
                sequence: contesta::rtp::SequenceNumber(sequence),
                timestamp: contesta::rtp::RtpTime(u32::from(sequence) * 2_000),
                ssrc: contesta::rtp::Ssrc(0x1001),
            };
            story.legs[0].handle_packet(
                story.now,
                stranger,
                &mut [&header.to_bytes()[..], &[5, 0x8a, 3, 32]].concat(),
                &mut out,
            );
        }
        let after = story.legs[0].report();
        assert_eq!((out, story.legs[0].destination()), (vec![], destination));
        assert_eq!(after, LegReport { packets_ignored: before.packets_ignored + 1_500, ..before });
        story.run(20);
        let after = story.legs[0].report();
        assert_eq!((after.packets_lost, after.quality.one_way, story.found(0)), (0, 0, vec![]));
    }
}

/// RFC 3711 §3.4: reports under SRTP, on either path, are opened; one that was changed on its way is counted as forged and says nothing.
#[test]
fn reports_are_protected_where_the_audio_is() {
    for (suite, multiplexed) in Suite::ALL.into_iter().flat_map(|suite| [(suite, true), (suite, false)]) {
        let mut story = Story::new(|settings| {
            let [first, second] = [11, 12].map(|seed| MasterKey::random(suite, &mut Ids::from_seed(seed)));
            let is_first = settings.ssrc == 0x1000;
            let [ours, theirs] = if is_first { [first, second] } else { [second, first] };
            settings.srtp = Some(Box::new(KeyPair { ours, theirs }));
            settings.rtcp = if multiplexed { RtcpPath::Multiplexed } else { RtcpPath::beside(settings.remote) };
        });
        story.run(30);
        for report in story.reports() {
            let told = report.quality.reported.unwrap();
            assert_eq!((told.loss, report.packets_forged, report.packets_lost), (0, 0, 0), "{suite} {multiplexed}");
            assert!(report.quality.round_trip.is_some(), "{suite} {multiplexed}");
        }
        // Its header apart, nothing of it can be read, and nothing of it changed.
        let mut forged = story.reports.pop().unwrap();
        let readable = Compound::parse(&forged)
            .is_ok_and(|compound| compound.packets().any(|packet| matches!(packet, Packet::Description(_))));
        assert!(!readable, "{suite}: in the clear");
        forged[12] ^= 1;
        let before = story.legs[1].report();
        let from = if multiplexed { at(0) } else { SocketAddr::new(at(0).ip(), at(0).port() + 1) };
        let mut out = Vec::new();
        if multiplexed {
            story.legs[1].handle_packet(story.now, from, &mut forged, &mut out);
        } else {
            story.legs[1].handle_control(story.now, from, &mut forged, &mut out);
        }
        let after = story.legs[1].report();
        assert_eq!(after.quality, before.quality, "{suite} {multiplexed}");
        assert_eq!(after.packets_ignored, before.packets_ignored + 1, "{suite} {multiplexed}");
    }
}

/// The true far end's BYE ends its stream, not the call; what it sends afterwards is another stream, counted anew.
#[test]
fn the_far_ends_own_goodbye_ends_its_stream_and_not_the_call() {
    let mut story = Story::new(|_| {});
    story.run(10);
    let mut goodbye = [0; CONTROL_LENGTH_MAX];
    let length = story.legs[1].farewell(story.now, &mut goodbye).unwrap().length;
    let mut out = Vec::new();
    let from = SocketAddr::new(at(1).ip(), at(1).port() + 1);
    story.legs[0].handle_control(story.now, from, &mut goodbye[..length], &mut out);
    assert_eq!(out, []);
    // Two seconds are lost in between, and no loss is counted over a goodbye.
    story.lines[1].is_cut = true;
    story.run(2);
    story.lines[1].is_cut = false;
    story.run(10);
    let report = story.legs[0].report();
    assert_eq!((report.packets_lost, report.quality.one_way), (0, 0));
    assert!(report.packets_received > 900);
}
