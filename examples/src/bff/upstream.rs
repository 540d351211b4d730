//! The two services: the catalogue, whose answers may be kept for a minute, and reviews, which change all the time.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use examples::conditions::{self, Service};
use http::{HeaderMap, StatusCode, header};
use tokio::sync::watch;

use crate::parts::{Product, Reviews};

#[derive(Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) catalogue: Arc<Service>,
    pub(crate) reviews: Arc<Service>,
    /// The `traceparent` of each call.
    pub(crate) traces: watch::Sender<Vec<String>>,
}

pub(crate) fn router(upstream: &Arc<Upstream>) -> Router {
    Router::new()
        .route("/products/{id}", get(product))
        .route("/reviews/{id}", get(reviews))
        .with_state(Arc::clone(upstream))
        .merge(conditions::router([
            ("catalogue", Arc::clone(&upstream.catalogue)),
            ("reviews", Arc::clone(&upstream.reviews)),
        ]))
}

async fn product(
    State(upstream): State<Arc<Upstream>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    upstream.note(&headers);
    if let Err(failed) = upstream.catalogue.work().await {
        return failed;
    }
    let Some((name, price_cents)) = known(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let product = Product {
        description: format!("{name}, made to last."),
        name: name.to_owned(),
        price_cents,
        id,
    };
    ([(header::CACHE_CONTROL, "max-age=60")], Json(product)).into_response()
}

async fn reviews(State(upstream): State<Arc<Upstream>>, headers: HeaderMap) -> Response {
    upstream.note(&headers);
    if let Err(failed) = upstream.reviews.work().await {
        return failed;
    }
    let reviews = Reviews {
        stars: 4.5,
        texts: vec![
            "Does what it should.".to_owned(),
            "Would buy it again.".to_owned(),
        ],
    };
    ([(header::CACHE_CONTROL, "no-cache")], Json(reviews)).into_response()
}

impl Upstream {
    fn note(&self, headers: &HeaderMap) {
        let parent = headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok());
        let parent = parent.unwrap_or_default().to_owned();
        self.traces.send_modify(|traces| {
            traces.push(parent);
            let before = traces.len().saturating_sub(100);
            traces.drain(..before);
        });
    }
}

fn known(id: &str) -> Option<(&'static str, u64)> {
    Some(match id {
        "lamp" => ("Desk lamp", 3900),
        "bulb" => ("Light bulb", 700),
        "chair" => ("Oak chair", 12900),
        "stool" => ("Bar stool", 6900),
        _ => return None,
    })
}
