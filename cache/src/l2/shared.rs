//! What a cache does with its second level.

use std::sync::Arc;
use std::time::Duration;

use buttress_dedup::{Coordinator, Lease, Seat};
use bytes::Bytes;
#[cfg(feature = "http")]
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::frame::Frame;
use super::node::{Following, Happened, Node};
use super::{Codec, L2Error, SecondLevel};
use crate::cache::Found;
use crate::clock::{InvalidationClock, SlotBits};
use crate::counters::Counters;
use crate::entry::{Entry, Held, Lifetime, Usable};
use crate::error::InvalidateError;
use crate::event::{Event, L2Failure};
use crate::hit::{Hit, State, Tier};
use crate::keyed::Keyed;
use crate::slots::Slots;
use crate::told::Told;

pub(crate) struct Shared<V> {
    node: Arc<Node>,
    codec: Arc<dyn Codec<V>>,
    coordinator: Option<Arc<dyn Coordinator>>,
    following: Following,
    #[cfg(feature = "http")]
    giving: Arc<Semaphore>,
}

/// So many entries may be on their way to the second level in the background; what comes on top is not shared, which is a miss for others.
#[cfg(feature = "http")]
const MAX_GIVING: usize = 256;

/// Who reads the source.
pub(crate) enum Reader<V> {
    /// This process, for all, or for itself.
    Us(Option<Box<dyn Lease>>),
    /// Another one did, and this is what it read.
    Other(Found<V>),
}

impl<V> Shared<V> {
    /// The clock of a cache, and its second level.
    pub(crate) fn build(
        level: Option<SecondLevel<V>>,
        bits: SlotBits,
        counters: &Arc<Counters>,
    ) -> (Arc<InvalidationClock>, Option<Self>) {
        let Some(level) = level else {
            return (Arc::new(InvalidationClock::new(bits)), None);
        };
        // The same in all processes that share it.
        let hash = blake3::hash(level.l2.name().as_bytes());
        let (words, _) = hash.as_bytes().as_chunks::<8>();
        let seed = u64::from_be_bytes(words[0]);
        let clock = Arc::new(InvalidationClock::shared(bits, seed));
        let counters = Arc::clone(counters);
        let tell = move |happened: Happened<'_>| tell(&counters, happened);
        let node = Node::new(level.l2, Arc::clone(&clock), level.settings, tell);
        let shared = Self {
            following: Following(Arc::clone(&node)),
            node,
            codec: level.codec,
            coordinator: level.coordinator,
            #[cfg(feature = "http")]
            giving: Arc::new(Semaphore::new(MAX_GIVING)),
        };
        (clock, Some(shared))
    }

    /// Keeps in step with the others; ends when this is dropped.
    pub(crate) fn follow(&self) -> impl Future<Output = ()> + Send + 'static {
        self.following.follow()
    }

    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        self.node.is_trusted(now)
    }

    /// Whether a call that came at `asked` may have what was begun at `begun`, whatever others have invalidated: after all that the call must know of.
    pub(crate) fn covers(&self, begun: Option<Instant>, asked: Instant) -> bool {
        let since = asked.checked_sub(self.node.max_lag());
        since.is_none_or(|since| begun.is_some_and(|begun| begun >= since))
    }

    /// A place among the entries that are given in the background, if there is one.
    #[cfg(feature = "http")]
    pub(crate) fn giving(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.giving).try_acquire_owned().ok()
    }

    pub(crate) fn lag(&self) -> Option<Duration> {
        self.node.lag(Instant::now())
    }

    pub(crate) fn untold(&self) -> usize {
        self.node.untold()
    }

    /// Waits until other processes were told of everything.
    pub(crate) async fn all_told(&self) {
        self.node.all_told().await;
    }

    pub(crate) fn tell_others_later(&self, told: Told) {
        self.node.tell_others_later(told);
    }

    pub(crate) fn tell_others(
        &self,
        told: Told,
    ) -> impl Future<Output = Result<(), InvalidateError>> + Send + 'static {
        let node = Arc::clone(&self.node);
        async move {
            let told = node.tell_others(told).await;
            told.map_err(|error| InvalidateError(error.into()))
        }
    }
}

impl<V: 'static> Shared<V> {
    /// What other processes see of an entry. `None` if it is nothing for them.
    fn frame(&self, entry: &Entry<V>) -> Option<Frame> {
        let lifetime = entry.lifetime;
        if entry.unstorable || lifetime.ttl.saturating_add(lifetime.grace).is_zero() {
            return None;
        }
        let payload = entry.value().map(|value| self.codec.encode(value));
        let payload = payload.transpose().map_err(|error| self.node.failed(error));
        Some(Frame {
            written: entry.stamp.written(),
            ttl: lifetime.ttl.min(LONGEST),
            grace: lifetime.grace.min(LONGEST),
            slots: entry.slots.as_slice().to_vec(),
            codec: self.codec.version(),
            payload: payload.ok()?,
        })
    }

    /// Whether `found` was read after `held`, and is not `held` itself: that one got there somewhat later than it was read.
    fn is_younger(&self, found: &Entry<V>, held: &Entry<V>) -> bool {
        found.stored.saturating_duration_since(held.stored) > self.node.patience()
    }

    fn read(&self, frame: Frame, age: Duration, now: Instant) -> Option<Entry<V>> {
        if frame.codec != self.codec.version() {
            return None;
        }
        let held = match frame.payload {
            Some(payload) => match self.codec.decode_kept(payload, age) {
                Ok(value) => Held::Own(value),
                Err(error) => {
                    self.node.failed(error);
                    return None;
                }
            },
            None => Held::Nothing,
        };
        let mut slots = Slots::default();
        let of_clock = self.node.clock().slots();
        let mut all = frame.slots.iter();
        let fit = all.all(|slot| *slot < of_clock && slots.push(*slot));
        let lifetime = Lifetime {
            ttl: frame.ttl,
            grace: frame.grace,
        };
        let stored = now.checked_sub(age)?;
        let stamp = self.node.clock().stamp_of(frame.written);
        fit.then(|| Entry::new(held, stamp, slots, stored, lifetime))
    }
}

impl<V: Send + Sync + 'static> Keyed<V> {
    /// What the second level has, and may be used in some way. It is in memory then too, if that was wanted.
    pub(crate) async fn look_below(&self, keep: bool) -> Option<Found<V>> {
        let below = self.cache.below()?;
        if !below.is_trusted(Instant::now()) {
            return None;
        }
        let (frame, age) = below.node.get(&self.full).await?;
        self.found_below(below, frame, age, keep)
    }

    fn found_below(
        &self,
        below: &Shared<V>,
        frame: Frame,
        age: Duration,
        keep: bool,
    ) -> Option<Found<V>> {
        let now = Instant::now();
        let mut entry = below.read(frame, age, now)?;
        let usable = entry.usable(self.cache.clock(), now);
        if usable == Usable::No || !below.is_trusted(now) {
            return None;
        }
        entry.weight = self
            .cache
            .settings()
            .weigh(&self.full, entry.value(), &entry.slots);
        let entry = Arc::new(entry);
        if keep {
            self.cache.keep(&self.full, &entry);
        }
        Some(Found { usable, entry, now })
    }

    /// What is fresh there, as a hit.
    pub(crate) async fn fresh_below(&self) -> Option<Hit<V>> {
        let found = self.look_below(true).await?;
        (found.usable == Usable::Fresh).then(|| self.hit_below(found))?
    }

    /// Told as such; `None` if it is known that there is no value.
    pub(crate) fn hit_below(&self, found: Found<V>) -> Option<Hit<V>> {
        let tier = Tier::Redis;
        self.tell(|key| Event::Hit { key, tier });
        Some(found.hit(State::Fresh)?.at_tier(tier))
    }

    /// Who is to read the source, where `held` is what this process has. What another process has read is in memory then, if it is to be kept.
    pub(crate) async fn reader(&self, held: Option<&Entry<V>>, keep: bool) -> Reader<V> {
        let Some(below) = self.cache.below() else {
            return Reader::Us(None);
        };
        let lease = match self.lease(below).await {
            Seat::Lead(lease) => Some(lease),
            Seat::Local(_) => None,
            Seat::Received(frame) => match self.received(below, frame, keep) {
                Some(found) => return Reader::Other(found),
                // Invalidated on its way.
                None => return Reader::Us(None),
            },
        };
        let held =
            held.filter(|held| held.usable(self.cache.clock(), Instant::now()) == Usable::Fresh);
        // Others may have read it since this process looked: before it had the lease, or since it keeps what is to be refreshed.
        if (lease.is_some() || held.is_some())
            && let Some(found) = self.look_below(keep).await
            && found.usable == Usable::Fresh
            && held.is_none_or(|held| below.is_younger(&found.entry, held))
        {
            return Reader::Other(found);
        }
        Reader::Us(lease)
    }

    async fn lease(&self, below: &Shared<V>) -> Seat {
        match &below.coordinator {
            Some(coordinator) => coordinator.join(&self.full, None).await,
            None => Seat::Local(None),
        }
    }

    /// What another process read just now.
    fn received(&self, below: &Shared<V>, frame: Bytes, keep: bool) -> Option<Found<V>> {
        let frame = Frame::decode(frame, &self.full)?;
        let found = self.found_below(below, frame, Duration::ZERO, keep)?;
        (found.usable == Usable::Fresh).then_some(found)
    }

    /// Gives an entry to the other processes: all by the second level, and then those who wait for it. In this order, so that who gets the lease next finds it there.
    pub(crate) async fn give_below(&self, entry: &Entry<V>, lease: Option<Box<dyn Lease>>) {
        let Some(below) = self.cache.below() else {
            return;
        };
        let frame = below.frame(entry);
        let bytes = frame
            .as_ref()
            .and_then(|frame| below.node.encode(&self.full, frame));
        if let (Some(frame), Some(bytes)) = (&frame, bytes.clone()) {
            below.node.set(&self.full, frame, bytes).await;
        }
        match (lease, bytes) {
            (Some(lease), Some(bytes)) => lease.publish(bytes),
            (Some(lease), None) => lease.decline(),
            (None, _) => {}
        }
    }

    /// The source has it no more, and that is not remembered: what is left of it must not be served when the source fails.
    pub(crate) async fn clear_below(&self, entry: &Entry<V>) {
        let is_remembered = !entry.lifetime.ttl.is_zero();
        if entry.unstorable || is_remembered || entry.value().is_some() {
            return;
        }
        let Some(below) = self.cache.below() else {
            return;
        };
        // An entry that is over as soon as it is there.
        let nothing = Frame {
            written: entry.stamp.written(),
            ttl: Duration::ZERO,
            grace: Duration::ZERO,
            slots: vec![],
            codec: below.codec.version(),
            payload: None,
        };
        if let Some(bytes) = below.node.encode(&self.full, &nothing) {
            below.node.set(&self.full, &nothing, bytes).await;
        }
    }
}

/// Some thirty years. The age of an entry is what its store has left of its lifetime: a store that cannot keep it for so long would make it older than it is.
const LONGEST: Duration = Duration::from_millis(1 << 40);

fn tell(counters: &Counters, happened: Happened<'_>) {
    match happened {
        Happened::OtherEpoch => counters.tell(Event::NewEpoch),
        Happened::Resynced => counters.tell(Event::Resynced),
        Happened::Failed(error) => {
            let text = match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            counters.tell(Event::L2Failed {
                why: L2Failure::of(error),
                error: &text,
            });
        }
    }
}

impl L2Failure {
    fn of(error: &L2Error) -> Self {
        match error {
            L2Error::Codec(_) | L2Error::Corrupt(_) => Self::Corrupt,
            L2Error::Shunned => Self::Shunned,
            L2Error::Slow => Self::Slow,
            L2Error::Unavailable(_) => Self::Unavailable,
        }
    }
}
