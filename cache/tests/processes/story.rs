//! Rounds of work, each with a fault in it.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use testkit::server::Redis;

use crate::check::{Checker, Line, Told};
use crate::fault::Fault;
use crate::servers::Servers;
use crate::worker::Work;

/// How many processes there are.
const PROCESSES: usize = 4;
/// How many operations each does in a round.
const OPERATIONS: usize = 600;
/// In how many rounds without a fault all is well again: one does, where the machine has time for it.
const WELL: usize = 20;

pub(crate) struct Story {
    servers: Servers,
    database: Redis,
    processes: Vec<Process>,
    checker: Checker,
}

struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Story {
    pub(crate) fn begin(servers: Servers) -> Self {
        let mut story = Self {
            processes: vec![],
            checker: Checker::default(),
            servers,
            database: Redis::start().unwrap(),
        };
        story.processes = (0..PROCESSES).map(|_| story.process()).collect();
        story
    }

    /// Lets all work, strikes meanwhile, and looks at what they were served.
    pub(crate) fn round(&mut self, fault: Fault) {
        tell(format_args!("{fault:?}: {}", self.checker.told));
        self.processes.iter_mut().for_each(Process::go);
        self.servers.strike(fault);
        if fault == Fault::KillWorker {
            let new = self.process();
            let mut killed = std::mem::replace(&mut self.processes[0], new);
            killed.child.kill().unwrap();
            killed.child.wait().unwrap();
            self.processes[0].go();
        }
        self.checker.told.faults += 1;
        self.look();
    }

    /// More rounds, in which nothing is wrong, until all is well again.
    pub(crate) fn end(&mut self) -> Told {
        let before = self.checker.told.hits;
        for _ in 0..WELL {
            self.processes.iter_mut().for_each(Process::go);
            self.look();
            if self.checker.told.hits > before {
                return self.checker.told.clone();
            }
        }
        panic!("after everything it caches again");
    }

    fn look(&mut self) {
        let said: Vec<_> = self.processes.iter_mut().map(Process::said).collect();
        let ids: Vec<_> = self
            .processes
            .iter()
            .map(|process| process.child.id())
            .collect();
        for (id, lines) in ids.iter().zip(&said) {
            self.checker.learn(*id, lines);
        }
        for (id, lines) in ids.iter().zip(&said) {
            if let Err(found) = self.checker.check(*id, lines) {
                panic!("{found}");
            }
        }
    }

    fn process(&self) -> Process {
        let work = Work {
            redis: self.servers.url(),
            database: self.database.url(),
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--nocapture"])
            .envs(work.env())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Process {
            says: BufReader::new(child.stdout.take().unwrap()),
            hears: child.stdin.take().unwrap(),
            child,
        }
    }
}

impl Process {
    fn go(&mut self) {
        writeln!(self.hears, "{OPERATIONS}").unwrap();
    }

    /// What it did in this round.
    fn said(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.says.read_line(&mut line).unwrap();
            assert!(read > 0, "a process ended by itself");
            match line.trim_end() {
                "." => return lines,
                // The harness says something too.
                line => lines.extend(Line::parse(line)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For whoever watches.
pub(crate) fn tell(words: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
