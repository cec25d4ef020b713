//! `notice`: a privacy notice, and what the caller says to it.
//!
//! Without `accept_key` hearing it is consent (tacit, `requirements.md` §2.5). With it only that key is; silence, any other
//! key and `decline_key` are not. Id and version go to the call's path either way.
//!
//! A notice may say that the call is recorded; `recording` makes it true. What the operator's `[recording]` forbids stays so.
//!
//! ```text
//! recording   accepted             declined
//! "on"        recorded from here   not recorded from here
//! "ask"       the same, and only a key accepts
//! "off"       not recorded from here, whatever is said to it
//! ```

use std::time::Duration;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::dtmf::Digit;
use crate::flow::action::Action;
use crate::flow::prompt::Item;
use crate::flow::reader::Reader;
use crate::flow::turn::{Turn, Why};

const OPTIONS: &[Opt] = &[
    opt("id", Shape::Text, "Which notice it is."),
    opt("version", Shape::Text, "Which version of it."),
    opt("prompt", Shape::Prompts, "What the caller hears."),
    opt("accept_key", Shape::Key, "The key that accepts; without it, hearing the notice does."),
    opt("decline_key", Shape::Key, "The key that declines."),
    opt("recording", Shape::OneOf(RECORDINGS), "Whether the call is recorded from here on."),
    opt("timeout", Shape::Duration, "Silence after the notice that declines, when there is an `accept_key` (5s)."),
    opt("barge_in", Shape::Flag, "Keys work while it plays (true)."),
];
const OUTPUTS: &[Out] = &[
    out("accepted", "The caller heard it, or pressed the key that accepts."),
    out("declined", "The caller did not accept (wired when there is an `accept_key` or a `decline_key`)."),
];

/// A privacy notice.
#[derive(Debug)]
pub(crate) struct Notice {
    name: String,
    prompt: Vec<Item>,
    accept_key: Option<Digit>,
    decline_key: Option<Digit>,
    recording: Option<Recording>,
    timeout: Duration,
    barge_in: bool,
}

/// What a notice does to the call's recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recording {
    On,
    Off,
}

impl StepKind for Notice {
    type Running = ();
    const SHEET: &'static Sheet = &Sheet {
        about: "Says a privacy notice and notes what the caller says to it.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Deaf,
        silent: false,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let id = reader.required("id").and_then(|place| place.text(reader.faults));
        let version = reader.required("version").and_then(|place| place.text(reader.faults));
        let prompt = reader.required_prompts("prompt");
        let (accept_key, decline_key) = (reader.key("accept_key"), reader.key("decline_key"));
        if let (Some(accept), Some(decline), Some(place)) = (accept_key, decline_key, reader.option("decline_key"))
            && accept == decline
        {
            reader.fault(place, format!("the key «{accept}» accepts and declines"));
        }
        let recording = read_recording(reader, accept_key);
        let timeout = reader.duration("timeout", TIMEOUT, Duration::from_secs(1)..=Duration::from_secs(60));
        let barge_in = reader.flag("barge_in", true);
        reader.output("accepted");
        if accept_key.is_some() || decline_key.is_some() {
            reader.output("declined");
        }
        Some(Self { name: format!("{} {}", id?, version?), prompt, accept_key, decline_key, recording, timeout, barge_in })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<()> {
        if turn.play(&[&self.prompt]) {
            return Next::Wait(());
        }
        match self.heard(turn) {
            After::Leave(leave) => Next::Leave(leave),
            After::Stay | After::NotMine(_) | After::LeaveTo(_, _) => Next::Wait(()),
        }
    }

    fn handle(&self, (): &mut (), input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Played => self.heard(turn),
            Input::Digit(digit) if self.accept_key == Some(digit) => self.leave(true, turn),
            Input::Digit(digit) if self.decline_key == Some(digit) => self.leave(false, turn),
            Input::Digit(digit) if turn.is_global(digit) => After::NotMine(digit),
            Input::Digit(digit) => match self.accept_key {
                Some(_) => self.leave(false, turn),
                // A notice that accepts by being heard is passed over like a `play`: the key is for what comes next.
                None => After::LeaveTo(digit, self.note(true, turn)),
            },
            Input::Deadline(_) => self.leave(false, turn),
            Input::Answered(_) | Input::Late | Input::Transferred(_) => After::Stay,
        }
    }

    fn listens(&self, (): &(), playing: bool) -> bool {
        self.barge_in || !playing
    }
}

impl Notice {
    /// True when a key accepts or declines.
    pub(crate) fn asks(&self) -> bool {
        self.accept_key.is_some() || self.decline_key.is_some()
    }

    fn heard(&self, turn: &mut Turn<'_>) -> After {
        if self.accept_key.is_none() {
            return self.leave(true, turn);
        }
        turn.deadline(self.timeout, Why::NoInput);
        After::Stay
    }

    fn leave(&self, accepted: bool, turn: &mut Turn<'_>) -> After {
        After::Leave(self.note(accepted, turn))
    }

    /// Notes what was said to which notice; the way out.
    fn note(&self, accepted: bool, turn: &mut Turn<'_>) -> Leave {
        turn.stop_playing();
        let output = if accepted { "accepted" } else { "declined" };
        turn.trace(format!("notice {} {output}", self.name));
        if let Some(recording) = self.recording {
            turn.out.push(Action::Record(accepted && recording == Recording::On));
        }
        Leave::by(output)
    }
}

fn read_recording(reader: &mut Reader<'_, '_>, accept_key: Option<Digit>) -> Option<Recording> {
    let place = reader.option("recording")?;
    match place.text(reader.faults)? {
        "on" => Some(Recording::On),
        "off" => Some(Recording::Off),
        "ask" => {
            if accept_key.is_none() {
                reader.fault(place, "who is asked needs an `accept_key`".to_owned());
            }
            Some(Recording::On)
        }
        other => {
            let fault = place.fault(format!("unknown `recording` «{other}»; known: {}", RECORDINGS.join(", ")));
            reader.faults.push(fault.did_you_mean(other, RECORDINGS.iter().copied()));
            None
        }
    }
}

const RECORDINGS: &[&str] = &["on", "off", "ask"];
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use crate::flow::bench::Bench;

    const ENDS: &str = "[steps.si.hangup]\ncause = \"closed\"\n";

    #[test]
    fn hearing_it_is_consent_and_its_version_is_noted() {
        let flow = format!("[steps.a.notice]\nid = \"privacidad\"\nversion = \"2026-01\"\nprompt = [\"aviso\"]\non.accepted = \"si\"\n{ENDS}");
        let mut bench = Bench::of(&flow);
        assert_eq!(bench.start(), ["says aviso"]);
        assert_eq!(bench.played(), ["ends closed"]);
        assert!(bench.path.contains(&"notice privacidad 2026-01 accepted".to_owned()), "{:?}", bench.path);
    }

    #[test]
    fn a_notice_of_recording_is_followed_by_it_unless_it_is_declined() {
        let flow = |recording: &str| {
            format!(
                "[steps.a.notice]\nid = \"privacidad\"\nversion = \"2026-01\"\nprompt = [\"aviso\"]\n{recording}\n\
                 on = {{ accepted = \"si\", declined = \"no\" }}\n{ENDS}[steps.no.hangup]\ncause = \"refused\"\n"
            )
        };
        let mut bench = Bench::of(&flow("recording = \"on\"\ndecline_key = \"9\""));
        bench.start();
        assert_eq!(bench.played(), ["records", "ends closed"]);
        let mut bench = Bench::of(&flow("recording = \"on\"\ndecline_key = \"9\""));
        bench.start();
        assert_eq!(bench.press("9"), ["stops", "records no more", "ends refused"]);
        let mut bench = Bench::of(&flow("recording = \"ask\"\naccept_key = \"1\""));
        bench.start();
        bench.played();
        assert_eq!(bench.wait_ms(5_000), ["records no more", "ends refused"]);
        let mut bench = Bench::of(&flow("recording = \"off\"\naccept_key = \"1\""));
        bench.start();
        assert_eq!(bench.press("1"), ["stops", "records no more", "ends closed"]);
    }

    #[test]
    fn with_a_key_only_that_key_is_consent() {
        let flow = format!(
            "[steps.a.notice]\nid = \"privacidad\"\nversion = \"2026-01\"\nprompt = [\"aviso\"]\naccept_key = \"1\"\n\
             on = {{ accepted = \"si\", declined = \"no\" }}\n{ENDS}[steps.no.hangup]\ncause = \"refused\"\n"
        );
        let mut bench = Bench::of(&flow);
        bench.start();
        assert_eq!(bench.press("1"), ["stops", "ends closed"]);
        let mut bench = Bench::of(&flow);
        bench.start();
        bench.played();
        assert_eq!(bench.wait_ms(5_000), ["ends refused"]);
        let mut bench = Bench::of(&flow);
        bench.start();
        assert_eq!(bench.press("2"), ["stops", "ends refused"]);
    }
}
