//! What a call is told, and what it asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::call::CallRecord;
use crate::dtmf::Digit;
use crate::flow::{Answer, Callee, Request, RequestId};
use crate::ids::{LegId, PlayId};
use crate::media::{self, LegSettings, RecordingChange, RecordingReport, Segment, Switch};
use crate::sdp::Terms;
use crate::sip::{EndCause, Invite, Peer, Rejection};

/// What a call is told after it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The leg's socket is bound to this address (as the far end should send to it).
    MediaOpened(SocketAddr),
    /// No socket could be had; the reason is for ops.
    MediaFailed(String),
    /// Our 200 was acknowledged; the ACK's SDP if the INVITE had none.
    Confirmed(Option<Bytes>),
    /// The far end asks for other media within the call.
    Reoffered(Option<Bytes>),
    /// The session is to be refreshed with an offer of ours, or one that crossed the far end's is to be made again.
    OfferWanted,
    /// The far end's answer to our re-INVITE.
    Reanswered(Bytes),
    /// The far end refused our re-INVITE with this status.
    Unchanged(u16),
    /// SIP INFO: perhaps a digit.
    Info {
        /// Content-Type, lower case.
        content_type: String,
        /// The body.
        body: Bytes,
    },
    /// The SIP side of the leg is over.
    Ended(EndCause),
    /// The leg's media.
    Media(media::Event),
    /// The recording that was started is over.
    Recorded(RecordingReport),
    /// A request of the flow was answered.
    Answered(RequestId, Answer),
    /// A leg that is called rings: 101 to 199, and the SDP of it, if any.
    Ringing(u16, Bytes),
    /// A leg that is called has answered, with this SDP; empty where a provisional response had it.
    PickedUp(Bytes),
    /// Where somebody is reached ([`Action::Find`]), or why not.
    Found(Result<Vec<Way>, Rejection>),
    /// A leg's far end wants the call led elsewhere (REFER), and may ask for that.
    Referred(Led),
    /// The engine stops: end the call in order.
    ShutDown,
}

/// Where a REFER leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Led {
    /// To somebody, who is called.
    Callee(Callee),
    /// To a flow of the operator, behind this number.
    Flow {
        /// Flow id.
        flow: String,
        /// The number as it is published.
        number: String,
    },
    /// Nowhere, for this reason.
    Nowhere(Rejection),
}

/// One place that somebody is called at. Its leg has no socket yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The leg that will be.
    pub leg: LegId,
    /// Request-URI, as text.
    pub target: String,
    /// Where the INVITE goes.
    pub peer: Peer,
    /// From URI, as text.
    pub from: String,
    /// What may be agreed on.
    pub terms: Arc<Terms>,
}

/// What a call asks for, in order. It concerns the caller's leg, unless [`At`](Self::At) names another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bind a socket; `MediaOpened` or `MediaFailed` follows. With the far end's address, when the leg may share one with others
    /// whose far ends differ. Of a leg that shares one: give it its own.
    OpenMedia(Option<SocketAddr>),
    /// Hand the socket to a media worker: the stream begins.
    StartMedia(LegSettings),
    /// The stream goes elsewhere from now on.
    Retarget(LegSettings),
    /// Play this in place of what plays.
    Play {
        /// Its number.
        play: PlayId,
        /// What to play.
        segments: Box<[Segment]>,
    },
    /// Stop what plays.
    StopPlaying,
    /// Record the leg from now on; exactly one `Recorded` follows, when the leg has closed at the latest.
    StartRecording {
        /// The file below the recordings' folder: `2026-03-15/20260315-083000-k7m2p9.wav`.
        file: String,
        /// Samples a second of each channel.
        rate: u32,
    },
    /// Change the recording under way.
    ChangeRecording(RecordingChange),
    /// End the stream and give the socket back; `media::Event::Closed` follows if it was started.
    CloseMedia,
    /// Say that it rings (180).
    Ring,
    /// Send 200 with this SDP.
    Accept(Bytes),
    /// Offer this within the call: a re-INVITE.
    Reoffer(Bytes),
    /// Refuse the INVITE or re-INVITE.
    Reject(Rejection),
    /// End the dialog; the text goes into the Reason header.
    HangUp(&'static str),
    /// This, for another leg of the call.
    At(LegId, Box<Action>),
    /// Say where somebody is reached; `Found` follows.
    Find(Callee),
    /// Send this INVITE; the leg is the one that [`Way`] names.
    Invite(Box<Invite>),
    /// Join the leg's audio to that of others, or take it away.
    Switch(Switch),
    /// Take the leg's REFER up: 202, and the report of 100.
    AcceptReferral,
    /// Refuse it.
    RefuseReferral(u16),
    /// Report what came of it; also behind the leg's end.
    ReportReferral(u16),
    /// Press a key on the leg for so long.
    Press(Digit, Duration),
    /// Ask the outside; exactly one `Answered` follows.
    Request {
        /// Its number within the call.
        id: RequestId,
        /// What is asked.
        request: Request,
        /// How long it may take.
        timeout: Duration,
    },
    /// The call is over: store this. The last action of a call.
    Record(Box<CallRecord>),
}

impl Action {
    /// The same for another leg.
    pub(super) fn at(leg: LegId, action: Self) -> Self {
        Self::At(leg, Box::new(action))
    }
}
