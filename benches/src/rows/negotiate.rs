//! The choice among four media types, and what a record of a stream costs.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use buttress_negotiate::{
    Csv, Json, Limits, Match, NdJson, NegotiateLayer, Negotiated, Offers, Record, ReplyBody,
};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body;
use serde::Serialize;
use tower_layer::Layer;
use tower_service::Service;

use crate::kit::{Budget, Call, Row, Work, Zero};

/// What Chrome sends when somebody follows a link, but for the image formats of its own.
pub const BROWSER: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

/// From the bytes of the field, and from a `HeaderMap`.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "negotiate/browser/ours",
        budget: Some(Budget::new(100.0, 0)),
        zero: Zero::beside(|| Work::new(|| BROWSER)),
        work: || {
            let offers = offers();
            assert_eq!(chosen(offers.select_field(BROWSER.as_bytes())), 2);
            Work::new(move || chosen(offers.select_field(black_box(BROWSER.as_bytes()))))
        },
    }),
    Row::Call(Call {
        id: "negotiate/browser/ours-headers",
        budget: Some(Budget::new(130.0, 0)),
        zero: Zero::beside(|| Work::new(|| BROWSER)),
        work: || {
            let (offers, mut headers) = (offers(), HeaderMap::new());
            headers.insert(header::ACCEPT, HeaderValue::from_static(BROWSER));
            Work::new(move || chosen(offers.select(&headers)))
        },
    }),
    Row::Call(Call {
        id: "negotiate/json/ours",
        budget: Some(Budget::new(25.0, 0)),
        zero: Zero::beside(|| Work::new(|| BROWSER)),
        work: || {
            let offers = offers();
            Work::new(move || chosen(offers.select_field(black_box(b"application/json"))))
        },
    }),
    Row::Call(Call {
        id: "negotiate/1000-ranges/ours",
        budget: Some(Budget::new(10_000.0, 0)),
        zero: Zero::beside(|| Work::new(|| BROWSER)),
        work: || {
            let (offers, field) = (unlimited(), thousand());
            Work::new(move || chosen(offers.select_field(black_box(field.as_bytes()))))
        },
    }),
    Row::Call(Call {
        id: "negotiate/stream-1000-records/ndjson",
        budget: Some(Budget::new(350_000.0, 99)),
        zero: Zero::beside(|| Work::new(|| BROWSER)),
        work: || streamed("application/x-ndjson"),
    }),
    Row::Call(Call {
        id: "negotiate/stream-1000-records/csv",
        budget: Some(Budget::new(300_000.0, 99)),
        zero: Zero::beside(|| Work::new(|| BROWSER)),
        work: || streamed("text/csv"),
    }),
];

type Formats = (Json, NdJson, Csv);

/// A small record.
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

/// A thousand records through a body, from a source that has them.
fn streamed(accept: &'static str) -> Work {
    let negotiated = negotiated(accept);
    Work::new(move || {
        let sales = (0..1000).map(|id| {
            Ok::<_, Infallible>(Sale {
                id,
                product: "a blue, woollen jumper",
                price: 49.5,
                sold: id % 3 == 0,
            })
        });
        let mut cx = Context::from_waker(Waker::noop());
        let opened = pin!(negotiated.stream(stream::iter(sales))).poll(&mut cx);
        let Poll::Ready(Ok(response)) = opened else {
            unreachable!("the records are there")
        };
        drain(response.into_body(), &mut cx)
    })
}

fn drain(mut body: ReplyBody, cx: &mut Context<'_>) -> usize {
    let mut bytes = 0;
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(cx) {
        bytes += frame.data_ref().map_or(0, |data| black_box(data).len());
    }
    assert!(bytes > 30_000, "all of them");
    bytes
}

/// What a handler gets whose caller sends this field.
fn negotiated(accept: &'static str) -> Negotiated<Formats> {
    let mut request = Request::new(());
    let accept = HeaderValue::from_static(accept);
    request.headers_mut().insert(header::ACCEPT, accept);
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut service = NegotiateLayer::new((Json, NdJson::new(), Csv::new())).layer(Handler(sender));
    drop(service.call(request));
    receiver.recv().expect("the handler was called")
}

/// Tells what was chosen.
struct Handler(std::sync::mpsc::Sender<Negotiated<Formats>>);

impl Service<Request<()>> for Handler {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<ReplyBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let negotiated = Negotiated::of(&request).expect("the layer is there");
        self.0.send(negotiated).expect("somebody listens");
        std::future::ready(Ok(Response::new(ReplyBody::default())))
    }
}

/// A field of a thousand ranges that nobody offers, and one that somebody does.
#[must_use]
pub fn thousand() -> String {
    let ranges = (0..1000).map(|i| format!("text/x-{i};q=0.{}", i % 10));
    let field = ranges.chain(["text/html".to_owned()]).collect::<Vec<_>>();
    field.join(",")
}

/// [`offers`] that read fields of any length.
#[must_use]
pub fn unlimited() -> Offers<u8> {
    offers().limits(Limits {
        bytes: usize::MAX,
        ranges: usize::MAX,
    })
}

/// The four media types.
#[must_use]
pub fn offers() -> Offers<u8> {
    let types = [
        "application/json",
        "text/csv",
        "text/html",
        "application/xml",
    ];
    Offers::new(types.into_iter().zip(0..)).expect("media types")
}

fn chosen<E>(found: Result<Match<'_, u8>, E>) -> usize {
    match found {
        Ok(found) => found.index(),
        Err(_) => unreachable!("a browser takes anything"),
    }
}
