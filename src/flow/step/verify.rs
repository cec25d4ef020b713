//! `verify`: is this caller who they say they are?
//!
//! `caller_id` compares the caller's number with `line`. `last4` collects digits that appear nowhere and hands them to a
//! service as its argument `secret`; only the service knows the right ones. Wrong tries count over the whole call: at
//! `lockout` every `last4` of this call fails at once, without asking. They count over all calls as well, for the account that
//! the other arguments name: at `account_tries` within `account_window` nobody is asked about it for `account_lock`.

use std::time::Duration;

use super::ask::{read_args, service_at};
use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::document::Place;
use crate::dtmf::Digit;
use crate::fault::did_you_mean;
use crate::flow::action::{Answer, LOCKED, Lockout, Request, Verification};
use crate::flow::prompt::Item;
use crate::flow::reader::Reader;
use crate::flow::template::Template;
use crate::flow::turn::{Turn, Why};
use crate::operator::{Service, Source};
use crate::value::{Kind, Value, Values};

const METHODS: &[&str] = &["caller_id", "last4"];
const OPTIONS: &[Opt] = &[
    opt("method", Shape::OneOf(METHODS), "How the caller is verified."),
    opt("line", Shape::Template, "caller_id: the number the caller must be calling from."),
    opt("service", Shape::Text, "last4: the service that compares."),
    opt("args", Shape::Templates, "last4: a value for each of its arguments but `secret`."),
    opt("secret", Shape::Text, "last4: its argument that gets the digits."),
    opt("match", Shape::Text, "last4: its result when they are right (match)."),
    opt("digits", Shape::Number, "last4: how many digits, 3 to 8 (4)."),
    opt("prompt", Shape::Prompts, "last4: what the caller hears."),
    opt("no_match", Shape::Prompts, "last4: said before the prompt after wrong digits."),
    opt("no_input", Shape::Prompts, "last4: said before the prompt after silence."),
    opt("invalid", Shape::Prompts, "last4: said before the prompt after too few digits."),
    opt("wait_timeout", Shape::Duration, "last4: how long the service may take (5s)."),
    opt("timeout", Shape::Duration, "last4: silence after the prompt's end that counts as no input (8s)."),
    opt("inter_digit", Shape::Duration, "last4: silence after a digit that ends the entry (3s)."),
    opt("attempts", Shape::Number, "last4: how often the caller may try here, 1 to 5 (2)."),
    opt("lockout", Shape::Number, "last4: wrong tries in one call after which nothing is asked any more, 1 to 10 (attempts)."),
    opt("account_tries", Shape::Number, "last4: wrong tries of one account over all calls that lock it, 1 to 50 (5)."),
    opt("account_window", Shape::Duration, "last4: for how long a wrong try counts (1h)."),
    opt("account_lock", Shape::Duration, "last4: how long the account stays locked (30m)."),
];
const OUTPUTS: &[Out] = &[
    out("verified", "The caller is."),
    out("failed", "The caller is not, or has tried too often."),
    out("unavailable", "The service could not say (failed, for caller_id never)."),
    out("locked", "Too many wrong tries of this account, in whatever calls (failed)."),
];

/// Is this caller who they say they are?
#[derive(Debug)]
pub(crate) enum Verify {
    /// By the number they call from.
    CallerId { line: Template },
    /// By digits that a service compares.
    Last4(Box<Last4>),
}

#[derive(Debug)]
pub(crate) struct Last4 {
    service: String,
    args: Vec<(String, Template)>,
    secret: String,
    matches: String,
    digits: usize,
    prompt: Vec<Item>,
    no_match: Vec<Item>,
    no_input: Vec<Item>,
    invalid: Vec<Item>,
    wait_timeout: Duration,
    timeout: Duration,
    inter_digit: Duration,
    attempts: u8,
    lockout: u8,
    account: Lockout,
}

/// What a `verify` remembers while it waits. The digits leave it only with the request.
#[derive(Default)]
pub(crate) struct Verifying {
    entered: String,
    failed: u8,
    asking: bool,
}

impl StepKind for Verify {
    type Running = Verifying;
    const SHEET: &'static Sheet = &Sheet {
        about: "Verifies that the caller is who they say they are.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Hears,
        silent: false,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let place = reader.required("method");
        let method = place.and_then(|place| place.text(reader.faults));
        reader.output("verified");
        reader.output("failed");
        match (method, place) {
            (Some("caller_id"), _) => {
                reader.optional_output("unavailable");
                reader.optional_output("locked");
                let line = reader.required("line").and_then(|place| reader.template_at(place, Some(Kind::Text)))?;
                Some(Self::CallerId { line })
            }
            (Some("last4"), _) => {
                reader.output("unavailable");
                reader.output_or("locked", "failed");
                read_last4(reader).map(|last4| Self::Last4(Box::new(last4)))
            }
            (Some(other), Some(place)) => {
                reader.any_output();
                let fault = place.fault(format!("unknown method «{other}»; known: {}", METHODS.join(", ")));
                reader.faults.push(fault.did_you_mean(other, METHODS.iter().copied()));
                None
            }
            (_, _) => None,
        }
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Verifying> {
        match self {
            Self::CallerId { line } => {
                let line = line.text(&turn.values());
                let verified = !line.is_empty() && turn.facts.caller.as_deref() == Some(&line);
                Next::Leave(Leave::by(if verified { "verified" } else { "failed" }))
            }
            Self::Last4(last4) if turn.live.wrong_tries >= last4.lockout => {
                turn.trace("locked out: too many wrong tries in this call");
                Next::Leave(Leave::by("failed"))
            }
            Self::Last4(last4) => {
                last4.say(&[&last4.prompt], turn);
                Next::Wait(Verifying::default())
            }
        }
    }

    fn handle(&self, verifying: &mut Verifying, input: Input, turn: &mut Turn<'_>) -> After {
        let Self::Last4(last4) = self else { return After::Stay };
        match input {
            Input::Digit(digit) => last4.key(verifying, digit, turn),
            Input::Played => {
                turn.deadline(last4.timeout, Why::NoInput);
                After::Stay
            }
            Input::Deadline(Why::InterDigit) => last4.fail(verifying, &last4.invalid, "too few digits", turn),
            Input::Deadline(_) => last4.fail(verifying, &last4.no_input, "no input", turn),
            Input::Answered(Answer::Result { result, .. }) if result == LOCKED => {
                turn.trace("the account is locked: too many wrong tries, in whatever calls");
                After::Leave(Leave::by("locked"))
            }
            Input::Answered(Answer::Result { result, .. }) if result == last4.matches => {
                turn.trace(format!("{} answers {result}", last4.service));
                After::Leave(Leave::by("verified"))
            }
            Input::Answered(Answer::Result { result, .. }) => {
                verifying.asking = false;
                turn.live.wrong_tries = turn.live.wrong_tries.saturating_add(1);
                if turn.live.wrong_tries >= last4.lockout {
                    verifying.failed = last4.attempts;
                }
                last4.fail(verifying, &last4.no_match, &format!("{} answers {result}", last4.service), turn)
            }
            Input::Answered(Answer::Error(reason)) => {
                turn.trace(format!("{} cannot answer: {reason}", last4.service));
                After::Leave(Leave::by("unavailable"))
            }
            Input::Transferred(_) => After::Stay,
            Input::Late => {
                turn.trace(format!("{} is late", last4.service));
                After::Leave(Leave::by("unavailable"))
            }
        }
    }

    fn listens(&self, verifying: &Verifying, _playing: bool) -> bool {
        !verifying.asking
    }
}

impl Verify {
    /// True when the caller keys a secret here.
    pub(crate) fn asks(&self) -> bool {
        matches!(self, Self::Last4(_))
    }
}

impl Last4 {
    fn say(&self, lists: &[&[Item]], turn: &mut Turn<'_>) {
        turn.clear_deadline();
        if !turn.play(lists) {
            turn.deadline(self.timeout, Why::NoInput);
        }
    }

    fn key(&self, verifying: &mut Verifying, digit: Digit, turn: &mut Turn<'_>) -> After {
        if digit.event() >= 10 {
            if turn.is_global(digit) {
                return After::NotMine(digit);
            }
            turn.stop_playing();
            return self.fail(verifying, &self.invalid, "not a digit", turn);
        }
        turn.stop_playing();
        verifying.entered.push(digit.as_char());
        if verifying.entered.len() < self.digits {
            turn.deadline(self.inter_digit, Why::InterDigit);
            return After::Stay;
        }
        let secret = std::mem::take(&mut verifying.entered);
        turn.trace(format!("keys {}", "*".repeat(secret.len())));
        turn.clear_deadline();
        turn.end_secret();
        verifying.asking = true;
        self.ask(secret, turn)
    }

    fn ask(&self, secret: String, turn: &mut Turn<'_>) -> After {
        let mut args = Values::from([(self.secret.clone(), Value::Text(secret))]);
        let mut account = self.service.clone();
        for (name, template) in &self.args {
            match template.value(&turn.values()) {
                Some(value) => {
                    account.push('\u{1f}');
                    account.push_str(&value.to_string());
                    args.insert(name.clone(), value)
                }
                None => {
                    turn.trace(format!("the argument «{name}» of {} is unset", self.service));
                    return After::Leave(Leave::by("unavailable"));
                }
            };
        }
        turn.trace(format!("asks {}", self.service));
        let operator = turn.operator.id.clone();
        let (service, matches) = (self.service.clone(), self.matches.clone());
        let at = turn.now.wall;
        let lockout = self.account;
        let verification = Verification { operator, service, args, account, matches, lockout, at };
        turn.request(Request::Verify(verification), self.wait_timeout);
        After::Stay
    }

    fn fail(&self, verifying: &mut Verifying, first: &[Item], why: &str, turn: &mut Turn<'_>) -> After {
        turn.trace(why);
        turn.clear_typed();
        verifying.entered.clear();
        verifying.failed = verifying.failed.saturating_add(1);
        if verifying.failed >= self.attempts {
            return After::Leave(Leave::by("failed"));
        }
        self.say(&[first, &self.prompt], turn);
        After::Stay
    }
}

fn read_last4(reader: &mut Reader<'_, '_>) -> Option<Last4> {
    let service = reader.required("service").and_then(|place| service_at(reader, place));
    let secret_place = reader.required("secret");
    let secret = secret_place.and_then(|place| place.text(reader.faults));
    // A misspelt `secret` is the fault; the argument it was meant for is not missing from `args`.
    let known: Vec<&str> = service.iter().flat_map(|service| service.args.keys()).map(String::as_str).collect();
    let given = secret.filter(|secret| known.contains(secret)).map(str::to_owned);
    let given = given.or_else(|| secret.and_then(|secret| did_you_mean(secret, known.iter().copied())));
    let args = service.map(|service| read_args(reader, service, given.as_deref())).unwrap_or_default();
    let match_place = reader.option("match");
    let matches = match_place.map_or(Some("match"), |place| place.text(reader.faults));
    if let (Some(service), Some(secret), Some(place)) = (service, secret, secret_place)
        && service.args.get(secret) != Some(&Kind::Text)
    {
        let fault = place.fault(format!("{} has no argument «{secret}» of kind text", service.name));
        reader.faults.push(fault.did_you_mean(secret, service.args.keys().map(String::as_str)));
    }
    if let (Some(service), Some(secret), Some(place)) = (service, secret, secret_place)
        && service.args.get(secret) == Some(&Kind::Text)
        && !service.secrets.iter().any(|compared| compared == secret)
    {
        check_compared(reader, service, secret, place);
    }
    if let (Some(service), Some(matches)) = (service, matches)
        && !service.results.contains_key(matches)
    {
        let place = match_place.or(secret_place).unwrap_or(reader.step.body);
        let results = service.results.keys().map(String::as_str);
        let fault = place.fault(format!("{} never answers «{matches}»; name its result in «match»", service.name));
        reader.faults.push(fault.did_you_mean(matches, results));
    }
    let digits = reader.count("digits", 4, 3..=8);
    let prompt = reader.required_prompts("prompt");
    let (no_match, no_input, invalid) = (reader.prompts("no_match"), reader.prompts("no_input"), reader.prompts("invalid"));
    let wait_timeout = reader.duration("wait_timeout", Duration::from_secs(5), SECOND..=Duration::from_secs(30));
    let timeout = reader.duration("timeout", Duration::from_secs(8), SECOND..=Duration::from_secs(60));
    let inter_digit = reader.duration("inter_digit", Duration::from_secs(3), SECOND..=Duration::from_secs(20));
    let attempts = reader.count("attempts", 2, 1..=5);
    let lockout = reader.count("lockout", attempts, 1..=10);
    let account = Lockout {
        tries: reader.count("account_tries", 5, 1..=50),
        window: reader.duration("account_window", HOUR, MINUTE..=7 * DAY),
        lasts: reader.duration("account_lock", HOUR / 2, MINUTE..=7 * DAY),
    };
    Some(Last4 {
        service: service?.name.clone(),
        args,
        secret: secret?.to_owned(),
        matches: matches?.to_owned(),
        digits: usize::from(digits),
        prompt,
        no_match,
        no_input,
        invalid,
        wait_timeout,
        timeout,
        inter_digit,
        attempts,
        lockout,
        account,
    })
}

/// The digits should go where a sealed column is compared.
fn check_compared(reader: &mut Reader<'_, '_>, service: &Service, secret: &str, place: Place<'_>) {
    match (service.secrets.first(), &service.source) {
        (Some(compared), _) => {
            let fault = place.fault(format!("{} compares «{compared}» with a secret, not «{secret}»", service.name));
            reader.faults.push(fault);
        }
        (None, Source::Table { table, .. }) => {
            let message = format!("{} compares «{secret}» with a column that is stored as it is", service.name);
            let hint = format!("declare that column of the table {table} as \"secret\", and import it again");
            reader.faults.push(place.warning(message).suggest(hint));
        }
        (None, Source::Builtin) => {}
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use crate::flow::action::Answer;
    use crate::flow::bench::Bench;

    const VERIFY: &str = r#"
[steps.a.verify]
method = "last4"
service = "cuenta.verify"
args = { linea = "${call.caller}" }
secret = "ultimos4"
prompt = ["numero"]
no_match = ["mal"]
no_input = ["silencio"]
invalid = ["otra"]
attempts = 2
on = { verified = "si", failed = "no", unavailable = "nada" }
[steps.si.hangup]
[steps.no.menu]
prompt = ["menu"]
keys = { 1 = "a", 2 = "si" }
on.max_attempts = "nada"
[steps.nada.hangup]
cause = "unavailable"
"#;

    /// `journeys.md` J6: wrong twice, and the third attempt is refused without a question.
    #[test]
    fn wrong_digits_lock_the_call_out() {
        let mut bench = Bench::of(VERIFY);
        assert_eq!(bench.start(), ["says numero"]);
        assert_eq!(bench.secrets, [true]);
        assert_eq!(bench.press("8361"), ["stops", "asks cuenta.verify linea=2221234567 ultimos4=8361"]);
        assert_eq!(bench.answer("no_match", &[]), ["says mal numero"]);
        assert_eq!(bench.press("8362"), ["stops", "asks cuenta.verify linea=2221234567 ultimos4=8362"]);
        assert_eq!(bench.answer("no_match", &[]), ["says menu"]);
        assert_eq!(bench.press("1"), ["stops", "says menu"]);
        assert!(bench.path.contains(&"locked out: too many wrong tries in this call".to_owned()));
        assert!(!bench.debug.contains("8361") && !bench.debug.contains("8362"), "{}", bench.debug);
    }

    /// Nobody learns whether a guess was right while the account is locked, and the flow has words of its own for it.
    #[test]
    fn a_locked_account_has_its_own_way_out() {
        for (on, end) in [("", "says menu"), (", locked = \"nada\"", "ends unavailable")] {
            let mut bench = Bench::of(&VERIFY.replace("unavailable = \"nada\" }", &format!("unavailable = \"nada\"{on} }}")));
            bench.start();
            bench.press("8361");
            assert_eq!(bench.answer("locked", &[]), [end]);
            assert!(bench.path.contains(&"the account is locked: too many wrong tries, in whatever calls".to_owned()));
        }
    }

    /// A caller who keys ten digits where four are asked for leaves the other six neither to the menu nor in the path.
    #[test]
    fn what_is_keyed_beyond_the_secret_is_forgotten() {
        let mut bench = Bench::of(VERIFY);
        bench.start();
        assert_eq!(bench.press("8361222222"), ["stops", "asks cuenta.verify linea=2221234567 ultimos4=8361"]);
        assert_eq!(bench.answer("no_match", &[]), ["says mal numero"]);
        assert_eq!(bench.press("83622"), ["stops", "asks cuenta.verify linea=2221234567 ultimos4=8362"]);
        assert_eq!(bench.answer("no_match", &[]), ["says menu"]);
        assert!(!bench.path.iter().any(|line| line.contains('2')), "{:?}", bench.path);
        assert_eq!(bench.press("2"), ["stops", "ends hangup"], "the menu listens again");
    }

    #[test]
    fn right_digits_verify_and_a_broken_service_is_unavailable() {
        let mut bench = Bench::of(VERIFY);
        bench.start();
        bench.press("8361");
        assert_eq!(bench.answer("match", &[]), ["ends hangup"]);
        let mut bench = Bench::of(VERIFY);
        bench.start();
        bench.press("8361");
        assert_eq!(bench.answered(Answer::Error("down".into())), ["ends unavailable"]);
        let mut bench = Bench::of(VERIFY);
        bench.start();
        bench.press("8361");
        assert_eq!(bench.wait_ms(5_000), ["ends unavailable"]);
    }

    #[test]
    fn silence_and_too_few_digits_are_tries_of_their_own() {
        let mut bench = Bench::of(VERIFY);
        bench.start();
        bench.played();
        assert_eq!(bench.wait_ms(8_000), ["says silencio numero"]);
        assert_eq!(bench.press("83"), ["stops"]);
        assert_eq!(bench.wait_ms(3_000), ["says menu"]);
        // Nothing wrong was keyed, so nothing is locked.
        assert_eq!(bench.press("1"), ["stops", "says numero"]);
    }

    #[test]
    fn caller_id_compares_the_number() {
        let flow = |line: &str| {
            format!(
                "[steps.a.verify]\nmethod = \"caller_id\"\nline = \"{line}\"\non = {{ verified = \"si\", failed = \"no\" }}\n\
                 [steps.si.hangup]\ncause = \"closed\"\n[steps.no.hangup]\ncause = \"refused\"\n"
            )
        };
        assert_eq!(Bench::of(&flow("2221234567")).start(), ["ends closed"]);
        assert_eq!(Bench::of(&flow("2221234568")).start(), ["ends refused"]);
        assert_eq!(Bench::of(&flow("")).start(), ["ends refused"]);
    }
}
