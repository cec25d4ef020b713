//! `answer`: answers the call.

use std::time::Duration;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::action::Action;
use crate::flow::reader::Reader;
use crate::flow::turn::{Turn, Why};

const OPTIONS: &[Opt] = &[opt("delay", Shape::Duration, "Silence after the answer, for carriers that cut the first words.")];
const OUTPUTS: &[Out] = &[out("next", "The call is answered.")];

/// Answers the call, and waits `delay`.
#[derive(Debug)]
pub(crate) struct AnswerCall {
    delay: Duration,
}

impl StepKind for AnswerCall {
    type Running = ();
    const SHEET: &'static Sheet =
        &Sheet { about: "Answers the call.", options: OPTIONS, outputs: OUTPUTS, pace: Pace::Deaf, silent: false };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let delay = reader.duration("delay", Duration::ZERO, Duration::ZERO..=Duration::from_secs(5));
        reader.output("next");
        Some(Self { delay })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        turn.out.push(Action::Answer);
        if self.delay.is_zero() {
            return Next::Leave(Leave::by("next"));
        }
        turn.deadline(self.delay, Why::Wait);
        Next::Wait(())
    }

    fn handle(&self, (): &mut (), input: Input, _turn: &mut Turn<'_>) -> After {
        match input {
            Input::Deadline(_) => After::Leave(Leave::by("next")),
            Input::Digit(_) | Input::Played | Input::Answered(_) | Input::Late | Input::Transferred(_) => After::Stay,
        }
    }
}
