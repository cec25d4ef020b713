//! `case`: opens a case, changes one, or finds one by what the caller keyed.
//!
//! The folio comes back only when the case is durable. A visit that is repeated in the same call with the same
//! `idempotency` gets the same case. A folio with a wrong check digit and one of somebody else are both `not_found`.

use std::str::FromStr as _;
use std::time::Duration;

use super::ask::shown;
use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::case::{self, Folio, State};
use crate::flow::action::{Answer, Request};
use crate::flow::expr::Scope as _;
use crate::flow::reader::Reader;
use crate::flow::source::{Body, Declared};
use crate::flow::template::Template;
use crate::flow::turn::Turn;
use crate::operator::due;
use crate::value::{Kind, Values};

const OPS: &[&str] = &["open", "update", "find"];
const OPTIONS: &[Opt] = &[
    opt("op", Shape::OneOf(OPS), "What is done."),
    opt("kind", Shape::Text, "open: a kind of operator.toml; its deadline counts from now."),
    opt("subkind", Shape::Template, "open: one of the kind's sub-kinds."),
    opt("fields", Shape::Templates, "open, update: what the case holds; what is unset is left out."),
    opt("idempotency", Shape::Template, "open: the same key opens the same case (this call and step)."),
    opt("folio", Shape::Template, "update, find: which case."),
    opt("state", Shape::Text, "update: its new state (en_proceso, escalado, resuelto, cerrado)."),
    opt("timeout", Shape::Duration, "How long the store may take (5s)."),
    opt("into", Shape::Variable, "open, find: gets `folio`, `estado`, `vence`; find also `tipo`, `recibido`, `siguiente` (case)."),
];
const OUTPUTS: &[Out] = &[
    out("ok", "It is done, and durable."),
    out("not_found", "update, find: there is no such case of this operator."),
    out("error", "It could not be done, or not in time."),
];

/// What `case` gives back.
const MEMBERS: [(&str, Kind); 6] = [
    ("folio", Kind::Text),
    ("estado", Kind::Text),
    ("vence", Kind::Moment),
    ("tipo", Kind::Text),
    ("recibido", Kind::Moment),
    ("siguiente", Kind::Text),
];

/// Opens, changes or finds a case.
#[derive(Debug)]
pub(crate) struct CaseStep {
    op: Op,
    timeout: Duration,
    into: Vec<(&'static str, u16)>,
}

#[derive(Debug)]
enum Op {
    Open { kind: String, subkind: Option<Template>, fields: Vec<(String, Template)>, idempotency: Option<Template> },
    Update { folio: Template, state: Option<State>, fields: Vec<(String, Template)> },
    Find { folio: Template },
}

impl StepKind for CaseStep {
    type Running = ();
    const SHEET: &'static Sheet = &Sheet {
        about: "Opens a case, changes one, or finds one by its folio.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Deaf,
        silent: true,
    };

    fn declare(body: &Body<'_>, declared: &mut Declared<'_>) {
        let base = body.text("into").unwrap_or("case");
        let members = match body.text("op") {
            Some("open") => MEMBERS.get(..3).unwrap_or(&MEMBERS),
            Some("find") => &MEMBERS,
            Some("update") => return,
            Some(_) | None => return declared.doubt(base),
        };
        let place = body.get("into").or_else(|| body.get("op"));
        if let Some(place) = place {
            declared.record(base, place, members.iter().copied());
            declared.only(&format!("{base}.estado"), State::ALL.iter().map(|state| state.as_str()));
        }
    }

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("op");
        let name = place.and_then(|place| place.text(reader.faults));
        reader.output("ok");
        if matches!(name, Some("update" | "find")) {
            reader.output("not_found");
        }
        reader.output("error");
        let op = match (name, place) {
            (Some("open"), _) => read_open(reader),
            (Some("update"), _) => read_update(reader),
            (Some("find"), _) => {
                foreign(reader, &["kind", "subkind", "fields", "idempotency", "state"], "find");
                reader.required("folio").and_then(|place| reader.template_at(place, Some(Kind::Text))).map(|folio| Op::Find { folio })
            }
            (Some(other), Some(place)) => {
                reader.any_output();
                let fault = place.fault(format!("unknown op «{other}»; known: {}", OPS.join(", ")));
                reader.faults.push(fault.did_you_mean(other, OPS.iter().copied()));
                None
            }
            (_, _) => None,
        };
        let timeout = reader.duration("timeout", TIMEOUT, Duration::from_millis(200)..=Duration::from_secs(30));
        let base = reader.option("into").and_then(|place| place.text(reader.faults)).unwrap_or("case");
        let members = MEMBERS.iter();
        let into = members.filter_map(|(name, _)| Some((*name, reader.slot(&format!("{base}.{name}"))?))).collect();
        Some(Self { op: op?, timeout, into })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        match self.request(turn) {
            Ok(request) => {
                turn.request(request, self.timeout);
                Next::Wait(())
            }
            Err(leave) => Next::Leave(leave),
        }
    }

    fn handle(&self, (): &mut (), input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Answered(Answer::Result { result, values }) => {
                turn.trace(format!("case {result}{}", shown(&values)));
                if !matches!(self.op, Op::Update { .. }) {
                    for (name, slot) in &self.into {
                        turn.set(*slot, values.get(*name).cloned());
                    }
                }
                let known = turn.step.target(&result).is_some();
                After::Leave(if known { Leave::named(&result) } else { Leave::by("error") })
            }
            Input::Answered(Answer::Error(reason)) => {
                turn.trace(format!("the case store cannot: {reason}"));
                After::Leave(Leave::by("error"))
            }
            Input::Late => {
                turn.trace("the case store is late");
                After::Leave(Leave::by("error"))
            }
            Input::Digit(_) | Input::Transferred(_) | Input::Played | Input::Deadline(_) => After::Stay,
        }
    }
}

impl CaseStep {
    fn request(&self, turn: &mut Turn<'_>) -> Result<Request, Leave> {
        match &self.op {
            Op::Open { kind, subkind, fields, idempotency } => open(self, kind, subkind, fields, idempotency, turn),
            Op::Update { folio, state, fields } => {
                let folio = known_folio(folio, turn)?;
                turn.trace(format!("updates case {folio}"));
                Ok(Request::UpdateCase(case::Update {
                    operator: turn.operator.id.clone(),
                    folio,
                    state: *state,
                    fields: evaluated(fields, turn),
                    call: turn.facts.key.clone(),
                    at: turn.now.wall,
                }))
            }
            Op::Find { folio } => {
                let folio = known_folio(folio, turn)?;
                turn.trace(format!("looks for case {folio}"));
                Ok(Request::FindCase { operator: turn.operator.id.clone(), folio })
            }
        }
    }
}

fn open(
    step: &CaseStep,
    kind: &str,
    subkind: &Option<Template>,
    fields: &[(String, Template)],
    idempotency: &Option<Template>,
    turn: &mut Turn<'_>,
) -> Result<Request, Leave> {
    let (operator, values) = (turn.operator, turn.values());
    let Some(declared) = operator.kinds.get(kind) else { return Err(Leave::by("error")) };
    let subkind = subkind.as_ref().map(|subkind| subkind.text(&values)).unwrap_or_default();
    let idempotency = match idempotency {
        Some(key) => key.text(&values),
        None => format!("{}:{}:{}:{kind}:{subkind}", turn.facts.key, turn.flow.id, turn.step.name),
    };
    if !subkind_fits(&subkind, &declared.subkinds) {
        turn.trace(format!("«{subkind}» is no sub-kind of «{kind}»"));
        return Err(Leave::by("error"));
    }
    // A revisit must not speak of an earlier case when this one cannot be opened.
    step.into.iter().for_each(|(_, slot)| turn.set(*slot, None));
    turn.trace(format!("opens a case {kind} {subkind}"));
    Ok(Request::OpenCase(case::Open {
        operator: operator.id.clone(),
        prefix: operator.folio_prefix,
        kind: kind.to_owned(),
        subkind,
        fields: evaluated(fields, turn),
        channel: "telefono".to_owned(),
        call: turn.facts.key.clone(),
        received: turn.now.wall,
        due: due(turn.now.wall, declared, operator),
        idempotency,
    }))
}

/// The folio a template holds; `not_found` when it is none, with the same words as for one that does not exist.
fn known_folio(folio: &Template, turn: &mut Turn<'_>) -> Result<Folio, Leave> {
    let text = folio.text(&turn.values());
    Folio::parse(&text).map_err(|error| {
        turn.trace(format!("no folio: {error}"));
        Leave::by("not_found")
    })
}

fn evaluated(fields: &[(String, Template)], turn: &Turn<'_>) -> Values {
    let values = turn.values();
    fields.iter().filter_map(|(name, template)| Some((name.clone(), template.value(&values)?))).collect()
}

fn subkind_fits(subkind: &str, subkinds: &[String]) -> bool {
    if subkinds.is_empty() { subkind.is_empty() } else { subkinds.iter().any(|known| known == subkind) }
}

fn read_open(reader: &mut Reader<'_, '_>) -> Option<Op> {
    foreign(reader, &["folio", "state"], "open");
    let place = reader.required("kind");
    let kind = place.and_then(|place| place.text(reader.faults));
    let operator = reader.operator;
    let declared = kind.and_then(|kind| operator.kinds.get(kind));
    if let (Some(kind), Some(place), None) = (kind, place, declared) {
        let fault = place.fault(format!("{} has no kind of case «{kind}»", operator.id));
        reader.faults.push(fault.did_you_mean(kind, operator.kinds.keys().map(String::as_str)));
    }
    let subkind_place = reader.option("subkind");
    let subkind = subkind_place.and_then(|place| reader.template_at(place, Some(Kind::Text)));
    if let Some(declared) = declared {
        match (&subkind, subkind_place) {
            (Some(template), Some(place)) => {
                if let Some(literal) = template.as_literal()
                    && !subkind_fits(literal, &declared.subkinds)
                {
                    let fault = place.fault(format!("«{literal}» is no sub-kind of «{}»", declared.name));
                    reader.faults.push(fault.did_you_mean(literal, declared.subkinds.iter().map(String::as_str)));
                } else if declared.subkinds.is_empty() {
                    reader.fault(place, format!("«{}» has no sub-kinds", declared.name));
                } else if let Some(texts) = template.variable().and_then(|variable| reader.flow.variables.texts(variable))
                    && let Some(stranger) = texts.iter().find(|text| !subkind_fits(text, &declared.subkinds))
                {
                    let message = format!("this may be «{stranger}», which is no sub-kind of «{}»", declared.name);
                    let subkinds = declared.subkinds.iter().map(String::as_str);
                    reader.faults.push(place.fault(message).did_you_mean(stranger, subkinds));
                }
            }
            (None, None) if !declared.subkinds.is_empty() => {
                let message = format!("a case «{}» has a sub-kind: {}", declared.name, declared.subkinds.join(", "));
                reader.faults.push(reader.step.kind.fault(message));
            }
            (_, _) => {}
        }
    }
    let fields = read_fields(reader);
    let idempotency = reader.template("idempotency");
    declared.map(|declared| Op::Open { kind: declared.name.clone(), subkind, fields, idempotency })
}

fn read_update(reader: &mut Reader<'_, '_>) -> Option<Op> {
    foreign(reader, &["kind", "subkind", "idempotency", "into"], "update");
    let folio = reader.required("folio").and_then(|place| reader.template_at(place, Some(Kind::Text)));
    let mut state = None;
    if let Some(place) = reader.option("state")
        && let Some(text) = place.text(reader.faults)
    {
        state = State::from_str(text).ok();
        if state.is_none() {
            let names = State::ALL.map(State::as_str);
            let fault = place.fault(format!("unknown state «{text}»; known: {}", names.join(", ")));
            reader.faults.push(fault.did_you_mean(text, names));
        }
    }
    let fields = read_fields(reader);
    folio.map(|folio| Op::Update { folio, state, fields })
}

fn read_fields(reader: &mut Reader<'_, '_>) -> Vec<(String, Template)> {
    let entries = reader.option("fields").map(|place| place.entries(reader.faults)).unwrap_or_default();
    let mut fields = Vec::new();
    for (name, place) in entries {
        fields.extend(reader.template_at(place, None).map(|template| (name.text.to_owned(), template)));
    }
    fields
}

fn foreign(reader: &mut Reader<'_, '_>, options: &[&str], op: &str) {
    for option in options {
        if let Some(place) = reader.option(option) {
            reader.fault(place, format!("«{option}» has no meaning for «{op}»"));
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use crate::flow::action::Answer;
    use crate::flow::bench::Bench;
    use crate::value::Value;

    const FOUND: &str = r#"
on = { ok = "ok", not_found = "no", error = "mal" }
[steps.ok.tag]
result = "${caso.folio} ${caso.estado}"
on.next = "fin"
[steps.no.hangup]
cause = "refused"
[steps.mal.hangup]
cause = "unavailable"
[steps.fin.hangup]
"#;

    #[test]
    fn a_case_is_opened_with_its_deadline_and_without_unset_fields() {
        let mut bench = Bench::with_head(
            "vars = { motivo = \"text\", imei = \"text\" }",
            r#"
[steps.a.set]
values = { motivo = "robo" }
on.next = "abrir"
[steps.abrir.case]
op = "open"
kind = "bloqueo"
subkind = "${motivo}"
fields = { linea = "${call.caller}", imei = "${imei}", titular = true }
idempotency = "${call.key}:bloqueo"
into = "caso"
on = { ok = "ok", error = "fin" }
[steps.ok.tag]
result = "${caso.folio}"
on.next = "fin"
[steps.fin.hangup]
"#,
        );
        let opens = "opens bloqueo/robo linea=2221234567 titular=true due 2026-03-11T17:00:00Z once k1:bloqueo";
        assert_eq!(bench.start(), [opens]);
        assert_eq!(
            bench.answer("ok", &[("folio", Value::Text("2000000006".into()))]),
            ["result 2000000006", "ends hangup"]
        );
    }

    #[test]
    fn a_sub_kind_that_is_none_never_reaches_the_store() {
        let mut bench = Bench::with_head(
            "vars = { motivo = \"text\" }",
            "[steps.a.case]\nop = \"open\"\nkind = \"bloqueo\"\nsubkind = \"${motivo}\"\non = { ok = \"fin\", error = \"mal\" }\n\
             [steps.fin.hangup]\n[steps.mal.hangup]\ncause = \"unavailable\"\n",
        );
        assert_eq!(bench.start(), ["ends unavailable"]);
    }

    #[test]
    fn a_wrong_check_digit_is_not_found_without_asking() {
        let find = |folio: &str| format!("[steps.a.case]\nop = \"find\"\nfolio = \"{folio}\"\ninto = \"caso\"{FOUND}");
        let folio = crate::case::Folio::draw(2, &mut crate::ids::Ids::from_seed(7)).to_string();
        let mut bench = Bench::of(&find(&folio));
        assert_eq!(bench.start(), [format!("finds {folio}")]);
        let values = [("folio", Value::Text(folio.clone())), ("estado", Value::Text("abierto".into()))];
        assert_eq!(bench.answer("ok", &values), [format!("result {folio} abierto"), "ends hangup".into()]);
        let mut bench = Bench::of(&find("2000000000"));
        assert_eq!(bench.start(), ["ends refused"]);
        let mut bench = Bench::of(&find(&folio));
        bench.start();
        assert_eq!(bench.answered(Answer::Error("disk full".into())), ["ends unavailable"]);
    }
}
