//! `goto`: to a step, or for good to another flow.

use std::convert::Infallible;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::flow::reader::Reader;
use crate::flow::turn::Turn;

const OPTIONS: &[Opt] = &[opt("flow", Shape::Text, "Another flow, which takes the call over; instead of `on.next`.")];
const OUTPUTS: &[Out] = &[out("next", "Always, unless another flow takes over.")];

/// To a step of this flow (`None`), or to the beginning of another.
#[derive(Debug)]
pub(crate) struct Goto {
    flow: Option<u16>,
}

impl StepKind for Goto {
    type Running = Infallible;
    const SHEET: &'static Sheet = &Sheet {
        about: "Goes to a step, or for good to another flow.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Instant,
        silent: true,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let Some(place) = reader.option("flow") else {
            reader.output("next");
            return Some(Self { flow: None });
        };
        let (flow, source) = super::call::flow_at(reader, place)?;
        if !source.inputs.is_empty() {
            reader.fault(place, format!("«{}» asks for inputs: use a «call»", source.id));
        }
        Some(Self { flow: Some(flow) })
    }

    fn start(&self, _turn: &mut Turn<'_>) -> Next<Infallible> {
        Next::Leave(self.flow.map_or(Leave::by("next"), Leave::Jump))
    }

    fn handle(&self, running: &mut Infallible, _input: Input, _turn: &mut Turn<'_>) -> After {
        match *running {}
    }
}
