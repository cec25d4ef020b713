//! `contesta trunk list`, `contesta trunk test NAME`: the carriers of the settings, and whether one of them can be reached.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::{Value as Json, json};

use crate::cli::columns::aligned;
use crate::config::{Config, Gateway, Trunk};
use crate::edge::config_file;
use crate::edge::entropy;
use crate::edge::resolver::Resolver;
use crate::edge::sip_socket::address_towards;
use crate::edge::trunk_check::{self, Asked, Found, Line, Reply};
use crate::edge::wire::WireTo;
use crate::exchange::trunks;
use crate::fault::did_you_mean;
use crate::sip::Peer;
use crate::sip::digest::answer::Hopeless;
use crate::sip::locate::Abilities;
use crate::sip::status::reason_phrase;

/// Look at trunks.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Every trunk of the settings.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Looks its gateways up, asks each whether it is there, and its registrar whether it knows us: with what to change where
    /// something fails. Nothing is registered and nobody is called; a running engine is not disturbed.
    Test {
        /// The trunk's name.
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Settings of this machine; without it `contesta.toml`, if there is one here.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what was asked for.
///
/// # Errors
/// The settings have faults, there is no such trunk, or it cannot be used.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.question {
        Question::List { place } => {
            let config = config_file::load(place.config.as_deref())?;
            list(&config, place.json);
            Ok(())
        }
        Question::Test { name, place } => {
            let config = config_file::load(place.config.as_deref())?;
            let trunk = named(&config, &name)?;
            if trunk.gateways.is_empty() {
                bail!("the trunk «{name}» has no «gateways»: it only calls us, so there is nothing to test");
            }
            let verdict = test(&config, trunk)?;
            if place.json {
                println!("{:#}", verdict.json(trunk));
            } else {
                verdict.print(trunk);
            }
            if verdict.is_usable() { Ok(()) } else { bail!("the trunk «{name}» cannot be used as it is") }
        }
    }
}

fn named<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c Trunk> {
    let found = config.trunks.iter().find(|trunk| trunk.name == name);
    found.with_context(|| {
        let names = || config.trunks.iter().map(|trunk| trunk.name.as_str());
        match did_you_mean(name, names()) {
            Some(near) => format!("there is no trunk «{name}»: did you mean «{near}»?"),
            None => format!("there is no trunk «{name}»; there are: {}", names().collect::<Vec<_>>().join(", ")),
        }
    })
}

fn list(config: &Config, as_json: bool) {
    let networks = |trunk: &Trunk| trunk.sources.iter().map(ToString::to_string).collect::<Vec<_>>();
    let gateways = |trunk: &Trunk| trunk.gateways.iter().map(|gateway| gateway.uri.clone()).collect::<Vec<_>>();
    let account = |trunk: &Trunk| trunks::account(trunk).map(|account| account.address_of_record);
    if as_json {
        let all: Vec<Json> = config
            .trunks
            .iter()
            .map(|trunk| {
                json!({
                    "name": trunk.name,
                    "sources": networks(trunk),
                    "gateways": gateways(trunk),
                    "registers_as": account(trunk),
                    "probe_seconds": trunk.probe.map(|probe| probe.as_secs()),
                })
            })
            .collect();
        return println!("{:#}", Json::Array(all));
    }
    let row = |trunk: &Trunk| {
        let gateways = if trunk.gateways.is_empty() { "calls us only".to_owned() } else { gateways(trunk).join(" ") };
        let account = account(trunk).map_or_else(|| "no registration".to_owned(), |account| format!("as {account}"));
        vec![trunk.name.clone(), gateways, account, format!("from {}", networks(trunk).join(" "))]
    };
    aligned(&config.trunks.iter().map(row).collect::<Vec<_>>()).iter().for_each(|line| println!("{line}"));
}

/// What was found out.
struct Verdict {
    gateways: Vec<(Gateway, Found)>,
    ways: Vec<(Peer, Result<Reply, String>)>,
    registration: Option<Asked>,
}

fn test(config: &Config, trunk: &Trunk) -> anyhow::Result<Verdict> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let resolver = Resolver::new(&config.sip.nameservers);
    let mut ids = entropy::ids()?;
    let able = Abilities {
        v4: config.sip.listen.iter().any(|address| address.is_ipv4() || address.ip().is_unspecified()),
        v6: config.sip.listen.iter().any(std::net::SocketAddr::is_ipv6),
    };
    let mut verdict = Verdict { gateways: Vec::new(), ways: Vec::new(), registration: None };
    let account = trunks::account(trunk);
    for gateway in &trunk.gateways {
        let found = trunk_check::find(gateway, able, &resolver, &runtime, &mut ids);
        for peer in &found.peers {
            if verdict.ways.iter().any(|(known, _)| known == peer) {
                continue;
            }
            let to = WireTo {
                destination: *peer,
                name: gateway.literal().is_none().then(|| gateway.host.clone()),
                ca: config.sip.ca.clone(),
                address: address_towards(peer.address).unwrap_or(IpAddr::from([127, 0, 0, 1])),
            };
            let opened = Line::open(&gateway.uri, &to, ids.fork());
            let answer = opened.map_err(|error| error.to_string()).map(|mut line| {
                let reply = line.probe();
                if let (Some(account), None, true) = (&account, &verdict.registration, is_there(&reply)) {
                    verdict.registration = Some(line.ask_registrar(account));
                }
                reply
            });
            verdict.ways.push((*peer, answer));
        }
        verdict.gateways.push((gateway.clone(), found));
    }
    Ok(verdict)
}

fn is_there(reply: &Reply) -> bool {
    reply.message.is_some() && reply.status != 503
}

impl Verdict {
    fn is_usable(&self) -> bool {
        let reached = self.ways.iter().any(|(_, reply)| reply.as_ref().is_ok_and(is_there));
        let known = self.registration.as_ref().is_none_or(|asked| (200..300).contains(&asked.reply.status));
        reached && known
    }

    fn print(&self, trunk: &Trunk) {
        println!("trunk «{}»", trunk.name);
        let mut rows = Vec::new();
        let mut add = |what: String, (said, advice): (String, Option<String>)| {
            rows.push(vec![format!("  {what}"), said]);
            rows.extend(advice.map(|advice| vec![String::new(), format!("→ {advice}")]));
        };
        for (gateway, found) in &self.gateways {
            add(gateway.uri.clone(), told_found(gateway, found));
        }
        for (peer, reply) in &self.ways {
            add(peer.to_string(), told_reply(trunk, peer, reply));
        }
        if let Some(asked) = &self.registration {
            add("registration".into(), told_registration(asked));
        }
        aligned(&rows).iter().for_each(|line| println!("{line}"));
        println!("{}", if self.is_usable() { "it can be used" } else { "it cannot be used" });
    }

    fn json(&self, trunk: &Trunk) -> Json {
        let line = |(said, advice): (String, Option<String>)| json!({ "said": said, "advice": advice });
        let ms = |took: std::time::Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        json!({
            "trunk": trunk.name,
            "usable": self.is_usable(),
            "gateways": self.gateways.iter().map(|(gateway, found)| json!({
                "uri": gateway.uri,
                "addresses": found.peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "ms": ms(found.took),
                "result": line(told_found(gateway, found)),
            })).collect::<Vec<_>>(),
            "ways": self.ways.iter().map(|(peer, reply)| json!({
                "address": peer.to_string(),
                "answered": reply.as_ref().is_ok_and(is_there),
                "status": reply.as_ref().ok().filter(|reply| reply.message.is_some()).map(|reply| reply.status),
                "ms": reply.as_ref().ok().map(|reply| ms(reply.took)),
                "result": line(told_reply(trunk, peer, reply)),
            })).collect::<Vec<_>>(),
            "registration": self.registration.as_ref().map(|asked| json!({
                "status": asked.reply.status,
                "ms": ms(asked.reply.took),
                "contacts": asked.contacts,
                "result": line(told_registration(asked)),
            })),
        })
    }
}

fn told_found(gateway: &Gateway, found: &Found) -> (String, Option<String>) {
    let peers = found.peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (found.peers.is_empty(), found.faults.first()) {
        (false, _) if gateway.literal().is_some() => (format!("is {peers}"), None),
        (false, _) => (format!("is at {peers} ({} ms)", found.took.as_millis()), None),
        (true, Some(fault)) => (
            format!("is not found: {fault}"),
            Some("does this machine reach a name server? «nameservers» in [sip] names others".into()),
        ),
        (true, None) => (
            format!("is not found: the name «{}» does not exist, or has no address", gateway.host),
            Some("check its spelling with the carrier, or write its address".into()),
        ),
    }
}

fn told_reply(trunk: &Trunk, peer: &Peer, reply: &Result<Reply, String>) -> (String, Option<String>) {
    let reply = match reply {
        Ok(reply) => reply,
        Err(why) => return (format!("cannot be asked: {why}"), None),
    };
    if let Some(fault) = &reply.fault {
        return (format!("no connection: {fault}"), Some(advice_on(fault)));
    }
    if reply.message.is_none() {
        let over = peer.transport.name();
        return (
            format!("does not answer within {} s", trunk_check::PATIENCE.as_secs()),
            Some(format!(
                "is the address right, does the firewall let {over} out to port {}, and does the carrier know our address?",
                peer.address.port()
            )),
        );
    }
    let said = format!("answers {} {} after {} ms", reply.status, reason_phrase(reply.status), reply.took.as_millis());
    let advice = match (reply.status, reply.seen_as()) {
        (503, _) => Some("it is there and takes nothing: ask the carrier, or wait".to_owned()),
        (405 | 501, None) => Some("it is there; it takes no OPTIONS, which harms nothing".to_owned()),
        (_, Some(seen)) if trunk.advertised.is_none_or(|address| address.to_string() != seen) => Some(format!(
            "the carrier sees us at {seen}: write advertised = \"{seen}\" if its calls or their audio do not arrive"
        )),
        _ => None,
    };
    (said, advice)
}

/// What to change when there is no connection, from what the system or TLS says.
fn advice_on(fault: &str) -> String {
    let table = [
        (
            "expired",
            "the gateway's certificate has expired, or this machine's clock is wrong: the carrier has to renew it",
        ),
        (
            "UnknownIssuer",
            "nobody whom we trust has signed its certificate: name the carrier's authority with «ca» in [sip]",
        ),
        ("not valid for name", "its certificate is for another name: write the gateway by the name that stands in it"),
        ("refused", "nothing listens there: ask the carrier for port and transport"),
        ("no answer", "is the address right, and does the firewall let us out?"),
        ("unreachable", "this machine has no way there: check its network"),
    ];
    let found = table.iter().find(|(word, _)| fault.contains(word)).map(|(_, advice)| *advice);
    found.unwrap_or("ask the carrier for address, port and transport").to_owned()
}

fn told_registration(asked: &Asked) -> (String, Option<String>) {
    let after = format!("after {} ms", asked.reply.took.as_millis());
    match (asked.hopeless, asked.reply.status) {
        (Some(hopeless), _) => {
            let advice = match hopeless {
                Hopeless::WrongPassword => "check «user», «auth_user» and «password» with the carrier",
                Hopeless::NothingInCommon => "ask the carrier for digest with MD5 or SHA-256",
                Hopeless::Endless => "ask the carrier why it takes no answer",
            };
            (format!("is refused {after}: {hopeless}"), Some(advice.to_owned()))
        }
        (None, 200..=299) => {
            let now = match asked.contacts.as_slice() {
                [] => "nobody is registered with it now".to_owned(),
                contacts => format!("registered now: {}", contacts.join(", ")),
            };
            (format!("user and password are right ({after}); {now}"), None)
        }
        (None, 408) if asked.reply.message.is_none() => {
            (format!("gets no answer {after}"), Some("does the carrier take registrations from this address?".into()))
        }
        (None, status) => {
            let advice = match status {
                405 | 501 => "nobody registers there: leave «register» out, or name the carrier's domain in it",
                503 => "it takes nothing now: ask the carrier, or wait",
                500.. => "ask the carrier: something is wrong at its end",
                _ => "is the account active, and «register» the carrier's domain?",
            };
            (format!("is refused with {status} {} {after}", reason_phrase(status)), Some(advice.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::message::Message;

    /// Who does not take the method says nothing about the account.
    #[test]
    fn a_405_is_no_word_on_the_account() {
        let reply = |status| Reply {
            message: Message::scan(Bytes::from(format!(
                "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n"
            ))),
            status,
            fault: None,
            took: std::time::Duration::ZERO,
        };
        let trunk = Trunk::named("carrier", Vec::new());
        let peer = Peer::udp("192.0.2.1:5060".parse().unwrap());
        for (status, at_probe, at_registrar) in [
            (405, Some("harms nothing"), "leave «register» out"),
            (501, Some("harms nothing"), "leave «register» out"),
            (404, None, "account active"),
            (403, None, "account active"),
        ] {
            let (said, advice) = told_reply(&trunk, &peer, &Ok(reply(status)));
            assert!(said.contains(&status.to_string()), "{said}");
            assert_eq!(advice.is_some(), at_probe.is_some());
            assert!(advice.unwrap_or_default().contains(at_probe.unwrap_or_default()));
            let asked = Asked { reply: reply(status), hopeless: None, contacts: Vec::new() };
            assert!(told_registration(&asked).1.unwrap().contains(at_registrar), "{status}");
        }
    }

    #[test]
    fn what_tls_says_becomes_what_to_do() {
        for (fault, word) in [
            ("invalid peer certificate: certificate expired: verification time 1795857828 (UNIX)", "expired"),
            ("invalid peer certificate: certificate not valid for name \"x\"", "another name"),
            ("invalid peer certificate: UnknownIssuer", "«ca»"),
            ("Connection refused (os error 111)", "nothing listens"),
            ("something else", "ask the carrier"),
        ] {
            assert!(advice_on(fault).contains(word), "{fault}");
        }
    }
}
