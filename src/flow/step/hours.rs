//! `hours`: what a calendar says of this moment.

use std::convert::Infallible;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::prompt::known_calendar;
use crate::flow::reader::Reader;
use crate::flow::turn::Turn;
use crate::operator::calendar::HoursState;

const OPTIONS: &[Opt] = &[opt("calendar", Shape::Text, "A calendar of hours.toml.")];
const OUTPUTS: &[Out] = &[
    out("open", "Inside the hours, or an override says open."),
    out("closed", "Outside of them, or an override says closed."),
    out("holiday", "A holiday or a closed day (closed)."),
    out("override", "An override decides, whichever way (open or closed, as it says)."),
];

/// What a calendar says of this moment.
#[derive(Debug)]
pub(crate) struct Hours {
    calendar: String,
    /// True when `override` is wired by itself.
    own_override: bool,
}

impl StepKind for Hours {
    type Running = Infallible;
    const SHEET: &'static Sheet = &Sheet {
        about: "Decides by the opening hours of this moment.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Instant,
        silent: true,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("calendar");
        let calendar = place.and_then(|place| known_calendar(place, reader.operator, reader.faults)).map(str::to_owned);
        reader.output("open");
        reader.output("closed");
        reader.output_or("holiday", "closed");
        let own_override = reader.optional_output("override");
        Some(Self { calendar: calendar?, own_override })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Infallible> {
        let Some(calendar) = turn.operator.calendars.get(&self.calendar) else {
            return Next::Leave(Leave::Fail(format!("there is no calendar «{}»", self.calendar)));
        };
        let output = match calendar.at(turn.now.wall, &turn.operator.time_zone) {
            HoursState::Override { .. } if self.own_override => "override",
            HoursState::Open | HoursState::Override { open: true, .. } => "open",
            HoursState::Closed | HoursState::Override { open: false, .. } => "closed",
            HoursState::Holiday(_) => "holiday",
        };
        Next::Leave(Leave::by(output))
    }

    fn handle(&self, running: &mut Infallible, _input: Input, _turn: &mut Turn<'_>) -> After {
        match *running {}
    }
}
