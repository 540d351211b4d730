use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use buttress_trace_ctx::{TraceLayer, current};
use http::{Request, StatusCode};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::{GlobalKeyExtractor, KeyExtractor};
use tower_governor::{GovernorError, GovernorLayer};

use super::effects::{User, deadline, who};
use super::{FRESH, cache, see};
use crate::kit::Order::{self, Documented, Swapped};
use crate::kit::{Records, ask};

/// A page that may be kept.
fn page() -> Router {
    Router::new().route("/", get(async || (FRESH, "page")))
}

pub(super) async fn refuse(request: axum::extract::Request, next: Next) -> Response {
    match request.headers().get("x-user") {
        Some(_) => next.run(request).await,
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

#[tokio::test]
async fn trace_outside_of_auth_has_a_record_of_what_is_refused() {
    let told = async |order: Order| {
        let records = Records::default();
        let trace = TraceLayer::server().echo_request_id().sink(records.sink());
        let app = within!(page(), order, outer: trace, inner: from_fn(refuse));
        let refused = see(&app).await;
        let has_id = refused.headers.contains_key("x-request-id");
        (records.statuses(), has_id)
    };
    assert_eq!(told(Documented).await, (vec![401], true));
    assert_eq!(told(Swapped).await, (vec![], false), "nobody knows of it");
}

#[tokio::test]
async fn trace_outside_of_a_deadline_has_a_record_of_what_it_cuts_off() {
    let told = async |order: Order| {
        let records = Records::default();
        let trace = TraceLayer::server().sink(records.sink());
        let slow = get(async || std::future::pending::<()>().await);
        let app = Router::new().route("/", slow);
        let app = within!(app, order, outer: trace, inner: from_fn(deadline));
        assert_eq!(see(&app).await.status, 504);
        records.statuses()
    };
    assert_eq!(told(Documented).await, [504]);
    assert_eq!(told(Swapped).await, [0], "a call that somebody has dropped");
}

#[tokio::test]
async fn trace_outside_of_what_logs_gives_its_lines_their_ids() {
    let has_ids = async |order: Order| {
        let logged = Arc::new(Mutex::new(None));
        let log = logged.clone();
        let logging = from_fn(move |request: axum::extract::Request, next: Next| {
            let log = log.clone();
            async move {
                *log.lock().unwrap() = Some(current().is_some());
                next.run(request).await
            }
        });
        let app = within!(page(), order, outer: TraceLayer::server(), inner: logging);
        see(&app).await;
        logged.lock().unwrap().unwrap()
    };
    assert!(has_ids(Documented).await);
    assert!(!has_ids(Swapped).await);
}

#[tokio::test]
async fn auth_outside_of_the_cache_is_asked_before_a_stored_page_is_given_out() {
    let stranger = async |order: Order| {
        let app = within!(page(), order, outer: from_fn(refuse), inner: cache());
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

/// Counts by who somebody is said to be, and all of whom nothing is said as one.
#[derive(Clone, Debug)]
struct ByUser;

impl KeyExtractor for ByUser {
    type Key = Option<String>;

    fn extract<T>(&self, request: &Request<T>) -> Result<Self::Key, GovernorError> {
        let user = request.extensions().get::<User>();
        Ok(user.map(|User(name)| name.clone()))
    }
}

#[tokio::test]
async fn auth_outside_of_limits_counts_each_caller_alone() {
    let bobs = async |order: Order| {
        let one = GovernorConfigBuilder::default()
            .key_extractor(ByUser)
            .period(Duration::from_secs(3600))
            .burst_size(1)
            .finish()
            .unwrap();
        let app = within!(page(), order, outer: from_fn(who), inner: GovernorLayer::new(one));
        let by = async |user| {
            ask(&app, Request::get("/").header("x-user", user))
                .await
                .status
        };
        assert_eq!(by("ann").await, 200);
        by("bob").await
    };
    assert_eq!(bobs(Documented).await, 200);
    assert_eq!(
        bobs(Swapped).await,
        429,
        "ann has used up everybody's share"
    );
}

#[tokio::test]
async fn limits_outside_of_the_cache_count_what_it_answers() {
    let third = async |order: Order| {
        let two = GovernorConfigBuilder::default()
            .key_extractor(GlobalKeyExtractor)
            .period(Duration::from_secs(3600))
            .burst_size(2)
            .finish()
            .unwrap();
        let app = within!(page(), order, outer: GovernorLayer::new(two), inner: cache());
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
