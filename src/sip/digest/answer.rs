//! The client's side: answers the challenges of a carrier or a proxy (RFC 3261 §22.2, §22.3; RFC 8760 §2.4).
//!
//! One [`Answers`] a server that we log in to. It keeps the last challenge, so that further requests carry credentials at once,
//! with a count that goes up, until the server asks for a new nonce.

use std::fmt;

use thiserror::Error;

use super::{Algorithm, Counted, Ha1, Question};
use crate::sip::header::Name;
use crate::sip::header::authorization::{self, Written};
use crate::sip::header::www_authenticate::Challenge;
use crate::sip::message::Message;

/// Who we are to a server that asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name that it knows us by.
    pub user: String,
    /// Never shown.
    pub password: String,
}

/// What a request is answered with.
#[derive(Debug)]
pub struct Answers {
    login: Login,
    current: Option<Current>,
}

/// A challenge that we can answer.
#[derive(Debug)]
struct Current {
    /// The header that the answer stands in.
    header: Name,
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    opaque: Option<Box<[u8]>>,
    /// As the challenge named it.
    algorithm: Option<Algorithm>,
    /// Whether the answer is counted (`qop=auth`).
    counts: bool,
    ha1: Ha1,
    uses: u32,
}

/// Why trying again would help nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Hopeless {
    /// It knows our answer and wants another one.
    #[error("the user or the password is wrong")]
    WrongPassword,
    /// No challenge, or none of a scheme, algorithm and protection that we speak.
    #[error("it asks for a kind of proof that is not spoken here")]
    NothingInCommon,
    /// It challenges each answer anew.
    #[error("it asks for proof again and again")]
    Endless,
}

impl Answers {
    /// Nothing was asked yet.
    #[must_use]
    pub fn new(login: Login) -> Self {
        Self { login, current: None }
    }

    /// Takes the challenges of a 401 or 407. `answered` says whether the refused request carried our answer. `Ok`: send the request
    /// again with a new answer.
    ///
    /// # Errors
    /// [`Hopeless`].
    pub fn challenged(&mut self, response: &Message, answered: bool) -> Result<(), Hopeless> {
        let pairs = [(Name::WwwAuthenticate, Name::Authorization), (Name::ProxyAuthenticate, Name::ProxyAuthorization)];
        let challenges = pairs.into_iter().flat_map(|(asks, answers)| {
            let values = response.values(asks).filter_map(move |value| Challenge::parse(asks, value)?.ok());
            values.map(move |challenge| (answers, challenge))
        });
        // The topmost that we can answer (RFC 8760 §2.4).
        let current = challenges.into_iter().find_map(|(header, challenge)| self.answerable(header, &challenge));
        let Some((current, stale)) = current else { return Err(Hopeless::NothingInCommon) };
        let known = self.current.as_ref().filter(|known| answered && !stale && known.uses > 0);
        // A proxy on the way may ask after the server did: that is another realm, or another header.
        if known.is_some_and(|known| known.header == current.header && known.realm == current.realm) {
            self.current = None;
            return Err(Hopeless::WrongPassword);
        }
        self.current = Some(current);
        Ok(())
    }

    fn answerable(&self, header: Name, challenge: &Challenge<'_>) -> Option<(Current, bool)> {
        let algorithm = Algorithm::of(challenge.algorithm)?;
        let counts = challenge.offers_auth();
        if challenge.qop.is_some() && !counts {
            return None;
        }
        let current = Current {
            header,
            realm: challenge.realm.into(),
            nonce: challenge.nonce.into(),
            opaque: challenge.opaque.map(Into::into),
            algorithm: challenge.algorithm.map(|_| algorithm),
            counts,
            ha1: Ha1::new(algorithm, &self.login.user, &challenge.realm_text(), &self.login.password),
            uses: 0,
        };
        Some((current, challenge.stale))
    }

    /// The header and its value for a request; `None` before the first challenge. `cnonce` is a random token.
    pub fn answer(&mut self, method: &[u8], uri: &[u8], cnonce: &str) -> Option<(Name, Vec<u8>)> {
        let current = self.current.as_mut()?;
        current.uses = current.uses.saturating_add(1);
        let nc = format!("{:08x}", current.uses);
        let counted = current.counts.then_some(Counted { nc: nc.as_bytes(), cnonce: cnonce.as_bytes() });
        let response = current.ha1.response(&Question { method, uri, nonce: &current.nonce, counted });
        let mut value = Vec::with_capacity(256);
        let written = Written {
            username: &self.login.user,
            realm: &current.realm,
            nonce: &current.nonce,
            opaque: current.opaque.as_deref(),
            uri,
            algorithm: current.algorithm,
            counted,
            response: &response,
        };
        authorization::write(&written, &mut value);
        Some((current.header, value))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, …)", self.user)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn refused(challenges: &str) -> Message {
        Message::scan(Bytes::from(format!("SIP/2.0 401 Unauthorized\r\n{challenges}\r\n\r\n"))).unwrap()
    }

    fn answers() -> Answers {
        Answers::new(Login { user: "Mufasa".into(), password: "Circle of Life".into() })
    }

    fn text((header, value): (Name, Vec<u8>)) -> (Name, String) {
        (header, String::from_utf8(value).unwrap())
    }

    const RFC7616: &str = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    /// RFC 7616 §3.9.1: two challenges, of which the upper one is answered.
    #[test]
    fn the_topmost_challenge_that_we_speak_is_answered() {
        let line = |algorithm: &str| format!("WWW-Authenticate: {RFC7616}, algorithm={algorithm}");
        let mut answers = answers();
        assert_eq!(answers.answer(b"GET", b"/dir/index.html", CNONCE), None);
        let both = format!("{}\r\n{}\r\n{}", line("SHA-512-256"), line("SHA-256"), line("MD5"));
        assert_eq!(answers.challenged(&refused(&both), false), Ok(()));
        let (header, value) = text(answers.answer(b"GET", b"/dir/index.html", CNONCE).unwrap());
        assert_eq!(header, Name::Authorization);
        assert!(
            value.contains("response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\""),
            "{value}"
        );
        assert!(value.ends_with("qop=auth, nc=00000001, algorithm=SHA-256"), "{value}");
        let (_, again) = text(answers.answer(b"GET", b"/dir/index.html", CNONCE).unwrap());
        assert!(again.contains("nc=00000002"), "{again}");
    }

    #[test]
    fn a_second_no_is_a_wrong_password_unless_it_only_calls_the_nonce_stale() {
        let line = format!("WWW-Authenticate: {RFC7616}, algorithm=MD5");
        let mut answers = answers();
        assert_eq!(answers.challenged(&refused(&line), false), Ok(()));
        assert!(answers.answer(b"REGISTER", b"sip:x", "c").is_some());
        assert_eq!(answers.challenged(&refused(&format!("{line}, stale=true")), true), Ok(()));
        assert!(text(answers.answer(b"REGISTER", b"sip:x", "c").unwrap()).1.contains("nc=00000001"));
        assert_eq!(answers.challenged(&refused(&line), true), Err(Hopeless::WrongPassword));
        assert_eq!(answers.answer(b"REGISTER", b"sip:x", "c"), None);
    }

    /// A proxy that asks after the server was satisfied is another one.
    #[test]
    fn a_proxy_on_the_way_is_answered_in_its_own_header() {
        let mut answers = answers();
        assert_eq!(answers.challenged(&refused("WWW-Authenticate: Digest realm=a, nonce=b"), false), Ok(()));
        let (_, old) = text(answers.answer(b"INVITE", b"sip:x", "c").unwrap());
        assert!(!old.contains("qop") && !old.contains("algorithm"), "as in RFC 2069: {old}");
        assert_eq!(answers.challenged(&refused("Proxy-Authenticate: Digest realm=a, nonce=b"), true), Ok(()));
        assert_eq!(answers.answer(b"INVITE", b"sip:x", "c").unwrap().0, Name::ProxyAuthorization);
    }

    #[test]
    fn what_we_do_not_speak_is_hopeless() {
        for challenge in [
            "Server: none",
            "WWW-Authenticate: Basic realm=\"x\"",
            "WWW-Authenticate: Digest realm=a, nonce=b, qop=auth-int",
            "WWW-Authenticate: Digest realm=a, nonce=b, algorithm=SHA-512-256",
            "WWW-Authenticate: Digest realm=a",
        ] {
            assert_eq!(answers().challenged(&refused(challenge), false), Err(Hopeless::NothingInCommon), "{challenge}");
        }
    }
}
