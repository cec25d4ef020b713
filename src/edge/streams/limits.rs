//! How many connections there may be, from whom, and what is counted of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::connection::Activity;
use super::{Connection, Event, Line, OUTBOX_CAPACITY, Parcel, Report, Settings, What};
use crate::sip::{Flow, Peer};

/// How many of each there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that others opened.
    pub connections: usize,
    /// Of those, from one IPv4 address or one /64 of IPv6.
    pub per_source: usize,
    /// Connections in a TLS or WebSocket handshake.
    pub handshakes: usize,
    /// Connections that we opened.
    pub dialled: usize,
    /// Events that the thread that decides has not read; readers of sockets wait beyond it.
    pub unread: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4_096, per_source: 256, handshakes: 256, dialled: 4_096, unread: 1_024 }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken.
    pub accepted: u64,
    /// Connections opened by us.
    pub dialled: u64,
    /// Refused: too many in all.
    pub full: u64,
    /// Refused: too many from that source.
    pub crowded: u64,
    /// Refused: too many handshakes under way.
    pub queueing: u64,
    /// Ended: the handshake failed, or was not done in time.
    pub handshakes: u64,
    /// Ended: no whole message in time, the first or a later one.
    pub late: u64,
    /// Ended: the stream could not be read on.
    pub broken: u64,
    /// Ended: the far end did not read.
    pub slow: u64,
    /// Ended: idle.
    pub idle: u64,
    /// Messages that no connection took.
    pub undelivered: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) dialled: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) crowded: AtomicU64,
    pub(super) queueing: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) broken: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) idle: AtomicU64,
    pub(super) undelivered: AtomicU64,
}

/// What all tasks share with the thread that decides.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) counts: Counters,
    pub(super) handshakes: Arc<Semaphore>,
    room: Arc<Semaphore>,
    report: Report,
    seats: Mutex<BTreeMap<IpAddr, usize>>,
    seated: AtomicUsize,
    next: AtomicU64,
}

/// A place among the connections that others opened; given back when it is dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    source: IpAddr,
}

impl Shared {
    pub(super) fn new(settings: Settings, report: Report) -> Self {
        Self {
            counts: Counters::default(),
            handshakes: Arc::new(Semaphore::new(settings.limits.handshakes)),
            room: Arc::new(Semaphore::new(settings.limits.unread)),
            settings,
            report,
            seats: Mutex::new(BTreeMap::new()),
            seated: AtomicUsize::new(0),
            next: AtomicU64::new(1),
        }
    }

    /// The number of a new connection.
    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Connections that others opened.
    pub(super) fn accepted(&self) -> usize {
        self.seated.load(Ordering::Relaxed)
    }

    /// A place for a connection from this address, unless there are too many; which, is counted.
    pub(super) fn seat(self: &Arc<Self>, source: IpAddr) -> Option<Seat> {
        let source = network_of(source);
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if self.accepted() >= self.settings.limits.connections {
            self.counts.full.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let taken = seats.entry(source).or_default();
        if *taken >= self.settings.limits.per_source {
            self.counts.crowded.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *taken += 1;
        self.seated.fetch_add(1, Ordering::Relaxed);
        Some(Seat { shared: self.clone(), source })
    }

    /// The two ends of a connection: what the thread that decides knows of it, and what its task has.
    pub(super) fn connect_ends(
        self: &Arc<Self>,
        peer: Peer,
        ours: bool,
        alive: mpsc::Sender<Infallible>,
    ) -> (Connection, Line) {
        let (sender, outbox) = mpsc::channel(OUTBOX_CAPACITY);
        let (stop, activity) = (Arc::new(Notify::new()), Arc::new(Activity::new()));
        let connection = Connection { peer, outbox: sender, stop: stop.clone(), activity: activity.clone() };
        (connection, Line { peer, ours, outbox, stop, activity, shared: self.clone(), _alive: alive })
    }

    /// Tells the thread that decides of a message; waits while too much is unread. `false` when there is nobody to tell.
    pub(super) async fn message(&self, source: Peer, bytes: Bytes) -> bool {
        self.tell(What::Message { source, bytes }).await
    }

    pub(super) async fn opened(&self, connection: Connection) -> bool {
        self.tell(What::Opened(connection)).await
    }

    pub(super) async fn undelivered(&self, parcel: Parcel, why: Arc<str>) -> bool {
        self.tell(What::Undelivered(parcel, why)).await
    }

    pub(super) async fn closed(&self, flow: Flow) -> bool {
        self.tell(What::Closed(flow)).await
    }

    async fn tell(&self, what: What) -> bool {
        let Ok(room) = self.room.clone().acquire_owned().await else { return false };
        (self.report)(Event { what, _room: room })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.shared.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.source) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.source);
            }
        }
        self.shared.seated.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            accepted: read(&self.accepted),
            dialled: read(&self.dialled),
            full: read(&self.full),
            crowded: read(&self.crowded),
            queueing: read(&self.queueing),
            handshakes: read(&self.handshakes),
            late: read(&self.late),
            broken: read(&self.broken),
            slow: read(&self.slow),
            idle: read(&self.idle),
            undelivered: read(&self.undelivered),
        }
    }
}

impl Counts {
    /// In words what went wrong with connections since `before`; idle ones did nothing wrong.
    pub(super) fn refusals_since(&self, before: &Self) -> Option<String> {
        let table = [
            (self.full - before.full, "over the limit of all"),
            (self.crowded - before.crowded, "over the limit of their address"),
            (self.queueing - before.queueing, "with too many handshakes before them"),
            (self.handshakes - before.handshakes, "without a handshake"),
            (self.late - before.late, "without a whole message in time"),
            (self.broken - before.broken, "that sent no SIP"),
            (self.slow - before.slow, "that did not read"),
        ];
        let mut said = String::new();
        for (count, what) in table.into_iter().filter(|(count, _)| *count > 0) {
            let comma = if said.is_empty() { "" } else { ", " };
            let _ = write!(said, "{comma}{count} {what}");
        }
        (!said.is_empty()).then_some(said)
    }
}

/// Whose connections are counted together: an address of IPv4; a /64 of IPv6, for a household has all of one.
fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::streams::Patience;
    use crate::sip::{Listener, Listeners, Transport};

    #[test]
    fn seats_are_bounded_by_source_and_in_all_and_given_back() {
        let us = Listener { transport: Transport::Tcp, advertised: "192.0.2.1:5060".parse().unwrap() };
        let settings = Settings {
            patience: Patience::default(),
            limits: Limits { connections: 3, per_source: 2, ..Limits::default() },
            listeners: Listeners::new(us, []),
            ca: None,
            names: std::sync::Mutex::default(),
        };
        let shared = Arc::new(Shared::new(settings, Arc::new(|_| true)));
        let seat = |source: &str| shared.seat(source.parse().unwrap());
        let (first, second) = (seat("198.51.100.1"), seat("198.51.100.1"));
        assert!(first.is_some() && second.is_some());
        assert!(seat("198.51.100.1").is_none());
        assert!(seat("::ffff:198.51.100.1").is_none(), "the same address through an IPv6 socket");
        let third = seat("2001:db8::1");
        assert!(third.is_some());
        assert!(seat("2001:db8:1::1").is_none(), "three in all");
        drop(second);
        assert!(seat("2001:db8::ffff:1").is_some(), "one of the same /64 is the second");
        drop((first, third));
        assert_eq!((shared.accepted(), shared.seats.lock().unwrap().len()), (0, 0));
        let counts = shared.counts.read();
        assert_eq!((counts.crowded, counts.full), (2, 1));
        assert_eq!(
            counts.refusals_since(&Counts::default()).as_deref(),
            Some("1 over the limit of all, 2 over the limit of their address")
        );
        assert_eq!(counts.refusals_since(&counts), None);
    }
}
