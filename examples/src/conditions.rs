//! A service of an example's own whose failures and slowness can be set, in the program or over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How a service is doing.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// The share of calls that fail, from 0 to 1.
    pub failure_rate: f64,
    /// How long a call takes, at most a minute.
    pub latency_ms: u64,
    /// Calls wait while it is true, so that it can be seen what happens meanwhile.
    pub held: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            failure_rate: 0.0,
            latency_ms: 15,
            held: false,
        }
    }
}

/// A service that does as well as its [`Conditions`] say.
#[derive(Debug, Default)]
pub struct Service {
    conditions: watch::Sender<Conditions>,
    calls: watch::Sender<u64>,
}

impl Service {
    /// How it is doing.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        *self.conditions.borrow()
    }

    /// Changes how it is doing, also for calls that wait.
    pub fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(Conditions {
            failure_rate: conditions.failure_rate.clamp(0.0, 1.0),
            latency_ms: conditions.latency_ms.min(60_000),
            ..conditions
        });
    }

    /// How often it was called.
    #[must_use]
    pub fn calls(&self) -> u64 {
        *self.calls.borrow()
    }

    /// Waits until it has been called so often.
    pub async fn called(&self, times: u64) {
        // The sender lives as long as we do.
        let _ = self.calls.subscribe().wait_for(|n| *n >= times).await;
    }

    /// Takes as long as it does, and fails as often as it does.
    ///
    /// # Errors
    ///
    /// The response of a call that fails.
    pub async fn work(&self) -> Result<(), Response> {
        self.calls.send_modify(|calls| *calls += 1);
        tokio::time::sleep(Duration::from_millis(self.conditions().latency_ms)).await;
        let _ = self.conditions.subscribe().wait_for(|now| !now.held).await;
        if fastrand::f64() < self.conditions().failure_rate {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, "broken on purpose\n").into_response());
        }
        Ok(())
    }
}

/// The services of a program, by their names.
pub type Named = Arc<[(&'static str, Arc<Service>)]>;

/// `GET` and `PUT /conditions/{service}`.
pub fn router(services: impl Into<Named>) -> Router {
    Router::new()
        .route("/conditions/{service}", get(read).put(write))
        .with_state(services.into())
}

async fn read(
    State(services): State<Named>,
    Path(name): Path<String>,
) -> Result<Json<Conditions>, StatusCode> {
    let service = named(&services, &name).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(service.conditions()))
}

async fn write(
    State(services): State<Named>,
    Path(name): Path<String>,
    Json(conditions): Json<Conditions>,
) -> StatusCode {
    let Some(service) = named(&services, &name) else {
        return StatusCode::NOT_FOUND;
    };
    service.set(conditions);
    StatusCode::NO_CONTENT
}

fn named<'a>(services: &'a Named, name: &str) -> Option<&'a Service> {
    let found = services.iter().find(|(known, _)| *known == name);
    found.map(|(_, service)| &**service)
}
