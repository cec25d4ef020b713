//! What a trunk's calls may be in: which codecs, and whether they are encrypted.

use crate::audio::Codec;
use crate::rtp::srtp::Suite;

/// What we agree to with one neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The codecs that are taken, those we like best first. Empty: every one we speak, and the far end's wish goes before ours, except
    /// that G.711 goes before the others: what everyone sends as it lies there costs nobody anything.
    pub codecs: Vec<Codec>,
    /// Whether calls are encrypted.
    pub srtp: SrtpPolicy,
    /// The suites of an offer of ours, the best first; empty: all but those that only save bytes.
    pub suites: Vec<Suite>,
    /// Whether keys are telephone events.
    pub events: EventPolicy,
}

/// When a call's keys are telephone events (RFC 4733).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventPolicy {
    /// Never: keys go as tones in the audio or by INFO, whatever the far end offers.
    Off,
    /// When both ends know them.
    #[default]
    Offered,
}

/// When a call's audio is SRTP, with keys from the description (RFC 4568).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SrtpPolicy {
    /// Never: a stream that must be is refused.
    Off,
    /// When the far end offers it, also beside plain RTP as telephones do whose owner has said "if possible"; our own offers are made so.
    #[default]
    Offered,
    /// Always: a plain stream is refused.
    Required,
}

impl Terms {
    /// The place of a codec in our wishes, the best 0; `None` when it is not taken.
    pub(super) fn rank(&self, codec: Codec) -> Option<usize> {
        if !self.codecs.is_empty() {
            return self.codecs.iter().position(|&wished| wished == codec);
        }
        Some(match codec {
            Codec::Pcmu | Codec::Pcma => 0,
            Codec::G722 => 1,
            Codec::Opus => 2,
        })
    }

    /// The suites of an offer of ours, if it has any. Whoever knows the short tag knows the long one (RFC 4568 §6.2).
    pub(super) fn suites(&self) -> &[Suite] {
        const USUAL: &[Suite] = &[Suite::AeadAes256Gcm, Suite::AeadAes128Gcm, Suite::AesCm128HmacSha1_80];
        match self.srtp {
            SrtpPolicy::Off => &[],
            SrtpPolicy::Offered | SrtpPolicy::Required if self.suites.is_empty() => USUAL,
            SrtpPolicy::Offered | SrtpPolicy::Required => &self.suites,
        }
    }

    /// The same where offers name this codec first, if it is agreed to at all.
    #[must_use]
    pub fn preferring(&self, codec: Codec) -> Self {
        let mut codecs = self.offered().to_vec();
        if self.codecs.is_empty() || self.codecs.contains(&codec) {
            codecs.retain(|known| *known != codec);
            codecs.insert(0, codec);
        }
        Self { codecs, ..self.clone() }
    }

    /// The codecs of an offer of ours.
    pub(super) fn offered(&self) -> &[Codec] {
        if self.codecs.is_empty() { &[Codec::Pcmu, Codec::Pcma] } else { &self.codecs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_preferred_where_it_is_taken() {
        let open = Terms::default();
        assert_eq!(open.preferring(Codec::G722).codecs, [Codec::G722, Codec::Pcmu, Codec::Pcma]);
        assert_eq!(open.preferring(Codec::Pcma).codecs, [Codec::Pcma, Codec::Pcmu]);
        let narrow = Terms { codecs: vec![Codec::Pcmu, Codec::Pcma], ..Terms::default() };
        assert_eq!(narrow.preferring(Codec::G722).codecs, [Codec::Pcmu, Codec::Pcma]);
    }

    #[test]
    fn without_a_wish_of_ours_g711_goes_first_and_with_one_only_that_is_taken() {
        let ranks = |codecs: &[Codec]| {
            let terms = Terms { codecs: codecs.to_vec(), ..Terms::default() };
            Codec::ALL.map(|codec| terms.rank(codec))
        };
        assert_eq!(ranks(&[]), [Some(0), Some(0), Some(1), Some(2)]);
        assert_eq!(ranks(&[Codec::Opus, Codec::Pcma]), [None, Some(1), None, Some(0)]);
    }
}
