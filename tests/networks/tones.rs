//! A sender of keys as tones in G.711.

use contesta::audio::g711::{self, Law};
use contesta::dtmf::{Digit, ToneGenerator};
use contesta::ids::Ids;

/// How long keys and the pauses between them are, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    pub length: (u64, u64),
    pub pause: (u64, u64),
    /// Each key is another one than those before it; otherwise one key is pressed again and again.
    pub differ: bool,
}

/// A press: its key, and when it begins and ends, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Press {
    pub key: Digit,
    pub begin: u64,
    pub end: u64,
}

/// The presses, and all their sound in µ-law.
pub fn stream(habit: Habit, presses: usize, dice: &mut Ids) -> (Vec<Press>, Vec<u8>) {
    let mut sound = vec![g711::silence(Law::Mu); 8_000];
    let mut all: Vec<Press> = Vec::with_capacity(presses);
    for index in 0..presses {
        let between = |dice: &mut Ids, (least, most): (u64, u64)| least + dice.below(most - least + 1);
        let (length, pause) = (between(dice, habit.length), between(dice, habit.pause));
        let event = if habit.differ { (index * 5 % 16) as u8 } else { 5 };
        let key = Digit::from_event(event).unwrap();
        let begin = sound.len() as u64 / 8;
        let mut samples = vec![0; length as usize * 8];
        ToneGenerator::new(key, length as u32 * 8, 8_000).fill(&mut samples);
        sound.extend(samples.iter().map(|&sample| g711::encode(Law::Mu, sample)));
        sound.extend(std::iter::repeat_n(g711::silence(Law::Mu), pause as usize * 8));
        all.push(Press { key, begin, end: begin + length });
    }
    sound.extend([g711::silence(Law::Mu); 8_000]);
    (all, sound)
}

/// How many presses were never told, and how many keys were told that nobody pressed, or once too often. A report belongs to the
/// first press of its key that is not told yet, within what a jitter buffer may hold back.
pub fn lost_and_doubled(presses: &[Press], told: &[(u64, Digit)]) -> (usize, usize) {
    const LATEST_MS: u64 = 600;
    let mut is_told = vec![false; presses.len()];
    let mut doubled = 0;
    for &(at, digit) in told {
        let first = presses.partition_point(|press| press.end + LATEST_MS < at);
        let open = (first..presses.len())
            .take_while(|&index| presses[index].begin <= at)
            .find(|&index| !is_told[index] && presses[index].key == digit);
        match open {
            Some(index) => is_told[index] = true,
            None => doubled += 1,
        }
    }
    (is_told.iter().filter(|told| !**told).count(), doubled)
}
