//! Counts what came and what never came (RFC 3550 §6.4.1, appendix A.3), over all streams that a leg has heard.

use crate::rtp::{RtpHeader, SequenceNumber, Ssrc};

/// A jump forward beyond a minute of packets is a restarted stream, not a loss.
const JUMP_MAX: i16 = 3_000;

/// The totals, and the stream under way.
#[derive(Debug, Default)]
pub(super) struct Reception {
    packets: u64,
    lost_before: u64,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    ssrc: Ssrc,
    highest: SequenceNumber,
    /// Bit n is set when the packet n before the highest has come: a duplicate must not hide a loss.
    seen: u64,
    missing: u64,
}

impl Reception {
    /// Counts one accepted packet.
    pub(super) fn handle_packet(&mut self, header: &RtpHeader) {
        self.packets += 1;
        let continues = self.stream.as_mut().is_some_and(|stream| stream.extend(header));
        if !continues {
            self.lost_before = self.lost();
            self.stream = Some(Stream { ssrc: header.ssrc, highest: header.sequence, seen: u64::MAX, missing: 0 });
        }
    }

    /// Packets counted, duplicates included.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Sequence numbers that have not come.
    pub(super) fn lost(&self) -> u64 {
        self.lost_before + self.stream.as_ref().map_or(0, |stream| stream.missing)
    }
}

impl Stream {
    /// False when the packet begins another stream.
    fn extend(&mut self, header: &RtpHeader) -> bool {
        let ahead = header.sequence.since(self.highest);
        if header.ssrc != self.ssrc || !(-JUMP_MAX..=JUMP_MAX).contains(&ahead) {
            return false;
        }
        if let Ok(ahead @ 1..) = u32::try_from(ahead) {
            self.missing += u64::from(ahead - 1);
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = header.sequence;
        } else if let Some(bit) = 1_u64.checked_shl(u32::from(ahead.unsigned_abs()))
            && self.seen & bit == 0
        {
            self.seen |= bit;
            self.missing = self.missing.saturating_sub(1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpTime;

    fn counted(packets: &[(u32, u16)]) -> (u64, u64) {
        let mut reception = Reception::default();
        for &(ssrc, sequence) in packets {
            let (ssrc, sequence) = (Ssrc(ssrc), SequenceNumber(sequence));
            reception.handle_packet(&RtpHeader {
                marker: false,
                payload_type: 0,
                sequence,
                timestamp: RtpTime(0),
                ssrc,
            });
        }
        (reception.packets(), reception.lost())
    }

    #[test]
    fn gaps_are_losses_and_late_packets_fill_them() {
        assert_eq!(counted(&[]), (0, 0));
        assert_eq!(counted(&[(1, 65_534), (1, 65_535), (1, 0), (1, 1)]), (4, 0));
        assert_eq!(counted(&[(1, 65_534), (1, 2)]), (2, 3));
        assert_eq!(counted(&[(1, 65_534), (1, 2), (1, 0), (1, 0), (1, 2)]), (5, 2));
        assert_eq!(counted(&[(1, 5), (1, 4), (1, 6)]), (3, 0), "what came before the first is no gain");
        assert_eq!(counted(&[(1, 0), (1, 100), (1, 50)]), (3, 98), "a packet 50 late is filled in");
        assert_eq!(counted(&[(1, 0), (1, 100), (1, 20)]), (3, 99), "one 80 late is too late to know");
    }

    #[test]
    fn another_stream_begins_anew() {
        assert_eq!(counted(&[(1, 10), (1, 12), (2, 9_000), (2, 9_002)]), (4, 2));
        assert_eq!(counted(&[(1, 10), (1, 20_000), (1, 20_001)]), (3, 0), "a jump is a restart");
    }
}
