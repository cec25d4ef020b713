//! The codecs a leg can be in, as RTP and session descriptions know them (RFC 3551).

use super::g711::Law;

/// How long one packet of ours lasts, in milliseconds, whatever the codec.
pub const FRAME_MS: u32 = 20;

/// A speech codec that a leg can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law, static payload type 0, 8,000 samples a second, one byte a sample.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
}

impl Codec {
    /// All of them, the cheapest first: what we prefer where neither the far end nor the settings say otherwise.
    pub const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// Its name in `a=rtpmap`.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The codec of that name; case does not matter (RFC 8866 §6.6).
    #[must_use]
    pub fn from_encoding_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| name.eq_ignore_ascii_case(codec.encoding_name()))
    }

    /// Units of its RTP timestamps a second, also those of the telephone events beside it (RFC 4733 §2.1).
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }

    /// Samples a second of what it decodes to and encodes from; not always its clock rate.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }

    /// Units of its RTP clock in a frame of 20 ms.
    #[must_use]
    pub const fn frame_units(self) -> u32 {
        self.clock_rate() * FRAME_MS / 1_000
    }

    /// Which law of G.711 it is; `None` for the others.
    #[must_use]
    pub const fn law(self) -> Option<Law> {
        match self {
            Self::Pcmu => Some(Law::Mu),
            Self::Pcma => Some(Law::A),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_encoding_name(&codec.encoding_name().to_lowercase()), Some(codec));
        }
        assert_eq!(Codec::from_encoding_name("G729"), None);
    }

    #[test]
    fn a_frame_is_a_fiftieth_of_a_second() {
        for codec in Codec::ALL {
            assert_eq!(codec.frame_units() * 50, codec.clock_rate());
        }
    }
}
