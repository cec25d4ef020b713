//! Methods (RFC 3261 §7.1 and the extensions' RFCs). They are case-sensitive.

use std::fmt;

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §13, §17.1.1.3.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §11.
    Options,
    /// RFC 6086.
    Info,
    /// RFC 3311.
    Update,
    /// RFC 3261 §10.
    Register,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// RFC 3428.
    Message,
    /// RFC 3515.
    Refer,
    /// RFC 3903.
    Publish,
    /// RFC 3262.
    Prack,
    /// A method we never heard of: 501.
    Other,
}

impl Method {
    /// What goes to Allow: the methods a request of which we do not answer 405 or 501.
    pub const ALLOWED: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE";

    /// The same, where transfers are taken up.
    pub const ALLOWED_WITH_TRANSFERS: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY, PRACK, REFER, UPDATE";

    /// Reads a method name; anything unknown is [`Method::Other`].
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"INFO" => Self::Info,
            b"UPDATE" => Self::Update,
            b"REGISTER" => Self::Register,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"MESSAGE" => Self::Message,
            b"REFER" => Self::Refer,
            b"PUBLISH" => Self::Publish,
            b"PRACK" => Self::Prack,
            _ => Self::Other,
        }
    }

    /// The name as it is sent; `Other` has none of its own and is never sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Register => "REGISTER",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Message => "MESSAGE",
            Self::Refer => "REFER",
            Self::Publish => "PUBLISH",
            Self::Prack => "PRACK",
            Self::Other => "UNKNOWN",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_case_matters() {
        for method in [Method::Invite, Method::Ack, Method::Bye, Method::Cancel, Method::Options, Method::Info] {
            assert_eq!(Method::of(method.name().as_bytes()), method);
        }
        assert_eq!(Method::of(b"invite"), Method::Other);
        assert_eq!(Method::of(b"RE%47IST%45R"), Method::Other);
    }
}
