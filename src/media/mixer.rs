//! Adds voices up. Sums are kept in 32 bits and brought back to 16 by a soft limit: what two people say at once is neither
//! wrapped nor squared off.
//!
//! ```text
//!  out
//! 32,767 ┤              ………………… never reached
//!        │         ⋰⋰⋰
//! KNEE   ┤      ／          below it what goes in comes out, sample for sample
//!        │    ／
//!        └───┴──────────────── sum
//! ```

use crate::audio::{FRAME_SAMPLES_MAX, Frame};

/// How loud something is mixed in, in parts of [`Gain::FULL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gain(pub u16);

impl Gain {
    /// As it is.
    pub const FULL: Self = Self(1 << 12);
    /// 14 dB softer: music under a voice, which stays easy to follow.
    pub const UNDER: Self = Self(817);
}

/// Sums one frame. Begin it, add voices, then take the mix.
#[derive(Debug)]
pub struct Mixer {
    rate: u32,
    sums: [i32; FRAME_SAMPLES_MAX],
    voices: usize,
}

/// From here on sums are bent: three quarters of full scale.
const KNEE: i32 = 24_576;

/// What is left above the knee.
const HEADROOM: i32 = i16::MAX as i32 - KNEE;

impl Mixer {
    /// One that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { rate: 8_000, sums: [0; FRAME_SAMPLES_MAX], voices: 0 }
    }

    /// Begins a frame of `rate` samples a second, at most 48,000.
    pub fn begin(&mut self, rate: u32) {
        self.rate = rate;
        self.voices = 0;
    }

    /// Adds a voice of the frame's rate; what a shorter one does not cover is silence. Far more voices than a bridge has parties
    /// fit into a sum.
    pub fn add(&mut self, samples: &[i16], gain: Gain) {
        let amplified = samples.iter().map(|&sample| match gain {
            Gain::FULL => i32::from(sample),
            Gain(gain) => (i32::from(sample) * i32::from(gain)) >> 12,
        });
        if self.voices == 0 {
            let (said, rest) = self.sums.split_at_mut(samples.len().min(FRAME_SAMPLES_MAX));
            said.iter_mut().zip(amplified).for_each(|(sum, sample)| *sum = sample);
            rest.fill(0);
        } else {
            self.sums.iter_mut().zip(amplified).for_each(|(sum, sample)| *sum += sample);
        }
        self.voices += 1;
    }

    /// How many voices were added.
    #[must_use]
    pub fn voices(&self) -> usize {
        self.voices
    }

    /// The mix; silence when nobody spoke. A single voice is left as it is, however loud.
    pub fn take(&mut self, out: &mut Frame) {
        out.set_rate(self.rate);
        match self.voices {
            0 => out.silence(),
            1 => out.samples_mut().iter_mut().zip(&self.sums).for_each(|(to, sum)| *to = saturate(*sum)),
            _ => out.samples_mut().iter_mut().zip(&self.sums).for_each(|(to, sum)| *to = limit(*sum)),
        }
        self.voices = 0;
    }
}

impl Default for Mixer {
    fn default() -> Self {
        Self::new()
    }
}

fn saturate(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Straight below the knee; above it the rest `r` of the sum becomes `HEADROOM · r / (HEADROOM + r)`, which leaves the knee at the
/// same slope and never reaches full scale.
fn limit(sum: i32) -> i16 {
    let magnitude = sum.saturating_abs();
    if magnitude <= KNEE {
        return sum as i16; // at most KNEE
    }
    let above = i64::from(magnitude - KNEE);
    let bent = KNEE + (i64::from(HEADROOM) * above / (i64::from(HEADROOM) + above)) as i32; // below HEADROOM
    (bent * sum.signum()) as i16 // below full scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(voices: &[(&[i16], Gain)]) -> Vec<i16> {
        let (mut mixer, mut out) = (Mixer::new(), Frame::silent(8_000));
        mixer.begin(8_000);
        for (samples, gain) in voices {
            mixer.add(samples, *gain);
        }
        mixer.take(&mut out);
        out.samples().to_vec()
    }

    #[test]
    fn soft_voices_are_added_up_and_a_single_one_is_left_alone() {
        assert_eq!(mix(&[]), [0; 160]);
        assert_eq!(mix(&[(&[1_000; 160], Gain::FULL), (&[-300; 160], Gain::FULL)]), [700; 160]);
        assert_eq!(mix(&[(&[i16::MIN; 160], Gain::FULL)]), [i16::MIN; 160]);
        assert_eq!(mix(&[(&[10_000; 160], Gain::UNDER)]), [1_994; 160]);
        let short = mix(&[(&[5; 160], Gain::FULL), (&[1; 2], Gain::FULL)]);
        assert_eq!((&short[..3], short[159]), (&[6, 6, 5][..], 5));
        assert_eq!(mix(&[(&[5; 2], Gain::FULL), (&[1; 3], Gain::FULL)])[..5], [6, 6, 1, 0, 0]);
    }

    #[test]
    fn loud_voices_bend_and_never_wrap() {
        let mut previous = i16::MIN;
        for sum in (-2_000_000..=2_000_000).step_by(37) {
            let limited = limit(sum);
            assert!(limited >= previous, "louder in, louder out: {sum}");
            assert!(limited.unsigned_abs() < 32_767 && i32::from(limited).signum() == sum.signum(), "{sum}");
            assert!(sum.abs() > KNEE || i32::from(limited) == sum, "{sum}");
            previous = limited;
        }
        assert_eq!((limit(i32::MAX), limit(i32::MIN)), (32_766, -32_766));
        let eight = [(&[i16::MIN; 160][..], Gain::FULL); 8];
        assert!(mix(&eight).iter().all(|sample| *sample < -31_500));
    }

    #[test]
    fn no_frame_is_too_long() {
        let (mut mixer, mut out) = (Mixer::new(), Frame::silent(8_000));
        mixer.begin(48_000);
        mixer.add(&[1; 5_000], Gain::FULL);
        mixer.add(&[1; 5_000], Gain::FULL);
        mixer.take(&mut out);
        assert_eq!((out.rate(), out.samples()), (48_000, &[2; 960][..]));
    }
}
