//! Dialogs (RFC 3261 §12): what two user agents remember of each other between an INVITE's answer and the BYE.
//!
//! Kept small, and free of the messages it came from: a confirmed call holds one of these for hours.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::cursor::text;
use super::envelope::{Envelope, ResponseEnvelope};
use super::header::replaces::Replaces;
use super::header::{Malformed, Name, contact, cseq, max_forwards, route::Route, via};
use super::message::Message;
use super::method::Method;
use super::transport::{Flow, Listeners, Peer, Transport};
use super::uri::{Scheme, Uri};
use super::writer::Writer;

/// Our tag: 64 random bits, written as 16 hexadecimal digits (RFC 3261 §19.3 asks for 32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTag(pub u64);

impl LocalTag {
    /// Reads a tag back; `None` for one that is not ours.
    #[must_use]
    pub fn parse(tag: &[u8]) -> Option<Self> {
        let legal = tag.len() == 16 && tag.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(tag).ok().filter(|_| legal)?;
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for LocalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One dialog (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    local_tag: LocalTag,
    remote_tag: Box<[u8]>,
    call_id: Box<[u8]>,
    /// Our URI, without brackets.
    local_uri: Box<[u8]>,
    /// The peer's URI, without brackets.
    remote_uri: Box<[u8]>,
    /// The peer's Contact: the Request-URI of what we send.
    remote_target: Box<[u8]>,
    /// Proxies to pass, next one first.
    route_set: Box<[Route]>,
    /// Number of our last request.
    local_cseq: u32,
    /// Number of the peer's last request; `None` until it sent one.
    remote_cseq: Option<u32>,
    /// Where the peer's messages came from last, and by which way.
    source: Peer,
    /// A SIPS URI began it: our Contact is one too (RFC 3261 §12.1.1, §12.1.2).
    sips: bool,
    /// The INVITE that made it was ours, and so is its Call-ID.
    ours: bool,
}

impl Dialog {
    /// The dialog that our answer to this INVITE makes (RFC 3261 §12.1.1).
    ///
    /// # Errors
    /// [`Malformed`] when Contact is missing or broken, or Record-Route is broken: then the dialog could not be used.
    pub fn from_invite(
        message: &Message,
        envelope: &Envelope<'_>,
        local_tag: LocalTag,
        source: Peer,
    ) -> Result<Self, Malformed> {
        let value = message.value(Name::Contact).ok_or(Malformed { header: Name::Contact, what: "missing" })?;
        if message.values(Name::Contact).nth(1).is_some() {
            return Err(Malformed { header: Name::Contact, what: "more than one" });
        }
        let contact = contact::parse(value)?;
        let route_set = read_routes(message)?.into_boxed_slice();
        let next = route_set.first().map_or(Some(contact.uri), Route::uri);
        let sips = envelope.uri.scheme == Scheme::Sips || next.is_some_and(|uri| uri.scheme == Scheme::Sips);
        Ok(Self {
            local_tag,
            remote_tag: envelope.from.tag().unwrap_or_default().into(),
            call_id: envelope.call_id.into(),
            local_uri: envelope.to.uri_text.into(),
            remote_uri: envelope.from.uri_text.into(),
            remote_target: contact.uri_text.into(),
            route_set,
            local_cseq: 0,
            remote_cseq: Some(envelope.cseq.number),
            source,
            sips,
            ours: false,
        })
    }

    /// The dialog that this 2xx to our INVITE makes (RFC 3261 §12.1.2). `target` stands in for a Contact that is missing or
    /// broken: an ACK sent there still has a chance, no ACK has none.
    #[must_use]
    pub fn from_answer(
        message: &Message,
        envelope: &ResponseEnvelope<'_>,
        ours: &OurSide<'_>,
        target: &[u8],
        source: Peer,
    ) -> Self {
        let contact = message.value(Name::Contact).and_then(|value| contact::parse(value).ok());
        let mut routes = read_routes(message).unwrap_or_default();
        // RFC 3261 §12.1.2: the caller takes Record-Route in reverse order.
        routes.reverse();
        Self {
            local_tag: ours.tag,
            remote_tag: envelope.to.tag().unwrap_or_default().into(),
            call_id: ours.call_id.into(),
            local_uri: ours.uri.into(),
            remote_uri: envelope.to.uri_text.into(),
            remote_target: contact.map_or(target, |contact| contact.uri_text).into(),
            route_set: routes.into_boxed_slice(),
            local_cseq: ours.cseq,
            remote_cseq: None,
            source,
            sips: is_sips(target),
            ours: true,
        }
    }

    /// The URI that whoever is to take our place in this dialog calls, with its Replaces (RFC 3891 §6.1).
    #[must_use]
    pub fn replaceable(&self) -> String {
        let replaces = Replaces {
            call_id: self.call_id.to_vec(),
            to_tag: self.remote_tag.to_vec(),
            from_tag: self.local_tag.to_string().into_bytes(),
            early_only: false,
        };
        format!("{}?Replaces={}", text(&self.remote_target), replaces.escaped())
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> LocalTag {
        self.local_tag
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        &self.call_id
    }

    /// The peer's tag.
    #[must_use]
    pub fn remote_tag(&self) -> &[u8] {
        &self.remote_tag
    }

    /// The connection or socket that the peer's messages came by last.
    #[must_use]
    pub fn flow(&self) -> Option<Flow> {
        self.source.flow
    }

    /// Whether its Call-ID is ours: who waits for how long behind a 491 depends on it (RFC 3261 §14.1).
    #[must_use]
    pub fn owns_call_id(&self) -> bool {
        self.ours
    }

    /// Number of our last request.
    #[must_use]
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Whether our Contact within it is a SIPS URI.
    #[must_use]
    pub fn is_sips(&self) -> bool {
        self.sips
    }

    /// Whether a request whose To tag is ours belongs here. A missing From tag is an empty one (RFC 3261 §12.1.1, for RFC 2543 peers).
    #[must_use]
    pub fn matches(&self, envelope: &Envelope<'_>) -> bool {
        *self.call_id == *envelope.call_id && *self.remote_tag == *envelope.from.tag().unwrap_or_default()
    }

    /// Takes note of a request's CSeq; `false` when it is lower than one before, which gets 500 (RFC 3261 §12.2.2).
    pub fn take_cseq(&mut self, number: u32) -> bool {
        let in_order = self.remote_cseq.is_none_or(|last| number >= last);
        if in_order {
            self.remote_cseq = Some(number);
        }
        in_order
    }

    /// A request within the dialog came by this way. A connection that was lost is replaced by the one the peer opens next; over UDP
    /// only a new target moves the peer.
    pub fn follow(&mut self, source: Peer) {
        if source.transport.is_reliable() {
            self.source = source;
        }
    }

    /// Takes the new remote target of a re-INVITE or UPDATE, or of a 2xx to ours (RFC 3261 §12.2.2, §12.2.1.2), if it has a readable one.
    pub fn refresh_target(&mut self, message: &Message, source: Peer) {
        if let Some(contact) = message.value(Name::Contact).and_then(|value| contact::parse(value).ok()) {
            self.remote_target = contact.uri_text.into();
        }
        self.source = source;
    }

    /// Begins the next request of this dialog and says where it goes (RFC 3261 §12.2.1.1). Its Via names the one of `listeners` that the
    /// next hop reaches us at.
    pub fn request(&mut self, method: Method, branch: &str, listeners: &Listeners) -> (Writer, Peer) {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        self.write_request(method, self.local_cseq, branch, listeners)
    }

    /// Goes on numbering where the early dialog of the same fork stopped (RFC 3261 §13.2.2.4).
    pub fn number_from(&mut self, early: &Self) {
        self.local_cseq = early.local_cseq;
        self.remote_cseq = early.remote_cseq;
    }

    /// Begins the ACK of a 2xx: `number` is the INVITE's CSeq (RFC 3261 §13.2.2.4).
    #[must_use]
    pub fn ack(&self, number: u32, branch: &str, listeners: &Listeners) -> (Writer, Peer) {
        self.write_request(Method::Ack, number, branch, listeners)
    }

    fn write_request(&self, method: Method, number: u32, branch: &str, listeners: &Listeners) -> (Writer, Peer) {
        let peer = self.next_hop();
        // RFC 3261 §12.2.1.1: with a strict router first, its URI is the Request-URI and the target goes to the end of the route.
        let strict = self.route_set.first().filter(|route| !route.is_loose());
        let uri = strict.map_or(&*self.remote_target, Route::text);
        let mut writer = Writer::request(method, uri);
        writer.header("Via", |out| via::write(peer.transport, listeners.advertised_to(&peer), branch, out));
        let routes = self.route_set.iter().skip(usize::from(strict.is_some())).map(Route::text);
        for text in routes.chain(strict.map(|_| &*self.remote_target)) {
            writer.header("Route", |out| bracket(text, out));
        }
        writer.header("From", |out| {
            bracket(&self.local_uri, out);
            out.extend_from_slice(format!(";tag={}", self.local_tag).as_bytes());
        });
        writer.header("To", |out| {
            bracket(&self.remote_uri, out);
            if !self.remote_tag.is_empty() {
                out.extend_from_slice(b";tag=");
                out.extend_from_slice(&self.remote_tag);
            }
        });
        writer.text("Call-ID", &self.call_id);
        writer.header("CSeq", |out| cseq::write(number, method, out));
        writer.text("Max-Forwards", max_forwards::INITIAL.to_string());
        (writer, peer)
    }

    /// Where our requests go: the first route, else the remote target. Names are not resolved here; for a name, and for a private
    /// address behind a public one (a NAT that the peer's Contact does not know of), the place its messages came from is used.
    ///
    /// A connection that comes from the very host is used as long as it lasts, though its port is another: whoever opened it for
    /// this dialog answers on it, and may not be reachable in any other way. So it is where the URI names no transport:
    /// many who came by TCP leave it out and mean TCP.
    fn next_hop(&self) -> Peer {
        let source = self.source;
        let text = self.route_set.first().map_or(&*self.remote_target, Route::text);
        let Ok(uri) = Uri::parse(text) else { return source };
        let Some(address) = uri.host.and_then(|host| host.address()) else { return source };
        let came_from = source.address.ip().to_canonical();
        if address.is_unspecified() || (is_private(address) && !is_private(came_from)) {
            return source;
        }
        let same_host = address == came_from;
        let transport = match Transport::of_uri(&uri) {
            Ok(Some(transport)) => transport,
            Ok(None) if same_host => source.transport,
            Ok(None) => Transport::Udp,
            Err(_) => return source,
        };
        let port = uri.port.filter(|&port| port != 0).unwrap_or(transport.default_port());
        let same_way = transport == source.transport
            && if transport.is_reliable() { same_host } else { address.is_ipv4() == source.address.is_ipv4() };
        Peer { transport, address: SocketAddr::new(address, port), flow: source.flow.filter(|_| same_way) }
    }
}

/// Our side of an outbound INVITE.
#[derive(Clone, Copy, Debug)]
pub struct OurSide<'a> {
    /// Our From tag.
    pub tag: LocalTag,
    /// Our From URI.
    pub uri: &'a [u8],
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// CSeq of the INVITE.
    pub cseq: u32,
}

fn read_routes(message: &Message) -> Result<Vec<Route>, Malformed> {
    let mut routes = Vec::new();
    for value in message.values(Name::RecordRoute) {
        Route::read_into(value, &mut routes)?;
    }
    Ok(routes)
}

/// Whether a URI that is text is a SIPS URI.
#[must_use]
pub fn is_sips(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Sips)
}

/// Writes `<uri>`.
pub fn bracket(uri: &[u8], out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(uri);
    out.push(b'>');
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::transport::Listener;

    const SOURCE: &str = "198.51.100.7:6060";

    fn dialog(contact: &str, record_route: &str) -> Result<Dialog, Malformed> {
        let text = format!(
            "INVITE sip:*2363@us SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: A <sip:a@h>;tag=far\r\n\
            To: <sip:*2363@us>\r\nCall-ID: x\r\nCSeq: 5 INVITE\r\n{contact}{record_route}\r\n"
        );
        let message = Message::scan(Bytes::from(text)).unwrap();
        let envelope = Envelope::read(&message).unwrap();
        Dialog::from_invite(&message, &envelope, LocalTag(0xab), Peer::udp(SOURCE.parse().unwrap()))
    }

    fn bye(mut dialog: Dialog) -> (String, String) {
        let us = Listener { transport: Transport::Udp, advertised: "192.0.2.9:5060".parse().unwrap() };
        let (writer, destination) = dialog.request(Method::Bye, "z9hG4bKb", &Listeners::new(us, []));
        (String::from_utf8(writer.finish("", b"").to_vec()).unwrap(), destination.to_string())
    }

    #[test]
    fn a_bye_goes_to_the_contact() {
        let (text, destination) = bye(dialog("Contact: <sip:a@203.0.113.4:5070>\r\n", "").unwrap());
        assert_eq!(
            text,
            "BYE sip:a@203.0.113.4:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKb;rport\r\n\
            From: <sip:*2363@us>;tag=00000000000000ab\r\nTo: <sip:a@h>;tag=far\r\nCall-ID: x\r\nCSeq: 1 BYE\r\n\
            Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(destination, "udp:203.0.113.4:5070");
    }

    /// RFC 3261 §12.2.1.1.
    #[test]
    fn routes_are_loose_or_strict() {
        let contact = "Contact: <sip:a@203.0.113.4>\r\n";
        let loose = "Record-Route: <sip:198.51.100.1;lr>, <sip:198.51.100.2:5080;lr>\r\n";
        let (text, destination) = bye(dialog(contact, loose).unwrap());
        assert!(text.starts_with("BYE sip:a@203.0.113.4 SIP/2.0\r\n"), "{text}");
        assert!(text.contains("Route: <sip:198.51.100.1;lr>\r\nRoute: <sip:198.51.100.2:5080;lr>\r\n"), "{text}");
        assert_eq!(destination, "udp:198.51.100.1:5060");
        let strict = "Record-Route: <sip:198.51.100.1>\r\nRecord-Route: <sip:198.51.100.2;lr>\r\n";
        let (text, destination) = bye(dialog(contact, strict).unwrap());
        assert!(text.starts_with("BYE sip:198.51.100.1 SIP/2.0\r\n"), "{text}");
        assert!(text.contains("Route: <sip:198.51.100.2;lr>\r\nRoute: <sip:a@203.0.113.4>\r\n"), "{text}");
        assert_eq!(destination, "udp:198.51.100.1:5060");
    }

    #[test]
    fn names_and_private_addresses_are_reached_where_they_came_from() {
        for contact in ["<sip:a@pbx.example.com>", "<sip:a@192.168.1.20:5060>", "<sip:a@[::]>"] {
            let (_, destination) = bye(dialog(&format!("m: {contact}\r\n"), "").unwrap());
            assert_eq!(destination, format!("udp:{SOURCE}"), "{contact}");
        }
    }

    /// RFC 3263 §4.1 and §12.2.1.1; RFC 5626 §5.3 for the connection.
    #[test]
    fn the_contact_says_which_transport_and_whether_the_connection_leads_there() {
        let flow = Flow { listener: 1, connection: 7 };
        let hop = |transport, contact: &str| {
            let mut dialog = dialog(&format!("Contact: {contact}\r\n"), "").unwrap();
            dialog.source = Peer { flow: Some(flow), ..Peer::new(transport, SOURCE.parse().unwrap()) };
            let Peer { flow: by, .. } = dialog.next_hop();
            format!("{}{}", dialog.next_hop(), if by == Some(flow) { " by its connection" } else { "" })
        };
        let tcp = |contact: &str| hop(Transport::Tcp, contact);
        let wss = |contact: &str| hop(Transport::Wss, contact);
        assert_eq!(tcp("<sip:a@198.51.100.7:5070;transport=tcp>"), "tcp:198.51.100.7:5070 by its connection");
        assert_eq!(tcp("<sip:a@198.51.100.7>"), "tcp:198.51.100.7:5060 by its connection");
        assert_eq!(tcp("<sip:a@203.0.113.4;transport=tcp>"), "tcp:203.0.113.4:5060", "another host");
        assert_eq!(tcp("<sip:a@203.0.113.4>"), "udp:203.0.113.4:5060");
        assert_eq!(tcp("<sip:a@198.51.100.7;transport=udp>"), "udp:198.51.100.7:5060");
        assert_eq!(tcp("<sips:a@198.51.100.7>"), "tls:198.51.100.7:5061");
        assert_eq!(tcp("<sip:a@10.0.0.3;transport=tcp>"), "tcp:198.51.100.7:6060 by its connection");
        assert_eq!(tcp("<sip:a@203.0.113.4;transport=sctp>"), "tcp:198.51.100.7:6060 by its connection");
        assert_eq!(wss("<sip:a@df7jal23ls0d.invalid;transport=ws>"), "wss:198.51.100.7:6060 by its connection");
        let udp = |contact: &str| hop(Transport::Udp, contact);
        assert_eq!(udp("<sip:a@203.0.113.4>"), "udp:203.0.113.4:5060 by its connection", "the same socket");
        assert_eq!(udp("<sip:a@[2001:db8::4]>"), "udp:[2001:db8::4]:5060");
    }

    /// RFC 3261 §12.1.1.
    #[test]
    fn a_sips_uri_anywhere_that_counts_makes_our_contact_sips() {
        let route = "Record-Route: <sips:p.example.com;lr>\r\n";
        for (contact, route, expected) in [
            ("Contact: <sip:a@b>\r\n", "", false),
            ("Contact: <sips:a@b>\r\n", "", true),
            ("Contact: <sip:a@b>\r\n", route, true),
            ("Contact: <sips:a@b>\r\n", "Record-Route: <sip:p.example.com;lr>\r\n", false),
        ] {
            assert_eq!(dialog(contact, route).unwrap().is_sips(), expected, "{contact}{route}");
        }
    }

    #[test]
    fn a_dialog_needs_one_usable_contact() {
        for contact in ["", "Contact: <tel:123>\r\n", "m: <sip:a@b>\r\nm: <sip:c@d>\r\n", "Contact: *\r\n"] {
            assert!(dialog(contact, "").is_err(), "{contact}");
        }
        assert!(dialog("Contact: <sip:a@b>\r\n", "Record-Route: <sip:p\r\n").is_err());
    }

    #[test]
    fn cseq_may_jump_but_not_fall() {
        let mut dialog = dialog("Contact: <sip:a@b>\r\n", "").unwrap();
        assert!(dialog.take_cseq(6) && dialog.take_cseq(900) && dialog.take_cseq(900));
        assert!(!dialog.take_cseq(899));
    }

    #[test]
    fn tags_read_back() {
        let tag = LocalTag(0x0123_4567_89ab_cdef);
        assert_eq!(LocalTag::parse(tag.to_string().as_bytes()), Some(tag));
        assert_eq!(LocalTag::parse(b"bd76ya"), None);
        assert_eq!(LocalTag::parse(b"+123456789abcdef"), None);
    }

    /// A confirmed call holds a dialog for hours: see that it does not grow unnoticed.
    #[test]
    fn a_dialog_is_small() {
        assert!(size_of::<Dialog>() <= 192, "{}", size_of::<Dialog>());
    }
}
