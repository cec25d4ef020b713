//! An offer answered (RFC 3264 §6).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::crypto::Crypto;
use super::description::{Direction, Media, Offer};
use super::format::{self, Format};
use super::negotiated::{Negotiated, Profile, Taken, remote};
use super::terms::{EventPolicy, SrtpPolicy};
use super::writer::{Audio, Local, head};
use crate::ids::Ids;
use crate::rtp::RtcpPath;
use crate::rtp::srtp::{KeyPair, MasterKey, Suite};

/// Why an offer is answered with 488 Not Acceptable Here (RFC 3261 §21.4.26): what is wrong with its first audio stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// There is no audio stream over RTP.
    #[error("no audio stream is offered over RTP/AVP or RTP/SAVP")]
    NoAudio,
    /// Nothing sent from its address would arrive.
    #[error("the audio stream is offered at no address that ours can reach")]
    Unreachable,
    /// None of its codecs is ours.
    #[error("none of the codecs that are offered is spoken here")]
    NoCodec,
    /// It is encrypted, and its trunk's calls are not.
    #[error("SRTP is off for this trunk: offer RTP/AVP")]
    SrtpOff,
    /// It is not encrypted, and its trunk's calls are.
    #[error("SRTP is required here: offer RTP/SAVP with a=crypto (RFC 4568)")]
    SrtpRequired,
    /// It is encrypted in no way that we know.
    #[error("none of the a=crypto lines that are offered can be used: without MKI, one key each, for {}", suites())]
    NoSuite,
}

impl Unacceptable {
    /// 488 Not Acceptable Here (RFC 3261 §21.4.26).
    #[must_use]
    pub fn status(&self) -> u16 {
        488
    }

    /// The same in one line that says what was offered, and where it stands.
    #[must_use]
    pub fn explain(&self, offer: &Offer) -> String {
        match self {
            Self::NoCodec => format!("no codec in common: {} was offered (SDP m=audio)", offer.codec_names()),
            Self::NoAudio | Self::Unreachable => format!("{self} (SDP m= and c=)"),
            Self::SrtpOff | Self::SrtpRequired | Self::NoSuite => format!("{self} (SDP m=audio, a=crypto)"),
        }
    }
}

/// Answers `offer` (RFC 3264 §6): one audio stream is taken, every other one refused in its place. It is the first that can be
/// encrypted, or the first of all.
///
/// The codec is the best by [`Terms::codecs`](super::Terms::codecs). A stream at an address of the other family is not usable, because nothing sent
/// from there would arrive. `before` is what was agreed in this dialog so far: as long as both ends stay where they are and the far
/// end keeps its key, we keep ours.
///
/// # Errors
/// [`Unacceptable`]: answer 488.
pub fn answer(
    offer: &Offer,
    local: &Local<'_>,
    before: Option<&Negotiated>,
    ids: &mut Ids,
) -> Result<(Bytes, Negotiated), Unacceptable> {
    let mut why = None;
    let streams = offer.media.iter().enumerate().filter_map(|(index, media)| match consider(media, local) {
        Ok(taken) => Some((index, media, taken)),
        Err(error) => {
            why = why.or((error != Unacceptable::NoAudio).then_some(error));
            None
        }
    });
    let taken = streams.min_by_key(|(_, _, taken)| taken.crypto.is_none());
    let Some((place, media, taken)) = taken else { return Err(why.unwrap_or(Unacceptable::NoAudio)) };
    let crypto = taken.crypto.map(|theirs| {
        let kept = before.filter(|before| before.local == local.address && before.remote == taken.remote);
        let kept = kept.and_then(|before| before.srtp.as_ref()).filter(|keys| keys.theirs == theirs.key);
        let ours = kept.map_or_else(|| MasterKey::random(theirs.key.suite(), ids), |keys| keys.ours.clone());
        (Crypto { tag: theirs.tag, key: ours.clone() }, KeyPair { ours, theirs: theirs.key.clone() })
    });
    let (crypto, srtp) = crypto.unzip();
    let negotiated = taken.agree(media, local.address, srtp);
    let mut text = head(local, &offer.timing);
    for (index, media) in offer.media.iter().enumerate() {
        if index == place {
            let direction = match (negotiated.send, negotiated.receive) {
                (true, true) => Direction::SendReceive,
                (true, false) => Direction::SendOnly,
                (false, true) => Direction::ReceiveOnly,
                (false, false) => Direction::Inactive,
            };
            let audio = Audio {
                port: local.address.port(),
                protocol: &media.protocol,
                codecs: &[Format { payload_type: negotiated.payload_type, codec: negotiated.codec }],
                events: taken.events.as_slice(),
                crypto: crypto.as_slice(),
                direction,
                // RFC 5761 §5.1.1: said only where it was offered.
                rtcp_mux: negotiated.rtcp == RtcpPath::Multiplexed,
            };
            audio.write(&mut text);
        } else {
            let _ = write!(text, "m={} 0 {} {}\r\n", media.kind, media.protocol, media.formats.join(" "));
        }
    }
    Ok((Bytes::from(text), negotiated))
}

/// Whether a stream of an offer can be taken, and how.
fn consider<'a>(media: &'a Media, local: &Local<'_>) -> Result<Taken<'a>, Unacceptable> {
    let profile = Profile::of(media).ok_or(Unacceptable::NoAudio)?;
    let remote = remote(media).and_then(|remote| reachable(local, remote)).ok_or(Unacceptable::Unreachable)?;
    let crypto = match (local.terms.srtp, media.crypto.first()) {
        (SrtpPolicy::Off, _) if profile.is_secure() => return Err(Unacceptable::SrtpOff),
        (SrtpPolicy::Off, _) => None,
        // The lines stand in the order of their writer's preference (RFC 4568 §5.1.1).
        (SrtpPolicy::Offered | SrtpPolicy::Required, Some(crypto)) => Some(crypto),
        (_, None) if profile.is_secure() || (media.has_crypto && local.terms.srtp == SrtpPolicy::Required) => {
            return Err(Unacceptable::NoSuite);
        }
        (SrtpPolicy::Required, None) => return Err(Unacceptable::SrtpRequired),
        (SrtpPolicy::Offered, None) => None,
    };
    let ranked = format::codecs(media).filter_map(|format| Some((local.terms.rank(format.codec)?, format)));
    let (_, format) = ranked.min_by_key(|(rank, _)| *rank).ok_or(Unacceptable::NoCodec)?;
    let events = format::events(media, format.codec).filter(|_| local.terms.events == EventPolicy::Offered);
    Ok(Taken { profile, remote, format, events, crypto })
}

/// Where packets from us arrive that are meant for `remote`. A phone with addresses of both families may describe the one that its SIP does
/// not come from (linphone does so wherever there is IPv6): it listens on both, and is sent to where its SIP comes from.
fn reachable(local: &Local<'_>, remote: SocketAddr) -> Option<SocketAddr> {
    let source = local.source.map(|source| SocketAddr::new(source.to_canonical(), remote.port()));
    [Some(remote), source].into_iter().flatten().find(|remote| is_reachable(local.address.ip(), remote.ip()))
}

/// Whether packets from `local` can arrive at `remote`: IPv4 to IPv4, IPv6 to IPv6, an IPv4-mapped address being IPv4
/// (RFC 4291 §2.5.5.2). To hold, nobody sends anything, so the zero address of either family will do.
fn is_reachable(local: IpAddr, remote: IpAddr) -> bool {
    let (local, remote) = (local.to_canonical(), remote.to_canonical());
    remote.is_unspecified() || local.is_ipv4() == remote.is_ipv4()
}

/// The suites that can be used, for people.
fn suites() -> String {
    Suite::ALL.map(Suite::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Codec, opus};
    use crate::rtp::srtp::Lifetime;
    use crate::sdp::{SdpError, Terms, offer};

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    const LINE_80: &str = "AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    const LINE_32: &str = "AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

    fn local(terms: &Terms) -> Local<'_> {
        Local { address: SocketAddr::from(([198, 51, 100, 7], 30_000)), session: 7, version: 1, terms, source: None }
    }

    fn parsed(media: &str) -> Offer {
        Offer::parse(format!("{HEAD}{media}").as_bytes()).unwrap()
    }

    /// Answers the streams in `media` under a plain session part; gives the answer from its first `m=` on.
    fn answered_by(media: &str, terms: &Terms) -> Result<(String, Negotiated), Unacceptable> {
        let (bytes, negotiated) = answer(&parsed(media), &local(terms), None, &mut Ids::from_seed(1))?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let start = text.find("m=").unwrap();
        Ok((text[start..].to_owned(), negotiated))
    }

    fn answered(media: &str) -> Result<(String, Negotiated), Unacceptable> {
        answered_by(media, &Terms::default())
    }

    fn wishing(codecs: &[Codec]) -> Terms {
        Terms { codecs: codecs.to_vec(), ..Terms::default() }
    }

    fn agreed(codec: Codec, payload_type: u8, telephone_event: Option<u8>) -> Negotiated {
        let remote = SocketAddr::from(([192, 0, 2, 1], 49_170));
        Negotiated {
            codec,
            payload_type,
            opus: opus::Wishes { bitrate_max: None, fec: false },
            telephone_event,
            event_clock_rate: codec.clock_rate(),
            packet_max_ms: None,
            local: local(&Terms::default()).address,
            remote,
            rtcp: RtcpPath::beside(remote),
            profile: Profile::Avp,
            srtp: None,
            send: true,
            receive: true,
        }
    }

    #[test]
    fn the_offers_first_codec_is_taken_with_its_telephone_event() {
        let media = "m=audio 49170 RTP/AVP 18 8 0 96\r\na=rtpmap:18 G729/8000\r\na=rtpmap:96 telephone-event/8000\r\n";
        let (text, negotiated) = answered(media).unwrap();
        assert_eq!(negotiated, agreed(Codec::Pcma, 8, Some(96)));
        assert_eq!(
            text,
            "m=audio 30000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n\
             a=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        assert_eq!(answered_by(media, &wishing(&[Codec::Pcmu])).unwrap().1, agreed(Codec::Pcmu, 0, Some(96)));
    }

    /// What linphonec and browsers offer: Opus first. It is answered only where it is liked better, or nothing cheaper is there.
    #[test]
    fn the_codec_is_the_trunks_choice() {
        const OFFER: &str = "m=audio 49170 RTP/AVP 96 9 8 97 98\r\na=rtpmap:96 opus/48000/2\r\n\
            a=fmtp:96 useinbandfec=1;maxaveragebitrate=16000\r\na=rtpmap:97 telephone-event/48000\r\n\
            a=rtpmap:98 telephone-event/8000\r\na=maxptime:10\r\n";
        fn check(media: &str, codecs: &[Codec], expected: Option<(Codec, u8, u8)>) {
            let taken = answered_by(media, &wishing(codecs)).ok().map(|(_, negotiated)| negotiated);
            let taken = taken.map(|taken| (taken.codec, taken.payload_type, taken.telephone_event.unwrap()));
            assert_eq!(taken, expected, "{codecs:?} {media}");
        }
        check(OFFER, &[], Some((Codec::Pcma, 8, 98)));
        check(OFFER, &[Codec::Pcmu], None);
        check(OFFER, &[Codec::Opus, Codec::Pcma], Some((Codec::Opus, 96, 97)));
        check(OFFER, &[Codec::Pcmu, Codec::G722, Codec::Opus], Some((Codec::G722, 9, 98)));
        check(&OFFER.replace(" 8 97", " 97"), &[], Some((Codec::G722, 9, 98)));
        check(&OFFER.replace(" 9 8 97", " 97"), &[], Some((Codec::Opus, 96, 97)));
        check(&OFFER.replace(" 9 8 97", ""), &[], Some((Codec::Opus, 96, 98)));

        let (text, negotiated) = answered_by(OFFER, &wishing(&[Codec::Opus])).unwrap();
        let expected = Negotiated {
            opus: opus::Wishes { bitrate_max: Some(16_000), fec: true },
            packet_max_ms: Some(10),
            ..agreed(Codec::Opus, 96, Some(97))
        };
        assert_eq!(negotiated, expected);
        assert_eq!(
            text,
            "m=audio 30000 RTP/AVP 96 97\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;maxaveragebitrate=40000\r\n\
             a=rtpmap:97 telephone-event/48000\r\na=fmtp:97 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        let (text, _) = answered("m=audio 49170 RTP/AVP 9\r\na=maxptime:60\r\n").unwrap();
        assert_eq!(text, "m=audio 30000 RTP/AVP 9\r\na=rtpmap:9 G722/8000\r\na=ptime:20\r\na=sendrecv\r\n");
    }

    #[test]
    fn the_whole_answer_reads_back_and_names_our_address() {
        let head = HEAD.replace("IP4 192.0.2.1", "IP6 2001:db8::2");
        let parsed = Offer::parse(format!("{head}m=audio 49170 RTP/AVP 0\r\n").as_bytes()).unwrap();
        let terms = Terms::default();
        let ours = Local { address: "[2001:db8::1]:4000".parse().unwrap(), version: 2, ..local(&terms) };
        let (bytes, _) = answer(&parsed, &ours, None, &mut Ids::from_seed(1)).unwrap();
        assert!(bytes.starts_with(
            b"v=0\r\no=contesta 7 2 IN IP6 2001:db8::1\r\ns=contesta\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 4000 "
        ));
        let back = offer(&local(&terms), None, &mut Ids::from_seed(2)).read_answer(&bytes).unwrap();
        assert_eq!(back.remote, ours.address);
    }

    #[test]
    fn other_streams_are_refused_in_their_place() {
        let media = "m=video 5000 RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\nm=audio 5002 UDP/TLS/RTP/SAVP 0\r\n\
            m=audio 0 RTP/AVP 0\r\nm=audio 49170 RTP/AVP 0\r\nm=audio 5004 RTP/AVP 8\r\nm=image 5006 udptl t38\r\n";
        let (text, negotiated) = answered(media).unwrap();
        assert_eq!(negotiated, agreed(Codec::Pcmu, 0, None));
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
        let expected = [
            "m=video 0 RTP/AVP 96 97",
            "m=audio 0 UDP/TLS/RTP/SAVP 0",
            "m=audio 0 RTP/AVP 0",
            "m=audio 30000 RTP/AVP 0",
            "m=audio 0 RTP/AVP 8",
            "m=image 0 udptl t38",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn payload_types_are_what_the_offer_says_they_are() {
        fn check(media: &str, expected: Option<Negotiated>) {
            assert_eq!(answered(media).ok().map(|(_, negotiated)| negotiated), expected, "{media}");
        }
        check(
            "m=audio 49170 RTP/AVP 97\r\na=rtpmap:97 pcmu/8000/1\r\n", // a dynamic number for a static codec
            Some(agreed(Codec::Pcmu, 97, None)),
        );
        check(
            "m=audio 49170 RTP/AVP 0 8\r\na=rtpmap:0 L16/8000\r\n", // 0 taken for something else
            Some(agreed(Codec::Pcma, 8, None)),
        );
        check(
            "m=audio 49170 RTP/AVP 8 100 101\r\na=rtpmap:100 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n",
            Some(agreed(Codec::Pcma, 8, Some(101))),
        );
        check("m=audio 49170 RTP/AVP 96\r\na=rtpmap:96 G729/8000\r\n", None);
        check("m=audio 49170 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n", None);
        check("m=audio 49170 RTP/AVP 300 x 0\r\n", Some(agreed(Codec::Pcmu, 0, None)));
        check("m=audio 49170 RTP/AVP 0\r\nc=IN IP4 phone.example\r\n", None);
        check("m=video 49170 RTP/AVP 31\r\n", None);
    }

    /// A caller who receives at IPv6 would hear nothing of what an IPv4 socket sends.
    #[test]
    fn a_stream_of_the_other_address_family_is_not_taken() {
        let taken = |media: &str| answered(media).map(|(_, negotiated)| negotiated.remote.to_string());
        let ipv6 = "m=audio 49170 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\n";
        assert_eq!(taken(ipv6), Err(Unacceptable::Unreachable));
        assert_eq!(taken(&format!("{ipv6}m=audio 4000 RTP/AVP 8\r\n")), Ok("192.0.2.1:4000".to_owned()));
        assert_eq!(taken("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 ::ffff:192.0.2.9\r\n"), Ok("192.0.2.9:4000".to_owned()));

        let (parsed, terms) = (parsed("m=audio 49170 RTP/AVP 0\r\n"), Terms::default());
        let from = |address: &str| {
            let ours = Local { address: address.parse().unwrap(), ..local(&terms) };
            answer(&parsed, &ours, None, &mut Ids::from_seed(1)).map(|(_, negotiated)| negotiated.codec)
        };
        assert_eq!(from("[2001:db8::1]:4000"), Err(Unacceptable::Unreachable));
        assert_eq!(from("[::ffff:198.51.100.7]:4000"), Ok(Codec::Pcmu));
    }

    /// Linphone 5.1 calls over IPv4 and describes the machine's IPv6 address.
    #[test]
    fn a_phone_that_describes_its_other_address_is_sent_to_where_its_sip_comes_from() {
        let terms = Terms::default();
        let remote = |media: &str, source: &str| {
            let local = Local { source: Some(source.parse().unwrap()), ..local(&terms) };
            answer(&parsed(media), &local, None, &mut Ids::from_seed(1))
                .map(|(_, negotiated)| negotiated.remote.to_string())
        };
        let ipv6 = "m=audio 7078 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\n";
        assert_eq!(remote(ipv6, "192.0.2.44"), Ok("192.0.2.44:7078".to_owned()));
        assert_eq!(remote(ipv6, "2001:db8::2"), Err(Unacceptable::Unreachable));
        assert_eq!(remote("m=audio 7078 RTP/AVP 0\r\n", "192.0.2.44"), Ok("192.0.2.1:7078".to_owned()));
    }

    #[test]
    fn holds_of_every_kind_are_mirrored() {
        fn check(lines: &str, send: bool, receive: bool, mirrored: &str) {
            let (text, negotiated) = answered(&format!("m=audio 49170 RTP/AVP 0\r\n{lines}\r\n")).unwrap();
            assert_eq!((negotiated.send, negotiated.receive), (send, receive), "{lines}");
            assert!(text.ends_with(&format!("a={mirrored}\r\n")), "{lines}: {text}");
        }
        check("a=sendrecv", true, true, "sendrecv");
        check("a=sendonly", false, true, "recvonly");
        check("a=recvonly", true, false, "sendonly");
        check("a=inactive", false, false, "inactive");
        check("c=IN IP4 0.0.0.0", false, true, "recvonly");
        check("c=IN IP6 ::\r\na=recvonly", false, false, "inactive");
    }

    /// RFC 5761 §5.1.1, RFC 3605, RFC 3556, and RFC 3550 §11 where nothing is said.
    #[test]
    fn rtcp_goes_where_the_offer_says_and_is_multiplexed_only_if_offered() {
        fn check(lines: &str, expected: RtcpPath) {
            let (text, negotiated) = answered(&format!("m=audio 49170 RTP/AVP 0 96\r\n{lines}")).unwrap();
            assert_eq!(negotiated.rtcp, expected, "{lines}");
            assert_eq!(text.contains("a=rtcp-mux\r\n"), expected == RtcpPath::Multiplexed, "{lines}: {text}");
            assert_eq!(text.matches("a=rtcp").count(), usize::from(expected == RtcpPath::Multiplexed), "{text}");
        }
        let at = |address: &str| RtcpPath::At(address.parse().unwrap());
        check("", at("192.0.2.1:49171"));
        check("a=rtcp:53020\r\n", at("192.0.2.1:53020"));
        check("a=rtcp:53020 IN IP6 ::ffff:192.0.2.9\r\n", at("192.0.2.9:53020"));
        check("a=rtcp:phone\r\n", at("192.0.2.1:49171"));
        check("a=rtcp-mux\r\n", RtcpPath::Multiplexed);
        check("a=rtcp:53020\r\na=rtcp-mux\r\n", RtcpPath::Multiplexed);
        check("a=rtcp-mux\r\na=rtpmap:96 telephone-event/8000\r\n", RtcpPath::Multiplexed);
        check("b=RS:0\r\nb=RR:0\r\na=rtcp-mux\r\n", RtcpPath::Nowhere);
        check("b=RS:0\r\nb=RR:400\r\n", at("192.0.2.1:49171"));
        // RFC 5761 §4: these payload types cannot be told from RTCP.
        let media = "m=audio 49170 RTP/AVP 72\r\na=rtpmap:72 PCMU/8000\r\na=rtcp-mux\r\n";
        assert_eq!(answered(media).unwrap().1.rtcp, at("192.0.2.1:49171"));
    }

    /// Every policy against every kind of offer (RFC 4568 §4, §5).
    #[test]
    fn srtp_is_the_trunks_choice() {
        use SrtpPolicy::{Off, Offered, Required};
        fn check(media: &str, policy: SrtpPolicy, expected: Result<(&str, Option<Suite>), Unacceptable>) {
            let terms = Terms { srtp: policy, ..Terms::default() };
            let taken = answered_by(media, &terms).map(|(text, negotiated)| {
                let suite = negotiated.srtp.map(|keys| {
                    assert_eq!(keys.ours.suite(), keys.theirs.suite());
                    assert!(keys.ours != keys.theirs);
                    keys.ours.suite()
                });
                assert_eq!(text.matches("a=crypto:").count(), usize::from(suite.is_some()), "{text}");
                let taken = text.lines().find(|line| line.starts_with("m=audio 30000 ")).unwrap();
                (taken.split(' ').nth(2).unwrap().to_owned(), suite)
            });
            let expected = expected.map(|(protocol, suite)| (protocol.to_owned(), suite));
            assert_eq!(taken, expected, "{policy:?} {media}");
        }
        let (long, short) = (Some(Suite::AesCm128HmacSha1_80), Some(Suite::AesCm128HmacSha1_32));
        let plain = "m=audio 49170 RTP/AVP 0\r\n";
        check(plain, Off, Ok(("RTP/AVP", None)));
        check(plain, Offered, Ok(("RTP/AVP", None)));
        check(plain, Required, Err(Unacceptable::SrtpRequired));
        for (protocol, feedback) in [("RTP/SAVP", "RTP/AVP"), ("RTP/SAVPF", "RTP/AVPF")] {
            let secure = format!("m=audio 49170 {protocol} 0\r\na=crypto:1 {LINE_80}\r\n");
            check(&secure, Off, Err(Unacceptable::SrtpOff));
            check(&secure, Offered, Ok((protocol, long)));
            check(&secure, Required, Ok((protocol, long)));
            // "If possible", as telephones have it: keys beside a plain profile.
            let perhaps = secure.replace(protocol, feedback);
            check(&perhaps, Off, Ok((feedback, None)));
            check(&perhaps, Offered, Ok((feedback, long)));
            check(&perhaps, Required, Ok((feedback, long)));
            // Without a line that can be used.
            for line in ["", "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\n", &format!("a=crypto:1 {LINE_80}|1:4\r\n")]
            {
                let media = format!("m=audio 49170 {protocol} 0\r\n{line}");
                check(&media, Off, Err(Unacceptable::SrtpOff));
                check(&media, Offered, Err(Unacceptable::NoSuite));
                check(&media, Required, Err(Unacceptable::NoSuite));
                let media = media.replace(protocol, feedback);
                check(&media, Offered, Ok((feedback, None)));
                let why = if line.is_empty() { Unacceptable::SrtpRequired } else { Unacceptable::NoSuite };
                check(&media, Required, Err(why));
            }
        }
        // The first line that can be used, in the order of the offer; a line of the session level is none of the stream's.
        let lines = format!("a=crypto:1 {LINE_80} KDR=1\r\na=crypto:5 {LINE_32}\r\na=crypto:2 {LINE_80}\r\n");
        let media = format!("m=audio 49170 RTP/SAVP 0\r\n{lines}");
        check(&media, Required, Ok(("RTP/SAVP", short)));
        assert!(answered(&media).unwrap().0.contains("\r\na=crypto:5 AES_CM_128_HMAC_SHA1_32 inline:"));
        let session = format!("v=0\r\nc=IN IP4 192.0.2.1\r\na=crypto:1 {LINE_80}\r\nm=audio 49170 RTP/AVP 0\r\n");
        let offer = Offer::parse(session.as_bytes()).unwrap();
        let (_, negotiated) = answer(&offer, &local(&Terms::default()), None, &mut Ids::from_seed(1)).unwrap();
        assert_eq!(negotiated.srtp, None);
        // Two streams for one conversation: the one that is encrypted.
        let secure = format!("m=audio 49172 RTP/SAVP 0\r\na=crypto:1 {LINE_80}\r\n");
        check(&format!("{plain}{secure}"), Offered, Ok(("RTP/SAVP", long)));
        check(&format!("{plain}{secure}"), Off, Ok(("RTP/AVP", None)));
        check(&format!("{secure}{plain}"), Required, Ok(("RTP/SAVP", long)));
        check("m=audio 49170 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-256 00\r\n", Offered, Err(Unacceptable::NoAudio));
    }

    #[test]
    fn a_refusal_says_what_is_wrong_with_the_first_stream() {
        let why = |media: &str| answered(media).unwrap_err();
        assert_eq!(why(""), Unacceptable::NoAudio);
        assert_eq!(why("m=audio 4000 RTP/AVP 18\r\n"), Unacceptable::NoCodec);
        assert_eq!(
            why("m=video 4000 RTP/AVP 0\r\nm=audio 4000 RTP/AVP 18\r\nm=audio 4000 RTP/SAVP 0\r\n"),
            Unacceptable::NoCodec
        );
        assert_eq!(why("m=audio 4000 RTP/SAVP 0\r\nm=audio 4000 RTP/AVP 18\r\n"), Unacceptable::NoSuite);
        assert_eq!((Unacceptable::SrtpRequired.status(), SdpError::KeysNotAccepted.status()), (488, 488));
        let text = Unacceptable::NoSuite.to_string();
        assert!(
            text.ends_with("for AEAD_AES_256_GCM, AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32")
        );
    }

    /// RFC 4568 §7.1.4: our key stays while the far end keeps its own and both stay where they are, and no longer.
    #[test]
    fn a_repeated_offer_has_the_same_key_and_another_one_another() {
        let media = format!("m=audio 49170 RTP/SAVP 0\r\na=crypto:1 {LINE_80}|2^20\r\n");
        let (terms, mut ids) = (Terms::default(), Ids::from_seed(5));
        let (_, first) = answer(&parsed(&media), &local(&terms), None, &mut ids).unwrap();
        let keys = first.srtp.clone().unwrap();
        assert_eq!(keys.theirs.lifetime(), Lifetime::of(1 << 20));
        let mut again = |media: &str, ours: &Local<'_>| {
            let (text, negotiated) = answer(&parsed(media), ours, Some(&first), &mut ids).unwrap();
            let (old, new) = (first.srtp.clone().unwrap(), negotiated.srtp.clone().unwrap());
            let mut line = String::new();
            Crypto { tag: 1, key: new.ours.clone() }.write(&mut line);
            assert!(String::from_utf8_lossy(&text).contains(&line), "what is agreed on is what is said");
            (old.ours == new.ours, old.theirs == new.theirs)
        };
        assert_eq!(again(&media, &local(&terms)), (true, true));
        assert_eq!(again(&format!("{media}a=sendonly\r\n"), &local(&terms)), (true, true), "a hold");
        let other = media.replace("d0Rm", "e0Rm");
        assert_eq!(again(&other, &local(&terms)), (false, false));
        let elsewhere = Local { address: SocketAddr::from(([198, 51, 100, 7], 30_002)), ..local(&terms) };
        assert_eq!(again(&media, &elsewhere), (false, true));
        assert_eq!(again(&media.replace("49170", "49172"), &local(&terms)), (false, true));
        let suite = format!("m=audio 49170 RTP/SAVP 0\r\na=crypto:1 {LINE_32}\r\n");
        let (_, changed) = answer(&parsed(&suite), &local(&terms), Some(&first), &mut ids).unwrap();
        assert_eq!(changed.srtp.unwrap().ours.suite(), Suite::AesCm128HmacSha1_32);
    }
}
