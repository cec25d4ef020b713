//! Questions to the DNS: what `hosts` says, then the name servers, over UDP and, for an answer that is too long, over TCP (RFC 1035 §4.2).
//!
//! Which questions to ask, and how long answers hold, is [`locate`](crate::sip::locate)'s business.
#![expect(clippy::disallowed_methods, reason = "reads the system's own files")]

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::edge::entropy;
use crate::sip::locate::{Answer, Kind, Question, Record};

/// Asks name servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Arc<[SocketAddr]>,
}

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// So often each server is asked.
const ROUNDS: usize = 2;

/// Longest answer over UDP: we announce no more (RFC 1035 §4.2.1), and read what comes all the same.
const DATAGRAM_MAX: usize = 4_096;

/// How long «nothing there» holds where the answer does not say so.
const NOTHING_FOR: Duration = Duration::from_secs(60);

/// Most records of one answer that are looked at.
const RECORDS_MAX: usize = 256;

impl Resolver {
    /// Asks these; without any, those of the system.
    #[must_use]
    pub fn new(servers: &[SocketAddr]) -> Self {
        if servers.is_empty() { Self { servers: system_servers().into() } } else { Self { servers: servers.into() } }
    }

    /// The answer, in a few seconds at most.
    pub async fn ask(&self, question: &Question) -> Answer {
        let known = known_here(question);
        if !known.is_empty() {
            return Answer::Records { records: known, ttl: NOTHING_FOR };
        }
        let mut why = "no name server is known: write «nameservers» in [sip]".to_owned();
        for _ in 0..ROUNDS {
            for server in self.servers.iter() {
                match timeout(PATIENCE, exchange(*server, question)).await {
                    Ok(Ok(answer)) => return answer,
                    Ok(Err(error)) => why = format!("the name server {server}: {error}"),
                    Err(_) => why = format!("the name server {server} does not answer"),
                }
            }
        }
        Answer::Failed(why)
    }
}

async fn exchange(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let id = entropy::number()?;
    let query = query(id, question)?;
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket of its own: its port is as hard to guess as the number (RFC 5452 §9.2).
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut buffer = [0; DATAGRAM_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match read(buffer.get(..length).unwrap_or_default(), id, question) {
            Read::Answer(answer) => return Ok(answer),
            Read::Faulty(why) => return Err(io::Error::other(why)),
            Read::Truncated => break,
            Read::NotOurs => {}
        }
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&query).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    match read(&answer, id, question) {
        Read::Answer(answer) => Ok(answer),
        Read::Faulty(why) => Err(io::Error::other(why)),
        Read::Truncated | Read::NotOurs => Err(io::Error::other("an answer that cannot be read")),
    }
}

fn kind(question: &Question) -> TYPE {
    match question.kind {
        Kind::A => TYPE::A,
        Kind::Aaaa => TYPE::AAAA,
        Kind::Srv => TYPE::SRV,
        Kind::Naptr => TYPE::NAPTR,
    }
}

fn query(id: u16, question: &Question) -> io::Result<Vec<u8>> {
    let name = Name::new(&question.name).map_err(|_| io::Error::other("this is no name"))?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let class = QCLASS::CLASS(CLASS::IN);
    packet.questions.push(simple_dns::Question::new(name, QTYPE::TYPE(kind(question)), class, false));
    packet.build_bytes_vec().map_err(io::Error::other)
}

enum Read {
    Answer(Answer),
    /// The server says that it cannot answer.
    Faulty(String),
    /// There is more over TCP.
    Truncated,
    /// Not the answer to this question.
    NotOurs,
}

fn read(bytes: &[u8], id: u16, question: &Question) -> Read {
    let Ok(packet) = Packet::parse(bytes) else { return Read::NotOurs };
    let asked = packet
        .questions
        .first()
        .is_some_and(|first| plain(&first.qname) == question.name && first.qtype == QTYPE::TYPE(kind(question)));
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !asked {
        return Read::NotOurs;
    }
    let code = packet.rcode();
    if !matches!(code, RCODE::NoError | RCODE::NameError) {
        return Read::Faulty(format!("{code:?}"));
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Read::Truncated;
    }
    // The name itself, and what it is another name for (RFC 1034 §3.6.2).
    let mut names = BTreeSet::from([question.name.clone()]);
    let mut ttl = u32::MAX;
    let mut records = Vec::new();
    for record in packet.answers.iter().take(RECORDS_MAX) {
        if !names.contains(&plain(&record.name)) {
            continue;
        }
        let read = match (&record.rdata, question.kind) {
            (RData::CNAME(other), _) => {
                names.insert(plain(&other.0));
                ttl = ttl.min(record.ttl);
                continue;
            }
            (RData::A(a), Kind::A) => Record::Address(Ipv4Addr::from(a.address).into()),
            (RData::AAAA(aaaa), Kind::Aaaa) => Record::Address(Ipv6Addr::from(aaaa.address).into()),
            (RData::SRV(srv), Kind::Srv) => {
                Record::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: plain(&srv.target) }
            }
            (RData::NAPTR(naptr), Kind::Naptr) => Record::Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: naptr.flags.to_string(),
                service: naptr.services.to_string(),
                replacement: plain(&naptr.replacement),
            },
            _ => continue,
        };
        ttl = ttl.min(record.ttl);
        records.push(read);
    }
    if records.is_empty() {
        // RFC 2308 §5: the SOA says for how long.
        let told = packet.name_servers.iter().find_map(|record| {
            let RData::SOA(soa) = &record.rdata else { return None };
            Some(record.ttl.min(soa.minimum))
        });
        let ttl = told.map_or(NOTHING_FOR, |seconds| Duration::from_secs(seconds.into()));
        return Read::Answer(Answer::Nothing { ttl });
    }
    Read::Answer(Answer::Records { records, ttl: Duration::from_secs(ttl.into()) })
}

fn plain(name: &Name<'_>) -> String {
    name.to_string().trim_end_matches('.').to_ascii_lowercase()
}

/// Addresses that this machine knows by itself: `localhost` (RFC 6761 §6.3), and what stands in `/etc/hosts`.
fn known_here(question: &Question) -> Vec<Record> {
    let wanted = |address: &IpAddr| match question.kind {
        Kind::A => address.is_ipv4(),
        Kind::Aaaa => address.is_ipv6(),
        Kind::Srv | Kind::Naptr => false,
    };
    let local = question.name == "localhost" || question.name.ends_with(".localhost");
    let mut found: Vec<IpAddr> = Vec::new();
    if local {
        found.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    } else {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
            if words.any(|name| name.eq_ignore_ascii_case(&question.name)) {
                found.push(address);
            }
        }
    }
    found.into_iter().filter(wanted).map(Record::Address).collect()
}

/// The system's name servers, in their order.
fn system_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        // An IPv6 address may name the interface behind a «%», which we cannot use.
        (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    servers.map(|address| SocketAddr::new(address, 53)).take(3).collect()
}
