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

#[cfg(test)]
mod tests {
    use crate::flow::bench::Bench;

    /// The bench's calls begin on Tuesday 2026-03-10 at 11:00 in Mexico City.
    #[test]
    fn the_calendar_decides_at_the_moment_the_call_comes_here() {
        let flow = "[steps.a.hours]\ncalendar = \"asesores\"\non = { open = \"w\", closed = \"fin\", holiday = \"puente\" }\n\
                    [steps.w.wait]\nduration = \"30s\"\non.next = \"a\"\n[steps.fin.hangup]\ncause = \"closed\"\n\
                    [steps.puente.hangup]\ncause = \"refused\"\n";
        let mut bench = Bench::with_head("max_duration = \"12h\"\nmax_visits = 10000", flow);
        bench.start();
        let (hour, day) = (3_600_000, 86_400_000_u64);
        assert_eq!(bench.wait_ms(6 * hour - 1), Vec::<String>::new());
        assert_eq!(bench.wait_ms(1), ["ends closed"]);
        let mut later = Bench::of(&flow.replace("\"w\"", "\"fin\"").replace("[steps.w.wait]\nduration = \"30s\"\non.next = \"a\"\n", ""));
        // A session that is started late asks the calendar of that moment: a week on, the closed day.
        later.wait_ms(7 * day);
        assert_eq!(later.start(), ["ends refused"]);
    }
}
