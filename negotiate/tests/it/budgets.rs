//! What a choice may cost.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use buttress_negotiate::{
    Charsets, Codings, Formats, Html, Json, JsonSeq, Languages, Markdown, NdJson, NegotiateLayer,
    Negotiated, Offers, Record, ReplyBody, ResponseFuture, Text,
};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body;
use testkit::alloc::{Allocations, Counting, count};
use tower::{Layer, ServiceExt};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FIELDS: [&str; 7] = [
    "application/json",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "text/html;level=\"1\\2\";q=\"0.5\", application/json;charset=utf-8;q=0.3",
    "",
    "image/png",
    ",,;;,\"",
    "text/html;a=1;a=2;b=\"x, y\"",
];

#[test]
fn a_choice_allocates_nothing() {
    for offered in [1, 4, 8, 9, 40] {
        let types: Vec<_> = (0..offered - 1).map(|i| format!("text/x-{i}")).collect();
        let types = types
            .iter()
            .map(String::as_str)
            .chain(["text/html;level=12"]);
        let offers = Offers::new(types.map(|t| (t, ()))).unwrap();
        for field in FIELDS {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(field))]);
            let (spent, _) = count(|| offers.select(&headers).is_ok());
            assert_eq!(spent.count, 0, "{field:?}");
            let (ranked, _) = count(|| offers.ranked(&headers).count());
            assert_eq!(
                ranked.count, 1,
                "the list of ranked offers: the counter counts"
            );
        }
    }
}

#[test]
fn a_choice_among_names_allocates_nothing() {
    let names = ["gzip", "utf-8", "en-GB", "identity"];
    let (codings, charsets) = (Codings::new(names), Charsets::new(names));
    let languages = Languages::new(names);
    let field = HeaderValue::from_static("x-gzip;q=0.5, utf-8;q=\"0.1\", en-GB-x-a, *;q=0");
    let fields = [
        header::ACCEPT_ENCODING,
        header::ACCEPT_CHARSET,
        header::ACCEPT_LANGUAGE,
    ];
    let headers: HeaderMap = fields
        .map(|name| (name, field.clone()))
        .into_iter()
        .collect();
    let (spent, chosen) = count(|| {
        let languages = [languages.filter(&headers), languages.lookup(&headers)];
        (
            codings.select(&headers),
            charsets.select(&headers),
            languages,
        )
    });
    assert_eq!(spent.count, 0);
    assert_eq!(chosen.0.unwrap().name, "gzip");
    assert_eq!(chosen.1.unwrap().name, "utf-8");
    assert_eq!(chosen.2[0].unwrap().name, "utf-8");
    assert_eq!(chosen.2[1].unwrap().name, "en-GB");
}

#[derive(serde::Serialize)]
struct Sale {
    id: u32,
    product: &'static str,
}

impl Record for Sale {
    const COLUMNS: &'static [&'static str] = &["id", "product"];
}

/// Allocations, and bytes allocated, of so many records streamed and read.
fn streamed<F: Formats>(negotiated: &Negotiated<F>, records: u32) -> Allocations {
    let sales = (0..records).map(|id| {
        Ok::<_, Infallible>(Sale {
            id,
            product: "a jumper",
        })
    });
    let mut cx = Context::from_waker(Waker::noop());
    let (spent, bytes) = count(|| {
        let mut reply = negotiated.stream(futures_util::stream::iter(sales));
        let Poll::Ready(Ok(response)) = Pin::new(&mut reply).poll(&mut cx) else {
            panic!("the records are there")
        };
        let (mut body, mut bytes) = (response.into_body(), 0);
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
            let data = frame.into_data().unwrap();
            assert!(
                data.len() < 16 * 1024 + 300,
                "a batch, and at most a record"
            );
            bytes += data.len() as u64;
        }
        bytes
    });
    assert!(
        spent.bytes < 3 * bytes + 40_000,
        "nothing is kept beside the batches"
    );
    spent
}

/// What a handler gets from a layer with these formats.
fn negotiated<F: Formats>(formats: F) -> Negotiated<F> {
    let found = std::cell::RefCell::new(None);
    let service =
        NegotiateLayer::new(formats).layer(tower::service_fn(async |request: Request<()>| {
            *found.borrow_mut() = Negotiated::of(&request);
            Ok::<_, Infallible>(Response::new(ReplyBody::default()))
        }));
    tokio_test::block_on(service.oneshot(Request::new(()))).unwrap();
    found.into_inner().unwrap()
}

#[test]
fn a_record_of_a_stream_allocates_nearly_nothing_and_a_million_of_them_no_more_each() {
    fn check<F: Formats>(formats: F, records: u32) {
        let spent = streamed(&negotiated(formats), records);
        assert!(spent.count < u64::from(records) / 50, "{spent:?}");
    }
    for records in [10_000, 1_000_000] {
        check((NdJson::new(),), records);
    }
    check((Json,), 50_000);
    check((JsonSeq,), 50_000);
    check((Html::title("All"),), 50_000);
    check((Text,), 50_000);
    check((Markdown,), 50_000);
    #[cfg(feature = "csv")]
    check((buttress_negotiate::Csv::new(),), 50_000);
    #[cfg(feature = "xml")]
    check((buttress_negotiate::Xml::root("all"),), 50_000);
    #[cfg(feature = "cbor")]
    check((buttress_negotiate::Cbor,), 50_000);
    #[cfg(feature = "messagepack")]
    check((buttress_negotiate::MessagePack,), 50_000);
}

#[test]
fn a_large_record_makes_no_large_batch_of_the_next() {
    let negotiated = negotiated((NdJson::new(),));
    let large: &'static str = "x".repeat(4 << 20).leak();
    let sales = [large, "a", "b"].map(|product| Ok::<_, Infallible>(Sale { id: 1, product }));
    let mut cx = Context::from_waker(Waker::noop());
    let mut reply = negotiated.stream(futures_util::stream::iter(sales));
    let Poll::Ready(Ok(response)) = Pin::new(&mut reply).poll(&mut cx) else {
        panic!("the records are there")
    };
    let mut body = response.into_body();
    let (spent, _) =
        count(|| while let Poll::Ready(Some(_)) = Pin::new(&mut body).poll_frame(&mut cx) {});
    assert!(spent.bytes < 40_000, "{spent:?}");
}

#[test]
fn futures_and_choices_are_small() {
    let inner = size_of::<[u64; 4]>();
    assert!(size_of::<ResponseFuture<[u64; 4], (Json,)>>() <= inner + 64);
    assert!(size_of::<Negotiated<(Json,)>>() <= 56);
}
