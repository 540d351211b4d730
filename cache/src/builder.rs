//! A cache's size and its defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use buttress_wire::tasks::{Spawn, Tasks};
use tokio::runtime::Handle;

use crate::cache::Cache;
use crate::clock::SlotBits;
use crate::event::{Audience, Observer};
use crate::l1::Memory;
#[cfg(feature = "l2")]
use crate::l2::SecondLevel;
use crate::settings::{Refresh, Settings, Share};

/// Chooses a cache's size and its defaults; made by [`Cache::builder`].
#[must_use]
pub struct Builder<V> {
    settings: Settings<V>,
    audience: Audience,
    /// `None` is the runtime of whoever asks.
    spawn: Option<Arc<dyn Spawn>>,
    #[cfg(feature = "l2")]
    below: Option<SecondLevel<V>>,
}

impl<V: Send + Sync + 'static> Builder<V> {
    pub(crate) fn new() -> Self {
        Self {
            settings: Settings::default(),
            audience: Audience::default(),
            spawn: None,
            #[cfg(feature = "l2")]
            below: None,
        }
    }

    /// How much is kept, in bytes as the [weigher](Self::weigher) counts them. Default: 64 MiB. What is too large by itself is said at [`Memory`]; it is given to who
    /// asked, not kept, and told as [`Event::Unstored`](crate::Event::Unstored).
    pub fn max_weight(self, bytes: u64) -> Self {
        self.set(|settings| settings.max_weight = bytes)
    }

    /// What keeps it, and what it does without when there is too much. Default: quick_cache.
    pub fn memory(self, memory: Memory) -> Self {
        self.set(|settings| settings.memory = memory)
    }

    /// How many bytes a value takes, beside its key and what the cache keeps of it. Default: the size of the type, which is right for types that own
    /// nothing. What takes more than 4 GiB counts as 4 GiB.
    pub fn weigher(self, weigher: impl Fn(&[u8], &V) -> usize + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.weigher = Some(Box::new(weigher)))
    }

    /// How long a value is fresh, if neither the call nor the fill says. Default: five minutes.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|settings| settings.ttl = ttl)
    }

    /// For how long after that a value may be served when the source fails, or is slow. Default: not at all.
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|settings| settings.grace = grace)
    }

    /// For how long it is known that the source has no such value. Default: that is not remembered.
    pub fn negative_ttl(self, ttl: Duration) -> Self {
        self.set(|settings| settings.negative_ttl = Some(ttl))
    }

    /// Shortens each ttl by a random part of up to this share, so that what was stored together does not expire together. Taken to
    /// within 0 and 1. Default: 0.
    pub fn jitter(self, share: f64) -> Self {
        self.set(|settings| settings.jitter = Share::new(share))
    }

    /// When the source has failed or was slow and a stale value was served, for how long that value is served without asking again. An invalidation
    /// of the value ends it. Default: one second.
    pub fn throttle(self, throttle: Duration) -> Self {
        self.set(|settings| settings.throttle = throttle)
    }

    /// How long a caller for whom there is a stale value waits for the source. After it the stale value is served, and the fill goes on in the background;
    /// who has nothing stale waits on. A millisecond at least. Default: as long as it takes.
    pub fn soft_timeout(self, timeout: Duration) -> Self {
        // Who follows a fill and has nothing stale looks again each time it has passed.
        let timeout = timeout.max(Duration::from_millis(1));
        self.set(|settings| settings.soft_timeout = Some(timeout))
    }

    /// How long a fill may take, also in the background. It is dropped then, and all who wait for it have
    /// [`FillError::TimedOut`](crate::FillError::TimedOut), or a stale value. Default: as long as it takes.
    pub fn hard_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.hard_timeout = Some(timeout))
    }

    /// Reads a value anew, in the background, when it is asked for after this share of its ttl. One caller's fill does so, and nobody waits for it.
    /// Taken to within 0 and 1. Default: not before it is stale.
    pub fn eager(self, share: f64) -> Self {
        self.set(|settings| settings.refresh.share = Some(Share::new(share)))
    }

    /// Reads a value anew, in the background, at a random time before its end: the nearer the end, the longer the value took to read, and the more often
    /// it is asked for, the likelier (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, 2015). More than 1 is
    /// earlier. Default: not.
    pub fn xfetch(self, beta: f64) -> Self {
        self.set(|settings| settings.refresh.beta = Refresh::checked(beta))
    }

    /// How many slots the invalidation clock has, at least: the next power of two, from 2¹⁰ to 2²⁸. Two tags in one slot go together. At most 16 bytes each, and as much again for those
    /// that are [guarded](Cache::guard). A second level has to say the same. Default: 2²⁰.
    pub fn slots(self, slots: u32) -> Self {
        self.set(|settings| settings.slots = SlotBits::at_least(slots))
    }

    #[cfg(all(test, buttress_loom))]
    pub(crate) fn few_slots(self) -> Self {
        self.set(|settings| settings.slots = SlotBits::FEW)
    }

    /// One more who hears of what happens.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.audience.add(observer);
        self
    }

    /// What runs the fills that go on in the background. It is called in the task of the caller whose fill it is: there it can take that one's span
    /// along. Default: the tokio runtime of that task.
    pub fn spawner(self, spawn: impl Spawn) -> Self {
        let spawn: Arc<dyn Spawn> = Arc::new(spawn);
        Self {
            spawn: Some(spawn),
            ..self
        }
    }

    /// A second level, which other processes share: what is not in memory is looked for there before the source is asked, and what is invalidated in one process is so in all.
    #[cfg(feature = "l2")]
    pub fn l2(self, below: SecondLevel<V>) -> Self {
        let below = Some(below);
        Self { below, ..self }
    }

    /// The cache.
    ///
    /// # Panics
    ///
    /// With a second level, and the default [spawner](Self::spawner), outside of a tokio runtime.
    #[must_use]
    pub fn build(self) -> Cache<V> {
        let tasks = match self.spawn.clone() {
            Some(spawn) => Tasks::new(move |task| spawn.spawn(task)),
            None => Tasks::new(|task| {
                // A fill may be dropped after its runtime, where a panic would be one in a drop.
                if let Ok(runtime) = Handle::try_current() {
                    runtime.spawn(task);
                }
            }),
        };
        let cache = Cache::build(
            self.settings,
            self.audience,
            tasks,
            #[cfg(feature = "l2")]
            self.below,
        );
        // Not among the tasks: it ends with the cache, and nothing waits for that.
        #[cfg(feature = "l2")]
        if let Some(below) = cache.below() {
            match &self.spawn {
                Some(spawn) => spawn.spawn(Box::pin(below.follow())),
                None => drop(tokio::spawn(below.follow())),
            }
        }
        cache
    }

    fn set(mut self, change: impl FnOnce(&mut Settings<V>)) -> Self {
        change(&mut self.settings);
        self
    }
}

impl<V> fmt::Debug for Builder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
