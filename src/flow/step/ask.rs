//! `ask`: asks a service of the operator.
//!
//! ```text
//! Asking ─ a declared result ─► its output        ─ an error ─► asks again while `retry` and time are left, then `error`
//!    │ 1 s without an answer ─► says `wait_prompt`, again every 4 s; an answer meanwhile waits for its end
//!    └ `timeout` ─► `timeout`; an answer that comes later is ignored
//! ```

use std::time::{Duration, Instant};

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::document::Place;
use crate::flow::action::{Answer, Request};
use crate::flow::prompt::Item;
use crate::flow::reader::{Reader, unknown};
use crate::flow::source::{Body, Declared};
use crate::flow::template::Template;
use crate::flow::turn::{Turn, Why};
use crate::operator::Service;
use crate::value::{Kind, Values};

const OPTIONS: &[Opt] = &[
    opt("service", Shape::Text, "A service of services.toml."),
    opt("args", Shape::Templates, "A value for each of its arguments."),
    opt("timeout", Shape::Duration, "How long the answer may take (5s)."),
    opt("wait_prompt", Shape::Prompts, "Said when the answer takes more than a second."),
    opt("retry", Shape::Number, "How often to ask again after an error, within the timeout, 0 to 3 (0)."),
    opt("idempotency", Shape::Template, "The same key has the same effect once."),
    opt("into", Shape::Variable, "Gets the answer's values: `into.name`."),
];
const OUTPUTS: &[Out] = &[
    out("<result>", "The service answered so."),
    out("timeout", "No answer in time (error)."),
    out("error", "The service could not answer, or an argument is unset."),
];

/// Asks a service.
#[derive(Debug)]
pub(crate) struct Ask {
    service: String,
    args: Vec<(String, Template)>,
    timeout: Duration,
    wait_prompt: Vec<Item>,
    retry: u8,
    idempotency: Option<Template>,
    /// Names of the answer's values, and where they go.
    into: Vec<(String, u16)>,
}

/// What an `ask` remembers while it waits.
pub(crate) struct Asking {
    until: Instant,
    retries_left: u8,
    /// The answer came while the caller was being told to wait.
    ready: Option<Leave>,
}

impl StepKind for Ask {
    type Running = Asking;
    const SHEET: &'static Sheet = &Sheet {
        about: "Asks a service of the operator.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Deaf,
        silent: true,
    };

    fn declare(body: &Body<'_>, declared: &mut Declared<'_>) {
        let (Some(service), Some(place)) = (body.text("service"), body.get("into")) else { return };
        let Some(base) = place.text(&mut Vec::new()) else { return };
        let Some(service) = declared.operator.services.get(service) else { return declared.doubt(base) };
        let values: Vec<(&str, Kind)> = members(service);
        declared.record(base, place, values);
    }

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("service");
        let service = place.and_then(|place| service_at(reader, place));
        if let (Some(service), Some(place)) = (service, place)
            && !service.secrets.is_empty()
        {
            let fault = place.fault(format!("{} compares a secret: an «ask» would not count wrong tries", service.name));
            reader.faults.push(fault.suggest("use a «verify» step"));
        }
        let args = service.map(|service| read_args(reader, service, None)).unwrap_or_default();
        let timeout = reader.duration("timeout", TIMEOUT, Duration::from_millis(200)..=Duration::from_secs(60));
        let wait_prompt = reader.prompts("wait_prompt");
        let retry = reader.count("retry", 0, 0..=3);
        let idempotency = reader.template("idempotency");
        let base = reader.option("into").and_then(|place| place.text(reader.faults)).unwrap_or("");
        let values = service.map(members).unwrap_or_default();
        let into = values.into_iter();
        let into = into.filter_map(|(name, _)| Some((name.to_owned(), reader.slot(&format!("{base}.{name}"))?))).collect();
        for result in service.iter().flat_map(|service| service.results.keys()) {
            reader.output(result);
        }
        if service.is_none() {
            reader.any_output();
        }
        reader.output("error");
        reader.output_or("timeout", "error");
        let service = service?.name.clone();
        Some(Self { service, args, timeout, wait_prompt, retry, idempotency, into })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Asking> {
        if let Some(leave) = self.ask(self.timeout, turn) {
            return Next::Leave(leave);
        }
        if !self.wait_prompt.is_empty() {
            turn.deadline(WAIT_PROMPT_AFTER, Why::WaitPrompt);
        }
        Next::Wait(Asking { until: turn.now.instant + self.timeout, retries_left: self.retry, ready: None })
    }

    fn handle(&self, asking: &mut Asking, input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Answered(Answer::Result { result, values }) => {
                turn.trace(format!("{} answers {result}{}", self.service, named(&values)));
                for (name, slot) in &self.into {
                    turn.set(*slot, values.get(name).cloned());
                }
                if turn.step.target(&result).is_none() {
                    turn.trace(format!("«{result}» is not a result that {} declares", self.service));
                    return leave(asking, Leave::by("error"), turn);
                }
                leave(asking, Leave::named(&result), turn)
            }
            Input::Answered(Answer::Error(reason)) => {
                turn.trace(format!("{} cannot answer: {reason}", self.service));
                let left = asking.until.saturating_duration_since(turn.now.instant);
                if asking.retries_left == 0 || left.is_zero() {
                    return leave(asking, Leave::by("error"), turn);
                }
                asking.retries_left -= 1;
                match self.ask(left, turn) {
                    Some(done) => leave(asking, done, turn),
                    None => After::Stay,
                }
            }
            Input::Late => {
                turn.trace(format!("{} is late", self.service));
                leave(asking, Leave::by("timeout"), turn)
            }
            Input::Deadline(_) => {
                turn.play(&[&self.wait_prompt]);
                After::Stay
            }
            Input::Played => match asking.ready.take() {
                Some(leave) => After::Leave(leave),
                None => {
                    turn.deadline(WAIT_PROMPT_AGAIN, Why::WaitPrompt);
                    After::Stay
                }
            },
            Input::Digit(_) | Input::Transferred(_) => After::Stay,
        }
    }
}

impl Ask {
    /// Sends the request; the way out when an argument is unset.
    fn ask(&self, timeout: Duration, turn: &mut Turn<'_>) -> Option<Leave> {
        let mut args = Values::new();
        for (name, template) in &self.args {
            match template.value(&turn.values()) {
                Some(value) => args.insert(name.clone(), value),
                None => {
                    turn.trace(format!("the argument «{name}» of {} is unset", self.service));
                    return Some(Leave::by("error"));
                }
            };
        }
        let idempotency = self.idempotency.as_ref().map(|template| template.text(&turn.values()));
        turn.trace(format!("asks {}", self.service));
        let operator = turn.operator.id.clone();
        turn.request(Request::Service { operator, service: self.service.clone(), args, idempotency }, timeout);
        None
    }
}

/// Leaves now, or when the caller has heard the wait prompt to its end.
fn leave(asking: &mut Asking, leave: Leave, turn: &mut Turn<'_>) -> After {
    turn.clear_deadline();
    if turn.is_playing() {
        asking.ready = Some(leave);
        return After::Stay;
    }
    After::Leave(leave)
}

/// The names of the answer's values in brackets, for the call's path. What a service knows of a customer stays out of it: a row
/// may hold the very digits that a caller is asked for (pain 19).
fn named(values: &Values) -> String {
    let names: Vec<&str> = values.keys().map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// A case's values in brackets, for the call's path: folio, state and moments, nothing of the customer.
pub(super) fn shown(values: &Values) -> String {
    if values.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!(" ({})", pairs.join(", "))
}

/// The values of all results together: one name has one kind.
fn members(service: &Service) -> Vec<(&str, Kind)> {
    let mut members: Vec<(&str, Kind)> = Vec::new();
    for (name, kind) in service.results.values().flatten() {
        if !members.iter().any(|(known, _)| known == name) {
            members.push((name, *kind));
        }
    }
    members
}

/// The service named at `place`, or a fault.
pub(super) fn service_at<'l>(reader: &mut Reader<'_, 'l>, place: Place<'_>) -> Option<&'l Service> {
    let name = place.text(reader.faults)?;
    let services = &reader.operator.services;
    let service = services.get(name);
    if service.is_none() {
        let fault = place.fault(format!("{} has no service «{name}»", reader.operator.id));
        reader.faults.push(fault.did_you_mean(name, services.keys().map(String::as_str)));
    }
    service
}

/// The arguments of a service; all are mandatory but `given`, which the step fills itself.
pub(super) fn read_args(reader: &mut Reader<'_, '_>, service: &Service, given: Option<&str>) -> Vec<(String, Template)> {
    let entries = reader.option("args").map(|place| place.entries(reader.faults)).unwrap_or_default();
    let (mut args, mut meant) = (Vec::new(), Vec::new());
    for (name, place) in &entries {
        match service.args.get(name.text) {
            Some(kind) => {
                let template = reader.any_template_at(*place, Some(*kind));
                args.extend(template.map(|template| (name.text.to_owned(), template)));
            }
            None => {
                let fault = name.fault(format!("{} has no argument «{}»", service.name, name.text));
                let known: Vec<&str> = service.args.keys().map(String::as_str).collect();
                reader.faults.push(unknown(fault, name.text, &known, "its arguments", &mut meant));
            }
        }
    }
    for arg in service.args.keys().filter(|arg| Some(arg.as_str()) != given && !meant.contains(arg)) {
        if !entries.iter().any(|(name, _)| name.text == arg) {
            let place = reader.option("args").unwrap_or(reader.step.body);
            reader.fault(place, format!("{} asks for the argument «{arg}»", service.name));
        }
    }
    args
}

const TIMEOUT: Duration = Duration::from_secs(5);
/// A quicker answer needs no excuse, and a prompt that is cut off after a syllable sounds broken.
const WAIT_PROMPT_AFTER: Duration = Duration::from_secs(1);
/// Silence longer than this makes callers hang up.
const WAIT_PROMPT_AGAIN: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use crate::flow::action::Answer;
    use crate::flow::bench::Bench;
    use crate::value::Value;

    const ASK: &str = r#"
[steps.a.ask]
service = "cuenta.saldo"
args = { linea = "${call.caller}" }
timeout = "8s"
wait_prompt = ["espere"]
retry = 1
idempotency = "${call.key}:saldo"
into = "cuenta"
on = { found = "di", not_found = "no", timeout = "tarde", error = "mal" }
[steps.di.hangup]
prompt = [{ say = "money_mxn", value = "${cuenta.saldo}" }]
[steps.no.hangup]
cause = "refused"
[steps.tarde.hangup]
cause = "unavailable"
[steps.mal.hangup]
cause = "closed"
"#;

    #[test]
    fn an_answer_chooses_the_output_and_fills_its_variables() {
        let mut bench = Bench::of(ASK);
        assert_eq!(bench.start(), ["asks cuenta.saldo linea=2221234567 once k1:saldo"]);
        assert_eq!(bench.answer("found", &[("saldo", Value::Money(2_100))]), ["says num.21.apocope money.pesos"]);
    }

    #[test]
    fn a_slow_answer_is_bridged_by_the_wait_prompt_which_is_heard_out() {
        let mut bench = Bench::of(ASK);
        bench.start();
        assert_eq!(bench.wait_ms(999), Vec::<String>::new());
        assert_eq!(bench.wait_ms(1), ["says espere"]);
        assert_eq!(bench.answer("not_found", &[]), Vec::<String>::new());
        assert_eq!(bench.played(), ["ends refused"]);
    }

    #[test]
    fn silence_while_waiting_is_broken_again_and_the_deadline_holds() {
        let mut bench = Bench::of(ASK);
        bench.start();
        assert_eq!(bench.wait_ms(1_500), ["says espere"]);
        assert_eq!(bench.played(), Vec::<String>::new());
        assert_eq!(bench.wait_ms(4_000), ["says espere"]);
        assert_eq!(bench.played(), Vec::<String>::new());
        assert_eq!(bench.wait_ms(2_500), ["ends unavailable"]);
    }

    #[test]
    fn an_error_is_retried_and_then_told() {
        let mut bench = Bench::of(ASK);
        bench.start();
        let again = ["asks cuenta.saldo linea=2221234567 once k1:saldo"];
        assert_eq!(bench.answered(Answer::Error("down".into())), again);
        assert_eq!(bench.answered(Answer::Error("down".into())), ["ends closed"]);
    }

    #[test]
    fn a_result_that_is_not_declared_and_an_unset_argument_are_errors() {
        let mut bench = Bench::of(ASK);
        bench.start();
        assert_eq!(bench.answer("maybe", &[]), ["ends closed"]);
        let mut bench = Bench::with_head("vars = { linea = \"text\" }", &ASK.replace("call.caller", "linea"));
        assert_eq!(bench.start(), ["ends closed"]);
    }
}
