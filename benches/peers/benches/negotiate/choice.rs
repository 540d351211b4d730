//! The choice among four media types: for what a browser sends, for `application/json`, and for a thousand ranges.
//!
//! Each is set up as its documentation shows. Who has no choice of its own gets the plainest loop: the weight of the first range that
//! covers an offer, the heaviest offer. Not all of them answer all fields as RFC 9110 has it: this is about time only.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;

use accept_header::Accept as AcceptHeader;
use actix_web::http::header::{Accept as Actix, Header};
use actix_web::test::TestRequest;
use axum::extract::FromRequestParts;
use axum_accept::AcceptExtractor;
use buttress_negotiate::{Cbor, Json, Limits, MessagePack, NegotiateLayer, Offers, Xml};
use criterion::{BatchSize, Criterion};
use headers_accept::Accept as HeadersAccept;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams};
use mediatype_of_headers_accept::MediaType as Offer;
use mime::Mime;
use tower::{Layer, Service, service_fn};
use tower_conneg::{CborFormat, ErasedFormat, JsonFormat, MsgPackFormat, ServerConfig, XmlFormat};

const OFFERS: [&str; 4] = [
    "application/json",
    "text/csv",
    "text/html",
    "application/xml",
];
const BROWSER: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

fn ours(criterion: &mut Criterion, row: &str, field: &str) {
    let limits = Limits {
        bytes: usize::MAX,
        ranges: usize::MAX,
    };
    let offers = Offers::new(OFFERS.map(|offer| (offer, ())))
        .expect("media types")
        .limits(limits);
    bench(criterion, row, "ours", || {
        offers
            .select_field(black_box(field.as_bytes()))
            .map(|m| m.index())
            .ok()
    });
    let headers = HeaderMap::from_iter([(
        header::ACCEPT,
        HeaderValue::from_str(field).expect("a field"),
    )]);
    bench(criterion, row, "ours-headers", || {
        offers.select(&headers).map(|m| m.index()).ok()
    });
}

fn accept_header(criterion: &mut Criterion, row: &str, field: &str) {
    let offers = mimes();
    bench(criterion, row, "accept-header", || {
        let accept: AcceptHeader = black_box(field).parse().ok()?;
        accept.negotiate(&offers).ok()
    });
}

fn headers_accept(criterion: &mut Criterion, row: &str, field: &str) {
    let offers = OFFERS.map(|offer| Offer::parse(offer).expect("a media type"));
    bench(criterion, row, "headers-accept", || {
        let accept: HeadersAccept = black_box(field).parse().ok()?;
        accept.negotiate(&offers).map(|chosen| chosen.ty)
    });
}

fn actix(criterion: &mut Criterion, row: &str, field: &str) {
    let offers = mimes();
    let request = TestRequest::default()
        .insert_header(("accept", field))
        .to_request();
    bench(criterion, row, "actix-web", || {
        let ranked = Actix::parse(black_box(&request)).ok()?.ranked();
        let covers = |range: &Mime, offer: &Mime| covers(range.essence_str(), offer.essence_str());
        ranked
            .iter()
            .find_map(|range| offers.iter().position(|offer| covers(range, offer)))
    });
}

#[derive(AcceptExtractor)]
enum Extracted {
    #[accept(mediatype = "application/json")]
    Json,
    #[accept(mediatype = "text/csv")]
    Csv,
    #[accept(mediatype = "text/html")]
    Html,
    #[accept(mediatype = "application/xml")]
    Xml,
}

fn axum_accept(criterion: &mut Criterion, row: &str, field: &str) {
    let request = Request::builder()
        .header("accept", field)
        .body(())
        .expect("a request");
    let (mut parts, ()) = request.into_parts();
    bench(criterion, row, "axum-accept", || {
        match peers::poll(Extracted::from_request_parts(black_box(&mut parts), &())) {
            Ok(Extracted::Json) => Some(0),
            Ok(Extracted::Csv) => Some(1),
            Ok(Extracted::Html) => Some(2),
            Ok(Extracted::Xml) => Some(3),
            Err(_) => None,
        }
    });
}

fn mime_loop(criterion: &mut Criterion, row: &str, field: &str) {
    let offers = mimes();
    bench(criterion, row, "mime", || {
        let mut best: Option<(usize, f32)> = None;
        for range in black_box(field).split(',') {
            let Ok(range) = range.trim().parse::<Mime>() else {
                continue;
            };
            let weight = range.get_param("q").map_or(Ok(1.0), |q| q.as_str().parse());
            let weight = weight.unwrap_or(0.0);
            let offer = offers
                .iter()
                .position(|o| covers(range.essence_str(), o.essence_str()));
            if let Some(offer) = offer.filter(|_| best.is_none_or(|(_, most)| weight > most)) {
                best = Some((offer, weight));
            }
        }
        best.map(|(offer, _)| offer)
    });
}

fn mediatype_loop(criterion: &mut Criterion, row: &str, field: &str) {
    let offers = OFFERS.map(|offer| MediaType::parse(offer).expect("a media type"));
    let q = Name::new("q").expect("a name");
    let any = |name: Name<'_>| name == "*";
    bench(criterion, row, "mediatype", || {
        let mut best: Option<(usize, f32)> = None;
        for range in MediaTypeList::new(black_box(field)).flatten() {
            let weight = range.get_param(q).map_or(Ok(1.0), |q| q.as_str().parse());
            let weight = weight.unwrap_or(0.0);
            let offer = offers.iter().position(|o| {
                (any(range.ty) || range.ty == o.ty) && (any(range.subty) || range.subty == o.subty)
            });
            if let Some(offer) = offer.filter(|_| best.is_none_or(|(_, most)| weight > most)) {
                best = Some((offer, weight));
            }
        }
        best.map(|(offer, _)| offer)
    });
}

/// Whether a range without parameters covers an offer.
fn covers(range: &str, offer: &str) -> bool {
    match range.strip_suffix('*') {
        Some("*/") => true,
        Some(tree) => offer.starts_with(tree),
        None => range == offer,
    }
}

fn mimes() -> [Mime; 4] {
    OFFERS.map(|offer| offer.parse().expect("a media type"))
}

fn bench<R>(criterion: &mut Criterion, row: &str, name: &str, mut once: impl FnMut() -> Option<R>) {
    assert!(once().is_some(), "{name} finds one for {row}");
    criterion.bench_function(&format!("negotiate/{row}/{name}"), |bencher| {
        bencher.iter(&mut once)
    });
}

fn everybody(criterion: &mut Criterion, row: &str, field: &str) {
    // The field, which all of them look at.
    bench(criterion, row, "bare", || Some(black_box(field).len()));
    ours(criterion, row, field);
    accept_header(criterion, row, field);
    headers_accept(criterion, row, field);
    actix(criterion, row, field);
    axum_accept(criterion, row, field);
    mime_loop(criterion, row, field);
    mediatype_loop(criterion, row, field);
}

/// Around a service that answers at once, with four formats. tower-conneg is a layer only.
fn layers(criterion: &mut Criterion, row: &str, field: &str) {
    let request = || {
        Request::builder()
            .header("accept", field)
            .body(())
            .expect("a request")
    };
    let answer = |_: Request<()>| ready(Ok::<_, Infallible>(Response::new(String::new())));
    let bare = service_fn(answer);
    call(criterion, row, "bare", bare, request);
    let formats = (Json, Cbor, MessagePack, Xml::root("all"));
    call(
        criterion,
        row,
        "ours-layer",
        NegotiateLayer::new(formats).layer(bare),
        request,
    );
    let json: Arc<dyn ErasedFormat> = Arc::new(JsonFormat);
    let formats = [
        Arc::clone(&json),
        Arc::new(CborFormat),
        Arc::new(MsgPackFormat),
        Arc::new(XmlFormat),
    ];
    let config = ServerConfig::builder()
        .formats(formats)
        .fallback_format(json);
    let layer = tower_conneg::NegotiateLayer::new(config.build());
    call(criterion, row, "tower-conneg", layer.layer(bare), request);
}

fn call<S>(
    criterion: &mut Criterion,
    row: &str,
    name: &str,
    mut service: S,
    request: impl Fn() -> Request<()>,
) where
    S: Service<Request<()>>,
    S::Error: Debug,
{
    criterion.bench_function(&format!("negotiate/{row}/{name}"), |bencher| {
        bencher.iter_batched(
            &request,
            |request| peers::poll(service.call(request)).expect("it answers"),
            BatchSize::SmallInput,
        );
    });
}

pub(crate) fn browser(criterion: &mut Criterion) {
    layers(criterion, "browser-layer", BROWSER);
    everybody(criterion, "browser", BROWSER);
}

pub(crate) fn json(criterion: &mut Criterion) {
    everybody(criterion, "json", "application/json");
}

pub(crate) fn thousand(criterion: &mut Criterion) {
    let ranges = (0..999).map(|i| format!("text/x-{i};q=0.{}", i % 10));
    let field: Vec<_> = ranges.chain(["text/html".to_owned()]).collect();
    everybody(criterion, "1000-ranges", &field.join(","));
}
