//! A flow's file as it is written: its head, its steps by name and kind, and the variables they make. No step is read yet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::document::{Item, Name, Node, Place};
use crate::dtmf::Digit;
use crate::fault::{Fault, SourceFile};
use crate::operator::Operator;
use crate::value::Kind;

use super::expr;
use super::step;
use super::variables::{ReadScope, Reads, Texts, Variables};

/// One file: `[flow]` and `[steps.NAME.KIND]`.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a SourceFile,
    pub(crate) id: String,
    /// Bytes of the id, or of the file's beginning when it is missing.
    pub(crate) id_place: Option<Place<'a>>,
    pub(crate) start: Option<Place<'a>>,
    pub(crate) on_hangup: Option<Place<'a>>,
    pub(crate) on_error: Option<Place<'a>>,
    pub(crate) max_duration: Duration,
    pub(crate) max_visits: u16,
    pub(crate) global_keys: Vec<(Digit, Place<'a>)>,
    pub(crate) inputs: Vec<(String, Kind)>,
    pub(crate) returns: Vec<String>,
    pub(crate) outs: Vec<(String, Kind)>,
    pub(crate) steps: Vec<StepSource<'a>>,
    pub(crate) variables: Variables,
    /// What the flow's expressions read of them, as far as they have been read themselves.
    pub(crate) reads: Reads,
    /// Where each variable that somebody wrote down stands first, by slot.
    pub(crate) written: BTreeMap<u16, Range<usize>>,
}

/// One step as written.
#[derive(Clone, Copy)]
pub(crate) struct StepSource<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) kind: Name<'a>,
    pub(crate) body: Place<'a>,
}

impl<'a> Source<'a> {
    /// Reads the head of a file; `None` when it is no table at all.
    pub(crate) fn read(file: &'a SourceFile, root: &'a Node, faults: &mut Vec<Fault>) -> Option<Self> {
        let mut top = Place::new(file, root).fields(faults)?;
        top.schema(1, faults);
        let head = top.required("flow", faults);
        let steps = read_steps(top.entries("steps", faults), faults);
        top.finish(faults);
        let mut source = Self::empty(file, steps);
        if let Some(head) = head {
            source.read_head(head, faults);
        }
        Some(source)
    }

    fn empty(file: &'a SourceFile, steps: Vec<StepSource<'a>>) -> Self {
        Self {
            file,
            id: String::new(),
            id_place: None,
            start: None,
            on_hangup: None,
            on_error: None,
            max_duration: MAX_DURATION,
            max_visits: MAX_VISITS,
            global_keys: Vec::new(),
            inputs: Vec::new(),
            returns: Vec::new(),
            outs: Vec::new(),
            steps,
            variables: Variables::default(),
            reads: Reads::default(),
            written: BTreeMap::new(),
        }
    }

    fn read_head(&mut self, head: Place<'a>, faults: &mut Vec<Fault>) {
        let Some(mut head) = head.fields(faults) else { return };
        self.id_place = head.required("id", faults);
        self.id = self.id_place.and_then(|place| place.text(faults)).unwrap_or("").to_owned();
        self.start = head.required("start", faults);
        self.on_hangup = head.optional("on_hangup");
        self.on_error = head.optional("on_error");
        if let Some(place) = head.optional("max_duration")
            && let Some(duration) = place.duration(faults)
        {
            if (Duration::from_secs(10)..=DURATION_MAX).contains(&duration) {
                self.max_duration = duration;
            } else {
                faults.push(place.fault("«max_duration» lies between 10s and 12h"));
            }
        }
        if let Some(visits) = head.optional("max_visits").and_then(|place| place.integer_in(1..=10_000, faults)) {
            self.max_visits = u16::try_from(visits).unwrap_or(MAX_VISITS);
        }
        for (name, place) in head.entries("global_keys", faults) {
            if let Some(digit) = one_key(name, faults) {
                self.global_keys.push((digit, place));
            }
        }
        for (name, kind) in self.read_kinds(head.entries("in", faults), faults) {
            self.declare(name, kind, Texts::Any, faults);
            self.inputs.push((name.text.to_owned(), kind));
        }
        for (name, kind) in self.read_kinds(head.entries("vars", faults), faults) {
            self.declare(name, kind, Texts::Only(Vec::new()), faults);
        }
        for (name, kind) in self.read_kinds(head.entries("out", faults), faults) {
            self.declare(name, kind, Texts::Only(Vec::new()), faults);
            self.outs.push((name.text.to_owned(), kind));
        }
        for (name, place) in head.texts("returns", faults) {
            if self.returns.iter().any(|known| known == name) {
                faults.push(place.fault(format!("«{name}» stands here twice")));
            }
            self.returns.push(name.to_owned());
        }
        head.finish(faults);
    }

    fn read_kinds(&mut self, entries: Vec<(Name<'a>, Place<'a>)>, faults: &mut Vec<Fault>) -> Vec<(Name<'a>, Kind)> {
        let mut kinds = Vec::new();
        for (name, place) in entries {
            let Some(text) = place.text(faults) else { continue };
            match KINDS.iter().find(|kind| expr::kind_name(**kind) == text) {
                Some(kind) => kinds.push((name, *kind)),
                None => {
                    self.variables.doubt(name.text);
                    let names = KINDS.iter().map(|kind| expr::kind_name(*kind));
                    faults.push(place.fault(format!("unknown kind of value «{text}»")).did_you_mean(text, names));
                }
            }
        }
        kinds
    }

    fn declare(&mut self, name: Name<'_>, kind: Kind, texts: Texts, faults: &mut Vec<Fault>) {
        if let Some(message) = bad_variable_name(name.text) {
            faults.push(name.fault(message));
        } else if self.variables.len() >= VARIABLES_MAX {
            faults.push(name.fault(format!("more than {VARIABLES_MAX} variables")));
        } else {
            match self.variables.declare(name.text, kind, false, texts) {
                Ok(slot) => drop(self.written.entry(slot).or_insert_with(|| name.span.clone())),
                Err(known) => faults.push(name.fault(clash(name.text, kind, known))),
            }
        }
    }

    /// The variables as expressions look them up.
    pub(crate) fn scope(&self) -> ReadScope<'_> {
        ReadScope { variables: &self.variables, reads: &self.reads }
    }

    /// Finds the variables that steps make. `outs` tells what each flow gives back.
    pub(crate) fn find_variables(
        &mut self,
        operator: &Operator,
        outs: &[(String, Vec<(String, Kind)>)],
        faults: &mut Vec<Fault>,
    ) {
        let mut widened = Vec::new();
        for source in self.steps.clone() {
            let mut declared =
                Declared { operator, outs, found: Vec::new(), doubtful: Vec::new(), widened: Vec::new() };
            step::declare(source.kind.text, &Body(source.body), &mut declared);
            declared.doubtful.iter().for_each(|name| self.variables.doubt(name));
            widened.append(&mut declared.widened);
            for found in declared.found {
                let base = found.name.split('.').next().unwrap_or("");
                if self.variables.len() >= VARIABLES_MAX {
                    faults.push(Fault::error(self.file, found.span, format!("more than {VARIABLES_MAX} variables")));
                    return;
                }
                if let Some(message) = bad_variable_name(base) {
                    faults.push(Fault::error(self.file, found.span, message));
                } else {
                    match self.variables.declare(&found.name, found.kind, found.sensitive, found.texts) {
                        Ok(slot) if found.written => drop(self.written.entry(slot).or_insert(found.span)),
                        Ok(_) => {}
                        Err(known) => {
                            faults.push(Fault::error(self.file, found.span, clash(&found.name, found.kind, known)));
                        }
                    }
                }
            }
        }
        widened.iter().for_each(|name| self.variables.widen(name));
    }
}

/// What a step's table holds, read leniently: faults are told later, when the step itself is read.
pub(crate) struct Body<'a>(Place<'a>);

impl<'a> Body<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<Place<'a>> {
        self.0.entries(&mut Vec::new()).into_iter().find(|(name, _)| name.text == key).map(|(_, place)| place)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.text(&mut Vec::new())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|place| place.node.item == Item::Flag(true))
    }
}

/// Collects the variables one step makes.
pub(crate) struct Declared<'o> {
    pub(crate) operator: &'o Operator,
    outs: &'o [(String, Vec<(String, Kind)>)],
    found: Vec<Found>,
    doubtful: Vec<String>,
    /// Variables that an expression gives a value.
    widened: Vec<String>,
}

struct Found {
    name: String,
    kind: Kind,
    sensitive: bool,
    texts: Texts,
    span: Range<usize>,
    /// Somebody wrote its name down; otherwise the step has it from its sheet.
    written: bool,
}

impl Declared<'_> {
    /// A variable named by the text at `place`.
    pub(crate) fn variable(&mut self, place: Place<'_>, kind: Kind, sensitive: bool) {
        if let Some(name) = place.text(&mut Vec::new()) {
            let (name, span) = (name.to_owned(), place.span());
            self.found.push(Found { name, kind, sensitive, texts: Texts::Any, span, written: true });
        }
    }

    /// A variable named by a key, with a value of this kind; `text` is that value when it is a text without expressions.
    pub(crate) fn key(&mut self, name: Name<'_>, kind: Kind, text: Option<&str>) {
        let texts = text.map_or(Texts::Any, |text| Texts::Only(vec![text.into()]));
        let (name, span) = (name.text.to_owned(), name.span.clone());
        self.found.push(Found { name, kind, sensitive: false, texts, span, written: true });
    }

    /// A variable named by a key gets whatever an expression comes to.
    pub(crate) fn assigned(&mut self, name: Name<'_>) {
        self.widened.push(name.text.to_owned());
    }

    /// `base.name` for each of `members`; faults point at `place`, where the base is written unless it is the step's own.
    pub(crate) fn record<'m>(
        &mut self,
        base: &str,
        place: Place<'_>,
        members: impl IntoIterator<Item = (&'m str, Kind)>,
    ) {
        let written = place.text(&mut Vec::new()) == Some(base);
        for (member, kind) in members {
            let (name, span) = (format!("{base}.{member}"), place.span());
            self.found.push(Found { name, kind, sensitive: false, texts: Texts::Any, span, written });
        }
    }

    /// The variable of this name, which was found before, holds one of these texts.
    pub(crate) fn only<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        if let Some(found) = self.found.iter_mut().rfind(|found| found.name == name) {
            found.texts = Texts::Only(texts.into_iter().map(Into::into).collect());
        }
    }

    /// A variable, or a record of them, whose kind a fault hides.
    pub(crate) fn doubt(&mut self, name: &str) {
        self.doubtful.push(name.to_owned());
    }

    /// What the flow `id` gives back; `None` when there is no such flow.
    pub(crate) fn outs(&self, id: &str) -> Option<&[(String, Kind)]> {
        self.outs.iter().find(|(known, _)| known == id).map(|(_, outs)| outs.as_slice())
    }
}

fn read_steps<'a>(entries: Vec<(Name<'a>, Place<'a>)>, faults: &mut Vec<Fault>) -> Vec<StepSource<'a>> {
    let mut steps = Vec::new();
    for (name, place) in entries {
        if matches!(name.text, "back" | "repeat") {
            faults.push(name.fault(format!("«{}» is what a global key does, a step needs another name", name.text)));
        }
        let kinds = place.entries(faults);
        match kinds.as_slice() {
            [(kind, body)] => steps.push(StepSource { name, kind: *kind, body: *body }),
            [] => faults.push(name.fault(format!("the step «{}» has no kind: write [steps.{0}.menu]", name.text))),
            [(kind, body), (second, _), ..] => {
                faults.push(
                    second.fault(format!("the step «{}» is a «{}» already; a step has one kind", name.text, kind.text)),
                );
                steps.push(StepSource { name, kind: *kind, body: *body });
            }
        }
    }
    if let Some(first) = steps.get(STEPS_MAX) {
        faults.push(first.name.fault(format!("a flow has at most {STEPS_MAX} steps: move some to a sub-flow")));
        steps.truncate(STEPS_MAX);
    }
    steps
}

/// The single key that `name` is, or a fault.
pub(crate) fn one_key(name: Name<'_>, faults: &mut Vec<Fault>) -> Option<Digit> {
    let mut characters = name.text.chars();
    match (characters.next().and_then(Digit::from_char), characters.next()) {
        (Some(digit), None) if digit.event() < 12 => Some(digit),
        (_, _) => {
            faults.push(name.fault(format!("«{}» is no key: 0 to 9, * or #", name.text)));
            None
        }
    }
}

/// Why a text cannot name a variable; `None` when it can.
fn bad_variable_name(name: &str) -> Option<String> {
    let first = name.chars().next().unwrap_or(' ');
    if !(first.is_alphabetic() || first == '_') || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Some(format!("«{name}» is no name for a variable: letters, digits and _"));
    }
    let taken = matches!(name, "call" | "true" | "false" | "and" | "or" | "not" | "set" | "length" | "starts_with");
    taken.then(|| format!("«{name}» has a meaning of its own and cannot name a variable"))
}

fn clash(name: &str, kind: Kind, known: Kind) -> String {
    format!("«{name}» is a {} here and a {} elsewhere in this flow", expr::kind_name(kind), expr::kind_name(known))
}

const KINDS: [Kind; 7] = [Kind::Text, Kind::Number, Kind::Money, Kind::Date, Kind::Moment, Kind::Flag, Kind::Prompt];
/// Steps of one flow at most: nobody can read more, and the checks look at every pair.
const STEPS_MAX: usize = 1_000;
/// Variables of one flow at most.
const VARIABLES_MAX: usize = 1_000;
/// A call's longest duration when its flow says nothing.
const MAX_DURATION: Duration = Duration::from_secs(30 * 60);
/// The longest a flow may ask for.
const DURATION_MAX: Duration = Duration::from_secs(12 * 3600);
/// Visits of one step in a call when its flow says nothing.
const MAX_VISITS: u16 = 100;
