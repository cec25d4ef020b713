//! `collect`: the caller keys a number: a line, an IMEI, a folio, a date.
//!
//! ```text
//! Entering ─ `max` digits, the terminator, or `inter_digit` after `min` ─► validate ─ fine ─► Confirming ─ yes ─► ok
//!    ▲  │ silence: no_input                                                   │ wrong            │ redo, silence ×n
//!    └──┴─────────────────────── attempts + 1, says `no_input` or `invalid` ◄─┴──────────────────┘
//! ```
//! `#` ends an entry that has begun, unless `terminator` names another key; as the first key it may skip. Digits of a
//! `sensitive` collect are shown as `*` in the call's path, and its variable may only be given to services.

use std::time::Duration;

use super::validate::{self, Validate};
use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::document::Place;
use crate::dtmf::Digit;
use crate::fault::did_you_mean;
use crate::flow::expr::fits;
use crate::flow::prompt::{Item, Spoken, Style};
use crate::flow::reader::Reader;
use crate::flow::source::{Body, Declared};
use crate::flow::turn::{Turn, Why};
use crate::speech::Gender;
use crate::value::Kind;

const OPTIONS: &[Opt] = &[
    opt("into", Shape::Variable, "The variable that gets the value."),
    opt("prompt", Shape::Prompts, "What the caller hears."),
    opt("validate", Shape::OneOf(validate::NAMES), "What the digits must be (digits)."),
    opt("min", Shape::Number, "Fewest digits; what is validated has its own."),
    opt("max", Shape::Number, "Most digits; the entry ends there."),
    opt("terminator", Shape::Key, "The key that ends an entry (#)."),
    opt("timeout", Shape::Duration, "Silence after the prompt's end that counts as no input (8s)."),
    opt("inter_digit", Shape::Duration, "Silence after a digit that ends the entry (3s)."),
    opt("attempts", Shape::Number, "How often the caller may try, 1 to 9 (3)."),
    opt("no_input", Shape::Prompts, "Said before the prompt after silence."),
    opt("invalid", Shape::Prompts, "Said before the prompt after a wrong entry."),
    opt("confirm", Shape::Table, "Reads the entry back: `{ before, say, prompt, yes, redo }`."),
    opt("sensitive", Shape::Flag, "The digits appear nowhere; what is keyed beyond them is forgotten (false)."),
    opt("skip_key", Shape::Key, "As the first key: the caller does not know it."),
    opt("cancel_key", Shape::Key, "The caller gives up."),
    opt("barge_in", Shape::Flag, "Keys work while the prompt plays (true)."),
    opt("clear_digits", Shape::Flag, "Keys pressed before are forgotten (false)."),
];
const OUTPUTS: &[Out] = &[
    out("ok", "The value is there."),
    out("skipped", "The caller pressed `skip_key` (wired when there is one)."),
    out("cancelled", "The caller pressed `cancel_key` (wired when there is one)."),
    out("max_attempts", "The attempts are used up."),
];

/// The caller keys a number.
#[derive(Debug)]
pub(crate) struct Collect {
    into: u16,
    prompt: Vec<Item>,
    validate: Validate,
    min: usize,
    max: usize,
    terminator: Digit,
    timeout: Duration,
    inter_digit: Duration,
    attempts: u8,
    no_input: Vec<Item>,
    invalid: Vec<Item>,
    confirm: Option<Confirm>,
    sensitive: bool,
    skip_key: Option<Digit>,
    cancel_key: Option<Digit>,
    barge_in: bool,
    clear_digits: bool,
}

#[derive(Debug)]
struct Confirm {
    before: Vec<Item>,
    say: Style,
    prompt: Vec<Item>,
    yes: Digit,
    redo: Digit,
}

/// What a `collect` remembers while it waits.
#[derive(Default)]
pub(crate) struct Collecting {
    entered: String,
    failed: u8,
    /// The value that waits for its confirmation, and how often the question went unanswered.
    confirming: Option<(validate::Entry, u8)>,
}

impl StepKind for Collect {
    type Running = Collecting;
    const SHEET: &'static Sheet = &Sheet {
        about: "The caller keys a number.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Hears,
        silent: false,
    };

    fn declare(body: &Body<'_>, declared: &mut Declared<'_>) {
        let Some(place) = body.get("into") else { return };
        match body.text("validate").map_or(Some(Validate::Digits), Validate::named) {
            Some(validate) => declared.variable(place, validate.kind(), body.flag("sensitive")),
            None => declared.doubt(place.text(&mut Vec::new()).unwrap_or("")),
        }
    }

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        reader.required("into");
        let into = reader.variable("into");
        let prompt = reader.required_prompts("prompt");
        let validate = read_validate(reader);
        let (min, max) = validate.map_or((1, 1), |validate| read_length(reader, validate));
        let timeout = reader.duration("timeout", TIMEOUT, Duration::from_secs(1)..=Duration::from_secs(60));
        let inter_digit = reader.duration("inter_digit", INTER_DIGIT, Duration::from_millis(500)..=Duration::from_secs(20));
        let attempts = reader.count("attempts", 3, 1..=9);
        let (no_input, invalid) = (reader.prompts("no_input"), reader.prompts("invalid"));
        let sensitive = reader.flag("sensitive", false);
        let confirm = reader.option("confirm").and_then(|place| read_confirm(reader, place, validate, sensitive));
        let (skip_key, cancel_key) = (reader.key("skip_key"), reader.key("cancel_key"));
        let terminator = reader.key("terminator");
        check_keys(reader, terminator, skip_key, cancel_key);
        let barge_in = reader.flag("barge_in", true);
        let clear_digits = reader.flag("clear_digits", false);
        reader.output("ok");
        if skip_key.is_some() {
            reader.output("skipped");
        }
        if cancel_key.is_some() {
            reader.output("cancelled");
        }
        reader.output("max_attempts");
        Some(Self {
            into: into?,
            prompt,
            validate: validate?,
            min,
            max,
            terminator: terminator.unwrap_or(Digit::POUND),
            timeout,
            inter_digit,
            attempts,
            no_input,
            invalid,
            confirm,
            sensitive,
            skip_key,
            cancel_key,
            barge_in,
            clear_digits,
        })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Collecting> {
        if self.clear_digits {
            turn.clear_typed();
        }
        turn.set(self.into, None);
        self.say(&[&self.prompt], turn);
        Next::Wait(Collecting::default())
    }

    fn handle(&self, collecting: &mut Collecting, input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Digit(digit) if collecting.confirming.is_some() => self.confirm_key(collecting, digit, turn),
            Input::Digit(digit) => self.key(collecting, digit, turn),
            Input::Played => {
                turn.deadline(self.timeout, Why::NoInput);
                After::Stay
            }
            Input::Deadline(_) if collecting.confirming.is_some() => {
                turn.trace("no input");
                self.ask_again(collecting, turn)
            }
            Input::Deadline(Why::InterDigit) => self.finish(collecting, turn),
            Input::Deadline(_) => {
                turn.trace("no input");
                self.fail(collecting, true, turn)
            }
            Input::Answered(_) | Input::Late | Input::Transferred(_) => After::Stay,
        }
    }

    fn listens(&self, _collecting: &Collecting, playing: bool) -> bool {
        self.barge_in || !playing
    }
}

impl Collect {
    /// True when its digits may appear nowhere.
    pub(crate) fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    fn say(&self, lists: &[&[Item]], turn: &mut Turn<'_>) {
        turn.clear_deadline();
        if !turn.play(lists) {
            turn.deadline(self.timeout, Why::NoInput);
        }
    }

    fn key(&self, collecting: &mut Collecting, digit: Digit, turn: &mut Turn<'_>) -> After {
        let begun = !collecting.entered.is_empty();
        if self.cancel_key == Some(digit) {
            turn.stop_playing();
            turn.trace(format!("key {digit}"));
            return After::Leave(Leave::by("cancelled"));
        }
        if !begun && self.skip_key == Some(digit) {
            turn.stop_playing();
            turn.trace(format!("key {digit}"));
            return After::Leave(Leave::by("skipped"));
        }
        if begun && self.terminator == digit {
            return self.finish(collecting, turn);
        }
        if digit.event() >= 10 && turn.is_global(digit) {
            return After::NotMine(digit);
        }
        turn.stop_playing();
        collecting.entered.push(digit.as_char());
        if digit.event() >= 10 || collecting.entered.len() >= self.max {
            return self.finish(collecting, turn);
        }
        turn.deadline(self.inter_digit, Why::InterDigit);
        After::Stay
    }

    /// The entry is over: it is confirmed, taken or refused.
    fn finish(&self, collecting: &mut Collecting, turn: &mut Turn<'_>) -> After {
        let entered = std::mem::take(&mut collecting.entered);
        if self.sensitive {
            turn.end_secret();
        }
        turn.trace(format!("keys {}", self.shown(&entered)));
        let entry = match self.validate.read(&entered) {
            Ok(entry) if entered.len() >= self.min => entry,
            Ok(_) => {
                turn.trace("too short");
                return self.fail(collecting, false, turn);
            }
            Err(reason) => {
                turn.trace(reason);
                return self.fail(collecting, false, turn);
            }
        };
        let Some(confirm) = &self.confirm else {
            if entry.doubtful {
                turn.trace("wrong check digit");
                return self.fail(collecting, false, turn);
            }
            return self.take(entry, turn);
        };
        self.read_back(confirm, &entry, turn);
        collecting.confirming = Some((entry, 0));
        After::Stay
    }

    fn read_back(&self, confirm: &Confirm, entry: &validate::Entry, turn: &mut Turn<'_>) {
        turn.clear_deadline();
        let mut spoken = Spoken::default();
        spoken.add(&confirm.before, &turn.values(), turn.operator);
        spoken.read_back(confirm.say, &entry.spoken, turn.operator);
        spoken.add(&confirm.prompt, &turn.values(), turn.operator);
        if !turn.play_spoken(spoken) {
            turn.deadline(self.timeout, Why::NoInput);
        }
    }

    fn confirm_key(&self, collecting: &mut Collecting, digit: Digit, turn: &mut Turn<'_>) -> After {
        let Some(confirm) = &self.confirm else { return After::Stay };
        if digit != confirm.yes && digit != confirm.redo {
            if self.cancel_key == Some(digit) {
                turn.stop_playing();
                turn.trace(format!("key {digit}"));
                return After::Leave(Leave::by("cancelled"));
            }
            if turn.is_global(digit) {
                return After::NotMine(digit);
            }
            turn.stop_playing();
            turn.trace(format!("invalid key {digit}"));
            return self.ask_again(collecting, turn);
        }
        turn.stop_playing();
        turn.trace(format!("key {digit}"));
        match collecting.confirming.take() {
            Some((entry, _)) if digit == confirm.yes => self.take(entry, turn),
            Some(_) | None => self.again(collecting, &[&self.prompt], turn),
        }
    }

    /// The read-back was neither confirmed nor refused: it is said again, as often as there are attempts.
    fn ask_again(&self, collecting: &mut Collecting, turn: &mut Turn<'_>) -> After {
        turn.clear_typed();
        let (Some(confirm), Some((entry, unanswered))) = (&self.confirm, &mut collecting.confirming) else {
            return After::Stay;
        };
        *unanswered += 1;
        if *unanswered >= self.attempts {
            return After::Leave(Leave::by("max_attempts"));
        }
        self.read_back(confirm, entry, turn);
        After::Stay
    }

    fn take(&self, entry: validate::Entry, turn: &mut Turn<'_>) -> After {
        turn.set(self.into, Some(entry.value));
        After::Leave(Leave::by("ok"))
    }

    fn fail(&self, collecting: &mut Collecting, silence: bool, turn: &mut Turn<'_>) -> After {
        turn.clear_typed();
        let first = if silence { &self.no_input } else { &self.invalid };
        self.again(collecting, &[first, &self.prompt], turn)
    }

    fn again(&self, collecting: &mut Collecting, lists: &[&[Item]], turn: &mut Turn<'_>) -> After {
        collecting.entered.clear();
        collecting.failed += 1;
        if collecting.failed >= self.attempts {
            return After::Leave(Leave::by("max_attempts"));
        }
        self.say(lists, turn);
        After::Stay
    }

    fn shown(&self, entered: &str) -> String {
        if self.sensitive { "*".repeat(entered.len()) } else { entered.to_owned() }
    }
}

fn read_validate(reader: &mut Reader<'_, '_>) -> Option<Validate> {
    let Some(place) = reader.option("validate") else { return Some(Validate::Digits) };
    let name = place.text(reader.faults)?;
    Validate::named(name).or_else(|| {
        let fault = place.fault(format!("«{name}» is nothing digits can be; known: {}", validate::NAMES.join(", ")));
        reader.faults.push(match did_you_mean(name, validate::NAMES.iter().copied()) {
            Some(near) => fault.suggest(format!("did you mean «{near}»?")),
            None => fault,
        });
        None
    })
}

fn read_length(reader: &mut Reader<'_, '_>, validate: Validate) -> (usize, usize) {
    let default = validate.length();
    let least = default.map_or(1, |(min, _)| min);
    let most = default.map_or(0, |(_, max)| max);
    let min = usize::from(reader.count("min", least, 1..=LENGTH_MAX));
    if default.is_none() && reader.option("max").is_none() {
        reader.required("max");
    }
    let max = usize::from(reader.count("max", most.max(1), 1..=LENGTH_MAX));
    let too_long = default.is_some_and(|(_, most)| min > usize::from(most));
    let too_short = default.is_some_and(|(least, _)| max < usize::from(least));
    // The bound that is wrong is the one to look at, whichever else is written.
    let wrong = if too_long { "min" } else { "max" };
    if let (Some(place), Some((least, most)), true) = (reader.option(wrong), default, too_long || too_short) {
        reader.fault(place, format!("what is validated here has {least} to {most} digits"));
    } else if let Some(place) = reader.option("min").or(reader.option("max"))
        && min > max
    {
        reader.fault(place, format!("«min» ({min}) is more than «max» ({max})"));
    }
    (min, max)
}

fn read_confirm<'a>(reader: &mut Reader<'a, '_>, place: Place<'a>, validate: Option<Validate>, sensitive: bool) -> Option<Confirm> {
    if sensitive {
        reader.fault(place, "sensitive digits are never read back");
    }
    let mut fields = place.fields(reader.faults)?;
    let before = fields.optional("before").map(|place| reader.prompts_at(place)).unwrap_or_default();
    let prompt = fields.optional("prompt").map(|place| reader.prompts_at(place)).unwrap_or_default();
    let say = match fields.optional("say") {
        Some(place) => read_say(reader, place, validate),
        None => validate.map(Validate::style),
    };
    let yes = fields.required("yes", reader.faults).and_then(|place| reader.key_at(place));
    let redo_place = fields.required("redo", reader.faults);
    let redo = redo_place.and_then(|place| reader.key_at(place));
    if let (Some(yes), Some(redo), Some(place)) = (yes, redo, redo_place)
        && yes == redo
    {
        reader.fault(place, format!("the key «{yes}» means yes and redo"));
    }
    fields.finish(reader.faults);
    Some(Confirm { before, say: say?, prompt, yes: yes?, redo: redo? })
}

fn read_say(reader: &mut Reader<'_, '_>, place: Place<'_>, validate: Option<Validate>) -> Option<Style> {
    const STYLES: [(&str, Style, Kind); 8] = [
        ("digits", Style::Digits, Kind::Text),
        ("phone_mx", Style::PhoneMx, Kind::Text),
        ("folio", Style::Folio, Kind::Text),
        ("imei", Style::Imei, Kind::Text),
        ("spell", Style::Spell, Kind::Text),
        ("money_mxn", Style::MoneyMxn, Kind::Money),
        ("date", Style::Date, Kind::Date),
        ("cardinal", Style::Cardinal { gender: Gender::Masculine, apocope: false }, Kind::Number),
    ];
    let name = place.text(reader.faults)?;
    let Some((_, style, kind)) = STYLES.iter().find(|(known, _, _)| *known == name) else {
        let fault = place.fault(format!("«{name}» is no way to read an entry back"));
        reader.faults.push(fault.did_you_mean(name, STYLES.iter().map(|(known, _, _)| *known)));
        return None;
    };
    if validate.is_some_and(|validate| !fits(validate.kind(), *kind)) {
        reader.fault(place, format!("«{name}» does not speak what is collected here"));
        return None;
    }
    Some(*style)
}

/// Within one step a key has one meaning. A terminator may not be a global key either: the caller could not tell which.
fn check_keys(reader: &mut Reader<'_, '_>, terminator: Option<Digit>, skip: Option<Digit>, cancel: Option<Digit>) {
    let named = [("terminator", terminator), ("skip_key", skip), ("cancel_key", cancel)];
    for (index, (name, key)) in named.iter().enumerate() {
        let (Some(key), Some(place)) = (key, reader.option(name)) else { continue };
        if let Some((other, _)) = named.iter().take(index).find(|(_, earlier)| *earlier == Some(*key)) {
            reader.fault(place, format!("the key «{key}» is «{other}» already"));
        }
        if *name == "cancel_key" && key.event() < 10 {
            reader.fault(place, format!("«{key}» is a digit of the entry, it cannot cancel it"));
        }
        if *name == "terminator"
            && let Some(global) = reader.global_key(*key)
        {
            reader.fault(place, format!("the key «{key}» is the global key «{global}», it cannot end an entry"));
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(8);
const INTER_DIGIT: Duration = Duration::from_secs(3);
/// Digits of one entry at most.
const LENGTH_MAX: u8 = 32;

#[cfg(test)]
mod tests {
    use crate::flow::Why;
    use crate::flow::bench::Bench;

    const COLLECT: &str = r##"
[steps.a.collect]
into = "imei"
prompt = ["numero"]
validate = "imei"
timeout = "8s"
inter_digit = "3s"
attempts = 3
no_input = ["silencio"]
invalid = ["mal"]
skip_key = "#"
cancel_key = "*"
confirm = { say = "imei", before = ["hola"], prompt = ["confirme"], yes = "1", redo = "2" }
on = { ok = "ok", skipped = "no", cancelled = "nada", max_attempts = "fin" }
[steps.ok.tag]
result = "${imei}"
on.next = "fin"
[steps.no.hangup]
cause = "refused"
[steps.nada.hangup]
cause = "closed"
[steps.fin.hangup]
"##;

    fn digits(count: usize) -> String {
        format!("says hola{} confirme", "490154203237518"[..count].chars().enumerate().fold(String::new(), |said, (place, digit)| {
            let pause = if place > 0 && place % 3 == 0 { " …" } else { "" };
            format!("{said}{pause} num.{digit}")
        }))
    }

    /// The journeys' stolen handset: a wrong check digit is told, the right one is read back and taken.
    /// Whoever wrote a wrong `min` looks at it, and not at a `max` that is right.
    #[test]
    fn a_wrong_length_is_shown_where_it_stands() {
        let at = |lengths: &str| {
            let steps = format!(
                "schema = 1\n[flow]\nid = \"t\"\nstart = \"a\"\n[steps.a.collect]\ninto = \"x\"\nprompt = [\"numero\"]\n{lengths}\n\
                 on = {{ ok = \"fin\", max_attempts = \"fin\" }}\n[steps.fin.hangup]\n"
            );
            let files = [crate::fault::SourceFile { path: "t.toml".into(), text: steps }];
            let faults = crate::flow::check(&crate::flow::bench::desk(), &files);
            faults.iter().map(|fault| (fault.line, fault.message.clone())).collect::<Vec<_>>()
        };
        let ten = "what is validated here has 10 to 10 digits".to_owned();
        assert_eq!(at("validate = \"phone_mx\"\nmin = 12\nmax = 10")[0], (9, ten.clone()));
        assert_eq!(at("validate = \"phone_mx\"\nmin = 10\nmax = 9")[0], (10, ten));
        assert_eq!(at("min = 5\nmax = 4")[0], (8, "«min» (5) is more than «max» (4)".to_owned()));
    }

    #[test]
    fn an_imei_is_checked_read_back_and_confirmed() {
        let mut bench = Bench::of(COLLECT);
        assert_eq!(bench.start(), ["says numero"]);
        assert_eq!(bench.press("490154203237519"), ["stops"]);
        assert_eq!(bench.timer(), Some((3_000, Why::InterDigit)));
        assert_eq!(bench.wait_ms(3_000), ["says mal numero"]);
        assert_eq!(bench.press("490154203237518#"), ["stops".to_owned(), digits(15)]);
        assert_eq!(bench.press("1"), ["stops", "result 490154203237518", "ends hangup"]);
    }

    #[test]
    fn fourteen_digits_get_their_check_digit_and_a_final_zero_only_with_a_yes() {
        let mut bench = Bench::of(COLLECT);
        bench.start();
        assert_eq!(bench.press("49015420323751"), ["stops"]);
        assert_eq!(bench.wait_ms(3_000), [digits(14)]);
        assert_eq!(bench.press("2"), ["stops", "says numero"]);
        assert_eq!(bench.press("490154203237510#").len(), 2);
        assert_eq!(bench.press("1"), ["stops", "result 490154203237518", "ends hangup"]);
        let unconfirmed: Vec<&str> = COLLECT.lines().filter(|line| !line.starts_with("confirm")).collect();
        let mut bench = Bench::of(&unconfirmed.join("\n"));
        bench.start();
        assert_eq!(bench.press("490154203237510#"), ["stops", "says mal numero"]);
    }

    #[test]
    fn the_pound_key_skips_first_and_ends_later_and_the_star_key_gives_up() {
        let mut bench = Bench::of(COLLECT);
        bench.start();
        assert_eq!(bench.press("#"), ["stops", "ends refused"]);
        let mut bench = Bench::of(COLLECT);
        bench.start();
        assert_eq!(bench.press("49*"), ["stops", "ends closed"]);
    }

    #[test]
    fn silence_and_too_few_digits_are_told_apart() {
        let mut bench = Bench::of(COLLECT);
        bench.start();
        bench.played();
        assert_eq!(bench.timer(), Some((8_000, Why::NoInput)));
        assert_eq!(bench.wait_ms(8_000), ["says silencio numero"]);
        assert_eq!(bench.press("4901"), ["stops"]);
        assert_eq!(bench.wait_ms(3_000), ["says mal numero"]);
        bench.played();
        assert_eq!(bench.wait_ms(8_000), ["ends hangup"]);
    }

    #[test]
    fn an_unanswered_read_back_is_said_again_as_often_as_there_are_attempts() {
        let mut bench = Bench::of(COLLECT);
        bench.start();
        bench.press("490154203237518#");
        bench.played();
        assert_eq!(bench.wait_ms(8_000), [digits(15)]);
        assert_eq!(bench.press("5"), ["stops".to_owned(), digits(15)]);
        bench.played();
        assert_eq!(bench.wait_ms(8_000), ["ends hangup"]);
    }

    /// `flow-language.md` principle 8: such digits appear in no action and in no dump of the session.
    #[test]
    fn sensitive_digits_appear_nowhere() {
        let mut bench = Bench::of(
            r#"
[steps.a.collect]
into = "clave"
prompt = ["numero"]
max = 4
sensitive = true
on = { ok = "preguntar", max_attempts = "fin" }
[steps.preguntar.ask]
service = "cuenta.verify"
args = { linea = "${call.caller}", ultimos4 = "${clave}" }
on = { match = "fin", no_match = "fin", error = "fin" }
[steps.fin.hangup]
"#,
        );
        bench.start();
        let session = format!("{:?}", bench.session());
        // It reaches the service, and nothing else.
        assert_eq!(bench.press("7391"), ["stops", "asks cuenta.verify linea=2221234567 ultimos4=7391"]);
        assert_eq!(bench.answer("match", &[]), ["ends hangup"]);
        assert!(!bench.debug.contains("7391"), "{}", bench.debug);
        assert_eq!(bench.secrets, [true, false], "what is recorded is silent meanwhile");
        assert!(!bench.path.iter().any(|line| line.contains("7391")), "{:?}", bench.path);
        assert!(bench.path.contains(&"keys ****".to_owned()), "{:?}", bench.path);
        assert!(!session.contains("739") && !format!("{:?}", bench.session()).contains("739"), "{session}");
    }

    /// A fifth digit of four is part of the secret: no later step gets it, whether it came with the fourth or behind it.
    #[test]
    fn what_is_keyed_beyond_a_secret_reaches_no_later_step() {
        const ASK: &str = "[steps.preguntar.ask]\nservice = \"cuenta.verify\"\n\
            args = { linea = \"${call.caller}\", ultimos4 = \"${clave}\" }\n\
            on = { match = \"m\", no_match = \"m\", error = \"m\" }\n";
        let flow = |next: &str, steps: &str| {
            format!(
                "[steps.a.play]\nprompt = [\"otra\"]\nbarge_in = false\non.next = \"clave\"\n\
                 [steps.clave.collect]\ninto = \"clave\"\nprompt = [\"numero\"]\nmax = 4\nsensitive = true\n\
                 on = {{ ok = \"{next}\", max_attempts = \"fin\" }}\n\
                 {steps}\
                 [steps.m.menu]\nprompt = [\"menu\"]\nkeys = {{ 5 = \"fin\" }}\non.max_attempts = \"fin\"\n[steps.fin.hangup]\n"
            )
        };
        let quiet = |bench: &Bench| !bench.path.iter().any(|line| line.contains('5'));
        // All five wait before the step listens.
        let mut bench = Bench::of(&flow("m", ""));
        bench.start();
        bench.press("73915");
        assert_eq!(bench.played(), ["says numero", "stops", "says menu"]);
        assert!(quiet(&bench), "{:?}", bench.path);
        // The fifth comes while the service is asked.
        let mut bench = Bench::of(&flow("preguntar", ASK));
        bench.start();
        bench.played();
        assert_eq!(bench.press("73915"), ["stops", "asks cuenta.verify linea=2221234567 ultimos4=7391"]);
        assert_eq!(bench.answer("match", &[]), ["says menu"]);
        assert!(bench.path.contains(&"a key beyond the secret is forgotten".to_owned()) && quiet(&bench), "{:?}", bench.path);
        assert_eq!(bench.press("5"), ["stops", "ends hangup"], "the menu listens again");
    }
}
