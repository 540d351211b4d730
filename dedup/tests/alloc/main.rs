//! What flights allocate, as assertions. A binary of its own, since the allocator counts for the whole process.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use buttress_dedup::{DedupLayer, Flights, Role, Wait};
use testkit::alloc::{Counting, count};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `f` allocates, when it is repeated so often that all tables have their size.
fn once_warm(mut f: impl FnMut(u64)) -> u64 {
    (0..1000).for_each(&mut f);
    let (allocations, ()) = count(|| (0..1000).for_each(f));
    allocations.count / 1000
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_leader_without_followers_allocates_nothing() {
    let flights = Flights::<u64, u64>::new();
    let fly = |key| match flights.join(key) {
        Role::Leader(leader) => leader.complete(key),
        other => panic!("{other:?}"),
    };
    assert_eq!(once_warm(fly), 0);
    // Nor beside others, where the table has room for it.
    let _others = (1000..1100)
        .map(|key| flights.join(key))
        .collect::<Vec<_>>();
    assert_eq!(once_warm(fly), 0);
}

#[test]
fn work_around_a_future_allocates_nothing() {
    let flights = Flights::<u64, u64>::new();
    let fly = |key| {
        let mut run = std::pin::pin!(flights.run(key, || std::future::ready(key)));
        assert!(poll(&mut run).is_ready());
    };
    assert_eq!(once_warm(fly), 0);
}

#[test]
fn a_call_through_the_generic_layer_allocates_nothing() {
    let layer = DedupLayer::new(|key: &u64| Some(*key));
    let service = tower::service_fn(|key: u64| std::future::ready(Ok::<_, ()>(key)));
    let mut service = layer.layer(service);
    let fly = |key| {
        let mut call = std::pin::pin!(service.call(key));
        assert!(poll(&mut call).is_ready());
    };
    assert_eq!(once_warm(fly), 0);
}

/// Who asks for the like of what was private a moment ago: no key is kept, and no flight is made.
#[cfg(feature = "http")]
#[test]
fn a_request_that_passes_allocates_what_tells_its_flight() {
    use std::convert::Infallible;

    use buttress_dedup::http::Flight;
    use bytes::Bytes;
    use http::{HeaderValue, Request, Response};
    use http_body_util::{Empty, Full};

    let response = || {
        let mut response = Response::new(Full::new(Bytes::from_static(b"own")));
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert("cache-control", no_store);
        response
    };
    let inner = move |_: Request<Empty<Bytes>>| std::future::ready(Ok::<_, Infallible>(response()));
    let mut service = buttress_dedup::http::DedupLayer::http().layer(tower::service_fn(inner));
    let mut ask = move || {
        let request = Request::get("/a").header("accept", "text/html");
        let mut call = std::pin::pin!(service.call(request.body(Empty::new()).unwrap()));
        let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("nothing here waits")
        };
        assert_eq!(response.extensions().get(), Some(&Flight::Alone));
    };
    let bare = once_warm(|_| {
        let request = Request::get("/a").header("accept", "text/html");
        drop((request.body(()).unwrap(), response()));
    });
    // A map of extensions, its table, and what is in it.
    assert_eq!(once_warm(|_| ask()), bare + 3);
}

#[test]
fn followers_cost_their_flight_a_few_and_themselves_none() {
    const FOLLOWERS: u64 = 1024;
    let flights = Flights::<u64, u64>::new();
    let mut waits = Vec::with_capacity(FOLLOWERS as usize);
    let fly = |key| {
        let Role::Leader(leader) = flights.join(key) else {
            unreachable!("nobody else is here")
        };
        for _ in 0..FOLLOWERS {
            match flights.join(key) {
                Role::Follower(wait) => waits.push(wait),
                other => panic!("{other:?}"),
            }
        }
        waits
            .iter_mut()
            .for_each(|wait| assert!(poll(wait).is_pending()));
        leader.complete(key);
        for mut wait in waits.drain(..) {
            assert!(poll(&mut wait).is_ready());
        }
    };
    let mut fly = fly;
    (0..100).for_each(&mut fly);
    let (allocations, ()) = count(|| fly(0));
    // Their line, what a timer would point to, and a queue that doubles nine times.
    assert!(allocations.count <= 11, "{allocations:?}");
}

/// Who waits holds its line and its ticket.
#[test]
fn a_wait_is_two_words() {
    assert_eq!(size_of::<Wait<String, String>>(), 2 * size_of::<usize>());
}

/// What a caller's task holds: its work, and a little of ours. Whoever is spawned pays for it twice, to make it and to move it.
#[test]
fn the_future_of_a_flight_is_little_larger_than_its_work() {
    let flights = Flights::<u64, u64>::new();
    let work = || async {
        let held = [0_u8; 256];
        std::future::pending::<()>().await;
        held.len() as u64
    };
    let (run, own) = (size_of_val(&flights.run(1, work)), size_of_val(&work()));
    assert!(run <= own + 96, "{run} bytes for work of {own}");
}
