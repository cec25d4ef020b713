//! What a leg costs without the kernel: a tick, a packet, and the loading of a prompt.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contesta::audio::g711::{self, Law};
use contesta::audio::{Clip, Pcm, decode, wav};
use contesta::dtmf::{Digit, ToneDetector, ToneGenerator};
use contesta::ids::PlayId;
use contesta::media::{Leg, LegSettings, MAX_PACKET, Segment};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};
use divan::Bencher;

fn main() {
    divan::main();
}

const PHONE: &str = "192.0.2.1:4000";

#[expect(clippy::disallowed_methods, reason = "a leg needs some moment to begin at")]
fn leg(telephone_event: Option<u8>) -> (Leg, Instant) {
    let settings = LegSettings {
        telephone_event,
        silent_after: Some(Duration::from_secs(60)),
        ..LegSettings::plain(PHONE.parse().unwrap_or_else(|_| unreachable!("it is an address")))
    };
    let now = Instant::now();
    (Leg::new(settings, now), now)
}

fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type,
        sequence: SequenceNumber(sequence),
        timestamp: RtpTime(timestamp),
        ssrc: Ssrc(2),
    };
    [&header.to_bytes(), payload].concat()
}

#[divan::bench]
fn tick_of_a_play(bencher: Bencher<'_, '_>) {
    let (mut leg, now) = leg(Some(101));
    let mut events = Vec::new();
    let prompt = Segment::Clip(Arc::new(Clip::from_pcm(&[500; 80_000])));
    leg.play(PlayId(1), vec![prompt; 10_000].into(), &mut events);
    let mut packet = [0; MAX_PACKET];
    bencher.bench_local(|| black_box(leg.tick(now, &mut packet, &mut events)));
}

#[divan::bench]
fn tick_of_silence(bencher: Bencher<'_, '_>) {
    let (mut leg, now) = leg(Some(101));
    let (mut packet, mut events) = ([0; MAX_PACKET], Vec::new());
    bencher.bench_local(|| black_box(leg.tick(now, &mut packet, &mut events)));
}

#[divan::bench]
fn packet_of_audio(bencher: Bencher<'_, '_>) {
    let (mut leg, now) = leg(Some(101));
    let phone = PHONE.parse().unwrap_or_else(|_| unreachable!("it is an address"));
    let (mut packet, mut events, mut sequence) = (packet(0, 0, 0, &[0xff; 160]), Vec::new(), 0_u16);
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        leg.handle_packet(now, phone, black_box(&mut packet), &mut events);
    });
}

/// Each packet is a new press: the ring of remembered presses is searched in vain.
#[divan::bench]
fn packet_of_a_new_press(bencher: Bencher<'_, '_>) {
    let (mut leg, now) = leg(Some(101));
    let phone = PHONE.parse().unwrap_or_else(|_| unreachable!("it is an address"));
    let (mut events, mut press) = (Vec::new(), 0_u16);
    bencher.bench_local(|| {
        press = press.wrapping_add(1);
        let mut packet = [0; 16];
        packet.copy_from_slice(&packet_of_press(press));
        leg.handle_packet(now, phone, black_box(&mut packet), &mut events);
        events.clear();
    });
}

fn packet_of_press(press: u16) -> [u8; 16] {
    let header = RtpHeader {
        marker: true,
        payload_type: 101,
        sequence: SequenceNumber(press.wrapping_mul(10)),
        timestamp: RtpTime(u32::from(press) * 2000),
        ssrc: Ssrc(2),
    };
    let mut packet = [5, 0x0a, 0, 160, 5, 0x0a, 0, 160, 5, 0x0a, 0, 160, 5, 0x0a, 0, 160];
    packet[..12].copy_from_slice(&header.to_bytes());
    packet
}

/// One second of a prompt from its file to both codecs: at the telephone's rate, and at the synthesiser's.
#[divan::bench(args = [8_000, 22_050])]
fn prompt_of_a_second(bencher: Bencher<'_, '_>, rate: u32) {
    let samples: Vec<i16> = (0..rate).map(|index| (index % 200 * 100) as i16).collect();
    let file = wav::write(&samples, rate);
    bencher.bench(|| {
        let pcm = decode(black_box(&file), "wav").and_then(|pcm| pcm.resample_to(8000));
        pcm.map(|pcm: Pcm| Clip::from_pcm(&pcm.samples))
    });
}

/// A packet and a tick of a leg that seeks keys in the audio, beside one that need not: what the road costs.
#[divan::bench(args = ["telephone events", "silence", "speech", "key", "speech, a tenth lost"])]
fn frame_of_a_leg(bencher: Bencher<'_, '_>, sound: &str) {
    let (mut leg, mut now) = leg(if sound == "telephone events" { Some(101) } else { None });
    let phone = PHONE.parse().unwrap_or_else(|_| unreachable!("it is an address"));
    let mut samples = vec![0_i16; 16_000];
    match sound {
        "key" => ToneGenerator::new(Digit::POUND, 16_000, 8_000).fill(&mut samples),
        "silence" => {}
        _ => hum(&mut samples),
    }
    let payloads: Vec<u8> = samples.iter().map(|&sample| g711::encode(Law::Mu, sample)).collect();
    let mut frames = payloads.chunks_exact(160).cycle();
    let (mut out, mut events, mut sequence) = ([0; MAX_PACKET], Vec::new(), 0_u16);
    let mut packet = packet(0, 0, 0, &[0xff; 160]);
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet[12..].copy_from_slice(frames.next().unwrap_or_default());
        now += Duration::from_millis(20);
        if sound != "speech, a tenth lost" || !sequence.is_multiple_of(10) {
            leg.handle_packet(now, phone, black_box(&mut packet), &mut events);
        }
        events.clear();
        black_box(leg.tick(now, &mut out, &mut events))
    });
}

/// Twelve harmonics of 145 Hz.
fn hum(samples: &mut [i16]) {
    for (index, sample) in samples.iter_mut().enumerate() {
        let angle = index as f32 * 145.0 * std::f32::consts::TAU / 8_000.0;
        *sample = (1..13_u8).map(|harmonic| 1_200.0 * (angle * f32::from(harmonic)).sin()).sum::<f32>() as i16;
    }
}

/// 20 ms of a key held down, and of a voice too steady for the detector's first look: what it costs at most and mostly.
#[divan::bench(args = ["key", "hum", "silence"])]
fn tones_sought_in_a_frame(bencher: Bencher<'_, '_>, sound: &str) {
    let mut samples = vec![0_i16; 16_000];
    match sound {
        "key" => ToneGenerator::new(Digit::POUND, 16_000, 8_000).fill(&mut samples),
        "hum" => hum(&mut samples),
        _ => {}
    }
    let mut detector = ToneDetector::new();
    let mut frames = samples.chunks_exact(160).cycle();
    bencher.bench_local(|| {
        detector.handle_samples(black_box(frames.next().unwrap_or_default()), |digit| {
            black_box(digit);
        });
    });
}
