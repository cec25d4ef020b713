//! Bridges of a worker over real sockets on loopback: what each telephone captures is checked packet by packet. Nothing
//! sleeps: a telephone speaks when it has heard, and a step waits for the sound that must come.

#![expect(clippy::disallowed_types, reason = "the far ends are real sockets")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use contesta::audio::g711::{self, Law};
use contesta::audio::{Clip, Codec, Decoder, Encoder, Frame, PAYLOAD_MAX};
use contesta::dtmf::{Digit, Road, ToneDetector, ToneGenerator};
use contesta::edge::media_worker::{Command, MediaWorker, Report};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::ids::{BridgeId, LegId};
use contesta::media::{Event, LegSettings, Music, Role, Switch};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);
const BRIDGE: BridgeId = BridgeId(1);

/// Packets until a change must be heard: two seconds.
const PACKETS_MAX: usize = 100;

struct Story {
    worker: MediaWorker,
    reports: Receiver<Report>,
    phones: Vec<Phone>,
}

/// A telephone that says one thing all the time, and checks that what it hears is one stream.
struct Phone {
    leg: LegId,
    codec: Codec,
    socket: UdpSocket,
    says: i16,
    encoder: Encoder,
    decoder: Decoder,
    sequence: u16,
    last: Option<RtpHeader>,
    /// What was heard last: the payload, and the mean of its samples.
    payload: Vec<u8>,
    heard: i32,
    /// Packets of telephone events, and keys heard in the audio.
    keys: usize,
    tones: String,
    detector: ToneDetector,
    /// What it says in the next packet in place of its one thing.
    sounds: Option<[i16; 160]>,
}

impl Story {
    /// A worker with a leg for each telephone, of this codec and saying this sample.
    fn new(phones: &[(Codec, i16)]) -> Self {
        let (sender, reports) = channel();
        let worker = MediaWorker::start(0, move |report| drop(sender.send(report))).unwrap();
        let phones = phones.iter().zip(1..).map(|(&(codec, says), leg)| Phone::new(&worker, LegId(leg), codec, says));
        let phones = phones.collect();
        Self { worker, reports, phones }
    }

    fn switch(&self, leg: u64, switch: Switch) {
        self.worker.send(Command::Switch { leg: LegId(leg), switch }).unwrap();
    }

    fn join(&self, leg: u64, role: Role) {
        self.switch(leg, Switch::Join { bridge: BRIDGE, role, passes_keys: true });
    }

    /// Lets the telephones speak until each hears what it should, within one part in twenty and the noise of the codecs.
    fn until_heard(&mut self, expected: &[i32]) {
        let near = |heard: i32, expected: i32| (heard - expected).abs() <= expected.abs() / 20 + 40;
        for _ in 0..PACKETS_MAX {
            self.phones.iter_mut().for_each(Phone::turn);
            if self.phones.iter().zip(expected).all(|(phone, expected)| near(phone.heard, *expected)) {
                return;
            }
        }
        let heard: Vec<i32> = self.phones.iter().map(|phone| phone.heard).collect();
        panic!("{heard:?} is heard, not {expected:?}");
    }

    fn company(&self, leg: u64) -> (usize, Option<(Codec, Codec)>) {
        loop {
            match self.reports.recv_timeout(PATIENCE).unwrap() {
                (of, Event::Bridged { parties, transcoded }) if of == LegId(leg) => return (parties, transcoded),
                _ => {}
            }
        }
    }
}

impl Phone {
    fn new(worker: &MediaWorker, leg: LegId, codec: Codec, says: i16) -> Self {
        let phone = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        phone.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = RtpSocket::open(LOOPBACK, None, 0).unwrap();
        phone.connect(socket.local()).unwrap();
        let settings = settings(leg, codec, phone.local_addr().unwrap());
        worker.send(Command::Open { leg, socket, settings }).unwrap();
        Self {
            leg,
            codec,
            socket: phone,
            says,
            encoder: Encoder::new(codec),
            decoder: Decoder::new(codec),
            sequence: 0,
            last: None,
            payload: Vec::new(),
            heard: 0,
            keys: 0,
            tones: String::new(),
            detector: ToneDetector::new(),
            sounds: None,
        }
    }

    fn settings(&self) -> LegSettings {
        settings(self.leg, self.codec, self.socket.local_addr().unwrap())
    }

    /// Hears a packet, checks that the stream goes on, and says one.
    fn turn(&mut self) {
        let mut packet = [0; 2_000];
        let length = self.socket.recv(&mut packet).unwrap();
        let (header, payload) = RtpHeader::parse(&packet[..length]).unwrap();
        assert_eq!(header.ssrc, Ssrc(self.leg.0 as u32));
        let units = self.codec.frame_units();
        let timestamp = self.last.map_or(header.timestamp, |last| last.timestamp.plus(units));
        if let Some(last) = self.last {
            assert_eq!(header.sequence, last.sequence.next(), "no gap in the sequence");
        }
        self.last = Some(RtpHeader { timestamp, ..header });
        if header.payload_type == 101 {
            self.keys += 1;
            // A press has the timestamp of its beginning; the stream's goes on under it.
            assert!((0..=6 * units as i32).contains(&timestamp.since(header.timestamp)));
        } else {
            assert_eq!(header.payload_type, payload_type(self.codec));
            assert_eq!(header.timestamp, timestamp, "20 ms on");
            self.payload = packet[payload].to_vec();
            let mut frame = Frame::silent(8_000);
            self.decoder.decode(&self.payload, &mut frame).unwrap();
            let samples = frame.samples();
            if samples.len() == 160 {
                let tones = &mut self.tones;
                self.detector.handle_samples(samples, |digit| tones.push(digit.as_char()));
            }
            self.heard = samples.iter().map(|&sample| i32::from(sample)).sum::<i32>() / samples.len() as i32;
        }
        let mut frame = Frame::silent(self.codec.sample_rate());
        frame.samples_mut().fill(self.says);
        if let Some(sounds) = self.sounds {
            frame.copy_from(&sounds);
        }
        let mut payload = [0; PAYLOAD_MAX];
        let length = self.encoder.encode(&frame, &mut payload);
        self.say(payload_type(self.codec), &payload[..length]);
    }

    fn say(&mut self, payload_type: u8, payload: &[u8]) {
        self.sequence += 1;
        let header = RtpHeader {
            marker: false,
            payload_type,
            sequence: SequenceNumber(self.sequence),
            timestamp: RtpTime(u32::from(self.sequence) * self.codec.frame_units()),
            ssrc: Ssrc(7),
        };
        self.socket.send(&[&header.to_bytes(), payload].concat()).unwrap();
    }
}

fn settings(leg: LegId, codec: Codec, remote: SocketAddr) -> LegSettings {
    LegSettings {
        codec,
        payload_type: payload_type(codec),
        ssrc: leg.0 as u32,
        first_sequence: u16::MAX - 5,
        first_timestamp: u32::MAX - 1_000,
        ..LegSettings::plain(remote)
    }
}

fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
    }
}

fn music(sample: i16) -> Music {
    [Arc::new(Clip::from_pcm(&[sample; 1_000]))].into()
}

#[test]
fn two_telephones_of_one_codec_get_each_others_payloads() {
    let mut story = Story::new(&[(Codec::Pcmu, 1_000), (Codec::Pcmu, -3_000)]);
    story.until_heard(&[0, 0]);
    story.join(1, Role::Talks);
    story.join(2, Role::Talks);
    story.until_heard(&[-3_000, 1_000]);
    for (listener, sample) in [(0, -3_000), (1, 1_000)] {
        assert_eq!(story.phones[listener].payload, [g711::encode(Law::Mu, sample); 160], "as it was sent");
    }
    assert_eq!((story.company(1), story.company(1)), ((1, None), (2, None)));
    story.switch(2, Switch::Leave);
    story.until_heard(&[0, 0]);
    story.worker.send(Command::Close { leg: LegId(2) }).unwrap();
    let phone = &mut story.phones[0];
    (0..20).for_each(|_| phone.turn());
    assert_eq!(phone.heard, 0, "and whoever is left alone hears silence on the same stream");
}

#[test]
fn telephones_of_different_codecs_hear_each_other() {
    for (caller, agent) in [(Codec::Pcmu, Codec::Pcma), (Codec::Pcma, Codec::G722), (Codec::G722, Codec::Pcmu)] {
        let mut story = Story::new(&[(caller, 4_000), (agent, -6_000)]);
        story.join(1, Role::Talks);
        story.join(2, Role::Talks);
        story.until_heard(&[-6_000, 4_000]);
        story.company(1);
        assert_eq!(story.company(1), (2, Some((agent, caller))));
    }
}

#[test]
fn who_is_on_hold_hears_music_and_nobody_and_comes_back() {
    let mut story = Story::new(&[(Codec::Pcmu, 1_000), (Codec::Pcma, 2_000)]);
    story.join(1, Role::Talks);
    story.join(2, Role::Talks);
    story.until_heard(&[2_000, 1_000]);
    for _ in 0..2 {
        story.switch(1, Switch::Hold(music(-5_000)));
        story.until_heard(&[-5_000, 0]);
        story.switch(1, Switch::Resume);
        story.until_heard(&[2_000, 1_000]);
    }
}

#[test]
fn a_third_party_listens_whispers_and_joins() {
    let mut story = Story::new(&[(Codec::Pcmu, 1_000), (Codec::Pcmu, 2_000), (Codec::Pcma, 5_000)]);
    story.join(1, Role::Talks);
    story.join(2, Role::Talks);
    story.join(3, Role::Listens);
    story.until_heard(&[2_000, 1_000, 3_000]);
    story.join(3, Role::Whispers(LegId(2)));
    story.until_heard(&[2_000, 6_000, 3_000]);
    let caller = story.phones[0].payload.clone();
    assert_eq!(caller, [g711::encode(Law::Mu, 2_000); 160], "the caller hears nothing of the whisper");
    story.join(3, Role::Talks);
    story.until_heard(&[7_000, 6_000, 3_000]);
    story.worker.send(Command::Close { leg: LegId(3) }).unwrap();
    story.phones.pop();
    story.until_heard(&[2_000, 1_000]);
}

/// Three telephones in a bridge: the first has telephone events, the others have not. What comes as an event is sounded for them; what is
/// sounded by one of them is an event for the first, and not sounded again for the other, who has heard it.
#[test]
fn keys_pass_between_telephones_with_and_without_telephone_events() {
    let mut story = Story::new(&[(Codec::Pcmu, 0); 3]);
    for phone in &story.phones[1..] {
        let settings = LegSettings { telephone_event: None, ..phone.settings() };
        story.worker.send(Command::Retarget { leg: phone.leg, settings }).unwrap();
    }
    (1..=3).for_each(|leg| story.join(leg, Role::Talks));
    story.until_heard(&[0, 0, 0]);
    story.phones[0].say(101, &[5, 10, 0, 160]);
    (0..PACKETS_MAX).for_each(|_| story.phones.iter_mut().for_each(Phone::turn));
    assert_eq!([0, 1, 2].map(|phone| story.phones[phone].tones.as_str()), ["", "5", "5"]);

    let mut tones = ToneGenerator::new(Digit::STAR, 1_600, 8_000);
    for _ in 0..PACKETS_MAX {
        story.phones[1].sounds = (!tones.is_over()).then(|| {
            let mut samples = [0; 160];
            tones.fill(&mut samples);
            samples
        });
        story.phones.iter_mut().for_each(Phone::turn);
    }
    assert_eq!(story.phones[0].keys, 7, "100 ms and two ends more");
    assert_eq!([1, 2].map(|phone| story.phones[phone].tones.as_str()), ["5", "5*"], "heard as it was sounded, once");
    let roads = |(leg, event): Report| {
        let Event::Digit(digit, road) = event else { return None };
        Some((leg.0, digit.as_char(), road))
    };
    let reported: Vec<_> = story.reports.try_iter().filter_map(roads).collect();
    assert_eq!(reported, [(1, '5', Road::TelephoneEvent), (2, '*', Road::InBand)]);
}

#[test]
fn a_key_passes_as_the_other_streams_own_event() {
    let mut story = Story::new(&[(Codec::Pcmu, 0), (Codec::Pcmu, 0)]);
    story.join(1, Role::Talks);
    story.switch(2, Switch::Join { bridge: BRIDGE, role: Role::Talks, passes_keys: false });
    story.until_heard(&[0, 0]);
    story.phones[0].say(101, &[5, 10, 0, 160]);
    for _ in 0..PACKETS_MAX {
        story.phones.iter_mut().for_each(Phone::turn);
    }
    assert_eq!((story.phones[0].keys, story.phones[1].keys), (0, 7), "100 ms and two ends more");
    story.phones[1].say(101, &[6, 10, 0, 160]);
    for _ in 0..PACKETS_MAX {
        story.phones.iter_mut().for_each(Phone::turn);
    }
    assert_eq!((story.phones[0].keys, story.phones[1].keys), (0, 7), "consumed");
    let reported: Vec<Report> =
        story.reports.try_iter().filter(|(_, event)| matches!(event, Event::Digit(..))).collect();
    let digit = |leg, key| (LegId(leg), Event::Digit(Digit::from_event(key).unwrap(), Road::TelephoneEvent));
    assert_eq!(reported, [digit(1, 5), digit(2, 6)], "and reported, like any");
}
