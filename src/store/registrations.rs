//! Where agents' phones are reached: kept over a restart, and looked at by commands. Each lasts minutes, so one that could not be
//! written is mended by its phone's next REGISTER, and nothing is spooled.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use crate::sip::registrar::Registration;
use crate::sip::{Peer, Transport};
use crate::store::sql::{Conn, Failure, Readers, Row, args};
use crate::store::{events, millis, moment};

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationChange {
    /// It was made or refreshed.
    Kept {
        /// All of it.
        registration: Box<Registration>,
        /// Whether it is new.
        is_new: bool,
        /// When it ends.
        ends: Timestamp,
    },
    /// It is over.
    Gone {
        /// Whose agent it was.
        operator: String,
        /// The user.
        user: String,
        /// Its contact.
        contact: String,
    },
}

/// A registration as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRegistration {
    /// All of it; `lasts` is zero.
    pub registration: Registration,
    /// When it ends.
    pub ends: Timestamp,
}

/// Writes one change. `at` is when it is written.
pub(super) async fn change(conn: &mut Conn, at: Timestamp, change: &RegistrationChange) -> Result<(), Failure> {
    match change {
        RegistrationChange::Kept { registration, is_new, ends } => keep(conn, at, registration, *is_new, *ends).await,
        RegistrationChange::Gone { operator, user, contact } => {
            let gone = conn
                .execute(
                    "DELETE FROM registrations WHERE operator = $1 AND user_name = $2 AND contact = $3",
                    args![operator.as_str(), user.as_str(), contact.as_str()],
                )
                .await?;
            if gone > 0 {
                events::append(conn, at, "phone_gone", operator, user).await?;
            }
            Ok(())
        }
    }
}

async fn keep(
    conn: &mut Conn,
    at: Timestamp,
    registration: &Registration,
    is_new: bool,
    ends: Timestamp,
) -> Result<(), Failure> {
    let Registration {
        operator,
        user,
        contact,
        instance,
        reg_id,
        call_id,
        cseq,
        q,
        peer,
        symmetric,
        user_agent,
        lasts: _,
    } = registration;
    conn.execute(
        "INSERT INTO registrations (operator, user_name, contact, instance, reg_id, call_id, cseq, q, transport, address, \
         same_port, user_agent, ends) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (operator, user_name, contact) DO UPDATE SET instance = excluded.instance, reg_id = excluded.reg_id, \
         call_id = excluded.call_id, cseq = excluded.cseq, q = excluded.q, transport = excluded.transport, \
         address = excluded.address, same_port = excluded.same_port, user_agent = excluded.user_agent, ends = excluded.ends",
        args![
            operator.as_str(),
            user.as_str(),
            contact.as_str(),
            instance.as_deref(),
            reg_id.map(i64::from),
            call_id.as_str(),
            i64::from(*cseq),
            q.map(i64::from),
            peer.transport.name(),
            peer.address.to_string(),
            i64::from(*symmetric),
            user_agent.as_str(),
            millis(ends),
        ],
    )
    .await?;
    if is_new {
        events::append(conn, at, "phone_registered", operator, user).await?;
    }
    Ok(())
}

/// Forgets what ended before this moment.
pub(super) async fn forget(conn: &mut Conn, before: Timestamp) -> Result<(), Failure> {
    conn.execute("DELETE FROM registrations WHERE ends <= $1", args![millis(before)]).await?;
    Ok(())
}

/// What has not ended by this moment, by operator and user.
pub(super) async fn list(readers: &Readers, at: Timestamp) -> anyhow::Result<Vec<StoredRegistration>> {
    let rows = readers
        .fetch(
            "SELECT operator, user_name, contact, instance, reg_id, call_id, cseq, q, transport, address, same_port, user_agent, \
             ends FROM registrations WHERE ends > $1 ORDER BY operator, user_name, contact",
            args![millis(at)],
        )
        .await
        .context("cannot read the registrations")?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> anyhow::Result<StoredRegistration> {
    let transport = row.text(8)?;
    let transport = Transport::ALL.into_iter().find(|known| known.name() == transport);
    let address: SocketAddr = row.text(9)?.parse().context("a stored address is none")?;
    let registration = Registration {
        operator: row.text(0)?.to_owned(),
        user: row.text(1)?.to_owned(),
        contact: row.text(2)?.to_owned(),
        instance: row.maybe_text(3)?.map(str::to_owned),
        reg_id: row.maybe_int(4)?.map(u32::try_from).transpose()?,
        call_id: row.text(5)?.to_owned(),
        cseq: u32::try_from(row.int(6)?)?,
        q: row.maybe_int(7)?.map(u16::try_from).transpose()?,
        peer: Peer::new(transport.context("a stored transport is none")?, address),
        symmetric: row.int(10)? != 0,
        user_agent: row.text(11)?.to_owned(),
        lasts: Duration::ZERO,
    };
    Ok(StoredRegistration { registration, ends: moment(row.int(12)?)? })
}
