//! The jitter buffer in simulated time: what a network does goes in, what is heard comes out.

use std::time::{Duration, Instant};

use contesta::ids::Ids;
use contesta::rtp::jitter_buffer::PACKETS_MAX;
use contesta::rtp::{
    Arrival, Hole, JitterBuffer, JitterCounts, JitterSettings, Playout, RtpHeader, RtpTime, SequenceNumber, Ssrc,
};

const SSRC: u32 = 7;

/// A buffer of G.711 and its clock. What comes out of a tick is one character a result: the first byte of the payload, `-` for
/// missing (`+` when the packet behind the hole is at hand), `.` for nothing.
struct Story {
    buffer: JitterBuffer,
    start: Instant,
    now: Instant,
    quiet: bool,
    given: u64,
    ticks: u64,
    /// The frames missing and paused before each packet, where there was a hole.
    holes: Vec<(char, u32, u32)>,
}

impl Story {
    fn new() -> Self {
        Self::with(8000)
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    fn with(clock_rate: u32) -> Self {
        let start = Instant::now();
        let buffer = JitterBuffer::new(JitterSettings::new(clock_rate, 480));
        Self { buffer, start, now: start, quiet: false, given: 0, ticks: 0, holes: Vec::new() }
    }

    /// A packet of 20 ms that says `name`, `frame` frames after the stream's first.
    fn packet(&mut self, name: u8, sequence: u16, frame: u32) -> Arrival {
        self.any(SSRC, sequence, frame.wrapping_mul(160), 160, &[name; 160])
    }

    fn any(&mut self, ssrc: u32, sequence: u16, timestamp: u32, duration: u32, payload: &[u8]) -> Arrival {
        self.buffer.handle_packet(self.now, &header(ssrc, sequence, timestamp), duration, payload)
    }

    fn tick(&mut self) -> String {
        self.buffer.tick(self.now, self.quiet);
        let mut heard = String::new();
        while let Some(playout) = self.buffer.next() {
            let (character, duration) = match playout {
                Playout::Payload { payload, duration, before, .. } => {
                    let name = payload.first().map_or('?', |&b| b.into());
                    if before != Hole::default() {
                        self.holes.push((name, before.missing / 160, before.paused / 160));
                    }
                    (name, duration)
                }
                Playout::Missing { duration, next } => (next.map_or('-', |_| '+'), duration),
                Playout::Nothing { duration } => ('.', duration),
            };
            heard.push(character);
            self.given += u64::from(duration);
        }
        self.now += Duration::from_millis(20);
        self.ticks += 1;
        heard
    }

    fn ticks(&mut self, count: usize) -> String {
        (0..count).map(|_| self.tick()).collect()
    }

    /// Packets `a`, `b`, … of one stream, one each 20 ms, in the order of `names`; `_` stands for 20 ms without one, packets in
    /// brackets come together.
    fn run(&mut self, names: &str) -> String {
        let (mut heard, mut together) = (String::new(), false);
        for name in names.bytes() {
            match name {
                b'(' => together = true,
                b')' => together = false,
                b'_' => {}
                name => {
                    let frame = name - b'a';
                    self.packet(name, u16::from(frame), u32::from(frame));
                }
            }
            if !together {
                heard += &self.tick();
            }
        }
        heard
    }

    fn counts(&self) -> JitterCounts {
        self.buffer.counts()
    }
}

fn header(ssrc: u32, sequence: u16, timestamp: u32) -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: 0,
        sequence: SequenceNumber(sequence),
        timestamp: RtpTime(timestamp),
        ssrc: Ssrc(ssrc),
    }
}

#[test]
fn packets_come_out_in_order_and_once() {
    assert_eq!(Story::new().run("abcdef__"), ".abcdef-");
    assert_eq!(Story::new().run("ab(dc)efg"), ".abcde", "two packets changed places");
    let mut story = Story::new();
    assert_eq!(story.run("a(bb)(cb)"), ".ab");
    assert_eq!(story.counts().duplicates, 2);
}

/// What was lost is missing once, and the packet behind the hole is offered for the copy it may carry.
#[test]
fn what_is_lost_is_missing_and_takes_its_time() {
    assert_eq!(Story::new().run("ab_def_hij"), ".ab+def+hi");
    assert_eq!(Story::new().run("ab__efgh"), ".ab-+efg");
    assert_eq!(Story::new().run("ab_d_f_hij"), ".ab+d+f+hi");
}

#[test]
fn beyond_100_ms_there_is_nothing_left_to_conceal() {
    assert_eq!(Story::new().run("ab_______"), ".ab-----.");
    assert_eq!(Story::new().run("ab________klmn"), ".ab-----...klm");
}

/// A late packet is played, the depth has grown by what it took, and one packet of silence is left out when it may shrink.
#[test]
fn lateness_deepens_and_silence_lessens() {
    let mut story = Story::new();
    assert_eq!(story.run("abcd___(efg)hijkl"), ".abcd--efghij");
    assert_eq!(story.counts().late, 0);
    // The network is even again, and after 200 packets those that were 40 and 60 ms late are two in two hundred.
    let mut sequence = 12;
    let mut steady = |story: &mut Story, count| {
        for _ in 0..count {
            story.packet(b'x', sequence, sequence.into());
            sequence += 1;
            story.tick();
        }
    };
    let deep = story.buffer.depth();
    steady(&mut story, 240);
    assert!(story.buffer.target() < deep);
    assert_eq!((story.buffer.depth(), story.counts().dropped), (deep, 0), "not while somebody speaks");
    story.quiet = true;
    steady(&mut story, 10);
    assert_eq!((story.counts().dropped, story.counts().late), (1, 0));
    assert!(story.buffer.depth() < deep, "{:?}", story.buffer.depth());
}

/// Timestamps ahead and no sequence number lost: the sender made a pause (RFC 3551 §4.1).
#[test]
fn a_pause_of_the_sender_is_not_a_loss() {
    let mut story = Story::new();
    assert_eq!(story.run("abc"), ".ab");
    assert_eq!(story.ticks(20), "c-----..............");
    story.packet(b'd', 3, 23);
    assert_eq!(story.ticks(2), ".d");
    assert_eq!(story.counts().restarts, 0);
}

/// Whatever was given out meanwhile, and however late: what is missing is what has no number, and the rest was a pause.
#[test]
fn a_hole_is_told_apart_into_loss_and_pause() {
    let holes = |names: &str| {
        let mut story = Story::new();
        story.run(names);
        story.holes.split_off(1) // nothing is known of what was before the first packet
    };
    assert_eq!(holes("abcd"), []);
    assert_eq!(holes("ab_def___"), [('d', 1, 0)]);
    assert_eq!(holes("ab__________mno__"), [('m', 10, 0)], "beyond concealment");
    assert_eq!(holes("abcd______(efghij)klm"), [], "late, but all here");
    assert_eq!(holes("ab(dc)efg__"), []);
    let mut story = Story::new();
    story.run("ab");
    // Number 2 was lost; frames 3 to 11 were never sent.
    story.ticks(10);
    story.packet(b'm', 3, 12);
    story.ticks(2);
    assert_eq!(story.holes[1..], [('m', 1, 9)]);
    story.buffer.handle_other(&header(SSRC, 4, 13 * 160));
    story.packet(b'o', 5, 14);
    story.ticks(30);
    assert_eq!(story.holes[2..], [('o', 0, 1)], "a telephone event between");
    story.any(8, 900, 5_000_000, 160, b"A");
    story.ticks(30);
    assert_eq!(story.holes[3..], [('A', 1, 0)], "another stream");
}

/// A packet left out to lessen the depth was no pause of the sender's.
#[test]
fn what_is_left_out_on_purpose_is_missing() {
    let mut story = Story::new();
    story.run("abcd______(efghij)klm");
    story.quiet = true;
    let mut left_out = Vec::new();
    for number in 13..1_200 {
        story.packet(b'x', number, number.into());
        story.tick();
        left_out.append(&mut story.holes);
    }
    assert!(story.counts().dropped >= 2, "{:?}", story.counts());
    assert_eq!(left_out[1..], vec![('x', 1, 0); story.counts().dropped as usize]);
}

/// Comfort noise says that silence begins, so nothing is concealed; the spurt behind it is played whole.
#[test]
fn announced_silence_is_nothing() {
    let mut story = Story::new();
    assert_eq!(story.run("ab"), ".a");
    story.any(SSRC, 2, 320, 0, b"~");
    assert_eq!(story.ticks(10), "b~.........");
}

#[test]
fn telephone_events_are_neither_lost_nor_concealed() {
    let mut story = Story::new();
    assert_eq!(story.run("ab"), ".a");
    let mut heard = String::new();
    for number in 2..9 {
        story.buffer.handle_other(&header(SSRC, number, 320));
        heard += &story.tick();
    }
    story.packet(b'c', 9, 9);
    heard += &story.ticks(2);
    assert_eq!(heard, "b.......c");
    assert_eq!(story.counts().concealed, 0);
}

/// RFC 3551 §4.2: receivers should take packets of up to 200 ms; phones send 10 to 60.
#[test]
fn packets_of_any_length_come_out_whole() {
    for (ms, expected) in [(10, 2.0), (20, 1.0), (30, 2.0 / 3.0), (40, 0.5), (60, 1.0 / 3.0)] {
        for clock_rate in [8_000, 48_000] {
            let mut story = Story::with(clock_rate);
            let duration = clock_rate / 1000 * ms;
            let (mut sent, mut heard) = (0, String::new());
            for tick in 0..300 {
                while sent * ms <= tick * 20 {
                    story.any(SSRC, sent as u16, sent * duration, duration, &[b'a' + (sent % 26) as u8; 80]);
                    sent += 1;
                }
                heard += &story.tick();
            }
            let heard = heard.trim_start_matches('.');
            let alphabet: String = ('a'..='z').cycle().take(heard.len()).collect();
            assert_eq!(heard, alphabet, "{ms} ms at {clock_rate}");
            assert!((heard.len() as f64 - 300.0 * expected).abs() < 12.0, "{ms} ms: {} results", heard.len());
            assert_eq!(story.counts().concealed, 0);
        }
    }
}

#[test]
fn another_ssrc_is_heard_at_once_and_late_packets_of_the_old_one_do_not_bring_it_back() {
    let mut story = Story::new();
    assert_eq!(story.run("abcd"), ".abc");
    assert_eq!(story.any(8, 900, 5_000_000, 160, b"A"), Arrival::Restarted);
    assert_eq!(story.packet(b'e', 4, 4), Arrival::Dropped);
    assert_eq!(story.tick(), ".");
    assert_eq!(story.any(8, 901, 5_000_160, 160, b"B"), Arrival::Kept);
    assert_eq!((story.packet(b'f', 5, 5), story.tick()), (Arrival::Dropped, "A".to_owned()));
    assert_eq!((story.packet(b'g', 6, 6), story.packet(b'h', 7, 7)), (Arrival::Dropped, Arrival::Restarted));
    assert_eq!(story.ticks(2), ".h", "three in a row: it is the one that speaks");
}

#[test]
fn a_clock_that_jumps_starts_over() {
    for jump in [50_000, 8_001, u32::MAX / 2, u32::MAX - 20_000] {
        let mut story = Story::new();
        story.run("abc");
        assert_eq!(story.any(SSRC, 3, 480_u32.wrapping_add(jump), 160, b"X"), Arrival::Restarted, "{jump}");
        assert_eq!(story.ticks(3), ".X-");
    }
    // Back by 200 ms: each packet is late, until five have said the same.
    let mut story = Story::new();
    story.run("abcdefghijkl");
    let arrivals: Vec<_> = (0..6).map(|n| story.packet(b'X', 12 + n, 2 + u32::from(n))).collect();
    assert_eq!(arrivals[3..], [Arrival::Late, Arrival::Restarted, Arrival::Kept]);
}

#[test]
fn numbers_and_timestamps_wrap_unheard() {
    let mut story = Story::new();
    let mut heard = String::new();
    for number in 0..40 {
        let (sequence, time) =
            (65_520_u16.wrapping_add(number), (u32::MAX - 3_000).wrapping_add(u32::from(number) * 160));
        story.any(SSRC, sequence, time, 160, b"x");
        heard += &story.tick();
    }
    assert_eq!(heard, format!(".{}", "x".repeat(39)));
}

/// A network for one stream: packet n of `ms` is sent at n·`ms`·(1 + ppm) and arrives up to `jitter` ms later.
fn through(seed: u64, minutes: u32, jitter: u64, ppm: f64, loss: u64) -> Story {
    let mut story = Story::new();
    let mut dice = Ids::from_seed(seed);
    let count = minutes * 3_000;
    let mut arrivals: Vec<(u64, u32)> = (0..count)
        .filter_map(|number| {
            let sent = f64::from(number) * 20_000.0 * (1.0 + ppm / 1e6);
            let delay = 30_000 + if jitter == 0 { 0 } else { dice.below(jitter * 1_000) };
            (dice.below(100) >= loss).then_some((sent as u64 + delay, number))
        })
        .collect();
    arrivals.sort_unstable();
    let mut arrivals = arrivals.into_iter().peekable();
    for tick in 0..u64::from(count) - 50 {
        // One second in ten is silence.
        story.quiet = tick / 50 % 10 == 0;
        while let Some((at, number)) = arrivals.next_if(|(at, _)| *at <= tick * 20_000) {
            let now = story.now;
            story.now = story.start + Duration::from_micros(at);
            story.packet(b'x', number as u16, number);
            story.now = now;
        }
        story.tick();
    }
    story
}

/// Drift of 100 ppm is 20 ms in 200 s: one step each time, no packet late, nothing concealed in speech.
#[test]
fn a_clock_100_ppm_off_costs_one_step_in_200_seconds() {
    for ppm in [-100.0, 100.0] {
        let story = through(1, 60, 5, ppm, 0);
        let counts = story.counts();
        let steps = counts.dropped + counts.concealed / 160;
        assert!((17..=20).contains(&steps), "{ppm} ppm: {counts:?}");
        assert_eq!(counts.late, 0, "{ppm} ppm");
        assert!(story.buffer.depth() < Duration::from_millis(60), "{ppm} ppm: {:?}", story.buffer.depth());
    }
}

#[test]
fn the_depth_follows_the_jitter() {
    for (jitter, depth) in [(0, 20..41), (20, 20..50), (40, 35..75), (80, 75..120)] {
        let story = through(2, 5, jitter, 0.0, 0);
        let counts = story.counts();
        let ms = story.buffer.depth().as_millis();
        assert!(depth.contains(&ms), "{jitter} ms of jitter: {ms} ms deep");
        assert!(counts.late + counts.concealed / 160 < 15_000 / 50, "{jitter} ms of jitter: {counts:?}");
    }
}

#[test]
fn a_tenth_lost_is_a_tenth_concealed() {
    let counts = through(3, 5, 30, 0.0, 10).counts();
    let concealed = counts.concealed as f64 / (counts.concealed + counts.played) as f64;
    assert!((0.09..0.12).contains(&concealed), "{counts:?}");
}

/// A burst after the network has stood still: the oldest go, and the depth comes back within its bounds.
#[test]
fn a_flood_is_bounded() {
    let mut story = Story::new();
    story.run("abcd");
    for number in 4..1_004_u16 {
        story.packet(b'x', number, number.into());
    }
    let played: usize = story.ticks(200).matches('x').count();
    assert!(played <= PACKETS_MAX, "{played} of a thousand");
    assert_eq!(story.buffer.handle_packet(story.now, &header(SSRC, 5000, 1), 160, &[0; 481]), Arrival::Dropped);
}

/// Whatever comes, a tick gives out 20 ms: the stories' totals never run ahead or behind by more than a packet.
#[test]
fn any_headers_at_all_leave_every_tick_full() {
    let mut dice = Ids::from_seed(4);
    for round in 0..200_u64 {
        let mut story = Story::new();
        let (mut sequence, mut timestamp, mut ssrc) = (0_u16, 0_u32, 1);
        for _ in 0..500 {
            for _ in 0..dice.below(4) {
                match dice.below(40) {
                    0 => sequence = dice.next_u64() as u16,
                    1 => timestamp = dice.next_u64() as u32,
                    2 => ssrc = dice.below(3) as u32,
                    3 => timestamp = timestamp.wrapping_add(dice.below(2_000) as u32),
                    4 => sequence = sequence.wrapping_sub(dice.below(20) as u16),
                    5 => story.buffer.handle_other(&header(ssrc, sequence, timestamp)),
                    _ => {}
                }
                (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(160));
                let duration = if round % 3 == 0 { dice.below(481) as u32 } else { 160 };
                story.any(ssrc, sequence, timestamp, duration, &[b'x'; 20]);
            }
            story.quiet = dice.below(2) == 0;
            story.tick();
            let due = story.ticks * 160;
            assert!((due..due + 480).contains(&story.given), "round {round}: {} of {due}", story.given);
        }
    }
}
