//! How a conversation sounds, estimated: the E-model (ITU-T G.107, default values but for what a call measures).
//!
//! ```text
//! R = 93.4 − Id(delay) − Ie,eff(codec, loss, burstiness)          MOS = 1 + 0.035 R + R (R − 60) (100 − R) · 7·10⁻⁶
//! ```
//!
//! The delay is that from mouth to ear: half the round trip, a packet's 20 ms, and the jitter buffer's depth, or what one would need where we play
//! nothing to anybody. 4.4 is a good telephone; below 3.6 many are dissatisfied (ITU-T G.109).

use std::fmt;
use std::time::Duration;

use super::reception::{Jitter, Losses};
use crate::audio::{Codec, FRAME_MS};

/// Ro less Is: signal to noise with every default of G.107 table 2, less what comes with the speech itself.
const BASIC_RATING: f64 = 94.7688 - 1.4136;

/// The talker echo loudness rating and the weighted echo path loss of G.107 table 2, in dB.
const TALKER_ECHO: f64 = 65.0;
const LISTENER_ECHO: f64 = 110.0;

/// A jitter buffer that nobody told us of: 20 ms and twice the jitter, a quarter of a second at most.
const BUFFER_LEAST: Duration = Duration::from_millis(20);
const BUFFER_MOST: Duration = Duration::from_millis(240);

/// The mean opinion score, in hundredths: 100 to 450.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mos(pub u16);

impl fmt::Display for Mos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// How both directions of a leg were, for the call record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// The time to the far end and back, on the mean of its reports and at most.
    pub round_trip: Option<RoundTrip>,
    /// The far end's speech as it comes to us.
    pub heard: Option<StreamQuality>,
    /// Ours as it comes to the far end, by its own reports.
    pub reported: Option<StreamQuality>,
    /// How often it was found that one of both is not heard ([`OneWay`](super::OneWay)).
    pub one_way: u32,
}

/// Round trips measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// All of them, on the mean.
    pub mean: Duration,
    /// The longest.
    pub longest: Duration,
}

/// How one direction was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamQuality {
    /// Packets that did not come, or not in time to be heard, in hundredths of a percent.
    pub loss: u16,
    /// Interarrival jitter (RFC 3550 §6.4.1), on the mean.
    pub jitter: Duration,
    /// At its highest.
    pub jitter_highest: Duration,
    /// The estimate.
    pub mos: Mos,
}

/// What a direction was like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) losses: Losses,
    pub(super) jitter: Jitter,
    /// Half of it is the way here.
    pub(super) round_trip: Duration,
    /// How long speech waits to be played, if that is known.
    pub(super) buffer: Option<Duration>,
}

impl Measured {
    /// The direction for the record; `None` when nothing was expected.
    pub(super) fn rate(&self, codec: Codec) -> Option<StreamQuality> {
        let Losses { expected, lost, bursts } = self.losses;
        if expected == 0 {
            return None;
        }
        let share = (lost as f64 / expected as f64).min(1.0);
        let buffer =
            self.buffer.unwrap_or_else(|| (BUFFER_LEAST + self.jitter.mean.saturating_mul(2)).min(BUFFER_MOST));
        let delay = self.round_trip / 2 + Duration::from_millis(FRAME_MS.into()) + buffer;
        // Losses in a row against those that chance alone would bring (G.107 §7.5): 1 for chance.
        let burst_ratio = if bursts == 0 { 1.0 } else { (lost as f64 / bursts as f64 * (1.0 - share)).max(1.0) };
        Some(StreamQuality {
            loss: (share * 10_000.0).round() as u16, // 10,000 at most
            jitter: self.jitter.mean,
            jitter_highest: self.jitter.highest,
            mos: mos(rating(codec, share * 100.0, burst_ratio, delay)),
        })
    }
}

/// The rating R, about 0 to 93; `loss` in percent.
fn rating(codec: Codec, loss: f64, burst_ratio: f64, delay: Duration) -> f64 {
    BASIC_RATING - delay_impairment(delay) - equipment_impairment(codec, loss, burst_ratio)
}

/// Ie,eff (G.107 §7.5).
fn equipment_impairment(codec: Codec, loss: f64, burst_ratio: f64) -> f64 {
    let (impairment, robustness) = robustness(codec);
    impairment + (95.0 - impairment) * loss / (loss / burst_ratio + robustness)
}

/// Ie and Bpl (G.113 table I.3): G.711 with concealment. Of G.722 and Opus the table of narrow-band values says nothing; they
/// are taken as no worse, and what their band is better by does not count, so that calls in different codecs compare.
fn robustness(codec: Codec) -> (f64, f64) {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus => (0.0, 25.1),
    }
}

/// Id (G.107 §7.4): talker echo, listener echo, and delay so long that the talk itself suffers.
fn delay_impairment(delay: Duration) -> f64 {
    let ms = delay.as_secs_f64() * 1_000.0;
    let masked = TALKER_ECHO - 40.0 * ((1.0 + ms / 10.0) / (1.0 + ms / 150.0)).log10() + 6.0 * (-0.3 * ms * ms).exp();
    let talker = (94.77 - (80.0 + 2.5 * (masked - 14.0))) / 2.0;
    let talker = (talker + (talker * talker + 100.0).sqrt() - 1.0) * (1.0 - (-ms).exp());
    let listener = (94.7688 - 10.5 * (LISTENER_ECHO + 7.0) * (2.0 * ms + 1.0).powf(-0.25)) / 2.0;
    let listener = listener + (listener * listener + 169.0).sqrt();
    talker + listener + long_delay(ms)
}

/// Idd (G.107 §7.4), from 100 ms on.
fn long_delay(ms: f64) -> f64 {
    if ms <= 100.0 {
        return 0.0;
    }
    let x = (ms / 100.0).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// G.107 annex B.
fn mos(rating: f64) -> Mos {
    let score = match rating {
        low if low <= 0.0 => 1.0,
        high if high >= 100.0 => 4.5,
        r => 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6,
    };
    // The polynomial goes a little below 1 near 0.
    Mos((score.clamp(1.0, 4.5) * 100.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(loss: f64, burst_ratio: f64, delay_ms: u64) -> (f64, u16) {
        let rating = rating(Codec::Pcma, loss, burst_ratio, Duration::from_millis(delay_ms));
        ((rating * 10.0).round() / 10.0, mos(rating).0)
    }

    /// G.107: every default together is 93.2, MOS 4.41. The rest was worked out from its formulas apart from this code.
    #[test]
    fn ratings_are_those_of_the_recommendation() {
        assert_eq!(rounded(0.0, 1.0, 0), (93.2, 441));
        let delays = [50, 100, 150, 200, 300, 400, 600].map(|ms| rounded(0.0, 1.0, ms));
        let expected = [(91.8, 438), (90.7, 435), (89.5, 433), (85.8, 422), (72.7, 372), (62.2, 322), (49.5, 255)];
        assert_eq!(delays, expected);
        let losses = [1.0, 2.0, 5.0, 10.0, 20.0].map(|loss| rounded(loss, 1.0, 0));
        assert_eq!(losses, [(89.6, 433), (86.2, 424), (77.4, 392), (66.1, 341), (51.1, 263)]);
        assert_eq!(rounded(10.0, 2.0, 0), (61.6, 318), "losses in a row are heard more");
    }

    #[test]
    fn a_score_is_never_outside_its_scale() {
        let worst = rounded(100.0, 100.0, 60_000);
        assert_eq!(worst.1, 100);
        assert_eq!((mos(f64::NEG_INFINITY), mos(3.0), mos(150.0)), (Mos(100), Mos(100), Mos(450)));
        assert_eq!(Mos(404).to_string(), "4.04");
    }

    #[test]
    fn a_direction_tells_loss_jitter_and_what_it_comes_to() {
        let losses = Losses { expected: 1_000, lost: 30, bursts: 10 };
        let jitter = Jitter { mean: Duration::from_millis(5), highest: Duration::from_millis(40) };
        let measured = Measured { losses, jitter, round_trip: Duration::from_millis(80), buffer: None };
        let direction = measured.rate(Codec::Pcmu).unwrap();
        // Three in a row on the mean; 40 + 20 + 20 + 2 · 5 ms.
        let by_hand = rating(Codec::Pcmu, 3.0, 3.0 * 0.97, Duration::from_millis(90));
        assert_eq!((direction.loss, direction.mos), (300, mos(by_hand)));
        let deep = Measured { buffer: Some(Duration::from_millis(200)), ..measured };
        assert!(deep.rate(Codec::Pcmu).unwrap().mos < direction.mos);
        assert_eq!(Measured { losses: Losses::default(), ..measured }.rate(Codec::Pcmu), None);
    }
}
