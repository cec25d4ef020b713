//! What SRTP adds to a packet of 20 ms: protecting it, opening it, refusing a forged one; and what a new key costs.

use std::hint::black_box;

use contesta::ids::Ids;
use contesta::rtp::srtp::{MasterKey, RTP_OVERHEAD_MAX, Receiver, Sender, Suite};
use divan::Bencher;

fn main() {
    divan::main();
}

/// Header and payload of 20 ms of G.711.
const LENGTH: usize = 172;

fn key(suite: Suite) -> MasterKey {
    MasterKey::random(suite, &mut Ids::from_seed(1))
}

fn packet(sequence: u16) -> [u8; LENGTH + RTP_OVERHEAD_MAX] {
    let mut packet = [0x55; LENGTH + RTP_OVERHEAD_MAX];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet
}

#[divan::bench(args = Suite::ALL)]
fn protect(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut sender, mut packet, mut sequence) = (Sender::new(&key(suite)), packet(0), 0_u16);
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        black_box(sender.protect(&mut packet, LENGTH))
    });
}

#[divan::bench(args = Suite::ALL)]
fn unprotect(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut sender, mut receiver, mut sequence) = (Sender::new(&key(suite)), Receiver::new(&key(suite)), 0_u16);
    bencher
        .with_inputs(|| {
            sequence = sequence.wrapping_add(1);
            let mut packet = packet(sequence);
            let length = sender.protect(&mut packet, LENGTH).unwrap_or_default();
            (packet, length)
        })
        .bench_local_values(|(mut packet, length)| {
            assert!(black_box(receiver.unprotect(&mut packet[..length])).is_ok());
        });
}

#[divan::bench(args = Suite::ALL)]
fn refuse_a_forged_packet(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut sender, mut receiver) = (Sender::new(&key(suite)), Receiver::new(&key(suite)));
    let mut first = packet(0);
    let length = sender.protect(&mut first, LENGTH).unwrap_or_default();
    assert!(receiver.unprotect(&mut first[..length]).is_ok());
    let mut forged = packet(1);
    bencher.bench_local(|| black_box(receiver.unprotect(&mut forged[..length])).is_err());
}

#[divan::bench(args = Suite::ALL)]
fn take_a_key_into_use(bencher: Bencher<'_, '_>, suite: Suite) {
    let key = key(suite);
    bencher.bench_local(|| (Sender::new(black_box(&key)), Receiver::new(black_box(&key))));
}
