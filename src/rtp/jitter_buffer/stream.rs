//! The stream that is being heard: its numbers unwrapped, and which of its packets have come.

use super::lateness::Base;
use crate::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

/// One SSRC while its timestamps run on.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) ssrc: Ssrc,
    /// The newest packet's timestamp and number, as they came and unwrapped.
    pub(super) timestamp: RtpTime,
    pub(super) time: i64,
    pub(super) sequence: SequenceNumber,
    pub(super) number: i64,
    /// Bit n: the packet n before the newest has come.
    pub(super) seen: u64,
    /// Bit n: it was no audio.
    pub(super) other: u64,
    /// The number of the packet played last.
    pub(super) played: i64,
    /// The sender said that it falls silent.
    pub(super) silent: bool,
    /// Packets in a row that were behind the cursor.
    pub(super) late: u8,
    pub(super) base: Base,
    pub(super) arrived: i64,
}

impl Stream {
    /// Notes that a packet has come; false when it had come before, or is too old to know.
    pub(super) fn note(&mut self, header: &RtpHeader, number: i64, time: i64, other: bool) -> bool {
        let ahead = number - self.number;
        if let Ok(ahead @ 1..) = u32::try_from(ahead) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0);
            self.other = self.other.checked_shl(ahead).unwrap_or(0);
            (self.sequence, self.number) = (header.sequence, number);
            if !other {
                (self.timestamp, self.time) = (header.timestamp, time);
            }
        }
        let Some(bit) = u32::try_from(self.number - number).ok().and_then(|age| 1_u64.checked_shl(age)) else {
            return false;
        };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        if other {
            self.other |= bit;
        }
        new
    }

    /// How many of the packets between these two were no audio, of the newest 64.
    pub(super) fn others_between(&self, before: i64, number: i64) -> i64 {
        let newer = u32::try_from(self.number - before)
            .ok()
            .and_then(|age| 1_u64.checked_shl(age))
            .map_or(u64::MAX, |bit| bit - 1);
        let up_to_it =
            u32::try_from(self.number - number + 1).ok().and_then(|age| u64::MAX.checked_shl(age)).unwrap_or(0);
        i64::from((self.other & newer & up_to_it).count_ones())
    }
}
