//! A private Redis.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use tempfile::TempDir;

use super::child::{Running, find, folder, on_a_free_port, unprivileged};

/// A `redis-server` of one's own. It writes every change through (`appendfsync always`) and evicts nothing.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: TempDir,
    /// `None` after [`kill`](Self::kill).
    running: Option<Running>,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When `redis-server` is not installed, or does not come up.
    pub fn start() -> io::Result<Self> {
        let folder = folder()?;
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
        format!("redis://{}", self.address())
    }

    /// Kills it with SIGKILL. Its data stay for [`restart`](Self::restart).
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again, on the same port and the same data.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        self.running = Some(run(&self.folder, self.port)?);
        Ok(())
    }

    /// Sends one command, without spaces in its words, and gives the raw reply: for a look at the server from outside of the client
    /// under test.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        let mut connection = TcpStream::connect(self.address())?;
        connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
        let mut reply = String::new();
        connection.read_to_string(&mut reply)?;
        Ok(reply
            .trim_end()
            .trim_end_matches("+OK")
            .trim_end()
            .to_owned())
    }
}

fn run(folder: &TempDir, port: u16) -> io::Result<Running> {
    let mut command = unprivileged(find("redis-server", [])?);
    command
        .current_dir(folder.path())
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args([
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--save",
        "",
    ]);
    command.args(["--maxmemory-policy", "noeviction"]);
    Running::start(command, "Ready to accept connections")
}
