//! `branch`: the first condition that holds decides.
//!
//! ```toml
//! [steps.segun_motivo.branch]
//! when = [{ if = "motivo == 'robo'", to = "robo" }, { if = "set(imei)", to = "extravio" }]
//! else = "duplicidad"
//! ```

use std::convert::Infallible;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::expr::Expr;
use crate::flow::reader::Reader;
use crate::flow::turn::Turn;

const OPTIONS: &[Opt] = &[
    opt("when", Shape::Tables, "Conditions and steps in order: `{ if = \"…\", to = \"step\" }`."),
    opt("else", Shape::Text, "The step when none holds."),
];
const OUTPUTS: &[Out] = &[
    out("<number>", "The condition at this place, from 1, was the first that held."),
    out("else", "No condition held."),
];

/// The first condition that holds decides.
#[derive(Debug)]
pub(crate) struct Branch {
    /// Conditions in order; output `1` belongs to the first.
    when: Vec<Expr>,
}

impl StepKind for Branch {
    type Running = Infallible;
    const SHEET: &'static Sheet = &Sheet {
        about: "The first condition that holds decides.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Instant,
        silent: true,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let list = reader.required("when").map(|place| place.list(reader.faults)).unwrap_or_default();
        let (mut when, mut whole) = (Vec::new(), true);
        for (index, place) in list.into_iter().enumerate() {
            let Some(mut fields) = place.fields(reader.faults) else { continue };
            let condition = fields.required("if", reader.faults).and_then(|place| reader.condition_at(place));
            if let Some(target) = fields.required("to", reader.faults) {
                reader.lead(&(index + 1).to_string(), target);
            }
            fields.finish(reader.faults);
            whole &= condition.is_some();
            when.extend(condition);
        }
        if let Some(place) = reader.required("else") {
            reader.lead("else", place);
        }
        whole.then_some(Self { when })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Infallible> {
        let values = turn.values();
        match self.when.iter().position(|condition| condition.holds(&values)) {
            Some(place) => Next::Leave(Leave::named(&(place + 1).to_string())),
            None => Next::Leave(Leave::by("else")),
        }
    }

    fn handle(&self, running: &mut Infallible, _input: Input, _turn: &mut Turn<'_>) -> After {
        match *running {}
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::bench::Bench;

    #[test]
    fn the_first_condition_that_holds_decides() {
        let flow = |n: i64| {
            format!(
                "[steps.a.set]\nvalues = {{ n = {n} }}\non.next = \"b\"\n[steps.b.branch]\n\
                 when = [{{ if = \"n > 5\", to = \"muchos\" }}, {{ if = \"n > 1\", to = \"varios\" }}]\nelse = \"uno\"\n\
                 [steps.muchos.hangup]\ncause = \"closed\"\n[steps.varios.hangup]\ncause = \"refused\"\n[steps.uno.hangup]\n"
            )
        };
        assert_eq!(Bench::of(&flow(9)).start(), ["ends closed"]);
        assert_eq!(Bench::of(&flow(3)).start(), ["ends refused"]);
        assert_eq!(Bench::of(&flow(1)).start(), ["ends hangup"]);
    }
}
