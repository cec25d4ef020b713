//! A prompt made by a machine, ready for the telephone: trimmed, levelled, and written as a µ-law WAV that knows what it says.
//!
//! The text lies in the file's `LIST INFO ICMT` chunk, so that a prompt whose text has changed since is found and made again, and
//! a person's recording, which has no such mark, is never overwritten.

use super::Pcm;
use super::g711::{self, Law};

/// How loud speech is made, in dB below a full-scale square wave: what telephone networks expect of a talker.
const RMS_DBFS: f64 = -20.0;
/// No sample is louder than this.
const PEAK_DBFS: f64 = -1.5;
/// What is softer than this at the ends is silence.
const SILENCE: u16 = 200;
/// Fade at both ends, in milliseconds: no click where words join.
const FADE_MS: usize = 4;
/// What the file says of its maker (`ISFT`); only such files are made again.
const MAKER: &str = "contesta prompts render";

/// Cuts silence from both ends, leaving `lead_ms` and `tail_ms` of it, and brings speech to −20 dBFS without a peak above −1.5.
/// Digital silence comes back empty.
#[must_use]
pub fn master(pcm: &Pcm, lead_ms: usize, tail_ms: usize) -> Pcm {
    let loud = |sample: &i16| sample.unsigned_abs() > SILENCE;
    let (Some(first), Some(last)) = (pcm.samples.iter().position(loud), pcm.samples.iter().rposition(loud)) else {
        return Pcm { samples: Vec::new(), rate: pcm.rate };
    };
    let per_ms = pcm.rate as usize / 1_000;
    let start = first.saturating_sub(lead_ms * per_ms);
    let end = (last + 1 + tail_ms * per_ms).min(pcm.samples.len());
    let cut = Pcm { samples: pcm.samples.get(start..end).unwrap_or_default().to_vec(), rate: pcm.rate };
    let level = cut.level();
    let wanted = RMS_DBFS - f64::from(level.rms_dbfs);
    let room = PEAK_DBFS - f64::from(level.peak_dbfs);
    let gain = 10_f64.powf(wanted.min(room) / 20.0);
    let (length, fade) = (cut.samples.len(), (FADE_MS * per_ms).max(1));
    let samples = cut.samples.iter().enumerate().map(|(index, sample)| {
        let edge = (index + 1).min(length - index).min(fade);
        // Float to integer saturates.
        (f64::from(*sample) * gain * edge as f64 / fade as f64).round() as i16
    });
    Pcm { samples: samples.collect(), rate: pcm.rate }
}

/// A µ-law WAV file (RFC 3551 §4.5.14 inside RIFF, format tag 7) of 8,000 samples a second that says `text`.
#[must_use]
pub fn write(samples: &[i16], text: &str) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().map(|sample| g711::encode(Law::Mu, *sample)).collect();
    let mut format = Vec::with_capacity(18);
    for field in [7_u16, 1] {
        format.extend(field.to_le_bytes()); // µ-law, one channel
    }
    for field in [8_000_u32, 8_000] {
        format.extend(field.to_le_bytes()); // samples and bytes a second
    }
    for field in [1_u16, 8, 0] {
        format.extend(field.to_le_bytes()); // bytes a frame, bits a sample, no extension
    }
    let mut info = b"INFO".to_vec();
    chunk(b"ISFT", &zero_terminated(MAKER), &mut info);
    chunk(b"ICMT", &zero_terminated(text), &mut info);
    let mut body = b"WAVE".to_vec();
    chunk(b"fmt ", &format, &mut body);
    chunk(b"fact", &length(&data).to_le_bytes(), &mut body);
    chunk(b"LIST", &info, &mut body);
    chunk(b"data", &data, &mut body);
    let mut file = Vec::with_capacity(body.len() + 8);
    chunk(b"RIFF", &body, &mut file);
    file
}

/// What a file made by [`write()`] says; `None` for any other file.
#[must_use]
pub fn text_of(file: &[u8]) -> Option<String> {
    let body = file.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WAVE")?;
    let info = chunks(body).find(|(name, _)| name == b"LIST")?.1.strip_prefix(b"INFO")?;
    let value = |wanted: &[u8; 4]| {
        let (_, value) = chunks(info).find(|(name, _)| name == wanted)?;
        Some(String::from_utf8_lossy(value.split(|byte| *byte == 0).next()?).into_owned())
    };
    (value(b"ISFT")? == MAKER).then(|| value(b"ICMT")).flatten()
}

fn chunk(name: &[u8; 4], content: &[u8], into: &mut Vec<u8>) {
    into.extend(name);
    into.extend(length(content).to_le_bytes());
    into.extend(content);
    if !content.len().is_multiple_of(2) {
        into.push(0);
    }
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (name, tail) = rest.split_first_chunk::<4>()?;
        let (length, tail) = tail.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let content = tail.get(..length)?;
        rest = tail.get(length + length % 2..).unwrap_or(&[]);
        Some((*name, content))
    })
}

fn zero_terminated(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

/// Prompts are minutes long at most; a length that a WAV file cannot hold is cut by readers at the file's end.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    /// Half a second of a soft tone inside a second of silence.
    fn padded_tone() -> Pcm {
        let tone = |index: u32| (f64::from(index) * 0.3).sin() * 1_000.0;
        let samples = (0..8_000_u32).map(|index| if (2_000..6_000).contains(&index) { tone(index) as i16 } else { 0 });
        Pcm { samples: samples.collect(), rate: 8_000 }
    }

    #[test]
    fn silence_is_cut_and_speech_is_brought_to_its_level() {
        let mastered = master(&padded_tone(), 20, 50);
        assert!((4_500..=4_570).contains(&mastered.samples.len()), "{}", mastered.samples.len());
        let level = mastered.level();
        assert!((-20.5..-19.5).contains(&level.rms_dbfs), "{level:?}");
        assert_eq!((mastered.samples[0], mastered.samples.last().copied()), (0, Some(0)));
    }

    #[test]
    fn a_single_click_does_not_go_above_the_peak() {
        let mut click = Pcm { samples: vec![0; 8_000], rate: 8_000 };
        click.samples[4_000] = 20_000;
        let level = master(&click, 100, 100).level();
        assert!((-1.6..-1.4).contains(&level.peak_dbfs), "{level:?}");
        assert!(master(&Pcm { samples: vec![3; 800], rate: 8_000 }, 20, 20).samples.is_empty());
    }

    #[test]
    fn the_file_is_read_by_another_reader_and_tells_its_text() {
        let mastered = master(&padded_tone(), 20, 51);
        let file = write(&mastered.samples, "veintiún");
        let decoded = decode(&file, "wav").unwrap();
        assert_eq!((decoded.rate, decoded.samples.len()), (8_000, mastered.samples.len()));
        let coded: Vec<i16> =
            mastered.samples.iter().map(|s| g711::decode(Law::Mu, g711::encode(Law::Mu, *s))).collect();
        assert_eq!(decoded.samples, coded);
        assert_eq!(text_of(&file).as_deref(), Some("veintiún"));
    }

    #[test]
    fn other_files_tell_nothing() {
        assert_eq!(text_of(&super::super::wav::write(&[1, 2, 3], 8_000)), None);
        let file = write(&[100; 50], "hola");
        for end in 0..file.len() {
            let told = text_of(file.get(..end).unwrap());
            assert!(told.is_none() || told.as_deref() == Some("hola"));
        }
        let mut foreign = file.clone();
        let maker = foreign.windows(8).position(|window| window == b"contesta").unwrap();
        foreign[maker] = b'k';
        assert_eq!(text_of(&foreign), None);
    }
}
