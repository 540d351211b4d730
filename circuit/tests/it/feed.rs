//! Trips shared between processes, over a feed that tests take apart.

use std::fmt;
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use buttress_circuit::feed::{Feed, Policy, Sharing, Trip};
use buttress_circuit::{Backoff, Breaker, Cause, Clock, Event, Probes, State, consecutive};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::{fail, ms, secs};

/// What connects the processes of a test. It gives everybody everything, also what is their own.
#[derive(Clone)]
struct Bus {
    trips: broadcast::Sender<Trip>,
    up: watch::Sender<bool>,
    /// Whether it loses the next trip, and says so.
    fails_once: Arc<AtomicBool>,
}

impl Bus {
    fn new() -> Self {
        Self {
            trips: broadcast::Sender::new(64),
            up: watch::Sender::new(true),
            fails_once: Arc::default(),
        }
    }

    fn feed(&self) -> BusFeed {
        BusFeed {
            bus: self.clone(),
            trips: self.trips.subscribe(),
        }
    }
}

struct BusFeed {
    bus: Bus,
    trips: broadcast::Receiver<Trip>,
}

#[derive(Debug)]
struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bus is down")
    }
}

impl std::error::Error for Down {}

impl BusFeed {
    fn check(&self) -> Result<(), Down> {
        if *self.bus.up.borrow() {
            Ok(())
        } else {
            Err(Down)
        }
    }
}

impl Feed for BusFeed {
    type Error = Down;

    async fn connect(&mut self) -> Result<(), Down> {
        self.check()?;
        self.trips = self.bus.trips.subscribe();
        Ok(())
    }

    async fn publish(&mut self, trip: &Trip) -> Result<(), Down> {
        self.check()?;
        if self.bus.fails_once.swap(false, Ordering::SeqCst) {
            return Err(Down);
        }
        drop(self.bus.trips.send(trip.clone()));
        Ok(())
    }

    async fn receive(&mut self) -> Result<Trip, Down> {
        let mut up = self.bus.up.subscribe();
        tokio::select! {
            trip = self.trips.recv() => trip.map_err(|_| Down),
            _ = up.wait_for(|up| !up) => Err(Down),
        }
    }
}

type Log = Arc<Mutex<Vec<String>>>;

/// A process with one breaker, `shared`, and what its observers were told.
struct Process {
    breaker: Breaker,
    log: Log,
    work: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn process(bus: &Bus, policy: Policy) -> Process {
    let log = Log::default();
    let (transitions, others) = (Arc::clone(&log), Arc::clone(&log));
    let sharing = Sharing::new(policy)
        .at_most(secs(60))
        .observer(move |event: &Event<'_>| {
            others.lock().unwrap().push(match event {
                Event::TrippedElsewhere(breaker, time) => {
                    format!("{} elsewhere for {} s", breaker.name(), time.as_secs())
                }
                Event::FeedLost(error) => format!("lost: {error}"),
                Event::FeedRestored => "restored".to_owned(),
                event => format!("{event:?}"),
            });
        });
    let breaker = Breaker::builder("shared")
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(40)))
        .half_open(Probes::new(1))
        .clock(Clock::tokio())
        .observer(sharing.trips())
        .observer(move |event: &Event<'_>| {
            if let Event::Transition(_, transition) = event
                && transition.cause == Cause::Adopted
            {
                transitions.lock().unwrap().push("adopted".to_owned());
            }
        })
        .build()
        .unwrap();
    let known = breaker.clone();
    let work = sharing.run(bus.feed(), move |name| {
        (name == "shared").then(|| known.clone())
    });
    let work = tokio::spawn(async move { match work.await {} });
    Process { breaker, log, work }
}

impl Process {
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

/// Lets everybody do what there is to do now.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_trip_here_opens_there_for_the_time_that_is_left() {
    let bus = Bus::new();
    let [here, there] = [(); 2].map(|()| process(&bus, Policy::Adopt));
    settle().await;
    fail(&here.breaker, 1);
    settle().await;
    assert_eq!(there.breaker.state(), State::Open);
    assert_eq!(there.told(), ["shared elsewhere for 40 s", "adopted"]);
    assert!(here.told().is_empty(), "no echo");
    let left = there.breaker.snapshot().remaining.unwrap();
    assert!(left <= secs(40) + ms(2), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn what_others_could_not_read_is_told_to_nobody() {
    let bus = Bus::new();
    let mut wire = bus.trips.subscribe();
    let sharing = Sharing::new(Policy::Adopt);
    let breakers = ["a".repeat(1025), "b".repeat(900)].map(|name| {
        let breaker = Breaker::builder(name).trip(consecutive(1));
        breaker.observer(sharing.trips()).build().unwrap()
    });
    let work = tokio::spawn(sharing.run(bus.feed(), |_| None));
    breakers.iter().for_each(|breaker| fail(breaker, 1));
    settle().await;
    let trip = wire.try_recv().unwrap();
    assert_eq!(trip.breaker, "b".repeat(900));
    assert_eq!(Trip::decode(trip.encode().as_bytes()), Some(trip));
    assert!(wire.try_recv().is_err());
    work.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_adopted_is_told_to_nobody() {
    let bus = Bus::new();
    let mut wire = bus.trips.subscribe();
    let processes = [(); 3].map(|()| process(&bus, Policy::Adopt));
    settle().await;
    fail(&processes[0].breaker, 1);
    settle().await;
    assert!(wire.try_recv().is_ok());
    assert!(wire.try_recv().is_err(), "one trip, one message");
    for process in &processes {
        assert_eq!(process.breaker.snapshot().generation, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_adopter_finds_out_itself_is_news() {
    let bus = Bus::new();
    let [here, there] = [(); 2].map(|()| process(&bus, Policy::Adopt));
    settle().await;
    fail(&here.breaker, 1);
    settle().await;
    here.breaker.reset();
    tokio::time::advance(secs(41)).await;
    fail(&there.breaker, 1);
    settle().await;
    assert_eq!(here.breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn only_a_closed_breaker_adopts() {
    let bus = Bus::new();
    let [here, there] = [(); 2].map(|()| process(&bus, Policy::Adopt));
    settle().await;
    let states = [
        (Breaker::force_closed as fn(&Breaker), State::ForcedClosed),
        (Breaker::force_open, State::ForcedOpen),
        (Breaker::metrics_only, State::MetricsOnly),
        (|breaker| breaker.open_for(secs(1)), State::Open),
    ];
    for (put, state) in states {
        there.breaker.reset();
        put(&there.breaker);
        let before = there.breaker.snapshot().generation;
        here.breaker.reset();
        fail(&here.breaker, 1);
        settle().await;
        assert_eq!(there.breaker.state(), state);
        assert_eq!(there.breaker.snapshot().generation, before);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_speaks_for_one_process() {
    let bus = Bus::new();
    let [here, there] = [(); 2].map(|()| process(&bus, Policy::Adopt));
    settle().await;
    here.breaker.open_for(secs(5));
    here.breaker.force_open();
    settle().await;
    assert_eq!(there.breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_quorum_must_agree_and_an_observer_only_tells() {
    let bus = Bus::new();
    let [one, other] = [(); 2].map(|()| process(&bus, Policy::Observe));
    let instances = NonZeroU8::new(2).unwrap();
    let cautious = process(&bus, Policy::Quorum { instances });
    settle().await;
    fail(&one.breaker, 1);
    settle().await;
    assert_eq!(other.told(), ["shared elsewhere for 40 s"]);
    assert_eq!(other.breaker.state(), State::Closed);
    assert_eq!(cautious.breaker.state(), State::Closed);
    one.breaker.reset();
    fail(&one.breaker, 1);
    settle().await;
    assert_eq!(
        cautious.breaker.state(),
        State::Closed,
        "the same one again"
    );
    tokio::time::advance(secs(4)).await;
    fail(&other.breaker, 1);
    settle().await;
    assert_eq!(cautious.breaker.state(), State::Open);
    let left = cautious.breaker.snapshot().remaining.unwrap();
    assert!(left > secs(39), "as long as the last of them: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_feed_changes_nothing_and_what_is_still_open_is_told_afterwards() {
    let bus = Bus::new();
    let mut wire = bus.trips.subscribe();
    let here = process(&bus, Policy::Adopt);
    settle().await;
    bus.up.send_replace(false);
    settle().await;
    assert_eq!(here.told(), ["lost: the bus is down"]);
    assert!(here.breaker.try_acquire().is_ok());
    fail(&here.breaker, 1);
    for _ in 0..5 {
        tokio::time::advance(secs(1)).await;
        settle().await;
    }
    assert!(here.told().is_empty(), "told once");
    assert!(wire.try_recv().is_err());
    bus.up.send_replace(true);
    for _ in 0..12 {
        tokio::time::advance(secs(1)).await;
        settle().await;
    }
    assert_eq!(here.told(), ["restored"]);
    let trip = wire.try_recv().unwrap();
    assert!(trip.open_for <= secs(35), "what is left by then: {trip:?}");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_is_told_again() {
    let bus = Bus::new();
    let mut wire = bus.trips.subscribe();
    let here = process(&bus, Policy::Adopt);
    settle().await;
    bus.fails_once.store(true, Ordering::SeqCst);
    fail(&here.breaker, 1);
    settle().await;
    assert!(wire.try_recv().is_err());
    tokio::time::advance(ms(200)).await;
    settle().await;
    assert_eq!(here.told(), ["lost: the bus is down", "restored"]);
    assert!(wire.try_recv().is_ok());
    assert!(wire.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_trip_that_is_over_is_not_told() {
    let bus = Bus::new();
    let mut wire = bus.trips.subscribe();
    let here = process(&bus, Policy::Adopt);
    settle().await;
    bus.up.send_replace(false);
    settle().await;
    fail(&here.breaker, 1);
    tokio::time::advance(secs(41)).await;
    bus.up.send_replace(true);
    for _ in 0..30 {
        tokio::time::advance(secs(1)).await;
        settle().await;
    }
    assert_eq!(here.told().last().unwrap(), "restored");
    assert!(wire.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn strangers_names_and_times_are_bounded() {
    let bus = Bus::new();
    let there = process(&bus, Policy::Adopt);
    settle().await;
    let message = |millis: &str, name: &str| {
        let text = format!("1 0000000000000000000000000000000a {millis} {name}");
        bus.trips
            .send(Trip::decode(text.as_bytes()).unwrap())
            .unwrap();
    };
    message("5000", "unknown");
    message("0", "shared");
    settle().await;
    assert_eq!(there.breaker.state(), State::Closed);
    message("18446744073709551615", "shared");
    settle().await;
    assert_eq!(there.breaker.state(), State::Open);
    assert!(there.breaker.snapshot().remaining.unwrap() <= secs(60) + ms(1));
}

#[tokio::test(start_paused = true)]
async fn dropped_sharing_keeps_no_breaker() {
    let released = Arc::new(());
    let sharing = Sharing::new(Policy::Adopt);
    let witness = Arc::clone(&released);
    let breaker = Breaker::builder("shared")
        .trip(consecutive(1))
        .observer(sharing.trips())
        .observer(move |_: &Event<'_>| {
            let _ = &witness;
        })
        .build()
        .unwrap();
    let work = sharing.run(Bus::new().feed(), |_| None);
    let mut work = tokio_test::task::spawn(work);
    assert!(work.poll().is_pending());
    fail(&breaker, 1);
    drop(work);
    breaker.reset();
    fail(&breaker, 1);
    drop(breaker);
    assert_eq!(Arc::strong_count(&released), 1);
}

/// Connects, and fails at once.
struct Flapping(Arc<AtomicU32>);

impl Feed for Flapping {
    type Error = std::io::Error;

    async fn connect(&mut self) -> Result<(), Self::Error> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn publish(&mut self, _: &Trip) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn receive(&mut self) -> Result<Trip, Self::Error> {
        Err(std::io::ErrorKind::ConnectionReset.into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_connects_and_fails_at_once_is_tried_less_and_less_often() {
    let (connects, told) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&told);
    let sharing = Sharing::new(Policy::Adopt).observer(move |_: &Event<'_>| {
        count.fetch_add(1, Ordering::AcqRel);
    });
    let work = sharing.run(Flapping(Arc::clone(&connects)), |_| None);
    drop(tokio::time::timeout(secs(60), work).await);
    assert!(
        (5..30).contains(&connects.load(Ordering::Acquire)),
        "{connects:?}"
    );
    assert_eq!(told.load(Ordering::Acquire), 1, "lost, once");
}

/// Never comes back from anything.
struct Hung;

impl Feed for Hung {
    type Error = std::io::Error;

    async fn connect(&mut self) -> Result<(), Self::Error> {
        std::future::pending().await
    }

    async fn publish(&mut self, _: &Trip) -> Result<(), Self::Error> {
        std::future::pending().await
    }

    async fn receive(&mut self) -> Result<Trip, Self::Error> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_hangs_is_lost_after_five_seconds() {
    let told = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&told);
    let sharing = Sharing::new(Policy::Adopt).observer(move |_: &Event<'_>| {
        count.fetch_add(1, Ordering::AcqRel);
    });
    let mut work = tokio_test::task::spawn(sharing.run(Hung, |_| None));
    for (after, lost) in [(0, 0), (4999, 0), (2, 1)] {
        tokio::time::advance(ms(after)).await;
        assert!(work.poll().is_pending());
        assert_eq!(told.load(Ordering::Acquire), lost);
    }
}

#[tokio::test(start_paused = true)]
async fn all_observers_of_a_sharing_are_told() {
    let told = Log::default();
    let hears = |name: &'static str| {
        let told = Arc::clone(&told);
        move |event: &Event<'_>| {
            if let Event::FeedLost(_) = event {
                told.lock().unwrap().push(name.to_owned());
            }
        }
    };
    let sharing = Sharing::new(Policy::Adopt)
        .observer(hears("one"))
        .observer(hears("two"));
    let work = sharing.run(Hung, |_| None);
    drop(tokio::time::timeout(secs(6), work).await);
    assert_eq!(*told.lock().unwrap(), ["one", "two"]);
}

/// Takes what is published, counts it, and gives nothing back.
struct Deaf {
    published: Arc<AtomicU32>,
    connects: Arc<AtomicU32>,
}

impl Feed for Deaf {
    type Error = std::io::Error;

    async fn connect(&mut self) -> Result<(), Self::Error> {
        self.connects.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn publish(&mut self, _: &Trip) -> Result<(), Self::Error> {
        self.published.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn echoes(&self) -> bool {
        true
    }

    async fn receive(&mut self) -> Result<Trip, Self::Error> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_does_not_give_back_what_it_was_given_is_lost() {
    let counts = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let feed = Deaf {
        published: Arc::clone(&counts.0),
        connects: Arc::clone(&counts.1),
    };
    let sharing = Sharing::new(Policy::Adopt);
    let breaker = Breaker::builder("test")
        .clock(Clock::tokio())
        .trip(consecutive(1));
    let breaker = breaker.observer(sharing.trips()).build().unwrap();
    breaker.try_acquire().unwrap().failure();
    drop(tokio::time::timeout(secs(7), sharing.run(feed, |_| None)).await);
    assert_eq!(counts.0.load(Ordering::Acquire), 1);
    assert_eq!(counts.1.load(Ordering::Acquire), 2, "connects again");
}

#[tokio::test(start_paused = true)]
async fn what_a_health_check_has_found_out_is_told_to_others() {
    let counts = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let feed = Deaf {
        published: Arc::clone(&counts.0),
        connects: Arc::clone(&counts.1),
    };
    let sharing = Sharing::new(Policy::Adopt);
    let breaker = Breaker::builder("test").clock(Clock::tokio());
    let breaker = breaker.observer(sharing.trips()).build().unwrap();
    let checks = breaker.watch_health(secs(5), async || Err::<(), _>("down"));
    let both = async { tokio::join!(sharing.run(feed, |_| None), checks) };
    drop(tokio::time::timeout(secs(2), both).await);
    assert_eq!(counts.0.load(Ordering::Acquire), 1);
}

#[test]
fn a_sharing_that_is_never_run_keeps_no_breaker() {
    let held = Arc::new(());
    let holds = Arc::clone(&held);
    let sharing = Sharing::new(Policy::Adopt);
    let breaker = Breaker::builder("test")
        .trip(consecutive(1))
        .observer(sharing.trips());
    let breaker = breaker.observer(move |_: &Event<'_>| {
        let _ = &holds;
    });
    let breaker = breaker.build().unwrap();
    breaker.try_acquire().unwrap().failure();
    drop((sharing, breaker));
    assert_eq!(Arc::strong_count(&held), 1);
}
