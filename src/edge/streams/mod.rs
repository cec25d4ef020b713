//! SIP over connections: TCP, TLS, WebSocket and secure WebSocket (RFC 3261 §18, RFC 7118).
//!
//! Each connection is a task of tokio that reads, finds messages and writes. [`Streams`] belongs to the thread that decides: it knows
//! which connections there are, puts what is to be sent into their bounded outboxes, opens the ones that are missing,
//! and never waits. What tasks have to say comes as an [`Event`] through that thread's inbox; a task that finds too
//! much of it unread stops reading its socket until there is room, so that TCP slows its far end down.
//!
//! ```text
//!   listener ──accept──► connection ──Opened, Message, Undelivered, Closed──► inbox ──► Streams::handle
//!   dial ───connected──►     ▲                                                              │
//!                            └────────────────────── outbox ◄────────────────────── Streams::send
//! ```

pub mod certificate;
mod connection;
mod dial;
mod limits;
mod listener;
pub mod tls;
mod websocket;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tracing::{debug, info, warn};

use crate::edge::clock;
use crate::sip::{Flow, Listeners, Peer, Transport};

use connection::Activity;
use limits::Shared;
pub use limits::{Counts, Limits};
pub use listener::{Bound, bind};

/// How long each thing is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the connection to the end of its TLS and WebSocket handshakes.
    pub handshake: Duration,
    /// From there to the end of the first message: whoever connects has something to say.
    pub first_message: Duration,
    /// From the first byte of a message to its last.
    pub message: Duration,
    /// Until the far end takes what is written to it.
    pub write: Duration,
    /// Until a host takes our connection, TLS included.
    pub connect: Duration,
    /// For the answer to the last message of a stream that cannot be read on.
    pub last_words: Duration,
    /// Between two pings of ours: on a connection that we opened (RFC 5626 §4.4.1), and to every WebSocket.
    pub ping: Duration,
    /// Without a byte on a connection that nothing depends on.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            handshake: seconds(5),
            first_message: seconds(10),
            message: seconds(10),
            write: seconds(10),
            connect: seconds(4),
            last_words: seconds(1),
            ping: seconds(95),
            idle: seconds(600),
        }
    }
}

/// What connections are made with.
#[derive(Debug)]
pub struct Settings {
    /// How long each thing is waited for.
    pub patience: Patience,
    /// How many of each there may be.
    pub limits: Limits,
    /// The same that the user agent was told: a connection that we open counts as one of the listener that is meant for its peer.
    pub listeners: Listeners,
    /// Certificates that we trust; `None`: those of the system.
    pub ca: Option<std::path::PathBuf>,
    /// The names that hosts show in their certificates, where they are not reached by address.
    pub names: Mutex<BTreeMap<SocketAddr, ServerName<'static>>>,
}

/// A message for a far end.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Where it goes, and by which way it should.
    pub destination: Peer,
    /// The message.
    pub bytes: Bytes,
}

/// What a task says. Each holds a place in the inbox, of which there is a bounded number ([`Limits::unread`]).
#[derive(Debug)]
pub struct Event {
    what: What,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum What {
    Opened(Connection),
    Message { source: Peer, bytes: Bytes },
    Undelivered(Parcel, Arc<str>),
    Closed(Flow),
}

/// What the thread that decides has to know.
#[derive(Debug)]
pub enum Arrival {
    /// A message came.
    Message {
        /// From whom, and by which connection.
        source: Peer,
        /// The message.
        bytes: Bytes,
    },
    /// A message could not be sent, by no way, and why.
    Undelivered(Parcel, Arc<str>),
    /// A connection is closed.
    Closed(Flow),
}

/// Gives events to the thread that decides; `false` when that is no more.
pub type Report = Arc<dyn Fn(Event) -> bool + Send + Sync>;

/// All connections, as the thread that decides knows them.
pub struct Streams {
    shared: Arc<Shared>,
    runtime: Handle,
    connections: BTreeMap<u64, Connection>,
    by_address: BTreeMap<(Transport, SocketAddr), u64>,
    /// Every task holds one: when all are gone, all have ended.
    alive: mpsc::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
    sweep_at: Option<Instant>,
    told: Counts,
}

/// One connection, as the thread that decides knows it.
#[derive(Debug)]
struct Connection {
    peer: Peer,
    outbox: mpsc::Sender<Parcel>,
    stop: Arc<Notify>,
    activity: Arc<Activity>,
}

/// One connection, as its task has it.
struct Line {
    peer: Peer,
    /// Whether we opened it.
    ours: bool,
    outbox: mpsc::Receiver<Parcel>,
    stop: Arc<Notify>,
    activity: Arc<Activity>,
    shared: Arc<Shared>,
    _alive: mpsc::Sender<Infallible>,
}

/// Messages that may wait for a far end that reads slowly.
const OUTBOX_CAPACITY: usize = 64;

/// How often idle connections are looked for, and refusals are told of in the log.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

impl Streams {
    /// Nothing connected and nothing listened at yet.
    #[must_use]
    pub fn new(settings: Settings, runtime: Handle, report: Report) -> Self {
        let (alive, ended) = mpsc::channel(1);
        Self {
            shared: Arc::new(Shared::new(settings, report)),
            runtime,
            connections: BTreeMap::new(),
            by_address: BTreeMap::new(),
            alive,
            ended,
            sweep_at: None,
            told: Counts::default(),
        }
    }

    /// Takes connections at a bound address from now on. `tls` for TLS and secure WebSocket.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub fn listen(&mut self, bound: Bound, tls: Option<tls::Acceptor>) -> std::io::Result<()> {
        let _entered = self.runtime.enter();
        let accepting = listener::accept_all(bound, tls, self.shared.clone(), self.alive.downgrade())?;
        drop(self.runtime.spawn(accepting));
        self.sweep_at.get_or_insert_with(|| clock::now().instant + SWEEP_EVERY);
        Ok(())
    }

    /// Takes note of what a task says.
    pub fn handle(&mut self, event: Event) -> Option<Arrival> {
        match event.what {
            What::Opened(connection) => {
                self.insert(connection);
                None
            }
            What::Message { source, bytes } => Some(Arrival::Message { source, bytes }),
            What::Closed(flow) => {
                self.forget(flow.connection);
                Some(Arrival::Closed(flow))
            }
            // RFC 3261 §18.2.2: the connection is lost, so the next one is tried.
            What::Undelivered(parcel, _) if parcel.destination.flow.is_some() => {
                let destination = Peer { flow: None, ..parcel.destination };
                self.send(Parcel { destination, ..parcel })
            }
            What::Undelivered(parcel, why) => Some(self.undelivered(parcel, why)),
        }
    }

    /// A host at this address shows a certificate for this name from now on.
    pub fn name(&self, address: SocketAddr, name: &str) {
        let Ok(name) = ServerName::try_from(name.to_owned()) else {
            return debug!(%address, "this is no name for a certificate");
        };
        self.shared.settings.names.lock().unwrap_or_else(PoisonError::into_inner).insert(address, name);
    }

    /// Sends by the connection that the destination names, else by one to its address, else by a new one. Comes back at once when
    /// none of them can be.
    pub fn send(&mut self, parcel: Parcel) -> Option<Arrival> {
        let mut parcel = parcel;
        // Twice: the task of the first may have ended a moment ago.
        for _ in 0..2 {
            let Some(number) = self.find(&parcel.destination) else { break };
            let Some(connection) = self.connections.get(&number) else { break };
            match connection.outbox.try_send(parcel) {
                Ok(()) => return None,
                Err(mpsc::error::TrySendError::Full(refused)) => {
                    debug!(peer = %connection.peer, "it does not read what is sent to it: closed");
                    self.shared.counts.slow.fetch_add(1, Ordering::Relaxed);
                    self.close(number);
                    return Some(self.undelivered(refused, "the far end does not read".into()));
                }
                Err(mpsc::error::TrySendError::Closed(refused)) => {
                    self.forget(number);
                    parcel = refused;
                }
            }
        }
        // Nobody connects to a browser (RFC 7118 §5).
        if !parcel.destination.transport.is_stream() {
            return Some(self.undelivered(parcel, "its connection is gone, and only it can open another".into()));
        }
        if self.dialled() >= self.shared.settings.limits.dialled {
            return Some(self.undelivered(parcel, "too many connections of ours are open".into()));
        }
        self.dial(parcel);
        None
    }

    fn find(&self, destination: &Peer) -> Option<u64> {
        let named = destination.flow.map(|flow| flow.connection);
        let named = named.filter(|number| {
            self.connections.get(number).is_some_and(|found| found.peer.transport == destination.transport)
        });
        named.or_else(|| self.by_address.get(&(destination.transport, destination.address)).copied())
    }

    fn dialled(&self) -> usize {
        self.connections.len().saturating_sub(self.shared.accepted())
    }

    fn dial(&mut self, parcel: Parcel) {
        let mut peer = Peer { flow: None, ..parcel.destination };
        let listener = self.shared.settings.listeners.towards(&peer).unwrap_or_default();
        peer.flow = Some(Flow { listener, connection: self.shared.next_number() });
        let (connection, line) = self.shared.connect_ends(peer, true, self.alive.clone());
        let parcel = Parcel { destination: Peer { flow: None, ..parcel.destination }, ..parcel };
        if connection.outbox.try_send(parcel).is_err() {
            debug!(%peer, "an empty outbox takes a message");
        }
        self.insert(connection);
        self.sweep_at.get_or_insert_with(|| clock::now().instant + SWEEP_EVERY);
        drop(self.runtime.spawn(dial::connect(line)));
    }

    fn insert(&mut self, connection: Connection) {
        let Some(flow) = connection.peer.flow else { return };
        self.by_address.insert((connection.peer.transport, connection.peer.address), flow.connection);
        self.connections.insert(flow.connection, connection);
    }

    fn forget(&mut self, number: u64) -> Option<Connection> {
        let gone = self.connections.remove(&number)?;
        let key = (gone.peer.transport, gone.peer.address);
        if self.by_address.get(&key) == Some(&number) {
            self.by_address.remove(&key);
        }
        Some(gone)
    }

    /// Ends a connection; what waits in its outbox is lost.
    fn close(&mut self, number: u64) {
        if let Some(gone) = self.forget(number) {
            gone.stop.notify_one();
        }
    }

    fn undelivered(&self, parcel: Parcel, why: Arc<str>) -> Arrival {
        debug!(peer = %parcel.destination, %why, "not delivered");
        self.shared.counts.undelivered.fetch_add(1, Ordering::Relaxed);
        Arrival::Undelivered(parcel, why)
    }

    /// When [`sweep`](Self::sweep) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Closes what was idle for too long and is not `in_use`, and says in the log what was refused since the last time.
    pub fn sweep(&mut self, now: Instant, in_use: impl FnOnce() -> BTreeSet<Flow>) {
        if self.sweep_at.is_none_or(|at| now < at) {
            return;
        }
        self.sweep_at = Some(now + SWEEP_EVERY);
        let idle = self.shared.settings.patience.idle;
        let stale = |connection: &Connection| now.saturating_duration_since(connection.activity.last()) >= idle;
        let stale: Vec<Flow> =
            self.connections.values().filter(|connection| stale(connection)).filter_map(|c| c.peer.flow).collect();
        if !stale.is_empty() {
            let in_use = in_use();
            for flow in stale.into_iter().filter(|flow| !in_use.contains(flow)) {
                self.shared.counts.idle.fetch_add(1, Ordering::Relaxed);
                self.close(flow.connection);
            }
        }
        let counts = self.counts();
        if let Some(said) = counts.refusals_since(&self.told) {
            warn!(
                "connections refused or ended in the last {SWEEP_EVERY:?}: {said}; {} are open",
                self.connections.len()
            );
        }
        self.told = counts;
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.read()
    }

    /// Connections that are open, or being opened by us.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Lets every task write what is in its outbox, and waits until all have.
    pub async fn finish(self) {
        let Self { mut ended, connections, alive, shared, .. } = self;
        drop((connections, alive));
        if tokio::time::timeout(shared.settings.patience.last_words, ended.recv()).await.is_err() {
            info!("some connections were cut off with messages still to write");
        }
    }
}
