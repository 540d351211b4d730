//! What the target, the method and the client's taste for problems change.

use std::convert::Infallible;

use buttress_negotiate::{
    Html, Json, NdJson, NegotiateLayer, Negotiated, QValue, Record, ReplyBody, Text,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio_test::block_on;
use tower::{Layer, ServiceExt, service_fn};

type Formats = (Json, NdJson, Html, Text);

fn layer() -> NegotiateLayer<Formats> {
    NegotiateLayer::new((Json, NdJson::new(), Html::title("All"), Text))
}

#[derive(serde::Serialize)]
struct Row {
    n: u8,
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["n"];
}

fn request(method: &str, uri: &str, accept: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(uri);
    request.header("accept", accept).body(()).unwrap()
}

/// The format that is chosen, and the target that the handler sees.
fn chosen(layer: &NegotiateLayer<Formats>, uri: &str, accept: &str) -> (&'static str, String) {
    let seen = std::cell::RefCell::new(None);
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let format = Negotiated::<Formats>::of(&request).unwrap().format();
        *seen.borrow_mut() = Some((format, request.uri().to_string()));
        Ok::<_, Infallible>(Response::new(ReplyBody::default()))
    }));
    let response = block_on(service.oneshot(request("GET", uri, accept))).unwrap();
    assert_eq!(response.headers()["vary"], "accept");
    seen.into_inner()
        .unwrap_or(("none", response.status().to_string()))
}

#[test]
fn a_parameter_chooses_only_among_what_is_on_offer() {
    let layer = layer().override_query("format");
    let query = |uri: &str, accept: &str| chosen(&layer, uri, accept).0;
    assert_eq!(query("/a?format=ndjson", "text/html"), "ndjson");
    assert_eq!(query("/a?x=1&format=txt", "image/png"), "txt");
    for unknown in [
        "/a?format=exe",
        "/a?format=",
        "/a?form=txt",
        "/a?format=JSON%00",
        "/a.txt",
    ] {
        assert_eq!(query(unknown, "text/html"), "html", "{unknown}");
        assert_eq!(query(unknown, "image/png"), "none", "{unknown}");
    }
    let never = layer.clone().quality("txt", QValue::ZERO);
    assert_eq!(chosen(&never, "/a?format=txt", "text/html").0, "html");
    assert_eq!(
        chosen(&self::layer(), "/a?format=txt", "text/html").0,
        "html"
    );
}

#[test]
fn an_extension_chooses_and_is_taken_off_only_when_it_names_what_is_on_offer() {
    let layer = layer().override_extension();
    let found = |uri: &str| chosen(&layer, uri, "text/html");
    assert_eq!(found("/a/sales.txt?x=1"), ("txt", "/a/sales?x=1".into()));
    assert_eq!(found("/a/sales.exe"), ("html", "/a/sales.exe".into()));
    assert_eq!(found("/a.txt/sales"), ("html", "/a.txt/sales".into()));
    assert_eq!(
        chosen(&self::layer(), "/sales.txt", "text/html").1,
        "/sales.txt"
    );
    let never = layer.clone().quality("txt", QValue::ZERO);
    assert_eq!(chosen(&never, "/sales.txt", "text/html").1, "/sales.txt");
    for dots in ["/a/...txt", "/a/%2e%2e.txt", "/a/.%2E.txt"] {
        assert_eq!(found(dots), ("html", dots.into()), "that is another place");
    }
    let both = layer.override_query("format");
    let found = |uri| chosen(&both, uri, "text/html");
    assert_eq!(
        found("/sales.txt?format=json"),
        ("json", "/sales.txt?format=json".into())
    );
    let unknown = "/sales.txt?format=exe";
    assert_eq!(
        found(unknown),
        ("txt", "/sales?format=exe".into()),
        "an unknown name changes nothing"
    );
}

/// A handler that answers in every way there is, by the path.
async fn answer(request: Request<()>) -> Result<Response<ReplyBody>, Infallible> {
    let negotiated = Negotiated::<Formats>::of(&request).unwrap();
    let rows = [Row { n: 1 }, Row { n: 2 }];
    Ok(match request.uri().path() {
        "/value" => negotiated.reply(&rows[0]).unwrap(),
        "/rows" => negotiated.rows(&rows).unwrap(),
        "/stream" => {
            let source = futures_util::stream::iter(rows.map(Ok::<_, Infallible>));
            negotiated.stream(source).await.unwrap()
        }
        "/broken" => {
            let broken: [Result<Row, std::io::Error>; 1] = [Err(std::io::Error::other("gone"))];
            let source = futures_util::stream::iter(broken);
            negotiated.stream(source).await.unwrap_err().response()
        }
        "/own" => Response::new(Bytes::from_static(b"own").into()),
        "/304" => Response::builder()
            .status(304)
            .body(Bytes::from_static(b"not sent").into())
            .unwrap(),
        "/204" => Response::builder()
            .status(204)
            .body(Bytes::from_static(b"not sent").into())
            .unwrap(),
        _ => unreachable!(),
    })
}

fn exchange(request: Request<()>) -> (Response<()>, Bytes) {
    let service = layer().layer(service_fn(answer));
    let (head, body) = block_on(service.oneshot(request)).unwrap().into_parts();
    let at_once = body.is_end_stream();
    let body = block_on(body.collect()).unwrap().to_bytes();
    assert_eq!(at_once, body.is_empty());
    (Response::from_parts(head, ()), body)
}

#[test]
fn head_is_get_without_the_body() {
    // A server adds the length that it knows.
    let with_length = |mut headers: HeaderMap, len: usize| {
        headers.entry("content-length").or_insert(len.into());
        headers
    };
    for path in ["/value", "/rows", "/stream", "/broken", "/own"] {
        for accept in [
            "*/*",
            "text/html",
            "text/plain",
            "application/x-ndjson",
            "image/png",
        ] {
            let (get, body) = exchange(request("GET", path, accept));
            let (head, none) = exchange(request("HEAD", path, accept));
            assert_eq!(head.status(), get.status());
            let expected = with_length(get.headers().clone(), body.len());
            assert_eq!(head.headers(), &expected, "{path} {accept}");
            assert!(!body.is_empty() && none.is_empty());
        }
    }
    for path in ["/304", "/204"] {
        let (head, _) = exchange(request("HEAD", path, "*/*"));
        assert!(!head.headers().contains_key("content-length"));
        assert_eq!(head.headers()["vary"], "accept");
    }
}

#[test]
fn head_says_no_length_that_get_would_not() {
    let length = |answer: fn(&mut Response<Full<Bytes>>)| {
        let service = layer().layer(service_fn(async |_: Request<()>| {
            let mut response = Response::new(Full::from("[1]"));
            answer(&mut response);
            Ok::<_, Infallible>(response)
        }));
        let response = block_on(service.oneshot(request("HEAD", "/", "*/*"))).unwrap();
        assert!(response.body().is_end_stream());
        let length = response.headers().get("content-length").cloned();
        length.map(|length| length.to_str().unwrap().to_owned())
    };
    assert_eq!(length(|_| ()).as_deref(), Some("3"));
    // It left the body out itself: nobody knows how long it would be.
    assert_eq!(
        length(|response| *response.body_mut() = Full::default()),
        None
    );
    let stated = length(|response| {
        *response.body_mut() = Full::default();
        response
            .headers_mut()
            .insert("content-length", http::HeaderValue::from_static("0"));
    });
    assert_eq!(stated.as_deref(), Some("0"), "it is the service's word");
    // What comes after the body is a part of the answer.
    assert_eq!(
        length(|r| drop(
            r.headers_mut()
                .insert("trailer", http::HeaderValue::from_static("x"))
        )),
        None
    );
    assert_eq!(
        length(|r| drop(r.headers_mut().insert(
            "content-type",
            http::HeaderValue::from_static("application/grpc")
        ))),
        None
    );
}

/// A problem that goes through something on its way out.
fn problem_after(method: &str, change: fn(&mut Response<Full<Bytes>>)) -> (Response<()>, Bytes) {
    let service = layer().layer(service_fn(async |_: Request<()>| {
        let problem = buttress_wire::Problem::new(
            http::StatusCode::CONFLICT,
            "about:blank",
            "A > \r \u{fffe}",
        );
        let mut response = Response::new(Full::new(problem.to_json()));
        *response.status_mut() = http::StatusCode::CONFLICT;
        let json = http::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert("content-type", json);
        response
            .headers_mut()
            .insert("content-length", problem.to_json().len().into());
        response.extensions_mut().insert(problem);
        change(&mut response);
        Ok::<_, Infallible>(response)
    }));
    let mut request = request(method, "/", "application/json;q=0.1");
    let xml = http::HeaderValue::from_static("application/xml");
    request.headers_mut().append("accept", xml);
    let (head, body) = block_on(service.oneshot(request)).unwrap().into_parts();
    let body = block_on(body.collect()).unwrap().to_bytes();
    (Response::from_parts(head, ()), body)
}

#[test]
fn a_problem_in_xml_says_nothing_of_the_bytes_that_were_there() {
    let (get, body) = problem_after("GET", |response| {
        for name in [
            "etag",
            "content-digest",
            "repr-digest",
            "accept-ranges",
            "content-md5",
        ] {
            let value = http::HeaderValue::from_static("of the JSON");
            response.headers_mut().insert(name, value);
        }
    });
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        text.contains("<title>A &gt; &#13; \u{fffd}</title>"),
        "{text}"
    );
    assert_eq!(get.headers()["content-length"], text.len().to_string());
    let mut names: Vec<_> = get.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "vary"]);
    let (head, none) = problem_after("HEAD", |_| ());
    assert_eq!(head.headers(), get.headers());
    assert!(none.is_empty());
}

#[test]
fn a_problem_that_was_coded_on_its_way_stays_as_it_is() {
    let (head, body) = problem_after("GET", |response| {
        let gzip = http::HeaderValue::from_static("gzip");
        response.headers_mut().insert("content-encoding", gzip);
        *response.body_mut() = Full::from("coded");
    });
    assert_eq!(head.headers()["content-type"], "application/problem+json");
    assert_eq!(body, "coded");
}

#[test]
fn a_problem_is_in_xml_for_who_prefers_that_whoever_made_it() {
    let xml = "application/problem+xml";
    let json = "application/problem+json";
    for (path, accept, content_type, status) in [
        ("/value", "application/problem+xml", xml, 406),
        ("/value", "image/png, application/xml;q=0.1", xml, 406),
        ("/value", "image/png", json, 406),
        (
            "/value",
            "image/png, text/xml;q=0.1, application/json;q=0",
            xml,
            406,
        ),
        (
            "/broken",
            "text/html, application/xml;q=0.9, */*;q=0.8",
            xml,
            500,
        ),
        (
            "/broken",
            "text/html, application/xml;q=0.7, */*;q=0.8",
            json,
            500,
        ),
        ("/broken", "*/*", json, 500),
    ] {
        let (head, body) = exchange(request("GET", path, accept));
        assert_eq!(
            head.headers()["content-type"],
            content_type,
            "{path} {accept}"
        );
        assert_eq!(head.headers()["vary"], "accept");
        assert_eq!(head.status(), status);
        let start: &[u8] = if content_type == xml { b"<?xml" } else { b"{" };
        assert!(body.starts_with(start), "{body:?}");
    }
    let (_, body) = exchange(request("GET", "/value", "application/problem+xml"));
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        body.contains("<available><i><format>json</format><type>application/json</type></i>"),
        "{body}"
    );
}

#[test]
fn an_answer_that_is_no_problem_is_left_as_it_is() {
    let (head, body) = exchange(request("GET", "/own", "application/xml, */*;q=0.1"));
    assert_eq!((head.status().as_u16(), &body[..]), (200, &b"own"[..]));
    // A refusal to a gRPC caller keeps its problem in the extensions, and is none.
    let mut call = request("GET", "/value", "application/problem+xml");
    let grpc = http::HeaderValue::from_static("application/grpc");
    call.headers_mut().insert("content-type", grpc);
    let (head, body) = exchange(call);
    assert_eq!(head.headers()["content-type"], "application/grpc");
    assert!(head.headers().contains_key("grpc-status") && body.is_empty());
    // It says that it is a problem, and is not one of ours: its body is its own.
    let service = layer().layer(service_fn(async |_: Request<()>| {
        let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
        let problem = http::HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert("content-type", problem);
        Ok::<_, Infallible>(answer)
    }));
    let request = request("GET", "/", "application/problem+xml, */*;q=0.1");
    let response = block_on(service.oneshot(request)).unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
}
