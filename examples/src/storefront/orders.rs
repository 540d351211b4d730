//! Placing an order: the effect that must happen once.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use buttress_circuit::Rejected;
use buttress_idempotency::{Idempotency, Keep, NoEffect};
use buttress_wire::{Refusal, grpc::Code};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, response};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;

use crate::given::Given;
use crate::storefront::catalogue::{NewOrder, Order, Unavailable};
use crate::storefront::events::Happening;
use crate::storefront::products::bad_gateway;
use crate::storefront::router::note_rejection;
use crate::storefront::shop::Shop;
use crate::storefront::stats::Stats;
use crate::storefront::tenant::Tenant;

/// What the payment service has charged under a key: what it was asked for the first time, whatever it is asked for now.
#[derive(Deserialize)]
struct Receipt {
    payment: String,
    cents: u64,
}

/// Charges the customer, then books the order.
///
/// The key that the payment service gets is derived from the order's own, so that an order that is tried again is charged once, and booked for what was charged: the price may be
/// another one by then. Until it is known that nothing was charged the order's key is not free: another order under it would be paid for by this one.
pub(crate) async fn place(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    claim: Option<Extension<Idempotency>>,
    Given(new): Given<NewOrder>,
) -> Response {
    let placed = try_place(&shop, &tenant, claim.as_deref(), &new).await;
    placed.unwrap_or_else(|refused| *refused)
}

async fn try_place(
    shop: &Shop,
    tenant: &Tenant,
    claim: Option<&Idempotency>,
    new: &NewOrder,
) -> Result<Response, Box<Response>> {
    let unavailable = |error: Unavailable| nothing_done(error.into_response());
    let price = shop.catalogue.price(tenant, &new.product).await;
    let (Some(price), 1..=100) = (price.map_err(unavailable)?, new.quantity) else {
        return Err(unprocessable());
    };
    let total = price * u64::from(new.quantity);
    let paid = pay(shop, tenant, claim, total).await?;
    let changed = tenant.tag("sales");
    let booked = shop.catalogue.book(
        tenant,
        new,
        (paid.cents, paid.payment),
        &changed,
        claim,
        created,
    );
    let booked = booked.await;
    let (order, response) = booked.map_err(|error| unfinished(error.into_response()))?;
    shop.feed.publish(
        tenant,
        Happening::Order {
            id: order.id,
            product: order.product.clone(),
        },
    );
    // Here and not by an extension of the response: the client may have gone, and the response with it.
    shop.pages.stored.invalidate([changed]).now();
    Ok(response)
}

fn created(order: &Order) -> http::Response<Full<Bytes>> {
    // An order is a plain struct: it always has a JSON form.
    let body = serde_json::to_vec(order).unwrap_or_default();
    let response = http::Response::builder()
        .status(StatusCode::CREATED)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::LOCATION, format!("/orders/{}", order.id));
    response
        .body(Full::from(body))
        .expect("a number fits into a header field")
}

pub(crate) async fn list(State(shop): State<Arc<Shop>>, tenant: Tenant) -> Response {
    match shop.catalogue.orders(&tenant).await {
        Ok(orders) => Json(orders).into_response(),
        Err(unavailable) => unavailable.into_response(),
    }
}

pub(crate) async fn one(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    match shop.catalogue.order(&tenant, id).await {
        Ok(Some(order)) => Json(order).into_response(),
        Ok(None) => Refusal::new(
            StatusCode::NOT_FOUND,
            "urn:storefront:problem:no-such-order",
            "There is no such order",
            Code::NotFound,
        )
        .response(&headers)
        .into_response(),
        Err(unavailable) => unavailable.into_response(),
    }
}

/// What was charged, or the response that says why nothing was, or that nobody knows.
async fn pay(
    shop: &Shop,
    tenant: &Tenant,
    claim: Option<&Idempotency>,
    cents: u64,
) -> Result<Receipt, Box<Response>> {
    let key = claim.map_or_else(random_key, |claim| claim.downstream_key("payment"));
    let request = http::Request::builder()
        .method(http::Method::POST)
        .header("idempotency-key", key);
    let sent = shop
        .payments
        .send(tenant, request, "/payments", cents.to_string())
        .await;
    let failed = |error| unfinished(bad_gateway("payments", &error));
    let response = sent.map_err(failed)?;
    note_rejection(shop, &response);
    if response.extensions().get::<Rejected>().is_some() {
        // The breaker's own answer: a 503 that says when to come back.
        return Err(nothing_done(response));
    }
    if !response.status().is_success() {
        return Err(failed(format!("it answered {}", response.status()).into()));
    }
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| failed(error.into()))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| failed(error.into()))
}

/// An order without a key is charged as often as it is sent.
fn random_key() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Nothing was charged and nothing was booked: the key is free again.
fn nothing_done(mut response: Response) -> Box<Response> {
    response.extensions_mut().insert(NoEffect);
    Box::new(response)
}

/// Nobody knows whether something was charged, or booked: the same order is to be sent again, and no other one under its key.
fn unfinished(mut response: Response) -> Box<Response> {
    response.extensions_mut().insert(Unfinished);
    Box::new(response)
}

/// In the extensions of a response: what it was asked for may be half done.
#[derive(Clone, Copy)]
struct Unfinished;

/// What is unfinished is done again when it is asked for again; all else is an answer, or says that nothing was done.
pub(crate) fn keep(head: &response::Parts, stats: &Stats) -> Keep {
    let extensions = &head.extensions;
    if extensions.get::<Unfinished>().is_some() {
        stats.note(|state| state.idempotency.unfinished += 1);
        Keep::Unknown
    } else if extensions.get::<NoEffect>().is_some() {
        Keep::Forget
    } else {
        Keep::Record
    }
}

fn unprocessable() -> Box<Response> {
    let response = Refusal::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "urn:storefront:problem:order",
        "An order is for one of our products, and for 1 to 100 of it",
        Code::InvalidArgument,
    )
    .response(&HeaderMap::new())
    .into_response();
    nothing_done(response)
}
