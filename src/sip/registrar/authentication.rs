//! Asks who sends a request, and checks the proof (RFC 3261 §22, RFC 7616 §3.4.6, RFC 8760).
//!
//! Somebody who does not exist gets the answers of somebody whose password was wrong: the same bytes but for the nonce, after the same
//! work. Only who knows the password learns that a nonce is stale.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::{Account, Accounts};
use crate::ids::Ids;
use crate::sip::cursor::text;
use crate::sip::digest::{Algorithm, Freshness, Nonces, Question};
use crate::sip::header::authorization::Credentials;
use crate::sip::header::{Malformed, Name, www_authenticate};
use crate::sip::message::Message;
use crate::sip::uri::Uri;

/// The one that challenges.
#[derive(Debug)]
pub struct Authentication {
    accounts: Arc<Accounts>,
    nonces: Nonces,
    opaque: String,
}

/// What a request proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its sender is this user.
    Right(Arc<Account>),
    /// Nothing: there are no credentials for our realm. A phone's first request is so; it is no offence.
    Missing,
    /// Its sender knows the password and must prove it again with a new nonce.
    Stale {
        /// Who it says to be.
        user: String,
    },
    /// No such user, or another password.
    Wrong {
        /// Who it says to be.
        user: String,
    },
}

impl Authentication {
    /// `lifetime` is that of a nonce.
    #[must_use]
    pub fn new(now: Instant, accounts: Arc<Accounts>, lifetime: Duration, ids: &mut Ids) -> Self {
        Self { accounts, nonces: Nonces::new(now, lifetime, ids), opaque: ids.token(OPAQUE_LENGTH) }
    }

    /// Who may prove to be somebody.
    #[must_use]
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Others may from here on. Nonces stay good.
    pub fn replace_accounts(&mut self, accounts: Arc<Accounts>) {
        self.accounts = accounts;
    }

    /// Checks the credentials of a request.
    ///
    /// # Errors
    /// [`Malformed`] when they cannot be read, or are for another request.
    pub fn check(&mut self, now: Instant, message: &Message, uri: &Uri<'_>) -> Result<Proof, Malformed> {
        let Some(credentials) = self.credentials(message)? else { return Ok(Proof::Missing) };
        let fault = |what| Malformed { header: Name::Authorization, what };
        // Phones differ in how they write their registrar's port and parameters here; the host is the same at least.
        let proven = Uri::parse(credentials.uri).map_err(|_| fault("uri is none"))?;
        if proven.scheme != uri.scheme || proven.host != uri.host || proven.user != uri.user {
            return Err(fault("uri is not the request's"));
        }
        let user = text(&credentials.username());
        let algorithm = Algorithm::of(credentials.algorithm);
        let protection = credentials.qop.is_none_or(|qop| qop.eq_ignore_ascii_case(b"auth"));
        let count = credentials.count();
        let counted = credentials.qop.and(credentials.counted);
        // From here on the same is done for everybody.
        let (secret, exists) = self.accounts.secret(&user, algorithm.unwrap_or(Algorithm::Md5));
        let (method, nonce) = (message.method_name(), credentials.nonce);
        let expected = secret.response(&Question { method, uri: credentials.uri, nonce, counted });
        let is_right = expected.is(credentials.response) & exists;
        let readable = algorithm.is_some() && protection && (counted.is_none() || count.is_some());
        let account = self.accounts.get(&user).filter(|_| is_right && readable).cloned();
        Ok(match account {
            None => Proof::Wrong { user },
            Some(account) => match self.nonces.take(now, nonce, count.filter(|_| counted.is_some())) {
                Freshness::Fresh => Proof::Right(account),
                Freshness::Stale => Proof::Stale { user },
            },
        })
    }

    /// The credentials for our realm: a request may carry some for proxies too.
    fn credentials<'m>(&self, message: &'m Message) -> Result<Option<Credentials<'m>>, Malformed> {
        for value in message.values(Name::Authorization) {
            if let Some(credentials) = Credentials::parse(Name::Authorization, value).transpose()?
                && credentials.is_for(self.accounts.realm())
            {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }

    /// The values of WWW-Authenticate that ask this user for a proof, in their order. They share a nonce: one of them is answered.
    pub fn challenge(&mut self, now: Instant, user: &str, stale: bool) -> Vec<Vec<u8>> {
        let nonce = self.nonces.give(now);
        let offers = self.accounts.offers(user).algorithms().iter();
        let line = |algorithm: &Algorithm| {
            let mut line = Vec::with_capacity(192);
            www_authenticate::write(self.accounts.realm(), &nonce, &self.opaque, *algorithm, stale, &mut line);
            line
        };
        offers.map(line).collect()
    }
}

/// Who a request's credentials say that its sender is, whatever their realm; `None` when it has none that can be read.
#[must_use]
pub fn claimed_user(message: &Message) -> Option<String> {
    let value = message.value(Name::Authorization)?;
    let credentials = Credentials::parse(Name::Authorization, value)?.ok()?;
    Some(text(&credentials.username()))
}

const OPAQUE_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use bytes::Bytes;

    use super::*;
    use crate::sip::digest::algorithm::work;
    use crate::sip::digest::{Answers, Ha1, Login};
    use crate::sip::registrar::Offers;

    const URI: &str = "sip:contesta.example";

    struct Desk {
        now: Instant,
        authentication: Authentication,
    }

    impl Desk {
        fn new(offers: Offers) -> Self {
            let secrets = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, "ana", "contesta", "secret")).to_vec();
            let ana = Account { user: "ana".into(), operator: "beneleit".into(), offers, secrets };
            let accounts = Arc::new(Accounts::new("contesta", Offers::Md5, [ana]));
            let now = Instant::now();
            let lifetime = Duration::from_secs(300);
            Self { now, authentication: Authentication::new(now, accounts, lifetime, &mut Ids::from_seed(1)) }
        }

        fn challenge(&mut self, user: &str) -> String {
            let lines = self.authentication.challenge(self.now, user, false);
            lines.iter().map(|line| format!("WWW-Authenticate: {}\r\n", text(line))).collect()
        }

        /// What an honest client answers to a challenge.
        fn answer(&mut self, user: &str, password: &str) -> String {
            let mut answers = Answers::new(Login { user: user.into(), password: password.into() });
            let refused = Message::scan(Bytes::from(format!("SIP/2.0 401 x\r\n{}\r\n", self.challenge(user)))).unwrap();
            answers.challenged(&refused, false).unwrap();
            let (_, value) = answers.answer(b"REGISTER", URI.as_bytes(), "c").unwrap();
            String::from_utf8(value).unwrap()
        }

        fn check(&mut self, authorization: &str) -> Result<Proof, Malformed> {
            let request = format!("REGISTER {URI} SIP/2.0\r\n{authorization}\r\n");
            let message = Message::scan(Bytes::from(request)).unwrap();
            self.authentication.check(self.now, &message, &Uri::parse(URI.as_bytes()).unwrap())
        }
    }

    fn header(value: &str) -> String {
        format!("Authorization: {value}\r\n")
    }

    #[test]
    fn whoever_knows_the_password_is_believed_once_a_count() {
        for offers in [Offers::Md5, Offers::Sha256, Offers::Both] {
            let mut desk = Desk::new(offers);
            assert_eq!(desk.check(""), Ok(Proof::Missing));
            let right = header(&desk.answer("ana", "secret"));
            assert!(matches!(desk.check(&right), Ok(Proof::Right(account)) if account.user == "ana"), "{offers:?}");
            assert_eq!(desk.check(&right), Ok(Proof::Stale { user: "ana".into() }), "replayed");
        }
    }

    #[test]
    fn what_is_wrong_in_any_part_is_wrong() {
        let mut desk = Desk::new(Offers::Md5);
        let right = header(&desk.answer("ana", "secret"));
        let wrong = Ok(Proof::Wrong { user: "ana".into() });
        let other_password = desk.answer("ana", "Secret");
        assert_eq!(desk.check(&header(&other_password)), wrong);
        for (from, to) in [
            ("nc=00000001", "nc=00000002"),
            ("cnonce=\"c\"", "cnonce=\"d\""),
            ("algorithm=MD5", "algorithm=SHA-256"),
            ("algorithm=MD5", "algorithm=MD5-sess"),
            ("qop=auth", "qop=auth-int"),
            ("nc=00000001", "nc=1"),
            ("nonce=\"0", "nonce=\"1"),
        ] {
            assert!(right.contains(from));
            assert_eq!(desk.check(&right.replace(from, to)), wrong, "{to}");
        }
        assert!(desk.check(&right.replace("uri=\"sip:contesta", "uri=\"sip:other")).is_err());
        assert!(desk.check(&right.replace("uri=\"sip:", "uri=\"")).is_err());
        assert!(desk.check(&right.replace("nonce=", "x=")).is_err());
        assert_eq!(desk.check(&right.replace("realm=\"contesta\"", "realm=\"other\"")), Ok(Proof::Missing));
        assert!(matches!(desk.check(&right), Ok(Proof::Right(_))), "none of that used it up");
    }

    /// A stale nonce is told to those who know the password, and to nobody else.
    #[test]
    fn an_old_nonce_is_stale_for_its_owner_and_wrong_for_others() {
        let mut desk = Desk::new(Offers::Md5);
        let (right, wrong) = (header(&desk.answer("ana", "secret")), header(&desk.answer("ana", "guess")));
        desk.now += Duration::from_secs(301);
        assert_eq!(desk.check(&right), Ok(Proof::Stale { user: "ana".into() }));
        assert_eq!(desk.check(&wrong), Ok(Proof::Wrong { user: "ana".into() }));
    }

    /// RFC 2069 phones answer without a count: their nonce serves once.
    #[test]
    fn a_phone_that_counts_nothing_is_believed_once() {
        let mut desk = Desk::new(Offers::Md5);
        let challenge = desk.challenge("ana").replace(", qop=\"auth\"", "");
        let mut answers = Answers::new(Login { user: "ana".into(), password: "secret".into() });
        let refused = Message::scan(Bytes::from(format!("SIP/2.0 401 x\r\n{challenge}\r\n"))).unwrap();
        answers.challenged(&refused, false).unwrap();
        let (_, value) = answers.answer(b"REGISTER", URI.as_bytes(), "c").unwrap();
        let right = header(&text(&value));
        assert!(!right.contains("qop"));
        assert!(matches!(desk.check(&right), Ok(Proof::Right(_))));
        assert_eq!(desk.check(&right), Ok(Proof::Stale { user: "ana".into() }));
    }

    /// No hash more, no byte more, for somebody who exists: neither in the challenge nor in the check. Names of one length, as
    /// longer ones take longer whoever has them.
    #[test]
    fn a_wrong_user_costs_the_same_work_as_a_wrong_password() {
        for offers in [Offers::Md5, Offers::Sha256] {
            let mut desk = Desk::new(offers);
            let mut work_for = |user: &str, password: &str| {
                let answer = header(&desk.answer(user, password));
                work::taken();
                let challenge = desk.challenge(user);
                let challenged = work::taken();
                assert!(matches!(desk.check(&answer), Ok(Proof::Wrong { .. })));
                (challenged, work::taken(), challenge.len())
            };
            let (known, unknown) = (work_for("ana", "guess"), work_for("eva", "guess"));
            assert_eq!(known, unknown);
            assert_eq!((known.0.0, known.1.0), (1, 2), "hashes");
        }
    }
}
