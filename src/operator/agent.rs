//! The people who answer: `agents.toml`, and the account that each one's phone registers with.

use std::collections::BTreeMap;
use std::fmt;

use crate::document::{Fields, Place};
use crate::fault::Fault;

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The user name of the phone's account, unique among all operators of the machine: `sip:<user>@…`.
    pub user: String,
    /// As people write it (`Ana López`).
    pub name: String,
    /// What proves the phone.
    pub secret: AgentSecret,
    /// What a challenge to the phone offers; `None`: what the machine's registrar does.
    pub digest: Option<Digest>,
}

/// What proves an agent's phone. Digest authentication cannot do with less: a hash that is slow to guess, as those of web pages, would
/// need the password itself in each request. So whoever reads this file can register as the agent.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentSecret {
    /// The password itself.
    Password(String),
    /// H(user:realm:password) in hexadecimal digits, good for this registrar's realm alone.
    Hashed {
        /// 32 digits.
        md5: Option<String>,
        /// 64 digits.
        sha256: Option<String>,
    },
}

/// Which hash functions a challenge offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// `"md5"`: every phone speaks it.
    Md5,
    /// `"sha-256"`: stronger, for phones that are known to speak it.
    Sha256,
    /// `"both"`: phones choose; some fail when they see one they do not know.
    Both,
}

impl Digest {
    /// As files have them.
    pub const NAMES: [(&str, Self); 3] = [("md5", Self::Md5), ("sha-256", Self::Sha256), ("both", Self::Both)];

    fn needs_md5(self) -> bool {
        self != Self::Sha256
    }

    fn needs_sha256(self) -> bool {
        self != Self::Md5
    }
}

/// Nothing of it: settings are logged, and tests print them.
impl fmt::Debug for AgentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentSecret(…)")
    }
}

/// Reads `[agents.<user>]`.
pub(super) fn agents(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> BTreeMap<String, Agent> {
    let mut agents = BTreeMap::new();
    for (user, place) in fields.entries("agents", faults) {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if user.text.is_empty() || user.text.len() > USER_MAX || !user.text.chars().all(legal) {
            let fault = user.fault(format!("«{}» cannot be registered as", user.text));
            faults.push(
                fault.suggest("lower-case letters, digits, «.», «_» and «-» are; phones and people write them alike"),
            );
        }
        let Some(mut fields) = place.fields(faults) else { continue };
        let name = fields.required_text("name", faults).map(str::to_owned);
        let digest = fields.optional("digest").and_then(|place| digest(place, faults));
        let secret = secret(user.text, &mut fields, digest, faults);
        fields.finish(faults);
        if let (Some(name), Some(secret)) = (name, secret) {
            agents.insert(user.text.to_owned(), Agent { user: user.text.to_owned(), name, secret, digest });
        }
    }
    agents
}

fn digest(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<Digest> {
    let text = place.text(faults)?;
    let found = Digest::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, digest)| digest);
    if found.is_none() {
        let fault = place.fault("expected \"md5\", \"sha-256\" or \"both\"");
        faults.push(fault.did_you_mean(text, Digest::NAMES.map(|(name, _)| name)));
    }
    found
}

/// `password`, or `ha1_md5` and `ha1_sha256`. No fault repeats what it found.
fn secret(user: &str, fields: &mut Fields<'_>, digest: Option<Digest>, faults: &mut Vec<Fault>) -> Option<AgentSecret> {
    let password = fields.optional("password");
    let hashes = [("ha1_md5", 32), ("ha1_sha256", 64)].map(|(key, digits)| (key, fields.optional(key), digits));
    let [md5, sha256] = hashes.map(|(key, place, digits)| place.and_then(|place| hash(key, place, digits, faults)));
    let is_hashed = hashes.iter().any(|(_, place, _)| place.is_some());
    match password {
        Some(place) if is_hashed => {
            faults.push(place.fault("«password» stands beside its hashes").suggest("leave one of them out"));
            None
        }
        Some(place) => {
            let password = place.text(faults)?;
            if password.chars().count() < PASSWORD_MIN || password == user {
                let fault = place
                    .fault(format!("a password has {PASSWORD_MIN} characters at least, and is not the user's name"));
                faults.push(fault.suggest("«contesta agents secret» makes one"));
            }
            Some(AgentSecret::Password(password.to_owned()))
        }
        None if is_hashed => {
            let lacks = |needs: fn(Digest) -> bool, hash: &Option<String>| digest.is_some_and(needs) && hash.is_none();
            for (lacks, key) in
                [(lacks(Digest::needs_md5, &md5), "ha1_md5"), (lacks(Digest::needs_sha256, &sha256), "ha1_sha256")]
            {
                if lacks && !hashes.iter().any(|(other, place, _)| *other == key && place.is_some()) {
                    faults.push(fields.place().fault(format!("its «digest» needs «{key}»")));
                }
            }
            Some(AgentSecret::Hashed { md5, sha256 })
        }
        None => {
            let fault = fields.place().fault("«password» is missing, or «ha1_md5» or «ha1_sha256» in its place");
            faults.push(fault.suggest("«contesta agents secret» makes them"));
            None
        }
    }
}

fn hash(key: &str, place: Place<'_>, digits: usize, faults: &mut Vec<Fault>) -> Option<String> {
    let text = place.text(faults)?;
    if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        faults.push(place.fault(format!("«{key}» has {digits} hexadecimal digits")));
        return None;
    }
    Some(text.to_owned())
}

/// Longest user name.
const USER_MAX: usize = 32;

/// Shortest password: a phone is guessed at from the whole Internet, ten times in ten minutes from each of its addresses.
const PASSWORD_MIN: usize = 10;
