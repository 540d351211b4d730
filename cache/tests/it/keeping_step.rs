//! A process whose questions to the second level are held up just when it matters; in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use buttress_cache::Cache;
use buttress_cache::l2::simulated::{Fault, Link, Simulated};
use buttress_cache::l2::{
    Asking, Bump, Codec, CodecError, EntryKey, Head, L2, Moved, News, SecondLevel, Slots, Written,
};
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{advance, sleep};

use crate::kit::SECOND;

struct Numbers;

impl Codec<u32> for Numbers {
    fn version(&self) -> u8 {
        9
    }

    fn encode(&self, value: &u32) -> Result<Bytes, CodecError> {
        Ok(value.to_be_bytes().to_vec().into())
    }

    fn decode(&self, bytes: Bytes) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes(bytes[..].try_into()?))
    }
}

/// What holds the questions of a link up.
#[derive(Clone, Debug)]
struct Hold {
    /// Steps are asked for with a permit of this.
    bump: Arc<Semaphore>,
    /// Entries are answered with a permit of this.
    get: Arc<Semaphore>,
    /// It is asked where the clock stands after so many milliseconds.
    question: Arc<AtomicU64>,
    /// Where the clock stands is answered after so many milliseconds.
    head: Arc<AtomicU64>,
    /// How often the whole clock was read.
    reads: Arc<AtomicU64>,
}

impl Hold {
    fn nothing() -> Self {
        let open = || Arc::new(Semaphore::new(1 << 20));
        Self {
            bump: open(),
            get: open(),
            question: Arc::default(),
            head: Arc::default(),
            reads: Arc::default(),
        }
    }
}

struct Held(Link, Hold);

async fn pass_by(gate: &Semaphore) {
    gate.acquire().await.unwrap().forget();
}

async fn take(millis: &AtomicU64) {
    let millis = millis.load(Ordering::Relaxed);
    if millis > 0 {
        sleep(Duration::from_millis(millis)).await;
    }
}

impl L2 for Held {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn get<'a>(&'a self, key: &'a EntryKey) -> Asking<'a, Option<(Bytes, Duration)>> {
        let answer = self.0.get(key);
        Box::pin(async move {
            pass_by(&self.1.get).await;
            answer.await
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a EntryKey,
        frame: Bytes,
        written: Written,
        time: Duration,
    ) -> Asking<'a, bool> {
        self.0.set(key, frame, written, time)
    }

    fn head(&self) -> Asking<'_, Option<Head>> {
        Box::pin(async move {
            take(&self.1.question).await;
            let answer = self.0.head();
            take(&self.1.head).await;
            answer.await
        })
    }

    fn read(&self) -> Asking<'_, Option<(Head, Slots)>> {
        self.1.reads.fetch_add(1, Ordering::Relaxed);
        self.0.read()
    }

    fn bump(&self, bump: Bump) -> Asking<'_, Moved> {
        Box::pin(async move {
            pass_by(&self.1.bump).await;
            self.0.bump(bump).await
        })
    }

    fn begin(&self, expected: Option<Head>, begin: Head) -> Asking<'_, bool> {
        self.0.begin(expected, begin)
    }

    fn listen(&self) -> mpsc::Receiver<News> {
        self.0.listen()
    }
}

/// Two processes over one server, the first of which is held up. Where the clock stands is looked at every second.
struct World {
    server: Simulated,
    one: Cache<u32>,
    other: Cache<u32>,
}

impl World {
    async fn new(hold: &Hold) -> Self {
        let server = Simulated::talkative();
        let cache = |hold: Hold| {
            let level = SecondLevel::new(Held(server.link(), hold), Numbers);
            let level = level.max_lag(3 * SECOND).timeout(10 * SECOND);
            Cache::builder()
                .ttl(1000 * SECOND)
                .slots(1024)
                .l2(level)
                .build()
        };
        let (one, other) = (cache(hold.clone()), cache(Hold::nothing()));
        settle().await;
        Self { server, one, other }
    }
}

/// With this value, unless it is there.
async fn fill(cache: &Cache<u32>, value: u32) -> u32 {
    let filled = cache.get_or_set("k", move |fill| async move {
        fill.tag("tag");
        Ok::<_, &str>(Some(value))
    });
    *filled.await.unwrap().unwrap()
}

/// Whoever was woken runs.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn pass(time: Duration) {
    let step = Duration::from_millis(250);
    for _ in 0..time.as_millis() / step.as_millis() {
        advance(step).await;
        settle().await;
    }
}

/// The other process takes a step meanwhile, and reads the source after it, of before the invalidation that it has not heard of.
#[tokio::test(start_paused = true)]
async fn what_is_dropped_on_its_way_goes_on_to_hold_here_whatever_others_do() {
    let hold = Hold {
        bump: Arc::new(Semaphore::new(0)),
        ..Hold::nothing()
    };
    let world = World::new(&hold).await;
    let mut invalidate = tokio_test::task::spawn(world.one.invalidate(["tag"]));
    assert!(invalidate.poll().is_pending());
    world.other.invalidate(["unrelated"]).await.unwrap();
    settle().await;
    assert_eq!(fill(&world.other, 1).await, 1);
    drop(invalidate);
    assert_eq!(
        fill(&world.one, 2).await,
        2,
        "its own invalidation is later"
    );
}

/// A process is in step as of when it asked, however late it heard.
#[tokio::test(start_paused = true)]
async fn trust_is_counted_from_the_question_and_not_from_the_answer() {
    let hold = Hold::nothing();
    let world = World::new(&hold).await;
    hold.head.store(900, Ordering::Relaxed);
    pass(SECOND).await;
    advance(Duration::from_millis(950)).await;
    settle().await;
    // It has asked at one second, and heard at 1.9; from here on it hears nothing.
    world.server.fault(0, Fault::LostQuestions);
    assert_eq!(fill(&world.one, 1).await, 1);
    pass(2 * SECOND).await;
    assert_eq!(fill(&world.one, 2).await, 1, "2.95 s after it asked");
    pass(Duration::from_millis(250)).await;
    assert_eq!(fill(&world.one, 3).await, 3, "3.2 s after it asked");
}

/// The whole clock is megabytes.
#[tokio::test(start_paused = true)]
async fn a_step_of_while_it_is_asked_where_the_clock_stands_is_no_reason_to_read_it() {
    let hold = Hold::nothing();
    let world = World::new(&hold).await;
    let at_first = hold.reads.load(Ordering::Relaxed);
    for late in [&hold.question, &hold.head] {
        assert_eq!(fill(&world.one, 1).await, 1);
        late.store(500, Ordering::Relaxed);
        pass(SECOND).await;
        // It has asked, and has no answer; it may not have arrived either.
        world.other.invalidate(["tag"]).await.unwrap();
        pass(SECOND).await;
        late.store(0, Ordering::Relaxed);
        assert_eq!(fill(&world.one, 2).await, 2, "it has heard of it");
        world.one.remove("k").await.unwrap();
        pass(SECOND).await;
        assert_eq!(hold.reads.load(Ordering::Relaxed), at_first);
    }
}

/// Nothing says what was cleared: the clock has to be asked, and not only when it is time again.
#[tokio::test(start_paused = true)]
async fn what_is_cleared_while_it_is_asked_where_the_clock_stands_is_known_at_once() {
    let hold = Hold::nothing();
    let world = World::new(&hold).await;
    assert_eq!(fill(&world.one, 1).await, 1);
    hold.head.store(500, Ordering::Relaxed);
    pass(SECOND).await;
    // It has asked, and the answer is of before.
    world.other.clear().await.unwrap();
    hold.head.store(0, Ordering::Relaxed);
    pass(Duration::from_millis(500)).await;
    assert_eq!(fill(&world.one, 2).await, 2, "long before the next beat");
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_step_that_failed_is_told_later_too() {
    let world = World::new(&Hold::nothing()).await;
    assert_eq!(fill(&world.other, 1).await, 1);
    world.server.fault(0, Fault::LostQuestions);
    // More than goes in one step.
    let tags = std::iter::repeat_n("unrelated", 1 << 10).chain(["tag"]);
    assert!(world.one.invalidate(tags).await.is_err());
    world.server.fault(0, Fault::None);
    pass(3 * SECOND).await;
    assert_eq!(fill(&world.other, 2).await, 2);
}

/// A process that cannot tell what it invalidated counts by itself, and not for ever.
#[tokio::test(start_paused = true)]
async fn who_counted_alone_as_far_as_it_can_shares_again_afterwards() {
    let world = World::new(&Hold::nothing()).await;
    world.server.fault(0, Fault::LostQuestions);
    // Two steps each: its own, and the one by which it goes on to hold.
    for _ in 0..(1 << 15) {
        world.one.invalidate(["unrelated"]).now();
    }
    world.server.fault(0, Fault::None);
    pass(3 * SECOND).await;
    assert_eq!(fill(&world.one, 1).await, 1);
    assert_eq!(
        fill(&world.other, 2).await,
        1,
        "they are of one epoch again"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_when_nothing_can_be_known_any_more_is_not_used() {
    let hold = Hold {
        get: Arc::new(Semaphore::new(0)),
        ..Hold::nothing()
    };
    let world = World::new(&hold).await;
    assert_eq!(fill(&world.other, 1).await, 1);
    let mut filled = tokio_test::task::spawn(fill(&world.one, 2));
    assert!(filled.poll().is_pending(), "it looks below");
    world.server.fault(0, Fault::LostQuestions);
    pass(4 * SECOND).await;
    assert!(filled.poll().is_pending());
    hold.get.add_permits(1);
    let filled = std::future::poll_fn(|_| filled.poll()).await;
    assert_eq!(filled, 2);
}

/// Each moves the count on; a step in time lets it begin anew.
#[tokio::test(start_paused = true)]
async fn guards_without_number_take_nothing_away() {
    let world = World::new(&Hold::nothing()).await;
    assert_eq!(fill(&world.one, 1).await, 1);
    for _ in 0..150 {
        for _ in 0..1000 {
            drop(world.one.guard(["guarded"]));
        }
        settle().await;
    }
    assert_eq!(fill(&world.one, 2).await, 1);
    assert_eq!(fill(&world.other, 3).await, 1);
}
