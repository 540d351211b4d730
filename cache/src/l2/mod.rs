//! The second level: what several processes share, and how they keep their clocks in step.

mod codec;
mod compress;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod frame;
#[cfg(test)]
mod histories;
mod level;
mod mirror;
mod node;
mod outbox;
#[cfg(feature = "redis")]
mod redis;
mod shared;
#[cfg(any(test, feature = "test-util"))]
pub mod simulated;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

#[cfg(feature = "json")]
pub use self::codec::Json;
#[cfg(feature = "messagepack")]
pub use self::codec::MessagePack;
#[cfg(feature = "postcard")]
pub use self::codec::Postcard;
pub use self::codec::{Codec, CodecError, Raw};
pub use self::compress::Compression;
pub use self::level::{OnPartition, SecondLevel};
#[cfg(feature = "redis-sentinel")]
pub use self::redis::SentinelConnection;
#[cfg(feature = "redis")]
pub use self::redis::{RedisL2, RedisL2Builder};
pub(crate) use self::shared::{Reader, Shared};
use crate::clock::{Depth, Slot};

/// What is asked of an [`L2`]: a boxed future, since what it waits for is a round trip.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, L2Error>> + Send + 'a>>;

/// A store that processes share: entries by key, which it may lose, and one clock, which it may only lose as a whole.
///
/// An entry is a frame of bytes that means nothing to the store but for its [`Written`]. The clock is a [`Head`] and the number at which each slot was last
/// invalidated. An implementation has to see to it that
///
/// - [`bump`](Self::bump) is atomic: it moves the head on by one, writes the slots, and tells all who [listen](Self::listen);
/// - [`set`](Self::set) is refused by an entry of the same epoch that was born later, and atomic in that;
/// - the clock never goes back without its head telling so: each step has a tip that nobody can guess or repeat;
/// - what was told to a listener may be lost, be late, or come twice. That is noticed.
///
/// It is used as `Arc<dyn L2>`. A call may be dropped at any time: then it has happened or not.
pub trait L2: Send + Sync + 'static {
    /// What all processes call it that share it, and nobody calls another one.
    fn name(&self) -> &str;

    /// The frame under `key`, and how long it will be kept yet.
    fn get<'a>(&'a self, key: &'a EntryKey) -> Asking<'a, Option<(Bytes, Duration)>>;

    /// Keeps `frame` for `time`. False if one of the same epoch is there that was born later.
    fn set<'a>(
        &'a self,
        key: &'a EntryKey,
        frame: Bytes,
        written: Written,
        time: Duration,
    ) -> Asking<'a, bool>;

    /// Where the clock stands, if there is one.
    fn head(&self) -> Asking<'_, Option<Head>>;

    /// The whole clock, if there is one.
    fn read(&self) -> Asking<'_, Option<(Head, Slots)>>;

    /// Invalidates slots, and gives where the clock stood before and stands now. If there is no clock, it stands at `bump.begin` then.
    fn bump(&self, bump: Bump) -> Asking<'_, Moved>;

    /// Lets the clock stand at `begin`, if it stands as expected; false if not. Its slots stay.
    fn begin(&self, expected: Option<Head>, begin: Head) -> Asking<'_, bool>;

    /// What happens to the clock from here on. Asked once per process.
    fn listen(&self) -> mpsc::Receiver<News>;
}

/// What an entry is called: a hash of its key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EntryKey(pub [u8; 16]);

/// Under which clock an entry was written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Written {
    /// The epoch.
    pub epoch: u64,
    /// The `seq` that was known before its fill began.
    pub born: u64,
}

/// Where a clock stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Head {
    /// Another one means that nothing of before is valid. Its upper half counts the epochs, as far as whoever began it knew; its lower half is random.
    pub epoch: u64,
    /// How many steps it has taken. Less than 2⁴⁸, and never less than before, as far as anyone knows.
    pub seq: u64,
    /// Random: two histories of as many steps have different ones.
    pub tip: u64,
}

/// A step of the clock that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bump {
    /// What is invalidated.
    pub slots: Vec<Slot>,
    /// How deeply.
    pub depth: Depth,
    /// The tip from here on; and where the clock stands after this step, if there is none yet.
    pub begin: Head,
}

/// A step that the clock has taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moved {
    /// Where it stands.
    pub head: Head,
    /// The tip before.
    pub previous: u64,
    /// What was invalidated.
    pub slots: Vec<Slot>,
    /// How deeply.
    pub depth: Depth,
}

impl Head {
    /// How many epochs there were before, as far as anybody knew.
    pub(crate) fn age(self) -> u64 {
        self.epoch >> 32
    }
}

/// What a listener hears.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// A step.
    Moved(Moved),
    /// Something was missed, or may have been: a connection broke or came back, a new epoch began.
    Unclear,
}

/// A whole clock.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Slots {
    /// The tips of the last [`TIPS`] steps: that of the step `seq` is at `seq % TIPS`. Eight bytes each, most significant first.
    pub tips: Bytes,
    /// The step at which each slot was last expired, and then at which each was last removed: six bytes each, most significant first. What is missing at its end is zero.
    pub steps: Bytes,
}

/// How many tips a clock remembers. Whoever was away for longer sees by its slots whether it has lost some of his.
pub const TIPS: usize = 4096;

/// What the second level could not do.
#[derive(Debug)]
#[non_exhaustive]
pub enum L2Error {
    /// It could not be asked, or did not answer.
    Unavailable(Box<dyn Error + Send + Sync>),
    /// It did not answer in time.
    Slow,
    /// Its breaker is open: it was not asked.
    Shunned,
    /// A value has no bytes, or bytes no value.
    Codec(CodecError),
    /// It answered something that no node of this version writes; or has a clock with another number of slots.
    Corrupt(&'static str),
}

impl fmt::Display for L2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(_) => f.write_str("the second level cannot be reached"),
            Self::Codec(_) => f.write_str("a value could not be written or read"),
            Self::Slow => f.write_str("the second level did not answer in time"),
            Self::Shunned => f.write_str("the second level has failed too often to be asked now"),
            Self::Corrupt(what) => write!(f, "the second level holds what is not ours: {what}"),
        }
    }
}

impl Error for L2Error {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Codec(source) | Self::Unavailable(source) => Some(&**source),
            _ => None,
        }
    }
}

/// How many bytes a slot takes in [`Slots`].
pub(crate) const SLOT_BYTES: usize = 6;
