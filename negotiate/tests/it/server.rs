//! Real HTTP: the layer under hyper, and what is on the wire.

use std::convert::Infallible;

use buttress_negotiate::{Json, NdJson, NegotiateLayer, Negotiated, Record, ReplyBody};
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt, service_fn};

type Formats = (Json, NdJson);

#[derive(serde::Deserialize, serde::Serialize)]
struct Row {
    n: u8,
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["n"];
}

async fn answer(request: Request<Incoming>) -> Result<Response<ReplyBody>, Infallible> {
    let negotiated = Negotiated::<Formats>::of(&request).unwrap();
    let rows = [Ok(Row { n: 1 }), Ok(Row { n: 2 })];
    // A source that pauses, so that nobody knows how long it is.
    let later = stream::once(async {
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>(Row { n: 3 })
    });
    let rows = stream::iter(rows).chain(later);
    Ok(match request.uri().path() {
        "/whole" => negotiated.reply(&Row { n: 1 }).unwrap(),
        "/stream" => negotiated.stream(rows.boxed()).await.unwrap(),
        "/broken" => {
            // After what was there has been sent.
            let gone = stream::once(async {
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                Err(std::io::Error::other("gone"))
            });
            negotiated.stream(rows.chain(gone).boxed()).await.unwrap()
        }
        _ => match negotiated.decode::<Row, _>(request).await {
            Ok(row) => negotiated.reply(&row).unwrap(),
            Err(error) => error.response(),
        },
    })
}

/// All that a server sends in answer to `request`, and nothing about the time.
async fn exchange(request: &str) -> String {
    let service = NegotiateLayer::new((Json, NdJson::new())).layer(service_fn(answer));
    let service = hyper::service::service_fn(move |request| service.clone().oneshot(request));
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let serve = async {
        let server = TokioIo::new(server);
        // A body that breaks off is an error here, and a connection that ends there.
        let _served = hyper::server::conn::http1::Builder::new()
            .serve_connection(server, service)
            .await;
    };
    let ask = async {
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (answer, ()) = tokio::join!(ask, serve);
    let lines = answer.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("date:")).collect()
}

fn head(method: &str, path: &str, accept: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\naccept: {accept}\r\n\r\n"
    )
}

#[tokio::test]
async fn what_is_whole_has_a_length_and_a_stream_has_chunks() {
    let whole = exchange(&head("GET", "/whole", "*/*")).await;
    assert!(whole.contains("content-length: 7\r\n"), "{whole}");
    assert!(whole.ends_with("\r\n\r\n{\"n\":1}"), "{whole}");
    let stream = exchange(&head("GET", "/stream", "application/x-ndjson")).await;
    assert!(
        stream.contains("transfer-encoding: chunked\r\n"),
        "{stream}"
    );
    assert!(
        stream.contains("content-type: application/x-ndjson\r\n"),
        "{stream}"
    );
    assert!(stream.ends_with("{\"n\":3}\n\r\n0\r\n\r\n"), "{stream}");
}

#[tokio::test]
async fn a_stream_that_fails_has_no_last_chunk() {
    let broken = exchange(&head("GET", "/broken", "*/*")).await;
    assert!(
        broken.starts_with("HTTP/1.1 200") && broken.contains("{\"n\":1}"),
        "{broken}"
    );
    assert!(!broken.ends_with("0\r\n\r\n"), "{broken}");
}

fn lines(head: &str) -> std::collections::BTreeSet<&str> {
    head.lines().collect()
}

#[tokio::test]
async fn head_is_the_head_of_get() {
    for path in ["/whole", "/none"] {
        for accept in ["image/png, application/json;q=0.1", "image/png"] {
            let get = exchange(&head("GET", path, accept)).await;
            let found = exchange(&head("HEAD", path, accept)).await;
            let (found, none) = found.split_once("\r\n\r\n").unwrap();
            assert_eq!(lines(found), lines(get.split_once("\r\n\r\n").unwrap().0));
            assert!(none.is_empty());
        }
    }
}

#[tokio::test]
async fn a_body_is_read_from_the_wire() {
    let post = |body: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let read = exchange(&post("{\"n\":7}")).await;
    assert!(read.ends_with("{\"n\":7}"), "{read}");
    let refused = exchange(&post("{\"n\":700}")).await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
}
