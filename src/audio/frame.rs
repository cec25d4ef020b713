//! Twenty milliseconds of linear samples: what decoders give, bridges mix and encoders take.

/// Most samples of a frame: 20 ms at 48,000 a second.
pub const FRAME_SAMPLES_MAX: usize = 960;

/// 20 ms of mono 16-bit samples at the rate it carries. It lies in one piece without a pointer, so that nothing is
/// allocated for it.
///
/// The rate is a multiple of 50 between 50 and 48,000; `samples()` is a fiftieth of it long.
#[derive(Clone)]
pub struct Frame {
    rate: u32,
    samples: [i16; FRAME_SAMPLES_MAX],
}

impl Frame {
    /// Silence at `rate` samples a second. A rate that no frame can have is brought to the nearest that it can.
    #[must_use]
    pub const fn silent(rate: u32) -> Self {
        Self { rate: possible(rate), samples: [0; FRAME_SAMPLES_MAX] }
    }

    /// Samples a second.
    #[must_use]
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// The samples, `rate() / 50` of them; full scale is 32,767.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        self.samples.get(..length(self.rate)).unwrap_or_default()
    }

    /// The samples, to be written.
    pub fn samples_mut(&mut self) -> &mut [i16] {
        self.samples.get_mut(..length(self.rate)).unwrap_or_default()
    }

    /// Makes it a frame of another rate, whose samples are then to be written: until then they are what lay there.
    pub fn set_rate(&mut self, rate: u32) {
        self.rate = possible(rate);
    }

    /// Makes it silent.
    pub fn silence(&mut self) {
        self.samples_mut().fill(0);
    }

    /// Takes as many of `samples` as fit; the rest of the frame is silent.
    pub fn copy_from(&mut self, samples: &[i16]) {
        let frame = self.samples_mut();
        let (head, rest) = frame.split_at_mut(samples.len().min(frame.len()));
        head.iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
        rest.fill(0);
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("rate", &self.rate).field("samples", &self.samples()).finish()
    }
}

/// Two frames are equal when their sound is.
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.rate == other.rate && self.samples() == other.samples()
    }
}

impl Eq for Frame {}

const fn possible(rate: u32) -> u32 {
    let rate = rate - rate % 50;
    match rate {
        0 => 50,
        1..=48_000 => rate,
        _ => 48_000,
    }
}

const fn length(rate: u32) -> usize {
    (rate / 50) as usize // at most FRAME_SAMPLES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_its_rate_says() {
        for (rate, samples) in [(8_000, 160), (16_000, 320), (48_000, 960)] {
            assert_eq!(Frame::silent(rate).samples(), vec![0; samples]);
        }
        for (asked, given) in [(0, 50), (11_025, 11_000), (96_000, 48_000)] {
            assert_eq!(Frame::silent(asked).rate(), given);
        }
    }

    #[test]
    fn what_is_too_short_is_followed_by_silence_and_what_is_too_long_is_cut() {
        let mut frame = Frame::silent(8_000);
        frame.copy_from(&[7; 200]);
        assert_eq!(frame.samples(), [7; 160]);
        frame.copy_from(&[9; 2]);
        assert_eq!((&frame.samples()[..3], frame.samples().len()), (&[9, 9, 0][..], 160));
        frame.set_rate(16_000);
        frame.silence();
        assert_eq!(frame, Frame::silent(16_000));
    }
}
