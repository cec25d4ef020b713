//! Who hears whom: two legs joined, a third that listens, whispers or joins them.
//!
//! ```text
//!                    hears                      is heard by
//! Talks              all who talk, and          all but those on hold
//!                    who whispers to it
//! Listens            all who talk               nobody
//! Whispers(to)       all who talk               `to` alone
//! on hold            nobody (its music)         nobody
//! ```
//!
//! Each leg says its last 20 ms ([`Bridge::say`]) and asks for what it hears ([`Bridge::hear`]) once a tick, whenever its tick
//! is. So what one says the other hears with its next packet; on the way there and back together that takes one frame longer
//! than the jitter buffers.
//!
//! A leg that hears one other leg in its own codec gets that leg's **payloads as they came**: nothing is decoded, and nothing is
//! lost by it. They still leave as packets of its own stream, with its sequence number, timestamp and pace: the far
//! end must not hear the joint. Everybody else gets **samples**, mixed without its own voice, to be encoded. Which of both is
//! settled when somebody comes or goes, not from packet to packet: an encoder that is used on and off would click.

use crate::audio::{Codec, Frame, PAYLOAD_MAX, Resampler};
use crate::ids::LegId;

use super::mixer::{Gain, Mixer};

/// Parties of a bridge at most: two, a supervisor, and room for a conference of a family.
pub const PARTIES_MAX: usize = 8;

/// What a party does in a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Hears and is heard.
    Talks,
    /// Hears without being heard.
    Listens,
    /// Is heard by this leg alone.
    Whispers(LegId),
}

/// 20 ms of what somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice<'a> {
    /// Nothing.
    Silent,
    /// A payload of 20 ms as it came, and its samples.
    Payload(&'a [u8], &'a Frame),
    /// Samples.
    Samples(&'a Frame),
}

/// Who is in, and what each said last.
#[derive(Debug, Default)]
pub struct Bridge {
    parties: Vec<Party>,
}

/// The bridge has [`PARTIES_MAX`] parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bridge has {PARTIES_MAX} parties already")]
pub struct Full;

#[derive(Debug)]
struct Party {
    leg: LegId,
    role: Role,
    codec: Codec,
    held: bool,
    hears: Hears,
    said: Said,
    /// What it said at the rates that others need.
    elsewhere: Vec<Elsewhere>,
}

/// Where a party's sound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hears {
    Nobody,
    /// One leg in the party's own codec.
    Payloads(LegId),
    Mix,
}

/// A party's last 20 ms.
#[derive(Debug)]
struct Said {
    spoke: bool,
    payload: [u8; PAYLOAD_MAX],
    /// 0: there are samples only.
    payload_length: usize,
    samples: Frame,
}

#[derive(Debug)]
struct Elsewhere {
    resampler: Resampler,
    samples: Frame,
}

impl Bridge {
    /// Takes a leg in, or gives one that is in another role or codec.
    ///
    /// # Errors
    /// [`Full`].
    pub fn join(&mut self, leg: LegId, role: Role, codec: Codec) -> Result<(), Full> {
        if let Some(party) = self.parties.iter_mut().find(|party| party.leg == leg) {
            if party.codec != codec {
                party.said = Said::nothing(codec);
            }
            (party.role, party.codec) = (role, codec);
        } else if self.parties.len() < PARTIES_MAX {
            let (hears, said) = (Hears::Nobody, Said::nothing(codec));
            self.parties.push(Party { leg, role, codec, held: false, hears, said, elsewhere: Vec::new() });
        } else {
            return Err(Full);
        }
        self.settle();
        Ok(())
    }

    /// A leg speaks another codec from now on; false when it is not in.
    pub fn change_codec(&mut self, leg: LegId, codec: Codec) -> bool {
        let Some(role) = self.party(leg).map(|party| party.role) else { return false };
        // Who is in is never one too many.
        let _ = self.join(leg, role, codec);
        true
    }

    /// Lets a leg go. What it said is not heard any more.
    pub fn leave(&mut self, leg: LegId) {
        self.parties.retain(|party| party.leg != leg);
        self.settle();
    }

    /// Puts a leg on hold, or takes it back.
    pub fn hold(&mut self, leg: LegId, held: bool) {
        if let Some(party) = self.parties.iter_mut().find(|party| party.leg == leg) {
            party.held = held;
        }
        self.settle();
    }

    /// The legs that are in, in the order they came.
    pub fn legs(&self) -> impl Iterator<Item = LegId> {
        self.parties.iter().map(|party| party.leg)
    }

    /// Those who hear this leg's voice, and its keys.
    pub fn listeners(&self, speaker: LegId) -> impl Iterator<Item = LegId> {
        let speaker = self.party(speaker);
        let listeners = self.parties.iter().filter(move |party| speaker.is_some_and(|speaker| hears(party, speaker)));
        listeners.map(|party| party.leg)
    }

    /// A codec that this leg's sound is made from, and its own, when they are not the same: what `transcoded` means in a call's record.
    #[must_use]
    pub fn transcoded(&self, listener: LegId) -> Option<(Codec, Codec)> {
        let listener = self.party(listener)?;
        let other = self.parties.iter().find(|party| hears(listener, party) && listener.codec != party.codec)?;
        Some((other.codec, listener.codec))
    }

    /// What this leg said in its last 20 ms: samples at its codec's rate, and the payload that they were decoded from, if it came as one of
    /// 20 ms.
    pub fn say(&mut self, leg: LegId, samples: &Frame, payload: Option<&[u8]>) {
        let Some(party) = self.parties.iter_mut().find(|party| party.leg == leg) else { return };
        let said = &mut party.said;
        said.spoke = true;
        said.payload_length = 0;
        if let Some(payload) = payload
            && let Some(place) = said.payload.get_mut(..payload.len())
        {
            place.copy_from_slice(payload);
            said.payload_length = payload.len();
        }
        if samples.rate() == said.samples.rate() {
            said.samples.copy_from(samples.samples());
        } else {
            said.samples.silence();
        }
        for other in &mut party.elsewhere {
            other.resampler.process(said.samples.samples(), other.samples.samples_mut());
        }
    }

    /// What this leg hears in its next 20 ms; a mix is made in `mix`.
    pub fn hear<'a>(&'a self, leg: LegId, mixer: &mut Mixer, mix: &'a mut Frame) -> Voice<'a> {
        let Some(listener) = self.party(leg) else { return Voice::Silent };
        if let Hears::Payloads(speaker) = listener.hears
            && let Some(said) = self.party(speaker).map(|speaker| &speaker.said)
        {
            return match said.payload.get(..said.payload_length) {
                _ if !said.spoke => Voice::Silent,
                Some(payload) if !payload.is_empty() => Voice::Payload(payload, &said.samples),
                Some(_) | None => Voice::Samples(&said.samples),
            };
        }
        let rate = listener.codec.sample_rate();
        mixer.begin(rate);
        for speaker in self.parties.iter().filter(|party| party.said.spoke && hears(listener, party)) {
            mixer.add(speaker.said_at(rate), Gain::FULL);
        }
        if mixer.voices() == 0 {
            return Voice::Silent;
        }
        mixer.take(mix);
        Voice::Samples(mix)
    }

    fn party(&self, leg: LegId) -> Option<&Party> {
        self.parties.iter().find(|party| party.leg == leg)
    }

    /// Settles who gets payloads and which rates are needed, after any change.
    fn settle(&mut self) {
        let settled: Vec<(Hears, Vec<u32>)> = self
            .parties
            .iter()
            .map(|party| {
                let mut heard = self.parties.iter().filter(|other| hears(party, other));
                let source = match (heard.next(), heard.next()) {
                    (None, _) => Hears::Nobody,
                    (Some(only), None) if only.codec == party.codec => Hears::Payloads(only.leg),
                    (Some(_), _) => Hears::Mix,
                };
                let own = party.codec.sample_rate();
                let listeners = self.parties.iter().filter(|other| hears(other, party));
                let mut rates: Vec<u32> =
                    listeners.map(|other| other.codec.sample_rate()).filter(|rate| *rate != own).collect();
                rates.sort_unstable();
                rates.dedup();
                (source, rates)
            })
            .collect();
        for (party, (source, rates)) in self.parties.iter_mut().zip(settled) {
            party.hears = source;
            let own = party.codec.sample_rate();
            party.elsewhere.retain(|other| other.resampler.from() == own && rates.contains(&other.resampler.to()));
            for rate in rates {
                let is_there = party.elsewhere.iter().any(|other| other.resampler.to() == rate);
                if !is_there && let Some(resampler) = Resampler::new(own, rate) {
                    party.elsewhere.push(Elsewhere { resampler, samples: Frame::silent(rate) });
                }
            }
        }
    }
}

/// The table on top.
fn hears(listener: &Party, speaker: &Party) -> bool {
    let is_audible = match speaker.role {
        Role::Talks => true,
        Role::Listens => false,
        Role::Whispers(to) => listener.leg == to,
    };
    is_audible && !listener.held && !speaker.held && listener.leg != speaker.leg
}

impl Party {
    fn said_at(&self, rate: u32) -> &[i16] {
        if self.said.samples.rate() == rate {
            return self.said.samples.samples();
        }
        let other = self.elsewhere.iter().find(|other| other.samples.rate() == rate);
        other.map_or(&[], |other| other.samples.samples())
    }
}

impl Said {
    fn nothing(codec: Codec) -> Self {
        let samples = Frame::silent(codec.sample_rate());
        Self { spoke: false, payload: [0; PAYLOAD_MAX], payload_length: 0, samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LegId = LegId(1);
    const B: LegId = LegId(2);
    const C: LegId = LegId(3);

    fn bridge(parties: &[(LegId, Role, Codec)]) -> Bridge {
        let mut bridge = Bridge::default();
        for &(leg, role, codec) in parties {
            bridge.join(leg, role, codec).unwrap();
        }
        bridge
    }

    fn frame(sample: i16) -> Frame {
        let mut frame = Frame::silent(8_000);
        frame.copy_from(&[sample; 160]);
        frame
    }

    /// A says 100, B 20, C 3, as payloads of that byte and samples of that value.
    fn all_speak(bridge: &mut Bridge) {
        for (leg, sample) in [(A, 100), (B, 20), (C, 3)] {
            bridge.say(leg, &frame(sample), Some(&[sample as u8; 160]));
        }
    }

    /// `p100` for a payload of that byte, `s23` for samples of that value.
    fn heard(bridge: &Bridge, leg: LegId) -> String {
        let (mut mixer, mut mix) = (Mixer::new(), Frame::silent(8_000));
        match bridge.hear(leg, &mut mixer, &mut mix) {
            Voice::Silent => "-".into(),
            Voice::Payload(payload, _) => format!("p{}", payload[0]),
            Voice::Samples(samples) => format!("s{}", samples.samples()[0]),
        }
    }

    fn all_hear(bridge: &Bridge) -> [String; 3] {
        [A, B, C].map(|leg| heard(bridge, leg))
    }

    #[test]
    fn two_legs_of_one_codec_get_each_others_payloads() {
        let mut bridge = bridge(&[(A, Role::Talks, Codec::Pcmu), (B, Role::Talks, Codec::Pcmu)]);
        assert_eq!(all_hear(&bridge), ["-", "-", "-"], "nobody has spoken");
        all_speak(&mut bridge);
        assert_eq!(all_hear(&bridge), ["p20", "p100", "-"]);
        bridge.say(A, &frame(7), None);
        assert_eq!(all_hear(&bridge), ["p20", "s7", "-"], "a tick without a payload of 20 ms");
        assert_eq!(bridge.transcoded(A), None);
    }

    #[test]
    fn legs_of_two_codecs_get_samples() {
        let mut bridge = bridge(&[(A, Role::Talks, Codec::Pcmu), (B, Role::Talks, Codec::Pcma)]);
        all_speak(&mut bridge);
        assert_eq!(all_hear(&bridge), ["s20", "s100", "-"]);
        assert_eq!(bridge.transcoded(A), Some((Codec::Pcma, Codec::Pcmu)));
        bridge.join(B, Role::Talks, Codec::Pcmu).unwrap();
        all_speak(&mut bridge);
        assert_eq!(all_hear(&bridge), ["p20", "p100", "-"], "a re-INVITE settled it");
    }

    #[test]
    fn a_third_party_listens_whispers_and_joins() {
        let mut bridge =
            bridge(&[(A, Role::Talks, Codec::Pcmu), (B, Role::Talks, Codec::Pcmu), (C, Role::Listens, Codec::Pcmu)]);
        all_speak(&mut bridge);
        assert_eq!(all_hear(&bridge), ["p20", "p100", "s120"], "who listens changes nothing for the others");
        bridge.join(C, Role::Whispers(B), Codec::Pcmu).unwrap();
        all_speak(&mut bridge);
        assert_eq!(all_hear(&bridge), ["p20", "s103", "s120"], "the caller hears nothing of it");
        assert_eq!(bridge.listeners(C).collect::<Vec<_>>(), [B]);
        bridge.join(C, Role::Talks, Codec::Pcmu).unwrap();
        all_speak(&mut bridge);
        assert_eq!(all_hear(&bridge), ["s23", "s103", "s120"], "each hears all but itself");
        bridge.leave(C);
        assert_eq!(all_hear(&bridge), ["p20", "p100", "-"]);
        bridge.leave(A);
        assert_eq!(heard(&bridge, B), "-", "nothing is left of who went");
    }

    #[test]
    fn a_leg_on_hold_hears_nobody_and_is_not_heard() {
        let mut bridge = bridge(&[(A, Role::Talks, Codec::Pcmu), (B, Role::Talks, Codec::Pcmu)]);
        bridge.hold(A, true);
        all_speak(&mut bridge);
        assert_eq!(all_hear(&bridge), ["-", "-", "-"]);
        bridge.hold(A, false);
        assert_eq!(all_hear(&bridge), ["p20", "p100", "-"]);
    }

    #[test]
    fn the_ninth_party_is_refused() {
        let mut bridge = Bridge::default();
        for leg in 0..PARTIES_MAX as u64 {
            bridge.join(LegId(leg), Role::Talks, Codec::Pcmu).unwrap();
            bridge.say(LegId(leg), &frame(i16::MAX), None);
        }
        assert_eq!(bridge.join(LegId(99), Role::Listens, Codec::Pcmu), Err(Full));
        assert_eq!(bridge.join(LegId(0), Role::Listens, Codec::Pcmu), Ok(()), "who is in may change its role");
        let loud: i16 = heard(&bridge, LegId(1)).trim_start_matches('s').parse().unwrap();
        assert!((31_000..32_767).contains(&loud), "six voices at full scale: {loud}");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut bridge = bridge(&[(A, Role::Talks, Codec::Pcmu), (B, Role::Talks, Codec::Pcmu)]);
        bridge.say(A, &frame(9), Some(&[1; PAYLOAD_MAX + 1]));
        assert_eq!(heard(&bridge, B), "s9");
        bridge.say(A, &Frame::silent(16_000), None);
        assert_eq!(heard(&bridge, B), "s0");
        bridge.say(LegId(77), &frame(1), None);
        assert_eq!(heard(&bridge, LegId(77)), "-");
    }
}
