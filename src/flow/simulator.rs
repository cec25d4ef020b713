//! A call without a telephone, on a clock that only moves when told to: for `contesta simulate` and tests.
//!
//! The far side of a [`Session`]: plays last as long as their texts take to say, requests are answered by a function that
//! says how long the answer takes, and the caller is whoever calls [`Simulator::press`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dtmf::Digit;
use crate::ids::PlayId;
use crate::now::Now;
use crate::operator::{Operator, PromptId};

use super::Flows;
use super::action::{Action, Answer, CallFacts, Callee, Event, Outcome, Request, RequestId, Trace, Utterance};
use super::session::{Session, Why};

/// Answers a request, and says after how long.
pub type Answers<'a> = dyn FnMut(&Request, Now) -> (Answer, Duration) + 'a;

/// One simulated call.
pub struct Simulator<'a> {
    session: Session,
    operator: Arc<Operator>,
    answers: Box<Answers<'a>>,
    began: Now,
    now: Now,
    /// What plays: until when, and where it stands in the log.
    playing: Option<(PlayId, Instant, usize)>,
    /// Answers under way.
    answering: Vec<(Instant, RequestId, Answer)>,
    /// What becomes of the transfers that are to come; of those that are not named, [`Outcome::Done`].
    transfers: VecDeque<Outcome>,
    /// What the transfer under way still brings.
    transferring: VecDeque<(Instant, Event)>,
    log: Vec<Line>,
}

/// One thing that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since the call began.
    pub at: Duration,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The caller hears this.
    Says {
        /// The Spanish text, silences as `…`.
        text: String,
        /// Keys of the prompts and recorded words, in order.
        prompts: Vec<String>,
        /// True when it was cut short.
        cut: bool,
    },
    /// A line of the call's path: steps, keys (masked where sensitive), answers.
    Path(Trace),
    /// Something was asked of the outside.
    Asks(Request),
    /// The caller is led to somebody.
    Leads(Callee),
    /// The call's result, as far as it is known.
    Result(String),
    /// The call was answered.
    Answered,
    /// The flow is over.
    Finished(&'static str),
}

/// What a caller does, as `--keys` writes it: `300`, `!2`, `t`, `h`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Press {
    /// Keys, once the caller is asked for some.
    Keys(String),
    /// Keys at once, whatever is being said.
    Ahead(String),
    /// Silence, until the call's patience runs out once.
    Silence,
    /// The caller hangs up.
    HangUp,
}

/// Something in a list of keys is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("«{0}» is no key: digits, * and #; ! before what is pressed at once, t for silence, h to hang up")]
pub struct BadPress(String);

impl Press {
    /// Reads one group.
    ///
    /// # Errors
    /// [`BadPress`].
    pub fn parse(group: &str) -> Result<Self, BadPress> {
        let group = group.trim();
        let keys = |keys: &str| {
            let fine = !keys.is_empty() && keys.chars().all(|key| key.is_ascii_digit() || matches!(key, '*' | '#'));
            fine.then(|| keys.to_owned()).ok_or_else(|| BadPress(group.to_owned()))
        };
        match (group, group.strip_prefix('!')) {
            ("t", _) => Ok(Self::Silence),
            ("h", _) => Ok(Self::HangUp),
            (_, Some(ahead)) => keys(ahead).map(Self::Ahead),
            (_, None) => keys(group).map(Self::Keys),
        }
    }

    /// Reads groups with commas between them.
    ///
    /// # Errors
    /// [`BadPress`] for the first group that is none.
    pub fn parse_all(groups: &str) -> Result<Vec<Self>, BadPress> {
        groups.split(',').filter(|group| !group.trim().is_empty()).map(Self::parse).collect()
    }
}

/// Why [`Simulator::until_key`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The caller is asked for a key.
    ExpectsKey,
    /// The call is over.
    Finished,
}

impl<'a> Simulator<'a> {
    /// A call to `flow` that begins at `facts.began`, with what becomes of its transfers, in order; `None` when there is no such flow.
    pub fn new(
        flows: Arc<Flows>,
        operator: Arc<Operator>,
        flow: &str,
        facts: CallFacts,
        answers: impl FnMut(&Request, Now) -> (Answer, Duration) + 'a,
        transfers: impl IntoIterator<Item = Outcome>,
    ) -> Option<Self> {
        let began = facts.began;
        let session = Session::new(flows, Arc::clone(&operator), flow, facts)?;
        let mut simulator = Self {
            session,
            operator,
            answers: Box::new(answers),
            began,
            now: began,
            playing: None,
            answering: Vec::new(),
            transfers: transfers.into_iter().collect(),
            transferring: VecDeque::new(),
            log: Vec::new(),
        };
        simulator.tell(Event::Start);
        Some(simulator)
    }

    /// Everything so far.
    #[must_use]
    pub fn log(&self) -> &[Line] {
        &self.log
    }

    /// The present moment of the simulation.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Flow and step where the call is.
    #[must_use]
    pub fn place(&self) -> String {
        self.session.place()
    }

    /// True when the call is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.session.is_finished()
    }

    /// Texts of everything that was said, in order.
    pub fn said(&self) -> impl Iterator<Item = &str> {
        self.log.iter().filter_map(|line| match &line.what {
            What::Says { text, .. } => Some(text.as_str()),
            What::Path(_) | What::Asks(_) | What::Leads(_) | What::Result(_) | What::Answered | What::Finished(_) => {
                None
            }
        })
    }

    /// The result of the call: the last that a `tag` noted.
    #[must_use]
    pub fn result(&self) -> Option<&str> {
        self.log.iter().rev().find_map(|line| match &line.what {
            What::Result(result) => Some(result.as_str()),
            What::Says { .. } | What::Path(_) | What::Asks(_) | What::Leads(_) | What::Answered | What::Finished(_) => {
                None
            }
        })
    }

    /// Does what a caller does. Keys that are asked for too late, after the end of the call, are passed over.
    pub fn act(&mut self, press: &Press) {
        match press {
            Press::Keys(keys) => {
                if self.until_key() == Stop::ExpectsKey {
                    self.press(keys);
                }
            }
            Press::Ahead(keys) => self.press(keys),
            Press::Silence => self.time_out(),
            Press::HangUp => self.hang_up(),
        }
    }

    /// Presses keys right now, 150 ms apart, whatever is being said. Characters that are no keys are passed over.
    pub fn press(&mut self, keys: &str) {
        for digit in keys.chars().filter_map(Digit::from_char) {
            self.tell(Event::Digit(digit));
            self.advance(BETWEEN_KEYS);
        }
    }

    /// Lets time pass until the caller is asked for a key: a menu, a number to be keyed. Plain announcements are heard out.
    pub fn until_key(&mut self) -> Stop {
        loop {
            if self.session.is_finished() {
                return Stop::Finished;
            }
            if self.session.expects_key() {
                return Stop::ExpectsKey;
            }
            if self.step(None).is_none() {
                return Stop::Finished;
            }
        }
    }

    /// Says nothing until the call's patience with it runs out once: the timeout of the step that asks for a key.
    pub fn time_out(&mut self) {
        if self.until_key() == Stop::Finished {
            return;
        }
        while let Some(happened) = self.step(None) {
            if matches!(happened, Happened::Timeout(Why::NoInput | Why::InterDigit | Why::MaxDuration)) {
                return;
            }
        }
    }

    /// Hangs up, and lets what follows silently come to its end.
    pub fn hang_up(&mut self) {
        self.tell(Event::HungUp);
        while self.step(None).is_some() {}
    }

    /// Lets everything run until the call is over, without a key from the caller.
    pub fn finish(&mut self) {
        while self.step(None).is_some() {}
    }

    /// Lets time pass.
    pub fn advance(&mut self, duration: Duration) {
        let until = self.now.instant + duration;
        while self.step(Some(until)).is_some() {}
        self.go_to(until);
    }

    /// Goes to the next thing that happens, not later than `until`, and lets it happen; `None` when nothing more does.
    fn step(&mut self, until: Option<Instant>) -> Option<Happened> {
        if self.session.is_finished() {
            return None;
        }
        // Of things at the same moment an answer comes before the end of a play, and both before a timer.
        let answer = self.answering.iter().map(|(at, _, _)| *at).enumerate().min_by_key(|(_, at)| *at);
        let answer = answer.map(|(place, at)| (at, 0_u8, Next::Answer(place)));
        let moved = self.transferring.front().map(|(at, _)| (*at, 1, Next::Transfer));
        let played = self.playing.map(|(play, at, _)| (at, 1, Next::Played(play)));
        let timer = self.session.poll_timeout().map(|(at, why)| (at, 2, Next::Timer(why)));
        let (at, _, next) =
            [answer, moved, played, timer].into_iter().flatten().min_by_key(|(at, order, _)| (*at, *order))?;
        if until.is_some_and(|until| at > until) {
            return None;
        }
        self.go_to(at);
        match next {
            Next::Answer(place) => {
                let (_, id, answer) = self.answering.swap_remove(place);
                self.tell(Event::Answered(id, answer));
                Some(Happened::Input)
            }
            Next::Transfer => {
                if let Some((_, event)) = self.transferring.pop_front() {
                    self.tell(event);
                }
                Some(Happened::Input)
            }
            Next::Played(play) => {
                self.playing = None;
                self.tell(Event::Played(play));
                Some(Happened::Input)
            }
            Next::Timer(why) => {
                let mut actions = Vec::new();
                self.session.handle_timeout(self.now, &mut actions);
                self.carry_out(actions);
                Some(Happened::Timeout(why))
            }
        }
    }

    fn go_to(&mut self, instant: Instant) {
        let passed = instant.saturating_duration_since(self.now.instant);
        self.now = self.now.after(passed);
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.session.handle(self.now, event, &mut actions);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Answer => self.note(What::Answered),
                Action::Play { play, utterances } => {
                    self.cut();
                    let (text, prompts, length) = self.heard(&utterances);
                    self.playing = Some((play, self.now.instant + length, self.log.len()));
                    self.note(What::Says { text, prompts, cut: false });
                }
                Action::StopPlaying => self.cut(),
                Action::Request { id, request, .. } => {
                    let (answer, after) = (self.answers)(&request, self.now);
                    self.answering.push((self.now.instant + after, id, answer));
                    self.note(What::Asks(request));
                }
                Action::Transfer { to, ring } => {
                    let outcome = self.transfers.pop_front().unwrap_or(Outcome::Done);
                    let now = self.now.instant;
                    let after = match outcome {
                        Outcome::Done => {
                            self.transferring.push_back((now + RINGS, Event::Connected));
                            RINGS + TALKS
                        }
                        Outcome::Busy => BUSY,
                        Outcome::NoAnswer => ring,
                        Outcome::Failed => Duration::ZERO,
                    };
                    self.transferring.push_back((now + after, Event::Transferred(outcome)));
                    self.note(What::Leads(to));
                }
                Action::Record(_) | Action::Secret(_) => {}
                Action::Trace(trace) => self.note(What::Path(trace)),
                Action::Result(result) => self.note(What::Result(result)),
                Action::Finished { cause } => {
                    self.cut();
                    self.note(What::Finished(cause));
                }
            }
        }
    }

    /// What was playing is cut short.
    fn cut(&mut self) {
        if let Some((_, _, place)) = self.playing.take()
            && let Some(Line { what: What::Says { cut, .. }, .. }) = self.log.get_mut(place)
        {
            *cut = true;
        }
    }

    fn note(&mut self, what: What) {
        self.log.push(Line { at: self.now.instant.saturating_duration_since(self.began.instant), what });
    }

    fn heard(&self, utterances: &[Utterance]) -> (String, Vec<String>, Duration) {
        let (mut text, mut prompts, mut length) = (String::new(), Vec::new(), Duration::ZERO);
        for utterance in utterances {
            match utterance {
                Utterance::Silence(duration) => {
                    text.push_str(if text.is_empty() { "…" } else { " …" });
                    length += *duration;
                }
                Utterance::Prompt(id) => {
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(self.operator.prompts.text(*id));
                    prompts.push(self.operator.prompts.key(*id).to_owned());
                    length += self.length(*id);
                }
            }
        }
        (text, prompts, length)
    }

    /// How long a prompt takes to say, from its text: the simulation has no audio.
    fn length(&self, id: PromptId) -> Duration {
        let characters = self.operator.prompts.text(id).chars().count();
        PER_CHARACTER.saturating_mul(u32::try_from(characters).unwrap_or(u32::MAX)).max(SHORTEST)
    }
}

enum Next {
    Answer(usize),
    Transfer,
    Played(PlayId),
    Timer(Why),
}

enum Happened {
    Input,
    Timeout(Why),
}

/// How soon somebody answers who does, and how long they talk.
const RINGS: Duration = Duration::from_secs(6);
const TALKS: Duration = Duration::from_secs(60);
/// How soon somebody who does not want to says so.
const BUSY: Duration = Duration::from_secs(1);
/// A practised caller.
const BETWEEN_KEYS: Duration = Duration::from_millis(150);
/// About 14 characters a second: unhurried Spanish.
const PER_CHARACTER: Duration = Duration::from_millis(70);
const SHORTEST: Duration = Duration::from_millis(300);
