//! Digest authentication (RFC 7616, RFC 8760 for SHA-256 in SIP, RFC 3261 §22): what both sides compute.
//!
//! `nonces` is the server's memory of the nonces it gave; `answer` is the client, which answers a challenge. The headers are
//! `header/www_authenticate` and `header/authorization`. `auth-int` is not spoken: phones and carriers offer none, and the body that
//! it would protect passes proxies that may change it.

pub mod algorithm;
pub mod answer;
pub mod nonces;

use std::fmt;

pub use algorithm::{Algorithm, Hash, hash};
pub use answer::{Answers, Login};
pub use nonces::{Freshness, Nonces};

/// H(user:realm:password), in the place of the password: it proves the user to everybody who speaks digest in this realm, so it
/// is as secret as the password itself, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    algorithm: Algorithm,
    hash: Hash,
}

/// What a response proves to know: for which request, and for which nonce.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The request's method.
    pub method: &'a [u8],
    /// The `uri` parameter as written.
    pub uri: &'a [u8],
    /// The server's nonce.
    pub nonce: &'a [u8],
    /// With `qop=auth`: the client's nonce and its count, both as written. `None`: as in RFC 2069, without either.
    pub counted: Option<Counted<'a>>,
}

/// What `qop=auth` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// `nc`: eight hexadecimal digits.
    pub nc: &'a [u8],
    /// `cnonce`.
    pub cnonce: &'a [u8],
}

impl Ha1 {
    /// From the password.
    #[must_use]
    pub fn new(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> Self {
        Self { algorithm, hash: hash(algorithm, &[user.as_bytes(), realm.as_bytes(), password.as_bytes()]) }
    }

    /// As files hold it: 32 or 64 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Option<Self> {
        Some(Self { algorithm, hash: Hash::from_hex(algorithm, text)? })
    }

    /// The algorithm it was made with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its digits, for whoever writes it to a file.
    #[must_use]
    pub fn secret_hex(&self) -> &str {
        self.hash.as_str()
    }

    /// The response to a question (RFC 7616 §3.4.1): two hashes, whatever is asked.
    #[must_use]
    pub fn response(&self, question: &Question<'_>) -> Hash {
        let Question { method, uri, nonce, counted } = question;
        let ha2 = hash(self.algorithm, &[method, uri]);
        let (ha1, ha2) = (self.hash.as_bytes(), ha2.as_bytes());
        match counted {
            Some(Counted { nc, cnonce }) => hash(self.algorithm, &[ha1, nonce, nc, cnonce, b"auth", ha2]),
            None => hash(self.algorithm, &[ha1, nonce, ha2]),
        }
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1({}, …)", self.algorithm.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1, and RFC 2617 §3.5, of which RFC 2069 is the form without a count.
    #[test]
    fn the_examples_of_the_standards_come_out() {
        let rfc7616 = Question {
            method: b"GET",
            uri: b"/dir/index.html",
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            counted: Some(Counted { nc: b"00000001", cnonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ" }),
        };
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = Ha1::new(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
            assert_eq!(ha1.response(&rfc7616).as_str(), expected);
        }
        let rfc2617 = Question {
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            counted: Some(Counted { nc: b"00000001", cnonce: b"0a4f113b" }),
            ..rfc7616
        };
        let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(ha1.secret_hex(), "939e7578ed9e3c518a452acee763bce9");
        assert_eq!(ha1.response(&rfc2617).as_str(), "6629fae49393a05397450978507c4ef1");
        let rfc2069 = Question { counted: None, ..rfc2617 };
        assert_eq!(ha1.response(&rfc2069).as_str(), "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn a_secret_is_read_from_its_digits_and_never_shown() {
        let ha1 = Ha1::new(Algorithm::Sha256, "ana", "contesta", "secret");
        assert_eq!(Ha1::from_hex(Algorithm::Sha256, &ha1.secret_hex().to_uppercase()), Some(ha1.clone()));
        assert_eq!(Ha1::from_hex(Algorithm::Md5, ha1.secret_hex()), None);
        assert_eq!(Ha1::from_hex(Algorithm::Md5, &"g".repeat(32)), None);
        assert_eq!(format!("{ha1:?}"), "Ha1(SHA-256, …)");
    }
}
