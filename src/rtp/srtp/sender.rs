//! Protects what we send: one stream, no index twice (RFC 3711 §3.3, §3.4).

use super::key::MasterKey;
use super::replay::nearest;
use super::transform::{INDEX_LENGTH, Transform};
use super::{Lifetime, Suite};
use crate::rtp::RtpHeader;

/// The sending half of a leg's SRTP, for one stream.
///
/// The same index under the same key would give away what both packets have in common, so a packet whose sequence number
/// does not follow is not sent at all. The roll-over counter begins at 0, where a receiver begins: the first sequence number
/// should be below 2^15, so that a receiver who misses the first packets does not miss the first roll-over too (RFC 3711 §3.3.1).
pub struct Sender {
    suite: Suite,
    rtp: Transform,
    rtcp: Transform,
    lifetime: Lifetime,
    /// SSRC and index of the last packet.
    last: Option<(u32, u64)>,
    packets: u64,
    /// Index of the next RTCP packet.
    rtcp_index: u32,
}

/// Why a packet was not protected; it must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// It is no packet of its kind, or there is no room for the tag behind it.
    #[error("no packet with room for its tag")]
    Malformed,
    /// Its index was used before, cannot be counted, or it is another stream's.
    #[error("the sequence number does not follow the last one")]
    Repeated,
    /// The key has protected as many packets as it may (RFC 3711 §9.2).
    #[error("the key has come to the end of its life")]
    KeyExpired,
}

impl Sender {
    /// A stream that begins, or begins again under a new key.
    #[must_use]
    pub fn new(key: &MasterKey) -> Self {
        let (rtp, rtcp) = key.transforms();
        Self { suite: key.suite(), rtp, rtcp, lifetime: key.lifetime(), last: None, packets: 0, rtcp_index: 0 }
    }

    /// The same stream under another key: RFC 3711 §3.3.1 lets the roll-over counter go on.
    #[must_use]
    pub fn rekeyed(&self, key: &MasterKey) -> Self {
        Self { last: self.last, ..Self::new(key) }
    }

    /// Its roll-over counter is not 0 any more: whoever hears the stream only now cannot know it.
    #[must_use]
    pub fn has_rolled_over(&self) -> bool {
        self.last.is_some_and(|(_, index)| index >= 1 << 16)
    }

    /// How it protects.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Protects the RTP packet in the first `length` bytes of `buffer`, and gives its new length, [`Suite::rtp_tag_length`] more.
    ///
    /// # Errors
    /// [`Unsent`]; what is in `buffer` then is not to be sent.
    pub fn protect(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Unsent> {
        let clear = buffer.get(..length).ok_or(Unsent::Malformed)?;
        let Some([_, _, s0, s1, _, _, _, _, ssrc @ ..]) = clear.first_chunk::<12>() else {
            return Err(Unsent::Malformed);
        };
        let (sequence, ssrc) = (u16::from_be_bytes([*s0, *s1]), u32::from_be_bytes(*ssrc));
        let payload = RtpHeader::length(clear).map_err(|_| Unsent::Malformed)?;
        let index = match self.last {
            None => u64::from(sequence),
            Some((stream, last)) => {
                let index = nearest(last, sequence).ok_or(Unsent::Repeated)?;
                if stream != ssrc || index <= last {
                    return Err(Unsent::Repeated);
                }
                index
            }
        };
        if self.packets >= self.lifetime.rtp {
            return Err(Unsent::KeyExpired);
        }
        let end = length + self.rtp.tag_length();
        let packet = buffer.get_mut(..end).ok_or(Unsent::Malformed)?;
        self.rtp.seal_rtp(packet, payload, ssrc, index).map_err(|_| Unsent::Malformed)?;
        self.last = Some((ssrc, index));
        self.packets += 1;
        Ok(end)
    }

    /// Protects the (compound) RTCP packet in the first `length` bytes of `buffer`, and gives its new length,
    /// [`Suite::rtcp_tag_length`] and 4 more.
    ///
    /// # Errors
    /// [`Unsent`]; what is in `buffer` then is not to be sent.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Unsent> {
        let clear = buffer.get(..length).ok_or(Unsent::Malformed)?;
        let Some([_, _, _, _, ssrc @ ..]) = clear.first_chunk::<8>() else { return Err(Unsent::Malformed) };
        let ssrc = u32::from_be_bytes(*ssrc);
        if u64::from(self.rtcp_index) >= self.lifetime.rtcp {
            return Err(Unsent::KeyExpired);
        }
        let end = length + self.rtcp.tag_length() + INDEX_LENGTH;
        let packet = buffer.get_mut(..end).ok_or(Unsent::Malformed)?;
        self.rtcp.seal_rtcp(packet, ssrc, self.rtcp_index).map_err(|_| Unsent::Malformed)?;
        self.rtcp_index += 1;
        Ok(end)
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("suite", &self.suite).field("last", &self.last).finish_non_exhaustive()
    }
}
