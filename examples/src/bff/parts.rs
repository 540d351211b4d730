//! The parts of a page: each comes from a service, or is left out with the reason.

use buttress_circuit::State;
use http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tower::BoxError;
use tower::timeout::error::Elapsed;

use crate::remote::Remote;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Product {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) price_cents: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Reviews {
    pub(crate) stars: f64,
    pub(crate) texts: Vec<String>,
}

/// Why a part is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Missing {
    /// Its service fails of late, and was not asked.
    BreakerOpen,
    /// It was not there by the deadline.
    TooSlow,
    /// Its service failed.
    Failed,
    /// Its service says that there is no such thing.
    Unknown,
}

/// One part, by the deadline.
pub(crate) async fn part<T: DeserializeOwned>(
    remote: &Remote,
    path: &str,
    deadline: Instant,
) -> Result<T, Missing> {
    let read = timeout_at(deadline, read(remote, path)).await;
    read.unwrap_or(Err(Missing::TooSlow))
}

async fn read<T: DeserializeOwned>(remote: &Remote, path: &str) -> Result<T, Missing> {
    let response = remote.get(path).await.map_err(|error| failed(&error))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(Missing::Unknown),
        // Not by `Rejected` in the extensions: who has joined another's call sees none.
        StatusCode::SERVICE_UNAVAILABLE if is_open(remote) => return Err(Missing::BreakerOpen),
        _ => return Err(Missing::Failed),
    }
    let body = response.into_body().collect().await;
    let body = body.map_err(|_| Missing::Failed)?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| Missing::Failed)
}

fn is_open(remote: &Remote) -> bool {
    !matches!(remote.breaker.state(), State::Closed)
}

fn failed(error: &BoxError) -> Missing {
    if error.is::<Elapsed>() {
        Missing::TooSlow
    } else {
        Missing::Failed
    }
}
