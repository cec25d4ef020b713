//! What two ends agree on: an offer answered, our own offer written, its answer read (RFC 3264).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::description::{Direction, Media, Offer, SdpError};
use crate::audio::Codec;
use crate::rtp::RtcpPath;

/// The payload type under which we offer telephone events: the number everybody uses.
const TELEPHONE_EVENT: u8 = 101;

/// The outcome of an offer and its answer, seen from our end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The codec in both directions.
    pub codec: Codec,
    /// Its payload type in both directions.
    pub payload_type: u8,
    /// The payload type of telephone events at 8,000 a second, if both ends know them.
    pub telephone_event: Option<u8>,
    /// Where the far end says it receives. Unspecified (`0.0.0.0`) for a hold of the old kind; then `send` is false.
    pub remote: SocketAddr,
    /// Where its RTCP goes.
    pub rtcp: RtcpPath,
    /// The far end wants our audio.
    pub send: bool,
    /// The far end means to send audio.
    pub receive: bool,
}

/// An offer without one stream that we can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RTP/AVP audio stream with PCMU or PCMA is offered at an address that ours can reach")]
pub struct NoCommonMedia;

impl NoCommonMedia {
    /// 488 Not Acceptable Here (RFC 3261 §21.4.26).
    #[must_use]
    pub fn status(&self) -> u16 {
        488
    }
}

/// Answers `offer` (RFC 3264 §6): its first usable audio stream is taken, every other one refused in its place.
///
/// The codec is the first of the offer's that we speak; codecs in `preference` go before those that are not, in its order,
/// so an empty one leaves the choice to the offerer. `local` is where we receive; a stream at an address of the other family is
/// not usable, because nothing sent from there would arrive. `session` and `version` are the numbers of our `o=` line:
/// the first stays for the dialog's life, the second grows by one with each changed description (RFC 3264 §8).
///
/// # Errors
/// [`NoCommonMedia`]: answer 488.
pub fn answer(
    offer: &Offer,
    local: SocketAddr,
    session: u64,
    version: u64,
    preference: &[Codec],
) -> Result<(Bytes, Negotiated), NoCommonMedia> {
    let (taken, negotiated) = offer
        .media
        .iter()
        .enumerate()
        .filter(|(_, media)| media.address.is_some_and(|remote| is_reachable(local.ip(), remote)))
        .find_map(|(index, media)| negotiate(media, preference).map(|negotiated| (index, negotiated)))
        .ok_or(NoCommonMedia)?;
    let mut text = head(local.ip(), session, version, &offer.timing);
    for (index, media) in offer.media.iter().enumerate() {
        if index == taken {
            let codecs = [(negotiated.payload_type, negotiated.codec)];
            let direction = match (negotiated.send, negotiated.receive) {
                (true, true) => Direction::SendReceive,
                (true, false) => Direction::SendOnly,
                (false, true) => Direction::ReceiveOnly,
                (false, false) => Direction::Inactive,
            };
            write_audio(&mut text, local.port(), &media.protocol, &codecs, negotiated.telephone_event, direction);
            // RFC 5761 §5.1.1: said only where it was offered.
            if negotiated.rtcp == RtcpPath::Multiplexed {
                text.push_str(RTCP_MUX);
            }
        } else {
            let _ = write!(text, "m={} 0 {} {}\r\n", media.kind, media.protocol, media.formats.join(" "));
        }
    }
    Ok((Bytes::from(text), negotiated))
}

/// Our own offer: both codecs, those of `preference` first, telephone events under 101, and RTCP on the port of RTP if the far end
/// can do that.
#[must_use]
pub fn offer(local: SocketAddr, session: u64, version: u64, preference: &[Codec]) -> Bytes {
    let mut codecs: Vec<(u8, Codec)> = Vec::with_capacity(2);
    for &codec in preference.iter().chain(&[Codec::Pcmu, Codec::Pcma]) {
        if !codecs.iter().any(|&(_, known)| known == codec) {
            codecs.push((static_payload_type(codec), codec));
        }
    }
    let mut text = head(local.ip(), session, version, "0 0");
    write_audio(&mut text, local.port(), "RTP/AVP", &codecs, Some(TELEPHONE_EVENT), Direction::SendReceive);
    text.push_str(RTCP_MUX);
    Bytes::from(text)
}

/// Reads the answer to an [`offer`] of ours: the stream it takes, with the first codec it lists.
///
/// # Errors
/// What [`Offer::parse`] finds wrong, or [`SdpError::NothingAccepted`].
pub fn read_answer(answer: &[u8]) -> Result<Negotiated, SdpError> {
    let answer = Offer::parse(answer)?;
    answer.media.iter().find_map(|media| negotiate(media, &[])).ok_or(SdpError::NothingAccepted)
}

/// Whether packets from `local` can arrive at `remote`: IPv4 to IPv4, IPv6 to IPv6, an IPv4-mapped address being IPv4
/// (RFC 4291 §2.5.5.2). To hold, nobody sends anything, so the zero address of either family will do.
fn is_reachable(local: IpAddr, remote: IpAddr) -> bool {
    let (local, remote) = (local.to_canonical(), remote.to_canonical());
    remote.is_unspecified() || local.is_ipv4() == remote.is_ipv4()
}

/// What we agree on if this stream is taken; `None` when it is not audio that we speak.
fn negotiate(media: &Media, preference: &[Codec]) -> Option<Negotiated> {
    let plain_rtp = ["RTP/AVP", "RTP/AVPF"].iter().any(|known| media.protocol.eq_ignore_ascii_case(known));
    if !media.kind.eq_ignore_ascii_case("audio") || media.port == 0 || !plain_rtp {
        return None;
    }
    let payload_types = || media.formats.iter().filter_map(|format| format.parse().ok().filter(|&n: &u8| n < 128));
    let rank = |codec| preference.iter().position(|&preferred| preferred == codec).unwrap_or(preference.len());
    let (payload_type, codec) = payload_types()
        .filter_map(|payload_type| Some((payload_type, codec_of(media, payload_type)?)))
        .min_by_key(|&(_, codec)| rank(codec))?;
    let telephone_event = payload_types().find(|&payload_type| is_telephone_event(media, payload_type));
    let remote = SocketAddr::new(media.address?.to_canonical(), media.port);
    // RFC 3264 §8.4: an address of zero is a hold that older phones still use.
    let (send, receive) = match media.direction {
        Direction::SendReceive => (!remote.ip().is_unspecified(), true),
        Direction::SendOnly => (false, true),
        Direction::ReceiveOnly => (!remote.ip().is_unspecified(), false),
        Direction::Inactive => (false, false),
    };
    let rtcp = rtcp_path(media, remote, [Some(payload_type), telephone_event]);
    Some(Negotiated { codec, payload_type, telephone_event, remote, rtcp, send, receive })
}

/// Where the RTCP of a stream goes whose RTP goes to `remote`, under these payload types.
fn rtcp_path(media: &Media, remote: SocketAddr, payload_types: [Option<u8>; 2]) -> RtcpPath {
    // RFC 5761 §4: with the marker set, these look like RTCP.
    let is_ambiguous = payload_types.into_iter().flatten().any(|payload_type| (64..=95).contains(&payload_type));
    match (media.rtcp_bandwidth, media.rtcp) {
        ([Some(0), Some(0)], _) => RtcpPath::Nowhere,
        // Also where `a=rtcp` names another port: that is for those who cannot multiplex (RFC 5761 §5.1.1).
        _ if media.rtcp_mux && !is_ambiguous => RtcpPath::Multiplexed,
        (_, Some(rtcp)) => {
            let address = rtcp.address.map_or(remote.ip(), |address| address.to_canonical());
            RtcpPath::At(SocketAddr::new(address, rtcp.port))
        }
        (_, None) => RtcpPath::beside(remote),
    }
}

fn codec_of(media: &Media, payload_type: u8) -> Option<Codec> {
    let encoding = media.encoding(payload_type)?;
    if encoding.clock_rate != 8000 || encoding.channels != 1 {
        return None;
    }
    [Codec::Pcmu, Codec::Pcma].into_iter().find(|&codec| encoding.name.eq_ignore_ascii_case(codec.encoding_name()))
}

/// Offers with several codecs carry one telephone-event for each clock rate (RFC 4733 §2.1): ours is 8,000.
fn is_telephone_event(media: &Media, payload_type: u8) -> bool {
    media
        .encoding(payload_type)
        .is_some_and(|encoding| encoding.name.eq_ignore_ascii_case("telephone-event") && encoding.clock_rate == 8000)
}

fn head(ip: IpAddr, session: u64, version: u64, timing: &str) -> String {
    let family = if ip.is_ipv6() { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=contesta {session} {version} IN {family} {ip}\r\ns=contesta\r\nc=IN {family} {ip}\r\nt={timing}\r\n"
    )
}

fn write_audio(
    text: &mut String,
    port: u16,
    protocol: &str,
    codecs: &[(u8, Codec)],
    telephone_event: Option<u8>,
    direction: Direction,
) {
    let _ = write!(text, "m=audio {port} {protocol}");
    for payload_type in codecs.iter().map(|&(payload_type, _)| payload_type).chain(telephone_event) {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for &(payload_type, codec) in codecs {
        let _ = write!(text, "a=rtpmap:{payload_type} {}/8000\r\n", codec.encoding_name());
    }
    if let Some(payload_type) = telephone_event {
        let _ = write!(text, "a=rtpmap:{payload_type} telephone-event/8000\r\na=fmtp:{payload_type} 0-15\r\n");
    }
    text.push_str("a=ptime:20\r\n");
    text.push_str(match direction {
        Direction::SendReceive => "a=sendrecv\r\n",
        Direction::SendOnly => "a=sendonly\r\n",
        Direction::ReceiveOnly => "a=recvonly\r\n",
        Direction::Inactive => "a=inactive\r\n",
    });
}

const RTCP_MUX: &str = "a=rtcp-mux\r\n";

fn static_payload_type(codec: Codec) -> u8 {
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

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn local() -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 7], 30_000))
    }

    /// Answers the streams in `media` under a plain session part; gives the answer from its first `m=` on.
    fn answered(media: &str, preference: &[Codec]) -> Result<(String, Negotiated), NoCommonMedia> {
        let parsed = Offer::parse(format!("{HEAD}{media}").as_bytes()).unwrap();
        let (bytes, negotiated) = answer(&parsed, local(), 7, 1, preference)?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let start = text.find("m=").unwrap();
        Ok((text[start..].to_owned(), negotiated))
    }

    fn agreed(codec: Codec, payload_type: u8, telephone_event: Option<u8>) -> Negotiated {
        let remote = SocketAddr::from(([192, 0, 2, 1], 49_170));
        let rtcp = RtcpPath::beside(remote);
        Negotiated { codec, payload_type, telephone_event, remote, rtcp, send: true, receive: true }
    }

    #[test]
    fn the_offers_first_codec_is_taken_with_its_telephone_event() {
        let media = "m=audio 49170 RTP/AVP 18 8 0 96\r\na=rtpmap:18 G729/8000\r\na=rtpmap:96 telephone-event/8000\r\n";
        let (text, negotiated) = answered(media, &[]).unwrap();
        assert_eq!(negotiated, agreed(Codec::Pcma, 8, Some(96)));
        assert_eq!(
            text,
            "m=audio 30000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n\
             a=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        assert_eq!(answered(media, &[Codec::Pcmu]).unwrap().1, agreed(Codec::Pcmu, 0, Some(96)));
    }

    #[test]
    fn the_whole_answer_reads_back_and_names_our_address() {
        let head = HEAD.replace("IP4 192.0.2.1", "IP6 2001:db8::2");
        let parsed = Offer::parse(format!("{head}m=audio 49170 RTP/AVP 0\r\n").as_bytes()).unwrap();
        let (bytes, _) = answer(&parsed, "[2001:db8::1]:4000".parse().unwrap(), 7, 2, &[]).unwrap();
        assert!(bytes.starts_with(
            b"v=0\r\no=contesta 7 2 IN IP6 2001:db8::1\r\ns=contesta\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 4000 "
        ));
        assert_eq!(read_answer(&bytes).unwrap().remote, "[2001:db8::1]:4000".parse().unwrap());
    }

    #[test]
    fn other_streams_are_refused_in_their_place() {
        let media = "m=video 5000 RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\nm=audio 5002 RTP/SAVP 0\r\n\
            m=audio 0 RTP/AVP 0\r\nm=audio 49170 RTP/AVP 0\r\nm=audio 5004 RTP/AVP 8\r\nm=image 5006 udptl t38\r\n";
        let (text, negotiated) = answered(media, &[]).unwrap();
        assert_eq!(negotiated, agreed(Codec::Pcmu, 0, None));
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
        let expected = [
            "m=video 0 RTP/AVP 96 97",
            "m=audio 0 RTP/SAVP 0",
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
            assert_eq!(answered(media, &[]).ok().map(|(_, negotiated)| negotiated), expected, "{media}");
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
        check("m=audio 49170 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n", None);
        check("m=audio 49170 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n", None);
        check("m=audio 49170 RTP/AVP 300 x 0\r\n", Some(agreed(Codec::Pcmu, 0, None)));
        check("m=audio 49170 RTP/AVP 0\r\nc=IN IP4 phone.example\r\n", None);
        check("m=video 49170 RTP/AVP 31\r\n", None);
    }

    /// A caller who receives at IPv6 would hear nothing of what an IPv4 socket sends.
    #[test]
    fn a_stream_of_the_other_address_family_is_not_taken() {
        let taken = |media: &str| answered(media, &[]).map(|(_, negotiated)| negotiated.remote.to_string());
        let ipv6 = "m=audio 49170 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\n";
        assert_eq!(taken(ipv6), Err(NoCommonMedia));
        assert_eq!(taken(&format!("{ipv6}m=audio 4000 RTP/AVP 8\r\n")), Ok("192.0.2.1:4000".to_owned()));
        assert_eq!(taken("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 ::ffff:192.0.2.9\r\n"), Ok("192.0.2.9:4000".to_owned()));

        let parsed = Offer::parse(format!("{HEAD}m=audio 49170 RTP/AVP 0\r\n").as_bytes()).unwrap();
        let from = |local: &str| answer(&parsed, local.parse().unwrap(), 7, 1, &[]).map(|(_, negotiated)| negotiated);
        assert_eq!(from("[2001:db8::1]:4000"), Err(NoCommonMedia));
        assert_eq!(from("[::ffff:198.51.100.7]:4000"), Ok(agreed(Codec::Pcmu, 0, None)));
    }

    #[test]
    fn holds_of_every_kind_are_mirrored() {
        fn check(lines: &str, send: bool, receive: bool, mirrored: &str) {
            let (text, negotiated) = answered(&format!("m=audio 49170 RTP/AVP 0\r\n{lines}\r\n"), &[]).unwrap();
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
            let (text, negotiated) = answered(&format!("m=audio 49170 RTP/AVP 0 96\r\n{lines}"), &[]).unwrap();
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
        assert_eq!(answered(media, &[]).unwrap().1.rtcp, at("192.0.2.1:49171"));
    }

    #[test]
    fn an_offer_of_ours_answered_by_us_is_agreed_on() {
        let ours = offer(local(), 1, 1, &[Codec::Pcma]);
        let parsed = Offer::parse(&ours).unwrap();
        let (answer, negotiated) = answer(&parsed, "127.0.0.1:4000".parse().unwrap(), 2, 1, &[]).unwrap();
        assert_eq!((negotiated.codec, negotiated.telephone_event), (Codec::Pcma, Some(101)));
        assert_eq!(negotiated.remote, local());
        let back = read_answer(&answer).unwrap();
        assert_eq!((back.codec, back.remote.port(), back.rtcp), (Codec::Pcma, 4000, RtcpPath::Multiplexed));
        let plain = String::from_utf8_lossy(&answer).replace("a=rtcp-mux\r\n", "");
        let back = read_answer(plain.as_bytes()).unwrap();
        assert_eq!(back.rtcp, RtcpPath::At("127.0.0.1:4001".parse().unwrap()));
    }

    #[test]
    fn an_answer_that_takes_nothing_is_an_error() {
        let refused = format!("{HEAD}m=audio 0 RTP/AVP 0\r\n");
        assert_eq!(read_answer(refused.as_bytes()), Err(SdpError::NothingAccepted));
        assert_eq!((SdpError::NothingAccepted.status(), NoCommonMedia.status()), (488, 488));
    }
}
