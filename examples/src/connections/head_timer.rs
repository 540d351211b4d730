//! The timer of one connection's heads.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::task::unconstrained;

/// hyper times each head anew. This sets the runtime's timer once for all of them: it goes off, now and then, for one that has long been there, and is
/// set for the one that is waited for then. So a head that is there at once enters no timer, and leaves none.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Alarm>>>);

#[derive(Debug)]
struct Alarm {
    sleep: Pin<Box<tokio::time::Sleep>>,
    /// Whom it wakes, once it is set.
    wakes: Option<Waker>,
}

/// One head's time.
struct Until {
    deadline: tokio::time::Instant,
    timer: HeadTimer,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until {
            deadline: deadline.into(),
            timer: self.clone(),
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = self.timer.0.lock();
        let mut alarm = alarm.unwrap_or_else(PoisonError::into_inner);
        let alarm = alarm.get_or_insert_with(|| Alarm::at(self.deadline));
        alarm.poll(self.deadline, cx)
    }
}

impl Alarm {
    fn at(deadline: tokio::time::Instant) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(deadline)),
            wakes: None,
        }
    }

    /// Ready at the deadline. Before, it is woken then, or earlier.
    fn poll(&mut self, deadline: tokio::time::Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.deadline() > deadline {
            self.set(deadline);
        }
        let wakes_us = self
            .wakes
            .as_ref()
            .is_some_and(|set| set.will_wake(cx.waker()));
        if wakes_us && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        while self.poll_sleep(cx).is_ready() {
            if self.sleep.deadline() >= deadline {
                self.wakes = None;
                return Poll::Ready(());
            }
            self.set(deadline);
        }
        self.wakes = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whatever the task has spent of its budget: a sleep that refuses to be polled is not set, and would wake nobody.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        pin!(unconstrained(self.sleep.as_mut())).poll(cx)
    }

    fn set(&mut self, deadline: tokio::time::Instant) {
        self.sleep.as_mut().reset(deadline);
        self.wakes = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::{has_budget_remaining, poll_proceed};
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time() {
        let timer = HeadTimer::default();
        for _ in 0..3 {
            let mut head = task::spawn(timer.sleep(8 * SECOND));
            assert_pending!(head.poll());
            tokio::time::advance(5 * SECOND).await;
            assert_pending!(head.poll());
        }
        let mut late = task::spawn(timer.sleep(8 * SECOND));
        assert_pending!(late.poll());
        tokio::time::advance(8 * SECOND - Duration::from_millis(1)).await;
        assert_pending!(late.poll());
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(late.is_woken());
        assert_ready!(late.poll());
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_time_counts_although_a_later_one_is_set() {
        let timer = HeadTimer::default();
        assert_pending!(task::spawn(timer.sleep(8 * SECOND)).poll());
        let mut early = task::spawn(timer.sleep(SECOND));
        assert_pending!(early.poll());
        tokio::time::advance(SECOND + Duration::from_millis(1)).await;
        assert!(early.is_woken());
        assert_ready!(early.poll());
    }

    /// All that this task may do before it has to let others go on.
    async fn spend_the_budget() {
        std::future::poll_fn(|cx| {
            while let Poll::Ready(one) = poll_proceed(cx) {
                one.made_progress();
            }
            Poll::Ready(())
        })
        .await;
        assert!(!has_budget_remaining());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_spent_its_budget_is_woken_too() {
        let timer = HeadTimer::default();
        let mut head = task::spawn(timer.sleep(SECOND));
        spend_the_budget().await;
        assert_pending!(head.poll());
        tokio::time::advance(2 * SECOND).await;
        assert!(head.is_woken());
        assert_ready!(head.poll());
        // An alarm that has long gone off, and a head that comes then.
        let mut next = task::spawn(timer.sleep(SECOND));
        spend_the_budget().await;
        assert_pending!(next.poll());
        tokio::time::advance(2 * SECOND).await;
        assert!(next.is_woken());
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_is_over_at_once_is() {
        let timer = HeadTimer::default();
        let mut head = task::spawn(timer.sleep(SECOND));
        assert_pending!(head.poll());
        tokio::time::advance(2 * SECOND).await;
        assert_ready!(head.poll());
        assert_ready!(task::spawn(timer.sleep(Duration::ZERO)).poll());
        assert_pending!(task::spawn(timer.sleep(SECOND)).poll());
    }
}
