//! `line.suspend { linea, folio, motivo }`: orders the suspension of a line, covered by a report.
//! → `accepted`, `already_suspended { folio }` when another report's order is in force.

use crate::case::Folio;
use crate::service::{Answered, digits, plain, text, with_folio};
use crate::store::{Order, OrderKind, Ordered, Store};
use crate::value::Values;

pub(super) async fn answer(store: &Store, operator: &str, args: &Values) -> Answered {
    let order = Order {
        operator: operator.to_owned(),
        kind: OrderKind::LineSuspension,
        imei: String::new(),
        line: digits(args, "linea", 10..=10)?.to_owned(),
        folio: Folio::parse(text(args, "folio")?)?,
        reason: text(args, "motivo")?.to_owned(),
    };
    Ok(match store.order(&order).await? {
        Ordered::Accepted => plain("accepted"),
        Ordered::Already(folio) => with_folio("already_suspended", &folio),
    })
}
