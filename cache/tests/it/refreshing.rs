//! Reading a value anew while it is fresh.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_cache::{Builder, Cache, Fill, State};
use tokio::time::{advance, sleep};

use crate::kit::{SECOND, Says, Sources, done, drained, fill, fill_with, fresh};

const MOMENT: Duration = Duration::from_millis(1);

/// Fresh for ten seconds, and due after eight.
fn eager() -> Builder<u32> {
    Cache::builder().ttl(10 * SECOND).eager(0.8)
}

async fn settle() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_due_is_read_anew_once_and_nobody_waits() {
    let (cache, sources) = (eager().build(), Sources::default());
    fill(&cache, "k", 1);
    advance(8 * SECOND - MOMENT).await;
    assert_eq!(
        done(&mut sources.call(&cache, "k")).unwrap(),
        Some((1, State::Fresh))
    );
    settle().await;
    assert_eq!(sources.len(), 0);
    advance(MOMENT).await;
    for _ in 0..10 {
        assert_eq!(
            done(&mut sources.call(&cache, "k")).unwrap(),
            Some((1, State::Fresh))
        );
        settle().await;
    }
    assert_eq!(sources.len(), 1);
    let source = sources.next();
    assert_eq!(source.fill().stale().map(|hit| **hit), Some(1));
    source.says(Says::Value(2));
    assert!(drained(&cache, SECOND).await);
    advance(8 * SECOND - MOMENT).await;
    assert_eq!(
        done(&mut sources.call(&cache, "k")).unwrap(),
        Some((2, State::Fresh))
    );
    let snapshot = cache.snapshot();
    assert_eq!(
        (snapshot.refreshes, snapshot.fills, snapshot.misses),
        (1, 2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_look_up_without_a_fill_refreshes_nothing() {
    let cache = eager().build();
    fill(&cache, "k", 1);
    advance(9 * SECOND).await;
    assert_eq!(fresh(&cache, "k"), Some(1));
    assert_eq!(cache.snapshot().background, 0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_it_is_stale_waits_for_the_refresh() {
    let (cache, sources) = (eager().build(), Sources::default());
    fill(&cache, "k", 1);
    advance(8 * SECOND).await;
    assert!(done(&mut sources.call(&cache, "k")).is_ok());
    settle().await;
    advance(2 * SECOND).await;
    let mut waits = sources.begin(&cache, "k");
    assert_eq!(sources.len(), 1);
    sources.next().says(Says::Value(2));
    settle().await;
    assert_eq!(done(&mut waits).unwrap(), Some((2, State::Filled)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_changes_nothing_and_is_tried_again_after_the_throttle() {
    for says in [Says::Fails, Says::Panics] {
        let (cache, sources) = (eager().build(), Sources::default());
        fill(&cache, "k", 1);
        advance(8 * SECOND).await;
        let hit = || {
            assert_eq!(
                done(&mut sources.call(&cache, "k")).unwrap(),
                Some((1, State::Fresh))
            )
        };
        hit();
        settle().await;
        sources.next().says(says);
        assert!(drained(&cache, SECOND).await);
        hit();
        settle().await;
        assert_eq!(sources.len(), 0, "it is left in peace");
        advance(SECOND).await;
        hit();
        settle().await;
        assert_eq!(sources.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_whose_task_is_dropped_leaves_the_next_one_to_others() {
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&tasks);
    let cache = eager()
        .spawner(move |task| sink.lock().unwrap().push(task))
        .build();
    let sources = Sources::default();
    fill(&cache, "k", 1);
    advance(8 * SECOND).await;
    for _ in 0..2 {
        for _ in 0..3 {
            assert!(done(&mut sources.call(&cache, "k")).is_ok());
        }
        let dropped = std::mem::take(&mut *tasks.lock().unwrap());
        assert_eq!(dropped.len(), 1);
        assert_eq!(cache.snapshot().filling, 1);
        drop(dropped);
        assert_eq!(cache.snapshot().filling, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_may_find_nothing_changed() {
    let (cache, sources) = (eager().build(), Sources::default());
    fill(&cache, "k", 1);
    for _ in 0..5 {
        advance(8 * SECOND).await;
        assert_eq!(
            done(&mut sources.call(&cache, "k")).unwrap(),
            Some((1, State::Fresh))
        );
        settle().await;
        sources.next().says(Says::NotModified);
        assert!(drained(&cache, SECOND).await);
    }
    assert_eq!(cache.snapshot().misses, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_finds_nothing_takes_the_value_away() {
    let (cache, sources) = (eager().build(), Sources::default());
    fill(&cache, "k", 1);
    advance(8 * SECOND).await;
    assert!(done(&mut sources.call(&cache, "k")).is_ok());
    settle().await;
    sources.next().says(Says::Nothing);
    assert!(drained(&cache, SECOND).await);
    assert_eq!(fresh(&cache, "k"), None);
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_to_read_is_read_anew_the_earlier() {
    // Of a thousand keys that took four seconds each, with a ttl of a hundred: those asked for once at this age that are read anew.
    async fn refreshed(age: u32) -> u64 {
        let cache = Cache::builder().ttl(100 * SECOND).xfetch(1.0).build();
        for _ in 0..2 {
            let calls: Vec<_> = (0..1000_u32)
                .map(|key| tokio::spawn(slow(cache.clone(), key)))
                .collect();
            for call in calls {
                call.await.unwrap();
            }
            advance(age * SECOND).await;
        }
        cache.snapshot().refreshes
    }
    async fn slow(cache: Cache<u32>, key: u32) {
        let slow = cache.get_or_set(key.to_be_bytes(), |_: Fill<u32>| async {
            sleep(4 * SECOND).await;
            Ok::<_, &str>(Some(1))
        });
        slow.await.unwrap();
    }
    // The chance is exp(-(100 - age) / 4): 0.00000001, 0.082, 0.37.
    assert_eq!(refreshed(26).await, 0);
    let early = refreshed(90).await;
    assert!((40..140).contains(&early), "{early}");
    let late = refreshed(96).await;
    assert!((290..450).contains(&late), "{late}");
}

#[tokio::test(start_paused = true)]
async fn what_was_set_and_took_no_time_is_not_refreshed_by_chance() {
    let cache = Cache::builder().ttl(10 * SECOND).xfetch(1.0).build();
    cache.set("k", 1).store();
    advance(10 * SECOND - MOMENT).await;
    for _ in 0..1000 {
        fill_with(&cache, "k", 2, |_| {});
    }
    assert_eq!(cache.snapshot().refreshes, 0);
}
