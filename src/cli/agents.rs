//! `contesta agents list`, `contesta agents secret USER`: whose phone is registered, from where and until when; and passwords for them.
#![expect(clippy::disallowed_methods, reason = "a registration is over or not by the clock on the wall")]

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::cli::columns::{aligned, counted};
use crate::cli::moment::local;
use crate::cli::store::{StoreArgs, StorePlace, block_on};
use crate::edge::config_file::{self, Overrides};
use crate::edge::{entropy, files};
use crate::operator::{Agent, Operator};
use crate::sip::digest::{Algorithm, Ha1};
use crate::store::StoredRegistration;

/// Look at agents and their phones.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Every agent, and where their phones are registered.
    List {
        /// Only this operator's.
        #[arg(long)]
        operator: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// A password for an agent's phone, and what `agents.toml` may hold in its place.
    Secret {
        /// The agent's user name.
        user: String,
        /// Take the password from standard input, in place of a new one.
        #[arg(long)]
        stdin: bool,
        /// Settings of this machine; without it `contesta.toml`, if there is one here.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// Prints what was asked for.
///
/// # Errors
/// The operators' files have faults, or the store cannot be read.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.question {
        Question::List { operator, json, store } => {
            let place = store.settle()?;
            block_on(list(operator.as_deref(), json, &place))
        }
        Question::Secret { user, stdin, config } => secret(&user, stdin, config),
    }
}

async fn list(operator: Option<&str>, as_json: bool, place: &StorePlace) -> anyhow::Result<()> {
    let (operators, _) = files::load_operators(place.flows())?;
    if let Some(id) = operator {
        files::find_operator(&operators, id)?;
    }
    let store = place.connect().await?;
    let registrations = store.registrations(Timestamp::now()).await?;
    store.close().await;
    let shown = operators.iter().filter(|one| operator.is_none_or(|id| one.id == id));
    let agents: Vec<(&Operator, &Agent, Vec<&StoredRegistration>)> = shown
        .flat_map(|operator| operator.agents.values().map(move |agent| (operator, agent)))
        .map(|(operator, agent)| {
            let is_theirs = |stored: &&StoredRegistration| {
                stored.registration.operator == operator.id && stored.registration.user == agent.user
            };
            (operator, agent, registrations.iter().filter(is_theirs).collect())
        })
        .collect();
    if as_json {
        println!(
            "{:#}",
            agents.iter().map(|(operator, agent, phones)| to_json(operator, agent, phones)).collect::<Json>()
        );
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        agents.iter().flat_map(|(operator, agent, phones)| rows(operator, agent, phones)).collect();
    aligned(&rows).iter().for_each(|line| println!("{line}"));
    let registered = agents.iter().filter(|(_, _, phones)| !phones.is_empty()).count();
    eprintln!("{}, {registered} registered", counted(agents.len(), "agent"));
    Ok(())
}

/// One line a phone, and one for an agent without any.
fn rows(operator: &Operator, agent: &Agent, phones: &[&StoredRegistration]) -> Vec<Vec<String>> {
    let begin = || vec![operator.id.clone(), agent.user.clone(), agent.name.clone()];
    if phones.is_empty() {
        return vec![[begin(), vec!["not registered".to_owned()]].concat()];
    }
    let phone = |stored: &&StoredRegistration| {
        let phone = &stored.registration;
        let until = format!("until {}", until(stored.ends, &operator.time_zone));
        [begin(), vec![format!("from {}", phone.peer), until, phone.contact.clone(), phone.user_agent.clone()]].concat()
    };
    phones.iter().map(phone).collect()
}

/// A registration lasts minutes: the day is of interest only when it is another one.
fn until(ends: Timestamp, zone: &TimeZone) -> String {
    let (ends, today) = (ends.to_zoned(zone.clone()), Timestamp::now().to_zoned(zone.clone()).date());
    if ends.date() == today { ends.strftime("%H:%M:%S").to_string() } else { local(ends.timestamp(), zone) }
}

fn to_json(operator: &Operator, agent: &Agent, phones: &[&StoredRegistration]) -> Json {
    let phone = |stored: &&StoredRegistration| {
        let phone = &stored.registration;
        json!({
            "contact": phone.contact, "from": phone.peer.address.to_string(), "transport": phone.peer.transport.name(),
            "until": stored.ends.to_string(), "user_agent": phone.user_agent,
            "preference": f64::from(phone.q.unwrap_or(1_000)) / 1_000.0,
        })
    };
    json!({
        "operator": operator.id, "user": agent.user, "name": agent.name,
        "phones": phones.iter().map(phone).collect::<Vec<_>>(),
    })
}

fn secret(user: &str, stdin: bool, config: Option<PathBuf>) -> anyhow::Result<()> {
    let realm = config_file::settings(config.as_deref(), &Overrides::default())?.registrar.realm;
    let password = if stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the password")?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        entropy::ids()?.token(PASSWORD_LENGTH)
    };
    if password.is_empty() || password.contains(['\r', '\n']) {
        bail!("a password is one line");
    }
    if !stdin {
        println!("# The password of «{user}», for the phone: it is shown this once.\n# {password}");
    }
    println!("# For agents.toml; good for the realm «{realm}» and the user «{user}» only.");
    for (key, algorithm) in [("ha1_md5", Algorithm::Md5), ("ha1_sha256", Algorithm::Sha256)] {
        println!("{key} = \"{}\"", Ha1::new(algorithm, user, &realm, &password).secret_hex());
    }
    Ok(())
}

/// 100 bits.
const PASSWORD_LENGTH: usize = 20;
