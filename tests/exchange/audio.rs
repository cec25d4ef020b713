//! What calls are in: codecs, and keys of SRTP, from the INVITE to the packets.

use std::sync::Arc;

use contesta::audio::Codec;
use contesta::media::LegReport;
use contesta::rtp::srtp::{MasterKey, Suite};
use contesta::sdp::{SrtpPolicy, Terms};

use super::*;

/// An engine whose callers all come by one trunk with these terms.
fn terms(codecs: &[Codec], srtp: SrtpPolicy) -> Sim {
    let mut config = Config::default();
    config.trunks[0].terms = Arc::new(Terms { codecs: codecs.to_vec(), srtp, ..Terms::default() });
    Sim::with(Setup { config, ..Setup::default() })
}

fn key(suite: Suite, seed: u64) -> MasterKey {
    MasterKey::random(suite, &mut Ids::from_seed(seed))
}

/// A telephone that offers SRTP.
fn secure(sim: &mut Sim, profile: &'static str, key: MasterKey) -> usize {
    let phone = sim.phone("secure");
    sim.phones[phone].profile = profile;
    sim.phones[phone].key = Some((1, key));
    phone
}

fn report(record: &CallRecord) -> (Option<Codec>, Option<Suite>) {
    let LegReport { codec, srtp, .. } = record.media;
    (codec, srtp)
}

#[test]
fn a_call_under_srtp_is_heard_and_keyed() {
    for suite in Suite::ALL {
        for (profile, policy) in [
            ("RTP/SAVP", SrtpPolicy::Offered),
            ("RTP/SAVPF", SrtpPolicy::Required),
            ("RTP/AVP", SrtpPolicy::Offered),
            ("RTP/AVP", SrtpPolicy::Required),
        ] {
            let mut sim = terms(&[], policy);
            let phone = secure(&mut sim, profile, key(suite, 7));
            sim.invite(phone, "*2363");
            sim.until_heard(phone, "menu_principal");
            sim.press(phone, "2");
            sim.until_heard(phone, "menu_informacion");
            sim.bye(phone);
            sim.assert_idle();
            let caller = &sim.phones[phone];
            assert_eq!((caller.rtp_refused, caller.rtp_breaks, caller.rtp_jumps), (0, 0, 0), "{suite} {profile}");
            let media = sim.record().media;
            assert_eq!(report(sim.record()), (Some(Codec::Pcmu), Some(suite)));
            assert_eq!((media.packets_forged, media.digits), (0, 1));
        }
    }
}

/// The Warning says why, so that whoever set the telephone up knows.
#[test]
fn without_srtp_a_trunk_that_requires_it_answers_488_and_says_so() {
    let mut sim = terms(&[], SrtpPolicy::Required);
    let phone = sim.dial("plain", "*2363");
    sim.advance(SECOND);
    assert_eq!(sim.phones[phone].finals, [488]);
    let warning = peer::header(&sim.phones[phone].last_response, "Warning").unwrap();
    assert!(warning.contains("SRTP is required here: offer RTP/SAVP with a=crypto"), "{warning}");
    assert!(sim.record().cause.starts_with("488: SRTP is required here"));

    let mut sim = terms(&[], SrtpPolicy::Off);
    let phone = secure(&mut sim, "RTP/SAVP", key(Suite::AeadAes128Gcm, 1));
    sim.invite(phone, "*2363");
    sim.advance(SECOND);
    assert_eq!(sim.phones[phone].finals, [488]);
    let warning = peer::header(&sim.phones[phone].last_response, "Warning").unwrap();
    assert!(warning.contains("SRTP is off for this trunk"), "{warning}");
}

/// A hold with the same key, a return with another one, a change of suite: the stream goes on, and no packet is refused.
#[test]
fn reinvites_keep_and_change_keys_within_the_call() {
    let mut sim = Sim::new();
    let phone = secure(&mut sim, "RTP/SAVP", key(Suite::AesCm128HmacSha1_80, 1));
    sim.invite(phone, "*2363");
    sim.until_heard(phone, "menu_principal");
    let ours = |sim: &Sim| {
        let ok = String::from_utf8_lossy(&sim.phones[phone].last_response).into_owned();
        ok.lines().find_map(|line| line.split_once(" inline:")).map(|(_, key)| key.to_owned()).unwrap()
    };
    let first = ours(&sim);
    sim.reinvite(phone, "sendonly");
    sim.advance(SECOND);
    assert_eq!(ours(&sim), first, "the same key in the same place");
    sim.phones[phone].key = Some((4, key(Suite::AesCm128HmacSha1_80, 2)));
    sim.reinvite(phone, "sendrecv");
    sim.advance(SECOND);
    let second = ours(&sim);
    assert_ne!(second, first);
    sim.phones[phone].key = Some((1, key(Suite::AeadAes256Gcm, 3)));
    sim.reinvite(phone, "sendrecv");
    sim.advance(SECOND);
    assert_ne!(ours(&sim), second);
    sim.press(phone, "2");
    sim.until_heard(phone, "menu_informacion");
    sim.bye(phone);
    sim.assert_idle();
    let caller = &sim.phones[phone];
    assert_eq!((caller.finals.as_slice(), caller.rtp_breaks), (&[200, 200, 200, 200][..], 0));
    assert_eq!(report(sim.record()), (Some(Codec::Pcmu), Some(Suite::AeadAes256Gcm)));
    assert_eq!(sim.record().media.packets_forged, 0);
    let way: Vec<&str> = sim.record().path.iter().map(|entry| entry.what.as_str()).collect();
    let told = |what: &str| way.iter().any(|line| line.contains(what));
    assert!(told("PCMU with 198.18.0.1:4000, SRTP AES_CM_128_HMAC_SHA1_80"), "{way:#?}");
    assert!(told("re-INVITE: PCMU with 198.18.0.1:4000, SRTP AEAD_AES_256_GCM"), "{way:#?}");
}

/// RFC 3264 §4 with RFC 4568: our offer stands in the 200, the key of the far end in the ACK.
#[test]
fn a_late_offer_of_ours_asks_for_srtp() {
    for (policy, profile) in [(SrtpPolicy::Required, "RTP/SAVP"), (SrtpPolicy::Offered, "RTP/AVP")] {
        let mut sim = terms(&[], policy);
        let phone = secure(&mut sim, profile, key(Suite::AesCm128HmacSha1_80, 9));
        sim.phones[phone].key = Some((3, key(Suite::AesCm128HmacSha1_80, 9)));
        sim.phones[phone].offers = false;
        sim.invite(phone, "*2363");
        sim.advance(SECOND);
        let ok = String::from_utf8_lossy(&sim.phones[phone].last_response).into_owned();
        assert!(ok.contains(&format!(" {profile} 0 8 101\r\n")) && ok.contains("\r\na=crypto:3 "), "{ok}");
        sim.bye(phone);
        sim.assert_idle();
        assert_eq!(report(sim.record()), (Some(Codec::Pcmu), Some(Suite::AesCm128HmacSha1_80)), "{policy:?}");
        // A far end that does not know SRTP: plain where that is allowed, and the end of the call where not.
        let mut sim = terms(&[], policy);
        let phone = sim.phone("plain");
        sim.phones[phone].offers = false;
        sim.phones[phone].profile = profile;
        sim.invite(phone, "*2363");
        sim.advance(SECOND);
        if policy == SrtpPolicy::Required {
            assert!(sim.phones[phone].bye.is_some());
            assert_eq!(sim.record().cause, "the answer's a=crypto is none of ours");
        } else {
            sim.until_heard(phone, "menu_principal");
            sim.bye(phone);
            sim.assert_idle();
            assert_eq!(report(sim.record()), (Some(Codec::Pcmu), None));
        }
    }
}

/// What linphonec and browsers offer: Opus first, G.711 last; the trunk decides, and a re-INVITE decides again. Keys are heard at either clock,
/// and one stream leaves the engine all the while.
#[test]
fn the_codec_is_the_trunks_choice_and_may_change_within_the_call() {
    for (codecs, expected) in [
        (&[][..], Codec::Pcmu),
        (&[Codec::Opus, Codec::Pcmu][..], Codec::Opus),
        (&[Codec::G722, Codec::Pcmu][..], Codec::G722),
    ] {
        let mut sim = terms(codecs, SrtpPolicy::Offered);
        let phone = sim.phone("wide");
        sim.phones[phone].formats = "96 9 0 97 101";
        sim.phones[phone].attributes = "a=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\n";
        sim.invite(phone, "*2363");
        sim.advance(6 * SECOND);
        assert_eq!(sim.phones[phone].talk.as_ref().unwrap().negotiated.codec, expected);
        let before = sim.phones[phone].last_rtp.unwrap();
        sim.press(phone, "2");
        sim.advance(3 * SECOND);
        sim.phones[phone].formats = "0 101";
        sim.phones[phone].attributes = "";
        sim.reinvite(phone, "sendrecv");
        sim.advance(SECOND);
        sim.press(phone, "*");
        sim.until_heard(phone, "menu_principal");
        let after = sim.phones[phone].last_rtp.unwrap();
        assert_eq!((before.ssrc, sim.phones[phone].rtp_breaks), (after.ssrc, 0), "{expected:?}");
        sim.bye(phone);
        sim.assert_idle();
        assert_eq!((report(sim.record()), sim.record().media.digits), ((Some(Codec::Pcmu), None), 2));
        let first = format!("{} with ", expected.encoding_name());
        assert!(sim.record().path.iter().any(|entry| entry.place == "media" && entry.what.starts_with(&first)));
    }
}
