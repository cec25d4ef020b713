//! The bridges of one worker: takes legs in and out, and carries what each says to those who hear it.
//!
//! Both ends of a bridge are legs of the same worker, so nothing of this crosses threads. A leg that is in a bridge comes here
//! before its tick for what it hears, and after it with what it said.

use std::collections::BTreeMap;

use crate::audio::{Codec, Frame};
use crate::dtmf::Digit;
use crate::ids::{BridgeId, LegId};

use super::bridge::{Bridge, Role};
use super::mixer::Mixer;
use super::speaking::Music;
use super::{Event, Leg};

/// What is switched on a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The leg takes part in this bridge, or plays another role in it. It leaves the one it was in.
    Join {
        /// Which.
        bridge: BridgeId,
        /// As what.
        role: Role,
        /// Its keys are passed on to those who hear it, as telephone events of their own streams; they are reported
        /// either way.
        passes_keys: bool,
    },
    /// The leg leaves its bridge.
    Leave,
    /// The leg hears this music and nobody, and is not heard, until it is resumed.
    Hold(Music),
    /// Takes the leg back into its bridge.
    Resume,
    /// Hold music without a bridge: a caller who waits. `None` ends it.
    Music(Option<Music>),
}

/// All bridges of one worker.
#[derive(Debug)]
pub struct Switchboard {
    bridges: BTreeMap<BridgeId, Bridge>,
    places: BTreeMap<LegId, Place>,
    mixer: Mixer,
    mix: Frame,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    bridge: BridgeId,
    passes_keys: bool,
}

impl Switchboard {
    /// No bridges.
    #[must_use]
    pub fn new() -> Self {
        Self { bridges: BTreeMap::new(), places: BTreeMap::new(), mixer: Mixer::new(), mix: Frame::silent(8_000) }
    }

    /// Switches a leg. `out` gets [`Event::Bridged`] for each leg whose company has changed.
    pub fn switch(&mut self, id: LegId, leg: &mut Leg, switch: Switch, out: &mut Vec<(LegId, Event)>) {
        match switch {
            Switch::Join { bridge, role, passes_keys } => {
                if self.places.get(&id).is_some_and(|place| place.bridge != bridge) {
                    self.leave(id, out);
                }
                let joined = self.bridges.entry(bridge).or_default().join(id, role, leg.codec());
                match joined {
                    Ok(()) => {
                        leg.bridge(true);
                        self.places.insert(id, Place { bridge, passes_keys });
                    }
                    Err(full) => tracing::warn!(leg = id.0, "{full}"),
                }
                self.tell(bridge, out);
            }
            Switch::Leave => {
                leg.bridge(false);
                leg.play_music(None);
                self.leave(id, out);
            }
            Switch::Hold(music) => {
                leg.play_music(Some(music));
                self.hold(id, true);
            }
            Switch::Resume => {
                leg.play_music(None);
                self.hold(id, false);
            }
            Switch::Music(music) => leg.play_music(music),
        }
    }

    /// A leg is closed, or its codec has changed: `codec` is the new one.
    pub fn changed(&mut self, id: LegId, codec: Option<Codec>, out: &mut Vec<(LegId, Event)>) {
        let Some(place) = self.places.get(&id).copied() else { return };
        match codec {
            None => self.leave(id, out),
            Some(codec) => {
                if self.bridges.get_mut(&place.bridge).is_some_and(|bridge| bridge.change_codec(id, codec)) {
                    self.tell(place.bridge, out);
                }
            }
        }
    }

    /// Gives a leg what it hears in its next tick.
    pub fn give(&mut self, id: LegId, leg: &mut Leg) {
        let bridge = self.places.get(&id).and_then(|place| self.bridges.get(&place.bridge));
        if let Some(bridge) = bridge {
            leg.give(bridge.hear(id, &mut self.mixer, &mut self.mix));
        }
    }

    /// Takes from a leg what its far end said in its last tick.
    pub fn take(&mut self, id: LegId, leg: &Leg) {
        let bridge = self.places.get(&id).and_then(|place| self.bridges.get_mut(&place.bridge));
        if let Some((bridge, samples)) = bridge.zip(leg.heard()) {
            bridge.say(id, samples, leg.heard_payload());
        }
    }

    /// Passes a key on: `press` is called for each leg that is to press it.
    pub fn pass_key(&self, id: LegId, digit: Digit, mut press: impl FnMut(LegId, Digit)) {
        let Some(place) = self.places.get(&id).filter(|place| place.passes_keys) else { return };
        if let Some(bridge) = self.bridges.get(&place.bridge) {
            bridge.listeners(id).for_each(|listener| press(listener, digit));
        }
    }

    fn leave(&mut self, id: LegId, out: &mut Vec<(LegId, Event)>) {
        let Some(place) = self.places.remove(&id) else { return };
        let Some(bridge) = self.bridges.get_mut(&place.bridge) else { return };
        bridge.leave(id);
        if bridge.legs().next().is_none() {
            self.bridges.remove(&place.bridge);
        }
        self.tell(place.bridge, out);
    }

    fn hold(&mut self, id: LegId, held: bool) {
        let bridge = self.places.get(&id).and_then(|place| self.bridges.get_mut(&place.bridge));
        if let Some(bridge) = bridge {
            bridge.hold(id, held);
        }
    }

    /// Tells everyone in a bridge in what company they are.
    fn tell(&self, bridge: BridgeId, out: &mut Vec<(LegId, Event)>) {
        let Some(bridge) = self.bridges.get(&bridge) else { return };
        let parties = bridge.legs().count();
        for leg in bridge.legs() {
            out.push((leg, Event::Bridged { parties, transcoded: bridge.transcoded(leg) }));
        }
    }
}

impl Default for Switchboard {
    fn default() -> Self {
        Self::new()
    }
}
