//! The wrapping numbers of RTP: sequence, media time, stream identity (RFC 3550 §5.1).

/// A packet's place in its stream, modulo 2^16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number `packets` after this one.
    #[must_use]
    pub fn plus(self, packets: u16) -> Self {
        Self(self.0.wrapping_add(packets))
    }

    /// How many packets this one is after `earlier`: the shorter way round, so -32,768 to 32,767.
    #[must_use]
    pub fn since(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// A moment of a stream in units of its clock (8,000 a second for G.711 and its telephone events), modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// The moment `units` after this one.
    #[must_use]
    pub fn plus(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }

    /// How many units this moment is after `earlier`: the shorter way round.
    #[must_use]
    pub fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// A stream's identity; chosen at random by whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssrc(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_and_distances_take_the_shorter_way() {
        assert_eq!(SequenceNumber(u16::MAX).next(), SequenceNumber(0));
        assert_eq!(SequenceNumber(2).since(SequenceNumber(65_534)), 4);
        assert_eq!(SequenceNumber(65_534).since(SequenceNumber(2)), -4);
        assert_eq!(RtpTime(u32::MAX).plus(160), RtpTime(159));
        assert_eq!(RtpTime(159).since(RtpTime(u32::MAX)), 160);
        assert_eq!(RtpTime(u32::MAX).since(RtpTime(159)), -160);
    }
}
