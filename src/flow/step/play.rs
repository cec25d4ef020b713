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
            Input::Answered(_) | Input::Late | Input::Transferred(_) | Input::Deadline(_) => After::Stay,
        }
    }

    fn listens(&self, (): &(), _playing: bool) -> bool {
        self.barge_in
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::bench::Bench;

    fn flow(options: &str) -> String {
        format!(
            "[steps.a.play]\nprompt = [\"aviso\"]\n{options}\non.next = \"m\"\n[steps.m.menu]\nprompt = [\"menu\"]\n\
             keys = {{ 1 = \"fin\" }}\non.max_attempts = \"fin\"\n[steps.fin.hangup]\n"
        )
    }

    #[test]
    fn a_key_cuts_it_short_and_is_kept_for_what_follows() {
        let mut bench = Bench::of(&flow(""));
        assert_eq!(bench.start(), ["says aviso"]);
        assert_eq!(bench.press("1"), ["stops", "says menu", "stops", "ends hangup"]);
    }

    #[test]
    fn without_barge_in_it_is_heard_out_and_with_clear_digits_keys_are_forgotten() {
        let mut bench = Bench::of(&flow("barge_in = false"));
        bench.start();
        assert_eq!(bench.press("1"), Vec::<String>::new());
        assert_eq!(bench.played(), ["says menu", "stops", "ends hangup"]);
        let mut bench = Bench::of(&flow("barge_in = false\nclear_digits = true"));
        bench.start();
        bench.press("1");
        assert_eq!(bench.played(), ["says menu"]);
    }

    #[test]
    fn pieces_follow_their_conditions_and_values_are_spoken() {
        let mut bench = Bench::of(&flow("").replace(
            "[\"aviso\"]",
            "[{ prompt = \"aviso\", when = \"set(call.extension)\" }, { say = \"cardinal\", value = 21, gender = \"f\" }, \
             { silence = \"300ms\" }, { say = \"digits\", value = \"30\", repeat = 2 }]",
        ));
        assert_eq!(bench.start(), ["says num.21.f … num.3 num.0 … num.3 num.0"]);
    }
}
