//! Servers on loopback, and how long they were busy: by the scheduler's account and not by the clock, so that neither who asks nor who else is on the
//! machine is in it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower_service::Service;

const CONNECTIONS: usize = 16;
const REQUEST: &[u8] = b"GET /products/42 HTTP/1.1\r\nhost: shop.example\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0)\r\naccept: */*\r\naccept-encoding: gzip, br\r\n\r\n";

/// A server that runs, and connections to it.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    /// A task in `/proc`, or the folder with all of a process.
    tasks: PathBuf,
    connections: Vec<TcpStream>,
    /// Killed at the end.
    _process: Option<Process>,
    /// What it stands in front of.
    _origin: Option<Box<Served>>,
}

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A thread of this process with hyper and a service of its own.
///
/// # Errors
///
/// Where no thread or no port is to be had, or no account of what a thread spends.
pub fn serve<S, B>(service: impl FnOnce() -> S + Send + 'static) -> io::Result<Served>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (tell, told) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let task = fs::read_link("/proc/thread-self");
        let _ = tell.send(task.map(|task| Path::new("/proc").join(task)));
        serve_on(listener, service())
    })?;
    let task = told.recv().map_err(io::Error::other)??;
    Served::connect(address, task, None)
}

/// Serves with this thread alone, for ever.
///
/// # Errors
///
/// Where there is no runtime to be had.
pub fn serve_on<S, B>(listener: TcpListener, service: S) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = TowerToHyperService::new(service.clone());
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    })
}

/// A program of our examples, built first, on a port that it chooses: its first line ends with its address.
///
/// # Errors
///
/// Where it cannot be built or started.
pub fn spawn(program: &str, args: &[&str]) -> io::Result<Served> {
    let mut child = Command::new(built(program)?)
        .args(["--listen", "127.0.0.1:0"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()?;
    let tasks = PathBuf::from(format!("/proc/{}/task", child.id()));
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    let process = Process(child);
    let address = line.trim().rsplit('/').next().unwrap_or_default().parse();
    let address = address.map_err(|_| io::Error::other(format!("{program} said {line:?}")))?;
    Served::connect(address, tasks, Some(process))
}

/// In the same profile as this program.
fn built(program: &str) -> io::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--profile", "bench", "-p", "examples"])
        .args(["--bin", program])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if !build.status()?.success() {
        return Err(io::Error::other(format!("{program} was not built")));
    }
    Ok(env::current_exe()?.with_file_name(program))
}

impl Served {
    fn connect(address: SocketAddr, tasks: PathBuf, process: Option<Process>) -> io::Result<Self> {
        let connect = |_| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(stream)
        };
        let connections: io::Result<Vec<_>> = (0..CONNECTIONS).map(connect).collect();
        Ok(Self {
            address,
            tasks,
            connections: connections?,
            _process: process,
            _origin: None,
        })
    }

    /// Keeps the one that this one asks, as long as this one is there.
    #[must_use]
    pub fn behind(self, origin: Self) -> Self {
        Self {
            _origin: Some(Box::new(origin)),
            ..self
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends at least so many requests, on all connections at once, and reads what they are answered with.
    ///
    /// # Errors
    ///
    /// When an answer is missing, or is not a success.
    pub fn ask(&mut self, requests: u32) -> io::Result<()> {
        for _ in 0..requests.div_ceil(CONNECTIONS as u32) {
            for connection in &mut self.connections {
                connection.write_all(REQUEST)?;
            }
            self.connections.iter_mut().try_for_each(read)?;
        }
        Ok(())
    }

    /// For how long it has had a processor.
    ///
    /// # Errors
    ///
    /// Where the kernel keeps no account of it.
    pub fn busy(&self) -> io::Result<Duration> {
        if !self.tasks.ends_with("task") {
            return spent(&self.tasks);
        }
        let tasks = fs::read_dir(&self.tasks)?;
        tasks.map(|task| spent(&task?.path())).sum()
    }
}

/// Why nobody can say how long a server was busy, where that is so. A kernel that does not count says of this thread, too, that it never had a processor.
pub(super) fn no_account() -> Option<String> {
    match fs::read_to_string("/proc/thread-self/schedstat") {
        Ok(text) if text.trim() == "0 0 0" => {
            Some("the kernel does not count what a task spends".to_owned())
        }
        Ok(_) => None,
        Err(error) => Some(format!("no account of what a task spends: {error}")),
    }
}

fn spent(task: &Path) -> io::Result<Duration> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| io::Error::other(format!("it says {text:?}")))
}

/// One answer, by its length.
fn read(connection: &mut TcpStream) -> io::Result<()> {
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        filled += match connection.read(&mut buffer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => more,
        };
        if whole(&buffer[..filled]).is_some_and(|whole| filled >= whole) {
            break;
        }
    }
    if buffer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    let head = String::from_utf8_lossy(&buffer[..filled]).into_owned();
    Err(io::Error::other(head))
}

/// How long the answer is whose head is there.
fn whole(answer: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length: ";
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let at = answer[..head]
        .windows(LENGTH.len())
        .position(|name| name.eq_ignore_ascii_case(LENGTH))?;
    let digits = answer[at + LENGTH.len()..head]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Some(head + length)
}
