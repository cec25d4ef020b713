//! For the tests of this folder: a small operator, a flow written in the test, and a session that is driven by hand. What it
//! asks for comes back as short lines: `says menu`, `stops`, `asks device.block imei=…`, `ends hangup`.

#![expect(clippy::disallowed_methods, reason = "a test's clock begins somewhere; it only moves when told to")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::action::{Action, Answer, CallFacts, Event, Request, RequestId, Utterance};
use super::{Flows, Session, Why, load};
use crate::dtmf::Digit;
use crate::fault::SourceFile;
use crate::ids::{CallKey, PlayId};
use crate::now::Now;
use crate::operator::{self, Operator};
use crate::value::{Value, Values};

pub(crate) struct Bench {
    session: Session,
    operator: Arc<Operator>,
    now: Now,
    playing: Option<PlayId>,
    asked: Option<RequestId>,
    /// Lines of the call's path.
    pub(crate) path: Vec<String>,
    /// When the flow began and ended to ask for a secret.
    pub(crate) secrets: Vec<bool>,
    /// Every action as its `Debug` shows it.
    pub(crate) debug: String,
}

impl Bench {
    /// A session of the flow whose `[flow]` continues with `head` and whose steps are `steps`; it begins at `a`.
    #[track_caller]
    pub(crate) fn with_head(head: &str, steps: &str) -> Self {
        Self::with_files(&[("t.toml", &format!("schema = 1\n[flow]\nid = \"t\"\nstart = \"a\"\n{head}\n{steps}"))])
    }

    #[track_caller]
    pub(crate) fn of(steps: &str) -> Self {
        Self::with_head("", steps)
    }

    #[track_caller]
    pub(crate) fn with_files(flows: &[(&str, &str)]) -> Self {
        let operator = Arc::new(desk());
        let files: Vec<SourceFile> =
            flows.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect();
        let loaded: Flows = load(&operator, &files).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let began = Now { instant: Instant::now(), wall: "2026-03-10T17:00:00Z".parse::<Timestamp>().unwrap() };
        let facts = CallFacts {
            key: CallKey("k1".into()),
            caller: Some("2221234567".into()),
            called: "*1".into(),
            extension: None,
            began,
        };
        let session = Session::new(Arc::new(loaded), Arc::clone(&operator), "t", facts).unwrap();
        Self {
            session,
            operator,
            now: began,
            playing: None,
            asked: None,
            path: Vec::new(),
            secrets: Vec::new(),
            debug: String::new(),
        }
    }

    pub(crate) fn start(&mut self) -> Vec<String> {
        self.tell(Event::Start)
    }

    /// Presses keys one after the other, at the same moment.
    pub(crate) fn press(&mut self, keys: &str) -> Vec<String> {
        keys.chars().flat_map(|key| self.tell(Event::Digit(Digit::from_char(key).unwrap()))).collect()
    }

    /// What plays comes to its end.
    #[track_caller]
    pub(crate) fn played(&mut self) -> Vec<String> {
        let play = self.playing.take().expect("nothing plays");
        self.tell(Event::Played(play))
    }

    /// The last request is answered.
    #[track_caller]
    pub(crate) fn answer(&mut self, result: &str, values: &[(&str, Value)]) -> Vec<String> {
        let values: Values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.answered(Answer::Result { result: result.into(), values })
    }

    #[track_caller]
    pub(crate) fn answered(&mut self, answer: Answer) -> Vec<String> {
        let id = self.asked.expect("nothing was asked");
        self.tell(Event::Answered(id, answer))
    }

    pub(crate) fn hold(&mut self) -> Vec<String> {
        self.tell(Event::Held)
    }

    pub(crate) fn resume(&mut self) -> Vec<String> {
        self.tell(Event::Resumed)
    }

    pub(crate) fn hang_up(&mut self) -> Vec<String> {
        self.tell(Event::HungUp)
    }

    /// Lets time pass; every timer that runs out meanwhile does so at its moment.
    pub(crate) fn wait_ms(&mut self, ms: u64) -> Vec<String> {
        let (until, mut lines) = (self.now.instant + Duration::from_millis(ms), Vec::new());
        while let Some((at, _)) = self.session.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            let mut actions = Vec::new();
            self.session.handle_timeout(self.now, &mut actions);
            lines.extend(self.lines(actions));
        }
        self.now = self.now.after(until.saturating_duration_since(self.now.instant));
        lines
    }

    /// The next timer: in how many milliseconds, and why.
    pub(crate) fn timer(&self) -> Option<(u128, Why)> {
        let (at, why) = self.session.poll_timeout()?;
        Some((at.saturating_duration_since(self.now.instant).as_millis(), why))
    }

    pub(crate) fn place(&self) -> String {
        self.session.place()
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn tell(&mut self, event: Event) -> Vec<String> {
        let mut actions = Vec::new();
        self.session.handle(self.now, event, &mut actions);
        self.lines(actions)
    }

    fn lines(&mut self, actions: Vec<Action>) -> Vec<String> {
        let mut lines = Vec::new();
        for action in actions {
            self.debug.push_str(&format!("{action:?}\n"));
            match action {
                Action::Answer => lines.push("answers".into()),
                Action::Play { play, utterances } => {
                    self.playing = Some(play);
                    let said: Vec<&str> = utterances.iter().map(|utterance| self.heard(utterance)).collect();
                    lines.push(format!("says {}", said.join(" ")));
                }
                Action::StopPlaying => {
                    self.playing = None;
                    lines.push("stops".into());
                }
                Action::Request { id, request, .. } => {
                    self.asked = Some(id);
                    lines.push(asked(&request));
                }
                Action::Transfer { to, ring } => lines.push(format!("transfers to {to}, {} s", ring.as_secs())),
                Action::Record(recorded) => lines.push(if recorded { "records" } else { "records no more" }.into()),
                Action::Secret(secret) => self.secrets.push(secret),
                Action::Trace(trace) => self.path.push(trace.what),
                Action::Result(result) => lines.push(format!("result {result}")),
                Action::Finished { cause } => lines.push(format!("ends {cause}")),
            }
        }
        lines
    }

    fn heard(&self, utterance: &Utterance) -> &str {
        match utterance {
            Utterance::Prompt(id) => self.operator.prompts.key(*id),
            Utterance::Silence(_) => "…",
        }
    }
}

fn asked(request: &Request) -> String {
    let pairs = |values: &Values| -> String { values.iter().map(|(name, value)| format!(" {name}={value}")).collect() };
    match request {
        Request::Service { service, args, idempotency, .. } => {
            let key = idempotency.as_ref().map(|key| format!(" once {key}")).unwrap_or_default();
            format!("asks {service}{}{key}", pairs(args))
        }
        Request::Verify(verification) => format!("asks {}{}", verification.service, pairs(&verification.args)),
        Request::OpenCase(open) => {
            let due = open.due.map(|due| format!(" due {due}")).unwrap_or_default();
            format!("opens {}/{}{}{due} once {}", open.kind, open.subkind, pairs(&open.fields), open.idempotency)
        }
        Request::UpdateCase(update) => format!("updates {}{}", update.folio, pairs(&update.fields)),
        Request::FindCase { folio, .. } => format!("finds {folio}"),
        Request::Notify(message) => {
            format!("sends {} {}: {} once {}", message.channel, message.to, message.text, message.idempotency)
        }
    }
}

/// An operator with prompts a to z and a few words, one calendar, two services, two kinds of case, one template.
pub(crate) fn desk() -> Operator {
    let keys = ["menu", "otra", "mal", "silencio", "espere", "adios", "numero", "confirme", "aviso", "hola"];
    let prompts: String = keys.iter().map(|key| format!("{key} = \"Texto de {key}.\"\n")).collect();
    let file = |path: &str, text: String| SourceFile { path: path.into(), text };
    let files = [
        file(
            "operator.toml",
            "schema = 1\n[operator]\nid = \"desk\"\nname = \"Desk\"\ntime_zone = \"America/Mexico_City\"\nfolio_prefix = 2\n\
             class = \"gratuito\"\n[[numbers]]\nnumber = \"*1\"\nflow = \"t\"\n[kinds.bloqueo]\nsubkinds = [\"robo\", \"extravio\"]\n\
             deadline = \"24h\"\nclock = \"natural\"\n[kinds.queja]\n[templates]\nfolio = \"Su folio es ${folio}.\"\n"
                .into(),
        ),
        file(
            "hours.toml",
            "schema = 1\n[calendars.asesores]\nweekly = { tue = [\"09:00-17:00\"] }\nclosed = [{ date = \"2026-03-17\", name = \"puente\" }]\n"
                .into(),
        ),
        file(
            "services.toml",
            "schema = 1\n[tables.cuentas]\nkey = [\"linea\"]\ncolumns = { linea = \"text\", ultimos4 = \"text\", saldo = \"money\" }\n\
             [services.\"cuenta.saldo\"]\nargs = { linea = \"text\" }\ntable = \"cuentas\"\nmatch = { linea = \"linea\" }\nfound = \"found\"\n\
             missing = \"not_found\"\n[services.\"cuenta.verify\"]\nargs = { linea = \"text\", ultimos4 = \"text\" }\ntable = \"cuentas\"\n\
             match = { linea = \"linea\", ultimos4 = \"ultimos4\" }\nfound = \"match\"\nmissing = \"no_match\"\n"
                .into(),
        ),
        file(
            "agents.toml",
            "schema = 1\n[agents.ana]\nname = \"Ana López\"\npassword = \"corcel-7-nube\"\n".into(),
        ),
        file("prompts.toml", format!("schema = 1\n[prompts]\n{prompts}")),
    ];
    operator::load(&files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}
