//! What happens to flights, for those who want to count it.

use std::error::Error;
use std::sync::Arc;

/// Something that happened.
///
/// Each caller brings about one of [`Led`](Event::Led), [`Joined`](Event::Joined) and [`Full`](Event::Full) when it comes; the others say what
/// became of it afterwards.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A leader went away, and its work goes on without it.
    Detached,
    /// The leader of a flight failed; its followers were told so.
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
    /// A follower of a failed leader tries once more.
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
    /// Called after the fact, never under a lock. May call any method of the handle.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Nobody, or one who hears.
#[derive(Clone, Default)]
pub(crate) struct Audience(Option<Arc<dyn Observer>>);

impl Audience {
    pub(crate) fn of(observer: impl Observer) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(observer) = &self.0 {
            observer.on_event(&event);
        }
    }
}
