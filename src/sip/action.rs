//! What a user agent asks of the edge, and what it tells the exchange.

use bytes::Bytes;

use crate::ids::LegId;
use crate::sip::digest::answer::Hopeless;
use crate::sip::header::replaces::Replaces;
use crate::sip::registrar::Report;
use crate::sip::transport::Peer;
use crate::sip::user_agent::OutsideId;

/// Comes back from every call into the user agent, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this message: as one datagram, as the next bytes of a stream, or as one WebSocket frame. Over UDP a failure to send
    /// is not reported: retransmission is the protocol's answer.
    Send {
        /// Where to, and by which way.
        destination: Peer,
        /// A whole SIP message.
        message: Bytes,
    },
    /// Something that the call which owns the leg must know.
    Event(Event),
}

/// What happened to a leg, or at the registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new INVITE passed all checks and got its 100. The exchange answers with `accept`, `progress` or `reject`.
    Invited {
        /// The leg made for it.
        leg: LegId,
        /// Who calls whom, with what offer.
        invitation: Box<Invitation>,
    },
    /// The far end acknowledged our 200. `answer` is the ACK's SDP when the INVITE carried no offer.
    Confirmed {
        /// Which leg.
        leg: LegId,
        /// SDP answer of a late offer.
        answer: Option<Bytes>,
    },
    /// A re-INVITE or UPDATE inside the dialog: answer with `accept` (SDP) or `reject` (488); the dialog goes on either way.
    Reoffered {
        /// Which leg.
        leg: LegId,
        /// The new SDP offer, if the request carried one.
        offer: Option<Bytes>,
    },
    /// The far end acknowledged a provisional response of ours (RFC 3262). `answer` is its SDP, where its INVITE had no offer and our
    /// response had one.
    Acknowledged {
        /// Which leg.
        leg: LegId,
        /// SDP answer.
        answer: Option<Bytes>,
    },
    /// A re-INVITE of ours is due: to refresh the session (RFC 4028 §7.4), because one crossed the far end's, or could not be sent while
    /// something else was open. Call `reoffer`, or nothing happens, but for a session that ends without its refresh.
    OfferWanted {
        /// Which leg.
        leg: LegId,
    },
    /// The far end took our re-INVITE. `body` is its answer, or its offer where ours had none: then call `acknowledge`.
    Reanswered {
        /// Which leg.
        leg: LegId,
        /// SDP.
        body: Bytes,
    },
    /// The far end refused our re-INVITE, and the session is as it was before.
    Unchanged {
        /// Which leg.
        leg: LegId,
        /// 300 to 699; 503 when it could not be delivered.
        status: u16,
    },
    /// The far end wants the leg to call somebody else (RFC 3515): answer with `accept_referral` or `refuse_referral`. Whom it names is
    /// the far end's word alone: nothing may be dialled from here but what policy allows.
    Referred {
        /// Which leg.
        leg: LegId,
        /// Whom to call.
        referral: Box<Referral>,
    },
    /// The far end answered our REFER; from a 2xx on it reports what comes of it.
    ReferAnswered {
        /// Which leg.
        leg: LegId,
        /// 200 to 699; 408 when no answer came.
        status: u16,
    },
    /// The far end reports what came of our REFER.
    ReferReported {
        /// Which leg.
        leg: LegId,
        /// The status of its call to the other one, 100 to 699.
        status: u16,
        /// Nothing more will be reported.
        last: bool,
    },
    /// INFO within the dialog; already answered 200 when the body's type is one we know.
    Info {
        /// Which leg.
        leg: LegId,
        /// The value of Content-Type, lower case.
        content_type: String,
        /// The body.
        body: Bytes,
    },
    /// The far end answered our INFO.
    InfoAnswered {
        /// Which leg.
        leg: LegId,
        /// 200 to 699: 415 from one that does not take such a body.
        status: u16,
    },
    /// The far end of an outbound INVITE sent 180 or 183 (`body` is its SDP, if any).
    Ringing {
        /// Which leg.
        leg: LegId,
        /// 101 to 199.
        status: u16,
        /// SDP of early media.
        body: Bytes,
    },
    /// The far end of an outbound INVITE answered; the ACK has been sent, unless the INVITE had no offer.
    Answered {
        /// Which leg.
        leg: LegId,
        /// SDP answer; the far end's offer when the INVITE had none: then call `acknowledge`. Empty where the answer came in a
        /// provisional response that was reliable.
        body: Bytes,
    },
    /// Our INVITE goes to another hop: the one before was not reached, or cannot take calls.
    Rerouted {
        /// Which leg.
        leg: LegId,
        /// Where it went before.
        failed: Peer,
        /// What came of it: 503, or 408 for silence.
        status: u16,
        /// Where it goes now.
        next: Peer,
    },
    /// The leg is over, whoever ended it; the last event of a leg, exactly one for each leg ever announced or invited.
    Ended {
        /// Which leg.
        leg: LegId,
        /// Who ended it and how.
        cause: EndCause,
    },
    /// A request of ours outside dialogs is over.
    Responded {
        /// Which.
        request: OutsideId,
        /// The final status: 408 when nobody answered (RFC 3261 §8.1.3.1), 503 when it could not be sent.
        status: u16,
        /// The response; `None` when there was none.
        message: Option<Bytes>,
    },
    /// The registrar has something to tell.
    Registrar(Report),
}

/// Why a leg is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The far end sent BYE.
    RemoteBye,
    /// The far end sent CANCEL before we answered (we sent 487).
    Cancelled,
    /// We ended it with `hangup` and the BYE was answered, or its transaction gave up.
    LocalBye,
    /// We refused the INVITE with this status.
    Refused(u16),
    /// The far end refused our INVITE with this status (408 when it never answered).
    RemoteRefused(u16),
    /// The far end wants proof of who we are, and trying on would help nobody.
    Unproven(Hopeless),
    /// Our 200 was never acknowledged for 64·T1 (RFC 3261 §13.3.1.4); a BYE has been sent. The peer's Contact or a NAT is
    /// where ops should look.
    NoAck,
    /// A provisional response of ours was never acknowledged for 64·T1 (RFC 3262 §3); the INVITE was refused with 504.
    NoPrack,
    /// The far end did not refresh the session in time (RFC 4028 §10); a BYE has been sent.
    NotRefreshed,
    /// We could not refresh the session in time: the far end refused, or nobody made the offer for it; a BYE has been sent.
    RefreshFailed,
    /// The far end did not answer a request of ours within the dialog; a BYE has been sent.
    Vanished,
    /// The far end answered a request of ours that it knows of no such call (481); a BYE has been sent.
    Forgotten,
}

impl EndCause {
    /// One line for the call record and the log: what happened and where to look.
    #[must_use]
    pub fn explain(&self) -> String {
        match self {
            Self::RemoteBye => "the far end hung up".into(),
            Self::Cancelled => "the caller gave up before the answer".into(),
            Self::LocalBye => "hung up by this side".into(),
            Self::Refused(status) => format!("refused with {status}"),
            Self::RemoteRefused(status @ (401 | 407)) => {
                format!("the far end refused with {status}: it wants a password, and the trunk has none")
            }
            Self::Unproven(Hopeless::WrongPassword) => {
                "the far end refused our proof: check «user», «auth_user» and «password» of the trunk".into()
            }
            Self::Unproven(hopeless) => format!("the far end refused our call: {hopeless}"),
            Self::RemoteRefused(status) => format!("the far end refused with {status}"),
            Self::NoAck => "no ACK for our 200: check the peer's Contact, NAT and the advertised address".into(),
            Self::NoPrack => "no PRACK for our provisional response: check the peer's Contact and NAT".into(),
            Self::NotRefreshed => "the far end has vanished: it did not refresh the session (RFC 4028) in time".into(),
            Self::RefreshFailed => "the session could not be refreshed (RFC 4028): the far end refused it".into(),
            Self::Vanished => "the far end has vanished: it did not answer a request within the call".into(),
            Self::Forgotten => "the far end no longer knows the call (481)".into(),
        }
    }
}

/// An INVITE as the exchange sees it. All strings are percent-decoded where the RFC escapes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// User part of the Request-URI, percent-decoded (`*2363`), without its `;` parameters; empty when there is none.
    pub request_user: String,
    /// Parameters of the user part and of the Request-URI, lower-case names (`ext` → `300`).
    pub request_parameters: Vec<(String, String)>,
    /// User part of the To URI, percent-decoded.
    pub to_user: String,
    /// User part of P-Called-Party-ID (RFC 7315 §4.2), percent-decoded; empty where there is none.
    pub called_party: String,
    /// Who diverted the call last (RFC 5806): the user part of the topmost Diversion.
    pub diverted_by: String,
    /// Who was called first (RFC 7044): the user part of the first History-Info.
    pub called_first: String,
    /// User part of the From URI, percent-decoded; empty for anonymous callers.
    pub from_user: String,
    /// Display name of From, unquoted.
    pub from_display: String,
    /// The Call-ID.
    pub call_id: String,
    /// The User-Agent header, if any: for the record.
    pub user_agent: String,
    /// Where it came from, and by which way.
    pub source: Peer,
    /// The SDP offer; `None` for a late offer.
    pub offer: Option<Bytes>,
    /// The leg whose place it is to take (RFC 3891): who accepts it hangs that one up. Never set without `Settings::transfers`.
    pub replaces: Option<LegId>,
}

/// What a REFER asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// The URI to call, without its headers.
    pub target: String,
    /// The dialog that the call is to take the place of.
    pub replaces: Option<Replaces>,
}

/// Whom a REFER of ours names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferTo {
    /// This URI: a blind transfer.
    Uri(String),
    /// The far end of this leg, whose place the other one takes: an attended transfer (RFC 3891).
    Leg(LegId),
}

/// An INVITE to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Request-URI, as text (`sip:*2363@127.0.0.1:5060`).
    pub target: String,
    /// Where it goes.
    pub destination: Peer,
    /// From URI, as text.
    pub from: String,
    /// SDP offer; empty to let the far end offer.
    pub offer: Bytes,
}

/// A refusal of an INVITE or re-INVITE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// 300 to 699.
    pub status: u16,
    /// Seconds for Retry-After, with 503.
    pub retry_after: Option<u32>,
    /// Text for a `Warning: 399` header: why, in words a peer's operator understands.
    pub warning: Option<String>,
}

/// Why the user agent wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A transaction timer of RFC 3261 §17 (`'A'` to `'K'`) or RFC 6026 (`'L'`, `'M'`).
    Timer(char),
    /// The 2xx has to be sent again until its ACK comes (RFC 3261 §13.3.1.4).
    Retransmit2xx,
    /// A reliable provisional response has to be sent again until its PRACK comes (RFC 3262 §3).
    Retransmit1xx,
    /// A session is to be refreshed, or ends (RFC 4028).
    Session,
    /// A hop has said nothing to our INVITE, and the next one is tried (RFC 3263 §4.3).
    NextHop,
    /// A request that crossed one of the far end's is tried again (RFC 3261 §14.1).
    Again,
    /// What a REFER asked for is reported on no longer.
    Reports,
    /// A registration ends.
    Registration,
    /// Nothing: whoever set the timer is gone, and firing only takes it out of the index.
    Stale,
}
