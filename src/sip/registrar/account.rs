//! Who may register, and what proves it: the accounts of all operators, one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sip::digest::{Algorithm, Ha1, Hash, hash};

/// One user of the registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user part of its address-of-record, and its user name in digest.
    pub user: String,
    /// Whose agent it is.
    pub operator: String,
    /// What a challenge to it offers.
    pub offers: Offers,
    /// What proves it, one for each algorithm that is offered at least.
    pub secrets: Vec<Ha1>,
}

/// Which algorithms a challenge offers. Some phones fail when they see one that they do not know, so this is a choice for each account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offers {
    /// Every phone understands this.
    Md5,
    /// For phones that are known to speak it.
    Sha256,
    /// SHA-256 first (RFC 8760 §2.3).
    Both,
}

/// All accounts, under one realm.
#[derive(Debug)]
pub struct Accounts {
    realm: String,
    by_user: BTreeMap<String, Arc<Account>>,
    /// What each account offers; whoever has no account is answered as one of these would be.
    choices: Vec<Offers>,
    /// What stands in for the secret of a user who does not exist.
    decoys: [Ha1; 2],
    /// Made of all secrets, so that a restart changes no answer and nobody can foresee one.
    key: Hash,
}

impl Offers {
    /// In the order in which they are offered.
    #[must_use]
    pub fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Md5 => &[Algorithm::Md5],
            Self::Sha256 => &[Algorithm::Sha256],
            Self::Both => &Algorithm::ALL,
        }
    }
}

impl Accounts {
    /// `fallback` is what everybody is offered where there are no accounts. Of two accounts of one name the later counts.
    #[must_use]
    pub fn new(realm: &str, fallback: Offers, accounts: impl IntoIterator<Item = Account>) -> Self {
        let accounts = accounts.into_iter().map(|account| (account.user.clone(), Arc::new(account)));
        let by_user: BTreeMap<String, Arc<Account>> = accounts.collect();
        let secrets =
            by_user.values().flat_map(|account| &account.secrets).map(|secret| secret.secret_hex().as_bytes());
        let key = hash(Algorithm::Sha256, &secrets.chain([realm.as_bytes()]).collect::<Vec<_>>());
        let decoys = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, key.as_str(), realm, "decoy"));
        let mut choices: Vec<Offers> = by_user.values().map(|account| account.offers).collect();
        if choices.is_empty() {
            choices.push(fallback);
        }
        Self { realm: realm.to_owned(), by_user, choices, decoys, key }
    }

    /// Whose passwords these are.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The account of this name.
    #[must_use]
    pub fn get(&self, user: &str) -> Option<&Arc<Account>> {
        self.by_user.get(user)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_user.len()
    }

    /// Whether nobody may register.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }

    /// What a challenge to this user offers. Somebody who has no account gets the same answer each time, and sees each kind as often
    /// as accounts have it: the offer does not tell who exists. The work is the same for both.
    #[must_use]
    pub fn offers(&self, user: &str) -> Offers {
        let drawn = hash(Algorithm::Sha256, &[self.key.as_bytes(), user.as_bytes()]);
        let number = u64::from_str_radix(drawn.as_str().get(..15).unwrap_or_default(), 16).unwrap_or(0);
        let count = u64::try_from(self.choices.len()).unwrap_or(1).max(1);
        let drawn = usize::try_from(number % count).ok().and_then(|index| self.choices.get(index));
        self.get(user).map(|account| account.offers).or(drawn.copied()).unwrap_or(Offers::Md5)
    }

    /// What a user's response is checked against: the secret of an account that offers this algorithm, or else one that nobody has.
    /// The flag says which.
    #[must_use]
    pub fn secret(&self, user: &str, algorithm: Algorithm) -> (&Ha1, bool) {
        let [sha256, md5] = &self.decoys;
        let decoy = match algorithm {
            Algorithm::Sha256 => sha256,
            Algorithm::Md5 => md5,
        };
        let account = self.get(user).filter(|account| account.offers.algorithms().contains(&algorithm));
        let secret = account.and_then(|account| account.secrets.iter().find(|secret| secret.algorithm() == algorithm));
        (secret.unwrap_or(decoy), secret.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: &str, offers: Offers) -> Account {
        let secrets = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, user, "contesta", "secret"));
        Account { user: user.to_owned(), operator: "beneleit".to_owned(), offers, secrets: secrets.to_vec() }
    }

    /// Whether one in four offers SHA-256 among those who exist, or among those who do not, cannot be told apart.
    #[test]
    fn strangers_are_offered_what_accounts_are() {
        let offers = [Offers::Md5, Offers::Md5, Offers::Md5, Offers::Sha256];
        let all = || offers.iter().enumerate().map(|(index, offers)| account(&format!("a{index}"), *offers));
        let accounts = Accounts::new("contesta", Offers::Both, all());
        assert_eq!((accounts.offers("a0"), accounts.offers("a3"), accounts.len()), (Offers::Md5, Offers::Sha256, 4));
        let names: Vec<String> = (0..1_000).map(|number| format!("nobody{number}")).collect();
        let strong = names.iter().filter(|name| accounts.offers(name) == Offers::Sha256).count();
        assert!((180..320).contains(&strong), "{strong}");
        let restarted = Accounts::new("contesta", Offers::Both, all());
        assert!(names.iter().all(|name| accounts.offers(name) == restarted.offers(name)));
        assert_eq!(Accounts::new("contesta", Offers::Both, []).offers("a0"), Offers::Both);
    }

    #[test]
    fn a_secret_is_had_for_what_is_offered_only() {
        let accounts = Accounts::new("contesta", Offers::Md5, [account("ana", Offers::Sha256)]);
        assert_eq!(
            accounts.secret("ana", Algorithm::Sha256).0,
            &Ha1::new(Algorithm::Sha256, "ana", "contesta", "secret")
        );
        for (user, algorithm) in [("ana", Algorithm::Md5), ("eva", Algorithm::Md5), ("eva", Algorithm::Sha256)] {
            let (secret, exists) = accounts.secret(user, algorithm);
            assert_eq!((secret.algorithm(), exists), (algorithm, false));
        }
    }
}
