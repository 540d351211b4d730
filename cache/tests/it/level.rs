//! Two processes that share a second level, which can be made to fail; in virtual time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_cache::l2::simulated::{Fault, SLOW, Simulated};
use buttress_cache::l2::{Codec, CodecError, OnPartition, SecondLevel};
use buttress_cache::{Cache, Depth, Event, Hit, L2Failure, State, Tier};
use buttress_dedup::{Asking, Coordinator, Lease, Seat};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::advance;

use crate::kit::{SECOND, drained};

/// Numbers as four bytes; more than a thousand cannot be read.
struct Numbers;

impl Codec<u32> for Numbers {
    fn version(&self) -> u8 {
        9
    }

    fn encode(&self, value: &u32) -> Result<Bytes, CodecError> {
        Ok(value.to_be_bytes().to_vec().into())
    }

    fn decode(&self, bytes: Bytes) -> Result<u32, CodecError> {
        let number = u32::from_be_bytes(bytes[..].try_into()?);
        if number > 1000 {
            Err("too much".into())
        } else {
            Ok(number)
        }
    }
}

struct World {
    server: Simulated,
    caches: [Cache<u32>; 2],
    reads: Arc<AtomicU32>,
}

impl World {
    async fn new() -> Self {
        Self::with(|level| level).await
    }

    /// Both know the server's clock when it begins.
    async fn with(change: impl Fn(SecondLevel<u32>) -> SecondLevel<u32>) -> Self {
        let server = Simulated::talkative();
        let cache = || {
            let level = SecondLevel::new(server.link(), Numbers).max_lag(3 * SECOND);
            Cache::builder()
                .ttl(1000 * SECOND)
                .grace(1000 * SECOND)
                .slots(1024)
                .l2(change(level))
                .build()
        };
        let caches = [cache(), cache()];
        settle().await;
        let reads = Arc::default();
        Self {
            server,
            caches,
            reads,
        }
    }

    /// Fills with `value`, if it comes to that.
    async fn fill(&self, cache: usize, key: &str, value: u32) -> Hit<u32> {
        let reads = Arc::clone(&self.reads);
        let filled = self.caches[cache].get_or_set(key, move |fill| async move {
            fill.tag("tag");
            reads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, &str>(Some(value))
        });
        filled.await.unwrap().unwrap()
    }

    fn reads(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }
}

/// Whoever was woken runs.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// In small steps, so that every look at the clock comes in its time.
async fn pass(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(Duration::from_millis(250));
        advance(step).await;
        settle().await;
        left -= step;
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_process_reads_the_other_finds_below_and_then_in_memory() {
    let world = World::new().await;
    assert_eq!(world.fill(0, "k", 1).await.tier(), Tier::Source);
    pass(10 * SECOND).await;
    let found = world.fill(1, "k", 2).await;
    assert_eq!(
        (*found, found.tier(), found.state()),
        (1, Tier::Redis, State::Fresh)
    );
    assert_eq!(found.age(), 10 * SECOND, "it is as old as it is");
    let again = world.fill(1, "k", 2).await;
    assert_eq!((*again, again.tier()), (1, Tier::Memory));
    assert_eq!(world.reads(), 1);
    let now = world.caches[1].snapshot();
    assert_eq!((now.hits, now.redis_hits, now.misses), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn get_and_get_many_look_below_and_set_gives_below() {
    let world = World::new().await;
    world.caches[0].set("a", 1).tags(["tag"]).await;
    world.caches[0].set("b", 2).await;
    assert_eq!(
        world.caches[1].get("a").now().as_deref(),
        None,
        "that is memory only"
    );
    assert_eq!(world.caches[1].get("a").await.as_deref(), Some(&1));
    let many = world.caches[1].get_many(["a", "b", "c"]).await;
    let many: Vec<_> = many
        .iter()
        .map(|hit| hit.as_ref().map(|hit| (**hit, hit.tier())))
        .collect();
    assert_eq!(
        many,
        [Some((1, Tier::Memory)), Some((2, Tier::Redis)), None]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_in_one_process_is_so_in_the_other() {
    for depth in [Depth::Expire, Depth::Remove] {
        for by_key in [true, false] {
            let world = World::new().await;
            world.fill(0, "k", 1).await;
            world.fill(1, "k", 1).await;
            let cache = &world.caches[0];
            let call = match by_key {
                true => cache.expire("k"),
                false => cache.invalidate(["tag"]),
            };
            let call = if depth == Depth::Remove {
                call.remove()
            } else {
                call
            };
            call.await.unwrap();
            settle().await;
            for cache in [0, 1] {
                assert!(world.caches[cache].get("k").await.is_none());
            }
            assert_eq!(*world.fill(1, "k", 2).await, 2);
            assert_eq!(*world.fill(0, "k", 3).await, 2, "the new one is shared");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_view_is_the_same_in_all_processes_and_cleared_in_all() {
    let world = World::new().await;
    let views = world
        .caches
        .each_ref()
        .map(|cache| cache.partition("tenant").namespace("shop"));
    views[0].set("k", 1).await;
    assert_eq!(views[1].get("k").await.as_deref(), Some(&1));
    assert!(world.caches[1].get("k").await.is_none());
    world.caches[0].set("k", 2).await;
    views[0].clear().await.unwrap();
    settle().await;
    assert!(views[1].get("k").await.is_none());
    assert_eq!(world.caches[1].get("k").await.as_deref(), Some(&2));
    world.caches[1].clear().await.unwrap();
    settle().await;
    assert!(world.caches[0].get("k").await.is_none());
    world.caches[0].set("k", 3).await;
    assert_eq!(
        world.caches[1].get("k").await.as_deref(),
        Some(&3),
        "both are in the new epoch"
    );
}

#[tokio::test(start_paused = true)]
async fn a_level_that_is_down_costs_nothing_but_itself_and_hears_of_it_later() {
    let world = World::new().await;
    world.fill(0, "k", 1).await;
    world.fill(1, "k", 1).await;
    world.server.fault(0, Fault::LostQuestions);
    let untold = world.caches[0].invalidate(["tag"]).await;
    assert!(untold.is_err());
    assert!(
        world.caches[0].get("k").await.is_none(),
        "it holds here at once"
    );
    assert_eq!(world.caches[0].snapshot().untold, 1);
    assert_eq!(*world.fill(0, "k", 2).await, 2);
    assert_eq!(*world.fill(1, "k", 3).await, 1, "nobody could tell it");
    world.server.fault(0, Fault::None);
    pass(SECOND).await;
    assert_eq!(world.caches[0].snapshot().untold, 0);
    assert!(world.caches[1].get("k").now().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_is_dropped_on_its_way_is_told_later() {
    let world = World::new().await;
    world.fill(1, "k", 1).await;
    let cache = &world.caches[0];
    cache.invalidate(["tag"]).now();
    settle().await;
    assert!(world.caches[1].get("k").now().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_memory_is_trusted_for_max_lag_and_then_as_the_policy_says() {
    for (policy, served) in [
        (OnPartition::Bypass, Duration::ZERO),
        (OnPartition::ServeFor(10 * SECOND), 10 * SECOND),
    ] {
        let world = World::with(|level| level.on_partition(policy)).await;
        world.fill(0, "k", 1).await;
        pass(SECOND).await;
        world.server.fault(0, Fault::LostAnswers);
        pass(2 * SECOND + served).await;
        assert!(world.caches[0].get("k").now().is_some(), "{policy:?}");
        pass(2 * SECOND).await;
        assert!(world.caches[0].get("k").now().is_none(), "{policy:?}");
        world.server.fault(0, Fault::None);
        pass(SECOND).await;
        let back = world.caches[0].get("k").now();
        assert!(back.is_some(), "it was not invalidated, as is known now");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_an_invalidation_takes_everything_away_everywhere() {
    let world = World::new().await;
    world.fill(0, "k", 1).await;
    world.fill(1, "k", 1).await;
    let replica = world.server.memory();
    world.caches[0].invalidate(["tag"]).await.unwrap();
    world.server.fail_over(replica);
    pass(2 * SECOND).await;
    for cache in &world.caches {
        assert!(cache.get("k").await.is_none());
    }
    for cache in [0, 1] {
        assert_eq!(*world.fill(cache, "k", 2).await, 2);
    }
    assert!(world.caches[0].snapshot().resyncs > 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_read_is_a_miss_and_an_event() {
    let server = Simulated::talkative();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let cache = |heard: Arc<Mutex<Vec<_>>>| {
        Cache::<u32>::builder()
            .slots(1024)
            .l2(SecondLevel::new(server.link(), Numbers))
            .observer(move |event: &Event<'_>| {
                if let Event::L2Failed { why, error } = event {
                    heard.lock().unwrap().push((*why, error.to_string()));
                }
            })
            .build()
    };
    let caches = [cache(Arc::clone(&heard)), cache(Arc::clone(&heard))];
    settle().await;
    caches[0].set("k", 5000).await;
    assert!(caches[1].get("k").await.is_none());
    let heard = heard.lock().unwrap();
    let [(L2Failure::Corrupt, error)] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert!(error.contains("too much"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_may_keep_is_not_shared() {
    let world = World::new().await;
    let guard = world.caches[0].guard(["tag"]);
    world.fill(0, "k", 1).await;
    drop(guard);
    assert!(world.caches[1].get("k").await.is_none());
    // A removed one neither.
    let cache = &world.caches[0];
    let other = world.caches[1].clone();
    let filled = cache.get_or_set("late", |_| async move {
        other.remove("late").await.unwrap();
        Ok::<_, &str>(Some(1))
    });
    assert_eq!(filled.await.unwrap().as_deref(), Some(&1));
    settle().await;
    for cache in &world.caches {
        assert!(cache.get("late").await.is_none(), "it began before");
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_nothing_is_shared_too() {
    let world = World::new().await;
    for cache in &world.caches {
        let reads = Arc::clone(&world.reads);
        let found = cache.get_or_set("none", move |fill| async move {
            fill.negative_ttl(100 * SECOND);
            reads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, &str>(None)
        });
        assert!(found.await.unwrap().is_none());
    }
    assert_eq!(world.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_from_below_serves_in_bad_times() {
    let world = World::new().await;
    world.fill(0, "k", 1).await;
    world.caches[1].expire("k").await.unwrap();
    settle().await;
    let failed = world.caches[1].get_or_set("k", |_| async { Err::<Option<u32>, _>("down") });
    let served = failed.await.unwrap().unwrap();
    assert_eq!((*served, served.state()), (1, State::Stale));
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_fill_that_may_be_older_than_what_others_invalidated() {
    let server = Simulated::new();
    let cache = || {
        let level = SecondLevel::new(server.link(), Numbers).max_lag(3 * SECOND);
        Cache::<u32>::builder().slots(1024).l2(level).build()
    };
    let caches = [cache(), cache()];
    settle().await;
    let (finish, finished) = tokio::sync::oneshot::channel();
    let (one, two) = (caches[1].clone(), caches[1].clone());
    let old = tokio::spawn(async move {
        let filled = one.get_or_set("k", |fill| async move {
            fill.tag("tag");
            Ok::<_, &str>(Some(finished.await.unwrap()))
        });
        filled.await.unwrap().as_deref().copied()
    });
    settle().await;
    // It hears nothing of this.
    server.fault(1, Fault::LostQuestions);
    caches[0].invalidate(["tag"]).await.unwrap();
    pass(4 * SECOND).await;
    let new = tokio::spawn(async move {
        let filled = two.get_or_set("k", |_| async { Ok::<_, &str>(Some(2)) });
        filled.await.unwrap().as_deref().copied()
    });
    settle().await;
    finish.send(1).unwrap();
    assert_eq!(old.await.unwrap(), Some(1), "it began before");
    assert_eq!(new.await.unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_lives_for_ever_and_is_served_for_ever_is_shared() {
    let world = World::with(|level| level.on_partition(OnPartition::ServeFor(Duration::MAX))).await;
    world.caches[0]
        .set("k", 1)
        .ttl(Duration::MAX)
        .grace(Duration::MAX)
        .await;
    pass(10 * SECOND).await;
    let found = world.caches[1].get("k").await.unwrap();
    assert_eq!((*found, found.age()), (1, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_does_not_keep_a_process_from_following() {
    let server = Simulated::talkative();
    let cache = Cache::<u32>::builder()
        .slots(1024)
        .l2(SecondLevel::new(server.link(), Numbers).max_lag(3 * SECOND))
        .observer(|event: &Event<'_>| {
            assert!(
                !matches!(event, Event::NewEpoch | Event::L2Failed { .. }),
                "on purpose"
            );
        })
        .build();
    settle().await;
    server.fault(0, Fault::LostQuestions);
    pass(5 * SECOND).await;
    server.fault(0, Fault::None);
    pass(2 * SECOND).await;
    assert!(
        cache.snapshot().lag.unwrap() <= 2 * SECOND,
        "it looks at the clock"
    );
}

/// Gives a lease to who has waited longest, when the test says so, and counts those that were published or declined.
#[derive(Clone, Default)]
struct Leases {
    waiting: Arc<Mutex<VecDeque<oneshot::Sender<Seat>>>>,
    published: Arc<AtomicU32>,
    declined: Arc<AtomicU32>,
}

impl Leases {
    fn give(&self) {
        let next = self.waiting.lock().unwrap().pop_front();
        let lease = Counted(self.clone());
        let _ = next
            .expect("somebody asks")
            .send(Seat::Lead(Box::new(lease)));
    }

    fn published(&self) -> u32 {
        self.published.load(Ordering::Relaxed)
    }
}

impl Coordinator for Leases {
    fn join(&self, _: &[u8], _: Option<Duration>) -> Asking {
        let (send, receive) = oneshot::channel();
        self.waiting.lock().unwrap().push_back(send);
        Box::pin(async move { receive.await.expect("the test gives a lease") })
    }
}

struct Counted(Leases);

impl Lease for Counted {
    fn decline(self: Box<Self>) {
        self.0.declined.fetch_add(1, Ordering::Relaxed);
    }

    fn publish(self: Box<Self>, _: Bytes) {
        self.0.published.fetch_add(1, Ordering::Relaxed);
    }

    fn publish_within(&mut self, _: Duration) {}
}

#[tokio::test(start_paused = true)]
async fn who_gets_the_lease_after_another_finds_what_that_one_read() {
    let leases = Leases::default();
    let world = Arc::new(World::with(|level| level.leases(leases.clone())).await);
    let fill = |cache, value| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.fill(cache, "k", value).await })
    };
    let first = fill(0, 1);
    let second = fill(1, 2);
    settle().await;
    leases.give();
    assert_eq!(*first.await.unwrap(), 1);
    leases.give();
    let found = second.await.unwrap();
    assert_eq!((*found, found.tier()), (1, Tier::Redis));
    assert_eq!(world.reads(), 1);
    assert_eq!(leases.published(), 1, "the other has nothing to tell");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_held_until_the_second_level_has_what_was_read() {
    let leases = Leases::default();
    let world = World::with(|level| level.leases(leases.clone())).await;
    let (cache, server) = (world.caches[0].clone(), world.server.clone());
    let filling = tokio::spawn(async move {
        let fill = |_| async move {
            server.fault(0, Fault::Slow);
            Ok::<_, &str>(Some(1))
        };
        cache.get_or_set("k", fill).await.unwrap().unwrap()
    });
    settle().await;
    leases.give();
    settle().await;
    assert_eq!(leases.published(), 0, "it is on its way");
    pass(SECOND).await;
    assert_eq!(leases.published(), 1, "nobody waits for long");
    assert_eq!(*filling.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_one_process_has_refreshed_the_other_takes_from_below() {
    let server = Simulated::talkative();
    let cache = || {
        let level = SecondLevel::new(server.link(), Numbers).max_lag(3 * SECOND);
        let built = Cache::builder().ttl(10 * SECOND).eager(0.5);
        built.slots(1024).l2(level).build()
    };
    let caches = [cache(), cache()];
    settle().await;
    let reads = Arc::new(AtomicU32::new(0));
    let get = async |cache: usize| {
        let reads = Arc::clone(&reads);
        let fill =
            move |_| async move { Ok::<_, &str>(Some(reads.fetch_add(1, Ordering::Relaxed) + 1)) };
        let value = *caches[cache].get_or_set("k", fill).await.unwrap().unwrap();
        settle().await;
        value
    };
    assert_eq!((get(0).await, get(1).await), (1, 1));
    pass(6 * SECOND).await;
    assert_eq!(
        (get(0).await, get(0).await),
        (1, 2),
        "its own value below is no news"
    );
    assert_eq!((get(1).await, get(1).await), (1, 2));
    assert_eq!(reads.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_level_is_down_the_source_is_still_read_once_for_all_who_ask_at_the_same_time() {
    for down_for in [Duration::ZERO, 10 * SECOND] {
        let world = World::new().await;
        world.server.fault(0, Fault::LostQuestions);
        pass(down_for).await;
        let calls = (0..20).map(|_| {
            let (cache, reads) = (world.caches[0].clone(), Arc::clone(&world.reads));
            tokio::spawn(async move {
                let fill = |_| async move {
                    tokio::time::sleep(SECOND).await;
                    Ok::<_, &str>(Some(reads.fetch_add(1, Ordering::Relaxed)))
                };
                *cache.get_or_set("hot", fill).await.unwrap().unwrap()
            })
        });
        let calls: Vec<_> = calls.collect();
        pass(10 * SECOND).await;
        for call in calls {
            assert_eq!(call.await.unwrap(), 0);
        }
        assert_eq!(world.reads(), 1, "{down_for:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_cleared_is_served_nothing_of_before_though_it_learns_of_others_epochs_late() {
    for offset in (0..300).step_by(5) {
        let world = World::new().await;
        world.server.fault(1, Fault::Slow);
        world.caches[0].clear().await.unwrap();
        settle().await;
        world.caches[0].set("k", 1).await;
        let pause = async |millis| {
            for _ in 0..millis / 5 {
                advance(Duration::from_millis(5)).await;
                settle().await;
            }
        };
        pause(offset).await;
        let cache = world.caches[1].clone();
        let clearing = tokio::spawn(async move { cache.clear().await });
        while !clearing.is_finished() {
            pause(5).await;
        }
        if clearing.await.unwrap().is_err() {
            continue;
        }
        world.server.fault(1, Fault::None);
        for _ in 0..20 {
            let served = world.caches[1].get("k").await;
            assert!(served.is_none(), "{offset}");
            pause(5).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_shuts_down_has_told_the_others_what_it_invalidated() {
    let world = World::new().await;
    world.fill(1, "k", 1).await;
    let cache = &world.caches[0];
    cache.invalidate(["tag"]).now();
    cache.invalidate(["tag"]).again_after(SECOND).now();
    assert!(drained(cache, 10 * SECOND).await);
    assert_eq!(cache.snapshot().untold, 0);
    settle().await;
    assert!(world.caches[1].get("k").now().is_none());
    world.server.fault(0, Fault::LostQuestions);
    cache.invalidate(["tag"]).now();
    assert!(!drained(cache, 10 * SECOND).await, "nobody hears it");
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_just_before_a_cache_is_dropped_is_told() {
    // Whatever it waits for just then.
    for offset in (0..1500).step_by(20) {
        let World { server, caches, .. } = World::new().await;
        let [first, second] = caches;
        server.fault(0, Fault::Slow);
        second.set("k", 1).tags(["tag"]).await;
        for _ in 0..offset / 20 {
            advance(Duration::from_millis(20)).await;
            settle().await;
        }
        first.invalidate(["tag"]).now();
        drop(first);
        pass(SECOND).await;
        assert!(second.get("k").now().is_none(), "{offset}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_source_has_no_more_is_not_served_from_below_in_bad_times() {
    let world = World::new().await;
    world.fill(0, "k", 1).await;
    let cache = &world.caches[1];
    cache.expire("k").await.unwrap();
    settle().await;
    let gone = cache.get_or_set("k", |_| async { Ok::<_, &str>(None) });
    assert!(gone.await.unwrap().is_none());
    let failed = cache.get_or_set("k", |_| async { Err::<Option<u32>, _>("down") });
    assert!(failed.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn any_time_can_be_said() {
    for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let world = World::with(|level| level.max_lag(time).timeout(time)).await;
        let filled = world.fill(0, "k", 1).await;
        assert_eq!(*filled, 1);
        let _ = world.caches[0].invalidate(["tag"]).await;
        pass(SECOND).await;
        assert!(world.caches[0].get("k").await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn each_question_to_a_slow_level_costs_its_timeout_and_no_more() {
    let patience = Duration::from_millis(20);
    let world = World::with(|level| level.timeout(patience)).await;
    world.server.fault(0, Fault::Slow);
    let begun = tokio::time::Instant::now();
    world.fill(0, "k", 1).await;
    assert_eq!(
        begun.elapsed(),
        2 * patience,
        "before the source, and after"
    );
    assert!(world.caches[0].get("other").await.is_none());
    assert_eq!(begun.elapsed(), 3 * patience);
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_another_value_goes_with_it_in_all_processes() {
    let world = World::new().await;
    for cache in &world.caches {
        cache.set("brand", 1).tags(["brands"]).await;
    }
    for by_tag in [true, false] {
        world.caches[0].set("page", 2).depends_on("brand").await;
        let found = world.caches[1].get("page").await;
        assert_eq!(found.as_deref(), Some(&2));
        let told = match by_tag {
            true => world.caches[1].invalidate(["brands"]).await,
            false => world.caches[1].remove("brand").await,
        };
        told.unwrap();
        settle().await;
        for cache in &world.caches {
            assert!(cache.get("page").await.is_none(), "{by_tag}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_process_removed_is_not_served_in_bad_times() {
    for depth in [Depth::Expire, Depth::Remove] {
        let world = World::new().await;
        world.fill(0, "k", 1).await;
        let call = world.caches[1].invalidate(["tag"]);
        let call = match depth {
            Depth::Remove => call.remove(),
            _ => call,
        };
        call.await.unwrap();
        settle().await;
        for cache in &world.caches {
            let failed = cache.get_or_set("k", |_| async { Err::<Option<u32>, _>("down") });
            assert_eq!(failed.await.is_ok(), depth == Depth::Expire);
        }
    }
}

/// Another process may have removed it, and this one cannot know.
#[tokio::test(start_paused = true)]
async fn what_may_have_been_removed_is_not_served_in_bad_times_however_fresh_it_is() {
    let world = World::new().await;
    world.fill(1, "k", 1).await;
    world.server.fault(1, Fault::LostAnswers);
    pass(6 * SECOND).await;
    let failed = world.caches[1].get_or_set("k", |_| async { Err::<Option<u32>, _>("down") });
    assert!(failed.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_asked_for_below_at_the_same_time() {
    let world = World::new().await;
    let keys: Vec<_> = (0..50_u32).collect();
    for key in &keys {
        world.caches[0].set(key.to_be_bytes(), *key).await;
    }
    world.server.fault(1, Fault::Slow);
    let begun = tokio::time::Instant::now();
    let keys = keys.iter().map(|key| key.to_be_bytes());
    let found = world.caches[1].get_many(keys).await;
    assert!(found.iter().all(Option::is_some));
    assert!(begun.elapsed() <= 3 * SLOW);
}

#[tokio::test(start_paused = true)]
async fn a_level_that_fails_again_and_again_is_let_be_for_max_lag() {
    let shunned = Arc::new(AtomicU32::new(0));
    let (heard, server) = (Arc::clone(&shunned), Simulated::talkative());
    let level = SecondLevel::new(server.link(), Numbers).max_lag(3 * SECOND);
    let cache = Cache::<u32>::builder()
        .slots(1024)
        .l2(level)
        .observer(move |event: &Event<'_>| {
            if let Event::L2Failed { why, .. } = event {
                heard.fetch_add(u32::from(*why == L2Failure::Shunned), Ordering::Relaxed);
            }
        })
        .build();
    settle().await;
    server.fault(0, Fault::LostQuestions);
    for key in 0..8_u32 {
        assert!(cache.get(key.to_be_bytes()).await.is_none());
    }
    assert_eq!(shunned.load(Ordering::Relaxed), 3, "after five failures");
    server.fault(0, Fault::None);
    pass(4 * SECOND).await;
    cache.set("k", 1).await;
    assert_eq!(shunned.load(Ordering::Relaxed), 3, "it is asked again");
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_from_below_is_served_after_the_soft_timeout() {
    let server = Simulated::talkative();
    let cache = || {
        let level = SecondLevel::new(server.link(), Numbers).max_lag(3 * SECOND);
        let built = Cache::<u32>::builder().grace(100 * SECOND).slots(1024);
        built.soft_timeout(SECOND).l2(level).build()
    };
    let caches = [cache(), cache()];
    settle().await;
    caches[0].set("k", 1).await;
    caches[0].expire("k").await.unwrap();
    settle().await;
    let slow = caches[1].get_or_set("k", |_| async {
        tokio::time::sleep(2 * SECOND).await;
        Ok::<_, &str>(Some(2))
    });
    let served = slow.await.unwrap().unwrap();
    assert_eq!((*served, served.state()), (1, State::Stale));
    assert!(drained(&caches[1], 10 * SECOND).await);
    assert_eq!(caches[0].get("k").await.as_deref(), Some(&2), "it went on");
}

#[tokio::test(start_paused = true)]
async fn what_another_version_of_a_codec_wrote_is_a_miss() {
    struct Older;

    impl Codec<u32> for Older {
        fn version(&self) -> u8 {
            8
        }

        fn encode(&self, value: &u32) -> Result<Bytes, CodecError> {
            Numbers.encode(value)
        }

        fn decode(&self, bytes: Bytes) -> Result<u32, CodecError> {
            Numbers.decode(bytes)
        }
    }

    let world = World::new().await;
    let level = SecondLevel::new(world.server.link(), Older).max_lag(3 * SECOND);
    let older = Cache::<u32>::builder().slots(1024).l2(level).build();
    settle().await;
    older.set("k", 1).await;
    assert!(world.caches[0].get("k").await.is_none());
    world.caches[0].set("k", 2).await;
    assert!(older.get("other").await.is_none());
    assert_eq!(world.caches[1].get("k").await.as_deref(), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_is_not_for_others_is_told_so() {
    for (read, declined) in [(Some(1), 0), (None, 1)] {
        let leases = Leases::default();
        let world = World::with(|level| level.leases(leases.clone())).await;
        let cache = world.caches[0].clone();
        let filling = tokio::spawn(async move {
            let filled = cache.get_or_set("k", move |_| async move { Ok::<_, &str>(read) });
            filled.await.unwrap().is_some()
        });
        settle().await;
        leases.give();
        assert_eq!(filling.await.unwrap(), read.is_some());
        assert_eq!(leases.declined.load(Ordering::Relaxed), declined);
    }
}
