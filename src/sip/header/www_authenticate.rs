//! WWW-Authenticate and Proxy-Authenticate (RFC 3261 §20.44, §20.27; RFC 7616 §3.3): a challenge, one algorithm a line.

use super::auth_parameters::{read_digest, unescaped};
use super::reason::write_quoted;
use super::{Malformed, Name};
use crate::sip::digest::Algorithm;

/// A challenge as it came. Texts are what stood between the quotes, escapes untouched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Whose passwords are asked for.
    pub realm: &'a [u8],
    /// To be used in the answer.
    pub nonce: &'a [u8],
    /// To be returned as it is.
    pub opaque: Option<&'a [u8]>,
    /// The algorithm's name; `None` means MD5.
    pub algorithm: Option<&'a [u8]>,
    /// The kinds of protection to choose from, a list; `None` is that of RFC 2069.
    pub qop: Option<&'a [u8]>,
    /// The password was right and the nonce too old.
    pub stale: bool,
}

impl<'a> Challenge<'a> {
    /// Reads a value; `None` when its scheme is not `Digest`.
    ///
    /// # Errors
    /// [`Malformed`] when it breaks the grammar, or has neither realm nor nonce.
    pub fn parse(header: Name, value: &'a [u8]) -> Option<Result<Self, Malformed>> {
        let mut found = Self::default();
        let (mut realm, mut nonce) = (None, None);
        let read = read_digest(value, |name, value| {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            match () {
                () if is("realm") => realm = Some(value),
                () if is("nonce") => nonce = Some(value),
                () if is("opaque") => found.opaque = Some(value),
                () if is("algorithm") => found.algorithm = Some(value),
                () if is("qop") => found.qop = Some(value),
                () if is("stale") => found.stale = value.eq_ignore_ascii_case(b"true"),
                () => {}
            }
        })?;
        Some(match (read, realm.zip(nonce)) {
            (Err(what), _) => Err(Malformed { header, what }),
            (Ok(()), None) => Err(Malformed { header, what: "no realm or no nonce" }),
            (Ok(()), Some((realm, nonce))) => Ok(Self { realm, nonce, ..found }),
        })
    }

    /// Whether the answer may be protected with `auth` and a count.
    #[must_use]
    pub fn offers_auth(&self) -> bool {
        let mut kinds = self.qop.unwrap_or_default().split(|&byte| byte == b',');
        kinds.any(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"auth"))
    }

    /// The realm as its passwords are hashed with.
    #[must_use]
    pub fn realm_text(&self) -> String {
        String::from_utf8_lossy(&unescaped(self.realm)).into_owned()
    }
}

/// Writes a challenge of ours.
pub fn write(realm: &str, nonce: &str, opaque: &str, algorithm: Algorithm, stale: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Digest realm=\"");
    write_quoted(realm, out);
    let stale = if stale { ", stale=true" } else { "" };
    let rest =
        format!("\", nonce=\"{nonce}\", opaque=\"{opaque}\"{stale}, algorithm={}, qop=\"auth\"", algorithm.name());
    out.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &[u8]) -> Challenge<'_> {
        Challenge::parse(Name::WwwAuthenticate, value).unwrap().unwrap()
    }

    #[test]
    fn our_own_reads_back() {
        let mut out = Vec::new();
        write("contesta", "abc", "def", Algorithm::Sha256, true, &mut out);
        let read = parse(&out);
        assert_eq!((read.realm, read.nonce, read.opaque), (&b"contesta"[..], &b"abc"[..], Some(&b"def"[..])));
        assert_eq!((read.algorithm, read.stale, read.offers_auth()), (Some(&b"SHA-256"[..]), true, true));
        let mut out = Vec::new();
        write("contesta", "abc", "def", Algorithm::Md5, false, &mut out);
        assert!(!parse(&out).stale);
    }

    #[test]
    fn what_is_offered_is_understood() {
        let value = b"Digest realm=\"an \\\"example\\\"\", qop=\"auth-int, AUTH\", nonce=\"\", stale=FALSE";
        let read = parse(value);
        assert_eq!((read.realm_text().as_str(), read.offers_auth(), read.stale), ("an \"example\"", true, false));
        assert!(!parse(b"Digest realm=a, nonce=b, qop=auth-int").offers_auth());
        assert!(Challenge::parse(Name::WwwAuthenticate, b"Digest realm=a").unwrap().is_err());
        assert_eq!(Challenge::parse(Name::WwwAuthenticate, b"Bearer x=y"), None);
    }
}
