//! Orders to block a device or to suspend a line: durable before anybody is told, carried out later by a gateway.

use anyhow::Context;
use jiff::Timestamp;

use crate::case::Folio;
use crate::store::sql::{Conn, Failure, Readers, args};
use crate::store::{events, millis, moment};

/// What an order does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderKind {
    /// The handset with this IMEI is not served any more.
    DeviceBlock,
    /// The line makes and takes no calls.
    LineSuspension,
}

impl OrderKind {
    /// Its word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceBlock => "device_block",
            Self::LineSuspension => "line_suspension",
        }
    }

    pub(crate) fn parse(word: &str) -> anyhow::Result<Self> {
        [Self::DeviceBlock, Self::LineSuspension]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .with_context(|| format!("`{word}` is no kind of order"))
    }

    fn event(self) -> &'static str {
        match self {
            Self::DeviceBlock => "device_block_ordered",
            Self::LineSuspension => "line_suspension_ordered",
        }
    }
}

/// An order as it is given. The same order for the same folio is one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Operator id; operators do not see each other's orders.
    pub operator: String,
    /// What it does.
    pub kind: OrderKind,
    /// 14 to 16 digits; empty for a line suspension.
    pub imei: String,
    /// Ten digits; for a device block the line that reported it, maybe empty.
    pub line: String,
    /// The report that covers it (B-32).
    pub folio: Folio,
    /// `robo`, `extravio`, `duplicidad`, or whatever the flow says.
    pub reason: String,
}

impl Order {
    /// What the order is about: the line, or the IMEI without what varies on one device, its check digit and software
    /// version: 8 digits TAC and 6 digits serial number (3GPP TS 23.003 §6.2).
    #[must_use]
    pub fn subject(&self) -> &str {
        match self.kind {
            OrderKind::DeviceBlock => device(&self.imei),
            OrderKind::LineSuspension => &self.line,
        }
    }
}

/// The 14 digits of an IMEI or IMEISV that name the device.
#[must_use]
pub fn device(imei: &str) -> &str {
    imei.get(..14).unwrap_or(imei)
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// It is stored, now or by an earlier request for the same folio.
    Accepted,
    /// Another report's order is in force.
    Already(Folio),
}

/// An order as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOrder {
    /// As it was given.
    pub order: Order,
    /// `pendiente`, `enviada`, `confirmada`: how far the gateway is.
    pub state: String,
    /// When it was given.
    pub ordered: Timestamp,
}

pub(crate) async fn place(conn: &mut Conn, order: &Order, at: Timestamp) -> Result<Ordered, Failure> {
    let changed = conn
        .execute(
            "INSERT INTO orders (operator, kind, subject, folio, imei, line, reason, state, ordered, released) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'pendiente', $8, NULL) ON CONFLICT DO NOTHING",
            args![
                order.operator.as_str(),
                order.kind.as_str(),
                order.subject(),
                order.folio.as_str(),
                order.imei.as_str(),
                order.line.as_str(),
                order.reason.as_str(),
                millis(at),
            ],
        )
        .await?;
    if changed == 1 {
        events::append(conn, at, order.kind.event(), &order.operator, order.folio.as_str()).await?;
        return Ok(Ordered::Accepted);
    }
    let rows = conn.fetch(IN_FORCE, args![order.operator.as_str(), order.kind.as_str(), order.subject()]).await?;
    match rows.first() {
        Some(row) => {
            let folio = Folio::parse(row.text(0)?).map_err(anyhow::Error::from)?;
            Ok(if folio == order.folio { Ordered::Accepted } else { Ordered::Already(folio) })
        }
        // This very report's order was given and has been lifted since; it does not come back by a repetition.
        None => Ok(Ordered::Accepted),
    }
}

pub(crate) async fn in_force(
    readers: &Readers,
    operator: &str,
    kind: OrderKind,
    subject: &str,
) -> anyhow::Result<Option<Folio>> {
    let rows = readers.fetch(IN_FORCE, args![operator, kind.as_str(), subject]).await.context("cannot read orders")?;
    rows.first().map(|row| Ok(Folio::parse(row.text(0)?)?)).transpose()
}

pub(crate) async fn of_case(readers: &Readers, folio: &Folio) -> anyhow::Result<Vec<StoredOrder>> {
    let rows = readers
        .fetch(
            "SELECT operator, kind, imei, line, folio, reason, state, ordered FROM orders WHERE folio = $1 \
             ORDER BY ordered, kind, subject",
            args![folio.as_str()],
        )
        .await
        .context("cannot read orders")?;
    rows.iter()
        .map(|row| {
            Ok(StoredOrder {
                order: Order {
                    operator: row.text(0)?.to_owned(),
                    kind: OrderKind::parse(row.text(1)?)?,
                    imei: row.text(2)?.to_owned(),
                    line: row.text(3)?.to_owned(),
                    folio: Folio::parse(row.text(4)?)?,
                    reason: row.text(5)?.to_owned(),
                },
                state: row.text(6)?.to_owned(),
                ordered: moment(row.int(7)?)?,
            })
        })
        .collect()
}

const IN_FORCE: &str =
    "SELECT folio FROM orders WHERE operator = $1 AND kind = $2 AND subject = $3 AND released IS NULL";
