//! The payment service that all processes call. It lives as long as the test, and its books are the test's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use examples::within_reason;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Clone, Default)]
pub(crate) struct Payments {
    /// Key to payment and amount.
    charged: Arc<Mutex<HashMap<String, (String, u64)>>>,
    broken: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    /// How many charges there are.
    count: watch::Sender<usize>,
}

impl Payments {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let payments = Self::default();
        let app = Router::new()
            .route("/payments", post(charge))
            .with_state(payments.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (payments, address)
    }

    pub(crate) fn break_down(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// The next one is charged, and nobody is told.
    pub(crate) fn lose_the_next_answer(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Waits until there are so many more than when this was called.
    pub(crate) fn after(&self, charges: usize) -> impl Future<Output = ()> + use<> {
        let until = *self.count.borrow() + charges;
        let mut count = self.count.subscribe();
        async move {
            let reached = count.wait_for(|count| *count >= until);
            drop(within_reason(reached).await.unwrap());
        }
    }

    /// Payments, and what was charged.
    pub(crate) fn charges(&self) -> HashMap<String, u64> {
        self.charged.lock().unwrap().values().cloned().collect()
    }
}

async fn charge(State(payments): State<Payments>, headers: HeaderMap, cents: String) -> Response {
    if payments.broken.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut charged = payments.charged.lock().unwrap();
    let next = format!("pay-{}", charged.len());
    let cents = cents.parse().unwrap();
    let (payment, cents) = charged.entry(key).or_insert((next, cents)).clone();
    payments.count.send_replace(charged.len());
    if payments.silent.swap(false, Ordering::Relaxed) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    Json(json!({ "payment": payment, "cents": cents })).into_response()
}
