//! `set`: gives variables their values.

use std::convert::Infallible;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::document::Item;
use crate::flow::expr::Scope;
use crate::flow::reader::Reader;
use crate::flow::source::{Body, Declared};
use crate::flow::template::Template;
use crate::flow::turn::Turn;
use crate::value::Kind;

const OPTIONS: &[Opt] = &[opt("values", Shape::Templates, "Variables and their values: `motivo = \"robo\"`, `n = \"${n + 1}\"`.")];
const OUTPUTS: &[Out] = &[out("next", "Always.")];

/// Gives variables their values, in the order of the file.
#[derive(Debug)]
pub(crate) struct Set {
    values: Vec<(u16, Template)>,
}

impl StepKind for Set {
    type Running = Infallible;
    const SHEET: &'static Sheet = &Sheet {
        about: "Gives variables their values.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Instant,
        silent: true,
    };

    /// A plain text, number or flag makes its variable; one made by `${…}` alone must be declared in `[flow] vars`.
    fn declare(body: &Body<'_>, declared: &mut Declared<'_>) {
        let Some(values) = body.get("values") else { return };
        for (name, place) in values.entries(&mut Vec::new()) {
            match &place.node.item {
                // One expression and nothing else, even when it is not closed: its kind is not for us to guess.
                Item::Text(text) if text.starts_with("${") && !text.trim_end_matches('}').contains('}') => {
                    declared.assigned(name);
                }
                Item::Text(text) => declared.key(name, Kind::Text, (!text.contains("${")).then_some(text.as_str())),
                Item::Integer(_) => declared.key(name, Kind::Number, None),
                Item::Flag(_) => declared.key(name, Kind::Flag, None),
                Item::Float(_) | Item::Datetime(_) | Item::Array(_) | Item::Table(_) => {}
            }
        }
    }

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("values");
        let entries = place.map(|place| place.entries(reader.faults)).unwrap_or_default();
        let mut values = Vec::new();
        for (name, place) in entries {
            let Some(slot) = reader.slot(name.text) else {
                if reader.flow.variables.is_doubtful(name.text) {
                    continue;
                }
                let fault = name.fault(format!("the variable «{}» is not declared", name.text));
                let fault = fault.did_you_mean(name.text, reader.flow.variables.names());
                let hint = format!("add it to [flow]: vars = {{ {} = \"number\" }}, or another kind", name.text);
                reader.faults.push(if fault.suggestion.is_some() { fault } else { fault.suggest(hint) });
                continue;
            };
            let kind = reader.flow.variables.get(slot).map(|variable| variable.kind);
            values.extend(reader.template_at(place, kind).map(|template| (slot, template)));
        }
        reader.output("next");
        Some(Self { values })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Infallible> {
        for (slot, template) in &self.values {
            let value = template.value(&turn.values());
            let name = turn.flow.variables.get(*slot).map_or("", |variable| variable.name.as_str());
            let shown = value.as_ref().map_or("unset".to_owned(), ToString::to_string);
            turn.trace(format!("{name} = {shown}"));
            turn.set(*slot, value);
        }
        Next::Leave(Leave::by("next"))
    }

    fn handle(&self, running: &mut Infallible, _input: Input, _turn: &mut Turn<'_>) -> After {
        match *running {}
    }
}
