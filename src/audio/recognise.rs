//! Which prompts were heard: finds known recordings in a stream of samples.
//!
//! contesta plays its prompts byte for byte, so what arrives over a lossless path decodes to the very samples of the
//! recording. A prompt is looked for by a window of its first sounds, and the longest match wins, because recordings that
//! begin with the same words begin with the same samples. This names what a test call heard; it is no speech recogniser.

use std::collections::BTreeMap;

/// Samples of a window that is looked for: 16 ms at 8 kHz, enough that two different recordings never share it by chance.
const WINDOW: usize = 128;

/// A sample quieter than this is silence (about −60 dBFS).
const QUIET: i16 = 33;

/// One recording found in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Index of the recording in the list that was given.
    pub recording: usize,
    /// Other recordings that begin with the very same samples and could not be told apart, because it was cut short.
    pub alike: Vec<usize>,
    /// Where its first sample lies in the stream.
    pub at_sample: usize,
    /// How many of its samples were heard from its beginning.
    pub samples: usize,
}

/// Finds `recordings` in `stream`, in the order they were played. All are 8 kHz samples as decoded from the codec of the
/// stream. Silent recordings, and ones whose first sounds are shorter than 16 ms, are never found.
#[must_use]
pub fn recognise(stream: &[i16], recordings: &[Vec<i16>]) -> Vec<Heard> {
    let mut anchors: BTreeMap<u64, Vec<(usize, usize)>> = BTreeMap::new();
    for (recording, samples) in recordings.iter().enumerate() {
        if let Some(onset) = onset(samples)
            && let Some(window) = samples.get(onset..onset + WINDOW)
        {
            anchors.entry(hash(window)).or_default().push((recording, onset));
        }
    }
    let mut heard = Vec::new();
    let mut at = 0;
    let mut rolling = stream.get(..WINDOW).map(hash);
    while let Some(value) = rolling {
        let matches: Vec<Match> = anchors
            .get(&value)
            .into_iter()
            .flatten()
            .filter_map(|&(recording, onset)| {
                let samples = recordings.get(recording)?;
                let length = matching(stream, at, samples, onset)?;
                Some(Match { recording, onset, length, whole: onset + length == samples.len() })
            })
            .collect();
        let next = match best(&matches) {
            Some(found) => {
                heard.push(Heard {
                    recording: found.recording,
                    alike: alike(&matches, &found),
                    at_sample: at.saturating_sub(found.onset),
                    samples: found.onset + found.length,
                });
                at + found.length
            }
            None => at + 1,
        };
        rolling = match (next == at + 1, stream.get(at), stream.get(at + WINDOW)) {
            (true, Some(&left), Some(&entered)) => Some(roll(value, left, entered)),
            (true, ..) => None,
            (false, ..) => stream.get(next..next + WINDOW).map(hash),
        };
        at = next;
    }
    heard
}

/// A recording that agrees with the stream for a while.
#[derive(Clone, Copy, Debug)]
struct Match {
    recording: usize,
    onset: usize,
    length: usize,
    /// It agrees to its end.
    whole: bool,
}

/// The longest; among equals one that was heard whole, then the first of the list.
fn best(matches: &[Match]) -> Option<Match> {
    matches.iter().copied().max_by_key(|found| (found.length, found.whole, std::cmp::Reverse(found.recording)))
}

/// What agrees just as long as a recording that was cut short.
fn alike(matches: &[Match], found: &Match) -> Vec<usize> {
    let others = matches.iter().filter(|other| other.length == found.length && other.recording != found.recording);
    if found.whole { Vec::new() } else { others.map(|other| other.recording).collect() }
}

/// How many samples agree from `onset` of the recording at `at` of the stream; `None` below a window (a hash collision).
fn matching(stream: &[i16], at: usize, recording: &[i16], onset: usize) -> Option<usize> {
    let length = stream.iter().skip(at).zip(recording.iter().skip(onset)).take_while(|(a, b)| a == b).count();
    (length >= WINDOW).then_some(length)
}

/// Where a recording's first sound is.
fn onset(samples: &[i16]) -> Option<usize> {
    samples.iter().position(|sample| sample.unsigned_abs() > QUIET.unsigned_abs())
}

/// Multiplier of the polynomial that rolls over the stream.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// What the first sample of a window counts for: `BASE` to the power `WINDOW - 1`.
const LEADING: u64 = {
    let (mut power, mut exponent) = (1_u64, 1);
    while exponent < WINDOW {
        power = power.wrapping_mul(BASE);
        exponent += 1;
    }
    power
};

fn hash(window: &[i16]) -> u64 {
    window.iter().fold(0, |hash, &sample| hash.wrapping_mul(BASE).wrapping_add(value(sample)))
}

fn roll(hash: u64, left: i16, entered: i16) -> u64 {
    hash.wrapping_sub(value(left).wrapping_mul(LEADING)).wrapping_mul(BASE).wrapping_add(value(entered))
}

fn value(sample: i16) -> u64 {
    u64::from(sample.cast_unsigned()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(seed: i32, length: i32) -> Vec<i16> {
        (0..length).map(|i| ((i * i * seed + i * 31 + seed * 977) % 9000 - 4500) as i16).collect()
    }

    #[test]
    fn names_what_was_played_in_order_and_how_much_of_it() {
        let recordings = vec![tone(3, 4000), tone(5, 2000), tone(7, 3000)];
        let mut stream = vec![0; 500];
        stream.extend(&recordings[1]);
        stream.extend([0; 333]);
        stream.extend(&recordings[0][..1000]);
        stream.extend(&recordings[2]);
        assert_eq!(
            recognise(&stream, &recordings),
            [
                Heard { recording: 1, alike: vec![], at_sample: 500, samples: 2000 },
                Heard { recording: 0, alike: vec![], at_sample: 2833, samples: 1000 },
                Heard { recording: 2, alike: vec![], at_sample: 3833, samples: 3000 },
            ]
        );
    }

    #[test]
    fn tells_recordings_apart_that_begin_alike() {
        let (beginning, mut long) = (tone(3, 1000), tone(3, 1000));
        long.extend(tone(11, 1000));
        let recordings = vec![beginning.clone(), long.clone()];
        let mut stream = beginning;
        stream.extend([0; 200]);
        stream.extend(&long);
        let found: Vec<usize> = recognise(&stream, &recordings).iter().map(|heard| heard.recording).collect();
        assert_eq!(found, [0, 1]);
    }

    #[test]
    fn says_when_a_cut_recording_could_be_another() {
        let (mut first, mut second) = (tone(3, 1000), tone(3, 1000));
        first.extend(tone(11, 1000));
        second.extend(tone(13, 1000));
        let found = recognise(&tone(3, 600), &[first, second]);
        assert_eq!(found, [Heard { recording: 0, alike: vec![1], at_sample: 0, samples: 600 }]);
    }

    #[test]
    fn hears_nothing_in_silence_or_noise() {
        let recordings = vec![tone(3, 4000), vec![0; 4000]];
        assert_eq!(recognise(&[0; 8000], &recordings), []);
        assert_eq!(recognise(&tone(13, 8000), &recordings), []);
        assert_eq!(recognise(&[], &recordings), []);
    }
}
