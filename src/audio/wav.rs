//! WAV files of 16-bit linear samples: whole ones in memory (what `contesta call` saves), and the header of one that
//! grows while it is written (a recording), which can be put right after its writer was killed.

use super::{AudioError, Pcm, decode};

/// Length of the header that we write: RIFF, `fmt ` of 16 bytes, `data`.
pub const HEADER_LENGTH: usize = 44;

/// A whole RIFF WAVE file of mono `samples` at `rate` samples a second. Sound beyond 4 GB, which the format cannot count,
/// is left out.
#[must_use]
pub fn write(samples: &[i16], rate: u32) -> Vec<u8> {
    let kept = usize::try_from(frames_max(1)).unwrap_or(usize::MAX);
    let samples = samples.get(..kept).unwrap_or(samples);
    let mut file = Vec::with_capacity(HEADER_LENGTH + samples.len() * 2);
    file.extend_from_slice(&header(1, rate, samples.len() as u64));
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// The header of a file that holds `frames` frames of `channels` samples each, `rate` a second. More frames than
/// [`frames_max`] are counted as that many.
#[must_use]
pub fn header(channels: u16, rate: u32, frames: u64) -> [u8; HEADER_LENGTH] {
    let frame_length = channels.saturating_mul(2);
    let data_length = (frames.min(frames_max(channels)) * u64::from(frame_length)) as u32; // frames_max keeps it below 2^32
    let mut header = [0; HEADER_LENGTH];
    let fields: [&[u8]; 12] = [
        b"RIFF",
        &(data_length + RIFF_BEYOND_DATA).to_le_bytes(),
        b"WAVEfmt ",
        &16_u32.to_le_bytes(),
        &LINEAR_PCM.to_le_bytes(),
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &rate.saturating_mul(u32::from(frame_length)).to_le_bytes(), // bytes a second
        &frame_length.to_le_bytes(),
        &16_u16.to_le_bytes(), // bits a sample
        b"data",
        &data_length.to_le_bytes(),
    ];
    header.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    header
}

/// How many frames of `channels` samples the format can count.
#[must_use]
pub fn frames_max(channels: u16) -> u64 {
    u64::from(u32::MAX - RIFF_BEYOND_DATA) / u64::from(channels.saturating_mul(2).max(1))
}

/// The header that a file with this one should have, now that it is `file_length` bytes long: as many whole frames as
/// are there. `None` when the file does not begin with a header that [`header`] wrote.
#[must_use]
pub fn repaired(written: &[u8; HEADER_LENGTH], file_length: u64) -> Option<[u8; HEADER_LENGTH]> {
    let channels = u16::from_le_bytes([written[22], written[23]]);
    let rate = u32::from_le_bytes([written[24], written[25], written[26], written[27]]);
    let frames = file_length.checked_sub(HEADER_LENGTH as u64)? / u64::from(channels.checked_mul(2)?.max(1));
    let right = header(channels, rate, frames);
    // All but the two lengths.
    let same = |range: std::ops::Range<usize>| written.get(range.clone()) == right.get(range);
    (channels > 0 && same(0..4) && same(8..40)).then_some(right)
}

/// Reads a WAV file of any kind that [`decode()`] knows.
///
/// # Errors
/// [`AudioError`] when it is damaged or something else.
pub fn read(bytes: &[u8]) -> Result<Pcm, AudioError> {
    decode(bytes, "wav")
}

/// What RIFF's length counts besides the data: the header but for `RIFF` and the length itself.
const RIFF_BEYOND_DATA: u32 = HEADER_LENGTH as u32 - 8;

/// The format tag of linear samples.
const LINEAR_PCM: u16 = 1;

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

    #[test]
    fn a_stereo_file_is_read_by_another_reader_up_to_its_header() {
        let mut file = header(2, 16_000, 2).to_vec();
        file.extend([1_i16, 2, 3, 4, 5, 6, 7].iter().flat_map(|sample| sample.to_le_bytes()));
        let mut reader = hound::WavReader::new(&file[..]).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate, reader.duration()), (2, 16_000, 2));
        let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
        assert_eq!(samples, [1, 2, 3, 4]);
    }

    #[test]
    fn a_header_is_put_right_by_the_length_of_its_file() {
        let written = header(2, 8_000, 0);
        assert_eq!(repaired(&written, 44 + 4 * 1_000 + 3), Some(header(2, 8_000, 1_000)), "a torn frame is left out");
        assert_eq!(repaired(&header(2, 8_000, 9), 44), Some(written));
        assert_eq!(repaired(&written, 43), None);
        let beyond = repaired(&written, 5_000_000_000).unwrap();
        assert_eq!(beyond, header(2, 8_000, u64::MAX));
        for index in (0..4).chain(8..40) {
            let mut foreign = written;
            foreign[index] ^= 0x40;
            assert!(repaired(&foreign, 1_000).is_none(), "byte {index}");
        }
        assert_eq!(repaired(&[0; HEADER_LENGTH], 1_000), None);
    }
}
