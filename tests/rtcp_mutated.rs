//! Whatever comes to an RTCP port: no panic, no more work than the datagram is long, and nothing is read beyond what was said.

use std::time::{Duration, Instant};

use contesta::ids::Ids;
use contesta::rtp::rtcp::{
    Cname, Compound, NtpTime, Packet, REPORT_LENGTH_MAX, Received, RtcpError, Sent, Session, WallClock,
};
use contesta::rtp::{RtpTime, Ssrc};

const INPUTS: u32 = 200_000;
const OURS: Ssrc = Ssrc(0x0102_0304);

/// Changes a few bytes of `input`: flips, sets, inserts, removes, repeats, cuts.
fn mutate(ids: &mut Ids, input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=ids.below(3) {
        let place = ids.below(bytes.len() as u64 + 1) as usize;
        match ids.below(6) {
            0 if place < bytes.len() => bytes[place] ^= 1 << ids.below(8),
            1 if place < bytes.len() => bytes[place] = ids.below(256) as u8,
            2 => bytes.insert(place, ids.below(256) as u8),
            3 => bytes.truncate(place),
            4 => bytes.extend_from_within(place..),
            _ if place < bytes.len() => drop(bytes.remove(place)),
            _ => {}
        }
        bytes.truncate(1500);
    }
    bytes
}

/// Compound packets as several far ends make them.
fn corpus(now: Instant) -> Vec<Vec<u8>> {
    let mut corpus = vec![
        // The eight bytes that end a well-known parser.
        vec![0x81, 0xcd, 0x00, 0x01, 0x0e, 0xe4, 0x93, 0xf4],
        // Padded; feedback behind a report; a reason for leaving.
        [&[0x80, 201, 0, 1, 0, 0, 0, 9, 0xa1, 206, 0, 3][..], &[0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 4]].concat(),
        [&[0x81, 203, 0, 3, 0, 0, 0, 9, 4][..], b"bye!\0\0\0"].concat(),
        // An extended report alone.
        vec![0x80, 207, 0, 4, 0, 0, 0, 9, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
        // 31 sources that are not there.
        vec![0x9f, 202, 0, 1, 0, 0, 0, 9],
        vec![0x9f, 203, 0, 1, 0, 0, 0, 9],
    ];
    let mut far = session(Ssrc(9), now);
    for (packets, goodbye) in [(0, false), (700, false), (900, true)] {
        let sent = Sent { packets, octets: packets * 160, timestamp: RtpTime(1) };
        let received = Received { ssrc: OURS, fraction_lost: 9, lost: 40, highest: 70_000, jitter: 33 };
        let mut out = [0; REPORT_LENGTH_MAX];
        let length = far.write(now, sent, (packets > 0).then_some(received), goodbye, &mut out);
        corpus.push(out[..length].to_vec());
    }
    corpus
}

fn session(ssrc: Ssrc, now: Instant) -> Session {
    let clock = WallClock { instant: now, ntp: NtpTime(u64::from(ssrc.0) << 32) };
    Session::new(ssrc, Cname::from_random([ssrc.0 as u8; 12]), clock, 5, now)
}

#[test]
fn a_session_outlives_200_000_mutated_datagrams() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let corpus = corpus(now);
    let mut ids = Ids::from_seed(3);
    let mut session = session(OURS, now);
    let (mut read, mut reports, mut blocks, mut sent) = (0, 0, 0, 0);
    for input in 0..INPUTS {
        let mutant = mutate(&mut ids, &corpus[input as usize % corpus.len()]);
        now += Duration::from_millis(20);
        let Ok(compound) = Compound::parse(&mutant) else { continue };
        read += 1;
        // What is walked is never longer than what came: packets of four bytes at least, blocks of 24, names within.
        let mut walked = 0;
        for packet in compound.packets() {
            walked += match packet {
                Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                    8 + 24 * blocks.iter().count()
                }
                Packet::Description(chunks) => 4 + chunks.map(|(_, name)| 4 + name.len()).sum::<usize>(),
                Packet::Goodbye(sources) => 4 + 4 * sources.iter().count(),
                Packet::Other(_) => 4,
            };
        }
        assert!(walked <= mutant.len(), "{mutant:?}");
        let learned = session.handle(now, compound, mutant.len());
        reports += u32::from(learned.is_report);
        blocks += u32::from(learned.block.is_some());
        assert!(learned.round_trip.is_none_or(|time| time <= Duration::from_secs(30)));
        if session.is_due(now, u64::from(input)) {
            let ours = Sent { packets: input.into(), octets: 0, timestamp: RtpTime(input) };
            let mut out = [0; REPORT_LENGTH_MAX];
            let length = session.write(now, ours, None, false, &mut out);
            Compound::parse(&out[..length]).unwrap();
            sent += 1;
        }
    }
    assert!(read > 20_000 && reports > 10_000 && blocks > 4_000, "{read} read, {reports} reports, {blocks} blocks");
    // 4,000 s of a call: whatever others claim, a report each few seconds.
    assert!((600..2_000).contains(&sent), "{sent} reports in 4,000 s");
}

/// What is shorter than it says is refused at every length, not only at the lengths that somebody thought of.
#[test]
fn every_cut_of_every_datagram_is_refused_or_whole() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let corpus = corpus(Instant::now());
    for datagram in &corpus[6..] {
        for length in 0..datagram.len() {
            match Compound::parse(&datagram[..length]) {
                Ok(compound) => assert!(compound.packets().count() < 3 && length % 4 == 0, "{length}"),
                Err(error) => assert_eq!(error, RtcpError::TooShort, "{length}"),
            }
        }
    }
}
