//! One process among those that share a second level: its clock follows the shared one, and what it invalidates is told to the others.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buttress_circuit::{Backoff, Breaker, Clock, consecutive};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::frame::Frame;
use super::mirror::{Adopted, Compared, Heard, Mirror};
use super::outbox::{MAX_STEP, Outbox};
use super::{Bump, CodecError, Compression, EntryKey, Head, L2, L2Error, News};
use crate::caught::caught;
use crate::clock::InvalidationClock;
use crate::told::Told;

pub(crate) struct Node {
    l2: Arc<dyn L2>,
    clock: Arc<InvalidationClock>,
    /// Never held while the second level is asked, and never while anybody is told.
    state: Mutex<State>,
    /// There is something to catch up with.
    behind: Notify,
    /// The outbox is empty.
    told: Notify,
    closed: AtomicBool,
    began: Instant,
    /// Nanoseconds after `began`, plus one: when the question was asked whose answer said last that we stand in step.
    verified: AtomicU64,
    settings: NodeSettings,
    breaker: Breaker,
    tell: Box<dyn Fn(Happened<'_>) + Send + Sync>,
}

#[derive(Default)]
struct State {
    mirror: Mirror,
    outbox: Outbox,
}

#[derive(Clone, Debug)]
pub(crate) struct NodeSettings {
    /// For how long what this node knows of the clock is good enough.
    pub(crate) max_lag: Duration,
    /// For how long more, when the second level cannot be reached.
    pub(crate) serve_for: Duration,
    /// How long an answer may take.
    pub(crate) patience: Duration,
    pub(crate) compression: Compression,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happened<'a> {
    /// Something could not be done; the cache goes on without it.
    Failed(&'a L2Error),
    /// A new epoch: nothing of before is valid.
    OtherEpoch,
    /// Something had been missed, and is known now.
    Resynced,
}

/// So often a clock may change between two looks before we let it be until the next beat.
const MAX_ROUNDS: usize = 4;

impl Node {
    /// A node that stands nowhere yet, and whoever [follows](Self::follow) the others' clock for it.
    pub(crate) fn new(
        l2: Arc<dyn L2>,
        clock: Arc<InvalidationClock>,
        settings: NodeSettings,
        tell: impl Fn(Happened<'_>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let breaker = Breaker::builder("cache l2")
            .trip(consecutive(FAILURES))
            // Whatever `max_lag` is: a breaker takes no time that is none, or no end.
            .open_for(Backoff::constant(settings.max_lag.clamp(SHORTEST, LONGEST)))
            .clock(Clock::tokio())
            .build()
            .expect("these settings are good");
        Arc::new(Self {
            l2,
            clock,
            state: Mutex::default(),
            behind: Notify::new(),
            told: Notify::new(),
            closed: AtomicBool::new(false),
            began: Instant::now(),
            verified: AtomicU64::new(0),
            settings,
            breaker,
            tell: Box::new(tell),
        })
    }

    /// Whether what is held here may be served: no invalidation that is older than [`max_lag`](NodeSettings::max_lag) can be unknown.
    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        let NodeSettings {
            max_lag, serve_for, ..
        } = self.settings;
        let limit = max_lag.saturating_add(serve_for);
        self.lag(now).is_some_and(|lag| lag <= limit)
    }

    /// How long ago this node was certainly in step. `None`: never.
    pub(crate) fn lag(&self, now: Instant) -> Option<Duration> {
        let verified = self.verified.load(Ordering::Acquire).checked_sub(1)?;
        let since = now.saturating_duration_since(self.began);
        Some(since.saturating_sub(Duration::from_nanos(verified)))
    }

    /// What others invalidated so long ago is to be known here.
    pub(crate) fn max_lag(&self) -> Duration {
        self.settings.max_lag
    }

    /// How much longer than its source took a value may need to get to the second level.
    pub(crate) fn patience(&self) -> Duration {
        self.settings.patience
    }

    /// How many slots could not be told to the others yet.
    pub(crate) fn untold(&self) -> usize {
        self.state().outbox.len()
    }

    /// Waits until the others were told of everything.
    pub(crate) async fn all_told(&self) {
        loop {
            let told = self.told.notified();
            if self.untold() == 0 {
                return;
            }
            told.await;
        }
    }

    /// The entry under `key`, whether it is valid or not, and its age.
    pub(crate) async fn get(&self, key: &[u8]) -> Option<(Frame, Duration)> {
        let name = EntryKey::of(key);
        let (bytes, left) = self.carefully(|| self.l2.get(&name)).await.ok()??;
        let frame = Frame::decode(bytes, key)?;
        let age = frame.ttl.saturating_add(frame.grace).saturating_sub(left);
        Some((frame, age))
    }

    /// An entry as the others read it.
    pub(crate) fn encode(&self, key: &[u8], frame: &Frame) -> Option<Bytes> {
        frame.encode(key, self.settings.compression)
    }

    /// Gives the entry to the others; if that fails, they miss it.
    pub(crate) async fn set(&self, key: &[u8], frame: &Frame, bytes: Bytes) {
        let name = EntryKey::of(key);
        let time = frame.ttl.saturating_add(frame.grace);
        let set = || self.l2.set(&name, bytes, frame.written, time);
        // Whether a newer one was there makes no difference to us.
        let _ = self.carefully(set).await;
    }

    /// A value that cannot be written or read.
    pub(crate) fn failed(&self, error: CodecError) {
        (self.tell)(Happened::Failed(&L2Error::Codec(error)));
    }

    pub(crate) fn clock(&self) -> &InvalidationClock {
        &self.clock
    }

    /// Tells the others.
    ///
    /// # Cancellation
    ///
    /// They are told later, by whoever follows.
    pub(crate) async fn tell_others(&self, told: Told) -> Result<(), L2Error> {
        let mut told = told;
        while let Some(step) = first_step(&mut told) {
            // Whatever comes after it waits with it, if it is dropped or fails.
            let rest = Untold::new(self, told);
            Untold::new(self, step).send().await?;
            told = rest.into_told();
        }
        Untold::new(self, told).send().await
    }

    /// Whoever follows tells the others.
    pub(crate) fn tell_others_later(&self, told: Told) {
        drop(Untold::new(self, told));
    }

    /// Asks where the shared clock stands now, and follows it there.
    async fn catch_up(&self, news: &mut mpsc::Receiver<News>) -> Result<(), L2Error> {
        let caught_up = self.try_catch_up(news).await;
        if let Err(error) = &caught_up {
            (self.tell)(Happened::Failed(error));
        }
        caught_up
    }

    async fn try_catch_up(&self, news: &mut mpsc::Receiver<News>) -> Result<(), L2Error> {
        // First: what this node invalidated alone must not be forgotten with an epoch that it adopts.
        self.flush().await?;
        for _ in 0..MAX_ROUNDS {
            let asked = Instant::now();
            let before = self.state().mirror.asked();
            let head = self.in_time(self.l2.head()).await?;
            // What was said before it answered may tell how it came there: that spares the whole clock.
            let mut missed = false;
            for _ in 0..news.len() {
                let Ok(heard) = news.try_recv() else { break };
                missed |= self.hear(&heard) == Heard::Gap;
            }
            let compared = self.state().mirror.compare(head, before);
            let in_step = match compared {
                Compared::InStep => true,
                Compared::Lost => {
                    self.begin(head).await?;
                    false
                }
                Compared::Behind => self.read().await?,
            };
            if in_step {
                self.verified_at(asked);
                // What was missed may be later than that head. What was read was asked for after it.
                if missed && compared == Compared::InStep {
                    self.behind.notify_one();
                }
                return Ok(());
            }
        }
        Err(L2Error::Slow)
    }

    /// Reads the whole clock. False if another look is needed.
    async fn read(&self) -> Result<bool, L2Error> {
        let asked = self.state().mirror.asked();
        // Megabytes, on a link that may be slow; and nobody waits for them but whoever follows.
        let read = timeout(READ_PATIENCE, self.l2.read()).await;
        let Some((head, slots)) = read.map_err(|_| L2Error::Slow)?? else {
            return Ok(false);
        };
        let adopted = self.follow(|mirror, clock| mirror.adopt(head, &slots, asked, clock));
        match adopted {
            Adopted::InStep => (self.tell)(Happened::Resynced),
            Adopted::OtherEpoch => (self.tell)(Happened::OtherEpoch),
            Adopted::Lost => {
                self.begin(Some(head)).await?;
                return Ok(false);
            }
            Adopted::Outrun => return Ok(false),
        }
        Ok(true)
    }

    /// Begins a new epoch, unless the clock has moved meanwhile.
    async fn begin(&self, expected: Option<Head>) -> Result<Option<Head>, L2Error> {
        let begin = self.state().mirror.after(expected);
        let begun = self.in_time(self.l2.begin(expected, begin)).await?;
        Ok(begun.then_some(begin))
    }

    /// Begins a new epoch, wherever the clock stands.
    async fn begin_anyhow(&self) -> Result<Head, L2Error> {
        for _ in 0..MAX_ROUNDS {
            let head = self.in_time(self.l2.head()).await?;
            if let Some(begun) = self.begin(head).await? {
                return Ok(begun);
            }
        }
        Err(L2Error::Slow)
    }

    /// Tells what waits in the outbox.
    async fn flush(&self) -> Result<(), L2Error> {
        loop {
            let Some((told, until)) = self.state().outbox.next() else {
                self.told.notify_waiters();
                return Ok(());
            };
            self.send(&told).await?;
            self.state().outbox.told(&told, until);
        }
    }

    async fn send(&self, told: &Told) -> Result<(), L2Error> {
        match told {
            Told::Slots(depth, slots) => {
                let begin = self.state().mirror.after(None);
                let bump = Bump {
                    slots: slots.clone(),
                    depth: *depth,
                    begin,
                };
                let moved = self.in_time(self.l2.bump(bump)).await?;
                let followed = self.follow(|mirror, clock| mirror.taken(&moved, clock));
                if !followed {
                    self.behind.notify_one();
                }
            }
            Told::All => {
                let begun = self.begin_anyhow().await?;
                self.follow(|mirror, clock| mirror.begun(begun, clock));
                self.behind.notify_one();
            }
        }
        Ok(())
    }

    /// Whatever this node learns of others' steps, what it could not tell them yet goes on to hold here.
    fn follow<T>(&self, learn: impl FnOnce(&mut Mirror, &InvalidationClock) -> T) -> T {
        let mut state = self.state();
        let learnt = learn(&mut state.mirror, &self.clock);
        if !state.outbox.hold(&self.clock) {
            state.outbox.push(Told::All);
        }
        learnt
    }

    fn hear(&self, news: &News) -> Heard {
        match news {
            News::Moved(moved) => self.follow(|mirror, clock| mirror.hear(moved, clock)),
            News::Unclear => Heard::Gap,
        }
    }

    fn verified_at(&self, asked: Instant) {
        let since = asked.saturating_duration_since(self.began).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1) + 1;
        self.verified.fetch_max(since, Ordering::AcqRel);
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, L2Error>>,
    ) -> Result<T, L2Error> {
        let answer = timeout(self.settings.patience, answer).await;
        answer.map_err(|_| L2Error::Slow)?
    }

    /// For entries: not at all while the second level does not answer.
    async fn carefully<T, F>(&self, ask: impl FnOnce() -> F) -> Result<T, L2Error>
    where
        F: Future<Output = Result<T, L2Error>>,
    {
        let asked = self.breaker.call(|| self.in_time(ask())).await;
        let asked = asked.map_err(|error| match error {
            buttress_circuit::Error::Inner(error) => error,
            _ => L2Error::Shunned,
        });
        if let Err(error) = &asked {
            (self.tell)(Happened::Failed(error));
        }
        asked
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const READ_PATIENCE: Duration = Duration::from_secs(10);

/// For how long a second level that fails is let be.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3600);

/// So many failures in a row, and the second level is let be for [`NodeSettings::max_lag`].
const FAILURES: u32 = 5;

/// Something to be told to the others. Dropped before it was, it goes to the outbox.
struct Untold<'a> {
    node: &'a Node,
    told: Option<Told>,
}

/// Takes as much as goes in one step, if that is not all.
fn first_step(told: &mut Told) -> Option<Told> {
    match told {
        Told::Slots(depth, slots) if slots.len() > MAX_STEP => {
            let rest = slots.split_off(MAX_STEP);
            let step = std::mem::replace(slots, rest);
            Some(Told::Slots(*depth, step))
        }
        _ => None,
    }
}

impl<'a> Untold<'a> {
    fn new(node: &'a Node, told: Told) -> Self {
        let told = Some(told);
        Self { node, told }
    }

    fn into_told(mut self) -> Told {
        self.told.take().expect("it was not told")
    }

    async fn send(mut self) -> Result<(), L2Error> {
        if let Some(told) = &self.told {
            self.node.send(told).await?;
        }
        self.told = None;
        Ok(())
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            self.node.state().outbox.push(told);
            // Other steps may have become known while it was on its way.
            self.node.follow(|_, _| ());
            self.node.behind.notify_one();
        }
    }
}

/// Keeps a node in step for as long as somebody holds this.
pub(crate) struct Following(pub(crate) Arc<Node>);

impl Following {
    /// The work itself: ends soon after `self` is dropped.
    pub(crate) fn follow(&self) -> impl Future<Output = ()> + Send + 'static {
        follow(Arc::clone(&self.0))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.behind.notify_one();
    }
}

async fn follow(node: Arc<Node>) {
    let mut news = node.l2.listen();
    // Well before what we know is too old.
    let mut beat = interval((node.settings.max_lag / 3).max(Duration::from_millis(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listening = true;
    while !node.closed.load(Ordering::Acquire) {
        tokio::select! {
            heard = news.recv(), if listening => match heard {
                Some(heard) if node.hear(&heard) != Heard::Gap => continue,
                Some(_) => {}
                None => listening = false,
            },
            () = node.behind.notified() => {}
            _ = beat.tick() => {}
        }
        // A second level that panics must not take away what keeps us in step.
        let _ = caught(node.catch_up(&mut news)).await;
    }
    // What was said last may have come while it looked at the clock.
    let _ = caught(node.flush()).await;
}

impl EntryKey {
    fn of(key: &[u8]) -> Self {
        let hash = blake3::hash(key);
        let (half, _) = hash.as_bytes().split_at(16);
        Self(half.try_into().expect("half of a hash"))
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
