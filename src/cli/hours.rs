//! `contesta hours OPERATOR`: what each calendar says of a moment, and why.
#![expect(clippy::disallowed_methods, reason = "a command asks the clock when it is given no moment")]

use anyhow::Context;
use jiff::Timestamp;

use crate::cli::folders::FlowsArgs;
use crate::cli::moment;
use crate::edge::files;
use crate::operator::calendar::Explanation;
use crate::operator::{Calendar, HoursState};
use crate::speech::{self, Say};

/// Explain the opening hours of an operator.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Operator id.
    operator: String,
    /// One calendar; all of them without it.
    calendar: Option<String>,
    /// The moment in the operator's local time (`2026-03-13T17:00`), or with its offset (`2026-03-13T23:00Z`); now without it.
    #[arg(long)]
    at: Option<String>,
    #[command(flatten)]
    flows: FlowsArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what the calendars say.
///
/// # Errors
/// Faults in the operators' files, or something asked for does not exist.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (operators, _) = files::load_operators(&args.flows.settle()?)?;
    let operator = files::find_operator(&operators, &args.operator)?;
    let at = match &args.at {
        Some(text) => moment::read(text, &operator.time_zone)?,
        None => Timestamp::now(),
    };
    let calendars: Vec<&Calendar> = match &args.calendar {
        Some(name) => {
            let known: Vec<&str> = operator.calendars.keys().map(String::as_str).collect();
            let missing = || format!("there is no calendar «{name}»; there are {}", known.join(", "));
            vec![operator.calendars.get(name).with_context(missing)?]
        }
        None => operator.calendars.values().collect(),
    };
    let zone = operator.time_zone.iana_name().unwrap_or("unknown");
    let explained: Vec<(&Calendar, Explanation)> =
        calendars.into_iter().map(|calendar| (calendar, calendar.explain(at, &operator.time_zone))).collect();
    if args.json {
        let calendars: Vec<serde_json::Value> = explained.iter().map(|(calendar, why)| json(calendar, why)).collect();
        let answer = serde_json::json!({ "operator": operator.id, "time_zone": zone, "at": at.to_string(), "calendars": calendars });
        println!("{answer:#}");
        return Ok(());
    }
    println!("{} at {} ({zone})", operator.id, operator.time_zone.to_datetime(at).strftime("%A %Y-%m-%d %H:%M:%S"));
    for (calendar, why) in explained {
        println!("\n{}: {}", calendar.name, state_name(&why.state));
        println!("  because   {}", why.rule);
        let change = why
            .next_change
            .map(|change| operator.time_zone.to_datetime(change).strftime("%A %Y-%m-%d %H:%M").to_string());
        let label = if why.state.is_open() { "closes" } else { "opens" };
        println!("  {label:<9} {}", change.as_deref().unwrap_or("not within four years"));
        println!("  heard     {}", heard(calendar));
    }
    Ok(())
}

fn heard(calendar: &Calendar) -> String {
    speech::say(&Say::Hours(calendar.weekly.clone())).map(|words| speech::text(&words)).unwrap_or_default()
}

fn state_name(state: &HoursState) -> &'static str {
    match state {
        HoursState::Open => "open",
        HoursState::Closed => "closed",
        HoursState::Holiday(_) => "holiday",
        HoursState::Override { open: true, .. } => "override, open",
        HoursState::Override { open: false, .. } => "override, closed",
    }
}

fn json(calendar: &Calendar, why: &Explanation) -> serde_json::Value {
    serde_json::json!({
        "calendar": calendar.name,
        "local": why.local.to_string(),
        "open": why.state.is_open(),
        "state": state_name(&why.state),
        "rule": why.rule,
        "next_change": why.next_change.map(|change| change.to_string()),
        "heard": heard(calendar),
    })
}
