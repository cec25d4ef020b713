//! Why a request is refused before anyone is asked, and the headers that say so (RFC 3261 §8.2).

use std::net::SocketAddr;

use super::header::content_type::ContentType;
use super::header::{Name, accept, expires, option_tags, retry_after, session_expires, warning};
use super::message::{Fault, Message};
use super::method::Method;
use super::uri::{Scheme, Uri};
use super::writer::Writer;

/// Bodies of INFO that carry keys (RFC 6086 legacy usage; which digits they mean is read elsewhere).
pub const INFO_TYPES: [&str; 2] = ["application/dtmf-relay", "application/dtmf"];

/// The one body that describes a session.
pub const SDP: &str = "application/sdp";

/// A refusal that follows from the request alone, or from the state of its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not well formed: 400, 505, 513.
    Fault(Fault),
    /// 403: it knows who asks, and that is not enough; or it does not know, and nobody is let in.
    Forbidden,
    /// 405: a method of an extension that we do not speak.
    MethodNotAllowed,
    /// 501: a method that nobody told us of.
    NotImplemented,
    /// 416: a Request-URI that is neither `sip`, `sips` nor `tel`.
    Scheme,
    /// 420: Require names what we do not support.
    BadExtension {
        /// What we support.
        supported: &'static [&'static str],
    },
    /// 422: a session shorter than we agree to (RFC 4028 §9).
    SessionTooShort {
        /// The shortest, in seconds.
        min_se: u32,
    },
    /// 423: a registration shorter than we grant (RFC 3261 §10.3).
    IntervalTooBrief {
        /// The shortest, in seconds.
        min_expires: u32,
    },
    /// 439: a flow is to be registered through a proxy that keeps none (RFC 5626 §6).
    FirstHopLacksOutbound,
    /// 415: a body that is no SDP.
    MediaType,
    /// 415: an INFO whose body carries no keys.
    InfoType,
    /// 406: the caller does not read SDP.
    NotAcceptable,
    /// 481: no such dialog or transaction.
    NoDialog,
    /// 482: the same request came before by another way.
    Merged,
    /// 500: CSeq lower than one before, or an offer while the former is not answered (RFC 3261 §12.2.2, §14.2).
    OutOfOrder {
        /// Seconds, 0 to 10.
        retry_after: u32,
    },
    /// 491: an offer while ours is not settled (RFC 3261 §14.2).
    RequestPending,
    /// 486: the dialog to be replaced was answered already (RFC 3891 §3).
    Answered,
    /// 603: the dialog to be replaced ends (RFC 3891 §3).
    Declined,
    /// 503: draining, or full.
    Unavailable {
        /// Seconds.
        retry_after: u32,
    },
}

impl Refusal {
    /// The status of the response.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Fault(fault) => fault.status(),
            Self::Forbidden => 403,
            Self::MethodNotAllowed => 405,
            Self::NotImplemented => 501,
            Self::Scheme => 416,
            Self::BadExtension { .. } => 420,
            Self::SessionTooShort { .. } => 422,
            Self::IntervalTooBrief { .. } => 423,
            Self::FirstHopLacksOutbound => 439,
            Self::MediaType | Self::InfoType => 415,
            Self::NotAcceptable => 406,
            Self::NoDialog => 481,
            Self::Merged => 482,
            Self::OutOfOrder { .. } => 500,
            Self::RequestPending => 491,
            Self::Answered => 486,
            Self::Declined => 603,
            Self::Unavailable { .. } => 503,
        }
    }

    /// Writes the headers that this refusal owes its sender.
    pub fn write(self, request: &Message, agent: SocketAddr, writer: &mut Writer) {
        match self {
            Self::Fault(fault) => writer.header("Warning", |out| warning::write(agent, &fault.to_string(), out)),
            // RFC 3261 §8.2.1.
            Self::MethodNotAllowed | Self::NotImplemented => writer.text("Allow", Method::ALLOWED),
            // RFC 3261 §8.2.2.3: what was required, not what proxies were asked.
            Self::BadExtension { supported } => {
                let tags = request.values(Name::Require).flat_map(|value| option_tags::unsupported(value, supported));
                writer.header("Unsupported", |out| option_tags::write(tags, out));
            }
            // RFC 3261 §8.2.3.
            Self::MediaType | Self::NotAcceptable => writer.text("Accept", SDP),
            Self::InfoType => writer.text("Accept", INFO_TYPES.join(", ")),
            Self::SessionTooShort { min_se } => {
                writer.header("Min-SE", |out| session_expires::write_min_se(min_se, out));
            }
            Self::IntervalTooBrief { min_expires } => {
                writer.header("Min-Expires", |out| expires::write(min_expires, out));
            }
            Self::OutOfOrder { retry_after } | Self::Unavailable { retry_after } => {
                writer.header("Retry-After", |out| retry_after::write(retry_after, out));
            }
            Self::Forbidden
            | Self::Scheme
            | Self::FirstHopLacksOutbound
            | Self::NoDialog
            | Self::Merged
            | Self::Answered
            | Self::Declined
            | Self::RequestPending => {}
        }
    }
}

/// Refuses methods that we do not speak (RFC 3261 §8.2.1).
///
/// # Errors
/// 405 for known methods, 501 for others.
pub fn check_method(method: Method) -> Result<(), Refusal> {
    match method {
        Method::Invite
        | Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Options
        | Method::Info
        | Method::Notify
        | Method::Prack
        | Method::Refer
        | Method::Update => Ok(()),
        Method::Register | Method::Subscribe | Method::Message | Method::Publish => Err(Refusal::MethodNotAllowed),
        Method::Other => Err(Refusal::NotImplemented),
    }
}

/// Refuses URIs of other schemes (RFC 3261 §8.2.2.1).
///
/// # Errors
/// 416.
pub fn check_scheme(uri: &Uri<'_>) -> Result<(), Refusal> {
    match uri.scheme {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => Ok(()),
        Scheme::Other(_) => Err(Refusal::Scheme),
    }
}

/// Refuses what is required and not supported (RFC 3261 §8.2.2.3). Proxy-Require is the proxies' business.
///
/// # Errors
/// 420.
pub fn check_extensions(message: &Message, supported: &'static [&'static str]) -> Result<(), Refusal> {
    let mut required = message.values(Name::Require);
    let refused = required.any(|value| option_tags::unsupported(value, supported).next().is_some());
    if refused { Err(Refusal::BadExtension { supported }) } else { Ok(()) }
}

/// Refuses an offer that we cannot read, and a caller who could not read our answer (RFC 3261 §8.2.3, §13.3.1).
///
/// # Errors
/// 415, then 406.
pub fn check_session(message: &Message) -> Result<(), Refusal> {
    if message.has_body() && !is_sdp(message) {
        return Err(Refusal::MediaType);
    }
    let mut accepted = message.values(Name::Accept).peekable();
    if accepted.peek().is_some() && !accepted.any(|value| accept::accepts(value, SDP)) {
        return Err(Refusal::NotAcceptable);
    }
    Ok(())
}

/// Whether the message has a body that its Content-Type calls SDP.
#[must_use]
pub fn is_sdp(message: &Message) -> bool {
    let content_type = message.value(Name::ContentType).and_then(|value| ContentType::parse(value).ok());
    message.has_body() && content_type.is_some_and(|content_type| content_type.is(SDP))
}
