//! Contact in REGISTER and its 200 (RFC 3261 §10.2, §20.10; RFC 5626 §4.1, §6 for `+sip.instance` and `reg-id`): every place that a
//! user is reached at, or `*` for all of them.

use std::time::Duration;

use super::address::Address;
use super::expires;
use super::{Malformed, Name};
use crate::sip::cursor::{decimal, trim};
use crate::sip::message::Message;
use crate::sip::uri::Scheme;

/// Most contacts of one REGISTER.
pub const CONTACTS_MAX: usize = 16;

/// Longest contact URI, and longest instance, in bytes: they are kept for as long as the registration lasts.
pub const CONTACT_BYTES_MAX: usize = 512;

/// What a REGISTER asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts<'a> {
    /// `*`: all of this user's, to be removed.
    All,
    /// These; none asks only what there is.
    These(Vec<Contact<'a>>),
}

/// One contact of a REGISTER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact<'a> {
    /// Where the phone says it is reached.
    pub address: Address<'a>,
    /// Its own wish, in seconds; `None` leaves it to Expires.
    pub expires: Option<u32>,
    /// Its preference in thousandths, 0 to 1,000, if it states one; a contact of a higher value is called first.
    pub q: Option<u16>,
    /// The phone's own name for itself, for ever the same: what stands between the quotes of `+sip.instance`.
    pub instance: Option<&'a [u8]>,
    /// Which of its flows this is.
    pub reg_id: Option<u32>,
}

impl<'a> Contacts<'a> {
    /// Reads every Contact line of a message.
    ///
    /// # Errors
    /// [`Malformed`] for a broken line, for a `*` among others, and for too many or too long ones; only SIP URIs are registered.
    pub fn read(message: &'a Message) -> Result<Self, Malformed> {
        let fault = |what| Malformed { header: Name::Contact, what };
        let (mut all, mut contacts, mut wrong) = (false, Vec::new(), None);
        for value in message.values(Name::Contact) {
            if trim(value) == b"*" {
                all = true;
                continue;
            }
            Address::parse_list(Name::Contact, value, |address| {
                match Contact::of(address) {
                    _ if contacts.len() == CONTACTS_MAX => wrong = wrong.or(Some("too many")),
                    Ok(contact) => contacts.push(contact),
                    Err(what) => wrong = wrong.or(Some(what)),
                };
            })?;
        }
        match (all, contacts.is_empty(), wrong) {
            (_, _, Some(what)) => Err(fault(what)),
            (true, false, None) => Err(fault("* beside others")),
            (true, true, None) => Ok(Self::All),
            (false, _, None) => Ok(Self::These(contacts)),
        }
    }
}

impl<'a> Contact<'a> {
    fn of(address: Address<'a>) -> Result<Self, &'static str> {
        if !matches!(address.uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err("not a SIP URI");
        }
        let parameters = address.parameters;
        let instance = parameters.value("+sip.instance").filter(|instance| !instance.is_empty());
        // They are kept as text, and an instance is a URI in angle brackets.
        if std::str::from_utf8(address.uri_text).is_err()
            || instance.is_some_and(|text| !text.iter().all(u8::is_ascii_graphic))
        {
            return Err("not a text");
        }
        if address.uri_text.len() > CONTACT_BYTES_MAX || instance.is_some_and(|text| text.len() > CONTACT_BYTES_MAX) {
            return Err("too long");
        }
        Ok(Self {
            address,
            expires: parameters.get("expires").map(|value| value.map_or(expires::DEFAULT, expires::parse)),
            q: parameters.value("q").map(thousandths),
            instance,
            // RFC 5626 §4.2: counted from 1.
            reg_id: parameters.value("reg-id").and_then(decimal).filter(|&id| id > 0),
        })
    }
}

/// The preference of a contact that states none.
pub const Q_MAX: u16 = 1_000;

/// `qvalue` (RFC 3261 §25.1) in thousandths. What is none counts as 1: nobody is kept from being called by a slip.
fn thousandths(value: &[u8]) -> u16 {
    let (whole, fraction) = match value.iter().position(|&byte| byte == b'.') {
        Some(point) => (value.get(..point).unwrap_or_default(), value.get(point + 1..).unwrap_or_default()),
        None => (value, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) || fraction.len() > 3 {
        return Q_MAX;
    }
    let fraction = [0, 1, 2].map(|place| fraction.get(place).map_or(0, |digit| u16::from(digit - b'0')));
    let [tenths, hundredths, thousandths] = fraction;
    match whole {
        b"0" => tenths * 100 + hundredths * 10 + thousandths,
        _ => Q_MAX,
    }
}

/// A contact in the 200 to a REGISTER (RFC 3261 §10.3, step 8).
#[derive(Clone, Copy, Debug)]
pub struct Registered<'a> {
    /// The URI, without brackets.
    pub uri: &'a [u8],
    /// What is left of it.
    pub left: Duration,
    /// Its preference, when its phone stated one.
    pub q: Option<u16>,
    /// The phone's own name for itself.
    pub instance: Option<&'a [u8]>,
    /// Which of its flows this is.
    pub reg_id: Option<u32>,
}

/// Writes a contact that is registered. Seconds are rounded up, so that none is shown as over while it lasts.
pub fn write(registered: &Registered<'_>, out: &mut Vec<u8>) {
    let Registered { uri, left, q, instance, reg_id } = registered;
    out.push(b'<');
    out.extend_from_slice(uri);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    out.extend_from_slice(format!(">;expires={seconds}").as_bytes());
    match q {
        Some(q) if *q < Q_MAX => out.extend_from_slice(format!(";q=0.{q:03}").as_bytes()),
        Some(_) => out.extend_from_slice(b";q=1"),
        None => {}
    }
    if let Some(instance) = instance {
        out.extend_from_slice(b";+sip.instance=\"");
        out.extend_from_slice(instance);
        out.push(b'"');
    }
    if let Some(reg_id) = reg_id {
        out.extend_from_slice(format!(";reg-id={reg_id}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(contacts: &str) -> Message {
        Message::scan(Bytes::from(format!("REGISTER sip:a SIP/2.0\r\n{contacts}\r\n"))).unwrap()
    }

    #[test]
    fn contacts_are_read_from_all_lines() {
        let message = message(
            "Contact: <sip:a@h;transport=tcp>;expires=60;q=0.5, sip:b@h\r\nm: <sip:c@h>;Expires=x;q=1.000\r\n\
             Contact: <sip:d@h>;reg-id=2;+sip.instance=\"<urn:uuid:0>\"\r\n",
        );
        let Contacts::These(contacts) = Contacts::read(&message).unwrap() else { panic!("not all") };
        let told: Vec<_> = contacts
            .iter()
            .map(|contact| (contact.address.uri.user_text(), contact.expires, contact.q, contact.reg_id))
            .collect();
        let row = |user: &str, expires, q, reg_id| (user.to_owned(), expires, q, reg_id);
        assert_eq!(
            told,
            [
                row("a", Some(60), Some(500), None),
                row("b", None, None, None),
                row("c", Some(3_600), Some(1_000), None),
                row("d", None, None, Some(2))
            ]
        );
        assert_eq!(contacts[3].instance, Some(&b"<urn:uuid:0>"[..]));
    }

    #[test]
    fn a_star_stands_alone() {
        assert_eq!(Contacts::read(&message("Contact: *\r\n")), Ok(Contacts::All));
        assert_eq!(Contacts::read(&message("")), Ok(Contacts::These(Vec::new())));
        for broken in ["Contact: *\r\nContact: <sip:a@h>\r\n", "Contact: *;q=1\r\n", "Contact: *, <sip:a@h>\r\n"] {
            assert!(Contacts::read(&message(broken)).is_err(), "{broken}");
        }
    }

    #[test]
    fn bounds_hold() {
        let many = |count: usize| message(&format!("Contact: {}\r\n", vec!["<sip:a@h>"; count].join(", ")));
        assert!(Contacts::read(&many(CONTACTS_MAX)).is_ok() && Contacts::read(&many(CONTACTS_MAX + 1)).is_err());
        let long = |length: usize| message(&format!("Contact: <sip:{}@h>\r\n", "a".repeat(length - 6)));
        assert!(
            Contacts::read(&long(CONTACT_BYTES_MAX)).is_ok() && Contacts::read(&long(CONTACT_BYTES_MAX + 1)).is_err()
        );
        assert!(Contacts::read(&message("Contact: <tel:+525512345678>\r\n")).is_err());
    }

    #[test]
    fn preferences_are_thousandths() {
        for (text, expected) in [
            ("0", 0),
            ("0.", 0),
            ("0.7", 700),
            ("0.05", 50),
            ("0.123", 123),
            ("1", 1_000),
            ("1.000", 1_000),
            ("0.1234", 1_000),
            ("x", 1_000),
            ("", 1_000),
        ] {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_registered_reads_back() {
        let registered = Registered {
            uri: b"sip:a@h;x",
            left: Duration::from_millis(59_001),
            q: Some(50),
            instance: Some(b"<urn:uuid:0>"),
            reg_id: Some(1),
        };
        let mut out = Vec::new();
        write(&registered, &mut out);
        assert_eq!(out, b"<sip:a@h;x>;expires=60;q=0.050;+sip.instance=\"<urn:uuid:0>\";reg-id=1");
    }
}
