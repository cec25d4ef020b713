//! What a step is handed while it acts: the moment, the call's facts and variables, and the few things it may do.

use std::fmt;
use std::time::{Duration, Instant};

use crate::dtmf::Digit;
use crate::ids::PlayId;
use crate::now::Now;
use crate::operator::Operator;
use crate::value::Value;

use super::action::{Action, CallFacts, Callee, Request, RequestId, Trace, Utterance};
use super::expr::{self, CallFact, Reference};
use super::prompt::{Item, Spoken};
use super::{Flow, Step};

/// Why a session is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The caller has pressed nothing since the prompt ended.
    NoInput,
    /// The caller has pressed nothing since the last key.
    InterDigit,
    /// A request has not been answered in time.
    RequestDeadline,
    /// A request takes so long that the caller is told to wait.
    WaitPrompt,
    /// A `wait` step is over, or the delay of an `answer`.
    Wait,
    /// The call has lasted as long as its flow allows.
    MaxDuration,
}

/// The moving parts of a session that steps may touch.
pub(crate) struct Live {
    pub(crate) variables: VariableValues,
    /// Keys that no step has used yet.
    pub(crate) typed: TypeAhead,
    pub(crate) playing: Option<PlayId>,
    pub(crate) pending: Option<(RequestId, Instant)>,
    pub(crate) deadline: Option<(Instant, Why)>,
    /// Since when nobody listens: `deadline` is kept as it was then, and moved by as much when somebody does again.
    pub(crate) held: Option<Instant>,
    /// True when the caller is gone: nothing is played any more.
    pub(crate) silent: bool,
    /// A sensitive entry has ended and no step has listened since: keys that come are its tail, and are forgotten.
    pub(crate) after_secret: bool,
    /// Wrong tries of `verify` steps in this call.
    pub(crate) wrong_tries: u8,
    next_play: u32,
    next_request: u32,
}

/// The values of one frame's variables, by slot.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct VariableValues {
    /// Sorted by slot; only those that are set.
    values: Vec<(u16, Value)>,
}

/// Keys waiting for a step that uses them. Bounded: a caller who leans on the keypad fills nothing.
#[derive(Clone, Copy)]
pub(crate) struct TypeAhead {
    keys: [Option<Digit>; TYPE_AHEAD_MAX],
    count: usize,
}

/// What a step is handed while it acts.
pub(crate) struct Turn<'t> {
    pub(crate) now: Now,
    pub(crate) flow: &'t Flow,
    pub(crate) step: &'t Step,
    pub(crate) operator: &'t Operator,
    pub(crate) facts: &'t CallFacts,
    pub(crate) live: &'t mut Live,
    pub(crate) out: &'t mut Vec<Action>,
}

impl Turn<'_> {
    /// The values that expressions see.
    pub(crate) fn values(&self) -> Env<'_> {
        Env { variables: &self.live.variables, facts: self.facts, now: self.now, operator: self.operator }
    }

    /// Sets a variable, or unsets it.
    pub(crate) fn set(&mut self, slot: u16, value: Option<Value>) {
        self.live.variables.set(slot, value);
    }

    /// Plays these lists one after the other. False when there is nothing to hear, now or because the caller is gone:
    /// then no `Played` follows.
    pub(crate) fn play(&mut self, lists: &[&[Item]]) -> bool {
        let mut spoken = Spoken::default();
        for list in lists {
            spoken.add(list, &self.values(), self.operator);
        }
        self.play_spoken(spoken)
    }

    /// Plays what has been put together.
    pub(crate) fn play_spoken(&mut self, spoken: Spoken) -> bool {
        if !spoken.account.is_empty() && !self.live.silent {
            self.trace(format!("says {}", spoken.account));
        }
        self.play_utterances(spoken.utterances)
    }

    fn play_utterances(&mut self, utterances: Vec<Utterance>) -> bool {
        if utterances.is_empty() || self.live.silent {
            return false;
        }
        self.live.next_play = self.live.next_play.wrapping_add(1);
        let play = PlayId(self.live.next_play);
        self.live.playing = Some(play);
        self.out.push(Action::Play { play, utterances });
        true
    }

    /// Stops what plays, if anything does.
    pub(crate) fn stop_playing(&mut self) {
        if self.live.playing.take().is_some() {
            self.out.push(Action::StopPlaying);
        }
    }

    pub(crate) fn is_playing(&self) -> bool {
        self.live.playing.is_some()
    }

    /// Asks the outside. The step hears [`Answered`](super::step::Input::Answered) or, at the deadline, `Late`.
    pub(crate) fn request(&mut self, request: Request, timeout: Duration) {
        self.live.next_request = self.live.next_request.wrapping_add(1);
        let id = RequestId(self.live.next_request);
        self.live.pending = Some((id, self.now.instant + timeout));
        self.out.push(Action::Request { id, request, timeout });
    }

    /// Leads the caller to somebody. The step hears [`Transferred`](super::step::Input::Transferred).
    pub(crate) fn transfer(&mut self, to: Callee, ring: Duration) {
        self.out.push(Action::Transfer { to, ring });
    }

    /// Sets the step's timer in place of the one it had.
    pub(crate) fn deadline(&mut self, after: Duration, why: Why) {
        let from = self.live.held.unwrap_or(self.now.instant);
        self.live.deadline = Some((from + after, why));
    }

    pub(crate) fn clear_deadline(&mut self) {
        self.live.deadline = None;
    }

    /// Forgets keys that were pressed early.
    pub(crate) fn clear_typed(&mut self) {
        self.live.typed = TypeAhead::default();
    }

    /// A sensitive entry is over. What was keyed beyond its end may be part of the secret (a fifth digit of four): no later step
    /// gets it, and the path does not show it.
    pub(crate) fn end_secret(&mut self) {
        self.clear_typed();
        self.live.after_secret = true;
    }

    /// True when the flow does something with this key wherever a step does not use it.
    pub(crate) fn is_global(&self, digit: Digit) -> bool {
        self.flow.global_key(digit).is_some()
    }

    /// A line of the call's path.
    pub(crate) fn trace(&mut self, what: impl Into<String>) {
        let place = format!("{}/{}", self.flow.id, self.step.name);
        self.out.push(Action::Trace(Trace { place, what: what.into() }));
    }
}

/// The values that expressions see.
pub(crate) struct Env<'e> {
    pub(crate) variables: &'e VariableValues,
    pub(crate) facts: &'e CallFacts,
    pub(crate) now: Now,
    pub(crate) operator: &'e Operator,
}

impl expr::Values for Env<'_> {
    fn value(&self, reference: Reference) -> Option<Value> {
        let fact = match reference {
            Reference::Slot(slot) => return self.variables.get(slot).cloned(),
            Reference::Call(fact) => fact,
        };
        match fact {
            CallFact::Caller => self.facts.caller.clone().map(Value::Text),
            CallFact::Called => Some(Value::Text(self.facts.called.clone())),
            CallFact::Key => Some(Value::Text(self.facts.key.to_string())),
            CallFact::Extension => self.facts.extension.clone().map(Value::Text),
            CallFact::Began => Some(Value::Moment(self.facts.began.wall)),
            CallFact::Now => Some(Value::Moment(self.now.wall)),
            CallFact::Today => Some(Value::Date(self.now.wall.to_zoned(self.operator.time_zone.clone()).date())),
        }
    }
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            variables: VariableValues::default(),
            typed: TypeAhead::default(),
            playing: None,
            pending: None,
            deadline: None,
            held: None,
            silent: false,
            after_secret: false,
            wrong_tries: 0,
            next_play: 0,
            next_request: 0,
        }
    }
}

impl Live {
    /// Another flow goes before: numbers go on, so that what answers it is not taken for ours, and so do the tries.
    pub(crate) fn go_on_from(&mut self, before: &Self) {
        self.next_play = before.next_play;
        self.next_request = before.next_request;
        self.wrong_tries = before.wrong_tries;
    }

    /// The caller listens again, or is gone: the step's timer goes on where it stood.
    pub(crate) fn resume(&mut self, now: Instant) {
        if let Some(since) = self.held.take()
            && let Some((at, _)) = &mut self.deadline
        {
            *at += now.saturating_duration_since(since);
        }
    }
}

impl VariableValues {
    pub(crate) fn get(&self, slot: u16) -> Option<&Value> {
        let place = self.values.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        self.values.get(place).map(|(_, value)| value)
    }

    pub(crate) fn set(&mut self, slot: u16, value: Option<Value>) {
        match (self.values.binary_search_by_key(&slot, |(slot, _)| *slot), value) {
            (Ok(place), Some(value)) => {
                if let Some(entry) = self.values.get_mut(place) {
                    entry.1 = value;
                }
            }
            (Ok(place), None) => {
                self.values.remove(place);
            }
            (Err(place), Some(value)) => self.values.insert(place, (slot, value)),
            (Err(_), None) => {}
        }
    }
}

impl Default for TypeAhead {
    fn default() -> Self {
        Self { keys: [None; TYPE_AHEAD_MAX], count: 0 }
    }
}

impl TypeAhead {
    /// Keeps a key; false when the buffer is full and the key is lost.
    pub(crate) fn push(&mut self, digit: Digit) -> bool {
        let Some(place) = self.keys.get_mut(self.count) else { return false };
        *place = Some(digit);
        self.count += 1;
        true
    }

    /// Puts a key back before all others.
    pub(crate) fn put_back(&mut self, digit: Digit) {
        self.count = (self.count + 1).min(TYPE_AHEAD_MAX);
        self.keys.rotate_right(1);
        if let Some(first) = self.keys.first_mut() {
            *first = Some(digit);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Digit> {
        let digit = self.keys.first_mut().and_then(Option::take)?;
        self.keys.rotate_left(1);
        self.count = self.count.saturating_sub(1);
        Some(digit)
    }
}

impl fmt::Debug for TypeAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.count)
    }
}

/// Keys kept while no step listens: a line, an IMEI and a dozen choices.
pub(crate) const TYPE_AHEAD_MAX: usize = 40;
