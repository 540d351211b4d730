//! Random histories of several nodes over a simulated second level that loses, repeats and reorders what is said, forgets what was written, and goes away: after healing and
//! `max_lag` nobody is served what was invalidated before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tokio::time::{Instant, advance};

use super::simulated::{Fault, Link, Simulated};
use super::*;
use crate::clock::{InvalidationClock, Name, SlotBits, Stamp, Validity};
use crate::l2::frame::Frame;
use crate::l2::node::{Following, Node, NodeSettings};
use crate::told::Told;

/// Bugs planted on purpose: whoever looks for violations has to find these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Planted {
    Nothing,
    /// The stamp is taken when the fill ends.
    StampAfterFill,
    /// The head moves on before the slots are raised.
    HeadBeforeSlots,
    /// A node that was told nothing takes it that nothing has happened.
    LostUnnoticed,
    /// A clock that begins anew has the epoch of the one before.
    EpochReused,
    /// A removal deletes the entry, and raises no slot.
    RemovalWithoutSlot,
}

/// A link with a bug.
struct Flawed {
    link: Link,
    planted: Planted,
    known: std::sync::Mutex<Option<Head>>,
}

impl L2 for Flawed {
    fn name(&self) -> &str {
        self.link.name()
    }

    fn get<'a>(&'a self, key: &'a EntryKey) -> Asking<'a, Option<(Bytes, Duration)>> {
        self.link.get(key)
    }

    fn set<'a>(
        &'a self,
        key: &'a EntryKey,
        frame: Bytes,
        written: Written,
        time: Duration,
    ) -> Asking<'a, bool> {
        self.link.set(key, frame, written, time)
    }

    fn head(&self) -> Asking<'_, Option<Head>> {
        let head = self.link.head();
        Box::pin(async move {
            let head = head.await?;
            let mut known = self.known.lock().unwrap();
            if self.planted == Planted::LostUnnoticed && known.is_some() {
                return Ok(*known);
            }
            *known = head;
            Ok(head)
        })
    }

    fn read(&self) -> Asking<'_, Option<(Head, Slots)>> {
        self.link.read()
    }

    fn bump(&self, mut bump: Bump) -> Asking<'_, Moved> {
        let removal = bump.depth == Depth::Remove;
        match self.planted {
            Planted::RemovalWithoutSlot if removal => bump.slots.clear(),
            Planted::HeadBeforeSlots => bump.slots.clear(),
            _ => {}
        }
        self.link.bump(bump)
    }

    fn begin(&self, expected: Option<Head>, mut begin: Head) -> Asking<'_, bool> {
        if self.planted == Planted::EpochReused {
            begin.epoch = expected.map_or(1 << 32, |there| there.epoch);
        }
        self.link.begin(expected, begin)
    }

    fn listen(&self) -> mpsc::Receiver<News> {
        match self.planted {
            Planted::LostUnnoticed => mpsc::channel(1).1,
            _ => self.link.listen(),
        }
    }
}

const MAX_LAG: Duration = Duration::from_secs(3);
const NODES: usize = 3;
const KEYS: usize = 3;
const TAGS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// A fill begins: the source is read. Under the tag of the same number, modulo.
    Fill {
        node: usize,
        key: usize,
    },
    /// The oldest fill of this node ends, and is stored here and there.
    Store {
        node: usize,
    },
    /// The source changes, and then its tag is invalidated.
    Change {
        node: usize,
        tag: usize,
        depth: Depth,
    },
    Clear {
        node: usize,
    },
    Read {
        node: usize,
        key: usize,
    },
    Deliver {
        node: usize,
        at: usize,
    },
    Repeat {
        node: usize,
        at: usize,
    },
    Lose {
        node: usize,
    },
    Fault {
        node: usize,
        fault: Fault,
    },
    /// What a replica knows that hears nothing from here on.
    Fork,
    FailOver,
    FlushAll,
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (node, key, tag) = (0..NODES, 0..KEYS, 0..TAGS);
    let depth = prop_oneof![Just(Depth::Expire), Just(Depth::Remove)];
    let fault = prop_oneof![
        2 => Just(Fault::None),
        1 => Just(Fault::LostQuestions),
        1 => Just(Fault::LostAnswers),
        2 => Just(Fault::Slow),
    ];
    prop_oneof![
        6 => (node.clone(), key.clone()).prop_map(|(node, key)| Step::Fill { node, key }),
        6 => node.clone().prop_map(|node| Step::Store { node }),
        5 => (node.clone(), tag, depth).prop_map(|(node, tag, depth)| Step::Change { node, tag, depth }),
        1 => node.clone().prop_map(|node| Step::Clear { node }),
        10 => (node.clone(), key).prop_map(|(node, key)| Step::Read { node, key }),
        4 => (node.clone(), 0_usize..3).prop_map(|(node, at)| Step::Deliver { node, at }),
        1 => (node.clone(), 0_usize..3).prop_map(|(node, at)| Step::Repeat { node, at }),
        1 => node.clone().prop_map(|node| Step::Lose { node }),
        2 => (node, fault).prop_map(|(node, fault)| Step::Fault { node, fault }),
        2 => Just(Step::Fork),
        2 => Just(Step::FailOver),
        1 => Just(Step::FlushAll),
        3 => (0_u64..1500).prop_map(|millis| Step::Wait { millis }),
        // All is well again after that.
        3 => Just(Step::Wait { millis: 3100 }),
    ]
}

/// A value, and which change of its tag it was read after.
#[derive(Clone, Copy, Debug)]
struct Held {
    version: u64,
    stamp: Stamp,
    slot: Slot,
}

struct Process {
    node: Arc<Node>,
    clock: Arc<InvalidationClock>,
    _following: Following,
    l1: HashMap<usize, Held>,
    filling: Vec<(usize, Held)>,
    /// Which changes this node has invalidated itself, by tag.
    invalidated: [u64; TAGS],
}

struct World {
    server: Simulated,
    forks: Vec<simulated::Memory>,
    processes: Vec<Process>,
    /// How often each tag's source has changed.
    source: [u64; TAGS],
    /// When each change of a tag had been told to everybody, as far as whoever told it knows.
    shared: Vec<(usize, u64, Instant)>,
    /// Since when nothing has been wrong. `None`: something is.
    healthy: Option<Instant>,
    /// The server went back to what it held before, and somebody may not have found out.
    gone_back: bool,
    faults: [Fault; NODES],
    planted: Planted,
}

impl World {
    fn new(planted: Planted) -> Self {
        let server = Simulated::new();
        let process = |_| Process::new(&server, planted);
        let processes = (0..NODES).map(process).collect();
        Self {
            server,
            forks: vec![],
            processes,
            source: [0; TAGS],
            shared: vec![],
            healthy: Some(Instant::now()),
            gone_back: false,
            faults: [Fault::None; NODES],
            planted,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Fill { node, key } => self.fill(node, key),
            Step::Store { node } => self.store(node).await,
            Step::Change { node, tag, depth } => self.change(node, tag, depth).await,
            Step::Clear { node } => self.clear(node).await,
            Step::Read { node, key } => self.read(node, key).await,
            Step::Deliver { node, at } => drop(self.server.deliver(node, at)),
            Step::Repeat { node, at } => drop(self.server.repeat(node, at)),
            Step::Lose { node } => self.server.lose(node),
            Step::Fault { node, fault } => {
                self.server.fault(node, fault);
                self.faults[node] = fault;
                self.disturb();
            }
            Step::Fork => self.forks.push(self.server.memory()),
            Step::FailOver => {
                if let Some(memory) = self.forks.pop() {
                    self.server.fail_over(memory);
                    self.gone_back = true;
                    self.disturb();
                }
            }
            Step::FlushAll => {
                self.server.fail_over(simulated::Memory::default());
                self.disturb();
            }
            Step::Wait { millis } => wait(Duration::from_millis(millis)).await,
        }
        // Whoever was woken runs.
        settle().await;
    }

    /// Something is, or was until now, not as it should be.
    fn disturb(&mut self) {
        let heals = |fault: &Fault| matches!(fault, Fault::None | Fault::Slow);
        let heals = self.faults.iter().all(heals);
        self.healthy = heals.then(Instant::now);
    }

    fn fill(&mut self, node: usize, key: usize) {
        let version = self.source[key % TAGS];
        let process = &mut self.processes[node];
        let tag = format!("tag {}", key % TAGS);
        let held = Held {
            version,
            stamp: process.clock.stamp(),
            slot: process.clock.slot(Name::Tag {
                space: b"",
                tag: &tag,
            }),
        };
        process.filling.push((key, held));
    }

    async fn store(&mut self, node: usize) {
        let process = &mut self.processes[node];
        if process.filling.is_empty() {
            return;
        }
        let (key, mut held) = process.filling.remove(0);
        if self.planted == Planted::StampAfterFill {
            held.stamp = process.clock.stamp();
        }
        process.l1.insert(key, held);
        let frame = Frame {
            written: held.stamp.written(),
            ttl: Duration::from_secs(3600),
            grace: Duration::ZERO,
            slots: vec![held.slot],
            codec: 0,
            payload: Some(held.version.to_be_bytes().to_vec().into()),
        };
        let key = key.to_string();
        let bytes = process.node.encode(key.as_bytes(), &frame).unwrap();
        process.node.set(key.as_bytes(), &frame, bytes).await;
    }

    async fn change(&mut self, node: usize, tag: usize, depth: Depth) {
        self.source[tag] += 1;
        let version = self.source[tag];
        let process = &mut self.processes[node];
        let slot = process.clock.slot(Name::Tag {
            space: b"",
            tag: &format!("tag {tag}"),
        });
        let told = match process.clock.invalidate([slot], depth) {
            true => Told::Slots(depth, vec![slot]),
            false => Told::All,
        };
        let told = process.node.tell_others(told).await;
        process.invalidated[tag] = version;
        if told.is_ok() {
            self.shared.push((tag, version, Instant::now()));
        }
    }

    async fn clear(&mut self, node: usize) {
        let process = &mut self.processes[node];
        process.clock.clear();
        if process.node.tell_others(Told::All).await.is_ok() {
            let now = Instant::now();
            let all = self.source.iter().enumerate();
            self.shared
                .extend(all.map(|(tag, version)| (tag, *version, now)));
        }
        self.processes[node].invalidated = self.source;
    }

    async fn read(&mut self, node: usize, key: usize) {
        if self
            .healthy
            .is_some_and(|since| Instant::now() > since + MAX_LAG)
        {
            self.gone_back = false;
        }
        let tag = key % TAGS;
        // What may not be served by now, because of whatever was known before the question.
        let floor = self.floor(node, tag);
        let process = &mut self.processes[node];
        let served = process.read(key).await;
        if let Some((version, from)) = served {
            assert!(
                version >= floor,
                "node {node} served version {version} of key {key} from {from}, though {floor} was invalidated"
            );
        }
    }

    fn floor(&self, node: usize, tag: usize) -> u64 {
        // What this node has invalidated holds for it at once; but while the server has gone back and nobody has found out, two histories have steps of one number.
        let own = match self.gone_back {
            true => 0,
            false => self.processes[node].invalidated[tag],
        };
        let now = Instant::now();
        let Some(healthy) = self.healthy.filter(|since| now > *since + MAX_LAG) else {
            return own;
        };
        // What had been told before the trouble, and lost in it, is known to those who told it, and so to everybody once they have met.
        let told = self
            .shared
            .iter()
            .filter(|(of, _, at)| *of == tag && now > (*at).max(healthy) + MAX_LAG)
            .map(|(_, version, _)| *version);
        told.chain([own]).max().unwrap_or(0)
    }
}

impl Process {
    fn new(server: &Simulated, planted: Planted) -> Self {
        let bits = SlotBits::at_least(1024);
        let clock = Arc::new(InvalidationClock::shared(bits, 1));
        let settings = NodeSettings {
            max_lag: MAX_LAG,
            serve_for: Duration::ZERO,
            patience: Duration::from_millis(100),
            compression: Compression::Off,
        };
        let flawed = Flawed {
            link: server.link(),
            planted,
            known: std::sync::Mutex::default(),
        };
        let node = Node::new(Arc::new(flawed), Arc::clone(&clock), settings, |_| {});
        let following = Following(Arc::clone(&node));
        tokio::spawn(following.follow());
        Self {
            node,
            clock,
            _following: following,
            l1: HashMap::new(),
            filling: vec![],
            invalidated: [0; TAGS],
        }
    }

    async fn read(&mut self, key: usize) -> Option<(u64, &'static str)> {
        if !self.node.is_trusted(Instant::now()) {
            return None;
        }
        if let Some(held) = self.l1.get(&key)
            && self.clock.check(held.stamp, &[held.slot]) == Validity::Valid
        {
            return Some((held.version, "its memory"));
        }
        let (frame, _) = self.node.get(key.to_string().as_bytes()).await?;
        let stamp = self.clock.stamp_of(frame.written);
        if self.clock.check(stamp, &frame.slots) != Validity::Valid {
            return None;
        }
        let version = u64::from_be_bytes(frame.payload?[..].try_into().ok()?);
        let slot = frame.slots[0];
        self.l1.insert(
            key,
            Held {
                version,
                stamp,
                slot,
            },
        );
        Some((version, "the second level"))
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// In small steps, so that every beat is heard.
async fn wait(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        advance(Duration::from_millis(100).min(until - Instant::now())).await;
        settle().await;
    }
}

/// Goes through one history. Panics when something is served that was invalidated.
fn run(planted: Planted, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(planted);
        settle().await;
        for step in steps {
            world.take(step).await;
        }
    });
}

/// `PROPTEST_CASES`, or a few seconds' worth.
fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(512)
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn nothing_that_was_invalidated_is_served(steps in history()) {
        run(Planted::Nothing, steps);
    }
}

/// The same histories in every run: what is found once is found always.
#[test]
fn bugs_that_were_planted_are_found() {
    for planted in [
        Planted::StampAfterFill,
        Planted::HeadBeforeSlots,
        Planted::LostUnnoticed,
        Planted::EpochReused,
        Planted::RemovalWithoutSlot,
    ] {
        let config = ProptestConfig {
            failure_persistence: None,
            max_shrink_iters: 0,
            ..ProptestConfig::with_cases(4096)
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let found = TestRunner::new_with_rng(config, rng).run(&history(), |steps| {
            run(planted, steps);
            Ok(())
        });
        assert!(found.is_err(), "{planted:?} goes unnoticed");
    }
}
