use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_circuit::{Breaker, CircuitLayer, State, Window, consecutive, failure_rate};
use buttress_dedup::DedupLayer;
use buttress_trace_ctx::TraceLayer;
use examples::retry::SafeRetries;
use futures_util::future::join_all;
use http::StatusCode;
use http::header::CACHE_CONTROL;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::limit::ConcurrencyLimitLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;

use crate::kit::Order::{self, Documented, Swapped};
use crate::kit::{Client, Count, Records};

/// A while, on a clock that is paused: it is over when nothing else can happen.
const A_WHILE: Duration = Duration::from_secs(3600);

fn cache() -> HttpCacheLayer {
    HttpCacheLayer::new(CachedResponse::cache().build())
}

fn breaker(failures: u32) -> Breaker {
    let breaker = Breaker::builder("shop").trip(consecutive(failures));
    breaker.build().unwrap()
}

fn retry() -> RetryLayer<SafeRetries> {
    RetryLayer::new(SafeRetries::default())
}

fn fresh() -> Response {
    ([(CACHE_CONTROL, "max-age=60")], "page").into_response()
}

/// Answers with a page that may be kept; `/hangs` never.
fn shop() -> Client {
    shop_where(&Count::default())
}

/// The same, and `hanging` counts what hangs.
fn shop_where(hanging: &Count) -> Client {
    let hanging = hanging.clone();
    Client::of(move |request| {
        let hangs = request.uri().path() == "/hangs";
        let hanging = hanging.clone();
        async move {
            if hangs {
                hanging.up();
                pending::<()>().await;
            }
            fresh()
        }
    })
}

fn broken() -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

#[tokio::test]
async fn the_cache_outside_of_the_breaker_serves_what_it_has_while_it_is_open() {
    let status = async |order: Order| {
        let breaker = breaker(1);
        let circuit = CircuitLayer::http(breaker.clone());
        let client = within!(shop(), order, outer: cache(), inner: circuit);
        client.get("/").await.unwrap();
        breaker.force_open();
        client.get("/").await.unwrap().status
    };
    assert_eq!(status(Documented).await, 200);
    assert_eq!(status(Swapped).await, 503, "though the page is there");
}

#[tokio::test]
async fn the_cache_outside_of_trace_makes_no_span_for_a_call_that_is_not_made() {
    let spans = async |order: Order| {
        let records = Records::default();
        let trace = TraceLayer::client().sink(records.sink());
        let client = within!(shop(), order, outer: cache(), inner: trace);
        client.get("/").await.unwrap();
        client.get("/").await.unwrap();
        records.statuses().len()
    };
    assert_eq!(spans(Documented).await, 1);
    assert_eq!(spans(Swapped).await, 2);
}

/// Takes the only slot.
async fn take_the_slot(client: &Client, hanging: &Count) {
    let client = client.clone();
    tokio::spawn(async move { client.get("/hangs").await.map(drop) });
    while hanging.get() == 0 {
        tokio::task::yield_now().await;
    }
}

/// What comes of it, if anything ever does.
async fn ever(client: &Client) -> Option<u16> {
    let answer = timeout(A_WHILE, client.get("/")).await;
    answer.ok().map(|answer| answer.unwrap().status)
}

#[tokio::test(start_paused = true)]
async fn the_cache_outside_of_the_limit_needs_no_slot_for_a_hit() {
    let status = async |order: Order| {
        let limit = ConcurrencyLimitLayer::new(1);
        let hanging = Count::default();
        let shop = shop_where(&hanging);
        let client = within!(shop, order, outer: cache(), inner: limit);
        client.get("/").await.unwrap();
        take_the_slot(&client, &hanging).await;
        ever(&client).await
    };
    assert_eq!(status(Documented).await, Some(200));
    assert_eq!(
        status(Swapped).await,
        None,
        "it waits for a slot to do nothing"
    );
}

#[tokio::test]
async fn the_cache_outside_of_dedup_makes_no_flight_for_a_hit() {
    let flights = async |order: Order| {
        let dedup = DedupLayer::http();
        let client = within!(shop(), order, outer: cache(), inner: dedup.clone());
        client.get("/").await.unwrap();
        client.get("/").await.unwrap();
        dedup.snapshot().led
    };
    assert_eq!(flights(Documented).await, 1);
    assert_eq!(flights(Swapped).await, 2);
}

#[tokio::test(start_paused = true)]
async fn dedup_outside_of_retry_spends_one_retry_on_what_many_share() {
    // More than the budget has.
    const MANY: usize = 200;
    let served = async |order: Order| {
        let (gate, calls) = (watch::Sender::new(false), Count::default());
        let wait = gate.clone();
        let shop = Client::of(move |_| {
            let fails = calls.up() == 0;
            let mut gate = wait.subscribe();
            async move {
                gate.wait_for(|open| *open).await.unwrap();
                if fails { broken() } else { fresh() }
            }
        });
        let client = within!(shop, order, outer: DedupLayer::http(), inner: retry());
        let (answers, ()) = tokio::join!(join_all((0..MANY).map(|_| client.get("/"))), async {
            tokio::task::yield_now().await;
            gate.send_replace(true);
        });
        let answers = answers.into_iter().map(Result::unwrap);
        answers.filter(|answer| answer.status == 200).count()
    };
    assert_eq!(served(Documented).await, MANY);
    assert!(served(Swapped).await < MANY, "the budget is spent");
}

#[tokio::test]
async fn dedup_outside_of_the_breaker_counts_a_failure_that_many_share_once() {
    let state = async |order: Order| {
        let (gate, calls, breaker) = (watch::Sender::new(false), Count::default(), breaker(5));
        let (wait, count) = (gate.clone(), calls.clone());
        let shop = Client::of(move |_| {
            count.up();
            let mut gate = wait.subscribe();
            async move {
                gate.wait_for(|open| *open).await.unwrap();
                broken()
            }
        });
        let circuit = CircuitLayer::http(breaker.clone());
        let client = within!(shop, order, outer: DedupLayer::http(), inner: circuit);
        let (answers, ()) = tokio::join!(join_all((0..10).map(|_| client.get("/"))), async {
            tokio::task::yield_now().await;
            gate.send_replace(true);
        });
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap().status == 500)
        );
        assert_eq!(calls.get(), 1);
        breaker.state()
    };
    assert_eq!(state(Documented).await, State::Closed);
    assert_eq!(state(Swapped).await, State::Open, "of one failure, ten");
}

/// Fails whenever it is asked for the first time.
fn fails_at_first(seen: &Arc<Mutex<Vec<String>>>) -> Client {
    let (calls, seen) = (Count::default(), seen.clone());
    Client::of(move |request| {
        let parent = request.headers().get("traceparent");
        let parent = parent.map_or("", |parent| parent.to_str().unwrap());
        seen.lock().unwrap().push(parent.to_owned());
        let fails = calls.up().is_multiple_of(2);
        async move { if fails { broken() } else { fresh() } }
    })
}

#[tokio::test]
async fn retry_outside_of_the_breaker_has_each_attempt_judged_by_itself() {
    let state = async |order: Order| {
        let half = failure_rate(0.5).over(Window::calls(8)).min_calls(8);
        let breaker = Breaker::builder("shop").trip(half).build().unwrap();
        let circuit = CircuitLayer::http(breaker.clone());
        let shop = fails_at_first(&Arc::default());
        let client = within!(shop, order, outer: retry(), inner: circuit);
        for _ in 0..8 {
            let status = client.get("/").await.unwrap().status;
            assert!(status == 200 || breaker.state() == State::Open);
        }
        breaker.state()
    };
    assert_eq!(state(Documented).await, State::Open);
    assert_eq!(
        state(Swapped).await,
        State::Closed,
        "it sees no failure, of eight"
    );
}

#[tokio::test]
async fn retry_outside_of_trace_makes_a_span_of_each_attempt() {
    let spans = async |order: Order| {
        let (records, seen) = (Records::default(), Arc::default());
        let trace = TraceLayer::client().sink(records.sink());
        let client = within!(fails_at_first(&seen), order, outer: retry(), inner: trace);
        client.get("/").await.unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        (records.statuses(), seen[0] == seen[1])
    };
    assert_eq!(spans(Documented).await, (vec![500, 200], false));
    let one = (vec![200], true);
    assert_eq!(spans(Swapped).await, one, "the failure is not in the trace");
}

#[tokio::test]
async fn trace_outside_of_the_breaker_has_a_record_of_what_it_refuses() {
    let told = async |order: Order| {
        let (records, breaker) = (Records::default(), breaker(1));
        let trace = TraceLayer::client().sink(records.sink());
        let circuit = CircuitLayer::http(breaker.clone());
        let client = within!(shop(), order, outer: trace, inner: circuit);
        breaker.force_open();
        client.get("/").await.unwrap();
        records.statuses()
    };
    assert_eq!(told(Documented).await, [503]);
    assert_eq!(told(Swapped).await, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_outside_of_the_limit_refuses_without_a_slot() {
    let refused = async |order: Order| {
        let breaker = breaker(1);
        let circuit = CircuitLayer::http(breaker.clone());
        let limit = ConcurrencyLimitLayer::new(1);
        let hanging = Count::default();
        let shop = shop_where(&hanging);
        let client = within!(shop, order, outer: circuit, inner: limit);
        take_the_slot(&client, &hanging).await;
        breaker.force_open();
        ever(&client).await
    };
    assert_eq!(refused(Documented).await, Some(503));
    assert_eq!(
        refused(Swapped).await,
        None,
        "it waits behind what is broken"
    );
}

#[tokio::test(start_paused = true)]
async fn the_breaker_outside_of_the_timeout_sees_it_as_a_failure() {
    let state = async |order: Order| {
        let breaker = breaker(3);
        let circuit = CircuitLayer::http(breaker.clone());
        let limit = TimeoutLayer::new(Duration::from_secs(1));
        let client = within!(shop(), order, outer: circuit, inner: limit);
        for _ in 0..3 {
            assert!(client.get("/hangs").await.is_err());
        }
        breaker.state()
    };
    assert_eq!(state(Documented).await, State::Open);
    assert_eq!(
        state(Swapped).await,
        State::Closed,
        "it sees callers who went away"
    );
}
