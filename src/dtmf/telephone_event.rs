//! The four bytes of a telephone event (RFC 4733 §2.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |     event     |E|R| volume    |          duration             |
//! ```

/// Bytes of one block.
pub const BLOCK_LENGTH: usize = 4;

/// One telephone-event block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 15 are the DTMF digits; others (flash, modem tones) exist.
    pub event: u8,
    /// The E bit: the key is released.
    pub end: bool,
    /// Power in dBm0 below zero, 0 to 63.
    pub volume: u8,
    /// Since the RTP timestamp, in its units (8,000 a second for G.711). An event longer than 0xFFFF units arrives as
    /// several segments (§2.5.1.3), which [`TelephoneEvents`](super::TelephoneEvents) joins.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads one block. The reserved bit is ignored.
    #[must_use]
    pub fn from_bytes([event, flags, high, low]: [u8; BLOCK_LENGTH]) -> Self {
        Self { event, end: flags & 0x80 != 0, volume: flags & 0x3f, duration: u16::from_be_bytes([high, low]) }
    }

    /// The block's bytes, the reserved bit zero.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BLOCK_LENGTH] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, (self.volume & 0x3f) | if self.end { 0x80 } else { 0 }, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_and_written() {
        let block = TelephoneEvent { event: 11, end: true, volume: 10, duration: 0x0320 };
        assert_eq!(block.to_bytes(), [11, 0x8a, 0x03, 0x20]);
        assert_eq!(TelephoneEvent::from_bytes([11, 0xca, 0x03, 0x20]), block, "the reserved bit says nothing");
    }
}
