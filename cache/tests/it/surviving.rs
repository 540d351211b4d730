//! A source that fails, is slow, or panics.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_cache::{Builder, Cache, Event, Failure, Fill, FillError, Stale, State};
use tokio::time::advance;
use tokio_test::{assert_pending, task};

use crate::kit::{Heard, SECOND, Says, Sources, done, drained, fail, fill, fill_with, fresh};

const MOMENT: Duration = Duration::from_millis(1);

/// Fresh for ten seconds, kept for a minute more.
fn builder() -> Builder<u32> {
    Cache::builder().ttl(10 * SECOND).grace(60 * SECOND)
}

/// A value that is past its time.
async fn stale(cache: &Cache<u32>, key: &'static str) {
    fill_with(cache, key, 1, |fill| {
        fill.tag("t");
    });
    advance(20 * SECOND).await;
    assert_eq!(fresh(cache, key), None);
}

/// Lets tasks run that are ready.
async fn settle() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_served_when_the_source_fails_within_its_grace() {
    let cache = builder().build();
    stale(&cache, "k").await;
    assert_eq!(fail(&cache, "k"), Ok((1, State::Stale)));
    advance(50 * SECOND).await;
    assert_eq!(fail(&cache, "k"), Err("down"));
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_grace_ends_while_the_source_is_asked_is_not_served() {
    let (cache, sources) = (builder().build(), Sources::default());
    stale(&cache, "k").await;
    let mut call = sources.begin(&cache, "k");
    advance(50 * SECOND).await;
    sources.next().says(Says::Fails);
    assert!(done(&mut call).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_expired_may_be_served_in_bad_times_and_what_was_removed_may_not() {
    let cache = builder().throttle(Duration::ZERO).build();
    let tagged = || fill_with(&cache, "k", 1, |fill| drop(fill.tag("t").clone()));
    for (expire, remove) in [(true, false), (false, true)] {
        tagged();
        match expire {
            true => cache.invalidate(["t"]).now(),
            false => cache.expire("k").now(),
        }
        assert_eq!(fresh(&cache, "k"), None);
        assert_eq!(fail(&cache, "k"), Ok((1, State::Stale)));
        match remove {
            true => cache.invalidate(["t"]).remove().now(),
            false => cache.remove("k").now(),
        }
        assert_eq!(fail(&cache, "k"), Err("down"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_removed_while_the_source_is_asked_is_not_served() {
    let (cache, sources) = (builder().build(), Sources::default());
    stale(&cache, "k").await;
    let mut calls = [(); 2].map(|()| sources.begin(&cache, "k"));
    cache.invalidate(["t"]).remove().now();
    sources.next().says(Says::Fails);
    for call in &mut calls {
        assert!(done(call).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_an_expired_value_is_gone() {
    let cache = Cache::builder().build();
    fill(&cache, "k", 1);
    cache.expire("k").now();
    assert_eq!(fail(&cache, "k"), Err("down"));
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_source_is_left_in_peace_for_the_throttle() {
    let (cache, sources) = (builder().throttle(5 * SECOND).build(), Sources::default());
    stale(&cache, "k").await;
    assert_eq!(fail(&cache, "k"), Ok((1, State::Stale)));
    for _ in 0..3 {
        assert_eq!(
            done(&mut sources.call(&cache, "k")).unwrap(),
            Some((1, State::Stale))
        );
    }
    advance(5 * SECOND - MOMENT).await;
    assert_eq!(
        done(&mut sources.call(&cache, "k")).unwrap(),
        Some((1, State::Stale))
    );
    assert_eq!(sources.len(), 0);
    advance(MOMENT).await;
    let _call = sources.begin(&cache, "k");
    assert_eq!(sources.len(), 1);
    // And what is not stale has nothing to be served meanwhile.
    assert_eq!(fail(&cache, "other"), Err("down"));
    assert_eq!(fill(&cache, "other", 2), (2, State::Filled));
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_ends_the_throttle() {
    let cache = builder().throttle(50 * SECOND).build();
    stale(&cache, "k").await;
    assert_eq!(fail(&cache, "k"), Ok((1, State::Stale)));
    cache.invalidate(["t"]).now();
    assert_eq!(fill(&cache, "k", 2), (2, State::Filled));
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_while_the_source_fails_ends_the_throttle_before_it_begins() {
    let (cache, sources) = (builder().throttle(50 * SECOND).build(), Sources::default());
    stale(&cache, "k").await;
    let mut call = sources.begin(&cache, "k");
    cache.invalidate(["t"]).now();
    sources.next().says(Says::Fails);
    assert_eq!(done(&mut call).unwrap(), Some((1, State::Stale)));
    assert_eq!(fill(&cache, "k", 2), (2, State::Filled));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_to_everyone_or_a_stale_value() {
    let (cache, sources) = (builder().build(), Sources::default());
    let mut calls = [(); 3].map(|()| sources.begin(&cache, "k"));
    sources.next().says(Says::Panics);
    for call in &mut calls {
        assert!(matches!(done(call), Err(FillError::Panicked)));
    }
    assert_eq!(sources.len(), 0, "nobody panics once more");
    assert_eq!(cache.snapshot().filling, 0);
    stale(&cache, "k").await;
    let mut calls = [(); 3].map(|()| sources.begin(&cache, "k"));
    sources.next().says(Says::Panics);
    for call in &mut calls {
        assert_eq!(done(call).unwrap(), Some((1, State::Stale)));
    }
}

#[tokio::test]
async fn a_panic_before_the_fill_has_a_future_is_an_error_too() {
    let cache = Cache::<u32>::builder().build();
    let fill = |_| -> std::future::Pending<Result<Option<u32>, &'static str>> {
        std::panic::resume_unwind(Box::new("on purpose"))
    };
    let answer = cache.get_or_set("k", fill).await;
    assert!(matches!(answer, Err(FillError::Panicked)));
    assert_eq!(cache.snapshot().filling, 0);
}

#[tokio::test(start_paused = true)]
async fn after_the_soft_timeout_a_stale_value_is_served_and_the_fill_goes_on() {
    let cache = builder().soft_timeout(2 * SECOND).build();
    let sources = Sources::default();
    stale(&cache, "k").await;
    let mut calls = [(); 3].map(|()| sources.begin(&cache, "k"));
    advance(2 * SECOND - MOMENT).await;
    calls
        .iter_mut()
        .for_each(|call| assert_pending!(call.poll()));
    advance(MOMENT).await;
    for call in &mut calls {
        assert!(call.is_woken());
        assert_eq!(done(call).unwrap(), Some((1, State::Stale)));
    }
    settle().await;
    let snapshot = cache.snapshot();
    assert_eq!(
        (snapshot.background, snapshot.filling, snapshot.detached),
        (1, 1, 1)
    );
    assert_eq!(
        done(&mut sources.call(&cache, "k")).unwrap(),
        Some((1, State::Stale)),
        "throttled"
    );
    sources.next().says(Says::Value(2));
    assert!(drained(&cache, SECOND).await);
    assert_eq!(fresh(&cache, "k"), Some(2));
    assert_eq!(cache.snapshot().filling, 0);
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_served_after_the_soft_timeout_of_its_own() {
    let cache = builder().soft_timeout(2 * SECOND).throttle(Duration::ZERO);
    let (cache, sources) = (cache.build(), Sources::default());
    stale(&cache, "k").await;
    let mut leads = sources.begin(&cache, "k");
    advance(SECOND).await;
    let mut follows = sources.begin(&cache, "k");
    advance(SECOND).await;
    assert_eq!(done(&mut leads).unwrap(), Some((1, State::Stale)));
    assert_pending!(follows.poll());
    advance(SECOND).await;
    assert!(follows.is_woken());
    assert_eq!(done(&mut follows).unwrap(), Some((1, State::Stale)));
    let mut again = sources.begin(&cache, "k");
    assert_eq!(sources.len(), 1, "it waits for the one in the background");
    sources.next().says(Says::Value(2));
    settle().await;
    assert_eq!(done(&mut again).unwrap(), Some((2, State::Filled)));
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_beats_the_soft_timeout_is_an_ordinary_one() {
    let (cache, sources) = (
        builder().soft_timeout(2 * SECOND).build(),
        Sources::default(),
    );
    stale(&cache, "k").await;
    let mut call = sources.begin(&cache, "k");
    advance(SECOND).await;
    sources.next().says(Says::Value(2));
    assert_eq!(done(&mut call).unwrap(), Some((2, State::Filled)));
    stale(&cache, "other").await;
    let mut call = sources.begin(&cache, "other");
    sources.next().says(Says::Fails);
    assert_eq!(done(&mut call).unwrap(), Some((1, State::Stale)));
    assert_eq!(cache.snapshot().detached, 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_stale_waits_beyond_the_soft_timeout() {
    let (cache, sources) = (builder().soft_timeout(SECOND).build(), Sources::default());
    let mut calls = [(); 3].map(|()| sources.begin(&cache, "k"));
    for _ in 0..10 {
        advance(SECOND).await;
        calls
            .iter_mut()
            .for_each(|call| assert_pending!(call.poll()));
    }
    assert_eq!(sources.len(), 1, "one fill for all of them, however long");
    sources.next().says(Says::Value(1));
    for call in &mut calls {
        assert_eq!(done(call).unwrap(), Some((1, State::Filled)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_a_fill_in_the_background_and_may_have_nothing_stale_waits_for_it() {
    let (cache, sources) = (builder().soft_timeout(SECOND).build(), Sources::default());
    stale(&cache, "k").await;
    let mut slow = sources.begin(&cache, "k");
    advance(SECOND).await;
    assert_eq!(done(&mut slow).unwrap(), Some((1, State::Stale)));
    cache.remove("k").now();
    let mut call = sources.begin(&cache, "k");
    settle().await;
    // What is being read began before the removal: it is of no use to this one.
    sources.next().says(Says::Value(2));
    settle().await;
    assert_pending!(call.poll());
    sources.next().says(Says::Value(3));
    assert_eq!(done(&mut call).unwrap(), Some((3, State::Filled)));
}

#[tokio::test(start_paused = true)]
async fn a_value_removed_before_the_soft_timeout_is_not_served_after_it() {
    let (cache, sources) = (builder().soft_timeout(SECOND).build(), Sources::default());
    stale(&cache, "k").await;
    let mut calls = [(); 2].map(|()| sources.begin(&cache, "k"));
    cache.invalidate(["t"]).remove().now();
    advance(SECOND).await;
    calls
        .iter_mut()
        .for_each(|call| assert_pending!(call.poll()));
    sources.next().says(Says::Value(2));
    assert_eq!(done(&mut calls[0]).unwrap(), Some((2, State::Filled)));
    assert_eq!(done(&mut calls[1]).unwrap(), Some((2, State::Filled)));
    assert_eq!(cache.snapshot().detached, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fill_in_the_background_that_fails_or_panics_leaves_nothing_behind() {
    for says in [Says::Fails, Says::Panics] {
        let (cache, sources) = (builder().soft_timeout(SECOND).build(), Sources::default());
        stale(&cache, "k").await;
        let mut slow = sources.begin(&cache, "k");
        advance(SECOND).await;
        assert_eq!(done(&mut slow).unwrap(), Some((1, State::Stale)));
        sources.next().says(says);
        assert!(drained(&cache, SECOND).await);
        let snapshot = cache.snapshot();
        assert_eq!(
            (snapshot.filling, snapshot.background, snapshot.failures),
            (0, 0, 1)
        );
        assert_eq!(fail(&cache, "k"), Ok((1, State::Stale)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_is_dropped_before_the_soft_timeout_is_taken_over() {
    let (cache, sources) = (
        builder().soft_timeout(2 * SECOND).build(),
        Sources::default(),
    );
    stale(&cache, "k").await;
    let first = sources.begin(&cache, "k");
    let mut second = sources.begin(&cache, "k");
    advance(SECOND).await;
    drop(first);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(cache.snapshot().background, 0);
    sources.next();
    sources.next().says(Says::Value(2));
    assert_eq!(done(&mut second).unwrap(), Some((2, State::Filled)));
}

#[tokio::test(start_paused = true)]
async fn a_fill_in_the_background_whose_task_is_dropped_is_taken_over() {
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&tasks);
    let cache = builder().soft_timeout(SECOND).throttle(Duration::ZERO);
    let cache = cache
        .spawner(move |task| sink.lock().unwrap().push(task))
        .build();
    let sources = Sources::default();
    stale(&cache, "k").await;
    let mut slow = sources.begin(&cache, "k");
    advance(SECOND).await;
    assert_eq!(done(&mut slow).unwrap(), Some((1, State::Stale)));
    let mut waits = sources.begin(&cache, "k");
    // Its runtime shuts down.
    tasks.lock().unwrap().clear();
    assert!(waits.is_woken());
    assert_pending!(waits.poll());
    sources.next();
    sources.next().says(Says::Value(2));
    assert_eq!(done(&mut waits).unwrap(), Some((2, State::Filled)));
    let snapshot = cache.snapshot();
    assert_eq!((snapshot.filling, snapshot.background), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn after_the_hard_timeout_a_fill_is_dropped_and_an_error_to_everyone() {
    let (cache, sources) = (
        builder().hard_timeout(2 * SECOND).build(),
        Sources::default(),
    );
    let mut calls = [(); 3].map(|()| sources.begin(&cache, "k"));
    advance(2 * SECOND - MOMENT).await;
    calls
        .iter_mut()
        .for_each(|call| assert_pending!(call.poll()));
    advance(MOMENT).await;
    for call in &mut calls {
        assert!(matches!(done(call), Err(FillError::TimedOut)));
    }
    assert_eq!(cache.snapshot().filling, 0);
    // Late, and too late.
    sources.next().says(Says::Value(1));
    assert_eq!(fresh(&cache, "k"), None);
}

#[tokio::test(start_paused = true)]
async fn after_the_hard_timeout_a_stale_value_is_served_if_there_is_one() {
    let (cache, sources) = (
        builder().hard_timeout(2 * SECOND).build(),
        Sources::default(),
    );
    stale(&cache, "k").await;
    let mut calls = [(); 3].map(|()| sources.begin(&cache, "k"));
    advance(2 * SECOND).await;
    for call in &mut calls {
        assert_eq!(done(call).unwrap(), Some((1, State::Stale)));
    }
}

#[tokio::test(start_paused = true)]
async fn no_fill_in_the_background_outlives_the_hard_timeout() {
    let cache = builder()
        .soft_timeout(SECOND)
        .hard_timeout(5 * SECOND)
        .build();
    stale(&cache, "k").await;
    let endless = cache.get_or_set("k", |_| pending::<Result<Option<u32>, &str>>());
    assert_eq!(endless.await.unwrap().unwrap().state(), State::Stale);
    assert!(!drained(&cache, 3 * SECOND).await);
    assert!(drained(&cache, 2 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_why_a_stale_value_was_served_and_how_a_fill_failed() {
    let whys = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let sink = Arc::clone(&whys);
    let cache = builder().soft_timeout(SECOND).hard_timeout(3 * SECOND);
    let cache = cache.observer(move |event: &Event<'_>| match event {
        Event::ServedStale { why, .. } => sink.lock().unwrap().0.push(*why),
        Event::FillFailed { why, .. } => sink.lock().unwrap().1.push(*why),
        _ => {}
    });
    let (heard, sources) = (Heard::default(), Sources::default());
    let cache = cache.observer(heard.observer()).build();
    stale(&cache, "k").await;
    fail(&cache, "k").unwrap();
    fail(&cache, "k").unwrap();
    advance(2 * SECOND).await;
    heard.take();
    let mut slow = sources.begin(&cache, "k");
    advance(SECOND).await;
    done(&mut slow).unwrap();
    assert_eq!(heard.take(), ["miss", "served_stale", "detached"]);
    advance(2 * SECOND).await;
    settle().await;
    advance(SECOND).await;
    let mut panics = sources.begin(&cache, "k");
    sources.next();
    sources.next().says(Says::Panics);
    done(&mut panics).unwrap();
    let whys = whys.lock().unwrap();
    assert_eq!(
        whys.0,
        [Stale::Failed, Stale::Throttled, Stale::Slow, Stale::Failed]
    );
    assert_eq!(
        whys.1,
        [Failure::Source, Failure::TimedOut, Failure::Panicked]
    );
}

/// Which of two things is dropped first.
struct Dropped(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[tokio::test]
async fn a_dropped_fill_is_gone_before_another_one_begins() {
    let cache = Cache::<u32>::builder().build();
    let log = Arc::new(Mutex::new(Vec::new()));
    let call = |name: &'static str| {
        let (cache, log) = (cache.clone(), Arc::clone(&log));
        task::spawn(Box::pin(async move {
            let fill = move |_: Fill<u32>| async move {
                log.lock().unwrap().push("begins");
                let _held = Dropped(name, log);
                pending::<Result<Option<u32>, &str>>().await
            };
            drop(cache.get_or_set("k", fill).await);
        }))
    };
    let (mut one, mut other) = (call("one gone"), call("other gone"));
    assert_pending!(one.poll());
    assert_pending!(other.poll());
    drop(one);
    assert_pending!(other.poll());
    drop(other);
    assert_eq!(
        *log.lock().unwrap(),
        ["begins", "one gone", "begins", "other gone"]
    );
}
