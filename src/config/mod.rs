//! `contesta.toml`: this machine's addresses, trunks, registrar, guard, ports, store, limits and folders.
//!
//! Everything has a default that works on one machine, so the file may be empty or missing. What operators and callers see
//! lies in `flows/`, not here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

mod caller_id;
mod load;
pub mod network;
pub mod numbers;
mod sip;
mod trunk;

pub use crate::operator::Digest;
pub use caller_id::{CallerId, StandsIn};
pub use load::load;
pub use network::Network;
pub use numbers::Numbers;
pub use sip::{Identity, Sip, Strangers};
pub use trunk::{Audio, CalledFrom, Credentials, Gateway, Password, Trunk};

/// The settings of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[sip]`
    pub sip: Sip,
    /// `[registrar]`
    pub registrar: Registrar,
    /// `[guard]`
    pub guard: Guard,
    /// `[rtp]`
    pub rtp: Rtp,
    /// `[store] url`
    pub store: StoreUrl,
    /// `[store] key`; see [`Config::secret_key`].
    pub key: Option<PathBuf>,
    /// `[limits]`
    pub limits: Limits,
    /// `[paths]`
    pub paths: Paths,
    /// `[media]`
    pub media: Media,
    /// `[[trunks]]`, in the order of the file; the first whose sources hold a caller's address is its trunk.
    pub trunks: Vec<Trunk>,
    /// `[log]`
    pub log: Log,
    /// `[capture]`
    pub capture: Capture,
}

/// What agents' phones are granted; the phones themselves are in `flows/<operator>/agents.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// Whose passwords these are. Hashed ones are good for one realm only.
    pub realm: String,
    /// What a challenge offers, where an agent's own `digest` says nothing.
    pub digest: Digest,
    /// A phone that asks for less is told this.
    pub min_expires: Duration,
    /// A phone that asks for more gets this: so long an agent whose phone lost its power seems to be there.
    pub max_expires: Duration,
    /// Phones of one agent at the same time.
    pub contacts: u32,
    /// Where phones may register from.
    pub sources: Vec<Network>,
}

/// What strangers may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Requests a second from one address; five seconds' worth may come at once.
    pub rate: u32,
    /// The same from all addresses of no trunk together.
    pub rate_all: u32,
    /// Longest message, in bytes.
    pub message_bytes: usize,
    /// Calls at the same time from one address; `None`: as many as the machine takes.
    pub calls: Option<u32>,
    /// So many wrong passwords of one user from one address within `window`, and this user is not listened to from there.
    pub wrong_passwords: u32,
    /// So many users with a wrong password from one address within `window`, and nobody is.
    pub users: usize,
    /// So many calls from one address to numbers that no flow answers within `window`, and nobody is.
    pub unknown_numbers: u32,
    /// How long an offence counts.
    pub window: Duration,
    /// How long a block lasts.
    pub block: Duration,
}

/// Where audio comes and goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// The address to bind; `None`: the one SIP listens at.
    pub address: Option<IpAddr>,
    /// First and last UDP port for audio, both included, `first < last`.
    pub ports: (u16, u16),
    /// A caller who sends no RTP for this long is gone.
    pub silence: Duration,
}

/// Where cases and records are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file, made when it is not there.
    Sqlite(PathBuf),
    /// A whole `postgres://` URL.
    Postgres(String),
}

/// A text names no store. It may hold a password, so it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no store: write a SQLite file like data/contesta.db, or postgres://user:password@host/contesta")]
pub struct NoStore;

/// What is too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls at the same time; the next one gets 503 with Retry-After.
    pub calls: u32,
    /// A call ends after this long, whatever happens in it.
    pub max_call: Duration,
    /// A call that its far end holds for longer ends.
    pub max_hold: Duration,
    /// How long calls may go on after the engine is told to stop; zero ends them at once.
    pub drain: Duration,
}

/// Folders, relative to the working directory unless absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The operators: `flows/<operator>/`, `flows/data/<operator>/`.
    pub flows: PathBuf,
    /// Their audio: `prompts/<operator>/`, `prompts/es-MX/`.
    pub prompts: PathBuf,
    /// What is made at run time: the SQLite file, the spool, recordings.
    pub data: PathBuf,
}

/// How audio is worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Media threads; `None`: one for each processor but the one that signals.
    pub workers: Option<NonZeroUsize>,
}

/// What is written about the program's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Levels, as `tracing` filters read them: `info`, `info,contesta::sip=debug`.
    pub filter: String,
    /// For people or for programs.
    pub format: LogFormat,
}

/// Where SIP messages are captured to, masked; nowhere by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// From the start, or only once SIGUSR1 turns it on.
    pub on: bool,
    /// The pcap file; the ones before it are beside it, numbered.
    pub pcap: Option<PathBuf>,
    /// A file longer than so many million bytes is followed by another one.
    pub megabytes: u32,
    /// So many files at most.
    pub files: u32,
    /// Where Homer listens for HEPv3 over UDP.
    pub hep: Option<SocketAddr>,
    /// Who we are to Homer (its capture agent's id).
    pub hep_id: u32,
}

impl Default for Capture {
    fn default() -> Self {
        Self { on: true, pcap: None, megabytes: 50, files: 4, hep: None, hep_id: 2_001 }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The store when none is named: a SQLite file in the data folder.
    #[must_use]
    pub fn default_store(&self) -> StoreUrl {
        StoreUrl::Sqlite(self.paths.data.join("contesta.db"))
    }

    /// The file with the key of the tables' secrets: `secrets.key` in the data folder when none is named.
    #[must_use]
    pub fn secret_key(&self) -> PathBuf {
        self.key.clone().unwrap_or_else(|| self.paths.data.join("secrets.key"))
    }

    /// The trunk that an address belongs to; `None` is a stranger.
    #[must_use]
    pub fn trunk_of(&self, source: IpAddr) -> Option<&Trunk> {
        self.trunks.get(self.trunk_number_of(source)?)
    }

    /// Its place among [`trunks`](Self::trunks).
    #[must_use]
    pub fn trunk_number_of(&self, source: IpAddr) -> Option<usize> {
        self.trunks.iter().position(|trunk| trunk.sources.iter().any(|network| network.contains(source)))
    }

    /// The address to tell a far end at `source`: its trunk's, or the machine's, if either is set.
    #[must_use]
    pub fn advertised_to(&self, source: IpAddr) -> Option<IpAddr> {
        self.trunk_of(source).and_then(|trunk| trunk.advertised).or(self.sip.advertised)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sip: Sip::default(),
            registrar: Registrar {
                realm: "contesta".to_owned(),
                digest: Digest::Md5,
                min_expires: Duration::from_secs(30),
                max_expires: Duration::from_secs(120),
                contacts: 5,
                sources: vec![Network::ANY_V4, Network::ANY_V6],
            },
            guard: Guard {
                rate: 10,
                rate_all: 500,
                message_bytes: 8_192,
                calls: None,
                wrong_passwords: 10,
                users: 5,
                unknown_numbers: 30,
                window: Duration::from_secs(600),
                block: Duration::from_secs(900),
            },
            rtp: Rtp { address: None, ports: (10_000, 20_000), silence: Duration::from_secs(60) },
            store: StoreUrl::Sqlite(PathBuf::from("data/contesta.db")),
            key: None,
            limits: Limits {
                calls: 2_000,
                max_call: Duration::from_secs(2 * 3_600),
                max_hold: Duration::from_secs(600),
                drain: Duration::from_secs(60),
            },
            paths: Paths { flows: "flows".into(), prompts: "prompts".into(), data: "data".into() },
            media: Media { workers: None },
            trunks: vec![Trunk::named("any", vec![Network::ANY_V4, Network::ANY_V6])],
            log: Log { filter: "info".to_owned(), format: LogFormat::Text },
            capture: Capture::default(),
        }
    }
}

impl StoreUrl {
    /// As the store takes it, password and all: not for logs.
    #[must_use]
    pub fn to_url(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// `postgres://…`, `sqlite:///path`, `sqlite:path` or a bare path.
impl FromStr for StoreUrl {
    type Err = NoStore;

    fn from_str(text: &str) -> Result<Self, NoStore> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
        if path.is_empty() || path.contains("://") { Err(NoStore) } else { Ok(Self::Sqlite(path.into())) }
    }
}

/// Without the password of a `postgres://` URL: settings are logged.
impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let place = url.rsplit_once('@').map_or(url.as_str(), |(_, place)| place);
                write!(f, "postgres://…{}", place.trim_start_matches("postgres://"))
            }
        }
    }
}
