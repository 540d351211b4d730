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

#[tokio::test]
async fn a_body_is_read_up_to_the_smaller_of_two_limits() {
    use axum::extract::DefaultBodyLimit;

    async fn status(app: Router, body: &str) -> u16 {
        let request = Request::post("/order").header("content-type", "application/json");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        app.oneshot(request).await.unwrap().status().as_u16()
    }
    let body = "{\"units\":3}";
    assert_eq!(status(app(), body).await, 200);
    assert_eq!(
        status(app().layer(DefaultBodyLimit::max(3)), body).await,
        413
    );
    assert_eq!(
        status(app().layer(DefaultBodyLimit::max(body.len())), body).await,
        200
    );
    let small = NegotiateLayer::new((Json, Csv::new())).body_limit(3);
    let small = Router::new().route("/order", post(order)).layer(small);
    assert_eq!(
        status(small.layer(DefaultBodyLimit::max(100)), body).await,
        413
    );
}

#[tokio::test]
async fn a_body_without_a_layer_is_a_500() {
    let bare = Router::new().route(
        "/order",
        post(async |Decoded(order, ..): Decoded<Order, Formats>| order.units.to_string()),
    );
    let request = Request::post("/order").header("content-type", "application/json");
    let request = request.body(Body::from("{\"units\":3}")).unwrap();
    assert_eq!(bare.oneshot(request).await.unwrap().status(), 500);
}

#[tokio::test]
async fn an_extension_is_taken_off_around_a_router() {
    use tower::Layer;

    let layer = NegotiateLayer::new((Json, Csv::new())).override_extension();
    let service = layer.layer(Router::new().route("/all", get(all)));
    let request = Request::get("/all.csv").body(Body::empty()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "text/csv;charset=utf-8;header=present"
    );
}

/// axum leaves the body out itself, and says that there is none.
#[tokio::test]
async fn head_of_a_stream_says_no_length() {
    use tower::Layer;

    let layer = NegotiateLayer::new((Json, Csv::new()));
    let pending = async |negotiated: Negotiated<Formats>| {
        let orders = futures_util::stream::iter([Ok::<_, &str>(Order { units: 1 })]);
        let orders = futures_util::StreamExt::chain(orders, futures_util::stream::pending());
        negotiated.stream(orders).await
    };
    let service = layer.layer(Router::new().route("/all", get(pending)));
    let request = Request::head("/all").body(Body::empty()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers().get("content-length"), None);
}
