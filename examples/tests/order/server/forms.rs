use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use buttress_dedup::DedupLayer;
use buttress_negotiate::{Csv, EncodeError, Json, NegotiateLayer, Negotiated, Record};
use futures_util::future::join_all;
use http::Request;
use http::header::{ACCEPT, VARY};
use tokio::sync::watch;

use super::{FRESH, cache};
use crate::kit::Order::{self, Documented, Swapped};
use crate::kit::{Count, ask};

#[derive(serde::Serialize)]
struct Row {
    product: &'static str,
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["product"];
}

type Formats = (Json, Csv);

/// What several browsers say that want the same: JSON, or what there is.
const BROWSERS: [&str; 3] = [
    "text/html,application/xhtml+xml,*/*;q=0.8",
    "application/json, text/plain, */*",
    "*/*",
];

/// A report in the form that was chosen.
async fn report(negotiated: Negotiated<Formats>) -> Result<impl IntoResponse, EncodeError> {
    let rows = [Row { product: "lamp" }];
    Ok((FRESH, negotiated.rows(&rows)?))
}

#[tokio::test]
async fn negotiate_outside_of_the_cache_keeps_one_variant_for_all_browsers() {
    let made = async |order: Order| {
        let made = Count::default();
        let count = made.clone();
        let report = get(move |negotiated| {
            count.up();
            report(negotiated)
        });
        let app = Router::new().route("/", report);
        let formats = NegotiateLayer::new((Json, Csv::new()));
        let app = within!(app, order, outer: formats, inner: cache());
        for accept in BROWSERS {
            let answer = ask(&app, Request::get("/").header(ACCEPT, accept)).await;
            assert_eq!(answer.body, r#"[{"product":"lamp"}]"#);
            assert_eq!(
                answer.headers[VARY], "accept",
                "and caches outside are told"
            );
        }
        let csv = ask(&app, Request::get("/").header(ACCEPT, "text/csv")).await;
        assert_eq!(csv.body, "product\r\nlamp\r\n");
        made.get()
    };
    assert_eq!(made(Documented).await, 2, "a variant for each form");
    assert_eq!(made(Swapped).await, 4, "a variant for each browser");
}

/// A page that no cache keeps, made when the gate is opened.
fn live(gate: &watch::Sender<bool>) -> (Router, Count) {
    let made = Count::default();
    let (count, gate) = (made.clone(), gate.clone());
    let page = get(move || {
        count.up();
        let mut gate = gate.subscribe();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            "live"
        }
    });
    (Router::new().route("/", page), made)
}

/// Asks for it in as many ways as there are browsers, all at once.
async fn all_at_once(app: &Router, gate: &watch::Sender<bool>) {
    let requests = BROWSERS.map(|accept| ask(app, Request::get("/").header(ACCEPT, accept)));
    let (answers, ()) = tokio::join!(join_all(requests), async {
        // All of them have been polled: whoever is to call the handler has called it.
        tokio::task::yield_now().await;
        gate.send_replace(true);
    });
    assert!(answers.iter().all(|answer| answer.body == "live"));
}

#[tokio::test]
async fn dedup_inside_of_the_cache_collapses_what_it_does_not_keep() {
    for (with_dedup, expected) in [(true, 1), (false, 3)] {
        let gate = watch::Sender::new(false);
        let (mut app, made) = live(&gate);
        if with_dedup {
            app = app.layer(DedupLayer::http());
        }
        let app = app
            .layer(cache().collapse(false))
            .layer(NegotiateLayer::new((Json, Csv::new())));
        all_at_once(&app, &gate).await;
        assert_eq!(made.get(), expected);
    }
}

#[tokio::test]
async fn the_cache_outside_of_dedup_answers_a_hit_without_a_flight() {
    let flights = async |order: Order| {
        let dedup = DedupLayer::http();
        let app = Router::new().route("/", get(async || (FRESH, "page")));
        let app = within!(app, order, outer: cache().collapse(false), inner: dedup.clone());
        for _ in 0..2 {
            assert_eq!(ask(&app, Request::get("/")).await.body, "page");
        }
        dedup.snapshot().led
    };
    assert_eq!(flights(Documented).await, 1);
    assert_eq!(flights(Swapped).await, 2, "one for what is there already");
}

#[tokio::test]
async fn negotiate_outside_of_dedup_lets_all_browsers_share_a_flight() {
    let made = async |order: Order| {
        let gate = watch::Sender::new(false);
        let (app, made) = live(&gate);
        let formats = NegotiateLayer::new((Json, Csv::new()));
        let app = within!(app, order, outer: formats, inner: DedupLayer::http());
        all_at_once(&app, &gate).await;
        made.get()
    };
    assert_eq!(made(Documented).await, 1);
    assert_eq!(made(Swapped).await, 3, "a flight for each browser");
}
