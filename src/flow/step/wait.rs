//! `wait`: lets time pass in silence.

use std::time::Duration;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::reader::Reader;
use crate::flow::turn::{Turn, Why};

const OPTIONS: &[Opt] = &[opt("duration", Shape::Duration, "How long, up to 30s.")];
const OUTPUTS: &[Out] = &[out("next", "The time has passed.")];

/// Lets time pass.
#[derive(Debug)]
pub(crate) struct Wait {
    duration: Duration,
}

impl StepKind for Wait {
    type Running = ();
    const SHEET: &'static Sheet = &Sheet {
        about: "Lets time pass in silence.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Deaf,
        silent: false,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        reader.required("duration");
        let least = Duration::from_millis(100);
        let duration = reader.duration("duration", least, least..=Duration::from_secs(30));
        reader.output("next");
        Some(Self { duration })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        turn.deadline(self.duration, Why::Wait);
        Next::Wait(())
    }

    fn handle(&self, (): &mut (), input: Input, _turn: &mut Turn<'_>) -> After {
        match input {
            Input::Deadline(_) => After::Leave(Leave::by("next")),
            Input::Digit(_) | Input::Played | Input::Answered(_) | Input::Late | Input::Transferred(_) => After::Stay,
        }
    }
}
