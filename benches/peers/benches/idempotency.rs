//! A keyed `POST` of 256 bytes through an axum router, answered with one of a kibibyte: a first request, and a replay, both from memory.
//!
//! axum-idempotent needs a session, and is set up with one as its documentation shows; `bare-session` is the same router with the session alone. It takes the key as it is, and
//! compares no bodies.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "../../src/rows/fleeting.rs"]
mod fleeting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{any, post};
use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use ruts::store::Ttl;
use ruts::store::moka::MokaStore;
use ruts::{CookieOptions, Session, SessionLayer};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use tower_cookies::CookieManagerLayer;

use fleeting::Fleeting;
use peers::together;

fn orders() -> Router {
    let body = bytes::Bytes::from(vec![b'x'; 1024]);
    Router::new().route("/orders", post(move |_: bytes::Bytes| async move { body }))
}

fn ours() -> Router {
    orders().layer(IdempotencyLayer::new(MemoryStore::new()).scope(|request| {
        request
            .headers
            .get("x-user")
            .map_or(&b""[..], |user| user.as_bytes())
            .into()
    }))
}

fn ours_first() -> Router {
    orders().layer(IdempotencyLayer::new(Fleeting::default()).single_tenant())
}

fn with_session(router: Router) -> Router {
    let store = Arc::new(MokaStore::builder().build());
    let sign_in = |session: Session<MokaStore>| async move {
        let user = String::from("ada");
        session
            .set("user", &user, Ttl::new(3600).unwrap(), None)
            .await
            .unwrap();
    };
    router
        .route("/sign-in", any(sign_in))
        .layer(SessionLayer::new(store).with_cookie_options(CookieOptions::build().name("session")))
        .layer(CookieManagerLayer::new())
}

fn axum_idempotent() -> Router {
    let options = IdempotentOptions::default()
        .use_idempotency_key_header(Some("Idempotency-Key"), true)
        .expire_after(60 * 5);
    with_session(orders().layer(IdempotentLayer::<MokaStore>::new(options)))
}

fn order(key: u32, cookie: &HeaderValue) -> Request<Body> {
    Request::post("/orders")
        .header("host", "shop.example")
        .header("content-type", "application/json")
        .header("idempotency-key", HeaderValue::from(key))
        .header("x-user", "ada")
        .header(COOKIE, cookie)
        .body(Body::from(vec![b'x'; 256]))
        .unwrap()
}

async fn sign_in(router: &Router) -> HeaderValue {
    let request = Request::post("/sign-in").body(Body::empty()).unwrap();
    let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
    let cookie = response.headers().get(SET_COOKIE).cloned();
    let cookie = cookie.unwrap_or(HeaderValue::from_static("session=none"));
    let pair = cookie.to_str().unwrap().split(';').next().unwrap();
    HeaderValue::from_str(pair).unwrap()
}

/// Keys go round, so that what peers keep does not grow without end.
const KEYS: u32 = 4096;

/// Sends the same again and again, from a runtime of its own.
fn again(router: &Router, cookie: &HeaderValue) -> impl FnMut() + Send + use<> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (router, cookie) = (router.clone(), cookie.clone());
    move || {
        runtime.block_on(async {
            let call = router.clone().oneshot(order(0, &cookie));
            let body = call.await.unwrap().into_body().collect().await;
            assert_eq!(body.unwrap().to_bytes().len(), 1024);
        });
    }
}

/// Sends one after the other; `keys` says how many there are. What is one key is asked for by two threads as well.
fn measure(criterion: &mut Criterion, id: &str, router: Router, keys: u32, replayed: bool) {
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let cookie = runtime.block_on(sign_in(&router));
    let send = async |key: u32| {
        let response = router.clone().oneshot(order(key, &cookie)).await.unwrap();
        let is_replay = response.headers().contains_key("idempotency-replayed");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), 1024);
        is_replay
    };
    runtime.block_on(send(0));
    assert_eq!(runtime.block_on(send(0)), replayed, "{id}");
    let mut next = 1;
    criterion.bench_function(id, |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                next = (next + 1) % keys;
                let begun = Instant::now();
                runtime.block_on(send(next));
                spent += begun.elapsed();
            }
            spent
        });
    });
    if keys == 1 {
        criterion.bench_function(&format!("{id}/2-threads"), |bencher| {
            bencher.iter_custom(|times| {
                let threads = [(); 2].map(|()| again(&router, &cookie));
                together(times, threads)
            });
        });
    }
}

fn replay(criterion: &mut Criterion) {
    measure(criterion, "idempotency/replay/bare", orders(), 1, false);
    measure(criterion, "idempotency/replay/ours", ours(), 1, true);
    measure(
        criterion,
        "idempotency/replay/bare-session",
        with_session(orders()),
        1,
        false,
    );
    measure(
        criterion,
        "idempotency/replay/axum-idempotent",
        axum_idempotent(),
        1,
        true,
    );
}

/// axum-idempotent forgets nothing before its time: each of its keys is new once, and a replay afterwards, so that its first requests are measured apart, on a router of their
/// own for as many keys as there are.
fn first(criterion: &mut Criterion) {
    measure(criterion, "idempotency/first/bare", orders(), KEYS, false);
    measure(
        criterion,
        "idempotency/first/ours",
        ours_first(),
        KEYS,
        false,
    );
    measure(
        criterion,
        "idempotency/first/bare-session",
        with_session(orders()),
        KEYS,
        false,
    );
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    criterion.bench_function("idempotency/first/axum-idempotent", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for begun in (0..count).step_by(KEYS as usize) {
                let router = axum_idempotent();
                let cookie = runtime.block_on(sign_in(&router));
                let keys = KEYS.min((count - begun) as u32);
                let started = Instant::now();
                for key in 0..keys {
                    runtime.block_on(async {
                        let call = router.clone().oneshot(order(key, &cookie));
                        let body = call.await.unwrap().into_body().collect().await;
                        assert_eq!(body.unwrap().to_bytes().len(), 1024);
                    });
                }
                spent += started.elapsed();
            }
            spent
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = replay, first
}
criterion_main!(benches);
