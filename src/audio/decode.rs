//! Prompt files of any usual kind to mono samples. Takes bytes, not paths: reading files is the edge's.

use std::io::Cursor;
use std::panic::catch_unwind;
use std::time::Duration;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::Pcm;

/// Longest audio we load: hold music, generously. A longer file is a mistake and would fill the memory.
pub const DURATION_MAX: Duration = Duration::from_secs(30 * 60);

/// Why a file is no prompt; whoever recorded it must look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// Not WAV, FLAC, Ogg Vorbis or MP3, or with a codec inside that we do not read.
    #[error("not a WAV, FLAC, Ogg Vorbis or MP3 file that can be read: {0}")]
    Unsupported(String),
    /// The file is damaged.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// There is no sample in it.
    #[error("the file contains no sound")]
    Empty,
    /// A sampling rate outside 4,000 to 192,000.
    #[error("a sampling rate of {0} Hz")]
    Rate(u32),
    /// Longer than [`DURATION_MAX`].
    #[error("longer than {} minutes", DURATION_MAX.as_secs() / 60)]
    TooLong,
}

/// Decodes a whole file: WAV (PCM, float, G.711), FLAC, Ogg Vorbis or MP3 at any rate, all channels mixed to one.
///
/// `extension` is the file name's, such as `wav`: a hint only, the bytes decide.
///
/// # Errors
/// [`AudioError`]. A damaged packet inside an otherwise good file is skipped, as a player does.
pub fn decode(bytes: &[u8], extension: &str) -> Result<Pcm, AudioError> {
    // A decoder that panics on a damaged file costs that file, not the engine that loads three hundred of them.
    catch_unwind(|| decode_track(bytes.to_vec(), extension))
        .unwrap_or_else(|_| Err(AudioError::Damaged("the decoder gave up".to_owned())))
}

fn decode_track(bytes: Vec<u8>, extension: &str) -> Result<Pcm, AudioError> {
    let mut hint = Hint::new();
    hint.with_extension(extension);
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| AudioError::Unsupported(error.to_string()))?;
    let track = format.default_track(TrackType::Audio).ok_or(AudioError::Empty)?;
    let track_id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio()).ok_or(AudioError::Empty)?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| AudioError::Unsupported(error.to_string()))?;

    let mut pcm = Pcm { samples: Vec::new(), rate: 0 };
    let mut interleaved: Vec<i16> = Vec::new();
    let mut damage = None;
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            // A chained Ogg stream: what was decoded so far is the prompt.
            Ok(None) | Err(Error::ResetRequired) => break,
            // Recorders that were cut off leave a last chunk that is shorter than its header says.
            Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(AudioError::Damaged(error.to_string())),
        };
        if packet.track_id != track_id {
            continue;
        }
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            Err(error) => {
                damage = Some(error.to_string());
                continue;
            }
        };
        let channels = decoded.spec().channels().count().max(1);
        let rate = decoded.spec().rate();
        if pcm.rate != 0 && rate != pcm.rate {
            return Err(AudioError::Damaged("its sampling rate changes midway".to_owned()));
        }
        pcm.rate = rate;
        decoded.copy_to_vec_interleaved(&mut interleaved);
        mix_down(&interleaved, channels, &mut pcm.samples);
        if pcm.samples.len() as u64 > u64::from(rate) * DURATION_MAX.as_secs() {
            return Err(AudioError::TooLong);
        }
    }
    match (pcm.samples.is_empty(), damage) {
        (false, _) => Ok(pcm),
        (true, Some(damage)) => Err(AudioError::Damaged(damage)),
        (true, None) => Err(AudioError::Empty),
    }
}

/// Appends the mean of each frame's channels.
fn mix_down(interleaved: &[i16], channels: usize, samples: &mut Vec<i16>) {
    if channels == 1 {
        samples.extend_from_slice(interleaved);
        return;
    }
    samples.extend(interleaved.chunks_exact(channels).map(|frame| {
        let sum: i64 = frame.iter().map(|&sample| i64::from(sample)).sum();
        // The mean of 16-bit values is a 16-bit value.
        (sum / channels as i64) as i16
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::wav;

    #[test]
    fn a_wave_file_of_the_telephone_comes_back_sample_for_sample() {
        let samples: Vec<i16> = (0..4000).map(|index| (index * 7 % 30_011 - 15_000) as i16).collect();
        assert_eq!(decode(&wav::write(&samples, 8000), "wav"), Ok(Pcm { samples: samples.clone(), rate: 8000 }));
        assert_eq!(decode(&wav::write(&samples, 8000), "mp3").map(|pcm| pcm.rate), Ok(8000), "a wrong extension");
    }

    #[test]
    fn stereo_is_mixed() {
        let mut bytes = wav::write(&[100, 300, -5, -7], 16_000);
        bytes[22] = 2; // channels
        bytes[32] = 4; // bytes a frame
        assert_eq!(decode(&bytes, "wav"), Ok(Pcm { samples: vec![200, -6], rate: 16_000 }));
    }

    #[test]
    fn mu_law_in_a_wave_file_is_read() {
        let mut file = b"RIFF\x2a\0\0\0WAVEfmt \x12\0\0\0".to_vec();
        file.extend([7, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0, 0, 0]); // WAVE_FORMAT_MULAW, 8 bits
        file.extend(b"data\x04\0\0\0\x80\x00\xef\xff");
        assert_eq!(decode(&file, "wav").unwrap().samples, [32_124, -32_124, 132, 0]);
    }

    /// A FLAC file of one frame that holds `samples` as they are (RFC 9639 §9.2.3, verbatim subframe).
    fn flac(samples: &[i16]) -> Vec<u8> {
        fn crc(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
            let shifted = |crc: u32| {
                let carry = crc & (1 << (width - 1)) != 0;
                (crc << 1) ^ if carry { polynomial } else { 0 }
            };
            let step =
                |crc: u32, &byte: &u8| (0..8).fold(crc ^ (u32::from(byte) << (width - 8)), |crc, _| shifted(crc));
            bytes.iter().fold(0, step) & ((1 << width) - 1)
        }
        let count = u16::try_from(samples.len()).unwrap().to_be_bytes();
        let mut file = [b"fLaC\x80\0\0\x22", &count[..], &count[..], &[0; 6]].concat();
        file.extend((8000_u64 << 44 | 15 << 36 | samples.len() as u64).to_be_bytes()); // rate, mono, 16 bits, length
        file.extend([0; 16]);
        let frame = file.len();
        let last = (u16::from_be_bytes(count) - 1).to_be_bytes();
        file.extend([0xff, 0xf8, 0x74, 0x08, 0x00, last[0], last[1]]); // block size follows, 8 kHz, mono, 16 bits
        file.push(crc(&file[frame..], 8, 0x07) as u8);
        file.push(0x02);
        file.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
        let check = crc(&file[frame..], 16, 0x8005) as u16;
        file.extend(check.to_be_bytes());
        file
    }

    #[test]
    fn flac_comes_back_sample_for_sample() {
        let samples: Vec<i16> = (0..2000).map(|index| (index * 31 % 20_011 - 10_000) as i16).collect();
        assert_eq!(decode(&flac(&samples), "flac"), Ok(Pcm { samples, rate: 8000 }));
    }

    #[test]
    fn mp3_is_read() {
        let mut frame = vec![0xff, 0xfb, 0x90, 0xc4]; // MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono
        frame.resize(417, 0); // no coefficient at all: silence
        let pcm = decode(&frame.repeat(20), "mp3").unwrap();
        assert_eq!(pcm.rate, 44_100);
        assert!((19 * 1152..=20 * 1152).contains(&pcm.samples.len()), "{}", pcm.samples.len());
        assert!(pcm.level().is_silent());
    }

    #[test]
    fn what_is_no_prompt_is_refused_with_a_reason() {
        assert!(matches!(decode(b"", "wav"), Err(AudioError::Unsupported(_))));
        assert!(matches!(decode(b"hello, this is text and no sound at all", "wav"), Err(AudioError::Unsupported(_))));
        assert_eq!(decode(&wav::write(&[], 8000), "wav"), Err(AudioError::Empty));
    }

    #[test]
    fn a_file_cut_off_anywhere_is_decoded_or_refused() {
        let whole = wav::write(&[1000; 500], 8000);
        for length in 0..whole.len() {
            if let Ok(pcm) = decode(&whole[..length], "wav") {
                assert!(pcm.samples.len() <= 500 && pcm.samples.iter().all(|&sample| sample == 1000), "{length}");
            }
        }
    }
}
