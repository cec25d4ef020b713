//! What a leg plays: a list of segments, cut into frames without a seam.
//!
//! G.711 and G.722 are joined to the sample; G.722 is encoded here, by one encoder for the leg's whole life. Opus packets are 20 ms
//! each, so a segment takes whole packets there: the last one of a clip is filled up with silence, and a silence is rounded up to
//! 20 ms. Every clip in Opus begins with a fresh encoder, so that any clip may follow any other; where the one before was cut off, or ends
//! loudly, a packet of silence goes between, in which the far end's decoder forgets it. (Of 1,200 cuts into speech that ships, without it
//! one in ten comes back more than 18,000 louder than it is, with it none more than 3,000; most by nothing.)

use crate::audio::clip::PACKET_SAMPLES;
use crate::audio::g711::{self, Law};
use crate::audio::{Clip, Codec, g722, opus};
use crate::ids::PlayId;

use super::Segment;

/// The play under way, if any.
#[derive(Debug)]
pub(super) struct Player {
    playing: Option<Playing>,
    /// Encodes all that leaves in G.722.
    g722: Option<Box<g722::Encoder>>,
    /// Encodes the clip under way where its packets are not prepared; what it makes is what preparing would have made, byte for byte,
    /// of a recording in µ-law.
    opus: Option<opus::Encoder>,
    /// The last Opus packet was loud, so a clip may not follow at once.
    is_loud: bool,
    /// How the far end wants Opus.
    wishes: opus::Wishes,
}

#[derive(Debug)]
struct Playing {
    play: PlayId,
    segments: Box<[Segment]>,
    /// The segment that comes next, and how many of its samples have left, 8,000 a second whatever the codec.
    index: usize,
    offset: usize,
}

/// A payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// Its bytes.
    pub(super) length: usize,
    /// The play whose last sample is in it.
    pub(super) played: Option<PlayId>,
}

impl Player {
    /// Plays nothing yet, to a far end that wants its Opus so.
    pub(super) fn new(wishes: opus::Wishes) -> Self {
        Self { playing: None, g722: None, opus: None, is_loud: false, wishes }
    }

    /// The far end wants its Opus so from now on.
    pub(super) fn wish(&mut self, wishes: opus::Wishes) {
        if wishes != self.wishes {
            self.wishes = wishes;
            self.opus = None;
        }
    }

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

    /// Writes the payload of the next 20 ms into `frame`, 160 bytes, with silence where nothing plays.
    pub(super) fn fill(&mut self, codec: Codec, frame: &mut [u8]) -> Filled {
        let length = frame.len();
        let played = match codec {
            Codec::Pcmu => self.fill_g711(Law::Mu, frame),
            Codec::Pcma => self.fill_g711(Law::A, frame),
            Codec::G722 => self.fill_g722(frame),
            Codec::Opus => return self.fill_opus(frame),
        };
        Filled { length, played }
    }

    /// Encodes 20 ms, 8,000 samples a second, that are no part of a play, into the stream that the plays make; of Opus it knows
    /// silence only.
    pub(super) fn encode(&mut self, codec: Codec, samples: &[i16; PACKET_SAMPLES], body: &mut [u8]) -> usize {
        match codec {
            Codec::Pcmu => encode_g711(Law::Mu, samples, body),
            Codec::Pcma => encode_g711(Law::A, samples, body),
            Codec::G722 => self.g722.get_or_insert_default().encode_narrow(samples, body),
            Codec::Opus => copy_packet(opus::silence(), body),
        }
    }

    fn fill_g711(&mut self, law: Law, frame: &mut [u8]) -> Option<PlayId> {
        join(&mut self.playing, frame, |sound, out| match sound {
            Sound::Clip(clip, from) => {
                if let Some(bytes) = clip.g711(law).get(from..from + out.len()) {
                    out.copy_from_slice(bytes);
                }
            }
            Sound::Silence => out.fill(g711::silence(law)),
        })
    }

    fn fill_g722(&mut self, frame: &mut [u8]) -> Option<PlayId> {
        let encoder = self.g722.get_or_insert_default();
        join(&mut self.playing, frame, |sound, out| {
            let mut samples = [0; PACKET_SAMPLES];
            if let Sound::Clip(clip, from) = sound {
                if let Some(wide) = clip.wide().and_then(|wide| wide.get(2 * from..2 * (from + out.len()))) {
                    encoder.encode(wide, out);
                    return;
                }
                clip.copy_samples(from, &mut samples);
            }
            encoder.encode_narrow(&samples, out);
        })
    }

    fn fill_opus(&mut self, frame: &mut [u8]) -> Filled {
        if let Some(playing) = &mut self.playing {
            playing.skip_empty();
            if let Some(segment) = playing.segments.get(playing.index) {
                let length = match segment {
                    Segment::Clip(_) if self.is_loud && playing.offset < PACKET_SAMPLES => {
                        self.is_loud = false;
                        return Filled { length: copy_packet(opus::silence(), frame), played: None };
                    }
                    Segment::Clip(clip) => {
                        self.is_loud = playing.offset + PACKET_SAMPLES < clip.samples() || !ends_quietly(clip);
                        copy_opus(&mut self.opus, self.wishes, clip, playing.offset, frame)
                    }
                    Segment::Silence(_) => {
                        self.is_loud = false;
                        copy_packet(opus::silence(), frame)
                    }
                };
                playing.offset += PACKET_SAMPLES;
                playing.skip_empty();
                let is_over = playing.index >= playing.segments.len();
                return Filled { length, played: is_over.then(|| self.playing.take()).flatten().map(|over| over.play) };
            }
        }
        self.is_loud = false;
        Filled { length: copy_packet(opus::silence(), frame), played: self.playing.take().map(|playing| playing.play) }
    }
}

impl Playing {
    /// Goes on to the next segment that has an Opus packet left.
    fn skip_empty(&mut self) {
        while let Some(segment) = self.segments.get(self.index) {
            if self.offset / PACKET_SAMPLES < packets(segment) {
                return;
            }
            self.index += 1;
            self.offset = 0;
        }
    }
}

/// What a part of a frame sounds like.
enum Sound<'a> {
    /// A clip, from this sample on.
    Clip(&'a Clip, usize),
    Silence,
}

/// Fills a frame of a codec with a byte a sample, part by part: `write` fills each. Gives the play whose last sample is in it.
fn join(
    under_way: &mut Option<Playing>,
    mut frame: &mut [u8],
    mut write: impl FnMut(Sound<'_>, &mut [u8]),
) -> Option<PlayId> {
    if let Some(playing) = under_way {
        while let Some(segment) = playing.segments.get(playing.index) {
            let left = samples(segment).saturating_sub(playing.offset);
            let count = left.min(frame.len());
            let (head, rest) = frame.split_at_mut(count);
            match segment {
                Segment::Clip(clip) => write(Sound::Clip(clip, playing.offset), head),
                Segment::Silence(_) => write(Sound::Silence, head),
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
    write(Sound::Silence, frame);
    under_way.take().map(|playing| playing.play)
}

/// Writes the clip's Opus packet at the sample `from` and gives its length.
fn copy_opus(
    live: &mut Option<opus::Encoder>,
    wishes: opus::Wishes,
    clip: &Clip,
    from: usize,
    out: &mut [u8],
) -> usize {
    if from < PACKET_SAMPLES {
        *live = None;
    }
    if live.is_none()
        && wishes.allow_prepared()
        && let Some(packet) = clip.opus().and_then(|packets| packets.get(from / PACKET_SAMPLES))
    {
        return copy_packet(packet, out);
    }
    let mut samples = [0; PACKET_SAMPLES];
    clip.copy_samples(from, &mut samples);
    match live.get_or_insert_with(|| opus::Encoder::wished(8_000, wishes)).encode(&samples, out) {
        0 => copy_packet(opus::silence(), out),
        length => length,
    }
}

fn encode_g711(law: Law, samples: &[i16], out: &mut [u8]) -> usize {
    out.iter_mut().zip(samples).map(|(to, sample)| *to = g711::encode(law, *sample)).count()
}

fn copy_packet(packet: &[u8], out: &mut [u8]) -> usize {
    out.iter_mut().zip(packet).map(|(to, from)| *to = *from).count()
}

/// True when the last 20 ms of a clip are below −54 dBFS.
fn ends_quietly(clip: &Clip) -> bool {
    let mut tail = [0; PACKET_SAMPLES];
    clip.copy_samples(clip.samples().saturating_sub(PACKET_SAMPLES), &mut tail);
    tail.iter().all(|sample| sample.unsigned_abs() <= 64)
}

/// How many samples a segment has, 8,000 a second.
fn samples(segment: &Segment) -> usize {
    match segment {
        Segment::Clip(clip) => clip.samples(),
        Segment::Silence(duration) => {
            usize::try_from((duration.as_nanos() * 8).div_ceil(1_000_000)).unwrap_or(usize::MAX)
        }
    }
}

/// How many Opus packets a segment has.
fn packets(segment: &Segment) -> usize {
    match segment {
        Segment::Clip(clip) => {
            clip.opus().map_or_else(|| opus::packets_of(clip.samples(), 8_000), |packets| packets.len())
        }
        Segment::Silence(_) => samples(segment).div_ceil(PACKET_SAMPLES),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::audio::{Decoder, Frame, Pcm};

    fn clip(bytes: std::ops::Range<u8>) -> Segment {
        let bytes: Box<[u8]> = bytes.collect();
        let pcma = bytes.iter().map(|byte| byte ^ 0x80).collect();
        Segment::Clip(Arc::new(Clip::from_g711(bytes, pcma)))
    }

    fn frames(segments: Vec<Segment>, length: usize, codec: Codec) -> Vec<(Vec<u8>, Option<u32>)> {
        let mut player = Player::new(opus::Wishes::NONE);
        player.start(PlayId(1), segments.into());
        let mut frames = Vec::new();
        while player.is_playing() {
            let mut frame = vec![0; length];
            let Filled { length, played } = player.fill(codec, &mut frame);
            frame.truncate(length);
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
        let mut player = Player::new(opus::Wishes::NONE);
        assert!(!player.start(PlayId(1), Box::new([])));
        assert!(!player.start(PlayId(1), [Segment::Silence(Duration::ZERO), clip(0..0)].into()));
        assert!(player.start(PlayId(1), [Segment::Silence(Duration::MAX)].into()));
        player.stop();
        let mut frame = [0; 3];
        assert_eq!(player.fill(Codec::Pcmu, &mut frame), Filled { length: 3, played: None });
        assert_eq!(frame, [255; 3]);
    }

    /// A tone of `samples`, quiet at both ends, as prompts are.
    fn tone(samples: u32, frequency: f64) -> Pcm {
        let sample = |index: u32| {
            let edge = f64::from(index.min(samples - index).min(80)) / 80.0;
            (f64::from(index) * frequency * std::f64::consts::TAU / 8_000.0).sin() * edge * 9_000.0
        };
        // In µ-law from the beginning, like the prompts that ship.
        let law = |sample: i16| g711::decode(Law::Mu, g711::encode(Law::Mu, sample));
        Pcm { samples: (0..samples).map(|index| law(sample(index) as i16)).collect(), rate: 8_000 }
    }

    fn segments(prepared: bool) -> Vec<Segment> {
        let clip = |samples, frequency| {
            let recording = tone(samples, frequency);
            let clip = Clip::from_pcm(&recording.samples);
            for codec in Codec::ALL.into_iter().filter(|_| prepared) {
                clip.prepare(codec, &recording).unwrap();
            }
            Segment::Clip(Arc::new(clip))
        };
        vec![
            clip(1_000, 440.0),
            Segment::Silence(Duration::from_millis(30)),
            clip(0, 1.0),
            clip(2_345, 700.0),
            clip(800, 300.0),
        ]
    }

    #[test]
    fn a_leg_that_encodes_by_itself_sends_what_a_prepared_clip_holds() {
        for codec in Codec::ALL {
            assert_eq!(frames(segments(false), 160, codec), frames(segments(true), 160, codec), "{codec:?}");
        }
    }

    #[test]
    fn segments_take_whole_packets_in_opus() {
        let frames = frames(segments(true), 160, Codec::Opus);
        // 1,000 + 52, 2,345 + 52 and 800 + 52 samples with what the encoder holds back; 30 ms of silence; one packet of it
        // between two clips of which the first ends loudly.
        assert_eq!(frames.len(), 7 + 2 + 15 + 1 + 6);
        assert_eq!(frames[24], (opus::silence().to_vec(), None));
        assert_eq!(frames[7..9], [(opus::silence().to_vec(), None), (opus::silence().to_vec(), None)]);
        let ends: Vec<usize> = (0..frames.len()).filter(|index| frames[*index].1.is_some()).collect();
        assert_eq!(ends, [30]);
    }

    /// Any clip may follow any other, cut off or not: where they meet, nothing is louder than they are, and silence becomes quiet.
    #[test]
    fn clips_meet_without_a_click() {
        for codec in [Codec::G722, Codec::Opus] {
            for cut in [3, 5, 9, 14] {
                let (mut player, mut decoder) = (Player::new(opus::Wishes::NONE), Decoder::new(codec));
                let mut heard = Frame::silent(codec.sample_rate());
                let mut next = |player: &mut Player| {
                    let mut frame = [0; 160];
                    let filled = player.fill(codec, &mut frame);
                    decoder.decode(&frame[..filled.length], &mut heard).unwrap();
                    heard.samples().iter().map(|sample| sample.unsigned_abs()).max().unwrap()
                };
                player.start(PlayId(1), segments(true).into());
                let peaks: Vec<u16> = (0..cut).map(|_| next(&mut player)).collect();
                player.start(PlayId(2), segments(true)[3..].into());
                let again: Vec<u16> = (0..19).map(|_| next(&mut player)).collect();
                player.stop();
                let quiet: Vec<u16> = (0..10).map(|_| next(&mut player)).collect();
                assert!(peaks.iter().chain(&again).all(|peak| *peak < 10_800), "{codec:?} {cut}: {peaks:?} {again:?}");
                assert!(quiet[5..].iter().all(|peak| *peak <= 20), "{codec:?} {cut}: {quiet:?}");
            }
        }
    }
}
