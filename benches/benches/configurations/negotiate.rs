//! A collection of ten records and of a thousand in each format, through the layer, read to its end. `bare` is what serde_json makes of them, without a choice.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use benches::kit::{body_to_end, call};
use buttress_negotiate::{
    Cbor, Csv, Html, Json, JsonSeq, Markdown, MessagePack, NdJson, NegotiateLayer, Negotiated,
    Record, ReplyBody, Text, Tsv, Xml,
};
use bytes::Bytes;
use criterion::Criterion;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::Full;
use serde::Serialize;
use tower_layer::Layer;
use tower_service::Service;

type Formats = (
    Json,
    NdJson,
    JsonSeq,
    Csv,
    Tsv,
    Xml,
    Html,
    Text,
    Markdown,
    Cbor,
    MessagePack,
);

const TYPES: [(&str, &str); 11] = [
    ("json", "application/json"),
    ("ndjson", "application/x-ndjson"),
    ("json-seq", "application/json-seq"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("xml", "application/xml"),
    ("html", "text/html"),
    ("text", "text/plain"),
    ("markdown", "text/markdown"),
    ("cbor", "application/cbor"),
    ("messagepack", "application/vnd.msgpack"),
];

fn formats() -> Formats {
    (
        Json,
        NdJson::new(),
        JsonSeq,
        Csv::new(),
        Tsv::new(),
        Xml::root("sales").item("sale"),
        Html::title("Sales"),
        Text,
        Markdown,
        Cbor,
        MessagePack,
    )
}

#[derive(Clone, Debug, Serialize)]
struct Sale {
    id: u64,
    product: &'static str,
    price: f64,
    sold: bool,
}

impl Record for Sale {
    const COLUMNS: &'static [&'static str] = &["id", "product", "price", "sold"];
}

fn sales(count: u64) -> Arc<[Sale]> {
    let sale = |id| Sale {
        id,
        product: "a blue, woollen jumper",
        price: 49.5,
        sold: id % 3 == 0,
    };
    (0..count).map(sale).collect()
}

/// Answers with all of them.
#[derive(Clone)]
struct Sales(Arc<[Sale]>);

impl Service<Request<()>> for Sales {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<ReplyBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let negotiated = Negotiated::<Formats>::of(&request).unwrap();
        let reply = negotiated.rows(&*self.0);
        ready(Ok(reply.unwrap_or_else(|error| error.response())))
    }
}

pub(super) fn collections(criterion: &mut Criterion) {
    for count in [10, 1000] {
        let sales = sales(count);
        criterion.bench_function(&format!("negotiate/rows-{count}/bare"), |bencher| {
            bencher.iter(|| {
                let written = serde_json::to_vec(&*sales).unwrap();
                body_to_end(Response::new(Full::new(Bytes::from(written))))
            });
        });
        let service = NegotiateLayer::new(formats()).layer(Sales(Arc::clone(&sales)));
        for (name, media_type) in TYPES {
            let mut service = service.clone();
            let request = || Request::get("/sales").header(ACCEPT, media_type).body(());
            let Ok(first) = call(&mut service, request().unwrap());
            let content_type = first.headers()[CONTENT_TYPE].to_str().unwrap();
            assert!(content_type.starts_with(media_type), "{content_type}");
            let request = request().unwrap();
            criterion.bench_function(&format!("negotiate/rows-{count}/{name}"), |bencher| {
                bencher.iter(|| {
                    let Ok(response) = call(&mut service, request.clone());
                    body_to_end(response)
                });
            });
        }
    }
}
