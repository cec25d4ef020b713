//! Whatever comes in place of an SRTP or SRTCP packet: no panic, nothing taken that the far end did not send, and not one of
//! the far end's own packets lost by it.

use contesta::ids::Ids;
use contesta::rtp::srtp::{MasterKey, RTCP_OVERHEAD_MAX, RTP_OVERHEAD_MAX, Receiver, Refused, Sender, Suite};

const INPUTS: u32 = 100_000;

/// Changes a few bytes of `input`: flips, sets, inserts, cuts, repeats, removes.
fn mutate(ids: &mut Ids, input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=ids.below(4) {
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

/// The far end's packet of this number: most of its header's forms, and a roll-over each 65,536.
fn rtp(number: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | number as u8 & 0x7f, 0, 0, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    match number % 3 {
        0 => {}
        1 => {
            packet[0] |= 2;
            packet.extend([7; 8]);
        }
        _ => {
            packet[0] |= 0x10;
            packet.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        }
    }
    packet.extend((0..number % 160).map(|place| place as u8));
    packet
}

fn rtcp(number: u32) -> Vec<u8> {
    let words = number % 40;
    [&[0x81, 200, 0, 1 + words as u8][..], &0xdead_beef_u32.to_be_bytes(), &vec![number as u8; words as usize * 4]]
        .concat()
}

#[test]
fn a_receiver_loses_nothing_under_100_000_mutated_packets() {
    for (seed, suite) in Suite::ALL.into_iter().enumerate() {
        let mut ids = Ids::from_seed(seed as u64);
        let key = MasterKey::random(suite, &mut ids);
        let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key));
        let (mut forged, mut replayed, mut short) = (0, 0, 0);
        for input in 0..INPUTS / 4 {
            // A prime step: after 25,000 packets the sequence number has rolled over twice.
            let number = 0xff00 + input * 7;
            let (clear, report) = (rtp(number), rtcp(number));
            let mut packet = [&clear[..], &[0; RTP_OVERHEAD_MAX]].concat();
            let length = sender.protect(&mut packet, clear.len()).unwrap();
            packet.truncate(length);
            let mut control = [&report[..], &[0; RTCP_OVERHEAD_MAX]].concat();
            let length = sender.protect_rtcp(&mut control, report.len()).unwrap();
            control.truncate(length);

            for original in [&packet, &control] {
                let mut mutant = mutate(&mut ids, original);
                if mutant == packet || mutant == control {
                    continue;
                }
                let (mut as_rtp, before) = (mutant.clone(), mutant.clone());
                let refused =
                    [receiver.unprotect(&mut as_rtp).unwrap_err(), receiver.unprotect_rtcp(&mut mutant).unwrap_err()];
                assert_eq!(as_rtp, before, "what is refused is left as it was");
                for refused in refused {
                    match refused {
                        Refused::Forged => forged += 1,
                        Refused::Replayed => replayed += 1,
                        Refused::TooShort => short += 1,
                        Refused::KeyExpired => panic!("no key is that old"),
                    }
                }
            }
            let length = receiver.unprotect(&mut packet).unwrap_or_else(|error| panic!("{suite} {number}: {error}"));
            assert_eq!(packet[..length], clear);
            let length =
                receiver.unprotect_rtcp(&mut control).unwrap_or_else(|error| panic!("{suite} {number}: {error}"));
            assert_eq!(control[..length], report);
        }
        assert!(forged > 50_000 && replayed > 100 && short > 1_000, "{suite}: {forged} {replayed} {short}");
    }
}
