//! What happens to flights, for those who want to count it.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Something that happened.
///
/// Each time that a caller joins brings about one of [`Led`](Event::Led), [`Joined`](Event::Joined) and [`Full`](Event::Full); the
/// others say what became of it afterwards. A request that may not be shared joins nothing, and is told of only where that is remembered
/// ([`Passed`](Event::Passed)).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A leader went away, and its work goes on without it.
    Detached,
    /// The leader of a flight failed. Its followers were told so, unless it is [`Retried`](Event::Retried).
    Failed,
    /// There was no room for another follower, or for another flight.
    Full,
    /// A caller joined a flight, and will not do the work itself.
    Joined,
    /// A caller started a flight.
    Led,
    /// A request passed alone, since the answer to its like was private a short while ago.
    Passed,
    /// A response turned out to be one caller's own: the others go on by themselves.
    Private,
    /// A leader went away, and a follower was made the leader.
    Promoted,
    /// Another process did the work of a flight, and its result is shared here.
    Received,
    /// A leader failed, and a follower does the work once more, for all who wait.
    Retried,
    /// A follower waited for too long.
    TimedOut,
    /// A flight could not be shared with other processes and goes on in this one, for this reason.
    Uncoordinated(&'a (dyn Error + Send + Sync + 'static)),
}

impl Event<'_> {
    pub(crate) const NAMES: [&'static str; 12] = [
        "detached",
        "failed",
        "full",
        "joined",
        "led",
        "passed",
        "private",
        "promoted",
        "received",
        "retried",
        "timed_out",
        "uncoordinated",
    ];

    /// What it is called in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Of its name.
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Detached => 0,
            Self::Failed => 1,
            Self::Full => 2,
            Self::Joined => 3,
            Self::Led => 4,
            Self::Passed => 5,
            Self::Private => 6,
            Self::Promoted => 7,
            Self::Received => 8,
            Self::Retried => 9,
            Self::TimedOut => 10,
            Self::Uncoordinated(_) => 11,
        }
    }
}

/// Hears of every [`Event`]. Any closure of this shape is one.
pub trait Observer: Send + Sync + 'static {
    /// Called after the fact, never under a lock, by the caller whose doing it was. May call any method of the handle. When it panics, nobody but the panic hook hears of it:
    /// flights go on, and followers are woken, all the same.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// All who hear, in the order they were added.
#[derive(Clone, Default)]
pub(crate) struct Audience(Vec<Arc<dyn Observer>>);

impl Audience {
    pub(crate) fn add(&mut self, observer: impl Observer) {
        self.0.push(Arc::new(observer));
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        for observer in &self.0 {
            let tell = AssertUnwindSafe(|| observer.on_event(&event));
            let _ = catch_unwind(tell);
        }
    }
}
