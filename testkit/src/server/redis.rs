//! A private Redis.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::child::{Running, find, folder, give, on_a_free_port, unprivileged};

/// A `redis-server` of one's own, or the server that the environment names in `BUTTRESS_REDIS_SERVER`, like `valkey-server`. It writes every change through
/// (`appendfsync always`) and evicts nothing.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: TempDir,
    part: Part,
    /// `None` after [`kill`](Self::kill).
    running: Option<Running>,
}

/// What a server is among others.
#[derive(Clone, Copy, Debug)]
enum Part {
    Alone,
    OfCluster,
    /// Of the server at this port.
    ReplicaOf(u16),
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When `redis-server` is not installed, or does not come up.
    pub fn start() -> io::Result<Self> {
        Self::start_as(Part::Alone)
    }

    fn start_as(part: Part) -> io::Result<Self> {
        let folder = folder()?;
        let (port, running) = on_a_free_port(|port| run(&folder, port, part))?;
        Ok(Self {
            port,
            folder,
            part,
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
        self.running = Some(run(&self.folder, self.port, self.part)?);
        Ok(())
    }

    /// Sends one command, without spaces in its words, and gives the raw reply: for a look at the server from outside of the client
    /// under test.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        ask(self.address(), command)
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
            .map(|_| Redis::start_as(Part::OfCluster))
            .collect::<Result<_, _>>()?;
        for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            node.ask(&format!("CLUSTER ADDSLOTSRANGE {slots}"))?;
            node.ask(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[0].port))?;
        }
        until("the servers do not find each other", || {
            let known = |node: &Redis| {
                let info = node.ask("CLUSTER INFO")?;
                Ok(info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3"))
            };
            let known: io::Result<Vec<bool>> = nodes.iter().map(known).collect();
            Ok(known?.iter().all(|known| *known))
        })?;
        Ok(Self(nodes))
    }

    /// The servers, to be treated one by one.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.0
    }

    /// The URL of each.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(Redis::url).collect()
    }
}

/// A master, its replica, and a sentinel that watches over them.
#[derive(Debug)]
pub struct RedisSentinel {
    master: Redis,
    replica: Redis,
    port: u16,
    _folder: TempDir,
    _running: Running,
}

impl RedisSentinel {
    /// What the sentinel calls the master.
    pub const NAME: &str = "main";

    /// While nobody is killed: a busy machine keeps a server silent for longer than any patience that a test has.
    const FOR_EVER: u32 = 3_600_000;
    const BRIEFLY: u32 = 300;

    /// Starts them, and waits until the sentinel knows both.
    ///
    /// # Errors
    ///
    /// When `redis-server` is not installed, or one of them does not come up.
    pub fn start() -> io::Result<Self> {
        let master = Redis::start()?;
        let replica = Redis::start_as(Part::ReplicaOf(master.port))?;
        let folder = folder()?;
        let (port, running) = on_a_free_port(|port| watch(&folder, port, &master))?;
        let started = Self {
            master,
            replica,
            port,
            _folder: folder,
            _running: running,
        };
        until("the sentinel does not find the replica", || {
            let replicas = started.ask(&format!("SENTINEL REPLICAS {}", Self::NAME))?;
            Ok(replicas.contains("master-link-status\r\n$2\r\nok"))
        })?;
        Ok(started)
    }

    /// Where the sentinel is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the master with SIGKILL, and waits until the replica is the master.
    ///
    /// # Errors
    ///
    /// When it does not become one.
    pub fn kill_master(&mut self) -> io::Result<()> {
        self.master.kill();
        self.be_patient(Self::BRIEFLY)?;
        let named = format!("\r\n{}\r\n", self.replica.port);
        until("the sentinel names nobody else", || {
            let master = self.ask(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {}", Self::NAME))?;
            Ok(format!("{master}\r\n").contains(&named))
        })?;
        self.be_patient(Self::FOR_EVER)
    }

    /// How many milliseconds a server may be silent until the sentinel thinks that it is down.
    fn be_patient(&self, milliseconds: u32) -> io::Result<()> {
        let name = Self::NAME;
        let set = format!("SENTINEL SET {name} down-after-milliseconds {milliseconds}");
        self.ask(&set).map(drop)
    }

    fn ask(&self, command: &str) -> io::Result<String> {
        ask((Ipv4Addr::LOCALHOST, self.port).into(), command)
    }
}

fn watch(folder: &TempDir, port: u16, master: &Redis) -> io::Result<Running> {
    let settings = folder.path().join("sentinel.conf");
    let (name, of, patience) = (RedisSentinel::NAME, master.port, RedisSentinel::FOR_EVER);
    std::fs::write(
        &settings,
        format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {of} 1\n\
             sentinel down-after-milliseconds {name} {patience}\nsentinel failover-timeout {name} 5000\n"
        ),
    )?;
    // It writes down there what it learns.
    give(&settings)?;
    let mut command = unprivileged(program()?);
    command.current_dir(folder.path());
    command.arg(&settings).arg("--sentinel");
    Running::start(command, "+monitor master")
}

/// Asks again and again: servers tell each other, and never us.
fn until(else_: &str, mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let (_open, nothing) = mpsc::channel::<()>();
    for _ in 0..3000 {
        if is_so()? {
            return Ok(());
        }
        let _ = nothing.recv_timeout(Duration::from_millis(20));
    }
    Err(io::Error::other(else_))
}

fn ask(address: SocketAddr, command: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
    // A sentinel does not know QUIT, and ends with its client.
    connection.shutdown(Shutdown::Write)?;
    let mut reply = String::new();
    connection.read_to_string(&mut reply)?;
    Ok(reply
        .trim_end()
        .trim_end_matches("+OK")
        .trim_end()
        .to_owned())
}

/// `redis-server`, or what `BUTTRESS_REDIS_SERVER` names in its place: another version, or `valkey-server`; a path, or a name to be found on the path.
fn program() -> io::Result<PathBuf> {
    let named = std::env::var("BUTTRESS_REDIS_SERVER").ok();
    let program = named.as_deref().unwrap_or("redis-server");
    if Path::new(program).components().count() > 1 {
        // A server runs in a folder of its own.
        return std::fs::canonicalize(program);
    }
    find(program, [])
}

fn run(folder: &TempDir, port: u16, part: Part) -> io::Result<Running> {
    let mut command = unprivileged(program()?);
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
    match part {
        Part::Alone => {}
        // Its bus is at a port ten thousand higher: where there is none, another port is tried.
        Part::OfCluster => {
            command.args(["--cluster-enabled", "yes"]);
        }
        Part::ReplicaOf(port) => {
            command.args(["--replicaof", &format!("127.0.0.1 {port}")]);
            command.args(["--repl-diskless-sync-delay", "0"]);
        }
    }
    Running::start(command, "Ready to accept connections")
}
