//! The shapes of a page: whole for the web, lean for phones, and partial where a service fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use buttress_wire::{Refusal, grpc::Code};
use examples::path::segment;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use tokio::time::Instant;

use crate::parts::{Missing, Product, Reviews, part};
use crate::remote::Remote;

pub(crate) struct Shop {
    pub(crate) catalogue: Remote,
    pub(crate) reviews: Remote,
    pub(crate) deadline: Duration,
}

pub(crate) fn router(shop: &Arc<Shop>) -> Router {
    Router::new()
        .route("/web/products/{id}", get(web))
        .route("/mobile/products/{id}", get(mobile))
        .with_state(Arc::clone(shop))
}

/// What both services know of a product, or why they did not say.
struct Parts {
    product: Result<Product, Missing>,
    reviews: Result<Reviews, Missing>,
}

/// Both are asked at once, and neither is waited for beyond the deadline.
async fn parts(shop: &Shop, id: &str) -> Parts {
    let deadline = Instant::now() + shop.deadline;
    let id = segment(id);
    let paths = (format!("/products/{id}"), format!("/reviews/{id}"));
    let (product, reviews) = tokio::join!(
        part(&shop.catalogue, &paths.0, deadline),
        part(&shop.reviews, &paths.1, deadline),
    );
    Parts { product, reviews }
}

#[derive(Serialize)]
struct Web {
    product: Option<Product>,
    reviews: Option<Reviews>,
    #[serde(flatten)]
    partial: Partial,
}

#[derive(Serialize)]
struct Mobile {
    name: Option<String>,
    price_cents: Option<u64>,
    stars: Option<f64>,
    #[serde(flatten)]
    partial: Partial,
}

/// Says of an answer whether it is whole.
#[derive(Serialize)]
struct Partial {
    partial: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    missing: BTreeMap<&'static str, Missing>,
}

async fn web(State(shop): State<Arc<Shop>>, Path(id): Path<String>) -> Response {
    answer(parts(&shop, &id).await, |parts, partial| Web {
        product: parts.product.ok(),
        reviews: parts.reviews.ok(),
        partial,
    })
}

async fn mobile(State(shop): State<Arc<Shop>>, Path(id): Path<String>) -> Response {
    answer(parts(&shop, &id).await, |parts, partial| Mobile {
        price_cents: parts
            .product
            .as_ref()
            .map(|product| product.price_cents)
            .ok(),
        name: parts.product.map(|product| product.name).ok(),
        stars: parts.reviews.map(|reviews| reviews.stars).ok(),
        partial,
    })
}

fn answer<T: Serialize>(parts: Parts, shape: impl FnOnce(Parts, Partial) -> T) -> Response {
    if matches!(parts.product, Err(Missing::Unknown)) {
        return no_such_product();
    }
    if parts.product.is_err() && parts.reviews.is_err() {
        return nothing_there();
    }
    let partial = Partial::of(&parts);
    // A page that lacks something is not to be kept in its whole one's place.
    let control = if partial.partial {
        "no-store"
    } else {
        "private, max-age=5"
    };
    (
        [(header::CACHE_CONTROL, control)],
        Json(shape(parts, partial)),
    )
        .into_response()
}

impl Partial {
    fn of(parts: &Parts) -> Self {
        let product = parts.product.as_ref().err().map(|why| ("product", *why));
        let reviews = parts.reviews.as_ref().err().map(|why| ("reviews", *why));
        let missing: BTreeMap<_, _> = product.into_iter().chain(reviews).collect();
        Self {
            partial: !missing.is_empty(),
            missing,
        }
    }
}

fn no_such_product() -> Response {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "urn:bff:problem:no-such-product",
        "There is no such product",
        Code::NotFound,
    )
    .response(&HeaderMap::new())
    .into_response()
}

fn nothing_there() -> Response {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "urn:bff:problem:nothing-there",
        "None of the services that this page is made of has answered",
        Code::Unavailable,
    )
    .retry_after(Duration::from_secs(2))
    .response(&HeaderMap::new())
    .into_response()
}
