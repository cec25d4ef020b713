//! `contesta simulate OPERATOR`: a call without a telephone, in milliseconds, on a clock of its own.
//!
//! The flow runs in the same interpreter as a real call; services, cases and messages are real too, in a store that is made
//! for this one call from the tables of `flows/data` and thrown away after it.
#![expect(clippy::disallowed_methods, reason = "the simulation begins at the present moment when it is given none")]

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use crate::cli::folders::FlowsArgs;
use crate::cli::moment::{self, local};
use crate::cli::route::user_part;
use crate::cli::store::{read_below, values_json};
use crate::edge::{entropy, files};
use crate::fault;
use crate::flow::simulator::{Line, Press, Stop, What};
use crate::flow::{self, Answer, CallFacts, Outcome, Request, Simulator};
use crate::ids::CallKey;
use crate::now::Now;
use crate::operator::Operator;
use crate::operator::number::normalise;
use crate::service::secret::{KEY_BYTES, SecretKey};
use crate::service::{Services, import};
use crate::store::{CaseFilter, Store};

/// Call an operator without a telephone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Operator id.
    operator: String,
    /// The number that is called (`*2363`, `2226057239;ext=300`); the operator's first without it.
    #[arg(long)]
    to: Option<String>,
    /// The caller's number; anonymous without it.
    #[arg(long)]
    from: Option<String>,
    /// When the call begins, in the operator's local time (`2026-03-15T02:30`); now without it.
    #[arg(long)]
    at: Option<String>,
    /// What the caller presses, in groups with commas between: each group once the caller is asked for something. `!12`:
    /// pressed at once, `t`: silence until patience runs out, `h`: hangs up. Read line by line without it.
    #[arg(long, value_name = "GROUPS", allow_hyphen_values = true)]
    keys: Option<String>,
    /// A service that never answers in time; may be given several times.
    #[arg(long, value_name = "SERVICE")]
    late: Vec<String>,
    /// A service that answers with an error; may be given several times.
    #[arg(long, value_name = "SERVICE")]
    broken: Vec<String>,
    /// What becomes of the transfers, in order: done, busy, no_answer or failed (done).
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',')]
    transfers: Vec<Transferred>,
    #[command(flatten)]
    flows: FlowsArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One of [`Outcome::ALL`], as flows name it.
#[derive(Clone, Copy, Debug)]
struct Transferred(Outcome);

impl std::str::FromStr for Transferred {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Outcome::ALL.into_iter().find(|outcome| outcome.output() == text);
        found.map(Self).ok_or_else(|| format!("«{text}» is none: {}", Outcome::ALL.map(Outcome::output).join(", ")))
    }
}

/// Plays the call and prints what is heard and done.
///
/// # Errors
/// Faults in the operators' files, or something asked for does not exist.
pub fn run(args: Args) -> anyhow::Result<()> {
    let folder = args.flows.settle()?;
    let (operators, routes) = files::load_operators(&folder)?;
    let operator = Arc::new(files::find_operator(&operators, &args.operator)?.clone());
    let first = operator.numbers.first().map(|number| number.number.clone()).unwrap_or_default();
    let to = user_part(args.to.as_deref().unwrap_or(&first));
    let route = routes.find(&to, &[]).with_context(|| format!("«{to}» leads nowhere: see contesta route '{to}'"))?;
    if operators.get(route.operator).is_none_or(|routed| routed.id != operator.id) {
        bail!("«{to}» is no number of {}", operator.id);
    }
    let flows = load_flows(&folder, &operator)?;
    for name in args.late.iter().chain(&args.broken) {
        if !operator.services.contains_key(name) {
            let near = fault::did_you_mean(name, operator.services.keys().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean «{near}»?")).unwrap_or_default();
            bail!("{} has no service «{name}»{hint}", operator.id);
        }
    }
    let presses = args.keys.as_deref().map(Press::parse_all).transpose()?;
    let wall = args.at.as_deref().map_or(Ok(Timestamp::now()), |at| moment::read(at, &operator.time_zone))?;
    let facts = CallFacts {
        key: CallKey("simulation".into()),
        caller: args.from.as_deref().map(|from| normalise(from).to_string()),
        called: route.number,
        extension: route.extension,
        began: Now { instant: Instant::now(), wall },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let scratch = Scratch::make()?;
    scratch.go_with_an_interrupt()?;
    // The store is thrown away with the call, and its key too.
    let mut bytes = [0; KEY_BYTES];
    entropy::ids()?.fill(&mut bytes);
    let key = SecretKey::new(bytes);
    let store = runtime.block_on(fill(&scratch.0, &key, &operator, &folder))?;
    let services = Services::new(store.clone(), vec![Arc::clone(&operator)], key);
    let answers = |request: &Request, _: Now| answer(&runtime, &services, request, &args);
    // From the beginning: a transfer may be the first that a flow does.
    let transfers: Vec<Outcome> = args.transfers.iter().map(|transferred| transferred.0).collect();
    let simulator = Simulator::new(Arc::new(flows), Arc::clone(&operator), &route.flow, facts, answers, transfers);
    let mut simulator = simulator.with_context(|| format!("there is no flow «{}»", route.flow))?;
    match presses {
        Some(presses) => {
            presses.iter().for_each(|press| simulator.act(press));
            // Nothing is left to press: the caller hears what comes up to the next question, and hangs up.
            if simulator.until_key() == Stop::ExpectsKey {
                simulator.hang_up();
            }
        }
        None => interactive(&mut simulator, args.json)?,
    }
    let cases = runtime.block_on(cases(&store, &operator));
    runtime.block_on(store.close());
    let cases = cases?;
    if args.json {
        let lines: Vec<Json> = simulator.log().iter().map(line_json).collect();
        println!("{:#}", json!({ "lines": lines, "result": simulator.result(), "cases": cases }));
    } else {
        if args.keys.is_some() {
            print(simulator.log());
        }
        println!("\nresult  {}", simulator.result().unwrap_or("none"));
        for case in &cases {
            println!("case    {case}");
        }
    }
    Ok(())
}

fn load_flows(folder: &Path, operator: &Operator) -> anyhow::Result<flow::Flows> {
    let sources = files::read_operators(folder)?;
    let own = sources.iter().find(|files| crate::operator::load(files).is_ok_and(|found| found.id == operator.id));
    let own = own.with_context(|| format!("{} has no folder in {}", operator.id, folder.display()))?;
    flow::load(operator, own).map_err(|faults| {
        anyhow::anyhow!("the flows of {} have faults\n\n{}", operator.id, fault::render_all(&faults, own))
    })
}

/// A store of its own, with the operator's tables.
async fn fill(folder: &Path, key: &SecretKey, operator: &Arc<Operator>, flows: &Path) -> anyhow::Result<Store> {
    let store = Store::open(&Store::default_url(folder), folder).await?;
    let read = |path: &str| read_below(flows, path).ok().flatten().map(|(_, bytes)| bytes);
    import::import_all_if_empty(&store, key, std::slice::from_ref(operator), &read).await?;
    Ok(store)
}

fn answer(runtime: &Runtime, services: &Services, request: &Request, args: &Args) -> (Answer, Duration) {
    let name = match request {
        Request::Service { service, .. } => service.as_str(),
        Request::Verify(verification) => verification.service.as_str(),
        Request::OpenCase(_) | Request::UpdateCase(_) | Request::FindCase { .. } | Request::Notify(_) => "",
    };
    if args.broken.iter().any(|broken| broken == name) {
        return (Answer::Error("broken by --broken".to_owned()), ANSWER);
    }
    let answer = runtime.block_on(services.carry_out(request.clone()));
    let late = args.late.iter().any(|late| late == name);
    (answer, if late { LATE } else { ANSWER })
}

/// Reads a group of keys whenever the caller is asked for some.
fn interactive(simulator: &mut Simulator<'_>, quiet: bool) -> anyhow::Result<()> {
    let (mut printed, stdin) = (0, std::io::stdin());
    let prompting = stdin.is_terminal();
    let mut lines = stdin.lock().lines();
    loop {
        let stop = simulator.until_key();
        if !quiet {
            print(simulator.log().get(printed..).unwrap_or_default());
            printed = simulator.log().len();
        }
        if stop == Stop::Finished {
            return Ok(());
        }
        if prompting && !quiet {
            print!("keys> ");
            std::io::stdout().flush()?;
        }
        let Some(line) = lines.next().transpose()? else {
            simulator.hang_up();
            continue;
        };
        match Press::parse_all(&line) {
            Ok(presses) => presses.iter().for_each(|press| simulator.act(press)),
            Err(error) => eprintln!("{error}"),
        }
    }
}

async fn cases(store: &Store, operator: &Operator) -> anyhow::Result<Vec<Json>> {
    let filter = CaseFilter { operator: Some(operator.id.clone()), state: None, since: None, limit: 100 };
    let cases = store.cases(&filter).await?;
    let rows = cases.iter().map(|case| {
        json!({
            "folio": case.folio.as_str(), "kind": case.open.kind, "subkind": case.open.subkind,
            "state": case.state.to_string(), "due": case.open.due.map(|due| local(due, &operator.time_zone)),
            "fields": values_json(&case.open.fields),
        })
    });
    Ok(rows.collect())
}

fn print(lines: &[Line]) {
    for line in lines {
        let at = format!("{:7.1}", line.at.as_secs_f64());
        match &line.what {
            What::Says { text, cut, .. } => println!("{at}  «{text}»{}", if *cut { "  (cut short)" } else { "" }),
            // What is said stands there with its text.
            What::Path(path) if path.what.starts_with("says ") => {}
            What::Path(path) => println!("{at}    {:36} {}", path.place, path.what),
            What::Answered => println!("{at}    answered"),
            What::Finished(cause) => println!("{at}    finished: {cause}"),
            What::Asks(_) | What::Leads(_) | What::Result(_) => {}
        }
    }
}

fn line_json(line: &Line) -> Json {
    let at_ms = u64::try_from(line.at.as_millis()).unwrap_or(u64::MAX);
    match &line.what {
        What::Says { text, prompts, cut } => {
            json!({ "at_ms": at_ms, "says": text, "prompts": prompts, "cut": cut })
        }
        What::Path(path) => json!({ "at_ms": at_ms, "place": path.place, "what": path.what }),
        What::Leads(callee) => json!({ "at_ms": at_ms, "leads": callee.to_string() }),
        What::Asks(request) => json!({ "at_ms": at_ms, "asks": format!("{request:?}") }),
        What::Result(result) => json!({ "at_ms": at_ms, "result": result }),
        What::Answered => json!({ "at_ms": at_ms, "what": "answered" }),
        What::Finished(cause) => json!({ "at_ms": at_ms, "finished": cause }),
    }
}

/// A folder for one simulation; it goes away with it.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("contesta-simulate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Ctrl-C ends the program without unwinding: the folder goes first.
    fn go_with_an_interrupt(&self) -> anyhow::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let folder = self.0.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        let (mut interrupt, mut terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let wait = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            let _ = std::fs::remove_dir_all(&folder);
            // 128 and the number of SIGINT, as shells have it.
            std::process::exit(130);
        };
        std::thread::Builder::new().name("interrupt".into()).spawn(wait).context("cannot start")?;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on it: at worst a temporary folder stays.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How long services take to answer.
const ANSWER: Duration = Duration::from_millis(40);
/// Longer than any step waits.
const LATE: Duration = Duration::from_secs(3_600);
