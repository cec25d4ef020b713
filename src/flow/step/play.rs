//! `play`: says something and goes on.
//!
//! With `barge_in` (the default) a key cuts it short and is kept for the next step; so a key pressed earlier passes it over
//! altogether. Without, keys pressed meanwhile wait, and with `clear_digits` they are forgotten.

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::prompt::Item;
use crate::flow::reader::Reader;
use crate::flow::turn::Turn;

const OPTIONS: &[Opt] = &[
    opt("prompt", Shape::Prompts, "What the caller hears."),
    opt("barge_in", Shape::Flag, "A key cuts it short and is kept for the next step (true)."),
    opt("clear_digits", Shape::Flag, "Keys pressed before its end are forgotten (false)."),
];
const OUTPUTS: &[Out] = &[out("next", "It was heard, or cut short.")];

/// Says something.
#[derive(Debug)]
pub(crate) struct Play {
    prompt: Vec<Item>,
    barge_in: bool,
    clear_digits: bool,
}

impl StepKind for Play {
    type Running = ();
    const SHEET: &'static Sheet =
        &Sheet { about: "Says something and goes on.", options: OPTIONS, outputs: OUTPUTS, pace: Pace::Deaf, silent: false };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let prompt = reader.required_prompts("prompt");
        let barge_in = reader.flag("barge_in", true);
        let clear_digits = reader.flag("clear_digits", false);
        reader.output("next");
        Some(Self { prompt, barge_in, clear_digits })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        if self.clear_digits {
            turn.clear_typed();
        }
        if turn.play(&[&self.prompt]) { Next::Wait(()) } else { Next::Leave(Leave::by("next")) }
    }

    fn handle(&self, (): &mut (), input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Played => {
                if self.clear_digits && !self.barge_in {
                    turn.clear_typed();
                }
                After::Leave(Leave::by("next"))
            }
            Input::Digit(digit) if turn.is_global(digit) => After::NotMine(digit),
            Input::Digit(digit) => {
                turn.stop_playing();
                After::LeaveTo(digit, Leave::by("next"))
            }
            Input::Answered(_) | Input::Late | Input::Deadline(_) => After::Stay,
        }
    }

    fn listens(&self, (): &(), _playing: bool) -> bool {
        self.barge_in
    }
}
