//! `device.status { imei, linea }`: does an earlier report of this line block this handset? → `not_blocked`, `already_blocked { folio }`.
//!
//! A handset that another line has reported is `not_blocked` here: its folio is that caller's, whose report suspends that caller's line.
//! This one gets a report of its own, and `device.block` says that the order is in force.

use crate::service::{Answered, digits, plain, text, with_folio};
use crate::store::{OrderKind, Store, device};
use crate::value::Values;

pub(super) async fn answer(store: &Store, operator: &str, args: &Values) -> Answered {
    let (imei, line) = (digits(args, "imei", 14..=16)?, text(args, "linea")?);
    let Some(folio) = store.order_in_force(operator, OrderKind::DeviceBlock, device(imei)).await? else {
        return Ok(plain("not_blocked"));
    };
    let orders = store.orders(&folio).await?;
    let is_theirs = |kind, of: &str| kind == OrderKind::DeviceBlock && !line.is_empty() && of == line;
    let theirs = orders.iter().any(|stored| is_theirs(stored.order.kind, &stored.order.line));
    Ok(if theirs { with_folio("already_blocked", &folio) } else { plain("not_blocked") })
}
