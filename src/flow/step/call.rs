//! `call`: runs a sub-flow and goes on by the name it returns.
//!
//! The sub-flow sees only its own variables: `args` fills those of its `in`, `into` takes those of its `out`.

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::document::Place;
use crate::flow::reader::{Reader, unknown};
use crate::flow::source::{Body, Declared, Source};
use crate::flow::template::Template;
use crate::flow::turn::Turn;
use crate::value::Kind;

const OPTIONS: &[Opt] = &[
    opt("flow", Shape::Text, "The sub-flow's id."),
    opt("args", Shape::Templates, "A value for each of the sub-flow's inputs."),
    opt("into", Shape::Variable, "Gets the sub-flow's values: `into.name`."),
];
const OUTPUTS: &[Out] = &[out("<return>", "The sub-flow returned by this name.")];

/// Runs a sub-flow.
#[derive(Debug)]
pub(crate) struct Call {
    flow: u16,
    args: Vec<(u16, Template)>,
    /// Names of the sub-flow's values, and where they go here.
    into: Vec<(String, u16)>,
}

impl Call {
    /// The flow it runs.
    pub(crate) fn flow(&self) -> u16 {
        self.flow
    }

    /// Where a value of the sub-flow goes.
    pub(crate) fn into(&self) -> &[(String, u16)] {
        &self.into
    }
}

impl StepKind for Call {
    /// The session holds the sub-flow's frame; the step itself only waits for its return.
    type Running = ();
    const SHEET: &'static Sheet = &Sheet {
        about: "Runs a sub-flow and goes on by the name it returns.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Deaf,
        silent: false,
    };

    fn declare(body: &Body<'_>, declared: &mut Declared<'_>) {
        let (Some(flow), Some(place)) = (body.text("flow"), body.get("into")) else { return };
        let Some(base) = place.text(&mut Vec::new()) else { return };
        let Some(outs) = declared.outs(flow).map(<[(String, Kind)]>::to_vec) else { return declared.doubt(base) };
        declared.record(base, place, outs.iter().map(|(name, kind)| (name.as_str(), *kind)));
    }

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("flow");
        let found = place.and_then(|place| flow_at(reader, place));
        let Some((flow, source)) = found else {
            reader.any_output();
            return None;
        };
        if source.returns.is_empty()
            && let Some(place) = place
        {
            reader.fault(place, format!("«{}» has no «returns» and never comes back: use a «goto»", source.id));
        }
        for name in &source.returns {
            reader.output(name);
        }
        let args = read_args(reader, source);
        let base = reader.option("into").and_then(|place| place.text(reader.faults)).unwrap_or("");
        let outs = source.outs.iter();
        let into = outs.filter_map(|(name, _)| Some((name.clone(), reader.slot(&format!("{base}.{name}"))?))).collect();
        Some(Self { flow, args, into })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        let values = turn.values();
        let inputs = self.args.iter().filter_map(|(slot, arg)| Some((*slot, arg.value(&values)?))).collect();
        Next::Leave(Leave::Call { flow: self.flow, inputs })
    }

    fn handle(&self, (): &mut (), _input: Input, _turn: &mut Turn<'_>) -> After {
        After::Stay
    }
}

/// The flow named at `place`, or a fault.
pub(super) fn flow_at<'l>(reader: &mut Reader<'_, 'l>, place: Place<'_>) -> Option<(u16, &'l Source<'l>)> {
    let id = place.text(reader.faults)?;
    let flows: &'l [Source<'l>] = reader.flows;
    let found = flows.iter().position(|flow| flow.id == id);
    if found.is_none() {
        let ids = flows.iter().map(|flow| flow.id.as_str());
        let fault = place.fault(format!("there is no flow «{id}»")).did_you_mean(id, ids);
        reader.faults.push(fault);
    }
    let index = found?;
    Some((u16::try_from(index).ok()?, flows.get(index)?))
}

fn read_args(reader: &mut Reader<'_, '_>, source: &Source<'_>) -> Vec<(u16, Template)> {
    let entries = reader.option("args").map(|place| place.entries(reader.faults)).unwrap_or_default();
    let (mut args, mut meant) = (Vec::new(), Vec::new());
    for (name, place) in &entries {
        match source.inputs.iter().find(|(input, _)| input == name.text) {
            Some((input, kind)) => {
                let template = reader.template_at(*place, Some(*kind));
                args.extend(source.variables.slot(input).zip(template));
            }
            None => {
                let fault = name.fault(format!("«{}» has no input «{}»", source.id, name.text));
                let known: Vec<&str> = source.inputs.iter().map(|(input, _)| input.as_str()).collect();
                reader.faults.push(unknown(fault, name.text, &known, "its inputs", &mut meant));
            }
        }
    }
    for (input, _) in source.inputs.iter().filter(|(input, _)| !meant.contains(input)) {
        if !entries.iter().any(|(name, _)| name.text == input) {
            let fault = reader.step.kind.fault(format!("«{}» asks for the input «{input}»", source.id));
            reader.faults.push(fault);
        }
    }
    args
}
