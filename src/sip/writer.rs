//! Writes messages (RFC 3261 §7): their bytes, built once and kept for retransmission.

use std::net::SocketAddr;

use bytes::Bytes;

use super::header::via::Via;
use super::header::{Name, content_length};
use super::message::Message;
use super::method::Method;
use super::status::reason_phrase;

/// A message under construction: start line first, then headers in the order of the calls, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Begins a request.
    #[must_use]
    pub fn request(method: Method, uri: &[u8]) -> Self {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(method.name().as_bytes());
        out.push(b' ');
        out.extend_from_slice(uri);
        out.extend_from_slice(b" SIP/2.0\r\n");
        Self { out }
    }

    /// Begins a response with what is copied from the request (RFC 3261 §8.2.6.2): every Via, From, To, Call-ID and CSeq, as far
    /// as the request has them. `to_tag` is put behind To; leave it out when To has one, and for 100.
    #[must_use]
    pub fn response(
        request: &Message,
        via: Option<&Via<'_>>,
        source: SocketAddr,
        status: u16,
        to_tag: Option<&str>,
    ) -> Self {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"SIP/2.0 ");
        out.extend_from_slice(status.to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(reason_phrase(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        let mut writer = Self { out };
        let mut topmost = via;
        for value in request.values(Name::Via) {
            writer.header("Via", |out| match topmost.take() {
                Some(via) => via.write_received(value, source, out),
                None => out.extend_from_slice(value),
            });
        }
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            let Some(value) = request.value(name) else { continue };
            writer.header(name.text(), |out| {
                out.extend_from_slice(value);
                if let (Name::To, Some(tag)) = (name, to_tag) {
                    out.extend_from_slice(b";tag=");
                    out.extend_from_slice(tag.as_bytes());
                }
            });
        }
        writer
    }

    /// Adds one header line; `write` writes its value.
    pub fn header(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        write(&mut self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Adds one header line with a value that is text already.
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.header(name, |out| out.extend_from_slice(value.as_ref()));
    }

    /// Copies every line of a header from another message.
    pub fn copy(&mut self, from: &Message, name: Name) {
        for value in from.values(name) {
            self.text(name.text(), value);
        }
    }

    /// Ends the headers and adds the body. An empty body has no Content-Type.
    #[must_use]
    pub fn finish(mut self, content_type: &str, body: &[u8]) -> Bytes {
        if !body.is_empty() {
            self.text("Content-Type", content_type);
        }
        self.header("Content-Length", |out| content_length::write(body.len(), out));
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(body);
        // It may be kept for half a minute, and keeps no room that it does not need; the next message is written where this one was.
        Bytes::copy_from_slice(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_repeats_what_names_the_transaction() {
        let request = "INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;rport;branch=z9hG4bK1\r\nv: SIP/2.0/TCP p\r\n\
            f: <sip:c@d>\r\n ;tag=1\r\nt: <sip:a@b>\r\ni: x\r\nCSeq: 1 INVITE\r\n\r\n";
        let request = Message::scan(Bytes::copy_from_slice(request.as_bytes())).unwrap();
        let via = Via::parse(request.value(Name::Via).unwrap()).unwrap();
        let mut writer = Writer::response(&request, Some(&via), "192.0.2.1:99".parse().unwrap(), 404, Some("t1"));
        writer.text("Server", "contesta");
        assert_eq!(
            writer.finish("application/sdp", b""),
            "SIP/2.0 404 Not Found\r\nVia: SIP/2.0/UDP h;rport=99;branch=z9hG4bK1;received=192.0.2.1\r\n\
            Via: SIP/2.0/TCP p\r\nFrom: <sip:c@d>\r\n ;tag=1\r\nTo: <sip:a@b>;tag=t1\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\
            Server: contesta\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_request_with_a_body() {
        let mut writer = Writer::request(Method::Invite, b"sip:a@b");
        writer.text("CSeq", "1 INVITE");
        assert_eq!(
            writer.finish("application/sdp", b"v=0\r\n"),
            "INVITE sip:a@b SIP/2.0\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
        );
    }
}
