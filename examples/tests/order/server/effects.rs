use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use buttress_cache::Cache;
use buttress_cache::http::{CacheInvalidate, CacheTags, CachedResponse, HttpCacheLayer};
use buttress_idempotency::{IdempotencyLayer, MemoryStore, Scoped};
use http::StatusCode;
use tokio::sync::{oneshot, watch};

use super::{FRESH, cache, see};
use crate::kit::Order::{self, Documented, Swapped};
use crate::kit::{Count, ask};

/// An order under a key, which is a user's.
fn once() -> IdempotencyLayer<MemoryStore, Scoped> {
    IdempotencyLayer::new(MemoryStore::new()).scope(|head| match head.extensions.get::<User>() {
        Some(User(name)) => name.as_bytes().into(),
        None => b"".into(),
    })
}

#[derive(Clone)]
pub(super) struct User(pub(super) String);

/// Says who somebody is, to what stands inside.
pub(super) async fn who(mut request: Request, next: Next) -> Response {
    let Some(name) = request.headers().get("x-user") else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let user = User(name.to_str().unwrap().to_owned());
    request.extensions_mut().insert(user);
    next.run(request).await
}

/// Cuts off what is not answered at once, as if its time were over.
pub(super) async fn deadline(request: Request, next: Next) -> Response {
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = std::future::ready(()) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

#[tokio::test]
async fn auth_outside_of_idempotency_gives_nobody_the_answer_to_another() {
    let others = async |order: Order| {
        let placed = Count::default();
        let place = move || {
            let number = placed.up();
            async move { format!("order {number}") }
        };
        let app = Router::new().route("/", post(place));
        let app = within!(app, order, outer: from_fn(who), inner: once());
        let order = || Request::post("/").header("idempotency-key", "k");
        let anns = ask(&app, order().header("x-user", "ann")).await;
        assert_eq!(anns.body, "order 0");
        let bobs = ask(&app, order().header("x-user", "bob")).await;
        (bobs.body, ask(&app, order()).await.status)
    };
    assert_eq!(others(Documented).await, ("order 1".to_owned(), 401));
    assert_eq!(
        others(Swapped).await,
        ("order 0".to_owned(), 200),
        "all of them have ann's"
    );
}

#[tokio::test]
async fn the_cache_outside_of_idempotency_sees_replays_and_takes_their_target_out() {
    let seen = async |order: Order| {
        let source = watch::Sender::new("old");
        let (reads, writes) = (source.clone(), source.clone());
        let read = get(async move || (FRESH, *reads.borrow()));
        let write = post(async move || {
            writes.send_replace("written");
        });
        let app = Router::new().route("/", read.merge(write));
        let app = within!(app, order, outer: cache(), inner: once());
        let write = || Request::post("/").header("idempotency-key", "k");
        ask(&app, write()).await;
        assert_eq!(see(&app).await.body, "written");
        // Somebody else has written meanwhile, and who repeats his own request looks at what came of it.
        source.send_replace("written by another");
        let again = ask(&app, write()).await;
        assert_eq!(again.headers["idempotency-replayed"], "true");
        see(&app).await.body
    };
    assert_eq!(seen(Documented).await, "written by another");
    assert_eq!(
        seen(Swapped).await,
        "written",
        "the cache has not heard of the replay"
    );
}

#[tokio::test]
async fn a_deadline_outside_of_idempotency_lets_the_effect_come_to_its_end() {
    let seen = async |order: Order| {
        let (done, gate) = (Count::default(), watch::Sender::new(false));
        let (effect, wait, once) = (done.clone(), gate.clone(), once());
        let place = post(move || {
            let mut gate = wait.subscribe();
            async move {
                gate.wait_for(|open| *open).await.unwrap();
                format!("order {}", effect.up())
            }
        });
        let app = Router::new().route("/", place);
        let app = within!(app, order, outer: from_fn(deadline), inner: once.clone());
        let place = || Request::post("/").header("idempotency-key", "k");
        assert_eq!(ask(&app, place()).await.status, 504);
        gate.send_replace(true);
        once.tasks().drain().await;
        (done.get(), ask(&app, place()).await.status)
    };
    assert_eq!(seen(Documented).await, (1, 200));
    assert_eq!(
        seen(Swapped).await,
        (0, 504),
        "the work is dropped in the middle, and that it was late is what is replayed"
    );
}

/// Where tags are invalidated, by a handler whose client does not wait for it.
#[derive(Clone, Copy)]
enum Invalidated {
    ByTheHandle,
    ByTheResponse,
}

#[tokio::test]
async fn tags_are_invalidated_by_the_handle_since_the_client_may_be_gone() {
    assert_eq!(seen_after(Invalidated::ByTheHandle).await, "new");
    assert_eq!(
        seen_after(Invalidated::ByTheResponse).await,
        "old",
        "nobody saw the response"
    );
}

async fn seen_after(how: Invalidated) -> String {
    let stored = CachedResponse::cache().build();
    let source = watch::Sender::new("old");
    let (begun, has_begun) = oneshot::channel();
    let (go_on, wait) = oneshot::channel();
    let gates = Arc::new(Mutex::new(Some((begun, wait))));
    let (reads, writes, handle) = (source.clone(), source, stored.clone());
    let read = get(async move || {
        let mut page = (FRESH, *reads.borrow()).into_response();
        page.extensions_mut().insert(CacheTags::from_iter(["page"]));
        page
    });
    let write = post(move || {
        let (begun, wait) = gates.lock().unwrap().take().unwrap();
        let (writes, handle) = (writes.clone(), handle.clone());
        async move {
            begun.send(()).unwrap();
            wait.await.unwrap();
            writes.send_replace("new");
            changed(how, &handle)
        }
    });
    let once = once();
    let app = Router::new().route("/", read).route("/orders", write);
    let app = app.layer(once.clone()).layer(HttpCacheLayer::new(stored));
    assert_eq!(see(&app).await.body, "old");
    tokio::select! {
        _ = ask(&app, Request::post("/orders").header("idempotency-key", "k")) => unreachable!(),
        begun = has_begun => begun.unwrap(),
    }
    // The client is gone now; the layer brings the work to its end.
    go_on.send(()).unwrap();
    once.tasks().drain().await;
    see(&app).await.body
}

fn changed(how: Invalidated, pages: &Cache<CachedResponse>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    match how {
        Invalidated::ByTheHandle => pages.invalidate(["page"]).now(),
        Invalidated::ByTheResponse => {
            let tags = CacheInvalidate::from_iter(["page"]);
            response.extensions_mut().insert(tags);
        }
    }
    response
}
