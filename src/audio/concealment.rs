//! Packet-loss concealment by waveform substitution, in the manner of ITU-T G.711 Appendix I: what was said last is
//! repeated by its pitch period, fading, until the stream goes on.
//!
//! ```text
//! erased    0 … 10 ms    10 … 20 ms    20 … 60 ms    beyond
//! repeated  1 period     2 periods     3 periods     –
//! gain      1            1 → 0.8       0.8 → 0       0
//! ```
//!
//! More than one period, because one that is repeated for long buzzes.
//! Unlike the appendix it adds no delay: where the substitute begins, the step between its first sample and the last one said is
//! taken away over 2 ms instead. Where the stream goes on, substitute and sound overlap, the longer the more was erased.
//! For codecs without concealment of their own (G.711, G.722); any rate from 8,000 to 48,000.

/// Pitch periods from 5 ms (200 Hz) to 15 ms (66 Hz).
const PERIOD_MIN_US: usize = 5_000;
const PERIOD_MAX_US: usize = 15_000;

/// Periods repeated at most.
const PERIODS_MAX: usize = 3;

/// What correlates: the last 20 ms.
const WINDOW_US: usize = 20_000;

/// Samples are repeated at full gain for this long; the fade is linear up to [`SILENT_AFTER_US`].
const FULL_GAIN_US: usize = 10_000;
const SILENT_AFTER_US: usize = 60_000;

/// The overlap where the stream goes on: a quarter of the period and 4 ms for each 10 ms erased, at most 10 ms.
const OVERLAP_STEP_US: usize = 4_000;
const OVERLAP_MAX_US: usize = 10_000;

/// The step at the beginning is gone after this.
const STEP_US: usize = 2_000;

/// The rate at which the coarse search for the period compares samples.
const COARSE_RATE: usize = 4_000;

/// Remembers what was said, and goes on with it. Allocates nothing after [`Concealment::new`].
#[derive(Debug)]
pub struct Concealment {
    rate: usize,
    /// The last samples that were heard, the newest last: three periods and a quarter.
    history: Box<[i16]>,
    /// What is repeated: the end of the history, its own end blended so that it joins its beginning.
    cycle: Box<[i16]>,
    erasure: Option<Erasure>,
}

/// An erasure under way; all in samples.
#[derive(Clone, Copy, Debug)]
struct Erasure {
    period: usize,
    /// Periods in the cycle, and the place in it.
    periods: usize,
    position: usize,
    erased: usize,
    /// Between the substitute's first sample and the last one said.
    step: f32,
}

impl Concealment {
    /// Nothing was said yet. `rate` is in samples a second.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let rate = (rate as usize).clamp(8_000, 48_000);
        let period = samples(rate, PERIOD_MAX_US);
        let history = vec![0; PERIODS_MAX * period + period / 4].into();
        Self { rate, history, cycle: vec![0; PERIODS_MAX * period].into(), erasure: None }
    }

    /// Takes samples that came, at most 120 ms, and smooths their beginning where they follow an erasure.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if let Some(erasure) = self.erasure.take() {
            self.rejoin(erasure, samples);
        }
        self.remember(samples);
    }

    /// Fills `out` with what may have been said.
    pub fn conceal(&mut self, out: &mut [i16]) {
        let mut erasure = match self.erasure {
            Some(erasure) => erasure,
            None => self.begin(),
        };
        for sample in out.iter_mut() {
            *sample = self.next_sample(&mut erasure);
        }
        self.erasure = Some(erasure);
    }

    /// Forgets: what comes next has nothing to do with what was said.
    pub fn reset(&mut self) {
        self.history.fill(0);
        self.erasure = None;
    }

    fn begin(&mut self) -> Erasure {
        let period = self.period();
        self.fill_cycle(period, 1);
        let last = self.history.last().copied().unwrap_or(0);
        let before =
            self.history.len().checked_sub(period + 1).and_then(|at| self.history.get(at)).copied().unwrap_or(0);
        Erasure { period, periods: 1, position: 0, erased: 0, step: f32::from(last) - f32::from(before) }
    }

    fn next_sample(&mut self, erasure: &mut Erasure) -> i16 {
        let rate = self.rate;
        let periods = match erasure.erased {
            erased if erased < samples(rate, FULL_GAIN_US) => 1,
            erased if erased < samples(rate, 2 * FULL_GAIN_US) => 2,
            _ => PERIODS_MAX,
        };
        if periods != erasure.periods {
            // The longer cycle ends with the shorter one: its place there is the same sound.
            self.fill_cycle(erasure.period, periods);
            erasure.position += (periods - erasure.periods) * erasure.period;
            erasure.periods = periods;
        }
        let sample = f32::from(self.cycle.get(erasure.position).copied().unwrap_or(0));
        erasure.position += 1;
        if erasure.position >= erasure.period * erasure.periods {
            erasure.position = 0;
        }
        let (full, silent) = (samples(rate, FULL_GAIN_US), samples(rate, SILENT_AFTER_US));
        let gain = match erasure.erased {
            erased if erased < full => 1.0,
            erased if erased < silent => (silent - erased) as f32 / (silent - full) as f32,
            _ => 0.0,
        };
        let step_length = samples(rate, STEP_US);
        let step = match erasure.erased {
            erased if erased < step_length => erasure.step * (step_length - erased) as f32 / step_length as f32,
            _ => 0.0,
        };
        erasure.erased = erasure.erased.saturating_add(1);
        (sample * gain + step) as i16 // saturates
    }

    /// The substitute goes on beneath the first samples and fades.
    fn rejoin(&mut self, mut erasure: Erasure, sound: &mut [i16]) {
        let tens = erasure.erased / samples(self.rate, 10_000).max(1);
        let longest = samples(self.rate, OVERLAP_MAX_US);
        let overlap = (erasure.period / 4 + tens * samples(self.rate, OVERLAP_STEP_US)).min(longest).min(sound.len());
        for (index, sample) in sound.iter_mut().take(overlap).enumerate() {
            let share = (index + 1) as f32 / (overlap + 1) as f32;
            let substitute = f32::from(self.next_sample(&mut erasure));
            *sample = (f32::from(*sample) * share + substitute * (1.0 - share)) as i16; // between two samples
        }
    }

    fn remember(&mut self, sound: &[i16]) {
        let kept = sound.len().min(self.history.len());
        self.history.copy_within(kept.., 0);
        let (from, to) = (sound.len() - kept, self.history.len() - kept);
        if let (Some(to), Some(from)) = (self.history.get_mut(to..), sound.get(from..)) {
            to.copy_from_slice(from);
        }
    }

    /// The last `periods` of the history; the last quarter of a period blends into what was said before the first of them.
    fn fill_cycle(&mut self, period: usize, periods: usize) {
        let (length, quarter, end) = (period * periods, period / 4, self.history.len());
        let Some(source) = self.history.get(end.saturating_sub(length)..) else { return };
        self.cycle.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        let before = self.history.get((end - length).saturating_sub(quarter)..end - length).unwrap_or_default();
        let tail = self.cycle.get_mut(length - quarter..length).unwrap_or_default();
        for (index, (to, from)) in tail.iter_mut().zip(before).enumerate() {
            let share = (index + 1) as f32 / (quarter + 1) as f32;
            *to = (f32::from(*to) * (1.0 - share) + f32::from(*from) * share) as i16; // between two samples
        }
    }

    /// The lag at which the last 20 ms are most like what was before them: first among few samples, then finely around.
    fn period(&self) -> usize {
        let (shortest, longest) = (samples(self.rate, PERIOD_MIN_US), samples(self.rate, PERIOD_MAX_US));
        let stride = (self.rate / COARSE_RATE).max(1);
        let best = |lags: std::ops::RangeInclusive<usize>, step: usize, stride: usize| {
            let scored = lags.step_by(step).map(|lag| (lag, self.likeness(lag, stride)));
            scored.fold((longest, f32::MIN), |best, next| if next.1 > best.1 { next } else { best }).0
        };
        let coarse = best(shortest..=longest, stride, stride);
        let around = coarse.saturating_sub(stride).max(shortest)..=(coarse + stride).min(longest);
        best(around, 1, 1.max(stride / 2))
    }

    /// The normalised correlation of the last 20 ms with those `lag` samples before them, every `stride`th sample compared.
    fn likeness(&self, lag: usize, stride: usize) -> f32 {
        let window = samples(self.rate, WINDOW_US);
        let end = self.history.len();
        let newest = self.history.get(end.saturating_sub(window)..).unwrap_or_default();
        let older = self.history.get(end.saturating_sub(window + lag)..).unwrap_or_default();
        let (mut product, mut energy) = (0.0_f32, 0.0_f32);
        for (&new, &old) in newest.iter().zip(older).step_by(stride) {
            let (new, old) = (f32::from(new), f32::from(old));
            product += new * old;
            energy += old * old;
        }
        // A floor, so that silence divides by something.
        product / (energy + 1.0).sqrt()
    }
}

fn samples(rate: usize, micros: usize) -> usize {
    rate * micros / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A voice of 8,000 samples a second: `hertz` with two overtones.
    fn voice(hertz: f64, rate: u32, count: usize) -> Vec<i16> {
        let sample = |index: usize| {
            let phase = index as f64 * hertz * std::f64::consts::TAU / f64::from(rate);
            (phase.sin() * 6_000.0 + (2.0 * phase).sin() * 3_000.0 + (3.0 * phase + 1.0).sin() * 1_500.0) as i16
        };
        (0..count).map(sample).collect()
    }

    /// The voice with the frames of `lost` concealed.
    fn heard(voice: &[i16], rate: u32, lost: &[usize]) -> Vec<i16> {
        let mut concealment = Concealment::new(rate);
        let mut heard = Vec::new();
        for (index, frame) in voice.chunks(rate as usize / 50).enumerate() {
            let mut frame = frame.to_vec();
            if lost.contains(&index) {
                concealment.conceal(&mut frame);
            } else {
                concealment.heard(&mut frame);
            }
            heard.extend(frame);
        }
        heard
    }

    /// Power of the difference below the power of the original, in dB.
    fn ratio_db(original: &[i16], heard: &[i16]) -> f64 {
        let power = |samples: &mut dyn Iterator<Item = f64>| samples.map(|sample| sample * sample).sum::<f64>();
        let signal = power(&mut original.iter().map(|&sample| f64::from(sample)));
        let noise = power(&mut original.iter().zip(heard).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        10.0 * (signal / noise.max(1.0)).log10()
    }

    #[test]
    fn what_comes_is_left_alone() {
        let voice = voice(110.0, 8_000, 8_000);
        assert_eq!(heard(&voice, 8_000, &[]), voice);
    }

    /// One frame of a steady voice is replaced so well that the ear has nothing to go by; silence in its place is 0 dB.
    #[test]
    fn a_lost_frame_of_a_voice_is_hardly_heard() {
        for rate in [8_000, 16_000, 48_000] {
            for hertz in [72.0, 110.0, 147.3, 190.0] {
                let voice = voice(hertz, rate, rate as usize);
                let heard = heard(&voice, rate, &[20]);
                let frame = rate as usize / 50;
                let ratio = ratio_db(&voice[20 * frame..21 * frame], &heard[20 * frame..21 * frame]);
                assert!(ratio > 6.0, "{hertz} Hz at {rate}: {ratio:.1} dB");
                assert_eq!(heard[22 * frame..], voice[22 * frame..], "and nothing of it remains");
            }
        }
    }

    /// No click: no step between two samples is much larger than those of the voice itself.
    #[test]
    fn seams_are_smooth() {
        let largest = |samples: &[i16]| {
            samples.windows(2).map(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs()).max().unwrap()
        };
        for hertz in [72.0, 110.0, 147.3, 190.0] {
            let voice = voice(hertz, 8_000, 16_000);
            let heard = heard(&voice, 8_000, &[10, 20, 21, 30, 31, 32, 33, 50]);
            assert!(largest(&heard) < largest(&voice) * 3 / 2, "{hertz} Hz: {} {}", largest(&heard), largest(&voice));
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_in_60_ms() {
        let voice = voice(120.0, 8_000, 8_000);
        let heard = heard(&voice, 8_000, &[10, 11, 12, 13, 14]);
        let loudest =
            |frame: usize| heard[frame * 160..(frame + 1) * 160].iter().map(|&s| i32::from(s).abs()).max().unwrap();
        let levels: Vec<_> = (9..15).map(loudest).collect();
        assert!(levels[1] > levels[0] * 8 / 10 && levels[2] < levels[1] && levels[3] < levels[0] / 2, "{levels:?}");
        assert_eq!(levels[4..], [0, 0]);
    }

    #[test]
    fn nothing_said_conceals_as_nothing() {
        let mut concealment = Concealment::new(8_000);
        let mut frame = [1; 160];
        concealment.conceal(&mut frame);
        assert_eq!(frame, [0; 160]);
        concealment.heard(&mut voice(100.0, 8_000, 800));
        concealment.reset();
        concealment.conceal(&mut frame);
        assert_eq!(frame, [0; 160]);
    }

    /// Full-scale noise and stretches of any length: no overflow, and the fade holds.
    #[test]
    fn any_sound_in_any_portions_is_taken() {
        let mut dice = crate::ids::Ids::from_seed(1);
        let mut concealment = Concealment::new(16_000);
        for _ in 0..2_000 {
            let length = dice.below(2_000) as usize;
            let mut sound: Vec<i16> =
                (0..length).map(|_| if dice.below(2) == 0 { i16::MIN } else { i16::MAX }).collect();
            if dice.below(2) == 0 {
                concealment.heard(&mut sound);
            } else {
                concealment.conceal(&mut sound);
                assert!(sound.iter().skip(960).all(|sample| *sample == 0));
            }
        }
    }
}
