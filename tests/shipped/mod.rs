//! The two operators as they ship, over a store of their own: what `contesta simulate` plays, kept open for several calls.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, and stages its world"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use contesta::case::{self, Case, Folio, State};
use contesta::fault::SourceFile;
use contesta::flow::action::Verification;
use contesta::flow::simulator::{Line, Press, What};
use contesta::flow::{self, Answer, CallFacts, Flows, Request, Simulator};
use contesta::ids::CallKey;
use contesta::now::Now;
use contesta::operator::number::Routes;
use contesta::operator::{self, Operator};
use contesta::service::secret::{KEY_BYTES, SecretKey};
use contesta::service::{Services, import};
use contesta::speech::{self, Say, Word};
use contesta::store::{CaseFilter, Change, Store, StoredOrder};
use contesta::value::Values;
use tokio::runtime::Runtime;

/// Folders of `flows/` that hold an operator.
pub const OPERATORS: [&str; 2] = ["beneleit", "bluepoint"];

/// The TOML files of one operator's folder, by name.
pub fn files(operator: &str) -> Vec<SourceFile> {
    let folder = Path::new("flows").join(operator);
    let mut files: Vec<SourceFile> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| SourceFile { text: fs::read_to_string(&path).unwrap(), path: path.display().to_string() })
        .collect();
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

/// One operator's declared world.
pub fn operator(id: &str) -> Operator {
    operator::load::load(&files(id)).unwrap()
}

/// How the outside behaves in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It answers.
    Answers,
    /// Services of these names do what they are asked, and answer too late.
    Late(&'static [&'static str]),
    /// Services of these names cannot answer.
    Broken(&'static [&'static str]),
    /// Services answer; cases and messages cannot be stored.
    StoreDown,
    /// The first case cannot be stored, those after it can.
    StoreDownOnce,
    /// Nothing is ever answered but with an error, cases and messages included.
    Down,
}

/// Both operators, their flows, and a store filled from their tables.
pub struct Centre {
    runtime: Runtime,
    store: Store,
    services: Services,
    operators: Vec<Arc<Operator>>,
    flows: Vec<Arc<Flows>>,
    routes: Routes,
    calls: Cell<u32>,
    _folder: Folder,
}

impl Centre {
    pub fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = Folder::make();
        let operators: Vec<Arc<Operator>> = OPERATORS.iter().map(|id| Arc::new(operator(id))).collect();
        let flows = operators.iter().map(|operator| flow::load(operator, &files(&operator.id)).unwrap());
        let flows: Vec<Arc<Flows>> = flows.map(Arc::new).collect();
        let read = |path: &str| fs::read(Path::new("flows").join(path)).ok();
        let key = SecretKey::new([7; KEY_BYTES]);
        let store = runtime.block_on(async {
            let store = Store::open(&Store::default_url(&folder.0), &folder.0).await.unwrap();
            import::import_all_if_empty(&store, &key, &operators, &read).await.unwrap();
            store
        });
        let owned: Vec<Operator> = operators.iter().map(|operator| operator.as_ref().clone()).collect();
        Self {
            services: Services::new(store.clone(), operators.clone(), key),
            routes: Routes::new(&owned).unwrap(),
            runtime,
            store,
            operators,
            flows,
            calls: Cell::new(0),
            _folder: folder,
        }
    }

    pub fn operator(&self, id: &str) -> &Arc<Operator> {
        self.operators.iter().find(|operator| operator.id == id).unwrap()
    }

    /// A call to `to` (a user part as it arrives) at this local moment of central Mexico, answered by a willing outside.
    pub fn call(&self, to: &str, from: Option<&str>, at: &str) -> Call<'_> {
        self.call_with(to, from, at, Outside::Answers)
    }

    /// The same with an outside that may misbehave.
    pub fn call_with(&self, to: &str, from: Option<&str>, at: &str, outside: Outside) -> Call<'_> {
        let route = self.routes.find(to, &[]).unwrap_or_else(|| panic!("{to} leads nowhere"));
        self.calls.set(self.calls.get() + 1);
        let facts = CallFacts {
            key: CallKey(format!("call-{}", self.calls.get()).into()),
            caller: from.map(str::to_owned),
            called: route.number,
            extension: route.extension,
            began: Now { instant: Instant::now(), wall: format!("{at}-06:00").parse().unwrap() },
        };
        let mut outside = outside;
        let answers = move |request: &Request, _: Now| {
            let answer = self.answer(request, outside);
            if matches!((outside, request), (Outside::StoreDownOnce, Request::OpenCase(_))) {
                outside = Outside::Answers;
            }
            answer
        };
        let (flows, operator) = (&self.flows[route.operator], &self.operators[route.operator]);
        let simulator =
            Simulator::new(Arc::clone(flows), Arc::clone(operator), &route.flow, facts, answers, []).unwrap();
        Call { simulator, operator: Arc::clone(operator) }
    }

    fn answer(&self, request: &Request, outside: Outside) -> (Answer, Duration) {
        let named = |names: &[&str]| matches!(request, Request::Service { service, .. } | Request::Verify(Verification { service, .. }) if names.contains(&service.as_str()));
        let stores = !matches!(request, Request::Service { .. } | Request::Verify(_));
        match outside {
            Outside::StoreDown | Outside::StoreDownOnce if stores => (Answer::Error("no store".to_owned()), SOON),
            Outside::Down => (Answer::Error("everything is down".to_owned()), SOON),
            Outside::Broken(names) if named(names) => (Answer::Error("broken by the test".to_owned()), SOON),
            Outside::Late(names) if named(names) => {
                (self.runtime.block_on(self.services.carry_out(request.clone())), LATE)
            }
            _ => (self.runtime.block_on(self.services.carry_out(request.clone())), SOON),
        }
    }

    /// Every case of an operator, the newest first.
    pub fn cases(&self, operator: &str) -> Vec<Case> {
        let filter = CaseFilter { operator: Some(operator.to_owned()), limit: 1_000, ..CaseFilter::default() };
        self.runtime.block_on(self.store.cases(&filter)).unwrap()
    }

    /// What an agent would do to a case.
    pub fn change(&self, case: &Case, state: State) {
        let update = case::Update {
            operator: case.open.operator.clone(),
            folio: case.folio.clone(),
            state: Some(state),
            fields: Values::new(),
            call: CallKey("agente".into()),
            at: case.open.received,
        };
        let changed = self.runtime.block_on(self.store.update_case(&update)).unwrap();
        assert!(matches!(changed, Change::Done(_)), "{changed:?}");
    }

    /// Device and line orders of a folio, as `kind subject`.
    pub fn orders(&self, folio: &Folio) -> Vec<StoredOrder> {
        self.runtime.block_on(self.store.orders(folio)).unwrap()
    }

    /// Messages waiting to be delivered.
    pub fn outbox(&self) -> Vec<contesta::flow::action::Message> {
        self.runtime.block_on(self.store.outbox(1_000)).unwrap().into_iter().map(|queued| queued.message).collect()
    }
}

/// One call under way.
pub struct Call<'c> {
    pub simulator: Simulator<'c>,
    operator: Arc<Operator>,
}

impl Call<'_> {
    /// Does what `--keys` of `contesta simulate` would: `1,2221234567,!2,t,h`.
    pub fn keys(&mut self, groups: &str) -> &mut Self {
        for press in Press::parse_all(groups).unwrap() {
            self.simulator.act(&press);
        }
        self
    }

    /// Lets the call come to its next question, or to its end.
    pub fn listen(&mut self) -> &mut Self {
        self.simulator.until_key();
        self
    }

    /// Lists of prompt keys, one a time that something was said.
    pub fn heard(&self) -> Vec<&[String]> {
        let said = |line| match line {
            &Line { what: What::Says { ref prompts, .. }, .. } => Some(prompts.as_slice()),
            _ => None,
        };
        self.simulator.log().iter().filter_map(said).collect()
    }

    /// True when this prompt has been heard.
    pub fn has_heard(&self, key: &str) -> bool {
        assert!(self.operator.prompts.id(key).is_some(), "there is no prompt «{key}»");
        self.heard().iter().any(|prompts| prompts.iter().any(|prompt| prompt == key))
    }

    /// What was said last.
    pub fn last_heard(&self) -> &[String] {
        self.heard().last().copied().unwrap_or_default()
    }

    /// How often these words, one after the other, have been heard.
    pub fn times_heard(&self, say: &Say) -> usize {
        let words: Vec<&str> = speech::say(say)
            .unwrap()
            .into_iter()
            .filter_map(|word| match word {
                Word::Key(key) => Some(key),
                Word::Pause(_) => None,
            })
            .collect();
        let heard = self.heard();
        heard.iter().map(|prompts| prompts.windows(words.len()).filter(|window| *window == words).count()).sum()
    }

    /// Names of the steps the call came through (`beneleit.principal/menu`).
    pub fn path(&self) -> BTreeSet<String> {
        let entered = |line: &Line| match &line.what {
            What::Path(trace) if trace.what.starts_with("enters ") => Some(trace.place.clone()),
            _ => None,
        };
        self.simulator.log().iter().filter_map(entered).collect()
    }

    /// Where in the log something first happens.
    pub fn place_of(&self, mut happens: impl FnMut(&What) -> bool) -> Option<usize> {
        self.simulator.log().iter().position(|line| happens(&line.what))
    }

    /// How the call ended.
    pub fn cause(&self) -> Option<&'static str> {
        self.simulator.log().iter().find_map(|line| match line.what {
            What::Finished(cause) => Some(cause),
            _ => None,
        })
    }
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("contesta-shipped-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An answer that nobody notices.
const SOON: Duration = Duration::from_millis(40);
/// Longer than any step waits.
const LATE: Duration = Duration::from_secs(90);
