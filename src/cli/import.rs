//! `contesta import [TABLE …]`: fills the tables of self-services from CSV files. One bad row, or a database that gives up
//! midway, and nothing is changed; otherwise callers meet all of the new tables at once.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::columns::counted;
use crate::cli::store::{StoreArgs, StorePlace, block_on, read_below};
use crate::edge::files;
use crate::fault::did_you_mean;
use crate::operator::{Operator, Table};
use crate::service::import::{self, FAULTS_MAX, Ready, RowFault, csv_paths, read_table};
use crate::service::secret::SecretKey;

/// Import the tables of self-services.
///
/// Nothing is changed unless every row of every file is good. Then all tables are replaced in one step: callers meet the old ones
/// until then, and if the database fails midway every table is as it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these tables (`coverage`).
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Only this operator's.
    #[arg(long)]
    operator: Option<String>,
    /// Print JSON: the tables that were imported, or the bad rows.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Reads every file first; only when all are good is the first table replaced.
///
/// # Errors
/// A file is missing or has bad rows (each is printed), or the database cannot be written.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Args { tables, operator, json, store } = args;
    let place = store.settle()?;
    let (operators, _) = files::load_operators(place.flows())?;
    let operators: Vec<&Operator> = match &operator {
        Some(id) => vec![files::find_operator(&operators, id)?],
        None => operators.iter().collect(),
    };
    check_names(&operators, &tables)?;
    let (mut ready, faults) = read_all(&operators, &tables, place.flows())?;
    if json && !faults.is_empty() {
        println!(
            "{:#}",
            serde_json::json!({ "imported": [], "bad_rows": faults.iter().map(fault_json).collect::<Vec<_>>() })
        );
    } else {
        faults.iter().for_each(|fault| eprintln!("{fault}"));
    }
    if !faults.is_empty() {
        let more = if faults.len() >= FAULTS_MAX { " or more" } else { "" };
        bail!("{}{more}: nothing was imported", counted(faults.len(), "bad row"));
    }
    if ready.is_empty() {
        bail!("there is no file to import below {}", place.flows().join("data").display());
    }
    let key = place.secret_key().context("nothing was imported")?;
    block_on(replace(&mut ready, &key, &place, json))
}

fn check_names(operators: &[&Operator], tables: &[String]) -> anyhow::Result<()> {
    let known: BTreeSet<&str> =
        operators.iter().flat_map(|operator| operator.tables.keys()).map(String::as_str).collect();
    let Some(table) = tables.iter().find(|table| !known.contains(table.as_str())) else { return Ok(()) };
    let hint = did_you_mean(table, known.iter().copied()).map_or_else(
        || format!("there are {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
        |meant| format!("did you mean «{meant}»?"),
    );
    bail!("there is no table «{table}»; {hint}")
}

fn read_all<'a>(
    operators: &[&'a Operator],
    tables: &[String],
    flows: &Path,
) -> anyhow::Result<(Vec<Ready<'a>>, Vec<RowFault>)> {
    let (mut ready, mut faults) = (Vec::new(), Vec::new());
    for operator in operators.iter().copied() {
        let wanted = |table: &&Table| tables.is_empty() || tables.contains(&table.name);
        for table in operator.tables.values().filter(wanted) {
            let paths = csv_paths(&operator.id, &table.name);
            let mut found = None;
            for path in &paths {
                found = read_below(flows, path)?;
                if found.is_some() {
                    break;
                }
            }
            let Some((file, bytes)) = found else {
                if tables.is_empty() {
                    eprintln!("{}/{}: no file, left as it is", operator.id, table.name);
                    continue;
                }
                bail!("there is neither {} nor {} in {}", paths[0], paths[1], flows.display());
            };
            match read_table(operator, table, &file, &bytes) {
                Ok(rows) => ready.push(Ready { operator, table, file, rows }),
                Err(found) => faults.extend(found),
            }
        }
    }
    Ok((ready, faults))
}

async fn replace(ready: &mut [Ready<'_>], key: &SecretKey, place: &StorePlace, json: bool) -> anyhow::Result<()> {
    let store = place.prepare().await.context("nothing was imported")?;
    let names: Vec<(String, usize)> = ready
        .iter()
        .scan(0, |sum, ready| {
            let before = std::mem::replace(sum, *sum + ready.rows.len());
            Some((format!("{}/{}", ready.operator.id, ready.table.name), before))
        })
        .collect();
    let rows: usize = ready.iter().map(|table| table.rows.len()).sum();
    let bar = ProgressBar::new(u64::try_from(rows)?).with_style(
        ProgressStyle::with_template("{prefix:24} {bar:30} {pos}/{len} rows").context("the progress bar's template")?,
    );
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut progress = |place: usize, rows: usize| {
        if let Some((name, before)) = names.get(place) {
            bar.set_prefix(name.clone());
            bar.set_position(u64::try_from(before + rows).unwrap_or(u64::MAX));
        }
    };
    let replaced = import::replace_all(&store, key, ready, &mut progress).await;
    bar.finish_and_clear();
    replaced.context("nothing was imported")?;
    store.close().await;
    if json {
        let imported: Vec<serde_json::Value> = ready
            .iter()
            .map(|Ready { operator, table, file, rows }| {
                serde_json::json!({ "operator": operator.id, "table": table.name, "rows": rows.len(), "file": file })
            })
            .collect();
        println!("{:#}", serde_json::json!({ "imported": imported, "bad_rows": [] }));
    } else {
        for Ready { operator, table, file, rows } in ready.iter() {
            println!("{}/{}: {} from {file}", operator.id, table.name, counted(rows.len(), "row"));
        }
    }
    Ok(())
}

fn fault_json(fault: &RowFault) -> serde_json::Value {
    serde_json::json!({
        "file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message,
        "suggestion": fault.suggestion,
    })
}
