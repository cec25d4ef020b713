//! A carrier in simulated time: a user agent with a registrar of its own, that may fall silent or refuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contesta::ids::Ids;
use contesta::sip::digest::{Algorithm, Ha1};
use contesta::sip::message::{Message, StartLine};
use contesta::sip::registrar::{Account, Accounts, Offers, Registrar, Settings as Grants};
use contesta::sip::user_agent::Settings;
use contesta::sip::writer::Writer;
use contesta::sip::{Action, Method, Peer, UserAgent};

use super::{Happening, Sim, US};

/// The carrier's account for us.
pub const USER: &str = "5255001122";
pub const PASSWORD: &str = "corcel-7-nube";

pub struct Carrier {
    pub address: SocketAddr,
    pub agent: UserAgent,
    /// Nothing that comes is read.
    pub silent: bool,
    /// Every request is refused with this.
    pub refuses: Option<u16>,
    /// Requests that came, each copy: method and moment in ms.
    pub requests: Vec<(Method, u64)>,
}

impl Sim {
    /// A carrier at this address that grants `grants` seconds at least and at most.
    pub fn carrier(&mut self, address: &str, offers: Offers, grants: (u64, u64)) -> usize {
        let address: SocketAddr = address.parse().unwrap();
        let secrets = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, USER, "carrier", PASSWORD)).to_vec();
        let account = Account { user: USER.into(), operator: "x".into(), offers, secrets };
        let accounts = Arc::new(Accounts::new("carrier", offers, [account]));
        let (min_expires, max_expires) = (Duration::from_secs(grants.0), Duration::from_secs(grants.1));
        let settings = Grants { min_expires, max_expires, ..Grants::default() };
        let seed = 700 + u64::from(address.port()) + self.carriers.len() as u64;
        let registrar = Registrar::new(self.now.instant, settings, accounts, &mut Ids::from_seed(seed));
        let agent = UserAgent::new(Settings::new(address), Ids::from_seed(seed)).with_registrar(registrar);
        self.carriers.push(Carrier { address, agent, silent: false, refuses: None, requests: Vec::new() });
        self.carriers.len() - 1
    }

    pub(super) fn carrier_receives(&mut self, to: SocketAddr, bytes: &Bytes) {
        let (now, ms) = (self.now.instant, self.ms());
        let Some(carrier) = self.carriers.iter_mut().find(|carrier| carrier.address == to) else { return };
        let message = Message::scan(bytes.clone()).unwrap();
        if let StartLine::Request { method, .. } = message.start_line() {
            carrier.requests.push((method, ms));
        }
        let source = Peer::udp(US.parse().unwrap());
        let mut actions = Vec::new();
        match carrier.refuses {
            _ if carrier.silent => {}
            Some(status) => {
                let mut writer = Writer::response(&message, None, source.address, status, Some("t"));
                writer.text("Retry-After", "120");
                actions.push(Action::Send { destination: source, message: writer.finish("", b"") });
            }
            None => carrier.agent.handle_message(now, source, bytes.clone(), &mut actions),
        }
        self.carrier_sends(to, actions);
    }

    fn carrier_sends(&mut self, from: SocketAddr, actions: Vec<Action>) {
        for action in actions {
            let Action::Send { destination, message } = action else { continue };
            assert_eq!(destination.address, US.parse().unwrap());
            for after in self.fates(self.sip_weather) {
                self.later(after, Happening::SipToEngine(from, message.clone()));
            }
        }
    }

    pub(super) fn carriers_wake(&mut self) {
        for index in 0..self.carriers.len() {
            let (mut actions, carrier) = (Vec::new(), &mut self.carriers[index]);
            carrier.agent.handle_timeout(self.now.instant, &mut actions);
            let address = carrier.address;
            self.carrier_sends(address, actions);
        }
    }
}
