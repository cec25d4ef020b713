//! Runs one call through the flows: the only interpreter.
//!
//! ```text
//! New ─ Start ─► Running ─ a step's output ─► the next step
//!                  │  │ a step cannot go on, or the loop guard ─► on_error, as often as FAILURES_MAX
//!                  │  └ HungUp: a request under way is awaited, then ─┐
//!                  │    MaxDuration, too many failures ──────────────►├─► Closing: on_hangup, silently ─► Finished
//!                  └ hangup ─► Finished
//! ```
//! Every state ends: a step that waits has a timer, a request has a deadline, the end of a play is told by the call even when
//! no worker reports it, a hold has its longest time, and closing [`CLOSING_MAX`]. Keys wait in a bounded buffer until a step
//! listens.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dtmf::Digit;
use crate::now::Now;
use crate::operator::Operator;

use super::action::{Action, CallFacts, Event, Trace};
use super::step::{After, Input, Kind, Leave, Next, Pace, Running};
use super::turn::{Live, Turn, TypeAhead, VariableValues};
use super::way::{Place, Way};
use super::{Flow, Flows, GlobalKey, Step, StepIndex};

pub use super::turn::Why;

/// One call's way through the flows.
pub struct Session {
    flows: Arc<Flows>,
    operator: Arc<Operator>,
    facts: CallFacts,
    /// The flows that called the current one, outermost first.
    callers: Vec<Caller>,
    at: Place,
    running: Option<Running>,
    live: Live,
    phase: Phase,
    /// When `max_duration` or [`CLOSING_MAX`] is over.
    ends: Instant,
    way: Way,
    failures: u8,
    /// Since when the caller is with somebody: how long flows may last counts without it.
    parked: Option<Instant>,
    /// The step asks for what nobody may hear.
    secret: bool,
}

/// A flow that waits for a sub-flow's return.
struct Caller {
    at: Place,
    variables: VariableValues,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    /// The caller is gone; a request under way is awaited before `on_hangup` runs.
    Leaving,
    /// `on_hangup` runs.
    Closing(&'static str),
    Finished,
}

impl Session {
    /// A session that begins in `flow`; `None` when there is no such flow.
    #[must_use]
    pub fn new(flows: Arc<Flows>, operator: Arc<Operator>, flow: &str, facts: CallFacts) -> Option<Self> {
        let index = flows.index(flow)?;
        let begun = flows.flow(index)?;
        let (start, ends) = (begun.start, facts.began.instant + begun.max_duration);
        Some(Self {
            flows,
            operator,
            facts,
            callers: Vec::new(),
            at: Place { flow: index, step: start },
            running: None,
            live: Live::new(),
            phase: Phase::New,
            ends,
            way: Way::default(),
            failures: 0,
            parked: None,
            secret: false,
        })
    }

    /// The call comes here in the midst of its life, perhaps from another flow: how long this one may last counts from now on, and what
    /// the other one asked and tried is not asked and tried anew.
    pub fn begin_at(&mut self, now: Now, before: Option<&Self>) {
        if let Some(before) = before {
            self.live.go_on_from(&before.live);
        }
        if let Some(flow) = self.flows.flow(self.at.flow) {
            self.ends = now.instant + flow.max_duration;
        }
    }

    /// Tells the session what happened; what it asks for is added to `out`. After `Finished` nothing is.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        let flows = Arc::clone(&self.flows);
        let operator = Arc::clone(&self.operator);
        let mut run = Run { session: self, flows: &flows, operator: &operator, now, out };
        match (run.session.phase, event) {
            (Phase::Finished, _) => {}
            (Phase::New, Event::Start) => run.begin(),
            (Phase::New, Event::HungUp) => run.finish("abandoned"),
            (
                Phase::New,
                Event::Digit(_)
                | Event::Played(_)
                | Event::Answered(_, _)
                | Event::Held
                | Event::Resumed
                | Event::Connected
                | Event::Transferred(_),
            ) => {}
            (_, Event::Start) => {}
            (Phase::Running, Event::Digit(digit)) => run.key(digit),
            (Phase::Leaving | Phase::Closing(_), Event::Digit(_)) => {}
            (_, Event::Played(play)) if run.session.live.playing == Some(play) => {
                run.session.live.playing = None;
                run.tell(Input::Played);
            }
            (_, Event::Played(_)) => {}
            (_, Event::Answered(id, answer)) if run.session.live.pending.is_some_and(|(pending, _)| pending == id) => {
                run.session.live.pending = None;
                run.tell(Input::Answered(answer));
            }
            // The answer came after the step had given up waiting.
            (_, Event::Answered(_, _)) => {}
            (Phase::Running, Event::Held) => {
                run.session.live.held.get_or_insert(now.instant);
            }
            (Phase::Running, Event::Resumed) => run.session.live.resume(now.instant),
            (Phase::Running, Event::Connected) => {
                run.session.parked.get_or_insert(now.instant);
            }
            (Phase::Running, Event::Transferred(outcome)) => {
                if run.session.unpark(now.instant) {
                    // What was pressed meanwhile was for somebody else.
                    run.session.live.typed = TypeAhead::default();
                }
                run.tell(Input::Transferred(outcome));
            }
            (
                Phase::Leaving | Phase::Closing(_),
                Event::Held | Event::Resumed | Event::Connected | Event::Transferred(_),
            ) => {}
            (Phase::Running, Event::HungUp) => run.hung_up(),
            (Phase::Leaving | Phase::Closing(_), Event::HungUp) => {}
        }
    }

    /// When the session wants to be woken next, and why; `None` before `Start` and after `Finished`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        if matches!(self.phase, Phase::New | Phase::Finished) {
            return None;
        }
        let pending = self.live.pending.map(|(_, at)| (at, Why::RequestDeadline));
        let deadline = self.live.deadline.filter(|_| self.live.held.is_none());
        let ends = self.parked.is_none().then_some((self.ends, Why::MaxDuration));
        [ends, pending, deadline].into_iter().flatten().min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Action>) {
        // Bounded: whatever fires sets its next deadline later than `now`, or ends; the count is a guard against a bug.
        for _ in 0..TIMEOUTS_AT_ONCE_MAX {
            let Some((_, why)) = self.poll_timeout().filter(|(at, _)| *at <= now.instant) else { return };
            let flows = Arc::clone(&self.flows);
            let operator = Arc::clone(&self.operator);
            let mut run = Run { session: self, flows: &flows, operator: &operator, now, out };
            match why {
                Why::MaxDuration => run.out_of_time(),
                Why::RequestDeadline => {
                    run.session.live.pending = None;
                    run.tell(Input::Late);
                }
                Why::NoInput | Why::InterDigit | Why::WaitPrompt | Why::Wait => {
                    run.session.live.deadline = None;
                    run.tell(Input::Deadline(why));
                }
            }
        }
    }

    /// Flow and step where the call is now.
    #[must_use]
    pub fn place(&self) -> String {
        match self.flows.flow(self.at.flow).and_then(|flow| Some((flow, flow.step(self.at.step)?))) {
            Some((flow, step)) => format!("{}/{}", flow.id, step.name),
            None => String::new(),
        }
    }

    /// True while a key would be used at once, or cut short what plays.
    #[must_use]
    pub fn listens(&self) -> bool {
        let step = self.flows.flow(self.at.flow).and_then(|flow| flow.step(self.at.step));
        match (step, &self.running) {
            (Some(step), Some(running)) if self.phase == Phase::Running => {
                step.what.listens(running, self.live.playing.is_some())
            }
            (_, _) => false,
        }
    }

    /// True while the caller is asked for something: a key is what the step waits for.
    #[must_use]
    pub fn expects_key(&self) -> bool {
        let step = self.flows.flow(self.at.flow).and_then(|flow| flow.step(self.at.step));
        self.listens()
            && match step.map(|step| &step.what) {
                Some(Kind::Play(_)) | None => false,
                Some(Kind::Notice(notice)) => notice.asks(),
                Some(_) => true,
            }
    }

    /// The caller is with nobody any more; whether there was somebody.
    fn unpark(&mut self, now: Instant) -> bool {
        let since = self.parked.take();
        self.ends += since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        since.is_some()
    }

    /// True after `Finished`.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }
}

/// Without the variables and keys: a dump of a session never shows what a caller keyed.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("call", &self.facts.key.to_string())
            .field("place", &self.place())
            .field("phase", &self.phase)
            .field("typed", &self.live.typed)
            .finish_non_exhaustive()
    }
}

/// One input being worked off.
struct Run<'r> {
    session: &'r mut Session,
    flows: &'r Flows,
    operator: &'r Operator,
    now: Now,
    out: &'r mut Vec<Action>,
}

/// What to do next.
enum Todo {
    /// Come to a step.
    Enter(Place),
    /// The running step has said what it does.
    Do(After),
}

impl Run<'_> {
    fn begin(&mut self) {
        self.session.phase = Phase::Running;
        self.work(Todo::Enter(self.session.at));
    }

    fn key(&mut self, digit: Digit) {
        if self.session.live.after_secret && !self.session.listens() {
            return self.trace("a key beyond the secret is forgotten");
        }
        if !self.session.live.typed.push(digit) {
            self.trace("a key is lost: too many wait already");
        }
        self.work(Todo::Do(After::Stay));
    }

    /// Hands an input to the running step.
    fn tell(&mut self, input: Input) {
        if let Some(after) = self.input(input) {
            self.work(Todo::Do(after));
        }
    }

    fn hung_up(&mut self) {
        self.trace("the caller hangs up");
        self.session.live.resume(self.now.instant);
        self.session.unpark(self.now.instant);
        self.session.live.silent = true;
        self.session.live.playing = None;
        self.session.live.typed = TypeAhead::default();
        if self.step().is_some_and(|(_, step)| matches!(step.what, Kind::Hangup(_))) {
            return self.finish("hangup");
        }
        self.session.phase = Phase::Leaving;
        self.work(Todo::Do(After::Stay));
    }

    fn out_of_time(&mut self) {
        match self.session.phase {
            Phase::Closing(cause) => {
                self.trace("no time is left");
                self.finish(cause);
            }
            Phase::New | Phase::Running | Phase::Leaving | Phase::Finished => {
                self.trace("the call has lasted too long");
                let todo = self.close("max_duration");
                self.go(todo);
            }
        }
    }

    fn go(&mut self, todo: Option<Todo>) {
        if let Some(todo) = todo {
            self.work(todo);
        }
    }

    /// Goes from step to step until one waits. Bounded by the loop guard: each entry is a visit.
    fn work(&mut self, todo: Todo) {
        let mut todo = todo;
        loop {
            let next = match todo {
                Todo::Enter(place) => self.enter(place),
                Todo::Do(After::Stay) => self.waiting(),
                Todo::Do(After::NotMine(digit)) => self.global(digit),
                Todo::Do(After::LeaveTo(digit, leave)) => {
                    self.session.live.typed.put_back(digit);
                    self.leave(leave)
                }
                Todo::Do(After::Leave(leave)) => self.leave(leave),
            };
            match next {
                Some(next) => todo = next,
                None => return,
            }
        }
    }

    /// The step waits: a key that was pressed early goes to it, a caller who is gone is waited for no longer.
    fn waiting(&mut self) -> Option<Todo> {
        match self.session.phase {
            Phase::Leaving if self.session.live.pending.is_none() => return self.close("abandoned"),
            Phase::Running => {}
            Phase::New | Phase::Leaving | Phase::Closing(_) | Phase::Finished => return None,
        }
        if !self.session.listens() {
            return None;
        }
        self.session.live.after_secret = false;
        let digit = self.session.live.typed.pop()?;
        self.input(Input::Digit(digit)).map(Todo::Do)
    }

    fn enter(&mut self, place: Place) -> Option<Todo> {
        let flow = self.flows.flow(place.flow)?;
        let step = flow.step(place.step)?;
        self.session.at = place;
        self.session.running = None;
        self.session.live.deadline = None;
        self.session.live.pending = None;
        if self.session.way.visit(place) > flow.max_visits {
            return self.fail("loop", "the call came here too often");
        }
        let secret = step.what.is_secret();
        if secret != std::mem::replace(&mut self.session.secret, secret) {
            self.out.push(Action::Secret(secret));
        }
        self.trace(format!("enters {}", step.what.name()));
        self.session.way.come_to(self.session.callers.len(), place, &step.what);
        self.start(flow, step)
    }

    fn start(&mut self, flow: &Flow, step: &Step) -> Option<Todo> {
        let mut turn = Turn {
            now: self.now,
            flow,
            step,
            operator: self.operator,
            facts: &self.session.facts,
            live: &mut self.session.live,
            out: self.out,
        };
        match step.what.start(&mut turn) {
            Next::Wait(running) => {
                self.session.running = Some(running);
                Some(Todo::Do(After::Stay))
            }
            Next::Leave(leave) => Some(Todo::Do(After::Leave(leave))),
        }
    }

    fn input(&mut self, input: Input) -> Option<After> {
        let (flow, step) = self.step()?;
        let mut running = self.session.running.take()?;
        let mut turn = Turn {
            now: self.now,
            flow,
            step,
            operator: self.operator,
            facts: &self.session.facts,
            live: &mut self.session.live,
            out: self.out,
        };
        let after = step.what.handle(&mut running, input, &mut turn);
        self.session.running = Some(running);
        Some(after)
    }

    fn leave(&mut self, leave: Leave) -> Option<Todo> {
        self.session.running = None;
        // What led up to a menu is not what leads up to the next one, even when nothing is said between them.
        if self.step().is_some_and(|(_, step)| matches!(step.what, Kind::Menu(_))) {
            self.session.way.settle();
        }
        match leave {
            Leave::By(output) => self.leave_by(&output),
            Leave::Call { flow, inputs } => self.call(flow, inputs),
            Leave::Return(name) => self.come_back(&name),
            Leave::Jump(flow) => {
                let start = self.flows.flow(flow)?.start;
                self.session.live.variables = VariableValues::default();
                self.session.way.jump_at(self.session.callers.len());
                Some(Todo::Enter(Place { flow, step: start }))
            }
            Leave::Finish(cause) => {
                // A hangup step that ends `on_hangup` does not say why the call ended.
                self.finish(if let Phase::Closing(why) = self.session.phase { why } else { cause });
                None
            }
            Leave::Fail(reason) => self.fail("error", &reason),
        }
    }

    fn leave_by(&mut self, output: &str) -> Option<Todo> {
        self.trace(format!("→ {output}"));
        if self.step().is_some_and(|(_, step)| step.what.sheet().pace == Pace::Hears) {
            self.session.way.settle();
        }
        if self.session.phase == Phase::Leaving {
            return self.close("abandoned");
        }
        match self.step().and_then(|(_, step)| step.target(output)) {
            Some(step) => Some(Todo::Enter(Place { step, ..self.session.at })),
            None => self.fail("error", &format!("the output «{output}» leads nowhere")),
        }
    }

    fn call(&mut self, flow: u16, inputs: Vec<(u16, crate::value::Value)>) -> Option<Todo> {
        if self.session.callers.len() >= CALLERS_MAX {
            return self.fail("error", "too many sub-flows inside each other");
        }
        let mut variables = VariableValues::default();
        for (slot, value) in inputs {
            variables.set(slot, Some(value));
        }
        let variables = std::mem::replace(&mut self.session.live.variables, variables);
        self.session.callers.push(Caller { at: self.session.at, variables });
        Some(Todo::Enter(Place { flow, step: self.flows.flow(flow)?.start }))
    }

    /// Back to the flow that called this one, by the output of this name.
    fn come_back(&mut self, name: &str) -> Option<Todo> {
        self.trace(format!("returns {name}"));
        let outs = self.flows.flow(self.session.at.flow).map(|flow| flow.outs.as_slice()).unwrap_or_default();
        let Some(caller) = self.session.callers.pop() else {
            // Nobody called: the loader lets no number lead to a flow that returns.
            self.finish("hangup");
            return None;
        };
        let inner = std::mem::replace(&mut self.session.live.variables, caller.variables);
        self.session.at = caller.at;
        self.session.way.leave_to(self.session.callers.len());
        if let Some((_, step)) = self.step()
            && let Kind::Call(call) = &step.what
        {
            for (name, slot) in call.into() {
                let value = outs.iter().find(|(out, _)| out == name).and_then(|(_, slot)| inner.get(*slot));
                self.session.live.variables.set(*slot, value.cloned());
            }
        }
        self.leave_by(name)
    }

    /// A key the step does not use.
    fn global(&mut self, digit: Digit) -> Option<Todo> {
        let global = self.step().and_then(|(flow, _)| flow.global_key(digit));
        self.trace(format!("key {digit}"));
        match global? {
            GlobalKey::Back => Some(self.back()),
            GlobalKey::Repeat => {
                let said = self.session.way.said_at(self.session.callers.len());
                self.again(said.unwrap_or(self.session.at))
            }
            GlobalKey::Step(step) => Some(Todo::Enter(Place { step, ..self.session.at })),
        }
    }

    /// Says a step again. That is no visit: a caller may ask for it as often as they like, the call's duration bounds it.
    fn again(&mut self, place: Place) -> Option<Todo> {
        let (flow, step) = (self.flows.flow(place.flow)?, self.flows.flow(place.flow)?.step(place.step)?);
        self.session.at = place;
        self.session.running = None;
        self.session.live.deadline = None;
        self.session.live.pending = None;
        self.trace(format!("repeats {}", step.what.name()));
        self.start(flow, step)
    }

    /// To the menu before this one; from anywhere else, to the last menu.
    fn back(&mut self) -> Todo {
        let (depth, place) = self.session.way.back(self.session.callers.len(), self.session.at);
        while self.session.callers.len() > depth {
            if let Some(caller) = self.session.callers.pop() {
                self.session.live.variables = caller.variables;
            }
        }
        Todo::Enter(place)
    }

    /// The step cannot go on: `on_error` of this flow or of one that called it, unless that has happened too often.
    fn fail(&mut self, cause: &'static str, reason: &str) -> Option<Todo> {
        self.trace(format!("fails: {reason}"));
        self.session.running = None;
        self.session.failures = self.session.failures.saturating_add(1);
        match self.session.phase {
            Phase::Closing(cause) => {
                self.finish(cause);
                return None;
            }
            Phase::Leaving => return self.close("abandoned"),
            Phase::New | Phase::Running | Phase::Finished => {}
        }
        if self.session.failures > FAILURES_MAX {
            return self.close(cause);
        }
        match self.handler(|flow| flow.on_error) {
            // The handler may have been visited too often itself: that is the next failure, and they are counted.
            Some(place) => Some(Todo::Enter(place)),
            None => self.close(cause),
        }
    }

    /// Runs `on_hangup` in silence, if there is one, and ends the call.
    fn close(&mut self, cause: &'static str) -> Option<Todo> {
        if let Phase::Closing(_) = self.session.phase {
            self.finish(cause);
            return None;
        }
        if self.session.live.playing.take().is_some() {
            self.out.push(Action::StopPlaying);
        }
        self.session.live.resume(self.now.instant);
        self.session.live.silent = true;
        self.session.live.typed = TypeAhead::default();
        self.session.live.pending = None;
        self.session.phase = Phase::Closing(cause);
        self.session.ends = self.now.instant + CLOSING_MAX;
        // What closes must not be stopped by how often the caller went round before.
        self.session.way.forget_visits();
        match self.handler(|flow| flow.on_hangup) {
            Some(place) => Some(Todo::Enter(place)),
            None => {
                self.finish(cause);
                None
            }
        }
    }

    /// The step that the innermost flow names for something; the flows inside it are left.
    fn handler(&mut self, named: impl Fn(&Flow) -> Option<StepIndex>) -> Option<Place> {
        let own = |place: Place, flows: &Flows| {
            let step = named(flows.flow(place.flow)?)?;
            Some(Place { step, ..place })
        };
        if let Some(place) = own(self.session.at, self.flows) {
            return Some(place);
        }
        let depth = self.session.callers.iter().rposition(|caller| own(caller.at, self.flows).is_some())?;
        while self.session.callers.len() > depth {
            let caller = self.session.callers.pop()?;
            self.session.live.variables = caller.variables;
            self.session.at = caller.at;
        }
        self.session.way.leave_to(depth);
        self.session.way.settle();
        own(self.session.at, self.flows)
    }

    fn finish(&mut self, cause: &'static str) {
        self.session.phase = Phase::Finished;
        self.session.running = None;
        self.session.live.deadline = None;
        self.session.live.pending = None;
        self.out.push(Action::Finished { cause });
    }

    fn trace(&mut self, what: impl Into<String>) {
        self.out.push(Action::Trace(Trace { place: self.session.place(), what: what.into() }));
    }
}

impl<'r> Run<'r> {
    fn step(&self) -> Option<(&'r Flow, &'r Step)> {
        let flow = self.flows.flow(self.session.at.flow)?;
        Some((flow, flow.step(self.session.at.step)?))
    }
}

/// Sub-flows inside each other at most.
const CALLERS_MAX: usize = 8;
/// How often `on_error` may take over in one call.
const FAILURES_MAX: u8 = 5;
/// How long `on_hangup` may take, its requests included.
const CLOSING_MAX: Duration = Duration::from_secs(60);
const TIMEOUTS_AT_ONCE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::action::Answer;
    use super::super::bench::Bench;
    use super::*;

    const TWO_MENUS: &str = r##"
[steps.a.answer]
on.next = "hola"
[steps.hola.play]
prompt = ["hola"]
on.next = "m"
[steps.m.menu]
prompt = ["menu"]
keys = { 1 = "n", 9 = "fin" }
on.max_attempts = "fin"
[steps.n.menu]
prompt = ["otra"]
keys = { 1 = "numero", 2 = "dicho" }
on.max_attempts = "fin"
[steps.dicho.play]
prompt = ["aviso"]
on.next = "n"
[steps.numero.collect]
into = "linea"
prompt = ["numero"]
validate = "phone_mx"
on = { ok = "fin", max_attempts = "fin" }
[steps.fin.hangup]
prompt = ["adios"]
"##;

    fn two_menus() -> Bench {
        Bench::with_head("global_keys = { \"*\" = \"back\", \"#\" = \"repeat\", 0 = \"fin\" }", TWO_MENUS)
    }

    #[test]
    fn keys_pressed_early_pass_over_announcements_and_choose_in_the_menus_that_follow() {
        let mut bench = two_menus();
        assert_eq!(bench.start(), ["answers", "says hola"]);
        assert_eq!(bench.press("11"), ["stops", "says menu", "stops", "says otra", "stops", "says numero"]);
        assert_eq!(bench.press("2221234567"), ["stops", "says adios"]);
        assert_eq!(bench.played(), ["ends hangup"]);
    }

    #[test]
    fn keys_pressed_while_a_service_is_asked_wait_for_the_next_menu() {
        let mut bench = Bench::of(
            r#"
[steps.a.ask]
service = "cuenta.saldo"
args = { linea = "${call.caller}" }
on = { found = "m", not_found = "m", error = "m" }
[steps.m.menu]
prompt = ["menu"]
keys = { 7 = "fin" }
on.max_attempts = "otra"
[steps.otra.hangup]
cause = "closed"
[steps.fin.hangup]
"#,
        );
        assert_eq!(bench.start(), ["asks cuenta.saldo linea=2221234567"]);
        assert_eq!(bench.press("7"), Vec::<String>::new());
        assert_eq!(bench.answer("found", &[]), ["says menu", "stops", "ends hangup"]);
    }

    #[test]
    fn back_goes_up_the_menus_and_repeat_says_again_what_led_there() {
        let mut bench = two_menus();
        bench.start();
        bench.press("1");
        assert_eq!(bench.press("2"), ["stops", "says aviso"]);
        assert_eq!(bench.played(), ["says otra"]);
        // What was said last is the announcement and the menu after it.
        assert_eq!(bench.press("#"), ["says aviso"]);
        assert_eq!(bench.played(), ["says otra"]);
        bench.press("1");
        assert_eq!(bench.press("*"), ["says otra"]);
        assert_eq!(bench.press("*"), ["says menu"]);
        // At the first menu there is nothing before.
        assert_eq!(bench.press("*"), ["says menu"]);
        assert_eq!(bench.place(), "t/m");
        assert_eq!(bench.press("0"), ["says adios"]);
    }

    #[test]
    fn a_caller_who_hangs_up_is_followed_silently() {
        let flow = format!(
            "{TWO_MENUS}\n[steps.h.case]\nop = \"open\"\nkind = \"queja\"\non = {{ ok = \"h2\", error = \"h3\" }}\n\
             [steps.h2.tag]\nresult = \"abandono ${{case.folio}}\"\non.next = \"h3\"\n[steps.h3.hangup]\nprompt = [\"adios\"]\n"
        );
        let mut bench = Bench::with_head("on_hangup = \"h\"", &flow);
        bench.start();
        assert_eq!(bench.hang_up(), ["opens queja/ once k1:t:h:queja:"]);
        assert_eq!(bench.press("1"), Vec::<String>::new());
        let folio = crate::value::Value::Text("2000000006".into());
        assert_eq!(bench.answer("ok", &[("folio", folio)]), ["result abandono 2000000006", "ends abandoned"]);
        assert_eq!(bench.timer(), None);
        assert_eq!(bench.press("1"), Vec::<String>::new());
    }

    /// A case that is being opened when the caller hangs up is known to `on_hangup`, so that nobody opens it twice.
    #[test]
    fn a_request_under_way_is_awaited_before_on_hangup_runs() {
        let flow = r#"
[steps.a.case]
op = "open"
kind = "queja"
on = { ok = "fin", error = "fin" }
[steps.fin.hangup]
[steps.h.branch]
when = [{ if = "set(case.folio)", to = "con" }]
else = "sin"
[steps.con.tag]
result = "con folio"
on.next = "fin"
[steps.sin.tag]
result = "sin folio"
on.next = "fin"
"#;
        let mut bench = Bench::with_head("on_hangup = \"h\"", flow);
        bench.start();
        assert_eq!(bench.hang_up(), Vec::<String>::new());
        let folio = crate::value::Value::Text("2000000006".into());
        assert_eq!(bench.answer("ok", &[("folio", folio)]), ["result con folio", "ends abandoned"]);
        let mut late = Bench::with_head("on_hangup = \"h\"", flow);
        late.start();
        late.hang_up();
        assert_eq!(late.wait_ms(5_000), ["result sin folio", "ends abandoned"]);
    }

    #[test]
    fn a_goodbye_that_is_cut_by_the_caller_is_no_abandoned_call() {
        let mut bench = Bench::with_head(
            "on_hangup = \"h\"",
            &format!("{TWO_MENUS}\n[steps.h.tag]\nresult = \"abandono\"\non.next = \"fin\"\n"),
        );
        bench.start();
        bench.press("9");
        assert_eq!(bench.hang_up(), ["ends hangup"]);
    }

    #[test]
    fn an_answer_after_the_deadline_is_ignored() {
        let mut bench = Bench::of(
            r#"
[steps.a.ask]
service = "cuenta.saldo"
args = { linea = "${call.caller}" }
timeout = "3s"
into = "cuenta"
on = { found = "fin", not_found = "fin", timeout = "m", error = "fin" }
[steps.m.menu]
prompt = ["menu", { say = "money_mxn", value = "${cuenta.saldo}" }]
keys = { 1 = "fin" }
on.max_attempts = "fin"
[steps.fin.hangup]
"#,
        );
        bench.start();
        assert_eq!(bench.timer(), Some((3_000, Why::RequestDeadline)));
        assert_eq!(bench.wait_ms(3_000), ["says menu"]);
        let saldo = crate::value::Value::Money(100);
        assert_eq!(bench.answer("found", &[("saldo", saldo)]), Vec::<String>::new());
        assert_eq!(bench.place(), "t/m");
    }

    #[test]
    fn a_sub_flow_has_its_own_variables_and_gives_back_what_out_names() {
        let mut bench = Bench::with_files(&[
            (
                "t.toml",
                "schema = 1\n[flow]\nid = \"t\"\nstart = \"a\"\n[steps.a.call]\nflow = \"sub\"\nargs = { linea = \"${call.caller}\" }\n\
                 into = \"r\"\non = { hecho = \"b\", nada = \"fin\" }\n[steps.b.tag]\nresult = \"${r.doble}\"\non.next = \"fin\"\n\
                 [steps.fin.hangup]\n",
            ),
            (
                "sub.toml",
                "schema = 1\n[flow]\nid = \"sub\"\nstart = \"m\"\nin = { linea = \"text\" }\nout = { doble = \"text\" }\n\
                 returns = [\"hecho\", \"nada\"]\n[steps.m.menu]\nprompt = [\"otra\"]\nkeys = { 1 = \"s\" }\non.max_attempts = \"n\"\n\
                 [steps.s.set]\nvalues = { doble = \"${linea}/${linea}\" }\non.next = \"h\"\n[steps.h.return]\nname = \"hecho\"\n\
                 [steps.n.return]\nname = \"nada\"\n",
            ),
        ]);
        assert_eq!(bench.start(), ["says otra"]);
        assert_eq!(bench.press("1"), ["stops", "result 2221234567/2221234567", "ends hangup"]);
    }

    #[test]
    fn a_loop_that_the_loader_cannot_see_ends_in_on_error() {
        let flow = r#"
[steps.a.ask]
service = "cuenta.saldo"
args = { linea = "${call.caller}" }
on = { found = "fin", not_found = "fin", error = "a" }
[steps.perdon.hangup]
prompt = ["mal"]
[steps.fin.hangup]
"#;
        let mut bench = Bench::with_head("max_visits = 3\non_error = \"perdon\"", flow);
        bench.start();
        bench.answered(Answer::Error("down".into()));
        bench.answered(Answer::Error("down".into()));
        assert_eq!(bench.answered(Answer::Error("down".into())), ["says mal"]);
        assert_eq!(bench.played(), ["ends hangup"]);
    }

    #[test]
    fn an_error_in_the_error_handler_ends_the_call() {
        let flow = r#"
[steps.a.ask]
service = "cuenta.saldo"
args = { linea = "${call.caller}" }
on = { found = "fin", not_found = "fin", error = "a" }
[steps.fin.hangup]
"#;
        let mut bench = Bench::with_head("max_visits = 1\non_error = \"a\"", flow);
        bench.start();
        assert_eq!(bench.answered(Answer::Error("down".into())), ["ends loop"]);
    }

    #[test]
    fn a_call_ends_when_its_time_is_over_and_on_hangup_still_runs() {
        let flow = format!("{TWO_MENUS}\n[steps.h.tag]\nresult = \"abandono\"\non.next = \"fin\"\n");
        let mut bench = Bench::with_head("max_duration = \"20s\"\non_hangup = \"h\"", &flow);
        bench.start();
        assert_eq!(bench.wait_ms(19_999), Vec::<String>::new());
        assert_eq!(bench.wait_ms(1), ["stops", "result abandono", "ends max_duration"]);
    }

    #[test]
    fn a_step_s_timer_stands_still_while_nobody_listens() {
        let mut bench = two_menus();
        bench.start();
        bench.press("1");
        bench.played();
        bench.wait_ms(4_000);
        assert_eq!(bench.timer(), Some((1_000, Why::NoInput)));
        bench.hold();
        assert_eq!(bench.wait_ms(60_000), Vec::<String>::new());
        bench.hold();
        assert_eq!(bench.wait_ms(60_000), Vec::<String>::new());
        bench.resume();
        assert_eq!(bench.timer(), Some((1_000, Why::NoInput)));
        // A key during a hold is somebody who listens after all; the question it led to is patient from the end of the hold.
        bench.hold();
        bench.wait_ms(10_000);
        assert_eq!(bench.press("1"), ["says numero"]);
        bench.wait_ms(2_000);
        bench.played();
        assert_eq!(bench.wait_ms(60_000), Vec::<String>::new());
        bench.resume();
        assert_eq!(bench.timer(), Some((8_000, Why::NoInput)));
        // What was asked of the outside has its deadline, and the call its length, whether somebody listens or not.
        let mut asks = Bench::with_head(
            "max_duration = \"20s\"",
            "[steps.a.ask]\nservice = \"cuenta.saldo\"\nargs = { linea = \"${call.caller}\" }\ntimeout = \"3s\"\n\
             on = { found = \"m\", not_found = \"m\", error = \"m\" }\n[steps.m.menu]\nprompt = [\"menu\"]\nkeys = { 1 = \"fin\" }\n\
             on.max_attempts = \"fin\"\n[steps.fin.hangup]\n",
        );
        asks.start();
        asks.hold();
        assert_eq!(asks.wait_ms(3_000), ["says menu"]);
        assert_eq!(asks.timer(), Some((17_000, Why::MaxDuration)));
    }

    #[test]
    fn the_type_ahead_buffer_is_bounded() {
        let mut bench = Bench::of("[steps.a.wait]\nduration = \"30s\"\non.next = \"fin\"\n[steps.fin.hangup]\n");
        bench.start();
        bench.press(&"1".repeat(10_000));
        let lost = bench.path.iter().filter(|line| line.starts_with("a key is lost")).count();
        assert_eq!(lost, 10_000 - super::super::turn::TYPE_AHEAD_MAX);
    }

    /// A call costs little memory: the session itself.
    #[test]
    fn a_session_is_small() {
        assert!(std::mem::size_of::<Session>() <= 768, "{}", std::mem::size_of::<Session>());
    }
}
