//! Whether the shop lives, and whether it can do its work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use buttress_circuit::State as BreakerState;
use http::StatusCode;
use serde_json::json;

use crate::client::Remote;
use crate::shop::Shop;

pub(crate) async fn live(State(shop): State<Arc<Shop>>) -> Response {
    Json(json!({ "status": "live", "uptime_seconds": shop.stats.uptime().as_secs() }))
        .into_response()
}

/// 503 with the reasons while a breaker does not let calls pass, or the shop is stopping.
pub(crate) async fn ready(State(shop): State<Arc<Shop>>) -> Response {
    let mut reasons: Vec<_> = [&shop.payments, &shop.recommendations]
        .into_iter()
        .filter_map(unusable)
        .collect();
    if shop.stopping.is_cancelled() {
        reasons.push("the shop is stopping".to_owned());
    }
    if reasons.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    let body = Json(json!({ "status": "not ready", "reasons": reasons }));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

fn unusable(remote: &Remote) -> Option<String> {
    let state = remote.breaker.state();
    let name = remote.breaker.name();
    matches!(state, BreakerState::Open | BreakerState::ForcedOpen)
        .then(|| format!("the {name} breaker is open"))
}
