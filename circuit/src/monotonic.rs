//! The monotonic clock of the system, in whole nanoseconds.

#[cfg(target_os = "linux")]
pub(crate) use kernel::Start;
#[cfg(not(target_os = "linux"))]
pub(crate) use standard::Start;

/// The clock behind the standard library's `Instant`, without the checked arithmetic of one: that is 4 ns of 29, at every reading.
#[cfg(target_os = "linux")]
mod kernel {
    use rustix::time::{ClockId, clock_gettime};

    /// Nanoseconds since the machine was started.
    #[derive(Clone, Copy)]
    pub(crate) struct Start(u64);

    impl Start {
        pub(crate) fn now() -> Self {
            Self(read())
        }

        #[cfg(test)]
        pub(super) fn at(nanos: u64) -> Self {
            Self(nanos)
        }

        /// Nanoseconds since. None, should the machine have been moved to where its clock is behind.
        #[inline]
        pub(crate) fn elapsed(self) -> u64 {
            read().saturating_sub(self.0)
        }
    }

    /// This clock is never before zero, and five centuries of nanoseconds fit.
    #[inline]
    fn read() -> u64 {
        let time = clock_gettime(ClockId::Monotonic);
        time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
    }
}

#[cfg(any(test, not(target_os = "linux")))]
mod standard {
    use std::time::Instant;

    #[derive(Clone, Copy)]
    pub(crate) struct Start(Instant);

    impl Start {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the clock that everything else asks"
        )]
        pub(crate) fn now() -> Self {
            Self(Instant::now())
        }

        /// Nanoseconds since.
        #[inline]
        pub(crate) fn elapsed(self) -> u64 {
            let elapsed = self.0.elapsed();
            elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_stands_still() {
        assert_eq!(kernel::Start::at(u64::MAX).elapsed(), 0);
    }

    #[test]
    fn the_clock_of_the_kernel_is_that_of_the_standard_library() {
        let (outer, inner) = (standard::Start::now(), kernel::Start::now());
        let shorter = inner.elapsed();
        let longer = outer.elapsed();
        assert!(shorter <= longer, "{shorter} {longer}");
        let (outer, inner) = (kernel::Start::now(), standard::Start::now());
        let shorter = inner.elapsed();
        assert!(shorter <= outer.elapsed());
    }
}
