//! Trips shared over a real Redis.

use std::sync::Arc;

use buttress_circuit::feed::{Policy, RedisFeed, Sharing};
use buttress_circuit::{Backoff, Breaker, Event, State, consecutive};
use testkit::server::Redis;
use tokio::sync::{mpsc, watch};

use super::{fail, secs};

/// A process, and what it hears of.
struct Process {
    breaker: Breaker,
    opened: watch::Receiver<u32>,
    feed: mpsc::UnboundedReceiver<bool>,
    work: tokio::task::JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn process(feed: RedisFeed) -> Process {
    let (opened, is_opened) = watch::channel(0);
    let (states, heard) = mpsc::unbounded_channel();
    let sharing = Sharing::new(Policy::Adopt).observer(move |event: &Event<'_>| {
        let _ = match event {
            Event::FeedLost(_) => states.send(false),
            Event::FeedRestored => states.send(true),
            _ => Ok(()),
        };
    });
    let breaker = Breaker::builder("shared")
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(600)))
        .observer(sharing.trips())
        .observer(move |event: &Event<'_>| {
            if let Event::Transition(_, transition) = event
                && transition.to == State::Open
            {
                opened.send_modify(|times| *times += 1);
            }
        })
        .build()
        .unwrap();
    let known = Arc::new(breaker.clone());
    let work = sharing.run(feed, move |name| {
        (name == "shared").then(|| Breaker::clone(&known))
    });
    Process {
        breaker,
        opened: is_opened,
        feed: heard,
        work: tokio::spawn(async move { match work.await {} }),
    }
}

/// Until so many listen to the channel.
async fn listeners(redis: &Redis, count: usize) {
    while !redis
        .ask("PUBSUB NUMSUB trips")
        .is_ok_and(|reply| reply.ends_with(&format!(":{count}")))
    {
        tokio::task::yield_now().await;
    }
}

async fn both_open(here: &mut Process, there: &mut Process, times: u32) {
    fail(&here.breaker, 1);
    there
        .opened
        .wait_for(|opened| *opened == times)
        .await
        .unwrap();
    assert_eq!(there.breaker.state(), State::Open);
}

#[test]
fn a_feed_is_opened_by_its_url_whether_redis_is_there_or_not() {
    let nobody = RedisFeed::open("redis://127.0.0.1:1/", "trips").unwrap();
    assert!(format!("{nobody:?}").contains("trips"));
    assert!(RedisFeed::open("127.0.0.1", "trips").is_err());
}

#[tokio::test]
async fn a_killed_redis_changes_nothing_and_sharing_goes_on_after_its_restart() {
    let mut redis = Redis::start().unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut here = process(RedisFeed::new(client, "trips"));
    let mut there = process(RedisFeed::open(&redis.url(), "trips").unwrap());
    listeners(&redis, 2).await;
    both_open(&mut here, &mut there, 1).await;

    here.breaker.reset();
    there.breaker.reset();
    redis.kill();
    for process in [&mut here, &mut there] {
        assert_eq!(process.feed.recv().await, Some(false), "lost");
        assert_eq!(process.breaker.state(), State::Closed);
        assert!(process.breaker.try_acquire().is_ok());
    }
    fail(&there.breaker, 1);
    assert_eq!(there.breaker.state(), State::Open, "it decides alone");
    there.breaker.reset();

    redis.restart().unwrap();
    for process in [&mut here, &mut there] {
        assert_eq!(process.feed.recv().await, Some(true), "restored");
    }
    listeners(&redis, 2).await;
    both_open(&mut there, &mut here, 2).await;
}
