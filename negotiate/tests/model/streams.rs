//! A stream is the same bytes as the whole, however its source hesitates; and never ends well after an error.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use buttress_negotiate::{
    Cbor, Csv, Format, Html, Json, JsonSeq, Markdown, MessagePack, NdJson, NegotiateLayer,
    Negotiated, Record, ReplyBody, RowEncoder, Text, Tsv, Xml,
};
use futures_util::stream::{self, Stream};
use http::{Request, Response};
use http_body::Body;
use proptest::prelude::*;
use serde::Serialize;
use tower::{Layer, ServiceExt, service_fn};

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

const ACCEPTS: [&str; 11] = [
    "application/json",
    "application/x-ndjson",
    "application/json-seq",
    "text/csv",
    "text/tab-separated-values",
    "application/xml",
    "text/html",
    "text/plain",
    "text/markdown",
    "application/cbor",
    "application/msgpack",
];

#[derive(Clone, Debug, Serialize)]
struct Row {
    text: String,
    number: Option<i32>,
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["text", "number"];
}

#[derive(Clone, Debug)]
enum Step {
    Row(Row),
    Pending,
    Error,
}

fn step() -> impl Strategy<Value = Step> {
    let text = prop_oneof![".{0,12}", Just("long ".repeat(900))];
    let row = (text, any::<Option<i32>>()).prop_map(|(text, number)| Row { text, number });
    prop_oneof![3 => row.prop_map(Step::Row), 1 => Just(Step::Pending)]
}

fn source(steps: Vec<Step>) -> impl Stream<Item = Result<Row, &'static str>> + Send {
    let mut steps = VecDeque::from(steps);
    stream::poll_fn(move |_| match steps.pop_front() {
        None => Poll::Ready(None),
        Some(Step::Row(row)) => Poll::Ready(Some(Ok(row))),
        Some(Step::Pending) => Poll::Pending,
        Some(Step::Error) => Poll::Ready(Some(Err("broken"))),
    })
}

fn negotiated(accept: &'static str) -> Negotiated<Formats> {
    let formats = (
        Json,
        NdJson::new(),
        JsonSeq,
        Csv::new(),
        Tsv::new(),
        Xml::root("all"),
        Html::title("All"),
        Text,
        Markdown,
        Cbor,
        MessagePack,
    );
    let (sender, receiver) = std::sync::mpsc::channel();
    let service = NegotiateLayer::new(formats).layer(service_fn(move |request: Request<()>| {
        sender.send(Negotiated::of(&request).unwrap()).unwrap();
        std::future::ready(Ok::<_, Infallible>(Response::new(ReplyBody::default())))
    }));
    let request = Request::builder()
        .header("accept", accept)
        .body(())
        .unwrap();
    tokio_test::block_on(service.oneshot(request)).unwrap();
    receiver.recv().unwrap()
}

/// Polls as often as it takes; `None`: it failed before the head.
fn sent(negotiated: &Negotiated<Formats>, steps: Vec<Step>) -> Option<(Vec<u8>, bool)> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut reply = negotiated.stream(source(steps));
    let response = loop {
        if let Poll::Ready(response) = Pin::new(&mut reply).poll(&mut cx) {
            break response.ok()?;
        }
    };
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    loop {
        let hint = body.size_hint();
        let was_at_end = body.is_end_stream();
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Pending => assert!(!was_at_end),
            Poll::Ready(None) => return Some((bytes, true)),
            Poll::Ready(Some(Err(_))) => return Some((bytes, false)),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap();
                assert!(!data.is_empty() && !was_at_end);
                assert!(hint.lower() <= data.len() as u64);
                assert!(hint.upper().is_none_or(|upper| upper == data.len() as u64));
                assert!(data.len() < 16 * 1024 + 20_000, "a batch, and a record");
                bytes.extend_from_slice(&data);
            }
        }
    }
}

fn whole(negotiated: &Negotiated<Formats>, rows: &[Row]) -> Vec<u8> {
    let body = negotiated.rows(rows).unwrap().into_body();
    let body = tokio_test::block_on(http_body_util::BodyExt::collect(body));
    body.unwrap().to_bytes().to_vec()
}

/// The same by other code: what a reply makes of a list, and what the formats say of collections whose length is not known.
fn by_another_writer(accept: &str, negotiated: &Negotiated<Formats>, rows: &[Row]) -> Vec<u8> {
    let each = |format: &dyn Fn(&Row, &mut Vec<u8>)| {
        let mut out = Vec::new();
        rows.iter().for_each(|row| format(row, &mut out));
        out
    };
    match accept {
        "application/cbor" => {
            let inside = each(&|row, out| Cbor.encode(row, out).unwrap());
            [&b"\x9f"[..], &inside, b"\xff"].concat()
        }
        "application/msgpack" => each(&|row, out| MessagePack.encode(row, out).unwrap()),
        _ => {
            let body = negotiated.reply(rows).unwrap().into_body();
            let body = tokio_test::block_on(http_body_util::BodyExt::collect(body));
            body.unwrap().to_bytes().to_vec()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_is_the_bytes_of_the_whole(steps in proptest::collection::vec(step(), 0..24)) {
        for accept in ACCEPTS {
            let negotiated = negotiated(accept);
            let rows: Vec<Row> = steps.iter().filter_map(|step| match step {
                Step::Row(row) => Some(row.clone()),
                _ => None,
            }).collect();
            let found = sent(&negotiated, steps.clone());
            if !rows.is_empty() {
                prop_assert_eq!(whole(&negotiated, &rows), by_another_writer(accept, &negotiated, &rows), "{}", accept);
            }
            prop_assert_eq!(found, Some((whole(&negotiated, &rows), true)), "{}", accept);
        }
    }

    #[test]
    fn after_an_error_nothing_ends_well(
        steps in proptest::collection::vec(step(), 0..24), at: prop::sample::Index
    ) {
        let mut broken = steps.clone();
        let at = at.index(steps.len() + 1);
        broken.insert(at, Step::Error);
        for accept in ACCEPTS {
            let negotiated = negotiated(accept);
            let before: Vec<Row> = steps[..at].iter().filter_map(|step| match step {
                Step::Row(row) => Some(row.clone()),
                _ => None,
            }).collect();
            match sent(&negotiated, broken.clone()) {
                None => {}
                Some((bytes, well)) => {
                    prop_assert!(!well, "{}", accept);
                    // What was sent is what a longer collection would have begun with.
                    prop_assert!(whole(&negotiated, &before).starts_with(&bytes), "{}", accept);
                }
            }
        }
    }
}

#[test]
fn lines_can_tell_an_error_themselves() {
    let row = |n| Row {
        text: "a".into(),
        number: Some(n),
    };
    let format = NdJson::new().error_line("{\"error\":\"incomplete\"}");
    let mut out = Vec::new();
    let mut encoder = format.rows(Row::COLUMNS);
    encoder.row(&row(1), &mut out).unwrap();
    assert!(encoder.break_off(&mut out));
    assert_eq!(
        out,
        b"{\"text\":\"a\",\"number\":1}\n{\"error\":\"incomplete\"}\n"
    );
    assert!(!NdJson::new().rows(Row::COLUMNS).break_off(&mut out));
}
