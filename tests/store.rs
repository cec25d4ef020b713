//! One suite, run against SQLite and against a real PostgreSQL that the test starts and stops itself.

#[path = "store/database.rs"]
mod database;
#[path = "store/killed.rs"]
mod killed;
#[path = "store/outage.rs"]
mod outage;
#[path = "store/suite.rs"]
mod suite;
