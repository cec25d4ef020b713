//! `extension`: the caller dials an extension, or it came with the call.

use std::time::Duration;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::dtmf::Digit;
use crate::flow::keypad::{Keypad, Match};
use crate::flow::prompt::Item;
use crate::flow::reader::Reader;
use crate::flow::turn::{Turn, Why};

const OPTIONS: &[Opt] = &[
    opt("prompt", Shape::Prompts, "What the caller hears."),
    opt("map", Shape::Keys, "Where each extension leads."),
    opt("timeout", Shape::Duration, "Silence after the prompt's end that leads to `default` (5s)."),
    opt("inter_digit", Shape::Duration, "Silence after a key that ends the extension (2s)."),
];
const OUTPUTS: &[Out] =
    &[out("<extension>", "It was dialled; wired by `map`."), out("default", "Silence, or an extension that is not there.")];

/// The caller dials an extension.
#[derive(Debug)]
pub(crate) struct Extension {
    prompt: Vec<Item>,
    keypad: Keypad,
    timeout: Duration,
    inter_digit: Duration,
}

impl StepKind for Extension {
    /// The keys pressed so far.
    type Running = String;
    const SHEET: &'static Sheet = &Sheet {
        about: "The caller dials an extension, or it came with the call.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Hears,
        silent: false,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let prompt = reader.prompts("prompt");
        let mut keypad = Keypad::default();
        let entries = reader.required("map").map(|place| place.entries(reader.faults)).unwrap_or_default();
        for (name, target) in entries {
            if let Some(keys) = reader.sequence(name) {
                keypad.add(keys);
                reader.lead(keys, target);
            }
        }
        let timeout = reader.duration("timeout", TIMEOUT, Duration::from_secs(1)..=Duration::from_secs(60));
        let inter_digit = reader.duration("inter_digit", INTER_DIGIT, Duration::from_millis(500)..=Duration::from_secs(20));
        reader.output("default");
        Some(Self { prompt, keypad, timeout, inter_digit })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<String> {
        if let Some(extension) = &turn.facts.extension
            && let Match::Now(place) | Match::Longer(Some(place)) = self.keypad.find(extension, |_| true)
        {
            let keys = self.keypad.keys(place).to_owned();
            turn.trace(format!("extension {keys} came with the call"));
            return Next::Leave(Leave::named(&keys));
        }
        if !turn.play(&[&self.prompt]) {
            turn.deadline(self.timeout, Why::NoInput);
        }
        Next::Wait(String::new())
    }

    fn handle(&self, dialled: &mut String, input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Digit(digit) => self.key(dialled, digit, turn),
            Input::Played => {
                turn.deadline(self.timeout, Why::NoInput);
                After::Stay
            }
            Input::Deadline(_) => match self.keypad.find(dialled, |_| true) {
                Match::Now(place) | Match::Longer(Some(place)) => self.choose(place, turn),
                Match::Longer(None) | Match::None => default(dialled, turn),
            },
            Input::Answered(_) | Input::Late | Input::Transferred(_) => After::Stay,
        }
    }
}

impl Extension {
    fn key(&self, dialled: &mut String, digit: Digit, turn: &mut Turn<'_>) -> After {
        if dialled.is_empty() && !self.keypad.uses(digit) && turn.is_global(digit) {
            return After::NotMine(digit);
        }
        turn.stop_playing();
        dialled.push(digit.as_char());
        match self.keypad.find(dialled, |_| true) {
            Match::Now(place) => self.choose(place, turn),
            Match::Longer(_) => {
                turn.deadline(self.inter_digit, Why::InterDigit);
                After::Stay
            }
            Match::None => default(dialled, turn),
        }
    }

    fn choose(&self, place: usize, turn: &mut Turn<'_>) -> After {
        let keys = self.keypad.keys(place);
        turn.trace(format!("extension {keys}"));
        After::Leave(Leave::named(keys))
    }
}

fn default(dialled: &str, turn: &mut Turn<'_>) -> After {
    turn.trace(if dialled.is_empty() { "no extension".to_owned() } else { format!("no extension {dialled}") });
    After::Leave(Leave::by("default"))
}

const TIMEOUT: Duration = Duration::from_secs(5);
const INTER_DIGIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use crate::flow::bench::Bench;

    const EXTENSION: &str = "[steps.a.extension]\nprompt = [\"hola\"]\ntimeout = \"3s\"\nmap = { 300 = \"si\", 301 = \"otra\" }\n\
                             on.default = \"no\"\n[steps.si.hangup]\ncause = \"closed\"\n[steps.otra.hangup]\n\
                             [steps.no.hangup]\ncause = \"refused\"\n";

    /// `requirements.md` B-03.
    #[test]
    fn an_extension_is_dialled() {
        let mut bench = Bench::of(EXTENSION);
        assert_eq!(bench.start(), ["says hola"]);
        assert_eq!(bench.press("300"), ["stops", "ends closed"]);
    }

    #[test]
    fn silence_half_an_extension_and_an_unknown_one_lead_to_the_default() {
        let mut bench = Bench::of(EXTENSION);
        bench.start();
        bench.played();
        assert_eq!(bench.wait_ms(3_000), ["ends refused"]);
        let mut bench = Bench::of(EXTENSION);
        bench.start();
        assert_eq!(bench.press("30"), ["stops"]);
        assert_eq!(bench.wait_ms(2_000), ["ends refused"]);
        let mut bench = Bench::of(EXTENSION);
        bench.start();
        assert_eq!(bench.press("4"), ["stops", "ends refused"]);
    }
}
