//! What callers hear while somebody is called for them, and while they are on hold. Both are made here, once: no file can be missing.

use std::f32::consts::TAU;
use std::sync::{Arc, LazyLock};

use crate::audio::Clip;
use crate::media::Music;

/// The ringing tone of Mexico (ITU-T E.180, supplement 2): 425 Hz, one second on and four off.
pub(super) fn ringing() -> Music {
    static RINGING: LazyLock<Music> = LazyLock::new(|| {
        let mut samples: Vec<i16> = (0..RATE).map(|at| tone(425.0, at) * fade(at, RATE)).map(loud).collect();
        samples.resize(RATE * 5, 0);
        clip(&samples)
    });
    RINGING.clone()
}

/// Music for who is on hold: four broken chords, softly, and a pause.
pub(super) fn music() -> Music {
    static MUSIC: LazyLock<Music> = LazyLock::new(|| {
        // C, A minor, F and G.
        const CHORDS: [[f32; 4]; 4] = [
            [261.63, 329.63, 392.0, 523.25],
            [220.0, 261.63, 329.63, 440.0],
            [174.61, 220.0, 261.63, 349.23],
            [196.0, 246.94, 293.66, 392.0],
        ];
        let note = RATE / 2;
        let notes =
            CHORDS.iter().flat_map(|[first, second, third, fourth]| [first, second, third, fourth, third, second]);
        let sound = |pitch: &f32, at: usize| {
            let dies = 1.0 - at as f32 / note as f32;
            (0.7 * tone(*pitch, at) + 0.3 * tone(2.0 * pitch, at)) * fade(at, note) * dies * dies
        };
        let mut samples: Vec<i16> = notes.flat_map(|pitch| (0..note).map(move |at| loud(sound(pitch, at)))).collect();
        samples.resize(samples.len() + RATE, 0);
        clip(&samples)
    });
    MUSIC.clone()
}

fn clip(samples: &[i16]) -> Music {
    Arc::from([Arc::new(Clip::from_pcm(samples))])
}

fn tone(hertz: f32, at: usize) -> f32 {
    (TAU * hertz * at as f32 / RATE as f32).sin()
}

/// Ten milliseconds at either end, so that nothing clicks.
fn fade(at: usize, length: usize) -> f32 {
    let edge = RATE / 100;
    let near = at.min(length.saturating_sub(at + 1)).min(edge);
    near as f32 / edge as f32
}

/// −19 dBm0 or so, which is as loud as a prompt.
fn loud(level: f32) -> i16 {
    (level * 5_000.0) as i16
}

/// Samples a second.
const RATE: usize = 8_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sound_for_seconds_and_are_made_once() {
        for (sound, seconds) in [(ringing as fn() -> Music, 5), (music, 13)] {
            let [clip] = &*sound() else { panic!("one clip each") };
            assert_eq!(clip.duration().as_secs(), seconds);
            assert!(Arc::ptr_eq(&sound(), &sound()));
        }
    }
}
