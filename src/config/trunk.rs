//! `[[trunks]]`: the neighbours that we have calls with.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Network;
use super::caller_id::{self, CallerId};
use super::load::{advertised, at_most_a_day, count, networks, one_of, waiting};
use super::numbers::{self, Numbers};
use crate::audio::Codec;
use crate::document::{Fields, Place};
use crate::fault::Fault;
use crate::sdp::{SrtpPolicy, Terms};
use crate::sip::locate::Server;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::{Peer, Transport};

/// A neighbour that we have calls with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Name, for logs and records.
    pub name: String,
    /// Its addresses; those of its gateways are known beside them.
    pub sources: Vec<Network>,
    /// Where the called number stands.
    pub called_from: CalledFrom,
    /// The address this trunk reaches us at, when it differs from [`Sip::advertised`](super::Sip::advertised).
    pub advertised: Option<IpAddr>,
    /// Whether its calls may share sockets.
    pub audio: Audio,
    /// Their codecs, and whether they are encrypted.
    pub terms: Arc<Terms>,
    /// Where requests to it go, the best first; none for a neighbour that only calls us.
    pub gateways: Vec<Gateway>,
    /// Who we are to it, when it asks.
    pub credentials: Option<Credentials>,
    /// The URI to register at, when its calls come to where we register from.
    pub register: Option<String>,
    /// How long a registration is to last.
    pub expires: Duration,
    /// Time between two OPTIONS to a gateway; `None` sends none.
    pub probe: Option<Duration>,
    /// What may be called through it, and how numbers are written.
    pub numbers: Numbers,
    /// Who our calls are from.
    pub caller_id: CallerId,
    /// Calls at the same time, both ways together; `None`: as many as the machine takes.
    pub max_calls: Option<u32>,
    /// New calls a second, both ways together; `None`: as they come.
    pub calls_per_second: Option<u32>,
}

impl Trunk {
    /// A trunk of this name and these addresses, with the defaults of everything else.
    #[must_use]
    pub fn named(name: &str, sources: Vec<Network>) -> Self {
        Self {
            name: name.to_owned(),
            sources,
            called_from: CalledFrom::RequestUri,
            advertised: None,
            audio: Audio::Own,
            terms: Arc::default(),
            gateways: Vec::new(),
            credentials: None,
            register: None,
            expires: EXPIRES,
            probe: None,
            numbers: Numbers::default(),
            caller_id: CallerId::default(),
            max_calls: None,
            calls_per_second: None,
        }
    }
}

/// Where the audio of a trunk's calls arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audio {
    /// At a port a call, from wherever it comes: whoever sends first is believed, for phones behind a NAT.
    Own,
    /// At ports that many calls share, from the address that each call's SDP names and nowhere else: for carriers.
    Shared,
}

/// Which part of an INVITE holds the called number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledFrom {
    /// The user part of the request URI (RFC 3261 §8.1.1.1).
    RequestUri,
    /// The user part of To: some trunks put a fixed account into the request URI.
    To,
    /// P-Called-Party-ID (RFC 7315 §4.2), where a network put the registered address into the request URI.
    PCalledPartyId,
    /// Who diverted the call to us last (RFC 5806 §4).
    Diversion,
    /// Who was called first (RFC 7044 §5).
    HistoryInfo,
}

impl CalledFrom {
    /// As files name them.
    pub const NAMES: [(&str, Self); 5] = [
        ("request_uri", Self::RequestUri),
        ("to", Self::To),
        ("p_called_party_id", Self::PCalledPartyId),
        ("diversion", Self::Diversion),
        ("history_info", Self::HistoryInfo),
    ];
}

pub(super) fn read(place: Place<'_>, faults: &mut Vec<Fault>) -> Vec<Trunk> {
    let mut trunks: Vec<Trunk> = Vec::new();
    for place in place.list(faults) {
        let Some(mut fields) = place.fields(faults) else { continue };
        let name = fields.required("name", faults).and_then(|place| Some((place.text(faults)?, place)));
        let sources_place = fields.optional("sources");
        let mut sources = sources_place.map(|place| networks(place, faults)).unwrap_or_default();
        let called_from = fields.optional("called_from");
        let called_from = one_of(called_from, &CalledFrom::NAMES, faults).unwrap_or(CalledFrom::RequestUri);
        let advertised = advertised(&mut fields, faults);
        let lines = [("own", Audio::Own), ("shared", Audio::Shared)];
        let audio = one_of(fields.optional("audio"), &lines, faults).unwrap_or(Audio::Own);
        let codecs = codecs(fields.optional("codecs"), faults);
        let policies = [("off", SrtpPolicy::Off), ("offered", SrtpPolicy::Offered), ("required", SrtpPolicy::Required)];
        let srtp = one_of(fields.optional("srtp"), &policies, faults).unwrap_or_default();
        let terms = Arc::new(Terms { codecs, srtp, ..Terms::default() });
        let gateways = gateways(&mut fields, faults);
        // A gateway calls us from where we call it.
        sources.extend(gateways.iter().filter_map(|gateway| Some(Network::host(gateway.literal()?.address.ip()))));
        let probe = at_most_a_day(&mut fields, "probe", faults);
        let (credentials, register, expires) = account(&mut fields, &gateways, faults);
        if sources_place.is_none() && gateways.is_empty() && fields.name("gateways").is_none() {
            let fault = fields.place().fault("«sources» is missing: whom do calls of this trunk come from?");
            faults.push(fault.suggest("sources = [\"198.51.100.0/24\"], or gateways = [\"sip:carrier.example\"]"));
        }
        let (numbers, caller_id) = (numbers::read(&mut fields, faults), caller_id::read(&mut fields, faults));
        let max_calls = count(&mut fields, "max_calls", 1..=1_000_000, faults);
        let calls_per_second = count(&mut fields, "calls_per_second", 1..=100_000, faults);
        for key in ["probe", "allow"].into_iter().filter(|_| gateways.is_empty() && fields.name("gateways").is_none()) {
            if let Some(name) = fields.name(key) {
                faults.push(name.fault(format!("«{key}» needs «gateways»")));
            }
        }
        for key in ["prefix", "caller", "domain"].into_iter().filter(|_| fields.name("allow").is_none()) {
            if let Some(name) = fields.name(key) {
                let fault = name.fault(format!("«{key}» needs «allow»: without it nobody is called by this trunk"));
                faults.push(fault.suggest("allow = [\"55XXXXXXXX\", \"81XXXXXXXX\"] names the numbers of two areas"));
            }
        }
        let probe = probe.map_or(PROBE, |(_, probe)| probe);
        let probe = (!gateways.is_empty() && !probe.is_zero()).then_some(probe);
        fields.finish(faults);
        let Some((name, place)) = name else { continue };
        if trunks.iter().any(|other| other.name == name) {
            faults.push(place.fault(format!("another trunk is called «{name}» already")));
        }
        trunks.push(Trunk {
            name: name.to_owned(),
            sources,
            called_from,
            advertised,
            audio,
            terms,
            gateways,
            credentials,
            register,
            expires,
            probe,
            numbers,
            caller_id,
            max_calls,
            calls_per_second,
        });
    }
    trunks
}

/// A gateway: a SIP URI without a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// As it is written.
    pub uri: String,
    /// Its host: a name, or an address without brackets.
    pub host: String,
    /// Its port, if written.
    pub port: Option<u16>,
    /// What it is to be reached over, if the URI says so; a SIPS URI does.
    pub transport: Option<Transport>,
}

/// Who we are to a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The account: the user part of what we register, and of From where a carrier wants it.
    pub user: String,
    /// The name of digest, when it is another.
    pub auth_user: Option<String>,
    /// What proves it.
    pub password: Password,
}

/// A password, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Gateway {
    /// Reads a URI.
    ///
    /// # Errors
    /// What is wrong with it, for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri = Uri::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err("expected a SIP URI".into());
        }
        if uri.user.is_some() || !uri.headers.is_empty() {
            return Err("a gateway is a host: it has no user and no headers".into());
        }
        let transport = match Transport::of_uri(&uri) {
            Ok(transport @ (None | Some(Transport::Udp | Transport::Tcp | Transport::Tls))) => transport,
            Ok(Some(Transport::Ws | Transport::Wss)) | Err(_) => {
                return Err("a carrier is reached over udp, tcp or tls".into());
            }
        };
        let host = match uri.host {
            Some(host) => match host.address() {
                Some(address) => address.to_string(),
                None => String::from_utf8_lossy(host_name(&host)).into_owned(),
            },
            None => return Err("a gateway is a host".into()),
        };
        Ok(Self { uri: text.to_owned(), host, port: uri.port, transport })
    }

    /// What is to be located.
    #[must_use]
    pub fn server(&self) -> Server<'_> {
        Server { host: &self.host, port: self.port, transport: self.transport }
    }

    /// Where it is, when it is written as an address.
    #[must_use]
    pub fn literal(&self) -> Option<Peer> {
        let address: IpAddr = self.host.parse().ok()?;
        let transport = self.transport.unwrap_or(Transport::Udp);
        Some(Peer::new(transport, SocketAddr::new(address, self.port.unwrap_or(transport.default_port()))))
    }
}

fn host_name<'a>(host: &crate::sip::uri::Host<'a>) -> &'a [u8] {
    match host {
        crate::sip::uri::Host::Name(text) | crate::sip::uri::Host::V6(text) => text,
        crate::sip::uri::Host::V4(_) => b"",
    }
}

/// Most gateways of one trunk.
const GATEWAYS_MAX: usize = 8;

/// How often a gateway is asked whether it is there.
const PROBE: Duration = Duration::from_secs(30);

/// How long a registration is asked for. Through a NAT the way back stays open no longer than its refresh, half of this.
const EXPIRES: Duration = Duration::from_secs(600);

fn gateways(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> Vec<Gateway> {
    let Some(place) = fields.optional("gateways") else { return Vec::new() };
    let before = faults.len();
    let mut gateways: Vec<Gateway> = Vec::new();
    for (text, place) in place.texts(faults) {
        match Gateway::parse(text) {
            Ok(gateway) if gateways.contains(&gateway) => faults.push(place.fault("this gateway is named twice")),
            Ok(gateway) => gateways.push(gateway),
            Err(why) => faults.push(
                place
                    .fault(why)
                    .suggest("write \"sip:sbc.carrier.example\" or \"sip:198.51.100.7:5060;transport=tcp\""),
            ),
        }
    }
    if faults.len() == before && (gateways.is_empty() || gateways.len() > GATEWAYS_MAX) {
        faults.push(place.fault(format!("expected 1 to {GATEWAYS_MAX} gateways, like [\"sip:carrier.example\"]")));
    }
    gateways
}

/// `user`, `auth_user`, `password`, `register` and `expires`: who we are, and whether we register. No fault repeats what it found.
fn account(
    fields: &mut Fields<'_>,
    gateways: &[Gateway],
    faults: &mut Vec<Fault>,
) -> (Option<Credentials>, Option<String>, Duration) {
    let mut text = |key, what: &str| {
        let place = fields.optional(key)?;
        let text = place.text(faults)?;
        let legal =
            |c: char| !c.is_control() && (key == "password" || c.is_ascii_graphic() && !"@<>\"\\;?".contains(c));
        if text.is_empty() || !text.chars().all(legal) {
            faults.push(place.fault(what));
        }
        Some(text.to_owned())
    };
    let user = text("user", "a user is what stands before the @ of our address, without blanks");
    let auth_user = text("auth_user", "a user is a word of printable ASCII");
    let password = text("password", "a password has one character at least, and no control characters");
    let needs = |other: &str, key: &str, fields: &Fields<'_>, faults: &mut Vec<Fault>| {
        if let Some(name) = fields.name(key) {
            faults.push(name.fault(format!("«{key}» needs «{other}»")));
        }
    };
    if user.is_none() {
        ["auth_user", "password", "register"].iter().for_each(|key| needs("user", key, fields, faults));
    }
    if password.is_none() {
        ["user"].iter().for_each(|key| needs("password", key, fields, faults));
    }
    let register = fields.optional("register").and_then(|place| registrar(place, gateways, faults));
    let expires = waiting(fields, "expires", faults);
    if let (Some(expires), Some(name)) = (expires, fields.name("expires")) {
        if expires < EXPIRES_MIN {
            faults.push(name.fault(format!("«expires» is {} seconds at least", EXPIRES_MIN.as_secs())));
        } else if register.is_none() {
            faults.push(name.fault("«expires» needs «register»"));
        }
    }
    let credentials =
        user.zip(password).map(|(user, password)| Credentials { user, auth_user, password: Password(password) });
    (credentials, register, expires.unwrap_or(EXPIRES))
}

/// Shorter registrations than this are refreshed more often than lost datagrams are sent again.
const EXPIRES_MIN: Duration = Duration::from_secs(60);

/// `true` registers at the first gateway's host; a URI names the carrier's domain, when it is another.
fn registrar(place: Place<'_>, gateways: &[Gateway], faults: &mut Vec<Fault>) -> Option<String> {
    if gateways.is_empty() {
        faults.push(place.fault("«register» needs «gateways»: where does the request go?"));
        return None;
    }
    if place.is_text() {
        let text = place.text(faults)?;
        return match Gateway::parse(text) {
            Ok(_) => Some(text.to_owned()),
            Err(why) => {
                faults.push(place.fault(why).suggest("write \"sip:carrier.example\""));
                None
            }
        };
    }
    if !place.flag(faults)? {
        return None;
    }
    let first = gateways.first()?;
    let host = if first.host.contains(':') { format!("[{}]", first.host) } else { first.host.clone() };
    Some(format!("sip:{host}"))
}

/// The codecs that are taken, the best first; each once, and one at least.
fn codecs(place: Option<Place<'_>>, faults: &mut Vec<Fault>) -> Vec<Codec> {
    let Some(place) = place else { return Vec::new() };
    let known = Codec::ALL.map(|codec| (codec.encoding_name().to_lowercase(), codec));
    let known: Vec<(&str, Codec)> = known.iter().map(|(name, codec)| (name.as_str(), *codec)).collect();
    let before = faults.len();
    let mut codecs: Vec<Codec> = Vec::new();
    for place in place.list(faults) {
        match one_of(Some(place), &known, faults) {
            Some(codec) if codecs.contains(&codec) => faults.push(place.fault("this codec is named twice")),
            Some(codec) => codecs.push(codec),
            None => {}
        }
    }
    if codecs.is_empty() && faults.len() == before {
        faults.push(place.fault("expected a codec at least, like [\"pcmu\"]"));
    }
    codecs
}
