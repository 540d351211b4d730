//! A private Postgres.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::child::{Running, find, folder, on_a_free_port, unprivileged};

/// A Postgres cluster of one's own, with its defaults of durability. User `postgres`, database `postgres`, no password.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    folder: TempDir,
    /// `None` after [`kill`](Self::kill).
    running: Option<Running>,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    ///
    /// When Postgres is not installed, or does not come up.
    pub fn start() -> io::Result<Self> {
        let folder = folder()?;
        let mut init = unprivileged(program("initdb")?);
        init.current_dir(folder.path())
            .args(["--username", "postgres", "--auth", "trust"]);
        init.args(["--encoding", "UTF8", "--locale", "C", "--pgdata"])
            .arg(data(&folder));
        finish(init)?;
        let (port, running) = on_a_free_port(|port| run(&folder, port))?;
        Ok(Self {
            port,
            folder,
            running: Some(running),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }

    /// Kills it with SIGKILL, as a crash would. Its data stay for [`restart`](Self::restart).
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again, on the same port and the same data; it recovers first.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        // Its children see that it is gone, and go too, but not at the same moment; until then a new one refuses to start.
        // A try takes some ten milliseconds: a minute in all, for children that sync what they have.
        for _ in 0..4000 {
            match run(&self.folder, self.port) {
                Err(error) if error.to_string().contains("is still in use") => {}
                started => {
                    self.running = Some(started?);
                    return Ok(());
                }
            }
        }
        Err(io::Error::other("its children do not end"))
    }

    /// Runs SQL through `psql`, and gives the rows as text: for a look at the server from outside of the client under test.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or does not take the SQL.
    pub fn ask(&self, sql: &str) -> io::Result<String> {
        let mut psql = Command::new(program("psql")?);
        psql.arg(self.url()).args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--command",
            sql,
        ]);
        finish(psql).map(|rows| rows.trim_end().to_owned())
    }
}

fn run(folder: &TempDir, port: u16) -> io::Result<Running> {
    let mut command = unprivileged(program("postgres")?);
    command
        .current_dir(folder.path())
        .arg("-D")
        .arg(data(folder))
        .args(["-p", &port.to_string()]);
    // Over TCP alone; a socket in a common folder would be in others' way.
    command.args([
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
    ]);
    Running::start(command, "database system is ready to accept connections")
}

fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

/// Runs a command to its end.
fn finish(mut command: Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Debian keeps the server's programs off the path, one folder per version: the newest.
fn program(name: &str) -> io::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    find(name, folders)
}

fn version(folder: &Path) -> Option<u32> {
    folder.parent()?.file_name()?.to_str()?.parse().ok()
}
