//! A thread that owns legs whole: their sockets, what they hear and what they say.
//!
//! It wakes each millisecond. The legs are spread over twenty slots; each millisecond one slot's legs speak (a packet each, one
//! `send`), and another slot's listen (one `recvmmsg` that takes all that has come since the last visit, usually one):
//!
//! ```text
//! slot    0  1  2  3  4  5 … 19        a leg of slot 4:   listens in milliseconds 3, 23, 43 …, speaks in 4, 24, 44 …
//! ms 3             speaks listens     what its listening decides has 1 ms to come back before it speaks
//! ```
//!
//! So a leg costs two system calls each 20 ms, there is no readiness to ask for, and a digit is answered within
//! 20 ms + 1 ms of its first packet. Legs whose trunk lets them share a socket are on the one of their slot, and cost two system
//! calls for sixty-four of them ([`SharedSocket`]). RTCP leaves behind the tick's packet when it is due, each five seconds; what comes to
//! ports of its own is asked for once a millisecond for all legs together ([`RtcpSockets`]).

#![expect(clippy::disallowed_methods, reason = "this is the edge: it reads the clock and waits")]

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::{Arrivals, Outbox};
use super::recordings::Recording;
use super::rtcp_socket::{RtcpSockets, Whose};
use super::rtp_socket::{DATAGRAM_LENGTH_MAX, Inbox, RtpSocket};
use super::scheduling::{MEDIA_TURN, ask_for_short_turns};
use super::shared_socket::{self, SharedSocket};
use crate::audio::Frame;
use crate::dtmf::{Digit, Road};
use crate::ids::{LegId, PlayId};
use crate::media::{
    CONTROL_LENGTH_MAX, ControlPacket, Event, Leg, LegSettings, MAX_PACKET, ON_TIME_MAX, Overload, RecordingChange,
    Segment, Switch, Switchboard,
};
use crate::rtp::RtcpPath;

/// Milliseconds of a frame; each has its share of the legs.
pub const SLOTS: usize = 20;

/// A leg listens this many slots before it speaks: the time for the flow to decide on a digit. It takes tenths of that, also where the
/// signalling thread has to share a core with a thousand legs: of 5,000 keys 99 in 100 are answered within 20.7 ms.
const LISTEN_LEAD: usize = 1;

/// A new leg takes the emptiest of the slots that come next: its first packet leaves within this many milliseconds.
pub const SLOTS_AHEAD: usize = 8;

const SLOT: Duration = Duration::from_millis(1);

/// Batches taken from a shared socket in one visit: all that its legs may have sent in 100 ms.
const BATCHES_MAX: usize = 40;

/// How far a thread that was kept from running catches up frame by frame; what is older is left out.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// Commands that may wait. A worker takes them each millisecond, so this is far above any load it can carry.
const COMMANDS_MAX: usize = 4096;

/// Reports of one slot that leave together through a shared socket; one that finds no room is left out.
const REPORTS_AT_ONCE: usize = 64;

/// How long a key that one leg has pressed is pressed on the others: it is passed on at its first packet, when nobody knows yet
/// how long it will be down.
const PASSED_KEY: Duration = Duration::from_millis(100);

/// What a worker is told. Commands for a leg that is not open do nothing: it has just been closed.
#[derive(Debug)]
pub enum Command {
    /// A leg begins: it sends from its next slot on.
    Open {
        /// Its name; one that is open already is closed first.
        leg: LegId,
        /// Where it receives.
        socket: RtpSocket,
        /// What was negotiated.
        settings: LegSettings,
    },
    /// A slot gets its shared socket; it has none yet, or the new one is dropped.
    Share {
        /// Below [`SLOTS`].
        slot: usize,
        /// Where its legs will receive.
        socket: SharedSocket,
    },
    /// A leg begins on a slot's shared socket, with all that comes from its far end (`settings.remote`).
    OpenShared {
        /// Its name; one that is open already is closed first.
        leg: LegId,
        /// A slot that has a shared socket on which nobody has this far end; the leg is closed at once otherwise.
        slot: usize,
        /// What was negotiated.
        settings: LegSettings,
    },
    /// A leg gets a socket of its own, in place of the one it shares: its far end moves.
    Rebind {
        /// The leg.
        leg: LegId,
        /// Where it receives from now on.
        socket: RtpSocket,
    },
    /// Play this, in place of what plays ([`Leg::play`]).
    Play {
        /// The leg.
        leg: LegId,
        /// Reported when it has been played.
        play: PlayId,
        /// In order.
        segments: Box<[Segment]>,
    },
    /// Play nothing any more.
    Stop {
        /// The leg.
        leg: LegId,
    },
    /// Press a key ([`Leg::press`]).
    Press {
        /// The leg.
        leg: LegId,
        /// The key.
        digit: Digit,
        /// How long.
        length: Duration,
    },
    /// New settings ([`Leg::retarget`]).
    Retarget {
        /// The leg.
        leg: LegId,
        /// What was negotiated again.
        settings: LegSettings,
    },
    /// Join it to a bridge, put it on hold, play it music ([`Switchboard::switch`]). Legs of one bridge must be on one worker.
    Switch {
        /// The leg.
        leg: LegId,
        /// What is switched.
        switch: Switch,
    },
    /// Record the leg in place of what recorded it.
    Record {
        /// The leg.
        leg: LegId,
        /// Dropped, and so ended, when the leg is not open.
        recording: Box<Recording>,
    },
    /// Change the leg's recording.
    ChangeRecording {
        /// The leg.
        leg: LegId,
        /// How.
        change: RecordingChange,
    },
    /// The leg ends; [`Event::Closed`] is its last report.
    Close {
        /// The leg.
        leg: LegId,
    },
    /// All legs end, and the thread.
    Shutdown,
}

/// What a leg reports.
pub type Report = (LegId, Event);

/// Why a command was not taken; it is dropped, an `Open`'s socket with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// So many wait that the worker cannot be keeping up: refuse the call.
    #[error("the media worker has more commands waiting than it can take")]
    Full,
    /// The thread has ended.
    #[error("the media worker has ended")]
    Ended,
}

/// The handle of one worker thread, which ends when this is dropped.
#[derive(Debug)]
pub struct MediaWorker {
    commands: SyncSender<Command>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counters {
    legs: AtomicUsize,
    late_ticks: AtomicU64,
    overloaded: AtomicBool,
    /// The slot that speaks next.
    slot: AtomicUsize,
    packets_strange: AtomicU64,
    packets_unsent: AtomicU64,
    one_way: AtomicU64,
}

impl MediaWorker {
    /// Starts the thread `media-INDEX`. `report` is called on it, so it must be quick and never wait.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(index: usize, report: impl Fn(Report) + Send + 'static) -> io::Result<Self> {
        let (commands, waiting) = sync_channel(COMMANDS_MAX);
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let controls = RtcpSockets::new()?;
        let thread = std::thread::Builder::new()
            .name(format!("media-{index}"))
            .spawn(move || Worker::new(shared, controls, Box::new(report)).run(&waiting))?;
        Ok(Self { commands, counters, thread: Some(thread) })
    }

    /// Hands over a command; never waits.
    ///
    /// # Errors
    /// [`Refused`], with the command dropped.
    pub fn send(&self, command: Command) -> Result<(), Refused> {
        // Counted before it is sent: the thread may have closed it again by the time that this call returns.
        let opens = usize::from(matches!(command, Command::Open { .. } | Command::OpenShared { .. }));
        self.counters.legs.fetch_add(opens, Ordering::Relaxed);
        self.commands.try_send(command).map_err(|error| {
            self.counters.legs.fetch_sub(opens, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => Refused::Full,
                TrySendError::Disconnected(_) => Refused::Ended,
            }
        })
    }

    /// Legs that are open or about to be: the least loaded worker takes the next call.
    #[must_use]
    pub fn legs(&self) -> usize {
        self.counters.legs.load(Ordering::Relaxed)
    }

    /// Milliseconds that came later than [`ON_TIME_MAX`] since the start: the machine is overloaded, or was asleep.
    #[must_use]
    pub fn late_ticks(&self) -> u64 {
        self.counters.late_ticks.load(Ordering::Relaxed)
    }

    /// It has more to do than it can, so that no new leg should come here ([`Overload`]).
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.counters.overloaded.load(Ordering::Relaxed)
    }

    /// The slot that speaks next: a new leg is heard soonest in one of those behind it.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.counters.slot.load(Ordering::Relaxed)
    }

    /// Packets that came to shared sockets from nobody's far end since the start.
    #[must_use]
    pub fn packets_strange(&self) -> u64 {
        self.counters.packets_strange.load(Ordering::Relaxed)
    }

    /// How often it was found since the start that one end of a leg does not hear the other.
    #[must_use]
    pub fn one_way(&self) -> u64 {
        self.counters.one_way.load(Ordering::Relaxed)
    }

    /// Packets that the system would not send since the start.
    #[must_use]
    pub fn packets_unsent(&self) -> u64 {
        self.counters.packets_unsent.load(Ordering::Relaxed)
    }
}

impl Drop for MediaWorker {
    fn drop(&mut self) {
        // Waits for room if it must: the thread takes commands until it ends.
        let _ = self.commands.send(Command::Shutdown);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What was due at `due` is made up for at once, one after the other; when that is too long ago the rest is left out.
fn catch_up_from(due: Instant, now: Instant) -> Instant {
    if now.saturating_duration_since(due) > BEHIND_MAX { now } else { due }
}

/// What the thread owns.
struct Worker {
    /// Each slot's legs.
    slots: [Vec<Seat>; SLOTS],
    /// The socket that legs of a slot share.
    shared: [Option<SharedSocket>; SLOTS],
    /// Room for one visit to a shared socket.
    arrivals: Arrivals<DATAGRAM_LENGTH_MAX>,
    /// What to ask for RTCP.
    controls: RtcpSockets,
    /// The slot of each leg.
    places: BTreeMap<LegId, usize>,
    overload: Overload,
    desk: Desk,
}

/// A leg with its socket.
struct Seat {
    id: LegId,
    leg: Leg,
    line: Line,
    recording: Option<Box<Recording>>,
}

/// Where a leg's packets come and go.
enum Line {
    /// A socket of its own.
    Own(RtpSocket),
    /// The shared one of its slot: it gets what comes from this far end.
    Shared(SocketAddr),
}

/// What serves all legs in turn.
struct Desk {
    inbox: Inbox,
    packet: [u8; MAX_PACKET],
    /// What the legs of a slot say through its shared socket.
    outbox: Outbox<MAX_PACKET>,
    report: [u8; CONTROL_LENGTH_MAX],
    /// Reports that leave through the slot's shared socket of RTCP.
    reports: Vec<([u8; CONTROL_LENGTH_MAX], ControlPacket)>,
    events: Vec<Event>,
    switchboard: Switchboard,
    /// Events of other legs than the one whose turn it is.
    others: Vec<Report>,
    /// Keys that legs of a bridge are to press, and how they came.
    keys: Vec<(LegId, Digit, Road)>,
    tell: Box<dyn Fn(Report) + Send>,
    counters: Arc<Counters>,
}

impl Worker {
    fn new(counters: Arc<Counters>, controls: RtcpSockets, tell: Box<dyn Fn(Report) + Send>) -> Self {
        let desk = Desk {
            inbox: Inbox::new(),
            packet: [0; MAX_PACKET],
            outbox: Outbox::new(shared_socket::LEGS_MAX + REPORTS_AT_ONCE),
            report: [0; CONTROL_LENGTH_MAX],
            reports: Vec::with_capacity(REPORTS_AT_ONCE),
            events: Vec::with_capacity(16),
            switchboard: Switchboard::new(),
            others: Vec::with_capacity(16),
            keys: Vec::with_capacity(16),
            tell,
            counters,
        };
        Self {
            slots: Default::default(),
            shared: Default::default(),
            arrivals: Arrivals::new(),
            controls,
            places: BTreeMap::new(),
            overload: Overload::default(),
            desk,
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        ask_for_short_turns(MEDIA_TURN);
        let mut slot = 0;
        let mut due = Instant::now();
        loop {
            if self.places.is_empty() {
                // No milliseconds pass here that could tell that it is well again.
                self.overload = Overload::default();
                self.desk.counters.overloaded.store(false, Ordering::Relaxed);
                let Ok(command) = commands.recv() else { return };
                due = Instant::now();
                if self.handle_command(command, slot, due).is_break() {
                    return;
                }
            }
            let now = self.wait_until(&mut due);
            loop {
                match commands.try_recv() {
                    Ok(command) => {
                        if self.handle_command(command, slot, now).is_break() {
                            return;
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.each_leg(slot, |seat, desk| seat.speak(now, desk));
            self.send_shared(slot);
            let listening = (slot + LISTEN_LEAD) % SLOTS;
            self.each_leg(listening, |seat, desk| seat.listen(now, desk));
            self.listen_shared(now, listening);
            self.listen_for_control(now);
            self.press_passed_keys();
            slot = (slot + 1) % SLOTS;
            self.desk.counters.slot.store(slot, Ordering::Relaxed);
            due += SLOT;
        }
    }

    /// Waits for the moment `due` and gives the present. Late, it does not wait, and `due` moves on if it is too late to
    /// catch up.
    fn wait_until(&mut self, due: &mut Instant) -> Instant {
        let mut now = Instant::now();
        let early = due.checked_duration_since(now);
        if let Some(early) = early {
            std::thread::sleep(early);
            now = Instant::now();
        }
        let late = now.saturating_duration_since(*due) > ON_TIME_MAX;
        if late {
            self.desk.counters.late_ticks.fetch_add(1, Ordering::Relaxed);
        }
        if self.overload.handle_tick(late, early.is_some(), self.places.len()) {
            self.desk.counters.overloaded.store(self.overload.is_overloaded(), Ordering::Relaxed);
        }
        *due = catch_up_from(*due, now);
        now
    }

    /// Breaks when the thread must end. `slot` is the one that speaks next.
    fn handle_command(&mut self, command: Command, slot: usize, now: Instant) -> std::ops::ControlFlow<()> {
        match command {
            Command::Open { leg, mut socket, settings } => {
                self.close(leg);
                let place = self.emptiest_slot(slot);
                self.open_control(leg, &mut socket, settings.rtcp);
                if let Some(seats) = self.slots.get_mut(place) {
                    seats.push(Seat {
                        id: leg,
                        leg: Leg::new(settings, now),
                        line: Line::Own(socket),
                        recording: None,
                    });
                    self.places.insert(leg, place);
                }
            }
            Command::Share { slot, socket } => {
                if let Some(place @ None) = self.shared.get_mut(slot) {
                    if let Some(beside) = socket.beside()
                        && let Err(error) = self.controls.add(beside, Whose::Slot(slot))
                    {
                        tracing::warn!(%error, "no reports of far ends can be heard on a shared port");
                    }
                    *place = Some(socket);
                }
            }
            Command::OpenShared { leg, slot, settings } => {
                self.close(leg);
                let (far, path) = (settings.remote, settings.rtcp);
                let seat = Seat { id: leg, leg: Leg::new(settings, now), line: Line::Shared(far), recording: None };
                if let (Some(seats), Some(Some(shared))) = (self.slots.get_mut(slot), self.shared.get_mut(slot))
                    && shared.seat(far, seats.len())
                {
                    shared.seat_control(far, path.address());
                    seats.push(seat);
                    self.places.insert(leg, slot);
                } else {
                    tracing::error!(leg = leg.0, "no shared socket takes this leg: it is closed");
                    self.desk.dismiss(&seat);
                }
            }
            Command::Rebind { leg, socket } => self.rebind(leg, socket),
            Command::Play { leg, play, segments } => {
                self.one_leg(leg, |seat, desk| seat.leg.play(play, segments, &mut desk.events));
            }
            Command::Stop { leg } => self.one_leg(leg, |seat, _| seat.leg.stop()),
            Command::Press { leg, digit, length } => self.one_leg(leg, |seat, _| {
                if !seat.leg.press(digit, length) {
                    tracing::debug!(leg = leg.0, "a key could not be pressed");
                }
            }),
            Command::Retarget { leg, settings } => {
                self.move_control(leg, settings.rtcp);
                self.one_leg(leg, |seat, desk| {
                    seat.leg.retarget(settings, now);
                    desk.switchboard.changed(seat.id, Some(seat.leg.codec()), &mut desk.others);
                });
            }
            Command::Switch { leg, switch } => self.one_leg(leg, |seat, desk| {
                desk.switchboard.switch(seat.id, &mut seat.leg, switch, &mut desk.others);
            }),
            Command::Record { leg, recording } => self.one_leg(leg, |seat, _| {
                seat.leg.record(true);
                seat.recording = Some(recording);
            }),
            Command::ChangeRecording { leg, change } => self.one_leg(leg, |seat, _| {
                if let Some(recording) = &mut seat.recording {
                    recording.change(change);
                }
            }),
            Command::Close { leg } => self.close(leg),
            Command::Shutdown => {
                for leg in self.places.keys().copied().collect::<Vec<_>>() {
                    self.close(leg);
                }
                return std::ops::ControlFlow::Break(());
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Presses on the other legs of a bridge what one has pressed.
    fn press_passed_keys(&mut self) {
        let mut next = 0;
        while let Some(&(leg, digit, road)) = self.desk.keys.get(next) {
            self.one_leg(leg, |seat, _| {
                // Tones that came in the audio have gone on in it.
                if (road, seat.leg.road()) != (Road::InBand, Road::InBand) {
                    seat.leg.press(digit, PASSED_KEY);
                }
            });
            next += 1;
        }
        self.desk.keys.clear();
    }

    fn emptiest_slot(&self, slot: usize) -> usize {
        let ahead = (0..SLOTS_AHEAD).map(|ahead| (slot + ahead) % SLOTS);
        ahead.min_by_key(|&place| self.slots.get(place).map_or(usize::MAX, Vec::len)).unwrap_or(slot)
    }

    fn close(&mut self, leg: LegId) {
        let Some(&place) = self.places.get(&leg) else { return };
        self.one_leg(leg, |seat, desk| seat.say_goodbye(Instant::now(), desk));
        self.send_shared(place);
        self.take_away(leg);
    }

    /// Closes a leg without a word: one that panicked says nothing more.
    fn take_away(&mut self, leg: LegId) {
        let Some(&place) = self.places.get(&leg) else { return };
        let index = self.slots.get(place).and_then(|seats| seats.iter().position(|seat| seat.id == leg));
        if let Some(index) = index {
            self.unseat(place, index);
        }
    }

    /// Takes a leg from its seat, reports its end, and tells the shared socket who sits there now.
    fn unseat(&mut self, slot: usize, index: usize) {
        let Some(seats) = self.slots.get_mut(slot).filter(|seats| index < seats.len()) else { return };
        let seat = seats.swap_remove(index);
        if let Some(Some(shared)) = self.shared.get_mut(slot) {
            if let Line::Shared(far) = seat.line {
                shared.unseat(far);
            }
            if let Some(Seat { line: Line::Shared(far), .. }) = seats.get(index) {
                shared.reseat(*far, index);
            }
        }
        self.places.remove(&seat.id);
        self.desk.dismiss(&seat);
    }

    /// Listens to a leg's own socket of RTCP, or closes it where nothing will come.
    fn open_control(&mut self, leg: LegId, socket: &mut RtpSocket, path: RtcpPath) {
        match (path, socket.beside()) {
            (RtcpPath::At(_), Some(beside)) => {
                if let Err(error) = self.controls.add(beside, Whose::Leg(leg)) {
                    tracing::warn!(leg = leg.0, %error, "the far end's reports cannot be heard");
                }
            }
            (RtcpPath::Multiplexed | RtcpPath::Nowhere, _) => socket.close_beside(),
            (RtcpPath::At(_), None) => {}
        }
    }

    /// What was agreed of RTCP is agreed anew.
    fn move_control(&mut self, leg: LegId, path: RtcpPath) {
        let Some(&slot) = self.places.get(&leg) else { return };
        let seat = self.slots.get_mut(slot).and_then(|seats| seats.iter_mut().find(|seat| seat.id == leg));
        match (seat.map(|seat| &mut seat.line), self.shared.get_mut(slot)) {
            (Some(Line::Shared(far)), Some(Some(shared))) => shared.seat_control(*far, path.address()),
            (Some(Line::Own(socket)), _) => {
                if path.address().is_some()
                    && socket.open_beside()
                    && let Some(beside) = socket.beside()
                {
                    let _ = self.controls.add(beside, Whose::Leg(leg));
                }
            }
            (Some(Line::Shared(_)) | None, _) => {}
        }
    }

    /// Hands what came to sockets of RTCP to the legs it is for.
    fn listen_for_control(&mut self, now: Instant) {
        for whose in self.controls.poll() {
            match whose {
                Whose::Leg(leg) => {
                    let seats = self.places.get(&leg).and_then(|&place| self.slots.get_mut(place));
                    let Some(seat) = seats.and_then(|seats| seats.iter_mut().find(|seat| seat.id == leg)) else {
                        continue;
                    };
                    let Line::Own(socket) = &seat.line else { continue };
                    let Some((source, datagram)) = socket.beside().and_then(|beside| self.controls.receive(beside))
                    else {
                        continue;
                    };
                    let heard = self.desk.serve(seat, |seat, desk| {
                        seat.leg.handle_control(now, source, datagram, &mut desk.events);
                    });
                    if !heard {
                        self.take_away(leg);
                    }
                }
                Whose::Slot(slot) => self.listen_for_shared_control(now, slot),
            }
        }
    }

    fn listen_for_shared_control(&mut self, now: Instant, slot: usize) {
        let (Some(Some(shared)), Some(seats)) = (self.shared.get(slot), self.slots.get_mut(slot)) else { return };
        let Some((source, datagram)) = shared.beside().and_then(|beside| self.controls.receive(beside)) else { return };
        let Some(seat) = shared.seat_of_control(source).and_then(|index| seats.get_mut(index)) else {
            self.desk.counters.packets_strange.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let leg = seat.id;
        let heard = self.desk.serve(seat, |seat, desk| {
            seat.leg.handle_control(now, source, datagram, &mut desk.events);
        });
        if !heard {
            self.take_away(leg);
        }
    }

    fn rebind(&mut self, leg: LegId, socket: RtpSocket) {
        let Some(&slot) = self.places.get(&leg) else { return };
        // Whether its far end multiplexes is said by what it moves with; until then there is no harm in listening.
        if let Some(beside) = socket.beside() {
            let _ = self.controls.add(beside, Whose::Leg(leg));
        }
        let seat = self.slots.get_mut(slot).and_then(|seats| seats.iter_mut().find(|seat| seat.id == leg));
        if let Some(seat) = seat
            && let Line::Shared(far) = std::mem::replace(&mut seat.line, Line::Own(socket))
            && let Some(Some(shared)) = self.shared.get_mut(slot)
        {
            shared.unseat(far);
        }
    }

    /// Sends what the slot's legs have said through the sockets that they share.
    fn send_shared(&mut self, slot: usize) {
        if let Some(Some(shared)) = self.shared.get(slot) {
            for (report, packet) in self.desk.reports.drain(..) {
                if let Some(beside) = shared.beside() {
                    beside.send(report.get(..packet.length).unwrap_or_default(), packet.destination);
                }
            }
            let unsent = shared.send(&mut self.desk.outbox);
            self.desk.counters.packets_unsent.fetch_add(unsent as u64, Ordering::Relaxed);
        }
    }

    /// Hands what came to a slot's shared socket to the legs whose far ends sent it.
    fn listen_shared(&mut self, now: Instant, slot: usize) {
        let (Some(Some(shared)), Some(seats)) = (self.shared.get(slot), self.slots.get_mut(slot)) else { return };
        if shared.is_empty() {
            return;
        }
        let (mut strange, mut broken) = (0, None);
        for _ in 0..BATCHES_MAX {
            let more = shared.receive(&mut self.arrivals);
            for arrival in self.arrivals.iter_mut() {
                let Some(seat) = shared.seat_of(arrival.source).and_then(|index| seats.get_mut(index)) else {
                    strange += 1;
                    continue;
                };
                let heard = self.desk.serve(seat, |seat, desk| {
                    seat.leg.handle_packet(now, arrival.source, arrival.datagram, &mut desk.events);
                });
                if !heard {
                    broken = Some(seat.id);
                    break;
                }
            }
            if !more || broken.is_some() {
                break;
            }
        }
        if strange > 0 {
            self.desk.counters.packets_strange.fetch_add(strange, Ordering::Relaxed);
        }
        if let Some(leg) = broken {
            self.take_away(leg);
        }
    }

    fn one_leg(&mut self, leg: LegId, turn: impl FnOnce(&mut Seat, &mut Desk)) {
        let seats = self.places.get(&leg).and_then(|&place| self.slots.get_mut(place));
        let Some(seat) = seats.and_then(|seats| seats.iter_mut().find(|seat| seat.id == leg)) else { return };
        if !self.desk.serve(seat, turn) {
            self.take_away(leg);
        }
    }

    fn each_leg(&mut self, slot: usize, turn: impl Fn(&mut Seat, &mut Desk)) {
        let mut index = 0;
        while let Some(seat) = self.slots.get_mut(slot).and_then(|seats| seats.get_mut(index)) {
            if self.desk.serve(seat, &turn) {
                index += 1;
            } else {
                self.unseat(slot, index);
            }
        }
    }
}

impl Desk {
    /// Gives a leg its turn and passes its events on. False when it panicked: that costs this leg, not the others.
    fn serve(&mut self, seat: &mut Seat, turn: impl FnOnce(&mut Seat, &mut Self)) -> bool {
        let turned = catch_unwind(AssertUnwindSafe(|| turn(seat, self)));
        // Most turns have nothing to tell.
        if !self.events.is_empty() || !self.others.is_empty() {
            self.pass_on(seat.id);
        }
        if turned.is_err() {
            tracing::error!(leg = seat.id.0, "a media leg panicked and is closed");
        }
        turned.is_ok()
    }

    /// Passes on what a leg's turn has brought.
    fn pass_on(&mut self, leg: LegId) {
        for event in self.events.drain(..) {
            if let Event::Digit(digit, road) = event {
                self.switchboard.pass_key(leg, digit, |other, digit| self.keys.push((other, digit, road)));
            }
            if matches!(&event, Event::OneWay(found) if found.is_fault()) {
                self.counters.one_way.fetch_add(1, Ordering::Relaxed);
            }
            (self.tell)((leg, event));
        }
        self.others.drain(..).for_each(&self.tell);
    }

    fn dismiss(&mut self, seat: &Seat) {
        self.switchboard.changed(seat.id, None, &mut self.others);
        self.others.drain(..).for_each(&self.tell);
        self.counters.legs.fetch_sub(1, Ordering::Relaxed);
        (self.tell)((seat.id, Event::Closed(seat.leg.report())));
    }
}

impl Seat {
    fn speak(&mut self, now: Instant, desk: &mut Desk) {
        if self.leg.is_bridged() {
            desk.switchboard.give(self.id, &mut self.leg);
        }
        self.send(now, desk);
        if let Some(packet) = self.leg.control(now, &mut desk.report) {
            self.send_control(packet, desk);
        }
        if self.leg.is_bridged() {
            desk.switchboard.take(self.id, &self.leg);
        }
        if let Some(recording) = &mut self.recording {
            recording.hold_back(self.leg.road() == Road::InBand);
            if self.leg.take_key() {
                recording.key_down();
            }
            let [caller, heard] = [self.leg.heard(), self.leg.said()].map(|side| side.map_or(&[][..], Frame::samples));
            recording.tick(caller, heard);
        }
    }

    fn send(&mut self, now: Instant, desk: &mut Desk) {
        let Line::Own(socket) = &mut self.line else {
            // There is room for as many as may share the socket.
            if let Some(packet) = desk.outbox.blank()
                && let Some(length) = self.leg.tick(now, packet, &mut desk.events)
            {
                desk.outbox.add(length, self.leg.destination());
            }
            return;
        };
        let length = self.leg.tick(now, &mut desk.packet, &mut desk.events);
        if let Some(packet) = length.and_then(|length| desk.packet.get(..length))
            && socket.send(packet, self.leg.destination()).is_err()
        {
            desk.counters.packets_unsent.fetch_add(1, Ordering::Relaxed);
        }
        follow_lock(self.id, &self.leg, socket);
    }

    fn say_goodbye(&mut self, now: Instant, desk: &mut Desk) {
        if let Some(packet) = self.leg.farewell(now, &mut desk.report) {
            self.send_control(packet, desk);
        }
    }

    /// Sends the desk's report. Where it cannot leave the next one says the same.
    fn send_control(&self, packet: ControlPacket, desk: &mut Desk) {
        let report = desk.report.get(..packet.length).unwrap_or_default();
        match &self.line {
            Line::Own(socket) if packet.is_multiplexed => {
                let _ = socket.send(report, packet.destination);
            }
            Line::Own(socket) => {
                if let Some(beside) = socket.beside() {
                    beside.send(report, packet.destination);
                }
            }
            Line::Shared(_) if packet.is_multiplexed => {
                if let Some(place) = desk.outbox.blank().and_then(|blank| blank.get_mut(..report.len())) {
                    place.copy_from_slice(report);
                    desk.outbox.add(packet.length, packet.destination);
                }
            }
            Line::Shared(_) => {
                if desk.reports.len() < REPORTS_AT_ONCE {
                    desk.reports.push((desk.report, packet));
                }
            }
        }
    }

    fn listen(&mut self, now: Instant, desk: &mut Desk) {
        let Line::Own(socket) = &mut self.line else { return };
        socket.receive(&mut desk.inbox);
        for (source, datagram) in desk.inbox.iter_mut() {
            self.leg.handle_packet(now, source, datagram, &mut desk.events);
        }
        follow_lock(self.id, &self.leg, socket);
    }
}

/// The socket is connected exactly while the leg hears one source only.
fn follow_lock(id: LegId, leg: &Leg, socket: &mut RtpSocket) {
    let locked = leg.locked();
    if socket.peer() != locked
        && let Err(error) = socket.connect(locked)
    {
        tracing::debug!(leg = id.0, %error, "the socket stays as it was");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc::channel;

    use super::*;

    fn open(leg: u64) -> Command {
        let settings = LegSettings {
            telephone_event: None,
            send: false,
            ssrc: 0,
            ..LegSettings::plain("127.0.0.1:9".parse().unwrap())
        };
        let socket = RtpSocket::open(Ipv4Addr::LOCALHOST.into(), None, 0).unwrap();
        Command::Open { leg: LegId(leg), socket, settings }
    }

    /// A worker without its thread, with `legs` legs opened in slot 0, and what it reports.
    fn worker(legs: u64) -> (Worker, Receiver<Report>) {
        let (sender, reports) = channel();
        let counters = Arc::new(Counters { legs: AtomicUsize::new(legs as usize), ..Counters::default() });
        let controls = RtcpSockets::new().unwrap();
        let mut worker = Worker::new(counters, controls, Box::new(move |report| drop(sender.send(report))));
        for leg in 0..legs {
            assert!(worker.handle_command(open(leg), 0, Instant::now()).is_continue());
        }
        (worker, reports)
    }

    #[test]
    fn new_legs_fill_the_slots_that_come_next_evenly() {
        let (mut worker, _reports) = worker(20);
        let loads: Vec<usize> = worker.slots.iter().map(Vec::len).collect();
        assert_eq!(loads[..9], [3, 3, 3, 3, 2, 2, 2, 2, 0]);
        assert!(worker.handle_command(open(99), 18, Instant::now()).is_continue());
        assert_eq!(worker.places.get(&LegId(99)), Some(&18), "the slots after 19 are 0, 1, 2 …");
    }

    #[test]
    fn a_leg_that_panics_is_closed_and_its_neighbours_go_on() {
        let (mut worker, reports) = worker(24);
        let neighbours = worker.slots[3].len();
        worker.each_leg(3, |seat, _| assert_ne!(seat.id, LegId(3), "this leg is broken"));
        assert_eq!((worker.slots[3].len(), worker.places.len()), (neighbours - 1, 23));
        let reported: Vec<Report> = reports.try_iter().collect();
        assert!(matches!(reported[..], [(LegId(3), Event::Closed(_))]), "{reported:?}");
        assert_eq!(worker.desk.counters.legs.load(Ordering::Relaxed), 23);
    }

    #[test]
    fn a_late_thread_catches_up_but_not_for_ever() {
        let due = Instant::now();
        for behind in [0, 1, 99, 100] {
            assert_eq!(catch_up_from(due, due + Duration::from_millis(behind)), due, "{behind} ms are made up for");
        }
        let now = due + Duration::from_millis(101);
        assert_eq!(catch_up_from(due, now), now, "more is left out");
        let (mut worker, _reports) = worker(0);
        worker.wait_until(&mut (due - ON_TIME_MAX - SLOT));
        assert_eq!(worker.desk.counters.late_ticks.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_worker_that_is_stuck_refuses_instead_of_making_the_caller_wait() {
        let (release, gate) = channel::<()>();
        let (reporting, reported) = channel();
        let report = move |_| {
            let _ = reporting.send(());
            let _ = gate.recv();
        };
        let worker = MediaWorker::start(7, report).unwrap();
        worker.send(open(1)).unwrap();
        // Nothing to play is reported at once, and the report does not return.
        worker.send(Command::Play { leg: LegId(1), play: PlayId(1), segments: Box::new([]) }).unwrap();
        reported.recv().unwrap();
        let taken = (0..=COMMANDS_MAX).take_while(|_| worker.send(Command::Stop { leg: LegId(1) }).is_ok()).count();
        assert_eq!(taken, COMMANDS_MAX);
        let legs = worker.legs();
        assert_eq!((worker.send(open(2)), worker.legs()), (Err(Refused::Full), legs));
        drop(release);
    }
}
