//! What happens to flights, for those who want to count it.

/// Something that happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The leader of a flight failed; its followers were told so.
    Failed,
    /// There was no room for another follower, or for another flight.
    Full,
    /// A caller joined a flight, and will not do the work itself.
    Joined,
    /// A caller started a flight.
    Led,
    /// A response turned out to be one caller's own: the others go on by themselves.
    Private,
    /// A leader went away, and a follower was made the leader.
    Promoted,
    /// A follower waited for too long.
    TimedOut,
}

/// Hears of every [`Event`]. Any closure of this shape is one.
pub trait Observer: Send + Sync + 'static {
    /// Called after the fact, never under a lock. May call any method of the handle.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}
