//! G.722 at 64 kbit/s (ITU-T G.722, mode 1; RFC 3551 §4.5.2): 16,000 samples a second in 8,000 bytes.
//!
//! ```text
//!            ┌─ low band ── 6 bits ADPCM ─┐
//! x ── QMF ──┤                            ├── one byte for two samples: high << 6 | low
//!            └─ high band ─ 2 bits ADPCM ─┘
//! ```
//!
//! Both ends adapt from the bytes alone, so a decoder follows its own encoder and no other: bytes encoded apart and joined make clicks of
//! full scale where they meet, also behind silence. A stream is therefore encoded by one [`Encoder`] from its beginning to its end.
//!
//! Each band predicts its next sample from what the far end's decoder has heard too, and sends how far off it was, in steps that
//! grow and shrink with the signal. The blocks carry the recommendation's names (§3, §5 and its block diagrams 4 and 5). Modes 2 and 3,
//! which give up one or two bits of the low band to data, do not exist over RTP and not here.

/// Encodes one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The last 24 samples, oldest first: what the transmit QMF looks at.
    history: [i32; 24],
    low: Band,
    high: Band,
}

/// Decodes one stream. Any bytes give some sound: there is no malformed payload.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The last twelve pairs of sum and difference of the bands, oldest first: what the receive QMF looks at.
    history: [i32; 24],
    low: Band,
    high: Band,
}

/// The adaptive predictor and the step size of one band.
#[derive(Clone, Debug)]
struct Band {
    /// Logarithm of the step size (NBL, NBH).
    log_step: i32,
    /// Step size (DETL, DETH).
    step: i32,
    /// What the next sample will be, and the part of it that comes from the zeros (SL, SZL).
    predicted: i32,
    predicted_by_zeros: i32,
    /// Reconstructed samples, and the partly reconstructed ones, latest first (RLT, PLT).
    reconstructed: [i32; 2],
    partial: [i32; 2],
    /// Coefficients of the poles and the zeros (AL, BL), and the quantised differences, latest first (DLT).
    poles: [i32; 2],
    zeros: [i32; 6],
    differences: [i32; 6],
}

impl Encoder {
    /// At the beginning of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { history: [0; 24], low: Band::new(LOW_STEP), high: Band::new(HIGH_STEP) }
    }

    /// Encodes pairs of samples, taken 16,000 times a second, to a byte each. Gives how many bytes were written: as many as `samples`
    /// has pairs and `out` has room for.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        let (pairs, _) = samples.as_chunks::<2>();
        out.iter_mut().zip(pairs).map(|(to, pair)| *to = self.encode_pair(*pair)).count()
    }

    fn encode_pair(&mut self, [first, second]: [i16; 2]) -> u8 {
        self.history.copy_within(2.., 0);
        [self.history[22], self.history[23]] = [i32::from(first), i32::from(second)];
        let (even, odd) = filter(&self.history);
        self.encode_bands((odd + even) >> 14, (odd - even) >> 14)
    }

    /// Encodes samples taken 8,000 times a second to a byte each: the high band is silent, and no filter is needed to know the low
    /// one. Gives how many bytes were written.
    pub fn encode_narrow(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        out.iter_mut().zip(samples).map(|(to, &sample)| *to = self.encode_bands(i32::from(sample) >> 1, 0)).count()
    }

    fn encode_bands(&mut self, low: i32, high: i32) -> u8 {
        let low_code = quantise_low(saturate(low - self.low.predicted), self.low.step);
        self.low.adapt_low(low_code);
        // Nothing above 4 kHz now, nor lately: the code for it moves nothing but the poles.
        if high == 0 && self.high.is_at_rest() {
            self.high.adapt_poles(0);
            return 0b11_000000 | low_code;
        }
        let high_code = quantise_high(saturate(high - self.high.predicted), self.high.step);
        self.high.adapt_high(high_code);
        high_code << 6 | low_code
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the beginning of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { history: [0; 24], low: Band::new(LOW_STEP), high: Band::new(HIGH_STEP) }
    }

    /// Decodes bytes to a pair of samples each, 16,000 samples a second. Gives how many samples were written: two for each byte that
    /// `out` has room for.
    pub fn decode(&mut self, bytes: &[u8], out: &mut [i16]) -> usize {
        let (pairs, _) = out.as_chunks_mut::<2>();
        2 * pairs.iter_mut().zip(bytes).map(|(to, byte)| *to = self.decode_byte(*byte)).count()
    }

    fn decode_byte(&mut self, byte: u8) -> [i16; 2] {
        let (low_code, high_code) = (byte & 0x3f, byte >> 6);
        // Block 5L: the decoder hears all six bits, the predictor only four.
        let difference = (self.low.step * LOW_LEVELS_6[usize::from(low_code)]) >> 15;
        let low = (self.low.predicted + difference).clamp(-16_384, 16_383);
        self.low.adapt_low(low_code);
        let difference = (self.high.step * HIGH_LEVELS[usize::from(high_code)]) >> 15;
        let high = (self.high.predicted + difference).clamp(-16_384, 16_383);
        self.high.adapt_high(high_code);

        self.history.copy_within(2.., 0);
        [self.history[22], self.history[23]] = [low + high, low - high];
        let (even, odd) = filter(&self.history);
        [narrow(odd >> 11), narrow(even >> 11)]
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Band {
    const fn new(step: i32) -> Self {
        Self {
            log_step: 0,
            step,
            predicted: 0,
            predicted_by_zeros: 0,
            reconstructed: [0; 2],
            partial: [0; 2],
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
        }
    }

    /// True when the smallest step upwards moves nothing but the poles.
    fn is_at_rest(&self) -> bool {
        self.log_step == 0
            && self.step == HIGH_STEP
            && self.zeros == [0; 6]
            && self.partial == [0; 2]
            && self.reconstructed == [0; 2]
            && self.differences == [0; 6]
            && self.predicted == 0
    }

    /// `code` has six bits, of which the upper four lead.
    fn adapt_low(&mut self, code: u8) {
        let code = usize::from(code >> 2) & 0x0f;
        // Block 2L, INVQAL.
        let difference = (self.step * LOW_LEVELS_4[code]) >> 15;
        // Block 3L, LOGSCL and SCALEL.
        let log_step = ((self.log_step * 127) >> 7) + LOW_GROWTH[code];
        self.log_step = log_step.clamp(0, 18_432);
        self.step = linear(self.log_step, 8);
        self.predict(difference);
    }

    /// `code` has two bits.
    fn adapt_high(&mut self, code: u8) {
        let code = usize::from(code) & 0x03;
        // Block 2H, INVQAH.
        let difference = (self.step * HIGH_LEVELS[code]) >> 15;
        // Block 3H, LOGSCH and SCALEH.
        let log_step = ((self.log_step * 127) >> 7) + HIGH_GROWTH[code];
        self.log_step = log_step.clamp(0, 22_528);
        self.step = linear(self.log_step, 10);
        self.predict(difference);
    }

    /// Blocks UPPOL2 and UPPOL1.
    fn adapt_poles(&mut self, partial: i32) {
        let agrees = self.partial.map(|earlier| (earlier < 0) == (partial < 0));
        // UPPOL2.
        let leak = saturate(self.poles[0] * 4);
        let leak = if agrees[0] { (-leak).min(32_767) } else { leak };
        let drift = (leak >> 7) + if agrees[1] { 128 } else { -128 };
        let second = (drift + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        // UPPOL1; the limit is at least 3,072.
        let limit = saturate(15_360 - second);
        let drift = if agrees[0] { 192 } else { -192 };
        let first = drift + ((self.poles[0] * 32_640) >> 15);
        self.poles = [saturate(first).clamp(-limit, limit), second];
    }

    /// Block 4: takes the quantised difference and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        let reconstructed = saturate(self.predicted + difference);
        let partial = saturate(self.predicted_by_zeros + difference);
        self.adapt_poles(partial);
        // UPZERO.
        let drift = if difference == 0 { 0 } else { 128 };
        for (zero, earlier) in self.zeros.iter_mut().zip(self.differences) {
            let drift = if (earlier < 0) == (difference < 0) { drift } else { -drift };
            *zero = saturate(drift + ((*zero * 32_640) >> 15));
        }
        // DELAYA.
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        // FILTEP, FILTEZ, PREDIC.
        let product = |coefficient: i32, sample: i32| (coefficient * saturate(sample * 2)) >> 15;
        let by_poles: i32 =
            self.poles.iter().zip(self.reconstructed).map(|(&pole, sample)| product(pole, sample)).sum();
        let by_zeros: i32 = self.zeros.iter().zip(self.differences).map(|(&zero, sample)| product(zero, sample)).sum();
        self.predicted_by_zeros = saturate(by_zeros);
        self.predicted = saturate(saturate(by_poles) + self.predicted_by_zeros);
    }
}

/// Both phases of the quadrature mirror filter over 24 samples: the even ones, the odd ones.
fn filter(history: &[i32; 24]) -> (i32, i32) {
    let (pairs, _) = history.as_chunks::<2>();
    let (mut even, mut odd) = (0, 0);
    for ((pair, forth), back) in pairs.iter().zip(QMF).zip(QMF.iter().rev()) {
        even += pair[0] * forth;
        odd += pair[1] * back;
    }
    (even, odd)
}

/// Block 1L, QUANTL: the six-bit code of a difference.
fn quantise_low(difference: i32, step: i32) -> u8 {
    let magnitude = if difference < 0 { !difference } else { difference };
    let levels = LOW_DECISIONS.partition_point(|decision| (decision * step) >> 12 <= magnitude) as u8; // at most 29
    match (difference < 0, levels) {
        (true, 0) => 63,
        (true, 1) => 62,
        (true, _) => 33 - levels,
        (false, _) => 61 - levels,
    }
}

/// Block 1H, QUANTH: the two-bit code of a difference.
fn quantise_high(difference: i32, step: i32) -> u8 {
    let magnitude = if difference < 0 { !difference } else { difference };
    let far = magnitude >= (564 * step) >> 12;
    match (difference < 0, far) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

/// The step size of a logarithm; `shift` is 8 for the low band and 10 for the high one.
fn linear(log_step: i32, shift: i32) -> i32 {
    let mantissa = STEPS[(log_step >> 6 & 31) as usize]; // five bits, 32 entries
    let down = shift - (log_step >> 11);
    (if down < 0 { mantissa << -down } else { mantissa >> down }) << 2
}

fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

fn narrow(value: i32) -> i16 {
    saturate(value) as i16 // saturated
}

/// Step sizes at the beginning.
const LOW_STEP: i32 = 32;
const HIGH_STEP: i32 = 8;

/// Coefficients of the quadrature mirror filter, every other one of the 24, scaled by 2^13 (table 11).
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];

/// Decision levels of the low band in steps, scaled by 2^12 (Q6 of table 14).
const LOW_DECISIONS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219, 1_339,
    1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];

/// What a six-bit code stands for, in steps scaled by 2^15 (QM6).
const LOW_LEVELS_6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040,
    728, 432, 136, -432, -136,
];

/// What the upper four bits of it stand for (QM4).
const LOW_LEVELS_4: [i32; 16] =
    [0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0];

/// How the logarithm of the low step changes with such a code (WL by RL42).
const LOW_GROWTH: [i32; 16] = [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];

/// What a code of the high band stands for (QM2), and how its step changes (WH by RH2).
const HIGH_LEVELS: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
const HIGH_GROWTH: [i32; 4] = [798, -214, 798, -214];

/// Powers of two in 32 steps, 2^11 to 2^12 (ILB).
const STEPS: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Speech-like: a gliding tone with overtones in both bands, louder and softer.
    fn sound(samples: usize) -> Vec<i16> {
        let sample = |index: usize| {
            let time = index as f64 / 16_000.0;
            let phase = std::f64::consts::TAU * (200.0 * time + 300.0 * time * time);
            let loudness = 6_000.0 * (0.6 + 0.4 * (time * 25.0).sin());
            ((phase.sin() + 0.5 * (5.0 * phase).sin() + 0.2 * (21.0 * phase).sin()) * loudness) as i16
        };
        (0..samples).map(sample).collect()
    }

    fn decoded(bytes: &[u8]) -> Vec<i16> {
        let mut out = vec![0; bytes.len() * 2];
        assert_eq!(Decoder::new().decode(bytes, &mut out), out.len());
        out
    }

    fn encoded(samples: &[i16]) -> Vec<u8> {
        let mut out = vec![0; samples.len() / 2];
        assert_eq!(Encoder::new().encode(samples, &mut out), out.len());
        out
    }

    #[test]
    fn sound_comes_back_22_samples_later() {
        let sound = sound(32_000);
        let heard = decoded(&encoded(&sound));
        let (mut signal, mut noise) = (0.0, 0.0);
        for (said, heard) in sound.iter().zip(heard.iter().skip(22)) {
            signal += f64::from(*said).powi(2);
            noise += (f64::from(*said) - f64::from(*heard)).powi(2);
        }
        let ratio = 10.0 * (signal / noise).log10();
        assert!(ratio > 18.0, "{ratio} dB");
    }

    /// A prompt of 8,000 samples a second needs no filter: the same bytes as through one, but for its delay and rounding.
    #[test]
    fn narrow_sound_fills_the_low_band_alone() {
        let narrow: Vec<i16> = sound(32_000).into_iter().step_by(4).map(|sample| sample / 2).collect();
        let mut bytes = vec![0; narrow.len()];
        assert_eq!(Encoder::new().encode_narrow(&narrow, &mut bytes), narrow.len());
        assert!(bytes.iter().all(|byte| byte >> 6 == 3));
        let power = |samples: &[i16]| {
            samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
        };
        let gain = 10.0 * (power(&decoded(&bytes)) / power(&narrow)).log10();
        assert!(gain.abs() < 0.3, "{gain} dB");
    }

    #[test]
    fn any_bytes_are_sound() {
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        assert_eq!(decoded(&noise).len(), 200_000);
        for byte in 0..=255 {
            decoded(&[byte; 2_000]);
        }
    }

    #[test]
    fn a_buffer_too_short_and_an_odd_sample_are_left() {
        assert_eq!(Encoder::new().encode(&[1, 2, 3], &mut [0; 8]), 1);
        assert_eq!(Encoder::new().encode(&[0; 100], &mut [0; 8]), 8);
        assert_eq!(Decoder::new().decode(&[0; 8], &mut [0; 5]), 4);
    }
}
