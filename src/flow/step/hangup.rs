//! `hangup`: says goodbye and ends the call.

use super::{After, Input, Leave, Next, Opt, Pace, Shape, Sheet, StepKind, opt};
use crate::flow::prompt::Item;
use crate::flow::reader::Reader;
use crate::flow::turn::Turn;

const OPTIONS: &[Opt] = &[
    opt("prompt", Shape::Prompts, "Said before the call ends; keys do not cut it short."),
    opt("cause", Shape::OneOf(CAUSES), "What the record says of the end (hangup)."),
];
const CAUSES: &[&str] = &["hangup", "closed", "refused", "unavailable"];

/// Ends the call.
#[derive(Debug)]
pub(crate) struct Hangup {
    prompt: Vec<Item>,
    cause: &'static str,
}

impl StepKind for Hangup {
    type Running = ();
    const SHEET: &'static Sheet = &Sheet {
        about: "Says goodbye and ends the call.",
        options: OPTIONS,
        outputs: &[],
        pace: Pace::Ends,
        silent: true,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let prompt = reader.prompts("prompt");
        let mut cause = "hangup";
        if let Some(place) = reader.option("cause")
            && let Some(text) = place.text(reader.faults)
        {
            match CAUSES.iter().find(|known| **known == text) {
                Some(known) => cause = known,
                None => {
                    let fault = place.fault(format!("unknown cause «{text}»; known: {}", CAUSES.join(", ")));
                    reader.faults.push(fault.did_you_mean(text, CAUSES.iter().copied()));
                }
            }
        }
        Some(Self { prompt, cause })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        if turn.play(&[&self.prompt]) { Next::Wait(()) } else { Next::Leave(Leave::Finish(self.cause)) }
    }

    fn handle(&self, (): &mut (), input: Input, _turn: &mut Turn<'_>) -> After {
        match input {
            Input::Played => After::Leave(Leave::Finish(self.cause)),
            Input::Digit(_) | Input::Answered(_) | Input::Late | Input::Transferred(_) | Input::Deadline(_) => After::Stay,
        }
    }

    fn listens(&self, (): &(), _playing: bool) -> bool {
        false
    }
}
