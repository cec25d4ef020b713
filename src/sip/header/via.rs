//! Via (RFC 3261 §20.42, `rport` of RFC 3581): where the answer goes, and which transaction it belongs to.

use std::net::{IpAddr, SocketAddr};

use super::parameters::Parameters;
use super::{Malformed, Name};
use crate::sip::cursor::{Cursor, decimal, is_lws};
use crate::sip::transport::{Peer, Transport};
use crate::sip::uri::{Host, parse_host_port};

/// What a branch begins with when its sender follows RFC 3261 (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// One hop. A header may list several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP` or whatever the sender wrote.
    pub transport: &'a [u8],
    /// Host of sent-by.
    pub host: Host<'a>,
    /// Port of sent-by, if written.
    pub port: Option<u16>,
    /// The branch, if any.
    pub branch: Option<&'a [u8]>,
    /// Everything behind the sent-by.
    pub parameters: Parameters<'a>,
    /// Offset in the header's value of the first byte behind this hop: the end, a comma, or white space before it.
    end: usize,
    /// Offset behind the name of an `rport` without a value.
    rport: Option<usize>,
}

impl<'a> Via<'a> {
    /// Reads the first hop of a Via header's value.
    ///
    /// # Errors
    /// [`Malformed`] when the first hop breaks the grammar, or what follows it is not a comma.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(value);
        Self::read(&mut cursor).map_err(|what| Malformed { header: Name::Via, what })
    }

    /// Reads all hops of a Via header's value: the first, and how many there are.
    ///
    /// # Errors
    /// [`Malformed`] when any hop breaks the grammar.
    pub fn parse_all(value: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let read = |cursor: &mut Cursor<'a>| Self::read(cursor).map_err(|what| Malformed { header: Name::Via, what });
        let mut cursor = Cursor::new(value);
        let first = read(&mut cursor)?;
        let mut hops = 1;
        while cursor.take_separator(b',') {
            read(&mut cursor)?;
            hops += 1;
        }
        Ok((first, hops))
    }

    fn read(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        cursor.skip_lws();
        let protocol = cursor.token().ok_or("no protocol")?;
        let slash = cursor.take_separator(b'/');
        let version = cursor.token().ok_or("no version")?;
        let slashes = slash && cursor.take_separator(b'/');
        let transport = cursor.token().ok_or("no transport")?;
        if !slashes || !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return Err("not SIP/2.0");
        }
        let before = cursor.offset();
        cursor.skip_lws();
        if cursor.offset() == before {
            return Err("no blank before sent-by");
        }
        let (host, port) = read_sent_by(cursor)?;
        let start = cursor.rest();
        let offset = cursor.offset();
        // Of several parameters of one name the first counts.
        let (mut branch, mut rport) = (None, None);
        let parameters = Parameters::parse_each(cursor, |name, value, end| {
            if name.eq_ignore_ascii_case(b"branch") {
                branch.get_or_insert(value);
            } else if name.eq_ignore_ascii_case(b"rport") {
                rport.get_or_insert((value, end));
            }
        })?;
        let end = cursor.offset();
        if !matches!(cursor.peek(), None | Some(b',')) {
            return Err("text behind the parameters");
        }
        let consumed = start.get(..end - offset).unwrap_or_default();
        let trailing = consumed.iter().rev().take_while(|&&byte| is_lws(byte)).count();
        Ok(Self {
            transport,
            host,
            port,
            branch: branch.flatten(),
            parameters,
            end: end - trailing,
            rport: rport.filter(|(value, _)| value.is_none()).map(|(_, end)| end),
        })
    }

    /// Whether the branch promises to be unique, so that it alone names the transaction (RFC 3261 §17.2.3). A bare cookie
    /// (RFC 4475 §3.2.1) promises nothing.
    #[must_use]
    pub fn has_unique_branch(&self) -> bool {
        self.branch.is_some_and(|branch| branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE))
    }

    /// Where the response goes (RFC 3261 §18.2.2, RFC 3581 §4): back by the way the request came, and when that is a
    /// connection which is gone, to the sent-by port of the same host. `maddr` is not followed: it would let anyone
    /// aim our answers at a third party, and multicast is not spoken here.
    #[must_use]
    pub fn response_destination(&self, source: Peer) -> Peer {
        // The port that a connection came from is nobody's to connect to, whatever rport says.
        if !source.transport.is_reliable() && self.parameters.get("rport").is_some() {
            return source;
        }
        let port = self.port.filter(|&port| port != 0).unwrap_or(source.transport.default_port());
        Peer { address: SocketAddr::new(source.address.ip(), port), ..source }
    }

    /// Writes the whole value of the topmost Via header as it stands in our response: with `received` and the value of
    /// `rport` put into its first hop (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn write_received(&self, value: &[u8], source: SocketAddr, out: &mut Vec<u8>) {
        let (first, others) = value.split_at_checked(self.end).unwrap_or((value, b""));
        match self.rport.and_then(|at| first.split_at_checked(at)) {
            Some((before, after)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(format!("={}", source.port()).as_bytes());
                out.extend_from_slice(after);
            }
            None => out.extend_from_slice(first),
        }
        let differs = self.host.address() != Some(source.ip());
        if (differs || self.rport.is_some()) && self.parameters.get("received").is_none() {
            let received = match source.ip() {
                IpAddr::V4(address) => format!(";received={address}"),
                IpAddr::V6(address) => format!(";received=[{address}]"),
            };
            out.extend_from_slice(received.as_bytes());
        }
        out.extend_from_slice(others);
    }
}

/// Writes our own Via: always with an empty `rport`, for we may be the ones behind a NAT.
pub fn write(transport: Transport, sent_by: SocketAddr, branch: &str, out: &mut Vec<u8>) {
    let transport = transport.name();
    out.extend_from_slice(format!("SIP/2.0/{transport} {sent_by};branch={branch};rport").as_bytes());
}

/// A request of ours with another transport and sent-by in the Via that [`write`](fn@write) put on top (RFC 3261 §18.1.1); `None` when there is
/// none.
#[must_use]
pub fn rewritten(request: &[u8], transport: Transport, sent_by: SocketAddr) -> Option<Vec<u8>> {
    let start = find(request, b"\r\nVia: SIP/2.0/")?;
    let (before, rest) = request.split_at_checked(start)?;
    let (_, after) = rest.split_at_checked(find(rest, b";branch=")?)?;
    let mut out = Vec::with_capacity(request.len() + 16);
    out.extend_from_slice(before);
    out.extend_from_slice(format!("\r\nVia: SIP/2.0/{} {sent_by}", transport.name()).as_bytes());
    out.extend_from_slice(after);
    Some(out)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn read_sent_by<'a>(cursor: &mut Cursor<'a>) -> Result<(Host<'a>, Option<u16>), &'static str> {
    let host = cursor.take_while(|byte| !is_lws(byte) && !matches!(byte, b';' | b','));
    let (host, mut port) = parse_host_port(host).ok_or("bad sent-by")?;
    // `host : port` with blanks around the colon is legal (COLON of RFC 3261 §25.1).
    if port.is_none() && cursor.take_separator(b':') {
        port = Some(decimal(cursor.take_while(|byte| byte.is_ascii_digit())).ok_or("bad port")?);
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transport::Flow;

    const SOURCE: &str = "198.51.100.7:6060";

    fn received(value: &str) -> String {
        let mut out = Vec::new();
        Via::parse(value.as_bytes()).unwrap().write_received(value.as_bytes(), SOURCE.parse().unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn destination(transport: Transport, value: &str) -> String {
        let flow = Some(Flow { listener: 1, connection: 7 });
        let source = Peer { flow, ..Peer::new(transport, SOURCE.parse().unwrap()) };
        let destination = Via::parse(value.as_bytes()).unwrap().response_destination(source);
        assert_eq!((destination.transport, destination.flow), (transport, flow), "the way it came");
        destination.address.to_string()
    }

    #[test]
    fn blanks_and_folds_are_read() {
        let value = b"SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw , SIP/2.0/TCP [::1]:5061;branch=z9hG4bKa";
        let via = Via::parse(value).unwrap();
        assert_eq!(via.host.address(), Some("192.0.2.2".parse().unwrap()));
        assert_eq!((via.transport, via.branch), (&b"UDP"[..], Some(&b"390skdjuw"[..])));
        assert!(!via.has_unique_branch());
        assert_eq!(Via::parse_all(value).map(|(_, hops)| hops), Ok(2));
    }

    /// RFC 3581 §4.
    #[test]
    fn rport_and_received_are_filled_in_the_first_hop_only() {
        let table = [
            ("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1", "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1"),
            ("SIP/2.0/UDP 10.0.0.1;branch=b", "SIP/2.0/UDP 10.0.0.1;branch=b;received=198.51.100.7"),
            (
                "SIP/2.0/UDP 198.51.100.7;x=\"rport\";rport;branch=b , SIP/2.0/UDP h;rport",
                "SIP/2.0/UDP 198.51.100.7;x=\"rport\";rport=6060;branch=b;received=198.51.100.7 , SIP/2.0/UDP h;rport",
            ),
            ("SIP/2.0/UDP pc33.atlanta.com;rport", "SIP/2.0/UDP pc33.atlanta.com;rport=6060;received=198.51.100.7"),
        ];
        for (value, expected) in table {
            assert_eq!(received(value), expected);
        }
    }

    #[test]
    fn the_answer_goes_to_the_source_address() {
        for (value, expected) in [
            ("SIP/2.0/UDP 10.0.0.1:5080;rport", SOURCE),
            ("SIP/2.0/UDP 10.0.0.1:5080", "198.51.100.7:5080"),
            ("SIP/2.0/UDP 10.0.0.1 : 5090 ;maddr=203.0.113.9", "198.51.100.7:5090"),
            ("SIP/2.0/UDP host;branch=x", "198.51.100.7:5060"),
        ] {
            assert_eq!(destination(Transport::Udp, value), expected, "{value}");
        }
    }

    /// RFC 3261 §18.2.2: the connection's own port is not where to connect.
    #[test]
    fn behind_a_lost_connection_the_answer_goes_to_sent_by() {
        for (transport, value, expected) in [
            (Transport::Tcp, "SIP/2.0/TCP 10.0.0.1:5080;rport", "198.51.100.7:5080"),
            (Transport::Tcp, "SIP/2.0/TCP host", "198.51.100.7:5060"),
            (Transport::Tls, "SIP/2.0/TLS host", "198.51.100.7:5061"),
            (Transport::Wss, "SIP/2.0/WSS df7jal23ls0d.invalid;rport", "198.51.100.7:443"),
        ] {
            assert_eq!(destination(transport, value), expected, "{value}");
        }
    }

    #[test]
    fn our_own_reads_back() {
        let mut out = Vec::new();
        write(Transport::Wss, "[2001:db8::1]:5060".parse().unwrap(), "z9hG4bKabc", &mut out);
        let via = Via::parse(&out).unwrap();
        assert_eq!(via.transport, b"WSS");
        assert_eq!((via.host, via.port), (Host::V6(b"2001:db8::1"), Some(5060)));
        assert!(via.has_unique_branch());
        assert_eq!(via.parameters.get("rport"), Some(None));
    }

    #[test]
    fn our_own_is_rewritten_for_another_transport() {
        let request =
            |via: &str| format!("INVITE sip:a@b SIP/2.0\r\nVia: {via};branch=z9hG4bK1;rport\r\nTo: x\r\n\r\nbody");
        let tcp = rewritten(
            request("SIP/2.0/UDP 192.0.2.1:5060").as_bytes(),
            Transport::Tcp,
            "192.0.2.1:5070".parse().unwrap(),
        );
        assert_eq!(tcp.unwrap(), request("SIP/2.0/TCP 192.0.2.1:5070").as_bytes());
        assert_eq!(rewritten(b"INVITE sip:a@b SIP/2.0\r\n\r\n", Transport::Tcp, SOURCE.parse().unwrap()), None);
    }

    #[test]
    fn broken_hops_are_refused() {
        for value in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/3.0/UDP a",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP a:70000",
            "SIP/2.0 UDP a",
        ] {
            assert!(Via::parse(value.as_bytes()).is_err(), "{value}");
        }
        assert!(Via::parse_all(b"SIP/2.0/UDP a, ;").is_err());
    }
}
