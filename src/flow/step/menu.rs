//! `menu`: the caller chooses with a key.
//!
//! ```text
//! Speaking ─ end ─► Listening ─ timeout ─► no_input: attempts + 1, says `no_input` and the menu again
//!    │ key             │ key
//!    ▼                 ▼
//!  the only match ─► its step          no match ─► invalid: attempts + 1, says `invalid` and the menu again
//!  a longer one is possible ─► waits `inter_digit`, then the shorter match, or invalid
//! ```
//! After the last attempt the call leaves by `no_input` or `invalid`, whichever came last, or by `max_attempts` where that
//! one is not wired.

use std::time::Duration;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::document::Place;
use crate::dtmf::Digit;
use crate::fault::Fault;
use crate::flow::expr::Expr;
use crate::flow::keypad::{Keypad, Match, names};
use crate::flow::prompt::{Item, recorded_text};
use crate::flow::reader::Reader;
use crate::flow::turn::{Turn, Why};

const OPTIONS: &[Opt] = &[
    opt("prompt", Shape::Prompts, "What the caller hears."),
    opt("keys", Shape::Keys, "Where each key leads; a key may be several digits."),
    opt("when", Shape::Conditions, "Keys that work only while their condition holds."),
    opt("hidden", Shape::Texts, "Keys the prompt does not mention; they do not count as options."),
    opt("timeout", Shape::Duration, "Silence after the prompt's end that counts as no input (5s)."),
    opt("inter_digit", Shape::Duration, "Silence after a key while a longer one is possible (2s)."),
    opt("attempts", Shape::Number, "How often the menu is said before it gives up, 1 to 9 (3)."),
    opt("no_input", Shape::Prompts, "Said before the menu after silence."),
    opt("invalid", Shape::Prompts, "Said before the menu after a key that leads nowhere."),
    opt("barge_in", Shape::Flag, "Keys work while the prompt plays (true)."),
    opt("clear_digits", Shape::Flag, "Keys pressed before the menu are forgotten (false)."),
];
const OUTPUTS: &[Out] = &[
    out("<key>", "The caller pressed it; wired by `keys`."),
    out("no_input", "The last attempt ended in silence (max_attempts)."),
    out("invalid", "The last attempt ended with a key that leads nowhere (max_attempts)."),
    out("max_attempts", "The attempts are used up."),
];

/// The caller chooses with a key.
#[derive(Debug)]
pub(crate) struct Menu {
    prompt: Vec<Item>,
    keypad: Keypad,
    /// By place in the keypad.
    when: Vec<Option<Expr>>,
    timeout: Duration,
    inter_digit: Duration,
    attempts: u8,
    no_input: Vec<Item>,
    invalid: Vec<Item>,
    barge_in: bool,
    clear_digits: bool,
}

/// What a menu remembers while it waits.
#[derive(Default)]
pub(crate) struct Choosing {
    pressed: String,
    failed: u8,
}

impl StepKind for Menu {
    type Running = Choosing;
    const SHEET: &'static Sheet = &Sheet {
        about: "The caller chooses with a key.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Hears,
        silent: false,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let prompt = reader.required_prompts("prompt");
        let keypad = read_keys(reader);
        let when = read_conditions(reader, &keypad);
        check_options(reader, &keypad, &prompt);
        let timeout = reader.duration("timeout", TIMEOUT, SECOND..=Duration::from_secs(60));
        let inter_digit = reader.duration("inter_digit", INTER_DIGIT, Duration::from_millis(500)..=Duration::from_secs(20));
        let attempts = reader.count("attempts", 3, 1..=9);
        let (no_input, invalid) = (reader.prompts("no_input"), reader.prompts("invalid"));
        let barge_in = reader.flag("barge_in", true);
        let clear_digits = reader.flag("clear_digits", false);
        reader.output("max_attempts");
        reader.output_or("no_input", "max_attempts");
        reader.output_or("invalid", "max_attempts");
        Some(Self { prompt, keypad, when, timeout, inter_digit, attempts, no_input, invalid, barge_in, clear_digits })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Choosing> {
        if self.clear_digits {
            turn.clear_typed();
        }
        self.say(&[&self.prompt], turn);
        Next::Wait(Choosing::default())
    }

    fn handle(&self, choosing: &mut Choosing, input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Digit(digit) => self.key(choosing, digit, turn),
            Input::Played => {
                turn.deadline(self.timeout, Why::NoInput);
                After::Stay
            }
            Input::Deadline(Why::InterDigit) => match self.find(&choosing.pressed, turn) {
                Match::Now(place) | Match::Longer(Some(place)) => self.choose(place, turn),
                Match::Longer(None) | Match::None => self.fail(choosing, false, turn),
            },
            Input::Deadline(_) => self.fail(choosing, true, turn),
            Input::Answered(_) | Input::Late | Input::Transferred(_) => After::Stay,
        }
    }

    fn listens(&self, _choosing: &Choosing, playing: bool) -> bool {
        self.barge_in || !playing
    }
}

impl Menu {
    fn say(&self, lists: &[&[Item]], turn: &mut Turn<'_>) {
        turn.clear_deadline();
        if !turn.play(lists) {
            turn.deadline(self.timeout, Why::NoInput);
        }
    }

    fn key(&self, choosing: &mut Choosing, digit: Digit, turn: &mut Turn<'_>) -> After {
        if choosing.pressed.is_empty() && !self.uses(digit, turn) && turn.is_global(digit) {
            return After::NotMine(digit);
        }
        turn.stop_playing();
        choosing.pressed.push(digit.as_char());
        match self.find(&choosing.pressed, turn) {
            Match::Now(place) => self.choose(place, turn),
            Match::Longer(_) => {
                turn.deadline(self.inter_digit, Why::InterDigit);
                After::Stay
            }
            Match::None => self.fail(choosing, false, turn),
        }
    }

    fn choose(&self, place: usize, turn: &mut Turn<'_>) -> After {
        let keys = self.keypad.keys(place);
        turn.trace(format!("key {keys}"));
        After::Leave(Leave::named(keys))
    }

    fn fail(&self, choosing: &mut Choosing, silence: bool, turn: &mut Turn<'_>) -> After {
        choosing.failed += 1;
        if silence {
            turn.trace("no input");
        } else {
            turn.trace(format!("invalid key {}", choosing.pressed));
        }
        choosing.pressed.clear();
        // What was typed ahead was meant for where the wrong key should have led.
        turn.clear_typed();
        if choosing.failed >= self.attempts {
            return After::Leave(Leave::by(if silence { "no_input" } else { "invalid" }));
        }
        let first = if silence { &self.no_input } else { &self.invalid };
        self.say(&[first, &self.prompt], turn);
        After::Stay
    }

    fn find(&self, pressed: &str, turn: &Turn<'_>) -> Match {
        let values = turn.values();
        self.keypad.find(pressed, |place| {
            self.when.get(place).and_then(Option::as_ref).is_none_or(|when| when.holds(&values))
        })
    }

    fn uses(&self, digit: Digit, turn: &Turn<'_>) -> bool {
        self.find(&digit.as_char().to_string(), turn) != Match::None
    }
}

fn read_keys(reader: &mut Reader<'_, '_>) -> Keypad {
    let mut keypad = Keypad::default();
    let Some(place) = reader.required("keys") else { return keypad };
    let entries = place.entries(reader.faults);
    if entries.is_empty() && place.is_table() {
        reader.fault(place, "a menu without keys leads nowhere");
    }
    for (name, target) in entries {
        let Some(keys) = reader.sequence(name) else { continue };
        keypad.add(keys);
        reader.lead(keys, target);
        check_global(reader, keys, target);
    }
    keypad
}

/// A key that works everywhere may not mean something else in one menu; leading to the same step is fine.
fn check_global(reader: &mut Reader<'_, '_>, keys: &str, target: crate::document::Place<'_>) {
    let mut characters = keys.chars();
    let (Some(first), None) = (characters.next().and_then(Digit::from_char), characters.next()) else { return };
    let Some(global) = reader.global_key(first) else { return };
    if target.text(&mut Vec::new()) != Some(global) {
        reader.fault(target, format!("the key «{keys}» is the global key «{global}», it cannot lead elsewhere here"));
    }
}

fn read_conditions(reader: &mut Reader<'_, '_>, keypad: &Keypad) -> Vec<Option<Expr>> {
    let mut when: Vec<Option<Expr>> = (0..keypad.len()).map(|_| None).collect();
    let Some(place) = reader.option("when") else { return when };
    for (name, place) in place.entries(reader.faults) {
        let Some(key) = (0..keypad.len()).find(|key| keypad.keys(*key) == name.text) else {
            reader.faults.push(name.fault(format!("this menu has no key «{}»", name.text)));
            continue;
        };
        if let Some(slot) = when.get_mut(key) {
            *slot = reader.condition_at(place);
        }
    }
    when
}

/// Warns of options that take more than one press, and of keys that must be waited for because a longer one begins alike.
fn check_presses(reader: &mut Reader<'_, '_>, keypad: &Keypad, hidden: &[(&str, Place<'_>)]) {
    let entries = reader.option("keys").map(|place| place.entries(&mut Vec::new())).unwrap_or_default();
    for (name, _) in entries {
        let keys = name.text;
        let longer = (0..keypad.len()).map(|key| keypad.keys(key)).find(|other| *other != keys && other.starts_with(keys));
        let told = if let Some(longer) = longer {
            Some(format!("«{keys}» is acted on only after `inter_digit`, for «{longer}» begins with it"))
        } else if keys.chars().count() > 1 && !hidden.iter().any(|(key, _)| *key == keys) {
            Some(format!("«{keys}» takes more than one press; callers press one key and wait"))
        } else {
            None
        };
        if let Some(message) = told {
            reader.faults.push(Fault::warning(reader.flow.file, name.span.clone(), message));
        }
    }
}

/// Warns of keys that the prompt does not name: callers press what they hear.
fn check_names(reader: &mut Reader<'_, '_>, keypad: &Keypad, hidden: &[(&str, Place<'_>)], prompt: &[Item]) {
    let Some(text) = recorded_text(prompt, reader.operator).filter(|text| !text.is_empty()) else { return };
    let unnamed: Vec<&str> = (0..keypad.len())
        .map(|key| keypad.keys(key))
        .filter(|keys| keys.chars().count() == 1 && !hidden.iter().any(|(key, _)| key == keys))
        .filter(|key| !names(&text, key))
        .collect();
    if let (false, Some(place)) = (unnamed.is_empty(), reader.option("prompt")) {
        let message = format!("this prompt does not name the keys {}", unnamed.join(", "));
        let warning = Fault::warning(place.source, place.span(), message);
        reader.faults.push(warning.suggest("say them, or name them in «hidden»"));
    }
}

/// Warns above five options: nobody keeps more in mind (`requirements.md` §2.6).
fn check_options(reader: &mut Reader<'_, '_>, keypad: &Keypad, prompt: &[Item]) {
    let hidden = reader.option("hidden").map(|place| place.texts(reader.faults)).unwrap_or_default();
    for (key, place) in &hidden {
        if !(0..keypad.len()).any(|known| keypad.keys(known) == *key) {
            reader.fault(*place, format!("this menu has no key «{key}»"));
        }
    }
    let spoken = keypad.len().saturating_sub(hidden.len());
    if spoken > OPTIONS_MAX
        && let Some(place) = reader.option("keys")
    {
        let message = format!("{spoken} options: callers keep about {OPTIONS_MAX} in mind");
        let warning = Fault::warning(place.source, place.span(), message);
        reader.faults.push(warning.suggest("group some of them under one key, or name the rarely used ones in «hidden»"));
    }
    if reader.is_clean() {
        check_presses(reader, keypad, &hidden);
        check_names(reader, keypad, &hidden, prompt);
    }
}

const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);
const INTER_DIGIT: Duration = Duration::from_secs(2);
const OPTIONS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use crate::flow::Why;
    use crate::flow::bench::Bench;

    const MENU: &str = r#"
[steps.a.menu]
prompt = ["menu"]
timeout = "5s"
inter_digit = "2s"
attempts = 3
no_input = ["silencio"]
invalid = ["mal"]
keys = { 1 = "uno", 30 = "treinta", 300 = "trescientos" }
on.max_attempts = "fin"
[steps.uno.hangup]
cause = "closed"
[steps.treinta.hangup]
cause = "refused"
[steps.trescientos.hangup]
cause = "unavailable"
[steps.fin.hangup]
"#;

    #[test]
    fn acts_the_moment_no_longer_match_is_possible_and_stops_the_prompt_at_the_first_key() {
        let mut bench = Bench::of(MENU);
        assert_eq!(bench.start(), ["says menu"]);
        assert_eq!(bench.press("3"), ["stops"]);
        assert_eq!(bench.press("0"), Vec::<String>::new());
        assert_eq!(bench.press("0"), ["ends unavailable"]);
    }

    /// `pains.md` 5: no_input, inter_digit and invalid are told apart, and each timer starts at its own moment.
    #[test]
    fn timers() {
        let mut bench = Bench::of(MENU);
        bench.start();
        // While the prompt plays there is no timer but the call's own.
        assert_eq!(bench.timer(), Some((1_800_000, Why::MaxDuration)));
        bench.played();
        assert_eq!(bench.timer(), Some((5_000, Why::NoInput)));
        assert_eq!(bench.wait_ms(4_999), Vec::<String>::new());
        assert_eq!(bench.wait_ms(1), ["says silencio menu"]);
        // The first key of a longer entry starts the other timer; the shorter match counts when it runs out.
        bench.press("30");
        assert_eq!(bench.timer(), Some((2_000, Why::InterDigit)));
        assert_eq!(bench.wait_ms(2_000), ["ends refused"]);
    }

    #[test]
    fn a_beginning_that_is_no_entry_is_invalid_when_nothing_follows() {
        let mut bench = Bench::of(MENU);
        bench.start();
        assert_eq!(bench.press("3"), ["stops"]);
        assert_eq!(bench.wait_ms(2_000), ["says mal menu"]);
        assert_eq!(bench.press("9"), ["stops", "says mal menu"]);
        // The third failure is the last one, whatever kinds they were.
        bench.played();
        assert_eq!(bench.wait_ms(5_000), ["ends hangup"]);
        assert!(bench.path.contains(&"→ no_input".to_owned()), "{:?}", bench.path);
    }

    #[test]
    fn the_last_failure_decides_between_no_input_and_invalid() {
        let wired = MENU.replace("on.max_attempts", "on.invalid = \"uno\"\non.max_attempts");
        let mut bench = Bench::of(&wired);
        bench.start();
        assert_eq!(bench.press("7"), ["stops", "says mal menu"]);
        assert_eq!(bench.press("8"), ["stops", "says mal menu"]);
        assert_eq!(bench.press("9"), ["stops", "ends closed"]);
    }

    #[test]
    fn without_barge_in_keys_wait_for_the_end_of_the_prompt() {
        let mut bench = Bench::of(&MENU.replace("timeout =", "barge_in = false\ntimeout ="));
        bench.start();
        assert_eq!(bench.press("1"), Vec::<String>::new());
        assert_eq!(bench.played(), ["ends closed"]);
    }

    #[test]
    fn a_key_works_only_while_its_condition_holds() {
        let conditional = format!(
            "[steps.a.set]\nvalues = {{ n = 1 }}\non.next = \"m\"\n{}",
            MENU.replace("steps.a", "steps.m").replace("timeout =", "when = { 1 = \"n == 2\" }\ntimeout =")
        );
        let mut bench = Bench::of(&conditional);
        assert_eq!(bench.start(), ["says menu"]);
        assert_eq!(bench.press("1"), ["stops", "says mal menu"]);
    }
}
