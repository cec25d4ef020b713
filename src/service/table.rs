//! Services that read one row of an imported table: by key, by any columns, or the n-th of those that match.

use anyhow::{Context, bail};

use crate::operator::{Operator, Service, Source, Table};
use crate::service::secret::{SecretKey, SecretPlace};
use crate::service::{Answered, plain};
use crate::store::{Store, row_key};
use crate::value::{Value, Values};

/// Answers a service whose source is a table.
///
/// Rows match when each pair's column equals its argument, and a secret one is what `key` makes of it. With a position (1 is the first) they are taken in the order of the
/// table's key columns, without one in the order of the file. Beyond the last row, or below the first, is `missing`.
pub(super) async fn answer(
    store: &Store,
    key: &SecretKey,
    operator: &Operator,
    service: &Service,
    args: &Values,
) -> Answered {
    let Source::Table { table, keys, position, found, missing } = &service.source else {
        bail!("it reads no table");
    };
    let table = operator.tables.get(table).with_context(|| format!("there is no table `{table}`"))?;
    let pairs: Vec<(&str, &Value)> = keys
        .iter()
        .map(|(column, argument)| Ok((column.as_str(), args.get(argument).context("an argument is missing")?)))
        .collect::<anyhow::Result<_>>()?;
    let is_secret = |(column, _): &(&str, &Value)| table.secrets.iter().any(|secret| secret == column);
    let (secrets, wanted): (Vec<_>, Vec<_>) = pairs.into_iter().partition(is_secret);

    let mut rows = candidates(store, operator, table, &wanted).await?;
    rows.retain(|row| wanted.iter().all(|(column, value)| row.get(*column) == Some(value)));
    for (column, digits) in secrets {
        let digits = digits.to_string();
        let mut opened = Vec::new();
        for row in rows {
            if opens(key, operator, table, column, &row, &digits)? {
                opened.push(row);
            }
        }
        rows = opened;
    }
    let place = match position {
        None => Some(0),
        Some(argument) => {
            rows.sort_by(|a, b| table.key.iter().map(|column| a.get(column)).cmp(table.key.iter().map(|c| b.get(c))));
            match args.get(argument) {
                Some(Value::Number(place)) => place.checked_sub(1).and_then(|place| usize::try_from(place).ok()),
                Some(_) | None => bail!("the position `{argument}` is no number"),
            }
        }
    };
    let Some(row) = place.filter(|place| *place < rows.len()).map(|place| rows.swap_remove(place)) else {
        if rows.is_empty() && store.table(&operator.id, &table.name).await?.is_none() {
            bail!("the table {} was never imported: contesta import --operator {}", table.name, operator.id);
        }
        return Ok(plain(missing));
    };
    let result = match found {
        Ok(result) => result.clone(),
        Err(column) => row.get(column).with_context(|| format!("the row has no `{column}`"))?.to_string(),
    };
    let declared =
        service.results.get(&result).with_context(|| format!("the row's result `{result}` is not declared"))?;
    let values = declared
        .keys()
        .map(|name| {
            let value = row.get(name).with_context(|| format!("the row has no `{name}`"))?;
            Ok((name.clone(), value.clone()))
        })
        .collect::<anyhow::Result<Values>>()?;
    Ok((result, values))
}

/// Whether these digits are the ones that the row's secret column keeps sealed.
fn opens(
    key: &SecretKey,
    operator: &Operator,
    table: &Table,
    column: &str,
    row: &Values,
    digits: &str,
) -> anyhow::Result<bool> {
    let Some(Value::Text(sealed)) = row.get(column) else { bail!("the row has no `{column}`") };
    let values: Vec<String> = table.key.iter().filter_map(|column| row.get(column)).map(ToString::to_string).collect();
    let row = row_key(values.iter().map(String::as_str));
    key.opens(SecretPlace { operator: &operator.id, table: &table.name, row: &row, column }, sealed, digits)
}

/// As few rows as an index can give: one by the whole key, else those of a text column, else all.
async fn candidates(
    store: &Store,
    operator: &Operator,
    table: &Table,
    wanted: &[(&str, &Value)],
) -> anyhow::Result<Vec<Values>> {
    let of = |column: &str| wanted.iter().find(|(name, _)| *name == column).map(|(_, value)| value.to_string());
    let key: Option<Vec<String>> = table.key.iter().map(|column| of(column)).collect();
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        let key = row_key(key.iter().map(String::as_str));
        return Ok(store.table_row(&operator.id, &table.name, &key).await?.into_iter().collect());
    }
    let text = wanted.iter().find_map(|(column, value)| match value {
        Value::Text(text) => Some((*column, text.as_str())),
        Value::Number(_) | Value::Money(_) | Value::Date(_) | Value::Moment(_) | Value::Flag(_) => None,
    });
    store.table_rows(&operator.id, &table.name, text).await
}
