//! A session description as written, read leniently: what we do not need is skipped, what we need must be right.

use std::net::{IpAddr, SocketAddr};

use super::crypto::Crypto;

/// Most `m=` lines an offer may have. Each refused one costs a line of the answer.
const MEDIA_MAX: usize = 32;

/// Most formats of one `m=` line; there are 128 payload types.
const FORMATS_MAX: usize = 128;

/// Most `a=crypto` lines of a stream that are looked at: more than there are suites.
const CRYPTO_MAX: usize = 16;

/// A parsed session description (RFC 8866): every `m=` line in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The value of `t=`, which an answer repeats (RFC 3264 §6).
    pub(super) timing: String,
    pub(super) media: Vec<Media>,
}

/// One `m=` line with what follows it, session-level defaults applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    /// `audio`, `video`, `image`, …
    pub(super) kind: String,
    /// 0 when the stream is not offered.
    pub(super) port: u16,
    /// `RTP/AVP`, …
    pub(super) protocol: String,
    /// Payload types, as written.
    pub(super) formats: Vec<String>,
    /// `None` when the address is a host name, which pure code cannot resolve, or is missing.
    pub(super) address: Option<IpAddr>,
    pub(super) direction: Direction,
    /// `a=rtpmap` by payload type.
    pub(super) encodings: Vec<(u8, Encoding)>,
    /// `a=fmtp` by payload type.
    pub(super) parameters: Vec<(u8, String)>,
    /// `a=maxptime`: the most that a packet to its writer may hold, in milliseconds.
    pub(super) packet_max_ms: Option<u32>,
    /// The `a=crypto` lines that can be used, in order.
    pub(super) crypto: Vec<Crypto>,
    /// There is an `a=crypto` line, usable or not.
    pub(super) has_crypto: bool,
    /// `a=rtcp-mux` (RFC 5761).
    pub(super) rtcp_mux: bool,
    /// `a=rtcp`: where RTCP goes (RFC 3605).
    pub(super) rtcp: Option<RtcpAddress>,
    /// `b=RS` and `b=RR`, the bandwidth of RTCP for those who send RTP and those who do not (RFC 3556).
    pub(super) rtcp_bandwidth: [Option<u64>; 2],
}

/// What `a=rtcp` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RtcpAddress {
    pub(super) port: u16,
    /// `None` when it is the one of RTP.
    pub(super) address: Option<IpAddr>,
}

/// What `a=rtpmap` says of a payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) channels: u8,
}

/// Which way media flows, seen from whoever wrote it (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// `a=sendrecv`, and when nothing is said.
    #[default]
    SendReceive,
    /// `a=sendonly`: the usual hold.
    SendOnly,
    /// `a=recvonly`.
    ReceiveOnly,
    /// `a=inactive`.
    Inactive,
}

/// Why bytes are no session description we can use; the far end's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// The first line is not `v=0`.
    #[error("line 1: a session description begins with v=0")]
    Version,
    /// An `m=` line without kind, port, protocol and a format, or with a port above 65,535.
    #[error("line {line}: malformed m=")]
    Media {
        /// 1 for the first line.
        line: usize,
    },
    /// A `c=` line that is not `IN IP4 …` or `IN IP6 …`.
    #[error("line {line}: malformed c=")]
    Connection {
        /// 1 for the first line.
        line: usize,
    },
    /// More streams or formats than anybody needs.
    #[error("line {line}: too many streams or formats")]
    TooMany {
        /// 1 for the first line.
        line: usize,
    },
    /// An answer that takes none of the streams and codecs that we offered.
    #[error("the answer takes no audio stream of ours")]
    NothingAccepted,
    /// An answer that takes none of the keys that we offered, where the stream must be protected, or others.
    #[error("the answer's a=crypto is none of ours")]
    KeysNotAccepted,
}

impl SdpError {
    /// The SIP status to answer with: 488 when it was understood but cannot be used, else 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NothingAccepted | Self::KeysNotAccepted => 488,
            Self::Version | Self::Media { .. } | Self::Connection { .. } | Self::TooMany { .. } => 400,
        }
    }
}

impl Offer {
    /// Parses a description. Lines may end in CRLF or LF, unknown lines and attributes are skipped, bytes that are not
    /// UTF-8 are replaced.
    ///
    /// # Errors
    /// [`SdpError`] with the line. A description without any `m=` line is valid: the answer will be [`Unacceptable`].
    ///
    /// [`Unacceptable`]: super::Unacceptable
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines().map(str::trim_end).enumerate().map(|(index, line)| (index + 1, line));
        if lines.next().is_none_or(|(_, line)| line != "v=0") {
            return Err(SdpError::Version);
        }
        let mut timing = String::from("0 0");
        let mut session = Media::default();
        let mut media: Vec<Media> = Vec::new();
        for (line, text) in lines {
            let Some((kind, value)) = text.split_once('=') else { continue };
            match kind.trim_start() {
                "m" if media.len() == MEDIA_MAX => return Err(SdpError::TooMany { line }),
                "m" => media.push(Media::parse(value, line, &session)?),
                "c" => media.last_mut().unwrap_or(&mut session).address = parse_connection(value, line)?,
                "t" if media.is_empty() => timing = value.chars().take(TIMING_LENGTH_MAX).collect(),
                "b" => media.last_mut().unwrap_or(&mut session).read_bandwidth(value),
                "a" => media.last_mut().unwrap_or(&mut session).read_attribute(value),
                _ => {}
            }
        }
        Ok(Self { timing, media })
    }

    /// Where the far end receives, if there is only one audio stream that it could be: with several, the answer chooses.
    #[must_use]
    pub fn only_audio(&self) -> Option<SocketAddr> {
        let mut audio = self.media.iter().filter(|media| media.kind.eq_ignore_ascii_case("audio") && media.port != 0);
        let (only, more) = (audio.next()?, audio.next());
        only.address.filter(|_| more.is_none()).map(|address| SocketAddr::new(address.to_canonical(), only.port))
    }
}

impl Media {
    /// Reads `audio 49170 RTP/AVP 0 8 101`; the session's address and direction hold until the stream's own come.
    fn parse(value: &str, line: usize, session: &Self) -> Result<Self, SdpError> {
        let mut words = value.split_ascii_whitespace();
        let malformed = SdpError::Media { line };
        let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed);
        };
        // `49170/2` asks for two consecutive ports (layered codecs): the first is the one that matters.
        let port = port.split('/').next().and_then(|port| port.parse().ok()).ok_or(malformed)?;
        let formats: Vec<String> = words.take(FORMATS_MAX + 1).map(str::to_owned).collect();
        match formats.len() {
            0 => return Err(malformed),
            1..=FORMATS_MAX => {}
            _ => return Err(SdpError::TooMany { line }),
        }
        Ok(Self {
            kind: kind.to_owned(),
            port,
            protocol: protocol.to_owned(),
            formats,
            address: session.address,
            direction: session.direction,
            encodings: Vec::new(),
            parameters: Vec::new(),
            // RFC 4568 §4, RFC 3605 §2.1, RFC 5761 §5.1.1: a stream says these for itself.
            packet_max_ms: None,
            crypto: Vec::new(),
            has_crypto: false,
            rtcp_mux: false,
            rtcp: None,
            rtcp_bandwidth: session.rtcp_bandwidth,
        })
    }

    /// Only RTCP's is of interest: `RS:0`.
    fn read_bandwidth(&mut self, bandwidth: &str) {
        let [senders, receivers] = &mut self.rtcp_bandwidth;
        match bandwidth.split_once(':').map(|(kind, bits)| (kind.trim(), bits.trim().parse().ok())) {
            Some(("RS", bits)) => *senders = bits,
            Some(("RR", bits)) => *receivers = bits,
            Some(_) | None => {}
        }
    }

    /// A malformed attribute is skipped like an unknown one: at worst the stream has no codec in common.
    fn read_attribute(&mut self, attribute: &str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name.trim() {
            "sendrecv" => self.direction = Direction::SendReceive,
            "sendonly" => self.direction = Direction::SendOnly,
            "recvonly" => self.direction = Direction::ReceiveOnly,
            "inactive" => self.direction = Direction::Inactive,
            "rtpmap" if self.encodings.len() < FORMATS_MAX => self.encodings.extend(parse_rtpmap(value)),
            "fmtp" if self.parameters.len() < FORMATS_MAX => self.parameters.extend(parse_fmtp(value)),
            "maxptime" => self.packet_max_ms = value.trim().parse().ok(),
            "crypto" if self.crypto.len() < CRYPTO_MAX => {
                self.has_crypto = true;
                self.crypto.extend(Crypto::parse(value));
            }
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp" => self.rtcp = parse_rtcp(value),
            _ => {}
        }
    }

    /// What `payload_type` means here: its `a=rtpmap`, else the static assignment of RFC 3551 §6.
    pub(super) fn encoding(&self, payload_type: u8) -> Option<Encoding> {
        let declared = self.encodings.iter().find(|(declared, _)| *declared == payload_type);
        if let Some((_, encoding)) = declared {
            return Some(encoding.clone());
        }
        let name = match payload_type {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            _ => return None,
        };
        Some(Encoding { name: name.to_owned(), clock_rate: 8000, channels: 1 })
    }
}

impl Default for Media {
    /// The session level, before any `m=` line.
    fn default() -> Self {
        Self {
            kind: String::new(),
            port: 0,
            protocol: String::new(),
            formats: Vec::new(),
            address: None,
            direction: Direction::default(),
            encodings: Vec::new(),
            parameters: Vec::new(),
            packet_max_ms: None,
            crypto: Vec::new(),
            has_crypto: false,
            rtcp_mux: false,
            rtcp: None,
            rtcp_bandwidth: [None; 2],
        }
    }
}

/// Reads `IN IP4 192.0.2.1` or `IN IP6 2001:db8::1`, maybe with `/ttl`. `None` for a host name.
fn parse_connection(value: &str, line: usize) -> Result<Option<IpAddr>, SdpError> {
    let mut words = value.split_ascii_whitespace();
    let (Some(network), Some(family), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpError::Connection { line });
    };
    if !network.eq_ignore_ascii_case("IN") || !["IP4", "IP6"].iter().any(|known| family.eq_ignore_ascii_case(known)) {
        return Err(SdpError::Connection { line });
    }
    let address = address.split('/').next().unwrap_or(address);
    // The family word is not held against the address: some phones write IP4 before an IPv6 address.
    Ok(address.trim_matches(['[', ']']).parse().ok())
}

/// Reads `53020` or `53020 IN IP4 192.0.2.1` (RFC 3605 §2.1). An address that is not one is passed over, as if the line were not there:
/// the port alone would lead to a machine that was not meant.
fn parse_rtcp(value: &str) -> Option<RtcpAddress> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok().filter(|&port: &u16| port != 0)?;
    let address = match (words.next(), words.next(), words.next()) {
        (None, ..) => None,
        (Some(network), Some(_), Some(address)) if network.eq_ignore_ascii_case("IN") => {
            Some(address.trim_matches(['[', ']']).parse().ok()?)
        }
        _ => return None,
    };
    Some(RtcpAddress { port, address })
}

/// Reads `101 telephone-event/8000` or `96 opus/48000/2`.
fn parse_rtpmap(value: &str) -> Option<(u8, Encoding)> {
    let (payload_type, encoding) = value.trim().split_once(|character: char| character.is_ascii_whitespace())?;
    let payload_type = payload_type.parse().ok().filter(|&number: &u8| number < 128)?;
    let mut parts = encoding.trim().split('/');
    let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
    let clock_rate = parts.next()?.trim().parse().ok()?;
    let channels = parts.next().map_or(Some(1), |channels| channels.trim().parse().ok())?;
    Some((payload_type, Encoding { name, clock_rate, channels }))
}

/// Reads `111 useinbandfec=1;maxaveragebitrate=24000`.
fn parse_fmtp(value: &str) -> Option<(u8, String)> {
    let (payload_type, parameters) = value.trim().split_once(|character: char| character.is_ascii_whitespace())?;
    let payload_type = payload_type.parse().ok().filter(|&number: &u8| number < 128)?;
    Some((payload_type, parameters.to_owned()))
}

/// `t=` values longer than two NTP times are cut: the answer repeats them.
const TIMING_LENGTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=sendonly\r\n\
        m=audio 49170 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n\
        m=video 51372/2 RTP/AVP 31\r\nc=IN IP6 2001:db8::7\r\n";

    #[test]
    fn the_session_level_holds_until_the_stream_says_otherwise() {
        let offer = Offer::parse(OFFER.as_bytes()).unwrap();
        let [audio, video] = &offer.media[..] else { panic!("two streams: {offer:?}") };
        assert_eq!((audio.address, audio.direction), (Some([192, 0, 2, 1].into()), Direction::SendReceive));
        assert_eq!((audio.port, audio.formats.join(" ")), (49170, "8 0 101".to_owned()));
        assert_eq!((video.address, video.direction), (Some("2001:db8::7".parse().unwrap()), Direction::SendOnly));
        assert_eq!(video.port, 51372);
    }

    #[test]
    fn bare_line_feeds_and_junk_change_nothing() {
        let clean = Offer::parse(OFFER.as_bytes()).unwrap();
        let junk = OFFER.replace("\r\n", "\n").replace("t=0 0\n", "t=0 0\nrubbish\n\na=\na=rtpmap:\n=\nz=1\n");
        assert_eq!(Offer::parse(junk.as_bytes()), Ok(clean));
    }

    #[test]
    fn faults_name_their_line() {
        fn check(text: &str, expected: SdpError) {
            assert_eq!(Offer::parse(text.as_bytes()), Err(expected), "{text:?}");
            assert_eq!(expected.status(), 400);
        }
        check("", SdpError::Version);
        check("v=1\r\n", SdpError::Version);
        check("hello", SdpError::Version);
        check("v=0\nm=audio 1 RTP/AVP\n", SdpError::Media { line: 2 });
        check("v=0\nm=audio 70000 RTP/AVP 0\n", SdpError::Media { line: 2 });
        check("v=0\ns=-\nm=audio\n", SdpError::Media { line: 3 });
        check("v=0\nc=192.0.2.1\n", SdpError::Connection { line: 2 });
        check("v=0\nc=IN IP5 192.0.2.1\n", SdpError::Connection { line: 2 });
        check(&format!("v=0\n{}", "m=audio 1 RTP/AVP 0\n".repeat(33)), SdpError::TooMany { line: 34 });
        check(&format!("v=0\nm=audio 1 RTP/AVP{}\n", " 0".repeat(129)), SdpError::TooMany { line: 2 });
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        let text = format!("v=0\n{}", format!("m=audio 1 RTP/AVP{}\n", " 0".repeat(128)).repeat(32));
        assert_eq!(Offer::parse(text.as_bytes()).unwrap().media.len(), 32);
    }

    /// RFC 3605 §2.1, RFC 5761 §5.1.1, RFC 3556 §2.
    #[test]
    fn what_is_said_of_rtcp_is_read_and_nonsense_is_passed_over() {
        let of = |lines: &str| {
            let text = format!("v=0\nb=RS:0\na=rtcp-mux\na=rtcp:7\nm=audio 4000 RTP/AVP 0\n{lines}\n");
            let media = Offer::parse(text.as_bytes()).unwrap().media.remove(0);
            (media.rtcp_mux, media.rtcp, media.rtcp_bandwidth)
        };
        let at =
            |port, address: Option<&str>| Some(RtcpAddress { port, address: address.map(|at| at.parse().unwrap()) });
        assert_eq!(of(""), (false, None, [Some(0), None]), "a stream speaks for itself, but for bandwidth");
        assert_eq!(of("a=rtcp-mux"), (true, None, [Some(0), None]));
        assert_eq!(of("a=rtcp:53020").1, at(53_020, None));
        assert_eq!(of("a=rtcp:53020 IN IP4 192.0.2.9 ").1, at(53_020, Some("192.0.2.9")));
        assert_eq!(of("a=rtcp: 53020 in IP6 2001:db8::9").1, at(53_020, Some("2001:db8::9")));
        for nonsense in ["", "0", "70000", "-1", "53020 IN", "53020 IN IP4", "53020 IN IP4 phone.example", "x"] {
            assert_eq!(of(&format!("a=rtcp:{nonsense}")).1, None, "{nonsense}");
        }
        assert_eq!(of("b=RR:800").2, [Some(0), Some(800)]);
        assert_eq!(of("b=RS:\nb=AS:64\nb=RR").2, [None, None]);
    }

    #[test]
    fn a_host_name_is_no_address() {
        let offer = Offer::parse(b"v=0\nc=IN IP4 media.example\nm=audio 4000 RTP/AVP 0\n").unwrap();
        assert_eq!(offer.media[0].address, None);
    }
}
