//! Rounds of workers that are killed.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};

use crate::check::Seen;
use crate::plan::{KEYS, Plan, Work};
use crate::server::Place;
use crate::worker::LEASE;

/// A plan in progress.
pub(crate) struct Story {
    plan: Plan,
    place: Place,
    rounds: usize,
    worker_kills: usize,
    server_kills: usize,
    zombies: usize,
    replays: usize,
}

const WORKERS: usize = 3;

impl Story {
    pub(crate) fn begin(plan: Plan) -> Self {
        Self {
            plan,
            place: Place::new(plan),
            rounds: 0,
            worker_kills: 0,
            server_kills: 0,
            zombies: 0,
            replays: 0,
        }
    }

    pub(crate) fn kills(&self) -> usize {
        self.worker_kills + self.server_kills
    }

    /// Plays one round, with new keys.
    pub(crate) fn round(&mut self) -> Result<(), String> {
        self.rounds += 1;
        let work = Work {
            plan: self.plan,
            url: self.place.url(),
            effects: self.place.effects_file(),
            round: self.rounds,
        };
        let keys: Vec<String> = (0..KEYS).map(|n| work.key(n)).collect();
        let seen = self.play(&work);
        self.replays += seen.replays();
        let prefix = format!("{}-", self.rounds);
        let mut effects = self.place.effects(self.plan);
        effects.retain(|key| key.starts_with(&prefix));
        seen.check(self.plan, &keys, &effects)
    }

    fn play(&mut self, work: &Work) -> Seen {
        let (said, heard) = mpsc::channel();
        let mut crowd = Crowd::new(work, said);
        let (mut seen, mut until_next) = (Seen::default(), 1);
        while !crowd.is_done() {
            match next(&heard) {
                // Nothing moves while somebody is stopped who holds a lease.
                None => crowd.wake(),
                Some((worker, Said::Ended)) => crowd.ended(worker),
                Some((_, Said::Answer(key, body, replayed))) => {
                    seen.answer(self.plan, &key, &body, replayed);
                    // Where nothing but replays is under way, there is nothing to be broken.
                    until_next -= u32::from(!replayed);
                }
                Some((_, Said::Other)) => {}
            }
            if until_next == 0 {
                until_next = fastrand::u32(1..4);
                self.hurt(&mut crowd);
            }
        }
        seen
    }

    /// Does something bad.
    fn hurt(&mut self, crowd: &mut Crowd<'_>) {
        // Not right after an answer, where a worker is between two requests.
        (0..fastrand::u32(..3000)).for_each(|_| std::thread::yield_now());
        crowd.wake();
        match fastrand::u8(..10) {
            0 if self.place.crash() => self.server_kills += 1,
            0..3 => {
                crowd.stop(fastrand::usize(..WORKERS));
                self.zombies += 1;
            }
            _ => {
                crowd.kill(fastrand::usize(..WORKERS));
                self.worker_kills += 1;
            }
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            worker_kills,
            server_kills,
            zombies,
            replays,
            ..
        } = self;
        write!(
            f,
            "{rounds} rounds, {replays} replays, {zombies} stopped, {server_kills} servers and {worker_kills} workers killed"
        )
    }
}

/// What a worker says.
enum Said {
    Answer(String, String, bool),
    Ended,
    Other,
}

/// What is said next, or nothing for longer than a lease: whoever is stopped is a zombie by now.
fn next(heard: &Receiver<(u64, Said)>) -> Option<(u64, Said)> {
    heard.recv_timeout(2 * LEASE).ok()
}

/// The workers of a round. Those who are killed are replaced.
struct Crowd<'a> {
    work: &'a Work,
    said: Sender<(u64, Said)>,
    workers: Vec<Worker>,
    next_id: u64,
}

struct Worker {
    id: u64,
    process: Child,
    done: bool,
    stopped: bool,
}

impl<'a> Crowd<'a> {
    fn new(work: &'a Work, said: Sender<(u64, Said)>) -> Self {
        let mut crowd = Self {
            work,
            said,
            workers: Vec::new(),
            next_id: 0,
        };
        for _ in 0..WORKERS {
            let worker = crowd.start();
            crowd.workers.push(worker);
        }
        crowd
    }

    fn start(&mut self) -> Worker {
        self.next_id += 1;
        let id = self.next_id;
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--nocapture"])
            .envs(self.work.env())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, said) = (process.stdout.take().unwrap(), self.said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = said.send((id, read(&line)));
            }
            let _ = said.send((id, Said::Ended));
        });
        Worker {
            id,
            process,
            done: false,
            stopped: false,
        }
    }

    fn is_done(&self) -> bool {
        self.workers.iter().all(|worker| worker.done)
    }

    /// By itself, and so it had all its answers. Those who were killed are not here any more.
    fn ended(&mut self, id: u64) {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) {
            let status = worker.process.wait().unwrap();
            assert!(status.success(), "a worker failed by itself: {status}");
            worker.done = true;
        }
    }

    fn kill(&mut self, n: usize) {
        let worker = self.start();
        let mut killed = std::mem::replace(&mut self.workers[n], worker);
        end(&mut killed.process);
    }

    /// Until it is woken; its leases may be over by then.
    fn stop(&mut self, n: usize) {
        signal(&self.workers[n], "-STOP");
        self.workers[n].stopped = true;
    }

    fn wake(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| worker.stopped) {
            signal(worker, "-CONT");
            worker.stopped = false;
        }
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            end(&mut worker.process);
        }
    }
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

fn signal(worker: &Worker, signal: &str) {
    if !worker.done {
        let pid = worker.process.id().to_string();
        let _ = Command::new("kill").args([signal, &pid]).status();
    }
}

fn read(line: &str) -> Said {
    let mut words = line.strip_prefix("! ").unwrap_or_default().split(' ');
    match [words.next(), words.next(), words.next()] {
        [Some(key), Some(body), Some(how)] => {
            Said::Answer(key.to_owned(), body.to_owned(), how == "replayed")
        }
        _ => Said::Other,
    }
}

/// Says how far it is, to whoever looks.
pub(crate) fn tell(words: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}
