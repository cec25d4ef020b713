//! In-band digits: the tones of ITU-T Q.23 heard in the speech of a call, to the figures of ITU-T Q.24.
//!
//! ```text
//! frequency   accepted within ±1.5 %, refused from ±3.5 % on
//! level       each tone 0 to −29 dBm0
//! twist       column (high) tone up to 4 dB above and 8 dB below the row (low) tone: Q.24's figures for AT&T
//! noise       15 dB below the pair
//! length      accepted from 40 ms on, refused up to 23 ms
//! pause       40 ms part two presses, interruptions up to 10 ms do not
//! ```
//!
//! Samples are taken in hops of 5 ms. Six hops make a stretch of 30 ms: a tone of 40 ms covers one wholly wherever it begins,
//! one of 23 ms none. When a stretch is even in energy, it is correlated with the eight frequencies; when most of it lies
//! at one row and one column, [`TonePair`] measures it, and that measurement alone decides. So a digit is reported 30 to
//! 35 ms after it began, once a press, and silence costs next to nothing.
//!
//! It does not: cancel the echo of what we play (a key under a prompt needs the echo 10 dB below it), or tell a recording of a
//! key from a key.

use std::f32::consts::TAU;

use super::Digit;
use super::keypad::{self, COLUMNS, ROWS};
use super::tone_pair::{STRETCH, TonePair};

/// Samples of a hop: 5 ms.
const HOP: usize = 40;

/// Hops of a stretch.
const HOPS: usize = STRETCH / HOP;

/// Hops without the digit's tones that end its press: 30 ms, which a lost packet with both its ragged ends does not last and a
/// pause of 40 ms does, wherever it begins.
const ABSENT_HOPS: u8 = 6;

/// One second: samples that may be missing within a press, as between two segments of a telephone event. A key that is down before
/// and after is one press: who takes it for two types a digit that nobody pressed.
const MISSING_MAX: usize = 8_000;

/// A tone of 0 dBm0 as a mean square: a sine of 3.17 dBm0 has µ-law's largest sample, 32,124 (ITU-T G.711 table 5).
const POWER_AT_0_DBM0: f32 = 2.487e8;

/// −36 dBm0, 7 dB below what must be heard.
const TONE_POWER_MIN: f32 = POWER_AT_0_DBM0 * 2.512e-4;

/// Column over row, each with 2 dB for what lines add to Q.24's figures.
const TWIST: std::ops::RangeInclusive<f32> = 0.1..=3.98;

/// Half way between what must be accepted and what must be refused.
const DEVIATION_MAX: f32 = 0.025;

/// What may remain besides the two tones: 10 dB below the whole, so that noise of 15 dB and a level at which both tones
/// together are clipped pass.
const RESIDUE_MAX: f32 = 0.1;

/// In a likely stretch, no hop has less than half of the mean energy, and half of all lies at one row and one column.
const EVENNESS_MIN: f32 = 0.5;
const SHARE_MIN: f32 = 0.5;

/// During a press, a hop has at least a quarter of its energy, half of it at its row and column.
const HELD_ENERGY_MIN: f32 = 0.25;

/// Hears the digits in one stream of samples, 8,000 a second.
#[derive(Clone, Debug)]
pub struct ToneDetector {
    /// The latest samples; the last `pending` of them belong to a hop that is not yet whole.
    stretch: [f32; STRETCH],
    pending: usize,
    /// The latest hops, oldest first.
    hops: [Hop; HOPS],
    /// The press under way.
    pressed: Option<Pressed>,
    /// Samples that did not come since the last hop.
    missing: usize,
}

/// 5 ms.
#[derive(Clone, Copy, Debug, Default)]
struct Hop {
    energy: f32,
    /// Correlation with each frequency, rows first, phases counted from the hop's beginning; found when it is asked for.
    correlations: Option<[Phasor; 8]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Phasor {
    real: f32,
    imaginary: f32,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    row: usize,
    column: usize,
    /// A hop's energy.
    energy: f32,
    absent_hops: u8,
}

impl ToneDetector {
    /// Nothing heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self { stretch: [0.0; STRETCH], pending: 0, hops: [Hop::default(); HOPS], pressed: None, missing: 0 }
    }

    /// Takes the next samples, in portions of any length; `pressed` is called with each digit as soon as it is sure.
    pub fn handle_samples(&mut self, mut samples: &[i16], mut pressed: impl FnMut(Digit)) {
        while !samples.is_empty() {
            let (taken, rest) = samples.split_at(samples.len().min(HOP - self.pending));
            if self.pending == 0 {
                self.stretch.copy_within(HOP.., 0);
            }
            let place = self.stretch.iter_mut().skip(STRETCH - HOP + self.pending);
            place.zip(taken).for_each(|(to, &sample)| *to = f32::from(sample));
            self.pending += taken.len();
            if self.pending == HOP {
                self.pending = 0;
                if let Some(digit) = self.handle_hop() {
                    pressed(digit);
                }
            }
            samples = rest;
        }
    }

    /// Says that the next samples do not follow the last ones: `missing` never came, and while `paused` passed the sender said
    /// nothing. What was a press before samples that are missing it is after them, unless more than [`MISSING_MAX`] are; a pause ends
    /// it as silence does.
    pub fn handle_hole(&mut self, missing: usize, paused: usize) {
        if missing + paused == 0 {
            return;
        }
        self.pending = 0;
        // No stretch reaches over the hole.
        self.hops = [Hop::default(); HOPS];
        self.missing = self.missing.saturating_add(missing);
        if let Some(pressed) = &mut self.pressed {
            let absent = u8::try_from(paused / HOP).unwrap_or(u8::MAX);
            pressed.absent_hops = pressed.absent_hops.saturating_add(absent);
            if self.missing > MISSING_MAX || pressed.absent_hops >= ABSENT_HOPS {
                self.pressed = None;
            }
        }
    }

    /// A key is down, as far as was heard.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.pressed.is_some()
    }

    /// A hop is whole: files it, and gives the digit that is sure with it.
    fn handle_hop(&mut self) -> Option<Digit> {
        self.missing = 0;
        let samples: &[f32; HOP] = self.stretch.last_chunk()?;
        let mut hop = Hop { energy: samples.iter().map(|sample| sample * sample).sum(), correlations: None };
        if let Some(pressed) = &mut self.pressed {
            let held = hop.holds(samples, pressed);
            pressed.absent_hops = if held { 0 } else { pressed.absent_hops + 1 };
            if pressed.absent_hops == ABSENT_HOPS {
                self.pressed = None;
            }
        }
        self.hops.rotate_left(1);
        *self.hops.last_mut()? = hop;
        let (row, column) = self.likely()?;
        if self.pressed.is_some_and(|pressed| (pressed.row, pressed.column) == (row, column)) {
            return None;
        }
        let guess = |index: usize| ANGLES.get(index).map(|angle| angle + self.deviation(index));
        let pair = TonePair::fit(&self.stretch, [guess(row)?, guess(4 + column)?])?;
        if !is_digit(&pair, row, column) {
            return None;
        }
        let energy = pair.powers.iter().sum::<f32>() * HOP as f32;
        self.pressed = Some(Pressed { row, column, energy, absent_hops: 0 });
        keypad::key_at(row, column)
    }

    /// The row and column that this stretch may be a press of. Most of speech is too uneven to be correlated at all.
    fn likely(&mut self) -> Option<(usize, usize)> {
        let energy: f32 = self.hops.iter().map(|hop| hop.energy).sum();
        let even = self.hops.iter().all(|hop| hop.energy * HOPS as f32 >= energy * EVENNESS_MIN);
        if !even || energy < TONE_POWER_MIN * STRETCH as f32 {
            return None;
        }
        // Two hops taken together are sharper than one.
        let mut powers = [0.0; 8];
        let (samples, _) = self.stretch.as_chunks();
        let (hops, _) = self.hops.as_chunks_mut();
        for ([one, other], [samples, other_samples]) in hops.iter_mut().zip(samples.as_chunks().0) {
            let correlations = one.correlations(samples).iter().zip(other.correlations(other_samples));
            for (((one, other), turn), power) in correlations.zip(&HOP_TURNS).zip(&mut powers) {
                *power += other.times(*turn).plus(*one).power();
            }
        }
        let (rows, columns) = powers.split_at(4);
        let ((row, row_power), (column, column_power)) = (strongest(rows)?, strongest(columns)?);
        // A tone of amplitude A has the power (A · 40)² in 80 samples, and the energy A² · 40.
        let share = (row_power + column_power) / HOP as f32 / energy;
        (share >= SHARE_MIN).then_some((row, column))
    }

    /// How far the tone at a frequency lies from it, in radians a sample, by its turn from hop to hop.
    fn deviation(&self, index: usize) -> f32 {
        let phasor = |hop: &Hop| hop.correlations.and_then(|found| found.get(index).copied()).unwrap_or_default();
        let turns = self.hops.iter().zip(self.hops.iter().skip(1));
        let turn =
            turns.fold(Phasor::default(), |sum, (hop, next)| sum.plus(phasor(next).times(phasor(hop).conjugate())));
        let nominal = HOP_TURNS.get(index).copied().unwrap_or_default();
        turn.times(nominal).angle() / HOP as f32
    }
}

impl Default for ToneDetector {
    fn default() -> Self {
        Self::new()
    }
}

/// The figures of Q.24, on what was measured.
fn is_digit(pair: &TonePair, row: usize, column: usize) -> bool {
    let [row_power, column_power] = pair.powers;
    let near =
        |found: f32, index: usize| ANGLES.get(index).is_some_and(|angle| (found / angle - 1.0).abs() <= DEVIATION_MAX);
    pair.residue <= RESIDUE_MAX
        && near(pair.frequencies[0], row)
        && near(pair.frequencies[1], 4 + column)
        && row_power.min(column_power) >= TONE_POWER_MIN
        && TWIST.contains(&(column_power / row_power))
}

fn strongest(powers: &[f32]) -> Option<(usize, f32)> {
    powers.iter().copied().enumerate().max_by(|one, other| one.1.total_cmp(&other.1))
}

impl Hop {
    /// The correlations of this hop, whose samples are given.
    fn correlations(&mut self, samples: &[f32; HOP]) -> &[Phasor; 8] {
        self.correlations.get_or_insert_with(|| WAVES.each_ref().map(|wave| wave.correlate(samples)))
    }

    /// Whether the press goes on in this hop.
    fn holds(&mut self, samples: &[f32; HOP], pressed: &Pressed) -> bool {
        if self.energy < pressed.energy * HELD_ENERGY_MIN {
            return false;
        }
        let correlations = self.correlations(samples);
        let power = |index: usize| correlations.get(index).map_or(0.0, |correlation| correlation.power());
        // A tone of amplitude A has the power (A · 20)² in 40 samples, and the energy A² · 20.
        let tones = (power(pressed.row) + power(4 + pressed.column)) / (HOP as f32 / 2.0);
        tones >= self.energy * SHARE_MIN
    }
}

impl Phasor {
    fn plus(self, other: Self) -> Self {
        Self { real: self.real + other.real, imaginary: self.imaginary + other.imaginary }
    }

    fn times(self, other: Self) -> Self {
        Self {
            real: self.real * other.real - self.imaginary * other.imaginary,
            imaginary: self.real * other.imaginary + self.imaginary * other.real,
        }
    }

    fn conjugate(self) -> Self {
        Self { imaginary: -self.imaginary, ..self }
    }

    fn power(self) -> f32 {
        self.real * self.real + self.imaginary * self.imaginary
    }

    fn angle(self) -> f32 {
        self.imaginary.atan2(self.real)
    }
}

/// One frequency over a hop.
#[derive(Clone, Copy)]
struct Wave {
    cosines: [f32; HOP],
    sines: [f32; HOP],
}

impl Wave {
    /// `Σ x(n) e^(−jωn)`.
    fn correlate(&self, samples: &[f32; HOP]) -> Phasor {
        // Four sums side by side: the compiler may not reorder one.
        let (mut real, mut imaginary) = ([0.0_f32; 4], [0.0_f32; 4]);
        let mut index = 0;
        while index < HOP {
            let lane = index % 4;
            real[lane] += samples[index] * self.cosines[index];
            imaginary[lane] -= samples[index] * self.sines[index];
            index += 1;
        }
        Phasor { real: real.iter().sum(), imaginary: imaginary.iter().sum() }
    }
}

/// All eight frequencies in radians a sample, rows first.
const ANGLES: [f32; 8] = {
    let mut angles = [0.0; 8];
    let mut index = 0;
    while index < 4 {
        angles[index] = ROWS[index] * TAU / 8000.0;
        angles[4 + index] = COLUMNS[index] * TAU / 8000.0;
        index += 1;
    }
    angles
};

/// `e^(−jω·40)`: what brings a hop's phases back to the beginning of the hop before it.
static HOP_TURNS: [Phasor; 8] = {
    let mut turns = [Phasor { real: 0.0, imaginary: 0.0 }; 8];
    let mut index = 0;
    while index < 8 {
        let (sine, cosine) = sine_and_cosine(ANGLES[index] as f64 * HOP as f64);
        turns[index] = Phasor { real: cosine as f32, imaginary: -sine as f32 };
        index += 1;
    }
    turns
};

static WAVES: [Wave; 8] = {
    let mut waves = [Wave { cosines: [0.0; HOP], sines: [0.0; HOP] }; 8];
    let mut index = 0;
    while index < 8 {
        let mut sample = 0;
        while sample < HOP {
            let (sine, cosine) = sine_and_cosine(ANGLES[index] as f64 * sample as f64);
            waves[index].cosines[sample] = cosine as f32;
            waves[index].sines[sample] = sine as f32;
            sample += 1;
        }
        index += 1;
    }
    waves
};

/// Sine and cosine of a positive angle at compile time, where the standard library has none: Taylor's series within half a
/// turn, exact to 10⁻⁹.
const fn sine_and_cosine(angle: f64) -> (f64, f64) {
    let turn = std::f64::consts::TAU;
    let turns = (angle / turn + 0.5) as u32;
    let angle = angle - turn * turns as f64;
    let (mut sine, mut cosine, mut term, mut power) = (0.0, 0.0, 1.0, 0_u32);
    while power < 24 {
        let signed = if power % 4 < 2 { term } else { -term };
        if power.is_multiple_of(2) {
            cosine += signed;
        } else {
            sine += signed;
        }
        power += 1;
        term = term * angle / power as f64;
    }
    (sine, cosine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtmf::ToneGenerator;

    /// Milliseconds of a key, or of silence for a space.
    fn audio(parts: &[(char, u32)]) -> Vec<i16> {
        let mut samples = Vec::new();
        for &(key, ms) in parts {
            let mut part = vec![0; ms as usize * 8];
            if let Some(digit) = Digit::from_char(key) {
                ToneGenerator::new(digit, ms * 8, 8_000).fill(&mut part);
            }
            samples.extend(part);
        }
        samples
    }

    fn heard(samples: &[i16], portion: usize) -> String {
        let mut detector = ToneDetector::new();
        let mut digits = String::new();
        for portion in samples.chunks(portion) {
            detector.handle_samples(portion, |digit| digits.push(digit.as_char()));
        }
        digits
    }

    /// The milliseconds after which each digit was reported.
    fn moments(samples: &[i16]) -> Vec<(usize, char)> {
        let mut detector = ToneDetector::new();
        let mut moments = Vec::new();
        for (index, portion) in samples.chunks(8).enumerate() {
            detector.handle_samples(portion, |digit| moments.push((index + 1, digit.as_char())));
        }
        moments
    }

    #[test]
    fn all_keys_are_heard_once_however_the_samples_are_portioned() {
        let mut parts = Vec::new();
        for key in "1234567890*#ABCD".chars() {
            parts.extend([(' ', 40), (key, 50)]);
        }
        let samples = audio(&parts);
        for portion in [1, 7, 40, 80, 160, 240, 10_000] {
            assert_eq!(heard(&samples, portion), "1234567890*#ABCD", "{portion}");
        }
    }

    #[test]
    fn a_key_is_reported_while_it_is_down_at_most_35_ms_after_it_went_down() {
        for late in 0..10 {
            let samples = audio(&[(' ', 100 + late), ('7', 2_000), (' ', 100)]);
            let [(moment, '7')] = moments(&samples)[..] else { panic!("{:?}", moments(&samples)) };
            let after = moment - 100 - late as usize;
            assert!((29..=35).contains(&after), "{after} ms after the key went down");
        }
    }

    #[test]
    fn one_press_is_one_digit_and_two_are_two() {
        assert_eq!(heard(&audio(&[('5', 10_000), (' ', 100)]), 160), "5", "held for ten seconds");
        assert_eq!(heard(&audio(&[('5', 50), (' ', 40), ('5', 50), (' ', 40), ('5', 50)]), 160), "555");
        assert_eq!(heard(&audio(&[('5', 50), (' ', 10), ('5', 50)]), 160), "5", "an interruption");
        assert_eq!(heard(&audio(&[('5', 50), ('6', 50), ('5', 50)]), 160), "565", "another key without a pause");
        assert_eq!(heard(&audio(&[(' ', 99), ('5', 22), (' ', 99)]), 160), "", "too short");
    }

    /// A network's loss neither ends a press nor joins two; a sender that pauses ends it.
    #[test]
    fn missing_samples_change_no_press_and_pauses_end_it() {
        let mut detector = ToneDetector::new();
        let mut digits = String::new();
        let mut hear = |detector: &mut ToneDetector, parts: &[(char, u32)]| {
            detector.handle_samples(&audio(parts), |digit| digits.push(digit.as_char()));
        };
        hear(&mut detector, &[('1', 60)]);
        detector.handle_hole(480, 0);
        hear(&mut detector, &[('1', 60), (' ', 40)]);
        detector.handle_hole(160, 0);
        hear(&mut detector, &[('1', 60), (' ', 20), ('2', 20)]);
        detector.handle_hole(160, 0);
        hear(&mut detector, &[('2', 40)]);
        detector.handle_hole(8_000, 160);
        hear(&mut detector, &[('2', 40)]);
        assert!(detector.is_pressed());
        detector.handle_hole(8_001, 0);
        assert!(!detector.is_pressed());
        hear(&mut detector, &[('2', 40)]);
        detector.handle_hole(0, 320);
        hear(&mut detector, &[('2', 40)]);
        assert_eq!(digits, "11222");
    }

    #[test]
    fn silence_full_scale_and_single_tones_are_no_digit() {
        assert_eq!(heard(&[0; 8_000], 160), "");
        assert_eq!(heard(&[i16::MIN; 8_000], 160), "");
        let square: Vec<i16> = (0..8_000).map(|index| if index / 4 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        assert_eq!(heard(&square, 160), "");
        let row: Vec<i16> =
            (0..8_000_i16).map(|index| ((f32::from(index) * 0.5474).sin() * 9_000.0).round() as i16).collect();
        assert_eq!(heard(&row, 160), "");
    }

    /// Sine and cosine made at compile time are the standard library's.
    #[test]
    fn waves_are_waves() {
        for step in 0..4_000 {
            let angle = f64::from(step) * 0.013;
            let (sine, cosine) = sine_and_cosine(angle);
            assert!((sine - angle.sin()).abs() < 1e-8 && (cosine - angle.cos()).abs() < 1e-8, "{angle}");
        }
    }
}
