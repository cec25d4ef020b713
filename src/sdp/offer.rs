//! An offer of our own, and its answer (RFC 3264 §5, §7).

use std::net::SocketAddr;

use bytes::Bytes;

use super::crypto::Crypto;
use super::description::{Direction, Media, Offer, SdpError};
use super::format::{self, Events, Format};
use super::negotiated::{Negotiated, Profile, Taken, remote};
use super::terms::{EventPolicy, SrtpPolicy};
use super::writer::{Audio, Local, head};
use crate::audio::Codec;
use crate::ids::Ids;
use crate::rtp::srtp::{KeyPair, MasterKey};

/// An offer of ours, which waits for its answer.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The description, keys and all: not for logs.
    pub sdp: Bytes,
    local: SocketAddr,
    codecs: Vec<Codec>,
    events: EventPolicy,
    profile: Profile,
    crypto: Vec<Crypto>,
}

/// Our own offer: what [`Terms`](super::Terms) say, telephone events of each clock, and RTCP on the port of RTP if the far end can do that.
///
/// Within a dialog `before` goes on, with the same profile, its codec and its key; at another address of ours the key is another one too
/// (RFC 4568 §7.1.4).
#[must_use]
pub fn offer(local: &Local<'_>, before: Option<&Negotiated>, ids: &mut Ids) -> Offered {
    let mut codecs = local.terms.offered().to_vec();
    codecs.extend(before.map(|before| before.codec).filter(|codec| !codecs.contains(codec)));
    let mut taken: Vec<u8> = Vec::new();
    let mut assign = |known: Option<u8>, usual: u8| {
        let dynamic = || (96..=127).find(|free| !taken.contains(free));
        let number = known.or(Some(usual)).filter(|number| !taken.contains(number)).or_else(dynamic).unwrap_or(usual);
        taken.push(number);
        number
    };
    // The numbers that the dialog knows go first, so that nothing else takes them.
    codecs.sort_by_key(|codec| before.is_some_and(|before| before.codec != *codec));
    let formats: Vec<Format> = codecs
        .iter()
        .map(|&codec| {
            let known = before.filter(|before| before.codec == codec).map(|before| before.payload_type);
            Format { payload_type: assign(known, usual_payload_type(codec)), codec }
        })
        .collect();
    let events: Vec<Events> = [(8_000, 101), (48_000, 110)]
        .into_iter()
        .filter(|_| local.terms.events == EventPolicy::Offered)
        .filter(|(clock_rate, _)| codecs.iter().any(|codec| codec.clock_rate() == *clock_rate))
        .map(|(clock_rate, usual)| {
            let known = before.filter(|before| before.event_clock_rate == clock_rate);
            let known = known.and_then(|before| before.telephone_event);
            Events { payload_type: assign(known, usual), clock_rate }
        })
        .collect();
    let keys: Vec<MasterKey> = match before.and_then(|before| Some((before, before.srtp.as_ref()?))) {
        Some((before, keys)) if before.local == local.address => vec![keys.ours.clone()],
        Some((_, keys)) => vec![MasterKey::random(keys.ours.suite(), ids)],
        None => local.terms.suites().iter().map(|&suite| MasterKey::random(suite, ids)).collect(),
    };
    let crypto: Vec<Crypto> = (1..).zip(keys).map(|(tag, key)| Crypto { tag, key }).collect();
    let profile = match before {
        Some(before) if before.srtp.is_some() => before.profile,
        _ if local.terms.srtp == SrtpPolicy::Required => Profile::Savp,
        _ => Profile::Avp,
    };
    let mut text = head(local, "0 0");
    let audio = Audio {
        port: local.address.port(),
        protocol: profile.name(),
        codecs: &formats,
        events: &events,
        crypto: &crypto,
        direction: Direction::SendReceive,
        rtcp_mux: true,
    };
    audio.write(&mut text);
    Offered { sdp: Bytes::from(text), local: local.address, codecs, events: local.terms.events, profile, crypto }
}

impl Offered {
    /// Reads the answer: the stream it takes, with the first codec it lists.
    ///
    /// # Errors
    /// What [`Offer::parse`] finds wrong, [`SdpError::NothingAccepted`], or [`SdpError::KeysNotAccepted`].
    pub fn read_answer(&self, answer: &[u8]) -> Result<Negotiated, SdpError> {
        let answer = Offer::parse(answer)?;
        let mut why = SdpError::NothingAccepted;
        for media in &answer.media {
            let Some((profile, remote)) = Profile::of(media).zip(remote(media)) else { continue };
            let Some(format) = format::codecs(media).find(|format| self.codecs.contains(&format.codec)) else {
                continue;
            };
            let Ok(srtp) = self.keys(media, profile) else {
                why = SdpError::KeysNotAccepted;
                continue;
            };
            let events = format::events(media, format.codec).filter(|_| self.events == EventPolicy::Offered);
            return Ok(Taken { profile, remote, format, events, crypto: None }.agree(media, self.local, srtp));
        }
        Err(why)
    }

    /// The keys that an answer agrees to: it names our line by its tag, and has a key of its own for the same suite (RFC 4568 §5.1.3).
    /// Without `a=crypto` a stream that need not be protected is not.
    fn keys(&self, media: &Media, profile: Profile) -> Result<Option<KeyPair>, SdpError> {
        let accepted = media.crypto.iter().find_map(|theirs| {
            let same = |ours: &&Crypto| ours.tag == theirs.tag && ours.key.suite() == theirs.key.suite();
            let ours = self.crypto.iter().find(same)?;
            Some(KeyPair { ours: ours.key.clone(), theirs: theirs.key.clone() })
        });
        match accepted {
            Some(keys) => Ok(Some(keys)),
            None if profile.is_secure()
                || self.profile.is_secure()
                || (media.has_crypto && !self.crypto.is_empty()) =>
            {
                Err(SdpError::KeysNotAccepted)
            }
            None => Ok(None),
        }
    }
}

/// The payload type under which a codec is offered: RFC 3551's where there is one, else the number everybody uses.
fn usual_payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtcpPath;
    use crate::rtp::srtp::Suite;
    use crate::sdp::{Terms, answer};

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn local(terms: &Terms) -> Local<'_> {
        Local { address: SocketAddr::from(([198, 51, 100, 7], 30_000)), session: 1, version: 1, terms, source: None }
    }

    fn offered(terms: &Terms) -> Offered {
        offer(&local(terms), None, &mut Ids::from_seed(1))
    }

    fn media_of(offered: &Offered) -> String {
        let text = String::from_utf8(offered.sdp.to_vec()).unwrap();
        text[text.find("m=").unwrap()..].to_owned()
    }

    /// An answer of these streams.
    fn read(offered: &Offered, media: &str) -> Result<Negotiated, SdpError> {
        offered.read_answer(format!("{HEAD}{media}").as_bytes())
    }

    fn terms(codecs: &[Codec], srtp: SrtpPolicy) -> Terms {
        Terms { codecs: codecs.to_vec(), srtp, ..Terms::default() }
    }

    #[test]
    fn an_offer_says_what_the_terms_are() {
        assert_eq!(
            media_of(&offered(&terms(&[], SrtpPolicy::Off))),
            "m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\na=rtcp-mux\r\n"
        );
        assert_eq!(
            media_of(&offered(&terms(&[Codec::Opus, Codec::G722], SrtpPolicy::Off))),
            "m=audio 30000 RTP/AVP 111 9 101 110\r\na=rtpmap:111 opus/48000/2\r\n\
             a=fmtp:111 useinbandfec=1;maxaveragebitrate=40000\r\na=rtpmap:9 G722/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtpmap:110 telephone-event/48000\r\n\
             a=fmtp:110 0-15\r\na=ptime:20\r\na=sendrecv\r\na=rtcp-mux\r\n"
        );
        let lines = |srtp| {
            let text = media_of(&offered(&terms(&[Codec::Pcmu], srtp)));
            let crypto =
                text.lines().filter_map(|line| Some(line.strip_prefix("a=crypto:")?.split_once(" inline:")?.0));
            let crypto: Vec<String> = crypto.map(str::to_owned).collect();
            (text.split(' ').nth(2).unwrap().to_owned(), crypto)
        };
        let suites = ["1 AEAD_AES_256_GCM", "2 AEAD_AES_128_GCM", "3 AES_CM_128_HMAC_SHA1_80"].map(str::to_owned);
        assert_eq!(lines(SrtpPolicy::Offered), ("RTP/AVP".to_owned(), suites.to_vec()));
        assert_eq!(lines(SrtpPolicy::Required), ("RTP/SAVP".to_owned(), suites.to_vec()));
    }

    /// Whatever one of us offers, another one takes as it was meant.
    #[test]
    fn an_offer_of_ours_answered_by_us_is_agreed_on() {
        for codec in Codec::ALL {
            for (srtp, policy) in [
                (SrtpPolicy::Off, SrtpPolicy::Offered),
                (SrtpPolicy::Offered, SrtpPolicy::Off),
                (SrtpPolicy::Offered, SrtpPolicy::Offered),
                (SrtpPolicy::Required, SrtpPolicy::Offered),
            ] {
                let theirs = offered(&terms(&[codec], srtp));
                let parsed = Offer::parse(&theirs.sdp).unwrap();
                let ours = terms(&[], policy);
                let address = "127.0.0.1:4000".parse().unwrap();
                let us = Local { address, session: 2, version: 1, terms: &ours, source: None };
                let (answer, negotiated) = answer(&parsed, &us, None, &mut Ids::from_seed(2)).unwrap();
                let back = theirs.read_answer(&answer).unwrap();
                assert_eq!((negotiated.codec, back.codec), (codec, codec));
                assert_eq!((negotiated.remote, back.remote), (local(&ours).address, address));
                assert_eq!((negotiated.rtcp, back.rtcp), (RtcpPath::Multiplexed, RtcpPath::Multiplexed));
                assert_eq!(
                    (negotiated.event_clock_rate, back.event_clock_rate),
                    (codec.clock_rate(), codec.clock_rate())
                );
                assert!(back.telephone_event.is_some() && back.telephone_event == negotiated.telephone_event);
                let protected = srtp != SrtpPolicy::Off && policy != SrtpPolicy::Off;
                assert_eq!((negotiated.srtp.is_some(), back.srtp.is_some()), (protected, protected));
                if let Some((us, them)) = negotiated.srtp.zip(back.srtp) {
                    assert_eq!((us.ours.clone(), us.theirs), (them.theirs, them.ours));
                    assert_eq!(us.ours.suite(), Suite::AeadAes256Gcm);
                }
            }
        }
        let plain = format!("{HEAD}m=audio 4000 RTP/AVP 8\r\n");
        let back = offered(&Terms::default()).read_answer(plain.as_bytes()).unwrap();
        assert_eq!(back.rtcp, RtcpPath::At("192.0.2.1:4001".parse().unwrap()));
    }

    #[test]
    fn an_answer_takes_what_was_offered_or_nothing() {
        let narrow = offered(&terms(&[Codec::Pcma], SrtpPolicy::Off));
        assert_eq!(read(&narrow, "m=audio 0 RTP/AVP 8\r\n"), Err(SdpError::NothingAccepted));
        assert_eq!(read(&narrow, "m=audio 4000 RTP/AVP 0\r\n"), Err(SdpError::NothingAccepted), "not offered");
        let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";
        let taken = read(&narrow, &format!("m=audio 4000 RTP/AVP 0 8\r\n{crypto}")).unwrap();
        assert_eq!((taken.codec, taken.srtp), (Codec::Pcma, None), "no key was offered");
        assert_eq!((SdpError::NothingAccepted.status(), SdpError::KeysNotAccepted.status()), (488, 488));
    }

    /// RFC 4568 §5.1.3.
    #[test]
    fn an_answers_key_fits_a_line_of_the_offer() {
        const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
        fn check(srtp: SrtpPolicy, media: &str, expected: Result<bool, SdpError>) {
            let taken = read(&offered(&terms(&[], srtp)), media).map(|negotiated| negotiated.srtp.is_some());
            assert_eq!(taken, expected, "{srtp:?} {media}");
        }
        let line = format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n");
        for (srtp, protocol) in [(SrtpPolicy::Required, "RTP/SAVP"), (SrtpPolicy::Offered, "RTP/AVP")] {
            let media = format!("m=audio 4000 {protocol} 0\r\n");
            check(srtp, &format!("{media}{line}"), Ok(true));
            // Another line's tag, a tag that nobody offered, a line that cannot be used.
            for wrong in [line.replace(":3", ":1"), line.replace(":3", ":4"), line.replace('\r', "|1:4\r")] {
                check(srtp, &format!("{media}{wrong}"), Err(SdpError::KeysNotAccepted));
            }
        }
        check(SrtpPolicy::Offered, "m=audio 4000 RTP/AVP 0\r\n", Ok(false));
        check(SrtpPolicy::Required, "m=audio 4000 RTP/SAVP 0\r\n", Err(SdpError::KeysNotAccepted));
        check(SrtpPolicy::Required, "m=audio 4000 RTP/AVP 0\r\n", Err(SdpError::KeysNotAccepted));
    }

    /// RFC 3264 §8.3.2, RFC 4568 §7.1.4: within a dialog the numbers, the profile and the key stay what they are.
    #[test]
    fn an_offer_within_a_dialog_goes_on_with_what_was_agreed() {
        let offer_text = format!(
            "{HEAD}m=audio 4000 RTP/SAVPF 101 97\r\na=rtpmap:101 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n"
        );
        let (ours, mut ids) = (Terms::default(), Ids::from_seed(9));
        let parsed = Offer::parse(offer_text.as_bytes()).unwrap();
        let (_, before) = answer(&parsed, &local(&ours), None, &mut ids).unwrap();
        let again = offer(&local(&ours), Some(&before), &mut ids);
        let text = media_of(&again);
        assert!(text.starts_with("m=audio 30000 RTP/SAVPF 101 0 8 96 97\r\na=rtpmap:101 opus/48000/2\r\n"), "{text}");
        assert!(
            text.contains("a=rtpmap:96 telephone-event/8000\r\n")
                && text.contains("a=rtpmap:97 telephone-event/48000\r\n")
        );
        let lines = |offered: &Offered| Offer::parse(&offered.sdp).unwrap().media.remove(0).crypto;
        let keys = before.srtp.clone().unwrap();
        assert_eq!(lines(&again), [Crypto { tag: 1, key: keys.ours.clone() }]);
        let elsewhere = Local { address: SocketAddr::from(([198, 51, 100, 7], 30_002)), ..local(&ours) };
        let moved = lines(&offer(&elsewhere, Some(&before), &mut ids));
        assert!(moved.len() == 1 && moved[0].key != keys.ours && moved[0].key.suite() == keys.ours.suite());
    }
}
