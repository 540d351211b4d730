use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use buttress_cache::Cache;
use buttress_cache::http::{CacheInvalidate, CacheTags, CachedResponse, HttpCacheLayer};
use buttress_dedup::DedupLayer;
use buttress_idempotency::{IdempotencyLayer, MemoryStore, Scoped};
use buttress_negotiate::{Csv, Json, NegotiateLayer, Negotiated, Record};
use buttress_trace_ctx::{TraceLayer, current};
use futures_util::future::join_all;
use http::header::{ACCEPT, CACHE_CONTROL, VARY};
use http::{HeaderName, StatusCode};
use tokio::sync::{oneshot, watch};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::GlobalKeyExtractor;

use crate::kit::Order::{self, Documented, Swapped};
use crate::kit::{Answer, Count, Records, ask};

const FRESH: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "public, max-age=60")];

/// A page that may be kept, and how often it was made.
fn page() -> (Router, Count) {
    let made = Count::default();
    let count = made.clone();
    let page = get(move || {
        let number = count.up();
        async move { (FRESH, format!("page {number}")) }
    });
    (Router::new().route("/", page), made)
}

fn cache() -> HttpCacheLayer {
    HttpCacheLayer::new(CachedResponse::cache().build())
}

async fn refuse(request: Request, next: Next) -> Response {
    match request.headers().get("x-user") {
        Some(_) => next.run(request).await,
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn see(app: &Router) -> Answer {
    ask(app, Request::get("/")).await
}

#[tokio::test]
async fn trace_outside_of_auth_has_a_record_of_what_is_refused() {
    let told = async |order: Order| {
        let records = Records::default();
        let trace = TraceLayer::server().echo_request_id().sink(records.sink());
        let app = within!(page().0, order, outer: trace, inner: from_fn(refuse));
        let refused = see(&app).await;
        let has_id = refused.headers.contains_key("x-request-id");
        (records.statuses(), has_id)
    };
    assert_eq!(told(Documented).await, (vec![401], true));
    assert_eq!(told(Swapped).await, (vec![], false), "nobody knows of it");
}

#[tokio::test]
async fn trace_outside_of_what_logs_gives_its_lines_their_ids() {
    let has_ids = async |order: Order| {
        let logged = Arc::new(Mutex::new(None));
        let log = logged.clone();
        let logging = from_fn(move |request: Request, next: Next| {
            let log = log.clone();
            async move {
                *log.lock().unwrap() = Some(current().is_some());
                next.run(request).await
            }
        });
        let app = within!(page().0, order, outer: TraceLayer::server(), inner: logging);
        see(&app).await;
        logged.lock().unwrap().unwrap()
    };
    assert!(has_ids(Documented).await);
    assert!(!has_ids(Swapped).await);
}

#[tokio::test]
async fn auth_outside_of_the_cache_is_asked_before_a_stored_page_is_given_out() {
    let stranger = async |order: Order| {
        let app = within!(page().0, order, outer: from_fn(refuse), inner: cache());
        let known = ask(&app, Request::get("/").header("x-user", "ann")).await;
        assert_eq!(known.status, 200);
        see(&app).await.status
    };
    assert_eq!(stranger(Documented).await, 401);
    assert_eq!(
        stranger(Swapped).await,
        200,
        "a stranger reads what is stored"
    );
}

#[tokio::test]
async fn limits_outside_of_the_cache_count_what_it_answers() {
    let third = async |order: Order| {
        let two = GovernorConfigBuilder::default()
            .key_extractor(GlobalKeyExtractor)
            .period(std::time::Duration::from_secs(3600))
            .burst_size(2)
            .finish()
            .unwrap();
        let app = within!(page().0, order, outer: GovernorLayer::new(two), inner: cache());
        for _ in 0..2 {
            assert_eq!(see(&app).await.status, 200);
        }
        see(&app).await.status
    };
    assert_eq!(third(Documented).await, 429);
    assert_eq!(
        third(Swapped).await,
        200,
        "whoever asks for one page asks without end"
    );
}

#[derive(serde::Serialize)]
struct Row {
    product: &'static str,
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["product"];
}

type Formats = (Json, Csv);

/// What several browsers say that want the same: JSON, or what there is.
const BROWSERS: [&str; 3] = [
    "text/html,application/xhtml+xml,*/*;q=0.8",
    "application/json, text/plain, */*",
    "*/*",
];

/// A report in the form that was chosen.
fn report(request: &Request) -> Response {
    let rows = [Row { product: "lamp" }];
    let negotiated = Negotiated::<Formats>::of(request).unwrap();
    let mut response = negotiated.rows(&rows).unwrap().into_response();
    let [(name, value)] = FRESH;
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

#[tokio::test]
async fn negotiate_outside_of_the_cache_keeps_one_variant_for_all_browsers() {
    let made = async |order: Order| {
        let made = Count::default();
        let count = made.clone();
        let report = get(move |request: Request| {
            count.up();
            async move { report(&request) }
        });
        let app = Router::new().route("/", report);
        let formats = NegotiateLayer::new((Json, Csv::new()));
        let app = within!(app, order, outer: formats, inner: cache());
        for accept in BROWSERS {
            let answer = ask(&app, Request::get("/").header(ACCEPT, accept)).await;
            assert_eq!(answer.body, r#"[{"product":"lamp"}]"#);
            assert_eq!(
                answer.headers[VARY], "accept",
                "and caches outside are told"
            );
        }
        let csv = ask(&app, Request::get("/").header(ACCEPT, "text/csv")).await;
        assert_eq!(csv.body, "product\r\nlamp\r\n");
        made.get()
    };
    assert_eq!(made(Documented).await, 2, "a variant for each form");
    assert_eq!(made(Swapped).await, 4, "a variant for each browser");
}

/// An order under a key, which is a user's.
fn once() -> IdempotencyLayer<MemoryStore, Scoped> {
    IdempotencyLayer::new(MemoryStore::new()).scope(|head| match head.extensions.get::<User>() {
        Some(User(name)) => name.as_bytes().into(),
        None => b"".into(),
    })
}

#[derive(Clone)]
struct User(String);

/// Says who somebody is, to what stands inside.
async fn who(mut request: Request, next: Next) -> Response {
    let Some(name) = request.headers().get("x-user") else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let user = User(name.to_str().unwrap().to_owned());
    request.extensions_mut().insert(user);
    next.run(request).await
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

/// A page that no cache keeps, made when the gate is opened.
fn live(gate: &watch::Sender<bool>) -> (Router, Count) {
    let made = Count::default();
    let (count, gate) = (made.clone(), gate.clone());
    let page = get(move || {
        count.up();
        let mut gate = gate.subscribe();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            "live"
        }
    });
    (Router::new().route("/", page), made)
}

/// Asks for it in as many ways as there are browsers, all at once.
async fn all_at_once(app: &Router, gate: &watch::Sender<bool>) {
    let requests = BROWSERS.map(|accept| ask(app, Request::get("/").header(ACCEPT, accept)));
    let (answers, ()) = tokio::join!(join_all(requests), async {
        // All of them have been polled: whoever is to call the handler has called it.
        tokio::task::yield_now().await;
        gate.send_replace(true);
    });
    assert!(answers.iter().all(|answer| answer.body == "live"));
}

#[tokio::test]
async fn dedup_inside_of_the_cache_collapses_what_it_does_not_keep() {
    for (with_dedup, expected) in [(true, 1), (false, 3)] {
        let gate = watch::Sender::new(false);
        let (mut app, made) = live(&gate);
        if with_dedup {
            app = app.layer(DedupLayer::http());
        }
        let app = app
            .layer(cache().collapse(false))
            .layer(NegotiateLayer::new((Json, Csv::new())));
        all_at_once(&app, &gate).await;
        assert_eq!(made.get(), expected);
    }
}

#[tokio::test]
async fn negotiate_outside_of_dedup_lets_all_browsers_share_a_flight() {
    let made = async |order: Order| {
        let gate = watch::Sender::new(false);
        let (app, made) = live(&gate);
        let formats = NegotiateLayer::new((Json, Csv::new()));
        let app = within!(app, order, outer: formats, inner: DedupLayer::http());
        all_at_once(&app, &gate).await;
        made.get()
    };
    assert_eq!(made(Documented).await, 1);
    assert_eq!(made(Swapped).await, 3, "a flight for each browser");
}
