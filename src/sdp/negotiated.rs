//! What two ends have agreed on about a stream.

use std::net::SocketAddr;

use super::crypto::Crypto;
use super::description::{Direction, Media};
use super::format::{self, Events, Format};
use crate::audio::{Codec, FRAME_MS, opus};
use crate::rtp::RtcpPath;
use crate::rtp::srtp::KeyPair;

/// The outcome of an offer and its answer, seen from our end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The codec in both directions.
    pub codec: Codec,
    /// Its payload type in both directions.
    pub payload_type: u8,
    /// What the far end wants of an Opus encoder.
    pub opus: opus::Wishes,
    /// The payload type of telephone events, if both ends know them.
    pub telephone_event: Option<u8>,
    /// Their RTP clock, units a second: that of the codec, or 8,000 beside Opus where the far end knows no other.
    pub event_clock_rate: u32,
    /// The most that a packet to the far end should hold, in milliseconds (`a=maxptime`), where it is less than the 20 of ours.
    pub packet_max_ms: Option<u32>,
    /// Where we receive.
    pub local: SocketAddr,
    /// Where the far end says it receives. Unspecified (`0.0.0.0`) for a hold of the old kind; then `send` is false.
    pub remote: SocketAddr,
    /// Where its RTCP goes.
    pub rtcp: RtcpPath,
    /// The stream's profile.
    pub profile: Profile,
    /// The keys of both ends, when the stream is SRTP.
    pub srtp: Option<KeyPair>,
    /// The far end wants our audio.
    pub send: bool,
    /// The far end means to send audio.
    pub receive: bool,
}

/// The profile of an audio stream, the third word of its `m=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `RTP/AVP` (RFC 3551).
    Avp,
    /// `RTP/AVPF` (RFC 4585).
    Avpf,
    /// `RTP/SAVP` (RFC 3711).
    Savp,
    /// `RTP/SAVPF` (RFC 5124).
    Savpf,
}

/// A stream of an offer or an answer that can be taken.
pub(super) struct Taken<'a> {
    pub(super) profile: Profile,
    pub(super) remote: SocketAddr,
    pub(super) format: Format,
    pub(super) events: Option<Events>,
    /// The line of the offer that is accepted.
    pub(super) crypto: Option<&'a Crypto>,
}

impl Taken<'_> {
    pub(super) fn agree(&self, media: &Media, local: SocketAddr, srtp: Option<KeyPair>) -> Negotiated {
        let Format { payload_type, codec } = self.format;
        let (telephone_event, clock_rate) = self.events.map(|events| (events.payload_type, events.clock_rate)).unzip();
        // RFC 3264 §8.4: an address of zero is a hold that older phones still use.
        let listens = !self.remote.ip().is_unspecified();
        let (send, receive) = match media.direction {
            Direction::SendReceive => (listens, true),
            Direction::SendOnly => (false, true),
            Direction::ReceiveOnly => (listens, false),
            Direction::Inactive => (false, false),
        };
        Negotiated {
            codec,
            payload_type,
            opus: format::opus_wishes(media, payload_type),
            telephone_event,
            event_clock_rate: clock_rate.unwrap_or(codec.clock_rate()),
            packet_max_ms: media.packet_max_ms.filter(|&ms| ms < FRAME_MS),
            local,
            remote: self.remote,
            rtcp: rtcp_path(media, self.remote, [Some(payload_type), telephone_event]),
            profile: self.profile,
            srtp,
            send,
            receive,
        }
    }
}

impl Profile {
    const ALL: [Self; 4] = [Self::Avp, Self::Avpf, Self::Savp, Self::Savpf];

    /// The profile of a stream that is offered; `None` for one that is no audio over RTP.
    pub(super) fn of(media: &Media) -> Option<Self> {
        let is_offered = media.kind.eq_ignore_ascii_case("audio") && media.port != 0;
        Self::ALL.into_iter().find(|profile| is_offered && media.protocol.eq_ignore_ascii_case(profile.name()))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf => "RTP/SAVPF",
        }
    }

    /// Its streams are SRTP without exception.
    pub(super) fn is_secure(self) -> bool {
        matches!(self, Self::Savp | Self::Savpf)
    }
}

/// Where a stream's writer receives, as far as it is known without asking DNS.
pub(super) fn remote(media: &Media) -> Option<SocketAddr> {
    Some(SocketAddr::new(media.address?.to_canonical(), media.port))
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
