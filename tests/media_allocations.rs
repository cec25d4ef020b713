//! A leg allocates nothing per packet and nothing per tick: the allocator itself counts.

#![expect(unsafe_code, reason = "an allocator is unsafe to implement; this one counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contesta::audio::g711::{self, Law};
use contesta::audio::{Clip, Codec};
use contesta::dtmf::{Digit, Road, ToneGenerator};
use contesta::edge::batch::{Arrivals, Outbox};
use contesta::edge::recordings::{Order, Recordings};
use contesta::edge::rtp_socket::{self, DATAGRAM_LENGTH_MAX, RtpSocket};
use contesta::edge::shared_socket::{LEGS_MAX, SharedSocket};
use contesta::ids::{BridgeId, Ids, LegId, PlayId};
use contesta::media::{Event, Leg, LegSettings, MAX_PACKET, Music, Role, Segment, Switch, Switchboard};
use contesta::rtp::srtp::{KeyPair, MasterKey, Suite};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

struct Counting;

thread_local! {
    /// This thread's allocations: the test runner's own threads allocate when they like.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: both methods hand their arguments to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn settings(remote: std::net::SocketAddr) -> LegSettings {
    LegSettings {
        codec: Codec::Pcma,
        payload_type: 8,
        silent_after: Some(Duration::from_secs(1)),
        ..LegSettings::plain(remote)
    }
}

#[test]
fn an_hour_of_a_call_allocates_nothing() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let phone = "192.0.2.1:4000".parse().unwrap();
    let mut leg = Leg::new(settings(phone), now);
    let mut events = Vec::with_capacity(64);
    let segments: Vec<Segment> = vec![Segment::Clip(Arc::new(Clip::from_pcm(&[500; 7_999]))); 1_800];
    leg.play(PlayId(1), segments.into(), &mut events);
    assert!(leg.press(Digit::STAR, Duration::from_millis(100)), "it waits in a queue that is allocated here");

    let mut header =
        RtpHeader { marker: false, payload_type: 8, sequence: SequenceNumber(0), timestamp: RtpTime(0), ssrc: Ssrc(2) };
    let mut out = [0; MAX_PACKET];
    let (mut digits, mut played) = (0, 0);
    let before = ALLOCATIONS.get();
    for frame in 0..180_000_u32 {
        let mut packet = [0x55_u8; 172];
        let is_event = frame % 50 < 7;
        header.payload_type = if is_event { 101 } else { 8 };
        header.sequence = header.sequence.next();
        header.timestamp = RtpTime(if is_event { frame / 50 * 8000 } else { frame * 160 });
        packet[..12].copy_from_slice(&header.to_bytes());
        let end = frame % 50 >= 4;
        packet[12..16].copy_from_slice(&[5, if end { 0x8a } else { 0x0a }, 0, 160 + frame as u8 % 50]);
        let length = if is_event { 16 } else { 172 };
        leg.handle_packet(now, phone, &mut packet[..length], &mut events);
        leg.handle_packet(now, phone, &mut packet[..7], &mut events);
        leg.tick(now, &mut out, &mut events);
        now += Duration::from_millis(20);
        for event in events.drain(..) {
            digits += u32::from(matches!(event, Event::Digit(..)));
            played += u32::from(matches!(event, Event::Played(_)));
        }
    }
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!((allocations, digits, played), (0, 3_600, 1));
    assert_eq!(leg.report().packets_sent, 180_000);
}

/// SRTP is opened and protected where it lies, under every suite, also what is forged.
#[test]
fn an_hour_of_srtp_allocates_nothing() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let phone = "192.0.2.1:4000".parse().unwrap();
    for suite in Suite::ALL {
        let (one, two) =
            (MasterKey::random(suite, &mut Ids::from_seed(1)), MasterKey::random(suite, &mut Ids::from_seed(2)));
        let keys = |ours: &MasterKey, theirs: &MasterKey| {
            Some(Box::new(KeyPair { ours: ours.clone(), theirs: theirs.clone() }))
        };
        let mut near = Leg::new(LegSettings { srtp: keys(&one, &two), ..settings(phone) }, now);
        let mut far = Leg::new(LegSettings { srtp: keys(&two, &one), ..settings(phone) }, now);
        let (mut events, mut taken) = (Vec::with_capacity(64), 0);
        let mut packet = [0; MAX_PACKET];
        let before = ALLOCATIONS.get();
        for frame in 0..45_000_u32 {
            let length = near.tick(now, &mut packet, &mut events).unwrap();
            let mut forged = packet;
            forged[20] ^= 1;
            taken += u32::from(far.handle_packet(now, phone, &mut forged[..length], &mut events).is_some());
            taken += u32::from(far.handle_packet(now, phone, &mut packet[..length], &mut events).is_some());
            assert!(frame % 4_000 > 0 || far.tick(now, &mut packet, &mut events).is_some());
            now += Duration::from_millis(20);
            events.clear();
        }
        assert_eq!((ALLOCATIONS.get() - before, taken), (0, 45_000), "{suite}");
        assert_eq!(far.report().packets_forged, 45_000);
    }
}

/// Lost, late and doubled packets, comfort noise, keys, another stream: decoded, concealed, without one allocation.
#[test]
fn an_hour_of_listening_allocates_nothing() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let phone = "192.0.2.1:4000".parse().unwrap();
    let mut leg = Leg::new(settings(phone), now);
    leg.record(true);
    let mut events = Vec::with_capacity(64);
    let mut out = [0; MAX_PACKET];
    let mut heard = 0;
    let before = ALLOCATIONS.get();
    for frame in 0..180_000_u32 {
        let payload_type = match frame % 100 {
            70 => 13,
            80..87 => 101,
            _ => 8,
        };
        let header = RtpHeader {
            marker: frame % 100 == 80,
            payload_type,
            sequence: SequenceNumber(frame as u16),
            timestamp: RtpTime(frame * 160),
            ssrc: Ssrc(2 + frame / 60_000),
        };
        let mut packet = [0x55_u8; 172];
        packet[..12].copy_from_slice(&header.to_bytes());
        let length = if payload_type == 8 { 172 } else { 16 };
        let copies = match frame % 17 {
            3 => 0,
            5 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            leg.handle_packet(now, phone, &mut packet[..length], &mut events);
        }
        leg.tick(now, &mut out, &mut events);
        heard += leg.heard().map_or(0, |frame| frame.samples().len());
        events.clear();
        now += Duration::from_millis(20);
    }
    assert_eq!((ALLOCATIONS.get() - before, heard), (0, 180_000 * 160));
}

/// Keys sought in the audio, under loss: a key a second, held for 200 ms in a hum that the detector has to look into.
#[test]
fn an_hour_of_keys_in_the_audio_allocates_nothing() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let phone = "192.0.2.1:4000".parse().unwrap();
    let mut leg = Leg::new(LegSettings { telephone_event: None, ..settings(phone) }, now);
    let mut tones = [0; 1_600];
    ToneGenerator::new(Digit::STAR, 1_600, 8_000).fill(&mut tones);
    let sounds: Vec<u8> = tones.iter().map(|&sample| g711::encode(Law::A, sample)).collect();
    let hum = |index: u32| g711::encode(Law::A, ((index as f32 * 0.11).sin() * 4_000.0) as i16);
    let hums: Vec<u8> = (0..6_400).map(hum).collect();
    let second = [sounds, hums].concat();
    let mut events = Vec::with_capacity(64);
    let mut out = [0; MAX_PACKET];
    let (mut keys, mut pressed) = (0, 0);
    let before = ALLOCATIONS.get();
    for frame in 0..180_000_u32 {
        let header = RtpHeader {
            marker: false,
            payload_type: 8,
            sequence: SequenceNumber(frame as u16),
            timestamp: RtpTime(frame * 160),
            ssrc: Ssrc(2),
        };
        let mut packet = [0_u8; 172];
        packet[..12].copy_from_slice(&header.to_bytes());
        let at = frame as usize % 50 * 160;
        packet[12..].copy_from_slice(&second[at..at + 160]);
        if frame % 17 != 3 {
            leg.handle_packet(now, phone, &mut packet, &mut events);
        }
        if frame % 500 == 250 {
            let queued = ALLOCATIONS.get();
            pressed += u32::from(leg.press(Digit::POUND, Duration::from_millis(100)));
            assert!(frame == 250 || ALLOCATIONS.get() == queued, "the queue is there from the first key on");
        }
        leg.tick(now, &mut out, &mut events);
        keys += events.drain(..).filter(|event| matches!(event, Event::Digit(_, Road::InBand))).count();
        now += Duration::from_millis(20);
    }
    // The first key we press makes room for those that wait.
    assert_eq!((ALLOCATIONS.get() - before, pressed), (1, 360));
    assert_eq!(keys, 3_600);
}

/// The parts that a worker takes a shared slot's turn with, over real sockets: forty legs, each heard and spoken for.
#[test]
fn legs_that_share_a_socket_allocate_nothing_in_their_turn() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let open = || RtpSocket::open([127, 0, 0, 1].into(), None, 0).unwrap();
    let mut shared = SharedSocket::new(open());
    let mut phones: Vec<RtpSocket> = (0..40).map(|_| open()).collect();
    let mut legs: Vec<Leg> = Vec::new();
    for (seat, phone) in phones.iter().enumerate() {
        assert!(shared.seat(phone.local(), seat));
        let settings = LegSettings { codec: Codec::Pcma, payload_type: 8, ..LegSettings::plain(phone.local()) };
        legs.push(Leg::new(settings, now));
    }
    let mut header =
        RtpHeader { marker: false, payload_type: 8, sequence: SequenceNumber(0), timestamp: RtpTime(0), ssrc: Ssrc(2) };
    let mut arrivals = Arrivals::<DATAGRAM_LENGTH_MAX>::new();
    let mut outbox = Outbox::<MAX_PACKET>::new(LEGS_MAX);
    let mut heard_by_phones = rtp_socket::Inbox::new();
    let mut events = Vec::with_capacity(64);
    let (mut unsent, mut back) = (0, 0);
    let before = ALLOCATIONS.get();
    for frame in 0..200_u32 {
        header.sequence = header.sequence.next();
        header.timestamp = RtpTime(frame * 160);
        let mut packet = [0x55_u8; 172];
        packet[..12].copy_from_slice(&header.to_bytes());
        for phone in &phones {
            phone.send(&packet, shared.local()).unwrap();
        }
        shared.receive(&mut arrivals);
        for arrival in arrivals.iter_mut() {
            let seat = shared.seat_of(arrival.source).unwrap();
            legs[seat].handle_packet(now, arrival.source, arrival.datagram, &mut events);
        }
        for leg in &mut legs {
            let length = leg.tick(now, outbox.blank().unwrap(), &mut events).unwrap();
            outbox.add(length, leg.destination());
        }
        unsent += shared.send(&mut outbox);
        for phone in &mut phones {
            phone.receive(&mut heard_by_phones);
            back += heard_by_phones.iter_mut().count();
        }
        now += Duration::from_millis(20);
        events.clear();
    }
    assert_eq!((ALLOCATIONS.get() - before, unsent, back), (0, 0, 8_000));
    assert!(legs.iter().all(|leg| leg.report().packets_received == 200));
}

/// Two telephones of one codec, a third of another that talks with them, hold music, a prompt over it, a recording: none of it
/// asks for memory once it has begun.
#[test]
fn minutes_of_bridges_and_recordings_allocate_nothing() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let far_ends = ["192.0.2.1:4000", "192.0.2.2:4000", "192.0.2.3:4000"].map(|address| address.parse().unwrap());
    let mut legs = far_ends.map(|far_end| Leg::new(settings(far_end), now));
    legs[2].retarget(LegSettings { codec: Codec::Pcmu, payload_type: 0, ..settings(far_ends[2]) }, now);
    let (mut switchboard, mut others) = (Switchboard::new(), Vec::new());
    let music: Music = [Arc::new(Clip::from_pcm(&[500; 7_999]))].into();
    let ids = [LegId(0), LegId(1), LegId(2)];
    for (leg, id) in legs.iter_mut().zip(ids) {
        let join = Switch::Join { bridge: BridgeId(1), role: Role::Talks, passes_keys: true };
        switchboard.switch(id, leg, join, &mut others);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut recordings = Recordings::start(folder.path(), |_, _| {}).unwrap();
    let mut recording = recordings.begin(Order { leg: ids[0], file: "2026-03-15/a.wav".into(), rate: 8_000 }).unwrap();
    legs[0].record(true);
    let mut events = Vec::with_capacity(64);
    let prompt: Box<[Segment]> = Box::new([Segment::Clip(Arc::new(Clip::from_pcm(&[500; 800_000])))]);
    legs[0].play(PlayId(1), prompt, &mut events);
    // The first hold makes room for the music; whoever is held again finds it.
    switchboard.switch(ids[1], &mut legs[1], Switch::Hold(music.clone()), &mut others);

    let mut out = [0; MAX_PACKET];
    let mut before = ALLOCATIONS.get();
    for frame in 0..15_000_u32 {
        if frame % 1_000 == 500 {
            let switch = if frame % 2_000 == 500 { Switch::Resume } else { Switch::Hold(music.clone()) };
            let switched = ALLOCATIONS.get();
            switchboard.switch(ids[1], &mut legs[1], switch, &mut others);
            // Who hears whom is settled anew.
            before += ALLOCATIONS.get() - switched;
        }
        for ((leg, id), (far_end, payload_type)) in legs.iter_mut().zip(ids).zip(far_ends.into_iter().zip([8, 8, 0])) {
            let header = RtpHeader {
                marker: false,
                payload_type,
                sequence: SequenceNumber(frame as u16),
                timestamp: RtpTime(frame * 160),
                ssrc: Ssrc(2),
            };
            let mut packet = [frame as u8; 172];
            packet[..12].copy_from_slice(&header.to_bytes());
            leg.handle_packet(now, far_end, &mut packet, &mut events);
            switchboard.give(id, leg);
            assert_eq!(leg.tick(now, &mut out, &mut events), Some(172));
            switchboard.take(id, leg);
            events.clear();
        }
        recording.tick(legs[0].heard().unwrap().samples(), legs[0].said().unwrap().samples());
        while !recording.is_caught_up() {
            std::thread::yield_now();
        }
        now += Duration::from_millis(20);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    drop(recording);
    drop(recordings);
    let length = std::fs::metadata(folder.path().join("2026-03-15/a.wav")).unwrap().len();
    assert_eq!(length, 44 + 15_000 * 160 * 4);
}
