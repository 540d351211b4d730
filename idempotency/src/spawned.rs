//! Work in a task of its own, and the answer to whoever still waits for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};

use buttress_wire::tasks::Tasks;
use futures_util::FutureExt;
use tokio::sync::oneshot;

/// Begins `work` in a task, and gives what it comes to: nothing if the task was dropped by its runtime. A panic of the task is one of the caller's.
///
/// # Cancellation
///
/// Dropping what comes back changes nothing; the answer is dropped by the task.
pub(crate) fn spawned<T, F>(
    tasks: &Tasks,
    work: F,
) -> impl Future<Output = Option<T>> + Send + use<T, F>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    tasks.spawn(async move {
        // What the work holds is settled by then: it is dropped inside.
        let answer = AssertUnwindSafe(work).catch_unwind().await;
        drop(tell.send(answer));
    });
    async move {
        match told.await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_a_panic_or_nothing_comes_back() {
        let tasks = Tasks::new(|task| drop(tokio::spawn(task)));
        assert_eq!(spawned(&tasks, async { 1 }).await, Some(1));
        let panicking = spawned(&tasks, async { resume_unwind(Box::new("on purpose")) });
        let panicking: std::thread::Result<Option<()>> =
            AssertUnwindSafe(panicking).catch_unwind().await;
        assert_eq!(panicking.unwrap_err().downcast_ref(), Some(&"on purpose"));
        let nowhere = Tasks::new(drop);
        assert_eq!(spawned(&nowhere, async { 1 }).await, None);
    }
}
