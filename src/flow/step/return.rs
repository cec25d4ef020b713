//! `return`: ends a sub-flow.

use std::convert::Infallible;

use super::{After, Input, Leave, Next, Opt, Pace, Shape, Sheet, StepKind, opt};
use crate::flow::reader::Reader;
use crate::flow::turn::Turn;

const OPTIONS: &[Opt] = &[opt("name", Shape::Text, "One of the flow's `returns`; the caller goes on by this output.")];

/// Ends a sub-flow.
#[derive(Debug)]
pub(crate) struct Return {
    name: String,
}

impl StepKind for Return {
    type Running = Infallible;
    const SHEET: &'static Sheet = &Sheet {
        about: "Ends a sub-flow; what its `out` names goes back with it.",
        options: OPTIONS,
        outputs: &[],
        pace: Pace::Ends,
        silent: false,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("name")?;
        let name = place.text(reader.faults)?;
        if !reader.flow.returns.iter().any(|known| known == name) {
            let fault = place.fault(format!("«{name}» is not among this flow's «returns»"));
            let returns = reader.flow.returns.iter().map(String::as_str);
            reader.faults.push(fault.did_you_mean(name, returns));
        }
        Some(Self { name: name.to_owned() })
    }

    fn start(&self, _turn: &mut Turn<'_>) -> Next<Infallible> {
        Next::Leave(Leave::Return(self.name.clone()))
    }

    fn handle(&self, running: &mut Infallible, _input: Input, _turn: &mut Turn<'_>) -> After {
        match *running {}
    }
}
