//! `contesta run`: the engine answers calls.
#![expect(clippy::disallowed_methods, reason = "tables are read from files, in a task when the database comes later")]

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::sync::Semaphore;
use tracing::info;

use crate::call;
use crate::cli::callees;
use crate::config::Config;
use crate::edge::capture::{Capture, Switch};
use crate::edge::config_file::{self, Overrides};
use crate::edge::descriptors;
use crate::edge::inbox::{Sender, inbox};
use crate::edge::leg_media::LegMedia;
use crate::edge::listening::{self, Listening};
use crate::edge::media_worker::MediaWorker;
use crate::edge::preparation::Preparation;
use crate::edge::recording_file;
use crate::edge::recordings::Recordings;
use crate::edge::registrations::Registrations;
use crate::edge::resolver::Resolver;
use crate::edge::secret_key;
use crate::edge::serving::{self, Served};
use crate::edge::signalling::{self, Drain, Message, Signalling};
use crate::edge::sip_socket;
use crate::edge::streams::{self, Bound, Patience, Streams, tls};
use crate::edge::{clock, entropy, logging};
use crate::exchange::{self, Exchange, Input, Snapshot, accounts};
use crate::operator::Operator;
use crate::service::secret::SecretKey;
use crate::service::{Services, import};
use crate::sip::registrar::{Registrar, Registration};
use crate::sip::session_timer;
use crate::sip::user_agent::Settings;
use crate::sip::{Listeners, Transport, UserAgent};
use crate::store::{Store, StoredRegistration};

/// Answers calls until it is told to stop: Ctrl-C drains, a second one hangs up.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Settings of this machine; without it `contesta.toml`, if there is one here.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Where SIP listens, as 127.0.0.1:5060. Port 0 takes a free one and prints it.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub sip: Option<SocketAddr>,
    /// Where the spool is kept, and the database when none is named.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The folder of the operators.
    #[arg(long)]
    pub flows: Option<PathBuf>,
    /// The folder of prompt audio.
    #[arg(long)]
    pub prompts: Option<PathBuf>,
    /// Capture SIP to this pcap file, passwords, keys and digits masked.
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Print one JSON line when ready, in place of the words.
    #[arg(long)]
    pub json: bool,
}

/// Messages that may wait for the signalling thread: two seconds of digits, play ends and answers of 2,000 calls.
const INBOX_CAPACITY: usize = 65_536;

/// How long calls may take to end in order when draining is over, or after the second signal.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long the last call records may take to reach the store.
const LAST_RECORDS: Duration = Duration::from_secs(10);

/// Runs the engine.
///
/// # Errors
/// Settings, flows or prompts have faults; the port is taken; the store cannot be opened.
pub fn run(args: Args) -> anyhow::Result<()> {
    let mut config = settings(&args)?;
    config.capture.pcap = args.capture.clone().or(config.capture.pcap);
    let config = Arc::new(config);
    logging::start(&config.log)?;
    if let Err(error) = descriptors::lift_limit() {
        tracing::warn!(%error, "the limit on open files stays as it is: each call needs one");
    }
    let Served { tenants, routes, clips } = serving::load(&config.paths.flows, &config.paths.prompts)?;
    callees::check(tenants.iter().map(AsRef::as_ref), &config)?;
    let operators: Vec<Arc<Operator>> = tenants.iter().map(|tenant| tenant.operator.clone()).collect();

    // First of all that leaves a trace: a port that is taken must not make a database.
    let listening = listening::open(&config).map_err(|(address, error)| cannot_listen(address, &error))?;
    let certificate = config.sip.identity.clone().map(tls::Certificate::load).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("store")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    look_on_hang_up(&runtime, certificate.clone());
    let capture = Capture::start(&config.capture)?;
    turn_on_signal(&runtime, capture.as_ref().map(Capture::switch));
    let key = secret_key::read_or_make(&config.secret_key())?;
    let store = runtime.block_on(open_store(&config, &key, &operators))?;

    let (sender, inbox) = inbox(INBOX_CAPACITY).context("cannot make the inbox")?;
    let Listening { sockets, streams: bound_streams, listeners, bound } = listening;
    let local_address = bound.first().map_or(IpAddr::from([127, 0, 0, 1]), |(_, local)| local.ip());
    let other_family =
        bound.iter().map(|(_, local)| local.ip()).find(|local| local.is_ipv4() != local_address.is_ipv4());
    let streams = start_streams(&runtime, &config, &listeners, &sender, bound_streams, certificate.as_ref())?;
    let workers = start_workers(&config, &sender)?;
    let mut preparation = Preparation::start(clips).context("cannot start the prompts' thread")?;
    config.trunks.iter().flat_map(|trunk| &trunk.terms.codecs).for_each(|codec| preparation.want(*codec));
    let recordings = start_recordings(&config.paths.data.join("recordings"), &sender)?;
    let published: Vec<(String, String)> =
        routes.published().map(|(number, flow)| (number.to_owned(), flow.to_owned())).collect();
    let calls = usize::try_from(config.limits.calls).unwrap_or(usize::MAX / 2);
    let expires = config.sip.session.map(|session| u32::try_from(session.as_secs()).unwrap_or(u32::MAX));
    let session = session_timer::Policy { expires, ..session_timer::Policy::default() };
    let settings = Settings {
        max_dialogs: calls * LEGS_A_CALL + SPARE_DIALOGS,
        session,
        transfers: true,
        ..Settings::at(listeners.clone())
    };
    let registered = runtime.block_on(registered_before(&store));
    let registrar = start_registrar(&config, &operators, registered)?;
    let user_agent = UserAgent::new(settings, entropy::ids()?).with_registrar(registrar);
    let limits = exchange::Limits {
        calls,
        call: call::Limits {
            silent_after: Some(config.rtp.silence),
            max_call: config.limits.max_call,
            max_hold: config.limits.max_hold,
        },
    };
    let snapshot = Snapshot::new(tenants, routes, config.clone());
    let drain = Drain { patience: config.limits.drain, last_words: LAST_WORDS };
    let (writing, mut written) = tokio::sync::mpsc::channel(1);
    let signalling = Signalling {
        exchange: Exchange::new(user_agent, Arc::new(snapshot), limits, entropy::ids()?),
        sockets,
        streams,
        listeners: listeners.clone(),
        resolver: Resolver::new(&config.sip.nameservers),
        inbox,
        sender: sender.clone(),
        legs: LegMedia::new(workers),
        preparation,
        recordings,
        rtp_address: config.rtp.address.unwrap_or(local_address),
        rtp_address_other: config.rtp.address.is_none().then_some(other_family).flatten(),
        own_address: sip_socket::own_address(local_address.is_ipv6()),
        own_address_other: sip_socket::own_address(local_address.is_ipv4()),
        config,
        ids: entropy::ids()?,
        services: Arc::new(Services::new(store.clone(), operators, key)),
        registrations: Registrations::start(runtime.handle(), store.clone(), writing.clone()),
        store: store.clone(),
        runtime: runtime.handle().clone(),
        requests: Arc::new(Semaphore::new(signalling::REQUESTS_MAX)),
        writing,
        drain,
        capture,
    };
    stop_on_signals(&runtime, sender);
    say_ready(&args, &bound, &listeners, certificate.as_ref(), &published);
    let streams = signalling.run();
    runtime.block_on(async {
        streams.finish().await;
        let kept = async {
            // What is on its way to the store holds a sender; the channel ends when the last is gone.
            written.recv().await;
            store.close().await;
        };
        if tokio::time::timeout(LAST_RECORDS, kept).await.is_err() {
            tracing::error!("the last call records did not reach the store in {LAST_RECORDS:?}");
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    info!("stopped");
    Ok(())
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "write an address of this machine and a port, like 127.0.0.1:5060, 0.0.0.0:5060 or [::]:5060")
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let why = if error.kind() == io::ErrorKind::AddrInUse {
        "another program listens there, maybe another contesta".to_owned()
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "this machine has no such address".to_owned()
    } else {
        error.to_string()
    };
    anyhow::anyhow!("cannot listen on {address}: {why}")
}

/// Legs that a call may have on the average: its caller, and three phones that ring for them. The exchange counts calls; this bounds
/// memory.
const LEGS_A_CALL: usize = 4;

/// Dialogs that are ending, or are being refused, while all lines are busy.
const SPARE_DIALOGS: usize = 1_000;

/// The file's settings with the command line's over them.
fn settings(args: &Args) -> anyhow::Result<Config> {
    let Args { config, sip, data, flows, prompts, .. } = args;
    let (data, flows, prompts) = (data.clone(), flows.clone(), prompts.clone());
    config_file::settings(config.as_deref(), &Overrides { sip: *sip, data, database: None, flows, prompts })
}

async fn open_store(config: &Config, key: &SecretKey, operators: &[Arc<Operator>]) -> anyhow::Result<Store> {
    let store = Store::open(&config.store.to_url(), &config.paths.data).await.context("cannot open the store")?;
    if store.has_seen_database() {
        fill_tables(config, &store, key, operators).await?;
        return Ok(store);
    }
    let (config, later, key, operators) = (config.clone(), store.clone(), key.clone(), operators.to_vec());
    tokio::spawn(async move {
        later.database_seen().await;
        if let Err(fault) = fill_tables(&config, &later, &key, &operators).await {
            tracing::error!("{fault:#}");
        }
    });
    Ok(store)
}

/// Imports what was never imported.
async fn fill_tables(
    config: &Config,
    store: &Store,
    key: &SecretKey,
    operators: &[Arc<Operator>],
) -> anyhow::Result<()> {
    let read = |path: &str| std::fs::read(config.paths.flows.join(path)).ok();
    let imported = import::import_all_if_empty(store, key, operators, &read).await.context("cannot fill the tables")?;
    for (path, rows) in imported {
        info!("imported {rows} rows of {}", config.paths.flows.join(path).display());
    }
    Ok(())
}

/// Takes connections, and keeps the certificate up to date.
fn start_streams(
    runtime: &tokio::runtime::Runtime,
    config: &Config,
    listeners: &Listeners,
    sender: &Sender<Message>,
    bound: Vec<Bound>,
    certificate: Option<&tls::Certificate>,
) -> anyhow::Result<Streams> {
    let limit = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    let settings = streams::Settings {
        patience: Patience { idle: config.sip.idle, ..Patience::default() },
        limits: streams::Limits {
            connections: limit(config.sip.connections),
            per_source: limit(config.sip.connections_per_source),
            ..streams::Limits::default()
        },
        listeners: listeners.clone(),
        ca: config.sip.ca.clone(),
        names: Mutex::default(),
    };
    let sender = sender.clone();
    let report = Arc::new(move |event| sender.send(Message::Stream(event)));
    let mut streams = Streams::new(settings, runtime.handle().clone(), report);
    let acceptor = certificate.map(tls::Certificate::acceptor).transpose()?;
    for bound in bound {
        streams.listen(bound, acceptor.clone()).context("cannot take connections")?;
    }
    if let Some(certificate) = certificate {
        runtime.spawn(certificate.clone().watch());
    }
    Ok(streams)
}

/// SIGHUP: the certificate is read again, where there is one. It ends no engine: a terminal that closes sends it too.
fn look_on_hang_up(runtime: &tokio::runtime::Runtime, certificate: Option<tls::Certificate>) {
    use tokio::signal::unix::{SignalKind, signal};
    let entered = runtime.enter();
    let hang_up = signal(SignalKind::hangup());
    drop(entered);
    let Ok(mut hang_up) = hang_up else { return tracing::warn!("SIGHUP cannot be caught") };
    runtime.spawn(async move {
        while hang_up.recv().await.is_some() {
            match &certificate {
                Some(certificate) => certificate.look(),
                None => tracing::info!(
                    "SIGHUP: there is no certificate to read again; files of flows and agents are read at the start"
                ),
            }
        }
    });
}

/// SIGUSR1: the capture goes on, or stops.
fn turn_on_signal(runtime: &tokio::runtime::Runtime, switch: Option<Switch>) {
    use tokio::signal::unix::{SignalKind, signal};
    let entered = runtime.enter();
    let turn = signal(SignalKind::user_defined1());
    drop(entered);
    let Ok(mut turn) = turn else { return tracing::warn!("SIGUSR1 cannot be caught") };
    runtime.spawn(async move {
        while turn.recv().await.is_some() {
            match &switch {
                Some(switch) => switch.turn(),
                None => tracing::warn!("nothing captures SIP: contesta.toml has neither pcap nor hep in [capture]"),
            }
        }
    });
}

fn start_workers(config: &Config, sender: &Sender<Message>) -> anyhow::Result<Vec<MediaWorker>> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = config.media.workers.map_or(processors.saturating_sub(1).max(1), NonZeroUsize::get);
    (0..workers)
        .map(|index| {
            let sender = sender.clone();
            let report = move |(leg, event)| {
                sender.send(Message::Input(Input::Media(leg, event)));
            };
            MediaWorker::start(index, report).context("cannot start a media thread")
        })
        .collect()
}

/// What was registered when the engine stopped. Without the database it is not known, and phones register within minutes.
async fn registered_before(store: &Store) -> Vec<StoredRegistration> {
    if !store.has_seen_database() {
        return Vec::new();
    }
    store.restore_registrations(clock::now().wall).await.unwrap_or_else(|error| {
        tracing::warn!("phones are taken for not registered until they say so: {error:#}");
        Vec::new()
    })
}

/// Phones that were registered when the engine stopped are so for the time they have left.
fn start_registrar(
    config: &Config,
    operators: &[Arc<Operator>],
    stored: Vec<StoredRegistration>,
) -> anyhow::Result<Registrar> {
    let accounts = Arc::new(accounts::accounts(&config.registrar, operators));
    let now = clock::now();
    let mut registrar =
        Registrar::new(now.instant, accounts::settings(&config.registrar), accounts, &mut entropy::ids()?);
    let left = |stored: StoredRegistration| Registration {
        lasts: Duration::try_from(stored.ends.duration_since(now.wall)).unwrap_or_default(),
        ..stored.registration
    };
    registrar.restore(now.instant, stored.into_iter().map(left));
    if !registrar.is_empty() {
        info!("{} phones are registered from before", registrar.len());
    }
    Ok(registrar)
}

/// First puts right what an engine that was killed left behind.
fn start_recordings(folder: &Path, sender: &Sender<Message>) -> anyhow::Result<Recordings> {
    match recording_file::repair(folder) {
        Ok(repaired) => repaired.iter().for_each(|file| info!("the recording {file} was cut off; it is whole now")),
        Err(error) => tracing::error!("{}: recordings that were cut off stay so: {error}", folder.display()),
    }
    let sender = sender.clone();
    let report = move |leg, report| {
        sender.send(Message::Input(Input::Recorded(leg, report)));
    };
    Recordings::start(folder, report).context("cannot start the recordings' thread")
}

fn stop_on_signals(runtime: &tokio::runtime::Runtime, sender: Sender<Message>) {
    use tokio::signal::unix::{SignalKind, signal};
    // Before the engine says that it is ready: whoever heard that may stop it at once.
    let entered = runtime.enter();
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    drop(entered);
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return tracing::error!("signals cannot be caught: only kill -9 stops this engine");
    };
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sender.send(Message::Stop);
        }
    });
}

fn say_ready(
    args: &Args,
    bound: &[(Transport, SocketAddr)],
    listeners: &Listeners,
    certificate: Option<&tls::Certificate>,
    published: &[(String, String)],
) {
    let of =
        |transport| bound.iter().filter(move |(spoken, _)| *spoken == transport).map(|(_, local)| local.to_string());
    let (Some((_, local)), Some(first)) = (bound.first(), listeners.iter().next()) else { return };
    let advertised = first.advertised;
    if args.json {
        let numbers: Vec<_> =
            published.iter().map(|(number, flow)| json!({ "number": number, "flow": flow })).collect();
        let mut ready = json!({ "sip": local.to_string(), "advertised": advertised.to_string() });
        for transport in Transport::ALL {
            ready[transport.name().to_lowercase()] = of(transport).collect();
        }
        if let Some(certificate) = certificate {
            ready["certificate_expires"] = certificate.expires().map(|expires| expires.to_string()).into();
        }
        ready["numbers"] = numbers.into();
        return say(&format!("{ready}\n"));
    }
    let host: IpAddr = if local.ip().is_unspecified() { [127, 0, 0, 1].into() } else { local.ip() };
    let port = if local.port() == 5060 { String::new() } else { format!(":{}", local.port()) };
    let mut text = format!("contesta answers on {local} (peers see {advertised})\n");
    for transport in Transport::ALL {
        let addresses = of(transport).collect::<Vec<_>>().join(", ");
        if !addresses.is_empty() {
            text.push_str(&format!("  {:<12} {addresses}\n", transport.name()));
        }
    }
    for (number, flow) in published {
        text.push_str(&format!("  {number:<12} {flow}\n"));
    }
    if let Some((number, _)) = published.first() {
        text.push_str(&format!("Call it:  contesta call 'sip:{number}@{host}{port}'     Stop it: Ctrl-C\n"));
    }
    say(&text);
}

/// Whoever started the engine may not read what it says: it answers calls all the same.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
