//! Where each leg's media is, and the commands to the worker that has it.
//!
//! ```text
//! bind ─► Bound ─ start ─► OnWorker ─ close ─► (Closed is reported) gone
//!                             └ the worker takes no command: the leg is lost, its call ends, and it is closed when there is room
//! ```
//! A leg whose trunk lets it share a socket is bound to a slot of a worker and its far end ([`SharedPorts`]); one whose far end
//! then moves gets a socket of its own. A worker whose queue is full is not waited for: the signalling thread has other calls. But what it does not hear of it would
//! carry on for ever, so the end of a lost leg is told it again until it takes it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::error;

use super::media_worker::{Command, MediaWorker, Refused};
use super::recordings::Recording;
use super::rtp_socket::RtpSocket;
use super::shared_ports::{Offer, SharedPorts};
use super::shared_socket::SharedSocket;
use crate::dtmf::Digit;
use crate::ids::{LegId, PlayId};
use crate::media::{LegSettings, RecordingChange, Segment, Switch};

/// The legs of all calls, and the workers that have them.
pub struct LegMedia {
    workers: Vec<MediaWorker>,
    /// The shared sockets of each worker.
    ports: Vec<SharedPorts>,
    places: BTreeMap<LegId, Place>,
    /// The places on shared sockets that are taken, until their worker has closed the leg.
    shares: BTreeMap<LegId, Share>,
    /// Lost legs whose worker had no room for their end.
    unclosed: Vec<(usize, LegId)>,
}

enum Place {
    /// Bound, not yet handed to a worker.
    Bound(RtpSocket),
    /// A far end's place on a shared socket is kept for it.
    Kept,
    /// On this worker, receiving here.
    OnWorker(usize, SocketAddr),
}

/// A far end's place on a slot's shared socket.
#[derive(Clone, Copy, Debug)]
struct Share {
    worker: usize,
    slot: usize,
    far: SocketAddr,
    local: SocketAddr,
}

/// The leg's worker takes no more commands: whoever hears nothing any more must not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media worker takes no more commands")]
pub struct Lost;

impl LegMedia {
    /// No legs yet; `workers` must not be empty.
    #[must_use]
    pub fn new(workers: Vec<MediaWorker>) -> Self {
        let ports = workers.iter().map(|_| SharedPorts::default()).collect();
        Self { workers, ports, places: BTreeMap::new(), shares: BTreeMap::new(), unclosed: Vec::new() }
    }

    /// Gives a leg a place to receive at, and says where it is bound: on a shared socket when `shared` is its far end and there is
    /// room beside the others, or else on a socket of its own, which `bind` makes. A leg that is open and shares a socket gets
    /// its own in its place; one that has its own keeps it.
    ///
    /// # Errors
    /// What `bind` says; a leg that is open stays as it was.
    pub fn open(
        &mut self,
        leg: LegId,
        shared: Option<SocketAddr>,
        mut bind: impl FnMut() -> io::Result<RtpSocket>,
    ) -> io::Result<SocketAddr> {
        match self.places.get(&leg) {
            Some(Place::OnWorker(_, local)) if !self.shares.contains_key(&leg) => return Ok(*local),
            Some(Place::OnWorker(worker, _)) => {
                let (worker, socket) = (*worker, bind()?);
                let local = socket.local();
                // A worker that takes nothing has lost the leg: whatever is sent to it next says so to its call.
                if self.command(leg, Command::Rebind { leg, socket }).is_ok() {
                    self.places.insert(leg, Place::OnWorker(worker, local));
                    self.release(leg);
                }
                return Ok(local);
            }
            Some(Place::Bound(_) | Place::Kept) | None => {}
        }
        if let Some(share) = shared.and_then(|far| self.share(far, &mut bind)) {
            self.places.insert(leg, Place::Kept);
            self.shares.insert(leg, share);
            return Ok(share.local);
        }
        let socket = bind()?;
        let local = socket.local();
        self.bind(leg, socket);
        Ok(local)
    }

    /// Takes a place for this far end on the least loaded worker, on a new socket if need be.
    fn share(&mut self, far: SocketAddr, bind: &mut impl FnMut() -> io::Result<RtpSocket>) -> Option<Share> {
        let worker = self.least_loaded();
        let (handle, ports) = (self.workers.get(worker)?, self.ports.get_mut(worker)?);
        let (slot, local) = match ports.offer(far, handle.slot()) {
            Offer::Open(slot, local) => (slot, local),
            Offer::New(slot) => {
                let socket = SharedSocket::new(bind().ok()?);
                let local = socket.local();
                handle.send(Command::Share { slot, socket }).ok()?;
                ports.open(slot, local);
                (slot, local)
            }
            Offer::Nowhere => return None,
        };
        // Datagrams of the other family would not leave this socket.
        if local.is_ipv4() != far.is_ipv4() {
            return None;
        }
        ports.take(slot, far);
        Some(Share { worker, slot, far, local })
    }

    fn release(&mut self, leg: LegId) {
        if let Some(share) = self.shares.remove(&leg)
            && let Some(ports) = self.ports.get_mut(share.worker)
        {
            ports.release(share.slot, share.far);
        }
    }

    /// A leg has its socket.
    pub fn bind(&mut self, leg: LegId, socket: RtpSocket) {
        self.places.insert(leg, Place::Bound(socket));
    }

    /// Hands a leg that was bound to the worker that has `beside`, or else to the least loaded one.
    ///
    /// # Errors
    /// The worker takes nothing.
    pub fn start(&mut self, leg: LegId, settings: LegSettings, beside: Option<LegId>) -> Result<(), Lost> {
        let worker = beside.and_then(|beside| self.worker_of(beside));
        match self.places.remove(&leg) {
            Some(Place::Bound(socket)) => {
                let worker = worker.unwrap_or_else(|| self.least_loaded());
                self.places.insert(leg, Place::OnWorker(worker, socket.local()));
                self.command(leg, Command::Open { leg, socket, settings })
            }
            Some(Place::Kept) => {
                let Some(Share { worker, slot, far, local }) = self.shares.get(&leg).copied() else { return Ok(()) };
                self.places.insert(leg, Place::OnWorker(worker, local));
                // What the answer says is what the offer said: the place was kept for the one stream that it had.
                let settings = LegSettings { remote: far, ..settings };
                self.command(leg, Command::OpenShared { leg, slot, settings })
            }
            Some(other @ Place::OnWorker(..)) => {
                self.places.insert(leg, other);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What was negotiated again.
    ///
    /// # Errors
    /// The worker takes nothing: the leg is lost, as with every command.
    pub fn retarget(&mut self, leg: LegId, settings: LegSettings) -> Result<(), Lost> {
        self.command(leg, Command::Retarget { leg, settings })
    }

    /// Plays this.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn play(&mut self, leg: LegId, play: PlayId, segments: Box<[Segment]>) -> Result<(), Lost> {
        self.command(leg, Command::Play { leg, play, segments })
    }

    /// Plays nothing any more.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn stop(&mut self, leg: LegId) -> Result<(), Lost> {
        self.command(leg, Command::Stop { leg })
    }

    /// Joins it to others, or takes it away.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn switch(&mut self, leg: LegId, switch: Switch) -> Result<(), Lost> {
        self.command(leg, Command::Switch { leg, switch })
    }

    /// Presses a key.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn press(&mut self, leg: LegId, digit: Digit, length: Duration) -> Result<(), Lost> {
        self.command(leg, Command::Press { leg, digit, length })
    }

    /// The worker that has this leg.
    fn worker_of(&self, leg: LegId) -> Option<usize> {
        match self.places.get(&leg)? {
            Place::OnWorker(worker, _) => Some(*worker),
            Place::Bound(_) | Place::Kept => None,
        }
    }

    /// Records it.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn record(&mut self, leg: LegId, recording: Box<Recording>) -> Result<(), Lost> {
        self.command(leg, Command::Record { leg, recording })
    }

    /// Changes its recording.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn change_recording(&mut self, leg: LegId, change: RecordingChange) -> Result<(), Lost> {
        self.command(leg, Command::ChangeRecording { leg, change })
    }

    /// Ends a leg: its worker reports `Closed` if it had one.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn close(&mut self, leg: LegId) -> Result<(), Lost> {
        if let Some(Place::Bound(_) | Place::Kept) = self.places.get(&leg) {
            self.places.remove(&leg);
            self.release(leg);
        }
        self.command(leg, Command::Close { leg })
    }

    /// A worker has reported the leg closed.
    pub fn closed(&mut self, leg: LegId) {
        self.places.remove(&leg);
        self.release(leg);
    }

    /// Tells workers the ends that they had no room for; true while some are left.
    pub fn close_lost(&mut self) -> bool {
        let workers = &self.workers;
        self.unclosed.retain(|(worker, leg)| {
            let sent = workers.get(*worker).map(|worker| worker.send(Command::Close { leg: *leg }));
            sent == Some(Err(Refused::Full))
        });
        !self.unclosed.is_empty()
    }

    /// Every worker has more to do than it can: a new call would make the old ones stutter.
    #[must_use]
    pub fn overloaded(&self) -> bool {
        self.workers.iter().all(MediaWorker::is_overloaded)
    }

    /// How often it was found that one end of a leg does not hear the other.
    #[must_use]
    pub fn one_way(&self) -> u64 {
        self.workers.iter().map(MediaWorker::one_way).sum()
    }

    /// Packets that came to shared sockets from nobody's far end.
    #[must_use]
    pub fn packets_strange(&self) -> u64 {
        self.workers.iter().map(MediaWorker::packets_strange).sum()
    }

    /// The worker for the next leg: one that is not overloaded if there is one, the one with the fewest legs of these.
    fn least_loaded(&self) -> usize {
        let load = |worker: &MediaWorker| (worker.is_overloaded(), worker.legs());
        (0..self.workers.len()).min_by_key(|index| self.workers.get(*index).map(load)).unwrap_or(0)
    }

    /// A command for a leg without a worker does nothing: it has just ended.
    fn command(&mut self, leg: LegId, command: Command) -> Result<(), Lost> {
        let Some(Place::OnWorker(worker, _)) = self.places.get(&leg) else { return Ok(()) };
        let worker = *worker;
        let opens = matches!(command, Command::Open { .. } | Command::OpenShared { .. });
        let refused = match self.workers.get(worker).map(|worker| worker.send(command)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(refused)) => refused,
            None => Refused::Ended,
        };
        error!(leg = leg.0, cause = %refused, "a media worker takes no more commands: the call ends");
        self.places.remove(&leg);
        // A leg that was never opened has no end; a thread that is gone has ended all of its own.
        if refused == Refused::Full && !opens {
            self.unclosed.push((worker, leg));
        } else {
            self.release(leg);
        }
        Err(Lost)
    }
}
