//! Wrong tries to verify an account, over all calls: four digits are ten thousand guesses, and a caller may call again.
//!
//! A try is counted before the secret is compared and taken back when it was right, or was not compared: callers who try at the
//! same moment cannot all be the first. It is durable before it is answered, and never spooled: a try that cannot be counted
//! is not taken.

use jiff::Timestamp;

use crate::flow::action::Lockout;
use crate::store::sql::{Conn, Failure, args};
use crate::store::{events, millis, moment};

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It counts; its id takes it back.
    Counted(String),
    /// The account takes no tries until then.
    Locked(Timestamp),
}

/// Counts a try, unless the account is locked. The last one that `lockout` allows locks it until it is taken back.
pub(super) async fn count(
    conn: &mut Conn,
    operator: &str,
    subject: &str,
    lockout: Lockout,
    at: Timestamp,
    id: String,
) -> Result<Tried, Failure> {
    let locks = "SELECT until FROM verification_locks WHERE operator = $1 AND subject = $2";
    let locked = conn.fetch(locks, args![operator, subject]).await?.first().map(|row| row.int(0)).transpose()?;
    if let Some(until) = locked
        && until > millis(at)
    {
        return Ok(Tried::Locked(moment(until)?));
    }
    let window = i64::try_from(lockout.window.as_millis()).unwrap_or(i64::MAX);
    let since = millis(at).saturating_sub(window).max(locked.unwrap_or(i64::MIN));
    conn.execute(
        "DELETE FROM verification_tries WHERE operator = $1 AND subject = $2 AND at < $3",
        args![operator, subject, since],
    )
    .await?;
    conn.execute(
        "INSERT INTO verification_tries (id, operator, subject, at) VALUES ($1, $2, $3, $4)",
        args![id.as_str(), operator, subject, millis(at)],
    )
    .await?;
    let tries = "SELECT COUNT(*) FROM verification_tries WHERE operator = $1 AND subject = $2";
    let tries = conn.fetch(tries, args![operator, subject]).await?.first().map(|row| row.int(0)).transpose()?;
    if tries.unwrap_or(0) >= i64::from(lockout.tries) {
        let lasts = i64::try_from(lockout.lasts.as_millis()).unwrap_or(i64::MAX);
        conn.execute(
            "INSERT INTO verification_locks (operator, subject, until, try) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (operator, subject) DO UPDATE SET until = excluded.until, try = excluded.try",
            args![operator, subject, millis(at).saturating_add(lasts), id.as_str()],
        )
        .await?;
        events::append(conn, at, "verification_locked", operator, subject).await?;
    }
    Ok(Tried::Counted(id))
}

/// A try that was not compared does not count.
pub(super) async fn take_back(conn: &mut Conn, id: &str) -> Result<(), Failure> {
    conn.execute("DELETE FROM verification_tries WHERE id = $1", args![id]).await?;
    conn.execute("DELETE FROM verification_locks WHERE try = $1", args![id]).await?;
    Ok(())
}

/// Who knew the secret is its owner: nothing that was tried before counts any more.
pub(super) async fn forgive(conn: &mut Conn, operator: &str, subject: &str) -> Result<(), Failure> {
    for sql in [
        "DELETE FROM verification_tries WHERE operator = $1 AND subject = $2",
        "DELETE FROM verification_locks WHERE operator = $1 AND subject = $2",
    ] {
        conn.execute(sql, args![operator, subject]).await?;
    }
    Ok(())
}
