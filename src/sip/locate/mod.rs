//! Locating SIP servers (RFC 3263): from a URI and what the DNS says to the addresses to try, in their order. Read §4 first.
//!
//! [`locate`] asks nobody. It is handed what is known, and says what has to be asked before it can go on; whoever asks calls it again with
//! more. [`Cache`] keeps the answers. `selection` is the order of SRV records (RFC 2782).

mod cache;
mod selection;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

pub use cache::{Answer, Cache, Kind, Question, Record};

use crate::ids::Ids;
use crate::sip::transport::{Peer, Transport};

/// What a URI says of its server (RFC 3263 §4.1, §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// Its host: a name, or an address without brackets.
    pub host: &'a str,
    /// Its port, if written.
    pub port: Option<u16>,
    /// What it is to be reached over, if the URI says so.
    pub transport: Option<Transport>,
}

/// What we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// We reach IPv4 addresses.
    pub v4: bool,
    /// We reach IPv6 addresses.
    pub v6: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// These have to be asked first.
    Missing(Vec<Question>),
    /// To be tried in this order, each once; none when the name leads nowhere.
    Known {
        /// Where to.
        peers: Vec<Peer>,
        /// Until when the answers hold; `None` for an address.
        until: Option<Instant>,
        /// What the DNS could not tell, for whoever looks for the reason.
        faults: Vec<String>,
    },
}

/// Most NAPTR records, and most SRV records, that are followed.
const RECORDS_MAX: usize = 16;

/// Most addresses of one server.
const PEERS_MAX: usize = 32;

/// Where to send requests for this server.
#[must_use]
pub fn locate(server: &Server<'_>, able: Abilities, now: Instant, cache: &Cache, ids: &mut Ids) -> Located {
    let mut search =
        Search { able, now, cache, missing: Vec::new(), until: None, faults: BTreeSet::new(), peers: Vec::new() };
    search.server(server, ids);
    let Search { missing, until, faults, peers, .. } = search;
    match missing.is_empty() {
        true => Located::Known { peers, until, faults: faults.into_iter().collect() },
        false => Located::Missing(missing),
    }
}

struct Search<'a> {
    able: Abilities,
    now: Instant,
    cache: &'a Cache,
    missing: Vec<Question>,
    until: Option<Instant>,
    faults: BTreeSet<String>,
    peers: Vec<Peer>,
}

impl Search<'_> {
    fn server(&mut self, server: &Server<'_>, ids: &mut Ids) {
        let assumed = server.transport.unwrap_or(Transport::Udp);
        if let Ok(address) = server.host.parse::<IpAddr>() {
            // RFC 3263 §4.2: an address is asked of nobody.
            return self.found(assumed, SocketAddr::new(address, server.port.unwrap_or(assumed.default_port())));
        }
        if let Some(port) = server.port {
            return self.addresses(server.host, assumed, port);
        }
        let services = match server.transport {
            Some(transport) => vec![(transport, format!("{}.{}", prefix(transport), server.host))],
            None => self.services(server.host),
        };
        let mut any = false;
        for (transport, name) in services {
            any |= self.service(&name, transport, ids);
        }
        if !any && self.missing.is_empty() {
            // RFC 3263 §4.2: no SRV record, so the name is the server's own.
            self.addresses(server.host, assumed, assumed.default_port());
        }
    }

    /// The transports that a domain offers, in the order of its NAPTR records; without any, those that we speak (RFC 3263 §4.1).
    fn services(&mut self, domain: &str) -> Vec<(Transport, String)> {
        let mut offered: Vec<(u16, u16, Transport, String)> = Vec::new();
        for record in self.ask(domain, Kind::Naptr).into_iter().take(RECORDS_MAX) {
            let Record::Naptr { order, preference, flags, service, replacement } = record else { continue };
            let transport = match service.to_ascii_uppercase().as_str() {
                "SIP+D2U" => Transport::Udp,
                "SIP+D2T" => Transport::Tcp,
                "SIPS+D2T" => Transport::Tls,
                _ => continue,
            };
            if flags.eq_ignore_ascii_case("s") && !replacement.is_empty() {
                offered.push((order, preference, transport, replacement));
            }
        }
        if !self.missing.is_empty() {
            return Vec::new();
        }
        offered.sort_by_key(|(order, preference, ..)| (*order, *preference));
        if offered.is_empty() {
            let own = [Transport::Udp, Transport::Tcp, Transport::Tls];
            return own.map(|transport| (transport, format!("{}.{domain}", prefix(transport)))).to_vec();
        }
        offered.into_iter().map(|(_, _, transport, name)| (transport, name)).collect()
    }

    /// The hosts of a service. Whether it has any, or says that it has none.
    fn service(&mut self, name: &str, transport: Transport, ids: &mut Ids) -> bool {
        let records = self.ask(name, Kind::Srv);
        let mut hosts = Vec::new();
        let mut any = false;
        for record in records.into_iter().take(RECORDS_MAX) {
            let Record::Srv { priority, weight, port, target } = record else { continue };
            any = true;
            // RFC 2782: a target of «.» says that the service is not there.
            if !target.is_empty() {
                hosts.push(selection::Host { priority, weight, port, target });
            }
        }
        for host in selection::order(hosts, ids) {
            self.addresses(&host.target, transport, host.port);
        }
        any
    }

    fn addresses(&mut self, name: &str, transport: Transport, port: u16) {
        for (able, kind) in [(self.able.v4, Kind::A), (self.able.v6, Kind::Aaaa)] {
            if !able {
                continue;
            }
            for record in self.ask(name, kind) {
                if let Record::Address(address) = record {
                    self.found(transport, SocketAddr::new(address, port));
                }
            }
        }
    }

    fn found(&mut self, transport: Transport, address: SocketAddr) {
        let peer = Peer::new(transport, address);
        if !self.peers.contains(&peer)
            && self.peers.len() < PEERS_MAX
            && !address.ip().is_unspecified()
            && address.port() != 0
        {
            self.peers.push(peer);
        }
    }

    fn ask(&mut self, name: &str, kind: Kind) -> Vec<Record> {
        let question = Question::new(name, kind);
        let Some((answer, until)) = self.cache.get(self.now, &question) else {
            if !self.missing.contains(&question) {
                self.missing.push(question);
            }
            return Vec::new();
        };
        self.until = Some(self.until.map_or(until, |known| known.min(until)));
        match answer {
            Answer::Records { records, .. } => records.clone(),
            Answer::Nothing { .. } => Vec::new(),
            Answer::Failed(why) => {
                self.faults.insert(format!("{question}: {why}"));
                Vec::new()
            }
        }
    }
}

fn prefix(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp | Transport::Ws => "_sip._tcp",
        Transport::Tls | Transport::Wss => "_sips._tcp",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use std::time::Duration;

    use super::*;

    /// A zone as lines of `name KIND data…`; what it does not hold does not exist. Gives where to go and what was asked.
    fn search(zone: &str, server: &Server<'_>, able: Abilities) -> (Vec<String>, Vec<String>) {
        let (now, mut cache, mut ids) = (Instant::now(), Cache::default(), Ids::from_seed(1));
        let mut asked = Vec::new();
        loop {
            match locate(server, able, now, &cache, &mut ids) {
                Located::Known { peers, .. } => return (peers.iter().map(ToString::to_string).collect(), asked),
                Located::Missing(questions) => {
                    assert!(!questions.is_empty() && asked.len() < 100);
                    for question in questions {
                        asked.push(question.to_string());
                        let records: Vec<Record> = zone.lines().filter_map(|line| record(line, &question)).collect();
                        let ttl = Duration::from_secs(60);
                        let answer =
                            if records.is_empty() { Answer::Nothing { ttl } } else { Answer::Records { records, ttl } };
                        cache.insert(now, question, answer);
                    }
                }
            }
        }
    }

    fn record(line: &str, question: &Question) -> Option<Record> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u16>().unwrap();
        if words.first() != Some(&question.name.as_str()) || words[1] != question.kind.name() {
            return None;
        }
        Some(match question.kind {
            Kind::A | Kind::Aaaa => Record::Address(words[2].parse().unwrap()),
            Kind::Srv => Record::Srv {
                priority: number(2),
                weight: number(3),
                port: number(4),
                target: words[5].trim_end_matches('.').into(),
            },
            Kind::Naptr => Record::Naptr {
                order: number(2),
                preference: number(3),
                flags: "s".into(),
                service: words[4].into(),
                replacement: words[5].into(),
            },
        })
    }

    const V4: Abilities = Abilities { v4: true, v6: false };

    fn domain(host: &str) -> Server<'_> {
        Server { host, port: None, transport: None }
    }

    /// The example of RFC 3263 §4.1, and what we do with records that lead nowhere.
    #[test]
    fn a_domain_says_which_transports_it_takes_and_where() {
        let zone = "example.com NAPTR 50 50 SIPS+D2T _sips._tcp.example.com\nexample.com NAPTR 90 50 SIP+D2T _sip._tcp.example.com\n\
                    example.com NAPTR 100 50 SIP+D2U _sip._udp.example.com\nexample.com NAPTR 10 1 SIP+D2S _sip._sctp.example.com\n\
                    _sip._tcp.example.com SRV 0 1 5060 server1.example.com\n_sip._tcp.example.com SRV 1 2 5062 server2.example.com\n\
                    server1.example.com A 192.0.2.1\nserver2.example.com A 192.0.2.2\n_sip._udp.example.com SRV 0 1 5060 .";
        let (peers, asked) = search(zone, &domain("example.com"), V4);
        assert_eq!(peers, ["tcp:192.0.2.1:5060", "tcp:192.0.2.2:5062"]);
        assert_eq!(
            asked,
            [
                "example.com NAPTR",
                "_sips._tcp.example.com SRV",
                "_sip._tcp.example.com SRV",
                "_sip._udp.example.com SRV",
                "server1.example.com A",
                "server2.example.com A"
            ]
        );
    }

    #[test]
    fn what_the_uri_says_is_not_asked() {
        let zone = "sbc.example A 192.0.2.1\nsbc.example A 192.0.2.2\nsbc.example AAAA 2001:db8::1\n\
                    _sips._tcp.sbc.example SRV 0 0 5071 tls.example\ntls.example A 192.0.2.9";
        for (port, transport, expected, questions) in [
            (Some(5070), None, vec!["udp:192.0.2.1:5070", "udp:192.0.2.2:5070"], 1),
            (Some(5070), Some(Transport::Tcp), vec!["tcp:192.0.2.1:5070", "tcp:192.0.2.2:5070"], 1),
            (None, Some(Transport::Tls), vec!["tls:192.0.2.9:5071"], 2),
            // No SRV record: the name is the host's own.
            (None, Some(Transport::Tcp), vec!["tcp:192.0.2.1:5060", "tcp:192.0.2.2:5060"], 2),
        ] {
            let (peers, asked) = search(zone, &Server { host: "sbc.example", port, transport }, V4);
            assert_eq!((peers, asked.len()), (expected.into_iter().map(str::to_owned).collect(), questions));
        }
        let both = Abilities { v4: true, v6: true };
        let (peers, _) = search(zone, &Server { port: Some(5060), ..domain("sbc.example") }, both);
        assert_eq!(peers, ["udp:192.0.2.1:5060", "udp:192.0.2.2:5060", "udp:[2001:db8::1]:5060"]);
        let (peers, asked) = search("", &domain("2001:db8::7"), V4);
        assert_eq!((peers, asked.len()), (vec!["udp:[2001:db8::7]:5060".to_owned()], 0));
    }

    #[test]
    fn a_plain_name_without_records_of_services_is_a_host_at_the_usual_port() {
        let (peers, asked) = search("host.example A 192.0.2.1", &domain("HOST.example."), V4);
        assert_eq!((peers, asked.len()), (vec!["udp:192.0.2.1:5060".to_owned()], 5));
        assert_eq!(search("", &domain("nobody.example"), V4).0, Vec::<String>::new());
    }

    #[test]
    fn records_without_end_are_bounded() {
        let many: String = (0..100).map(|n| format!("_sip._udp.x SRV {n} 0 5060 h{n}\nh{n} A 192.0.2.{n}\n")).collect();
        let (peers, _) = search(&many, &Server { transport: Some(Transport::Udp), ..domain("x") }, V4);
        assert_eq!(peers.len(), RECORDS_MAX);
    }
}
