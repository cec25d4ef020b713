//! Load, check and run declared flows. Knows prompts and digits, not calls.
//!
//! [`load()`] turns what ops write (TOML, read by [`source`]) into [`Flows`]: what is true. In them every target is an index,
//! every prompt exists, every expression is typed, every step has a way out. [`Session`] runs one call through them; it is
//! the only interpreter, for calls, `simulate` and tests alike. A step kind is one file in [`step`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dtmf::Digit;

pub mod action;
#[cfg(test)]
mod bench;
pub mod expr;
mod graph;
mod keypad;
pub mod load;
pub mod prompt;
mod reader;
pub mod session;
pub mod simulator;
pub mod source;
pub mod step;
pub mod template;
mod turn;
mod variables;
mod way;

pub use action::{Action, Answer, CallFacts, Callee, Event, Outcome, Request, RequestId, Trace, Utterance};
pub use load::{check, load};
pub use session::{Session, Why};
pub use simulator::Simulator;

/// The checked flows of one operator.
#[derive(Debug)]
pub struct Flows {
    flows: Vec<Flow>,
    by_id: BTreeMap<String, u16>,
}

/// One checked flow.
#[derive(Debug)]
pub struct Flow {
    /// Its id (`beneleit.principal`).
    pub id: String,
    /// Its steps, in the order of the file.
    pub steps: Vec<Step>,
    /// Where it begins.
    pub start: StepIndex,
    /// Where it goes on, silently, when the caller is gone.
    pub on_hangup: Option<StepIndex>,
    /// Where it goes when a step cannot go on.
    pub on_error: Option<StepIndex>,
    /// How long a call that began in it may last.
    pub max_duration: Duration,
    /// How often a call may come to one step.
    pub max_visits: u16,
    /// Keys that work wherever a step does not use them.
    pub global_keys: Vec<(Digit, GlobalKey)>,
    /// Its variables; expressions know them by their place.
    pub(crate) variables: variables::Variables,
    /// Values it gives back, and their places here.
    pub(crate) outs: Vec<(String, u16)>,
}

/// One checked step.
#[derive(Debug)]
pub struct Step {
    /// Its name (`menu_principal`).
    pub name: String,
    /// What it does.
    pub what: step::Kind,
    /// Where each output leads.
    pub outputs: Vec<(String, StepIndex)>,
}

/// A step by its place in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub u16);

/// What a global key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalKey {
    /// To the previous menu.
    Back,
    /// Says again what was said last.
    Repeat,
    /// To a step.
    Step(StepIndex),
}

impl Flows {
    /// The flow with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Flow> {
        self.by_id.get(id).and_then(|index| self.flow(*index))
    }

    /// Every flow, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter()
    }

    pub(crate) fn index(&self, id: &str) -> Option<u16> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn flow(&self, index: u16) -> Option<&Flow> {
        self.flows.get(usize::from(index))
    }
}

impl Step {
    /// Whom it leads callers to, if it does.
    #[must_use]
    pub fn callee(&self) -> Option<&Callee> {
        if let step::Kind::Transfer(transfer) = &self.what { Some(transfer.callee()) } else { None }
    }
}

impl Flow {
    /// The step at `index`.
    #[must_use]
    pub fn step(&self, index: StepIndex) -> Option<&Step> {
        self.steps.get(usize::from(index.0))
    }

    /// What `digit` does wherever a step does not use it.
    #[must_use]
    pub fn global_key(&self, digit: Digit) -> Option<GlobalKey> {
        self.global_keys.iter().find(|(key, _)| *key == digit).map(|(_, global)| *global)
    }
}

impl Step {
    /// Where `output` leads.
    #[must_use]
    pub fn target(&self, output: &str) -> Option<StepIndex> {
        self.outputs.iter().find(|(name, _)| name == output).map(|(_, target)| *target)
    }
}
