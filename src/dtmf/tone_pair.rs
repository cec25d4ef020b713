//! Two tones in a stretch of samples, measured as exactly as the samples allow: frequencies, powers, and what is left when
//! both are taken out.
//!
//! The model is `a cos ωt + b sin ωt` for each of the two, all six numbers free, fitted by least squares (Gauss–Newton).
//! A correlator bank cannot do this: 30 ms resolve 33 Hz, and a receiver must tell 1.5 % of 697 Hz (10 Hz off, to be accepted)
//! from 3.5 % (24 Hz, to be refused). A fit has no such limit: at 15 dB S/N its frequencies are good to about 1 Hz.
//!
//! It costs some 10 µs, so [`ToneDetector`](super::ToneDetector) asks for it only where a digit is likely.

/// Samples of the stretch: 30 ms at 8,000 a second.
pub(super) const STRETCH: usize = 240;

/// Refinements of the frequencies: each squares the error of the one before, and the first guess is good to some 10 Hz.
const REFINEMENTS: usize = 3;

/// A frequency that runs away further than this from its guess (radians a sample: 100 Hz) was no tone.
const STEP_MAX: f32 = 0.08;

/// What was found. Powers are mean squares of samples, full scale 32,768² / 2 for one tone.
#[derive(Clone, Copy, Debug)]
pub(super) struct TonePair {
    /// Radians a sample, lower guess first.
    pub(super) frequencies: [f32; 2],
    pub(super) powers: [f32; 2],
    /// The share of the stretch's energy that belongs to neither tone, 0 to 1 but for rounding.
    pub(super) residue: f32,
}

/// One tone's part in the model, with the time axis in its middle.
#[derive(Clone, Copy, Debug)]
struct Tone {
    frequency: f32,
    cosine: f32,
    sine: f32,
}

impl TonePair {
    /// Fits the pair, beginning at `guesses` (radians a sample, within ±15 Hz of the truth). `None` when the fit does not settle
    /// or the stretch is silent.
    pub(super) fn fit(samples: &[f32; STRETCH], guesses: [f32; 2]) -> Option<Self> {
        let mut tones = guesses.map(|frequency| Tone { frequency, cosine: 0.0, sine: 0.0 });
        let [cosines, sines, _, cosines_2, sines_2, _] = columns(&tones);
        let ([cosine, sine, cosine_2, sine_2], _) = least_squares(&[cosines, sines, cosines_2, sines_2], samples)?;
        tones[0] = Tone { cosine, sine, ..tones[0] };
        tones[1] = Tone { cosine: cosine_2, sine: sine_2, ..tones[1] };
        let mut explained = 0.0;
        for _ in 0..REFINEMENTS {
            let solved;
            (solved, explained) = least_squares(&columns(&tones), samples)?;
            let [cosine, sine, step, cosine_2, sine_2, step_2] = solved;
            // The slopes are scaled to the stretch's half, as the time axis is.
            tones[0] = Tone { frequency: tones[0].frequency + step / HALF, cosine, sine };
            tones[1] = Tone { frequency: tones[1].frequency + step_2 / HALF, cosine: cosine_2, sine: sine_2 };
            if tones.iter().zip(guesses).any(|(tone, guess)| (tone.frequency - guess).abs() > STEP_MAX) {
                return None;
            }
        }
        let residue = 1.0 - explained / dot(samples, samples);
        residue.is_finite().then(|| Self {
            frequencies: tones.map(|tone| tone.frequency),
            powers: tones.map(|tone| (tone.cosine * tone.cosine + tone.sine * tone.sine) / 2.0),
            residue,
        })
    }
}

/// Half of the stretch, in samples: what the time axis is scaled by.
const HALF: f32 = STRETCH as f32 / 2.0;

type Column = [f32; STRETCH];

/// For each tone: cosine, sine, and how the tone as it is changes with its frequency.
fn columns(tones: &[Tone; 2]) -> [Column; 6] {
    let mut columns = [[0.0; STRETCH]; 6];
    for (tone, columns) in tones.iter().zip(columns.chunks_exact_mut(3)) {
        let [cosines, sines, slopes] = columns else { continue };
        let first = -(HALF - 0.5);
        let (mut sine, mut cosine) = (tone.frequency * first).sin_cos();
        let (turn_sine, turn_cosine) = tone.frequency.sin_cos();
        let places = cosines.iter_mut().zip(sines).zip(slopes);
        for (index, ((to_cosine, to_sine), to_slope)) in places.enumerate() {
            (*to_cosine, *to_sine) = (cosine, sine);
            let time = (first + index as f32) / HALF;
            *to_slope = time * (tone.sine * cosine - tone.cosine * sine);
            (cosine, sine) = (cosine * turn_cosine - sine * turn_sine, sine * turn_cosine + cosine * turn_sine);
        }
    }
    columns
}

fn dot(one: &Column, other: &Column) -> f32 {
    // Eight sums side by side: the compiler may not reorder one.
    let mut sums = [0.0_f32; 8];
    let mut index = 0;
    while index < STRETCH {
        sums[index % 8] += one[index] * other[index];
        index += 1;
    }
    sums.iter().sum()
}

/// The combination of `columns` nearest to `samples`, by the normal equations, and the energy that it explains; `None` when the
/// columns are not independent.
fn least_squares<const N: usize>(columns: &[Column; N], samples: &Column) -> Option<([f32; N], f32)> {
    let mut matrix = [[0.0; N]; N];
    let projections = columns.each_ref().map(|column| dot(column, samples));
    for row in 0..N {
        for column in row..N {
            matrix[row][column] = dot(&columns[row], &columns[column]);
            matrix[column][row] = matrix[row][column];
        }
    }
    // Gaussian elimination: the matrix is symmetric and positive, so no row need be exchanged.
    let mut solved = projections;
    for pivot in 0..N {
        let diagonal = matrix[pivot][pivot];
        if !diagonal.is_normal() || diagonal < 0.0 {
            return None;
        }
        for row in pivot + 1..N {
            let (above, below) = matrix.split_at_mut(row);
            let factor = below[0][pivot] / diagonal;
            for (value, of_pivot) in below[0].iter_mut().zip(&above[pivot]).skip(pivot) {
                *value -= factor * of_pivot;
            }
            solved[row] -= factor * solved[pivot];
        }
    }
    for row in (0..N).rev() {
        let known: f32 = (row + 1..N).map(|column| matrix[row][column] * solved[column]).sum();
        solved[row] = (solved[row] - known) / matrix[row][row];
    }
    let explained = solved.iter().zip(projections).map(|(factor, projection)| factor * projection).sum();
    Some((solved, explained))
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    fn samples(tones: [(f32, f32); 2], noise: f32) -> [f32; STRETCH] {
        let mut state = 1_u32;
        std::array::from_fn(|index| {
            let tone = |(hertz, amplitude): (f32, f32)| amplitude * (TAU * hertz / 8000.0 * index as f32 + 1.0).sin();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            tone(tones[0]) + tone(tones[1]) + noise * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
        })
    }

    fn hertz(radians: f32) -> f32 {
        radians * 8000.0 / TAU
    }

    #[test]
    fn frequencies_are_found_to_a_tenth_of_a_hertz_and_powers_to_a_thousandth() {
        for (row, column) in [(697.0, 1209.0), (707.0, 1190.0), (686.5, 1657.0), (955.0, 1191.0)] {
            let samples = samples([(row, 8000.0), (column, 4000.0)], 0.0);
            let guesses = [row - 12.0, column + 12.0].map(|hertz| hertz * TAU / 8000.0);
            let pair = TonePair::fit(&samples, guesses).unwrap();
            let [found_row, found_column] = pair.frequencies.map(hertz);
            assert!((found_row - row).abs() < 0.1 && (found_column - column).abs() < 0.1, "{pair:?}");
            assert!((pair.powers[0] / 32e6 - 1.0).abs() < 0.001 && (pair.powers[1] / 8e6 - 1.0).abs() < 0.001);
            assert!(pair.residue.abs() < 1e-4, "{pair:?}");
        }
    }

    #[test]
    fn noise_is_the_residue() {
        // Uniform noise of amplitude n has the power n² / 3.
        let samples = samples([(770.0, 8000.0), (1336.0, 8000.0)], 3098.0);
        let pair = TonePair::fit(&samples, [770.0, 1336.0].map(|hertz| hertz * TAU / 8000.0)).unwrap();
        assert!((0.04..0.06).contains(&pair.residue), "13 dB S/N are 4.8 %: {pair:?}");
        assert!((hertz(pair.frequencies[0]) - 770.0).abs() < 2.0, "{pair:?}");
    }

    #[test]
    fn silence_and_a_single_tone_are_no_pair() {
        let guesses = [0.6, 1.0];
        assert!(TonePair::fit(&[0.0; STRETCH], guesses).is_none());
        let one = TonePair::fit(&samples([(770.0, 8000.0), (1336.0, 0.0)], 0.0), guesses);
        assert!(one.is_none_or(|pair| pair.powers[1] < pair.powers[0] / 1000.0), "{one:?}");
    }
}
