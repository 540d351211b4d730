//! How long to wait before something is tried again.

use std::time::Duration;

/// Pauses that double, from 50 ms up to a longest one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) fn up_to(longest: Duration) -> Self {
        const FIRST: Duration = Duration::from_millis(50);
        Self {
            next: FIRST.min(longest),
            longest,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let first_four = |longest| {
            let mut pauses = Pauses::up_to(Duration::from_millis(longest));
            [(); 4].map(|()| pauses.next().as_millis())
        };
        assert_eq!(first_four(10_000), [50, 100, 200, 400]);
        assert_eq!(first_four(150), [50, 100, 150, 150]);
        assert_eq!(first_four(1), [1; 4]);
    }
}
