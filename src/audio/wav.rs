//! WAV files in memory: 16-bit mono, what `contesta call` saves and `contesta prompts render` makes.

use super::{AudioError, Pcm, decode};

/// A whole RIFF WAVE file of `samples` at `rate` samples a second. Sound beyond 4 GB, which the format cannot count,
/// is left out.
#[must_use]
pub fn write(samples: &[i16], rate: u32) -> Vec<u8> {
    let samples = samples.get(..SAMPLES_MAX).unwrap_or(samples);
    let data_length = (samples.len() * 2) as u32; // at most SAMPLES_MAX * 2
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data_length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes()); // linear PCM
    file.extend_from_slice(&1_u16.to_le_bytes()); // one channel
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&rate.saturating_mul(2).to_le_bytes()); // bytes a second
    file.extend_from_slice(&2_u16.to_le_bytes()); // bytes a frame
    file.extend_from_slice(&16_u16.to_le_bytes()); // bits a sample
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data_length.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// Reads a WAV file of any kind that [`decode()`] knows.
///
/// # Errors
/// [`AudioError`] when it is damaged or something else.
pub fn read(bytes: &[u8]) -> Result<Pcm, AudioError> {
    decode(bytes, "wav")
}

const SAMPLES_MAX: usize = (u32::MAX as usize - 64) / 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// `hound` is an independent reader of the format.
    #[test]
    fn another_reader_understands_what_we_write() {
        let file = write(&[1, -2, i16::MAX, i16::MIN], 8000);
        let mut reader = hound::WavReader::new(&file[..]).unwrap();
        let expected = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        assert_eq!(reader.spec(), expected);
        let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
        assert_eq!(samples, [1, -2, i16::MAX, i16::MIN]);
        assert_eq!(read(&file).unwrap().samples, samples);
    }
}
