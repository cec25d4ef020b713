//! A press as the two tones of its key (ITU-T Q.23), for a far end that takes no telephone events.

use std::f32::consts::TAU;

use super::{Digit, keypad};

/// Amplitude of a tone of 0 dBm0: 3.17 dB below µ-law's largest sample, 32,124 (ITU-T G.711 table 5).
const AMPLITUDE_AT_0_DBM0: f32 = 22_302.0;

/// −9 dBm0 for the row and −7 dBm0 for the column: what telephones send, the column 2 dB stronger because lines weaken it.
const AMPLITUDES: [f32; 2] = [0.354_8 * AMPLITUDE_AT_0_DBM0, 0.446_7 * AMPLITUDE_AT_0_DBM0];

/// How long a tone takes to rise and to fall: 2 ms, so that neither end clicks. Q.24's receivers count from half of the level on.
const RAMPS_PER_SECOND: u32 = 500;

/// The tones of one press. Ask [`fill`](Self::fill) for them frame by frame.
#[derive(Clone, Copy, Debug)]
pub struct ToneGenerator {
    tones: [Oscillator; 2],
    /// Samples left, and how long a ramp is.
    left: u32,
    elapsed: u32,
    ramp: u32,
}

/// A phasor that turns by one sample's angle.
#[derive(Clone, Copy, Debug)]
struct Oscillator {
    real: f32,
    imaginary: f32,
    turn: [f32; 2],
}

impl ToneGenerator {
    /// `digit` for `samples` samples, `rate` of them a second.
    #[must_use]
    pub fn new(digit: Digit, samples: u32, rate: u32) -> Self {
        let [row, column] = keypad::tones_of(digit);
        let tones = [(row, AMPLITUDES[0]), (column, AMPLITUDES[1])];
        let oscillator = |(hertz, amplitude): (f32, f32)| {
            let (sine, cosine) = (TAU * hertz / rate.max(1) as f32).sin_cos();
            Oscillator { real: amplitude, imaginary: 0.0, turn: [cosine, sine] }
        };
        Self { tones: tones.map(oscillator), left: samples, elapsed: 0, ramp: (rate / RAMPS_PER_SECOND).max(1) }
    }

    /// The next samples of the press; silence behind its end.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            *sample = self.next_sample();
        }
    }

    /// True when all has been given.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    fn next_sample(&mut self) -> i16 {
        if self.left == 0 {
            return 0;
        }
        let edge = self.elapsed.min(self.left - 1).saturating_add(1).min(self.ramp);
        self.left -= 1;
        self.elapsed = self.elapsed.saturating_add(1);
        let value: f32 = self.tones.iter_mut().map(Oscillator::next).sum();
        // Both tones together stay below 18,000.
        (value * edge as f32 / self.ramp as f32).round() as i16
    }
}

impl Oscillator {
    fn next(&mut self) -> f32 {
        let [cosine, sine] = self.turn;
        let (real, imaginary) = (self.real, self.imaginary);
        self.real = real * cosine - imaginary * sine;
        self.imaginary = real * sine + imaginary * cosine;
        imaginary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(length: u32, rate: u32) -> Vec<i16> {
        let mut generator = ToneGenerator::new(Digit::POUND, length, rate);
        let mut samples = vec![0; length as usize];
        samples.chunks_mut(160).for_each(|chunk| generator.fill(chunk));
        assert!(generator.is_over());
        samples
    }

    /// Power at `hertz` over whole samples, in dBm0.
    fn level(samples: &[i16], hertz: f32, rate: f32) -> f32 {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (index, &sample) in samples.iter().enumerate() {
            let (sine, cosine) = (TAU * hertz / rate * index as f32).sin_cos();
            real += f32::from(sample) * cosine;
            imaginary += f32::from(sample) * sine;
        }
        let amplitude = f32::hypot(real, imaginary) * 2.0 / samples.len() as f32;
        20.0 * (amplitude / AMPLITUDE_AT_0_DBM0).log10()
    }

    #[test]
    fn both_tones_have_their_frequency_and_level_at_every_rate() {
        for rate in [8_000_u16, 16_000, 48_000] {
            // A tenth of a second without its ramps.
            let all = samples(u32::from(rate), u32::from(rate));
            let (rate, middle) = (f32::from(rate), &all[all.len() / 10..all.len() / 5 * 2]);
            assert!((level(middle, 941.0, rate) + 9.0).abs() < 0.1, "{}", level(middle, 941.0, rate));
            assert!((level(middle, 1477.0, rate) + 7.0).abs() < 0.1, "{}", level(middle, 1477.0, rate));
            assert!(level(middle, 852.0, rate) < -40.0 && level(middle, 1633.0, rate) < -40.0);
        }
    }

    #[test]
    fn it_rises_falls_and_ends() {
        let samples = samples(800, 8_000);
        assert!(samples[0].abs() < 1_000 && samples[799].abs() < 1_200, "{} {}", samples[0], samples[799]);
        assert!(samples.iter().any(|sample| sample.abs() > 16_000));
        let mut generator = ToneGenerator::new(Digit::STAR, 100, 8_000);
        let mut frame = [7; 160];
        generator.fill(&mut frame);
        assert_eq!(frame[100..], [0; 60]);
        generator.fill(&mut frame);
        assert_eq!(frame, [0; 160]);
    }
}
