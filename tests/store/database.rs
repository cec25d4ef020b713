//! Databases for tests: a file in a folder of its own, or a PostgreSQL cluster started for this test run.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use contesta::store::Store;
use sqlx::Connection;
use tempfile::TempDir;

/// A fresh, empty database with its data directory. Dropping it removes both.
pub struct Database {
    pub url: String,
    pub data: TempDir,
    /// Keeps the server up while its database is used.
    cluster: Option<Arc<Cluster>>,
}

impl Database {
    pub fn sqlite() -> Self {
        let data = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", data.path().join("contesta.db").display());
        Self { url, data, cluster: None }
    }

    /// A new database of the cluster.
    pub fn postgres(cluster: &Arc<Cluster>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("contesta_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        cluster.psql(&format!("CREATE DATABASE {name}"));
        let url = format!("postgres://postgres@127.0.0.1:{}/{name}", cluster.port);
        Self { url, data: tempfile::tempdir().unwrap(), cluster: Some(Arc::clone(cluster)) }
    }

    /// The same database seen from another machine, with a data directory of its own.
    pub fn beside(&self) -> Self {
        Self { url: self.url.clone(), data: tempfile::tempdir().unwrap(), cluster: self.cluster.clone() }
    }

    /// How many rows of tables lie in it, read or not, for another client than the store.
    pub async fn table_rows(&self) -> i64 {
        const COUNT: &str = "SELECT COUNT(*) FROM table_rows";
        match &self.cluster {
            Some(cluster) => cluster.psql_in(self, COUNT).parse().unwrap(),
            None => {
                let mut file = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(COUNT).fetch_one(&mut file).await.unwrap()
            }
        }
    }

    pub async fn open(&self) -> Store {
        Store::open(&self.url, self.data.path()).await.unwrap()
    }
}

/// A PostgreSQL server on a free loopback port, its files in a temporary folder, run by the user `postgres` when we are root
/// (the server refuses to run as root).
pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    pub port: u16,
}

impl Cluster {
    pub fn start() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let bin = newest_bin();
        // The port is free at this moment; should somebody take it first, pg_ctl fails and says so.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { folder, bin, port };
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(cluster.folder.path()).status().unwrap();
            assert!(owned.success(), "cannot give the cluster's folder to postgres");
        }
        let data = cluster.data();
        cluster.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]);
        cluster.up();
        Arc::new(cluster)
    }

    /// Starts the server and waits until it answers.
    pub fn up(&self) {
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''", self.port);
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["start", "-w", "-t", "60", "-D", &self.data(), "-l", &log, "-o", &options]);
    }

    /// Stops the server as a power cut does.
    pub fn down(&self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate", "-D", &self.data()]);
    }

    pub fn psql(&self, sql: &str) -> String {
        self.ask("postgres", sql)
    }

    /// Asks another client than ours what one of its databases holds.
    pub fn psql_in(&self, database: &Database, sql: &str) -> String {
        self.ask(database.url.rsplit('/').next().unwrap(), sql)
    }

    fn ask(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let output =
            self.run("psql", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", database, "-XAtc", sql]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, tool: &str, args: &[&str]) -> Output {
        let output = self.command(tool).args(args).output().unwrap();
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{tool}: {}{}", told(&output.stdout), told(&output.stderr));
        output
    }

    fn command(&self, tool: &str) -> Command {
        let tool = self.bin.join(tool);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(tool);
            command
        } else {
            Command::new(tool)
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        // It may be down already; then there is nothing to stop.
        let _ = self.command("pg_ctl").args(["stop", "-w", "-m", "immediate", "-D", &data]).output();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// `/usr/lib/postgresql/<newest>/bin`, Debian's place.
fn newest_bin() -> PathBuf {
    let root = Path::new("/usr/lib/postgresql");
    let entries = std::fs::read_dir(root).expect("PostgreSQL's server is not installed: apt-get install postgresql");
    let newest = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok()).max();
    root.join(newest.expect("a version of PostgreSQL").to_string()).join("bin")
}
