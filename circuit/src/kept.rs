//! What of windows is kept in a snapshot, apart from any clock.

use std::time::Duration;

/// What a breaker knows beside its state. Opaque, to be kept and given to [`Breaker::restore`](crate::Breaker::restore).
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Memory {
    pub(crate) rules: Vec<Kept>,
    /// For how long it had been closed, or had not been.
    pub(crate) closed_for: Duration,
    /// How long the service did not want to be called.
    pub(crate) requested: Option<Duration>,
}

/// What one rule holds.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Kept {
    pub(crate) about: About,
    pub(crate) contents: Contents,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum About {
    Failures,
    Slow,
    Run,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Contents {
    /// One bit for each call, the oldest first.
    Calls {
        total: u32,
        bits: Vec<u64>,
    },
    Buckets(Vec<Bucket>),
    Run(u32),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Bucket {
    /// How long ago it began.
    pub(crate) age: Duration,
    pub(crate) hits: u32,
    pub(crate) total: u32,
}

impl Kept {
    /// The same, later. Calls and runs do not age.
    pub(crate) fn aged(&self, by: Duration) -> Self {
        let mut later = self.clone();
        if let Contents::Buckets(buckets) = &mut later.contents {
            for bucket in buckets {
                bucket.age = bucket.age.saturating_add(by);
            }
        }
        later
    }
}
