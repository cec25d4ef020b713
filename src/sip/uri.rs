//! URIs (RFC 3261 §19.1, RFC 3966 for `tel`), borrowed from the message and not copied.
//!
//! The user part is read leniently (a phone that sends `#` or UTF-8 unescaped is still answered), the rest strictly.
//! Percent escapes stay as they are until [`decoded`] is asked; an escaped NUL does not cut a name short.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cursor::decimal;

/// The scheme before the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// Any other, as written.
    Other(&'a [u8]),
}

/// The host of a SIP URI or of a Via's sent-by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name for the DNS.
    Name(&'a [u8]),
    /// An IPv4 literal.
    V4(Ipv4Addr),
    /// What stands between the brackets. RFC 5118 §4.9 asks to accept `:::`, which is no address, so it is kept as text.
    V6(&'a [u8]),
}

impl Host<'_> {
    /// The literal's address; `None` for names and for IPv6 text that is no address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(*address)),
            Self::V6(literal) => std::str::from_utf8(literal).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        }
    }
}

/// One URI. `host` is present exactly for `sip` and `sips`; for `tel` the number is `user`, for other schemes everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Before the colon.
    pub scheme: Scheme<'a>,
    /// User part without its `;` parameters and password, escaped as written; `None` when there is no `@`.
    pub user: Option<&'a [u8]>,
    /// What follows the first `;` of the user part (RFC 3966 parameters in a SIP URI), without that `;`.
    pub user_parameters: &'a [u8],
    /// Host of a SIP URI.
    pub host: Option<Host<'a>>,
    /// Port, if written.
    pub port: Option<u16>,
    /// Text behind the host, without the first `;`.
    pub parameters: &'a [u8],
    /// Text behind `?`. Never applied to anything (RFC 3261 §19.1.5 lets us, security does not).
    pub headers: &'a [u8],
}

/// Why text is no URI. Its text stands in the Warning of the 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUri(pub &'static str);

impl<'a> Uri<'a> {
    /// Reads a URI that fills `bytes`.
    ///
    /// # Errors
    /// [`BadUri`] for white space or angle brackets anywhere, no scheme, and a SIP URI without a host or with a bad port.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadUri> {
        let marks = Marks::find(bytes)?;
        let scheme =
            marks.scheme.and_then(|colon| bytes.split_at_checked(colon)).ok_or(BadUri("URI without scheme"))?;
        let (scheme, rest) =
            (Scheme::parse(scheme.0).ok_or(BadUri("bad URI scheme"))?, scheme.1.get(1..).unwrap_or_default());
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::parse_sip(scheme, bytes, marks),
            Scheme::Tel => {
                let (number, parameters) = split_once(rest, b';').unwrap_or((rest, b""));
                if number.is_empty() {
                    return Err(BadUri("tel URI without number"));
                }
                Ok(Self { parameters, ..Self::opaque(scheme, number) })
            }
            Scheme::Other(_) => Ok(Self::opaque(scheme, rest)),
        }
    }

    fn opaque(scheme: Scheme<'a>, user: &'a [u8]) -> Self {
        Self { scheme, user: Some(user), user_parameters: b"", host: None, port: None, parameters: b"", headers: b"" }
    }

    fn parse_sip(scheme: Scheme<'a>, bytes: &'a [u8], marks: Marks) -> Result<Self, BadUri> {
        let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
        let begin = marks.scheme.map_or(0, |colon| colon + 1);
        let user_info = marks.at.map(|at| part(begin, at));
        if user_info.is_some_and(<[u8]>::is_empty) {
            return Err(BadUri("empty user part"));
        }
        let host = marks.at.map_or(begin, |at| at + 1);
        let headers = marks.headers.unwrap_or(bytes.len());
        let parameters = marks.parameters.unwrap_or(headers);
        let (host, port) = parse_host_port(part(host, parameters)).ok_or(BadUri("bad host or port in URI"))?;
        let (user, user_parameters) = match user_info {
            Some(info) => {
                let (user, parameters) = split_once(info, b';').unwrap_or((info, b""));
                // The password is never used, and never logged.
                (Some(split_once(user, b':').map_or(user, |(user, _)| user)), parameters)
            }
            None => (None, &b""[..]),
        };
        let (parameters, headers) = (part(parameters + 1, headers), part(headers + 1, bytes.len()));
        Ok(Self { scheme, user, user_parameters, host: Some(host), port, parameters, headers })
    }

    /// Whether the URI has this parameter, with or without a value; names compare without case.
    #[must_use]
    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }

    /// The value of a parameter, empty when it has none; names compare without case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = parameters(self.parameters);
        all.find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// User part, percent-decoded, for people and routing; empty when there is none.
    #[must_use]
    pub fn user_text(&self) -> String {
        self.user.map(decoded).unwrap_or_default()
    }

    /// Parameters of the user part, then of the URI: names lower-case, values percent-decoded.
    #[must_use]
    pub fn all_parameters(&self) -> Vec<(String, String)> {
        parameters(self.user_parameters)
            .chain(parameters(self.parameters))
            .map(|(name, value)| (decoded(name).to_ascii_lowercase(), decoded(value)))
            .collect()
    }
}

/// Where the parts of a SIP URI meet, found in one pass.
#[derive(Clone, Copy, Default)]
struct Marks {
    /// The first colon.
    scheme: Option<usize>,
    /// The first `@` behind it. `;`, `?` and `/` may stand in a user part, `@` nowhere behind it unescaped: the first `@` ends it
    /// (RFC 4475 §3.1.1.9).
    at: Option<usize>,
    /// The first `;` behind that, unless `?` comes before.
    parameters: Option<usize>,
    /// The first `?`.
    headers: Option<usize>,
}

impl Marks {
    fn find(bytes: &[u8]) -> Result<Self, BadUri> {
        let mut marks = Self::default();
        for (at, &byte) in bytes.iter().enumerate() {
            if !SPECIAL[usize::from(byte)] {
                continue;
            }
            match byte {
                b':' => marks.scheme = marks.scheme.or(Some(at)),
                b'@' if marks.scheme.is_some() && marks.at.is_none() => {
                    marks = Self { scheme: marks.scheme, at: Some(at), ..Self::default() };
                }
                b'@' => {}
                b';' if marks.headers.is_none() => marks.parameters = marks.parameters.or(Some(at)),
                b';' => {}
                b'?' => marks.headers = marks.headers.or(Some(at)),
                _ => return Err(BadUri("white space, control, quote or bracket in URI")),
            }
        }
        Ok(marks)
    }
}

/// Which bytes of a URI part it, or may not stand in it, looked up.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = byte <= b' ' || matches!(byte, b':' | b'@' | b';' | b'?' | b'<' | b'>' | b'"' | 0x7f);
        byte += 1;
    }
    table
};

impl<'a> Scheme<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        match bytes {
            _ if bytes.eq_ignore_ascii_case(b"sip") => Some(Self::Sip),
            _ if bytes.eq_ignore_ascii_case(b"sips") => Some(Self::Sips),
            _ if bytes.eq_ignore_ascii_case(b"tel") => Some(Self::Tel),
            [first, rest @ ..] if first.is_ascii_alphabetic() && rest.iter().all(legal) => Some(Self::Other(bytes)),
            _ => None,
        }
    }
}

/// Reads `host [":" port]` that fills `bytes`; `None` when it is neither a name nor a literal, or the port is no port.
#[must_use]
pub fn parse_host_port(bytes: &[u8]) -> Option<(Host<'_>, Option<u16>)> {
    let (host, rest) = if let Some(rest) = bytes.strip_prefix(b"[") {
        let (literal, rest) = split_once(rest, b']')?;
        let legal = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        if !literal.contains(&b':') || !literal.iter().all(legal) {
            return None;
        }
        (Host::V6(literal), rest)
    } else {
        let end = bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len());
        let (name, rest) = bytes.split_at_checked(end)?;
        (parse_host_name(name)?, rest)
    };
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] => Some((host, Some(decimal(port)?))),
        _ => None,
    }
}

fn parse_host_name(name: &[u8]) -> Option<Host<'_>> {
    // `_` is no legal host character, yet machine names with it are common on private networks.
    let legal = |byte: u8| HOST[usize::from(byte)];
    let last = *name.last()?;
    if !name.iter().copied().all(legal) {
        return None;
    }
    // A literal ends with a digit; few names do.
    let address = if last.is_ascii_digit() { ipv4(name) } else { None };
    Some(address.map_or(Host::Name(name), Host::V4))
}

/// Four decimal numbers up to 255 without leading zeros.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split(|&byte| byte == b'.');
    for octet in &mut octets {
        *octet = match parts.next()? {
            [b'0', _, ..] => return None,
            digits => decimal(digits)?,
        };
    }
    parts.next().is_none().then(|| octets.into())
}

/// Which bytes stand in a host's name or IPv4 literal, looked up.
static HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        byte += 1;
    }
    table
};

/// The `name[=value]` pairs between semicolons; a missing value is empty.
pub fn parameters(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes
        .split(|&byte| byte == b';')
        .filter(|pair| !pair.is_empty())
        .map(|pair| split_once(pair, b'=').unwrap_or((pair, b"")))
}

/// From of a call whose caller is not shown (RFC 3323 §4.1.1.3).
pub const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// The URI of a user at this address.
#[must_use]
pub fn at(user: &str, address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("sip:{}@{address}", escaped(user)),
        IpAddr::V6(address) => format!("sip:{}@[{address}]", escaped(user)),
    }
}

/// A user part: what may stand there as it is (RFC 3261 §25.1), and the rest percent-encoded.
#[must_use]
pub fn escaped(user: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    user.bytes().map(escape).collect()
}

/// Percent-decodes; a `%` without two hexadecimal digits stays. What is not UTF-8 then becomes U+FFFD.
#[must_use]
pub fn decoded(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        plain.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { rest.get(3..).unwrap_or_default() } else { tail };
    }
    String::from_utf8(plain).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|&byte| byte == at)?;
    Some((bytes.get(..position)?, bytes.get(position + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn parts_of_a_sip_uri() {
        let uri = uri("sips:alice:secret@[2001:db8::10]:5061;transport=tcp;LR?Route=%3Csip:x%3E");
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(uri.user, Some(&b"alice"[..]));
        assert_eq!(uri.host.and_then(|host| host.address()), Some("2001:db8::10".parse().unwrap()));
        assert_eq!(uri.port, Some(5061));
        assert!(uri.has_parameter("lr"));
        assert!(!uri.has_parameter("Route"));
        assert_eq!(uri.headers, b"Route=%3Csip:x%3E");
    }

    #[test]
    fn the_number_is_decoded_and_its_parameters_are_apart() {
        let called = uri("sip:%2A2363;ext=300@10.0.0.1;user=phone");
        assert_eq!(called.user_text(), "*2363");
        assert_eq!(called.host, Some(Host::V4(Ipv4Addr::new(10, 0, 0, 1))));
        let expected = [("ext", "300"), ("user", "phone")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(called.all_parameters(), expected);
        assert_eq!(uri("tel:+52-222-605-7239;ext=300").user_text(), "+52-222-605-7239");
    }

    /// RFC 4475 §3.1.1.4: `%00` belongs to the name.
    #[test]
    fn an_escaped_nul_does_not_cut_the_user() {
        assert_eq!(uri("sip:null-%00-null@example.com").user_text(), "null-\0-null");
        assert_eq!(decoded(b"100%"), "100%");
        assert_eq!(decoded(b"%zz%C3%A1"), "%zzá");
    }

    #[test]
    fn what_is_a_uri_and_what_is_not() {
        let accepted = [
            "sip:example.com",
            "SIP:user@example.com",
            "sip:user;par=u%40example.net@example.com",
            "sip:2363#@example.com",
            "sip:user@[2001:db8:::192.0.2.1]",
            "sip:user@my_host:5060",
            "soap.beep://192.0.2.103:3002",
            "isbn:2983792873",
        ];
        let refused = [
            "",
            "sip",
            "sip:",
            "sip:@example.com",
            "<sip:user@example.com>",
            "sip:user@example.com; lr",
            "sip:2001:db8::10",
            "sip:user@host:port",
            "sip:user@host:65536",
            "sip:user@[::1",
            "sip:user@[::1]x",
            "sip:a@b@c",
            "tel:",
            "1sip:user@example.com",
        ];
        for text in accepted {
            assert!(Uri::parse(text.as_bytes()).is_ok(), "{text}");
        }
        for text in refused {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
