//! One history: what is done to the cache and to its reference, and what is compared.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use buttress_cache::{Cache, Fill, FillError, Guard, Hit, Memory, State};
use proptest::sample::Index;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_test::task::{self, Spawn};

use crate::naive::{Moment, Naive, Name, Use};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A call for a key, whose fill will have these tags, and may depend on another key.
    Begin {
        key: usize,
        tags: Vec<usize>,
        parent: Option<usize>,
    },
    /// A fill that is under way ends.
    Finish {
        which: Index,
        says: Says,
    },
    /// A call goes away.
    Drop(Index),
    /// A task goes away.
    DropTask(Index),
    Get(usize),
    /// Stores what was read just now, or before the last invalidation.
    Set {
        key: usize,
        tags: Vec<usize>,
        old: bool,
    },
    Invalidate {
        tags: Vec<usize>,
        remove: bool,
    },
    InvalidateKey {
        key: usize,
        remove: bool,
    },
    Clear,
    Guard(Vec<usize>),
    Unguard(Index),
    /// Seconds.
    Pass(u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Says {
    Fails,
    Nothing,
    NotModified,
    Panics,
    Value,
}

/// In seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) memory: Memory,
    pub(crate) ttl: u64,
    pub(crate) grace: u64,
    pub(crate) throttle: u64,
    pub(crate) negative_ttl: Option<u64>,
    /// After half of the ttl.
    pub(crate) eager: bool,
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

type Answer = Result<Option<Hit<u64>>, FillError<&'static str>>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A call that waits.
struct Call {
    id: u64,
    key: usize,
    asked: Moment,
    since: u64,
    /// How many fills of its key have ended since.
    ends: usize,
    future: Spawn<Pin<Box<dyn Future<Output = Answer> + Send>>>,
}

/// A fill under way.
struct Source {
    /// The call that brought it.
    call: u64,
    key: usize,
    tags: Vec<usize>,
    parent: Option<usize>,
    /// What it saw.
    stale: Option<u64>,
    says: oneshot::Sender<(Says, u64)>,
    born: Moment,
    began: u64,
    /// What was stored under its key when it began, by the time of that.
    before: Option<(u64, Moment)>,
    /// By what that goes.
    names: BTreeSet<Name>,
    /// Its caller has waited in vain so often that it may have gone alone.
    alone: bool,
}

/// A fill that has just ended.
#[derive(Debug)]
struct Ended {
    call: u64,
    key: usize,
    says: Says,
    value: Option<u64>,
    names: BTreeSet<Name>,
    born: Moment,
    /// Whether those may have it who came after it began.
    storable: bool,
}

/// What begins in a fill, for the history to look at.
type Begun = (
    u64,
    usize,
    Vec<usize>,
    Option<usize>,
    Option<u64>,
    oneshot::Sender<(Says, u64)>,
);

pub(crate) struct History {
    runtime: Runtime,
    settings: Settings,
    cache: Cache<u64>,
    naive: Naive,
    calls: Vec<Call>,
    sources: Vec<Source>,
    begun: Arc<Mutex<Vec<Begun>>>,
    tasks: Arc<Mutex<Vec<Task>>>,
    running: Vec<Spawn<Task>>,
    guards: Vec<Guard<u64>>,
    /// Before the last invalidation, and the reference's name for it.
    before: (buttress_cache::Stamp, Moment),
    next: u64,
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn tag(tag: usize) -> String {
    format!("tag {tag}")
}

fn key(key: usize) -> [u8; 1] {
    [key as u8]
}

fn names(tags: &[usize]) -> BTreeSet<Name> {
    tags.iter().map(|tag| Name::Tag(*tag)).collect()
}

impl History {
    pub(crate) fn new(settings: Settings) -> Self {
        // The clock's slots are its own: with these no two names of ours share one.
        fastrand::seed(1);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let tasks = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&tasks);
        let mut builder = Cache::builder()
            .memory(settings.memory)
            .ttl(seconds(settings.ttl))
            .grace(seconds(settings.grace))
            .throttle(seconds(settings.throttle))
            .spawner(move |task| sink.lock().unwrap().push(task));
        if let Some(ttl) = settings.negative_ttl {
            builder = builder.negative_ttl(seconds(ttl));
        }
        if settings.eager {
            builder = builder.eager(0.5);
        }
        if let Some(soft) = settings.soft {
            builder = builder.soft_timeout(seconds(soft));
        }
        if let Some(hard) = settings.hard {
            builder = builder.hard_timeout(seconds(hard));
        }
        let cache = builder.build();
        let naive = Naive::new(settings);
        Self {
            before: (cache.stamp(), naive.moment),
            runtime,
            settings,
            cache,
            naive,
            calls: Vec::new(),
            sources: Vec::new(),
            begun: Arc::default(),
            tasks,
            running: Vec::new(),
            guards: Vec::new(),
            next: 0,
        }
    }

    pub(crate) fn run(mut self, ops: Vec<Op>) {
        let handle = self.runtime.handle().clone();
        let _entered = handle.enter();
        for op in ops {
            self.apply(op);
        }
        self.end();
    }

    fn apply(&mut self, op: Op) {
        let mut ended = None;
        match op {
            Op::Begin { key, tags, parent } => self.begin(key, tags, parent),
            Op::Finish { which, says } if !self.sources.is_empty() => {
                let source = self.sources.remove(which.index(self.sources.len()));
                ended = Some(self.finish(source, says));
            }
            Op::Drop(which) if !self.calls.is_empty() => {
                drop(self.calls.remove(which.index(self.calls.len())));
            }
            Op::DropTask(which) if !self.running.is_empty() => {
                drop(self.running.remove(which.index(self.running.len())));
                // Whatever it was refreshing is free to be refreshed by others.
                self.naive
                    .stored
                    .values_mut()
                    .for_each(|stored| stored.refreshing = false);
            }
            Op::Get(at) => {
                let got = self.cache.get(key(at)).now().map(|hit| *hit);
                assert_eq!(got, self.naive.fresh(at), "get {at}");
            }
            Op::Set { key: at, tags, old } => self.set(at, &tags, old),
            Op::Invalidate { tags, remove } => {
                self.before = (self.cache.stamp(), self.naive.moment);
                let names: Vec<_> = tags.iter().map(|n| tag(*n)).collect();
                let invalidate = self.cache.invalidate(names);
                match remove {
                    true => invalidate.remove().now(),
                    false => invalidate.now(),
                }
                self.naive.invalidate(self::names(&tags), remove);
            }
            Op::InvalidateKey { key: at, remove } => {
                self.before = (self.cache.stamp(), self.naive.moment);
                self.naive.invalidate([Name::Key(at)], remove);
                match remove {
                    true => {
                        self.cache.remove(key(at)).now();
                        self.naive.stored.remove(&at);
                    }
                    false => self.cache.expire(key(at)).now(),
                }
            }
            Op::Clear => {
                self.cache.clear().now();
                self.naive.clear();
            }
            Op::Guard(tags) => {
                self.guards
                    .push(self.cache.guard(tags.iter().map(|n| tag(*n))));
                self.naive.guard(names(&tags));
            }
            Op::Unguard(which) if !self.guards.is_empty() => {
                let which = which.index(self.naive.guards());
                drop(self.guards.remove(which));
                self.naive.unguard(which);
            }
            Op::Pass(time) => {
                // One by one: what happens in between is to be seen when it does.
                for _ in 0..time {
                    self.runtime.block_on(tokio::time::advance(seconds(1)));
                    self.naive.now += 1;
                    self.settle(None);
                }
            }
            _ => {}
        }
        self.settle(ended);
    }

    fn call(
        &self,
        id: u64,
        at: usize,
        tags: Vec<usize>,
        parent: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (cache, begun) = (self.cache.clone(), Arc::clone(&self.begun));
        let fill = move |fill: Fill<u64>| async move {
            let (says, said) = oneshot::channel();
            let stale = fill.stale().map(|hit| **hit);
            begun
                .lock()
                .unwrap()
                .push((id, at, tags.clone(), parent, stale, says));
            // Some of the tags are known before the source is read, and some after.
            let half = tags.len() / 2;
            fill.tags(tags[..half].iter().map(|n| tag(*n)));
            let (says, value) = said.await.expect("a fill is answered or dropped");
            fill.tags(tags[half..].iter().map(|n| tag(*n)));
            if let Some(parent) = parent {
                fill.depends_on(key(parent));
            }
            match says {
                Says::Fails => Err("down"),
                Says::Nothing => Ok(None),
                Says::NotModified => fill.not_modified(),
                Says::Panics => resume_unwind(Box::new("on purpose")),
                Says::Value => Ok(Some(value)),
            }
        };
        Box::pin(async move { cache.get_or_set(key(at), fill).await })
    }

    fn begin(&mut self, at: usize, tags: Vec<usize>, parent: Option<usize>) {
        self.next += 1;
        let id = self.next;
        let due = self.is_due(at);
        let expected = self.at_once(at);
        let mut future = task::spawn(self.call(id, at, tags, parent));
        let tasks = self.tasks.lock().unwrap().len();
        match future.poll() {
            Poll::Ready(answer) => {
                let hit = answer.unwrap();
                let got = hit.map(|hit| (*hit, hit.state()));
                assert!(expected.contains(&Some(got)), "{got:?}, not {expected:?}");
                let refreshes = self.tasks.lock().unwrap().len() > tasks;
                // Beside one who may have gone alone there may be a flight or not.
                let unsure = self.live(at).any(|source| source.alone);
                assert!(refreshes == due || unsure, "refreshed {at}: {refreshes}");
                if let Some(stored) = self.naive.stored.get_mut(&at).filter(|_| refreshes) {
                    stored.refreshing = true;
                }
            }
            Poll::Pending => {
                assert!(expected.contains(&None), "waits, instead of {expected:?}");
                self.calls.push(Call {
                    id,
                    key: at,
                    asked: self.naive.moment,
                    since: self.naive.now,
                    ends: 0,
                    future,
                });
            }
        }
    }

    /// What a call that begins now may come to at once; `None` is to wait.
    fn at_once(&self, at: usize) -> Vec<Option<Option<(u64, State)>>> {
        match self.naive.look_up(at) {
            Some((Use::Fresh, stored)) => vec![Some(stored.value.map(|v| (v, State::Fresh)))],
            Some((Use::Stale, stored)) => {
                let served = Some(stored.value.map(|v| (v, State::Stale)));
                match (self.naive.is_calm(stored), self.settings.soft) {
                    (true, None) => vec![served],
                    (false, None) => vec![None],
                    // Whose time-out was the last is not followed here.
                    (_, Some(_)) => vec![served, None],
                }
            }
            _ => vec![None],
        }
    }

    fn is_due(&self, at: usize) -> bool {
        let Some((Use::Fresh, stored)) = self.naive.look_up(at) else {
            return false;
        };
        let ttl = match stored.value {
            Some(_) => Some(self.settings.ttl),
            None => self.settings.negative_ttl,
        };
        let age = self.naive.now - stored.stored;
        self.settings.eager
            && 2 * age >= ttl.unwrap()
            && !self.naive.is_calm(stored)
            && !stored.refreshing
            && !self.is_in_flight(at)
    }

    /// Whether somebody fills, or is about to.
    fn is_in_flight(&self, at: usize) -> bool {
        self.live(at).next().is_some()
    }

    fn live(&self, at: usize) -> impl Iterator<Item = &Source> {
        let live = move |source: &&Source| source.key == at && !source.says.is_closed();
        self.sources.iter().filter(live)
    }

    fn set(&mut self, at: usize, tags: &[usize], old: bool) {
        self.next += 1;
        let (stamp, moment) = match old {
            true => self.before,
            false => (self.cache.stamp(), self.naive.moment),
        };
        let value = self.next;
        let names: Vec<_> = tags.iter().map(|n| tag(*n)).collect();
        self.cache.set(key(at), value).tags(names).at(stamp).store();
        self.naive
            .store(at, Some(value), self::names(tags), moment, false);
    }

    fn finish(&mut self, source: Source, says: Says) -> Option<Ended> {
        self.next += 1;
        let value = self.next;
        source.says.send((says, value)).ok()?;
        let mut names = names(&source.tags);
        let mut outrun = false;
        if let Some(parent) = source.parent {
            let (more, overtaken) = self.naive.dependency(parent, source.born);
            names.extend(more);
            outrun = overtaken;
        }
        if says == Says::NotModified && source.stale.is_some() {
            names.extend(source.names);
        }
        // The entry that it saw; it may have been replaced since.
        let seen = self.naive.stored.get_mut(&source.key);
        let seen = seen.filter(|stored| Some((stored.stored, stored.born)) == source.before);
        if let Some(seen) = seen {
            seen.refreshing = false;
            if matches!(says, Says::Fails | Says::Panics) && self.settings.throttle > 0 {
                seen.quiet = Some((self.naive.now + self.settings.throttle, source.born));
            }
        }
        let read = match says {
            Says::Value => Some(Some(value)),
            Says::NotModified => Some(source.stale),
            Says::Nothing => Some(None),
            Says::Fails | Says::Panics => None,
        };
        names.insert(Name::Key(source.key));
        let storable = read.is_some_and(|read| {
            // What is unchanged, and is not there, is not known not to be.
            if says == Says::NotModified && read.is_none() {
                return true;
            }
            let names = names.clone();
            self.naive
                .store(source.key, read, names, source.born, outrun)
        });
        Some(Ended {
            call: source.call,
            key: source.key,
            says,
            value: read.flatten(),
            names,
            born: source.born,
            storable,
        })
    }

    /// Polls whoever was woken, until nobody is, and looks at what they come to.
    fn settle(&mut self, ended: Option<Option<Ended>>) {
        let ended = ended.flatten();
        if let Some(ended) = &ended {
            let waiting = self.calls.iter_mut().filter(|call| call.key == ended.key);
            waiting.for_each(|call| call.ends += 1);
        }
        loop {
            let fresh = std::mem::take(&mut *self.tasks.lock().unwrap());
            let mut busy = !fresh.is_empty();
            for task in fresh {
                let mut task = task::spawn(task);
                if task.poll().is_pending() {
                    self.running.push(task);
                }
                self.notice();
            }
            let mut running = Vec::new();
            for mut task in std::mem::take(&mut self.running) {
                let woken = task.is_woken();
                busy |= woken;
                if !woken || task.poll().is_pending() {
                    running.push(task);
                }
                self.notice();
            }
            self.running.extend(running);
            let mut waiting = Vec::new();
            for mut call in std::mem::take(&mut self.calls) {
                let woken = call.future.is_woken();
                busy |= woken;
                if !woken {
                    waiting.push(call);
                    continue;
                }
                match call.future.poll() {
                    Poll::Pending => waiting.push(call),
                    Poll::Ready(answer) => self.check(&call, answer, ended.as_ref()),
                }
                // Those who wait are all there are, for who looks.
                std::mem::swap(&mut self.calls, &mut waiting);
                self.notice();
                std::mem::swap(&mut self.calls, &mut waiting);
            }
            self.calls.extend(waiting);
            self.notice();
            if !busy {
                break;
            }
        }
        self.timed_out_fills();
        if let Some(ended) = ended {
            self.nobody_waits_for(&ended);
        }
        self.everyone_waits_for_someone();
    }

    /// Fills that have begun meanwhile.
    fn notice(&mut self) {
        for (call, at, tags, parent, stale, says) in
            std::mem::take(&mut *self.begun.lock().unwrap())
        {
            // Who may go alone, after some in vain.
            let in_vain = self
                .calls
                .iter()
                .any(|waiting| waiting.id == call && waiting.ends >= 3);
            let led = self.live(at).any(|source| !source.alone);
            assert!(!led || in_vain, "two fills at once for {at}");
            let found = self.naive.look_up(at);
            let expected = found.and_then(|(_, stored)| stored.value);
            assert!(
                stale == expected || in_vain,
                "{at} sees {stale:?}, not {expected:?}"
            );
            // Only to refresh it is what is fresh read anew.
            let needless = found.is_some_and(|(usable, of)| usable == Use::Fresh && !of.refreshing);
            assert!(!needless, "{at} is read although it is there");
            let before = self.naive.stored.get(&at).map(|of| (of.stored, of.born));
            self.sources.push(Source {
                call,
                key: at,
                tags,
                parent,
                stale,
                says,
                born: self.naive.moment,
                began: self.naive.now,
                before: before.filter(|_| found.is_some()),
                names: found.map(|(_, of)| of.names.clone()).unwrap_or_default(),
                alone: in_vain,
            });
        }
    }

    /// What a call that has waited has come to.
    fn check(&mut self, call: &Call, answer: Answer, ended: Option<&Ended>) {
        let found = self.naive.look_up(call.key);
        let waited = self.naive.now - call.since;
        let hit = match answer {
            Ok(hit) => hit,
            Err(error) => {
                // Nothing was there to be served instead.
                assert!(
                    found.is_none_or(|(_, stored)| stored.value.is_none()),
                    "{error:?}"
                );
                let says = ended.map(|ended| ended.says);
                match error {
                    FillError::Source(_) => assert_eq!(says, Some(Says::Fails)),
                    FillError::Panicked => assert_eq!(says, Some(Says::Panics)),
                    _ => assert!(self.settings.hard.is_some()),
                }
                return;
            }
        };
        let state = hit.as_ref().map(Hit::state);
        let value = hit.map(|hit| *hit);
        match (state, found) {
            (Some(State::Fresh), _) => assert_eq!(value, self.naive.fresh(call.key)),
            (Some(State::Stale), Some((Use::Stale, stored))) => {
                assert_eq!(value, stored.value);
                let failed = ended.is_some_and(|ended| ended.key == call.key);
                let soft = self.settings.soft.is_some_and(|soft| waited >= soft);
                let hard = self.settings.hard.is_some_and(|hard| waited >= hard)
                    || self
                        .sources
                        .iter()
                        .any(|source| source.key == call.key && source.says.is_closed());
                assert!(
                    failed || soft || hard || self.naive.is_calm(stored),
                    "stale without a reason"
                );
                if self.settings.soft.is_some() {
                    // Whose time-out was the last is not followed; that there may be one is.
                    let until = self.naive.now + self.settings.throttle;
                    let now = self.naive.moment;
                    self.naive.stored.get_mut(&call.key).unwrap().quiet = Some((until, now));
                }
            }
            (Some(State::Stale), found) => panic!("{value:?} is stale, and there is {found:?}"),
            (_, _) => self.check_filled(call, value, ended),
        }
    }

    /// What was filled for one who waited is no older than what that one may have.
    fn check_filled(&self, call: &Call, value: Option<u64>, ended: Option<&Ended>) {
        let Some(ended) = ended.filter(|ended| ended.key == call.key) else {
            // Who was to lead has found that somebody had stored it.
            let found = self.naive.look_up(call.key);
            let found = found.map(|(usable, stored)| (usable, stored.value));
            assert_eq!(found, Some((Use::Fresh, value)), "from nowhere");
            return;
        };
        if value != ended.value {
            let stored = self.naive.look_up(call.key).map(|(_, stored)| stored.value);
            assert_eq!(Some(value), stored, "{ended:?}");
            return;
        }
        let own = ended.call == call.id;
        let valid = ended.storable && self.naive.is_valid(ended.born, &ended.names);
        let may_have = own || ended.is_current(call) || valid;
        assert!(may_have, "{ended:?} for who asked at {:?}", call.asked);
    }

    /// Fills that were cut off by the hard timeout, or whose callers have gone.
    fn timed_out_fills(&mut self) {
        let closed = self
            .sources
            .extract_if(.., |source| source.says.is_closed());
        for source in closed.collect::<Vec<_>>() {
            let hard = self
                .settings
                .hard
                .is_some_and(|hard| self.naive.now - source.began >= hard);
            let until = self.naive.now + self.settings.throttle;
            let seen = self.naive.stored.get_mut(&source.key);
            let seen = seen.filter(|stored| Some((stored.stored, stored.born)) == source.before);
            if let Some(seen) = seen {
                seen.refreshing = false;
                if hard && self.settings.throttle > 0 {
                    seen.quiet = Some((until, source.born));
                }
            }
        }
    }

    /// Everyone who may have what has ended has it.
    fn nobody_waits_for(&self, ended: &Ended) {
        if matches!(ended.says, Says::Fails | Says::Panics) {
            return;
        }
        for call in self.calls.iter().filter(|call| call.key == ended.key) {
            let current = ended.is_current(call);
            let valid = ended.storable && self.naive.is_valid(ended.born, &ended.names);
            // Who has joined a fill beside it, which began for one who went alone, waits for that.
            assert!(
                !(current || valid) || self.is_in_flight(call.key),
                "left asleep"
            );
        }
    }

    /// Whoever waits, waits for a fill.
    fn everyone_waits_for_someone(&self) {
        for call in &self.calls {
            assert!(self.is_in_flight(call.key), "{} waits for nobody", call.key);
        }
    }

    /// Everything comes to its end.
    fn end(mut self) {
        while !self.sources.is_empty() {
            let source = self.sources.remove(0);
            let ended = self.finish(source, Says::Value);
            self.settle(Some(ended));
        }
        assert!(self.calls.is_empty() && self.running.is_empty());
        let snapshot = self.cache.snapshot();
        assert_eq!((snapshot.filling, snapshot.background), (0, 0));
        for at in 0..crate::KEYS {
            let got = self.cache.get(key(at)).now().map(|hit| *hit);
            assert_eq!(got, self.naive.fresh(at), "get {at} in the end");
        }
    }
}

impl Ended {
    /// Nothing was invalidated between what `call` asked and this began.
    fn is_current(&self, call: &Call) -> bool {
        self.born == call.asked || self.born.is_after(call.asked)
    }
}
