//! From agents, as operators declare them, to accounts that the registrar checks.

use std::sync::Arc;

use crate::config;
use crate::operator::{Agent, AgentSecret, Digest, Operator};
use crate::sip::digest::{Algorithm, Ha1};
use crate::sip::registrar::{Account, Accounts, Offers, Settings};

/// The accounts of all agents of all operators.
#[must_use]
pub fn accounts(registrar: &config::Registrar, operators: &[Arc<Operator>]) -> Accounts {
    let agents = operators.iter().flat_map(|operator| operator.agents.values().map(move |agent| (operator, agent)));
    let account = |(operator, agent): (&Arc<Operator>, &Agent)| {
        let secrets = secrets(registrar, agent);
        Account {
            user: agent.user.clone(),
            operator: operator.id.clone(),
            offers: offers(registrar, agent, &secrets),
            secrets,
        }
    };
    Accounts::new(&registrar.realm, offers_of(registrar.digest), agents.map(account))
}

/// What the registrar grants, of this machine's settings.
#[must_use]
pub fn settings(registrar: &config::Registrar) -> Settings {
    Settings {
        min_expires: registrar.min_expires,
        max_expires: registrar.max_expires,
        contacts: usize::try_from(registrar.contacts).unwrap_or(usize::MAX),
        ..Settings::default()
    }
}

/// A password is hashed here, and not kept.
fn secrets(registrar: &config::Registrar, agent: &Agent) -> Vec<Ha1> {
    match &agent.secret {
        AgentSecret::Password(password) => {
            Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, &agent.user, &registrar.realm, password)).to_vec()
        }
        AgentSecret::Hashed { md5, sha256 } => {
            let pairs = [(Algorithm::Md5, md5), (Algorithm::Sha256, sha256)];
            pairs.into_iter().filter_map(|(algorithm, hash)| Ha1::from_hex(algorithm, hash.as_ref()?)).collect()
        }
    }
}

/// What the agent says, or else what the machine does; but never what cannot be checked.
fn offers(registrar: &config::Registrar, agent: &Agent, secrets: &[Ha1]) -> Offers {
    match secrets {
        [only] => match only.algorithm() {
            Algorithm::Md5 => Offers::Md5,
            Algorithm::Sha256 => Offers::Sha256,
        },
        _ => offers_of(agent.digest.unwrap_or(registrar.digest)),
    }
}

fn offers_of(digest: Digest) -> Offers {
    match digest {
        Digest::Md5 => Offers::Md5,
        Digest::Sha256 => Offers::Sha256,
        Digest::Both => Offers::Both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn an_agent_is_offered_what_can_be_checked() {
        let hashed =
            |algorithm| Some(Ha1::new(algorithm, "ana", "contesta", "nadie-lo-sabe-1").secret_hex().to_owned());
        let (md5, sha256) = (hashed(Algorithm::Md5), hashed(Algorithm::Sha256));
        let registrar = config::Registrar { digest: Digest::Both, ..Config::default().registrar };
        let table = [
            (AgentSecret::Password("nadie-lo-sabe-1".into()), None, Offers::Both),
            (AgentSecret::Password("nadie-lo-sabe-1".into()), Some(Digest::Md5), Offers::Md5),
            (AgentSecret::Hashed { md5: md5.clone(), sha256: sha256.clone() }, None, Offers::Both),
            (AgentSecret::Hashed { md5: md5.clone(), sha256: None }, None, Offers::Md5),
            (AgentSecret::Hashed { md5: None, sha256: sha256.clone() }, None, Offers::Sha256),
        ];
        for (secret, digest, offered) in table {
            let agent = Agent { user: "ana".into(), name: "Ana".into(), secret, digest };
            let operator =
                Operator { agents: [("ana".to_owned(), agent)].into(), ..crate::operator::tests::operator("beneleit") };
            let accounts = accounts(&registrar, &[Arc::new(operator)]);
            let account = accounts.get("ana").unwrap();
            assert_eq!((account.offers, account.operator.as_str()), (offered, "beneleit"));
            for algorithm in offered.algorithms() {
                let (secret, exists) = accounts.secret("ana", *algorithm);
                assert_eq!((secret.secret_hex(), exists), (hashed(*algorithm).unwrap().as_str(), true), "{offered:?}");
            }
        }
    }
}
