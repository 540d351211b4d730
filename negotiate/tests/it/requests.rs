//! Request bodies, read by their `Content-Type`.

use std::convert::Infallible;

use buttress_negotiate::{
    Cbor, DecodeError, Json, MsgPack, NdJson, NegotiateLayer, Negotiated, Position, ReplyBody, Xml,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use tokio_test::block_on;
use tower::{Layer, ServiceExt, service_fn};

type Formats = (Json, Xml, NdJson, Cbor, MsgPack);

fn layer() -> NegotiateLayer<Formats> {
    let xml = Xml::root("all").item("one");
    NegotiateLayer::new((Json, xml, NdJson::new(), Cbor, MsgPack))
}

fn post(content_type: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post("/").header("content-type", content_type);
    request.body(Full::new(body.into())).unwrap()
}

/// What a handler finds in `request` that reads a list of numbers.
fn read(
    layer: &NegotiateLayer<Formats>,
    request: Request<Full<Bytes>>,
) -> Result<Vec<u8>, DecodeError> {
    let found = std::cell::RefCell::new(None);
    let service = layer.layer(service_fn(async |request: Request<Full<Bytes>>| {
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        *found.borrow_mut() = Some(negotiated.decode(request).await);
        Ok::<_, Infallible>(Response::new(ReplyBody::default()))
    }));
    block_on(service.oneshot(request)).unwrap();
    found.into_inner().expect("the handler runs")
}

fn problem(error: &DecodeError) -> (Response<()>, Value) {
    let (head, body) = error.response().into_parts();
    let body = block_on(body.collect()).unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap();
    (Response::from_parts(head, ()), body)
}

#[test]
fn every_format_reads_what_it_is_named_for() {
    let bodies: [(&str, &[u8]); 9] = [
        ("application/json", b"[1,2]"),
        (
            "Application/JSON; charset=UTF-8; x=\"y\"",
            b"\xef\xbb\xbf[1,2]",
        ),
        ("application/json;charset=iso-8859-1", b"[1,2]"),
        ("application/xml", b"<x><one>1</one><one>2</one></x>"),
        (
            "text/xml;charset=us-ascii",
            b"<x><one>1</one><one>2</one></x>",
        ),
        ("application/x-ndjson", b"1\n2\n"),
        ("application/cbor", b"\x82\x01\x02"),
        ("application/vnd.msgpack", b"\x92\x01\x02"),
        ("application/x-msgpack;charset=ebcdic", b"\x92\x01\x02"),
    ];
    for (content_type, body) in bodies {
        let found = read(&layer(), post(content_type, body)).unwrap();
        assert_eq!(found, [1, 2], "{content_type}");
    }
}

#[test]
fn what_is_not_read_is_a_415_that_tells_what_is() {
    let accept = "application/json, application/xml, text/xml, application/x-ndjson, application/ndjson, \
                  application/jsonl, application/cbor, application/vnd.msgpack, application/msgpack, application/x-msgpack";
    for (method, field) in [
        ("POST", Some("accept-post")),
        ("PATCH", Some("accept-patch")),
        ("QUERY", Some("accept-query")),
        ("PUT", None),
    ] {
        for content_type in [
            "text/csv",
            "application/jsonx",
            "application/problem+json",
            "application/json;charset=utf-16",
            "application/json;charset",
            "",
        ] {
            let mut request = post(content_type, "[1]");
            *request.method_mut() = method.parse().unwrap();
            let (head, body) = problem(&read(&layer(), request).unwrap_err());
            assert_eq!(head.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!(body["status"], 415);
            assert_eq!(head.headers()["accept"], accept, "{content_type}");
            let listed: Vec<_> = ["accept-post", "accept-patch", "accept-query"]
                .into_iter()
                .filter(|name| head.headers().contains_key(*name))
                .collect();
            assert_eq!(listed, Vec::from_iter(field), "{method}");
            assert!(!head.headers().contains_key("accept-encoding"));
        }
    }
    let mut unstated = post("a/b", "[1]");
    unstated.headers_mut().remove("content-type");
    assert_eq!(read(&layer(), unstated).unwrap_err().status(), 415);
}

#[test]
fn a_coding_that_is_still_there_is_named_as_the_cause_and_nothing_else_is() {
    for (coding, refused) in [("gzip", true), ("identity", false), ("identity, br", true)] {
        let mut request = post("application/json", "[1]");
        let coding = http::HeaderValue::from_static(coding);
        request.headers_mut().insert("content-encoding", coding);
        match read(&layer(), request) {
            Ok(_) => assert!(!refused),
            Err(error) => {
                let (head, _) = problem(&error);
                assert!(refused);
                assert_eq!(head.status(), 415);
                assert_eq!(head.headers()["accept-encoding"], "identity");
                assert!(!head.headers().contains_key("accept"));
                assert!(!head.headers().contains_key("accept-post"));
            }
        }
    }
}

#[test]
fn a_suffix_is_read_where_the_layer_says_so() {
    for (content_type, body) in [
        ("application/vnd.shop.order+json", "[1]"),
        ("image/x+XML", "<a><one>1</one></a>"),
    ] {
        assert!(read(&layer(), post(content_type, body)).is_err());
        let found = read(&layer().read_suffixes(), post(content_type, body));
        assert_eq!(found.unwrap(), [1], "{content_type}");
    }
    let other = read(&layer().read_suffixes(), post("text/csv", "1"));
    assert_eq!(
        other.unwrap_err().status(),
        415,
        "a format without a suffix ends no name"
    );
}

#[test]
fn a_body_over_the_limit_is_a_413_however_it_comes() {
    let limited = layer().body_limit(5);
    assert_eq!(
        read(&limited, post("application/json", "[1,2]")).unwrap(),
        [1, 2]
    );
    let error = read(&limited, post("application/json", "[1,22]")).unwrap_err();
    let (head, body) = problem(&error);
    assert_eq!((head.status().as_u16(), &body["limit"]), (413, &5.into()));

    // In pieces, without a length.
    let pieces = ["[1,", "2", "2]"].map(|piece| {
        Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(piece.as_bytes())))
    });
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let request = Request::post("/").header("content-type", "application/json");
    let service = limited.layer(service_fn(async |request: Request<_>| {
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        let read = negotiated.decode::<Vec<u8>, _>(request).await;
        Ok::<_, Infallible>(read.unwrap_err().response())
    }));
    let response = block_on(service.oneshot(request.body(body).unwrap())).unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// Says that it is long.
struct Long;

impl http_body::Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        panic!("it is not read")
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(1_048_577)
    }
}

#[test]
fn a_body_that_says_it_is_too_long_is_not_read() {
    let service = layer().layer(service_fn(async |request: Request<Long>| {
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        let read = negotiated.decode::<Vec<u8>, _>(request).await;
        Ok::<_, Infallible>(read.unwrap_err().response())
    }));
    let request = Request::post("/").header("content-type", "application/json");
    let response = block_on(service.oneshot(request.body(Long).unwrap())).unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn what_is_malformed_is_a_400_that_tells_where() {
    let place = |content_type: &str, body: &'static [u8]| {
        let error = read(&layer(), post(content_type, body)).unwrap_err();
        let (head, body) = problem(&error);
        assert_eq!(head.status(), StatusCode::BAD_REQUEST, "{content_type}");
        assert!(body["position"].is_object(), "{body}");
        error.position().unwrap()
    };
    let line = |line, column| Position::Line { line, column };
    assert_eq!(place("application/json", b"[1,\n x]"), line(2, 2));
    assert_eq!(place("application/json", b"[1,\n 256]"), line(2, 4));
    assert_eq!(place("application/json", b"[1] 2"), line(1, 5));
    assert_eq!(place("application/json", b"[1,\n \xff]"), line(2, 2));
    assert_eq!(place("application/x-ndjson", b"1\n\nx\n"), line(3, 1));
    assert_eq!(place("application/cbor", b"\x82\x01"), Position::Byte(2));
    assert_eq!(
        place("application/msgpack", b"\x91\x01\x02"),
        Position::Byte(2)
    );
    assert_eq!(place("application/xml", b"<a>\n<one>1</on>"), line(2, 7));
}

#[test]
fn a_body_that_breaks_off_is_a_400() {
    let frames = [
        Ok(http_body::Frame::data(Bytes::from_static(b"[1"))),
        Err(std::io::Error::other("reset")),
    ];
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    let service = layer().layer(service_fn(async |request: Request<_>| {
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        let read = negotiated.decode::<Vec<u8>, _>(request).await;
        Ok::<_, Infallible>(read.unwrap_err().response())
    }));
    assert_eq!(block_on(service.oneshot(request)).unwrap().status(), 400);
}

#[test]
fn a_layer_may_refuse_what_is_not_read_before_the_handler_runs() {
    let only = layer().only_readable();
    let exchange = |request: Request<Full<Bytes>>| {
        let ran = std::cell::Cell::new(false);
        let service = only.layer(service_fn(async |_: Request<Full<Bytes>>| {
            ran.set(true);
            Ok::<_, Infallible>(Response::new(ReplyBody::default()))
        }));
        let response = block_on(service.oneshot(request)).unwrap();
        (response, ran.get())
    };
    let (response, ran) = exchange(post("text/csv", "a"));
    assert_eq!((response.status().as_u16(), ran), (415, false));
    assert!(response.headers().contains_key("accept-post"));
    assert_eq!(response.headers()["vary"], "accept");
    let (response, ran) = exchange(post("application/json", "not looked at"));
    assert_eq!((response.status().as_u16(), ran), (200, true));
    let (_, ran) = exchange(Request::new(Full::default()));
    assert!(ran, "there is no body that could be read");
}
