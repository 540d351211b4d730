//! What time it is: asked only where somebody listens.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// What the layers ask for the time, and only when a sink wants the request.
pub trait Clock: Send + Sync + 'static {
    /// How long it is since a moment of its choice, always the same one. Does not go back.
    fn now(&self) -> Duration;

    /// For the timestamp of a record. Asked when a sink asks for it.
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
    fn now(&self) -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The processor's time stamp counter for durations, read in less than half the time; the wall clock of the system. The first one in a process
/// takes a moment to calibrate.
#[cfg(feature = "quanta")]
#[derive(Clone, Debug)]
pub struct QuantaClock {
    clock: quanta::Clock,
    origin: u64,
}

#[cfg(feature = "quanta")]
impl QuantaClock {
    /// Begins now.
    #[must_use]
    pub fn new() -> Self {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        Self { clock, origin }
    }
}

#[cfg(feature = "quanta")]
impl Default for QuantaClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "quanta")]
impl Clock for QuantaClock {
    fn now(&self) -> Duration {
        let nanos = self.clock.delta_as_nanos(self.origin, self.clock.raw());
        Duration::from_nanos(nanos)
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_goes_back() {
        let clocks: &[&dyn Clock] = &[
            &SystemClock,
            #[cfg(feature = "quanta")]
            &QuantaClock::new(),
        ];
        for clock in clocks {
            let times: Vec<_> = (0..1000).map(|_| clock.now()).collect();
            assert!(times.is_sorted());
            assert!(clock.wall() > SystemTime::UNIX_EPOCH);
        }
    }
}
