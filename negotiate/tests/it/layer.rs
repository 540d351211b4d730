//! What the layer does around a service.

use std::cell::Cell;
use std::convert::Infallible;

use buttress_negotiate::{
    EncodeError, Format, Json, JsonRows, Limits, MediaType, NegotiateLayer, Negotiated,
    NotAcceptable, OriginalAccept, QValue, Selected, TieBreak, Unacceptable,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use tokio_test::block_on;
use tower::{Layer, Service, ServiceExt, service_fn};

/// A format with a name of its own; what it writes is JSON.
struct Named(&'static str, &'static [MediaType]);

impl Format for Named {
    type Rows = JsonRows;

    fn name(&self) -> &'static str {
        self.0
    }
    fn media_types(&self) -> &'static [MediaType] {
        self.1
    }
    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        Json.encode(value, out)
    }
    fn rows(&self, columns: &'static [&'static str]) -> JsonRows {
        Json.rows(columns)
    }
}

type Two = (Json, Named);

fn two() -> NegotiateLayer<Two> {
    const TEXT: &[MediaType] = &[MediaType::new("text/plain;charset=utf-8")];
    NegotiateLayer::new((Json, Named("txt", TEXT)))
}

fn get(accept: &[&str]) -> Request<()> {
    let request = accept
        .iter()
        .fold(Request::builder(), |r, line| r.header("accept", *line));
    request.body(()).unwrap()
}

/// One exchange: the response, and the request that the handler saw, if it was called.
fn exchange(
    layer: &NegotiateLayer<Two>,
    request: Request<()>,
    answer: Response<Full<Bytes>>,
) -> (Response<Full<Bytes>>, Option<Request<()>>) {
    let seen = Cell::new(None);
    let answer = Cell::new(Some(answer));
    let service = layer.layer(service_fn(async |request: Request<()>| {
        seen.set(Some(request));
        Ok::<_, Infallible>(answer.take().unwrap())
    }));
    let response = block_on(async {
        let (head, body) = service.oneshot(request).await.unwrap().into_parts();
        Response::from_parts(head, Full::new(body.collect().await.unwrap().to_bytes()))
    });
    (response, seen.into_inner())
}

fn handled(layer: &NegotiateLayer<Two>, accept: &[&str]) -> Option<Request<()>> {
    exchange(layer, get(accept), Response::default()).1
}

fn format(layer: &NegotiateLayer<Two>, accept: &str) -> Option<&'static str> {
    let request = handled(layer, &[accept])?;
    Some(Negotiated::<Two>::of(&request).unwrap().format())
}

#[test]
fn nothing_acceptable_is_a_406_that_lists_what_there_is_and_no_call() {
    let (response, seen) = exchange(&two(), get(&["image/png"]), Response::default());
    assert!(seen.is_none(), "the handler was called");
    assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(response.headers()["vary"], "accept");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.extensions().get::<NotAcceptable>().is_some());
    let body = block_on(response.into_body().collect()).unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["status"], 406);
    assert_eq!(
        body["available"],
        serde_json::json!([
            {"type": "application/json", "format": "json"},
            {"type": "text/plain", "format": "txt"},
        ])
    );
}

#[test]
fn a_grpc_caller_gets_a_grpc_status() {
    let mut request = get(&["image/png"]);
    let grpc = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", grpc);
    let (response, _) = exchange(&two(), request, Response::default());
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "3");
    assert_eq!(response.headers()["vary"], "accept");
}

#[test]
fn inner_layers_see_the_choice_alone_and_the_original_beside_it() {
    let lines = ["image/png, text/*;q=0.9", "application/json;q=0.1"];
    let request = handled(&two(), &lines).unwrap();
    let accept: Vec<_> = request.headers().get_all("accept").iter().collect();
    assert_eq!(accept, ["text/plain"]);
    let original = request.extensions().get::<OriginalAccept>().unwrap();
    assert_eq!(original.lines(), lines);
    let absent = handled(&two(), &[]).unwrap();
    assert_eq!(absent.headers()["accept"], "application/json");
    assert!(
        absent
            .extensions()
            .get::<OriginalAccept>()
            .unwrap()
            .lines()
            .is_empty()
    );
}

#[test]
fn of_two_layers_the_outer_one_keeps_what_the_client_sent() {
    let service = two().layer(two().layer(service_fn(async |request: Request<()>| {
        let original = request.extensions().get::<OriginalAccept>().unwrap();
        assert_eq!(original.lines(), ["text/*"]);
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    })));
    let response = block_on(service.oneshot(get(&["text/*"]))).unwrap();
    assert_eq!(response.headers()["vary"], "accept");
}

#[test]
fn two_formats_that_differ_by_a_parameter_are_told_apart_inside() {
    const V1: &[MediaType] = &[MediaType::new("application/json;v=1")];
    const V2: &[MediaType] = &[MediaType::new("Application/JSON;v=2")];
    const OTHER: &[MediaType] = &[MediaType::new("text/plain;v=2")];
    type Three = (Named, Named, Named);
    let layer = NegotiateLayer::new((Named("v1", V1), Named("v2", V2), Named("txt", OTHER)));
    for (accept, name, inside) in [
        ("application/json;v=2", "v2", "Application/JSON;v=2"),
        ("application/json", "v1", "application/json;v=1"),
        ("text/*", "txt", "text/plain"),
    ] {
        let service = layer.layer(layer.layer(service_fn(async |request: Request<()>| {
            assert_eq!(request.headers()["accept"], inside);
            assert_eq!(Negotiated::<Three>::of(&request).unwrap().format(), name);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        })));
        let response = block_on(service.oneshot(get(&[accept]))).unwrap();
        assert_eq!(
            response.extensions().get::<Selected>().unwrap().format(),
            name
        );
    }
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let response = block_on(service.oneshot(get(&["image/png"]))).unwrap();
    let body = block_on(response.into_body().collect()).unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let types: Vec<_> = body["available"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["type"])
        .collect();
    assert_eq!(
        types,
        ["application/json;v=1", "Application/JSON;v=2", "text/plain"]
    );
}

#[test]
fn every_answer_says_vary_and_is_otherwise_as_the_handler_made_it() {
    for status in [200, 304, 404, 500] {
        let answer = Response::builder()
            .status(status)
            .header("vary", "Origin")
            .header("content-type", "application/problem+json")
            .body(Full::from("as it is"));
        let (response, _) = exchange(&two(), get(&["text/plain"]), answer.unwrap());
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["vary"], "Origin, accept");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(
            response.extensions().get::<Selected>().unwrap().format(),
            "txt"
        );
        let body = block_on(response.into_body().collect()).unwrap().to_bytes();
        assert_eq!(body, "as it is");
    }
}

#[test]
fn errors_of_the_service_stay_its_errors() {
    let mut service = two().layer(service_fn(async |_: Request<()>| {
        Err::<Response<Full<Bytes>>, _>("broken")
    }));
    assert_eq!(block_on(service.call(get(&[]))).unwrap_err(), "broken");
}

#[test]
fn a_charset_that_clients_ask_for_is_no_reason_to_refuse() {
    assert_eq!(
        format(&two(), "application/json;charset=UTF-8"),
        Some("json")
    );
    assert_eq!(format(&two(), "text/plain; charset=\"utf-8\""), Some("txt"));
    assert_eq!(format(&two(), "text/plain; charset=utf-16"), None);
}

#[test]
fn settings_decide() {
    let default = two().unacceptable(Unacceptable::ServeDefault);
    assert_eq!(format(&default, "image/png"), Some("json"));
    let other = default.quality("json", QValue::ZERO);
    assert_eq!(
        format(&other, "image/png"),
        Some("txt"),
        "what is best, and not what is first"
    );
    let tie = "text/plain, application/json";
    assert_eq!(format(&two(), tie), Some("txt"));
    assert_eq!(
        format(&two().tie_break(TieBreak::Server), tie),
        Some("json")
    );
    let half = QValue::from_thousandths(500).unwrap();
    let worse = two().quality("txt", half);
    assert_eq!(format(&worse, tie), Some("json"));
    assert_eq!(
        format(&worse, "text/plain, application/json;q=0.4"),
        Some("txt")
    );
    let never = two().quality("json", QValue::ZERO);
    assert_eq!(format(&never, "*/*"), Some("txt"));
    assert_eq!(format(&never, "application/json"), None);
}

#[test]
fn a_field_over_the_limits_counts_as_absent() {
    let limits = |bytes, ranges| two().limits(Limits { bytes, ranges });
    let field = "image/png, text/plain";
    assert_eq!(format(&limits(field.len(), 2), field), Some("txt"));
    assert_eq!(format(&limits(field.len() - 1, 2), field), Some("json"));
    assert_eq!(format(&limits(field.len(), 1), field), Some("json"));
    let many = format!("{}text/plain", "image/png;a=\"1\",".repeat(255));
    assert_eq!(format(&two(), &many), Some("txt"));
    assert_eq!(format(&two(), &format!("a/b,{many}")), Some("json"));
    // A long field is read as a short one is.
    let filler = "image/png,".repeat(64);
    assert_eq!(format(&two(), &format!("{filler}text/*")), Some("txt"));
    let tie = format!("{filler}text/plain,application/json");
    assert_eq!(format(&two(), &tie), Some("txt"), "the first is the first");
    let tie = format!("{}text/plain,application/json", "image/png,".repeat(63));
    assert_eq!(format(&two(), &tie), Some("txt"));
    let long = format!("text/plain;a=\"{}\"", "x".repeat(8192));
    assert_eq!(format(&two(), &long), Some("json"));
    let seen = handled(&limits(20, 9), &["image/png", "image/gif;q=1"]).unwrap();
    assert_eq!(
        seen.headers()["accept"],
        "application/json",
        "lines count together"
    );
}

#[test]
#[should_panic(expected = "a format is wrong")]
fn a_format_that_is_no_media_type_is_refused_when_the_layer_is_made() {
    let _ = NegotiateLayer::new((Named("any", const { &[MediaType::new("*/*")] }),));
}
