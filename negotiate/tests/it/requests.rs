//! Request bodies, read by their `Content-Type`.

use std::convert::Infallible;

use buttress_negotiate::{
    Cbor, DecodeError, Json, MessagePack, NdJson, NegotiateLayer, Negotiated, Position, ReplyBody,
    Xml,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use tokio_test::block_on;
use tower::{Layer, ServiceExt, service_fn};

type Formats = (Json, Xml, NdJson, Cbor, MessagePack);

fn layer() -> NegotiateLayer<Formats> {
    let xml = Xml::root("all").item("one");
    NegotiateLayer::new((Json, xml, NdJson::new(), Cbor, MessagePack))
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
            "application/xml;charset=utf-16",
            "application/xml;charset=utf-8;charset=utf-8",
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
    for (coding, refused) in [
        ("gzip", true),
        ("identity", false),
        ("Identity", false),
        ("identity, br", true),
    ] {
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
        ("application/x+cbor", "\u{1}"),
    ] {
        let body: Bytes = match body {
            "\u{1}" => Bytes::from_static(b"\x81\x01"),
            text => Bytes::from_static(text.as_bytes()),
        };
        assert!(read(&layer(), post(content_type, body.clone())).is_err());
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

/// What `decode` makes of a body that fails with `error`.
fn broken(error: std::io::Error) -> DecodeError {
    let request = Request::post("/").header("content-type", "application/json");
    let frames = futures_util::stream::iter([Err::<http_body::Frame<Bytes>, _>(error)]);
    let request = request.body(StreamBody::new(frames)).unwrap();
    let found = std::cell::RefCell::new(None);
    let service = layer().layer(service_fn(async |request: Request<_>| {
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        *found.borrow_mut() = Some(negotiated.decode::<Vec<u8>, _>(request).await.unwrap_err());
        Ok::<_, Infallible>(Response::new(ReplyBody::default()))
    }));
    block_on(service.oneshot(request)).unwrap();
    found.into_inner().unwrap()
}

#[test]
fn who_asks_is_told_why_a_body_broke_off() {
    let error = broken(std::io::Error::other("reset"));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "reset");
}

#[test]
fn the_limit_of_another_layer_is_a_413_too_however_it_is_wrapped() {
    #[derive(Debug)]
    struct Wrapped(http_body_util::LengthLimitError);
    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("wrapped")
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let limited = http_body_util::Limited::new(Full::new(Bytes::from_static(b"[1]")), 2);
    let error = block_on(limited.collect()).unwrap_err();
    let error = *error
        .downcast::<http_body_util::LengthLimitError>()
        .unwrap();
    let error = broken(std::io::Error::other(Wrapped(error)));
    assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn the_limit_is_a_mebibyte_where_none_is_said() {
    let body = |len: usize| format!("{}[1]", " ".repeat(len - 3));
    assert_eq!(
        read(&layer(), post("application/json", body(1 << 20))).unwrap(),
        [1]
    );
    let error = read(&layer(), post("application/json", body((1 << 20) + 1))).unwrap_err();
    assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// What a handler finds that reads a text.
fn text(content_type: &str, body: &'static [u8]) -> Result<String, StatusCode> {
    let found = std::cell::RefCell::new(None);
    let service = layer().layer(service_fn(async |request: Request<Full<Bytes>>| {
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        *found.borrow_mut() = Some(negotiated.decode::<Vec<String>, _>(request).await);
        Ok::<_, Infallible>(Response::new(ReplyBody::default()))
    }));
    block_on(service.oneshot(post(content_type, body))).unwrap();
    let found = found.into_inner().unwrap();
    found
        .map(|texts| texts.concat())
        .map_err(|error| error.status())
}

#[test]
fn text_is_read_in_the_charset_that_is_named_and_json_in_its_own() {
    let xml: [(&str, &[u8]); 8] = [
        ("text/xml", b"<x><one>\xc3\xa9</one></x>"),
        ("text/xml;charset=utf8", b"<x><one>\xc3\xa9</one></x>"),
        ("text/xml;CHARSET=UTF-8", b"<x><one>\xc3\xa9</one></x>"),
        ("text/xml;charset=us-ascii", b"<x><one>\xc3\xa9</one></x>"),
        ("text/xml;charset=iso-8859-1", b"<x><one>\xe9</one></x>"),
        ("text/xml;Charset=Latin1", b"<x><one>\xe9</one></x>"),
        // The mark says more than the name.
        (
            "text/xml;charset=iso-8859-1",
            b"\xef\xbb\xbf<x><one>\xc3\xa9</one></x>",
        ),
        // What is around the text is a part of it.
        ("text/xml", b"\n<x><one>\xc3\xa9</one></x>\n"),
    ];
    for (content_type, body) in xml {
        assert_eq!(
            text(content_type, body).as_deref(),
            Ok("\u{e9}"),
            "{content_type}"
        );
    }
    // RFC 8259, section 11: the parameter has no effect.
    for charset in ["utf-8", "iso-8859-1", "utf-16", "none"] {
        for content_type in ["application/json", "application/x-ndjson"] {
            let body: &[u8] = if content_type.ends_with("/json") {
                b"[\"\xc3\xa9\"]"
            } else {
                b"\"\xc3\xa9\"\n"
            };
            let content_type = format!("{content_type};charset={charset}");
            assert_eq!(
                text(&content_type, body).as_deref(),
                Ok("\u{e9}"),
                "{content_type}"
            );
        }
    }
    assert_eq!(text("application/json", b"[\" \"]").as_deref(), Ok(" "));
}

#[test]
fn of_two_content_types_none_counts() {
    let mut request = post("application/json", "[1]");
    let other = http::HeaderValue::from_static("application/json");
    request.headers_mut().append("content-type", other);
    assert_eq!(read(&layer(), request).unwrap_err().status(), 415);
}

#[test]
fn a_problem_repeats_little_of_the_body_and_no_browser_guesses_what_it_is() {
    let long = format!("[\"{}\"]", "\u{e9}".repeat(100_000));
    let error = read(&layer(), post("application/json", long)).unwrap_err();
    let (head, body) = problem(&error);
    assert_eq!(head.headers()["x-content-type-options"], "nosniff");
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.len() <= 203 && detail.ends_with('\u{2026}'),
        "{detail}"
    );
    let error = read(&layer(), post("application/json", "[\"a\"]")).unwrap_err();
    assert!(
        error.to_string().ends_with(|c: char| c.is_ascii_digit()),
        "{error}"
    );
    let error = read(&layer(), post("a/b", "")).unwrap_err();
    assert_eq!(
        problem(&error).0.headers()["x-content-type-options"],
        "nosniff"
    );
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
    for method in ["GET", "HEAD"] {
        let mut request = post("text/csv", "");
        *request.method_mut() = method.parse().unwrap();
        assert!(exchange(request).1, "a {method} has no use for one");
    }
    let mut empty = post("text/csv", "");
    let zero = http::HeaderValue::from_static("0");
    empty.headers_mut().insert("content-length", zero);
    assert!(exchange(empty).1, "it says that it is empty");
    let (response, ran) = exchange(post("application/x+json", "1"));
    assert_eq!((response.status().as_u16(), ran), (415, false), "a suffix");
    let (response, ran) = exchange(post("application/grpc", "1"));
    assert_eq!(
        (response.headers()["grpc-status"].clone(), ran),
        ("3".parse().unwrap(), false)
    );
}
