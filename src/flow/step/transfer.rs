//! `transfer`: leads the caller to somebody, and goes on when they part.
//!
//! ```text
//! Ringing ─ answered ─► Talking ─ the other side hangs up ─► done
//!    │ busy, declined ─► busy    ─ `ring` is over, nobody is there ─► no_answer    ─ it cannot be done ─► failed
//! ```
//! Who rings, what the caller hears meanwhile and who hears whom is the call's business; here it is one question with four answers.
//! The caller who hangs up ends the flow as everywhere else.

use std::time::Duration;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::document::Place;
use crate::flow::action::Callee;
use crate::flow::reader::Reader;
use crate::flow::turn::Turn;

const OPTIONS: &[Opt] = &[
    opt("to", Shape::Table, "To whom: `{ agent = \"ana\" }`, an agent of agents.toml, or `{ trunk = \"carrier\", number = \"5555123456\" }`."),
    opt("kind", Shape::OneOf(KINDS), "How: `blind`, at once and without asking first (blind)."),
    opt("ring", Shape::Duration, "How long it may ring, 5s to 5m (25s)."),
    opt("return_to", Shape::Text, "The step where the call goes on when the other side hangs up; instead of `on.done`."),
];
const OUTPUTS: &[Out] = &[
    out("done", "They talked, and the other side hung up."),
    out("busy", "The other side is busy, or declined (failed)."),
    out("no_answer", "Nobody answered in time, or no phone of theirs is registered (failed)."),
    out("failed", "It could not be done."),
];
const KINDS: &[&str] = &["blind"];

/// Leads the caller to somebody.
#[derive(Debug)]
pub(crate) struct Transfer {
    to: Callee,
    ring: Duration,
}

impl Transfer {
    /// To whom it leads.
    pub(crate) fn callee(&self) -> &Callee {
        &self.to
    }
}

impl StepKind for Transfer {
    type Running = ();
    const SHEET: &'static Sheet = &Sheet {
        about: "Leads the caller to somebody, and goes on when they part.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Deaf,
        silent: false,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("to");
        let to = place.and_then(|place| callee(reader, place));
        if let Some(place) = reader.option("kind")
            && let Some(kind) = place.text(reader.faults)
            && !KINDS.contains(&kind)
        {
            let fault = place.fault(format!("«{kind}» is no kind of transfer"));
            reader.faults.push(fault.suggest("«blind» is: the caller is led to whoever answers"));
        }
        let ring = reader.duration("ring", RING, Duration::from_secs(5)..=Duration::from_secs(300));
        match reader.option("return_to") {
            Some(place) => {
                reader.lead("done", place);
                if reader.optional_output("done") {
                    reader.fault(place, "«return_to» stands beside «on.done»: one of them is where the call goes on");
                }
            }
            None => reader.output("done"),
        }
        reader.output("failed");
        reader.output_or("busy", "failed");
        reader.output_or("no_answer", "failed");
        Some(Self { to: to?, ring })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        turn.trace(format!("leads to {}", self.to));
        turn.transfer(self.to.clone(), self.ring);
        Next::Wait(())
    }

    fn handle(&self, (): &mut (), input: Input, _turn: &mut Turn<'_>) -> After {
        match input {
            Input::Transferred(outcome) => After::Leave(Leave::by(outcome.output())),
            Input::Deadline(_) | Input::Digit(_) | Input::Played | Input::Answered(_) | Input::Late => After::Stay,
        }
    }
}

/// Reads `to`.
fn callee(reader: &mut Reader<'_, '_>, place: Place<'_>) -> Option<Callee> {
    let entries = place.entries(reader.faults);
    if entries.iter().any(|(name, _)| name.text == "trunk") {
        return outside(reader, place);
    }
    let [(name, value)] = entries.as_slice() else {
        reader.fault(place, "«to» names one: { agent = \"…\" } or { trunk = \"…\", number = \"…\" }");
        return None;
    };
    match name.text {
        "agent" => {
            let user = value.text(reader.faults)?;
            let agents = &reader.operator.agents;
            if !agents.contains_key(user) {
                let fault = value.fault(format!("{} has no agent «{user}»", reader.operator.id));
                reader.faults.push(fault.did_you_mean(user, agents.keys().map(String::as_str)));
                return None;
            }
            Some(Callee::Agent(user.to_owned()))
        }
        "queue" => {
            reader.fault(*value, "there are no queues: lead the call to an agent");
            None
        }
        "flow" => {
            let fault = value.fault("a flow is nobody who rings");
            reader.faults.push(fault.suggest("use a «goto» or a «call» step"));
            None
        }
        other => {
            let fault = name.fault(format!("a call cannot be led to a «{other}»"));
            reader.faults.push(fault.did_you_mean(other, ["agent", "trunk"]));
            None
        }
    }
}

/// `{ trunk = "…", number = "…" }`: which numbers a trunk calls, `contesta.toml` says.
fn outside(reader: &mut Reader<'_, '_>, place: Place<'_>) -> Option<Callee> {
    let mut fields = place.fields(reader.faults)?;
    let trunk = fields.text("trunk", reader.faults).map(str::to_owned);
    let number_place = fields.required("number", reader.faults);
    let number = number_place.and_then(|place| Some((place.text(reader.faults)?, place)));
    fields.finish(reader.faults);
    let (number, place) = number?;
    let plain = |c: char| c.is_ascii_digit() || "*#+ -().".contains(c);
    if !number.chars().any(|c| c.is_ascii_digit()) || !number.chars().all(plain) {
        reader.fault(place, "a number is made of digits, like \"5555123456\"");
        return None;
    }
    Some(Callee::Trunk { trunk: trunk?, number: number.to_owned() })
}

/// Four or five rings.
const RING: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use crate::flow::action::{Event, Outcome};
    use crate::flow::bench::Bench;

    const TRANSFER: &str = r#"
[steps.a.transfer]
to = { agent = "ana" }
ring = "20s"
return_to = "bien"
on = { busy = "ocupada", failed = "mal" }
[steps.bien.hangup]
prompt = ["adios"]
[steps.ocupada.hangup]
cause = "refused"
[steps.mal.hangup]
cause = "unavailable"
"#;

    #[test]
    fn each_outcome_has_its_way() {
        for (outcome, ends) in [
            (Outcome::Done, "says adios"),
            (Outcome::Busy, "ends refused"),
            (Outcome::NoAnswer, "ends unavailable"),
            (Outcome::Failed, "ends unavailable"),
        ] {
            let mut bench = Bench::of(TRANSFER);
            assert_eq!(bench.start(), ["transfers to ana, 20 s"]);
            assert_eq!(bench.tell(Event::Transferred(outcome)), [ends]);
            assert!(bench.path.contains(&format!("→ {}", outcome.output())), "{:?}", bench.path);
        }
    }

    /// How long somebody talks to an agent is not the menu's to bound.
    #[test]
    fn the_flow_stands_still_while_they_talk() {
        let mut bench = Bench::with_head("max_duration = \"60s\"", &TRANSFER.replace("prompt = [\"adios\"]", ""));
        bench.start();
        bench.wait_ms(10_000);
        assert_eq!(bench.tell(Event::Connected), Vec::<String>::new());
        assert_eq!(bench.wait_ms(3_600_000), Vec::<String>::new());
        bench.press("1234");
        assert_eq!(bench.tell(Event::Transferred(Outcome::Done)), ["ends hangup"]);
        let mut rings = Bench::with_head("max_duration = \"60s\"", TRANSFER);
        rings.start();
        assert_eq!(rings.wait_ms(60_000), ["ends max_duration"]);
        assert_eq!(rings.tell(Event::Transferred(Outcome::NoAnswer)), Vec::<String>::new());
    }

    #[test]
    fn a_caller_who_leaves_ends_the_flow() {
        let mut bench = Bench::of(TRANSFER);
        bench.start();
        bench.tell(Event::Connected);
        assert_eq!(bench.hang_up(), ["ends abandoned"]);
        assert_eq!(bench.tell(Event::Transferred(Outcome::Done)), Vec::<String>::new());
    }
}
