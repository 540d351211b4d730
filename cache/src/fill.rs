//! What a fill can say about the value it reads.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::Cache;
use crate::clock::{Slot, Stamp};
use crate::hit::Hit;
use crate::slots::Slots;

/// Handed to the closure of [`Cache::get_or_set`]: what it finds out while it reads the source, it says here. A clone is the
/// same fill.
pub struct Fill<V> {
    cache: Cache<V>,
    stale: Option<Hit<V>>,
    said: Arc<Mutex<Said>>,
    /// When it began.
    stamp: Stamp,
}

/// What has been said of a value so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) ttl: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) slots: Slots,
    /// A dependency was filled anew while this fill ran: it may have read the old one. Or there are more slots than are kept. It is
    /// not stored then.
    pub(crate) unstorable: bool,
    pub(crate) not_modified: bool,
}

impl<V: Send + Sync + 'static> Fill<V> {
    pub(crate) fn new(cache: &Cache<V>, stale: Option<Hit<V>>, said: Said, stamp: Stamp) -> Self {
        Self {
            cache: cache.clone(),
            stale,
            said: Arc::new(Mutex::new(said)),
            stamp,
        }
    }

    /// The value that is there, past its time or about to be: to ask the source whether it has changed.
    #[must_use]
    pub fn stale(&self) -> Option<&Hit<V>> {
        self.stale.as_ref()
    }

    /// What was known of the clock when this fill began.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How long the value is fresh.
    pub fn ttl(&self, ttl: Duration) -> &Self {
        self.say(|said| said.ttl = Some(ttl))
    }

    /// For how long after that it may be served when the source fails.
    pub fn grace(&self, grace: Duration) -> &Self {
        self.say(|said| said.grace = Some(grace))
    }

    /// How long a missing value is remembered.
    pub fn negative_ttl(&self, ttl: Duration) -> &Self {
        self.say(|said| said.negative_ttl = Some(ttl))
    }

    /// The value goes when `tag` is invalidated. That the tag is only known now, after the source was read, is fine: what counts
    /// is when the fill began.
    pub fn tag(&self, tag: impl AsRef<str>) -> &Self {
        let slot = self.cache.tag_slot(tag.as_ref());
        self.say(|said| said.push(slot))
    }

    /// The same for several.
    pub fn tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> &Self {
        tags.into_iter().fold(self, |fill, tag| fill.tag(tag))
    }

    /// The value goes when the one under `key` is removed or expired, or would go by a tag of that one. Only what is cached now has tags to
    /// go by; and if it was filled anew since this fill began, which may have read the one before, this value is not stored.
    pub fn depends_on(&self, key: impl AsRef<[u8]>) -> &Self {
        let (slots, born) = self.cache.dependency(key.as_ref());
        let outrun =
            born.is_some_and(|of| of.epoch != self.stamp.epoch || of.born > self.stamp.born);
        self.say(|said| {
            slots.into_iter().for_each(|slot| said.push(slot));
            said.unstorable |= outrun;
        })
    }

    /// What the closure returns when the source says that the [stale value](Self::stale) has not changed: it is fresh again, from the
    /// beginning of this fill on, for as long as a value that was read now, and keeps its tags. The value itself is neither copied nor dropped.
    ///
    /// ```
    /// # use buttress_cache::Cache;
    /// # #[derive(Debug)] struct Page { etag: u32 }
    /// # async fn ask(etag: Option<u32>) -> Result<Option<Page>, std::io::Error> { Ok(match etag { Some(1) => None, _ => Some(Page { etag: 1 }) }) }
    /// # tokio_test::block_on(async {
    /// # let cache = Cache::builder().grace(std::time::Duration::from_secs(60)).build();
    /// # for _ in 0..2 {
    /// let page = cache.get_or_set("page", |fill| async move {
    ///     match ask(fill.stale().map(|page: &buttress_cache::Hit<Page>| page.etag)).await? {
    ///         Some(page) => Ok(Some(page)),
    ///         None => fill.not_modified(),
    ///     }
    /// });
    /// # assert_eq!(page.await?.unwrap().etag, 1);
    /// # cache.expire("page").now();
    /// # }
    /// # Ok::<_, buttress_cache::FillError<std::io::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// What it depends on is to be said again, if the tags of that may have changed. Where there is no stale value, there is none now.
    pub fn not_modified<E>(&self) -> Result<Option<V>, E> {
        self.say(|said| said.not_modified = true);
        Ok(None)
    }

    pub(crate) fn said(&self) -> Said {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn say(&self, change: impl FnOnce(&mut Said)) -> &Self {
        change(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner));
        self
    }
}

impl Said {
    pub(crate) fn push(&mut self, slot: Slot) {
        self.unstorable |= !self.slots.push(slot);
    }
}

impl<V> Clone for Fill<V> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            stale: self.stale.clone(),
            said: Arc::clone(&self.said),
            stamp: self.stamp,
        }
    }
}

impl<V> fmt::Debug for Fill<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill")
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}
