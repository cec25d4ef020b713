//! Comfort noise (RFC 3389): a sender that falls silent describes its background in one packet, and the receiver makes
//! noise of that level and colour until speech comes again. Silence instead sounds like a line that is cut.
//!
//! ```text
//!  0 1 2 3 4 5 6 7   8 … 15    …
//! |0|   level     |  k1   |  k2   | …        level in −dBov, reflection coefficients of an all-pole filter
//! ```

/// Coefficients read of one packet; the RFC leaves the number open, and ten are what speech codecs use.
const ORDER_MAX: usize = 12;

/// Makes noise. Allocates nothing.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    /// Root of the mean square of what is made.
    amplitude: f32,
    /// The amplitude of the filter's input.
    excitation: f32,
    reflection: [f32; ORDER_MAX],
    /// Backward predictions of the lattice filter.
    state: [f32; ORDER_MAX],
    random: u32,
}

impl ComfortNoise {
    /// No noise yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            amplitude: 0.0,
            excitation: 0.0,
            reflection: [0.0; ORDER_MAX],
            state: [0.0; ORDER_MAX],
            random: 0x2545_f491,
        }
    }

    /// Takes a packet's payload (§3). An empty one changes nothing.
    pub fn describe(&mut self, payload: &[u8]) {
        let Some((level, coefficients)) = payload.split_first() else { return };
        self.reflection = [0.0; ORDER_MAX];
        for (reflection, &index) in self.reflection.iter_mut().zip(coefficients) {
            // §3.2: 258·(index − 127) in Q15. 255 is not used.
            *reflection = ((f32::from(index.min(254)) - 127.0) * 258.0 / 32_768.0).clamp(-0.999, 0.999);
        }
        self.set_level(amplitude_of(level & 0x7f));
    }

    /// White noise of this level, for a sender that falls silent without a description. `amplitude` is the root of the mean square
    /// of 16-bit samples.
    pub fn set_white(&mut self, amplitude: f32) {
        self.reflection = [0.0; ORDER_MAX];
        self.set_level(amplitude);
    }

    /// The root of the mean square of what is made.
    #[must_use]
    pub fn amplitude(&self) -> f32 {
        self.amplitude
    }

    /// Fills `out` with noise, without a seam to what was made before.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            *sample = self.next_sample();
        }
    }

    fn set_level(&mut self, amplitude: f32) {
        self.amplitude = amplitude;
        // The filter's gain in power is 1 / Π(1 − k²).
        let loss: f32 = self.reflection.iter().map(|k| 1.0 - k * k).product();
        self.excitation = amplitude * loss.sqrt();
    }

    fn next_sample(&mut self) -> i16 {
        // Uniform between −√3 and √3: a mean square of 1.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let uniform = f64::from(self.random) / f64::from(u32::MAX) * 2.0 - 1.0;
        let mut forward = uniform as f32 * 3.0_f32.sqrt() * self.excitation;
        // The all-pole lattice, from the highest order down; `state[i]` is the backward prediction of order i, one sample old.
        for order in (0..ORDER_MAX).rev() {
            let (k, behind) = (self.reflection[order], self.state[order]); // order < ORDER_MAX, the length of both
            forward -= k * behind;
            if let Some(next) = self.state.get_mut(order + 1) {
                *next = behind + k * forward;
            }
        }
        self.state[0] = forward;
        forward as i16 // saturates
    }
}

impl Default for ComfortNoise {
    fn default() -> Self {
        Self::new()
    }
}

/// 0 dBov is a square wave at full scale.
fn amplitude_of(level: u8) -> f32 {
    32_768.0 * 10.0_f32.powf(-f32::from(level) / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(payload: &[u8]) -> Vec<f64> {
        let mut noise = ComfortNoise::new();
        noise.describe(payload);
        let mut samples = vec![0; 80_000];
        noise.fill(&mut samples);
        samples.into_iter().map(f64::from).collect()
    }

    fn level(samples: &[f64]) -> f64 {
        let mean = samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64;
        10.0 * (mean / 32_768.0_f64.powi(2)).log10()
    }

    /// How alike neighbouring samples are: 0 for white noise.
    fn correlation(samples: &[f64]) -> f64 {
        let product: f64 = samples.windows(2).map(|pair| pair[0] * pair[1]).sum();
        product / samples.iter().map(|sample| sample * sample).sum::<f64>()
    }

    #[test]
    fn noise_has_the_level_and_colour_of_its_description() {
        for payload in
            [&[40][..], &[55, 127], &[60, 60, 160, 127], &[50, 190, 100, 140, 120, 127, 130, 120, 125, 127, 127]]
        {
            let samples = made(payload);
            let expected = -f64::from(payload[0]);
            assert!((level(&samples) - expected).abs() < 0.5, "{payload:?}: {:.2} dBov", level(&samples));
        }
        assert!(correlation(&made(&[40])).abs() < 0.02);
        // RFC 3389 §3.2: the first reflection coefficient of an all-pole filter is −r1: 60 is k = −0.53.
        assert!((correlation(&made(&[40, 60])) - 0.53).abs() < 0.03, "{}", correlation(&made(&[40, 60])));
    }

    #[test]
    fn any_description_makes_a_noise_that_does_not_run_away() {
        let mut dice = crate::ids::Ids::from_seed(1);
        let mut noise = ComfortNoise::new();
        let mut samples = [0; 160];
        for _ in 0..10_000 {
            let payload: Vec<u8> = (0..dice.below(40)).map(|_| dice.below(256) as u8).collect();
            noise.describe(&payload);
            noise.fill(&mut samples);
            assert!(noise.state.iter().all(|state| state.is_finite()));
        }
        noise.describe(&[90]);
        noise.fill(&mut [0; 800]);
        noise.fill(&mut samples);
        assert!(samples.iter().all(|sample| sample.unsigned_abs() < 10), "{samples:?}");
    }
}
