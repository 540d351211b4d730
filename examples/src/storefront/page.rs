//! The page at `/`, what it shows, and what its buttons do.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use buttress_cache::http::CacheOutcome;
use buttress_circuit::{Breaker, State as BreakerState};
use buttress_dedup::http::Flight;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tower::ServiceExt;

use crate::conditions::{Conditions, Service};
use crate::storefront::events::stream_response;
use crate::storefront::history::Counts;
use crate::storefront::shop::Shop;

/// The page and its files, which are part of the program.
pub(crate) fn files() -> impl Iterator<Item = (String, MethodRouter)> {
    let page = [
        ("", "text/html", include_str!("page/index.html")),
        ("style.css", "text/css", include_str!("page/style.css")),
        ("app.js", "text/javascript", include_str!("page/app.js")),
    ];
    let page = page.map(|(name, kind, text)| (format!("/{name}"), file(kind, text)));
    let code = CODE.map(|(name, text)| (format!("/code/{name}"), file("text/plain", text)));
    page.into_iter().chain(code)
}

/// Where the shop uses each pattern.
const CODE: [(&str, &str); 6] = [
    ("circuit", include_str!("client.rs")),
    ("dedup", include_str!("shop.rs")),
    ("idempotency", include_str!("orders.rs")),
    ("cache", include_str!("products.rs")),
    ("negotiate", include_str!("reports.rs")),
    ("trace-ctx", include_str!("router.rs")),
];

fn file(kind: &str, text: &'static str) -> MethodRouter {
    let headers = [
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'".to_owned(),
        ),
    ];
    axum::routing::get(move || async move { (headers, text) })
}

/// There is no icon, and that is fine.
pub(crate) async fn favicon() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Everything the page shows, once a second, and whenever something has changed, at most ten times a second. The last two minutes come first.
pub(crate) async fn stream(State(shop): State<Arc<Shop>>) -> Response {
    let changes = shop.stats.changes();
    let stopping = shop.stopping.clone().cancelled_owned();
    let snapshots = stream::unfold(
        (shop, changes, true),
        |(shop, mut changes, first)| async move {
            if !first {
                next_change(&mut changes).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            changes.mark_unchanged();
            let mut snapshot = snapshot(&shop);
            if first {
                snapshot["seconds"] = json!(shop.stats.seconds());
            }
            let event = Event::default()
                .event("snapshot")
                .json_data(snapshot)
                .ok()?;
            Some((event, (shop, changes, false)))
        },
    );
    stream_response(snapshots.take_until(stopping))
}

/// Waits for a change, or for a second: what upstreams count, and that an open breaker's time is over, is told by nobody.
async fn next_change(changes: &mut watch::Receiver<u64>) -> Option<()> {
    match tokio::time::timeout(Duration::from_secs(1), changes.changed()).await {
        Ok(changed) => changed.ok(),
        Err(_) => Some(()),
    }
}

/// Keeps the last two minutes, for as long as it is polled.
pub(crate) async fn remember(shop: Arc<Shop>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        seconds.tick().await;
        let state = shop.stats.state();
        shop.stats.tick(Counts {
            finished: state.finished,
            hits: shop.pages.stored.snapshot().hits,
            rejected: state.rejected.iter().map(|(_, count)| count).sum(),
            trips: state.trips,
            replayed: state.idempotency.replayed,
        });
    }
}

pub(crate) async fn snapshot_now(State(shop): State<Arc<Shop>>) -> Json<Value> {
    Json(snapshot(&shop))
}

fn snapshot(shop: &Shop) -> Value {
    let state = shop.stats.state();
    let cache = shop.pages.stored.snapshot();
    let flights = shop.dedup.snapshot();
    let mut dedup = json!(state.dedup);
    dedup["flights"] = flights.flights.into();
    dedup["waiters"] = flights.waiters.into();
    let mut idempotency = json!(state.idempotency);
    idempotency["keys"] = shop.orders.store.count().into();
    idempotency["running"] = shop.orders.layer.tasks().running().into();
    let breaker = |breaker: &Breaker| {
        let rejected = state.rejected_by(&breaker.name().to_string());
        describe(breaker, rejected)
    };
    json!({
        "uptime_ms": shop.stats.now(),
        "breakers": [breaker(&shop.payments.breaker), breaker(&shop.recommendations.breaker)],
        "trips": state.trips,
        "upstreams": upstreams(shop),
        "cache": {
            "hits": cache.hits, "misses": cache.misses, "invalidations": cache.invalidations,
            "entries": cache.entries, "weight": cache.weight,
        },
        "dedup": dedup,
        "idempotency": idempotency,
        "negotiate": state.negotiate,
        "trace": { "finished": state.finished, "recent": state.traces },
        "catalogue": {
            "reads": shop.catalogue.reads(), "reports": shop.catalogue.reports(),
            "held": shop.catalogue.is_held(),
        },
        "orders": shop.catalogue.booked(),
        "subscribers": shop.feed.listeners(),
        "story": state.story,
    })
}

fn describe(breaker: &Breaker, rejected: u64) -> Value {
    let snapshot = breaker.snapshot();
    let state = match snapshot.state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
        BreakerState::ForcedOpen => "forced-open",
        BreakerState::ForcedClosed => "forced-closed",
        BreakerState::MetricsOnly => "metrics-only",
        _ => "unknown",
    };
    json!({
        "name": snapshot.name.to_string(), "state": state, "openings": snapshot.openings,
        "remaining_ms": snapshot.remaining.map(|left| left.as_millis() as u64),
        "rejected": rejected,
    })
}

/// The shop's own services.
fn upstreams(shop: &Shop) -> Vec<Value> {
    let own = ["payments", "recommendations"].into_iter();
    own.filter_map(|name| Some(upstream(name, shop.service(name)?)))
        .collect()
}

fn upstream(name: &str, service: &Service) -> Value {
    let Conditions {
        failure_rate,
        latency_ms,
        ..
    } = service.conditions();
    json!({
        "name": name, "failure_rate": failure_rate, "latency_ms": latency_ms,
        "calls": service.calls(),
    })
}

/// Breaks or heals an upstream, or makes its calls wait.
pub(crate) async fn treat(
    State(shop): State<Arc<Shop>>,
    Path((service, treatment)): Path<(String, String)>,
) -> StatusCode {
    let Some(service) = shop.service(&service) else {
        return StatusCode::NOT_FOUND;
    };
    let now = service.conditions();
    service.set(match &*treatment {
        "break" => Conditions {
            failure_rate: 1.0,
            ..now
        },
        "heal" => Conditions::default(),
        "hold" => Conditions { held: true, ..now },
        "release" => Conditions { held: false, ..now },
        _ => return StatusCode::NOT_FOUND,
    });
    shop.stats.touch();
    StatusCode::NO_CONTENT
}

/// Makes the catalogue's readers wait, or lets them go: so that it can be seen who waits.
pub(crate) async fn hold(State(shop): State<Arc<Shop>>, Path(what): Path<String>) -> StatusCode {
    match &*what {
        "hold" => shop.catalogue.hold(true),
        "release" => shop.catalogue.hold(false),
        _ => return StatusCode::NOT_FOUND,
    }
    shop.stats.touch();
    StatusCode::NO_CONTENT
}

const BURST: usize = 100;

/// Sends a hundred identical requests for a page that is not stored, all at once, through all the layers.
pub(crate) async fn burst(shop: Arc<Shop>, app: axum::Router, headers: HeaderMap) -> Response {
    let path = format!("/search?q=light&burst={:x}", fastrand::u64(..));
    let reads_before = shop.catalogue.reads();
    let request = || {
        let mut request = Request::get(&path).body(Body::empty())?;
        for name in ["host", "x-tenant", "authorization"] {
            if let Some(value) = headers.get(name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        Ok::<_, http::Error>(request)
    };
    let requests: Result<Vec<_>, _> = (0..BURST).map(|_| request()).collect();
    let Ok(requests) = requests else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let answers = requests
        .into_iter()
        .map(|request| answer(app.clone(), request));
    let answers: Vec<_> = answers.collect::<FuturesUnordered<_>>().collect().await;
    let count = |how: Answered| answers.iter().filter(|answer| **answer == how).count();
    let (led, joined, cached) = (
        count(Answered::Led),
        count(Answered::Joined),
        count(Answered::Cached),
    );
    let reads = shop.catalogue.reads() - reads_before;
    shop.stats.tell("dedup", format!(
        "{BURST} identical requests came at once. {led} read the catalogue; {joined} joined it and got the same response as it streamed."
    ));
    Json(json!({
        "requests": BURST, "reads": reads, "led": led, "joined": joined, "cached": cached,
    }))
    .into_response()
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Answered {
    Alone,
    Cached,
    Joined,
    Led,
}

async fn answer(app: axum::Router, request: Request) -> Answered {
    let Ok(response) = app.oneshot(request).await;
    let (head, body) = response.into_parts();
    let cached = head.extensions.get() == Some(&CacheOutcome::Hit);
    let flight = head.extensions.get().copied();
    // The whole body, as a client would.
    let _ = body.collect().await;
    match flight {
        _ if cached => Answered::Cached,
        Some(Flight::Led) => Answered::Led,
        Some(Flight::Joined) => Answered::Joined,
        _ => Answered::Alone,
    }
}
