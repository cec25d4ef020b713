//! What the payload types of a stream are, and how its far end wants them.

use super::description::Media;
use crate::audio::{Codec, opus};

/// A payload type of a codec that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    pub(super) codec: Codec,
}

/// Telephone events under a payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Events {
    pub(super) payload_type: u8,
    pub(super) clock_rate: u32,
}

/// The payload types of a stream in its writer's order.
pub(super) fn payload_types(media: &Media) -> impl Iterator<Item = u8> {
    media.formats.iter().filter_map(|format| format.parse().ok().filter(|&number: &u8| number < 128))
}

/// The codecs of a stream that we speak, in its writer's order.
pub(super) fn codecs(media: &Media) -> impl Iterator<Item = Format> {
    payload_types(media).filter_map(|payload_type| Some(Format { payload_type, codec: codec(media, payload_type)? }))
}

fn codec(media: &Media, payload_type: u8) -> Option<Codec> {
    let encoding = media.encoding(payload_type)?;
    let codec = Codec::from_encoding_name(&encoding.name)?;
    // Opus has two channels by definition (RFC 7587 §4.1), which some forget to write.
    let channels_fit = encoding.channels == codec.channels() || (codec == Codec::Opus && encoding.channels == 1);
    (encoding.clock_rate == codec.clock_rate() && channels_fit).then_some(codec)
}

/// The telephone events to take beside `codec`: those of its clock (RFC 4733 §2.1). Beside Opus some telephones know them at 8,000 only:
/// better keys of another clock than none.
pub(super) fn events(media: &Media, codec: Codec) -> Option<Events> {
    let of_clock = |clock_rate: u32| {
        let fits = |payload_type: &u8| {
            media.encoding(*payload_type).is_some_and(|encoding| {
                encoding.name.eq_ignore_ascii_case("telephone-event") && encoding.clock_rate == clock_rate
            })
        };
        payload_types(media).find(fits).map(|payload_type| Events { payload_type, clock_rate })
    };
    of_clock(codec.clock_rate()).or_else(|| of_clock(8_000))
}

/// What the far end's Opus decoder wants (RFC 7587 §6.1). Values that mean nothing are passed over, as §6.1 asks for `maxaveragebitrate`.
pub(super) fn opus_wishes(media: &Media, payload_type: u8) -> opus::Wishes {
    let value = |name: &str| {
        let parameters =
            media.parameters.iter().filter(|(of, _)| *of == payload_type).flat_map(|(_, all)| all.split(';'));
        let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
        pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).and_then(|(_, value)| value.trim().parse().ok())
    };
    opus::Wishes {
        bitrate_max: value("maxaveragebitrate").filter(|bits| opus::BITRATES.contains(bits)),
        fec: value("useinbandfec") == Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Offer;

    fn media(lines: &str) -> Media {
        Offer::parse(format!("v=0\n{lines}").as_bytes()).unwrap().media.remove(0)
    }

    /// RFC 3551 §6, RFC 7587 §4.1 and §7.
    #[test]
    fn codecs_are_known_by_name_clock_and_channels() {
        fn check(formats: &str, maps: &str, expected: &[(u8, Codec)]) {
            let media = media(&format!("m=audio 4000 RTP/AVP {formats}\n{maps}"));
            let found: Vec<_> = codecs(&media).map(|format| (format.payload_type, format.codec)).collect();
            assert_eq!(found, expected, "{formats} {maps}");
        }
        check("9 8 0", "", &[(9, Codec::G722), (8, Codec::Pcma), (0, Codec::Pcmu)]);
        check("9", "a=rtpmap:9 G722/8000\n", &[(9, Codec::G722)]);
        check("9", "a=rtpmap:9 G722/16000\n", &[]); // what it should have been, and is not
        check("9", "a=rtpmap:9 L16/8000\n", &[]);
        check("100", "a=rtpmap:100 g722/8000/1\n", &[(100, Codec::G722)]);
        check("96 97", "a=rtpmap:96 opus/48000/2\na=rtpmap:97 OPUS/48000\n", &[(96, Codec::Opus), (97, Codec::Opus)]);
        check("96 97", "a=rtpmap:96 opus/16000/2\na=rtpmap:97 opus/48000/6\n", &[]);
        check("0", "a=rtpmap:0 PCMU/8000/2\n", &[]);
        check("18 111 x 300", "", &[]);
    }

    /// asterisk/asterisk#776: an offer with several clocks.
    #[test]
    fn telephone_events_have_the_clock_of_the_codec_beside_them() {
        let both = media(
            "m=audio 4000 RTP/AVP 96 0 101 102 103\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/48000\n\
             a=rtpmap:102 telephone-event/8000\na=rtpmap:103 Telephone-Event/8000\n",
        );
        let at = |payload_type, clock_rate| Some(Events { payload_type, clock_rate });
        assert_eq!(events(&both, Codec::Opus), at(101, 48_000));
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722] {
            assert_eq!(events(&both, codec), at(102, 8_000));
        }
        let narrow = media("m=audio 4000 RTP/AVP 96 97\na=rtpmap:97 telephone-event/8000\n");
        assert_eq!(events(&narrow, Codec::Opus), at(97, 8_000));
        let wide = media("m=audio 4000 RTP/AVP 0 97 98\na=rtpmap:97 telephone-event/48000\na=rtpmap:98 CN/8000\n");
        assert_eq!(events(&wide, Codec::Pcmu), None);
    }

    /// RFC 7587 §6.1.
    #[test]
    fn what_an_opus_decoder_wants_is_read() {
        let wishes = |parameters: &str| opus_wishes(&media(&format!("m=audio 4000 RTP/AVP 96\n{parameters}")), 96);
        assert_eq!(wishes(""), opus::Wishes { bitrate_max: None, fec: false });
        let full = "a=fmtp:96 maxplaybackrate=16000; sprop-stereo=0;MaxAverageBitrate= 16000;useinbandfec=1;usedtx=1\n";
        assert_eq!(wishes(full), opus::Wishes { bitrate_max: Some(16_000), fec: true });
        for nonsense in ["5999", "510001", "-1", "", "x"] {
            let parameters = format!("a=fmtp:96 useinbandfec=2;maxaveragebitrate={nonsense}\n");
            assert_eq!(wishes(&parameters), wishes(""), "{nonsense}");
        }
        assert_eq!(wishes("a=fmtp:97 useinbandfec=1\na=fmtp:96\n"), wishes(""));
    }
}
