//! The services that the shop calls: payments and recommendations. A real HTTP server on a port of its own, whose failures and
//! slowness can be set over HTTP.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::conditions::{self, Service};

#[derive(Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) payments: Arc<Service>,
    pub(crate) recommendations: Arc<Service>,
    receipts: Mutex<Receipts>,
}

/// Payments by their idempotency key: a charge that is sent twice is made once, and the second one is told what was charged by the first.
#[derive(Debug, Default)]
struct Receipts {
    by_key: HashMap<String, Charge>,
    order: VecDeque<String>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Charge {
    number: u64,
    cents: u64,
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

impl Receipts {
    fn charge(&mut self, key: &str, cents: u64) -> Charge {
        if let Some(charge) = self.by_key.get(key) {
            return *charge;
        }
        self.next += 1;
        let charge = Charge {
            number: self.next,
            cents,
        };
        if self.order.len() >= MAX_RECEIPTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
        self.order.push_back(key.to_owned());
        self.by_key.insert(key.to_owned(), charge);
        charge
    }
}

pub(crate) fn router(upstream: Arc<Upstream>) -> Router {
    Router::new()
        .route("/payments", post(pay))
        .route("/recommendations/{product}", get(recommend))
        .with_state(Arc::clone(&upstream))
        .merge(conditions::router([
            ("payments", Arc::clone(&upstream.payments)),
            ("recommendations", Arc::clone(&upstream.recommendations)),
        ]))
}

#[derive(Serialize)]
struct Receipt {
    payment: String,
    cents: u64,
    /// What the caller sent, to show that the trace goes on.
    traceparent: Option<String>,
}

async fn pay(State(upstream): State<Arc<Upstream>>, headers: HeaderMap, cents: String) -> Response {
    let Ok(cents) = cents.parse() else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    if let Err(failed) = upstream.payments.work().await {
        return failed;
    }
    let key = text(&headers, "idempotency-key").unwrap_or_default();
    let charge = upstream
        .receipts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .charge(&key, cents);
    let traceparent = text(&headers, "traceparent");
    Json(Receipt {
        payment: format!("pay-{}", charge.number),
        cents: charge.cents,
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

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}
