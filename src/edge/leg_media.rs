//! Where each leg's media is, and the commands to the worker that has it.
//!
//! ```text
//! bind ─► Bound ─ start ─► OnWorker ─ close ─► (Closed is reported) gone
//!                             └ the worker takes no command: the leg is lost, its call ends, and it is closed when there is room
//! ```
//! A worker whose queue is full is not waited for: the signalling thread has other calls. But what it does not hear of it would
//! carry on for ever, so the end of a lost leg is told it again until it takes it.

use std::collections::BTreeMap;

use tracing::error;

use super::media_worker::{Command, MediaWorker, Refused};
use super::rtp_socket::RtpSocket;
use crate::ids::{LegId, PlayId};
use crate::media::{LegSettings, Segment};

/// The legs of all calls, and the workers that have them.
pub struct LegMedia {
    workers: Vec<MediaWorker>,
    places: BTreeMap<LegId, Place>,
    /// Lost legs whose worker had no room for their end.
    unclosed: Vec<(usize, LegId)>,
}

enum Place {
    /// Bound, not yet handed to a worker.
    Bound(RtpSocket),
    /// On this worker.
    OnWorker(usize),
}

/// The leg's worker takes no more commands: whoever hears nothing any more must not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media worker takes no more commands")]
pub struct Lost;

impl LegMedia {
    /// No legs yet; `workers` must not be empty.
    #[must_use]
    pub fn new(workers: Vec<MediaWorker>) -> Self {
        Self { workers, places: BTreeMap::new(), unclosed: Vec::new() }
    }

    /// A leg has its socket.
    pub fn bind(&mut self, leg: LegId, socket: RtpSocket) {
        self.places.insert(leg, Place::Bound(socket));
    }

    /// Hands a leg that was bound to the least loaded worker.
    ///
    /// # Errors
    /// The worker takes nothing.
    pub fn start(&mut self, leg: LegId, settings: LegSettings) -> Result<(), Lost> {
        match self.places.remove(&leg) {
            Some(Place::Bound(socket)) => {
                self.places.insert(leg, Place::OnWorker(self.least_loaded()));
                self.command(leg, Command::Open { leg, socket, settings })
            }
            Some(other @ Place::OnWorker(_)) => {
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

    /// Ends a leg: its worker reports `Closed` if it had one.
    ///
    /// # Errors
    /// The leg is lost.
    pub fn close(&mut self, leg: LegId) -> Result<(), Lost> {
        if let Some(Place::Bound(_)) = self.places.get(&leg) {
            self.places.remove(&leg);
        }
        self.command(leg, Command::Close { leg })
    }

    /// A worker has reported the leg closed.
    pub fn closed(&mut self, leg: LegId) {
        self.places.remove(&leg);
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

    /// The worker for the next leg: one that is not overloaded if there is one, the one with the fewest legs of these.
    fn least_loaded(&self) -> usize {
        let load = |worker: &MediaWorker| (worker.is_overloaded(), worker.legs());
        (0..self.workers.len()).min_by_key(|index| self.workers.get(*index).map(load)).unwrap_or(0)
    }

    /// A command for a leg without a worker does nothing: it has just ended.
    fn command(&mut self, leg: LegId, command: Command) -> Result<(), Lost> {
        let Some(Place::OnWorker(worker)) = self.places.get(&leg) else { return Ok(()) };
        let worker = *worker;
        let opens = matches!(command, Command::Open { .. });
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
        }
        Err(Lost)
    }
}
