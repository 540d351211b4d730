//! Whether the shop lives, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use buttress_circuit::State as BreakerState;
use buttress_idempotency::{
    Begin, BeginRequest, Fingerprint, RecordKey, Recovery, Store, StoreError, Token,
};
use http::StatusCode;
use serde_json::json;

use crate::storefront::client::Remote;
use crate::storefront::shop::Shop;

pub(crate) async fn live(State(shop): State<Arc<Shop>>) -> Response {
    Json(json!({ "status": "live", "uptime_seconds": shop.stats.uptime().as_secs() }))
        .into_response()
}

/// 503 with the reasons while a breaker does not let calls pass, orders cannot be claimed, or the shop is stopping.
pub(crate) async fn ready(State(shop): State<Arc<Shop>>) -> Response {
    let mut reasons: Vec<_> = [&shop.payments, &shop.recommendations]
        .into_iter()
        .filter_map(unusable)
        .collect();
    if let Err(error) = try_store(&shop.orders.store).await {
        reasons.push(format!("the store of order keys: {error}"));
    }
    if shop.leaving.is_cancelled() {
        reasons.push("the shop is stopping".to_owned());
    }
    if reasons.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    let body = Json(json!({ "status": "not ready", "reasons": reasons }));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

/// 503 once the shop has been told to stop, for whoever balances between several. What all of them share is not looked at: that it is down is no
/// reason to prefer one to another.
pub(crate) async fn serving(State(shop): State<Arc<Shop>>) -> StatusCode {
    if shop.leaving.is_cancelled() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::NO_CONTENT
    }
}

/// Claims a key that nobody else has, and gives it back.
async fn try_store(store: &impl Store) -> Result<(), StoreError> {
    let request = BeginRequest {
        key: RecordKey::from_bytes(std::array::from_fn(|_| fastrand::u8(..))),
        fingerprint: Fingerprint::from_bytes([0; 32]),
        token: Token(fastrand::u128(..)),
        lease: Duration::from_secs(1),
        ttl: Duration::from_secs(1),
        recovery: Recovery::Reexecute,
    };
    match store.begin(request).await? {
        Begin::Claimed(claim) => store.abandon(&claim).await,
        _ => Ok(()),
    }
}

fn unusable(remote: &Remote) -> Option<String> {
    let state = remote.breaker.state();
    let name = remote.breaker.name();
    matches!(state, BreakerState::Open | BreakerState::ForcedOpen)
        .then(|| format!("the {name} breaker is open"))
}
