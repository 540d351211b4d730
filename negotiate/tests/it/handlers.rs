//! Handlers in axum.

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use buttress_negotiate::{
    Csv, Decoded, EncodeError, Json, NegotiateLayer, Negotiated, Record, ReplyBody, StreamError,
};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

type Formats = (Json, Csv);

#[derive(Deserialize, Serialize)]
struct Order {
    units: u8,
}

impl Record for Order {
    const COLUMNS: &'static [&'static str] = &["units"];
}

async fn all(
    negotiated: Negotiated<Formats>,
) -> Result<Response<ReplyBody>, StreamError<&'static str>> {
    let orders = [Ok(Order { units: 1 }), Ok(Order { units: 2 })];
    negotiated.stream(futures_util::stream::iter(orders)).await
}

async fn broken(negotiated: Negotiated<Formats>) -> impl IntoResponse {
    let orders = [Err::<Order, _>("gone")];
    negotiated.stream(futures_util::stream::iter(orders)).await
}

async fn order(
    negotiated: Negotiated<Formats>,
    Decoded(order, ..): Decoded<Order, Formats>,
) -> Result<Response<ReplyBody>, EncodeError> {
    negotiated.reply(&order)
}

fn app() -> Router {
    let layer = NegotiateLayer::new((Json, Csv::new()));
    let routes = Router::new()
        .route("/all", get(all))
        .route("/broken", get(broken));
    let routes = routes.route("/order", post(order)).layer(layer);
    routes.route("/bare", get(all))
}

async fn exchange(method: &str, path: &str, accept: &str, body: &str) -> (u16, String, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request
        .header("accept", accept)
        .header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let (head, body) = app().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let content_type = head
        .headers
        .get("content-type")
        .map(|v| v.to_str().unwrap().to_owned());
    let body = String::from_utf8(body.to_vec()).unwrap();
    (head.status.as_u16(), content_type.unwrap_or_default(), body)
}

#[tokio::test]
async fn a_handler_takes_its_choice_and_gives_back_what_it_made() {
    let (status, content_type, body) = exchange("GET", "/all", "text/csv", "").await;
    assert_eq!((status, body.as_str()), (200, "units\r\n1\r\n2\r\n"));
    assert_eq!(content_type, "text/csv;charset=utf-8;header=present");
    let (status, _, body) = exchange("POST", "/order", "*/*", "{\"units\":3}").await;
    assert_eq!((status, body.as_str()), (200, "{\"units\":3}"));
}

#[tokio::test]
async fn errors_are_problems() {
    for (method, path, status) in [("POST", "/order", 400), ("GET", "/broken", 500)] {
        let (found, content_type, _) = exchange(method, path, "*/*", "[").await;
        assert_eq!(
            (found, content_type.as_str()),
            (status, "application/problem+json")
        );
    }
    assert_eq!(exchange("GET", "/bare", "*/*", "").await.0, 500);
}
