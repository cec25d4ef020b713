//! Reads `contesta.toml` over the defaults, all faults at once.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Capture, Config, Digest, LogFormat, Network, NoStore, sip, trunk};
use crate::document::{self, Fields, Place};
use crate::fault::{Fault, SourceFile};

/// Nothing that is waited for takes longer; and a sum of an instant and this cannot overflow.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// SIP counts registrations in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// The settings of a file; what it does not name keeps its default.
///
/// # Errors
/// Every fault of the file.
pub fn load(source: &SourceFile) -> Result<Config, Vec<Fault>> {
    let (mut config, mut faults) = (Config::default(), Vec::new());
    let root = document::parse(source, &mut faults);
    if let Some(mut fields) = Place::new(source, &root).fields(&mut faults) {
        section(&mut fields, "sip", &mut faults, |fields, faults| sip::read(fields, &mut config.sip, faults));
        section(&mut fields, "registrar", &mut faults, |fields, faults| registrar(fields, &mut config, faults));
        section(&mut fields, "guard", &mut faults, |fields, faults| guard(fields, &mut config, faults));
        section(&mut fields, "rtp", &mut faults, |fields, faults| rtp(fields, &mut config, faults));
        section(&mut fields, "limits", &mut faults, |fields, faults| limits(fields, &mut config, faults));
        section(&mut fields, "paths", &mut faults, |fields, faults| paths(fields, &mut config, faults));
        config.store = config.default_store();
        section(&mut fields, "store", &mut faults, |fields, faults| store(fields, &mut config, faults));
        section(&mut fields, "media", &mut faults, |fields, faults| {
            let workers = fields.optional("workers").and_then(|place| place.integer_in(1..=256, faults));
            config.media.workers = workers.and_then(|workers| NonZeroUsize::new(usize::try_from(workers).ok()?));
        });
        section(&mut fields, "log", &mut faults, |fields, faults| log(fields, &mut config, faults));
        section(&mut fields, "capture", &mut faults, |fields, faults| capture(fields, &mut config.capture, faults));
        if let Some(place) = fields.optional("trunks") {
            config.trunks = trunk::read(place, &mut faults);
        }
        fields.finish(&mut faults);
    }
    faults.sort_by_key(|fault| fault.span.start);
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn section(
    fields: &mut Fields<'_>,
    name: &'static str,
    faults: &mut Vec<Fault>,
    body: impl FnOnce(&mut Fields<'_>, &mut Vec<Fault>),
) {
    if let Some(mut fields) = fields.fields(name, faults) {
        body(&mut fields, faults);
        fields.finish(faults);
    }
}

fn registrar(fields: &mut Fields<'_>, config: &mut Config, faults: &mut Vec<Fault>) {
    if let Some(place) = fields.optional("realm")
        && let Some(realm) = place.text(faults)
    {
        // It stands between quotes in every challenge, and in front of every hashed password.
        let legal = |c: char| c.is_ascii_graphic() && !"\"\\:".contains(c);
        if realm.is_empty() || !realm.chars().all(legal) {
            faults.push(place.fault("a realm is a word of printable ASCII without quotes, colons and backslashes"));
        }
        config.registrar.realm = realm.to_owned();
    }
    set(&mut config.registrar.digest, one_of(fields.optional("digest"), &Digest::NAMES, faults));
    let shortest = waiting(fields, "min_expires", faults);
    let longest = waiting(fields, "max_expires", faults);
    let place = fields.name("max_expires").or(fields.name("min_expires"));
    set(&mut config.registrar.min_expires, shortest);
    set(&mut config.registrar.max_expires, longest);
    let (shortest, longest) = (config.registrar.min_expires, config.registrar.max_expires);
    if let Some(place) = place.filter(|_| shortest > longest || shortest < SECOND || longest < SECOND) {
        faults.push(place.fault("«min_expires» is one second at least, and not longer than «max_expires»"));
    }
    set(&mut config.registrar.contacts, count(fields, "contacts", 1..=100, faults));
    if let Some(place) = fields.optional("sources") {
        config.registrar.sources = networks(place, faults);
    }
}

fn capture(fields: &mut Fields<'_>, capture: &mut Capture, faults: &mut Vec<Fault>) {
    set(&mut capture.on, fields.flag("on", faults));
    capture.pcap = fields.text("pcap", faults).map(PathBuf::from);
    set(&mut capture.megabytes, count(fields, "megabytes", 1..=4_000, faults));
    set(&mut capture.files, count(fields, "files", 1..=100, faults));
    if let Some(place) = fields.optional("hep")
        && let Some(text) = place.text(faults)
    {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => capture.hep = Some(address),
            Ok(_) | Err(_) => {
                faults.push(place.fault("an address and a port, like 192.0.2.30:9060 or [2001:db8::30]:9060"))
            }
        }
    }
    set(&mut capture.hep_id, count(fields, "hep_id", 0..=u32::MAX.into(), faults));
}

fn guard(fields: &mut Fields<'_>, config: &mut Config, faults: &mut Vec<Fault>) {
    let guard = &mut config.guard;
    set(&mut guard.rate, count(fields, "rate", 1..=100_000, faults));
    set(&mut guard.rate_all, count(fields, "rate_all", 1..=100_000, faults));
    let bytes = count(fields, "message_bytes", 512..=65_535, faults);
    set(&mut guard.message_bytes, bytes.and_then(|bytes| usize::try_from(bytes).ok()));
    guard.calls = count(fields, "calls", 1..=1_000_000, faults).or(guard.calls);
    set(&mut guard.wrong_passwords, count(fields, "wrong_passwords", 1..=1_000_000, faults));
    let users = count(fields, "users", 2..=16, faults);
    set(&mut guard.users, users.and_then(|users| usize::try_from(users).ok()));
    set(&mut guard.unknown_numbers, count(fields, "unknown_numbers", 1..=1_000_000, faults));
    set(&mut guard.window, waiting(fields, "window", faults));
    set(&mut guard.block, waiting(fields, "block", faults));
}

pub(super) fn count(
    fields: &mut Fields<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<i64>,
    faults: &mut Vec<Fault>,
) -> Option<u32> {
    fields.optional(key)?.integer_in(range, faults).and_then(|count| u32::try_from(count).ok())
}

fn rtp(fields: &mut Fields<'_>, config: &mut Config, faults: &mut Vec<Fault>) {
    let address = fields.optional("address");
    config.rtp.address = parsed::<IpAddr>(address, "an IP address like \"10.0.0.5\"", faults);
    if let Some(place) = fields.optional("ports") {
        let before = faults.len();
        let ports: Vec<u16> = place
            .list(faults)
            .into_iter()
            .filter_map(|port| u16::try_from(port.integer_in(1_024..=65_535, faults)?).ok())
            .collect();
        match ports.as_slice() {
            [first, last] if first < last => config.rtp.ports = (*first, *last),
            _ if faults.len() > before => {}
            _ => faults.push(place.fault("expected the first and the last port, like [10000, 20000]")),
        }
    }
    set(&mut config.rtp.silence, waiting(fields, "silence", faults));
}

fn limits(fields: &mut Fields<'_>, config: &mut Config, faults: &mut Vec<Fault>) {
    let calls = fields.optional("calls").and_then(|place| place.integer_in(1..=1_000_000, faults));
    set(&mut config.limits.calls, calls.and_then(|calls| u32::try_from(calls).ok()));
    set(&mut config.limits.max_call, waiting(fields, "max_call", faults));
    set(&mut config.limits.max_hold, waiting(fields, "max_hold", faults));
    set(&mut config.limits.drain, at_most_a_day(fields, "drain", faults).map(|(_, drain)| drain));
}

fn paths(fields: &mut Fields<'_>, config: &mut Config, faults: &mut Vec<Fault>) {
    set(&mut config.paths.flows, fields.text("flows", faults).map(PathBuf::from));
    set(&mut config.paths.prompts, fields.text("prompts", faults).map(PathBuf::from));
    set(&mut config.paths.data, fields.text("data", faults).map(PathBuf::from));
}

fn store(fields: &mut Fields<'_>, config: &mut Config, faults: &mut Vec<Fault>) {
    config.key = fields.text("key", faults).map(PathBuf::from);
    let Some(place) = fields.optional("url") else { return };
    let Some(url) = place.text(faults) else { return };
    match url.parse() {
        Ok(url) => config.store = url,
        Err(NoStore) => {
            let fault = place.fault("this is no store");
            faults.push(
                fault.suggest("a SQLite file like \"data/contesta.db\", or \"postgres://user:password@host/contesta\""),
            );
        }
    }
}

fn log(fields: &mut Fields<'_>, config: &mut Config, faults: &mut Vec<Fault>) {
    set(&mut config.log.filter, fields.text("filter", faults).map(str::to_owned));
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    set(&mut config.log.format, one_of(fields.optional("format"), &formats, faults));
}

pub(super) fn networks(place: Place<'_>, faults: &mut Vec<Fault>) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::new();
    for (text, place) in place.texts(faults) {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => faults.push(place.fault(error.to_string())),
        }
    }
    networks
}

pub(super) fn advertised(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> Option<IpAddr> {
    let place = fields.optional("advertised")?;
    let address: IpAddr = parsed(Some(place), "an IP address like \"203.0.113.7\"", faults)?;
    if address.is_unspecified() {
        faults.push(place.fault(format!("far ends cannot send to {address}")));
    }
    Some(address)
}

/// Longer than nothing, and at most a day.
pub(super) fn waiting(fields: &mut Fields<'_>, key: &'static str, faults: &mut Vec<Fault>) -> Option<Duration> {
    let (place, duration) = at_most_a_day(fields, key, faults)?;
    if duration.is_zero() {
        faults.push(place.fault(format!("«{key}» must be longer than nothing")));
    }
    Some(duration)
}

pub(super) fn at_most_a_day<'a>(
    fields: &mut Fields<'a>,
    key: &'static str,
    faults: &mut Vec<Fault>,
) -> Option<(Place<'a>, Duration)> {
    let place = fields.optional(key)?;
    let duration = place.duration(faults)?;
    if duration > WAIT_MAX {
        faults.push(place.fault(format!("«{key}» must not be longer than a day")));
    }
    Some((place, duration))
}

fn parsed<T: FromStr>(place: Option<Place<'_>>, expected: &str, faults: &mut Vec<Fault>) -> Option<T> {
    let place = place?;
    let value = place.text(faults)?.parse().ok();
    if value.is_none() {
        faults.push(place.fault(format!("expected {expected}")));
    }
    value
}

pub(super) fn one_of<T: Copy>(place: Option<Place<'_>>, known: &[(&str, T)], faults: &mut Vec<Fault>) -> Option<T> {
    let place = place?;
    let text = place.text(faults)?;
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<String> = known.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let fault = place.fault(format!("expected {}", names.join(" or ")));
        faults.push(fault.did_you_mean(text, known.iter().map(|(name, _)| *name)));
    }
    found
}

pub(super) fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Codec;
    use crate::config::{Audio, CalledFrom, StoreUrl};
    use crate::fault::render_all;
    use crate::sdp::{SrtpPolicy, Terms};

    fn read(text: &str) -> Result<Config, Vec<Fault>> {
        load(&SourceFile { path: "contesta.toml".into(), text: text.into() })
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(read(""), Ok(Config::default()));
    }

    /// The shipped file shows every setting in a comment with its default; with the comments removed it is still that.
    #[test]
    fn the_shipped_file_and_its_commented_lines_are_the_defaults() {
        let shipped = include_str!("../../contesta.toml");
        assert_eq!(read(shipped), Ok(Config::default()));
        let uncommented: Vec<&str> = shipped
            .lines()
            .map(|line| {
                line.strip_prefix("# ").filter(|rest| rest.contains(" = ") && !rest.starts_with(' ')).unwrap_or(line)
            })
            .collect();
        let config = read(&uncommented.join("\n")).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let expected = Config {
            rtp: super::super::Rtp { address: config.rtp.address, ..Config::default().rtp },
            media: config.media.clone(),
            guard: super::super::Guard { calls: config.guard.calls, ..Config::default().guard },
            key: config.key.clone(),
            capture: Capture { pcap: config.capture.pcap.clone(), hep: config.capture.hep, ..Capture::default() },
            sip: super::super::Sip { advertised: config.sip.advertised, ..super::super::Sip::default() },
            ..Config::default()
        };
        assert_eq!(config, expected);
        assert!(config.sip.advertised.is_some() && config.rtp.address.is_some() && config.media.workers.is_some());
        assert!(config.guard.calls.is_some() && config.capture.pcap.is_some() && config.capture.hep.is_some());
        assert_eq!(config.key, Some(Config::default().secret_key()));
    }

    #[test]
    fn settings_are_read() {
        let config = read(
            "[sip]\nlisten = '10.0.0.5:5070'\nadvertised = '203.0.113.7'\nstrangers = 'ignore'\n\
             [registrar]\nrealm = 'call.example'\ndigest = 'both'\nmax_expires = '1h'\ncontacts = 2\nsources = ['10.0.0.0/8']\n\
             [guard]\nrate = 3\nusers = 4\nblock = '1h'\ncalls = 7\n\
             [rtp]\nports = [30000, 30100]\nsilence = '20s'\n[paths]\ndata = '/var/lib/contesta'\n[limits]\ncalls = 10\ndrain = '0s'\n\
             [[trunks]]\nname = 'carrier'\nsources = ['198.51.100.0/24']\ncalled_from = 'to'\naudio = 'shared'\n\
             codecs = ['opus', 'pcma']\nsrtp = 'required'\n\
             [capture]\non = false\npcap = 'sip.pcap'\nmegabytes = 9\nfiles = 2\nhep = '[::1]:9060'\nhep_id = 7\n\
             [[trunks]]\nname = 'office'\nsources = ['10.0.0.0/8']\nadvertised = '10.0.0.5'\n",
        )
        .unwrap();
        assert_eq!((config.sip.listen[0].port(), config.rtp.ports, config.limits.calls), (5070, (30_000, 30_100), 10));
        assert_eq!(config.sip.tcp(), config.sip.listen);
        let registrar = &config.registrar;
        assert_eq!((registrar.realm.as_str(), registrar.digest, registrar.contacts), ("call.example", Digest::Both, 2));
        assert_eq!((registrar.max_expires.as_secs(), registrar.sources.len()), (3_600, 1));
        let Capture { on, pcap, megabytes, files, hep, hep_id } = &config.capture;
        assert!(!on);
        assert_eq!((pcap.as_deref(), *megabytes, *files, *hep_id), (Some(std::path::Path::new("sip.pcap")), 9, 2, 7));
        assert_eq!(hep.map(|hep| hep.to_string()).as_deref(), Some("[::1]:9060"));
        let guard = &config.guard;
        assert_eq!((guard.rate, guard.users, guard.calls, guard.block.as_secs()), (3, 4, Some(7), 3_600));
        assert_eq!(config.store, StoreUrl::Sqlite("/var/lib/contesta/contesta.db".into()));
        assert_eq!((config.limits.drain, Config::default().limits.drain), (Duration::ZERO, Duration::from_secs(60)));
        let trunk = |address: &str| {
            config.trunk_of(address.parse().unwrap()).map(|trunk| (trunk.name.as_str(), trunk.called_from, trunk.audio))
        };
        assert_eq!(trunk("198.51.100.9"), Some(("carrier", CalledFrom::To, Audio::Shared)));
        assert_eq!(trunk("10.9.9.9"), Some(("office", CalledFrom::RequestUri, Audio::Own)));
        assert_eq!(trunk("192.0.2.1"), None);
        let terms = |address: &str| config.trunk_of(address.parse().unwrap()).unwrap().terms.as_ref().clone();
        let expected = Terms { codecs: vec![Codec::Opus, Codec::Pcma], srtp: SrtpPolicy::Required, ..Terms::default() };
        assert_eq!((terms("198.51.100.9"), terms("10.9.9.9")), (expected, Terms::default()));
        let advertised =
            |address: &str| config.advertised_to(address.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(advertised("10.9.9.9").as_deref(), Some("10.0.0.5"));
        assert_eq!(advertised("198.51.100.9").as_deref(), Some("203.0.113.7"));
    }

    #[test]
    fn a_trunk_by_registration_is_read_and_its_password_not_shown() {
        let config = read(
            "[[trunks]]\nname = 'carrier'\ngateways = ['sip:198.51.100.7', 'sips:[2001:db8::1]']\nuser = '5255'\nauth_user = 'x'\n\
             password = 'corcel 7'\nregister = true\nprobe = '1m'\n\
             [[trunks]]\nname = 'b'\ngateways = ['sip:198.51.100.8:5070;transport=tcp']\nuser = '52'\npassword = 'p'\n\
             register = 'sip:carrier.mx'\nexpires = '1h'\nprobe = '0s'\n",
        );
        let config = config.unwrap();
        let [first, second] = &config.trunks[..] else { panic!("not two") };
        let ways = |trunk: &crate::config::Trunk| {
            trunk
                .gateways
                .iter()
                .filter_map(|gateway| gateway.literal())
                .map(|peer| peer.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(ways(first), ["udp:198.51.100.7:5060", "tls:[2001:db8::1]:5061"]);
        assert_eq!(ways(second), ["tcp:198.51.100.8:5070"]);
        assert_eq!(
            (first.register.as_deref(), second.register.as_deref()),
            (Some("sip:198.51.100.7"), Some("sip:carrier.mx"))
        );
        assert_eq!((first.probe, second.probe), (Some(Duration::from_secs(60)), None));
        assert_eq!((first.expires.as_secs(), second.expires.as_secs()), (600, 3_600));
        let trunk = |address: &str| config.trunk_of(address.parse().unwrap()).map(|trunk| trunk.name.as_str());
        assert_eq!(
            (trunk("2001:db8::1"), trunk("198.51.100.8"), trunk("198.51.100.9")),
            (Some("carrier"), Some("b"), None)
        );
        assert_eq!(first.credentials.as_ref().unwrap().password.reveal(), "corcel 7");
        assert!(!format!("{config:?}").contains("corcel"));
    }

    #[test]
    fn who_may_be_called_by_a_trunk_and_as_whom_is_read() {
        let config = read(
            "[[trunks]]\nname = 'carrier'\ngateways = ['sip:198.51.100.7']\ncalled_from = 'p_called_party_id'\nallow = ['NNXXXXXXXX', '911']\n\
             format = 'e164'\nprefix = '9'\nstrip = '77'\ncaller = '5550001122'\nidentity = 'asserted'\nshows_caller = true\n\
             private = true\ndomain = 'carrier.mx'\nmax_calls = 30\ncalls_per_second = 5\n",
        );
        let trunk = config.unwrap().trunks.remove(0);
        assert_eq!(
            (trunk.called_from, trunk.max_calls, trunk.calls_per_second),
            (CalledFrom::PCalledPartyId, Some(30), Some(5))
        );
        assert_eq!(trunk.numbers.dial("5555123456").as_deref(), Ok("9525555123456"));
        assert_eq!(trunk.numbers.called("77525550001122"), "+525550001122");
        let crate::config::CallerId { caller, stands_in, shows_caller, private, domain } = trunk.caller_id;
        assert_eq!((caller.as_deref(), domain.as_deref()), (Some("5550001122"), Some("carrier.mx")));
        assert_eq!((stands_in, shows_caller, private), (crate::config::StandsIn::Asserted, true, true));
        let plain = read("[[trunks]]\nname = 'a'\ngateways = ['sip:198.51.100.7']\n").unwrap().trunks.remove(0);
        assert!(plain.numbers.dial("911").is_err(), "nothing may be called that is not named");
    }

    /// `9+52…` is no number.
    #[test]
    fn a_prefix_stands_before_digits() {
        let trunk = |format: &str| {
            format!("[[trunks]]\nname = 'a'\ngateways = ['sip:1.2.3.4']\nallow = ['911']\nprefix = '9'\n{format}\n")
        };
        assert!(read(&trunk("format = 'national'")).is_ok());
        let found = read(&trunk("")).unwrap_err();
        assert_eq!((found.len(), found[0].line), (1, 5));
        assert!(found[0].message.contains("in front of the +"), "{}", found[0].message);
    }

    #[test]
    fn every_slip_about_calls_out_is_shown_where_it_stands() {
        let source = SourceFile {
            path: "contesta.toml".into(),
            text: "[[trunks]]\nname = 'a'\nsources = ['10.0.0.0/8']\ncalled_from = 'diverson'\nallow = ['911']\nmax_calls = 0\n\
                   [[trunks]]\nname = 'b'\ngateways = ['sip:1.2.3.4']\nallow = ['22.', '+52NNXXXXXXXX', '911', '911', 5]\nformat = 'e165'\n\
                   prefix = '9x'\ncaller = 'ventas'\nidentity = 'form'\ndomain = 'a b'\ncalls_per_second = '3'\n\
                   [[trunks]]\nname = 'c'\ngateways = ['sip:1.2.3.5', 'sip:ana:corcel@1.2.3.6']\nallow = []\nprivate = 1\nshows_caler = true\n\
                   [[trunks]]\nname = 'd'\ngateways = ['sip:1.2.3.7']\nprefix = '9'\nidentity = 'asserted'\n"
                .into(),
        };
        let shown = render_all(&load(&source).unwrap_err(), &[source]);
        assert!(!shown.contains("corcel"));
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn every_slip_of_a_trunk_is_shown_and_no_password() {
        let source = SourceFile {
            path: "contesta.toml".into(),
            text: "[[trunks]]\nname = 'a'\npassword = 'corcel-7'\nregister = true\nexpires = '5m'\nprobe = '1s'\n\
                   [[trunks]]\nname = 'b'\ngateways = ['sip:ana@198.51.100.7', 'tel:5', 'sip:198.51.100.7;transport=ws', 'sip:1.2.3.4', 'sip:1.2.3.4']\n\
                   user = 'a b'\n[[trunks]]\nname = 'c'\ngateways = []\nusre = 'corcel'\n\
                   [[trunks]]\nname = 'd'\ngateways = ['sip:1.2.3.4']\nuser = 'x'\npassword = 'corcel-7'\nregister = 'carrier.mx'\nexpires = '5s'\n"
                .into(),
        };
        insta::assert_snapshot!(render_all(&load(&source).unwrap_err(), &[source]));
    }

    #[test]
    fn several_addresses_of_each_kind_are_read() {
        let config = read(
            "[sip]\nlisten = ['0.0.0.0:5060', '[::]:5060']\nlisten_tcp = []\nlisten_tls = '0.0.0.0:5061'\n\
             listen_ws = ['127.0.0.1:8080']\nlisten_wss = ['0.0.0.0:8443', '[::]:8443']\ncertificate = 'chain.pem'\nkey = 'key.pem'\n\
             ca = 'office.pem'\nconnections = 100\nconnections_per_source = 4\nidle = '5m'",
        );
        let sip = config.unwrap().sip;
        let counts = [&sip.listen, sip.tcp(), &sip.listen_tls, &sip.listen_ws, &sip.listen_wss].map(<[_]>::len);
        assert_eq!(counts, [2, 0, 1, 1, 2]);
        let identity = super::super::Identity { certificate: "chain.pem".into(), key: "key.pem".into() };
        assert_eq!((sip.identity, sip.ca), (Some(identity), Some("office.pem".into())));
        assert_eq!((sip.connections, sip.connections_per_source, sip.idle.as_secs()), (100, 4, 300));
    }

    #[test]
    fn every_slip_among_the_listeners_is_shown() {
        let source = SourceFile {
            path: "contesta.toml".into(),
            text: "[sip]\nlisten = ['0.0.0.0:5060', '0.0.0.0:5060', ':5060']\nlisten_tls = '0.0.0.0:5060'\n\
                   listen_ws = ['0.0.0.0:5061', '0.0.0.0:8443']\nlisten_wss = ['0.0.0.0:8443', '[::]:5060']\nidle = '0s'\n\
                   connections = 0\n"
                .into(),
        };
        insta::assert_snapshot!(render_all(&load(&source).unwrap_err(), &[source]));
        for (text, expected) in [
            ("certificate = 'a'", "a certificate needs its «key»"),
            ("key = 'a'", "a key needs its «certificate»"),
            ("listen = []", "nobody can call where nothing listens"),
        ] {
            let faults = read(&format!("[sip]\n{text}")).unwrap_err();
            assert_eq!(faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>(), [expected]);
        }
    }

    /// A moment so far away cannot be written as one: the engine would stop at its first call.
    #[test]
    fn nothing_is_waited_for_longer_than_a_day() {
        for (section, key) in [
            ("limits", "drain"),
            ("limits", "max_call"),
            ("limits", "max_hold"),
            ("rtp", "silence"),
            ("sip", "idle"),
            ("guard", "block"),
            ("guard", "window"),
            ("registrar", "max_expires"),
        ] {
            let read = |value: &str| read(&format!("[{section}]\n{key} = '{value}'"));
            assert!(read("1d").is_ok(), "{key}");
            let faults = read("400000000d").unwrap_err();
            let told: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
            assert_eq!(told, [format!("«{key}» must not be longer than a day")]);
        }
    }

    #[test]
    fn a_store_is_a_server_or_a_file() {
        let sqlite = |path: &str| Ok(StoreUrl::Sqlite(path.into()));
        let postgres = |url: &str| Ok(StoreUrl::Postgres(url.to_owned()));
        for (text, expected) in [
            ("postgres://ana@db/contesta", postgres("postgres://ana@db/contesta")),
            ("postgresql://db/contesta", postgres("postgresql://db/contesta")),
            ("sqlite:///srv/contesta.db", sqlite("/srv/contesta.db")),
            ("sqlite:contesta.db", sqlite("contesta.db")),
            ("data/contesta.db", sqlite("data/contesta.db")),
            ("mysql://db/contesta", Err(NoStore)),
            ("sqlite://", Err(NoStore)),
            ("", Err(NoStore)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = read("[store]\nurl = 'postgres://ana:secret@db/contesta'").unwrap();
        assert_eq!(format!("{:?}", config.store), "postgres://…db/contesta");
    }

    #[test]
    fn every_slip_is_shown() {
        let source = SourceFile {
            path: "contesta.toml".into(),
            text: "[sip]\nlisten = '5060'\nadvertised = '0.0.0.0'\nstrangers = 'refuze'\nsession = '1m'\nport = 5060\n\
                   [rtp]\nports = [20000, 10000]\nsilence = '0s'\n[registrar]\nrealm = 'a \"b\"'\ndigest = 'md6'\n\
                   min_expires = '10m'\nsources = ['10.0.0.1/8']\n[guard]\nrate = 0\nusers = 1\nwindwo = '1m'\n[stroe]\n[store]\nurl = 'mysql://x'\n[limits]\ncalls = 0\n\
                   [[trunks]]\nsources = ['10.1.2.3/16', 'carrier.mx']\n[[trunks]]\nname = 'a'\n\
                   codecs = ['opuss', 'pcmu', 'pcmu', 'g729', 7]\nsrtp = 'offerd'\n[[trunks]]\nname = 'b'\nsources = []\ncodecs = []\n[log]\nformat = 3\n"
                .into(),
        };
        insta::assert_snapshot!(render_all(&load(&source).unwrap_err(), &[source]));
    }
}
