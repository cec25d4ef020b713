//! A leg's recording before it is a file: both sides of a call, 20 ms at a time, gathered into chunks of half a second.
//!
//! The left channel is the caller, the right one what the caller hears. The recorder neither allocates nor waits: it
//! fills a chunk that it was given, gives it back full, and needs another one. While it has none, time goes on and what
//! is said is lost: the next chunk says where it begins, so that the file has silence there and nothing is shifted.
//!
//! ```text
//!              left       right      time
//! recording    caller     prompts    goes on
//! muted        silence    silence    goes on, and for MUTE_TAIL after it: a key is held down beyond its digit
//! key down     silence    prompts    goes on: the caller's telephone may let the tone through
//! paused       –          –          stands still
//! ```
//!
//! A key that comes as tones is known only when 35 ms of them have been heard. So while keys come so, the caller's side is recorded
//! [`HELD_BACK_TICKS`] late, and what is held back when a key is found is silent too.

use std::time::Duration;

use crate::audio::Resampler;

/// Ticks of a chunk: half a second. So much is lost at most of a recording whose process is killed.
pub const CHUNK_TICKS: usize = 25;

/// How long both sides stay silent after a muted span: the last digit is known at its first packet, the key is not up yet.
pub const MUTE_TAIL: Duration = Duration::from_secs(1);

/// How long the caller's side stays silent after the last packet of a key: three packets may be lost or late.
const KEY_TAIL_TICKS: u16 = 4;

/// How late the caller's side is recorded where keys come as tones: what a detector needs, and the tick in which they begin.
const HELD_BACK_TICKS: usize = 3;

/// One tick.
const TICK: Duration = Duration::from_millis(20);

/// Half a second of a recording.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Frames of the recording before this chunk.
    pub begins: u64,
    /// Left and right, in order; at most [`CHUNK_TICKS`] of 20 ms.
    pub frames: Vec<[i16; 2]>,
}

impl Chunk {
    /// An empty one for `rate` samples a second.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { begins: 0, frames: Vec::with_capacity(tick_samples(rate) * CHUNK_TICKS) }
    }
}

/// Gathers what both sides say. See the drawing on top.
#[derive(Debug)]
pub struct Recorder {
    rate: u32,
    chunk: Option<Box<Chunk>>,
    /// Frames of the recording so far, those that were lost included.
    position: u64,
    lost: u64,
    paused: bool,
    muted: bool,
    mute_tail: u16,
    key_tail: u16,
    left: Side,
    right: Side,
    /// What the caller said in the last ticks, oldest first; empty where keys are known at their first packet.
    held_back: Vec<i16>,
}

/// One channel's way from its leg's rate to the recording's.
#[derive(Debug, Default)]
struct Side {
    resampler: Option<Resampler>,
    /// What the resampler made last.
    samples: Vec<i16>,
}

impl Recorder {
    /// Records `rate` samples a second (8,000, 16,000 or 48,000) into `chunk`.
    #[must_use]
    pub fn new(rate: u32, chunk: Box<Chunk>) -> Self {
        let mut recorder = Self {
            rate,
            chunk: None,
            position: 0,
            lost: 0,
            paused: false,
            muted: false,
            mute_tail: 0,
            key_tail: 0,
            left: Side::default(),
            right: Side::default(),
            held_back: Vec::with_capacity(tick_samples(rate) * HELD_BACK_TICKS),
        };
        recorder.refill(chunk);
        recorder
    }

    /// Takes what was said in the next 20 ms: mono samples, as many as 20 ms have at the side's rate; none is silence. Gives
    /// the chunk when it is full; then the recorder needs another one ([`refill`](Self::refill)).
    pub fn tick(&mut self, caller: &[i16], heard: &[i16]) -> Option<Box<Chunk>> {
        let is_silent = self.muted || self.mute_tail > 0;
        let is_key_down = self.key_tail > 0;
        self.mute_tail = self.mute_tail.saturating_sub(1);
        self.key_tail = self.key_tail.saturating_sub(1);
        if self.paused {
            return None;
        }
        let count = tick_samples(self.rate);
        self.position += count as u64;
        // The filters hear on while they are not listened to, so that nothing of before comes out after.
        let left = self.left.at_rate(caller, self.rate);
        let right = self.right.at_rate(heard, self.rate);
        let Some(chunk) = &mut self.chunk else {
            self.lost += count as u64;
            return None;
        };
        let left = if is_key_down { &[] } else { left };
        let right = if is_silent { &[] } else { right };
        let sample = |side: &[i16], index: usize| side.get(index).copied().unwrap_or(0);
        let free = chunk.frames.capacity() - chunk.frames.len();
        let frame = |index: usize| {
            let said = sample(left, index);
            let said = self.held_back.get_mut(index).map_or(said, |held| std::mem::replace(held, said));
            [if is_silent { 0 } else { said }, sample(right, index)]
        };
        chunk.frames.extend((0..count.min(free)).map(frame));
        let moved = count.min(self.held_back.len());
        self.held_back.rotate_left(moved);
        if chunk.frames.len() + count > chunk.frames.capacity() { self.chunk.take() } else { None }
    }

    /// Gives the recorder a chunk to fill; what is in it is dropped. One that is not needed is dropped too.
    pub fn refill(&mut self, mut chunk: Box<Chunk>) {
        if self.chunk.is_none() {
            chunk.frames.clear();
            chunk.begins = self.position;
            self.chunk = Some(chunk);
        }
    }

    /// True while what is said is lost for want of a chunk.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.chunk.is_none()
    }

    /// A full chunk could not be handed over: it is filled again from here on, and its sound is lost.
    pub fn lose(&mut self, chunk: Box<Chunk>) {
        self.lost += chunk.frames.len() as u64;
        self.refill(chunk);
    }

    /// The last chunk, perhaps not full. Nothing can be recorded after it.
    pub fn finish(&mut self) -> Option<Box<Chunk>> {
        self.chunk.take().filter(|chunk| !chunk.frames.is_empty())
    }

    /// A sensitive span begins or ends. Its beginning also silences what the chunk in hand still holds of the last
    /// [`MUTE_TAIL`]: a hasty caller keys before the question.
    pub fn mute(&mut self, muted: bool) {
        if muted && let Some(chunk) = &mut self.chunk {
            let back = tick_samples(self.rate) * usize::from(ticks(MUTE_TAIL));
            let from = chunk.frames.len().saturating_sub(back);
            chunk.frames.iter_mut().skip(from).for_each(|frame| *frame = [0; 2]);
        }
        if self.muted && !muted {
            self.mute_tail = ticks(MUTE_TAIL);
        }
        self.muted = muted;
    }

    /// Stops time, or lets it go on.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// A packet of a pressed key has come, or its tones were heard: the caller's side is silent for a moment, what is held back of it
    /// included.
    pub fn key_down(&mut self) {
        self.key_tail = KEY_TAIL_TICKS;
        self.held_back.fill(0);
    }

    /// Keys come as tones from now on, or do not.
    pub fn hold_back(&mut self, on: bool) {
        let held = if on { tick_samples(self.rate) * HELD_BACK_TICKS } else { 0 };
        if self.held_back.len() != held {
            self.held_back.resize(held, 0);
        }
    }

    /// How much was lost for want of chunks.
    #[must_use]
    pub fn lost(&self) -> Duration {
        Duration::from_micros(self.lost * 1_000_000 / u64::from(self.rate.max(1)))
    }
}

impl Side {
    /// `samples` at `rate`. A side that changes its rate (a re-INVITE) gets another filter.
    fn at_rate<'a>(&'a mut self, samples: &'a [i16], rate: u32) -> &'a [i16] {
        let from = u32::try_from(samples.len() * 50).unwrap_or(u32::MAX);
        if samples.is_empty() || from == rate {
            return samples;
        }
        if self.resampler.as_ref().is_none_or(|resampler| resampler.from() != from) {
            self.resampler = Resampler::new(from, rate);
            self.samples.resize(tick_samples(rate), 0);
        }
        match &mut self.resampler {
            Some(resampler) => {
                resampler.process(samples, &mut self.samples);
                &self.samples
            }
            None => &[],
        }
    }
}

/// Samples of 20 ms.
fn tick_samples(rate: u32) -> usize {
    rate as usize / 50 // a rate of 8,000 to 48,000
}

fn ticks(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> Recorder {
        Recorder::new(8_000, Box::new(Chunk::new(8_000)))
    }

    /// The chunks of `ticks` ticks in which the caller says 1 and hears 2, each chunk replaced by a new one.
    fn record(recorder: &mut Recorder, ticks: usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for _ in 0..ticks {
            if let Some(chunk) = recorder.tick(&[1; 160], &[2; 160]) {
                chunks.push(*chunk);
                recorder.refill(Box::new(Chunk::new(8_000)));
            }
        }
        chunks
    }

    /// The frames of a chunk as runs.
    fn runs(frames: &[[i16; 2]]) -> Vec<([i16; 2], usize)> {
        let mut runs: Vec<([i16; 2], usize)> = Vec::new();
        for frame in frames {
            match runs.last_mut() {
                Some((same, count)) if same == frame => *count += 1,
                _ => runs.push((*frame, 1)),
            }
        }
        runs
    }

    #[test]
    fn chunks_of_half_a_second_say_where_they_begin() {
        let mut recorder = recorder();
        let chunks = record(&mut recorder, 60);
        let begins: Vec<u64> = chunks.iter().map(|chunk| chunk.begins).collect();
        assert_eq!(begins, [0, 4_000]);
        assert_eq!(runs(&chunks[1].frames), [([1, 2], 4_000)]);
        let last = recorder.finish().unwrap();
        assert_eq!((last.begins, runs(&last.frames)), (8_000, vec![([1, 2], 1_600)]));
        assert!(recorder.finish().is_none());
    }

    #[test]
    fn without_a_chunk_time_goes_on_and_the_loss_is_counted() {
        let mut recorder = recorder();
        let full = (0..25).find_map(|_| recorder.tick(&[1; 160], &[])).unwrap();
        assert!(recorder.is_starved());
        for _ in 0..10 {
            assert!(recorder.tick(&[1; 160], &[]).is_none());
        }
        recorder.refill(full);
        recorder.tick(&[3; 160], &[]);
        let last = recorder.finish().unwrap();
        assert_eq!((last.begins, runs(&last.frames)), (4_000 + 1_600, vec![([3, 0], 160)]));
        assert_eq!(recorder.lost(), Duration::from_millis(200));
    }

    #[test]
    fn a_chunk_that_nobody_takes_is_lost_and_used_again() {
        let mut recorder = recorder();
        let full = (0..25).find_map(|_| recorder.tick(&[1; 160], &[])).unwrap();
        recorder.lose(full);
        assert_eq!((recorder.lost(), recorder.is_starved()), (Duration::from_millis(500), false));
        recorder.tick(&[3; 160], &[]);
        assert_eq!(recorder.finish().unwrap().begins, 4_000);
    }

    #[test]
    fn a_muted_span_is_silent_on_both_sides_before_and_after_it() {
        let mut recorder = recorder();
        record(&mut recorder, 5);
        recorder.mute(true);
        record(&mut recorder, 10);
        recorder.mute(false);
        let chunks = record(&mut recorder, 60);
        assert_eq!(runs(&chunks[0].frames), [([0, 0], 4_000)], "the hasty digits, the span and the tail");
        // The tail ends 50 ticks after the span's 15.
        assert_eq!(runs(&chunks[1].frames), [([0, 0], 4_000)]);
        assert_eq!(runs(&chunks[2].frames), [([0, 0], (65 - 50) * 160), ([1, 2], (75 - 65) * 160)]);
    }

    #[test]
    fn a_key_silences_the_caller_alone() {
        let mut recorder = recorder();
        record(&mut recorder, 2);
        recorder.key_down();
        let chunks = record(&mut recorder, 23);
        assert_eq!(runs(&chunks[0].frames), [([1, 2], 320), ([0, 2], 640), ([1, 2], 4_000 - 960)]);
    }

    /// Tones are found in their third tick at the latest.
    #[test]
    fn a_key_that_comes_as_tones_is_silent_from_its_beginning() {
        let mut recorder = recorder();
        recorder.hold_back(true);
        record(&mut recorder, 5);
        recorder.key_down();
        let chunks = record(&mut recorder, 45);
        let told = [([0, 2], 3 * 160), ([1, 2], 2 * 160), ([0, 2], (3 + 4) * 160), ([1, 2], (25 - 12) * 160)];
        assert_eq!(runs(&chunks[0].frames), told);
        assert_eq!(runs(&chunks[1].frames), [([1, 2], 4_000)]);
        recorder.mute(true);
        record(&mut recorder, 1);
        recorder.hold_back(false);
        recorder.mute(false);
        assert_eq!(runs(&recorder.finish().unwrap().frames), [([0, 0], 160)], "what was held back is not told");
    }

    #[test]
    fn a_pause_stops_time() {
        let mut recorder = recorder();
        record(&mut recorder, 2);
        recorder.pause(true);
        assert!(record(&mut recorder, 1_000).is_empty());
        recorder.pause(false);
        assert_eq!(record(&mut recorder, 23)[0].frames.len(), 4_000);
    }

    #[test]
    fn sides_of_other_rates_are_brought_to_the_files_rate() {
        let mut recorder = Recorder::new(16_000, Box::new(Chunk::new(16_000)));
        let chunk = (0..25).find_map(|_| recorder.tick(&[1_000; 160], &[2_000; 960])).unwrap();
        assert_eq!(chunk.frames.len(), 8_000);
        let settled = &chunk.frames[400..];
        assert!(settled.iter().all(|[left, right]| (990..=1_010).contains(left) && (1_980..=2_020).contains(right)));
        assert!(recorder.tick(&[1; 77], &[1; 5]).is_none(), "an impossible length is silence, not a panic");
    }
}
