//! One far end of a call: what was offered, what was agreed on, where its audio comes from, and what of it has ended.
//!
//! A leg knows nothing of the others, nor of the flow: its call tells it what its far end said, and does with the outcome what it has to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::audio::Codec;
use crate::dtmf::Ledger;
use crate::ids::{Ids, LegId};
use crate::media::LegSettings;
use crate::now::Now;
use crate::rtp::rtcp::{Cname, NtpTime};
use crate::sdp::{self, Local, Negotiated, Offer, Offered, Terms};
use crate::sip::Rejection;

use super::Action;

/// A far end, from its first message to its last packet.
pub(super) struct Leg {
    /// Its name in the user agent and on the media worker.
    pub(super) id: LegId,
    stream: StreamIdentity,
    /// What its trunk agrees to.
    terms: Arc<Terms>,
    /// Where its signalling comes from, or goes to.
    source: IpAddr,
    /// What was agreed on last.
    pub(super) agreed: Option<Box<Negotiated>>,
    /// An offer of ours that has no answer yet.
    offered: Option<Box<Offered>>,
    /// Where the far end sends to, once the socket is bound.
    pub(super) local: Option<SocketAddr>,
    /// The far end of a leg that may share its socket, for as long as it stays where its offer said.
    pub(super) far: Option<SocketAddr>,
    /// A re-INVITE, with its offer, that waits for a socket of the leg's own.
    pub(super) moving: Option<Option<Bytes>>,
    pub(super) dialog: Part,
    pub(super) media: Part,
    pub(super) ledger: Ledger,
}

/// The life of each part that must end before the record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    NotBegun,
    Running,
    Over,
}

/// Our stream's identity for the leg's whole life (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug)]
struct StreamIdentity {
    ssrc: u32,
    first_sequence: u16,
    first_timestamp: u32,
    cname: Cname,
    /// Decides when the stream is reported on.
    reports: u64,
    /// `o=` session id and version (RFC 8866 §5.2).
    session: u64,
    version: u64,
}

impl Leg {
    /// A leg whose dialog runs, or is about to; there is no socket yet.
    pub(super) fn new(id: LegId, source: IpAddr, terms: Arc<Terms>, ids: &mut Ids) -> Self {
        let random = ids.next_u64();
        let mut name = [0; 12];
        ids.fill(&mut name);
        Self {
            id,
            stream: StreamIdentity {
                ssrc: (random >> 32) as u32,
                first_sequence: random as u16,
                first_timestamp: ids.next_u64() as u32,
                cname: Cname::from_random(name),
                reports: ids.next_u64(),
                session: ids.next_u64() >> 2,
                version: 1,
            },
            terms,
            source,
            agreed: None,
            offered: None,
            local: None,
            far: None,
            moving: None,
            dialog: Part::Running,
            media: Part::NotBegun,
            ledger: Ledger::default(),
        }
    }

    /// Whether nothing of it is awaited any more.
    pub(super) fn is_over(&self) -> bool {
        self.dialog == Part::Over && self.media == Part::Over
    }

    /// The answer to its first offer.
    pub(super) fn answer(
        &mut self,
        offer: &Offer,
        local: SocketAddr,
        ids: &mut Ids,
    ) -> Result<(Bytes, Negotiated), sdp::Unacceptable> {
        self.answer_as(offer, local, self.stream.version, ids)
    }

    /// The answer to an offer of the far end's, which is then what was agreed on.
    fn answer_as(
        &mut self,
        offer: &Offer,
        address: SocketAddr,
        version: u64,
        ids: &mut Ids,
    ) -> Result<(Bytes, Negotiated), sdp::Unacceptable> {
        let local = self.local(address, version);
        sdp::answer(offer, &local, self.agreed.as_deref(), ids)
    }

    /// Our own first offer, whose answer is waited for; this codec is liked best, if there is one.
    pub(super) fn offer(&mut self, address: SocketAddr, first: Option<Codec>, ids: &mut Ids) -> Bytes {
        self.offer_as(address, self.stream.version, first, ids)
    }

    fn offer_as(&mut self, address: SocketAddr, version: u64, first: Option<Codec>, ids: &mut Ids) -> Bytes {
        let preferred = first.map(|first| self.terms.preferring(first));
        let terms = preferred.as_ref().unwrap_or(&self.terms);
        let local = Local { terms, ..self.local(address, version) };
        let offered = sdp::offer(&local, self.agreed.as_deref(), ids);
        let description = offered.sdp.clone();
        self.offered = Some(Box::new(offered));
        description
    }

    fn local(&self, address: SocketAddr, version: u64) -> Local<'_> {
        Local { address, session: self.stream.session, version, terms: &self.terms, source: Some(self.source) }
    }

    /// Reads the answer to our offer; `None` when there is no offer of ours.
    pub(super) fn answered(&mut self, answer: &[u8]) -> Option<Result<Negotiated, sdp::SdpError>> {
        self.offered.take().map(|offered| offered.read_answer(answer))
    }

    /// Our offer came to nothing: all stays as it was. Whether there was one.
    pub(super) fn forget_offer(&mut self) -> bool {
        self.offered.take().is_some()
    }

    /// The far end offers something else (RFC 3264 §8): what was agreed on, if it was.
    pub(super) fn reoffered(
        &mut self,
        offer: Option<Bytes>,
        ids: &mut Ids,
        out: &mut Vec<Action>,
    ) -> Option<Negotiated> {
        let local = self.local?;
        if self.moves(offer.as_ref()) {
            // RFC 3264 §8.3.1: the answer may name another port than before.
            self.moving = Some(offer);
            out.push(Action::OpenMedia(None));
            return None;
        }
        // RFC 3264 §8: one more than in the description before, which a refused offer does not bring.
        let version = self.stream.version + 1;
        let Some(offer) = offer else {
            self.stream.version = version;
            // RFC 3261 §14.2: a re-INVITE without SDP asks for our offer. The stream stays as it is until the ACK brings the answer.
            let offer = self.offer_as(local, version, None, ids);
            out.push(Action::Accept(offer));
            return None;
        };
        let result = Offer::parse(&offer).map_err(|error| (error.status(), error.to_string())).and_then(|offer| {
            self.answer_as(&offer, local, version, ids).map_err(|error| (error.status(), error.to_string()))
        });
        match result {
            Ok((answer, negotiated)) => {
                self.stream.version = version;
                out.push(Action::Accept(answer));
                Some(negotiated)
            }
            Err((status, why)) => {
                out.push(Action::Reject(Rejection { status, retry_after: None, warning: Some(why) }));
                None
            }
        }
    }

    /// Whether a leg that may share its socket could be moved by this offer, or by the answer to ours: only where its first offer
    /// said can it be told from others. True once: it has a socket of its own then.
    fn moves(&mut self, offer: Option<&Bytes>) -> bool {
        let Some(far) = self.far else { return false };
        let new = offer.and_then(|offer| Offer::parse(offer).ok()).and_then(|offer| offer.only_audio());
        let moves = new != Some(far);
        if moves {
            self.far = None;
        }
        moves
    }

    /// A re-INVITE of ours, with what the stream is already: a refresh asks for nothing else.
    pub(super) fn offer_again(&mut self, ids: &mut Ids, out: &mut Vec<Action>) {
        let (Some(local), None) = (self.local, &self.moving) else { return };
        self.stream.version += 1;
        let offer = self.offer_as(local, self.stream.version, None, ids);
        out.push(Action::Reoffer(offer));
    }

    /// What the media worker has to know. `talks`: its far end can hear us, and should be heard.
    pub(super) fn settings(
        &self,
        now: Now,
        negotiated: &Negotiated,
        talks: bool,
        silent_after: Option<Duration>,
    ) -> LegSettings {
        LegSettings {
            ssrc: self.stream.ssrc,
            first_sequence: self.stream.first_sequence,
            first_timestamp: self.stream.first_timestamp,
            both_ways: talks && negotiated.send && negotiated.receive,
            // The exchange knows it.
            peer: None,
            cname: self.stream.cname,
            random: self.stream.reports,
            wall: NtpTime::from(now.wall),
            // A far end that holds us keeps quiet (RFC 3264 §8.4): its silence says nothing.
            silent_after: silent_after.filter(|_| negotiated.receive),
            ..LegSettings::from(negotiated)
        }
    }
}

/// What both ends agreed on; who we are in the stream, and what is watched, is for whoever has the leg.
impl From<&Negotiated> for LegSettings {
    fn from(negotiated: &Negotiated) -> Self {
        Self {
            codec: negotiated.codec,
            payload_type: negotiated.payload_type,
            opus: negotiated.opus,
            telephone_event: negotiated.telephone_event,
            event_clock_rate: negotiated.event_clock_rate,
            rtcp: negotiated.rtcp,
            srtp: negotiated.srtp.clone().map(Box::new),
            send: negotiated.send,
            ..Self::plain(negotiated.remote)
        }
    }
}
