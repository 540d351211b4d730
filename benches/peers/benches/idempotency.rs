//! A keyed `POST` of 256 bytes through an axum router, answered with one of a kibibyte: a first request, and a replay, both from memory.
//!
//! axum-idempotent needs a session, and is set up with one as its documentation shows; `bare-session` is the same router with the session alone. It takes the key as it is, and
//! compares no bodies.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

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

/// Those who are signed in, each with some keys: what one session holds is gone through with each request.
type Cookies = Arc<[HeaderValue]>;

/// Of how many keys each has made use at the end.
const KEYS_OF_ONE: usize = 16;

async fn sign_in_all(router: &Router, keys: u32) -> Cookies {
    let mut cookies = Vec::new();
    for _ in 0..(keys as usize).div_ceil(KEYS_OF_ONE) {
        cookies.push(sign_in(router).await);
    }
    cookies.into()
}

/// Sends an order, from a runtime of its own, and the next with the key after it, or with the same.
fn sends(router: &Router, cookies: &Cookies, first: u32, step: u32) -> impl FnMut() + Send + use<> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (router, cookies, mut key) = (router.clone(), Arc::clone(cookies), first);
    move || {
        runtime.block_on(async {
            let cookie = &cookies[key as usize / KEYS_OF_ONE];
            let call = router.clone().oneshot(order(key, cookie));
            let body = call.await.unwrap().into_body().collect().await;
            assert_eq!(body.unwrap().to_bytes().len(), 1024);
        });
        key += step;
    }
}

/// A replay says so, and where nothing is kept there is none.
async fn check(router: &Router, cookie: &HeaderValue, replays: bool) {
    for is_replay in [false, replays] {
        let call = router.clone().oneshot(order(u32::MAX, cookie));
        let response = call.await.unwrap();
        let says = response.headers().contains_key("idempotency-replayed");
        assert_eq!(says, is_replay);
    }
}

/// The same key again and again, by one thread and by two.
fn replays(criterion: &mut Criterion, name: &str, make: fn() -> Router, is_kept: bool) {
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let router = make();
    let cookies = runtime.block_on(sign_in_all(&router, 1));
    runtime.block_on(check(&router, &cookies[0], is_kept));
    sends(&router, &cookies, 0, 0)();
    let id = format!("idempotency/replay/{name}");
    criterion.bench_function(&id, |bencher| bencher.iter(sends(&router, &cookies, 0, 0)));
    criterion.bench_function(&format!("{id}/2-threads"), |bencher| {
        bencher
            .iter_custom(|times| together(times, [(); 2].map(|()| sends(&router, &cookies, 0, 0))));
    });
}

fn replay(criterion: &mut Criterion) {
    replays(criterion, "bare", orders, false);
    replays(criterion, "ours", ours, true);
    replays(criterion, "bare-session", || with_session(orders()), false);
    replays(criterion, "axum-idempotent", axum_idempotent, true);
}

/// How many keys a store takes before there is a new one: a key is new once, and what is kept is to have a bound.
const KEYS: u32 = 4096;

/// Each key once, by one thread, and by two with keys of their own. The store grows meanwhile, as they all do.
fn firsts(criterion: &mut Criterion, name: &str, make: fn() -> Router, is_kept: bool) {
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let fresh = || {
        let router = make();
        let cookies = runtime.block_on(sign_in_all(&router, 2 * KEYS));
        (router, cookies)
    };
    let (router, cookies) = fresh();
    runtime.block_on(check(&router, &cookies[0], is_kept));
    let stores = |times: u64, spent: &dyn Fn(&Router, &Cookies, u64) -> Duration| {
        let begun = (0..times).step_by(KEYS as usize);
        let one = begun.map(|begun| {
            let (router, cookies) = fresh();
            spent(&router, &cookies, u64::from(KEYS).min(times - begun))
        });
        one.sum::<Duration>()
    };
    let id = format!("idempotency/first/{name}");
    criterion.bench_function(&id, |bencher| {
        bencher.iter_custom(|times| {
            stores(times, &|router, cookies, keys| {
                let mut send = sends(router, cookies, 0, 1);
                let begun = Instant::now();
                (0..keys).for_each(|_| send());
                begun.elapsed()
            })
        });
    });
    criterion.bench_function(&format!("{id}/2-threads"), |bencher| {
        bencher.iter_custom(|times| {
            stores(times, &|router, cookies, keys| {
                let threads = [0, KEYS].map(|first| sends(router, cookies, first, 1));
                together(keys, threads)
            })
        });
    });
}

fn first(criterion: &mut Criterion) {
    firsts(criterion, "bare", orders, false);
    firsts(criterion, "ours", ours, true);
    firsts(criterion, "bare-session", || with_session(orders()), false);
    firsts(criterion, "axum-idempotent", axum_idempotent, true);
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = replay, first
}
criterion_main!(benches);
