//! What a leg is told, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::audio::{Clip, Codec, opus};
use crate::dtmf::{Digit, Road};
use crate::ids::PlayId;
use crate::rtp::RtcpPath;
use crate::rtp::rtcp::{Cname, NtpTime};
use crate::rtp::srtp::{KeyPair, Suite};

use super::{OneWay, Quality};

/// A piece of what a leg plays, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A prompt, from its first sample to its last.
    Clip(Arc<Clip>),
    /// Silence of this length, rounded up to a sample.
    Silence(Duration),
}

/// What a leg needs to know before its first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSettings {
    /// The negotiated codec.
    pub codec: Codec,
    /// Its payload type in both directions.
    pub payload_type: u8,
    /// What the far end wants of an Opus encoder.
    pub opus: opus::Wishes,
    /// The payload type of telephone-event, if it was negotiated.
    pub telephone_event: Option<u8>,
    /// Its RTP clock, units a second.
    pub event_clock_rate: u32,
    /// Where the SDP says media goes; symmetric RTP may correct it.
    pub remote: SocketAddr,
    /// Where RTCP goes.
    pub rtcp: RtcpPath,
    /// The keys of both ends, when the stream is SRTP.
    pub srtp: Option<Box<KeyPair>>,
    /// Where the far end's signalling comes from: media from there is likelier its own than a stranger's.
    pub peer: Option<IpAddr>,
    /// The far end may not want our audio (`a=recvonly` seen from us: `sendonly`/`inactive` at theirs).
    pub send: bool,
    /// Our stream's identity for the leg's whole life (RFC 3550 §5.1): random.
    pub ssrc: u32,
    /// First sequence number: random.
    pub first_sequence: u16,
    /// First timestamp: random.
    pub first_timestamp: u32,
    /// No RTP for this long is reported as [`Event::Silent`]; `None` never reports it.
    pub silent_after: Option<Duration>,
    /// The call is answered and both ends mean to send: when one of them is not heard, it is a fault ([`Event::OneWay`]).
    pub both_ways: bool,
    /// Our name in RTCP, random for each call (RFC 7022).
    pub cname: Cname,
    /// Decides when reports are sent.
    pub random: u64,
    /// The wall clock when the leg begins, for sender reports.
    pub wall: NtpTime,
}

impl LegSettings {
    /// G.711 µ-law with telephone events under 101, both ways, RTCP beside it, and nothing random or watched: what remains to be said is
    /// said over it.
    #[must_use]
    pub fn plain(remote: SocketAddr) -> Self {
        Self {
            codec: Codec::Pcmu,
            payload_type: 0,
            opus: opus::Wishes::NONE,
            telephone_event: Some(101),
            event_clock_rate: 8_000,
            remote,
            rtcp: RtcpPath::beside(remote),
            srtp: None,
            send: true,
            ssrc: 1,
            first_sequence: 0,
            first_timestamp: 0,
            silent_after: None,
            both_ways: false,
            peer: None,
            cname: Cname::from_random([0; 12]),
            random: 1,
            wall: NtpTime(1 << 32),
        }
    }
}

/// What a leg reports. A leg reports at most one of each kind a packet or tick, keys apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was pressed, and came by this road: reported once a press, at the first packet of a telephone event, some 35 ms into the
    /// tones of a key.
    Digit(Digit, Road),
    /// The last sample of this play has left (or there was nothing to play).
    Played(PlayId),
    /// No RTP has come for `silent_after`. Reported once until RTP comes again.
    Silent,
    /// Media now goes to this address, which the far end's packets come from (symmetric RTP), and no longer to the SDP's.
    Learned(SocketAddr),
    /// One of both ends is not heard by the other, or is again.
    OneWay(OneWay),
    /// The company in the leg's bridge has changed.
    Bridged {
        /// How many legs there are, with this one.
        parties: usize,
        /// What it hears is made from the first codec, the second is its own.
        transcoded: Option<(Codec, Codec)>,
    },
    /// The leg is closed; its last event.
    Closed(LegReport),
}

/// Totals of a leg, for the call record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegReport {
    /// RTP packets received and accepted.
    pub packets_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Sequence numbers that never came.
    pub packets_lost: u64,
    /// Packets that were not RTP, came from a stranger, or had a payload type that was not negotiated.
    pub packets_ignored: u64,
    /// Those of them whose SRTP could not be authenticated: forged, damaged, or protected with another key.
    pub packets_forged: u64,
    /// Presses reported.
    pub digits: u32,
    /// The codec in the end; `None` when there was no leg.
    pub codec: Option<Codec>,
    /// How its stream was protected in the end; `None` for plain RTP.
    pub srtp: Option<Suite>,
    /// How both directions were.
    pub quality: Quality,
}

/// What happens to a recording under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingChange {
    /// Silence in the file while something sensitive is said (`true`); sound again.
    Mute(bool),
    /// Nothing in the file (`true`), which stands still; it goes on.
    Pause(bool),
}

/// What became of a recording, for the call record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingReport {
    /// Its file below the recordings' folder.
    pub file: String,
    /// How long the file plays.
    pub duration: Duration,
    /// How much of it is silence because the disk did not keep up.
    pub lost: Duration,
    /// Why it was not begun, or broke off.
    pub fault: Option<String>,
}

impl RecordingReport {
    /// Nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost.is_zero() && self.fault.is_none()
    }
}
