//! Placing an order: the effect that must happen once.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use buttress_circuit::Rejected;
use buttress_idempotency::{Idempotency, NoEffect};
use buttress_wire::{Refusal, grpc::Code};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde::Deserialize;

use crate::catalogue::NewOrder;
use crate::events::Happening;
use crate::products::bad_gateway;
use crate::router::note_rejection;
use crate::shop::Shop;
use crate::tenant::Tenant;

#[derive(Deserialize)]
struct Receipt {
    payment: String,
}

/// Charges the customer, then books the order.
///
/// The key that the payment service gets is derived from the order's own, so that an order that is tried again is charged once. So a payment
/// that fails leaves nothing behind that a second try would double, and the order's key is given back.
pub(crate) async fn place(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    claim: Option<Extension<Idempotency>>,
    Json(new): Json<NewOrder>,
) -> Response {
    let price = shop.catalogue.price(&tenant, &new.product);
    let (Some(price), 1..=100) = (price, new.quantity) else {
        return unprocessable();
    };
    let total = price * u64::from(new.quantity);
    let payment = match pay(&shop, &tenant, claim, total).await {
        Ok(payment) => payment,
        Err(refused) => return *refused,
    };
    let order = shop.catalogue.add_order(&tenant, &new, total, payment);
    shop.feed.publish(
        &tenant,
        Happening::Order {
            id: order.id,
            product: order.product.clone(),
        },
    );
    // Here and not by an extension of the response: the client may have gone, and the response with it.
    shop.pages.stored.invalidate([tenant.tag("sales")]).now();
    let location = [(header::LOCATION, format!("/orders/{}", order.id))];
    (StatusCode::CREATED, location, Json(order)).into_response()
}

pub(crate) async fn list(State(shop): State<Arc<Shop>>, tenant: Tenant) -> Response {
    Json(shop.catalogue.orders(&tenant)).into_response()
}

/// The number of the payment, or the response that says why there is none.
async fn pay(
    shop: &Shop,
    tenant: &Tenant,
    claim: Option<Extension<Idempotency>>,
    cents: u64,
) -> Result<String, Box<Response>> {
    let key = claim.map_or_else(random_key, |Extension(claim)| {
        claim.downstream_key("payment")
    });
    let request = http::Request::builder()
        .method(http::Method::POST)
        .header("idempotency-key", key);
    let sent = shop
        .payments
        .send(tenant, request, "/payments", cents.to_string())
        .await;
    let response = sent.map_err(|error| nothing_done(bad_gateway("payments", &error)))?;
    note_rejection(shop, &response);
    if response.extensions().get::<Rejected>().is_some() {
        // The breaker's own answer: a 503 that says when to come back.
        return Err(nothing_done(response));
    }
    if !response.status().is_success() {
        let error = format!("it answered {}", response.status()).into();
        return Err(nothing_done(bad_gateway("payments", &error)));
    }
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| nothing_done(bad_gateway("payments", &error.into())))?;
    let receipt: Result<Receipt, _> = serde_json::from_slice(&body.to_bytes());
    let receipt = receipt.map_err(|error| nothing_done(bad_gateway("payments", &error.into())))?;
    Ok(receipt.payment)
}

/// An order without a key is charged as often as it is sent.
fn random_key() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Nothing was booked, and the payment can be asked for again under the same key.
fn nothing_done(mut response: Response) -> Box<Response> {
    response.extensions_mut().insert(NoEffect);
    Box::new(response)
}

fn unprocessable() -> Response {
    let mut response = Refusal::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "urn:storefront:problem:order",
        "An order is for one of our products, and for 1 to 100 of it",
        Code::InvalidArgument,
    )
    .response(&HeaderMap::new())
    .into_response();
    response.extensions_mut().insert(NoEffect);
    response
}
