//! The services that the shop calls: payments and recommendations. A real HTTP server on a port of its own, whose failures and
//! slowness can be set over HTTP.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) payments: Service,
    pub(crate) recommendations: Service,
    receipts: Mutex<Receipts>,
}

#[derive(Debug, Default)]
pub(crate) struct Service {
    conditions: Mutex<Conditions>,
    calls: AtomicU64,
}

/// How a service is doing.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conditions {
    /// The share of calls that fail, from 0 to 1.
    pub(crate) failure_rate: f64,
    /// How long a call takes, at most a minute.
    pub(crate) latency_ms: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            failure_rate: 0.0,
            latency_ms: 15,
        }
    }
}

/// Payments by their idempotency key: a charge that is sent twice is made once.
#[derive(Debug, Default)]
struct Receipts {
    by_key: HashMap<String, u64>,
    order: VecDeque<String>,
    next: u64,
}

const MAX_RECEIPTS: usize = 100_000;

impl Upstream {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        match name {
            "payments" => Some(&self.payments),
            "recommendations" => Some(&self.recommendations),
            _ => None,
        }
    }
}

impl Service {
    pub(crate) fn conditions(&self) -> Conditions {
        *self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, conditions: Conditions) {
        let failure_rate = conditions.failure_rate.clamp(0.0, 1.0);
        let latency_ms = conditions.latency_ms.min(60_000);
        let conditions = Conditions {
            failure_rate,
            latency_ms,
        };
        *self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = conditions;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Takes as long as it does, and fails as often as it does.
    async fn work(&self) -> Result<(), Response> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let Conditions {
            failure_rate,
            latency_ms,
        } = self.conditions();
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        if fastrand::f64() < failure_rate {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, "broken on purpose\n").into_response());
        }
        Ok(())
    }
}

impl Receipts {
    fn charge(&mut self, key: &str) -> u64 {
        if let Some(receipt) = self.by_key.get(key) {
            return *receipt;
        }
        self.next += 1;
        if self.order.len() >= MAX_RECEIPTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
        self.order.push_back(key.to_owned());
        self.by_key.insert(key.to_owned(), self.next);
        self.next
    }
}

pub(crate) fn router(upstream: Arc<Upstream>) -> Router {
    Router::new()
        .route("/payments", post(pay))
        .route("/recommendations/{product}", get(recommend))
        .route("/conditions/{service}", get(conditions).put(set_conditions))
        .with_state(upstream)
}

#[derive(Serialize)]
struct Receipt {
    payment: String,
    /// What the caller sent, to show that the trace goes on.
    traceparent: Option<String>,
}

async fn pay(State(upstream): State<Arc<Upstream>>, headers: HeaderMap) -> Response {
    if let Err(failed) = upstream.payments.work().await {
        return failed;
    }
    let key = text(&headers, "idempotency-key").unwrap_or_default();
    let number = upstream
        .receipts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .charge(&key);
    let traceparent = text(&headers, "traceparent");
    Json(Receipt {
        payment: format!("pay-{number}"),
        traceparent,
    })
    .into_response()
}

#[derive(Serialize)]
struct Recommendations {
    product: String,
    also: [&'static str; 2],
    traceparent: Option<String>,
}

async fn recommend(
    State(upstream): State<Arc<Upstream>>,
    Path(product): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(failed) = upstream.recommendations.work().await {
        return failed;
    }
    let traceparent = text(&headers, "traceparent");
    Json(Recommendations {
        product,
        also: ["bulb", "shelf"],
        traceparent,
    })
    .into_response()
}

async fn conditions(
    State(upstream): State<Arc<Upstream>>,
    Path(service): Path<String>,
) -> Result<Json<Conditions>, StatusCode> {
    upstream
        .service(&service)
        .map(|s| Json(s.conditions()))
        .ok_or(StatusCode::NOT_FOUND)
}

async fn set_conditions(
    State(upstream): State<Arc<Upstream>>,
    Path(service): Path<String>,
    Json(conditions): Json<Conditions>,
) -> StatusCode {
    match upstream.service(&service) {
        Some(service) => {
            service.set(conditions);
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}
