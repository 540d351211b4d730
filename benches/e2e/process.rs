//! Programs that run on a core of their own until they are dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use crate::Failure;

/// Where who is measured runs.
pub(crate) const SERVER: usize = 0;
/// Where who asks runs, and what stands behind.
pub(crate) const OTHERS: usize = 1;

/// Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, for some have children of their own.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it pinned to a core, and waits until it takes connections.
pub(crate) fn start(
    core: usize,
    address: SocketAddr,
    command: &mut Command,
) -> Result<Running, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let log = folder()?.join(format!("{}.log", address.port()));
    let mut child = pinned(core, command)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log)?)
        .stderr(fs::File::options().append(true).open(&log)?)
        .spawn()?;
    for _ in 0..1000 {
        if TcpStream::connect(address).is_ok() {
            return Ok(Running { child, address });
        }
        if child.try_wait()?.is_some() {
            break;
        }
        pause();
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("{name} did not start: see {}", log.display()).into())
}

/// The same command on one core, where there are two and taskset to choose.
pub(crate) fn pinned(core: usize, command: &Command) -> Command {
    if !can_pin() {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        return moved(same, command);
    }
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &core.to_string()]);
    pinned.arg(command.get_program()).args(command.get_args());
    moved(pinned, command)
}

fn moved(mut to: Command, from: &Command) -> Command {
    if let Some(folder) = from.get_current_dir() {
        to.current_dir(folder);
    }
    let variables = from.get_envs();
    to.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    to
}

pub(crate) fn can_pin() -> bool {
    let threads = std::thread::available_parallelism();
    threads.is_ok_and(|threads| threads.get() > OTHERS) && is_installed("taskset")
}

/// Whether there is such a program, also where only root looks for it.
pub(crate) fn is_installed(program: &str) -> bool {
    find(program).is_some()
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let mut files = folders.map(|folder| folder.join(program));
    files.find(|file| file.is_file())
}

/// An address that nobody uses.
pub(crate) fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// For what servers write: in the target folder.
pub(crate) fn folder() -> io::Result<PathBuf> {
    let folder = env::current_exe()?.with_file_name("e2e-files");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Between two looks at something that another process does.
#[expect(clippy::disallowed_methods, reason = "another process has no waker")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Sends one request, and reads its answer until the server closes: the head, and what is there of the body.
pub(crate) fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
