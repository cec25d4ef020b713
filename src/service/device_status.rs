//! `device.status { imei, linea }`: is an order to block this handset in force? → `not_blocked`, `already_blocked { folio }`.

use crate::service::{Answered, digits, plain, with_folio};
use crate::store::{OrderKind, Store, device};
use crate::value::Values;

pub(super) async fn answer(store: &Store, operator: &str, args: &Values) -> Answered {
    let imei = digits(args, "imei", 14..=16)?;
    Ok(match store.order_in_force(operator, OrderKind::DeviceBlock, device(imei)).await? {
        Some(folio) => with_folio("already_blocked", &folio),
        None => plain("not_blocked"),
    })
}
