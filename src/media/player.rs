//! What a leg plays: a list of segments, cut into frames without a seam.

use crate::audio::{Codec, g711};
use crate::ids::PlayId;

use super::Segment;

/// The play under way, if any.
#[derive(Debug, Default)]
pub(super) struct Player {
    playing: Option<Playing>,
}

#[derive(Debug)]
struct Playing {
    play: PlayId,
    segments: Box<[Segment]>,
    /// The segment that comes next, and how many of its samples have left.
    index: usize,
    offset: usize,
}

impl Player {
    /// Begins `segments`; what played before ends without a word. False when there is no sample to play.
    pub(super) fn start(&mut self, play: PlayId, segments: Box<[Segment]>) -> bool {
        let sounds = segments.iter().any(|segment| samples(segment) > 0);
        self.playing = sounds.then_some(Playing { play, segments, index: 0, offset: 0 });
        sounds
    }

    pub(super) fn stop(&mut self) {
        self.playing = None;
    }

    pub(super) fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// Fills `frame`, with silence where nothing plays. Gives the play whose last sample is in this frame.
    pub(super) fn fill(&mut self, codec: Codec, mut frame: &mut [u8]) -> Option<PlayId> {
        if let Some(playing) = &mut self.playing {
            while let Some(segment) = playing.segments.get(playing.index) {
                let left = samples(segment).saturating_sub(playing.offset);
                let count = left.min(frame.len());
                let (head, rest) = frame.split_at_mut(count);
                head.fill(silence(codec));
                if let Segment::Clip(clip) = segment
                    && let Some(bytes) = clip.bytes(codec).get(playing.offset..playing.offset + count)
                {
                    head.copy_from_slice(bytes);
                }
                frame = rest;
                playing.offset += count;
                if count < left {
                    return None;
                }
                playing.index += 1;
                playing.offset = 0;
            }
        }
        // The loop above ends when all segments have left: a full frame with samples behind it has returned.
        frame.fill(silence(codec));
        self.playing.take().map(|playing| playing.play)
    }
}

/// The byte that sounds like nothing.
fn silence(codec: Codec) -> u8 {
    codec.law().map_or(0, g711::silence)
}

/// How many samples a segment has, 8,000 a second.
fn samples(segment: &Segment) -> usize {
    match segment {
        Segment::Clip(clip) => clip.pcmu.len(),
        Segment::Silence(duration) => {
            usize::try_from((duration.as_nanos() * 8).div_ceil(1_000_000)).unwrap_or(usize::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::audio::Clip;

    fn clip(bytes: std::ops::Range<u8>) -> Segment {
        let bytes: Box<[u8]> = bytes.collect();
        Segment::Clip(Arc::new(Clip { pcma: bytes.iter().map(|byte| byte ^ 0x80).collect(), pcmu: bytes }))
    }

    fn frames(segments: Vec<Segment>, length: usize, codec: Codec) -> Vec<(Vec<u8>, Option<u32>)> {
        let mut player = Player::default();
        player.start(PlayId(1), segments.into());
        let mut frames = Vec::new();
        while player.is_playing() {
            let mut frame = vec![0; length];
            let played = player.fill(codec, &mut frame);
            frames.push((frame, played.map(|play| play.0)));
        }
        frames
    }

    #[test]
    fn segments_are_joined_to_the_sample() {
        let segments = vec![clip(1..4), Segment::Silence(Duration::from_micros(126)), clip(10..12), clip(0..0)];
        let expected = [(vec![1, 2, 3, 255], None), (vec![255, 10, 11, 255], Some(1))];
        assert_eq!(frames(segments.clone(), 4, Codec::Pcmu), expected);
        let expected = [(vec![129, 130, 131, 0xd5, 0xd5, 138, 139, 0xd5], Some(1))];
        assert_eq!(frames(segments, 8, Codec::Pcma), expected);
    }

    #[test]
    fn a_play_that_ends_with_its_frame_ends_there() {
        assert_eq!(frames(vec![clip(0..4)], 4, Codec::Pcmu), [(vec![0, 1, 2, 3], Some(1))]);
        assert_eq!(frames(vec![clip(0..4), clip(0..0)], 4, Codec::Pcmu), [(vec![0, 1, 2, 3], Some(1))]);
        let two = [(vec![0, 1, 2, 3], None), (vec![4, 255, 255, 255], Some(1))];
        assert_eq!(frames(vec![clip(0..4), clip(4..5)], 4, Codec::Pcmu), two);
    }

    #[test]
    fn nothing_to_play_does_not_begin() {
        let mut player = Player::default();
        assert!(!player.start(PlayId(1), Box::new([])));
        assert!(!player.start(PlayId(1), [Segment::Silence(Duration::ZERO), clip(0..0)].into()));
        assert!(player.start(PlayId(1), [Segment::Silence(Duration::MAX)].into()));
        player.stop();
        let mut frame = [0; 3];
        assert_eq!((player.fill(Codec::Pcmu, &mut frame), frame), (None, [255; 3]));
    }
}
