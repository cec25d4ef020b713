//! Hours of Spanish read aloud by espeak-ng.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::signal::Random;

/// One portion of speech.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub voice: &'static str,
    words_per_minute: u16,
    pitch: u8,
    seed: u64,
}

/// Spain's and Latin America's Spanish, by women, men and worn voices.
const VOICES: [&str; 8] = ["es-419", "es", "es-419+f2", "es-419+f4", "es+m3", "es-419+m7", "es-419+croak", "es+f5"];

/// Slow, as prompts are read, and hurried.
const SPEEDS: [u16; 3] = [130, 165, 220];

/// Rounds of a prompt, thrown words and a number in a portion: some 13 minutes of speech.
const SENTENCES: usize = 56;

/// What the operators' prompts say.
const PROMPTS: [&str; 2] =
    [include_str!("../../flows/beneleit/prompts.toml"), include_str!("../../flows/bluepoint/prompts.toml")];

pub fn jobs() -> Vec<Job> {
    let voices = VOICES.iter().zip(0_u8..);
    let portions = voices.flat_map(|(&voice, index)| SPEEDS.map(|speed| (voice, index, speed)));
    portions
        .zip(1..)
        .map(|((voice, index, words_per_minute), seed)| Job {
            voice,
            words_per_minute,
            pitch: 10 + (index * 3 + seed as u8) % 16 * 5,
            seed,
        })
        .collect()
}

impl Job {
    /// 8,000 samples a second.
    pub fn render(&self, folder: &Path) -> Vec<i16> {
        let file = folder.join(format!("{}.wav", self.seed));
        let text = folder.join(format!("{}.txt", self.seed));
        std::fs::write(&text, sentences(self.seed)).unwrap();
        let status = Command::new("espeak-ng")
            .args(["-v", self.voice, "-s", &self.words_per_minute.to_string(), "-p", &self.pitch.to_string()])
            .arg("-w")
            .arg(&file)
            .arg("-f")
            .arg(&text)
            .stdin(Stdio::null())
            .status()
            .expect("espeak-ng: scripts/test installs it");
        assert!(status.success(), "espeak-ng could not say {self:?}");
        let wav = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        at_8_khz(&wav)
    }
}

/// Bytes before the samples of a WAV file as espeak-ng writes it, and where its sample rate stands.
const HEADER: usize = 44;
const RATE_AT: std::ops::Range<usize> = 24..28;

/// Takes 8,000 samples a second out of those of a file, each the mean of three neighbours: simple, because a test build does not
/// optimise, and what it lets through from above 4 kHz is one sound more that must not be taken for a key.
fn at_8_khz(wav: &[u8]) -> Vec<i16> {
    let rate = u32::from_le_bytes(wav[RATE_AT].try_into().unwrap());
    assert!((16_000..=24_000).contains(&rate), "espeak-ng's voices have 22,050 Hz, not {rate}");
    let (samples, _) = wav[HEADER..].as_chunks();
    let mut taken = Vec::with_capacity(samples.len() / 2);
    let step = f64::from(rate) / 8_000.0;
    let mut place = 1.0_f64;
    while let Some([one, two, three, four]) = samples.get(place as usize - 1..place as usize + 3) {
        let [one, two, three, four] = [*one, *two, *three, *four].map(|bytes| f64::from(i16::from_le_bytes(bytes)));
        let part = place.fract();
        taken.push(((one * (1.0 - part) + two + three + four * part) / 3.0) as i16);
        place += step;
    }
    taken
}

/// Prompts as they are, their words thrown together, and numbers: other words in each portion.
fn sentences(seed: u64) -> String {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let prompts: Vec<&str> =
        PROMPTS.iter().flat_map(|file| file.split('"').skip(1).step_by(2)).filter(|text| text.len() > 12).collect();
    assert!(prompts.len() > 150, "{} prompts", prompts.len());
    let words: Vec<&str> = prompts.iter().flat_map(|prompt| prompt.split_whitespace()).collect();
    let mut text = String::new();
    let mut pick = |count: usize| (random.uniform() * count as f64) as usize;
    for _ in 0..SENTENCES {
        text.push_str(prompts[pick(prompts.len())]);
        text.push('\n');
        for _ in 0..9 {
            text.push_str(words[pick(words.len())]);
            text.push(' ');
        }
        text.push_str(&format!(". {}.\n", pick(1_000_000_000)));
    }
    text
}
