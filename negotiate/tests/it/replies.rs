//! What handlers reply with.

use buttress_negotiate::{Csv, Json, NegotiateLayer, Negotiated, Record, ReplyBody, Xml};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio_test::block_on;
use tower::{Layer, ServiceExt, service_fn};

type Formats = (Json, Csv, Xml);

#[derive(Serialize)]
struct Sale {
    day: &'static str,
    units: i32,
}

impl Record for Sale {
    const COLUMNS: &'static [&'static str] = &["day", "units"];
}

const SALES: [Sale; 2] = [
    Sale {
        day: "=Mon",
        units: -3,
    },
    Sale {
        day: "<Tue>",
        units: 4,
    },
];

/// What a handler that does `reply` answers to `accept`.
fn answer(
    accept: &'static str,
    reply: impl Fn(Negotiated<Formats>) -> Response<ReplyBody>,
) -> (Response<()>, String) {
    let layer = NegotiateLayer::new((Json, Csv::new(), Xml::root("sales").item("sale")));
    let service = layer.layer(service_fn(async |request: Request<()>| {
        Ok::<_, std::convert::Infallible>(reply(Negotiated::of(&request).unwrap()))
    }));
    let request = Request::builder()
        .header("accept", accept)
        .body(())
        .unwrap();
    block_on(async {
        let (head, body) = service.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            Response::from_parts(head, ()),
            String::from_utf8(body.to_vec()).unwrap(),
        )
    })
}

#[track_caller]
fn check(accept: &'static str, sales: &[Sale], content_type: &str, expected: &str) {
    let (head, body) = answer(accept, |n| n.rows(sales).unwrap());
    assert_eq!(head.headers()["content-type"], content_type);
    assert_eq!(head.headers()["x-content-type-options"], "nosniff");
    assert_eq!(body, expected);
    if !sales.is_empty() {
        let (_, whole) = answer(accept, |n| n.reply(sales).unwrap());
        assert_eq!(whole, body, "a collection is the same, however it is sent");
    }
}

#[test]
fn a_collection_is_an_array_a_table_or_one_element() {
    let json = r#"[{"day":"=Mon","units":-3},{"day":"<Tue>","units":4}]"#;
    check("application/json", &SALES, "application/json", json);
    let csv = "day,units\r\n'=Mon,-3\r\n<Tue>,4\r\n";
    check(
        "text/csv",
        &SALES,
        "text/csv;charset=utf-8;header=present",
        csv,
    );
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><sales><sale><day>=Mon</day><units>-3</units></sale>\
               <sale><day>&lt;Tue&gt;</day><units>4</units></sale></sales>";
    check("application/xml", &SALES, "application/xml", xml);
    check("text/xml", &SALES, "text/xml;charset=utf-8", xml);
}

#[test]
fn an_empty_collection_is_still_a_document() {
    check("application/json", &[], "application/json", "[]");
    check(
        "text/csv",
        &[],
        "text/csv;charset=utf-8;header=present",
        "day,units\r\n",
    );
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><sales></sales>";
    check("application/xml", &[], "application/xml", xml);
}

#[test]
fn only_a_file_format_is_an_attachment() {
    let named = |accept| {
        let (head, _) = answer(accept, |n| n.attachment("sales").rows(&SALES).unwrap());
        head.headers().get("content-disposition").cloned()
    };
    assert_eq!(
        named("text/csv").unwrap(),
        "attachment; filename=\"sales.csv\""
    );
    assert_eq!(named("application/json"), None);
    assert_eq!(named("application/xml"), None);
}

#[test]
fn what_cannot_be_written_is_a_500_problem_that_does_not_tell_why() {
    let (head, body) = answer("text/csv", |n| {
        n.reply("no table").unwrap_or_else(|error| error.response())
    });
    assert_eq!(head.status(), 500);
    assert_eq!(head.headers()["content-type"], "application/problem+json");
    assert_eq!(head.headers()["vary"], "accept");
    assert_eq!(head.headers()["x-content-type-options"], "nosniff");
    assert!(!body.contains("made of records"));
}

#[test]
fn a_reply_tells_caches_inside_of_the_layer_that_it_varies() {
    let (outside, _) = answer("text/csv", |n| {
        let reply = n.rows(&SALES).unwrap();
        assert_eq!(reply.headers()["vary"], "accept");
        reply
    });
    assert_eq!(outside.headers()["vary"], "accept");
}
