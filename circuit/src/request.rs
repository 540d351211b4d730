//! What the service asked for: not to be called until some moment.

use std::time::Duration;

use crate::breaker::Breaker;
use crate::clock::nanos;
use crate::policy::A_DAY;
use crate::stamped::{PAYLOAD_MAX, Stamp};

/// 36 bits of these reach as far as a state's deadline: 34 years.
const UNIT: u64 = 16_000_000;

impl Breaker {
    /// Keeps the latest moment that was asked for in this generation. It matters when the breaker opens, and says nothing about whether.
    #[inline(never)]
    pub(crate) fn keep_request(&self, generation: u32, time: Duration) {
        let left = nanos(time.min(A_DAY));
        self.request_until(generation, self.now().saturating_add(left));
    }

    /// The same, as a moment on the breaker's clock.
    pub(crate) fn request_until(&self, generation: u32, until: u64) {
        let until = until.div_ceil(UNIT).min(PAYLOAD_MAX);
        let later = |kept| (until > kept).then_some(until);
        self.0.requested.update(stamp(generation), later);
    }

    /// How long from `now` on the service does not want to be called, going by what it said in this generation.
    pub(crate) fn requested(&self, generation: u32, now: u64) -> Option<Duration> {
        let until = self.0.requested.read(stamp(generation)) * UNIT;
        let left = until.checked_sub(now).filter(|left| *left > 0)?;
        Some(Duration::from_nanos(left))
    }
}

fn stamp(generation: u32) -> Stamp {
    Stamp::new(generation.into())
}
