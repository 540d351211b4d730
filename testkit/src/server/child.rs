//! A server process: who it runs as, where its data are, when it is up, and its end.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// A process that is killed, with SIGKILL, when this is dropped.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Running {
    /// Starts `command` and waits until a line of its output has `ready` in it. An error if it ends before, or takes a minute.
    pub(super) fn start(mut command: Command, ready: &'static str) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Self(command.spawn()?);
        let (said, heard) = mpsc::channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            running.0.stdout.take().map(|out| Box::new(out) as _),
            running.0.stderr.take().map(|err| Box::new(err) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let said = said.clone();
            // Reads on for as long as the server lives, so that a full pipe never stops it.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = said.send(line);
                }
            });
        }
        drop(said);
        let mut all = String::new();
        while let Ok(line) = heard.recv_timeout(Duration::from_secs(60)) {
            if line.contains(ready) {
                return Ok(running);
            }
            all.push_str(&line);
            all.push('\n');
        }
        Err(io::Error::other(format!(
            "the server did not come up; it said:\n{all}"
        )))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who servers run as when we are root: they refuse to be root, or should.
const NOBODY: u32 = 65534;

/// A command that runs as somebody without rights.
pub(super) fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    #[cfg(unix)]
    if is_root() {
        use std::os::unix::process::CommandExt;
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// An empty folder that [`unprivileged`] commands may write to.
pub(super) fn folder() -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("testkit-").tempdir()?;
    give(folder.path())?;
    Ok(folder)
}

/// Lets [`unprivileged`] commands write to it.
pub(super) fn give(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Our own process's folder belongs to whom we are.
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Tries ports that are free now until `start` succeeds on one: another process may take it in between.
pub(super) fn on_a_free_port<T>(
    mut start: impl FnMut(u16) -> io::Result<T>,
) -> io::Result<(u16, T)> {
    let mut last = io::Error::other("no port was tried");
    for _ in 0..5 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        match start(port) {
            Ok(started) => return Ok((port, started)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Where a program is: on the path, or in one of `folders`.
pub(super) fn find(
    program: &str,
    folders: impl IntoIterator<Item = PathBuf>,
) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(folders)
        .map(|folder| folder.join(program))
        .find(|candidate| Path::is_file(candidate));
    found.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{program} is not installed; ./ci/needs installs it"),
        )
    })
}
