//! Messages that wait to be delivered.

use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;

use crate::case::Folio;
use crate::flow::action::Message;
use crate::ids::CallKey;
use crate::store::sql::{Conn, Failure, Readers, args};
use crate::store::{events, millis, moment};

/// A message as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its number, in the order of queueing.
    pub id: i64,
    /// As it was asked for.
    pub message: Message,
    /// `pendiente` until somebody has delivered it.
    pub state: String,
    /// When it was put into the outbox.
    pub queued: Timestamp,
}

/// Stores a message once for its operator and idempotency key.
pub(crate) async fn enqueue(conn: &mut Conn, message: &Message, at: Timestamp) -> Result<(), Failure> {
    let rows = conn
        .fetch(
            "INSERT INTO outbox (operator, channel, recipient, template, body, folio, call_key, queued, state, idempotency) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pendiente', $9) ON CONFLICT DO NOTHING RETURNING id",
            args![
                message.operator.as_str(),
                message.channel.as_str(),
                message.to.as_str(),
                message.template.as_str(),
                message.text.as_str(),
                message.folio.as_ref().map(Folio::as_str),
                &*message.call.0,
                millis(at),
                message.idempotency.as_str(),
            ],
        )
        .await?;
    if let Some(row) = rows.first() {
        let number = row.int(0)?.to_string();
        events::append(conn, at, "message_queued", &message.operator, &number).await?;
    }
    Ok(())
}

pub(crate) async fn pending(readers: &Readers, limit: u32) -> anyhow::Result<Vec<Queued>> {
    let rows = readers
        .fetch(
            "SELECT id, operator, channel, recipient, template, body, folio, call_key, idempotency, state, queued \
             FROM outbox WHERE state = 'pendiente' ORDER BY id LIMIT $1",
            args![i64::from(limit)],
        )
        .await
        .context("cannot read the outbox")?;
    rows.iter()
        .map(|row| {
            Ok(Queued {
                id: row.int(0)?,
                message: Message {
                    operator: row.text(1)?.to_owned(),
                    channel: row.text(2)?.to_owned(),
                    to: row.text(3)?.to_owned(),
                    template: row.text(4)?.to_owned(),
                    text: row.text(5)?.to_owned(),
                    folio: row.maybe_text(6)?.map(Folio::parse).transpose()?,
                    call: CallKey(Arc::from(row.text(7)?)),
                    idempotency: row.text(8)?.to_owned(),
                },
                state: row.text(9)?.to_owned(),
                queued: moment(row.int(10)?)?,
            })
        })
        .collect()
}
