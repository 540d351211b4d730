//! Flights across processes, on a real Redis: this binary starts itself again as the processes that share.
#![allow(clippy::unwrap_used)]
#![expect(
    clippy::disallowed_methods,
    reason = "what other processes do is waited for by the real clock, and not for ever"
)]

mod process;
mod worker;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use buttress_dedup::{Coordinator, Lease, RedisCoordinator, Seat};
use testkit::server::Redis;

use self::process::Process;

/// More than any test takes: leases that expire by themselves decide nothing.
const LONG: &str = "3600000";

/// After so long there is nothing more to be waited for.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Hears everything that Redis does, in order.
struct Monitor(BufReader<TcpStream>);

impl Monitor {
    fn of(redis: &Redis) -> Self {
        let mut connection = TcpStream::connect(redis.address()).unwrap();
        connection.set_read_timeout(Some(A_MINUTE)).unwrap();
        connection.write_all(b"MONITOR\r\n").unwrap();
        let mut monitor = Self(BufReader::new(connection));
        monitor.until(&["+OK"]);
        monitor
    }

    /// Waits for a line with all of these in it.
    fn until(&mut self, words: &[&str]) {
        let begun = Instant::now();
        while begun.elapsed() < A_MINUTE {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "redis is gone");
            if words.iter().all(|word| line.contains(word)) {
                return;
            }
        }
        panic!("nobody says {words:?}, and others go on");
    }

    /// Waits for another process to register for a result.
    fn until_somebody_waits(&mut self) {
        self.until(&["\"SADD\"", ":waiters\""]);
    }
}

/// Two processes with a hundred requests each; the first of them holds the lease, the second waits.
fn two_of_a_hundred(redis: &Redis, lease: &str) -> (Process, Process) {
    let mut monitor = Monitor::of(redis);
    let (mut holder, mut waiter) = (Process::start(redis, lease), Process::start(redis, lease));
    holder.say("send 100");
    holder.hears("call");
    waiter.say("send 100");
    monitor.until_somebody_waits();
    (holder, waiter)
}

#[test]
fn two_hundred_requests_of_two_processes_are_one_call() {
    let redis = Redis::start().unwrap();
    let (mut holder, mut waiter) = two_of_a_hundred(&redis, LONG);
    holder.say("answer");
    holder.hears("done 100 of 100, 1 calls");
    waiter.hears("done 100 of 100, 0 calls");
    assert_eq!(redis.ask("DBSIZE").unwrap(), ":0", "nothing is stored");
}

#[test]
fn two_hundred_requests_are_two_calls_when_redis_is_killed_in_the_middle() {
    let mut redis = Redis::start().unwrap();
    let (mut holder, mut waiter) = two_of_a_hundred(&redis, LONG);
    redis.kill();
    waiter.hears("call");
    waiter.say("answer");
    waiter.hears("done 100 of 100, 1 calls");
    holder.say("answer");
    holder.hears("done 100 of 100, 1 calls");

    // When it is back they share again. The first who ask may still find the old connection.
    redis.restart().unwrap();
    // A lease that could not be given back while it was away is there again with it, for an hour.
    redis.ask("FLUSHALL").unwrap();
    for process in [&mut holder, &mut waiter] {
        for _ in 0..2 {
            process.say("send 1");
            process.hears("call");
            process.say("answer");
            process.hears("done 1 of 1, 1 calls");
            until_nothing_is_held(&redis);
        }
    }
    let mut monitor = Monitor::of(&redis);
    holder.say("send 1");
    holder.hears("call");
    waiter.say("send 1");
    monitor.until_somebody_waits();
    holder.say("answer");
    holder.hears("done 1 of 1, 1 calls");
    waiter.hears("done 1 of 1, 0 calls");
}

/// A process that is done says so while its lease is still being given back: who asks then gets its result.
fn until_nothing_is_held(redis: &Redis) {
    let begun = Instant::now();
    while redis.ask("DBSIZE").unwrap() != ":0" {
        assert!(begun.elapsed() < A_MINUTE, "something is held");
    }
}

#[test]
fn a_holder_that_is_killed_is_replaced_when_its_lease_expires() {
    let redis = Redis::start().unwrap();
    // Long enough that no busy machine keeps its holder from renewing it until the other waits.
    let (holder, mut waiter) = two_of_a_hundred(&redis, "6000");
    drop(holder);
    waiter.hears("call");
    waiter.say("answer");
    waiter.hears("done 100 of 100, 1 calls");
}

#[test]
fn a_holder_that_gives_up_is_replaced_at_once() {
    let redis = Redis::start().unwrap();
    let (mut holder, mut waiter) = two_of_a_hundred(&redis, LONG);
    holder.say("abort");
    waiter.hears("call");
    waiter.say("answer");
    waiter.hears("done 100 of 100, 1 calls");
}

#[test]
fn a_lease_is_renewed_while_its_holder_works() {
    let redis = Redis::start().unwrap();
    let mut monitor = Monitor::of(&redis);
    // Long enough that no busy machine keeps its holder from renewing it in time: after each third there are twelve seconds to do so.
    let (mut holder, mut waiter) = two_of_a_hundred(&redis, "18000");
    for _ in 0..2 {
        monitor.until(&["\"PEXPIRE\"", ":lease\""]);
    }
    holder.say("answer");
    holder.hears("done 100 of 100, 1 calls");
    waiter.hears("done 100 of 100, 0 calls");
}

#[test]
fn what_is_not_for_others_sends_them_to_work_at_once() {
    let redis = Redis::start().unwrap();
    let (mut holder, mut waiter) = two_of_a_hundred(&redis, LONG);
    holder.say("answer large");
    holder.hears("done 100 of 100, 1 calls");
    waiter.hears("call");
    waiter.say("answer");
    waiter.hears("done 100 of 100, 1 calls");
}

#[test]
fn without_redis_everything_goes_on() {
    let mut redis = Redis::start().unwrap();
    redis.kill();
    let mut process = Process::start(&redis, LONG);
    process.say("send 100");
    process.hears("call");
    process.say("answer");
    process.hears("done 100 of 100, 1 calls");
}

/// The coordinators of two processes, of which the second waits for no longer than this.
fn two(redis: &Redis, wait: Duration) -> (RedisCoordinator, RedisCoordinator) {
    let open = |wait| {
        let builder = RedisCoordinator::builder().wait(wait).lease(A_DAY);
        builder.patience(AN_HOUR).open(&redis.url()).unwrap()
    };
    (open(AN_HOUR), open(wait))
}

const AN_HOUR: Duration = Duration::from_secs(3600);
const A_DAY: Duration = Duration::from_secs(24 * 3600);

async fn lead(coordinator: &RedisCoordinator, key: &[u8]) -> Box<dyn Lease> {
    match coordinator.join(key, None).await {
        Seat::Lead(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_whose_holder_takes_long_is_no_reason_to_shun_redis() {
    let redis = Redis::start().unwrap();
    let (holder, other) = two(&redis, Duration::from_millis(1));
    let _slow = lead(&holder, b"slow").await;
    let seat = other.join(b"slow", None).await;
    assert!(matches!(seat, Seat::Local(Some(_))), "{seat:?}");
    drop(lead(&other, b"another").await);
}

#[tokio::test]
async fn no_time_is_too_long() {
    let redis = Redis::start().unwrap();
    let open = || {
        let builder = RedisCoordinator::builder().lease(Duration::MAX);
        let builder = builder.wait(Duration::MAX).patience(Duration::MAX);
        builder.cool_off(Duration::MAX).open(&redis.url()).unwrap()
    };
    let (holder, other) = (open(), open());
    let mut lease = lead(&holder, b"key").await;
    let mut monitor = Monitor::of(&redis);
    let waiter = other.clone();
    let waits = tokio::spawn(async move { waiter.join(b"key", Some(Duration::MAX)).await });
    let waited = tokio::task::spawn_blocking(move || monitor.until_somebody_waits());
    waited.await.unwrap();
    lease.publish_within(Duration::MAX);
    lease.publish("value".into());
    assert!(matches!(waits.await.unwrap(), Seat::Received(_)));
    drop(redis);
    let told = other.join(b"key", None).await;
    assert!(matches!(told, Seat::Local(Some(_))), "{told:?}");
    let shunned = other.join(b"key", None).await;
    assert!(matches!(shunned, Seat::Local(None)), "{shunned:?}");
}

#[tokio::test]
async fn a_holder_that_is_too_old_is_not_waited_for() {
    let redis = Redis::start().unwrap();
    let (holder, other) = two(&redis, Duration::from_millis(1));
    let _old = lead(&holder, b"key").await;
    // Until it is older than a millisecond; before that, it has waited for it.
    let millisecond = Some(Duration::from_millis(1));
    while !matches!(other.join(b"key", millisecond).await, Seat::Local(None)) {}
    let seat = other.join(b"key", Some(AN_HOUR)).await;
    assert!(matches!(seat, Seat::Local(Some(_))), "it waited: {seat:?}");
}

#[tokio::test]
async fn what_is_not_published_within_its_time_is_declined() {
    let redis = Redis::start().unwrap();
    let (holder, other) = two(&redis, AN_HOUR);
    let mut lease = lead(&holder, b"key").await;
    let mut monitor = Monitor::of(&redis);
    let waits = tokio::spawn(async move { other.join(b"key", None).await });
    let waits = tokio::task::spawn_blocking(move || {
        monitor.until_somebody_waits();
        waits
    });
    let waits = waits.await.unwrap();
    lease.publish_within(Duration::ZERO);
    assert!(matches!(waits.await.unwrap(), Seat::Local(None)));
    // What comes too late is for nobody.
    lease.publish("late".into());
    holder.tasks().drain().await;
}

#[tokio::test]
async fn a_claim_that_is_dropped_under_way_is_taken_back() {
    let redis = Redis::start().unwrap();
    let (first, second) = two(&redis, AN_HOUR);
    // Connected, so that the next claim goes out when it is first polled.
    drop(lead(&first, b"another").await);
    let mut claim = Box::pin(first.join(b"key", None));
    let polled =
        std::future::poll_fn(|cx| std::task::Poll::Ready(claim.as_mut().poll(cx).is_ready()));
    assert!(!polled.await);
    drop(claim);
    first.tasks().drain().await;
    drop(lead(&second, b"key").await);
}

#[tokio::test]
async fn who_has_lost_its_lease_says_nothing_to_those_who_wait_for_another() {
    let redis = Redis::start().unwrap();
    let (first, second) = two(&redis, AN_HOUR);
    let stale = lead(&first, b"key").await;
    redis.ask("FLUSHALL").unwrap();
    let lease = lead(&second, b"key").await;
    let third = two(&redis, AN_HOUR).0;
    let mut monitor = Monitor::of(&redis);
    let waits = tokio::spawn(async move { third.join(b"key", None).await });
    let waited = tokio::task::spawn_blocking(move || monitor.until_somebody_waits());
    waited.await.unwrap();
    stale.publish("stale".into());
    first.tasks().drain().await;
    lease.publish("fresh".into());
    let seat = waits.await.unwrap();
    assert!(
        matches!(&seat, Seat::Received(value) if value == "fresh"),
        "{seat:?}"
    );
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_no_longer_than_its_patience() {
    let redis = Redis::start().unwrap();
    let (holder, other) = two(&redis, A_DAY);
    let _lease = lead(&holder, b"key").await;
    let mut monitor = Monitor::of(&redis);
    let waits = tokio::spawn(async move { other.join(b"key", None).await });
    let waited = tokio::task::spawn_blocking(move || monitor.until_somebody_waits());
    waited.await.unwrap();
    stop(&redis);
    // It says nothing from here on: the next that happens is that somebody's time is over.
    let stopped = tokio::time::Instant::now();
    tokio::time::pause();
    let seat = waits.await.unwrap();
    assert!(matches!(seat, Seat::Local(Some(_))), "{seat:?}");
    assert!(stopped.elapsed() <= 2 * AN_HOUR + Duration::from_secs(60));
}

#[tokio::test]
async fn a_redis_that_is_asked_and_answers_is_waited_for_on() {
    let redis = Redis::start().unwrap();
    let (holder, other) = two(&redis, A_DAY);
    let lease = lead(&holder, b"key").await;
    let mut monitor = Monitor::of(&redis);
    let waiter = other.clone();
    let waits = tokio::spawn(async move { waiter.join(b"key", None).await });
    let waited = tokio::task::spawn_blocking(move || monitor.until_somebody_waits());
    waited.await.unwrap();
    tokio::time::pause();
    // As long as this runs, time goes on only where it is said to.
    let (end, until_the_end) = std::sync::mpsc::channel::<()>();
    let runs = tokio::task::spawn_blocking(move || until_the_end.recv().unwrap_err());
    let mut hours = 0;
    while pings(&redis) < 2 {
        // It waits for a day.
        assert!(hours < 20, "it does not ask");
        hours += 1;
        tokio::time::advance(AN_HOUR + Duration::from_secs(1)).await;
        // In these the question is asked, or answered: all go one way.
        for _ in 0..2 {
            drop(lead(&other, b"another").await);
        }
    }
    tokio::time::resume();
    drop(end);
    runs.await.unwrap();
    lease.publish("value".into());
    assert!(matches!(waits.await.unwrap(), Seat::Received(_)));
}

/// How often it was asked whether it is there.
fn pings(redis: &Redis) -> u32 {
    let stats = redis.ask("INFO commandstats").unwrap();
    let of_ping = stats.split_once("cmdstat_ping:calls=");
    of_ping.map_or(0, |(_, stat)| {
        let (calls, _) = stat.split_once(',').unwrap();
        calls.parse().unwrap()
    })
}

/// Stops the server as a debugger does: its connections stay.
fn stop(redis: &Redis) {
    let info = redis.ask("INFO").unwrap();
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("process_id:"));
    let mut kill = std::process::Command::new("kill");
    let stopped = kill.args(["-STOP", pid.unwrap().trim()]).status();
    assert!(stopped.unwrap().success());
}

#[tokio::test]
async fn a_redis_that_is_gone_is_not_asked_for_a_while() {
    let redis = Redis::start().unwrap();
    let builder = RedisCoordinator::builder().cool_off(AN_HOUR);
    let coordinator = builder.patience(AN_HOUR).open(&redis.url()).unwrap();
    drop(redis);
    let told = coordinator.join(b"key", None).await;
    assert!(matches!(told, Seat::Local(Some(_))), "{told:?}");
    let shunned = coordinator.join(b"other", None).await;
    assert!(matches!(shunned, Seat::Local(None)), "{shunned:?}");
}
