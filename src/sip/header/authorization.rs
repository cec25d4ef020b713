//! Authorization and Proxy-Authorization (RFC 3261 §20.7, §20.28; RFC 7616 §3.4): what proves who sends a request.

use super::auth_parameters::{read_digest, unescaped};
use super::{Malformed, Name};
use crate::sip::digest::{Algorithm, Counted, Hash};
use crate::sip::header::reason::write_quoted;

/// Credentials as they came. Texts are what stood between the quotes, escapes untouched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials<'a> {
    username: &'a [u8],
    realm: &'a [u8],
    /// The server's nonce.
    pub nonce: &'a [u8],
    /// The Request-URI that is proven, as the client wrote it.
    pub uri: &'a [u8],
    /// The proof: hexadecimal digits.
    pub response: &'a [u8],
    /// The algorithm's name; `None` means MD5.
    pub algorithm: Option<&'a [u8]>,
    /// The kind of protection; `None` is that of RFC 2069.
    pub qop: Option<&'a [u8]>,
    /// The count of uses of the nonce, as written, and the client's own nonce.
    pub counted: Option<Counted<'a>>,
}

impl<'a> Credentials<'a> {
    /// Reads a value; `None` when its scheme is not `Digest`.
    ///
    /// # Errors
    /// [`Malformed`] when it breaks the grammar, or lacks what every response has (RFC 7616 §3.4).
    pub fn parse(header: Name, value: &'a [u8]) -> Option<Result<Self, Malformed>> {
        let fault = |what| Malformed { header, what };
        let mut found = Self::default();
        let (mut nc, mut cnonce) = (None, None);
        let mut missing = ["username", "realm", "nonce", "uri", "response"].map(Some);
        let read = read_digest(value, |name, value| {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            for lacking in &mut missing {
                *lacking = lacking.filter(|lacking| !is(lacking));
            }
            match () {
                () if is("username") => found.username = value,
                () if is("realm") => found.realm = value,
                () if is("nonce") => found.nonce = value,
                () if is("uri") => found.uri = value,
                () if is("response") => found.response = value,
                () if is("algorithm") => found.algorithm = Some(value),
                () if is("qop") => found.qop = Some(value),
                () if is("nc") => nc = Some(value),
                () if is("cnonce") => cnonce = Some(value),
                () => {}
            }
        })?;
        found.counted = nc.zip(cnonce).map(|(nc, cnonce)| Counted { nc, cnonce });
        Some(match (read, missing.into_iter().flatten().next()) {
            (Err(what), _) => Err(fault(what)),
            (Ok(()), Some("username")) => Err(fault("no username")),
            (Ok(()), Some(_)) => Err(fault("realm, nonce, uri or response missing")),
            (Ok(()), None) if found.qop.is_some() && found.counted.is_none() => Err(fault("qop without nc and cnonce")),
            (Ok(()), None) => Ok(found),
        })
    }

    /// Who the sender says to be.
    #[must_use]
    pub fn username(&self) -> Vec<u8> {
        unescaped(self.username)
    }

    /// Whether they are meant for this realm.
    #[must_use]
    pub fn is_for(&self, realm: &str) -> bool {
        unescaped(self.realm) == realm.as_bytes()
    }

    /// The count of uses of the nonce: eight hexadecimal digits (RFC 7616 §3.4).
    #[must_use]
    pub fn count(&self) -> Option<u32> {
        let digits = std::str::from_utf8(self.counted?.nc).ok()?;
        (digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .then(|| u32::from_str_radix(digits, 16).ok())
            .flatten()
    }
}

/// Our own answer to a challenge.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Who we are.
    pub username: &'a str,
    /// The server's realm, as it came.
    pub realm: &'a [u8],
    /// The server's nonce, as it came.
    pub nonce: &'a [u8],
    /// The server's opaque, as it came.
    pub opaque: Option<&'a [u8]>,
    /// The Request-URI.
    pub uri: &'a [u8],
    /// The algorithm of the challenge; `None` when it named none.
    pub algorithm: Option<Algorithm>,
    /// With `qop=auth`, what was counted.
    pub counted: Option<Counted<'a>>,
    /// The proof.
    pub response: &'a Hash,
}

/// Writes credentials. What came from the server is written as it came.
pub fn write(written: &Written<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Digest username=\"");
    write_quoted(written.username, out);
    out.push(b'"');
    let mut quoted = |name: &str, value: &[u8]| {
        out.extend_from_slice(format!(", {name}=\"").as_bytes());
        out.extend_from_slice(value);
        out.push(b'"');
    };
    quoted("realm", written.realm);
    quoted("nonce", written.nonce);
    quoted("uri", written.uri);
    quoted("response", written.response.as_bytes());
    if let Some(opaque) = written.opaque {
        quoted("opaque", opaque);
    }
    if let Some(Counted { nc, cnonce }) = written.counted {
        quoted("cnonce", cnonce);
        // Neither has quotes (RFC 7616 §3.4).
        out.extend_from_slice(b", qop=auth, nc=");
        out.extend_from_slice(nc);
    }
    if let Some(algorithm) = written.algorithm {
        out.extend_from_slice(format!(", algorithm={}", algorithm.name()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<Result<Credentials<'_>, Malformed>> {
        Credentials::parse(Name::Authorization, value.as_bytes())
    }

    const GOOD: &str = "Digest username=\"bob\", realm=\"atlanta.example.com\", nonce=\"ea9c8e88df84f1cec4341ae6cbe5a359\", \
        uri=\"sips:ss2.biloxi.example.com\", response=\"dfe56131d1958046689d83306477ecc\"";

    #[test]
    fn what_every_response_has_is_read_and_missed() {
        let good = parse(GOOD).unwrap().unwrap();
        assert_eq!((good.username(), good.qop, good.counted, good.count()), (b"bob".to_vec(), None, None, None));
        assert!(good.is_for("atlanta.example.com") && !good.is_for("atlanta"));
        for name in ["username", "realm", "nonce", "uri", "response"] {
            assert!(parse(&GOOD.replace(&format!("{name}="), "x=")).unwrap().is_err(), "{name}");
        }
        assert!(parse(&format!("{GOOD}, qop=auth, nc=00000001")).unwrap().is_err());
        assert_eq!(parse("Basic YTpi"), None);
    }

    #[test]
    fn a_count_is_eight_hexadecimal_digits() {
        for (nc, count) in
            [("0000001f", Some(31)), ("1", None), ("+0000001", None), ("000000001", None), ("0000000g", None)]
        {
            let text = format!("{GOOD}, qop=auth, cnonce=\"x\", nc={nc}");
            assert_eq!(parse(&text).unwrap().unwrap().count(), count, "{nc}");
        }
    }

    #[test]
    fn our_own_reads_back() {
        let response = Hash::from_hex(Algorithm::Md5, &"0f".repeat(16)).unwrap();
        let written = Written {
            username: "an\"a",
            realm: b"the \\\"realm\\\"",
            nonce: b"n",
            opaque: Some(b"o"),
            uri: b"sip:a@b",
            algorithm: Some(Algorithm::Md5),
            counted: Some(Counted { nc: b"0000000a", cnonce: b"c" }),
            response: &response,
        };
        let mut out = Vec::new();
        write(&written, &mut out);
        let read = Credentials::parse(Name::Authorization, &out).unwrap().unwrap();
        assert_eq!((read.username(), read.count()), (b"an\"a".to_vec(), Some(10)));
        assert!(read.is_for("the \"realm\"") && response.is(read.response));
        assert_eq!((read.algorithm, read.qop), (Some(&b"MD5"[..]), Some(&b"auth"[..])));
    }
}
