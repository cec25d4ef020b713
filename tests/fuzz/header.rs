//! Bytes as the value of one typed header: the first byte says which.

use std::net::SocketAddr;

use bytes::Bytes;
use contesta::sip::Peer;
use contesta::sip::cursor::Cursor;
use contesta::sip::header::address::Address;
use contesta::sip::header::auth_parameters::{read_digest, unescaped};
use contesta::sip::header::authorization::Credentials;
use contesta::sip::header::contact_list::{CONTACTS_MAX, Contacts};
use contesta::sip::header::content_type::ContentType;
use contesta::sip::header::cseq::{self, CSeq};
use contesta::sip::header::parameters::Parameters;
use contesta::sip::header::rack::{self, RAck};
use contesta::sip::header::replaces::Replaces;
use contesta::sip::header::route::{ROUTES_MAX, Route};
use contesta::sip::header::session_expires::{self, SessionExpires};
use contesta::sip::header::via::{self, Via};
use contesta::sip::header::www_authenticate::Challenge;
use contesta::sip::header::{
    Name, accept, allow, call_id, contact, content_length, expires, max_forwards, option_tags, reason, retry_after,
    warning,
};
use contesta::sip::message::Message;
use contesta::sip::method::Method;
use contesta::sip::uri::decoded;

use super::lies_in;

/// A typed header: the byte that chooses it, and what is asked of it.
type Header = (u8, fn(&[u8]));

/// Every typed header.
const HEADERS: [Header; 23] = [
    (b'v', via_hop),
    (b'f', address),
    (b'm', contacts),
    (b'r', routes),
    (b'p', parameters),
    (b'c', content_type),
    (b's', sequence),
    (b'i', |value| assert!(call_id::parse(value).is_ok_and(|id| lies_in(id, value)) || call_id::parse(value).is_err())),
    (b'l', |value| _ = content_length::parse(value)),
    (b'x', expiry),
    (b'h', |value| _ = max_forwards::parse(value)),
    (b't', |value| _ = retry_after::parse(value)),
    (b'o', tags),
    (b'a', |value| _ = accept::accepts(value, "application/sdp")),
    (b'u', credentials),
    (b'w', challenge),
    (b'q', quoted),
    (b'n', |value| _ = Name::of(value)),
    (b'k', acknowledged),
    (b'e', replaced),
    (b'y', session),
    (b'b', |value| _ = allow::names([value].into_iter(), Method::Update)),
    (b'j', |value| _ = option_tags::names(value, "100rel")),
];

/// Reads the bytes behind the first one as the header that it chooses.
pub fn run(data: &[u8]) {
    let Some((choice, value)) = data.split_first() else { return };
    let known = HEADERS.iter().find(|(letter, _)| letter == choice);
    let (_, read) = known.unwrap_or(&HEADERS[usize::from(*choice) % HEADERS.len()]);
    read(value);
}

/// What goes back in a response is the same hop, and leads to whoever sent.
fn via_hop(value: &[u8]) {
    let Ok(hop) = Via::parse(value) else { return };
    let source = SocketAddr::from(([203, 0, 113, 7], 40_000));
    assert_eq!(hop.response_destination(Peer::udp(source)).address.ip(), source.ip());
    let mut written = Vec::new();
    hop.write_received(value, source, &mut written);
    let again = Via::parse(&written).expect("what we write is a Via");
    assert_eq!(
        (again.transport, again.host, again.port, again.branch),
        (hop.transport, hop.host, hop.port, hop.branch)
    );
    let hops = |text| Via::parse_all(text).map(|(first, hops)| (first.branch.map(<[u8]>::to_vec), hops)).ok();
    assert_eq!(hops(&written), hops(value));
    if hop.parameters.get("rport") == Some(None) {
        assert_eq!(again.parameters.value("rport"), Some(b"40000".as_slice()));
    }
    let _ours = via::rewritten(value, contesta::sip::Transport::Tcp, source);
}

/// One address is a list of one, and its URI stands alone.
fn address(value: &[u8]) {
    let read = Address::parse(Name::To, value);
    let mut listed = Vec::new();
    let list = Address::parse_list(Name::To, value, |address| listed.push(address));
    let Ok(address) = read else { return };
    assert_eq!((list, listed.as_slice()), (Ok(()), [address].as_slice()));
    assert!(lies_in(address.uri_text, value));
    assert_eq!(contesta::sip::uri::Uri::parse(address.uri_text), Ok(address.uri));
    let _shown = (address.display_text(), address.tag());
}

fn contacts(value: &[u8]) {
    let _first = contact::parse(value);
    let text = [b"REGISTER sip:a SIP/2.0\r\nContact: ".as_slice(), value, b"\r\n\r\n"].concat();
    let Some(message) = Message::scan(Bytes::from(text)) else { return };
    if let Ok(Contacts::These(contacts)) = Contacts::read(&message) {
        assert!(contacts.len() <= CONTACTS_MAX);
        assert!(contacts.iter().all(|contact| contact.q.is_none_or(|q| q <= 1_000)));
    }
}

fn routes(value: &[u8]) {
    let mut routes = Vec::new();
    if Route::read_into(value, &mut routes).is_ok() {
        assert!(routes.len() <= ROUTES_MAX && routes.iter().all(|route| route.uri().is_some()));
        let _loose = routes.iter().filter(|route| route.is_loose()).count();
    }
}

/// What was checked is read again whole.
fn parameters(value: &[u8]) {
    let mut cursor = Cursor::new(value);
    if let Ok(parameters) = Parameters::parse(&mut cursor) {
        for (name, value) in parameters.iter() {
            let name = std::str::from_utf8(name).expect("a token");
            assert!(
                parameters.get(name).is_some() && parameters.value(name) <= Some(b"\xff".repeat(65_536).as_slice())
            );
            assert!(value.is_none_or(|value| value.len() < 65_536));
        }
    }
}

fn content_type(value: &[u8]) {
    if let Ok(found) = ContentType::parse(value) {
        assert!(found.is(&found.essence()), "{found:?}");
    }
}

fn sequence(value: &[u8]) {
    let Ok(found) = CSeq::parse(value) else { return };
    let mut written = Vec::new();
    cseq::write(found.number, found.method, &mut written);
    let again = CSeq::parse(&written).expect("what we write is a CSeq");
    assert_eq!((again.number, again.method), (found.number, found.method));
}

fn expiry(value: &[u8]) {
    let mut written = Vec::new();
    expires::write(expires::parse(value), &mut written);
    assert_eq!(expires::parse(&written), expires::parse(value));
}

/// RSeq, and the RAck that answers it.
fn acknowledged(value: &[u8]) {
    let mut written = Vec::new();
    if let Some(number) = rack::rseq(value) {
        rack::write_rseq(number, &mut written);
        assert_eq!(rack::rseq(&written), Some(number));
        written.clear();
    }
    let Ok(found) = RAck::parse(value) else { return };
    found.write(&mut written);
    // A method that we do not know is written by no name of its own.
    if found.method != Method::Other {
        assert_eq!(RAck::parse(&written), Ok(found));
    }
}

/// What goes into a Refer-To is read there as the same dialog.
fn replaced(value: &[u8]) {
    let Ok(found) = Replaces::parse(value) else { return };
    // None of it is more than ASCII in RFC 3261 §25.1.
    if std::str::from_utf8(value).is_err() {
        return;
    }
    let again = decoded(found.escaped().as_bytes());
    assert_eq!(Replaces::parse(again.as_bytes()), Ok(Replaces { early_only: false, ..found }));
}

/// Session-Expires and Min-SE.
fn session(value: &[u8]) {
    let found = SessionExpires::parse(value);
    assert_eq!(found.ok().map(|session| session.seconds), session_expires::min_se(value));
    let Ok(found) = found else { return };
    let mut written = Vec::new();
    found.write(&mut written);
    assert_eq!(SessionExpires::parse(&written), Ok(found));
}

/// What goes back to the peer ends no line.
fn tags(value: &[u8]) {
    let mut written = Vec::new();
    option_tags::write(option_tags::unsupported(value, option_tags::SUPPORTED), &mut written);
    assert!(!written.contains(&b'\r') && !written.contains(&b'\n'));
}

fn credentials(value: &[u8]) {
    if let Some(Ok(found)) = Credentials::parse(Name::Authorization, value) {
        let _who = (found.username(), found.is_for("contesta"), found.count());
        assert!(found.qop.is_none() || found.counted.is_some());
    }
    let _every = read_digest(value, |_, value| drop(unescaped(value)));
}

fn challenge(value: &[u8]) {
    if let Some(Ok(found)) = Challenge::parse(Name::WwwAuthenticate, value) {
        let _what = (found.offers_auth(), found.realm_text());
    }
}

/// Any text can be quoted: the quotes end where it ends, and no line does.
fn quoted(value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    let mut written = b"\"".to_vec();
    reason::write_quoted(&text, &mut written);
    written.push(b'"');
    let mut cursor = Cursor::new(&written);
    assert!(cursor.quoted().is_some() && cursor.is_empty());
    let mut lines = Vec::new();
    warning::write(SocketAddr::from(([192, 0, 2, 10], 5060)), &text, &mut lines);
    reason::write(16, &text, &mut lines);
    assert!(!lines.contains(&b'\r') && !lines.contains(&b'\n') && !lines.contains(&0));
}
