//! `contesta cases show FOLIO`, `contesta cases list`: what became of a caller's matter.

use anyhow::Context;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::case::{Case, Folio, State};
use crate::cli::columns::{aligned, counted};
use crate::cli::moment::{self, local};
use crate::cli::store::{StoreArgs, StorePlace, block_on, values_json};
use crate::store::{CaseEvent, CaseFilter, OrderKind, StoredOrder};

/// Look at cases.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// One case with its history and its orders.
    Show {
        /// Ten digits; spaces and dashes do not matter.
        folio: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Cases, the newest first.
    List {
        /// Only this operator's.
        #[arg(long)]
        operator: Option<String>,
        /// Only those in this state: abierto, en_proceso, escalado, resuelto, cerrado.
        #[arg(long)]
        state: Option<State>,
        /// Only those received since: 2026-03-15, 2026-03-15T02:30 (the operator's time) or an instant with its offset.
        #[arg(long)]
        since: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Prints what was asked for.
///
/// # Errors
/// The folio is mistyped or unknown, or the store cannot be read.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.question {
        Question::Show { folio, json, store } => block_on(show(&folio, json, &store.settle()?)),
        Question::List { operator, state, since, limit, json, store } => {
            let place = store.settle()?;
            let zone = place.zone(operator.as_deref())?;
            let since = since.map(|since| moment::read(&since, &zone)).transpose()?;
            let filter = CaseFilter { operator, state, since, limit };
            block_on(list(&filter, json, &place, &zone))
        }
    }
}

async fn show(text: &str, as_json: bool, place: &StorePlace) -> anyhow::Result<()> {
    let folio = Folio::parse(text).with_context(|| format!("«{text}» is no folio"))?;
    let store = place.connect().await?;
    let case = store.case(&folio).await?.with_context(|| format!("there is no case with the folio {folio}"))?;
    let history = store.history(&folio).await?;
    let orders = store.orders(&folio).await?;
    store.close().await;
    if as_json {
        println!("{:#}", with_story(&case, &history, &orders));
    } else {
        print(&case, &history, &orders, &place.zone(Some(&case.open.operator)).unwrap_or(TimeZone::UTC));
    }
    Ok(())
}

async fn list(filter: &CaseFilter, as_json: bool, place: &StorePlace, zone: &TimeZone) -> anyhow::Result<()> {
    let store = place.connect().await?;
    let cases = store.cases(filter).await?;
    store.close().await;
    if as_json {
        println!("{:#}", cases.iter().map(to_json).collect::<Json>());
        return Ok(());
    }
    let rows: Vec<Vec<String>> = cases
        .iter()
        .map(|case| {
            vec![
                case.folio.to_string(),
                case.open.operator.clone(),
                case.state.to_string(),
                kind(case),
                local(case.open.received, zone),
                case.open.due.map_or_else(String::new, |due| format!("due {}", local(due, zone))),
            ]
        })
        .collect();
    aligned(&rows).iter().for_each(|line| println!("{line}"));
    eprintln!("{}", counted(cases.len(), "case"));
    Ok(())
}

fn print(case: &Case, history: &[CaseEvent], orders: &[StoredOrder], zone: &TimeZone) {
    println!("folio     {}  ({})", case.folio.grouped(), case.folio);
    println!("operator  {}", case.open.operator);
    println!("kind      {}", kind(case));
    println!("state     {}", case.state);
    if !case.next_step.is_empty() {
        println!("next      {}", case.next_step);
    }
    println!("received  {}  by {}", local(case.open.received, zone), case.open.channel);
    if let Some(due) = case.open.due {
        println!("due       {}", local(due, zone));
    }
    println!("call      {}", case.open.call);
    for (name, value) in &case.open.fields {
        println!("          {name} = {value}");
    }
    for order in orders {
        let kind = order.order.kind.as_str();
        let subject = match order.order.kind {
            OrderKind::DeviceBlock => &order.order.imei,
            OrderKind::LineSuspension => &order.order.line,
        };
        println!("order     {kind} {subject} {}  {}", order.state, local(order.ordered, zone));
    }
    for event in history {
        println!("{}  {:9}  {}  call {}", local(event.at, zone), event.kind, event.detail, event.call);
    }
}

fn kind(case: &Case) -> String {
    match case.open.subkind.as_str() {
        "" => case.open.kind.clone(),
        subkind => format!("{}/{subkind}", case.open.kind),
    }
}

fn to_json(case: &Case) -> Json {
    json!({
        "folio": case.folio.as_str(), "operator": case.open.operator, "kind": case.open.kind,
        "subkind": case.open.subkind, "state": case.state.as_str(), "next_step": case.next_step,
        "channel": case.open.channel, "call": &*case.open.call.0, "received": case.open.received.to_string(),
        "due": case.open.due.map(|due| due.to_string()), "fields": values_json(&case.open.fields),
    })
}

fn with_story(case: &Case, history: &[CaseEvent], orders: &[StoredOrder]) -> Json {
    let mut all = to_json(case);
    let history: Json = history
        .iter()
        .map(|event| json!({ "at": event.at.to_string(), "kind": event.kind, "call": &*event.call.0, "detail": event.detail }))
        .collect();
    let orders: Json = orders
        .iter()
        .map(|order| {
            json!({
                "kind": order.order.kind.as_str(), "imei": order.order.imei, "line": order.order.line,
                "reason": order.order.reason, "state": order.state, "ordered": order.ordered.to_string(),
            })
        })
        .collect();
    if let Some(members) = all.as_object_mut() {
        members.insert("history".into(), history);
        members.insert("orders".into(), orders);
    }
    all
}
