//! A worker, seen from outside.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use testkit::server::Redis;

/// What each line of a worker begins with; the test harness writes lines of its own.
pub(crate) const MARK: &str = "worker: ";
pub(crate) const URL: &str = "DEDUP_TEST_URL";
pub(crate) const LEASE: &str = "DEDUP_TEST_LEASE";

/// Another process of this binary. Killed with SIGKILL when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(redis: &Redis, lease: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker::works_when_it_is_told_to", "--nocapture"])
            .env(URL, redis.url())
            .env(LEASE, lease)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once(MARK) {
                    let _ = said.send(line.to_owned());
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        let mut process = Self {
            child,
            stdin,
            lines,
        };
        process.hears("ready");
        process
    }

    pub(crate) fn say(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
    }

    /// Waits for its next line, which has to be this.
    #[track_caller]
    pub(crate) fn hears(&mut self, expected: &str) {
        // So that a test that fails does not hang.
        let line = self.lines.recv_timeout(Duration::from_secs(60));
        assert_eq!(line.as_deref(), Ok(expected));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
