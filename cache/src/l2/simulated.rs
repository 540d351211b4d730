//! A second level in memory, whose network and whose memory can be made to fail: to test what stands on one.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{
    Asking, Bump, EntryKey, Head, L2, L2Error, Moved, News, SLOT_BYTES, Slots, TIPS, Written,
};
use crate::clock::{Depth, Slot};

/// The server. A clone is the same one; each node has a [`link`](Self::link) of its own to it.
///
/// It does at once what it is asked, and its clock is tokio's.
#[derive(Clone, Default)]
pub struct Simulated(Arc<Mutex<Server>>);

/// What a server holds.
#[derive(Clone, Default)]
pub struct Memory {
    clock: Option<Head>,
    tips: HashMap<u64, u64>,
    slots: HashMap<(Depth, Slot), u64>,
    entries: HashMap<EntryKey, (Bytes, Written, Instant)>,
}

#[derive(Default)]
struct Server {
    memory: Memory,
    /// What has been said and not delivered, for each node.
    said: Vec<VecDeque<News>>,
    ears: Vec<Option<mpsc::Sender<News>>>,
    faults: Vec<Fault>,
    asked: u32,
    /// Whether what is said is delivered at once.
    talkative: bool,
}

/// What happens to the next questions of a link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// They do not arrive.
    LostQuestions,
    /// They arrive, and the answers do not.
    LostAnswers,
    /// They arrive at once, and the answers take one to three times [`SLOW`], and so overtake each other.
    Slow,
}

/// How long a slow answer takes.
pub const SLOW: Duration = Duration::from_millis(30);

/// A node's link to the server.
pub struct Link {
    server: Simulated,
    node: usize,
}

/// How many slots it takes for granted: those of [`Builder::slots`](crate::Builder::slots) with 1024.
const SLOTS: usize = 1 << 10;

impl Simulated {
    /// A server that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and what is said in it is delivered at once.
    #[must_use]
    pub fn talkative() -> Self {
        let server = Self::default();
        server.lock().talkative = true;
        server
    }

    /// One more node. What is said to it waits until it is delivered.
    #[must_use]
    pub fn link(&self) -> Link {
        let mut server = self.lock();
        server.said.push(VecDeque::new());
        server.ears.push(None);
        server.faults.push(Fault::None);
        Link {
            node: server.said.len() - 1,
            server: self.clone(),
        }
    }

    /// What happens to the questions of this node from here on. Nodes are counted by their links, from zero.
    pub fn fault(&self, node: usize, fault: Fault) {
        self.lock().faults[node] = fault;
    }

    /// Delivers the news at this place in the queue of a node. False if there is none.
    pub fn deliver(&self, node: usize, at: usize) -> bool {
        let mut server = self.lock();
        let Some(news) = server.said[node].remove(at) else {
            return false;
        };
        server.tell(node, news);
        true
    }

    /// Delivers it, and leaves it there to come once more.
    pub fn repeat(&self, node: usize, at: usize) -> bool {
        let server = self.lock();
        let news = server.said[node].get(at).cloned();
        let there = news.is_some();
        news.into_iter().for_each(|news| server.tell(node, news));
        there
    }

    /// Everything that waits for this node is lost, and nobody says so.
    pub fn lose(&self, node: usize) {
        self.lock().said[node].clear();
    }

    /// What it holds now: to [fail over](Self::fail_over) to, as a replica would that heard nothing after that.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.lock().memory.clone()
    }

    /// It holds that from here on.
    pub fn fail_over(&self, memory: Memory) {
        self.lock().memory = memory;
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn stand_at(&mut self, head: Head) {
        self.clock = Some(head);
        self.tips
            .retain(|seq, _| seq + TIPS as u64 > head.seq && *seq < head.seq);
        self.tips.insert(head.seq, head.tip);
    }
}

impl Server {
    fn tell(&self, node: usize, news: News) {
        if let Some(ear) = &self.ears[node] {
            let _ = ear.try_send(news);
        }
    }

    fn say(&mut self, news: &News) {
        if self.talkative {
            return (0..self.ears.len()).for_each(|node| self.tell(node, news.clone()));
        }
        self.said
            .iter_mut()
            .for_each(|said| said.push_back(news.clone()));
    }
}

impl Link {
    fn ask<T: Send + 'static>(&self, answer: impl FnOnce(&mut Server) -> T) -> Asking<'_, T> {
        let mut server = self.server.lock();
        let answer = match server.faults[self.node] {
            Fault::None | Fault::Slow => Some(answer(&mut server)),
            Fault::LostQuestions => None,
            Fault::LostAnswers => {
                answer(&mut server);
                None
            }
        };
        let lost = || L2Error::Unavailable("the link is down".into());
        let answer = answer.ok_or_else(lost);
        server.asked += 1;
        let slow = match server.faults[self.node] {
            Fault::Slow => Some(SLOW * (3 - server.asked % 3)),
            _ => None,
        };
        Box::pin(async move {
            if let Some(slow) = slow {
                tokio::time::sleep(slow).await;
            }
            answer
        })
    }
}

impl L2 for Link {
    fn name(&self) -> &str {
        "simulated"
    }

    fn get<'a>(&'a self, key: &'a EntryKey) -> Asking<'a, Option<(Bytes, Duration)>> {
        let now = Instant::now();
        self.ask(|server| {
            let (frame, _, until) = server.memory.entries.get(key)?;
            let left = until.checked_duration_since(now)?;
            Some((frame.clone(), left))
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a EntryKey,
        frame: Bytes,
        written: Written,
        time: Duration,
    ) -> Asking<'a, bool> {
        let until = Instant::now() + time;
        self.ask(|server| {
            let newer = |(_, there, _): &(Bytes, Written, Instant)| {
                there.epoch == written.epoch && there.born > written.born
            };
            let refused = server.memory.entries.get(key).is_some_and(newer);
            if !refused {
                let entry = (frame, written, until);
                server.memory.entries.insert(*key, entry);
            }
            !refused
        })
    }

    fn head(&self) -> Asking<'_, Option<Head>> {
        self.ask(|server| server.memory.clock)
    }

    fn read(&self) -> Asking<'_, Option<(Head, Slots)>> {
        self.ask(|server| {
            let head = server.memory.clock?;
            let mut slots = vec![0; 2 * SLOTS * SLOT_BYTES];
            for ((depth, slot), seq) in &server.memory.slots {
                let plane = if *depth == Depth::Expire { 0 } else { SLOTS };
                let at = (plane + *slot as usize) * SLOT_BYTES;
                slots[at..at + SLOT_BYTES].copy_from_slice(&seq.to_be_bytes()[2..]);
            }
            let mut tips = vec![0; TIPS * 8];
            for (seq, tip) in &server.memory.tips {
                let at = *seq as usize % TIPS * 8;
                tips[at..at + 8].copy_from_slice(&tip.to_be_bytes());
            }
            let (tips, steps) = (tips.into(), slots.into());
            Some((head, Slots { tips, steps }))
        })
    }

    fn bump(&self, bump: Bump) -> Asking<'_, Moved> {
        self.ask(|server| {
            let before = server.memory.clock;
            let head = match before {
                Some(before) => Head {
                    seq: before.seq + 1,
                    tip: bump.begin.tip,
                    ..before
                },
                None => bump.begin,
            };
            server.memory.stand_at(head);
            for slot in &bump.slots {
                server.memory.slots.insert((bump.depth, *slot), head.seq);
            }
            let moved = Moved {
                head,
                previous: before.map_or(0, |before| before.tip),
                slots: bump.slots,
                depth: bump.depth,
            };
            server.say(&News::Moved(moved.clone()));
            moved
        })
    }

    fn begin(&self, expected: Option<Head>, begin: Head) -> Asking<'_, bool> {
        self.ask(move |server| {
            let expected = expected == server.memory.clock;
            if expected {
                server.memory.stand_at(begin);
                server.say(&News::Unclear);
            }
            expected
        })
    }

    fn listen(&self) -> mpsc::Receiver<News> {
        let (ear, news) = mpsc::channel(64);
        self.server.lock().ears[self.node] = Some(ear);
        news
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").finish_non_exhaustive()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
