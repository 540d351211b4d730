//! Placing an order, and looking at what was placed.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use buttress_idempotency::{Idempotency, Keep, NoEffect};
use buttress_wire::{Refusal, grpc::Code};
use bytes::Bytes;
use examples::given::Given;
use examples::with_causes;
use http::{HeaderMap, StatusCode, header, response};
use http_body_util::Full;
use serde::Deserialize;

use crate::database::{Database, Error, Order};
use crate::serve::Shop;

#[derive(Deserialize)]
pub(crate) struct NewOrder {
    item: String,
    cents: i64,
}

/// Charges the customer, then commits order, event and record together.
///
/// Killed anywhere before the commit, it is done again under the same key: the payment service finds that it has charged that one. Killed after it, its response is replayed.
/// A step that fails is as if it had been killed there.
pub(crate) async fn place<D: Database>(
    State(shop): State<Shop<D>>,
    Extension(claim): Extension<Idempotency>,
    Given(new): Given<NewOrder>,
) -> Response {
    match try_place(&shop, &claim, new).await {
        Ok(response) => response,
        // The database has not changed, but the customer may have been charged: the key must not be free, for under another one that would be done twice.
        Err(error) => unfinished(&error),
    }
}

async fn try_place<D: Database>(
    shop: &Shop<D>,
    claim: &Idempotency,
    new: NewOrder,
) -> Result<Response, Error> {
    let charge = claim.downstream_key("payment");
    let payment = shop.payments.post(&charge, new.cents.to_string()).await?;
    let order = Order {
        id: claim.downstream_key("order"),
        item: new.item,
        cents: new.cents,
        payment: String::from_utf8(payment.to_vec())?,
    };
    let placed = shop.database.place(claim, &order, created(&order)?).await?;
    shop.placed.notify_one();
    Ok(placed.map(Body::new))
}

fn created(order: &Order) -> Result<http::Response<Full<Bytes>>, Error> {
    let response = http::Response::builder()
        .status(StatusCode::CREATED)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::LOCATION, format!("/orders/{}", order.id));
    Ok(response.body(Full::from(serde_json::to_vec(order)?))?)
}

fn unfinished(error: &Error) -> Response {
    let refusal = Refusal::new(
        UNFINISHED,
        "urn:orders:problem:unfinished",
        "The order is not placed yet, and may be paid for: send it again with the same key",
        Code::Unavailable,
    );
    let refusal = refusal.detail(with_causes(&**error));
    refusal.response(&HeaderMap::new()).into_response()
}

const UNFINISHED: StatusCode = StatusCode::BAD_GATEWAY;

/// What is unfinished is left to recovery, which does it again under the same key; all else is an answer, or says that nothing was done.
pub(crate) fn keep(head: &response::Parts) -> Keep {
    match head.status {
        UNFINISHED => Keep::Unknown,
        _ if head.extensions.get::<NoEffect>().is_some() => Keep::Forget,
        _ => Keep::Record,
    }
}

pub(crate) async fn one<D: Database>(
    State(shop): State<Shop<D>>,
    Path(id): Path<String>,
) -> Response {
    match shop.database.orders().await {
        Ok(orders) => match orders.into_iter().find(|order| order.id == id) {
            Some(order) => Json(order).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, with_causes(&*error)).into_response(),
    }
}

pub(crate) async fn list<D: Database>(State(shop): State<Shop<D>>) -> Response {
    match shop.database.orders().await {
        Ok(orders) => Json(orders).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, with_causes(&*error)).into_response(),
    }
}
