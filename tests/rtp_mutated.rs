//! Whatever a network or an attacker sends: no panic, and a leg that is talking keeps its audio.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contesta::audio::{Clip, Codec};
use contesta::ids::{Ids, PlayId};
use contesta::media::{Event, Leg, LegSettings, Listener, MAX_PACKET, Segment};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};
use contesta::sdp::{self, Local, Offer, Terms};

const INPUTS: u32 = 100_000;
const PHONE: &str = "192.0.2.1:4000";

/// Changes a few bytes of `input`: flips, inserts, removes, repeats, cuts.
fn mutate(ids: &mut Ids, input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=ids.below(6) {
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

fn settings() -> LegSettings {
    LegSettings::plain(PHONE.parse().unwrap())
}

fn packet(payload_type: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type,
        sequence: SequenceNumber(sequence as u16),
        timestamp: RtpTime(sequence.wrapping_mul(160)),
        ssrc: Ssrc(2),
    };
    [&header.to_bytes(), payload].concat()
}

#[test]
fn a_leg_keeps_its_audio_under_100_000_mutated_packets() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    let mut now = Instant::now();
    let mut ids = Ids::from_seed(1);
    let mut leg = Leg::new(settings(), now);
    let mut listener = Listener::new(Codec::Pcmu, 0);
    let mut heard_of_mutants = Listener::new(Codec::Pcmu, 0);
    let mut events = Vec::new();
    let tone: Vec<i16> = (0..8000).map(|index| if index % 20 < 10 { 8000 } else { -8000 }).collect();
    let segments = [Segment::Clip(Arc::new(Clip::from_pcm(&tone)))];
    let (phone, stranger): (SocketAddr, SocketAddr) = (PHONE.parse().unwrap(), "198.51.100.1:1".parse().unwrap());
    for sequence in 0..5 {
        leg.handle_packet(now, phone, &mut packet(0, sequence, &[0xff; 160]), &mut events);
    }
    let (mut frames, mut plays) = (0, 0);
    for input in 0..INPUTS {
        let audio = packet(0, input, &[0x55; 160]);
        let press = packet(101, input, &[5, 10, 0, 160]);
        let mut mutant = mutate(&mut ids, if input % 2 == 0 { &audio } else { &press });
        heard_of_mutants.handle_packet(&mutant);
        leg.handle_packet(now, if input % 3 == 0 { stranger } else { phone }, &mut mutant, &mut events);
        if input % 4 == 0 {
            if frames % 50 == 0 {
                plays += 1;
                leg.play(PlayId(plays), segments.clone().into(), &mut events);
            }
            frames += 1;
            let mut out = [0; MAX_PACKET];
            let length = leg.tick(now, &mut out, &mut events).unwrap();
            listener.handle_packet(&out[..length]);
            now += Duration::from_millis(20);
        }
    }
    assert_eq!(leg.destination(), phone);
    let played = events.iter().filter(|event| matches!(event, Event::Played(_))).count();
    assert_eq!((frames, played, leg.report().packets_sent), (25_000, 500, 25_000));
    let error = |(heard, said): (&i16, &i16)| (i32::from(*heard) - i32::from(*said)).abs();
    assert_eq!(listener.pcm().len(), 25_000 * 160);
    assert!(listener.pcm().iter().zip(tone.iter().cycle()).map(error).all(|error| error <= 260));
    let report = leg.report();
    assert!(report.packets_received > 10_000 && report.packets_ignored > 30_000, "{report:?}");
}

const OFFERS: [&str; 4] = [
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 8 0 101\r\n\
     a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n",
    "v=0\no=x 1 1 IN IP6 ::1\ns= \nt=0 0\nm=video 5000/2 RTP/AVP 96\na=rtpmap:96 VP8/90000\n\
     m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::1\na=sendonly\n",
    "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=inactive\r\nm=image 0 udptl t38\r\n\
     m=audio 9 RTP/SAVP 0\r\nm=audio 4002 RTP/AVPF 97 8\r\na=rtpmap:97 PCMU/8000/1\r\n",
    "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 111 9 110\r\na=rtpmap:111 opus/48000/2\r\n\
     a=fmtp:111 useinbandfec=1;maxaveragebitrate=16000\r\na=rtpmap:110 telephone-event/48000\r\na=maxptime:10\r\n\
     a=crypto:1 AEAD_AES_128_GCM inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ==|2^31 WSH=64\r\n\
     a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|1048576\r\na=rtcp-mux\r\n",
];

#[test]
fn whatever_is_answered_can_be_read_again_under_100_000_mutated_offers() {
    // The second offer is of IPv6: it is answered by an engine that has such an address.
    let locals = ["198.51.100.7:30000", "[2001:db8::7]:30000", "198.51.100.7:30000", "198.51.100.7:30000"]
        .map(|local| local.parse().unwrap());
    let (terms, mut keys) = (Terms::default(), Ids::from_seed(3));
    let mut ids = Ids::from_seed(2);
    let (mut parsed, mut answered, mut protected) = (0, 0, 0);
    for input in 0..INPUTS {
        let which = input as usize % OFFERS.len();
        let (mutant, local): (_, SocketAddr) = (mutate(&mut ids, OFFERS[which].as_bytes()), locals[which]);
        let Ok(offer) = Offer::parse(&mutant) else { continue };
        parsed += 1;
        let ours = Local { address: local, session: 1, version: 1, terms: &terms, source: None };
        let Ok((answer, negotiated)) = sdp::answer(&offer, &ours, None, &mut keys) else { continue };
        answered += 1;
        // What we say to the far end, said to ourselves, is understood as it was meant.
        let theirs = Local { address: SocketAddr::new(local.ip(), 4000), ..ours };
        let (_, back) = sdp::answer(&Offer::parse(&answer).unwrap(), &theirs, None, &mut keys)
            .unwrap_or_else(|error| panic!("{error}: {answer:?} to {mutant:?}"));
        let key = negotiated.srtp.as_ref().map(|keys| &keys.ours);
        assert_eq!(back.srtp.as_ref().map(|keys| &keys.theirs), key);
        protected += u32::from(key.is_some());
        assert_eq!((back.codec, back.payload_type), (negotiated.codec, negotiated.payload_type));
        assert_eq!((back.remote, back.send, back.receive), (local, negotiated.receive, negotiated.send));
    }
    assert!(
        parsed > 50_000 && answered > 30_000 && protected > 5_000,
        "{parsed} parsed, {answered} answered, {protected} of them with keys"
    );
}
