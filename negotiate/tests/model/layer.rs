//! Properties of the layer, for any field.

use std::cell::Cell;
use std::convert::Infallible;

use buttress_negotiate::{
    Json, NdJson, NegotiateLayer, Negotiated, Offers, Record, ReplyBody, Text,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tokio_test::block_on;
use tower::{Layer, ServiceExt, service_fn};

type Formats = (Json, NdJson, Text);

fn layer() -> NegotiateLayer<Formats> {
    NegotiateLayer::new((Json, NdJson::new(), Text))
}

#[derive(serde::Serialize)]
struct Row {
    n: u8,
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["n"];
}

/// Fields as they are and as they should not be.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let range = prop_oneof![
        Just("application/json"),
        Just("application/x-ndjson"),
        Just("text/plain"),
        Just("text/*"),
        Just("*/*"),
        Just("image/png"),
        Just("garbage"),
    ];
    let weight = prop_oneof![
        Just(""),
        Just(";q=0"),
        Just(";q=0.5"),
        Just(";q=2"),
        Just(";q=0.001")
    ];
    let known = proptest::collection::vec((range, weight), 0..6).prop_map(|ranges| {
        let ranges = ranges
            .iter()
            .map(|(range, weight)| format!("{range}{weight}"));
        ranges.collect::<Vec<_>>().join(",").into_bytes()
    });
    prop_oneof![4 => known, 1 => proptest::collection::vec(0x20_u8..0x7f, 0..60)]
}

fn exchange(method: Method, accept: &[u8]) -> (StatusCode, HeaderMap, Bytes, bool) {
    let called = Cell::new(false);
    let service = layer().layer(service_fn(async |request: Request<()>| {
        called.set(true);
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        Ok::<_, Infallible>(negotiated.rows(&[Row { n: 1 }]).unwrap())
    }));
    let request = Request::builder().method(method).header("accept", accept);
    let response = block_on(service.oneshot(request.body(()).unwrap())).unwrap();
    let (head, body) = response.into_parts();
    let body = block_on(body.collect()).unwrap().to_bytes();
    (head.status, head.headers, body, called.get())
}

proptest! {
    #[test]
    fn a_406_is_sent_exactly_where_the_service_is_not_called_and_vary_always(accept in field()) {
        // Also the other names of a format: who refuses one of them may take another.
        let offers = [
            "application/json",
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "text/plain",
        ];
        let offers = Offers::new(offers.map(|name| (name, ()))).unwrap();
        let accepted = offers.select_field(&accept).is_ok();
        let (status, headers, _, called) = exchange(Method::GET, &accept);
        prop_assert_eq!(called, status != StatusCode::NOT_ACCEPTABLE);
        prop_assert_eq!(called, accepted);
        let vary = headers.get_all("vary").iter().map(|line| line.to_str().unwrap());
        prop_assert_eq!(vary.collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn head_has_the_fields_of_get_and_no_body(accept in field()) {
        let (mut get, mut head) = (exchange(Method::GET, &accept), exchange(Method::HEAD, &accept));
        // A server adds it where it has the body, and cannot where there is none.
        let length = head.1.remove("content-length");
        prop_assert_eq!(length.unwrap(), get.2.len().to_string());
        get.1.remove("content-length");
        prop_assert_eq!((get.0, &get.1, get.3), (head.0, &head.1, head.3));
        prop_assert!(head.2.is_empty());
    }

    #[test]
    fn a_415_asks_for_another_coding_exactly_where_the_coding_is_at_fault(
        coding in proptest::option::of("(gzip|br|identity|x-own)"),
        content_type in "(application/json|application/x-ndjson|image/png|text)",
    ) {
        let service = layer().layer(service_fn(async |request: Request<Full<Bytes>>| {
            let negotiated = Negotiated::<Formats>::of(&request).unwrap();
            let read = negotiated.decode::<serde_json::Value, _>(request).await;
            let response: Response<ReplyBody> = match read {
                Ok(_) => Response::default(),
                Err(error) => error.response(),
            };
            Ok::<_, Infallible>(response)
        }));
        let mut request = Request::post("/").header("content-type", &content_type);
        if let Some(coding) = &coding {
            request = request.header("content-encoding", coding);
        }
        let request = request.body(Full::from("1")).unwrap();
        let response = block_on(service.oneshot(request)).unwrap();
        let refused = response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let by_coding = coding.is_some_and(|coding| coding != "identity");
        let by_type = !content_type.contains("json");
        prop_assert_eq!(refused, by_coding || by_type);
        prop_assert_eq!(response.headers().contains_key("accept-encoding"), by_coding);
    }
}
