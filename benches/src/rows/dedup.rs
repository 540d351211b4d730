//! Flights: what every call pays, what a follower pays, and what the layers add.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use buttress_dedup::{DedupLayer, Flights, Role, Wait};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tower_layer::Layer;
use tower_service::Service;

use super::http::{Fixed, request, response};
use crate::kit::{Budget, Call, Row, Work, Zero, body_to_end, call};

/// By a number, and by what the key of a small HTTP request looks like.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "dedup/leader/ours",
        budget: Some(Budget::new(80.0, 0)),
        zero: Zero::over(|| Work::new(|| 42_u64)),
        work: || leader(|| 42_u64),
    }),
    Row::Call(Call {
        id: "dedup/leader/ours-text",
        budget: Some(Budget::new(80.0, 0)),
        zero: Zero::over(|| Work::new(text)).named("bare-text"),
        work: || leader(text),
    }),
    // 150 ns for each follower. What is allocated is their queue, which doubles, for all of them.
    Row::Call(Call {
        id: "dedup/followers/64",
        budget: Some(Budget::new(64.0 * 150.0, 8)),
        zero: Zero::over(|| leader(|| 42_u64)),
        work: || followers(64),
    }),
    Row::Call(Call {
        id: "dedup/followers/1000",
        budget: Some(Budget::new(1000.0 * 150.0, 12)),
        zero: Zero::over(|| leader(|| 42_u64)),
        work: || followers(1000),
    }),
    Row::Call(Call {
        id: "dedup/run/ours",
        budget: None,
        zero: Zero::over(|| Work::new(|| 42_u64)),
        work: run,
    }),
    Row::Call(Call {
        id: "dedup/layer/ours",
        budget: None,
        zero: Zero::over(|| exchange(Echo)),
        work: || exchange(DedupLayer::new(|key: &u64| Some(*key)).layer(Echo)),
    }),
    Row::Call(Call {
        id: "dedup/http/ours",
        budget: None,
        zero: Zero::over(|| http_exchange(Fixed::new(response(1 << 10)))),
        work: || http_exchange(DedupLayer::http().layer(Fixed::new(response(1 << 10)))),
    }),
];

fn text() -> String {
    String::from("GET shop.example/products/42")
}

fn leader<K: Eq + Hash + 'static>(key: impl Fn() -> K + 'static) -> Work {
    let flights = Flights::<K, u64>::new();
    Work::new(move || match flights.join(key()) {
        Role::Leader(leader) => leader.complete(7),
        _ => unreachable!("nobody else is here"),
    })
}

/// A flight with so many followers, who each wait, are woken and take the value.
pub(crate) fn followers(count: usize) -> Work {
    let waiters = NonZeroUsize::new(count).expect("somebody waits");
    let flights = Flights::<(), ()>::builder().max_waiters(waiters).build();
    let mut waits = Vec::with_capacity(count);
    Work::new(move || {
        let Role::Leader(leader) = flights.join(42) else {
            unreachable!("nobody else is here")
        };
        waits.extend((0..count).map(|_| follow(&flights)));
        leader.complete(7);
        for mut wait in waits.drain(..) {
            assert!(poll(&mut wait).is_ready());
        }
    })
}

fn follow(flights: &Flights<u64, u64>) -> Wait<u64, u64> {
    let Role::Follower(mut wait) = flights.join(42) else {
        unreachable!("somebody leads")
    };
    assert!(poll(&mut wait).is_pending());
    wait
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn run() -> Work {
    let flights = Flights::<u64, u64>::new();
    Work::new(move || {
        let mut run = pin!(flights.run(42, || ready(7)));
        poll(&mut run)
    })
}

/// Answers with what it was asked.
#[derive(Clone, Copy, Debug)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

fn exchange<S: Service<u64> + 'static>(mut service: S) -> Work {
    Work::new(move || call(&mut service, 42).is_ok())
}

/// A leader whom nobody follows, and its body read to the end.
fn http_exchange<S, B>(mut service: S) -> Work
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body,
{
    let request = request(&[]);
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}
