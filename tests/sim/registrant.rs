//! A softphone of the simulation that registers: it repeats what is not answered, answers challenges, and refreshes in time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use contesta::sip::digest::{Answers, Login};
use contesta::sip::message::Message;

use super::{Happening, Sim};
use crate::peer::{header, status};

/// T1 of RFC 3261 §17.1.1.1, and T2 of §17.1.2.1.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// One softphone.
pub struct Registrant {
    pub user: String,
    pub address: SocketAddr,
    pub contact: String,
    /// Seconds it asks for.
    pub expires: u32,
    /// Registers again at half of what it was granted.
    pub refreshes: bool,
    /// The final answers to its REGISTERs, challenges that it answered left out.
    pub finals: Vec<u16>,
    /// The last message that came.
    pub last: Bytes,
    pub messages: u32,
    answers: Answers,
    cseq: u32,
    /// The request that waits for its answer, and whether it carries credentials.
    waiting: Option<(Bytes, bool)>,
    /// Tells the timers of one request from those of the next.
    turn: u64,
}

/// What a softphone's timers are for.
#[derive(Clone, Copy)]
pub enum Wake {
    Repeat { after: Duration, left: Duration },
    Refresh,
}

impl Sim {
    /// A new softphone.
    pub fn registrant(&mut self, user: &str, password: &str, address: &str) -> usize {
        let number = self.registrants.len();
        let address: SocketAddr = address.parse().unwrap();
        self.desks.insert(address, number);
        self.registrants.push(Registrant {
            user: user.to_owned(),
            address,
            contact: format!("<sip:{user}@192.168.1.5:5060>"),
            expires: 3_600,
            refreshes: true,
            finals: Vec::new(),
            last: Bytes::new(),
            messages: 0,
            answers: Answers::new(Login { user: user.to_owned(), password: password.to_owned() }),
            cseq: 0,
            waiting: None,
            turn: 0,
        });
        number
    }

    /// Sends a REGISTER, and again until it is answered.
    pub fn register(&mut self, number: usize) {
        self.send_register(number);
    }

    fn send_register(&mut self, number: usize) {
        let cnonce = self.dice.token(8);
        let one = &mut self.registrants[number];
        one.cseq += 1;
        one.turn += 1;
        let credentials = one.answers.answer(b"REGISTER", b"sip:contesta", &cnonce);
        let carries = credentials.is_some();
        let credentials = credentials.map(|(name, value)| format!("{name}: {}\r\n", String::from_utf8(value).unwrap()));
        let Registrant { user, address, contact, expires, cseq, turn, .. } = &*one;
        let text = format!(
            "REGISTER sip:contesta SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.5;branch=z9hG4bK{user}{address}{turn};rport\r\n\
             From: <sip:{user}@contesta>;tag=1\r\nTo: <sip:{user}@contesta>\r\nCall-ID: {user}{address}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: {contact};expires={expires}\r\nMax-Forwards: 70\r\n{}Content-Length: 0\r\n\r\n",
            credentials.unwrap_or_default()
        );
        one.waiting = Some((Bytes::from(text), carries));
        self.registrant_wakes(number, self.registrants[number].turn, Wake::Repeat { after: T1, left: 64 * T1 });
    }

    pub(super) fn registrant_wakes(&mut self, number: usize, turn: u64, wake: Wake) {
        let one = &self.registrants[number];
        if one.turn != turn {
            return;
        }
        match (wake, &one.waiting) {
            (Wake::Refresh, _) if one.refreshes => self.send_register(number),
            (Wake::Repeat { after, left }, Some((bytes, _))) => {
                self.send_from(one.address, bytes.clone());
                if let Some(left) = left.checked_sub(after) {
                    let wake = Wake::Repeat { after: (after * 2).min(T2), left };
                    self.later(after, Happening::Registrant { number, turn, wake });
                }
            }
            (Wake::Refresh | Wake::Repeat { .. }, _) => {}
        }
    }

    /// A message from anywhere, through the network.
    pub fn send_from(&mut self, source: SocketAddr, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        for after in self.fates(self.sip_weather) {
            self.later(after, Happening::SipToEngine(source, bytes.clone()));
        }
    }

    pub(super) fn registrant_receives(&mut self, number: usize, bytes: &Bytes) {
        let one = &mut self.registrants[number];
        (one.last, one.messages) = (bytes.clone(), one.messages + 1);
        let ours = header(bytes, "CSeq") == Some(format!("{} REGISTER", one.cseq));
        let (Some((_, carried)), true) = (&one.waiting, ours && status(bytes) >= 200) else { return };
        let carried = *carried;
        one.waiting = None;
        let challenged =
            status(bytes) == 401 && one.answers.challenged(&Message::scan(bytes.clone()).unwrap(), carried).is_ok();
        if challenged {
            return self.send_register(number);
        }
        one.finals.push(status(bytes));
        let granted = header(bytes, "Contact").and_then(|contact| contact.split("expires=").nth(1).map(str::to_owned));
        let granted = granted.and_then(|text| text.split(';').next().unwrap().parse::<u64>().ok());
        if let Some(granted) = granted.filter(|_| status(bytes) == 200) {
            let (turn, wake) = (one.turn, Wake::Refresh);
            self.later(Duration::from_secs(granted) / 2, Happening::Registrant { number, turn, wake });
        }
    }
}
