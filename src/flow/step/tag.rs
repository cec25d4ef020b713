//! `tag`: notes the call's result, or a remark, in its record.

use std::convert::Infallible;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::action::Action;
use crate::flow::reader::Reader;
use crate::flow::template::Template;
use crate::flow::turn::Turn;

const OPTIONS: &[Opt] = &[
    opt("result", Shape::Template, "The call's result (`bloqueo`); the last one counts."),
    opt("note", Shape::Template, "A remark for the call's path."),
];
const OUTPUTS: &[Out] = &[out("next", "Always.")];

/// Notes something in the call's record.
#[derive(Debug)]
pub(crate) struct Tag {
    result: Option<Template>,
    note: Option<Template>,
}

impl StepKind for Tag {
    type Running = Infallible;
    const SHEET: &'static Sheet = &Sheet {
        about: "Notes the call's result, or a remark, in its record.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Instant,
        silent: true,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let written = reader.option("result").is_some() || reader.option("note").is_some();
        let (result, note) = (reader.template("result"), reader.template("note"));
        if !written {
            let fault = reader.step.kind.fault("a tag has a «result» or a «note»");
            reader.faults.push(fault);
        }
        reader.output("next");
        Some(Self { result, note })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Infallible> {
        if let Some(result) = &self.result {
            let result = result.text(&turn.values());
            turn.trace(format!("result {result}"));
            turn.out.push(Action::Result(result));
        }
        if let Some(note) = &self.note {
            let note = note.text(&turn.values());
            turn.trace(format!("note {note}"));
        }
        Next::Leave(Leave::by("next"))
    }

    fn handle(&self, running: &mut Infallible, _input: Input, _turn: &mut Turn<'_>) -> After {
        match *running {}
    }
}
