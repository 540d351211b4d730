//! What tower-http does for browsers: CORS and compression.

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING,
    ORIGIN,
};
use http::{Method, Request};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::access::refuse;
use super::{FRESH, cache};
use crate::kit::Order::{self, Documented, Swapped};
use crate::kit::{Count, ask};

/// Long enough to be worth compressing.
const PAGE: &str = "a page that is long enough, a page that is long enough";

/// A page that may be kept, and how often it was made.
fn counted_page() -> (Router, Count) {
    let made = Count::default();
    let count = made.clone();
    let page = get(async move || {
        count.up();
        (FRESH, PAGE)
    });
    (Router::new().route("/", page), made)
}

fn cors() -> CorsLayer {
    CorsLayer::new().allow_origin(AllowOrigin::mirror_request())
}

const ORIGINS: [&str; 3] = [
    "https://a.example",
    "https://b.example",
    "https://c.example",
];

#[tokio::test]
async fn cors_outside_of_auth_lets_a_browser_ask_whether_it_may_ask() {
    let preflight = async |order: Order| {
        let (app, _) = counted_page();
        let app = within!(app, order, outer: cors(), inner: from_fn(refuse));
        let question = Request::builder()
            .method(Method::OPTIONS)
            .uri("/")
            .header(ORIGIN, ORIGINS[0])
            .header(ACCESS_CONTROL_REQUEST_METHOD, "GET");
        let preflight = ask(&app, question).await.status;
        let refused = ask(&app, Request::get("/").header(ORIGIN, ORIGINS[0])).await;
        assert_eq!(refused.status, 401);
        let is_readable = refused.headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN);
        (preflight, is_readable)
    };
    assert_eq!(preflight(Documented).await, (200, true));
    assert_eq!(
        preflight(Swapped).await,
        (401, false),
        "a browser's question has no credentials, and its page may not even see why it is refused"
    );
}

#[tokio::test]
async fn cors_outside_of_the_cache_keeps_one_page_for_all_origins() {
    let made = async |order: Order| {
        let (app, made) = counted_page();
        let app = within!(app, order, outer: cors(), inner: cache());
        for origin in ORIGINS {
            let answer = ask(&app, Request::get("/").header(ORIGIN, origin)).await;
            assert_eq!(answer.headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        }
        made.get()
    };
    assert_eq!(made(Documented).await, 1);
    assert_eq!(made(Swapped).await, 3, "one for each origin");
}

#[tokio::test]
async fn compression_outside_of_the_cache_keeps_one_page_for_all_encodings() {
    let made = async |order: Order| {
        let (app, made) = counted_page();
        let app = within!(app, order, outer: CompressionLayer::new(), inner: cache());
        for (accepted, encoding) in [("gzip", Some("gzip")), ("identity", None)] {
            let answer = ask(&app, Request::get("/").header(ACCEPT_ENCODING, accepted)).await;
            let found = answer.headers.get(CONTENT_ENCODING);
            assert_eq!(found.map(|name| name.to_str().unwrap()), encoding);
        }
        made.get()
    };
    assert_eq!(made(Documented).await, 1);
    assert_eq!(made(Swapped).await, 2, "made anew for who reads it plain");
}

#[tokio::test]
async fn compression_outside_of_idempotency_replays_what_everybody_can_read() {
    let replayed = async |order: Order| {
        let app = Router::new().route("/", post(async || PAGE));
        let keyed = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
        let app = within!(app, order, outer: CompressionLayer::new(), inner: keyed);
        let with_key = || Request::post("/").header("idempotency-key", "\"k\"");
        let first = ask(&app, with_key().header(ACCEPT_ENCODING, "gzip")).await;
        assert_eq!(first.headers[CONTENT_ENCODING], "gzip");
        let again = ask(&app, with_key()).await;
        assert_eq!(again.headers["idempotency-replayed"], "true");
        again.body == PAGE
    };
    assert!(replayed(Documented).await);
    assert!(
        !replayed(Swapped).await,
        "who asks again may be somebody who reads no gzip"
    );
}
