//! Telephone audio from one rate to another while it is spoken: 8,000, 16,000 and 48,000 samples a second, which are whole
//! multiples of each other.
//!
//! A low-pass filter (a sinc under a Kaiser window, 32 samples of the lower rate long) in polyphase form: going up, each
//! output has a phase of the filter to itself; going down, only the outputs that are kept are computed. It delays by 2 ms,
//! allocates when it is made and never again. `rubato`, which resamples prompt files when they are loaded, works in longer
//! blocks: it would hold a live voice back by twenty milliseconds or more.

/// Samples of the lower rate that the filter looks at.
const TAPS: usize = 32;

/// Where the filter has fallen to one half, in parts of the lower rate: 3,650 Hz of 8,000. What passes the lower rate's
/// half (4,000 Hz) by 100 Hz is 55 dB down.
const CUT_OFF: f64 = 0.456;

/// The Kaiser window's shape, for 60 dB.
const BETA: f64 = 5.65;

/// Taps are fractions of this.
const ONE: f64 = 32_768.0;

/// Resamples one stream; what it makes of 20 ms depends on what came before.
#[derive(Debug)]
pub struct Resampler {
    from: u32,
    to: u32,
    /// The filter of each phase, backwards; one phase going down.
    phases: Box<[Box<[i16]>]>,
    /// Inputs that one output moves on by: the ratio going down, 1 going up.
    step: usize,
    /// What came last, as long as the filter but one, and then what comes.
    line: Box<[i16]>,
}

impl Resampler {
    /// From one of 8,000, 16,000 and 48,000 samples a second to another one; `None` for other rates, or the same.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Option<Self> {
        let known = [8_000, 16_000, 48_000];
        if from == to || !known.contains(&from) || !known.contains(&to) {
            return None;
        }
        let ratio = (from.max(to) / from.min(to)) as usize; // 2, 3 or 6
        let (phases, step) = if to > from { (interpolators(ratio), 1) } else { (Box::from([decimator(ratio)]), ratio) };
        let history = phases.first().map_or(0, |taps| taps.len() - 1);
        Some(Self { from, to, phases, step, line: vec![0; history + from as usize / 50].into() })
    }

    /// The rate of what goes in.
    #[must_use]
    pub fn from(&self) -> u32 {
        self.from
    }

    /// The rate of what comes out.
    #[must_use]
    pub fn to(&self) -> u32 {
        self.to
    }

    /// Takes 20 ms and makes 20 ms: as many samples as that is at either rate. Another length is silence.
    pub fn process(&mut self, input: &[i16], output: &mut [i16]) {
        let history = self.line.len() - self.from as usize / 50;
        let (_, coming) = self.line.split_at_mut(history);
        if input.len() == coming.len() {
            coming.copy_from_slice(input);
        } else {
            coming.fill(0);
        }
        let windows = self.line.windows(history + 1).step_by(self.step);
        for (window, outputs) in windows.zip(output.chunks_mut(self.phases.len())) {
            for (taps, sample) in self.phases.iter().zip(outputs) {
                *sample = convolve(window, taps);
            }
        }
        self.line.copy_within(self.from as usize / 50.., 0);
    }
}

/// The sum of products, rounded. The taps' magnitudes add up to less than two, so that 32 bits hold any sum.
fn convolve(window: &[i16], taps: &[i16]) -> i16 {
    let sum: i32 = window.iter().zip(taps).map(|(&sample, &tap)| i32::from(sample) * i32::from(tap)).sum();
    ((sum + (1 << 14)) >> 15).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// The filter for each of the `ratio` outputs of one input.
fn interpolators(ratio: usize) -> Box<[Box<[i16]>]> {
    let filter = low_pass(ratio);
    (0..ratio).map(|phase| quantise(filter.iter().skip(phase).step_by(ratio).rev())).collect()
}

/// The filter for the one output of `ratio` inputs.
fn decimator(ratio: usize) -> Box<[i16]> {
    quantise(low_pass(ratio).iter().rev())
}

/// The filter at the higher rate.
fn low_pass(ratio: usize) -> Vec<f64> {
    let length = TAPS * ratio;
    let centre = (length - 1) as f64 / 2.0;
    (0..length)
        .map(|index| {
            let at = (index as f64 - centre) / ratio as f64;
            let phase = std::f64::consts::TAU * CUT_OFF * at;
            let sinc = if at == 0.0 { 1.0 } else { phase.sin() / phase };
            let place = (index as f64 - centre) / (length as f64 / 2.0);
            sinc * bessel(BETA * (1.0 - place * place).sqrt())
        })
        .collect()
}

/// Taps as integers whose sum is one: a constant stays as it is in every phase.
fn quantise<'a>(taps: impl Iterator<Item = &'a f64> + Clone) -> Box<[i16]> {
    let sum: f64 = taps.clone().sum();
    // The largest tap is below one, and float to integer saturates.
    taps.map(|tap| (tap / sum * ONE).round() as i16).collect()
}

/// The modified Bessel function of the first kind, order 0: the Kaiser window without its scale, which [`quantise`] sets.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..30 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(u32, u32); 6] =
        [(8_000, 16_000), (8_000, 48_000), (16_000, 48_000), (16_000, 8_000), (48_000, 8_000), (48_000, 16_000)];

    /// One second of a sine of `amplitude` through the resampler, its first tenth left out: the filter settles in it.
    fn through(from: u32, to: u32, frequency: f64, amplitude: f64) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut output = vec![0; to as usize];
        let input: Vec<i16> = (0..from)
            .map(|index| {
                let phase = f64::from(index) * frequency * std::f64::consts::TAU / f64::from(from);
                (phase.sin() * amplitude).round() as i16
            })
            .collect();
        for (input, output) in input.chunks(from as usize / 50).zip(output.chunks_mut(to as usize / 50)) {
            resampler.process(input, output);
        }
        output.split_off(to as usize / 10)
    }

    fn rms(samples: &[i16]) -> f64 {
        (samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn speech_keeps_its_level_and_its_pitch() {
        for (from, to) in PAIRS {
            for frequency in [200.0, 1_000.0, 3_000.0] {
                let output = through(from, to, frequency, 10_000.0);
                let decibels = 20.0 * (rms(&output) / (10_000.0 / 2_f64.sqrt())).log10();
                assert!(decibels.abs() < 0.3, "{from} to {to}, {frequency} Hz: {decibels:.2} dB");
                let crossings = output.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count() as f64;
                assert!((crossings - frequency * 0.9).abs() <= 2.0, "{from} to {to}, {frequency} Hz: {crossings}");
            }
        }
    }

    /// Going down, what the lower rate cannot carry must not fold into speech.
    #[test]
    fn what_the_lower_rate_cannot_carry_is_filtered() {
        for (from, to, frequency) in
            [(16_000, 8_000, 5_000.0), (48_000, 8_000, 5_000.0), (48_000, 8_000, 20_000.0), (48_000, 16_000, 10_000.0)]
        {
            let left = rms(&through(from, to, frequency, 20_000.0));
            assert!(left < 20.0, "{from} to {to}, {frequency} Hz: {left:.1} of 14,142 are left");
        }
    }

    /// Going up, no image of speech appears above the old half: the signal is what a fitted sine leaves nothing of.
    #[test]
    fn going_up_adds_no_image() {
        for (from, to) in [(8_000, 16_000), (8_000, 48_000), (16_000, 48_000)] {
            let output = through(from, to, 1_000.0, 20_000.0);
            let step = 1_000.0 * std::f64::consts::TAU / f64::from(to);
            let (mut sine, mut cosine) = (0.0, 0.0);
            for (index, &sample) in output.iter().enumerate() {
                sine += f64::from(sample) * (index as f64 * step).sin();
                cosine += f64::from(sample) * (index as f64 * step).cos();
            }
            let scale = 2.0 / output.len() as f64;
            let rest: Vec<i16> = output
                .iter()
                .enumerate()
                .map(|(index, &sample)| {
                    let fitted = scale * (sine * (index as f64 * step).sin() + cosine * (index as f64 * step).cos());
                    (f64::from(sample) - fitted).round() as i16
                })
                .collect();
            assert!(rms(&rest) < 15.0, "{from} to {to}: {:.1} beside 14,142", rms(&rest));
        }
    }

    #[test]
    fn loud_noise_saturates_and_strange_lengths_are_silence() {
        let mut resampler = Resampler::new(8_000, 16_000).unwrap();
        let square: Vec<i16> = (0..160).map(|index| if index % 7 < 3 { i16::MAX } else { i16::MIN }).collect();
        let mut output = [0; 320];
        for _ in 0..10 {
            resampler.process(&square, &mut output);
        }
        assert!(output.contains(&i16::MAX));
        for _ in 0..2 {
            resampler.process(&[7; 3], &mut output);
        }
        assert_eq!(output, [0; 320]);
        resampler.process(&square, &mut [0; 1]);
        resampler.process(&[], &mut []);
    }

    #[test]
    fn other_rates_are_refused() {
        assert!(Resampler::new(8_000, 8_000).is_none());
        assert!(Resampler::new(44_100, 8_000).is_none());
        assert!(Resampler::new(8_000, 0).is_none());
        let resampler = Resampler::new(48_000, 8_000).unwrap();
        assert_eq!((resampler.from(), resampler.to()), (48_000, 8_000));
    }
}
