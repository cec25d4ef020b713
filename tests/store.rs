//! One suite, run against SQLite and against a real PostgreSQL that the test starts and stops itself.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stages its world"
)]

#[path = "store/database.rs"]
mod database;
#[path = "store/killed.rs"]
mod killed;
#[path = "store/outage.rs"]
mod outage;
#[path = "store/suite.rs"]
mod suite;
