//! Reads one step's table: options with their checks, outputs with their targets, everything else reported.
//!
//! A step kind asks for its options by name; only those in its [`Sheet`] exist, and [`Reader::finish`] reports every key and
//! every output that is not among them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::document::{Item, Name, Place};
use crate::dtmf::Digit;
use crate::fault::{Fault, Severity, did_you_mean};
use crate::operator::Operator;
use crate::value::{Kind, Value};

use super::StepIndex;
use super::expr::{Expr, ExprFault, Scope, fits, kind_name};
use super::prompt::{self, Item as PromptItem};
use super::source::{Source, StepSource};
use super::step::Sheet;
use super::template::Template;

/// Reads one step.
pub(crate) struct Reader<'a, 'l> {
    pub(crate) step: StepSource<'a>,
    pub(crate) flow: &'l Source<'a>,
    pub(crate) flows: &'l [Source<'a>],
    pub(crate) operator: &'l Operator,
    pub(crate) faults: &'l mut Vec<Fault>,
    sheet: &'static Sheet,
    options: Vec<(Name<'a>, Place<'a>)>,
    on: Vec<(Name<'a>, Place<'a>)>,
    wired: Vec<&'a str>,
    outputs: Vec<Output>,
    known_outputs: Vec<String>,
    any_output: bool,
    /// What is missing, by name: reported at the end, unless something misspelt was meant for it.
    missing: Vec<(String, Fault)>,
    /// Faults that were there before this step.
    before: usize,
}

/// One output of a step that is being read.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) target: StepIndex,
}

impl<'a, 'l> Reader<'a, 'l> {
    pub(crate) fn new(
        step: StepSource<'a>,
        flow: &'l Source<'a>,
        flows: &'l [Source<'a>],
        operator: &'l Operator,
        sheet: &'static Sheet,
        faults: &'l mut Vec<Fault>,
    ) -> Self {
        let options = step.body.entries(faults);
        let before = faults.len();
        let on = options.iter().find(|(name, _)| name.text == "on").map(|(_, place)| place.entries(faults));
        Self {
            step,
            flow,
            flows,
            operator,
            faults,
            sheet,
            options,
            on: on.unwrap_or_default(),
            wired: Vec::new(),
            outputs: Vec::new(),
            known_outputs: Vec::new(),
            any_output: false,
            missing: Vec::new(),
            before,
        }
    }

    /// True while this step has no error: what only looks odd may follow from one.
    pub(crate) fn is_clean(&self) -> bool {
        !self.faults.iter().skip(self.before).any(|fault| fault.severity == Severity::Error)
    }

    /// Which outputs there are is unknown, because of a fault already reported: none is called unknown then.
    pub(crate) fn any_output(&mut self) {
        self.any_output = true;
    }

    /// Reports an error at `place`.
    pub(crate) fn fault(&mut self, place: Place<'_>, message: impl Into<String>) {
        self.faults.push(place.fault(message));
    }

    /// The value of an option, if it is there. Only what the kind's sheet lists may be asked for.
    pub(crate) fn option(&self, key: &str) -> Option<Place<'a>> {
        debug_assert!(self.sheet.options.iter().any(|option| option.name == key), "«{key}» is not in the sheet");
        self.options.iter().find(|(name, _)| name.text == key).map(|(_, place)| *place)
    }

    /// The value of an option; a fault at the step when it is missing.
    pub(crate) fn required(&mut self, key: &str) -> Option<Place<'a>> {
        let place = self.option(key);
        if place.is_none() {
            let message = format!("the {} «{}» has no «{key}»", self.step.kind.text, self.step.name.text);
            self.missing.push((key.to_owned(), self.step.kind.fault(message)));
        }
        place
    }

    pub(crate) fn flag(&mut self, key: &str, default: bool) -> bool {
        self.option(key).map_or(Some(default), |place| place.flag(self.faults)).unwrap_or(default)
    }

    pub(crate) fn duration(&mut self, key: &str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        let Some(place) = self.option(key) else { return default };
        let Some(duration) = place.duration(self.faults) else { return default };
        if !range.contains(&duration) {
            let (least, most) =
                (crate::duration_text::write(*range.start()), crate::duration_text::write(*range.end()));
            self.fault(place, format!("«{key}» lies between {least} and {most}"));
            return default;
        }
        duration
    }

    pub(crate) fn count(&mut self, key: &str, default: u8, range: RangeInclusive<u8>) -> u8 {
        let Some(place) = self.option(key) else { return default };
        let range = i64::from(*range.start())..=i64::from(*range.end());
        place.integer_in(range, self.faults).and_then(|count| u8::try_from(count).ok()).unwrap_or(default)
    }

    /// The single key of an option, if it is there.
    pub(crate) fn key(&mut self, key: &str) -> Option<Digit> {
        self.option(key).and_then(|place| self.key_at(place))
    }

    pub(crate) fn key_at(&mut self, place: Place<'a>) -> Option<Digit> {
        let text = match &place.node.item {
            Item::Text(text) => text.clone(),
            Item::Integer(number) => number.to_string(),
            Item::Float(_) | Item::Flag(_) | Item::Datetime(_) | Item::Array(_) | Item::Table(_) => {
                self.faults.push(place.expected("a key: \"0\" to \"9\", \"*\" or \"#\""));
                return None;
            }
        };
        let mut characters = text.chars();
        match (characters.next().and_then(Digit::from_char), characters.next()) {
            (Some(digit), None) if digit.event() < 12 => Some(digit),
            (_, _) => {
                self.fault(place, format!("«{text}» is no key: 0 to 9, * or #"));
                None
            }
        }
    }

    /// A sequence of keys written as a TOML key (`1`, `300`, `"#"`).
    pub(crate) fn sequence(&mut self, name: Name<'a>) -> Option<&'a str> {
        let fine = (1..=SEQUENCE_MAX).contains(&name.text.chars().count())
            && name.text.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '#'));
        if fine {
            return Some(name.text);
        }
        self.faults
            .push(name.fault(format!("«{}» is no key: 0 to 9, * or #, up to {SEQUENCE_MAX} of them", name.text)));
        None
    }

    /// What the caller hears; empty when the option is missing.
    pub(crate) fn prompts(&mut self, key: &str) -> Vec<PromptItem> {
        self.option(key).map(|place| self.prompts_at(place)).unwrap_or_default()
    }

    /// What the caller hears; a fault when the option is missing or an empty list.
    pub(crate) fn required_prompts(&mut self, key: &str) -> Vec<PromptItem> {
        let Some(place) = self.required(key) else { return Vec::new() };
        if place.is_list() && matches!(&place.node.item, Item::Array(items) if items.is_empty()) {
            self.fault(place, format!("«{key}» says nothing"));
        }
        self.prompts_at(place)
    }

    pub(crate) fn prompts_at(&mut self, place: Place<'a>) -> Vec<PromptItem> {
        prompt::read(place, &self.flow.scope(), self.operator, self.faults)
    }

    /// A text with `${…}`, if the option is there. A sensitive variable in it is a fault.
    pub(crate) fn template(&mut self, key: &str) -> Option<Template> {
        self.option(key).and_then(|place| self.template_at(place, None))
    }

    /// A template, number or flag. With `wanted` its kind must fit.
    pub(crate) fn template_at(&mut self, place: Place<'a>, wanted: Option<Kind>) -> Option<Template> {
        let template = self.any_template_at(place, wanted)?;
        if template.is_sensitive() {
            self.fault(place, "a sensitive variable may only be given to a service of «ask» or «verify»");
            return None;
        }
        Some(template)
    }

    /// As [`Reader::template_at`], where a sensitive variable is allowed.
    pub(crate) fn any_template_at(&mut self, place: Place<'a>, wanted: Option<Kind>) -> Option<Template> {
        read_template(place, wanted, &self.flow.scope(), self.faults)
    }

    /// An expression of kind flag. A sensitive variable in it is a fault.
    pub(crate) fn condition_at(&mut self, place: Place<'a>) -> Option<Expr> {
        read_condition(place, &self.flow.scope(), self.faults)
    }

    /// The variable that an option names; it was declared before steps are read.
    pub(crate) fn variable(&mut self, key: &str) -> Option<u16> {
        let place = self.option(key)?;
        let name = place.text(self.faults)?;
        self.flow.variables.slot(name)
    }

    /// The slots of `base.member` for the variables that were declared of it.
    pub(crate) fn slot(&self, name: &str) -> Option<u16> {
        self.flow.variables.slot(name)
    }

    /// Wires an output that must be wired.
    pub(crate) fn output(&mut self, name: &str) {
        if !self.optional_output(name) {
            let message =
                format!("the {} «{}» does not say where «{name}» leads", self.step.kind.text, self.step.name.text);
            let fault = self.step.kind.fault(message).suggest(format!("add on.{name} = \"step\""));
            self.missing.push((name.to_owned(), fault));
        }
    }

    /// Wires an output, or lets it lead where `other` leads, which must have been wired before.
    pub(crate) fn output_or(&mut self, name: &str, other: &str) {
        if !self.optional_output(name)
            && let Some(output) = self.outputs.iter().find(|output| output.name == other).cloned()
        {
            self.outputs.push(Output { name: name.to_owned(), ..output });
        }
    }

    /// Wires an output if it is written; says whether it is.
    pub(crate) fn optional_output(&mut self, name: &str) -> bool {
        self.known_outputs.push(name.to_owned());
        let Some((on, place)) = self.on.iter().find(|(on, _)| on.text == name).copied() else { return false };
        self.wired.push(on.text);
        self.lead(name, place);
        true
    }

    /// Wires an output to the step named at `place`.
    pub(crate) fn lead(&mut self, name: &str, place: Place<'a>) {
        if let Some(target) = target(self.flow, place, self.faults) {
            self.outputs.push(Output { name: name.to_owned(), target });
        }
    }

    /// Where a global key leads, as written; `None` when the flow has none for this key.
    pub(crate) fn global_key(&self, digit: Digit) -> Option<&'a str> {
        let (_, place) = self.flow.global_keys.iter().find(|(key, _)| *key == digit)?;
        place.text(&mut Vec::new())
    }

    /// Reports what nobody asked for, and gives the outputs.
    pub(crate) fn finish(mut self) -> Vec<Output> {
        if self.any_output {
            for (name, place) in self.on.clone() {
                self.known_outputs.push(name.text.to_owned());
                if !self.wired.contains(&name.text) {
                    self.wired.push(name.text);
                    self.lead(name.text, place);
                }
            }
        }
        let options: Vec<&str> = self.sheet.options.iter().map(|option| option.name).collect();
        let mut meant = Vec::new();
        for (name, _) in self.options.iter().filter(|(name, _)| name.text != "on" && !options.contains(&name.text)) {
            let fault = name.fault(format!("a {} has no option «{}»", self.step.kind.text, name.text));
            let known: Vec<&str> = options.iter().copied().chain(["on"]).collect();
            self.faults.push(unknown(fault, name.text, &known, "known here", &mut meant));
        }
        for (name, _) in self.on.iter().filter(|(name, _)| !self.wired.contains(&name.text)) {
            let fault = name.fault(format!("this {} has no output «{}»", self.step.kind.text, name.text));
            let known: Vec<&str> = self.known_outputs.iter().map(String::as_str).collect();
            self.faults.push(unknown(fault, name.text, &known, "its outputs", &mut meant));
        }
        // What was misspelt is there: saying that it is missing as well would be the same fault twice.
        self.missing.retain(|(name, _)| !meant.contains(name));
        self.faults.extend(self.missing.into_iter().map(|(_, fault)| fault));
        self.outputs
    }
}

/// The fault with the name that was probably meant, or with all there are.
pub(super) fn unknown(fault: Fault, name: &str, known: &[&str], label: &str, meant: &mut Vec<String>) -> Fault {
    match did_you_mean(name, known.iter().copied()) {
        Some(near) => {
            let fault = fault.suggest(format!("did you mean «{near}»?"));
            meant.push(near);
            fault
        }
        None if known.is_empty() => fault,
        None => fault.suggest(format!("{label}: {}", known.join(", "))),
    }
}

/// The step of `flow` named at `place`, or a fault.
pub(crate) fn target(flow: &Source<'_>, place: Place<'_>, faults: &mut Vec<Fault>) -> Option<StepIndex> {
    let name = place.text(faults)?;
    let found = flow.steps.iter().position(|step| step.name.text == name);
    if found.is_none() {
        let names = flow.steps.iter().map(|step| step.name.text);
        faults.push(place.fault(format!("there is no step «{name}» in this flow")).did_you_mean(name, names));
    }
    found.and_then(|index| u16::try_from(index).ok()).map(StepIndex)
}

/// A template, number or flag at `place`, of a kind that fits.
pub(crate) fn read_template(
    place: Place<'_>,
    wanted: Option<Kind>,
    scope: &dyn Scope,
    faults: &mut Vec<Fault>,
) -> Option<Template> {
    let template = match &place.node.item {
        Item::Text(text) => match Template::parse(text, scope) {
            Ok(template) => template,
            Err(fault) => {
                report(place, text, fault, faults);
                return None;
            }
        },
        Item::Integer(number) => Template::constant(Value::Number(*number)),
        Item::Flag(flag) => Template::constant(Value::Flag(*flag)),
        Item::Float(_) | Item::Datetime(_) | Item::Array(_) | Item::Table(_) => {
            faults.push(place.expected("a text with ${…}, a whole number, true or false"));
            return None;
        }
    };
    if let Some(wanted) = wanted
        && !fits(template.kind(), wanted)
    {
        let message = format!("a {} is expected here, this is a {}", kind_name(wanted), kind_name(template.kind()));
        faults.push(place.fault(message));
        return None;
    }
    Some(template)
}

/// An expression of kind flag at `place` that reads nothing sensitive.
pub(crate) fn read_condition(place: Place<'_>, scope: &dyn Scope, faults: &mut Vec<Fault>) -> Option<Expr> {
    let text = place.text(faults)?;
    let expr = match Expr::parse(text, scope) {
        Ok(expr) => expr,
        Err(fault) => {
            report(place, text, fault, faults);
            return None;
        }
    };
    if expr.kind() != Kind::Flag {
        faults.push(place.fault(format!("a condition is expected here, this is a {}", kind_name(expr.kind()))));
        return None;
    }
    if expr.is_sensitive() {
        faults.push(place.fault("a sensitive variable may only be given to a service of «ask» or «verify»"));
        return None;
    }
    Some(expr)
}

/// Reports a fault inside the text at `place`, at its own column when the text is written without escapes.
fn report(place: Place<'_>, text: &str, fault: ExprFault, faults: &mut Vec<Fault>) {
    if fault.follows {
        return;
    }
    let written = place.source.text.get(place.span()).unwrap_or("");
    let span = match written.find(text) {
        Some(offset) if !text.is_empty() => {
            let base = place.span().start + offset;
            base + fault.span.start..base + fault.span.end
        }
        Some(_) | None => place.span(),
    };
    let found = Fault::error(place.source, span, fault.message);
    faults.push(match fault.suggestion {
        Some(suggestion) => found.suggest(suggestion),
        None => found,
    });
}

/// Keys of one menu entry or extension at most.
const SEQUENCE_MAX: usize = 6;
