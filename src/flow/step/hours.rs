//! `hours`: what a calendar says of this moment.

use std::convert::Infallible;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::prompt::known_calendar;
use crate::flow::reader::Reader;
use crate::flow::source::{Body, Declared};
use crate::flow::turn::Turn;
use crate::operator::calendar::HoursState;
use crate::value::{Kind, Value};

const OPTIONS: &[Opt] = &[
    opt("calendar", Shape::Text, "A calendar of hours.toml."),
    opt("into", Shape::Variable, "Gets `abre`: this moment when it is open, or the next one when it will be."),
];
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
    /// Gets the next open moment.
    opens: Option<u16>,
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

    fn declare(body: &Body<'_>, declared: &mut Declared<'_>) {
        if let Some(place) = body.get("into")
            && let Some(base) = place.text(&mut Vec::new())
        {
            declared.record(base, place, [("abre", Kind::Moment)]);
        }
    }

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("calendar");
        let calendar = place.and_then(|place| known_calendar(place, reader.operator, reader.faults)).map(str::to_owned);
        reader.output("open");
        reader.output("closed");
        reader.output_or("holiday", "closed");
        let own_override = reader.optional_output("override");
        let base = reader.option("into").and_then(|place| place.text(reader.faults));
        let opens = base.and_then(|base| reader.slot(&format!("{base}.abre")));
        Some(Self { calendar: calendar?, opens, own_override })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Infallible> {
        let Some(calendar) = turn.operator.calendars.get(&self.calendar) else {
            return Next::Leave(Leave::Fail(format!("there is no calendar «{}»", self.calendar)));
        };
        if let Some(slot) = self.opens {
            let opens = calendar.next_opening(turn.now.wall, &turn.operator.time_zone);
            turn.set(slot, opens.map(Value::Moment));
        }
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

    /// Whoever promises that an agent will look at something knows when one is there.
    #[test]
    fn the_next_open_moment_is_known() {
        let flow = "[steps.a.hours]\ncalendar = \"asesores\"\ninto = \"atencion\"\non = { open = \"b\", closed = \"b\" }\n\
                    [steps.b.tag]\nresult = \"${atencion.abre}\"\non.next = \"fin\"\n[steps.fin.hangup]\n";
        assert_eq!(Bench::of(flow).start(), ["result 2026-03-10T17:00:00Z", "ends hangup"], "it is open now");
        let mut evening = Bench::of(flow);
        evening.wait_ms(6 * 3_600_000);
        assert_eq!(evening.start()[0], "result 2026-03-24T15:00:00Z", "a Tuesday again, but not the closed one");
    }

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
