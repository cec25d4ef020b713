//! `device.block { imei, linea, folio, motivo }`: orders the block of a handset, covered by a report (B-32).
//! → `accepted`, `already_blocked { folio }` when another report's order is in force.
//!
//! `linea` is the line that reports it, empty when it is not known.

use crate::case::Folio;
use crate::service::{Answered, digits, plain, text, with_folio};
use crate::store::{Order, OrderKind, Ordered, Store};
use crate::value::Values;

pub(super) async fn answer(store: &Store, operator: &str, args: &Values) -> Answered {
    let order = Order {
        operator: operator.to_owned(),
        kind: OrderKind::DeviceBlock,
        imei: digits(args, "imei", 14..=16)?.to_owned(),
        line: text(args, "linea")?.to_owned(),
        folio: Folio::parse(text(args, "folio")?)?,
        reason: text(args, "motivo")?.to_owned(),
    };
    Ok(match store.order(&order).await? {
        Ordered::Accepted => plain("accepted"),
        Ordered::Already(folio) => with_folio("already_blocked", &folio),
    })
}
