//! A health check that drives a breaker.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::breaker::Breaker;
use crate::event::{Cause, Event};
use crate::machine::{State, Word, deadline};
use crate::policy::A_DAY;

impl Breaker {
    /// Checks the health of the service, now and then at every such interval, for as long as it is polled. One that fails, or is not
    /// back within the interval, opens the breaker, and keeps it open while they fail; a good one after that lets the next call
    /// probe. A good one otherwise changes nothing, and neither does any while the breaker is forced.
    ///
    /// The breaker should go by a clock that runs as tokio's does: see [`acquire`](Self::acquire).
    ///
    /// ```
    /// use buttress_circuit::{Breaker, Clock, State};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let breaker = Breaker::builder("payments").clock(Clock::tokio()).build()?;
    /// let watched = breaker.clone();
    /// let checks = async move { watched.watch_health(Duration::from_secs(5), async || Err::<(), _>("down")).await };
    /// # let checks = tokio_test::task::spawn(checks);
    /// # let mut checks = checks;
    /// // Yours: spawn it, or poll it beside a server.
    /// # assert!(checks.poll().is_pending());
    /// assert_eq!(breaker.state(), State::Open);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When polled outside of a tokio runtime with time enabled, and where `check` does.
    ///
    /// # Cancellation
    ///
    /// Dropping it ends the checks, also the one under way. What it has opened is open for no more than three intervals after the last check
    /// that failed.
    pub async fn watch_health<T, E, F>(
        &self,
        every: Duration,
        mut check: impl FnMut() -> F,
    ) -> Infallible
    where
        F: Future<Output = Result<T, E>>,
    {
        let every = every.clamp(Duration::from_millis(1), A_DAY);
        let mut was_healthy = true;
        // What the breaker's open time was before bad checks made it longer.
        let mut own = None;
        loop {
            let started = Instant::now();
            let is_healthy = matches!(timeout(every, check()).await, Ok(Ok(_)));
            if !is_healthy {
                self.watch(|breaker| Event::CheckFailed(breaker));
                // The next verdict may take a whole interval to begin and another to fall.
                self.keep_open(every.saturating_mul(3).min(A_DAY), &mut own);
            } else if !was_healthy {
                self.let_probe(own.take());
            }
            was_healthy = is_healthy;
            sleep_until(started + every).await;
        }
    }

    /// Opens for `time`, or if it is open stays so for at least so long.
    fn keep_open(&self, time: Duration, own: &mut Option<Word>) {
        let now = self.now();
        let control = self.control();
        let word = self.word();
        if word.state() == State::Open {
            let is_known = own.is_some_and(|own| own.generation() == word.generation());
            if !is_known {
                *own = Some(word);
            }
            self.set_word(word.until(deadline(now, time)));
            return;
        }
        drop(control);
        self.shift(Cause::Unhealthy, |_, word, now| {
            // ## (Closed | HalfOpen) => Open
            let opens = matches!(word.state(), State::Closed | State::HalfOpen);
            opens.then(|| {
                let next = word.next(State::Open, deadline(now, time));
                // Without the checks it would not be open at all.
                *own = Some(next.for_good());
                (next, Some(time))
            })
        });
    }

    /// The checks have no more to say: the open time is what it was without them, and if that is over, whoever comes next is a probe.
    fn let_probe(&self, own: Option<Word>) {
        let control = self.control();
        let word = self.word();
        let is_same = |own: &Word| own.generation() == word.generation();
        if let Some(own) = own.filter(is_same) {
            self.set_word(own);
        }
        drop(control);
        self.0.waiters.wake_all();
    }
}
