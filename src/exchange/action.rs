//! The border of the engine: what the edge tells it, and what it asks of the edge.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::call::CallRecord;
use crate::dtmf::Digit;
use crate::flow::{Answer, Request, RequestId};
use crate::ids::{LegId, PlayId};
use crate::media::{self, LegSettings, RecordingChange, RecordingReport, Segment, Switch};
use crate::sip::locate::{self, Question};
use crate::sip::registrar::Registration;
use crate::sip::{self, Flow, Peer};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A SIP message: a datagram, a frame, or what was found in a stream.
    Message {
        /// Where it came from, and by which way.
        source: Peer,
        /// Its bytes.
        bytes: Bytes,
    },
    /// This message of [`Output::Send`] could not be sent: its connection is gone, and no other can be made.
    Undelivered {
        /// Where it should have gone.
        destination: Peer,
        /// The message.
        bytes: Bytes,
    },
    /// A connection is closed: it is no way to a phone any more.
    Disconnected(Flow),
    /// The answer to [`Output::OpenMedia`]: where the far end should send to, or why there is no socket.
    MediaOpened {
        /// Which leg.
        leg: LegId,
        /// The advertised address, or the reason for ops.
        local: Result<SocketAddr, String>,
    },
    /// A media worker's report.
    Media(LegId, media::Event),
    /// What became of the recording of [`Output::StartRecording`].
    Recorded(LegId, RecordingReport),
    /// The answer to [`Output::Request`].
    Answered {
        /// Which leg's call asked.
        leg: LegId,
        /// The number it asked under.
        id: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// The answer to [`Output::LookUp`].
    LookedUp {
        /// What was asked.
        question: Question,
        /// What the DNS said.
        answer: locate::Answer,
    },
    /// The engine serves from now on: trunks register and are probed.
    Begin,
    /// No new calls from now on, and trunks are left: 503 with Retry-After (a drain).
    Drain {
        /// Seconds for Retry-After.
        retry_after: u32,
    },
    /// All media workers have more to do than they can, or no longer: new calls get 503 with Retry-After meanwhile.
    Overloaded(bool),
    /// End every call in order.
    ShutDown,
}

/// Something to be done by the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a SIP message.
    Send {
        /// Where to, and by which way.
        destination: Peer,
        /// A whole SIP message.
        bytes: Bytes,
    },
    /// Ask the DNS, and answer with [`Input::LookedUp`].
    LookUp(Question),
    /// A host that is connected to by TLS at this address shows a certificate for this name.
    Named {
        /// The address.
        address: SocketAddr,
        /// Its name.
        name: String,
    },
    /// Bind a socket for this leg; answer with [`Input::MediaOpened`]. For a leg that is open and shares a socket: give it one
    /// of its own, because its far end is about to move; one that has its own keeps it.
    OpenMedia {
        /// Which leg.
        leg: LegId,
        /// Where the INVITE came from: the address to advertise may depend on it.
        peer: IpAddr,
        /// The far end's address, when its trunk lets this leg share a socket with others.
        shared: Option<SocketAddr>,
    },
    /// Hand the leg's socket to a media worker.
    StartMedia {
        /// Which leg.
        leg: LegId,
        /// What was negotiated.
        settings: LegSettings,
        /// The leg whose worker it has to be.
        beside: Option<LegId>,
    },
    /// The leg's far end has moved.
    Retarget(LegId, LegSettings),
    /// Play on this leg.
    Play(LegId, PlayId, Box<[Segment]>),
    /// Stop what plays on this leg.
    StopPlaying(LegId),
    /// Join this leg's audio to that of others, or take it away.
    Switch(LegId, Switch),
    /// Press a key on this leg for so long.
    Press(LegId, Digit, Duration),
    /// Record this leg; answer with [`Input::Recorded`] when its recording is over.
    StartRecording {
        /// Which leg.
        leg: LegId,
        /// The file below the recordings' folder.
        file: String,
        /// Samples a second of each channel.
        rate: u32,
    },
    /// Change the leg's recording.
    ChangeRecording(LegId, RecordingChange),
    /// End the leg's stream and close its socket. A leg that was started reports `Closed`.
    CloseMedia(LegId),
    /// Carry this out and answer with [`Input::Answered`]. The flow stops waiting after `timeout`; a write that was begun is
    /// finished all the same, and a late answer is ignored.
    Request {
        /// Which leg's call asks.
        leg: LegId,
        /// The number it asks under.
        id: RequestId,
        /// What it asks.
        request: Request,
        /// How long the flow waits.
        timeout: Duration,
    },
    /// Store this record.
    Record(Box<CallRecord>),
    /// Store where a user's phone is reached, in the place of what is stored of this contact.
    Registered {
        /// All of it.
        registration: Box<Registration>,
        /// Whether it is new; otherwise it was refreshed.
        is_new: bool,
        /// When it ends.
        ends: Timestamp,
    },
    /// A user's phone is reached there no more: forget it.
    Unregistered {
        /// Whose agent it was.
        operator: String,
        /// The user.
        user: String,
        /// Its contact.
        contact: String,
    },
}

/// Why the exchange wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A SIP timer.
    Sip(sip::Why),
    /// This call's timer.
    Call(LegId),
    /// A registration of ours, or a probe, is due.
    Trunk,
}
