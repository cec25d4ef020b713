//! The step kinds: one file each, one line each in the list at the end.
//!
//! A kind says in its [`Sheet`] what may be written, reads its options from a [`Reader`], and behaves: `start` when a call
//! comes to the step, `handle` for what happens while it waits. Names, dispatch, checks and suggestions derive from the list.

use std::borrow::Cow;

use crate::dtmf::Digit;
use crate::value::Value;

mod validate;

use super::action::{Answer, Outcome};
use super::reader::Reader;
use super::source::{Body, Declared};
use super::turn::{Turn, Why};

/// What ops may write for a step kind.
#[derive(Debug)]
pub struct Sheet {
    /// One sentence.
    pub about: &'static str,
    /// Its options apart from `on`.
    pub options: &'static [Opt],
    /// Its outputs; a step adds one per key or result where `name` is in angle brackets.
    pub outputs: &'static [Out],
    /// How a step of this kind passes its time.
    pub pace: Pace,
    /// True when it may run after the caller has gone.
    pub silent: bool,
}

/// How a step passes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is over at once.
    Instant,
    /// It speaks, asks or waits, and does not hear the caller.
    Deaf,
    /// It hears the caller's keys.
    Hears,
    /// It ends the flow.
    Ends,
}

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// Its key.
    pub name: &'static str,
    /// What is written.
    pub shape: Shape,
    /// One sentence.
    pub about: &'static str,
}

/// One output.
#[derive(Debug)]
pub struct Out {
    /// Its name, or `<key>` where the step makes them.
    pub name: &'static str,
    /// When the call leaves by it, and where it leads when it is not wired.
    pub about: &'static str,
}

/// What is written for an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A list of prompt items.
    Prompts,
    /// `"5s"`.
    Duration,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A fixed text.
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A text with `${…}`.
    Template,
    /// A table of such texts.
    Templates,
    /// `"0"` to `"9"`, `"*"`, `"#"`.
    Key,
    /// Keys, each with a step or a text.
    Keys,
    /// Keys, each with a condition.
    Conditions,
    /// A variable to be set.
    Variable,
    /// A table of its own.
    Table,
    /// A list of tables of its own.
    Tables,
    /// A list of texts.
    Texts,
}

const fn opt(name: &'static str, shape: Shape, about: &'static str) -> Opt {
    Opt { name, shape, about }
}

const fn out(name: &'static str, about: &'static str) -> Out {
    Out { name, about }
}

/// What a waiting step is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A key, now or typed ahead.
    Digit(Digit),
    /// What the step played is over.
    Played,
    /// The step's request was answered in time.
    Answered(Answer),
    /// The step's request was not answered in time; an answer that comes later is ignored.
    Late,
    /// The step's own timer ran out.
    Deadline(Why),
    /// The caller was with somebody, or could not be.
    Transferred(Outcome),
}

/// What a step does when a call comes to it.
pub(crate) enum Next<R> {
    /// It waits.
    Wait(R),
    /// It is over.
    Leave(Leave),
}

/// What a waiting step does about an input.
pub(crate) enum After {
    /// It goes on waiting.
    Stay,
    /// It is over.
    Leave(Leave),
    /// The key is not the step's: a global key, or nothing.
    NotMine(Digit),
    /// It is over, and the key is for whatever comes next.
    LeaveTo(Digit, Leave),
}

/// How a step is left.
pub(crate) enum Leave {
    /// By one of its outputs.
    By(Cow<'static, str>),
    /// Into a sub-flow, with its inputs by slot.
    Call { flow: u16, inputs: Vec<(u16, Value)> },
    /// Out of a sub-flow, by this output of the step that called it.
    Return(String),
    /// To the beginning of another flow, for good.
    Jump(u16),
    /// The flow is over.
    Finish(&'static str),
    /// The step cannot go on; `on_error` takes over.
    Fail(String),
}

impl Leave {
    pub(crate) fn by(output: &'static str) -> Self {
        Self::By(Cow::Borrowed(output))
    }

    pub(crate) fn named(output: &str) -> Self {
        Self::By(Cow::Owned(output.to_owned()))
    }
}

impl Kind {
    /// True when what the caller keys here may be heard by nobody: recordings are silent meanwhile.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Collect(collect) if collect.is_sensitive())
            || matches!(self, Self::Verify(verify) if verify.asks())
    }
}

/// A step kind.
pub(crate) trait StepKind: Sized {
    /// What it remembers while it waits; `Infallible` when it never does.
    type Running;
    /// What may be written.
    const SHEET: &'static Sheet;

    /// Names the variables its options make.
    fn declare(_body: &Body<'_>, _declared: &mut Declared<'_>) {}

    /// Reads its options and wires its outputs; `None` when a fault makes the step unusable.
    fn read(reader: &mut Reader<'_, '_>) -> Option<Self>;

    /// A call comes to the step.
    fn start(&self, turn: &mut Turn<'_>) -> Next<Self::Running>;

    /// Something happens while it waits.
    fn handle(&self, running: &mut Self::Running, input: Input, turn: &mut Turn<'_>) -> After;

    /// True when it takes keys as it stands; otherwise they wait. `playing`: what it says is not over.
    fn listens(&self, _running: &Self::Running, _playing: bool) -> bool {
        Self::SHEET.pace == Pace::Hears
    }
}

macro_rules! steps {
    ($($name:literal => $module:ident::$Type:ident),* $(,)?) => {
        $(pub(crate) mod $module;)*

        /// Names of all step kinds.
        pub const NAMES: &[&str] = &[$($name),*];

        /// A checked step of some kind.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant's file says it")]
        #[expect(private_interfaces, reason = "kinds are made by the loader and run by the session only")]
        pub enum Kind { $($Type($module::$Type)),* }

        /// What a waiting step of some kind remembers.
        pub(crate) enum Running { $($Type(<$module::$Type as StepKind>::Running)),* }

        /// The sheet of the kind of this name.
        #[must_use]
        pub fn sheet(kind: &str) -> Option<&'static Sheet> {
            match kind { $($name => Some($module::$Type::SHEET),)* _ => None }
        }

        /// Names the variables that a step of this kind makes.
        pub(crate) fn declare(kind: &str, body: &Body<'_>, declared: &mut Declared<'_>) {
            match kind { $($name => $module::$Type::declare(body, declared),)* _ => {} }
        }

        /// Reads a step of this kind.
        pub(crate) fn read(kind: &str, reader: &mut Reader<'_, '_>) -> Option<Kind> {
            match kind { $($name => $module::$Type::read(reader).map(Kind::$Type),)* _ => None }
        }

        impl Kind {
            /// Its name as written (`menu`).
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$Type(_) => $name),* }
            }

            /// Its sheet.
            #[must_use]
            pub fn sheet(&self) -> &'static Sheet {
                match self { $(Self::$Type(_) => $module::$Type::SHEET),* }
            }

            pub(crate) fn start(&self, turn: &mut Turn<'_>) -> Next<Running> {
                match self {
                    $(Self::$Type(step) => match step.start(turn) {
                        Next::Wait(running) => Next::Wait(Running::$Type(running)),
                        Next::Leave(leave) => Next::Leave(leave),
                    }),*
                }
            }

            pub(crate) fn handle(&self, running: &mut Running, input: Input, turn: &mut Turn<'_>) -> After {
                match (self, running) {
                    $((Self::$Type(step), Running::$Type(running)) => step.handle(running, input, turn),)*
                    // The session keeps a step and what it remembers together; a mismatch would be its bug.
                    (_, _) => After::Leave(Leave::Fail("a step of another kind was running".to_owned())),
                }
            }

            pub(crate) fn listens(&self, running: &Running, playing: bool) -> bool {
                match (self, running) {
                    $((Self::$Type(step), Running::$Type(running)) => step.listens(running, playing),)*
                    (_, _) => false,
                }
            }
        }
    };
}

steps! {
    "answer" => answer::AnswerCall,
    "play" => play::Play,
    "notice" => notice::Notice,
    "menu" => menu::Menu,
    "collect" => collect::Collect,
    "extension" => extension::Extension,
    "set" => set::Set,
    "branch" => branch::Branch,
    "hours" => hours::Hours,
    "ask" => ask::Ask,
    "verify" => verify::Verify,
    "case" => case::CaseStep,
    "notify" => notify::Notify,
    "call" => call::Call,
    "return" => r#return::Return,
    "transfer" => transfer::Transfer,
    "goto" => goto::Goto,
    "tag" => tag::Tag,
    "wait" => wait::Wait,
    "hangup" => hangup::Hangup,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_described_once() {
        for (place, name) in NAMES.iter().enumerate() {
            assert!(!NAMES[..place].contains(name), "{name} stands twice");
            let sheet = sheet(name).unwrap();
            assert!(sheet.about.ends_with('.'), "{name}: {}", sheet.about);
            for (place, option) in sheet.options.iter().enumerate() {
                assert!(
                    !sheet.options[..place].iter().any(|earlier| earlier.name == option.name),
                    "{name}.{}",
                    option.name
                );
                assert!(option.about.ends_with('.'), "{name}.{}: {}", option.name, option.about);
            }
            for output in sheet.outputs {
                assert!(output.about.ends_with('.'), "{name} → {}: {}", output.name, output.about);
            }
        }
    }
}
