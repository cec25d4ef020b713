//! Our descriptions as text.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::crypto::Crypto;
use super::description::Direction;
use super::format::{Events, Format};
use super::terms::Terms;
use crate::audio::{Codec, FRAME_MS};

/// Who we are in a description.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Where we receive.
    pub address: SocketAddr,
    /// The first number of our `o=` line, which stays for the dialog's life.
    pub session: u64,
    /// The second, which grows by one with each changed description (RFC 3264 §8).
    pub version: u64,
    /// What we agree to.
    pub terms: &'a Terms,
    /// Where the far end's SIP comes from, when that is known: it takes the place of an address that `address` cannot send to.
    pub source: Option<IpAddr>,
}

/// The session part: everything in front of the first stream.
pub(super) fn head(local: &Local<'_>, timing: &str) -> String {
    let Local { address, session, version, .. } = local;
    let ip = address.ip();
    let family = if ip.is_ipv6() { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=contesta {session} {version} IN {family} {ip}\r\ns=contesta\r\nc=IN {family} {ip}\r\nt={timing}\r\n"
    )
}

/// An audio stream to be written.
pub(super) struct Audio<'a> {
    pub(super) port: u16,
    pub(super) protocol: &'a str,
    pub(super) codecs: &'a [Format],
    pub(super) events: &'a [Events],
    pub(super) crypto: &'a [Crypto],
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
}

impl Audio<'_> {
    pub(super) fn write(&self, text: &mut String) {
        let _ = write!(text, "m=audio {} {}", self.port, self.protocol);
        let payload_types = self.codecs.iter().map(|format| format.payload_type);
        for payload_type in payload_types.chain(self.events.iter().map(|events| events.payload_type)) {
            let _ = write!(text, " {payload_type}");
        }
        text.push_str("\r\n");
        for Format { payload_type, codec } in self.codecs {
            let _ = write!(text, "a=rtpmap:{payload_type} {}/{}", codec.encoding_name(), codec.clock_rate());
            // RFC 8866 §6.6: one channel goes without saying.
            if codec.channels() > 1 {
                let _ = write!(text, "/{}", codec.channels());
            }
            text.push_str("\r\n");
            if *codec == Codec::Opus {
                let _ = write!(text, "a=fmtp:{payload_type} useinbandfec=1;maxaveragebitrate={OPUS_BITRATE_MAX}\r\n");
            }
        }
        for Events { payload_type, clock_rate } in self.events {
            let _ =
                write!(text, "a=rtpmap:{payload_type} telephone-event/{clock_rate}\r\na=fmtp:{payload_type} 0-15\r\n");
        }
        let _ = write!(text, "a=ptime:{FRAME_MS}\r\n");
        self.crypto.iter().for_each(|line| line.write(text));
        text.push_str(match self.direction {
            Direction::SendReceive => "a=sendrecv\r\n",
            Direction::SendOnly => "a=sendonly\r\n",
            Direction::ReceiveOnly => "a=recvonly\r\n",
            Direction::Inactive => "a=inactive\r\n",
        });
        if self.rtcp_mux {
            text.push_str("a=rtcp-mux\r\n");
        }
    }
}

/// Bits a second of Opus that we want to receive at most: speech at its whole bandwidth (RFC 7587 §3.1.1).
const OPUS_BITRATE_MAX: u32 = 40_000;
