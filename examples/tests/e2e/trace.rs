use crate::storefront::Storefront;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn the_callers_trace_goes_through_to_the_upstream_and_into_the_log() {
    let shop = Storefront::start().await;
    let request = shop
        .request("GET", "/recommendations/lamp")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .header("x-request-id", "req-42");
    let answer = shop.send(request, "").await;
    assert_eq!(
        (answer.field("x-trace-id"), answer.field("x-request-id")),
        (TRACE, "req-42")
    );

    let timing = answer.field("server-timing");
    assert!(
        timing.contains(TRACE) && !timing.contains(SPAN),
        "a new span: {timing}"
    );

    let body = answer.json();
    let sent: Vec<_> = body["traceparent"].as_str().unwrap().split('-').collect();
    assert_eq!((sent[0], sent[1], sent[3]), ("00", TRACE, "01"));
    assert_ne!(sent[2], SPAN, "the call is a span of its own");

    let now = shop
        .until("both are finished", |now| now["trace"]["finished"] == 2)
        .await;
    let kinds: Vec<_> = now["trace"]["recent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["kind"])
        .collect();
    assert!(
        kinds.contains(&&"client".into()) && kinds.contains(&&"server".into()),
        "{kinds:?}"
    );
    assert!(
        now["trace"]["recent"]
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t["trace_id"] == TRACE)
    );

    let line = shop.log_line(TRACE).await;
    assert_eq!(line["request_id"], "req-42");
    assert_eq!(line["parent_span_id"], SPAN);
    assert_ne!(
        line["span_id"].as_str().unwrap(),
        sent[2],
        "and not the server's either"
    );
    assert_eq!(
        (&line["route"], &line["status"]),
        (&"/recommendations/{id}".into(), &200.into())
    );
}

#[tokio::test]
async fn a_hostile_request_id_is_replaced() {
    let shop = Storefront::start().await;
    let request = shop
        .request("GET", "/products/lamp")
        .header("x-request-id", "a b\"<script>");
    let id = shop
        .send(request, "")
        .await
        .field("x-request-id")
        .to_owned();
    assert!(
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        "{id}"
    );
}
