//! Which requests go where, and through which layers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use buttress_circuit::Rejected;
use buttress_trace_ctx::{JsonLines, MatchedPath, TraceLayer};
use buttress_wire::{Refusal, grpc::Code};
use http::{HeaderMap, HeaderName, StatusCode};
use tower::ServiceBuilder;

use crate::storefront::shop::Shop;
use crate::storefront::{caller, events, health, observe, orders, page, products, reports};

/// The whole application. Layers stand in the order that ARCHITECTURE.md gives, the outermost first.
pub(crate) fn router(shop: &Arc<Shop>, quiet: bool) -> Router {
    let goods = goods(shop);
    let burst = {
        let (shop, goods) = (Arc::clone(shop), traced(goods.clone(), shop, true));
        move |headers: HeaderMap| page::burst(Arc::clone(&shop), goods.clone(), headers)
    };
    let mut app = goods
        .merge(operations(shop))
        .route("/demo/burst", post(burst))
        .fallback(not_found);
    for (path, file) in page::files() {
        app = app.route(&path, file);
    }
    traced(app, shop, quiet)
}

/// What is sold: behind the cache, idempotency and single flight.
fn goods(shop: &Arc<Shop>) -> Router {
    let reports = Router::new()
        .route("/reports/sales", get(reports::sales))
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(shop), reports::count))
                .layer(reports::formats())
                .layer(shop.pages.layer.clone())
                .layer(shop.dedup.clone()),
        );
    let goods = Router::new()
        .route(
            "/products/{id}",
            get(products::product).put(products::set_price),
        )
        .route("/search", get(products::search))
        .route("/recommendations/{id}", get(products::recommendations))
        .route("/orders", post(orders::place).get(orders::list))
        .route("/orders/{id}", get(orders::one))
        .route("/events", get(events::events))
        .layer(
            ServiceBuilder::new()
                .layer(shop.pages.layer.clone())
                .layer(shop.orders.layer.clone())
                .layer(shop.dedup.clone()),
        );
    reports
        .merge(goods)
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(shop), caller::check))
                .layer(shop.limits.layer()),
        )
        .with_state(Arc::clone(shop))
}

/// What runs the shop, for its operators and for the page.
fn operations(shop: &Arc<Shop>) -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/serving", get(health::serving))
        .route("/favicon.ico", get(page::favicon))
        .route("/.well-known/jwks.json", get(caller::public_keys))
        .route("/demo/token", get(caller::mint))
        .route("/demo/keys/rotate", post(caller::rotate))
        .route("/demo/stream", get(page::stream))
        .route("/demo/snapshot", get(page::snapshot_now))
        .route("/demo/catalogue/{what}", post(page::hold))
        .route("/demo/{service}/{treatment}", post(page::treat))
        .with_state(Arc::clone(shop))
}

/// Outermost: it sees every answer, also refusals of the layers below.
fn traced(app: Router, shop: &Arc<Shop>, quiet: bool) -> Router {
    let lines = (!quiet).then(JsonLines::stdout);
    app.layer(
        TraceLayer::server()
            .echo_request_id()
            .server_timing()
            .echo_trace_id(HeaderName::from_static("x-trace-id"))
            .route(MatchedPath)
            .sink((lines, observe::traces(&shop.stats), shop.active.clone())),
    )
}

async fn not_found(headers: HeaderMap) -> Response {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "urn:storefront:problem:no-such-page",
        "There is nothing here",
        Code::NotFound,
    )
    .response(&headers)
    .into_response()
}

/// Counts a call that a breaker refused.
pub(crate) fn note_rejection(shop: &Shop, response: &http::Response<Body>) {
    if let Some(rejected) = response.extensions().get::<Rejected>() {
        shop.stats.rejected(rejected.breaker());
    }
}
