//! `caller`, `identity`, `shows_caller`, `private` and `domain` of a trunk: who our calls say that they are from (RFC 3261 §20.20, RFC 3325).

use super::load::one_of;
use super::numbers::{self, NUMBER_MAX};
use crate::document::Fields;
use crate::fault::Fault;
use crate::sip::uri::{Scheme, Uri};

/// Who our calls by a trunk are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerId {
    /// Our number there; without it the account is named.
    pub caller: Option<String>,
    /// Where the number stands.
    pub stands_in: StandsIn,
    /// A call that is made for a caller shows that caller's number, and asserts ours.
    pub shows_caller: bool,
    /// The called ones are not to see the number (RFC 3323, RFC 3325 §9.3).
    pub private: bool,
    /// The host of From and of what is asserted; without it the registrar's, or our own address.
    pub domain: Option<String>,
}

/// Where our number stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StandsIn {
    /// In From.
    #[default]
    From,
    /// In P-Asserted-Identity, while From names the account.
    Asserted,
}

pub(super) fn read(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> CallerId {
    let caller = fields.optional("caller").and_then(|place| {
        let text = place.text(faults)?;
        if text.chars().count() > NUMBER_MAX || !numbers::is_number(text) {
            faults.push(place.fault("a caller is a number like \"5550001122\" or \"+525550001122\""));
        }
        Some(text.to_owned())
    });
    let known = [("from", StandsIn::From), ("asserted", StandsIn::Asserted)];
    let stands_in = one_of(fields.optional("identity"), &known, faults).unwrap_or_default();
    let mut flag = |key| fields.optional(key).and_then(|place| place.flag(faults)).unwrap_or_default();
    let (shows_caller, private) = (flag("shows_caller"), flag("private"));
    let domain = fields.optional("domain").and_then(|place| {
        let text = place.text(faults)?;
        let uri = format!("sip:{text}");
        let is_host = Uri::parse(uri.as_bytes()).is_ok_and(|uri| {
            uri.scheme == Scheme::Sip && uri.host.is_some() && uri.user.is_none() && uri.headers.is_empty()
        });
        if !is_host || text.contains([';', '<', '>']) {
            faults.push(place.fault("a domain is a host like \"carrier.example\""));
        }
        Some(text.to_owned())
    });
    if caller.is_none() {
        for key in ["identity", "shows_caller", "private"] {
            if let Some(name) = fields.name(key) {
                faults.push(name.fault(format!("«{key}» needs «caller»: which number is ours there?")));
            }
        }
    }
    CallerId { caller, stands_in, shows_caller, private, domain }
}
