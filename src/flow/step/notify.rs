//! `notify`: puts a message into the outbox. Delivery comes later and elsewhere.
//!
//! With `channel = "ask"` the caller chooses: `channels = { 1 = "sms", 2 = "whatsapp" }`.

use std::time::Duration;

use super::{After, Input, Leave, Next, Opt, Out, Pace, Shape, Sheet, StepKind, opt, out};
use crate::case::Folio;
use crate::document::Place;
use crate::dtmf::Digit;
use crate::flow::action::{Answer, Message, Request};
use crate::flow::expr::ExprFault;
use crate::flow::keypad::{Keypad, Match};
use crate::flow::prompt::Item;
use crate::flow::reader::Reader;
use crate::flow::template::Template;
use crate::flow::turn::{Turn, Why};
use crate::value::Kind;

const CHANNELS: &[&str] = &["sms", "email", "whatsapp", "print", "ask"];
const OPTIONS: &[Opt] = &[
    opt("channel", Shape::OneOf(CHANNELS), "How the message travels; `ask` lets the caller choose."),
    opt("template", Shape::Text, "A template of operator.toml; it may use this flow's variables."),
    opt("to", Shape::Template, "Number or address (the caller's number); nothing for print."),
    opt("folio", Shape::Template, "The case it belongs to (the variable `folio`, if there is one)."),
    opt("prompt", Shape::Prompts, "ask: names the channels and their keys."),
    opt("channels", Shape::Keys, "ask: a channel for each key."),
    opt("timeout", Shape::Duration, "ask: silence after the prompt's end that declines (6s)."),
    opt("attempts", Shape::Number, "ask: how often the prompt is said, 1 to 5 (2)."),
];
const OUTPUTS: &[Out] = &[
    out("queued", "The message is stored."),
    out("no_address", "There is no number or address to send to."),
    out("declined", "The caller chose no channel (wired for `ask`)."),
    out("error", "The message could not be stored, or not in time."),
];

/// Puts a message into the outbox.
#[derive(Debug)]
pub(crate) struct Notify {
    channel: Channel,
    template: String,
    text: Template,
    to: Option<Template>,
    folio: Option<Template>,
}

#[derive(Debug)]
enum Channel {
    Fixed(String),
    Asked { prompt: Vec<Item>, keypad: Keypad, channels: Vec<String>, timeout: Duration, attempts: u8 },
}

/// What a `notify` remembers while it waits.
#[derive(Default)]
pub(crate) struct Notifying {
    failed: u8,
    sending: bool,
}

impl StepKind for Notify {
    type Running = Notifying;
    const SHEET: &'static Sheet = &Sheet {
        about: "Puts a message into the outbox.",
        options: OPTIONS,
        outputs: OUTPUTS,
        pace: Pace::Deaf,
        silent: true,
    };

    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let channel = reader.required("channel").and_then(|place| read_channel(reader, place));
        let template_place = reader.required("template");
        let template = template_place.and_then(|place| place.text(reader.faults));
        let text = template_place.zip(template).and_then(|(place, name)| read_text(reader, place, name));
        let to = reader.option("to").map(|place| reader.template_at(place, Some(Kind::Text)));
        let folio = match reader.option("folio") {
            Some(place) => Some(reader.template_at(place, Some(Kind::Text))),
            None => reader.slot("folio").map(|_| Template::parse("${folio}", &reader.flow.scope()).ok()),
        };
        reader.output("queued");
        reader.output("no_address");
        if matches!(channel, Some(Channel::Asked { .. })) {
            reader.output("declined");
        }
        reader.output("error");
        let (to, folio) = (flat(to)?, flat(folio)?);
        Some(Self { channel: channel?, template: template?.to_owned(), text: text?, to, folio })
    }

    fn start(&self, turn: &mut Turn<'_>) -> Next<Notifying> {
        let mut notifying = Notifying::default();
        match &self.channel {
            Channel::Fixed(channel) => match self.send(channel, &mut notifying, turn) {
                Some(leave) => Next::Leave(leave),
                None => Next::Wait(notifying),
            },
            Channel::Asked { .. } if turn.live.silent => Next::Leave(Leave::by("declined")),
            Channel::Asked { prompt, timeout, .. } => {
                if !turn.play(&[prompt]) {
                    turn.deadline(*timeout, Why::NoInput);
                }
                Next::Wait(notifying)
            }
        }
    }

    fn handle(&self, notifying: &mut Notifying, input: Input, turn: &mut Turn<'_>) -> After {
        match input {
            Input::Answered(Answer::Result { result, .. }) => {
                turn.trace(format!("message {result}"));
                let known = turn.step.target(&result).is_some();
                After::Leave(if known { Leave::named(&result) } else { Leave::by("error") })
            }
            Input::Answered(Answer::Error(reason)) => {
                turn.trace(format!("the outbox cannot: {reason}"));
                After::Leave(Leave::by("error"))
            }
            Input::Late => {
                turn.trace("the outbox is late");
                After::Leave(Leave::by("error"))
            }
            Input::Digit(_) | Input::Transferred(_) | Input::Played | Input::Deadline(_) => self.choose(notifying, input, turn),
        }
    }

    fn listens(&self, notifying: &Notifying, _playing: bool) -> bool {
        matches!(self.channel, Channel::Asked { .. }) && !notifying.sending
    }
}

impl Notify {
    fn choose(&self, notifying: &mut Notifying, input: Input, turn: &mut Turn<'_>) -> After {
        let Channel::Asked { prompt, keypad, channels, timeout, attempts } = &self.channel else { return After::Stay };
        match input {
            Input::Played => {
                turn.deadline(*timeout, Why::NoInput);
                return After::Stay;
            }
            Input::Digit(digit) => {
                if !keypad.uses(digit) && turn.is_global(digit) {
                    return After::NotMine(digit);
                }
                turn.stop_playing();
                turn.trace(format!("key {digit}"));
                if let Some(channel) = chosen(digit, keypad, channels) {
                    turn.clear_deadline();
                    return match self.send(channel, notifying, turn) {
                        Some(leave) => After::Leave(leave),
                        None => After::Stay,
                    };
                }
            }
            Input::Deadline(_) => turn.trace("no input"),
            Input::Answered(_) | Input::Late | Input::Transferred(_) => return After::Stay,
        }
        turn.clear_typed();
        turn.clear_deadline();
        notifying.failed += 1;
        if notifying.failed >= *attempts {
            return After::Leave(Leave::by("declined"));
        }
        if !turn.play(&[prompt]) {
            turn.deadline(*timeout, Why::NoInput);
        }
        After::Stay
    }

    fn send(&self, channel: &str, notifying: &mut Notifying, turn: &mut Turn<'_>) -> Option<Leave> {
        let values = turn.values();
        let to = match (&self.to, channel) {
            (_, "print") => String::new(),
            (Some(to), _) => to.text(&values),
            (None, _) => turn.facts.caller.clone().unwrap_or_default(),
        };
        let folio = self.folio.as_ref().and_then(|folio| Folio::parse(&folio.text(&values)).ok());
        let text = self.text.text(&values);
        if to.is_empty() && channel != "print" {
            turn.trace(format!("no address for a message by {channel}"));
            return Some(Leave::by("no_address"));
        }
        let about = folio.as_ref().map(ToString::to_string).unwrap_or_default();
        turn.trace(format!("sends «{}» by {channel}", self.template));
        notifying.sending = true;
        let message = Message {
            operator: turn.operator.id.clone(),
            channel: channel.to_owned(),
            idempotency: format!("{}:{}:{channel}:{to}:{about}", turn.facts.key, self.template),
            to,
            template: self.template.clone(),
            text,
            folio,
            call: turn.facts.key.clone(),
        };
        turn.request(Request::Notify(message), TIMEOUT);
        None
    }
}

fn chosen<'c>(digit: Digit, keypad: &Keypad, channels: &'c [String]) -> Option<&'c str> {
    match keypad.find(&digit.as_char().to_string(), |_| true) {
        Match::Now(place) | Match::Longer(Some(place)) => channels.get(place).map(String::as_str),
        Match::Longer(None) | Match::None => None,
    }
}

/// `None` inside: it was written, and is faulty.
#[expect(clippy::option_option, reason = "written or not, and then right or faulty")]
fn flat(template: Option<Option<Template>>) -> Option<Option<Template>> {
    match template {
        Some(template) => template.map(Some),
        None => Some(None),
    }
}

fn read_channel<'a>(reader: &mut Reader<'a, '_>, place: Place<'a>) -> Option<Channel> {
    let name = known_channel(reader, place)?;
    if name != "ask" {
        for option in ["prompt", "channels", "timeout", "attempts"] {
            if let Some(place) = reader.option(option) {
                reader.fault(place, format!("«{option}» has a meaning only with channel = \"ask\""));
            }
        }
        return Some(Channel::Fixed(name.to_owned()));
    }
    let prompt = reader.required_prompts("prompt");
    let (mut keypad, mut channels) = (Keypad::default(), Vec::new());
    let entries = reader.required("channels").map(|place| place.entries(reader.faults)).unwrap_or_default();
    for (key, place) in entries {
        let (Some(digit), Some(channel)) = (crate::flow::source::one_key(key, reader.faults), known_channel(reader, place))
        else {
            continue;
        };
        if channel == "ask" {
            reader.fault(place, "a key stands for a channel, not for the question");
        }
        keypad.add(&digit.as_char().to_string());
        channels.push(channel.to_owned());
    }
    let timeout = reader.duration("timeout", Duration::from_secs(6), Duration::from_secs(1)..=Duration::from_secs(60));
    let attempts = reader.count("attempts", 2, 1..=5);
    Some(Channel::Asked { prompt, keypad, channels, timeout, attempts })
}

fn known_channel<'a>(reader: &mut Reader<'_, '_>, place: Place<'a>) -> Option<&'a str> {
    let name = place.text(reader.faults)?;
    if CHANNELS.contains(&name) {
        return Some(name);
    }
    let fault = place.fault(format!("unknown channel «{name}»; known: {}", CHANNELS.join(", ")));
    reader.faults.push(fault.did_you_mean(name, CHANNELS.iter().copied()));
    None
}

/// The template's text, checked against the variables of this flow.
fn read_text(reader: &mut Reader<'_, '_>, place: Place<'_>, name: &str) -> Option<Template> {
    let templates = &reader.operator.templates;
    let Some(text) = templates.get(name) else {
        let fault = place.fault(format!("{} has no template «{name}»", reader.operator.id));
        reader.faults.push(fault.did_you_mean(name, templates.keys().map(String::as_str)));
        return None;
    };
    match Template::parse(text, &reader.flow.scope()) {
        Ok(template) if template.is_sensitive() => {
            reader.fault(place, format!("the template «{name}» uses a sensitive variable"));
            None
        }
        Ok(template) => Some(template),
        Err(ExprFault { message, .. }) => {
            reader.fault(place, format!("the template «{name}» does not fit this flow: {message}"));
            None
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use crate::flow::bench::Bench;

    const ENDS: &str = "[steps.si.hangup]\n[steps.sin.hangup]\ncause = \"refused\"\n[steps.mal.hangup]\ncause = \"unavailable\"\n";

    fn folio() -> String {
        crate::case::Folio::draw(2, &mut crate::ids::Ids::from_seed(7)).to_string()
    }

    fn bench(step: &str) -> Bench {
        let set = format!("[steps.a.set]\nvalues = {{ folio = \"{}\" }}\non.next = \"n\"\n", folio());
        Bench::of(&format!("{set}[steps.n.notify]\n{step}\n{ENDS}"))
    }

    #[test]
    fn a_message_carries_its_text_address_and_folio() {
        let step = "channel = \"sms\"\ntemplate = \"folio\"\non = { queued = \"si\", no_address = \"sin\", error = \"mal\" }";
        let mut bench = bench(step);
        let folio = folio();
        let sends = format!("sends sms 2221234567: Su folio es {folio}. once k1:folio:sms:2221234567:{folio}");
        assert_eq!(bench.start(), [sends]);
        assert_eq!(bench.answer("queued", &[]), ["ends hangup"]);
    }

    #[test]
    fn nobody_to_send_to_is_told_at_once() {
        let step = "channel = \"email\"\nto = \"\"\ntemplate = \"folio\"\non = { queued = \"si\", no_address = \"sin\", error = \"mal\" }";
        assert_eq!(bench(step).start(), ["ends refused"]);
    }

    #[test]
    fn the_caller_chooses_the_channel_or_none() {
        let step = "channel = \"ask\"\nprompt = [\"menu\"]\nchannels = { 1 = \"sms\", 2 = \"print\" }\nattempts = 2\n\
                    template = \"folio\"\non = { queued = \"si\", no_address = \"sin\", error = \"mal\", declined = \"no\" }\n\
                    [steps.no.hangup]\ncause = \"closed\"";
        let mut chosen = bench(step);
        assert_eq!(chosen.start(), ["says menu"]);
        let folio = folio();
        let sends = format!("sends print : Su folio es {folio}. once k1:folio:print::{folio}");
        assert_eq!(chosen.press("2"), ["stops".to_owned(), sends]);
        assert_eq!(chosen.wait_ms(5_000), ["ends unavailable"]);
        let mut silent = bench(step);
        silent.start();
        silent.played();
        assert_eq!(silent.wait_ms(6_000), ["says menu"]);
        assert_eq!(silent.press("7"), ["stops", "ends closed"]);
    }
}
