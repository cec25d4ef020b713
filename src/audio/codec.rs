//! The codecs a leg can be in, as RTP and session descriptions know them (RFC 3551).

use super::g711::Law;
use super::opus;

/// How long one packet of ours lasts, in milliseconds, whatever the codec.
pub const FRAME_MS: u32 = 20;

/// A speech codec that a leg can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law, static payload type 0, 8,000 samples a second, one byte a sample.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.722, static payload type 9: 16,000 samples a second in 8,000 bytes, and by an old mistake a clock of 8,000
    /// (RFC 3551 §4.5.2).
    G722,
    /// Opus (RFC 7587): whatever it was made of, a clock of 48,000.
    Opus,
}

impl Codec {
    /// All of them, the cheapest first: what we prefer where neither the far end nor the settings say otherwise.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// Its name in `a=rtpmap`.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
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
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// Samples a second of what it decodes to and encodes from; not always its clock rate.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
            Self::G722 => 16_000,
            Self::Opus => 48_000,
        }
    }

    /// Channels in `a=rtpmap`: Opus is always said to have two, whatever it carries (RFC 7587 §4.1).
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
            Self::Opus => 2,
        }
    }

    /// Units of its RTP clock in a frame of 20 ms.
    #[must_use]
    pub const fn frame_units(self) -> u32 {
        self.clock_rate() * FRAME_MS / 1_000
    }

    /// How long a payload of it plays, in units of its RTP clock; `None` when it is none of this codec.
    #[must_use]
    pub fn payload_units(self, payload: &[u8]) -> Option<u32> {
        match self {
            // A byte a unit, also of G.722, whose byte is two samples.
            Self::Pcmu | Self::Pcma | Self::G722 => u32::try_from(payload.len()).ok().filter(|units| *units > 0),
            Self::Opus => opus::samples(payload).and_then(|samples| u32::try_from(samples).ok()),
        }
    }

    /// Which law of G.711 it is; `None` for the others.
    #[must_use]
    pub const fn law(self) -> Option<Law> {
        match self {
            Self::Pcmu => Some(Law::Mu),
            Self::Pcma => Some(Law::A),
            Self::G722 | Self::Opus => None,
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
