//! A private Redis.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::child::{Running, find, folder, on_a_free_port, unprivileged};

/// A `redis-server` of one's own. It writes every change through (`appendfsync always`) and evicts nothing.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: TempDir,
    clustered: bool,
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
        Self::start_as(false)
    }

    fn start_as(clustered: bool) -> io::Result<Self> {
        let folder = folder()?;
        let (port, running) = on_a_free_port(|port| run(&folder, port, clustered))?;
        Ok(Self {
            port,
            folder,
            clustered,
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
        self.running = Some(run(&self.folder, self.port, self.clustered)?);
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

/// Three [`Redis`] servers that share the slots of a cluster.
#[derive(Debug)]
pub struct RedisCluster(Vec<Redis>);

impl RedisCluster {
    /// Starts one, and waits until each server knows the others.
    ///
    /// # Errors
    ///
    /// When `redis-server` is not installed, is older than 7, or does not come up.
    pub fn start() -> io::Result<Self> {
        let nodes: Vec<_> = (0..3)
            .map(|_| Redis::start_as(true))
            .collect::<Result<_, _>>()?;
        for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            node.ask(&format!("CLUSTER ADDSLOTSRANGE {slots}"))?;
            node.ask(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[0].port))?;
        }
        let (_open, nothing) = mpsc::channel::<()>();
        for _ in 0..3000 {
            let known = |node: &Redis| {
                let info = node.ask("CLUSTER INFO")?;
                Ok(info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3"))
            };
            let known: io::Result<Vec<bool>> = nodes.iter().map(known).collect();
            if known?.iter().all(|known| *known) {
                return Ok(Self(nodes));
            }
            // They tell each other ten times a second, and us never.
            let _ = nothing.recv_timeout(Duration::from_millis(20));
        }
        Err(io::Error::other("the servers do not find each other"))
    }

    /// The URL of each.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(Redis::url).collect()
    }
}

fn run(folder: &TempDir, port: u16, clustered: bool) -> io::Result<Running> {
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
    if clustered {
        // Its bus is at a port ten thousand higher: where there is none, another port is tried.
        command.args(["--cluster-enabled", "yes"]);
    }
    Running::start(command, "Ready to accept connections")
}
