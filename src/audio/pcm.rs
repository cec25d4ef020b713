//! Linear samples: their level, and their way to another rate.

use std::time::Duration;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::decode::AudioError;

/// Mono audio as 16-bit linear samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcm {
    /// Full scale is 32,767.
    pub samples: Vec<i16>,
    /// Samples a second.
    pub rate: u32,
}

/// What can be said of a prompt without listening to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The loudest sample in dB below full scale; negative infinity for digital silence.
    pub peak_dbfs: f32,
    /// The mean power in dB below a full-scale square wave; negative infinity for digital silence.
    pub rms_dbfs: f32,
    /// Samples at full scale in runs of three or more: a peak normalised to full scale is none, a flattened wave is.
    pub clipped: usize,
    /// How long it plays.
    pub duration: Duration,
}

impl Level {
    /// Nothing that a caller could hear over the telephone: no sample above -45 dBFS.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.peak_dbfs < -45.0
    }

    /// Flattened so often that it is heard: more than one sample in a thousand.
    #[must_use]
    pub fn is_clipping(&self) -> bool {
        self.clipped as f64 > self.duration.as_secs_f64() * CLIPPED_PER_SECOND_MAX
    }
}

impl Pcm {
    /// How long it plays.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(self.rate.max(1)))
    }

    /// Measures loudness and clipping.
    #[must_use]
    pub fn level(&self) -> Level {
        let peak = self.samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        let power: f64 = self.samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
        let mean_square = power / (self.samples.len().max(1) as f64);
        let mut clipped = 0;
        let mut run = 0;
        for &sample in &self.samples {
            run = if sample.unsigned_abs() >= FULL_SCALE { run + 1 } else { 0 };
            clipped += match run {
                0..3 => 0,
                3 => 3,
                _ => 1,
            };
        }
        Level {
            peak_dbfs: (20.0 * (f64::from(peak) / f64::from(FULL_SCALE)).log10()) as f32,
            rms_dbfs: (10.0 * (mean_square / f64::from(FULL_SCALE).powi(2)).log10()) as f32,
            clipped,
            duration: self.duration(),
        }
    }

    /// The same audio at `rate` samples a second, filtered below half of the lower rate. Returns at once when it is
    /// there already, as prompts that were made for the telephone are.
    ///
    /// # Errors
    /// [`AudioError::Rate`] when either rate is outside what prompt files use.
    pub fn resample_to(self, rate: u32) -> Result<Self, AudioError> {
        if self.rate == rate {
            return Ok(self);
        }
        let refused = AudioError::Rate(if RATES.contains(&self.rate) { rate } else { self.rate });
        if !RATES.contains(&self.rate) || !RATES.contains(&rate) {
            return Err(refused);
        }
        let input: Vec<f32> = self.samples.iter().map(|&sample| f32::from(sample) / 32_768.0).collect();
        let resampled = (|| {
            let mut resampler = Fft::<f32>::new(self.rate as usize, rate as usize, 1024, 1, FixedSync::Both).ok()?;
            let adapter = InterleavedSlice::new(input.as_slice(), 1, input.len()).ok()?;
            resampler.process_all(&adapter, input.len(), None).ok().map(|output| output.take_data())
        })();
        // Float to integer saturates: an overshoot of the filter stays at full scale.
        let samples = resampled.ok_or(refused)?.iter().map(|&sample| (sample * 32_768.0).round() as i16).collect();
        Ok(Self { samples, rate })
    }
}

/// Rates that prompt files come in; others are a damaged header.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;

const FULL_SCALE: u16 = 32_767;

const CLIPPED_PER_SECOND_MAX: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// A sine of `frequency` Hz with `amplitude` of 1.0 for full scale, one second long.
    fn sine(rate: u32, frequency: f64, amplitude: f64) -> Pcm {
        let sample = |index| {
            let phase = f64::from(index) * frequency * std::f64::consts::TAU / f64::from(rate);
            (phase.sin() * amplitude * 32_767.0).round() as i16
        };
        Pcm { samples: (0..rate).map(sample).collect(), rate }
    }

    #[test]
    fn a_full_scale_sine_peaks_at_zero_and_lies_three_decibels_below() {
        let level = sine(8000, 440.0, 1.0).level();
        assert!(level.peak_dbfs.abs() < 0.01 && (level.rms_dbfs + 3.01).abs() < 0.01, "{level:?}");
        assert_eq!((level.clipped, level.duration, level.is_clipping()), (0, Duration::from_secs(1), false));
        assert!(!level.is_silent());
    }

    #[test]
    fn silence_and_clipping_are_told() {
        let silent = Pcm { samples: vec![0; 800], rate: 8000 }.level();
        assert_eq!(
            (silent.peak_dbfs, silent.rms_dbfs, silent.is_silent()),
            (f32::NEG_INFINITY, f32::NEG_INFINITY, true)
        );
        assert!(sine(8000, 440.0, 0.004).level().is_silent());
        let flattened = sine(8000, 440.0, 1.6).level();
        assert!(flattened.is_clipping() && flattened.clipped > 3000, "{flattened:?}");
        assert!(Pcm { samples: Vec::new(), rate: 8000 }.level().is_silent());
    }

    #[test]
    fn resampling_keeps_length_pitch_and_level() {
        for rate in [11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000] {
            let resampled = sine(rate, 440.0, 0.5).resample_to(8000).unwrap();
            assert_eq!(resampled.samples.len(), 8000, "{rate}");
            let crossings = resampled.samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
            assert!((438..=441).contains(&crossings), "{rate}: {crossings} Hz");
            let level = resampled.level();
            assert!((level.rms_dbfs + 9.03).abs() < 0.1, "{rate}: {level:?}");
        }
    }

    /// What lies above 4 kHz must not fold down into speech.
    #[test]
    fn resampling_filters_what_the_telephone_cannot_carry() {
        let resampled = sine(48_000, 6_000.0, 0.9).resample_to(8000).unwrap();
        // Away from the ends, where the tone is switched on and off and clicks.
        let level = Pcm { samples: resampled.samples[1000..7000].to_vec(), rate: 8000 }.level();
        assert!(level.peak_dbfs < -70.0, "{level:?}");
    }

    #[test]
    fn the_same_rate_changes_no_sample_and_a_mad_rate_is_refused() {
        let pcm = sine(8000, 440.0, 0.5);
        assert_eq!(pcm.clone().resample_to(8000), Ok(pcm.clone()));
        assert_eq!(pcm.clone().resample_to(1), Err(AudioError::Rate(1)));
        assert_eq!(Pcm { rate: 4_000_000, ..pcm }.resample_to(8000), Err(AudioError::Rate(4_000_000)));
    }
}
