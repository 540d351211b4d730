use std::time::{Instant, SystemTime};

/// What the layers ask for the time, and only when a sink wants the request.
pub trait Clock: Send + Sync + 'static {
    /// For durations.
    fn now(&self) -> Instant;

    /// For the timestamp of a record.
    fn wall(&self) -> SystemTime;
}

/// The clocks of the operating system. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
