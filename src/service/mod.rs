//! Answers what flows ask of the outside: self-services, cases, the outbox. One file a builtin.
//!
//! [`Services::carry_out`] takes any [`Request`] and always answers, whatever went wrong; the session keeps the deadline.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use crate::case::{self, Folio};
use crate::flow::action::{LOCKED, Verification};
use crate::flow::{Answer, Request};
use crate::notify;
use crate::operator::{Operator, Service, Source};
use crate::store::{Change, Store, Tried};
use crate::value::{Kind, Value, Values};

mod device_block;
mod device_status;
pub mod import;
mod line_suspend;
pub mod secret;
mod table;

use secret::SecretKey;

/// Everything that can answer a request, for one snapshot of the operators.
#[derive(Clone)]
pub struct Services {
    store: Store,
    operators: BTreeMap<String, Arc<Operator>>,
    /// Opens the secrets of tables.
    key: SecretKey,
}

impl Services {
    /// Services of these operators over this store, whose tables `key` sealed.
    #[must_use]
    pub fn new(store: Store, operators: Vec<Arc<Operator>>, key: SecretKey) -> Self {
        let operators = operators.into_iter().map(|operator| (operator.id.clone(), operator)).collect();
        Self { store, operators, key }
    }

    /// Carries out a request. Every effect is durable before it is answered.
    pub async fn carry_out(&self, request: Request) -> Answer {
        match request {
            // The builtins are idempotent by the folio they carry, which says more than the flow's key: the same report orders
            // once, whichever call repeats it.
            Request::Service { operator, service, args, idempotency: _ } => self.ask(&operator, &service, &args).await,
            Request::Verify(verification) => self.verify(&verification).await,
            Request::OpenCase(open) => self.open_case(&open).await,
            Request::UpdateCase(update) => self.update_case(&update).await,
            Request::FindCase { operator, folio } => self.find_case(&operator, &folio).await,
            Request::Notify(message) => notify::queue(&self.store, &message).await,
        }
    }

    /// Asks a self-service of an operator.
    pub async fn ask(&self, operator: &str, service: &str, args: &Values) -> Answer {
        let Some(operator) = self.operators.get(operator) else {
            return refuse(service, &format!("there is no operator `{operator}`"));
        };
        let Some(declared) = operator.services.get(service) else {
            return refuse(service, &format!("{} declares no such service", operator.id));
        };
        if let Err(why) = check_args(declared, args) {
            return refuse(service, &why);
        }
        let answered = match &declared.source {
            Source::Table { .. } => table::answer(&self.store, &self.key, operator, declared, args).await,
            Source::Builtin => match builtin_name(declared) {
                "device.status" => device_status::answer(&self.store, &operator.id, args).await,
                "device.block" => device_block::answer(&self.store, &operator.id, args).await,
                "line.suspend" => line_suspend::answer(&self.store, &operator.id, args).await,
                other => Err(anyhow::anyhow!("there is no builtin `{other}`")),
            },
        };
        match answered {
            Ok((result, values)) => Answer::Result { result, values },
            Err(fault) => refuse(service, &format!("{fault:#}")),
        }
    }

    /// Counts the try, compares, and takes the count back when the secret was right, or nobody could say.
    async fn verify(&self, verification: &Verification) -> Answer {
        let Verification { operator, service, args, account, matches, lockout, at } = verification;
        let id = match self.store.count_try(operator, account, *lockout, *at).await {
            Ok(Tried::Counted(id)) => id,
            Ok(Tried::Locked(until)) => {
                let values = Values::from([("hasta".to_owned(), Value::Moment(until))]);
                return Answer::Result { result: LOCKED.to_owned(), values };
            }
            // A try that is not counted is a free guess.
            Err(fault) => return refuse(service, &format!("the try cannot be counted: {fault:#}")),
        };
        let answer = self.ask(operator, service, args).await;
        let settled = match &answer {
            Answer::Result { result, .. } if result == matches => self.store.forgive_tries(operator, account).await,
            Answer::Result { .. } => Ok(()),
            Answer::Error(_) => self.store.take_back_try(&id).await,
        };
        if let Err(fault) = settled {
            warn!(cause = format!("{fault:#}"), "a try goes on counting that should not");
        }
        answer
    }

    async fn open_case(&self, open: &case::Open) -> Answer {
        let opened = match self.store.open_case(open).await {
            Ok(opened) => opened,
            Err(fault) => return refuse("case open", &format!("{fault:#}")),
        };
        let mut values = Values::from([
            ("folio".into(), Value::Text(opened.case.folio.to_string())),
            ("estado".into(), Value::Text(opened.case.state.to_string())),
            ("nuevo".into(), Value::Flag(opened.new)),
        ]);
        values.extend(opened.case.open.due.map(|due| ("vence".to_owned(), Value::Moment(due))));
        Answer::Result { result: "ok".into(), values }
    }

    async fn update_case(&self, update: &case::Update) -> Answer {
        match self.store.update_case(update).await {
            Ok(Change::Done(_)) => Answer::Result { result: "ok".into(), values: Values::new() },
            Ok(Change::NotFound) => Answer::Result { result: "not_found".into(), values: Values::new() },
            Ok(Change::Illegal { from, to }) => refuse("case update", &format!("a case cannot go from {from} to {to}")),
            Err(fault) => refuse("case update", &format!("{fault:#}")),
        }
    }

    async fn find_case(&self, operator: &str, folio: &Folio) -> Answer {
        match self.store.find_case(operator, folio).await {
            Ok(Some(case)) => {
                let mut values = Values::from([
                    ("folio".into(), Value::Text(case.folio.to_string())),
                    ("tipo".into(), Value::Text(case.open.kind)),
                    ("estado".into(), Value::Text(case.state.to_string())),
                    ("recibido".into(), Value::Moment(case.open.received)),
                    ("siguiente".into(), Value::Text(case.next_step)),
                ]);
                values.extend(case.open.due.map(|due| ("vence".to_owned(), Value::Moment(due))));
                Answer::Result { result: "ok".into(), values }
            }
            Ok(None) => Answer::Result { result: "not_found".into(), values: Values::new() },
            Err(fault) => refuse("case find", &format!("{fault:#}")),
        }
    }
}

/// A result's name and its values.
type Answered = anyhow::Result<(String, Values)>;

/// An answer without values.
fn plain(result: &str) -> (String, Values) {
    (result.to_owned(), Values::new())
}

/// An answer that names the report which was first.
fn with_folio(result: &str, folio: &Folio) -> (String, Values) {
    (result.to_owned(), Values::from([("folio".into(), Value::Text(folio.to_string()))]))
}

/// A builtin may be declared under another name; its results tell which one it is.
fn builtin_name(declared: &Service) -> &str {
    let has = |result: &str| declared.results.contains_key(result);
    if has("not_blocked") {
        "device.status"
    } else if has("already_blocked") {
        "device.block"
    } else if has("already_suspended") {
        "line.suspend"
    } else {
        &declared.name
    }
}

/// All declared arguments are there and of their kinds, and no other.
fn check_args(declared: &Service, args: &Values) -> Result<(), String> {
    for (name, kind) in &declared.args {
        // Prompt keys are text.
        let expected = if *kind == Kind::Prompt { Kind::Text } else { *kind };
        match args.get(name) {
            Some(value) if value.kind() == expected => {}
            Some(value) => return Err(format!("`{name}` is {:?}, not {expected:?}", value.kind())),
            None => return Err(format!("`{name}` is missing")),
        }
    }
    match args.keys().find(|name| !declared.args.contains_key(*name)) {
        Some(name) => Err(format!("`{name}` is not one of its arguments")),
        None => Ok(()),
    }
}

/// The text of an argument that [`check_args`] has seen.
fn text<'a>(args: &'a Values, name: &str) -> anyhow::Result<&'a str> {
    match args.get(name) {
        Some(Value::Text(text)) => Ok(text),
        Some(_) | None => anyhow::bail!("the argument `{name}` is no text"),
    }
}

/// An argument of digits whose count lies in `lengths`.
fn digits<'a>(args: &'a Values, name: &str, lengths: std::ops::RangeInclusive<usize>) -> anyhow::Result<&'a str> {
    let text = text(args, name)?;
    anyhow::ensure!(
        text.bytes().all(|byte| byte.is_ascii_digit()) && lengths.contains(&text.len()),
        "the argument `{name}` does not have {} to {} digits",
        lengths.start(),
        lengths.end()
    );
    Ok(text)
}

fn refuse(asked: &str, why: &str) -> Answer {
    let cause = format!("{asked}: {why}");
    warn!(cause, "a request could not be carried out");
    Answer::Error(cause)
}
