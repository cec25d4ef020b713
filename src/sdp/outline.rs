//! A description in a few words, for people: `audio 192.0.2.20:4000 RTP/AVP PCMU telephone-event sendonly`. Whatever stands there is
//! shown, usable or not, and no key is.

use super::description::{Direction, Media, Offer};

/// Streams that are told of.
const STREAMS_MAX: usize = 3;
/// Formats of a stream that are told of, and the longest name of one.
const FORMATS_MAX: usize = 8;
const NAME_MAX: usize = 24;

/// Writes what an offer or an answer describes; why it cannot be read, when it cannot.
pub fn outline(description: &[u8], out: &mut String) {
    match Offer::parse(description) {
        Ok(offer) if offer.media.is_empty() => out.push_str("SDP without a stream"),
        Ok(offer) => {
            for (index, media) in offer.media.iter().take(STREAMS_MAX).enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                stream(media, out);
            }
            out.push_str(if offer.media.len() > STREAMS_MAX { ", ..." } else { "" });
        }
        Err(error) => {
            out.push_str("SDP ");
            out.push_str(&error.to_string());
        }
    }
}

impl Offer {
    /// The codecs of its audio streams, for people: `G729 iLBC`, `none` when there is none. Events and comfort noise are no codecs.
    #[must_use]
    pub fn codec_names(&self) -> String {
        let audio = self.media.iter().filter(|media| media.kind == "audio" && media.port > 0);
        let names = audio.flat_map(|media| media.formats.iter().map(|format| name(media, format)));
        let codecs = names.filter(|name| !["telephone-event", "CN"].iter().any(|no| name.eq_ignore_ascii_case(no)));
        let codecs: Vec<&str> = codecs.take(FORMATS_MAX).collect();
        if codecs.is_empty() { "none".to_owned() } else { codecs.join(" ") }
    }
}

fn stream(media: &Media, out: &mut String) {
    use std::fmt::Write as _;
    let protocol = cut(&media.protocol);
    let kind = cut(&media.kind);
    let _ = match media.address {
        _ if media.port == 0 => return out.push_str(&format!("{kind} off")),
        Some(address) => write!(out, "{kind} {} {protocol}", std::net::SocketAddr::new(address, media.port)),
        None => write!(out, "{kind} at no address, port {} {protocol}", media.port),
    };
    for format in media.formats.iter().take(FORMATS_MAX) {
        out.push(' ');
        out.push_str(name(media, format));
    }
    out.push_str(if media.formats.len() > FORMATS_MAX { " ..." } else { "" });
    out.push_str(match media.direction {
        Direction::SendReceive => "",
        Direction::SendOnly => " sendonly",
        Direction::ReceiveOnly => " recvonly",
        Direction::Inactive => " inactive",
    });
}

/// What a payload type stands for: as `a=rtpmap` says, or else RFC 3551 §6; the number when neither does.
fn name<'a>(media: &'a Media, format: &'a str) -> &'a str {
    let number: Option<u8> = format.parse().ok();
    let mapped = media.encodings.iter().find(|(number_of, _)| Some(*number_of) == number);
    if let Some((_, encoding)) = mapped {
        return cut(&encoding.name);
    }
    match number {
        Some(0) => "PCMU",
        Some(3) => "GSM",
        Some(4) => "G723",
        Some(8) => "PCMA",
        Some(9) => "G722",
        Some(13) => "CN",
        Some(15) => "G728",
        Some(18) => "G729",
        _ => cut(format),
    }
}

fn cut(name: &str) -> &str {
    name.char_indices().nth(NAME_MAX).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> String {
        let mut out = String::new();
        outline(format!("v=0\r\nc=IN IP4 192.0.2.20\r\n{lines}").as_bytes(), &mut out);
        out
    }

    #[test]
    fn streams_are_told_of_in_a_line() {
        let audio = "m=audio 4000 RTP/AVP 18 97 101\r\na=rtpmap:97 iLBC/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n";
        assert_eq!(of(audio), "audio 192.0.2.20:4000 RTP/AVP G729 iLBC telephone-event sendonly");
        assert_eq!(
            of("m=audio 0 RTP/AVP 0\r\nm=image 4002 udptl t38\r\n"),
            "audio off, image 192.0.2.20:4002 udptl t38"
        );
        assert_eq!(of(""), "SDP without a stream");
        assert_eq!(of("m=audio\r\n"), "SDP line 3: malformed m=");
        let many = format!("m=audio 4000 RTP/AVP {}\r\n", "99 ".repeat(40));
        assert!(of(&many).len() < 120 && of(&many.repeat(9)).len() < 300, "{}", of(&many.repeat(9)));
        let key = "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0\r\n";
        assert_eq!(of(key), "audio 192.0.2.20:4000 RTP/SAVP PCMU");
    }

    #[test]
    fn codecs_are_named_without_what_is_none() {
        let names = |lines: &str| Offer::parse(format!("v=0\r\n{lines}").as_bytes()).map(|offer| offer.codec_names());
        let lines =
            "m=audio 4000 RTP/AVP 18 4 13 101\r\na=rtpmap:101 telephone-event/8000\r\nm=video 5000 RTP/AVP 31\r\n";
        assert_eq!(names(lines), Ok("G729 G723".to_owned()));
        assert_eq!(names("m=image 5000 udptl t38\r\n"), Ok("none".to_owned()));
    }
}
