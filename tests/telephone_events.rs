//! One press is one digit under loss, reordering and duplication: never two, and one whenever a packet of it arrives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use contesta::dtmf::{TelephoneEvent, TelephoneEvents};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};
use proptest::prelude::*;

/// One press as its sender means it.
#[derive(Clone, Debug)]
struct Pressed {
    key: u8,
    length_ms: u32,
    pause_ms: u32,
}

/// One packet on the wire: which press it is of, and what it looks like.
#[derive(Clone, Debug)]
struct Sent {
    press: usize,
    header: RtpHeader,
    block: [u8; 4],
}

/// All packets of `presses` in the order of sending, audio left out. A sender with `audio` spends sequence numbers on the pauses
/// too; each 20 ms one packet (RFC 4733 §2.5.1), three ends, segments beyond 0xFFFF units (§2.5.1.3).
fn packets(presses: &[Pressed], audio: bool, first: (u16, u32)) -> Vec<Sent> {
    let (mut sequence, mut clock) = (SequenceNumber(first.0), RtpTime(first.1));
    let mut sent = Vec::new();
    for (press, pressed) in presses.iter().enumerate() {
        let length = pressed.length_ms * 8;
        let updates = length.div_ceil(160);
        for packet in 0..updates + 2 {
            let elapsed = ((packet + 1) * 160).min(length);
            let segments_before = (elapsed - 1) / 0xffff;
            let end = packet + 1 >= updates;
            let duration = u16::try_from(elapsed - segments_before * 0xffff).unwrap();
            let event = TelephoneEvent { event: pressed.key, end, volume: 10, duration };
            let header = RtpHeader {
                marker: packet == 0,
                payload_type: 101,
                sequence,
                timestamp: clock.plus(segments_before * 0xffff),
                ssrc: Ssrc(1),
            };
            sent.push(Sent { press, header, block: event.to_bytes() });
            sequence = sequence.next();
        }
        clock = clock.plus(length + pressed.pause_ms * 8);
        if audio {
            // Two packets of the pause gave way to the repeated ends.
            sequence = SequenceNumber(sequence.0.wrapping_add((pressed.pause_ms / 20).saturating_sub(2) as u16));
        }
    }
    sent
}

/// Sends the packets through a network: `fates` says of each whether it is lost, doubled, and how many places late it is.
fn arriving(sent: &[Sent], fates: &[(bool, bool, usize)]) -> Vec<Sent> {
    let mut arriving: Vec<(usize, &Sent)> = Vec::new();
    for (place, (packet, &(lost, doubled, late))) in sent.iter().zip(fates.iter().cycle()).enumerate() {
        if !lost {
            arriving.push((place + late, packet));
        }
        if doubled {
            arriving.push((place + late * 2, packet));
        }
    }
    arriving.sort_by_key(|&(place, _)| place);
    arriving.into_iter().map(|(_, packet)| packet.clone()).collect()
}

/// How often each key is told by the receiver, and how often it should be.
fn told_and_due(presses: &[Pressed], arriving: &[Sent]) -> ([u32; 16], [u32; 16]) {
    let (mut told, mut due) = ([0; 16], [0; 16]);
    let mut events = TelephoneEvents::new(8_000);
    for packet in arriving {
        events.handle_packet(&packet.header, &packet.block, |digit| told[usize::from(digit.event())] += 1);
    }
    for (index, pressed) in presses.iter().enumerate() {
        due[usize::from(pressed.key)] += u32::from(arriving.iter().any(|packet| packet.press == index));
    }
    (told, due)
}

fn pressed(length_ms: std::ops::Range<u32>) -> impl Strategy<Value = Pressed> {
    // Few keys, so that the same one is often pressed twice in a row.
    (0..3_u8, length_ms, 40..300_u32).prop_map(|(key, length_ms, pause_ms)| Pressed { key, length_ms, pause_ms })
}

fn fates(loss: f64) -> impl Strategy<Value = Vec<(bool, bool, usize)>> {
    proptest::collection::vec((proptest::bool::weighted(loss), proptest::bool::weighted(0.1), 0..4_usize), 97)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn short_presses_survive_any_loss(
        presses in proptest::collection::vec(pressed(40..400), 1..8),
        fates in prop_oneof![fates(0.0), fates(0.3), fates(0.7), fates(0.9)],
        audio in any::<bool>(),
        first in any::<(u16, u32)>(),
    ) {
        let arriving = arriving(&packets(&presses, audio, first), &fates);
        let (told, due) = told_and_due(&presses, &arriving);
        prop_assert_eq!(told, due, "{:?}", arriving);
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn long_presses_are_one_digit(
        presses in proptest::collection::vec(pressed(7_000..40_000), 1..3),
        fates in prop_oneof![fates(0.0), fates(0.4)],
        first in any::<(u16, u32)>(),
    ) {
        let arriving = arriving(&packets(&presses, true, first), &fates);
        let (told, due) = told_and_due(&presses, &arriving);
        prop_assert_eq!(told, due);
    }

    /// Pain 2: whatever timestamps the ends come under, they tell no second digit.
    #[test]
    fn mistimed_ends_tell_nothing_twice(
        presses in proptest::collection::vec(pressed(60..400), 1..8),
        step in 1..100_000_u32,
        audio in any::<bool>(),
        first in any::<(u16, u32)>(),
    ) {
        let mut sent = packets(&presses, audio, first);
        for index in 1..sent.len() {
            let (previous, packet) = (sent[index - 1].clone(), &mut sent[index]);
            if packet.press == previous.press && previous.block[1] & 0x80 != 0 {
                packet.header.timestamp = previous.header.timestamp.plus(step);
            }
        }
        let (told, due) = told_and_due(&presses, &sent);
        prop_assert_eq!(told, due);
    }
}
