//! The store of one process.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::table::{Limits, Table};
use super::{Begin, BeginRequest, Claim, Record, Standing, Store, StoreError, Token};
use crate::key::RecordKey;

/// Claims and records in this process's memory; they end with it, and so do its fences, which begin at 1 again in the next: whoever remembers a higher one from before refuses them. A clone
/// is the same store.
///
/// # Bounds
///
/// A key is never forgotten before its ttl. At the bound of bytes the oldest bodies become tombstones: a duplicate is then told that the
/// response was not kept, and nothing is done twice. Each of sixteen parts of the table has a sixteenth of the bytes: a response that is heavier than that (16 MiB by default; the layer
/// records up to 1 MiB) is a tombstone from the beginning. At the bound of keys, new ones are refused with [`StoreError::Full`].
///
/// A record weighs what it takes, to within some 15 %: its body, its fields with the table they are in, and the place of its key. A key without a
/// response, which is a claim or a tombstone, weighs nothing and takes 200 to 400 bytes and the id of its request: of a million keys, as many as there may be by
/// default, that is up to 400 MB beside the bound of bytes.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    tables: [Mutex<Table>; TABLES],
    bells: [Bell; TABLES],
    fence: AtomicU64,
    copies: bool,
}

/// Rung when a key of its table has changed, for those who wait for one.
#[derive(Default)]
struct Bell {
    notify: Notify,
    /// Most of the time there is none, and it need not be rung.
    listeners: AtomicUsize,
}

/// Counted at a bell from before it looks at what it waits for.
struct Listener<'a>(&'a Bell);

/// Enough that two threads seldom meet.
const TABLES: usize = 16;

/// What a [`MemoryStore`] holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct MemorySnapshot {
    /// Claims and records.
    pub keys: usize,
    /// Bytes that recorded responses take, with the places of their keys.
    pub bytes: usize,
}

impl MemoryStore {
    /// A store of up to a million keys and 256 MiB of responses.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Chooses bounds.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    /// What it holds.
    #[must_use]
    pub fn snapshot(&self) -> MemorySnapshot {
        self.inner
            .tables
            .iter()
            .map(lock)
            .fold(MemorySnapshot::default(), |sum, table| MemorySnapshot {
                keys: sum.keys + table.len(),
                bytes: sum.bytes + table.bytes(),
            })
    }

    /// How many keys are claimed under a lease that is not over: what they are for is under way. Those that were left behind are [`unknown`](Store::unknown). Looks at every key.
    #[must_use]
    pub fn running(&self) -> usize {
        let (tables, now) = (self.inner.tables.iter(), Instant::now());
        tables.map(|table| lock(table).running(now)).sum()
    }

    fn table(&self, key: &RecordKey) -> MutexGuard<'_, Table> {
        lock(&self.inner.tables[place(key)])
    }

    /// Of a table, not of a key: whoever waits looks again.
    ///
    /// After the lock of the change: who has looked before it is counted by now, and who looks after it sees it.
    fn tell(&self, key: &RecordKey) {
        let bell = &self.inner.bells[place(key)];
        if bell.listeners.load(Ordering::SeqCst) > 0 {
            bell.notify.notify_waiters();
        }
    }
}

impl<'a> Listener<'a> {
    fn at(bell: &'a Bell) -> Self {
        bell.listeners.fetch_add(1, Ordering::SeqCst);
        Self(bell)
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store for MemoryStore {
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for the request twice"
    )]
    fn begin(
        &self,
        request: BeginRequest,
    ) -> impl Future<Output = Result<Begin, StoreError>> + Send {
        async move {
            let mut table = self.table(&request.key);
            // Under the lock: a fence that was drawn before it could be older than one that was given since.
            let fence = self.inner.fence.fetch_add(1, Ordering::Relaxed) + 1;
            table.begin(&request, fence, Instant::now())
        }
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        Ok(self.table(&request.key).look(request, Instant::now()))
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        self.table(&claim.key)
            .renew(claim, lease, ttl, Instant::now())?;
        if lease.is_zero() {
            self.tell(&claim.key);
        }
        Ok(())
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        let mut table = self.table(&claim.key);
        let fence = self.inner.fence.fetch_add(1, Ordering::Relaxed) + 1;
        table.seize(claim, token, lease, fence, Instant::now())
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for the record twice"
    )]
    fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move {
            let record = if self.inner.copies {
                record.copied()
            } else {
                record
            };
            let gone = self
                .table(&claim.key)
                .complete(claim, record, ttl, Instant::now());
            drop(gone?);
            self.tell(&claim.key);
            Ok(())
        }
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.table(&claim.key).abandon(claim)?;
        self.tell(&claim.key);
        Ok(())
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        let now = Instant::now();
        let mut purged = 0;
        for table in &self.inner.tables {
            purged += lock(table).purge(limit - purged, now);
        }
        Ok(purged)
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        self.table(&claim.key).confirm(claim)
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        let now = Instant::now();
        let mut unknown = Vec::new();
        for table in &self.inner.tables {
            lock(table).unknown(limit, now, &mut unknown);
        }
        Ok(unknown)
    }

    fn can_fail_to_file(&self) -> bool {
        false
    }

    fn changed(&self, key: &RecordKey) -> impl Future<Output = ()> + Send {
        let bell = &self.inner.bells[place(key)];
        let (listener, told) = (Listener::at(bell), bell.notify.notified());
        async move {
            told.await;
            drop(listener);
        }
    }
}

/// Bounds of a [`MemoryStore`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct MemoryStoreBuilder {
    max_keys: NonZeroUsize,
    max_bytes: usize,
    copies: bool,
}

impl MemoryStoreBuilder {
    /// How many keys are remembered at most; kept to within one sixteenth per part of the table. Default: a million.
    pub fn max_keys(self, max_keys: NonZeroUsize) -> Self {
        Self { max_keys, ..self }
    }

    /// How many bytes recorded responses may take, with the places of their keys; kept to within one sixteenth per part of the table, which is also what the largest one may take. Default:
    /// 256 MiB.
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Copies records into memory of their own. What a connection has read is in a buffer that lives as long as any part of it, and that no weight tells of:
    /// wanted where responses come from a connection, as in a proxy, and the bound of bytes is to be one. Default: no.
    pub fn copy(self, copy: bool) -> Self {
        Self {
            copies: copy,
            ..self
        }
    }

    /// The store.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        let limits = Limits {
            keys: self.max_keys.get().div_ceil(TABLES),
            bytes: self.max_bytes.div_ceil(TABLES),
        };
        let tables = std::array::from_fn(|_| Mutex::new(Table::new(limits)));
        MemoryStore {
            inner: Arc::new(Inner {
                tables,
                bells: std::array::from_fn(|_| Bell::default()),
                fence: AtomicU64::new(0),
                copies: self.copies,
            }),
        }
    }
}

impl Default for MemoryStoreBuilder {
    fn default() -> Self {
        const MILLION: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();
        Self {
            max_keys: MILLION,
            max_bytes: 256 << 20,
            copies: false,
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

/// The key is a hash already.
fn place(key: &RecordKey) -> usize {
    usize::from(key.as_bytes()[0]) % TABLES
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use buttress_wire::Recorded;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::Origin;

    fn request() -> BeginRequest {
        BeginRequest {
            key: RecordKey::from_bytes([1; 32]),
            fingerprint: crate::Fingerprint::from_bytes([2; 32]),
            token: Token(3),
            lease: Duration::from_secs(10),
            ttl: Duration::from_secs(60),
            recovery: crate::Recovery::Reexecute,
        }
    }

    #[tokio::test]
    async fn who_listens_is_told_and_counted_for_no_longer_than_that() {
        let (store, key) = (MemoryStore::new(), request().key);
        let listeners = || {
            let bell = &store.inner.bells[place(&key)];
            bell.listeners.load(Ordering::SeqCst)
        };
        let (heard, given_up) = (store.changed(&key), store.changed(&key));
        assert_eq!(listeners(), 2, "before they are polled");
        drop(given_up);
        let Ok(Begin::Claimed(claim)) = store.begin(request()).await else {
            panic!("nobody else has it");
        };
        store.abandon(&claim).await.unwrap();
        heard.await;
        assert_eq!(listeners(), 0);
        assert!(!store.can_fail_to_file());
    }

    #[tokio::test]
    async fn a_copy_shares_nothing_with_what_was_read_and_is_the_same() {
        for copy in [false, true] {
            let read = Bytes::from(vec![b'x'; 8192]);
            let store = MemoryStore::builder().copy(copy).build();
            let Ok(Begin::Claimed(claim)) = store.begin(request()).await else {
                panic!("nobody else has it");
            };
            assert_eq!(store.running(), 1);
            let recorded = Recorded::new(StatusCode::OK, HeaderMap::new(), read.slice(..4), None);
            let origin = Origin::new(std::time::UNIX_EPOCH, None);
            let record = Record::Response(recorded, origin);
            let done = store.complete(&claim, record.clone(), Duration::from_secs(60));
            done.await.unwrap();
            assert_eq!(store.running(), 0);
            let Ok(Begin::Replay(kept)) = store.begin(request()).await else {
                panic!("it is settled");
            };
            assert_eq!(kept, record);
            drop((kept, record));
            assert_eq!(read.is_unique(), copy);
        }
    }
}
