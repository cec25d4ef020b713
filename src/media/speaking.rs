//! What a leg says besides prompts: hold music, and what it hears through a bridge. A leg has it only once it needs one of them,
//! or is recorded; a menu plays its prompts as they lie there.
//!
//! ```text
//!                 nothing behind it     music                      a bridge
//! no prompt       silence               music                      the payload as it came, or the mix, encoded
//! a prompt        the prompt            the prompt over the music  the prompt over the bridge
//! ```
//!
//! What lies under a prompt is 14 dB softer. Whoever is on hold hears music and no bridge. All of it leaves as one
//! stream: the leg numbers and times the packets, whatever is in them.

use std::sync::Arc;

use crate::audio::g711::{self, Law};
use crate::audio::{Clip, Codec, Decoder, Encoder, Frame, PAYLOAD_MAX, Resampler, opus};

use super::bridge::Voice;
use super::mixer::{Gain, Mixer};
use super::player::{Filled, Player};

/// Clips that follow each other for ever, shared by all who hear them.
pub type Music = Arc<[Arc<Clip>]>;

/// A leg's voice besides its prompts. Allocates nothing after [`Speaking::new`] but the filter of a wide codec.
#[derive(Debug)]
pub(super) struct Speaking {
    codec: Codec,
    wishes: opus::Wishes,
    encoder: Encoder,
    music: Option<Loop>,
    music_plays: bool,
    /// What the bridge gave for this tick.
    bridged: Bridged,
    payload: [u8; PAYLOAD_MAX],
    payload_length: usize,
    samples: Frame,
    mixer: Mixer,
    mix: Frame,
    prompts: Narrow,
    /// Understands what leaves, for who records it.
    ear: Option<Ear>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bridged {
    Nothing,
    Payload,
    Samples,
}

/// A place in music.
#[derive(Debug)]
struct Loop {
    clips: Music,
    index: usize,
    offset: usize,
    sound: Narrow,
}

/// Sound of 8,000 samples a second at the codec's rate.
#[derive(Debug)]
struct Narrow {
    narrow: Frame,
    wide: Option<(Resampler, Frame)>,
}

#[derive(Debug)]
struct Ear {
    decoder: Decoder,
    heard: Frame,
}

impl Speaking {
    pub(super) fn new(codec: Codec, wishes: opus::Wishes) -> Self {
        let rate = codec.sample_rate();
        Self {
            codec,
            wishes,
            encoder: Encoder::wished(codec, wishes),
            music: None,
            music_plays: false,
            bridged: Bridged::Nothing,
            payload: [0; PAYLOAD_MAX],
            payload_length: 0,
            samples: Frame::silent(rate),
            mixer: Mixer::new(),
            mix: Frame::silent(rate),
            prompts: Narrow::new(rate),
            ear: None,
        }
    }

    /// The leg speaks another codec from now on, or the same as its far end now wants it.
    pub(super) fn change_codec(&mut self, codec: Codec, wishes: opus::Wishes) {
        if (codec, wishes) == (self.codec, self.wishes) {
            return;
        }
        let (music, plays, is_recorded) = (self.music.take(), self.music_plays, self.ear.is_some());
        *self = Self::new(codec, wishes);
        self.music = music.map(|music| Loop { sound: Narrow::new(codec.sample_rate()), ..music });
        self.music_plays = plays;
        self.record(is_recorded);
    }

    /// Plays this music, or none. The music that played before goes on where it stopped.
    pub(super) fn play_music(&mut self, music: Option<Music>) {
        self.music_plays = music.is_some();
        if let Some(clips) = music {
            let goes_on = self.music.as_ref().is_some_and(|music| Arc::ptr_eq(&music.clips, &clips));
            if !goes_on {
                self.music = Some(Loop { clips, index: 0, offset: 0, sound: Narrow::new(self.codec.sample_rate()) });
            }
        }
    }

    /// What the bridge gives for the next tick.
    pub(super) fn bridge(&mut self, voice: Voice<'_>) {
        self.bridged = match voice {
            Voice::Silent => Bridged::Nothing,
            Voice::Payload(payload, samples) => {
                self.payload_length = payload.len().min(PAYLOAD_MAX);
                self.payload.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
                self.samples.copy_from(samples.samples());
                Bridged::Payload
            }
            Voice::Samples(samples) => {
                self.samples.copy_from(samples.samples());
                Bridged::Samples
            }
        };
    }

    /// Begins or ends keeping what is said as samples.
    pub(super) fn record(&mut self, on: bool) {
        if !on {
            self.ear = None;
        } else if self.ear.is_none() {
            let heard = Frame::silent(self.codec.sample_rate());
            self.ear = Some(Ear { decoder: Decoder::new(self.codec), heard });
        }
    }

    /// What was said in the last tick, as the far end decodes it; `None` while nobody records.
    pub(super) fn said(&self) -> Option<&Frame> {
        self.ear.as_ref().map(|ear| &ear.heard)
    }

    /// True when there is something to say behind the prompts.
    pub(super) fn is_speaking(&self) -> bool {
        self.music_plays || self.bridged != Bridged::Nothing
    }

    /// Writes the payload of the next 20 ms into `body`, [`PAYLOAD_MAX`] bytes.
    pub(super) fn fill(&mut self, player: &mut Player, body: &mut [u8]) -> Filled {
        let bridged = std::mem::replace(&mut self.bridged, Bridged::Nothing);
        let said = match (player.is_playing(), self.music_plays, bridged) {
            (_, false, Bridged::Nothing) => player.fill(self.codec, body),
            (false, false, Bridged::Payload) => {
                body.iter_mut().zip(self.payload).for_each(|(to, from)| *to = from);
                Filled { length: self.payload_length.min(body.len()), played: None }
            }
            (is_prompted, music_plays, bridged) => self.mix(is_prompted.then_some(player), music_plays, bridged, body),
        };
        if let Some(ear) = &mut self.ear {
            // Without sound the frame is silent.
            let _ = ear.decoder.decode(body.get(..said.length).unwrap_or_default(), &mut ear.heard);
        }
        said
    }

    /// A tick in which a key is pressed in place of everything.
    pub(super) fn press(&mut self) {
        self.bridged = Bridged::Nothing;
        if let Some(ear) = &mut self.ear {
            ear.heard.silence();
        }
    }

    fn mix(&mut self, prompt: Option<&mut Player>, music_plays: bool, bridged: Bridged, body: &mut [u8]) -> Filled {
        self.mixer.begin(self.codec.sample_rate());
        let under = if prompt.is_some() { Gain::UNDER } else { Gain::FULL };
        let mut played = None;
        if let Some(player) = prompt {
            played = self.prompts.fill(|bytes| player.fill(Codec::Pcmu, bytes).played);
            self.mixer.add(self.prompts.samples(), Gain::FULL);
        }
        match (&mut self.music, bridged) {
            (Some(music), _) if music_plays => self.mixer.add(music.next(), under),
            (_, Bridged::Samples | Bridged::Payload) => self.mixer.add(self.samples.samples(), under),
            (_, Bridged::Nothing) => {}
        }
        self.mixer.take(&mut self.mix);
        Filled { length: self.encoder.encode(&self.mix, body), played }
    }
}

impl Loop {
    /// The next 20 ms.
    fn next(&mut self) -> &[i16] {
        let Self { clips, index, offset, sound } = self;
        sound.fill(|mut bytes| {
            // As many turns as it takes to find out that all clips are empty.
            let mut turns = clips.len() * 2;
            while !bytes.is_empty() && turns > 0 {
                let clip = clips.get(*index).map(|clip| clip.g711(Law::Mu)).unwrap_or_default();
                let left = clip.get(*offset..).unwrap_or_default();
                let count = left.len().min(bytes.len());
                let (head, rest) = bytes.split_at_mut(count);
                head.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
                bytes = rest;
                *offset += count;
                if count == left.len() {
                    (*index, *offset) = ((*index + 1) % clips.len().max(1), 0);
                }
                turns = if count > 0 { clips.len() * 2 } else { turns - 1 };
            }
            bytes.fill(SILENCE);
        });
        sound.samples()
    }
}

impl Narrow {
    fn new(rate: u32) -> Self {
        let wide = Resampler::new(NARROW, rate).map(|resampler| (resampler, Frame::silent(rate)));
        Self { narrow: Frame::silent(NARROW), wide }
    }

    /// 20 ms of sound from its bytes in µ-law, which `write` fills in.
    fn fill<T>(&mut self, write: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut bytes = [SILENCE; NARROW as usize / 50];
        let result = write(&mut bytes);
        let samples = self.narrow.samples_mut();
        samples.iter_mut().zip(bytes).for_each(|(sample, byte)| *sample = g711::decode(Law::Mu, byte));
        if let Some((resampler, wide)) = &mut self.wide {
            resampler.process(self.narrow.samples(), wide.samples_mut());
        }
        result
    }

    fn samples(&self) -> &[i16] {
        self.wide.as_ref().map_or(&self.narrow, |(_, wide)| wide).samples()
    }
}

/// The rate of prompts and music.
const NARROW: u32 = 8_000;

/// Silence in µ-law.
const SILENCE: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::super::Segment;
    use super::*;
    use crate::ids::PlayId;

    /// A clip of which every sample is this one, or what µ-law makes of it.
    fn clip(sample: i16, samples: usize) -> Arc<Clip> {
        Arc::new(Clip::from_pcm(&vec![sample; samples]))
    }

    struct Story {
        speaking: Speaking,
        player: Player,
    }

    impl Story {
        fn new(codec: Codec) -> Self {
            let mut speaking = Speaking::new(codec, opus::Wishes::NONE);
            speaking.record(true);
            Self { speaking, player: Player::new(opus::Wishes::NONE) }
        }

        fn prompt(&mut self, sample: i16, samples: usize) {
            self.player.start(PlayId(1), Box::new([Segment::Clip(clip(sample, samples))]));
        }

        /// The samples of the next 20 ms in runs, and whether the prompt is over.
        fn tick(&mut self) -> (Vec<(i16, usize)>, bool) {
            let mut body = [0; PAYLOAD_MAX];
            let said = self.speaking.fill(&mut self.player, &mut body);
            let mut runs: Vec<(i16, usize)> = Vec::new();
            for sample in self.speaking.said().unwrap().samples() {
                match runs.last_mut() {
                    Some((same, count)) if same == sample => *count += 1,
                    _ => runs.push((*sample, 1)),
                }
            }
            (runs, said.played.is_some())
        }
    }

    #[test]
    fn music_goes_round_and_goes_on_where_it_stopped() {
        let mut story = Story::new(Codec::Pcma);
        let music: Music = [clip(996, 100), clip(0, 0), clip(-988, 90)].into();
        story.speaking.play_music(Some(music.clone()));
        assert!(story.speaking.is_speaking());
        assert_eq!(story.tick().0, [(976, 100), (-976, 60)]);
        story.speaking.play_music(None);
        assert_eq!((story.tick().0, story.speaking.is_speaking()), (vec![(8, 160)], false));
        story.speaking.play_music(Some(music));
        assert_eq!(story.tick().0, [(-976, 30), (976, 100), (-976, 30)]);
        story.speaking.play_music(Some([clip(5, 0)].into()));
        assert_eq!(story.tick().0, [(8, 160)], "music without a sound");
        story.speaking.play_music(Some([].into()));
        assert_eq!(story.tick().0, [(8, 160)]);
    }

    #[test]
    fn a_prompt_is_heard_over_music_that_is_softer_meanwhile() {
        let mut story = Story::new(Codec::Pcmu);
        story.speaking.play_music(Some([clip(10_000, 1_000)].into()));
        let full = story.tick().0;
        assert_eq!(full.len(), 1);
        story.prompt(0, 240);
        let under = story.tick().0[0].0;
        assert!((1_800..2_200).contains(&under), "14 dB under {}: {under}", full[0].0);
        assert!(story.tick().1, "reported like any other");
        assert_eq!(story.tick().0, full);
    }

    #[test]
    fn a_bridge_gives_way_to_prompts_and_to_hold_music() {
        let mut story = Story::new(Codec::Pcmu);
        let mut samples = Frame::silent(8_000);
        samples.copy_from(&[10_000; 160]);
        let payload = [g711::encode(Law::Mu, 500); 160];
        let decoded = g711::decode(Law::Mu, payload[0]);
        let given = |story: &mut Story| {
            story.speaking.bridge(Voice::Payload(&payload, &samples));
            story.tick().0
        };
        assert_eq!(given(&mut story), [(decoded, 160)], "as it came");
        assert_eq!(story.tick().0, [(0, 160)], "nothing is said twice");
        story.prompt(0, 160);
        assert!((1_800..2_200).contains(&given(&mut story)[0].0));
        story.speaking.play_music(Some([clip(-1_000, 1_000)].into()));
        assert!(given(&mut story)[0].0 < -900);
    }

    #[test]
    fn another_codec_keeps_the_music_and_its_place() {
        let mut story = Story::new(Codec::Pcmu);
        story.speaking.play_music(Some([clip(996, 100), clip(-988, 100)].into()));
        story.tick();
        story.speaking.change_codec(Codec::Pcma, opus::Wishes::NONE);
        assert_eq!(story.tick().0, [(-976, 40), (976, 100), (-976, 20)]);
    }
}
